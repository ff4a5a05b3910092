//! `$SYS/brokers/...`: the broker's own figures, published at an interval by a thread that asks
//! the shards. The names are emqttd's.

use super::alarms::{Alarms, Condition};
use super::broker::{ANSWER_WITHIN, ask, lock};
use super::driver::Crowd;
use super::mail::{Ask, Mail, Report};
use super::mesh::Address;
use crate::codec::{Forwarded, QoS};
use crate::config::Settings;
use crate::identity::Authority;
use crate::message::{Content, Message, NEVER_MS};
use crate::shard::{Counters, Drop, Refusal};
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// MQTT control packet types by their number.
const CONNECT: usize = 1;
const CONNACK: usize = 2;
const PUBLISH: usize = 3;

/// Packet types that have a pair of figures of their own: name and number.
const BOTH_WAYS: [(&str, usize); 5] = [
    ("publish", PUBLISH),
    ("puback", 4),
    ("pubrec", 5),
    ("pubrel", 6),
    ("pubcomp", 7),
];
/// Packet types that go one way (received ones first), and DISCONNECT.
const RECEIVED: [(&str, usize); 4] = [
    ("connect", CONNECT),
    ("subscribe", 8),
    ("unsubscribe", 10),
    ("pingreq", 12),
];
const SENT: [(&str, usize); 4] = [
    ("connack", CONNACK),
    ("suback", 9),
    ("unsuback", 11),
    ("pingresp", 13),
];
const DISCONNECT: usize = 14;

/// How often uptime and time of day are told.
const TICK: Duration = Duration::from_secs(1);

/// A turn that takes longer than this is told. In microseconds.
const LONG_TURN_US: u64 = 100_000;

/// What alarms are about, besides the shards.
pub struct Watched {
    pub authority: Arc<Authority>,
    pub crowd: Arc<Crowd>,
    pub settings: Arc<Mutex<Settings>>,
}

/// What publishes.
pub struct Publisher {
    watched: Watched,
    alarms: Alarms,
    /// Of each shard, the longest turn that was told, in microseconds.
    told_turns: Vec<u64>,
    /// Refusals and drops for want of memory, and pauses for want of files, so far.
    wants: (u64, u64),
    node: String,
    addresses: Arc<[Address<Mail>]>,
    began: Instant,
    scratch: Vec<u8>,
    peaks: Peaks,
}

/// The highest values seen.
#[derive(Default)]
struct Peaks {
    clients: u64,
    sessions: u64,
    topics: u64,
    subscriptions: u64,
    retained: u64,
}

impl Publisher {
    /// For a node of this name.
    pub fn new(node: &str, addresses: Arc<[Address<Mail>]>, watched: Watched) -> Publisher {
        Publisher {
            watched,
            alarms: Alarms::default(),
            told_turns: vec![0; addresses.len()],
            wants: (0, 0),
            node: node.to_owned(),
            addresses,
            began: Instant::now(),
            scratch: Vec::new(),
            peaks: Peaks::default(),
        }
    }

    /// Publishes figures at the interval heard last, in seconds (0: never), and the time every
    /// second meanwhile, until nobody can say another interval.
    pub fn run(mut self, intervals: &Receiver<u32>) {
        let mut interval = Duration::ZERO;
        let mut due = Instant::now();
        loop {
            let heard = match interval.is_zero() {
                true => intervals.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => intervals.recv_timeout(TICK),
            };
            match heard {
                Ok(said_s) => {
                    interval = Duration::from_secs(said_s.into());
                    // The first figures are there after the first tick.
                    due = Instant::now();
                    if said_s > 0 {
                        self.publish_identity();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.publish_time();
                    self.look_at_sources();
                    if Instant::now() >= due {
                        due = Instant::now() + interval;
                        self.publish_identity();
                        self.publish_figures();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn publish_identity(&mut self) {
        let node = self.node.clone();
        self.publish_at("$SYS/brokers", &node, true);
        self.publish("version", env!("CARGO_PKG_VERSION"), true);
        self.publish("sysdescr", "ringmq MQTT broker", true);
    }

    fn publish_time(&mut self) {
        let uptime = uptime(self.began.elapsed().as_secs());
        self.publish("uptime", &uptime, false);
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        self.publish("datetime", &datetime(since.as_secs()), false);
    }

    fn publish_figures(&mut self) {
        let (reply, replies) = bounded(self.addresses.len());
        let mut asked = 0;
        for address in &*self.addresses {
            let question = ask(Ask::Stats(reply.clone()));
            asked += usize::from(address.post_within(question, ANSWER_WITHIN));
        }
        let mut reports = Vec::new();
        while reports.len() < asked {
            match replies.recv_timeout(ANSWER_WITHIN) {
                Ok(report) => reports.push(report),
                // A shard that does not answer has other worries; half a sum would be a lie.
                Err(_) => return,
            }
        }
        self.look_at_room(&reports);
        self.look_at_turns(&reports);
        self.publish_stats(&reports);
        let mut sum = Counters::default();
        reports
            .iter()
            .for_each(|report| add(&mut sum, &report.stats.counters));
        let retained = reports
            .iter()
            .map(|report| report.stats.retained as u64)
            .sum();
        self.publish_metrics(&sum, retained);
    }

    /// Sources of identities that cannot be asked for a while: one question without an answer may
    /// be the fault of who asked. One that is there no more is not away either.
    fn look_at_sources(&mut self) {
        const PREFIX: &str = "source_";
        const AWAY_S: u64 = 3;
        let mut gone = self.alarms.raised(PREFIX);
        for source in self.watched.authority.status() {
            let id = format!("{PREFIX}{}", source.name);
            gone.retain(|raised| *raised != id);
            self.look(Condition {
                id,
                is_on: source
                    .down
                    .as_ref()
                    .is_some_and(|(since, _)| *since >= AWAY_S),
                title: "a source of identities cannot be asked",
                summary: source.down.map(|(_, why)| why).unwrap_or_default(),
            });
        }
        for id in gone {
            self.look(Condition {
                id,
                is_on: false,
                title: "",
                summary: String::new(),
            });
        }
    }

    /// Memory and open files: at their end when something was refused for want of them since the
    /// last look, and until a tenth is free again.
    fn look_at_room(&mut self, reports: &[Report]) {
        let sum = |f: fn(&Report) -> u64| reports.iter().map(f).sum::<u64>();
        let wanted_memory = sum(|r| {
            let counters = &r.stats.counters;
            counters.ledger.dropped[Drop::MemoryBudget as usize]
                + counters.refused[Refusal::MemoryBudget as usize]
        });
        let wanted_files = sum(|r| r.pauses.no_files + r.pauses.connections_max);
        let settings = lock(&self.watched.settings).limits.clone();
        // One shard may be full while others have room.
        let share = settings.memory_budget_bytes / reports.len().max(1) as u64;
        let fullest = reports.iter().map(|r| r.stats.budgeted_bytes as u64).max();
        let fullest = fullest.unwrap_or_default();
        let connections = u64::from(self.watched.crowd.total.load(Ordering::Relaxed));
        let connections_max = u64::from(settings.connections_max);
        let is_near = |used: u64, max: u64| used >= max - max / 10;
        let lasts = |alarms: &Alarms, id: &str, is_full| is_full && alarms.is_raised(id);
        let (memory, files) = self.wants;
        let is_memory_short =
            wanted_memory > memory || lasts(&self.alarms, "memory_budget", is_near(fullest, share));
        let is_near_files = is_near(connections, connections_max);
        self.wants = (wanted_memory, wanted_files);
        self.look(Condition {
            id: "memory_budget".into(),
            is_on: is_memory_short,
            title: "the memory budget is used up",
            summary: format!("{fullest} of the {share} bytes of a shard are in use"),
        });
        self.look(Condition {
            id: "connections".into(),
            is_on: wanted_files > files || is_near_files,
            title: "connections or open files are nearly used up",
            summary: format!("{connections} of {connections_max} connections are there"),
        });
    }

    /// A long turn is told once: shards remember theirs for a minute or two.
    fn look_at_turns(&mut self, reports: &[Report]) {
        for report in reports {
            let longest_us = report.turns.longest_us();
            let told = &mut self.told_turns[usize::from(report.shard)];
            let is_new = longest_us != std::mem::replace(told, longest_us);
            if is_new && longest_us > LONG_TURN_US {
                let (shard, ms) = (report.shard, longest_us / 1000);
                let payload = serde_json::json!({ "shard": shard, "turn_ms": ms });
                self.publish("sysmon/long_schedule", &payload.to_string(), false);
            }
        }
    }

    fn look(&mut self, condition: Condition) {
        if let Some((topic, payload)) = self.alarms.look(condition) {
            self.publish(&topic, &payload, false);
        }
    }

    fn publish_stats(&mut self, reports: &[Report]) {
        let sum = |f: fn(&Report) -> usize| reports.iter().map(|r| f(r) as u64).sum::<u64>();
        let clients = sum(|r| r.stats.clients);
        let sessions = sum(|r| r.stats.sessions);
        let topics = sum(|r| r.stats.filters);
        let subscriptions = sum(|r| r.stats.subscriptions);
        let retained = sum(|r| r.stats.retained);
        let peaks = &mut self.peaks;
        let gauge = |now: u64, peak: &mut u64| {
            *peak = (*peak).max(now);
            (now, *peak)
        };
        let clients = gauge(clients, &mut peaks.clients);
        let sessions = gauge(sessions, &mut peaks.sessions);
        let topics = gauge(topics, &mut peaks.topics);
        let subscriptions = gauge(subscriptions, &mut peaks.subscriptions);
        let retained = gauge(retained, &mut peaks.retained);
        for (name, (count, max)) in [
            ("clients", clients),
            ("sessions", sessions),
            ("topics", topics),
            ("routes", topics),
            ("subscribers", subscriptions),
            ("subscriptions", subscriptions),
            ("retained", retained),
        ] {
            self.figure(&format!("stats/{name}/count"), count);
            self.figure(&format!("stats/{name}/max"), max);
        }
    }

    fn publish_metrics(&mut self, sum: &Counters, retained: u64) {
        self.figure("metrics/bytes/received", sum.bytes_in);
        self.figure("metrics/bytes/sent", sum.bytes_out);
        self.figure("metrics/packets/received", sum.packets_in.iter().sum());
        let sent = sum.packets_sent();
        self.figure("metrics/packets/sent", sent.iter().sum());
        for (name, kind) in BOTH_WAYS {
            self.figure(
                &format!("metrics/packets/{name}/received"),
                sum.packets_in[kind],
            );
            self.figure(&format!("metrics/packets/{name}/sent"), sent[kind]);
        }
        for (name, kind) in RECEIVED {
            self.figure(&format!("metrics/packets/{name}"), sum.packets_in[kind]);
        }
        for (name, kind) in SENT {
            self.figure(&format!("metrics/packets/{name}"), sent[kind]);
        }
        self.figure("metrics/packets/disconnect", sum.packets_in[DISCONNECT]);
        self.figure("metrics/messages/received", sum.publish_in.iter().sum());
        self.figure("metrics/messages/sent", sum.publish_out.iter().sum());
        for qos in 0..3 {
            let name = format!("metrics/messages/qos{qos}");
            self.figure(&format!("{name}/received"), sum.publish_in[qos]);
            self.figure(&format!("{name}/sent"), sum.publish_out[qos]);
        }
        self.figure("metrics/messages/qos2/dropped", sum.qos2_excess);
        self.figure("metrics/messages/retained", retained);
        let ledger = &sum.ledger;
        let dropped = ledger.dropped_total() - ledger.dropped[Drop::NoSubscriber as usize];
        self.figure("metrics/messages/dropped", dropped);
    }

    fn figure(&mut self, name: &str, value: u64) {
        self.publish(name, &value.to_string(), false);
    }

    fn publish(&mut self, name: &str, payload: &str, retain: bool) {
        let topic = format!("$SYS/brokers/{}/{name}", self.node);
        self.publish_at(&topic, payload, retain);
    }

    /// To the first shard, which passes it on to whoever subscribes.
    fn publish_at(&mut self, topic: &str, payload: &str, retain: bool) {
        let content = Content {
            topic,
            payload: payload.as_bytes(),
            properties: Forwarded::from_stored(&[]),
            qos: QoS::AtMostOnce,
            retain,
            expires_ms: NEVER_MS,
        };
        let message = Message::copy_of(&content, &mut self.scratch);
        self.addresses[0].post_within(ask(Ask::Publish(message)), ANSWER_WITHIN);
    }
}

fn add(sum: &mut Counters, other: &Counters) {
    sum.ledger.add(&other.ledger);
    let pairs = sum.packets_in.iter_mut().zip(other.packets_in);
    let pairs = pairs.chain(sum.packets_out.iter_mut().zip(other.packets_out));
    let pairs = pairs.chain(sum.publish_in.iter_mut().zip(other.publish_in));
    for (total, count) in pairs.chain(sum.publish_out.iter_mut().zip(other.publish_out)) {
        *total += count;
    }
    sum.qos2_excess += other.qos2_excess;
    sum.bytes_in += other.bytes_in;
    sum.bytes_out += other.bytes_out;
}

/// As emqttd writes it: `1 days, 2 hours, 3 minutes, 4 seconds`, from the first that is not 0.
fn uptime(seconds: u64) -> String {
    let parts = [
        (seconds / 86_400, "days"),
        (seconds / 3600 % 24, "hours"),
        (seconds / 60 % 60, "minutes"),
        (seconds % 60, "seconds"),
    ];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let words: Vec<_> = parts[first..]
        .iter()
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    words.join(", ")
}

/// `2026-01-31 23:59:59` in UTC.
fn datetime(unix_s: u64) -> String {
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    // Days since 0000-03-01 in eras of 400 years, so that the leap day ends each year.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let leaps = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leaps) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (unix_s, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (951_868_800, "2000-03-01 00:00:00"),
            (1_704_067_199, "2023-12-31 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(datetime(unix_s), text);
        }
    }

    #[test]
    fn uptime_leaves_out_leading_zeros() {
        assert_eq!(uptime(0), "0 seconds");
        assert_eq!(uptime(65), "1 minutes, 5 seconds");
        assert_eq!(uptime(90_061), "1 days, 1 hours, 1 minutes, 1 seconds");
    }
}
