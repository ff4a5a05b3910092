//! What a row may leave in a broker, read from the bytes that it sends.

use super::data::Row;
use super::pattern::{self, Captures, Token};
use super::script::Action;
use super::wire;
use std::collections::BTreeSet;

/// Client identifiers and topics with retained messages.
#[derive(Default)]
pub struct Traces {
    pub client_ids: BTreeSet<Vec<u8>>,
    pub retained: BTreeSet<Vec<u8>>,
}

impl Traces {
    pub fn of(row: &Row) -> Traces {
        let mut traces = Traces::default();
        for step in &row.steps {
            let Action::Send(_, tokens) = &step.action else {
                continue;
            };
            let ids = tokens.iter().filter_map(|token| match token {
                Token::Id(name) => Some((name.clone(), [0, 1])),
                _ => None,
            });
            let bytes = pattern::bytes(tokens, &ids.collect::<Captures>()).expect("vetted");
            let mut rest = &bytes[..];
            while let Some(len) = wire::packet_len(rest) {
                // What cannot be read has left nothing.
                let _ = traces.add(&rest[..len]);
                rest = &rest[len..];
            }
        }
        traces
    }

    fn add(&mut self, packet: &[u8]) -> Option<()> {
        const RETAIN: u8 = 1;
        let body = wire::body(packet);
        match packet[0] >> 4 {
            1 => self.add_connect(body)?,
            3 if packet[0] & RETAIN != 0 => {
                self.retained.insert(field(body)?.0.to_vec());
            }
            _ => {}
        }
        Some(())
    }

    fn add_connect(&mut self, body: &[u8]) -> Option<()> {
        const WILL: u8 = 0x04;
        const WILL_RETAIN: u8 = 0x20;
        let (_, rest) = field(body)?;
        let (&[version, flags, _, _], rest) = rest.split_first_chunk::<4>()?;
        let rest = if version == 5 {
            wire::properties(rest)?.1
        } else {
            rest
        };
        let (client_id, rest) = field(rest)?;
        if !client_id.is_empty() {
            self.client_ids.insert(client_id.to_vec());
        }
        if flags & WILL != 0 && flags & WILL_RETAIN != 0 {
            let rest = if version == 5 {
                wire::properties(rest)?.1
            } else {
                rest
            };
            self.retained.insert(field(rest)?.0.to_vec());
        }
        Some(())
    }
}

/// A field with its length in front, and what follows.
fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}
