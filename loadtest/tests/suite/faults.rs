//! Faults that a relay between load tester and broker plants, and the exact counts of them.

use crate::support::{run, start, stop};
use ringmq::codec::frame;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// What is done to the deliveries of one connection, which count from 0.
#[derive(Clone, Copy)]
enum Fault {
    /// Every hundredth is left out.
    Drop,
    /// Every hundredth comes twice.
    Double,
    /// Every hundredth comes after the next.
    Swap,
    /// Every hundredth has its last byte but one changed.
    Alter,
    /// Every second comes this much later, and the others after it.
    Delay(Duration),
    /// None comes.
    Mute,
}

impl Fault {
    fn every(self) -> u64 {
        match self {
            Fault::Delay(_) => 2,
            Fault::Mute => 1,
            _ => 100,
        }
    }
}

/// A relay in front of `broker`; its threads end with the process.
fn relay(broker: SocketAddr, fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let upstream = TcpStream::connect(broker).unwrap();
            let (from, to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            std::thread::spawn(move || forward(from, to, |packet| vec![packet]));
            std::thread::spawn(move || {
                let mut planter = Planter {
                    fault,
                    count: 0,
                    held: None,
                };
                forward(upstream, client, |packet| planter.plant(packet));
            });
        }
    });
    address
}

struct Planter {
    fault: Fault,
    count: u64,
    held: Option<Vec<u8>>,
}

impl Planter {
    fn plant(&mut self, mut packet: Vec<u8>) -> Vec<Vec<u8>> {
        if packet[0] >> 4 != 3 {
            return vec![packet];
        }
        self.count += 1;
        if let Some(held) = self.held.take() {
            return vec![packet, held];
        }
        if !self.count.is_multiple_of(self.fault.every()) {
            return vec![packet];
        }
        match self.fault {
            Fault::Drop | Fault::Mute => vec![],
            Fault::Double => vec![packet.clone(), packet],
            Fault::Swap => {
                self.held = Some(packet);
                vec![]
            }
            Fault::Delay(time) => {
                std::thread::sleep(time);
                vec![packet]
            }
            Fault::Alter => {
                // A byte of the number that says which stream it is.
                let at = packet.len() - 24 + 5;
                packet[at] ^= 1;
                vec![packet]
            }
        }
    }
}

/// Carries packets from one to the other until either ends.
fn forward(
    mut from: TcpStream,
    mut to: TcpStream,
    mut change: impl FnMut(Vec<u8>) -> Vec<Vec<u8>>,
) {
    let mut buffer = Vec::new();
    let mut scratch = [0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut scratch) {
        buffer.extend_from_slice(&scratch[..count]);
        let mut out = Vec::new();
        while let Some(frame) = frame::next(&buffer, usize::MAX).unwrap() {
            let packet = buffer[..frame.len].to_vec();
            buffer.drain(..packet.len());
            out.extend(change(packet).concat());
        }
        if to.write_all(&out).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

const FIGURES: [&str; 4] = ["delivered", "lost", "duplicated", "reordered"];

/// What these words come to with a fault: some figures, and the problems that are told.
fn run_with<const N: usize>(fault: Fault, words: &str, keys: [&str; N]) -> ([u64; N], Vec<String>) {
    let (broker, address) = start(1);
    let (report, json) = run(relay(address, fault), words);
    stop(&broker);
    let figure = |key: &str| {
        let value = json[key].as_u64();
        value.unwrap_or_else(|| panic!("no `{key}` in {json}"))
    };
    (keys.map(figure), report.problems)
}

/// 1,000 messages to each of two subscribers, which are 10 faults for each: figures and problems.
fn with_fault(fault: Fault) -> ([u64; 4], Vec<String>) {
    let words = "flow -p 1 -s 2 --size 24 --rate 2000 -d 0.5 --warm-up 0 --drain 2";
    run_with(fault, words, FIGURES)
}

#[test]
fn losses_are_counted() {
    let (figures, problems) = with_fault(Fault::Drop);
    assert_eq!(figures, [1980, 20, 0, 0]);
    assert_eq!(problems, ["20 messages were lost"]);
}

#[test]
fn duplicates_are_counted() {
    let (figures, problems) = with_fault(Fault::Double);
    assert_eq!(figures, [2000, 0, 20, 0]);
    assert_eq!(problems, ["20 messages were duplicated"]);
}

#[test]
fn reordered_ones_are_counted() {
    // The last of each connection is held for good.
    let (figures, problems) = with_fault(Fault::Swap);
    assert_eq!(figures, [1998, 2, 0, 18]);
    assert_eq!(
        problems,
        ["2 messages were lost", "18 messages were reordered"]
    );
}

#[test]
fn messages_for_others_are_counted() {
    let (figures, problems) = with_fault(Fault::Alter);
    assert_eq!(figures, [1980, 20, 0, 0]);
    let astray = "20 deliveries were changed or came to the wrong subscriber";
    assert_eq!(problems, ["20 messages were lost", astray]);
}

#[test]
fn late_ones_are_counted() {
    // Six messages a second apart, the second, fourth and sixth of which come late.
    let fault = Fault::Delay(Duration::from_millis(800));
    let words = "flow -p 1 -s 2 --rate 1 -d 6 --warm-up 0 --late-ms 600";
    let (figures, problems) = run_with(fault, words, ["late", "lost", "delivered"]);
    assert_eq!(figures, [6, 0, 12]);
    assert_eq!(problems, [""; 0]);
}

/// A scenario, how many messages come on each of its connections, and how many connections those
/// are. Every hundredth of each has the fault.
const ALIKE: [(&str, u64, u64); 5] = [
    ("run pairs -p 2 -s 2 -t 2 --rate 2000 -d 0.25", 250, 2),
    ("run fan-in -p 10 -s 1 -t 10 --rate 2000 -d 0.175", 350, 1),
    ("run fan-out -p 1 -s 4 -t 1 --rate 1000 -d 0.25", 250, 4),
    (
        "run telemetry -p 20 -s 1 -t 20 --rate 2000 -d 0.125 -q 0",
        250,
        1,
    ),
    (
        "run soak -p 5 -s 5 -t 5 --rate 5000 -d 0.25 -q 0 --cut-rate 0",
        250,
        5,
    ),
];

#[test]
fn every_scenario_that_flows_counts_alike() {
    for (words, each, connections) in ALIKE {
        let words = format!("{words} --size 24 --warm-up 0 --drain 1 --late-ms 60000");
        let (all, faults) = (each * connections, each / 100 * connections);
        let (figures, _) = run_with(Fault::Drop, &words, FIGURES);
        assert_eq!(figures, [all - faults, faults, 0, 0], "{words}");
        let (figures, _) = run_with(Fault::Double, &words, FIGURES);
        assert_eq!(figures, [all, 0, faults, 0], "{words}");
        let (figures, _) = run_with(Fault::Swap, &words, FIGURES);
        assert_eq!(figures[..3], [all, 0, 0], "{words}");
        // Of a stream, that is: one publisher on one topic.
        let is_one_stream = words.contains("pairs") || words.contains("fan-out");
        assert!(
            figures[3] == faults || !is_one_stream && figures[3] <= faults,
            "{words}"
        );
    }
}

#[test]
fn late_ones_are_counted_in_every_scenario_that_flows() {
    for (words, late) in [
        ("run pairs -p 2 -s 2 -t 2 --rate 2 -d 4", 4),
        ("run fan-in -p 2 -s 1 -t 2 --rate 1 -d 4", 2),
        ("run fan-out -p 1 -s 3 -t 1 --rate 1 -d 4", 6),
    ] {
        // Of four messages a second apart on each connection the second and fourth come late.
        let fault = Fault::Delay(Duration::from_millis(850));
        let words = format!("{words} --warm-up 0 --late-ms 600");
        let (figures, _) = run_with(fault, &words, ["late", "lost"]);
        assert_eq!(figures, [late, 0], "{words}");
    }
}

#[test]
fn a_shared_group_counts_over_its_members() {
    // Two members of one group get 1,000 messages between them: ten faults, give or take the
    // one that each member has begun to count to.
    let words = "flow -p 1 -s 2 -g 1 --size 24 --rate 2000 -d 0.5 --warm-up 0 --drain 1";
    let ([delivered, lost, duplicated, reordered], _) = run_with(Fault::Drop, words, FIGURES);
    assert!(
        (9..=10).contains(&lost) && delivered + lost == 1000,
        "{lost}"
    );
    assert_eq!([duplicated, reordered], [0, 0]);
    let ([delivered, lost, duplicated, reordered], _) = run_with(Fault::Double, words, FIGURES);
    assert!((9..=10).contains(&duplicated), "{duplicated}");
    assert_eq!([delivered, lost, reordered], [1000, 0, 0]);
    let ([delivered, lost, duplicated, reordered], _) = run_with(Fault::Swap, words, FIGURES);
    assert!(
        (8..=10).contains(&reordered) && delivered + lost == 1000,
        "{reordered}"
    );
    assert_eq!(duplicated, 0);
}

#[test]
fn requests_and_replies_are_counted_apart() {
    // Two devices get 500 requests each, of which five are lost; 990 replies go to one client,
    // and nine of them are lost, too.
    let words = "flow -p 1 -s 2 -t 2 --reply --size 24 --rate 2000 -d 0.5 --warm-up 0 --drain 1";
    let keys = ["delivered", "lost", "replies", "replies_lost"];
    let (figures, problems) = run_with(Fault::Drop, words, keys);
    assert_eq!(figures, [990, 10, 981, 9]);
    assert_eq!(problems, ["9 replies were lost", "10 messages were lost"]);
}

#[test]
fn retained_messages_are_counted() {
    // Three dashboards of 300 messages each.
    let words = "dashboards -n 3 -t 300 -a 1 --drain 1";
    let keys = ["delivered", "lost", "duplicated", "filled"];
    let (figures, problems) = run_with(Fault::Drop, words, keys);
    assert_eq!(figures, [891, 9, 0, 0]);
    assert_eq!(problems, ["9 messages were lost"]);
    let (figures, problems) = run_with(Fault::Double, words, keys);
    assert_eq!(figures, [900, 0, 9, 3]);
    assert_eq!(problems, ["9 messages were duplicated"]);
}

#[test]
fn what_a_session_loses_is_counted() {
    let words = "storm -n 2 --missed 150 --hold 0.1 --drain 1 -q 1";
    let (figures, problems) = run_with(Fault::Drop, words, FIGURES);
    // 150 that were missed and one in the end for each: the hundredth is lost for good, as the
    // broker waits for its acknowledgement.
    assert_eq!(figures, [300, 2, 0, 0]);
    assert_eq!(problems, ["2 messages were lost"]);
}

#[test]
fn idle_ones_that_get_nothing_are_counted() {
    let words = "idle -n 4 --hold 0.1 --every 2 --drain 1";
    let (figures, problems) = run_with(Fault::Mute, words, ["held", "delivered", "lost"]);
    assert_eq!(figures, [4, 0, 2]);
    assert_eq!(problems, ["2 messages were lost"]);
    let words = "churn -n 4 --rate 0 -d 0.3 --drain 0.5 -q 0";
    let (figures, problems) = run_with(Fault::Mute, words, ["published", "lives", "lost"]);
    assert_eq!(figures, [4, 0, 4]);
    assert_eq!(problems[0], "4 messages were lost");
}
