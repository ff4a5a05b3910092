//! Subscriptions and retained messages, among 10,000 of them.

use ringmq::routing::{Allowance, CacheLimits, ClientKey, Retained, Router, Subscription};
use std::hint::black_box;

const SUBSCRIPTIONS: u32 = 10_000;
const SUBSCRIPTION: Subscription = Subscription {
    identifier: None,
    qos: ringmq::routing::QoS::AtLeastOnce,
    no_local: false,
    retain_as_published: false,
};

fn router(filter: fn(u32) -> String, limits: CacheLimits) -> Router {
    let mut router = Router::with_cache(0, None, 42, limits);
    for device in 0..SUBSCRIPTIONS {
        router.subscribe(ClientKey(device), &filter(device), SUBSCRIPTION);
    }
    router
}

fn exact(device: u32) -> String {
    format!("fleet/site{}/dev{device}/command", device % 100)
}

fn plus(device: u32) -> String {
    format!("fleet/+/dev{device}/command")
}

const NO_CACHE: CacheLimits = CacheLimits {
    entries_max: 0,
    bytes_max: 0,
};

fn route(rounds: u64, filter: fn(u32) -> String, limits: CacheLimits) {
    let mut router = router(filter, limits);
    let topics: Vec<String> = (0..100).map(|i| exact(i * 97)).collect();
    topics.iter().for_each(|topic| drop(router.route(topic)));
    for round in 0..rounds as usize {
        black_box(router.route(&topics[round % topics.len()]));
    }
}

pub fn route_exact(rounds: u64) {
    route(rounds, exact, NO_CACHE);
}

pub fn route_plus(rounds: u64) {
    route(rounds, plus, NO_CACHE);
}

pub fn route_cached(rounds: u64) {
    route(rounds, plus, CacheLimits::default());
}

pub fn subscribe(rounds: u64) {
    let mut router = router(plus, NO_CACHE);
    let filter = plus(SUBSCRIPTIONS);
    for _ in 0..rounds {
        router.subscribe(ClientKey(0), black_box(&filter), SUBSCRIPTION);
        black_box(router.unsubscribe(ClientKey(0), &filter));
    }
}

fn retained() -> Retained<u64> {
    let mut retained = Retained::new(42, |_| 8);
    for device in 0..SUBSCRIPTIONS {
        retained.insert(&exact(device), u64::from(device));
    }
    retained
}

pub fn retained_replace(rounds: u64) {
    let mut retained = retained();
    let topic = exact(77);
    for round in 0..rounds {
        retained.insert(black_box(&topic), round);
    }
}

pub fn retained_ten(rounds: u64) {
    let mut retained = retained();
    for i in 0..10 {
        retained.insert(&format!("ten/a{i}/b"), 0);
    }
    for _ in 0..rounds {
        let mut found = 0;
        let mut allowance = Allowance::new(100);
        let filter = black_box("ten/+/b");
        let rest = retained.walk(filter, None, &mut allowance, |_, _| found += 1);
        assert!(rest.is_none() && found == 10);
    }
}
