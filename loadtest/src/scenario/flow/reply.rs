//! Requests that are answered. In MQTT 5 the request says where to (Response Topic) and the reply
//! brings what the request gave it (Correlation Data); in 3.x both are agreed beforehand.

use super::Flow;
use super::member::Member;
use crate::measure::stamp::{STAMP_BYTES, Stamp};
use crate::net::Fault;
use crate::scenario::inflight::Settled;
use crate::scenario::talk::Outgoing;
use ringmq::codec::{Ack, Publish, QoS, Version};

/// Bytes of a stamp that are the correlation data: stream and number.
const CORRELATION: std::ops::Range<usize> = 4..16;
/// Identifiers of the two properties (table 2-4 of MQTT 5.0).
const RESPONSE_TOPIC: u8 = 0x08;
const CORRELATION_DATA: u8 = 0x09;

/// Where the replies to a publisher's requests go.
pub fn topic(run: u32, publisher: u32) -> String {
    format!("load/{run:08x}/reply/{publisher}")
}

/// Writes the properties of a request.
pub fn properties(run: u32, publisher: u32, stamp: &[u8; STAMP_BYTES], out: &mut Vec<u8>) {
    let topic = topic(run, publisher);
    out.clear();
    out.push(RESPONSE_TOPIC);
    out.extend_from_slice(&(topic.len() as u16).to_be_bytes());
    out.extend_from_slice(topic.as_bytes());
    correlation(&stamp[CORRELATION], out);
}

/// Answers a request; says whether it could be: a v5 request has both properties as they were
/// sent.
pub fn answer(flow: &Flow, member: &mut Member, request: &Publish<'_>, out: &mut Vec<u8>) -> bool {
    let Some(stamp) = Stamp::of(request.payload) else {
        return false;
    };
    if flow.common.version == Version::V5 {
        let publisher = flow.options.plan.publisher_of(stamp.stream);
        let agreed = topic(flow.common.run, publisher);
        let data = request.properties.correlation_data();
        if request.properties.response_topic() != Some(&agreed)
            || data != Some(&request.payload[CORRELATION])
        {
            return false;
        }
    }
    match flow.options.qos != QoS::AtMostOnce && member.in_flight.is_full() {
        true => member.waiting.push_back(request.payload.to_vec()),
        false => send(flow, member, request.payload, out),
    }
    true
}

/// Sends a reply, which has the payload of its request.
fn send(flow: &Flow, member: &mut Member, payload: &[u8], out: &mut Vec<u8>) {
    let Some(stamp) = Stamp::of(payload) else {
        return;
    };
    let publisher = flow.options.plan.publisher_of(stamp.stream);
    let mut given = Vec::new();
    if flow.common.version == Version::V5 {
        correlation(&payload[CORRELATION], &mut given);
    }
    let message = Outgoing {
        topic: &topic(flow.common.run, publisher),
        qos: flow.options.qos,
        packet_id: member.in_flight.begin(flow.options.qos),
        properties: &given,
        payload: [payload, &[]],
        ..Outgoing::default()
    };
    message.encode(flow.common.version, out);
}

/// Whether a reply's correlation data are those of its payload.
pub fn is_genuine(flow: &Flow, reply: &Publish<'_>) -> bool {
    let is_whole = reply.payload.len() == flow.options.payload_bytes;
    is_whole
        && (flow.common.version != Version::V5
            || reply.properties.correlation_data() == reply.payload.get(CORRELATION))
}

/// Takes the broker's acknowledgement of a reply; one that waited is sent in its place.
///
/// # Errors
/// It acknowledges nothing.
pub fn settle(
    flow: &Flow,
    member: &mut Member,
    ack: &Ack<'_>,
    out: &mut Vec<u8>,
) -> Result<Settled, Fault> {
    let settled = member.in_flight.settle(ack, flow.common.version, out)?;
    if settled != Settled::NotYet
        && let Some(payload) = member.waiting.pop_front()
    {
        send(flow, member, &payload, out);
    }
    Ok(settled)
}

fn correlation(data: &[u8], out: &mut Vec<u8>) {
    out.push(CORRELATION_DATA);
    out.extend_from_slice(&(data.len() as u16).to_be_bytes());
    out.extend_from_slice(data);
}
