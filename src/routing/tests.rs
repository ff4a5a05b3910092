//! The router against what the standard says.

mod properties;

use std::num::NonZeroU32;
use std::sync::Arc;

use super::hash::Seed;
use super::*;
use crate::codec::topic::matches;

pub(super) fn subscription(qos: QoS) -> Subscription {
    Subscription {
        identifier: None,
        qos,
        no_local: false,
        retain_as_published: false,
    }
}

fn clients(route: &Route) -> Vec<u32> {
    let mut clients: Vec<u32> = route.targets.iter().map(|target| target.client.0).collect();
    clients.sort_unstable();
    clients
}

#[test]
fn routes_to_matching_filters() {
    let mut router = Router::new(0, None, 1);
    let filters = [
        "a/b", "a/+", "a/#", "#", "+/b", "a/b/#", "a/b/c", "$SYS/#", "+/+/#", "/+",
    ];
    for (client, filter) in filters.iter().enumerate() {
        router.subscribe(
            ClientKey(client as u32),
            filter,
            subscription(QoS::AtMostOnce),
        );
    }
    for topic in [
        "a/b", "a", "/", "/a", "a/b/c", "$SYS/x", "x", "b/b", "a/b/c/d",
    ] {
        let expected: Vec<u32> = (0..)
            .zip(filters)
            .filter(|(_, f)| matches(f, topic))
            .map(|(c, _)| c)
            .collect();
        for _ in 0..3 {
            assert_eq!(clients(&router.route(topic)), expected, "{topic}");
        }
    }
}

#[test]
fn overlapping_subscriptions_are_merged() {
    let mut router = Router::new(0, None, 1);
    let client = ClientKey(7);
    let identified = |identifier, qos, retain_as_published| Subscription {
        identifier: NonZeroU32::new(identifier),
        qos,
        no_local: false,
        retain_as_published,
    };
    router.subscribe(client, "a/b", identified(1, QoS::AtMostOnce, false));
    router.subscribe(client, "a/+", identified(2, QoS::ExactlyOnce, false));
    router.subscribe(client, "a/#", identified(0, QoS::AtLeastOnce, true));
    let route = router.route("a/b");
    let [target] = route.targets[..] else {
        panic!("one target")
    };
    assert_eq!(
        (target.qos, target.retain_as_published),
        (QoS::ExactlyOnce, true)
    );
    let mut identifiers = route.identifiers(&target).to_vec();
    identifiers.sort_unstable();
    assert_eq!(identifiers, [1, 2]);
}

#[test]
fn no_local_leaves_out_the_publisher() {
    let mut router = Router::new(0, None, 1);
    let quiet = Subscription {
        no_local: true,
        ..subscription(QoS::ExactlyOnce)
    };
    router.subscribe(ClientKey(1), "a/#", quiet);
    router.subscribe(ClientKey(2), "a/#", quiet);
    router.subscribe(ClientKey(2), "a/b", subscription(QoS::AtMostOnce));
    let route = router.route("a/b");
    let qos = |publisher| {
        route
            .targets_for(publisher)
            .map(|t| (t.client.0, t.qos))
            .collect::<Vec<_>>()
    };
    let (two, zero) = (QoS::ExactlyOnce, QoS::AtMostOnce);
    assert_eq!(qos(None), [(1, two), (2, two)]);
    assert_eq!(qos(Some(ClientKey(1))), [(2, two)]);
    assert_eq!(qos(Some(ClientKey(2))), [(1, two), (2, zero)]);
}

#[test]
fn a_change_is_seen_by_the_next_route() {
    let mut router = Router::new(0, None, 1);
    for round in 0..3 {
        assert!(router.route("a/b").is_empty());
        let first = router.subscribe(ClientKey(1), "a/+", subscription(QoS::AtMostOnce));
        assert!(first.is_new);
        assert_eq!(clients(&router.route("a/b")), [1]);
        assert!(
            !router
                .subscribe(ClientKey(1), "a/+", subscription(QoS::AtLeastOnce))
                .is_new
        );
        assert_eq!(router.route("a/b").targets[0].qos, QoS::AtLeastOnce);
        assert_eq!(router.filter(first.id), "a/+");
        assert!(router.subscription(ClientKey(1), first.id).is_some());
        if round == 1 {
            assert!(router.remove(ClientKey(1), first.id));
            assert!(!router.remove(ClientKey(1), first.id));
        } else {
            assert_eq!(router.unsubscribe(ClientKey(1), "a/+"), Some(first.id));
            assert_eq!(router.unsubscribe(ClientKey(1), "a/+"), None);
        }
    }
    assert_eq!(router.stats().filters, 0);
}

#[test]
fn members_of_a_group_take_turns() {
    let mut router = Router::new(0, None, 1);
    let member = |client, connected| Member {
        has_room: true,
        shard: (client % 2) as u16,
        connected,
        client: ClientKey(client),
        generation: 0,
        subscription: subscription(QoS::AtLeastOnce),
    };
    let group = router.join("g", "jobs/+", member(0, true));
    for client in 1..100 {
        assert_eq!(
            router.join("g", "jobs/+", member(client, client % 10 == 0)),
            group
        );
    }
    assert_eq!(router.route("jobs/1").groups, [group]);
    assert_eq!(router.group("g", "jobs/+"), Some(group));
    assert_eq!(router.group_names(group), Some(("g", "jobs/+")));
    let mut turns: Vec<u32> = (0..10)
        .map(|_| router.next(group, |_| true).unwrap().client.0)
        .collect();
    turns.sort_unstable();
    assert_eq!(turns, (0..100).step_by(10).collect::<Vec<_>>());
    for client in (0..100).step_by(10) {
        assert!(router.set_connected(group, 0, ClientKey(client), false));
    }
    assert!(router.set_connected(group, 1, ClientKey(33), true));
    assert_eq!(router.next(group, |_| true).unwrap().client.0, 33);
    assert_ne!(
        router.next(group, |m| m.client.0 != 33).unwrap().client.0,
        33
    );
    assert!(router.next(group, |_| false).is_none());
    for client in 0..100 {
        assert_eq!(router.members(group).len(), 100 - client as usize);
        assert!(router.leave(group, (client % 2) as u16, ClientKey(client)));
        assert!(!router.leave(group, (client % 2) as u16, ClientKey(client)));
    }
    assert!(router.route("jobs/1").is_empty());
    assert_eq!((router.stats().filters, router.stats().groups), (0, 0));
}

#[test]
fn colliding_keys_do_not_mislead() {
    let filters = [
        "a", "b", "a/b", "a/+", "b/+", "b/+/c", "+/b/c", "+/c", "a/#", "b/#", "#", "+",
    ];
    for mask in [0, 1] {
        let seed = Seed::narrowed(3, mask);
        let mut router = Router::with_seed(0, None, seed, CacheLimits::default());
        for (client, filter) in filters.iter().enumerate() {
            router.subscribe(
                ClientKey(client as u32),
                filter,
                subscription(QoS::AtMostOnce),
            );
        }
        for gone in 0..=filters.len() {
            for topic in ["a", "b", "c", "a/b", "b/c", "b/a/c", "a/b/c", "c/c/c"] {
                let known = (0..).zip(filters).skip(gone);
                let expected: Vec<u32> = known
                    .filter(|(_, f)| matches(f, topic))
                    .map(|(c, _)| c)
                    .collect();
                assert_eq!(clients(&router.route(topic)), expected, "{topic}");
            }
            if let Some(filter) = filters.get(gone) {
                assert!(router.unsubscribe(ClientKey(gone as u32), filter).is_some());
            }
        }
        assert_eq!(router.stats().filters, 0);
    }
}

#[test]
fn retained_messages_are_kept_found_and_forgotten() {
    let mut retained = Retained::new(1, |_: &u32| 4);
    assert_eq!(retained.insert("a/b", 1), None);
    assert_eq!(retained.insert("a/b", 2), Some(1));
    assert_eq!(retained.insert("a", 3), None);
    assert_eq!(retained.insert("$SYS/a", 4), None);
    assert_eq!(
        (retained.get("a/b"), retained.get("a/c"), retained.len()),
        (Some(&2), None, 3)
    );
    let given = |retained: &Retained<u32>, filter: &str| {
        let mut given = Vec::new();
        let give = |_: &str, message: &u32| given.push(*message);
        let rest = retained.walk(filter, None, &mut Allowance::new(10), give);
        assert!(rest.is_none());
        given.sort_unstable();
        given
    };
    assert_eq!(given(&retained, "#"), [2, 3]);
    assert_eq!(given(&retained, "a/#"), [2, 3]);
    assert_eq!(given(&retained, "+/b"), [2]);
    assert_eq!(given(&retained, "a"), [3]);
    assert_eq!(given(&retained, "$SYS/+"), [4]);
    assert_eq!(given(&retained, "+/+/#"), [2]);
    // One allowance for several walks: what the first has left is the second one's.
    let mut allowance = Allowance::new(3);
    let mut count = 0;
    for (filter, is_used_up) in [("#", false), ("+/b", true)] {
        retained.walk(filter, None, &mut allowance, |_, _| count += 1);
        assert_eq!(allowance.is_used_up(), is_used_up, "{filter}");
    }
    assert_eq!(count, 3);
    let mut swept = 0;
    assert!(retained.sweep(None, 10, |_, _| swept += 1).is_none());
    assert_eq!(swept, 3);
    assert!(retained.bytes() > 4 * 3);
    assert_eq!(retained.remove("a/b"), Some(2));
    assert_eq!(retained.remove("a/b"), None);
    assert_eq!(
        (retained.remove("a"), retained.remove("$SYS/a")),
        (Some(3), Some(4))
    );
    assert!(retained.is_empty());
    assert!(given(&retained, "#").is_empty());
}

#[test]
fn a_flood_of_new_topics_pushes_nothing_out() {
    let limits = CacheLimits {
        entries_max: 64,
        bytes_max: 1 << 20,
    };
    let mut router = Router::with_cache(0, None, 1, limits);
    router.subscribe(ClientKey(1), "a/#", subscription(QoS::AtMostOnce));
    for topic in 0..48 {
        for _ in 0..3 {
            router.route(&format!("a/{topic}"));
        }
    }
    assert_eq!(router.stats().cached_routes, 48);
    for topic in 0..100_000 {
        assert_eq!(clients(&router.route(&format!("a/flood/{topic}"))), [1]);
    }
    assert_eq!(router.stats().cached_routes, 48);
}

#[test]
fn cached_routes_stay_within_their_bounds() {
    let limits = CacheLimits {
        entries_max: 50,
        bytes_max: 100_000,
    };
    let mut router = Router::with_cache(0, None, 1, limits);
    for client in 0..1_000 {
        router.subscribe(ClientKey(client), "wide/#", subscription(QoS::AtMostOnce));
        router.subscribe(
            ClientKey(client),
            &format!("own/{client}"),
            subscription(QoS::AtMostOnce),
        );
    }
    for round in 0..4 {
        for topic in 0..200 {
            for _ in 0..2 {
                assert_eq!(clients(&router.route(&format!("own/{topic}"))), [topic]);
                assert_eq!(
                    router.route(&format!("wide/{}", topic % 9)).targets.len(),
                    1_000
                );
            }
            let stats = router.stats();
            assert!(
                stats.cached_routes <= 50 && stats.cache_bytes < 110_000,
                "{round} {stats:?}"
            );
        }
    }
}

#[test]
fn filters_that_share_a_key_share_their_interest() {
    let orders = [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"]];
    for order in orders.map(|order| order.map(str::to_owned)) {
        for suffix in ["", "/#"] {
            let directory = Arc::new(Directory::with_seed(Seed::narrowed(3, 0)));
            let mut router = Router::new(2, Some(Arc::clone(&directory)), 0);
            for filter in ["a", "b", "c"] {
                let filter = format!("{filter}{suffix}");
                router.subscribe(ClientKey(1), &filter, subscription(QoS::AtMostOnce));
            }
            for filter in &order {
                assert!(directory.shards(&order[2]).contains(2));
                let gone = router.unsubscribe(ClientKey(1), &format!("{filter}{suffix}"));
                assert!(gone.is_some());
            }
            assert!(directory.is_empty());
        }
    }
}
