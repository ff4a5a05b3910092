//! Who runs a shard's turn.

use super::*;

#[test]
fn a_sleeper_gets_its_mail_without_being_woken() {
    let _alone = alone();
    let (broker, address) = start(settings(4));
    let mut clients: Vec<Client> = (0..4)
        .map(|shard| Client::connect(address, 4, &owned_by(shard, 4)))
        .collect();
    for (shard, client) in clients.iter_mut().enumerate() {
        client.subscribe(&format!("to/{shard}/+"), 1);
    }
    // One publisher, and mail for one other shard at a time: the others have nothing to do.
    for round in 0u16..300 {
        let to = 1 + round % 3;
        let payload = round.to_be_bytes();
        let qos = (round % 2) as u8;
        clients[0].publish(&format!("to/{to}/x"), qos, round + 1, &payload);
        let (first, body) = clients[usize::from(to)].expect();
        assert_eq!(
            (first & 0xf0, &body[body.len() - 2..]),
            (PUBLISH, &payload[..])
        );
        if qos == 1 {
            clients[usize::from(to)].send(&packet(PUBACK, &body[8..10]));
            assert_eq!(clients[0].expect().0, PUBACK);
        }
    }
    let turns: Vec<u64> = broker
        .reports()
        .unwrap()
        .iter()
        .map(|r| r.turns_asleep)
        .collect();
    assert!(
        turns.iter().sum::<u64>() > 0,
        "nobody took a helm: {turns:?}"
    );
    drop(clients);
    stop(broker);
}

#[test]
fn a_shard_with_little_to_do_is_a_guest_until_its_host_is_busy() {
    let _alone = alone();
    let (broker, address) = start(settings(2));
    let mut client = Client::connect(address, 4, &owned_by(1, 2));
    let turns = || {
        let reports = broker.reports().unwrap();
        let of_second = reports.iter().find(|report| report.shard == 1);
        of_second.unwrap().turns_asleep
    };
    // What comes from its own sockets is found by nobody else unless it is a guest.
    let mut pings_run_elsewhere = || {
        let before = turns();
        for _ in 0..5 {
            client.send(&packet(PINGREQ, &[]));
            assert_eq!(client.expect().0, PINGRESP);
        }
        // The asking itself is mail, and a turn.
        turns() - before > 1
    };
    eventually("the second shard is a guest", &mut pings_run_elsewhere);
    let flood = std::thread::spawn({
        let mut client = Client::connect(address, 4, &owned_by(0, 2));
        client.stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let message = packet(PUBLISH, &[&string("flood/x")[..], &[7; 64]].concat());
        let messages = message.repeat(500);
        // Until the broker hangs up.
        move || while client.stream.write_all(&messages).is_ok() {}
    });
    eventually("it is at home", || !pings_run_elsewhere());
    drop(client);
    // Whoever still sends when the broker stops is cut.
    broker.stop(Duration::from_secs(5));
    flood.join().unwrap();
}

#[test]
fn a_guest_ends_with_its_host() {
    let _alone = alone();
    for shards in [2, 3] {
        let (broker, address) = start(settings(shards));
        let clients: Vec<_> = (0..shards)
            .map(|shard| Client::connect(address, 4, &owned_by(shard, shards)))
            .collect();
        // Calm for long enough.
        let guests = || {
            let reports = broker.reports().unwrap();
            let mut others = reports.iter().filter(|report| report.shard > 0);
            others.all(|report| report.turns_asleep > 0)
        };
        eventually("all others are guests", guests);
        drop(clients);
        stop(broker);
    }
}

/// A client identifier that belongs to `shard` of so many.
fn owned_by(shard: u16, shards: u16) -> String {
    let mut names = (0..).map(|n| format!("client-{n}"));
    names
        .find(|name| owner_of(name, shards).0 == shard)
        .unwrap()
}
