//! Mailboxes between shards: bounded, lock-free, and posting never waits.

use crate::net::Bell;
use crate::routing::ShardSet;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The reading end of a shard's mailbox.
pub struct Mailbox<T> {
    receiver: Receiver<T>,
    bell: Arc<Bell>,
}

/// Where a shard's mailbox is.
pub struct Address<T> {
    sender: Sender<T>,
    bell: Arc<Bell>,
}

/// A shard's outgoing mail, with what its receivers had no room for yet.
///
/// One queue holds that for all destinations, so that mail leaves in the order in which it was
/// posted, whatever the destination. [`crate::shard::mail`] depends on it: a retained message is
/// stored at one shard before anybody is looked up to get it from another.
///
/// Posting wakes nobody: who is to know that there is mail is told once a turn, from
/// [`Outgoing::take_untold`].
pub struct Outgoing<T> {
    addresses: Arc<[Address<T>]>,
    overflow: VecDeque<(u16, T)>,
    untold: ShardSet,
}

/// Both ends of every shard's mailbox, indexed by shard.
pub type Mailboxes<T> = (Vec<Mailbox<T>>, Arc<[Address<T>]>);

/// A mailbox of `slots` items for each of `shards`, and where they are.
///
/// # Errors
/// The process has no file descriptors left.
pub fn mailboxes<T>(shards: u16, slots: usize) -> io::Result<Mailboxes<T>> {
    let mut mailboxes = Vec::new();
    let mut addresses = Vec::new();
    for _ in 0..shards {
        let (sender, receiver) = bounded(slots.max(1));
        let bell = Arc::new(Bell::new()?);
        mailboxes.push(Mailbox {
            receiver,
            bell: bell.clone(),
        });
        addresses.push(Address { sender, bell });
    }
    Ok((mailboxes, addresses.into()))
}

impl<T> Mailbox<T> {
    /// The oldest item.
    #[inline]
    pub fn take(&self) -> Option<T> {
        self.receiver.try_recv().ok()
    }

    /// Whether nothing is waiting.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }

    /// Whether so much is waiting that senders may soon find no room.
    pub fn is_filling(&self) -> bool {
        let slots = self.receiver.capacity().unwrap_or(usize::MAX);
        self.receiver.len() >= slots.div_ceil(4)
    }

    /// What senders ring when the reader waits.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }
}

impl<T> Address<T> {
    /// Posts `item` if there is room. To a reader that has ended nothing can matter any more: the
    /// item is dropped.
    ///
    /// # Errors
    /// There is no room: the item back.
    #[inline]
    fn post(&self, item: T) -> Result<(), T> {
        match self.sender.try_send(item) {
            Err(TrySendError::Full(item)) => Err(item),
            Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
        }
    }

    /// What wakes the reader.
    #[inline]
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Posts `item`, waiting for room: for the control plane's threads, never for a shard. False:
    /// there was none in time, or the reader has ended.
    pub fn post_within(&self, item: T, patience: Duration) -> bool {
        let posted = self.sender.send_timeout(item, patience).is_ok();
        self.bell.ring();
        posted
    }
}

impl<T> Outgoing<T> {
    /// Outgoing mail to these addresses, indexed by shard.
    pub fn new(addresses: Arc<[Address<T>]>) -> Outgoing<T> {
        Outgoing {
            addresses,
            overflow: VecDeque::new(),
            untold: ShardSet::EMPTY,
        }
    }

    /// Posts `item` to shard `to`, now or when there is room, in the order of the calls.
    #[inline]
    pub fn post(&mut self, to: u16, item: T) {
        if !self.overflow.is_empty() {
            self.overflow.push_back((to, item));
        } else if let Err(item) = self.addresses[usize::from(to)].post(item) {
            self.overflow.push_back((to, item));
        } else {
            self.untold.insert(to);
        }
    }

    /// Posts what has room by now.
    #[inline]
    pub fn retry(&mut self) {
        while let Some((to, item)) = self.overflow.pop_front() {
            if let Err(item) = self.addresses[usize::from(to)].post(item) {
                self.overflow.push_front((to, item));
                return;
            }
            self.untold.insert(to);
        }
        if self.overflow.capacity() > 1024 {
            self.overflow = VecDeque::new();
        }
    }

    /// Those who got mail that they may not know of, once.
    #[inline]
    pub fn take_untold(&mut self) -> ShardSet {
        std::mem::take(&mut self.untold)
    }

    /// Wakes those who got mail and wait.
    pub fn ring(&mut self) {
        for to in self.take_untold().iter() {
            self.bell(to).ring();
        }
    }

    /// What wakes shard `to`.
    #[inline]
    pub fn bell(&self, to: u16) -> &Bell {
        self.addresses[usize::from(to)].bell()
    }

    /// Whether items wait for room: then no sockets are read, so that no more of them come.
    #[inline]
    pub fn is_congested(&self) -> bool {
        !self.overflow.is_empty()
    }

    /// How many items wait for room.
    pub fn overflow_len(&self) -> usize {
        self.overflow.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::poller;

    #[test]
    fn order_is_kept_across_destinations() {
        let (boxes, addresses) = mailboxes(3, 1).unwrap();
        let mut out = Outgoing::new(addresses);
        out.post(0, "a1");
        out.post(0, "a2");
        out.post(1, "b1");
        assert!(out.is_congested());
        // There is room at 1, but what goes to 0 was posted before.
        assert!(boxes[1].is_empty());
        out.retry();
        assert_eq!(out.overflow_len(), 2);
        assert_eq!(boxes[0].take(), Some("a1"));
        out.retry();
        assert!(!out.is_congested());
        assert_eq!((boxes[0].take(), boxes[1].take()), (Some("a2"), Some("b1")));
        assert_eq!(boxes[2].take(), None);
    }

    #[test]
    fn mail_to_one_who_has_ended_is_dropped() {
        let (boxes, addresses) = mailboxes(1, 1).unwrap();
        drop(boxes);
        let mut out = Outgoing::new(addresses);
        out.post(0, 1);
        out.post(0, 2);
        assert!(!out.is_congested());
    }

    /// The shard's protocol around sleeping, against two senders that never wait: every item
    /// arrives in its sender's order, and no sleep is missed (each is bounded by five seconds, the
    /// test by less).
    #[test]
    fn a_sleeping_reader_is_always_woken() {
        const ITEMS: u32 = 50_000;
        let (mut boxes, addresses) = mailboxes(1, 16).unwrap();
        let mailbox = boxes.pop().unwrap();
        let senders: Vec<_> = (0..2u32)
            .map(|sender| {
                let mut out = Outgoing::new(addresses.clone());
                std::thread::spawn(move || {
                    for i in 0..ITEMS {
                        out.post(0, (sender, i));
                        out.ring();
                        while out.is_congested() {
                            out.retry();
                            out.ring();
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let (watch, mut poller) = poller::set(8).unwrap();
        watch.add_bell(mailbox.bell()).unwrap();
        let mut next = [0, 0];
        let mut sleeps = 0;
        while next != [ITEMS, ITEMS] {
            while let Some((sender, i)) = mailbox.take() {
                assert_eq!(next[sender as usize], i);
                next[sender as usize] += 1;
            }
            mailbox.bell().listen();
            if mailbox.is_empty() && next != [ITEMS, ITEMS] {
                let count = poller.wait(Some(5000)).unwrap().len();
                assert_eq!(count, 1, "woken, not timed out");
                sleeps += 1;
            }
            mailbox.bell().ignore();
        }
        assert!(sleeps > 0);
        senders
            .into_iter()
            .for_each(|sender| sender.join().unwrap());
    }
}
