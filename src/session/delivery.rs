//! A message for one receiver.

use crate::base::ShardId;
use crate::codec::QoS;
use crate::message::Message;
use std::sync::Arc;

/// A delivery that waits or is under way: what has to be known beyond the message.
#[derive(Clone)]
pub struct Delivery {
    pub message: Message,
    /// The lower of the publisher's and the granted QoS (MQTT-3.8.4-8).
    pub qos: QoS,
    /// RETAIN as it is to be sent.
    pub retain: bool,
    /// Subscription identifiers of the subscriptions that matched (MQTT-3.3.4-4).
    pub ids: Ids,
    /// Set when a shared subscription dealt it.
    pub deal: Option<Box<Deal>>,
    /// The change by which a store keeps it; 0: none does.
    pub kept: u64,
}

impl Delivery {
    /// Whether another member of its group may be getting it at this moment.
    pub fn is_on_offer(&self) -> bool {
        self.deal.as_ref().is_some_and(|deal| deal.on_offer)
    }

    /// Whether a store has to know its packet id before it is sent: otherwise it could come again,
    /// after a crash, with another.
    pub fn waits_for_store(&self) -> bool {
        self.kept != 0 && self.qos == QoS::ExactlyOnce
    }

    /// Bytes that budgets count for it.
    pub fn size(&self) -> usize {
        std::mem::size_of::<Delivery>() + self.message.size()
    }
}

/// Where a dealt message came from, so that it can be dealt again.
#[derive(Clone)]
pub struct Deal {
    pub group: Arc<GroupKey>,
    /// Unique among the deliveries of a shard.
    pub ticket: u32,
    /// The group was asked whether another member takes it. Until it answers, this one is not
    /// sent: QoS 2 would be begun twice, and a packet id be free that the client still uses.
    pub on_offer: bool,
}

/// The identity of a shared subscription: its group lives at `owner`.
#[derive(Debug, PartialEq, Eq)]
pub struct GroupKey {
    pub owner: ShardId,
    pub share: Box<str>,
    pub filter: Box<str>,
}

/// Subscription identifiers of a delivery: mostly none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ids {
    None,
    One([u32; 1]),
    Many(Box<[u32]>),
}

impl From<&[u32]> for Ids {
    fn from(ids: &[u32]) -> Ids {
        match ids {
            [] => Ids::None,
            [one] => Ids::One([*one]),
            many => Ids::Many(many.into()),
        }
    }
}

impl Ids {
    /// The identifiers.
    pub fn as_slice(&self) -> &[u32] {
        match self {
            Ids::None => &[],
            Ids::One(one) => one,
            Ids::Many(many) => many,
        }
    }
}
