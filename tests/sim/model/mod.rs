//! What the broker owes: messages, sessions and subscriptions as the clients know them.
//!
//! Time is counted in steps of the world. "Sent" is the step in which the first byte of a message
//! was put on the network, "accepted" the step in which its publisher saw the acknowledgement.

mod delivery;
mod presence;
mod promises;
mod register;
mod sessions;
mod wills;

pub use delivery::{Delivered, number_of, payload_of};
pub use sessions::Closing;
pub use wills::Will;

use super::plan::{GROUPS, TOPICS};
use ringmq::codec::topic::matches;
use std::collections::BTreeMap;

/// A message of a client, or its will.
pub struct Message {
    pub publisher: usize,
    pub topic: &'static str,
    pub qos: u8,
    pub retain: bool,
    /// No payload: it clears what is retained, and nobody can tell it from another.
    pub empty: bool,
    pub bytes: usize,
    pub expires: bool,
    /// [`u64::MAX`]: a will that has not been due yet.
    pub sent: u64,
    pub accepted: Option<u64>,
    /// From this step on it cannot take effect any more.
    pub finished: Option<u64>,
    /// How often PUBLISH was sent, repetitions included.
    pub transmissions: u32,
    pub will: Option<wills::Will>,
    /// Members of groups that got it at QoS 2.
    pub begun_by: Vec<usize>,
    /// Sessions of members that got it at all.
    pub dealt_to: Vec<usize>,
}

/// One time a filter was asked for: a new SUBSCRIBE for it replaces the options.
#[derive(Clone, Copy, Debug)]
pub struct Grant {
    pub confirmed: Option<u64>,
    pub qos: u8,
    pub no_local: bool,
    pub retain_as_published: bool,
    /// Retained messages may come, and have to.
    pub wants_retained: bool,
    pub surely_retained: bool,
    pub identifier: Option<u32>,
}

/// A subscription, from its first SUBSCRIBE to UNSUBSCRIBE.
pub struct Subscription {
    /// As in SUBSCRIBE, and without the group.
    pub filter: &'static str,
    pub levels: &'static str,
    pub group: Option<usize>,
    pub grants: Vec<Grant>,
    pub unsubscribed: Option<u64>,
    pub unsubscribed_confirmed: Option<u64>,
}

/// A session as the broker has it, from CONNACK without Session Present to its end.
pub struct Incarnation {
    pub client: usize,
    pub ended: Option<u64>,
    pub subscriptions: Vec<Subscription>,
    got: BTreeMap<u32, delivery::Got>,
    /// The last message by publisher, topic, its QoS and the QoS of the delivery.
    last: BTreeMap<(usize, &'static str, u8, u8), u32>,
    /// The last message with RETAIN of the publisher seen, by topic.
    state: BTreeMap<&'static str, u32>,
    /// The last presence event by client and QoS: its epoch, and whether the client left.
    presence: BTreeMap<(String, u8), (u64, bool)>,
    /// The client takes no packets beyond this many bytes.
    pub packet_bytes_max: usize,
}

/// What the model knows of all clients.
pub struct Model {
    pub messages: Vec<Message>,
    pub incarnations: Vec<Incarnation>,
    pub servers: Vec<sessions::ServerSession>,
    pub lossy: bool,
    /// Whether the broker of this world orders retained copies and live messages.
    pub registers: BTreeMap<&'static str, register::Register>,
    /// Deliveries and promises that were looked at: a test that checks nothing passes too.
    pub deliveries: u64,
    pub promises: u64,
    pub states_checked: u64,
}

impl Model {
    /// A world without messages.
    pub fn new(clients: usize, lossy: bool) -> Model {
        Model {
            messages: Vec::new(),
            incarnations: Vec::new(),
            servers: (0..clients)
                .map(|_| sessions::ServerSession::default())
                .collect(),
            lossy,
            registers: TOPICS
                .iter()
                .map(|&t| (t, register::Register::default()))
                .collect(),
            deliveries: 0,
            promises: 0,
            states_checked: 0,
        }
    }

    /// A session that will begin, or begins now.
    pub fn incarnate(&mut self, client: usize, packet_bytes_max: usize) -> usize {
        self.incarnations.push(Incarnation {
            client,
            ended: None,
            subscriptions: Vec::new(),
            got: BTreeMap::new(),
            last: BTreeMap::new(),
            state: BTreeMap::new(),
            presence: BTreeMap::new(),
            packet_bytes_max,
        });
        self.incarnations.len() - 1
    }

    /// SUBSCRIBE is sent. Names what [`Model::confirm`] confirms.
    pub fn subscribe(
        &mut self,
        incarnation: usize,
        filter: &'static str,
        grant: Grant,
    ) -> (usize, usize) {
        let subscriptions = &mut self.incarnations[incarnation].subscriptions;
        let open = |s: &Subscription| s.filter == filter && s.unsubscribed.is_none();
        if let Some(at) = subscriptions.iter().position(open) {
            subscriptions[at].grants.push(grant);
            return (at, subscriptions[at].grants.len() - 1);
        }
        subscriptions.push(Subscription {
            filter,
            levels: levels_of(filter),
            group: GROUPS.iter().position(|&group| group == filter),
            grants: vec![grant],
            unsubscribed: None,
            unsubscribed_confirmed: None,
        });
        (subscriptions.len() - 1, 0)
    }

    /// SUBACK came.
    pub fn confirm(&mut self, incarnation: usize, (at, grant): (usize, usize), step: u64) {
        let subscriptions = &mut self.incarnations[incarnation].subscriptions;
        subscriptions[at].grants[grant].confirmed = Some(step);
        let filter = subscriptions[at].filter;
        // Whatever was left of it by an UNSUBSCRIBE that got lost is replaced.
        for old in subscriptions[..at]
            .iter_mut()
            .filter(|s| s.filter == filter)
        {
            old.unsubscribed_confirmed.get_or_insert(step);
        }
    }

    /// UNSUBSCRIBE is sent.
    pub fn unsubscribe(&mut self, incarnation: usize, filter: &str, step: u64) {
        for subscription in &mut self.incarnations[incarnation].subscriptions {
            if subscription.filter == filter {
                subscription.unsubscribed.get_or_insert(step);
            }
        }
    }

    /// UNSUBACK came, for an UNSUBSCRIBE sent at `sent`.
    pub fn confirm_unsubscribe(&mut self, incarnation: usize, filter: &str, sent: u64, step: u64) {
        for subscription in &mut self.incarnations[incarnation].subscriptions {
            if subscription.filter == filter
                && subscription.unsubscribed.is_some_and(|at| at <= sent)
            {
                subscription.unsubscribed_confirmed.get_or_insert(step);
            }
        }
    }

    /// The publisher saw PUBACK or PUBREC.
    pub fn accept(&mut self, message: u32, step: u64) {
        let message = &mut self.messages[message as usize];
        message.accepted.get_or_insert(step);
        message.finished.get_or_insert(step);
    }
}

impl Subscription {
    /// Whether a message sent at `sent` may have been matched by now.
    pub fn is_possible(&self, sent: u64) -> bool {
        self.unsubscribed_confirmed.is_none_or(|at| sent < at)
    }

    /// Whether every message sent at `sent` is matched for certain.
    pub fn is_certain(&self, sent: u64) -> bool {
        self.unsubscribed.is_none()
            && self
                .grants
                .iter()
                .any(|grant| grant.confirmed.is_some_and(|at| at < sent))
    }

    /// The grants under which a message sent at `sent` may have been delivered.
    pub fn possible_grants(&self, sent: u64) -> &[Grant] {
        let settled = |grant: &Grant| grant.confirmed.is_some_and(|at| at < sent);
        &self.grants[self.grants.iter().rposition(settled).unwrap_or(0)..]
    }

    /// Whether the filter matches.
    pub fn matches(&self, topic: &str) -> bool {
        matches(self.levels, topic)
    }
}

/// A filter without its group.
fn levels_of(filter: &'static str) -> &'static str {
    match filter.strip_prefix("$share/") {
        Some(rest) => rest.split_once('/').map_or("", |(_, levels)| levels),
        None => filter.strip_prefix("$queue/").unwrap_or(filter),
    }
}
