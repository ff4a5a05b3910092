//! The broker as the control plane sees it.

use super::broker::{ANSWER_WITHIN, Broker, ask, lock};
use super::certificates::post_rules;
use super::mail::{Ask, Report};
use super::options;
use super::written::Written;
use crate::auth::Rules;
use crate::base::ShardId;
use crate::codec::Version;
use crate::config::{Address, Settings};
use crate::control::{
    Ban, BanKind, CertificateStatus, ClientDetail, ClientInfo, Count, Handshakes, IdentityStatus,
    Ledger, ListenerStatus, Memory, NewUser, Node, NodeStatus, Page, Plugin, ShardStatus,
    SourceStatus, Stopped, Subscription, User,
};
use crate::identity::plugin::Listed;
use crate::limits::EXPIRY_NEVER_S;
use crate::net::files;
use crate::net::layer::Why;
use crate::shard::{self, Drop, Refusal, owner_of};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Node for Broker {
    fn status(&self) -> Result<NodeStatus, String> {
        let mut reports = self.reports()?;
        reports.sort_by_key(|report| report.shard);
        let settings = lock(&self.settings);
        let sum = |f: fn(&Report) -> usize| reports.iter().map(|r| f(r) as u64).sum::<u64>();
        Ok(NodeStatus {
            shards: reports
                .iter()
                .map(|report| self.shard_status(report))
                .collect(),
            listeners: self.listener_status(),
            connections: self.crowd.total.load(Ordering::Relaxed).into(),
            connections_max: settings.limits.connections_max.into(),
            sessions: sum(|r| r.stats.sessions),
            subscriptions: sum(|r| r.stats.subscriptions),
            retained_messages: sum(|r| r.stats.retained),
            retained_bytes: sum(|r| r.stats.retained_bytes),
            memory: Memory {
                queued_bytes: sum(|r| r.stats.budgeted_bytes),
                budget_bytes: settings.limits.memory_budget_bytes,
            },
            ledger: ledger(&reports),
            handshakes: Handshakes {
                full: sum_of(&reports, |r| r.tallies.handshakes_full),
                resumed: sum_of(&reports, |r| r.tallies.handshakes_resumed),
            },
            refusals: refusals(&reports),
            identity: self.identity_status(),
        })
    }

    fn reload(&self, settings: &Settings) -> Result<(), String> {
        // All that can be refused comes before anything that changes.
        let doors = self.doors.prepare(settings)?;
        let written = Written::read(settings)?;
        let plugins = self.plugins.read_again()?;
        self.reports()?;
        self.doors.take(settings, doors);
        if let Err(why) = post_rules(&self.doors, &self.addresses) {
            tracing::error!("reload: {why}: it goes on with the listeners' rules of before");
        }
        self.plugins.begin_anew(plugins);
        let before = lock(&self.written).users.clone();
        let installed = written.install(&self.authority, before.as_deref());
        let rules = installed.rules.clone();
        *lock(&self.written) = installed;
        self.post_options(settings, rules.as_ref());
        self.authority.configure(options::identity(settings));
        let before = std::mem::replace(&mut *lock(&self.settings), settings.clone());
        if before.sys.interval_s != settings.sys.interval_s {
            self.set_sys_interval(settings.sys.interval_s);
        }
        Ok(())
    }

    fn stop(&self, deadline: Duration) -> Stopped {
        let ended = Broker::stop(self, deadline);
        Stopped {
            connections_left: ended.connections_left.into(),
            is_complete: ended.is_complete,
        }
    }

    fn clients(&self, limit: usize, after: Option<&str>) -> Result<Page, String> {
        let (mut shard, mut from) = match after {
            None => (0, 0),
            Some(cursor) => parse_cursor(cursor).ok_or("this is no page that `next` named")?,
        };
        let mut page = Page::default();
        while usize::from(shard) < self.addresses.len() {
            let room = limit.max(1) - page.clients.len();
            let (found, next) = self.ask_one(ShardId(shard), |reply| Ask::Clients {
                from,
                limit: room,
                reply,
            })?;
            page.clients
                .extend(found.iter().map(|client| client_info(client, shard)));
            (shard, from) = next.map_or((shard + 1, 0), |slot| (shard, slot));
            if page.clients.len() >= limit {
                let more = usize::from(shard) < self.addresses.len();
                page.next = more.then(|| format!("{shard}/{from}"));
                break;
            }
        }
        Ok(page)
    }

    fn client(&self, client_id: &str) -> Result<Option<ClientDetail>, String> {
        let owner = owner_of(client_id, self.addresses.len() as u16);
        let client_id = client_id.to_owned();
        let found = self.ask_one(owner, |reply| Ask::Client { client_id, reply })?;
        Ok(found.map(|client| ClientDetail {
            client: client_info(&client, owner.0),
            subscriptions: client
                .subscriptions
                .into_iter()
                .map(|(filter, qos)| Subscription { filter, qos })
                .collect(),
        }))
    }

    fn plugins(&self) -> Result<Vec<Plugin>, String> {
        let plugin = |listed: Listed| Plugin {
            name: listed.name.to_string(),
            description: listed.name.kind().description().into(),
            is_loaded: listed.is_loaded,
            detail: listed.detail,
        };
        Ok(self.plugins.list().into_iter().map(plugin).collect())
    }

    fn load_plugin(&self, name: &str) -> Result<Vec<String>, String> {
        self.plugins.load(name)
    }

    fn unload_plugin(&self, name: &str) -> Result<(), String> {
        self.plugins.unload(name)
    }

    fn kick(&self, client_id: &str) -> Result<bool, String> {
        let owner = owner_of(client_id, self.addresses.len() as u16);
        let client_id = client_id.to_owned();
        self.ask_one(owner, |reply| Ask::Kick { client_id, reply })
    }

    fn users(&self, limit: usize, from: Option<&str>) -> Result<Vec<User>, String> {
        Ok(self.list_users(limit, from))
    }

    fn add_user(&self, user: &NewUser) -> Result<(), String> {
        self.make_user(user)
    }

    fn delete_user(&self, name: &str) -> Result<(), String> {
        Broker::delete_user(self, name)
    }

    fn set_password(&self, name: &str, password: &str) -> Result<(), String> {
        self.change_password(name, password)
    }

    fn bans(&self) -> Result<Vec<Ban>, String> {
        Ok(self.list_bans())
    }

    fn add_ban(&self, ban: Ban) -> Result<(), String> {
        Broker::add_ban(self, ban)
    }

    fn lift_ban(&self, kind: BanKind, value: String) -> Result<bool, String> {
        Broker::lift_ban(self, kind, value)
    }
}

impl Broker {
    /// Tells every shard what holds from now on. All have just answered, so that one that takes no
    /// mail now has broken down meanwhile; it is no reason to leave the others behind.
    fn post_options(&self, settings: &Settings, rules: Option<&Arc<Rules>>) {
        let shards = self.addresses.len() as u16;
        files::reserve(settings.limits.connections_max);
        for (address, shard) in self.addresses.iter().zip(0..) {
            let mut options = Box::new(options::options(settings, shard, shards));
            options.access.common = rules.cloned();
            let reload = ask(Ask::Reload(options, options::reach(settings, shards)));
            if !address.post_within(reload, ANSWER_WITHIN) {
                tracing::error!("reload: shard {shard} does not answer: it goes on as before");
            }
        }
    }

    fn shard_status(&self, report: &Report) -> ShardStatus {
        ShardStatus {
            shard: report.shard,
            cpu: self.cpus[usize::from(report.shard)],
            connections: report.connections.into(),
            sessions: report.stats.sessions as u64,
            subscriptions: report.stats.subscriptions as u64,
            turns_asleep: report.turns_asleep,
            turn_p99_us: report.turns.within_us(99),
            turn_max_us: report.turns.longest_us(),
        }
    }

    fn identity_status(&self) -> IdentityStatus {
        let authority = &self.authority;
        let source = |source: crate::identity::SourceStatus| {
            let (down_s, why) = source.down.unzip();
            SourceStatus {
                name: source.name.into(),
                is_active: source.is_active,
                down_s,
                why: why.unwrap_or_default(),
                answers: counts(source.counts.into_iter()),
            }
        };
        IdentityStatus {
            sources: authority.status().into_iter().map(source).collect(),
            waiting: authority.waiting() as u64,
            late: authority.expired(),
            remembered: authority.remembered() as u64,
            hashed: authority.hashed(),
            bans: authority.bans().len() as u64,
        }
    }

    fn listener_status(&self) -> Vec<ListenerStatus> {
        let counts = self.crowd.by_listener.iter();
        let listening = self.listening.iter().enumerate();
        listening
            .zip(counts)
            .map(|((at, listening), count)| ListenerStatus {
                url: match &listening.address {
                    Address::Inet(address) => format!("{}://{address}", listening.scheme.word()),
                    Address::Path(path) => {
                        format!("{}://{}", listening.scheme.word(), path.display())
                    }
                },
                certificates: self.certificate_status(at),
                connections: count.load(Ordering::Relaxed).into(),
                connections_max: listening.connections_max.into(),
            })
            .collect()
    }

    fn certificate_status(&self, listener: usize) -> Vec<CertificateStatus> {
        let certificates = self.doors.certificates(listener).into_iter();
        certificates
            .map(|certificate| CertificateStatus {
                names: certificate.facts.names,
                days_left: certificate.days_left,
                fingerprint: certificate.facts.fingerprint,
                is_own: certificate.is_own,
            })
            .collect()
    }
}

fn ledger(reports: &[Report]) -> Ledger {
    let mut sum = shard::Ledger::default();
    reports
        .iter()
        .for_each(|report| sum.add(&report.stats.counters.ledger));
    let dropped = Drop::ALL
        .iter()
        .map(|why| (why.name(), sum.dropped[*why as usize]));
    Ledger {
        received: sum.received,
        internal: sum.internal,
        copies: sum.copies,
        delivered: sum.delivered,
        queued: sum.held,
        expired: sum.expired,
        // The shards answer one after the other: mail that arrived after its sender was asked may
        // be counted once too often for a moment.
        in_transit: sum.forwarded.saturating_sub(sum.arrived),
        dropped: counts(dropped),
    }
}

fn refusals(reports: &[Report]) -> Vec<Count> {
    let mut found = Vec::new();
    for why in Refusal::ALL {
        let of_shard = |r: &Report| r.stats.counters.refused[why as usize];
        found.push((why.name(), reports.iter().map(of_shard).sum()));
    }
    for why in Why::ALL {
        let of_shard = |r: &Report| r.tallies.refused[why as usize];
        found.push((why.name(), reports.iter().map(of_shard).sum()));
    }
    let pauses = |f: fn(&Report) -> u64| sum_of(reports, f);
    found.push(("connect_rate", pauses(|r| r.pauses.connect_rate)));
    found.push(("connect_rate_strained", pauses(|r| r.pauses.strained)));
    found.push(("connections_max", pauses(|r| r.pauses.connections_max)));
    found.push(("open_files", pauses(|r| r.pauses.no_files)));
    counts(found.into_iter())
}

fn sum_of(reports: &[Report], f: fn(&Report) -> u64) -> u64 {
    reports.iter().map(f).sum()
}

/// Those that happened.
fn counts(all: impl Iterator<Item = (&'static str, u64)>) -> Vec<Count> {
    let happened = all.filter(|(_, count)| *count > 0);
    happened
        .map(|(reason, count)| Count {
            reason: reason.into(),
            count,
        })
        .collect()
}

fn client_info(client: &shard::ClientInfo, shard: u16) -> ClientInfo {
    let peer = client.peer.as_ref();
    let identity = peer.and_then(|peer| peer.identity.as_deref());
    ClientInfo {
        client_id: client.client_id.to_string(),
        is_connected: client.peer.is_some(),
        username: client.username.as_deref().map(Into::into),
        peer: peer.map(ToString::to_string),
        transport: peer.map(|peer| peer.transport.word().into()),
        proxy: identity.and_then(|known| Some(known.proxy?.to_string())),
        server_name: identity.and_then(|known| known.server_name.as_deref().map(Into::into)),
        certificate: identity.and_then(|known| Some(known.certificate.as_ref()?.name().into())),
        unique_id: identity.and_then(|known| known.unique_id_text()),
        protocol: match client.version {
            Version::V31 => "3.1",
            Version::V311 => "3.1.1",
            Version::V5 => "5.0",
        }
        .into(),
        session_expiry_s: match client.session_expiry_s {
            EXPIRY_NEVER_S => None,
            expiry_s => Some(expiry_s),
        },
        silence_s_max: u64::from(client.keep_alive_ms / 1000),
        shard,
        epoch: client.epoch,
        subscriptions: client.subscriptions.len() as u64,
        queued: client.queued as u64,
        inflight: client.inflight as u64,
    }
}

/// `shard/slot`, as [`Page::next`] has it: sessions lie in hash order, so their slots are the only
/// order in which a page costs no more than what is on it.
fn parse_cursor(cursor: &str) -> Option<(u16, u32)> {
    let (shard, slot) = cursor.split_once('/')?;
    Some((shard.parse().ok()?, slot.parse().ok()?))
}
