//! The books of a shard: every message that came in is accounted for.

/// Why a delivery was not made. The names are those that `status` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Drop {
    /// Nobody subscribes to it.
    NoSubscriber,
    /// The client's queue was full (count or bytes).
    QueueFull,
    /// The shard's memory budget for queues was spent.
    MemoryBudget,
    /// QoS 0 to a client that does not read fast enough.
    SlowConsumer,
    /// QoS 0 to a client that is away, while such messages are not queued.
    Offline,
    /// Larger than the client's Maximum Packet Size (MQTT-3.1.2-25).
    PacketTooLarge,
    /// The session ended with the delivery still waiting.
    SessionEnded,
    /// The client answered PUBACK or PUBREC with an error code.
    Refused,
    /// A retained message that waited for a new subscriber, when a newer one was sent to it.
    Superseded,
    /// It waited for a client whose rules changed meanwhile and do not let it have the topic.
    Denied,
}

impl Drop {
    /// All reasons, in the order of [`Ledger::dropped`].
    pub const ALL: [Drop; 10] = [
        Drop::NoSubscriber,
        Drop::QueueFull,
        Drop::MemoryBudget,
        Drop::SlowConsumer,
        Drop::Offline,
        Drop::PacketTooLarge,
        Drop::SessionEnded,
        Drop::Refused,
        Drop::Superseded,
        Drop::Denied,
    ];

    /// The name in `status` and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Drop::NoSubscriber => "no_subscriber",
            Drop::QueueFull => "queue_full",
            Drop::MemoryBudget => "memory_budget",
            Drop::SlowConsumer => "slow_consumer",
            Drop::Offline => "offline",
            Drop::PacketTooLarge => "packet_too_large",
            Drop::SessionEnded => "session_ended",
            Drop::Refused => "refused",
            Drop::Superseded => "superseded",
            Drop::Denied => "denied",
        }
    }
}

/// Messages in, deliveries out. `received + internal + arrived + restored + copies == delivered +
/// held + expired + dropped + forwarded` holds after every step, and over all shards `arrived ==
/// forwarded` once no mail is under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// PUBLISH packets accepted from clients.
    pub received: u64,
    /// Wills and the broker's own messages.
    pub internal: u64,
    /// Mail from other shards that carried a message.
    pub arrived: u64,
    /// Deliveries that a store gave back at the start.
    pub restored: u64,
    /// Deliveries beyond the first that a message was multiplied into, and those made from
    /// retained messages.
    pub copies: u64,
    /// QoS 0: handed to the connection; QoS 1 and 2: acknowledged by the client.
    pub delivered: u64,
    /// Deliveries that wait or are not acknowledged yet.
    pub held: u64,
    /// Given up because the message expired.
    pub expired: u64,
    /// Messages passed to another shard.
    pub forwarded: u64,
    /// Given up, by [`Drop`].
    pub dropped: [u64; Drop::ALL.len()],
}

impl Ledger {
    /// Counts a dropped delivery.
    pub fn drop_one(&mut self, why: Drop) {
        self.dropped[why as usize] += 1;
    }

    /// A message that became `n` deliveries; none at all is a drop of its own.
    pub fn fan_out(&mut self, n: usize) {
        match n {
            0 => self.drop_one(Drop::NoSubscriber),
            n => self.copies += n as u64 - 1,
        }
    }

    /// Deliveries dropped for any reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// What came in less what is accounted for: 0, or the books are wrong.
    pub fn imbalance(&self) -> i64 {
        let sources = self.received + self.internal + self.arrived + self.restored + self.copies;
        let sinks =
            self.delivered + self.held + self.expired + self.forwarded + self.dropped_total();
        sources as i64 - sinks as i64
    }

    /// Adds another shard's books.
    pub fn add(&mut self, other: &Ledger) {
        self.received += other.received;
        self.internal += other.internal;
        self.arrived += other.arrived;
        self.restored += other.restored;
        self.copies += other.copies;
        self.delivered += other.delivered;
        self.held += other.held;
        self.expired += other.expired;
        self.forwarded += other.forwarded;
        for (sum, n) in self.dropped.iter_mut().zip(other.dropped) {
            *sum += n;
        }
    }
}

/// Why a connection or request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Refusal {
    /// CONNECT did not come within its deadline.
    ConnectTimeout,
    /// The first bytes were no CONNECT that this broker speaks.
    NotMqtt,
    /// An HTTP request where MQTT is spoken.
    HttpOnMqtt,
    /// TLS where MQTT is spoken without.
    TlsOnMqtt,
    /// A packet that breaks the format or the protocol.
    ProtocolViolation,
    /// Larger than the broker's Maximum Packet Size.
    PacketTooLarge,
    /// The client identifier was not acceptable.
    ClientId,
    /// Authentication said no.
    Authentication,
    /// The broker could not decide.
    ServerUnavailable,
    /// Banned, by client id, user name or address.
    Banned,
    /// Too many failures from this address or for this user, or connects of this client.
    HeldOff,
    /// Let in once, and cut or no longer vouched for since.
    Revoked,
    /// The grant of a connection came to its end.
    Expired,
    /// A publish that the client may not make.
    PublishDenied,
    /// A subscription that the client may not make.
    SubscribeDenied,
    /// A topic name or filter of more levels than the broker takes.
    TopicLevels,
    /// A topic name, a filter or a share name of more bytes than the broker takes.
    TopicLength,
    /// A filter that is none.
    FilterInvalid,
    /// A subscription with wildcards, or a shared one, where there are none.
    NotAvailable,
    /// More sessions than the broker keeps.
    SessionQuota,
    /// More subscriptions than one client may have.
    SubscriptionQuota,
    /// Retained messages beyond count, bytes or size.
    RetainedQuota,
    /// No packet for one and a half times the keep alive.
    KeepAliveTimeout,
    /// More QoS 2 messages open than the Receive Maximum.
    ReceiveMaximum,
    /// A large packet bit by bit, while the shard's memory budget was spent.
    MemoryBudget,
    /// The answer would be larger than the client's Maximum Packet Size.
    AnswerTooLarge,
}

impl Refusal {
    /// All reasons, in the order of [`Counters::refused`].
    pub const ALL: [Refusal; 26] = [
        Refusal::ConnectTimeout,
        Refusal::NotMqtt,
        Refusal::HttpOnMqtt,
        Refusal::TlsOnMqtt,
        Refusal::ProtocolViolation,
        Refusal::PacketTooLarge,
        Refusal::ClientId,
        Refusal::Authentication,
        Refusal::ServerUnavailable,
        Refusal::Banned,
        Refusal::HeldOff,
        Refusal::Revoked,
        Refusal::Expired,
        Refusal::PublishDenied,
        Refusal::SubscribeDenied,
        Refusal::TopicLevels,
        Refusal::TopicLength,
        Refusal::FilterInvalid,
        Refusal::NotAvailable,
        Refusal::SessionQuota,
        Refusal::SubscriptionQuota,
        Refusal::RetainedQuota,
        Refusal::KeepAliveTimeout,
        Refusal::ReceiveMaximum,
        Refusal::MemoryBudget,
        Refusal::AnswerTooLarge,
    ];

    /// The name in `status` and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Refusal::ConnectTimeout => "connect_timeout",
            Refusal::NotMqtt => "not_mqtt",
            Refusal::HttpOnMqtt => "http_on_mqtt",
            Refusal::TlsOnMqtt => "tls_on_mqtt",
            Refusal::ProtocolViolation => "protocol_violation",
            Refusal::PacketTooLarge => "packet_too_large",
            Refusal::ClientId => "client_id",
            Refusal::Authentication => "authentication",
            Refusal::ServerUnavailable => "server_unavailable",
            Refusal::Banned => "banned",
            Refusal::HeldOff => "held_off",
            Refusal::Revoked => "revoked",
            Refusal::Expired => "expired",
            Refusal::PublishDenied => "publish_denied",
            Refusal::SubscribeDenied => "subscribe_denied",
            Refusal::TopicLevels => "topic_levels",
            Refusal::TopicLength => "topic_length",
            Refusal::FilterInvalid => "filter_invalid",
            Refusal::NotAvailable => "not_available",
            Refusal::SessionQuota => "session_quota",
            Refusal::SubscriptionQuota => "subscription_quota",
            Refusal::RetainedQuota => "retained_quota",
            Refusal::KeepAliveTimeout => "keep_alive_timeout",
            Refusal::ReceiveMaximum => "receive_maximum",
            Refusal::MemoryBudget => "memory_budget",
            Refusal::AnswerTooLarge => "answer_too_large",
        }
    }
}

/// Everything a shard counts. Plain numbers: a shard is asked for them by mail.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    pub ledger: Ledger,
    pub refused: [u64; Refusal::ALL.len()],
    /// Packets received and sent, by packet type (the high nibble of the first byte). Of PUBLISH
    /// only what was sent again is counted here, so that a delivery counts once: see
    /// [`Counters::packets_sent`].
    pub packets_in: [u64; 16],
    pub packets_out: [u64; 16],
    pub bytes_in: u64,
    /// As far as the driver says so: the shard only puts bytes into outboxes.
    pub bytes_out: u64,
    /// PUBLISH received and sent, by QoS.
    pub publish_in: [u64; 3],
    pub publish_out: [u64; 3],
    /// PUBLISH of QoS 2 beyond the Receive Maximum.
    pub qos2_excess: u64,
    /// Connections handed to another shard.
    pub moved: u64,
    /// Connections that became clients, over all time.
    pub connects: u64,
    /// Bytes that wait in queues and in-flight windows now.
    pub queued_bytes: usize,
}

impl Counters {
    /// Counts a refusal.
    pub fn refuse(&mut self, why: Refusal) {
        self.refused[why as usize] += 1;
    }

    /// Packets sent, by packet type.
    pub fn packets_sent(&self) -> [u64; 16] {
        let mut sent = self.packets_out;
        sent[3] += self.publish_out.iter().sum::<u64>();
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_index_their_own_column() {
        for (i, why) in Drop::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, i);
        }
        for (i, why) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, i);
        }
    }

    #[test]
    fn a_missing_delivery_shows() {
        let mut ledger = Ledger {
            received: 2,
            ..Ledger::default()
        };
        ledger.fan_out(0);
        ledger.fan_out(3);
        ledger.delivered = 2;
        assert_eq!(ledger.imbalance(), 1);
        ledger.held = 1;
        assert_eq!(ledger.imbalance(), 0);
    }
}
