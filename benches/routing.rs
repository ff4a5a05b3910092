//! Cost of routing, by the number of subscriptions and of retained messages.
//!
//! `cargo bench --bench routing`. What is held is the growth: with a million filters a route takes
//! at most twice as long as with a thousand, where topics come again. What each operation may cost
//! is stated in instructions, which hold on any machine: `benches/instructions`.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use ringmq::routing::{Allowance, CacheLimits, ClientKey, QoS, Retained, Router, Subscription};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [u32; 2] = [1_000, 1_000_000];
const SUBSCRIPTION: Subscription = Subscription {
    identifier: None,
    qos: QoS::AtLeastOnce,
    no_local: false,
    retain_as_published: false,
};
const NO_CACHE: CacheLimits = CacheLimits {
    entries_max: 0,
    bytes_max: 0,
};

#[derive(Clone, Copy)]
enum Shape {
    Exact,
    Plus,
    Multi,
    /// A third of each.
    Mixed,
}

impl Shape {
    const ALL: [(&str, Self); 4] = [
        ("exact", Self::Exact),
        ("plus", Self::Plus),
        ("multi", Self::Multi),
        ("mixed", Self::Mixed),
    ];

    fn filter(self, device: u32) -> String {
        match self {
            Self::Exact => format!("fleet/site{}/dev{device}/command", device % 100),
            Self::Plus => format!("fleet/+/dev{device}/command"),
            Self::Multi => format!("fleet/site{}/dev{device}/#", device % 100),
            Self::Mixed => {
                [Self::Exact, Self::Plus, Self::Multi][device as usize % 3].filter(device)
            }
        }
    }

    fn router(self, count: u32, limits: CacheLimits) -> Router {
        let mut router = Router::with_cache(0, None, 42, limits);
        for device in 0..count {
            router.subscribe(ClientKey(device), &self.filter(device), SUBSCRIPTION);
        }
        router
    }
}

fn topic(device: u32) -> String {
    format!("fleet/site{}/dev{device}/command", device % 100)
}

/// Topics of `topics` subscribed devices out of `count`, all over the table.
fn topics(topics: u32, count: u32) -> Vec<String> {
    let spread = |i: u32| (u64::from(i) * 2_654_435_761 % u64::from(count)) as u32;
    (0..topics).map(|i| topic(spread(i))).collect()
}

fn each_in_turn<'t>(texts: &'t [String]) -> impl FnMut() -> &'t str {
    let mut at = 0;
    move || {
        at = if at + 1 < texts.len() { at + 1 } else { 0 };
        &texts[at]
    }
}

/// Routes that are not cached. `warm`: the same thousand topics at both sizes, so that the
/// difference is that of the algorithm; `cold`: topics from the whole table, so that it is also
/// the memory's.
fn resolve(criterion: &mut Criterion) {
    for (name, shape) in Shape::ALL {
        for (heat, topics_max) in [("warm", 1_000), ("cold", 200_000)] {
            let mut group = criterion.benchmark_group(format!("resolve_{name}_{heat}"));
            for count in SIZES {
                let mut router = shape.router(count, NO_CACHE);
                let topics = topics(topics_max.min(count), count);
                let mut next = each_in_turn(&topics);
                group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
                    let batch = BatchSize::NumIterations(256);
                    // The copy stands for the read buffer, which is always at hand.
                    let copy = || next().to_owned();
                    bencher.iter_batched(copy, |topic| router.route(&topic), batch);
                });
            }
        }
    }
}

fn cached(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cached");
    for count in SIZES {
        let mut router = Shape::Mixed.router(count, CacheLimits::default());
        let topics: Vec<String> = (0..100).map(topic).collect();
        let mut next = each_in_turn(&topics);
        (0..1_000).for_each(|_| drop(router.route(next())));
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| black_box(router.route(next())));
        });
    }
}

fn subscribe(criterion: &mut Criterion) {
    for (name, shape) in Shape::ALL {
        let mut group = criterion.benchmark_group(format!("subscribe_unsubscribe_{name}"));
        for count in SIZES {
            let mut router = shape.router(count, NO_CACHE);
            let filters: Vec<String> = (0..1_000).map(|i| shape.filter(count + i)).collect();
            let mut next = each_in_turn(&filters);
            group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
                bencher.iter(|| {
                    let filter = next();
                    router.subscribe(ClientKey(0), filter, SUBSCRIPTION);
                    router.unsubscribe(ClientKey(0), filter)
                });
            });
        }
    }
}

/// One filter with very many subscribers: one of them leaves and comes back.
fn crowd(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("crowd_leave_and_join");
    for count in [1_000, 100_000] {
        let mut router = Router::new(0, None, 42);
        for client in 0..count {
            router.subscribe(ClientKey(client), "fleet/all", SUBSCRIPTION);
        }
        let mut client = 0;
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| {
                client = (client + 7_919) % count;
                router.unsubscribe(ClientKey(client), "fleet/all");
                router.subscribe(ClientKey(client), "fleet/all", SUBSCRIPTION)
            });
        });
    }
}

fn retained_of(count: u32) -> Retained<u64> {
    let mut retained = Retained::new(42, |_| 8);
    for device in 0..count {
        retained.insert(&topic(device), u64::from(device));
    }
    retained
}

fn retained_store(criterion: &mut Criterion) {
    for (name, is_new) in [
        ("retained_replace", false),
        ("retained_new_and_clear", true),
    ] {
        let mut group = criterion.benchmark_group(name);
        for count in SIZES {
            let mut retained = retained_of(count);
            let topics = if is_new {
                (0..1_000).map(|i| topic(count + i)).collect()
            } else {
                topics(count.min(200_000), count)
            };
            let mut next = each_in_turn(&topics);
            group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
                bencher.iter(|| {
                    let topic = next();
                    retained.insert(topic, 1);
                    is_new.then(|| retained.remove(topic))
                });
            });
        }
    }
}

fn retained_look_up(criterion: &mut Criterion) {
    for (name, wildcard) in [
        ("retained_exact", false),
        ("retained_ten_by_wildcard", true),
    ] {
        let mut group = criterion.benchmark_group(name);
        for count in SIZES {
            let mut retained = retained_of(count);
            for i in 0..10 {
                retained.insert(&format!("ten/a{i}/b"), 0);
            }
            let topics = topics(count.min(200_000), count);
            let mut next = each_in_turn(&topics);
            group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
                bencher.iter_batched(
                    || if wildcard { "ten/+/b" } else { next() },
                    |filter| {
                        let mut found = 0;
                        let mut allowance = Allowance::new(100);
                        let give = |_: &str, _: &_| found += 1;
                        let rest = retained.walk(filter, None, &mut allowance, give);
                        assert!(rest.is_none());
                        assert_eq!(found, if wildcard { 10 } else { 1 });
                    },
                    BatchSize::SmallInput,
                );
            });
        }
    }
}

criterion_group! {
    name = routing;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(std::time::Duration::from_millis(500))
        .measurement_time(std::time::Duration::from_secs(2));
    targets = resolve, cached, subscribe, crowd, retained_store, retained_look_up
}
criterion_main!(routing);
