//! The broker's side of sessions, told by its events, held against what CONNECT asked for.

use super::super::wire::{Link, Who};
use super::Model;

/// A client's session as the broker must have it.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerSession {
    pub incarnation: Option<usize>,
    /// The link that serves it.
    pub link: Option<usize>,
    pub expiry_s: u32,
    pub disconnected_ms: u64,
    /// A will that waits for its delay.
    pub will: Option<u32>,
}

/// The end of a connection as the broker told it.
pub struct Closing<'a> {
    pub link: usize,
    pub reason: &'a str,
    pub now_ms: u64,
    pub step: u64,
}

impl ServerSession {
    /// When the session ends.
    fn ends_ms(&self) -> u64 {
        match self.expiry_s {
            u32::MAX => u64::MAX,
            s => self.disconnected_ms + u64::from(s) * 1000,
        }
    }
}

impl Model {
    /// A connection became a client. `ticked_ms`: when the shard last looked for due alarms.
    pub fn connected(
        &mut self,
        (id, link): (usize, &mut Link),
        (now_ms, ticked_ms): (u64, u64),
        step: u64,
    ) {
        let Who::Client(client) = link.who else {
            return;
        };
        let present = link.session_present;
        let server = &mut self.servers[client];
        assert!(server.link.is_none(), "client {client} has two connections");
        let ends_ms = server.ends_ms();
        let alive = server.incarnation.is_some();
        let dead = !alive || (ends_ms < u64::MAX && ends_ms + 128 <= ticked_ms);
        let told = format!(
            "client {client} at {now_ms} ms, {server:?}, {:?}",
            link.terms
        );
        if link.terms.clean || dead {
            assert!(!present, "a session that cannot be there: {told}");
        } else if now_ms < ends_ms {
            assert!(present, "a session was lost: {told}");
        }
        if let Some(number) = server.will.take() {
            let message = &mut self.messages[number as usize];
            message.will_met(!present, now_ms, step);
        }
        if !present {
            if let Some(old) = server.incarnation.take() {
                self.incarnations[old].ended = Some(step);
            }
            let incarnation = match link.incarnation {
                Some(incarnation) => incarnation,
                None => self.incarnate(client, link.packet_bytes_max),
            };
            self.servers[client].incarnation = Some(incarnation);
        }
        let server = &mut self.servers[client];
        link.incarnation = server.incarnation;
        server.link = Some(id);
        server.expiry_s = link.terms.expiry_s;
    }

    /// A client's connection ended.
    pub fn disconnected(&mut self, link: &mut Link, closing: &Closing<'_>) {
        let Who::Client(client) = link.who else {
            return;
        };
        let &Closing {
            link: id,
            reason,
            now_ms,
            step,
        } = closing;
        let server = &mut self.servers[client];
        assert_eq!(server.link, Some(id), "client {client} left twice");
        server.link = None;
        server.disconnected_ms = now_ms;
        if let ("normal" | "disconnect_with_will", Some(expiry_s)) =
            (reason, link.terms.expiry_at_end_s)
        {
            server.expiry_s = expiry_s;
        }
        if let Some((number, _)) = link.terms.will {
            let ends_ms = server.ends_ms();
            let message = &mut self.messages[number as usize];
            message.will_released(reason != "normal", now_ms, ends_ms, step);
            server.will = Some(number);
        }
        if server.expiry_s == 0
            && let Some(old) = server.incarnation.take()
        {
            self.incarnations[old].ended = Some(step);
        }
    }
}
