//! Mail of one turn, and the order in which it is posted.
//!
//! Two races have to be won without locks. A subscriber registers its interest and then asks for
//! retained messages; a publisher stores its retained message and then looks for interest. As long
//! as the store is posted before the look-up, one of the two sees the other: either the look-up
//! finds the subscriber, or the subscriber's question comes after the store in the owner's mailbox.
//! So stores are posted first, and the look-up for a retained message is made while posting.

use super::api::{Awaited, Envelope, Purpose, Receipt, ShardId};
use crate::message::{Content, Message, Pack};
use crate::routing::{Directory, ShardSet};

/// The outgoing mail of a turn.
#[derive(Default)]
pub struct Mail {
    stores: Vec<(ShardId, Envelope)>,
    posts: Vec<Post>,
    /// A pack a shard that more messages may still be put into: nothing else was posted since.
    open: Vec<(ShardId, Pack)>,
    spares: Vec<Pack>,
}

/// Emptied packs that are kept.
const SPARES_MAX: usize = 4;

enum Post {
    To(ShardId, Envelope),
    ToInterested {
        message: Message,
        has_local: bool,
        receipt: Option<Receipt>,
    },
}

/// Where mail goes: implemented by the process's mailboxes and by the simulator's.
pub trait PostOffice {
    /// Takes a batch for `to`. It cannot refuse; it may have to keep the batch until there is room.
    fn post(&mut self, to: ShardId, batch: Vec<Envelope>);
    /// Whether batches are waiting for room. Interest cannot be looked up then, because a store
    /// may be among them: messages go to every shard instead.
    fn congested(&self) -> bool;
}

impl Mail {
    /// Mail that has to be posted before any interest is looked up.
    pub fn store(&mut self, to: ShardId, envelope: Envelope) {
        self.stores.push((to, envelope));
    }

    /// Mail in the order of the calls.
    #[inline]
    pub fn post(&mut self, to: ShardId, envelope: Envelope) {
        self.close_packs();
        self.posts.push(Post::To(to, envelope));
    }

    /// A small message for whoever subscribes at `to`, in the order of the calls.
    #[inline]
    pub fn publish(&mut self, to: ShardId, content: &Content<'_>) {
        match self.open.iter_mut().find(|(shard, _)| *shard == to) {
            Some((_, pack)) => pack.push(content),
            None => {
                let mut pack = self.spares.pop().unwrap_or_default();
                pack.push(content);
                self.open.push((to, pack));
            }
        }
    }

    /// Takes a pack back that was opened here, for its memory.
    pub fn reuse(&mut self, pack: Pack) {
        if self.spares.len() < SPARES_MAX {
            self.spares.push(pack.emptied());
        }
    }

    /// A retained message for all the other shards with subscribers to it; `has_local`: some of
    /// this shard's clients got it too. Each is to send the receipt.
    pub fn post_to_interested(
        &mut self,
        message: Message,
        has_local: bool,
        receipt: Option<Receipt>,
    ) {
        self.close_packs();
        self.posts.push(Post::ToInterested {
            message,
            has_local,
            receipt,
        });
    }

    /// Gives the memory of empty lists back.
    pub fn shrink(&mut self) {
        self.stores.shrink_to_fit();
        self.posts.shrink_to_fit();
        self.open.shrink_to_fit();
        self.spares = Vec::new();
    }

    /// Whether there is nothing to post.
    pub fn is_empty(&self) -> bool {
        self.stores.is_empty() && self.posts.is_empty() && self.open.is_empty()
    }

    /// How much there is to post, in messages.
    pub fn len(&self) -> usize {
        let packed = self.open.iter().map(|(_, pack)| pack.len());
        let posted = self.posts.iter().map(|post| match post {
            Post::To(_, envelope) => envelope.messages(),
            Post::ToInterested { .. } => 1,
        });
        self.stores.len() + posted.sum::<usize>() + packed.sum::<usize>()
    }

    /// Posts everything, a batch a destination. What look-ups made here found goes to
    /// [`Shard::account_posted`](super::Shard::account_posted).
    pub fn drain(&mut self, route: MailRoute<'_>, office: &mut dyn PostOffice) -> Posted {
        let mut posted = Posted::default();
        if self.is_empty() {
            return posted;
        }
        self.close_packs();
        let mut batches = Batches::default();
        for (to, envelope) in self.stores.drain(..) {
            batches.add(to, envelope);
        }
        batches.post(office);
        for post in self.posts.drain(..) {
            match post {
                Post::To(to, envelope) => batches.add(to, envelope),
                Post::ToInterested {
                    message,
                    has_local,
                    receipt,
                } => {
                    let shards = route.interested(message.topic(), office.congested());
                    let mut found = 0;
                    for shard in shards.iter().filter(|&shard| shard != route.from.0) {
                        found += 1;
                        let envelope = delivery(message.clone(), receipt);
                        batches.add(ShardId(shard), envelope);
                    }
                    if let Some(receipt) = receipt {
                        posted.receipts.push((receipt.wait, found as u32));
                    }
                    posted.count(found, has_local);
                }
            }
        }
        batches.post(office);
        posted
    }

    fn close_packs(&mut self) {
        for (to, pack) in self.open.drain(..) {
            self.posts.push(Post::To(to, Envelope::Packed(pack)));
        }
    }
}

/// A message for the receivers of another shard, which is to send the receipt.
pub fn delivery(message: Message, receipt: Option<Receipt>) -> Envelope {
    match receipt {
        None => Envelope::Publish(message),
        Some(receipt) => Envelope::Awaited(Box::new(Awaited {
            message,
            purpose: Purpose::Deliver,
            receipt,
        })),
    }
}

/// Whose mail it is and where it may go.
#[derive(Clone, Copy)]
pub struct MailRoute<'a> {
    pub from: ShardId,
    pub shards: u16,
    pub directory: &'a Directory,
}

impl MailRoute<'_> {
    fn interested(&self, topic: &str, congested: bool) -> ShardSet {
        if congested {
            return (0..self.shards).collect();
        }
        self.directory.shards(topic)
    }
}

/// What [`Mail::drain`] found out about retained messages, each of which a step had booked as
/// forwarded once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Posted {
    /// Forwarded more often than booked.
    pub extra: u64,
    /// Forwarded to nobody, after local deliveries.
    pub none_but_local: u64,
    /// Forwarded to nobody and delivered to nobody.
    pub none: u64,
    /// How many receipts come for a wait in which one was counted.
    pub receipts: Vec<(u64, u32)>,
}

impl Posted {
    fn count(&mut self, found: u64, has_local: bool) {
        match (found, has_local) {
            (0, true) => self.none_but_local += 1,
            (0, false) => self.none += 1,
            (n, _) => self.extra += n - 1,
        }
    }
}

#[derive(Default)]
struct Batches(Vec<(ShardId, Vec<Envelope>)>);

impl Batches {
    fn add(&mut self, to: ShardId, envelope: Envelope) {
        match self.0.iter_mut().find(|(shard, _)| *shard == to) {
            Some((_, batch)) => batch.push(envelope),
            None => self.0.push((to, vec![envelope])),
        }
    }

    fn post(&mut self, office: &mut dyn PostOffice) {
        for (to, batch) in self.0.drain(..) {
            office.post(to, batch);
        }
    }
}
