//! Layers put together, without sockets.

use super::*;

const MQTT: &[u8] = b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0";

fn rules(transport: Transport) -> Rules {
    let websocket = UpgradeRules {
        path: "/mqtt".into(),
        needs_sub_protocol: true,
        origins: vec![],
    };
    Rules {
        transport,
        proxy: false,
        trusted: Arc::new(["10.0.0.0/8".parse().unwrap()]),
        tls: None,
        websocket: (transport == Transport::Ws).then(|| Arc::new(websocket)),
    }
}

fn peer(address: &str, transport: Transport) -> Peer {
    Peer {
        transport,
        ..Peer::plain(address.parse().unwrap(), 3)
    }
}

/// MQTT, who it is, and what is to be sent back.
fn feed(layers: &mut Layers, bytes: &[u8], cut: usize) -> (Vec<u8>, Option<Peer>) {
    let (mut mqtt, mut opened) = (vec![], None);
    let mut room = Room::default();
    for piece in bytes.chunks(cut) {
        let mut piece = piece.to_vec();
        let taken = layers.handle(&mut piece, &mut room).unwrap();
        mqtt.extend(taken.mqtt);
        if let Some(found) = taken.opened {
            assert!(opened.is_none(), "opened once");
            opened = Some(found.peer);
        }
    }
    (mqtt, opened)
}

#[test]
fn a_proxy_header_then_mqtt_in_any_pieces() {
    let rules = Rules {
        proxy: true,
        ..rules(Transport::Tcp)
    };
    let stream = [b"PROXY TCP4 192.0.2.7 10.0.0.1 4242 1883\r\n", MQTT].concat();
    for cut in [1, 2, 3, 5, 7, 1000] {
        let mut layers = Layers::new(&rules, peer("10.0.0.1:9", Transport::Tcp)).unwrap();
        assert!(layers.awaits_proxy() && !layers.is_open());
        let (mqtt, opened) = feed(&mut layers, &stream, cut);
        assert_eq!(mqtt, MQTT, "cut at {cut}");
        let opened = opened.unwrap();
        assert_eq!(opened.to_string(), "192.0.2.7:4242");
        let identity = opened.identity.unwrap();
        assert_eq!(identity.proxy, Some("10.0.0.1:9".parse().unwrap()));
        assert!(layers.is_open());
        let mut wire = vec![];
        layers
            .put(b"plain", &mut Room::default(), &mut wire)
            .unwrap();
        assert_eq!(wire, b"plain");
    }
    let distrusted = Layers::new(&rules, peer("192.0.2.1:9", Transport::Tcp));
    assert_eq!(distrusted.err(), Some(Why::ProxyUntrusted));
    let local = Layers::new(&rules, peer("127.0.0.1:0", Transport::Unix));
    assert!(local.is_ok(), "a unix socket is guarded by its file");
}

#[test]
fn an_upgrade_then_frames_in_any_pieces() {
    let request = b"GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nX-Forwarded-For: 192.0.2.9\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";
    // A mask of zeros leaves the payload as it is.
    let frame = [&[0x82, 0x80 | MQTT.len() as u8, 0, 0, 0, 0][..], MQTT].concat();
    let close = [0x88, 0x80, 0, 0, 0, 0];
    let stream = [&request[..], &frame, &close].concat();
    for (from, shown) in [
        ("10.0.0.1:9", "192.0.2.9:0"),
        ("192.0.2.1:9", "192.0.2.1:9"),
    ] {
        for cut in [1, 2, 3, 5, 7, 1000] {
            let peer = peer(from, Transport::Ws);
            let mut layers = Layers::new(&rules(Transport::Ws), peer).unwrap();
            let (mqtt, opened) = feed(&mut layers, &stream, cut);
            assert_eq!(
                (mqtt, opened.unwrap().to_string()),
                (MQTT.to_vec(), shown.into())
            );
            assert!(layers.ended);
            assert!(layers.unsent.starts_with(b"HTTP/1.1 101 "));
            assert!(layers.unsent.ends_with(&[0x88, 2, 0x03, 0xe8]));
        }
    }
}

#[test]
fn an_end_is_said_once() {
    let mut layers = Layers::new(&rules(Transport::Ws), peer("10.0.0.1:9", Transport::Ws)).unwrap();
    layers.opening = None;
    layers.finish(&mut Room::default());
    layers.finish(&mut Room::default());
    assert_eq!(layers.unsent, [0x88, 2, 0x03, 0xe8]);
}

#[test]
fn what_is_plain_needs_no_layers() {
    assert!(rules(Transport::Tcp).is_plain() && rules(Transport::Unix).is_plain());
    assert!(!rules(Transport::Ws).is_plain());
}
