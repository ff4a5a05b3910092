//! Bytes on their way to clients. A connection has a buffer only while something waits in it.

use crate::base::ConnId;

const NONE: u32 = u32::MAX;
/// Spare buffers kept for the next turn.
const SPARES_MAX: usize = 1024;
/// A buffer that grew beyond this is given back to the allocator, not kept as a spare.
const SPARE_BYTES_MAX: usize = 16 * 1024;

/// The buffer of one connection.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    written: usize,
    conn: u32,
    dirty: bool,
    /// Changes of the store without which nothing here may be sent.
    holds: u32,
    /// Of its bytes, what a socket did not take.
    left: usize,
}

/// The outboxes of a shard's connections.
#[derive(Default)]
pub struct Outboxes {
    /// Connection slot to buffer index.
    by_conn: Vec<u32>,
    buffers: Vec<Buffer>,
    free: Vec<u32>,
    dirty: Vec<u32>,
    /// Bytes written, over all time.
    written: u64,
    /// Bytes that sockets did not take.
    left: usize,
}

impl Outboxes {
    /// The buffer of `conn`, to append whole packets to; the connection is written at the end of
    /// the turn.
    #[inline]
    pub fn of(&mut self, conn: ConnId) -> &mut Vec<u8> {
        let index = match self.by_conn.get(conn.0 as usize) {
            Some(&index) if index != NONE => index as usize,
            _ => self.attach(conn),
        };
        let buffer = &mut self.buffers[index];
        if !buffer.dirty {
            buffer.dirty = true;
            self.dirty.push(conn.0);
        }
        &mut buffer.bytes
    }

    /// As [`Outboxes::of`], unless more than `backlog_max` bytes wait already.
    #[inline]
    pub fn with_room(&mut self, conn: ConnId, backlog_max: usize) -> Option<&mut Vec<u8>> {
        let index = match self.by_conn.get(conn.0 as usize) {
            Some(&index) if index != NONE => index as usize,
            _ => self.attach(conn),
        };
        let buffer = &mut self.buffers[index];
        if buffer.bytes.len() - buffer.written > backlog_max {
            return None;
        }
        if !buffer.dirty {
            buffer.dirty = true;
            self.dirty.push(conn.0);
        }
        Some(&mut buffer.bytes)
    }

    /// Bytes that wait for `conn`.
    #[inline]
    pub fn backlog(&self, conn: ConnId) -> usize {
        match self.by_conn.get(conn.0 as usize) {
            Some(&index) if index != NONE => {
                let buffer = &self.buffers[index as usize];
                buffer.bytes.len() - buffer.written
            }
            _ => 0,
        }
    }

    /// The connections that got bytes since the last call, into `into`.
    pub fn take_dirty(&mut self, into: &mut Vec<ConnId>) {
        for conn in self.dirty.drain(..) {
            let index = self.by_conn[conn as usize];
            if index != NONE {
                let buffer = &mut self.buffers[index as usize];
                buffer.dirty = false;
                if buffer.holds == 0 {
                    into.push(ConnId(conn));
                }
            }
        }
    }

    /// Nothing of what waits for `conn`, or is put behind it, is written until it was let go as
    /// often as this was called. For a connection with something in its outbox.
    pub fn hold(&mut self, conn: ConnId) {
        if let Some(buffer) = self.buffer_mut(conn) {
            buffer.holds += 1;
        }
    }

    /// Takes one hold away.
    pub fn let_go(&mut self, conn: ConnId) {
        let Some(buffer) = self.buffer_mut(conn) else {
            return;
        };
        buffer.holds = buffer.holds.saturating_sub(1);
        if buffer.holds == 0 && !buffer.dirty {
            buffer.dirty = true;
            self.dirty.push(conn.0);
        }
    }

    /// Whether what waits for `conn` is held.
    pub fn is_held(&self, conn: ConnId) -> bool {
        match self.by_conn.get(conn.0 as usize) {
            Some(&index) if index != NONE => self.buffers[index as usize].holds > 0,
            _ => false,
        }
    }

    fn buffer_mut(&mut self, conn: ConnId) -> Option<&mut Buffer> {
        let index = *self.by_conn.get(conn.0 as usize)?;
        self.buffers.get_mut(index as usize)
    }

    /// Whether any connection got bytes since the last [`Outboxes::take_dirty`].
    pub fn any_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The bytes that wait for `conn` and may be sent: none while it is held.
    #[inline]
    pub fn pending(&self, conn: ConnId) -> &[u8] {
        match self.by_conn.get(conn.0 as usize) {
            Some(&index) if index != NONE => {
                let buffer = &self.buffers[index as usize];
                match buffer.holds {
                    0 => &buffer.bytes[buffer.written..],
                    _ => &[],
                }
            }
            _ => &[],
        }
    }

    /// `count` of the pending bytes were written; an empty outbox gives its buffer back.
    pub fn consume(&mut self, conn: ConnId, count: usize) {
        let index = self.by_conn[conn.0 as usize] as usize;
        let buffer = &mut self.buffers[index];
        buffer.written += count;
        self.written += count as u64;
        let left = buffer.bytes.len() - buffer.written;
        self.left = self.left + left - std::mem::replace(&mut buffer.left, left);
        if left == 0 {
            self.detach(conn);
        } else if buffer.written > buffer.bytes.len() / 2 {
            buffer.bytes.drain(..buffer.written);
            buffer.written = 0;
        }
    }

    /// Bytes written, over all time.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Bytes that were not written because sockets did not take them.
    #[inline]
    pub fn left(&self) -> usize {
        self.left
    }

    /// Nothing of `conn` is to be sent now: gives its buffer back, unless that is held.
    pub fn drop_empty(&mut self, conn: ConnId) {
        if !self.is_held(conn) {
            self.discard(conn);
        }
    }

    /// Forgets what waits for `conn`: it is gone.
    pub fn discard(&mut self, conn: ConnId) {
        if self
            .by_conn
            .get(conn.0 as usize)
            .is_some_and(|&index| index != NONE)
        {
            self.detach(conn);
        }
    }

    /// Gives the memory of spare buffers back.
    pub fn shrink(&mut self) {
        for &index in &self.free {
            self.buffers[index as usize].bytes = Vec::new();
        }
        if self.free.len() == self.buffers.len() && self.dirty.is_empty() {
            // Nobody has a buffer, and who has none need not be listed.
            self.by_conn = Vec::new();
            self.buffers = Vec::new();
            self.free = Vec::new();
        }
        self.dirty.shrink_to_fit();
    }

    fn attach(&mut self, conn: ConnId) -> usize {
        let slot = conn.0 as usize;
        if self.by_conn.len() <= slot {
            self.by_conn.resize(slot + 1, NONE);
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.buffers.push(Buffer::default());
            (self.buffers.len() - 1) as u32
        });
        self.buffers[index as usize].conn = conn.0;
        self.by_conn[slot] = index;
        index as usize
    }

    fn detach(&mut self, conn: ConnId) {
        let index = std::mem::replace(&mut self.by_conn[conn.0 as usize], NONE);
        let buffer = &mut self.buffers[index as usize];
        debug_assert_eq!(buffer.conn, conn.0);
        buffer.written = 0;
        buffer.holds = 0;
        buffer.bytes.clear();
        self.left -= std::mem::take(&mut buffer.left);
        if buffer.dirty {
            // Still named in `dirty`: the entry finds no buffer and is passed over.
            buffer.dirty = false;
        }
        if buffer.bytes.capacity() > SPARE_BYTES_MAX || self.free.len() >= SPARES_MAX {
            buffer.bytes = Vec::new();
        }
        self.free.push(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_once_a_turn_and_empty_again() {
        let mut out = Outboxes::default();
        let (a, b) = (ConnId(0), ConnId(7));
        out.of(a).extend(b"one");
        out.of(b).extend(b"x");
        out.of(a).extend(b"two");
        let mut dirty = vec![];
        out.take_dirty(&mut dirty);
        assert_eq!(dirty, [a, b]);
        assert_eq!(out.pending(a), b"onetwo");
        out.consume(a, 4);
        assert_eq!((out.pending(a), out.backlog(a)), (&b"wo"[..], 2));
        out.consume(a, 2);
        assert_eq!((out.backlog(a), out.written()), (0, 6));
        assert!(!out.any_dirty());
    }

    #[test]
    fn what_is_held_is_not_written() {
        let mut out = Outboxes::default();
        let (a, mut dirty) = (ConnId(3), vec![]);
        out.of(a).extend(b"one");
        out.hold(a);
        out.hold(a);
        out.of(a).extend(b"two");
        out.let_go(a);
        out.take_dirty(&mut dirty);
        assert!(dirty.is_empty() && out.is_held(a) && !out.is_held(ConnId(9)));
        out.let_go(a);
        out.take_dirty(&mut dirty);
        assert_eq!((&dirty[..], out.pending(a)), (&[a][..], &b"onetwo"[..]));
        out.discard(a);
        out.let_go(a);
        assert!(!out.any_dirty());
    }

    #[test]
    fn shrinking_keeps_what_waits() {
        let mut out = Outboxes::default();
        out.of(ConnId(1)).extend(b"waits");
        out.of(ConnId(2)).extend(b"gone");
        out.consume(ConnId(2), 4);
        out.shrink();
        assert_eq!(
            (out.pending(ConnId(1)), out.backlog(ConnId(2))),
            (&b"waits"[..], 0)
        );
        out.consume(ConnId(1), 5);
        let mut dirty = vec![];
        out.take_dirty(&mut dirty);
        assert!(dirty.is_empty());
        out.shrink();
        assert_eq!(out.buffers.capacity() + out.by_conn.capacity(), 0);
        out.of(ConnId(1)).extend(b"again");
        assert_eq!(out.pending(ConnId(1)), b"again");
    }

    #[test]
    fn a_discarded_connection_is_not_written_though_it_was_dirty() {
        let mut out = Outboxes::default();
        out.of(ConnId(3)).extend(b"gone");
        out.discard(ConnId(3));
        let mut dirty = vec![];
        out.take_dirty(&mut dirty);
        assert!(dirty.is_empty());
        out.of(ConnId(3)).extend(b"next");
        out.take_dirty(&mut dirty);
        assert_eq!((dirty.len(), out.pending(ConnId(3))), (1, &b"next"[..]));
    }
}
