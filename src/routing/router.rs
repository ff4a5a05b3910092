//! Subscriptions of one shard's sessions, and the routes that follow from them.

use std::sync::Arc;

use super::cache::{Cache, CacheLimits, Stamp};
use super::directory::Directory;
use super::filter::{FilterId, Filters, Interest};
use super::groups::{GroupId, Groups, Left, Member};
use super::hash::Seed;
use super::levels::{TopicKeys, wildcard_part};
use super::route::Route;
use super::subscribers::{ClientKey, Subscriber, Subscription};

/// Filters given to a router are valid and without a share name.
pub struct Router {
    shard: u16,
    directory: Option<Arc<Directory>>,
    seed: Seed,
    filters: Filters,
    groups: Groups,
    cache: Cache,
    version: u64,
    /// Changes that concern more than one topic.
    wide_changes: u64,
    subscriptions: usize,
    /// Bytes allocated by filters' subscribers.
    subscriber_bytes: usize,
    /// Kept for the next route that is not in the cache.
    spare: Arc<Route>,
    keys: TopicKeys,
    scratch: Vec<Subscriber>,
}

/// What a subscription came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribed {
    pub id: FilterId,
    /// False when the client had a subscription with this filter, which is now replaced.
    pub is_new: bool,
}

/// Sizes of a router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Distinct filters.
    pub filters: usize,
    /// Subscriptions that are not shared.
    pub subscriptions: usize,
    pub groups: usize,
    /// Members of all groups.
    pub members: usize,
    pub cached_routes: usize,
    /// Bytes of filters, subscriptions and groups, the allocator's own share left out.
    pub bytes: usize,
    /// Bytes of cached routes.
    pub cache_bytes: usize,
}

impl Router {
    /// The router of `shard`. `seed` keys the hash tables and is not to be guessed from outside;
    /// with a directory the directory's seed is used in its place.
    pub fn new(shard: u16, directory: Option<Arc<Directory>>, seed: u64) -> Self {
        Self::with_cache(shard, directory, seed, CacheLimits::default())
    }

    /// As [`new`](Self::new), with bounds for the cache of routes.
    pub fn with_cache(
        shard: u16,
        directory: Option<Arc<Directory>>,
        seed: u64,
        limits: CacheLimits,
    ) -> Self {
        let seed = match &directory {
            Some(directory) => directory.seed().clone(),
            None => Seed::new(seed),
        };
        Self::with_seed(shard, directory, seed, limits)
    }

    pub(super) fn with_seed(
        shard: u16,
        directory: Option<Arc<Directory>>,
        seed: Seed,
        limits: CacheLimits,
    ) -> Self {
        Self {
            shard,
            directory,
            seed,
            filters: Filters::default(),
            groups: Groups::default(),
            cache: Cache::new(limits),
            version: 0,
            wide_changes: 0,
            subscriptions: 0,
            subscriber_bytes: 0,
            spare: Arc::default(),
            keys: TopicKeys::default(),
            scratch: Vec::new(),
        }
    }

    /// Adds the client's subscription, or replaces the one with the same filter [MQTT-3.8.4-3].
    pub fn subscribe(
        &mut self,
        client: ClientKey,
        filter: &str,
        subscription: Subscription,
    ) -> Subscribed {
        let id = self.find_or_insert(filter);
        let is_new = self.change_subscribers(id, |known| known.set(client, subscription));
        self.subscriptions += usize::from(is_new);
        Subscribed { id, is_new }
    }

    /// Whether the client has a subscription with this filter.
    pub fn has(&self, client: ClientKey, filter: &str) -> bool {
        let id = self.filters.find(&self.seed, filter);
        id.is_some_and(|id| self.subscription(client, id).is_some())
    }

    /// Takes out the client's subscription with this filter; none if there is none.
    pub fn unsubscribe(&mut self, client: ClientKey, filter: &str) -> Option<FilterId> {
        let id = self.filters.find(&self.seed, filter)?;
        self.remove(client, id).then_some(id)
    }

    /// Takes out the client's subscription; false if there is none.
    pub fn remove(&mut self, client: ClientKey, id: FilterId) -> bool {
        if self.filters.get(id).is_none() {
            return false;
        }
        let found = self.change_subscribers(id, |known| known.remove(client));
        if found {
            self.subscriptions -= 1;
            self.drop_if_unused(id);
        }
        found
    }

    /// Forgets the routes that are remembered, with the memory of as many as there ever were.
    pub fn shrink(&mut self) {
        self.cache.clear();
        self.scratch = Vec::new();
    }

    /// The text of a filter; empty when the filter is gone.
    pub fn filter(&self, id: FilterId) -> &str {
        self.filters
            .get(id)
            .map_or("", |filter| filter.text.as_str())
    }

    /// The client's subscription with this filter.
    pub fn subscription(&self, client: ClientKey, id: FilterId) -> Option<&Subscription> {
        self.filters.get(id)?.subscribers.get(client)
    }

    /// Where a message on this topic goes. Let go of the route before the next call where that
    /// is easy: its memory is then used again.
    #[inline]
    pub fn route(&mut self, topic: &str) -> Arc<Route> {
        let hash = self.seed.text(topic);
        let stamp = self.stamp(hash);
        match self.cache.get(hash, topic, stamp) {
            Some(route) => Arc::clone(route),
            None => self.resolve(topic, hash, stamp),
        }
    }

    /// Adds a member to a group that this shard holds, or replaces what is known of it.
    pub fn join(&mut self, share: &str, filter: &str, member: Member) -> GroupId {
        let id = self.find_or_insert(filter);
        let (group, is_new) = self.groups.join(share, id, member);
        if is_new {
            self.forget_routes(id);
        }
        group
    }

    /// Takes a member out of a group; false if it was not in it. The group goes with its last
    /// member.
    pub fn leave(&mut self, group: GroupId, shard: u16, client: ClientKey) -> bool {
        match self.groups.leave(group, shard, client) {
            None => return false,
            Some(Left::GroupStays) => {}
            Some(Left::GroupGone(filter)) => {
                self.forget_routes(filter);
                self.drop_if_unused(filter);
            }
        }
        true
    }

    /// Says whether a member has a connection; false if it is not in the group.
    pub fn set_connected(
        &mut self,
        group: GroupId,
        shard: u16,
        client: ClientKey,
        connected: bool,
    ) -> bool {
        self.groups.set_connected(group, shard, client, connected)
    }

    /// Notes whether a member can take a message now.
    pub fn set_room(&mut self, group: GroupId, shard: u16, client: ClientKey, has_room: bool) {
        self.groups.set_room(group, shard, client, has_room);
    }

    /// The member whose turn it is among those that `suits` accepts: connected members take
    /// turns first, and only when none of them suits do the others.
    pub fn next(&mut self, group: GroupId, suits: impl FnMut(&Member) -> bool) -> Option<Member> {
        self.groups.next(group, suits)
    }

    /// The group with this share name and filter, if this shard holds it.
    pub fn group(&self, share: &str, filter: &str) -> Option<GroupId> {
        self.groups
            .find(share, self.filters.find(&self.seed, filter)?)
    }

    /// Share name and filter of a group.
    pub fn group_names(&self, group: GroupId) -> Option<(&str, &str)> {
        let (share, filter) = self.groups.names(group)?;
        Some((share, self.filter(filter)))
    }

    /// Members of a group, the connected ones first.
    pub fn members(&self, group: GroupId) -> &[Member] {
        self.groups.members(group)
    }

    /// Changes with every change of this shard's routes.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn stats(&self) -> Stats {
        Stats {
            filters: self.filters.len(),
            subscriptions: self.subscriptions,
            groups: self.groups.len(),
            members: self.groups.members_len(),
            cached_routes: self.cache.len(),
            bytes: self.filters.bytes() + self.subscriber_bytes + self.groups.bytes(),
            cache_bytes: self.cache.bytes(),
        }
    }

    #[inline]
    fn stamp(&self, hash: u64) -> Stamp {
        let directory = match &self.directory {
            Some(directory) => directory.stamp(self.seed.key(hash)),
            None => 0,
        };
        Stamp {
            local: self.wide_changes,
            directory,
        }
    }

    /// Forgets the routes that the filter is part of. A filter without wildcards is part of one:
    /// the devices that come and go with filters of their own cost the others nothing.
    fn forget_routes(&mut self, id: FilterId) {
        self.version += 1;
        let Some(filter) = self.filters.get(id) else {
            return;
        };
        let text = filter.text.as_str();
        if wildcard_part(text).is_some() {
            self.wide_changes += 1;
        } else {
            self.cache.forget(self.seed.text(text), text);
        }
    }

    /// `stamp` was taken before: a change of interest meanwhile makes what is cached here stale.
    #[cold]
    fn resolve(&mut self, topic: &str, hash: u64, stamp: Stamp) -> Arc<Route> {
        let mut route = std::mem::take(&mut self.spare);
        if Arc::get_mut(&mut route).is_none() {
            route = Arc::default();
        }
        let filled = Arc::get_mut(&mut route).expect("nobody else has it"); // seen to just above
        self.fill(filled, topic, hash);
        if self.cache.admits(hash, topic) {
            self.cache.put(hash, topic, stamp, &route);
        } else {
            self.spare = Arc::clone(&route);
        }
        route
    }

    fn fill(&mut self, route: &mut Route, topic: &str, hash: u64) {
        self.filters
            .set_keys(&self.seed, topic, hash, &mut self.keys);
        route.clear();
        let mut matching: Vec<&[Subscriber]> = Vec::new();
        self.filters.matching(topic, &mut self.keys, |id, filter| {
            route.groups.extend_from_slice(self.groups.of(id));
            if !filter.subscribers.is_empty() {
                matching.push(filter.subscribers.as_slice());
            }
        });
        route.merge(&matching, &mut self.scratch);
        if let Some(directory) = &self.directory {
            route.remote = directory.shards_for(&self.keys);
            route.remote.remove(self.shard);
        }
    }

    fn find_or_insert(&mut self, filter: &str) -> FilterId {
        if let Some(id) = self.filters.find(&self.seed, filter) {
            return id;
        }
        let (id, interest) = self.filters.insert(&self.seed, filter);
        self.tell(interest, Directory::add);
        id
    }

    fn change_subscribers(
        &mut self,
        id: FilterId,
        change: impl FnOnce(&mut super::subscribers::Subscribers) -> bool,
    ) -> bool {
        let Some(filter) = self.filters.get_mut(id) else {
            return false;
        };
        let before = filter.subscribers.heap_bytes();
        let outcome = change(&mut filter.subscribers);
        let after = filter.subscribers.heap_bytes();
        self.subscriber_bytes = self.subscriber_bytes + after - before;
        self.forget_routes(id);
        outcome
    }

    fn drop_if_unused(&mut self, id: FilterId) {
        let unused = |filter: &super::filter::Filter| filter.subscribers.is_empty();
        if self.filters.get(id).is_some_and(unused) && self.groups.of(id).is_empty() {
            let interest = self.filters.remove(&self.seed, id);
            self.tell(interest, Directory::remove);
        }
    }

    fn tell(&self, interest: Option<Interest>, say: fn(&Directory, Interest, u16)) {
        if let (Some(directory), Some(interest)) = (&self.directory, interest) {
            say(directory, interest, self.shard);
        }
    }
}
