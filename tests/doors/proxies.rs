//! Who somebody is when a load balancer stands before them.

use crate::client::Client;
use crate::wire::{Address, Over, Wire};
use crate::{House, PATIENCE, await_that, listener};
use ringmq::config::Listener;
use ringmq::control::Node;
use std::io::{Read, Write};
use std::net::TcpStream;

fn behind(url: &str, trusted: &str) -> Listener {
    let mut listener = listener(url);
    listener.trusted_proxies = vec![trusted.parse().unwrap()];
    listener
}

fn peer(house: &House, client_id: &str) -> String {
    let found = house.broker.client(client_id).unwrap().unwrap();
    found.client.peer.unwrap()
}

#[test]
fn a_proxy_header_says_who_it_is() {
    let mut proxied = behind("tcp://127.0.0.1:0", "127.0.0.0/8");
    proxied.proxy_protocol = true;
    let mut distrustful = behind("tcp://127.0.0.1:0", "10.0.0.0/8");
    distrustful.proxy_protocol = true;
    let mut hasty = behind("tcp://127.0.0.1:0", "127.0.0.1");
    (hasty.proxy_protocol, hasty.proxy_timeout_s) = (true, 1);
    let house = House::open("proxy", vec![proxied, distrustful, hasty], |_| {});

    let _client = Client::connect(Over::Proxy, house.address(0), "behind");
    assert_eq!(peer(&house, "behind"), "127.0.0.9:4242");

    let mut stream = TcpStream::connect(house.address(1)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(!matches!(stream.read(&mut [0]), Ok(count) if count > 0));
    house.await_refused("proxy_untrusted", 1);

    let mut stream = TcpStream::connect(house.address(0)).unwrap();
    stream.write_all(b"\x10\x0d\0\x04MQTT").unwrap();
    house.await_refused("proxy_malformed", 1);

    let mut stream = TcpStream::connect(house.address(2)).unwrap();
    stream.write_all(b"PROXY TCP4 ").unwrap();
    house.await_refused("proxy_timeout", 1);
    house.close();
}

#[test]
fn what_a_load_balancer_tells_is_what_an_operator_sees() {
    let mut proxied = behind("tcp://127.0.0.1:0", "127.0.0.0/8");
    proxied.proxy_protocol = true;
    let house = House::open(
        "proxy-told",
        vec![proxied, listener("wss://127.0.0.1:0")],
        |_| {},
    );
    let mut stream = TcpStream::connect(house.address(0)).unwrap();
    let addresses = [127, 0, 0, 9, 127, 0, 0, 1, 0x10, 0x92, 0x07, 0x5b];
    let told = b"\x02\0\x0bmqtt.a.test\x05\0\x05req-7\x20\0\x10\x07\0\0\0\0\x22\0\x08device-7";
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0".to_vec();
    header.push((addresses.len() + told.len()) as u8);
    header.extend(addresses);
    header.extend(told);
    stream.write_all(&header).unwrap();
    stream
        .write_all(b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01a")
        .unwrap();
    let found = || house.broker.client("a").unwrap();
    await_that("it is in", || found().is_some());
    let client = found().unwrap().client;
    assert_eq!(client.peer.as_deref(), Some("127.0.0.9:4242"));
    assert_eq!(client.transport.as_deref(), Some("tcp"));
    let socket = stream.local_addr().unwrap().to_string();
    assert_eq!(client.proxy, Some(socket));
    assert_eq!(client.server_name.as_deref(), Some("mqtt.a.test"));
    assert_eq!(client.certificate.as_deref(), Some("device-7"));
    assert_eq!(client.unique_id.as_deref(), Some("req-7"));

    let _other = Client::connect(Over::Wss, house.address(1), "b");
    let client = house.broker.client("b").unwrap().unwrap().client;
    assert_eq!(client.transport.as_deref(), Some("wss"));
    assert_eq!(client.server_name.as_deref(), Some("localhost"));
    assert_eq!((client.proxy, client.certificate), (None, None));
    drop(stream);
    house.close();
}

#[test]
fn a_stranger_behind_a_proxy_is_not_let_in_as_a_neighbour() {
    let mut proxied = behind("tcp://127.0.0.1:0", "127.0.0.1");
    proxied.proxy_protocol = true;
    let house = House::open("proxy-stranger", vec![proxied], |_| {});
    let mut stream = TcpStream::connect(house.address(0)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n")
        .unwrap();
    stream
        .write_all(b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01a")
        .unwrap();
    // Anonymous clients are let in from this machine only: not authorized.
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).unwrap();
    assert_eq!(connack, [0x20, 2, 0, 5]);
    house.close();
}

#[test]
fn forwarded_for_is_believed_of_those_who_are_trusted() {
    let trusting = behind("ws://127.0.0.1:0", "127.0.0.0/8");
    let house = House::open(
        "forwarded",
        vec![trusting, listener("ws://127.0.0.1:0")],
        |_| {},
    );
    // The last one that is not trusted counts: whoever is before it can write what they want.
    for (at, list, shown) in [
        (0, "192.0.2.66, 127.0.1.7, 127.0.0.3", "192.0.2.66:0"),
        (0, "127.0.0.5:77", "127.0.0.5:77"),
        (1, "192.0.2.7", "127.0.0.1:"),
    ] {
        let mut stream = TcpStream::connect(house.address(at)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let text = format!(
            "GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: mqtt\r\nX-Forwarded-For: {list}\r\n\r\n"
        );
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 101");
        let connect = b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01a";
        stream
            .write_all(&crate::wire::masked(0x82, connect))
            .unwrap();
        if shown.starts_with("127.") {
            await_that("it is in", || house.broker.client("a").unwrap().is_some());
            assert!(peer(&house, "a").starts_with(shown));
        } else {
            house.await_refused("authentication", 1);
        }
        drop(stream);
        await_that("it is out", || house.status().connections == 0);
    }
    house.close();
}

#[test]
fn proxy_comes_before_tls() {
    let mut proxied = behind("tls://127.0.0.1:0", "127.0.0.0/8");
    proxied.proxy_protocol = true;
    let house = House::open("proxy-tls", vec![proxied], |_| {});
    let wire = Wire::open(Over::ProxyTls, &Address::Inet(house.address(0)), 3).unwrap();
    let _client = Client::begin(wire, "both", None);
    assert_eq!(peer(&house, "both"), "127.0.0.9:4242");
    house.close();
}
