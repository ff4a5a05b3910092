//! WebSocket as a client sees it: what is answered to which frames and requests.

use crate::wire::masked;
use crate::{House, PATIENCE, await_that, listener};
use ringmq::config::Listener;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

const CONNECT: &[u8] = b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01a";
const CONNACK: &[u8] = b"\x82\x04\x20\x02\0\0";

/// Asks for a WebSocket, with these headers besides; gives the socket and the head of the answer.
fn ask(address: SocketAddr, path: &str, headers: &[&str]) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    (stream, String::from_utf8(head).unwrap())
}

/// A client that has its CONNACK.
fn connected(address: SocketAddr) -> TcpStream {
    let (mut stream, head) = ask(address, "/mqtt", &["Sec-WebSocket-Protocol: mqtt"]);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream.write_all(&masked(0x82, CONNECT)).unwrap();
    assert_eq!(take(&mut stream, CONNACK.len()), CONNACK);
    stream
}

fn take(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

#[test]
fn pings_are_answered_and_a_close_is_returned() {
    let house = House::open("ws-close", vec![listener("ws://127.0.0.1:0")], |_| {});
    let mut stream = connected(house.address(0));
    stream.write_all(&masked(0x89, b"there?")).unwrap();
    assert_eq!(take(&mut stream, 8), b"\x8a\x06there?");
    // A PINGREQ in two frames with a ping between, and a pong that nobody asked for.
    let pieces = [
        masked(0x02, b"\xc0"),
        masked(0x89, b""),
        masked(0x8a, b"x"),
        masked(0x80, b"\0"),
    ];
    stream.write_all(&pieces.concat()).unwrap();
    assert_eq!(take(&mut stream, 6), b"\x8a\0\x82\x02\xd0\0");
    let going = [&1001u16.to_be_bytes()[..], b"leaving"].concat();
    stream.write_all(&masked(0x88, &going)).unwrap();
    assert_eq!(rest(&mut stream), b"\x88\x02\x03\xe9");
    await_that("it is out", || house.status().connections == 0);
    // After DISCONNECT it is the broker that closes.
    let mut stream = connected(house.address(0));
    stream.write_all(&masked(0x82, b"\xe0\0")).unwrap();
    assert_eq!(rest(&mut stream), b"\x88\x02\x03\xe8");
    house.close();
}

#[test]
fn frames_that_are_not_allowed_end_it_with_their_code() {
    let house = House::open("ws-breach", vec![listener("ws://127.0.0.1:0")], |_| {});
    let too_large = [&b"\x82\xff"[..], &(1u64 << 40).to_be_bytes(), &[0; 4]].concat();
    for (bytes, reason, code) in [
        (masked(0x81, b"text"), "websocket_text", 1003u16),
        (b"\x82\x02\xc0\0".to_vec(), "websocket_unmasked", 1002),
        (masked(0xc2, b"\xc0\0"), "websocket_malformed", 1002),
        (masked(0x83, b""), "websocket_malformed", 1002),
        (masked(0x89, &[0; 126]), "websocket_malformed", 1002),
        (too_large, "websocket_too_large", 1009),
    ] {
        let before = house.refused(reason);
        let mut stream = connected(house.address(0));
        stream.write_all(&bytes).unwrap();
        let code = code.to_be_bytes();
        assert_eq!(
            rest(&mut stream),
            [b"\x88\x02", &code[..]].concat(),
            "{reason}"
        );
        house.await_refused(reason, before + 1);
    }
    house.close();
}

#[test]
fn path_sub_protocol_and_origins_are_the_listeners() {
    let other = |change: fn(&mut Listener)| {
        let mut listener = listener("ws://127.0.0.1:0");
        change(&mut listener);
        listener
    };
    let listeners = vec![
        other(|_| {}),
        other(|l| l.websocket_path = "/ws/mqtt".into()),
        other(|l| l.websocket_sub_protocol_required = false),
        other(|l| l.websocket_origins = vec!["https://app.example.org".into()]),
    ];
    let house = House::open("ws-rules", listeners, |_| {});
    let mqtt = "Sec-WebSocket-Protocol: mqtt";
    let (good, bad) = (
        "Origin: https://app.example.org",
        "Origin: http://other.test",
    );
    for (at, path, headers, status) in [
        (0, "/mqtt", &[mqtt][..], "101"),
        (0, "/mqtt?token=1", &[mqtt], "101"),
        (0, "/mqtt", &["Sec-WebSocket-Protocol: mqttv3.1"], "101"),
        (0, "/mqtt", &[], "400"),
        (0, "/mqtt", &["Sec-WebSocket-Protocol: chat"], "400"),
        (0, "/", &[mqtt], "404"),
        (0, "/mqtt", &[mqtt, bad], "101"),
        (1, "/ws/mqtt", &[mqtt], "101"),
        (1, "/mqtt", &[mqtt], "404"),
        (2, "/mqtt", &[], "101"),
        (3, "/mqtt", &[mqtt], "101"),
        (3, "/mqtt", &[mqtt, good], "101"),
        (3, "/mqtt", &[mqtt, bad], "403"),
    ] {
        let (_, head) = ask(house.address(at), path, headers);
        let said = head.split(' ').nth(1);
        assert_eq!(said, Some(status), "{at} {path} {headers:?}: {head}");
    }
    house.close();
}
