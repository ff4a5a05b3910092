//! What the control plane asks of a shard, answered between two turns.

use super::super::mail::{Ask, Report};
use super::input::VERDICT_WORK;
use super::{Driver, relieved_at};
use crate::base::ConnId;
use crate::net::TokenBucket;
use crate::shard::{Input, Verdict};

impl Driver {
    pub(super) fn answer(&mut self, ask: Ask) {
        // Whoever asked may have given up waiting: `send` failing is no concern of the shard's.
        match ask {
            Ask::Stats(reply) => {
                let _ = reply.try_send(self.report());
            }
            Ask::Clients { from, limit, reply } => {
                let _ = reply.try_send(self.shard.clients(from, limit));
            }
            Ask::Client { client_id, reply } => {
                let _ = reply.try_send(self.shard.client(&client_id));
            }
            Ask::Kick { client_id, reply } => {
                let client_id = client_id.as_str();
                let client = self.shard.client(client_id);
                let found = client.is_some_and(|client| client.peer.is_some());
                self.shard
                    .step(self.now, Input::Kick { client_id }, &mut self.fx);
                let _ = reply.try_send(found);
            }
            Ask::Reload(options, reach) => {
                self.outbox_bytes_max = options.limits.outbox_bytes_max;
                self.relieved_at = relieved_at(self.outbox_bytes_max);
                self.bucket = TokenBucket::new(reach.connect_rate_max, self.now.ms);
                self.strained = TokenBucket::new(reach.strained_rate_max, self.now.ms);
                self.reach = reach;
                self.shard
                    .step(self.now, Input::Reload(options), &mut self.fx);
            }
            Ask::Doors(doors) => self.doors = doors,
            Ask::Publish(message) => {
                self.shard
                    .step(self.now, Input::Publish(message), &mut self.fx);
            }
            Ask::Verdict {
                conn,
                attempt,
                verdict,
            } => self.take_verdict((conn, attempt), verdict),
            Ask::Revise(revision) => {
                self.shard
                    .step(self.now, Input::Revise(revision), &mut self.fx);
            }
            Ask::LastWills(reply) => {
                self.close_listeners();
                self.settling.push(reply);
                self.shard.step(self.now, Input::LastWills, &mut self.fx);
            }
            Ask::Settle(reply) => self.settling.push(reply),
            Ask::Shutdown(reply) => {
                self.close_openings();
                self.stopping = Some(reply);
                self.shard.step(self.now, Input::Shutdown, &mut self.fx);
            }
            Ask::End => self.ended = true,
        }
    }

    fn take_verdict(&mut self, (conn, attempt): (ConnId, u32), verdict: Verdict) {
        let input = Input::Verdict {
            conn,
            attempt,
            verdict,
        };
        let closes = self.fx.closes.len();
        self.shard.step(self.now, input, &mut self.fx);
        let is_told = self.fx.out.backlog(conn) > 0 || self.fx.closes.len() > closes;
        // Other shards' mail is behind those of a crowd, and they stop for a full mailbox.
        self.spent += match is_told && !self.mailbox.is_filling() {
            true => VERDICT_WORK,
            false => 1,
        };
        self.unpark(conn.0);
    }

    /// Says that this turn's mail is posted.
    pub(super) fn report_settled(&mut self) {
        if !self.out.is_congested() {
            for reply in self.settling.drain(..) {
                let _ = reply.try_send(self.id.0);
            }
        }
    }

    /// Says once that everybody has gone.
    pub(super) fn report_stopped(&mut self) {
        let nobody = self.conns.is_empty() && self.newcomers.is_empty();
        let quiet = nobody && !self.out.is_congested();
        if quiet && let Some(reply) = self.stopping.take() {
            let _ = reply.try_send(self.id.0);
        }
    }

    fn report(&self) -> Report {
        let mut stats = self.shard.stats();
        stats.counters.bytes_out = self.fx.out.written();
        stats.budgeted_bytes = self.shard.budgeted_bytes(&self.fx);
        Report {
            shard: self.id.0,
            connections: self.conns.len() as u32,
            stats,
            pauses: self.pauses,
            tallies: self.tallies,
            turns_asleep: self.turns_asleep,
            turns: self.turns,
        }
    }
}
