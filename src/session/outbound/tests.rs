use super::*;
use crate::codec::Forwarded;
use crate::message::{Content, Message, NEVER_MS};
use crate::session::Ids;

const BOUNDS: QueueBounds = QueueBounds {
    length_max: 2,
    bytes_max: 100_000,
    drop_oldest: true,
};

fn delivery(qos: QoS, payload: &[u8]) -> Delivery {
    let content = Content {
        topic: "t",
        payload,
        properties: Forwarded::from_stored(&[]),
        qos,
        retain: false,
        expires_ms: NEVER_MS,
    };
    let message = Message::copy_of(&content, &mut Vec::new());
    Delivery {
        message,
        qos,
        retain: false,
        ids: Ids::None,
        deal: None,
        kept: 0,
    }
}

/// Of QoS 1.
fn expiring(payload: &[u8], expires_ms: u64) -> Delivery {
    let kept = delivery(QoS::AtLeastOnce, payload);
    let mut content = kept.message.content();
    content.expires_ms = expires_ms;
    Delivery {
        message: Message::copy_of(&content, &mut Vec::new()),
        ..kept.clone()
    }
}

fn window(count: u16) -> Window {
    Window {
        count,
        bytes: usize::MAX,
    }
}

fn qos1() -> Delivery {
    delivery(QoS::AtLeastOnce, b"")
}

#[test]
fn ids_are_never_zero_and_never_in_use() {
    let mut out = Outbound::default();
    let kept = out.begin(qos1()).id;
    for _ in 0..200_000 {
        let id = out.begin(qos1()).id;
        assert!(id != 0 && id != kept);
        assert!(out.handle_puback(id).is_some());
    }
    assert_eq!(out.inflight().map(|i| i.id).collect::<Vec<_>>(), [kept]);
}

#[test]
fn all_ids_can_be_in_flight() {
    let mut out = Outbound::default();
    let mut ids: Vec<u16> = (0..u16::MAX).map(|_| out.begin(qos1()).id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), u16::MAX as usize);
    out.handle_puback(4711);
    assert_eq!(out.begin(qos1()).id, 4711);
}

#[test]
fn the_window_counts_what_was_sent_on_this_connection() {
    let mut out = Outbound::default();
    let (a, b) = (
        out.begin(qos1()).id,
        out.begin(delivery(QoS::ExactlyOnce, b"")).id,
    );
    assert!(!out.can_begin(window(2), false) && out.can_begin(window(3), false));
    let mut released = None;
    assert_eq!(out.handle_pubrec(b, &mut released), Recorded::Release);
    assert!(released.is_some());
    out.handle_disconnect();
    assert!(!out.can_begin(window(3), false), "the old ones go first");
    assert_eq!(
        out.next_resend(window(1))
            .map(|(i, again)| (i.id, i.stage, again)),
        Some((a, Stage::Ack, true))
    );
    assert!(out.next_resend(window(1)).is_none());
    out.handle_puback(a);
    assert_eq!(
        out.next_resend(window(1))
            .map(|(i, again)| (i.id, i.stage, again)),
        Some((b, Stage::Comp, true))
    );
    assert_eq!(
        (out.handle_pubcomp(b), out.handle_pubcomp(b)),
        (Some(0), None)
    );
    assert!(out.is_empty() && out.can_begin(window(1), false));
}

#[test]
fn acknowledgements_of_the_wrong_kind_change_nothing() {
    let mut out = Outbound::default();
    let (one, two) = (
        out.begin(qos1()).id,
        out.begin(delivery(QoS::ExactlyOnce, b"")).id,
    );
    assert!(out.handle_puback(two).is_none());
    assert!(out.handle_pubcomp(two).is_none());
    assert_eq!(out.handle_pubrec(one, &mut None), Recorded::Unknown);
    assert!(out.handle_pubrec_error(one).is_none());
    assert_eq!(out.len(), 2);
}

#[test]
fn what_waits_for_a_store_is_sent_in_order_when_it_is_kept() {
    let kept = |kept| Delivery {
        kept,
        ..delivery(QoS::ExactlyOnce, b"")
    };
    let mut out = Outbound::default();
    let a = out.begin_later(kept(1));
    out.shut(a, 11);
    assert!(
        !out.has_room(window(9)) && out.has_room_later(window(9)) && !out.has_room_later(window(1))
    );
    let b = out.begin_later(kept(2));
    out.shut(b, 12);
    assert_eq!(out.open(b, 12), Opened::Publish);
    assert!(
        out.next_resend(window(9)).is_none(),
        "the first one goes first"
    );
    assert_eq!(out.open(a, 7), Opened::Nothing);
    assert_eq!(out.open(a, 11), Opened::Publish);
    for id in [a, b] {
        assert_eq!(
            out.next_resend(window(9)).map(|(i, again)| (i.id, again)),
            Some((id, false))
        );
    }
    assert_eq!(out.handle_pubrec(a, &mut None), Recorded::Release);
    out.shut(a, 13);
    out.handle_disconnect();
    assert!(out.is_shut(a) && out.next_resend(window(9)).is_none());
    assert_eq!(
        out.open(a, 13),
        Opened::Publish,
        "in its turn, on the next connection"
    );
    assert_eq!(
        out.next_resend(window(9)).map(|(i, again)| (i.id, again)),
        Some((a, true))
    );
    assert_eq!(out.handle_pubcomp(a), Some(1));
}

#[test]
fn a_store_restores_the_same_state() {
    let mut out = Outbound::default();
    for kept in 1..=4 {
        out.restore(Delivery {
            kept,
            ..delivery(QoS::ExactlyOnce, b"")
        });
    }
    out.restore_begun(2, 7);
    out.restore_begun(1, 3);
    assert!(out.restore_received(2).is_some() && out.restore_received(9).is_none());
    assert!(matches!(out.restore_done(3), Some(Some(_))) && out.restore_done(3).is_none());
    let stages: Vec<_> = out.inflight().map(|i| (i.id, i.stage)).collect();
    assert_eq!(stages, [(7, Stage::Comp), (3, Stage::Rec)]);
    assert_eq!(
        (out.queue_len(), out.queued().map(|d| d.kept)),
        (1, Some(4))
    );
    assert!(matches!(out.restore_done(2), Some(None)));
}

#[test]
fn a_full_queue_drops_the_oldest_or_the_newest() {
    let payloads = |out: &Outbound| {
        out.queue
            .iter()
            .map(|d| d.message.content().payload.to_vec())
            .collect::<Vec<_>>()
    };
    for (drop_oldest, left) in [(true, [b"b", b"c"]), (false, [b"a", b"b"])] {
        let (mut out, mut dropped) = (Outbound::default(), vec![]);
        for payload in [b"a", b"b", b"c"] {
            let bounds = QueueBounds {
                drop_oldest,
                ..BOUNDS
            };
            out.enqueue(delivery(QoS::AtLeastOnce, payload), bounds, 0, &mut dropped);
        }
        assert_eq!(dropped.len(), 1);
        assert_eq!(payloads(&out), left);
    }
}

#[test]
fn what_has_expired_and_what_is_of_qos_0_gives_way_first() {
    let fresh = |qos, payload: &[u8]| delivery(qos, payload);
    let old = |payload: &[u8]| expiring(payload, 1_000);
    let left = |out: &Outbound| -> Vec<u8> {
        let payloads = out.queue.iter().map(|d| d.message.content().payload[0]);
        payloads.collect()
    };
    for drop_oldest in [true, false] {
        let bounds = QueueBounds {
            length_max: 3,
            drop_oldest,
            ..BOUNDS
        };
        let (mut out, mut dropped) = (Outbound::default(), vec![]);
        out.enqueue(fresh(QoS::AtLeastOnce, b"a"), bounds, 0, &mut dropped);
        out.enqueue(old(b"b"), bounds, 0, &mut dropped);
        out.enqueue(fresh(QoS::AtMostOnce, b"c"), bounds, 0, &mut dropped);
        out.enqueue(fresh(QoS::AtLeastOnce, b"d"), bounds, 1_000, &mut dropped);
        assert_eq!((left(&out), dropped.len()), (b"acd".to_vec(), 1));
        out.enqueue(fresh(QoS::AtLeastOnce, b"e"), bounds, 1_000, &mut dropped);
        let expected = if drop_oldest { b"ade" } else { b"acd" };
        assert_eq!((left(&out), dropped.len()), (expected.to_vec(), 2));
        out.enqueue(fresh(QoS::AtMostOnce, b"f"), bounds, 1_000, &mut dropped);
        let expected = if drop_oldest { b"ade" } else { b"acd" };
        assert_eq!((left(&out), dropped.len()), (expected.to_vec(), 3));
    }
}

#[test]
fn what_is_of_qos_0_finds_the_room_of_what_has_expired() {
    let (mut out, mut dropped) = (Outbound::default(), vec![]);
    let old = expiring(b"a", 1_000);
    let bounds = QueueBounds {
        bytes_max: old.size() + 10,
        ..BOUNDS
    };
    out.enqueue(old, bounds, 0, &mut dropped);
    let fresh = delivery(QoS::AtMostOnce, b"b");
    out.enqueue(fresh.clone(), bounds, 999, &mut dropped);
    assert_eq!(
        (out.queue_len(), dropped.len()),
        (1, 1),
        "it pushes nothing out"
    );
    out.enqueue(fresh, bounds, 1_000, &mut dropped);
    assert_eq!((out.queue_len(), dropped.len()), (1, 2));
    assert_eq!(out.queued().map(|d| d.qos), Some(QoS::AtMostOnce));
    assert_eq!(out.queue_qos0_bytes, out.queue_bytes);
}

#[test]
fn bytes_bound_what_is_not_acknowledged() {
    let bounded = |bytes| Window { count: 9, bytes };
    let mut out = Outbound::default();
    assert!(out.has_room(bounded(0)), "one may always begin");
    let one = out.begin(delivery(QoS::AtLeastOnce, &[0; 500])).id;
    let two = out.begin(delivery(QoS::ExactlyOnce, &[0; 500])).id;
    assert!(!out.has_room(bounded(1_000)) && out.has_room(bounded(2_000)));
    assert_eq!(out.handle_pubrec(two, &mut None), Recorded::Release);
    assert!(
        out.has_room(bounded(1_000)),
        "its message is not kept any more"
    );
    assert!(out.handle_puback(one).is_some() && out.handle_pubcomp(two).is_some());
    assert_eq!(out.inflight_bytes, 0);
}

#[test]
fn queue_bytes_bound_the_queue_too() {
    let (mut out, mut dropped) = (Outbound::default(), vec![]);
    let bounds = QueueBounds {
        length_max: 100,
        bytes_max: 300,
        drop_oldest: true,
    };
    for _ in 0..10 {
        out.enqueue(
            delivery(QoS::AtLeastOnce, &[0; 50]),
            bounds,
            0,
            &mut dropped,
        );
    }
    assert!(out.queue_bytes <= 300 && out.queue_len() + dropped.len() == 10);
    let (len, bytes) = (out.queue_len(), out.queue_bytes);
    out.enqueue(
        delivery(QoS::AtLeastOnce, &[0; 500]),
        bounds,
        0,
        &mut dropped,
    );
    assert_eq!(
        dropped.pop().map(|d| d.message.content().payload.len()),
        Some(500)
    );
    assert_eq!(
        (out.queue_len(), out.queue_bytes),
        (len, bytes),
        "nothing gives way to what no queue has room for"
    );
}
