//! The authority's way to the shards: their mailboxes.

use super::broker::ask;
use super::mail::{Ask, Mail};
use super::mesh::Address;
use crate::auth::{Revision, Verdict};
use crate::base::{ConnId, ShardId};
use crate::identity::Shards;
use std::sync::Arc;
use std::time::Duration;

/// How long a thread that may block waits for room in a mailbox. A shard that takes nothing for so
/// long has nobody left who waits for a verdict.
const PATIENCE: Duration = Duration::from_secs(30);

/// The mailboxes of all shards.
pub struct Post(pub Arc<[Address<Mail>]>);

impl Shards for Post {
    fn answer(&self, shard: ShardId, (conn, attempt): (ConnId, u32), verdict: Verdict) {
        let verdict = Ask::Verdict {
            conn,
            attempt,
            verdict,
        };
        self.0[usize::from(shard.0)].post_within(ask(verdict), PATIENCE);
    }

    fn revise(&self, revision: Arc<Revision>) {
        for address in &*self.0 {
            address.post_within(ask(Ask::Revise(revision.clone())), PATIENCE);
        }
    }
}
