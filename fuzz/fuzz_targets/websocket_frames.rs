//! WebSocket frames of a client: any bytes give the same MQTT and the same answers in any pieces,
//! and the answers are whole frames of a server.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringmq::net::layer::{Why, websocket::Frames};
use ringmq_fuzz::{shaped, take_cut};

const TEMPLATES: &[&[u8]] = &[
    b"\x82\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
    b"\x02\x81aaaaX\x89\x83bbbbpin\x00\x80cccc\x80\x81ddddY",
    b"\x82\xfe\0\x7eaaaa",
    b"\x82\xff\0\0\0\0\0\0\0\x01aaaaX",
    b"\x88\x82\0\0\0\0\x03\xe8\x82\x80aaaa",
];

#[derive(PartialEq, Debug)]
struct Outcome {
    mqtt: Vec<u8>,
    answers: Vec<u8>,
    end: Result<bool, Why>,
}

fuzz_target!(|input: &[u8]| {
    let (cut, input) = take_cut(input);
    let bytes = shaped(input, TEMPLATES);
    let whole = feed(&bytes, usize::MAX);
    let in_pieces = feed(&bytes, cut);
    assert_eq!(in_pieces, whole);
    assert!(whole.mqtt.len() <= bytes.len());
    check(&whole.answers, whole.end != Ok(false));
});

fn feed(bytes: &[u8], cut: usize) -> Outcome {
    let (mut frames, mut mqtt, mut answers) = (Frames::default(), vec![], vec![]);
    let mut end = Ok(false);
    for piece in bytes.chunks(cut) {
        let mut piece = piece.to_vec();
        match frames.handle(&mut piece, &mut answers) {
            Ok(taken) => {
                mqtt.extend_from_slice(&piece[..taken.len]);
                end = Ok(taken.ended);
            }
            Err(why) => end = Err(why),
        }
        if end != Ok(false) {
            break;
        }
    }
    if end.is_err() {
        // What came before the breach in the same read is not passed on.
        mqtt.clear();
    }
    Outcome { mqtt, answers, end }
}

/// Pongs, and one Close at the end if it is the end.
fn check(mut answers: &[u8], is_end: bool) {
    let mut closes = 0;
    while let [first, len, rest @ ..] = answers {
        assert!(
            *len <= 125 && closes == 0,
            "short, without a mask, nothing after Close"
        );
        assert!(matches!(first, 0x88 | 0x8a));
        closes += usize::from(*first == 0x88);
        answers = rest.get(usize::from(*len)..).expect("a whole frame");
    }
    assert!(answers.is_empty());
    assert_eq!(closes, usize::from(is_end));
}
