//! Where a message on one topic goes.

use super::groups::GroupId;
use super::qos::QoS;
use super::shard_set::ShardSet;
use super::subscribers::{ClientKey, Subscriber};

/// The receivers of one topic, every client once however many of its filters match.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// Sessions of this shard.
    pub targets: Vec<Target>,
    /// Shared subscriptions that this shard holds.
    pub groups: Vec<GroupId>,
    /// Other shards that may have receivers.
    pub remote: ShardSet,
    /// What is left of the targets with a no-local subscription when they are the publisher.
    own: Vec<Target>,
    identifiers: Vec<u32>,
}

/// One client's matching subscriptions, merged (MQTT 5 section 3.3.4): the highest QoS and every
/// subscription identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub client: ClientKey,
    pub qos: QoS,
    /// One of the subscriptions wants the retain flag as published.
    pub retain_as_published: bool,
    /// One of the subscriptions is no-local: see [`Route::targets_for`].
    no_local: bool,
    identifiers_len: u16,
    identifiers_at: u32,
}

const _: () = assert!(size_of::<Target>() == 16);

impl Route {
    /// The targets of a message from `publisher`, a session of this shard. Its no-local
    /// subscriptions are left out [MQTT-3.8.3-3].
    #[inline]
    pub fn targets_for(&self, publisher: Option<ClientKey>) -> impl Iterator<Item = &Target> {
        self.targets.iter().filter_map(move |target| {
            if target.no_local && Some(target.client) == publisher {
                return self.own.iter().find(|own| own.client == target.client);
            }
            Some(target)
        })
    }

    /// The subscription identifiers that go with the message [MQTT-3.3.4-3].
    #[inline]
    pub fn identifiers(&self, target: &Target) -> &[u32] {
        let from = target.identifiers_at as usize;
        &self.identifiers[from..from + usize::from(target.identifiers_len)]
    }

    /// True when nobody on this shard receives and no other shard may.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.groups.is_empty() && self.remote.is_empty()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + (self.targets.capacity() + self.own.capacity()) * size_of::<Target>()
            + self.groups.capacity() * size_of::<GroupId>()
            + self.identifiers.capacity() * size_of::<u32>()
    }

    pub(super) fn clear(&mut self) {
        self.targets.clear();
        self.groups.clear();
        self.own.clear();
        self.identifiers.clear();
        self.remote = ShardSet::EMPTY;
    }

    /// Fills in the subscribers of the matching filters. With one filter no client comes twice;
    /// with several, `scratch` brings a client's subscriptions together.
    pub(super) fn merge(&mut self, matching: &[&[Subscriber]], scratch: &mut Vec<Subscriber>) {
        if let [only] = matching {
            self.targets.reserve_exact(only.len());
            only.iter()
                .for_each(|subscriber| self.add(std::slice::from_ref(subscriber)));
            return;
        }
        scratch.clear();
        matching
            .iter()
            .for_each(|subscribers| scratch.extend_from_slice(subscribers));
        scratch.sort_unstable_by_key(|subscriber| subscriber.client);
        for subscriptions in scratch.chunk_by(|one, two| one.client == two.client) {
            self.add(subscriptions);
        }
        if scratch.capacity() > 4_096 {
            *scratch = Vec::new();
        }
    }

    /// Adds one client, with its matching subscriptions.
    fn add(&mut self, subscriptions: &[Subscriber]) {
        let is_no_local = |known: &&Subscriber| known.subscription.no_local;
        let no_local = subscriptions.iter().any(|known| is_no_local(&known));
        if let Some(mut target) = self.merged(subscriptions.iter()) {
            target.no_local = no_local;
            self.targets.push(target);
        }
        if no_local {
            let others = subscriptions.iter().filter(|known| !is_no_local(known));
            let own = self.merged(others);
            self.own.extend(own);
        }
    }

    fn merged<'a>(&mut self, subs: impl Iterator<Item = &'a Subscriber>) -> Option<Target> {
        let mut merged: Option<Target> = None;
        for Subscriber {
            client,
            subscription,
        } in subs
        {
            let target = merged.get_or_insert(Target {
                client: *client,
                qos: subscription.qos,
                retain_as_published: false,
                no_local: false,
                identifiers_len: 0,
                identifiers_at: self.identifiers.len() as u32,
            });
            target.qos = target.qos.max(subscription.qos);
            target.retain_as_published |= subscription.retain_as_published;
            if let Some(identifier) = subscription.identifier
                && target.identifiers_len < u16::MAX
            {
                self.identifiers.push(identifier.get());
                target.identifiers_len += 1;
            }
        }
        merged
    }
}
