//! The pure shards, driven as a process drives them, under virtual time.

use super::authenticator::Hook;
use super::data::Settings;
use super::script::Name;
use super::target::{Received, Target};
use ringmq::auth::{AuthRequest, Verdict};
use ringmq::base::{ConnId, Now, Peer, ShardId};
use ringmq::codec::QoS;
use ringmq::routing::Directory;
use ringmq::shard::mail::{MailRoute, PostOffice};
use ringmq::shard::{Effects, Envelope, Input, Limits, MqttOptions, Options, Shard};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Some shards, and the clients of a row.
pub struct Pure {
    shards: Vec<(Shard, Effects)>,
    directory: Arc<Directory>,
    clients: BTreeMap<Name, Client>,
    office: Office,
    now: Now,
    next_conn: u32,
    /// A connection has moved since this was last looked at: its new shard has effects.
    moved: bool,
    /// Questions that are answered at the next `advance`.
    asked: Vec<(usize, AuthRequest)>,
}

struct Client {
    /// Where the connection is; `None` once it is closed.
    at: Option<(usize, ConnId)>,
    /// Sent, and not taken yet because the shard does not want input.
    unsent: VecDeque<Vec<u8>>,
    received: Received,
}

#[derive(Default)]
struct Office(VecDeque<(ShardId, Vec<Envelope>)>);

impl PostOffice for Office {
    fn post(&mut self, to: ShardId, batch: Vec<Envelope>) {
        self.0.push_back((to, batch));
    }

    fn congested(&self) -> bool {
        false
    }
}

impl Pure {
    /// Fresh shards with these settings of the section `mqtt`.
    pub fn new(settings: &Settings, shards: u16) -> Pure {
        let directory = Arc::new(Directory::new(7));
        let shards = (0..shards)
            .map(|shard| {
                let options = Options {
                    shard: ShardId(shard),
                    shards,
                    mqtt: mqtt_options(settings),
                    limits: Limits::default(),
                    ..Options::default()
                };
                let directory = (shards > 1).then(|| directory.clone());
                let seed = u64::from(shard) + 1;
                (
                    Shard::new(options, Box::new(Hook), directory, seed),
                    Effects::default(),
                )
            })
            .collect();
        Pure {
            shards,
            directory,
            clients: BTreeMap::new(),
            office: Office::default(),
            now: Now {
                ms: 1_000_000,
                unix_ms: 1_700_000_000_000,
            },
            next_conn: 0,
            moved: false,
            asked: Vec::new(),
        }
    }

    fn step(&mut self, shard: usize, input: Input<'_>) {
        let (core, fx) = &mut self.shards[shard];
        core.step(self.now, input, fx);
        self.settle();
    }

    /// Carries effects out until there are none.
    fn settle(&mut self) {
        loop {
            for shard in 0..self.shards.len() {
                self.carry_out(shard);
            }
            if std::mem::take(&mut self.moved) {
                continue;
            }
            if let Some((to, batch)) = self.office.0.pop_front() {
                let (core, fx) = &mut self.shards[usize::from(to.0)];
                for envelope in batch {
                    core.step(self.now, Input::Envelope(envelope), fx);
                }
            } else if !self.tick_due() && !self.bring_unsent() {
                return;
            }
        }
    }

    /// A driver's turn.
    fn carry_out(&mut self, shard: usize) {
        let count = self.shards.len() as u16;
        let (core, fx) = &mut self.shards[shard];
        let from = ShardId(shard as u16);
        let route = MailRoute {
            from,
            shards: count,
            directory: &self.directory,
        };
        while !fx.mail.is_empty() {
            let posted = fx.mail.drain(route, &mut self.office);
            core.account_posted(self.now, posted, fx);
        }
        let moves = std::mem::take(&mut fx.moves);
        let mut dirty = Vec::new();
        fx.out.take_dirty(&mut dirty);
        for id in dirty {
            let bytes = fx.out.pending(id).to_vec();
            fx.out.consume(id, bytes.len());
            if let Some(client) = find(&mut self.clients, shard, id) {
                client.received.bytes.extend(bytes);
            }
        }
        for id in std::mem::take(&mut fx.closes) {
            if let Some(client) = find(&mut self.clients, shard, id) {
                client.received.closed = true;
                client.at = None;
            }
        }
        self.asked
            .extend(fx.auth.drain(..).map(|request| (shard, request)));
        fx.events.clear();
        for moved in moves {
            self.moved = true;
            let to = usize::from(moved.to.0);
            let conn = ConnId(self.next_conn);
            self.next_conn += 1;
            let client = find(&mut self.clients, shard, moved.conn).expect("a client moves");
            client.at = Some((to, conn));
            let (core, fx) = &mut self.shards[to];
            core.step(self.now, Input::Opened { conn, peer: peer() }, fx);
            core.step(
                self.now,
                Input::Bytes {
                    conn,
                    bytes: &moved.bytes,
                },
                fx,
            );
        }
    }

    /// Ticks the shards whose deadline has come; whether there was one.
    fn tick_due(&mut self) -> bool {
        let mut ticked = false;
        for (core, fx) in &mut self.shards {
            if core
                .next_deadline_ms()
                .is_some_and(|due| due <= self.now.ms)
            {
                core.step(self.now, Input::Tick, fx);
                ticked = true;
            }
        }
        ticked
    }

    /// Brings one piece that was held back; whether there was one.
    fn bring_unsent(&mut self) -> bool {
        for client in self.clients.values_mut() {
            let Some((shard, conn)) = client.at else {
                client.unsent.clear();
                continue;
            };
            let (core, fx) = &mut self.shards[shard];
            if !client.unsent.is_empty() && core.wants_input(conn, fx) {
                let bytes = client.unsent.pop_front().expect("not empty");
                core.step(
                    self.now,
                    Input::Bytes {
                        conn,
                        bytes: &bytes,
                    },
                    fx,
                );
                return true;
            }
        }
        false
    }
}

impl Target for Pure {
    fn open(&mut self, conn: Name) {
        let id = ConnId(self.next_conn);
        let shard = self.next_conn as usize % self.shards.len();
        self.next_conn += 1;
        let client = Client {
            at: Some((shard, id)),
            unsent: VecDeque::new(),
            received: Received::default(),
        };
        self.clients.insert(conn, client);
        self.step(
            shard,
            Input::Opened {
                conn: id,
                peer: peer(),
            },
        );
    }

    fn send(&mut self, conn: Name, bytes: &[u8]) {
        let client = self.clients.get_mut(&conn).expect("opened");
        client.unsent.push_back(bytes.to_vec());
        self.settle();
    }

    fn recv(&mut self, conn: Name, _: &dyn Fn(&Received) -> bool) -> &mut Received {
        &mut self.clients.get_mut(&conn).expect("opened").received
    }

    fn close(&mut self, conn: Name) {
        let client = self.clients.get_mut(&conn).expect("opened");
        if let Some((shard, id)) = client.at.take() {
            self.shards[shard].1.out.discard(id);
            self.step(shard, Input::Closed { conn: id });
        }
    }

    fn is_live(&self) -> bool {
        false
    }

    fn advance(&mut self, seconds: u64) {
        for (shard, request) in std::mem::take(&mut self.asked) {
            let AuthRequest { conn, attempt, .. } = request;
            let verdict = Verdict::allow();
            self.step(
                shard,
                Input::Verdict {
                    conn,
                    attempt,
                    verdict,
                },
            );
        }
        let end = self.now.ms + seconds * 1000;
        loop {
            let next = self
                .shards
                .iter()
                .filter_map(|(core, _)| core.next_deadline_ms())
                .min();
            let at = next.map_or(end, |due| due.clamp(self.now.ms, end));
            self.now.unix_ms += at - self.now.ms;
            self.now.ms = at;
            self.settle();
            if at == end {
                return;
            }
        }
    }
}

fn find(clients: &mut BTreeMap<Name, Client>, shard: usize, id: ConnId) -> Option<&mut Client> {
    clients
        .values_mut()
        .find(|client| client.at == Some((shard, id)))
}

fn peer() -> Peer {
    Peer::plain("127.0.0.1:50000".parse().expect("an address"), 0)
}

fn mqtt_options(settings: &Settings) -> MqttOptions {
    let mut options = MqttOptions::default();
    for (name, value) in settings {
        let number = || {
            value
                .parse::<u32>()
                .unwrap_or_else(|_| panic!("{name} = {value}"))
        };
        match name.as_str() {
            "receive_maximum" => options.receive_maximum = number() as u16,
            "topic_alias_maximum" => options.topic_alias_maximum = number() as u16,
            "packet_bytes_max" => options.packet_bytes_max = number(),
            "topic_bytes_max" => options.topic_bytes_max = number() as usize,
            "client_id_bytes_max" => options.client_id_bytes_max = number() as usize,
            "qos_max" => options.maximum_qos = QoS::try_from(number() as u8).expect("a QoS"),
            "retain_available" => options.retain_available = value == "true",
            "wildcard_subscriptions" => options.wildcard_available = value == "true",
            "shared_subscriptions" => options.shared_available = value == "true",
            "session_expiry_max_s" if value == "\"never\"" => {
                options.session_expiry_max_s = u32::MAX
            }
            "session_expiry_max_s" => options.session_expiry_max_s = number(),
            "keep_alive_max_s" => {
                options.keep_alive_max_s = Some(number() as u16).filter(|&s| s > 0)
            }
            _ => panic!("no setting {name}"),
        }
    }
    options
}
