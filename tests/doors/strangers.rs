//! Those who come to the wrong door: cheap, counted, and told where that is possible.

use crate::client::Client;
use crate::wire::Over;
use crate::{House, PATIENCE, await_that, listener};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// What is answered until the broker closes.
fn ask(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // A reset tells as much as an end.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

const MQTT: &[u8] = b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01a";
const HELLO: &[u8] = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03";

#[test]
fn every_wrong_protocol_is_counted_and_told() {
    let urls = ["tcp", "tls", "ws", "wss"].map(|scheme| format!("{scheme}://127.0.0.1:0"));
    let house = House::open(
        "strangers",
        urls.iter().map(|url| listener(url)).collect(),
        |_| {},
    );
    let [tcp, tls, ws, wss] = [0, 1, 2, 3].map(|at| house.address(at));
    let get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    for (address, bytes, reason, answer) in [
        (
            tcp,
            &get[..],
            "http_on_mqtt",
            "this port speaks MQTT, not HTTP\n",
        ),
        (tcp, HELLO, "tls_on_mqtt", ""),
        (
            tls,
            get,
            "http_on_tls",
            "this port speaks TLS (mqtts, or wss): plain HTTP is not served here\n",
        ),
        (tls, MQTT, "mqtt_on_tls", ""),
        (tls, b"\xff\xff", "not_tls", ""),
        (
            ws,
            get,
            "http_not_websocket",
            "does not ask for an upgrade to websocket\n",
        ),
        (ws, MQTT, "mqtt_on_websocket", ""),
        (ws, HELLO, "tls_on_websocket", ""),
        (wss, MQTT, "mqtt_on_tls", ""),
    ] {
        let before = house.refused(reason);
        let said = ask(address, bytes);
        house.await_refused(reason, before + 1);
        assert!(
            said.ends_with(answer) && said.is_empty() == answer.is_empty(),
            "{reason}: {said}"
        );
        assert!(
            said.is_empty() || said.starts_with("HTTP/1.1 400 "),
            "{said}"
        );
    }
    // A broken record is answered by an alert.
    let said = ask(tls, HELLO);
    assert!(said.as_bytes().first() == Some(&0x15), "{said:?}");
    house.await_refused("tls_malformed", 1);
    let flood = format!("GET /mqtt HTTP/1.1\r\n{}", "X: y\r\n".repeat(10_000));
    assert!(ask(ws, flood.as_bytes()).starts_with("HTTP/1.1 431 "));
    house.close();
}

#[test]
fn whoever_goes_on_after_the_answer_is_cut_by_what_it_sends() {
    // What is thrown away, and what lies in the sockets' buffers.
    const BYTES_MAX: usize = 64 << 20;
    let house = House::open("goes-on", vec![listener("ws://127.0.0.1:0")], |_| {});
    let mut stream = TcpStream::connect(house.address(0)).unwrap();
    stream.write_all(b"GET /mqtt HTTP/1.1\r\n").unwrap();
    let lines = "X: y\r\n".repeat(10_000);
    let mut sent = 0;
    while stream.write_all(lines.as_bytes()).is_ok() {
        sent += lines.len();
        assert!(sent < BYTES_MAX, "nobody ends it");
    }
    house.await_refused("http_too_large", 1);
    await_that("it is gone", || house.status().connections == 0);
    house.close();
}

#[test]
fn those_who_never_finish_are_turned_away_in_time_and_cost_little() {
    const CROWD: usize = 500;
    let urls = ["tls://127.0.0.1:0", "ws://127.0.0.1:0"];
    let house = House::open("half-open", urls.map(listener).into(), |settings| {
        settings.mqtt.connect_timeout_s = 2;
        settings.limits.connect_rate_max = 0;
    });
    let open = |address: SocketAddr, bytes: &[u8]| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    };
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        crowd.push(open(house.address(0), &HELLO[..7]));
        crowd.push(open(house.address(1), b"GET /mqtt HT"));
        crowd.push(open(house.address(0), b""));
    }
    await_that("all are there", || {
        house.status().connections == 3 * CROWD as u64
    });
    // Those who know what they want get in all the same.
    Client::connect(Over::Tls, house.address(0), "among them").subscribe("t");
    house.await_refused("handshake_timeout", 3 * CROWD as u64);
    await_that("all are gone", || house.status().connections == 0);
    house.close();
}

#[test]
fn a_stop_does_not_wait_for_those_who_are_not_in_yet() {
    let house = House::open("stop", vec![listener("tls://127.0.0.1:0")], |_| {});
    let _silent = TcpStream::connect(house.address(0)).unwrap();
    await_that("it is there", || house.status().connections == 1);
    house.close();
}
