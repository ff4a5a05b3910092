//! Faults that a relay between load tester and broker plants, and the exact counts of them.

mod support;

use ringmq::codec::frame;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use support::{run, start, stop};

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
        if !self.count.is_multiple_of(100) {
            return vec![packet];
        }
        match self.fault {
            Fault::Drop => vec![],
            Fault::Double => vec![packet.clone(), packet],
            Fault::Swap => {
                self.held = Some(packet);
                vec![]
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

/// 1,000 messages to each of two subscribers, which are 10 faults for each: figures and problems.
fn with_fault(fault: Fault) -> ([u64; 4], Vec<String>) {
    let (broker, address) = start(1);
    let words = "flow -p 1 -s 2 --size 24 --rate 2000 -d 0.5 --warm-up 0 --drain 2";
    let (report, json) = run(relay(address, fault), words);
    stop(&broker);
    assert_eq!(json["published"], 1000);
    let keys = ["delivered", "lost", "duplicated", "reordered"];
    (keys.map(|key| json[key].as_u64().unwrap()), report.problems)
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
