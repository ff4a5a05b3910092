//! Shared subscriptions (MQTT 5 section 4.8.2): groups whose members take turns.

use hashbrown::{HashMap, HashTable};

use super::filter::FilterId;
use super::hash::{fixed_hash, mix};
use super::subscribers::{ClientKey, Subscription};
use crate::base::Paged;

/// One group: a share name and a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

/// A session's part in a group. `shard` and `client` say who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub shard: u16,
    /// False while the session has no connection.
    pub connected: bool,
    /// Whether it can take a message now, as far as it has said so.
    pub has_room: bool,
    pub client: ClientKey,
    /// Generation of the client's slot, so that a message for an old session is not given to the
    /// next one in the same slot.
    pub generation: u32,
    pub subscription: Subscription,
}

/// The shard that holds the group: the same on every shard of a process with `shards` of them.
pub fn group_owner(share: &str, filter: &str, shards: u16) -> u16 {
    (fixed_hash([share, "/", filter].concat().as_bytes()) % u64::from(shards.max(1))) as u16
}

#[derive(Default)]
pub struct Groups {
    groups: Paged<Group>,
    by_filter: HashMap<FilterId, Vec<GroupId>>,
    members: usize,
}

struct Group {
    share: Box<str>,
    filter: FilterId,
    /// Connected members first.
    members: Vec<Member>,
    connected: usize,
    /// Whose turn it is among the connected, and among the others.
    turn: usize,
    turn_offline: usize,
    /// Positions in `members`; empty while a scan is as quick.
    positions: HashTable<u32>,
}

/// Up to this many members are scanned.
const SCAN_MAX: usize = 16;

impl Groups {
    /// Adds or replaces a member; the second value is true when the group is new.
    pub fn join(&mut self, share: &str, filter: FilterId, member: Member) -> (GroupId, bool) {
        let (id, is_new) = match self.find(share, filter) {
            Some(id) => (id, false),
            None => (self.create(share, filter), true),
        };
        let Some(group) = self.groups.get_mut(id.0) else {
            unreachable!("just found")
        };
        self.members -= group.members.len();
        group.remove(member.shard, member.client);
        group.add(member);
        self.members += group.members.len();
        (id, is_new)
    }

    /// Takes a member out. The filter is given when that was the last member of the group, which
    /// is then gone.
    pub fn leave(&mut self, id: GroupId, shard: u16, client: ClientKey) -> Option<Left> {
        let group = self.groups.get_mut(id.0)?;
        group.remove(shard, client)?;
        self.members -= 1;
        if !group.members.is_empty() {
            return Some(Left::GroupStays);
        }
        let filter = group.filter;
        self.groups.remove(id.0);
        let ids = self.by_filter.get_mut(&filter)?;
        ids.retain(|known| *known != id);
        if ids.is_empty() {
            self.by_filter.remove(&filter);
            self.by_filter.shrink_to(self.by_filter.len() * 2);
        }
        Some(Left::GroupGone(filter))
    }

    /// True when the member was there.
    pub fn set_connected(
        &mut self,
        id: GroupId,
        shard: u16,
        client: ClientKey,
        connected: bool,
    ) -> bool {
        let Some(group) = self.groups.get_mut(id.0) else {
            return false;
        };
        match group.remove(shard, client) {
            Some(member) => group.add(Member {
                connected,
                has_room: true,
                ..member
            }),
            None => return false,
        }
        true
    }

    /// Notes whether the member has room. A member that got or lost its connection has.
    pub fn set_room(&mut self, id: GroupId, shard: u16, client: ClientKey, has_room: bool) {
        if let Some(group) = self.groups.get_mut(id.0)
            && let Some(at) = group.position(shard, client)
        {
            group.members[at].has_room = has_room;
        }
    }

    /// The next member, in turn, that `suits`: connected members first, then the others.
    pub fn next(&mut self, id: GroupId, suits: impl FnMut(&Member) -> bool) -> Option<Member> {
        self.groups.get_mut(id.0)?.next(suits)
    }

    pub fn members(&self, id: GroupId) -> &[Member] {
        self.groups.get(id.0).map_or(&[], |group| &group.members)
    }

    /// Share name and filter of a group.
    pub fn names(&self, id: GroupId) -> Option<(&str, FilterId)> {
        self.groups
            .get(id.0)
            .map(|group| (&*group.share, group.filter))
    }

    pub fn find(&self, share: &str, filter: FilterId) -> Option<GroupId> {
        self.of(filter)
            .iter()
            .copied()
            .find(|id| self.names(*id).is_some_and(|(name, _)| name == share))
    }

    /// The groups of a filter.
    #[inline]
    pub fn of(&self, filter: FilterId) -> &[GroupId] {
        if self.by_filter.is_empty() {
            return &[];
        }
        self.by_filter.get(&filter).map_or(&[], |ids| ids)
    }

    pub fn len(&self) -> usize {
        self.groups.len()
    }

    pub fn members_len(&self) -> usize {
        self.members
    }

    pub fn bytes(&self) -> usize {
        let lists = self.by_filter.len() * size_of::<GroupId>();
        self.groups.len() * size_of::<Option<Group>>()
            + self.by_filter.allocation_size()
            + lists
            + self.members * (size_of::<Member>() + size_of::<u32>())
    }

    fn create(&mut self, share: &str, filter: FilterId) -> GroupId {
        let id = GroupId(self.groups.insert(Group {
            share: share.into(),
            filter,
            members: Vec::new(),
            connected: 0,
            turn: 0,
            turn_offline: 0,
            positions: HashTable::new(),
        }));
        self.by_filter.entry(filter).or_default().push(id);
        id
    }
}

/// What a leaving member left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    GroupStays,
    GroupGone(FilterId),
}

impl Group {
    fn add(&mut self, member: Member) {
        self.members.push(member);
        let mut at = self.members.len() - 1;
        if self.positions.is_empty() && self.members.len() > SCAN_MAX {
            self.index_all();
        } else if !self.positions.is_empty() {
            self.index(at);
        }
        if member.connected {
            self.swap(at, self.connected);
            at = self.connected;
            self.connected += 1;
        }
        debug_assert!(self.members[at].client == member.client);
    }

    fn remove(&mut self, shard: u16, client: ClientKey) -> Option<Member> {
        let mut at = self.position(shard, client)?;
        if self.members[at].connected {
            self.connected -= 1;
            self.swap(at, self.connected);
            at = self.connected;
        }
        let last = self.members.len() - 1;
        self.swap(at, last);
        if !self.positions.is_empty() {
            let members = &self.members;
            let same = |&known: &u32| known as usize == last;
            if let Ok(entry) = self.positions.find_entry(hash(&members[last]), same) {
                entry.remove();
            }
        }
        let gone = self.members.pop();
        if self.members.len() * 4 < self.members.capacity() {
            self.members.shrink_to(self.members.len() * 2);
            let members = &self.members;
            self.positions
                .shrink_to(members.len() * 2, |&at| hash(&members[at as usize]));
        }
        gone
    }

    fn next(&mut self, mut suits: impl FnMut(&Member) -> bool) -> Option<Member> {
        let (online, offline) = self.members.split_at(self.connected);
        for (members, turn) in [(online, &mut self.turn), (offline, &mut self.turn_offline)] {
            let start = if *turn < members.len() { *turn } else { 0 };
            let order = (start..members.len()).chain(0..start);
            for at in order {
                if suits(&members[at]) {
                    *turn = at + 1;
                    return Some(members[at]);
                }
            }
        }
        None
    }

    fn position(&self, shard: u16, client: ClientKey) -> Option<usize> {
        let same = |member: &Member| member.shard == shard && member.client == client;
        if self.positions.is_empty() {
            return self.members.iter().position(same);
        }
        let at = self.positions.find(mix(u32::from(shard), client.0), |&at| {
            same(&self.members[at as usize])
        });
        at.map(|&at| at as usize)
    }

    fn swap(&mut self, one: usize, two: usize) {
        if one == two {
            return;
        }
        if !self.positions.is_empty() {
            let (first, second) = (hash(&self.members[one]), hash(&self.members[two]));
            // Kept by `add`: every member of an indexed group has a position.
            let at = self.positions.find_mut(first, |&at| at as usize == one);
            *at.expect("an indexed group has all members") = u32::MAX;
            let at = self.positions.find_mut(second, |&at| at as usize == two);
            *at.expect("an indexed group has all members") = one as u32;
            let at = self.positions.find_mut(first, |&at| at == u32::MAX);
            *at.expect("an indexed group has all members") = two as u32;
        }
        self.members.swap(one, two);
    }

    fn index_all(&mut self) {
        (0..self.members.len()).for_each(|at| self.index(at));
    }

    fn index(&mut self, at: usize) {
        let members = &self.members;
        self.positions
            .insert_unique(hash(&members[at]), at as u32, |&at| {
                hash(&members[at as usize])
            });
    }
}

fn hash(member: &Member) -> u64 {
    mix(u32::from(member.shard), member.client.0)
}
