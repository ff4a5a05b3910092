//! Bounded mailboxes between shards: what does not fit waits with its sender, in order.

use ringmq::shard::Envelope;
use std::collections::VecDeque;

/// What lies in a mailbox.
pub enum Item {
    Batch(Vec<Envelope>),
    /// A connection, with the bytes read so far.
    Socket {
        link: usize,
        bytes: Vec<u8>,
    },
}

/// All the mailboxes of a process.
pub struct Mailboxes {
    slots: usize,
    boxes: Vec<VecDeque<Item>>,
    /// By sender.
    overflow: Vec<VecDeque<(u16, Item)>>,
    /// How often something had to wait: the world is too roomy if this stays 0.
    pub overflows: u64,
}

impl Mailboxes {
    /// One of `slots` items for each of `shards`.
    pub fn new(shards: u16, slots: usize) -> Mailboxes {
        Mailboxes {
            slots,
            boxes: (0..shards).map(|_| VecDeque::new()).collect(),
            overflow: (0..shards).map(|_| VecDeque::new()).collect(),
            overflows: 0,
        }
    }

    /// Posts, or keeps until there is room.
    pub fn post(&mut self, from: u16, to: u16, item: Item) {
        let waiting = &mut self.overflow[from as usize];
        if waiting.is_empty() && self.boxes[to as usize].len() < self.slots {
            return self.boxes[to as usize].push_back(item);
        }
        self.overflows += 1;
        waiting.push_back((to, item));
    }

    /// Posts what waited, as far as there is room.
    pub fn retry(&mut self, from: u16) {
        let waiting = &mut self.overflow[from as usize];
        while let Some((to, item)) = waiting.pop_front() {
            if self.boxes[to as usize].len() >= self.slots {
                return waiting.push_front((to, item));
            }
            self.boxes[to as usize].push_back(item);
        }
    }

    /// The next item for a shard.
    pub fn take(&mut self, to: u16) -> Option<Item> {
        self.boxes[to as usize].pop_front()
    }

    /// Whether something of this sender waits.
    pub fn congested(&self, from: u16) -> bool {
        !self.overflow[from as usize].is_empty()
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.boxes.iter().all(VecDeque::is_empty) && self.overflow.iter().all(VecDeque::is_empty)
    }
}
