//! Queues and their limits from outside, with the ledger exact.

use super::*;
use ringmq::config::QueueDrop;

/// Publishes with QoS 1, each after the other was acknowledged.
fn publish_all(address: SocketAddr, payloads: &[Vec<u8>]) {
    let mut publisher = Client::connect(address, 4, "publisher");
    for payload in payloads {
        publisher.publish("q", 1, 1, payload);
        assert_eq!(publisher.expect().0, PUBACK);
    }
}

fn leave(mut client: Client) {
    client.send(&[DISCONNECT, 0]);
    assert_eq!(client.next(), None);
}

/// Received, delivered, queued and dropped, once nothing is under way between shards; and all that
/// came in is in one of them.
fn books(broker: &Broker) -> (u64, u64, u64, Vec<(String, u64)>) {
    let mut ledger = broker.status().unwrap().ledger;
    eventually("all mail has arrived", || {
        ledger = broker.status().unwrap().ledger;
        ledger.in_transit == 0
    });
    let dropped: Vec<_> = ledger
        .dropped
        .iter()
        .map(|row| (row.reason.clone(), row.count))
        .collect();
    let went = dropped.iter().map(|(_, count)| count).sum::<u64>();
    assert_eq!(
        ledger.received + ledger.internal + ledger.copies,
        ledger.delivered + ledger.queued + ledger.expired + went,
        "{ledger:?}"
    );
    (ledger.received, ledger.delivered, ledger.queued, dropped)
}

#[test]
fn a_full_queue_drops_its_oldest_or_what_comes_as_is_configured() {
    let _alone = alone();
    for (policy, shards, kept) in [
        (QueueDrop::Oldest, 1, [3, 4, 5, 6, 7]),
        (QueueDrop::Newest, 1, [0, 1, 2, 3, 4]),
        (QueueDrop::Oldest, 2, [3, 4, 5, 6, 7]),
        (QueueDrop::Newest, 2, [0, 1, 2, 3, 4]),
    ] {
        let mut settings = settings(shards);
        settings.limits.queue_length_max = 5;
        settings.limits.queue_drop = policy;
        let (broker, address) = start(settings);
        let mut client = keeper(address);
        client.subscribe("q", 1);
        leave(client);
        let payloads: Vec<_> = (0..8u8).map(|n| vec![n]).collect();
        publish_all(address, &payloads);
        let full = || vec![("queue_full".to_owned(), 3)];
        assert_eq!(books(&broker), (8, 0, 5, full()));
        let mut client = keeper(address);
        assert_eq!(kept.map(|_| client.receive()[0]), kept);
        eventually("all is acknowledged", || {
            books(&broker) == (8, 5, 0, full())
        });
        drop(client);
        stop(broker);
    }
}

#[test]
fn a_queue_has_a_limit_of_bytes() {
    let _alone = alone();
    let mut settings = settings(1);
    settings.limits.queue_bytes_max = 1 << 20;
    settings.limits.queue_drop = QueueDrop::Newest;
    let (broker, address) = start(settings);
    let mut client = keeper(address);
    client.subscribe("q", 1);
    leave(client);
    // Nine of them are less than a mebibyte, whatever each costs besides, and ten are more.
    let payloads = vec![vec![0; 110_000]; 12];
    publish_all(address, &payloads);
    assert_eq!(books(&broker), (12, 0, 9, vec![("queue_full".into(), 3)]));
    stop(broker);
}

#[test]
fn all_queues_together_have_a_budget() {
    const COUNT: u64 = 400;
    let _alone = alone();
    let mut settings = settings(1);
    settings.limits.memory_budget_bytes = 1 << 20;
    let (broker, address) = start(settings);
    let mut client = keeper(address);
    client.subscribe("q", 1);
    leave(client);
    publish_all(address, &vec![vec![0; 4000]; COUNT as usize]);
    let (_, _, kept, _) = books(&broker);
    let dropped = || vec![("memory_budget".to_owned(), COUNT - kept)];
    assert_eq!(books(&broker), (COUNT, 0, kept, dropped()));
    let memory = broker.status().unwrap().memory;
    // As many as fit, and not one more.
    assert!(memory.queued_bytes <= memory.budget_bytes, "{memory:?}");
    assert!(
        memory.queued_bytes + 5000 > memory.budget_bytes,
        "{memory:?}"
    );
    let mut client = keeper(address);
    for _ in 0..kept {
        client.receive();
    }
    eventually("all is acknowledged", || {
        books(&broker) == (COUNT, kept, 0, dropped())
    });
    assert_eq!(broker.status().unwrap().memory.queued_bytes, 0);
    drop(client);
    stop(broker);
}

/// The limits of a configuration, from outside: refused, told, and counted under its reason.
#[test]
fn limits_of_the_configuration_hold_in_every_shard() {
    let _alone = alone();
    for shards in [1, 2] {
        let mut settings = settings(shards);
        settings.mqtt.topic_levels_max = 3;
        settings.mqtt.packet_bytes_max = 1024;
        settings.limits.sessions_max = 4;
        settings.limits.subscriptions_per_client_max = 1;
        settings.limits.retained_bytes_max = 0;
        let (broker, address) = start(settings);
        let refused = |reason: &str| {
            let refusals = broker.status().unwrap().refusals;
            let row = refusals.iter().find(|row| row.reason == reason);
            row.map_or(0, |row| row.count)
        };
        let mut client = Client::connect(address, 5, "c");
        client.subscribe("a/b/c", 0);
        for (filter, code, reason) in [
            ("a/b/c/d", 0x8f, "topic_levels"),
            ("b", 0x97, "subscription_quota"),
        ] {
            let mut body = vec![0, 1, 0];
            body.extend(string(filter));
            body.push(0);
            client.send(&packet(0x82, &body));
            assert_eq!(client.expect(), (SUBACK, vec![0, 1, 0, code]));
            assert_eq!(refused(reason), 1, "{reason}");
        }
        client.send(&packet(
            PUBLISH | 1,
            &[&string("r")[..], b"\0kept"].concat(),
        ));
        eventually("it is not kept", || refused("retained_quota") == 1);
        client.send(&packet(PUBLISH, &[0; 2000]));
        assert_eq!(client.expect().1[0], 0x95);
        assert_eq!(refused("packet_too_large"), 1);

        // However client ids fall on the shards, no more than four have a session at a time.
        let mut inside = Vec::new();
        while refused("session_quota") == 0 {
            let mut client = Client::open(address, 5);
            client.send(&client.connect_packet(&format!("s{}", inside.len())));
            match client.expect().1[1] {
                0 => inside.push(client),
                code => assert_eq!(code, 0x97),
            }
            assert!(inside.len() <= 4);
        }
        assert!(shards > 1 || inside.len() == 4);
        drop((client, inside));
        stop(broker);
    }
}
