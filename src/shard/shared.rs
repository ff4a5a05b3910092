//! Shared subscriptions across shards (MQTT 5 section 4.8.2).
//!
//! A group lives on one shard, its owner, which deals each message to one member. A member on
//! another shard gets it by mail. What its member may never acknowledge is offered back: the
//! member keeps it, and does not send it, until the owner says whether another one took it.

use super::deliver::{Parcel, Terms};
use super::durable::Then;
use super::{
    ClientRef, Dealt, Drop, Effects, Envelope, GroupChange, Membership, Offered, Receipt, Shard,
    ShardId,
};
use crate::base::{Now, Paged};
use crate::codec::QoS;
use crate::message::Message;
use crate::routing::{ClientKey, GroupId, Member, Subscription, group_owner};
use crate::session::{
    Deal, Delivery, GroupKey, QueueBounds, Session, SharedSubscription, Stage, Window,
};
use hashbrown::HashMap;
use std::sync::Arc;

/// What there is to know of groups beyond their members.
#[derive(Default)]
pub(super) struct Groups {
    /// The names of the groups that this shard owns, as they go by mail.
    names: HashMap<GroupId, Arc<GroupKey>>,
    /// What was on offer when its session ended, by ticket: the answer decides where it goes.
    orphans: HashMap<u32, Delivery>,
}

impl Groups {
    /// Deliveries that no session holds any more, and no other member yet.
    pub fn orphans_len(&self) -> usize {
        self.orphans.len()
    }

    /// Gives the memory of what is gone back.
    pub fn shrink(&mut self) {
        self.names.shrink_to_fit();
        self.orphans.shrink_to_fit();
    }
}

/// Members of which one is looked at in the time of a delivery.
const MEMBERS_A_DELIVERY: usize = 16;
/// What a message takes beyond its texts, at most.
const MESSAGE_OVERHEAD: usize = 64;

/// What members have room for, at one moment.
struct Places<'a> {
    sessions: &'a Paged<Session>,
    fx: &'a Effects,
    room: Room,
}

/// What a shard lets each of its sessions have.
struct Room {
    here: ShardId,
    window: Window,
    outbox_bytes_max: usize,
    bounds: QueueBounds,
    queue_qos0: bool,
    budget_left: usize,
}

impl Places<'_> {
    /// Whether a member is connected and can be sent one more now. Those on other shards say so.
    fn is_ready(&self, member: &Member) -> bool {
        if self.is_elsewhere(member) {
            return member.connected && member.has_room;
        }
        let session = self.sessions.get(member.client.0);
        session.is_some_and(|session| session.conn.is_some() && self.can_begin(session))
    }

    /// Whether a message of this QoS and size finds a place with the member. Those on other shards
    /// give back what does not.
    fn has_place(&self, member: &Member, (qos, size): (QoS, usize)) -> bool {
        if self.is_elsewhere(member) {
            return member.has_room;
        }
        let session = self.sessions.get(member.client.0);
        let qos = qos.min(member.subscription.qos);
        session.is_some_and(|session| !session.is_over() && self.takes(session, (qos, size)))
    }

    fn is_elsewhere(&self, member: &Member) -> bool {
        ShardId(member.shard) != self.room.here
    }

    /// As [`Places::has_place`], of a session of this shard: under way, or in its queue.
    fn takes(&self, session: &Session, (qos, size): (QoS, usize)) -> bool {
        let may_wait = match (qos, session.conn) {
            // To who is there it is sent, or dropped for this one.
            (QoS::AtMostOnce, Some(_)) => return true,
            (QoS::AtMostOnce, None) => self.room.queue_qos0,
            _ => true,
        };
        let fits = match &session.flow {
            Some(flow) => flow.out.takes(size, self.room.bounds),
            None => size <= self.room.bounds.bytes_max,
        };
        may_wait && fits && size <= self.room.budget_left
            || session.conn.is_some() && self.can_begin(session)
    }

    /// Whether the client has room for one delivery more to be under way.
    fn can_begin(&self, session: &Session) -> bool {
        let window = session.window(self.room.window);
        let flow = session.flow.as_ref();
        flow.is_none_or(|flow| flow.retained.is_empty() && flow.out.can_begin(window, true))
            && session
                .conn
                .is_none_or(|conn| self.fx.out.backlog(conn) <= self.room.outbox_bytes_max)
    }
}

impl Shard {
    /// The session in `slot` joins, or changes its subscription. True: SUBACK has to wait for the
    /// owner, so that nothing published after it misses the group.
    pub(super) fn join(
        &mut self,
        slot: u32,
        (share, filter): (&str, &str),
        (subscription, ticket): (Subscription, u32),
        fx: &mut Effects,
    ) -> bool {
        let owner = ShardId(group_owner(share, filter, self.options.shards));
        let session = self
            .sessions
            .get_mut(slot)
            .expect("who is up has a session");
        let shared = session.shared.get_or_insert_default();
        let is_it = |known: &&mut SharedSubscription| {
            *known.key.share == *share && *known.key.filter == *filter
        };
        let key = match shared.iter_mut().find(is_it) {
            Some(known) => {
                known.subscription = subscription;
                known.key.clone()
            }
            None => {
                let key = Arc::new(GroupKey {
                    owner,
                    share: share.into(),
                    filter: filter.into(),
                });
                shared.push(SharedSubscription {
                    key: key.clone(),
                    subscription,
                });
                key
            }
        };
        self.forget_told(slot, Some(&key));
        let change = Membership::Join {
            subscription,
            ticket,
        };
        self.tell_owner(slot, key, change, fx);
        owner != self.options.shard
    }

    /// The session in `slot` leaves. False: it was no member.
    pub(super) fn leave(
        &mut self,
        slot: u32,
        (share, filter): (&str, &str),
        fx: &mut Effects,
    ) -> bool {
        let session = self
            .sessions
            .get_mut(slot)
            .expect("who is up has a session");
        let Some(shared) = session.shared.as_mut() else {
            return false;
        };
        let is_it = |s: &SharedSubscription| *s.key.share == *share && *s.key.filter == *filter;
        let Some(at) = shared.iter().position(is_it) else {
            return false;
        };
        let key = shared.swap_remove(at).key;
        if shared.is_empty() {
            session.shared = None;
        }
        self.forget_told(slot, Some(&key));
        self.tell_owner(slot, key, Membership::Leave, fx);
        true
    }

    /// Owners take a member that joins, comes or goes for one that has room, until they hear
    /// otherwise. `None`: those of all groups.
    fn forget_told(&mut self, slot: u32, which: Option<&Arc<GroupKey>>) {
        let session = self.sessions.get_mut(slot);
        if let Some(flow) = session.and_then(|session| session.flow.as_mut()) {
            flow.full_told
                .retain(|told| which.is_some_and(|which| which != told));
        }
    }

    /// The session in `slot` got or lost its connection.
    pub(super) fn set_member_connected(&mut self, slot: u32, connected: bool, fx: &mut Effects) {
        self.forget_told(slot, None);
        let session = self.sessions.get(slot).expect("looked up by the caller");
        let Some(shared) = &session.shared else {
            return;
        };
        let keys: Vec<_> = shared.iter().map(|s| s.key.clone()).collect();
        for key in keys {
            self.tell_owner(slot, key, Membership::Connected(connected), fx);
        }
    }

    /// Takes the session out of all its groups.
    pub(super) fn leave_all(&mut self, slot: u32, fx: &mut Effects) {
        let session = self
            .sessions
            .get_mut(slot)
            .expect("looked up by the caller");
        let Some(shared) = session.shared.take() else {
            return;
        };
        self.forget_told(slot, None);
        for known in *shared {
            self.tell_owner(slot, known.key, Membership::Leave, fx);
        }
    }

    pub(super) fn tell_owner(
        &mut self,
        slot: u32,
        key: Arc<GroupKey>,
        change: Membership,
        fx: &mut Effects,
    ) {
        let member = self.client_ref(slot);
        let owner = key.owner;
        let change = GroupChange {
            member,
            key,
            change,
        };
        if owner == self.options.shard {
            self.change_group(change);
        } else {
            fx.mail.post(owner, Envelope::Group(Box::new(change)));
        }
    }

    /// A member on another shard changes.
    pub(super) fn handle_group_change(&mut self, change: GroupChange, fx: &mut Effects) {
        let client = change.member;
        if let Some(ticket) = self.change_group(change) {
            fx.mail
                .post(client.shard, Envelope::Joined { client, ticket });
        }
    }

    /// Returns the ticket of a join that has to be answered.
    fn change_group(&mut self, change: GroupChange) -> Option<u32> {
        let GroupChange {
            member,
            key,
            change,
        } = change;
        let (shard, client) = (member.shard.0, ClientKey(member.slot));
        match change {
            Membership::Join {
                subscription,
                ticket,
            } => {
                let generation = member.generation;
                let member = Member {
                    shard,
                    connected: true,
                    has_room: true,
                    client,
                    generation,
                    subscription,
                };
                let group = self.router.join(&key.share, &key.filter, member);
                self.groups.names.entry(group).or_insert(key);
                return Some(ticket);
            }
            Membership::Leave => {
                if let Some(group) = self.router.group(&key.share, &key.filter) {
                    self.router.leave(group, shard, client);
                    if self.router.group_names(group).is_none() {
                        self.groups.names.remove(&group);
                    }
                }
            }
            Membership::Connected(connected) => {
                if let Some(group) = self.router.group(&key.share, &key.filter) {
                    self.router.set_connected(group, shard, client, connected);
                }
            }
            Membership::HasRoom(has_room) => {
                if let Some(group) = self.router.group(&key.share, &key.filter) {
                    self.router.set_room(group, shard, client, has_room);
                }
            }
        }
        None
    }

    /// An owner has carried out a join: SUBACK may go when it was the last one.
    pub(super) fn handle_joined(
        &mut self,
        now: Now,
        client: ClientRef,
        ticket: u32,
        fx: &mut Effects,
    ) {
        let Some(slot) = self.named(client) else {
            return;
        };
        let session = self.sessions.get_mut(slot).expect("named just now");
        let (Some(id), Some(flow)) = (session.conn, session.flow.as_mut()) else {
            return;
        };
        let Some(at) = flow.subacks.iter().position(|p| p.ticket == ticket) else {
            return;
        };
        flow.subacks[at].waiting -= 1;
        if flow.subacks[at].waiting == 0 {
            let pending = flow.subacks.remove(at);
            self.send_suback(now, id, pending, fx);
        }
    }

    /// Deals a message to one member of the group: one that can take it now, or else one that has
    /// a place for it, if need be one that is away. Of those on other shards that is not known
    /// before they are asked, once. Returns how many got it: 1 or 0.
    pub(super) fn deal(
        &mut self,
        now: Now,
        (group, was_offered): (GroupId, bool),
        parcel: &mut Parcel<'_>,
        fx: &mut Effects,
    ) -> usize {
        let content = &parcel.content;
        let bytes = content.topic.len() + content.payload.len() + content.properties.len();
        let size = (
            content.qos,
            size_of::<Delivery>() + MESSAGE_OVERHEAD + bytes,
        );
        let may_have = |places: &Places<'_>, member: &Member| {
            places.has_place(member, size) || !was_offered && places.is_elsewhere(member)
        };
        let chosen = self
            .choose(group, fx, |places, member| places.is_ready(member))
            .or_else(|| {
                self.choose(group, fx, |places, member| {
                    member.connected && may_have(places, member)
                })
            })
            .or_else(|| self.choose(group, fx, may_have))
            .or_else(|| self.choose(group, fx, |_, member| member.connected))
            .or_else(|| self.router.next(group, |_| true));
        let Some(member) = chosen else { return 0 };
        self.deal_to(now, (group, member, was_offered), parcel, fx);
        1
    }

    /// Who is to have what `by` offers and would keep itself. What finds no place on another shard
    /// comes back and may be dealt to `by` again.
    fn choose_other(
        &mut self,
        group: GroupId,
        by: ClientRef,
        message: &Message,
        fx: &Effects,
    ) -> Option<Member> {
        let size = (
            message.content().qos,
            size_of::<Delivery>() + message.size(),
        );
        let is_other = |member: &Member| (by.shard.0, by.slot) != (member.shard, member.client.0);
        self.choose(group, fx, |places, member| {
            is_other(member) && places.is_ready(member)
        })
        .or_else(|| {
            self.choose(group, fx, |places, member| {
                let may_have = places.has_place(member, size) || places.is_elsewhere(member);
                is_other(member) && member.connected && may_have
            })
        })
    }

    /// The member whose turn it is among those that suit.
    fn choose(
        &mut self,
        group: GroupId,
        fx: &Effects,
        suits: impl Fn(&Places<'_>, &Member) -> bool,
    ) -> Option<Member> {
        let room = self.room(fx);
        let places = Places {
            sessions: &self.sessions,
            fx,
            room,
        };
        let mut looked_at = 0;
        let chosen = self.router.next(group, |member| {
            looked_at += 1;
            suits(&places, member)
        });
        self.slices.spend(looked_at / MEMBERS_A_DELIVERY);
        chosen
    }

    fn places<'a>(&'a self, fx: &'a Effects) -> Places<'a> {
        Places {
            sessions: &self.sessions,
            fx,
            room: self.room(fx),
        }
    }

    fn room(&self, fx: &Effects) -> Room {
        Room {
            here: self.options.shard,
            window: self.window_max(fx),
            outbox_bytes_max: self.outbox_bytes_max(fx),
            bounds: self.queue_bounds(),
            queue_qos0: self.options.limits.queue_qos0,
            budget_left: self.budget_left(fx),
        }
    }

    fn deal_to(
        &mut self,
        now: Now,
        (group, member, was_offered): (GroupId, Member, bool),
        parcel: &mut Parcel<'_>,
        fx: &mut Effects,
    ) {
        let key = self
            .groups
            .names
            .get(&group)
            .expect("a group is named as long as it lives")
            .clone();
        if ShardId(member.shard) == self.options.shard {
            let slot = member.client.0;
            return self.deliver_dealt(now, (slot, key), member.subscription, parcel, fx);
        }
        let to = ShardId(member.shard);
        let dealt = Dealt {
            member: ClientRef {
                shard: to,
                slot: member.client.0,
                generation: member.generation,
            },
            group: key,
            message: parcel.message(&mut self.scratch),
            subscription: member.subscription,
            was_offered,
            receipt: self.receipt(),
        };
        self.counters.ledger.forwarded += 1;
        fx.mail.post(to, Envelope::Dealt(Box::new(dealt)));
    }

    fn deliver_dealt(
        &mut self,
        now: Now,
        (slot, group): (u32, Arc<GroupKey>),
        subscription: Subscription,
        parcel: &mut Parcel<'_>,
        fx: &mut Effects,
    ) {
        let qos = subscription.qos.min(parcel.content.qos);
        let id = subscription.identifier.map(|id| [id.get()]);
        let deal = (qos != QoS::AtMostOnce).then(|| {
            Box::new(Deal {
                group,
                ticket: self.ticket(),
                on_offer: false,
            })
        });
        let terms = Terms {
            qos,
            retain: subscription.retain_as_published && parcel.content.retain,
            ids: id.as_ref().map_or(&[][..], |id| &id[..]),
            deal,
        };
        self.deliver(now, slot, terms, parcel, fx);
    }

    /// A message that another shard dealt to one of this shard's clients.
    pub(super) fn handle_dealt(&mut self, now: Now, dealt: Dealt, fx: &mut Effects) {
        self.counters.ledger.arrived += 1;
        let Dealt {
            member,
            group,
            message,
            subscription,
            was_offered,
            receipt,
        } = dealt;
        let is_member = |slot: &u32| {
            let session = self.sessions.get(*slot).expect("named just now");
            session
                .shared
                .iter()
                .flat_map(|shared| shared.iter())
                .any(|s| *s.key == *group)
        };
        let taker = self.named(member).filter(is_member);
        let qos = subscription.qos.min(message.content().qos);
        let size = size_of::<Delivery>() + message.size();
        let takes = |slot: u32| {
            let session = self.sessions.get(slot).expect("named just now");
            self.places(fx).takes(session, (qos, size))
        };
        match taker.filter(|&slot| was_offered || takes(slot)) {
            Some(slot) => {
                let mut parcel = Parcel::kept(&message);
                self.begin_wait();
                self.deliver_dealt(now, (slot, group.clone()), subscription, &mut parcel, fx);
                self.end_awaited(now, receipt, fx);
                // For who is away all that comes waits: it has no room when that is full.
                let session = self.sessions.get(slot);
                let waits = session.is_some_and(|session| {
                    let flow = session.flow.as_ref();
                    session.conn.is_some() && flow.is_some_and(|flow| flow.out.queue_len() > 0)
                });
                if waits {
                    self.tell_full(slot, group, fx);
                }
            }
            None => {
                if let Some(slot) = taker {
                    self.tell_full(slot, group.clone(), fx);
                }
                self.counters.ledger.forwarded += 1;
                let offer = Offered {
                    group,
                    message,
                    by: member,
                    ticket: None,
                    receipt,
                };
                self.offer(now, offer, fx);
            }
        }
    }

    /// Tells the owner of a group, once, that the member has no room: others get its messages then.
    fn tell_full(&mut self, slot: u32, group: Arc<GroupKey>, fx: &mut Effects) {
        let session = self.sessions.get_mut(slot).expect("named by the caller");
        let told = &mut session.flow_mut().full_told;
        if group.owner != self.options.shard && !told.contains(&group) {
            told.push(group.clone());
            self.tell_owner(slot, group, Membership::HasRoom(false), fx);
        }
    }

    /// Tells those who were told otherwise that the member has room, if it has.
    pub(super) fn tell_room(&mut self, slot: u32, fx: &mut Effects) {
        let Some(session) = self.sessions.get(slot) else {
            return;
        };
        if !self.places(fx).can_begin(session) {
            return;
        }
        let session = self.sessions.get_mut(slot).expect("looked up just now");
        for group in std::mem::take(&mut session.flow_mut().full_told) {
            self.slices.spend(1);
            self.tell_owner(slot, group, Membership::HasRoom(true), fx);
        }
    }

    pub(super) fn offer(&mut self, now: Now, offer: Offered, fx: &mut Effects) {
        let owner = offer.group.owner;
        if owner == self.options.shard {
            self.handle_offered(now, offer, fx);
        } else {
            fx.mail.post(owner, Envelope::Offered(Box::new(offer)));
        }
    }

    /// A session lost its connection: other members may have what it was dealt.
    pub(super) fn offer_dealt(&mut self, now: Now, slot: u32, fx: &mut Effects) {
        let by = self.client_ref(slot);
        let session = self
            .sessions
            .get_mut(slot)
            .expect("looked up by the caller");
        let Some(flow) = &mut session.flow else {
            return;
        };
        let mut offers = Vec::new();
        flow.out.put_on_offer(|delivery| {
            let deal = delivery.deal.as_ref().expect("only dealt ones are offered");
            offers.push(Offered {
                group: deal.group.clone(),
                message: delivery.message.clone(),
                by,
                ticket: Some(deal.ticket),
                receipt: None,
            });
        });
        for offer in offers {
            self.offer(now, offer, fx);
        }
    }

    /// A session ended with this delivery unfinished: the group gets it back, unless QoS 2 was
    /// begun (MQTT-4.8.2-5).
    pub(super) fn return_dealt(
        &mut self,
        now: Now,
        (by, stage): (ClientRef, Option<Stage>),
        delivery: Delivery,
        fx: &mut Effects,
    ) {
        let deal = match (&delivery.deal, stage) {
            (Some(deal), None | Some(Stage::Ack)) => deal,
            _ => return self.forget(&delivery, Some(Drop::SessionEnded)),
        };
        if deal.on_offer {
            self.groups.orphans.insert(deal.ticket, delivery);
            return;
        }
        self.give_back(now, by, delivery, fx);
    }

    /// Gives a held delivery back to its group.
    fn give_back(&mut self, now: Now, by: ClientRef, delivery: Delivery, fx: &mut Effects) {
        self.counters.ledger.held -= 1;
        self.counters.ledger.forwarded += 1;
        self.counters.queued_bytes -= delivery.size();
        let Some(deal) = delivery.deal else { return };
        let receipt = self.receipt_to_trim(delivery.kept);
        let offer = Offered {
            group: deal.group,
            message: delivery.message,
            by,
            ticket: None,
            receipt,
        };
        self.offer(now, offer, fx);
    }

    /// At the owner: deals an offered message to somebody else.
    pub(super) fn handle_offered(&mut self, now: Now, offer: Offered, fx: &mut Effects) {
        let Offered {
            group: key,
            message,
            by,
            ticket,
            receipt,
        } = offer;
        let group = self.router.group(&key.share, &key.filter);
        let mut parcel = Parcel::kept(&message);
        let Some(ticket) = ticket else {
            self.counters.ledger.arrived += 1;
            self.begin_wait();
            let n = group.map_or(0, |group| self.deal(now, (group, true), &mut parcel, fx));
            self.counters.ledger.fan_out(n);
            return self.end_awaited(now, receipt, fx);
        };
        let other = group.and_then(|group| {
            let member = self.choose_other(group, by, &message, fx)?;
            Some((group, member, false))
        });
        let Some(other) = other else {
            return self.answer(now, (by, ticket, false), fx);
        };
        self.counters.ledger.arrived += 1;
        self.begin_wait();
        self.deal_to(now, other, &mut parcel, fx);
        // Until the other one's copy is kept, the first one stays where it is.
        if self.end_wait(Then::Answer(by, ticket)).is_none() {
            self.answer(now, (by, ticket, true), fx);
        }
    }

    /// Tells the member that made an offer what came of it.
    pub(super) fn answer(
        &mut self,
        now: Now,
        (client, ticket, taken): (ClientRef, u32, bool),
        fx: &mut Effects,
    ) {
        if client.shard == self.options.shard {
            return self.handle_answered(now, (client, ticket, taken), fx);
        }
        let answer = Envelope::Answered {
            client,
            ticket,
            taken,
        };
        fx.mail.post(client.shard, answer);
    }

    /// The message that the present wait is for is dealt: whoever wants to know when it is kept is
    /// told so.
    fn end_awaited(&mut self, now: Now, receipt: Option<Receipt>, fx: &mut Effects) {
        let waits = match receipt {
            Some(receipt) => self.end_wait(Then::Receipt(receipt)).is_some(),
            None => self.end_wait(Then::Nothing).is_some(),
        };
        if !waits {
            self.give_receipt(now, receipt, fx);
        }
    }

    /// At the member: what came of an offer.
    pub(super) fn handle_answered(
        &mut self,
        now: Now,
        (client, ticket, taken): (ClientRef, u32, bool),
        fx: &mut Effects,
    ) {
        self.counters.ledger.forwarded += u64::from(taken);
        if let Some(orphan) = self.groups.orphans.remove(&ticket) {
            if !taken {
                return self.give_back(now, client, orphan, fx);
            }
            self.counters.ledger.held -= 1;
            self.counters.queued_bytes -= orphan.size();
            return self.trim(orphan.kept);
        }
        let slot = self.named(client);
        let settled = slot.and_then(|slot| {
            let session = self.sessions.get_mut(slot)?;
            session.flow.as_mut()?.out.settle_offer(ticket, taken)
        });
        match settled {
            Some(delivery) => {
                self.counters.ledger.held -= 1;
                self.counters.queued_bytes -= delivery.size();
                self.trim(delivery.kept);
            }
            // Acknowledged meanwhile, by a client that did not wait to be sent it again.
            None => self.counters.ledger.copies += u64::from(taken),
        }
        if let Some(slot) = slot {
            self.pump(now, slot, fx);
        }
    }
}
