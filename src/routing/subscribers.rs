//! The subscribers of one filter: most filters have one, a few have very many.

use std::num::NonZeroU32;

use hashbrown::HashTable;

use super::hash::mix;
use super::qos::QoS;

/// Slot of a session in its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientKey(pub u32);

/// How one client subscribes to one filter (MQTT 5 section 3.8.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Subscription Identifier (MQTT 5 section 3.8.2.1.2).
    pub identifier: Option<NonZeroU32>,
    /// The highest QoS at which the client wants messages.
    pub qos: QoS,
    /// The client's own messages are not to be sent to it.
    pub no_local: bool,
    /// The retain flag is passed on as published.
    pub retain_as_published: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscriber {
    pub client: ClientKey,
    pub subscription: Subscription,
}

/// Above this many the subscribers get an index.
const FEW_MAX: usize = 16;
/// At this many the index is given up again; below `FEW_MAX` so that it does not flap.
const MANY_MIN: usize = 8;

#[derive(Default)]
pub enum Subscribers {
    #[default]
    None,
    One(Subscriber),
    /// The indirection keeps the enum at 16 bytes: a million filters have one subscriber.
    #[allow(clippy::box_collection)]
    Few(Box<Vec<Subscriber>>),
    Many(Box<Indexed>),
}

pub struct Indexed {
    list: Vec<Subscriber>,
    /// Positions in `list`, by client.
    positions: HashTable<u32>,
}

const _: () = assert!(size_of::<Subscription>() == 8 && size_of::<Subscribers>() == 16);

impl Subscribers {
    /// Adds or replaces the client's subscription; true when it was not there.
    pub fn set(&mut self, client: ClientKey, subscription: Subscription) -> bool {
        if let Some(known) = self.get_mut(client) {
            *known = subscription;
            return false;
        }
        let added = Subscriber {
            client,
            subscription,
        };
        match self {
            Self::None => *self = Self::One(added),
            Self::One(first) => *self = Self::Few(Box::new(vec![*first, added])),
            Self::Few(list) if list.len() < FEW_MAX => list.push(added),
            Self::Few(list) => {
                let mut many = Indexed::new(std::mem::take(list));
                many.push(added);
                *self = Self::Many(Box::new(many));
            }
            Self::Many(many) => many.push(added),
        }
        true
    }

    /// True when the client was there.
    pub fn remove(&mut self, client: ClientKey) -> bool {
        let found = match self {
            Self::None => false,
            Self::One(only) => only.client == client,
            Self::Few(list) => match list.iter().position(|known| known.client == client) {
                Some(position) => {
                    list.swap_remove(position);
                    true
                }
                None => false,
            },
            Self::Many(many) => many.remove(client),
        };
        if found {
            self.shrink();
        }
        found
    }

    pub fn get(&self, client: ClientKey) -> Option<&Subscription> {
        let position = match self {
            Self::Many(many) => many.position(client),
            _ => self
                .as_slice()
                .iter()
                .position(|known| known.client == client),
        };
        position.map(|position| &self.as_slice()[position].subscription)
    }

    #[inline]
    pub fn as_slice(&self) -> &[Subscriber] {
        match self {
            Self::None => &[],
            Self::One(only) => std::slice::from_ref(only),
            Self::Few(list) => list,
            Self::Many(many) => &many.list,
        }
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Bytes allocated outside this value.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::None | Self::One(_) => 0,
            Self::Few(list) => size_of_val(&**list) + list.capacity() * size_of::<Subscriber>(),
            Self::Many(many) => {
                size_of::<Indexed>()
                    + many.list.capacity() * size_of::<Subscriber>()
                    + many.positions.allocation_size()
            }
        }
    }

    fn get_mut(&mut self, client: ClientKey) -> Option<&mut Subscription> {
        let known = match self {
            Self::None => None,
            Self::One(only) => Some(only).filter(|known| known.client == client),
            Self::Few(list) => list.iter_mut().find(|known| known.client == client),
            Self::Many(many) => match many.position(client) {
                Some(position) => many.list.get_mut(position),
                None => None,
            },
        };
        known.map(|known| &mut known.subscription)
    }

    fn shrink(&mut self) {
        match self {
            Self::None => {}
            Self::One(_) => *self = Self::None,
            Self::Few(list) => match list.as_slice() {
                [only] => *self = Self::One(*only),
                _ if list.len() * 4 <= list.capacity() => list.shrink_to(list.len() * 2),
                _ => {}
            },
            Self::Many(many) if many.list.len() <= MANY_MIN => {
                let mut list = std::mem::take(&mut many.list);
                list.shrink_to_fit();
                *self = Self::Few(Box::new(list));
            }
            Self::Many(many) => many.shrink(),
        }
    }
}

impl Indexed {
    fn new(list: Vec<Subscriber>) -> Self {
        let mut positions = HashTable::with_capacity(list.len() * 2);
        for (position, known) in list.iter().enumerate() {
            positions.insert_unique(hash(known.client), position as u32, |_| 0);
        }
        Self { list, positions }
    }

    fn push(&mut self, added: Subscriber) {
        let position = self.list.len() as u32;
        self.list.push(added);
        let list = &self.list;
        self.positions
            .insert_unique(hash(added.client), position, |&at| {
                hash(list[at as usize].client)
            });
    }

    fn position(&self, client: ClientKey) -> Option<usize> {
        let at = |&at: &u32| self.list[at as usize].client == client;
        self.positions.find(hash(client), at).map(|&at| at as usize)
    }

    fn remove(&mut self, client: ClientKey) -> bool {
        let list = &self.list;
        let at = |&at: &u32| list[at as usize].client == client;
        let Ok(entry) = self.positions.find_entry(hash(client), at) else {
            return false;
        };
        let position = entry.remove().0 as usize;
        let last = self.list.len() - 1;
        if position != last {
            let moved = self.list[last].client;
            let at = self
                .positions
                .find_mut(hash(moved), |&at| at as usize == last);
            *at.expect("every listed client has a position") = position as u32; // kept by push
        }
        self.list.swap_remove(position);
        true
    }

    fn shrink(&mut self) {
        if self.list.len() * 4 <= self.list.capacity() {
            self.list.shrink_to(self.list.len() * 2);
            let list = &self.list;
            self.positions
                .shrink_to(list.len() * 2, |&at| hash(list[at as usize].client));
        }
    }
}

/// Clients number their slots from zero: nothing here is chosen by the network.
fn hash(client: ClientKey) -> u64 {
    mix(0, client.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(qos: QoS) -> Subscription {
        Subscription {
            identifier: None,
            qos,
            no_local: false,
            retain_as_published: false,
        }
    }

    #[test]
    fn grows_and_shrinks_through_every_form() {
        let mut subscribers = Subscribers::default();
        for client in 0..1_000 {
            assert!(subscribers.set(ClientKey(client), subscription(QoS::AtMostOnce)));
            assert!(!subscribers.set(ClientKey(client), subscription(QoS::AtLeastOnce)));
            assert_eq!(subscribers.as_slice().len(), client as usize + 1);
        }
        for client in 0..1_000 {
            let known = subscribers.get(ClientKey(client)).copied();
            assert_eq!(known, Some(subscription(QoS::AtLeastOnce)));
        }
        for client in (0..1_000).step_by(3).chain(1..3).chain((0..1_000).rev()) {
            let was_there = subscribers.get(ClientKey(client)).is_some();
            assert_eq!(subscribers.remove(ClientKey(client)), was_there);
            assert!(subscribers.get(ClientKey(client)).is_none());
        }
        assert!(subscribers.is_empty());
        assert_eq!(subscribers.heap_bytes(), 0);
    }
}
