//! What one client can take of what all share, and what its limits cost the others.

use super::*;
use crate::message::{Content, NEVER_MS};
use crate::routing::{Directory, group_owner};
use crate::shard::mail::{MailRoute, PostOffice};

/// RECEIVE MAXIMUM as a property of CONNECT.
const fn receive_maximum(of: u8) -> [u8; 3] {
    [0x21, 0, of]
}

fn dropped(broker: &Broker, why: Drop) -> u64 {
    broker.shard.counters().ledger.dropped[why as usize]
}

/// A message of the broker itself, as large as it may be.
fn message(topic: &str, len: usize) -> Message {
    let content = Content {
        topic,
        payload: &vec![b'x'; len],
        properties: crate::codec::Forwarded::from_stored(&[]),
        qos: QoS::AtLeastOnce,
        retain: false,
        expires_ms: NEVER_MS,
    };
    Message::copy_of(&content, &mut Vec::new())
}

#[test]
fn who_subscribes_again_and_again_has_one_way_to_the_retained_messages() {
    let mut broker = Broker::new(Options::default());
    broker.connect(1, b'a', true, &[]);
    for topic in ["r/0", "r/1", "r/2"] {
        broker.say(1, &qos1(topic, 1, true, b"R"));
    }
    broker.connect(2, b'b', true, &receive_maximum(1));
    for _ in 0..100 {
        assert_eq!(broker.say(2, &subscribe("r/#", 1))[0], 0x90);
        broker.say(2, &subscribe("other/#", 1));
    }
    let slot = broker.shard.conns.get(2).expect("up").session;
    let flow = broker
        .shard
        .sessions
        .get(slot)
        .and_then(|s| s.flow.as_ref());
    let flow = flow.expect("something is under way");
    assert!(flow.pulls.len() <= 2, "{}", flow.pulls.len());
    // Once it takes them it gets what is there, from the start.
    let told = broker.say(2, &[0x40, 2, 0, 1]);
    assert_eq!(publishes(&told).len(), 1);
    let seen = acknowledged_from(&mut broker, 2, told);
    for topic in ["r/0", "r/1", "r/2"] {
        assert!(seen.iter().any(|known| known == topic), "{seen:?}");
    }
}

/// Topics that a client gets which acknowledges each message, beginning with those in `told`.
fn acknowledged_from(broker: &mut Broker, conn: u32, mut told: Vec<u8>) -> Vec<String> {
    let mut seen = Vec::new();
    while let Some((topic, id)) = published(&told).pop() {
        seen.push(topic);
        told = broker.say(conn, &[0x40, 2, 0, id]);
    }
    seen
}

#[test]
fn what_nobody_acknowledges_holds_no_more_than_what_waits() {
    let mut options = Options::default();
    options.limits.queue_bytes_max = 10_000;
    options.limits.memory_budget_bytes = 100_000;
    let mut broker = Broker::new(options);
    broker.connect(1, b'a', true, &[]);
    broker.say(1, &subscribe("t", 1));
    for _ in 0..200 {
        broker.step(Input::Publish(message("t", 1_000)));
    }
    // In flight and in the queue, each with one message more at most.
    let held = broker.shard.counters().queued_bytes;
    assert!((15_000..23_000).contains(&held), "{held}");

    // The others are served as before: who is away has its queue.
    broker.connect(2, b'b', true, &[]);
    broker.say(2, &subscribe("u", 1));
    broker.step(Input::Closed { conn: ConnId(2) });
    for _ in 0..5 {
        broker.step(Input::Publish(message("u", 1_000)));
    }
    assert_eq!(dropped(&broker, Drop::MemoryBudget), 0);
}

#[test]
fn with_the_budget_spent_who_acknowledges_is_served_still() {
    let mut options = Options::default();
    options.limits.memory_budget_bytes = 20_000;
    let mut broker = Broker::new(options);
    broker.connect(1, b'a', true, &receive_maximum(1));
    broker.say(1, &subscribe("t", 1));
    broker.connect(2, b'b', true, &[]);
    broker.say(2, &subscribe("u", 1));
    for _ in 0..30 {
        broker.step(Input::Publish(message("t", 1_000)));
    }
    assert!(dropped(&broker, Drop::MemoryBudget) > 0);
    let spent = dropped(&broker, Drop::MemoryBudget);
    for id in 1..=50 {
        broker.step(Input::Publish(message("u", 60)));
        assert_eq!(published(&broker.told(2)), [("u".to_owned(), id)]);
        broker.say(2, &[0x40, 2, 0, id]);
    }
    // Who does not acknowledge has a few under way, and no more memory than that.
    for _ in 0..50 {
        broker.step(Input::Publish(message("u", 1_000)));
    }
    assert!(publishes_of(&broker.told(2)) <= 5);
    assert!(dropped(&broker, Drop::MemoryBudget) >= spent + 45);
    assert!(broker.shard.counters().queued_bytes < 30_000);
}

/// How many PUBLISH packets to `u` there are in `bytes`.
fn publishes_of(bytes: &[u8]) -> usize {
    bytes
        .windows(4)
        .filter(|four| *four == [0, 1, b'u', 0])
        .count()
}

#[test]
fn a_will_is_held_to_the_limits_on_topics() {
    let mut options = Options::default();
    options.mqtt.topic_levels_max = 4;
    let mut broker = Broker::new(options);
    for (topic, reason) in [("a/b/c/d", 0), ("a/b/c/d/e", 0x90)] {
        let peer = Peer::plain("127.0.0.1:1".parse().expect("an address"), 0);
        let conn = ConnId(1);
        broker.step(Input::Closed { conn });
        broker.step(Input::Opened { conn, peer });
        let mut connect = vec![0x10, 20 + topic.len() as u8, 0, 4];
        connect.extend(b"MQTT\x05\x06\0\0\0\0\x01w\0\0");
        connect.push(topic.len() as u8);
        connect.extend(topic.as_bytes());
        connect.extend([0, 1, b'x']);
        assert_eq!(broker.say(1, &connect)[3], reason, "{topic}");
    }
}

#[test]
fn a_mountpoint_makes_no_topic_longer_than_one_can_be() {
    let mut broker = Broker::new(Options {
        mountpoints: vec![Some("t/7/".into())],
        ..Options::default()
    });
    broker.connect(1, b'a', true, &[]);
    let longest = "x".repeat(65_535 - 4);
    for (topic, told) in [(longest.clone(), None), (longest + "x", Some(0x90))] {
        let len = (topic.len() as u16).to_be_bytes();
        let mut publish = vec![0x30];
        let remaining = 2 + topic.len() + 1;
        publish.extend([remaining as u8 | 0x80, (remaining >> 7) as u8 | 0x80]);
        publish.push((remaining >> 14) as u8);
        publish.extend(len);
        publish.extend(topic.as_bytes());
        publish.push(0);
        let answer = broker.say(1, &publish);
        assert_eq!(answer.get(2).copied(), told);
    }
}

#[test]
fn what_has_expired_leaves_its_room_within_a_minute() {
    let mut options = Options::default();
    options.limits.retained_count_max = 20_000;
    let mut broker = Broker::new(options);
    broker.connect(1, b'a', true, &[]);
    for at in 0..20_000 {
        let topic = format!("r/{at:05}");
        let mut packet = vec![0x33, 16, 0, topic.len() as u8];
        packet.extend(topic.as_bytes());
        packet.extend([0, 1, 5, 2, 0, 0, 0, 1, b'x']);
        packet[1] = packet.len() as u8 - 2;
        broker.say(1, &packet);
    }
    broker.ms += 2_000;
    assert_eq!(broker.shard.retained.len(), 20_000);
    let until = broker.ms + 61_000;
    while let Some(ms) = broker.shard.next_deadline_ms().filter(|&ms| ms <= until) {
        broker.ms = broker.ms.max(ms);
        broker.step(Input::Tick);
    }
    assert_eq!(broker.shard.retained.len(), 0);
}

/// Two shards, and the mail between them.
struct Two {
    shards: [Broker; 2],
    directory: Arc<Directory>,
    /// How often an owner was told of a member's room.
    told: usize,
}

struct Batches(Vec<(ShardId, Vec<Envelope>)>);

impl PostOffice for Batches {
    fn post(&mut self, to: ShardId, batch: Vec<Envelope>) {
        self.0.push((to, batch));
    }

    fn congested(&self) -> bool {
        false
    }
}

impl Two {
    fn new(change: impl Fn(&mut Options)) -> Two {
        let directory = Arc::new(Directory::new(7));
        let shard = |id| {
            let mut options = Options {
                shard: ShardId(id),
                shards: 2,
                ..Options::default()
            };
            change(&mut options);
            let authenticator = Box::new(Everybody);
            let directory = Some(Arc::clone(&directory));
            Broker {
                shard: Shard::new(options, authenticator, directory, 1),
                fx: Effects::default(),
                ms: 1_000_000,
            }
        };
        Two {
            shards: [shard(0), shard(1)],
            directory: Arc::clone(&directory),
            told: 0,
        }
    }

    /// Carries mail until there is none.
    fn settle(&mut self) {
        loop {
            let mut office = Batches(Vec::new());
            for (id, broker) in self.shards.iter_mut().enumerate() {
                let route = MailRoute {
                    from: ShardId(id as u16),
                    shards: 2,
                    directory: &self.directory,
                };
                let now = Now {
                    ms: broker.ms,
                    unix_ms: 1_700_000_000_000,
                };
                while !broker.fx.mail.is_empty() {
                    let posted = broker.fx.mail.drain(route, &mut office);
                    broker.shard.account_posted(now, posted, &mut broker.fx);
                }
            }
            if office.0.is_empty() {
                return;
            }
            for (to, batch) in office.0 {
                for envelope in batch {
                    let is_told =
                        |change: &GroupChange| matches!(change.change, Membership::HasRoom(_));
                    let group = match &envelope {
                        Envelope::Group(change) => is_told(change),
                        _ => false,
                    };
                    self.told += usize::from(group);
                    self.shards[usize::from(to.0)].step(Input::Envelope(envelope));
                }
            }
        }
    }
}

/// A client id of one letter that `shard` owns, other than `not`.
fn of_shard(shard: u16, not: u8) -> u8 {
    let is_it = |name: &u8| {
        let name = *name;
        let id = [name];
        let id = std::str::from_utf8(&id).expect("a letter");
        name != not && owner_of(id, 2) == ShardId(shard)
    };
    (b'a'..=b'z').find(is_it).expect("half of them are")
}

/// The shard that owns the group, another one, and on them a client that takes what it gets, one
/// that publishes, and one that does not: connections 2, 3 and 1. All of them in `$share/g/t`.
fn group_of_two(two: &mut Two, room: u8) -> (usize, usize) {
    let owner = group_owner("g", "t", 2);
    let (here, there) = (usize::from(owner), usize::from(1 - owner));
    let takes = of_shard(owner, 0);
    two.shards[there].connect(1, of_shard(1 - owner, 0), true, &receive_maximum(room));
    two.shards[here].connect(2, takes, true, &[]);
    two.shards[here].connect(3, of_shard(owner, takes), true, &[]);
    two.shards[there].say(1, &subscribe("$share/g/t", 1));
    two.shards[here].say(2, &subscribe("$share/g/t", 1));
    two.settle();
    (here, there)
}

#[test]
fn of_a_members_room_only_those_hear_who_deal_to_it() {
    let mut two = Two::new(|_| {});
    let (here, there) = group_of_two(&mut two, 1);
    for group in 0..50 {
        two.shards[there].say(1, &subscribe(&format!("$share/g/t/{group}"), 1));
        two.settle();
    }
    for id in 1..=4 {
        two.shards[here].say(3, &qos1("t", id, false, b"x"));
        two.settle();
    }
    assert_eq!(two.told, 1, "one of its two messages waits");
    let slot = two.shards[there].shard.conns.get(1).expect("up").session;
    // It leaves while it has no room, and comes back.
    let unsubscribe = [&[0xa2, 15, 0, 9, 0, 0, 10][..], b"$share/g/t"].concat();
    two.shards[there].say(1, &unsubscribe);
    two.settle();
    two.shards[there].say(1, &subscribe("$share/g/t", 1));
    two.settle();
    for id in 1..=4 {
        two.shards[here].say(3, &qos1("t", id, false, b"x"));
        two.settle();
    }
    assert_eq!(
        two.told, 2,
        "who has come back is taken for one that has room"
    );
    let mut unacknowledged = vec![("t".to_owned(), 1)];
    while let Some((_, id)) = unacknowledged.pop() {
        let told = two.shards[there].say(1, &[0x40, 2, 0, id]);
        unacknowledged.extend(published(&told));
    }
    two.settle();
    assert_eq!(two.told, 3);
    let session = two.shards[there].shard.sessions.get(slot).expect("up");
    assert!(session.flow.as_ref().is_none_or(|flow| flow.is_idle()));
}

#[test]
fn a_group_leaves_out_who_has_no_memory_on_another_shard() {
    let mut two = Two::new(|options| options.limits.memory_budget_bytes = 8_000);
    let (here, there) = group_of_two(&mut two, 200);
    // What the other one does not acknowledge is as much as its shard has.
    let mut taken = 0;
    for id in 1..=100 {
        two.shards[here].say(3, &qos1("t", id, false, &[b'x'; 100]));
        two.settle();
        for (_, id) in published(&two.shards[here].told(2)) {
            taken += 1;
            two.shards[here].say(2, &[0x40, 2, 0, id]);
        }
    }
    let held = published(&two.shards[there].told(1)).len();
    assert!(held > 10 && held < 50, "{held}");
    assert_eq!(taken + held, 100);
}

/// Messages of which a member on another shard that acknowledges none holds as many as it may: the
/// others are dealt to the member that does, whether they come one by one or all at once.
#[test]
fn a_group_leaves_out_who_has_no_room_on_another_shard() {
    for at_once in [false, true] {
        let mut two = Two::new(|options| options.limits.queue_length_max = 10);
        let (here, there) = group_of_two(&mut two, 4);
        let mut taken = 0;
        for id in 1..=100 {
            two.shards[here].say(3, &qos1("t", id, false, b"x"));
            if !at_once || id == 100 {
                two.settle();
            }
            for (_, id) in published(&two.shards[here].told(2)) {
                taken += 1;
                two.shards[here].say(2, &[0x40, 2, 0, id]);
            }
        }
        two.settle();
        let held = published(&two.shards[there].told(1));
        assert_eq!(held.len(), 4);
        let ledgers = two
            .shards
            .each_ref()
            .map(|broker| dropped(broker, Drop::QueueFull));
        assert_eq!(ledgers, [0, 0], "at once: {at_once}");
        assert!(taken >= 100 - 14, "{taken}");
        // It has room again, and its turn.
        let mut unacknowledged = held;
        while let Some((_, id)) = unacknowledged.pop() {
            let told = two.shards[there].say(1, &[0x40, 2, 0, id]);
            unacknowledged.extend(published(&told));
        }
        two.settle();
        two.shards[here].say(3, &qos1("t", 1, false, b"x"));
        two.shards[here].say(3, &qos1("t", 2, false, b"x"));
        two.settle();
        assert_eq!(published(&two.shards[there].told(1)).len(), 1);
    }
}

/// Whoever is not ready because something waits for it has places still; who has none gets no more.
#[test]
fn a_group_leaves_out_who_has_no_place_on_its_own_shard() {
    let mut options = Options::default();
    options.limits.queue_length_max = 20;
    let mut broker = Broker::new(options);
    for (conn, name) in [(1, b'a'), (2, b'b')] {
        broker.connect(conn, name, true, &receive_maximum(1));
        broker.say(conn, &subscribe("$share/g/t", 1));
    }
    broker.connect(3, b'c', true, &[]);
    // It acknowledges one for two that come, as long as it has more, and the other one none.
    for id in 1..=60 {
        broker.say(3, &qos1("t", id, false, b"x"));
        if id % 2 == 0 {
            let told = broker.told(2);
            let (_, id) = published(&told).pop().expect("one of them is its");
            let more = broker.say(2, &[0x40, 2, 0, id]);
            broker.fx.out.of(ConnId(2)).extend(more);
        }
    }
    assert_eq!(dropped(&broker, Drop::QueueFull), 0);
}

/// What a member had when it left, and the others have no room for, waits for it.
#[test]
fn what_a_leaving_member_had_is_not_lost_at_one_that_is_full() {
    let mut two = Two::new(|options| options.limits.queue_length_max = 40);
    let (here, there) = group_of_two(&mut two, 4);
    two.shards[there].step(Input::Closed { conn: ConnId(1) });
    two.settle();
    for id in 1..=60 {
        two.shards[here].say(3, &qos1("t", id, false, b"x"));
    }
    two.settle();
    let stuck = of_shard(1 - here as u16, 0);
    two.shards[there].connect(1, stuck, false, &receive_maximum(4));
    two.settle();
    // All of them are under way to the one on the owner's shard, which goes now.
    two.shards[here].step(Input::Closed { conn: ConnId(2) });
    two.settle();
    let ledgers = two
        .shards
        .each_ref()
        .map(|broker| dropped(broker, Drop::QueueFull));
    assert_eq!(ledgers, [0, 0]);
    let back = of_shard(here as u16, 0);
    let own = two.shards[here].connect(2, back, false, &[]);
    two.settle();
    let others = two.shards[there].told(1);
    assert_eq!(published(&others).len(), 4);
    assert!(
        published(&own).len() >= 60 - 44,
        "{}",
        published(&own).len()
    );
}

/// One that is away waits for what nobody has a place for, not for what only has to wait a while.
#[test]
fn who_is_there_and_has_to_wait_goes_before_who_is_away() {
    let mut two = Two::new(|_| {});
    let (here, there) = group_of_two(&mut two, 1);
    two.shards[here].step(Input::Closed { conn: ConnId(2) });
    two.settle();
    for id in 1..=20 {
        two.shards[here].say(3, &qos1("t", id, false, b"x"));
        two.settle();
    }
    let mut unacknowledged = published(&two.shards[there].told(1));
    let mut taken = 0;
    while let Some((_, id)) = unacknowledged.pop() {
        taken += 1;
        let told = two.shards[there].say(1, &[0x40, 2, 0, id]);
        unacknowledged.extend(published(&told));
    }
    assert_eq!(taken, 20);
}
