//! What the broker publishes about itself.

use super::*;
use std::collections::BTreeMap;

/// What they are after that, however often they were told. `resent` is by how many more PUBLISH
/// packets than messages were sent.
const EXPECTED: [(&str, u64); 15] = [
    ("stats/clients/count", 3),
    ("stats/clients/max", 3),
    ("stats/sessions/count", 3),
    ("stats/subscriptions/count", 6),
    ("stats/subscribers/count", 6),
    ("stats/topics/count", 6),
    ("metrics/messages/qos1/received", 2),
    ("metrics/messages/qos2/received", 101),
    ("metrics/messages/qos2/dropped", 1),
    ("metrics/packets/connect", 6),
    ("metrics/packets/connack", 6),
    ("metrics/packets/puback/sent", 2),
    ("metrics/packets/pubrel/sent", 2),
    ("metrics/packets/disconnect", 0),
    ("resent", 1),
];

/// Every figure that emqttd has, after a little of everything.
#[test]
fn figures_say_what_happened() {
    let _alone = alone();
    let mut settings = settings(2);
    settings.sys.interval_s = 1;
    settings.mqtt.receive_maximum = 100;
    let (broker, address) = start(settings);
    let mut client = Client::connect(address, 5, "busy");
    client.subscribe("a/b", 1);
    client.subscribe("a/+", 0);
    client.publish("a/b", 1, 9, b"kept");
    // PUBACK, and the message once.
    for _ in 0..2 {
        client.expect();
    }
    // One QoS 2 message more than may be open at once.
    let mut reckless = Client::connect(address, 5, "reckless");
    for id in 1..=101 {
        reckless.publish("nobody", 2, id, b"");
    }
    while reckless.next().is_some() {}
    client.subscribe("$share/group/c", 0);
    let mut old = Client::open(address, 2);
    old.send(&old.connect_packet("old"));
    assert_eq!(old.next(), Some((CONNACK, vec![0, 1])));
    let keeper = leave_two_for_a_second_time(address);
    let mut observer = Client::connect(address, 4, "observer");
    observer.subscribe("$SYS/brokers/+/#", 0);
    let mut found = BTreeMap::new();
    let deadline = Instant::now() + PATIENCE;
    let missing = |found: &BTreeMap<String, u64>| {
        let differs = |(name, value): &&(&str, u64)| found.get(*name) != Some(value);
        EXPECTED.iter().filter(differs).copied().collect::<Vec<_>>()
    };
    while !missing(&found).is_empty() {
        assert!(
            Instant::now() < deadline,
            "{:?} of {found:?}",
            missing(&found)
        );
        let (_, body) = observer.expect();
        let topic_len = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = String::from_utf8(body[2..2 + topic_len].to_vec()).unwrap();
        let figure = String::from_utf8(body[2 + topic_len..].to_vec()).unwrap();
        let name = topic.splitn(4, '/').nth(3).unwrap_or_default();
        if let Ok(figure) = figure.parse() {
            found.insert(name.to_owned(), figure);
        }
        // Both are of one moment: what is told of packets comes right before.
        if name == "metrics/messages/sent" {
            let packets = found["metrics/packets/publish/sent"];
            found.insert("resent".into(), packets - found[name]);
        }
    }
    drop((client, keeper, observer));
    stop(broker);
}

/// A client that comes back to a PUBLISH and a PUBREL which it had not answered, and gets both.
fn leave_two_for_a_second_time(address: SocketAddr) -> Client {
    let mut client = keeper(address);
    client.subscribe("k/1", 1);
    client.subscribe("k/2", 2);
    client.publish("k/1", 1, 1, b"");
    client.publish("k/2", 2, 2, b"");
    while let (first, body) = client.expect()
        && first != PUBREL
    {
        if first == PUBLISH | 4 {
            client.send(&[0x50, 2, body[5], body[6]]);
        }
    }
    drop(client);
    let mut client = keeper(address);
    let again = [client.expect().0, client.expect().0];
    assert_eq!(again, [PUBLISH | 0x0a, PUBREL]);
    client
}

/// The next message below `alarms`: its topic there, and its payload.
fn alarm(observer: &mut Client) -> (String, serde_json::Value) {
    let (_, body) = observer.expect();
    let topic_len = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let topic = String::from_utf8(body[2..2 + topic_len].to_vec()).unwrap();
    let at = topic.split_once("/alarms/").unwrap().1.to_owned();
    (at, serde_json::from_slice(&body[2 + topic_len..]).unwrap())
}

#[test]
fn alarms_are_told_when_they_begin_and_when_they_end() {
    let _alone = alone();
    let mut settings = settings(1);
    settings.sys.interval_s = 1;
    settings.limits.memory_budget_bytes = 1 << 20;
    settings.limits.connections_max = 20;
    let (broker, address) = start(settings);
    let mut observer = Client::connect(address, 4, "observer");
    observer.subscribe("$SYS/brokers/+/alarms/#", 0);

    let crowd: Vec<_> = (0..18)
        .map(|n| Client::connect(address, 4, &format!("c{n}")))
        .collect();
    let (topic, payload) = alarm(&mut observer);
    assert_eq!(topic, "connections/alert");
    assert_eq!(payload["id"], "connections");
    let summary = payload["summary"].as_str().unwrap();
    assert!(
        summary.ends_with(" of 20 connections are there"),
        "{summary}"
    );
    drop(crowd);
    assert_eq!(alarm(&mut observer).0, "connections/clear");

    // A client that takes nothing until the budget is spent.
    let mut slow = Client::connect(address, 5, "slow");
    slow.subscribe("q", 1);
    let mut publisher = Client::connect(address, 4, "publisher");
    for _ in 0..800 {
        publisher.publish("q", 1, 1, &[0; 4000]);
        assert_eq!(publisher.expect().0, PUBACK);
    }
    let (topic, payload) = alarm(&mut observer);
    assert_eq!(topic, "memory_budget/alert");
    assert_eq!(payload["title"], "the memory budget is used up");
    drop(slow);
    let (topic, payload) = alarm(&mut observer);
    assert_eq!(topic, "memory_budget/clear");
    assert!(payload["ts"].as_u64() > Some(1_600_000_000));
    drop((observer, publisher));
    stop(broker);
}

#[test]
fn epochs_grow_over_a_restart_with_the_clock_set_back() {
    let _alone = alone();
    let folder = std::env::temp_dir().join(format!("ringmq-epoch-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut settings = settings(2);
    settings.node.data_dir = folder.clone();
    let epoch_of_a_run = || {
        let (broker, address) = start(settings.clone());
        let client = Client::connect(address, 4, "c");
        let epoch = broker.client("c").unwrap().unwrap().client.epoch;
        drop(client);
        stop(broker);
        epoch
    };
    let first = epoch_of_a_run();
    let file = folder.join("epoch");
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(kept.trim().parse::<u64>().unwrap() > first);
    // As if that had been a day later than it is now.
    let ahead = first + 86_400_000_000;
    std::fs::write(&file, ahead.to_string()).unwrap();
    let second = epoch_of_a_run();
    assert!(second > ahead, "{second} after {ahead}");
    assert!(epoch_of_a_run() > second);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_source_that_is_away_is_an_alarm_until_it_is_unloaded() {
    let _alone = alone();
    let folder = std::env::temp_dir().join(format!("ringmq-alarm-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    // A port at which nobody listens.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", closed.local_addr().unwrap());
    drop(closed);
    let plugin = format!("auth.http.auth_req = {url}\nauth.http.auth_req.params = clientid=%c\n");
    std::fs::write(folder.join("auth_http.conf"), plugin).unwrap();
    let mut settings = settings(1);
    settings.sys.interval_s = 60;
    settings.auth.plugins_dir = folder.clone();
    settings.node.data_dir = folder.clone();
    let (broker, address) = start(settings);
    let mut observer = Client::connect(address, 4, "observer");
    observer.subscribe("$SYS/brokers/+/alarms/#", 0);
    broker.load_plugin("emq_auth_http").unwrap();
    let mut stranger = Client::open(address, 4);
    let mut connect = string("MQTT");
    // User name, password, clean session.
    connect.extend([4, 0xc2, 0, 60]);
    let fields = ["stranger", "name", "word"].map(string);
    connect.extend(fields.concat());
    stranger.send(&packet(0x10, &connect));
    // Server unavailable.
    assert_eq!(stranger.next(), Some((CONNACK, vec![0, 3])));
    assert_eq!(alarm(&mut observer).0, "source_http/alert");
    broker.unload_plugin("emq_auth_http").unwrap();
    assert_eq!(alarm(&mut observer).0, "source_http/clear");
    drop(observer);
    stop(broker);
    std::fs::remove_dir_all(&folder).unwrap();
}
