//! Random histories against models that do everything the slow way.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::hash::Seed;
use super::super::*;
use crate::codec::topic::matches;

/// All bits of a key, and so few that nearly all or all keys collide.
fn masks() -> impl Strategy<Value = u32> {
    select(vec![!0, 3, 0])
}

fn level() -> impl Strategy<Value = &'static str> {
    select(vec!["a", "a", "b", "", "$x"])
}

fn topic() -> impl Strategy<Value = String> {
    vec(level(), 1..5).prop_map(|levels| levels.join("/"))
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![3 => level(), 2 => Just("+")];
    (vec(level, 0..4), any::<bool>()).prop_map(|(mut levels, multi)| {
        if multi || levels.is_empty() {
            levels.push("#");
        }
        levels.join("/")
    })
}

fn options() -> impl Strategy<Value = Subscription> {
    let qos = select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]);
    (0..4_u32, qos, any::<bool>(), any::<bool>()).prop_map(
        |(identifier, qos, no_local, retain_as_published)| Subscription {
            identifier: NonZeroU32::new(identifier),
            qos,
            no_local,
            retain_as_published,
        },
    )
}

#[derive(Clone, Debug)]
enum Op {
    Subscribe(u32, String, Subscription),
    Unsubscribe(u32, String),
    Remove(u32, usize),
    Join(u32, String),
    Leave(u32, String),
    Route(String),
}

fn op(clients: u32) -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..clients, filter(), options()).prop_map(|(c, f, s)| Op::Subscribe(c, f, s)),
        1 => (0..clients, filter()).prop_map(|(c, f)| Op::Unsubscribe(c, f)),
        2 => (0..clients, any::<usize>()).prop_map(|(c, i)| Op::Remove(c, i)),
        1 => (0..clients, filter()).prop_map(|(c, f)| Op::Join(c, f)),
        1 => (0..clients, filter()).prop_map(|(c, f)| Op::Leave(c, f)),
        6 => topic().prop_map(Op::Route),
    ]
}

/// What a client is to get: QoS, retain as published, identifiers in order.
type Expected = BTreeMap<u32, (QoS, bool, Vec<u32>)>;

#[derive(Default)]
struct Model {
    subscriptions: BTreeMap<(u32, String), (Subscription, FilterId)>,
    members: BTreeSet<(String, u32)>,
}

impl Model {
    fn expected(&self, topic: &str, publisher: Option<ClientKey>) -> Expected {
        let mut expected = Expected::new();
        for ((client, filter), (subscription, _)) in &self.subscriptions {
            let own = publisher == Some(ClientKey(*client)) && subscription.no_local;
            if own || !matches(filter, topic) {
                continue;
            }
            let merged = expected
                .entry(*client)
                .or_insert((QoS::AtMostOnce, false, vec![]));
            merged.0 = merged.0.max(subscription.qos);
            merged.1 |= subscription.retain_as_published;
            merged
                .2
                .extend(subscription.identifier.map(NonZeroU32::get));
            merged.2.sort_unstable();
        }
        expected
    }

    fn groups(&self, topic: &str) -> BTreeSet<&str> {
        let matching = self
            .members
            .iter()
            .filter(|(filter, _)| matches(filter, topic));
        matching.map(|(filter, _)| filter.as_str()).collect()
    }

    fn has_interest(&self, topic: &str) -> bool {
        !self.expected(topic, None).is_empty() || !self.groups(topic).is_empty()
    }
}

/// A router and its model, changed together.
struct Pair {
    shard: u16,
    router: Router,
    model: Model,
}

impl Pair {
    fn new(shard: u16, directory: Option<Arc<Directory>>, mask: u32, cached: usize) -> Self {
        let limits = CacheLimits {
            entries_max: cached,
            ..CacheLimits::default()
        };
        let seed = match &directory {
            Some(directory) => directory.seed().clone(),
            None => Seed::narrowed(11, mask),
        };
        let router = Router::with_seed(shard, directory, seed, limits);
        Self {
            shard,
            router,
            model: Model::default(),
        }
    }

    fn apply(&mut self, op: &Op) {
        let Self { router, model, .. } = self;
        match op.clone() {
            Op::Subscribe(client, filter, options) => {
                let outcome = router.subscribe(ClientKey(client), &filter, options);
                assert_eq!(router.filter(outcome.id), filter);
                assert_eq!(
                    router.subscription(ClientKey(client), outcome.id),
                    Some(&options)
                );
                let old = model
                    .subscriptions
                    .insert((client, filter), (options, outcome.id));
                assert_eq!(outcome.is_new, old.is_none());
                assert!(old.is_none_or(|(_, id)| id == outcome.id));
            }
            Op::Unsubscribe(client, filter) => {
                let known = model.subscriptions.remove(&(client, filter.clone()));
                let gone = router.unsubscribe(ClientKey(client), &filter);
                assert_eq!(gone, known.map(|(_, id)| id));
            }
            Op::Remove(client, nth) => {
                let of_client = |((known, _), _): &(&(u32, String), _)| *known == client;
                let count = model.subscriptions.iter().filter(of_client).count();
                let mut of_client = model.subscriptions.iter().filter(of_client);
                let Some((key, (_, id))) = of_client.nth(nth % count.max(1)) else {
                    return;
                };
                let (key, id) = (key.clone(), *id);
                assert!(router.remove(ClientKey(client), id));
                assert!(!router.remove(ClientKey(client), id));
                model.subscriptions.remove(&key);
            }
            Op::Join(client, filter) => {
                router.join("g", &filter, member(client));
                model.members.insert((filter, client));
            }
            Op::Leave(client, filter) => {
                let known = model.members.remove(&(filter.clone(), client));
                let left = router
                    .group("g", &filter)
                    .map(|g| router.leave(g, 9, ClientKey(client)));
                assert_eq!(left.unwrap_or(false), known);
            }
            Op::Route(topic) => self.check_route(&topic),
        }
    }

    fn check_route(&mut self, topic: &str) {
        let route = self.router.route(topic);
        for publisher in [None, Some(ClientKey(0)), Some(ClientKey(1))] {
            let mut routed = Expected::new();
            for target in route.targets_for(publisher) {
                let mut identifiers = route.identifiers(target).to_vec();
                identifiers.sort_unstable();
                let merged = (target.qos, target.retain_as_published, identifiers);
                assert!(
                    routed.insert(target.client.0, merged).is_none(),
                    "a client once"
                );
            }
            assert_eq!(routed, self.model.expected(topic, publisher), "{topic}");
        }
        let name = |group: &GroupId| self.router.group_names(*group).unwrap().1;
        let groups: BTreeSet<&str> = route.groups.iter().map(name).collect();
        assert_eq!(groups, self.model.groups(topic), "{topic}");
        assert_eq!(groups.len(), route.groups.len(), "a group once");
    }

    fn clear(&mut self) {
        while let Some((client, filter)) = self.model.subscriptions.keys().next().cloned() {
            self.apply(&Op::Unsubscribe(client, filter));
        }
        while let Some((filter, client)) = self.model.members.first().cloned() {
            self.apply(&Op::Leave(client, filter));
        }
        let stats = self.router.stats();
        assert_eq!(
            (stats.filters, stats.subscriptions, stats.groups),
            (0, 0, 0)
        );
        assert!(stats.bytes < 256, "{stats:?}");
    }
}

fn member(client: u32) -> Member {
    Member {
        has_room: true,
        shard: 9,
        connected: true,
        client: ClientKey(client),
        generation: 0,
        subscription: super::subscription(QoS::AtLeastOnce),
    }
}

proptest! {
    #[test]
    fn a_router_does_what_the_model_does(
        mask in masks(),
        cached in select(vec![0_usize, 2, 1_000]),
        clients in select(vec![3_u32, 40]),
        ops in vec(op(40), 1..200),
    ) {
        let mut pair = Pair::new(0, None, mask, cached);
        for op in &ops {
            let mut op = op.clone();
            if let Op::Subscribe(c, ..) | Op::Unsubscribe(c, _) | Op::Remove(c, _) = &mut op {
                *c %= clients;
            }
            pair.apply(&op);
        }
        pair.clear();
    }

    #[test]
    fn no_interested_shard_is_missed(
        mask in masks(),
        ops in vec((0..3_usize, op(3)), 1..150),
        topics in vec(topic(), 1..6),
    ) {
        let directory = Arc::new(Directory::with_seed(Seed::narrowed(5, mask)));
        let mut pairs: Vec<Pair> =
            (0..3).map(|s| Pair::new(s, Some(Arc::clone(&directory)), mask, 1_000)).collect();
        for (shard, op) in &ops {
            pairs[*shard].apply(op);
            for topic in &topics {
                let interested: ShardSet =
                    pairs.iter().filter(|p| p.model.has_interest(topic)).map(|p| p.shard).collect();
                let found = directory.shards(topic);
                prop_assert_eq!(found.union(interested), found, "{}", topic);
                for pair in &mut pairs {
                    let mut others = found;
                    others.remove(pair.shard);
                    prop_assert_eq!(pair.router.route(topic).remote, others);
                }
            }
        }
        pairs.iter_mut().for_each(Pair::clear);
        prop_assert!(directory.is_empty());
    }

    #[test]
    fn retained_walks_give_each_topic_once(
        mask in masks(),
        before in vec((topic(), any::<bool>()), 0..60),
        between in vec((topic(), any::<bool>()), 0..30),
        filter in filter(),
        topics_max in 1..5_usize,
    ) {
        let mut retained = Retained::with_seed(Seed::narrowed(7, mask), |_: &usize| 8);
        let mut model = BTreeMap::new();
        let mut change = |retained: &mut Retained<usize>, topic: &str, keep: bool| {
            let serial = model.len();
            if keep {
                assert_eq!(retained.insert(topic, serial), model.insert(topic.to_owned(), serial));
            } else {
                assert_eq!(retained.remove(topic), model.remove(topic));
            }
            assert_eq!((retained.len(), retained.get(topic)), (model.len(), model.get(topic)));
            model.keys().cloned().collect::<BTreeSet<_>>()
        };
        let mut lasting = BTreeSet::new();
        for (topic, keep) in &before {
            lasting = change(&mut retained, topic, *keep);
        }
        let mut changes = between.iter();
        let (mut given, mut cursor) = (Vec::new(), None);
        for calls in 0.. {
            let mut allowance = Allowance::new(topics_max);
            cursor = retained.walk(&filter, cursor.as_deref(), &mut allowance, |topic, _| {
                given.push(topic.to_owned());
            });
            if cursor.is_none() {
                break;
            }
            prop_assert!(calls < 1_000, "the walk gets somewhere");
            if let Some((topic, keep)) = changes.next() {
                change(&mut retained, topic, *keep);
                // A topic that came or went may be given or not: it no longer counts.
                lasting.remove(topic);
            }
        }
        let is_lasting = |topic: &&String| lasting.contains(*topic);
        let once: BTreeSet<&String> = given.iter().filter(is_lasting).collect();
        prop_assert_eq!(once.len(), given.iter().filter(is_lasting).count(), "given once");
        let expected: BTreeSet<&String> = lasting.iter().filter(|t| matches(&filter, t)).collect();
        prop_assert_eq!(once, expected);
        prop_assert!(given.iter().all(|topic| matches(&filter, topic)));
        let all: Vec<String> = model.keys().cloned().collect();
        let mut swept = Vec::new();
        let rest = retained.sweep(None, 1_000, |topic, _| swept.push(topic.to_owned()));
        prop_assert!(rest.is_none());
        swept.sort_unstable();
        prop_assert_eq!(&swept, &all);
        all.iter().for_each(|topic| assert!(retained.remove(topic).is_some()));
        prop_assert!(retained.bytes() < 256);
    }
}

#[test]
fn churn_on_other_threads_hides_no_lasting_interest() {
    let directory = Arc::new(Directory::new(3));
    let mut lasting = Router::new(0, Some(Arc::clone(&directory)), 0);
    let qos = super::subscription(QoS::AtMostOnce);
    for filter in ["a/b", "a/+", "c/#"] {
        lasting.subscribe(ClientKey(0), filter, qos);
    }
    std::thread::scope(|scope| {
        for shard in 1..4 {
            let directory = Arc::clone(&directory);
            scope.spawn(move || {
                let mut router = Router::new(shard, Some(directory), 0);
                for round in 0..2_000_u32 {
                    let filters = ["a/b", "a/+", "c/#", &format!("x/{round}/#")];
                    for filter in filters {
                        router.subscribe(ClientKey(1), filter, qos);
                    }
                    for topic in ["a/b", "a/z", "c"] {
                        assert!(router.route(topic).remote.contains(0));
                    }
                    for filter in filters {
                        assert!(router.unsubscribe(ClientKey(1), filter).is_some());
                    }
                }
            });
        }
    });
    assert_eq!(directory.len(), 3);
    assert_eq!(directory.shards("a/b").iter().collect::<Vec<_>>(), [0]);
}
