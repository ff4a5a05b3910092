//! From the configuration to what shards are told.

use super::mail::Reach;
use crate::auth::Anonymous;
use crate::auth::acl::Answer;
use crate::base::{CertificateName, ShardId};
use crate::codec::QoS;
use crate::config::{
    AclNomatch, AllowAnonymous, Authentication, CertificateNames, DeniedPublish, Host, Listener,
    QueueDrop, Settings,
};
use crate::identity;
use crate::identity::Door;
use crate::identity::guard::PaceOptions;
use crate::shard::options::SLICE;
use crate::shard::{Access, DropPolicy, Limits, MqttOptions, Options};
use std::time::Duration;

/// The options of one of `shards` shards. What the settings allow the whole process is split
/// evenly: client ids and topics are spread by hashing.
pub fn options(settings: &Settings, shard: u16, shards: u16) -> Options {
    Options {
        shard: ShardId(shard),
        shards,
        node: settings.node.name.as_str().into(),
        presence: settings.sys.presence,
        epoch_floor: 0,
        durable: false,
        slice: SLICE,
        mountpoints: settings
            .listeners
            .iter()
            .map(|l| Some(l.mountpoint.as_str()).filter(|prefix| !prefix.is_empty()))
            .map(|prefix| prefix.map(Into::into))
            .collect(),
        mqtt: mqtt(settings),
        limits: limits(settings, u64::from(shards)),
        access: access(settings),
    }
}

/// How many connections one of `shards` shards lets in.
pub fn reach(settings: &Settings, shards: u16) -> Reach {
    let rate = settings.limits.connect_rate_max;
    let strained = settings.auth.strained_connect_rate;
    Reach {
        connections_max: settings.limits.connections_max,
        by_listener_max: settings
            .listeners
            .iter()
            .map(|l| l.connections_max)
            .collect(),
        connect_rate_max: rate.div_ceil(u32::from(shards)),
        opening_ms_max: u64::from(settings.mqtt.connect_timeout_s) * 1000,
        proxy_ms_by_listener: settings
            .listeners
            .iter()
            .map(|l| u64::from(l.proxy_timeout_s) * 1000)
            .collect(),
        strained_rate_max: strained.div_ceil(u32::from(shards)),
    }
}

/// How identities are found.
pub fn identity(settings: &Settings) -> identity::Options {
    let auth = &settings.auth;
    identity::Options {
        chain: auth.chain.split(',').map(String::from).collect(),
        anonymous: anonymous(settings),
        doors: settings.listeners.iter().map(door).collect(),
        threads: auth.threads.into(),
        waiting_max: auth.waiting_max as usize,
        deadline: Duration::from_secs(auth.deadline_s.into()),
        memo_life: Duration::from_secs(auth.memo_s.into()),
        memo_entries_max: auth.memo_entries_max as usize,
        pace: PaceOptions {
            failures_max: auth.failures_max,
            connects_max: auth.connects_max,
            window: Duration::from_secs(auth.window_s.into()),
            hold: Duration::from_secs(auth.hold_s.into()),
        },
    }
}

fn anonymous(settings: &Settings) -> Anonymous {
    match settings.auth.allow_anonymous {
        AllowAnonymous::Loopback => Anonymous::Loopback,
        AllowAnonymous::Everybody => Anonymous::Everywhere,
        AllowAnonymous::Nobody => Anonymous::Nowhere,
    }
}

fn door(listener: &Listener) -> Door {
    match listener.authentication {
        Authentication::Inherit => Door::Inherit,
        Authentication::Required => Door::Required,
        Authentication::None => Door::Open,
    }
}

/// The name of a certificate that a setting means.
pub fn certificate_name(setting: CertificateNames) -> Option<CertificateName> {
    match setting {
        CertificateNames::Off => None,
        CertificateNames::CommonName => Some(CertificateName::CommonName),
        CertificateNames::Subject => Some(CertificateName::Subject),
        CertificateNames::AlternativeName => Some(CertificateName::AlternativeName),
    }
}

/// Access rules for everybody.
fn access(settings: &Settings) -> Access {
    Access {
        common: None,
        nomatch: match settings.auth.acl_nomatch {
            AclNomatch::Deny => Answer::Deny,
            AclNomatch::Allow => Answer::Allow,
        },
        cuts_denied: settings.auth.denied_publish == DeniedPublish::Disconnect,
    }
}

fn mqtt(settings: &Settings) -> MqttOptions {
    let mqtt = &settings.mqtt;
    MqttOptions {
        packet_bytes_max: saturated(mqtt.packet_bytes_max as u64) as u32,
        client_id_bytes_max: mqtt.client_id_bytes_max.into(),
        certificate_client_id: certificate_name(settings.auth.certificate_client_id),
        topic_levels_max: mqtt.topic_levels_max.into(),
        topic_bytes_max: mqtt.topic_bytes_max.into(),
        keep_alive_max_s: (mqtt.keep_alive_max_s > 0).then_some(mqtt.keep_alive_max_s),
        keep_alive_tenths: mqtt.keep_alive_tenths.into(),
        session_expiry_max_s: mqtt.session_expiry_max_s,
        session_expiry_v3_s: mqtt.mqtt3_session_expiry_s,
        receive_maximum: mqtt.receive_maximum,
        inflight_max: mqtt.inflight_max,
        topic_alias_maximum: mqtt.topic_alias_maximum,
        maximum_qos: QoS::try_from(mqtt.qos_max).unwrap_or(QoS::ExactlyOnce),
        retain_available: mqtt.retain_available,
        wildcard_available: mqtt.wildcard_subscriptions,
        shared_available: mqtt.shared_subscriptions,
        connect_timeout_ms: u64::from(mqtt.connect_timeout_s) * 1000,
        verdict_timeout_ms: u64::from(settings.auth.deadline_s) * 1000,
    }
}

fn limits(settings: &Settings, shards: u64) -> Limits {
    let limits = &settings.limits;
    let budget = match limits.memory_budget_bytes {
        0 => Host::probe(0).memory_budget_bytes(settings),
        bytes => bytes,
    };
    let share = |total: u64| total.div_ceil(shards) as usize;
    Limits {
        sessions_max: match limits.sessions_max {
            0 => usize::MAX,
            count => share(count.into()),
        },
        subscriptions_max: match limits.subscriptions_per_client_max {
            0 => usize::MAX,
            count => count as usize,
        },
        queue_length_max: limits.queue_length_max as usize,
        queue_bytes_max: limits.queue_bytes_max,
        queue_drop: match limits.queue_drop {
            QueueDrop::Oldest => DropPolicy::Oldest,
            QueueDrop::Newest => DropPolicy::Newest,
        },
        queue_qos0: limits.queue_qos0,
        outbox_bytes_max: limits.outbox_bytes_max,
        memory_budget_bytes: share(budget),
        retained_count_max: share(limits.retained_messages_max.into()),
        retained_bytes_max: share(limits.retained_bytes_max),
        retained_payload_bytes_max: limits.retained_payload_bytes_max,
    }
}

fn saturated(bytes: u64) -> u64 {
    bytes.min(crate::limits::PACKET_BYTES_CEILING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_all_shards_cover_the_whole() {
        let settings = Settings::default();
        let whole = options(&settings, 0, 1).limits;
        for shards in [2, 3, 128] {
            let part = options(&settings, 1, shards);
            assert_eq!((part.shard, part.shards), (ShardId(1), shards));
            assert!(
                part.limits.retained_count_max * usize::from(shards) >= whole.retained_count_max
            );
            let rate = reach(&settings, shards).connect_rate_max;
            assert!(rate * u32::from(shards) >= settings.limits.connect_rate_max);
        }
    }

    #[test]
    fn no_limit_stays_none() {
        let mut settings = Settings::default();
        settings.limits.connect_rate_max = 0;
        settings.limits.subscriptions_per_client_max = 0;
        settings.limits.memory_budget_bytes = 0;
        settings.mqtt.keep_alive_max_s = 0;
        assert_eq!(reach(&settings, 4).connect_rate_max, 0);
        let options = options(&settings, 0, 4);
        assert_eq!(options.limits.subscriptions_max, usize::MAX);
        assert!(options.limits.memory_budget_bytes > 0);
        assert_eq!(options.mqtt.keep_alive_max_s, None);
    }
}
