//! The running broker, over whatever it listens on.

use super::data::{Row, Settings};
use super::script::Name;
use super::target::{Received, Target};
use super::traces::Traces;
use super::wire;
use crate::layers::{Address, Got, Over, Wire};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long an answer may take before a row has failed.
const ANSWER_MAX: Duration = Duration::from_millis(1500);
/// How long the broker may take to accept connections.
const START_MAX: Duration = Duration::from_secs(20);

/// A broker process, and the clients of a row.
pub struct Live {
    process: Child,
    address: Address,
    over: Over,
    /// Size of the pieces in which bytes go into a socket, 0 for whole.
    wire_cut: usize,
    clients: BTreeMap<Name, Client>,
    folder: PathBuf,
}

struct Client {
    wire: Wire,
    received: Received,
}

impl Live {
    /// Starts a broker with these settings of the section `mqtt`; `name` is no other test's.
    pub fn start(name: &str, settings: &Settings, shards: u16) -> Live {
        Live::start_over((Over::Tcp, 0), name, settings, shards)
    }

    /// As [`Live::start`], over something else, and in pieces of that size.
    pub fn start_over(
        (over, wire_cut): (Over, usize),
        name: &str,
        settings: &Settings,
        shards: u16,
    ) -> Live {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("conformance-{name}"));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder for the broker");
        let config = folder.join("ringmq.toml");
        let lines: String = settings
            .iter()
            .map(|(key, value)| format!("{key} = {value}\n"))
            .collect();
        let path = folder.join("mqtt.sock");
        let listener = listener(over, &path);
        std::fs::write(&config, format!("{listener}[mqtt]\n{lines}"))
            .expect("a configuration file");
        let mut process = Command::new(env!("CARGO_BIN_EXE_ringmq"))
            .args(["run", "--log", "info"])
            .arg("--config")
            .arg(&config)
            .arg("--data")
            .arg(folder.join("data"))
            .args(["--shards", &shards.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the broker starts");
        let address = find_address(&mut process, (over == Over::Unix).then_some(&path));
        Live {
            process,
            address,
            over,
            wire_cut,
            clients: BTreeMap::new(),
            folder,
        }
    }

    /// Takes off what a row has left in the broker: connections, sessions, retained messages.
    pub fn wash(&mut self, row: &Row) {
        let left: Vec<Name> = self.clients.keys().copied().collect();
        left.into_iter().for_each(|conn| self.close(conn));
        self.clients.clear();
        let traces = Traces::of(row);
        for client_id in &traces.client_ids {
            self.end_session(client_id);
        }
        for topic in &traces.retained {
            self.clear_retained(topic);
        }
    }

    /// Whether the process has ended, which it should not have.
    pub fn has_ended(&mut self) -> bool {
        self.process.try_wait().is_ok_and(|status| status.is_some())
    }

    fn end_session(&mut self, client_id: &[u8]) {
        const WASH: Name = '~';
        let mut connect = b"\0\x04MQTT\x04\x02\0\0".to_vec();
        connect.extend((client_id.len() as u16).to_be_bytes());
        connect.extend(client_id);
        self.open(WASH);
        self.send(WASH, &packet(0x10, &connect));
        self.recv(WASH, &|got| {
            got.closed || wire::packet_len(&got.bytes).is_some()
        });
        self.send(WASH, &[0xe0, 0]);
        self.close(WASH);
        self.clients.remove(&WASH);
    }

    fn clear_retained(&mut self, topic: &[u8]) {
        const WASH: Name = '~';
        self.open(WASH);
        self.send(WASH, &packet(0x10, b"\0\x04MQTT\x04\x02\0\0\0\0"));
        let mut publish = (topic.len() as u16).to_be_bytes().to_vec();
        publish.extend(topic);
        publish.extend([0, 1]);
        self.send(WASH, &packet(0x33, &publish));
        // CONNACK and PUBACK.
        self.recv(WASH, &|got| got.closed || got.bytes.len() >= 8);
        self.close(WASH);
        self.clients.remove(&WASH);
    }
}

impl Target for Live {
    fn open(&mut self, conn: Name) {
        let wire = Wire::open(self.over, &self.address, self.wire_cut);
        self.clients.insert(
            conn,
            Client {
                wire: wire.expect("the broker accepts"),
                received: Received::default(),
            },
        );
    }

    fn send(&mut self, conn: Name, bytes: &[u8]) {
        let client = self.clients.get_mut(&conn).expect("opened");
        // A row that is refused half way cannot send the rest: what comes back says the outcome.
        let _ = client.wire.send(bytes);
    }

    fn recv(&mut self, conn: Name, wants: &dyn Fn(&Received) -> bool) -> &mut Received {
        let client = self.clients.get_mut(&conn).expect("opened");
        client.read_now();
        let deadline = Instant::now() + ANSWER_MAX;
        while !wants(&client.received) && !client.received.closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            client.read_for(Some(left));
        }
        &mut client.received
    }

    fn close(&mut self, conn: Name) {
        let client = self.clients.get_mut(&conn).expect("opened");
        if client.wire.end() {
            // The broker closes its side once it has noticed.
            self.recv(conn, &|got| got.closed);
        }
    }

    fn is_live(&self) -> bool {
        true
    }

    fn advance(&mut self, seconds: u64) {
        std::thread::sleep(Duration::from_secs(seconds));
    }
}

impl Client {
    fn read_now(&mut self) {
        while self.read_for(None) {}
    }

    /// Whether there was something.
    fn read_for(&mut self, left: Option<Duration>) -> bool {
        match self.wire.receive(left) {
            Got::Bytes(bytes) => {
                self.received.bytes.extend(bytes);
                true
            }
            Got::Nothing => false,
            Got::End => {
                self.received.closed = true;
                false
            }
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

fn packet(header: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![header];
    wire::put_varint(body.len(), &mut out);
    out.extend(body);
    out
}

/// The listener of a configuration file.
fn listener(over: Over, path: &Path) -> String {
    let url = match over {
        Over::Tcp | Over::Proxy => "tcp://127.0.0.1:0".into(),
        Over::Tls | Over::ProxyTls => "tls://127.0.0.1:0".into(),
        Over::Ws => "ws://127.0.0.1:0".into(),
        Over::Wss => "wss://127.0.0.1:0".into(),
        Over::Unix => format!("unix://{}", path.display()),
    };
    let more = match over {
        Over::Proxy | Over::ProxyTls => {
            "proxy_protocol = true\ntrusted_proxies = [\"127.0.0.0/8\"]\n"
        }
        _ => "",
    };
    format!("[[listener]]\nurl = \"{url}\"\n{more}")
}

/// Reads the port that was picked from what the broker prints, or that it listens on `path`.
fn find_address(process: &mut Child, path: Option<&PathBuf>) -> Address {
    let (found, address) = mpsc::channel();
    let stdout: Box<dyn Read + Send> = Box::new(process.stdout.take().expect("piped"));
    let stderr: Box<dyn Read + Send> = Box::new(process.stderr.take().expect("piped"));
    for stream in [stdout, stderr] {
        let found = found.clone();
        // Reads on to the end, so that the broker never waits for its log to be read.
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let _ = found.send(line);
            }
        });
    }
    drop(found);
    let deadline = Instant::now() + START_MAX;
    let mut said = String::new();
    while let Ok(line) = address.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        match path {
            Some(path) if line.starts_with("listening on unix:") => {
                return Address::Unix(path.clone());
            }
            Some(_) => {}
            None => {
                if let Some(address) = address_in(&line) {
                    return Address::Inet(address);
                }
            }
        }
        said.push_str(&line);
        said.push('\n');
    }
    panic!("the broker did not say where it listens:\n{said}");
}

fn address_in(line: &str) -> Option<SocketAddr> {
    let rest = &line[line.find("127.0.0.1:")?..];
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':');
    let address: SocketAddr = rest[..end.unwrap_or(rest.len())].parse().ok()?;
    (address.port() != 0).then_some(address)
}
