//! Who runs a shard's turn.

use super::*;

#[test]
fn a_sleeper_gets_its_mail_without_being_woken() {
    let _alone = alone();
    let (broker, address) = start(settings(4));
    let name = |shard: u16| {
        let names = (0..).map(|n| format!("client-{n}"));
        let mut owned = names.filter(|name| owner_of(name, 4).0 == shard);
        owned.next().unwrap()
    };
    let mut clients: Vec<Client> = (0..4)
        .map(|shard| Client::connect(address, 4, &name(shard)))
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
