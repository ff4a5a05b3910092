//! `ringmq status`.

use std::fmt::Write;
use std::process::ExitCode;

use super::args::StatusArgs;
use super::{Done, Failure, ask, say, unexpected};
use crate::config::unit::{about_duration_s, about_duration_us, about_size, thousands};
use crate::control::{
    CertificateStatus, Client, Count, IdentityStatus, Ledger, NodeStatus, Reply, Request, State,
    Status, Unreachable,
};

pub fn status(args: &StatusArgs) -> Done {
    let folder = args.find.folder();
    let mut client = match Client::connect(&folder) {
        Ok(client) => client,
        Err(Unreachable::NotRunning) => {
            say("ringmq is not running");
            return Ok(ExitCode::FAILURE);
        }
        Err(other) => return Err(other.into()),
    };
    let Reply::Status(status) = ask(&mut client, &Request::Status)? else {
        return Err(unexpected());
    };
    if args.json {
        let text = serde_json::to_string_pretty(&status);
        say(&text.map_err(|error| Failure(error.to_string()))?);
    } else {
        say(text(&status).trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

/// As people read it; the first two lines are those of emqttd.
fn text(status: &Status) -> String {
    let Status { process, node } = status;
    let mut out = String::new();
    // Writing to a String does not fail, here and below.
    let _ = writeln!(out, "Node '{}' is started", process.node);
    let state = match process.state {
        State::Running => "running",
        State::Stopping => "stopping",
    };
    let _ = writeln!(out, "ringmq {} is {state}", process.version);
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(out, "{name:<14}{value}");
    };
    row("process", &process.pid.to_string());
    row("uptime", &about_duration_s(process.uptime_s));
    row("config", &process.config);
    row("data", &process.data_dir);
    for shard in &node.shards {
        let cpu = shard
            .cpu
            .map_or("no CPU of its own".into(), |cpu| format!("CPU {cpu}"));
        let (connections, sessions) = (thousands(shard.connections), thousands(shard.sessions));
        let value = format!(
            "{cpu}, {connections} connections, {sessions} sessions, turns {} (99 %), {} at most",
            about_duration_us(shard.turn_p99_us),
            about_duration_us(shard.turn_max_us)
        );
        row(&format!("shard {}", shard.shard), &value);
    }
    for listener in &node.listeners {
        let max = match listener.connections_max {
            0 => String::new(),
            max => format!(" of {}", thousands(max)),
        };
        let connections = thousands(listener.connections);
        row(
            "listener",
            &format!("{}, {connections}{max} connections", listener.url),
        );
        for certificate in &listener.certificates {
            row("certificate", &certificate_line(certificate));
        }
    }
    counts(&mut out, status);
    identity(&mut out, &node.identity);
    ledger(&mut out, &node.ledger);
    by_reason(&mut out, "refused", &node.refusals);
    out
}

fn certificate_line(certificate: &CertificateStatus) -> String {
    let own = if certificate.is_own {
        ", self-made"
    } else {
        ""
    };
    let end = match certificate.days_left {
        days @ ..0 => format!("ended {} days ago", -days),
        days => format!("{days} days left"),
    };
    let names = certificate.names.join(", ");
    format!("{names}{own}, {end}, SHA-256 {}", certificate.fingerprint)
}

fn counts(out: &mut String, status: &Status) {
    let NodeStatus {
        connections,
        connections_max,
        sessions,
        ..
    } = status.node;
    let NodeStatus {
        subscriptions,
        retained_messages,
        retained_bytes,
        ..
    } = status.node;
    let memory = &status.node.memory;
    let mut row = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<14}{value}");
    };
    row(
        "connections",
        format!(
            "{} of {}",
            thousands(connections),
            thousands(connections_max)
        ),
    );
    let handshakes = &status.node.handshakes;
    if handshakes.full + handshakes.resumed > 0 {
        let (full, resumed) = (thousands(handshakes.full), thousands(handshakes.resumed));
        row("handshakes", format!("{full} full, {resumed} resumed"));
    }
    row("sessions", thousands(sessions));
    row("subscriptions", thousands(subscriptions));
    let bytes = about_size(retained_bytes);
    row(
        "retained",
        format!("{} messages, {bytes}", thousands(retained_messages)),
    );
    let (queued, budget) = (
        about_size(memory.queued_bytes),
        about_size(memory.budget_bytes),
    );
    let resident = about_size(status.process.resident_bytes);
    row(
        "memory",
        format!("{queued} held of {budget} budget, {resident} resident"),
    );
}

/// Sources on one line, ends on the next; they are equal when nothing is on its way.
fn ledger(out: &mut String, ledger: &Ledger) {
    let n = thousands;
    let (received, internal, copies) = (n(ledger.received), n(ledger.internal), n(ledger.copies));
    let _ = writeln!(
        out,
        "{:<14}{received} received + {internal} internal + {copies} copies",
        "messages"
    );
    let dropped: u64 = ledger.dropped.iter().map(|count| count.count).sum();
    let (delivered, queued, expired) = (n(ledger.delivered), n(ledger.queued), n(ledger.expired));
    let _ = write!(
        out,
        "{:<12}= {delivered} delivered + {queued} queued + {expired} expired + {} dropped",
        "",
        n(dropped)
    );
    if ledger.in_transit > 0 {
        let _ = write!(out, " + {} between shards", n(ledger.in_transit));
    }
    let _ = match ledger.imbalance() {
        0 => writeln!(out),
        open => writeln!(out, " (off by {open}; exact at a quiet moment)"),
    };
    by_reason(out, "dropped", &ledger.dropped);
}

/// Nothing where everybody is anonymous.
fn identity(out: &mut String, identity: &IdentityStatus) {
    let active = || identity.sources.iter().filter(|source| source.is_active);
    for source in active() {
        let answers = source.answers.iter();
        let answers: Vec<String> = answers
            .map(|answer| format!("{} {}", thousands(answer.count), answer.reason))
            .collect();
        let state = match source.down_s {
            Some(down_s) => format!("down for {}: {}", about_duration_s(down_s), source.why),
            None => "up".into(),
        };
        let answers = match answers.is_empty() {
            true => String::new(),
            false => format!(" ({})", answers.join(", ")),
        };
        let _ = writeln!(out, "{:<14}{}, {state}{answers}", "identities", source.name);
    }
    if active().next().is_some() {
        let (waiting, late) = (thousands(identity.waiting), thousands(identity.late));
        let (remembered, hashed) = (thousands(identity.remembered), thousands(identity.hashed));
        let _ = writeln!(
            out,
            "{:<14}{waiting} waiting, {late} too late, {remembered} remembered, {hashed} hashed, \
             {} bans",
            "verdicts", identity.bans
        );
    }
}

fn by_reason(out: &mut String, what: &str, counts: &[Count]) {
    for count in counts.iter().filter(|count| count.count > 0) {
        let _ = writeln!(out, "{what:<14}{} {}", thousands(count.count), count.reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Handshakes, ListenerStatus, Memory, Process, ShardStatus, SourceStatus};

    #[test]
    fn status_reads_as_documented() {
        let process = Process {
            node: "ringmq@127.0.0.1".into(),
            version: "0.1.0".into(),
            pid: 7,
            uptime_s: 3661,
            resident_bytes: 24 << 20,
            config: "etc/ringmq.toml".into(),
            data_dir: "/data".into(),
            ..Process::default()
        };
        let node = busy_node();
        assert_eq!(
            text(&Status { process, node }),
            "Node 'ringmq@127.0.0.1' is started\n\
             ringmq 0.1.0 is running\n\
             process       7\n\
             uptime        1h 1m\n\
             config        etc/ringmq.toml\n\
             data          /data\n\
             shard 0       CPU 3, 1,200 connections, 1,300 sessions, \
             turns 64 µs (99 %), 2.3 ms at most\n\
             shard 1       no CPU of its own, 0 connections, 0 sessions, \
             turns 0 µs (99 %), 0 µs at most\n\
             listener      tcp://0.0.0.0:1883, 1,200 connections\n\
             connections   1,200 of 100,000\n\
             sessions      1,300\n\
             subscriptions 5\n\
             retained      2 messages, 1.5 KiB\n\
             memory        0 B held of 6 GiB budget, 24 MiB resident\n\
             identities    users, up (1,200 allowed)\n\
             identities    postgres, down for 1m 30s: connection refused (1,200 allowed)\n\
             verdicts      1,500 waiting, 7 too late, 1,100 remembered, 1,300 hashed, 2 bans\n\
             messages      10 received + 1 internal + 4 copies\n            \
             = 9 delivered + 2 queued + 1 expired + 2 dropped + 1 between shards\n\
             dropped       2 no_subscriber\n\
             refused       3 not_mqtt\n"
        );
    }

    fn busy_identity() -> IdentityStatus {
        let source = |name: &str, down_s| SourceStatus {
            name: name.into(),
            is_active: true,
            down_s,
            why: "connection refused".into(),
            answers: vec![Count {
                reason: "allowed".into(),
                count: 1200,
            }],
        };
        IdentityStatus {
            sources: vec![source("users", None), source("postgres", Some(90))],
            waiting: 1500,
            late: 7,
            remembered: 1100,
            hashed: 1300,
            bans: 2,
        }
    }

    fn busy_node() -> NodeStatus {
        let count = |reason: &str, count| Count {
            reason: reason.into(),
            count,
        };
        NodeStatus {
            shards: vec![
                ShardStatus {
                    cpu: Some(3),
                    connections: 1200,
                    sessions: 1300,
                    turn_p99_us: 64,
                    turn_max_us: 2_345,
                    ..Default::default()
                },
                ShardStatus {
                    shard: 1,
                    ..Default::default()
                },
            ],
            listeners: vec![ListenerStatus {
                url: "tcp://0.0.0.0:1883".into(),
                connections: 1200,
                connections_max: 0,
                certificates: vec![],
            }],
            connections: 1200,
            connections_max: 100_000,
            sessions: 1300,
            subscriptions: 5,
            retained_messages: 2,
            retained_bytes: 1536,
            memory: Memory {
                queued_bytes: 0,
                budget_bytes: 6 << 30,
            },
            ledger: Ledger {
                received: 10,
                internal: 1,
                copies: 4,
                delivered: 9,
                queued: 2,
                expired: 1,
                in_transit: 1,
                dropped: vec![count("no_subscriber", 2), count("queue_full", 0)],
            },
            handshakes: Handshakes::default(),
            refusals: vec![count("not_mqtt", 3)],
            identity: busy_identity(),
        }
    }

    #[test]
    fn an_open_book_is_said_to_be_open() {
        let mut out = String::new();
        ledger(
            &mut out,
            &Ledger {
                received: 3,
                delivered: 1,
                ..Ledger::default()
            },
        );
        assert!(out.contains("(off by 2; "), "{out}");
    }
}
