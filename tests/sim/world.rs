//! A world of shards, clients and mail: one thread, one seed.

use super::client::Client;
use super::env::Env;
use super::mailboxes::{Item, Mailboxes};
use super::node::{Node, Stage};
use super::probe::Probe;
use super::rng::Rng;
use super::rogue::Rogue;
use super::wire::Place;
use ringmq::base::ShardId;
use ringmq::routing::Directory;
use ringmq::shard::mail::{MailRoute, PostOffice};
use ringmq::shard::{Drop, Envelope, Input};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Rounds after which a world that was left alone must be quiet.
const ROUNDS_MAX: usize = 20_000;
/// Steps between quiet moments.
const QUIET_EVERY: u64 = 1_500;

/// What a run was like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub steps: u64,
    pub digest: u64,
    pub messages: u64,
    pub deliveries: u64,
    pub promises: u64,
    pub states: u64,
    pub links: u64,
    pub overflows: u64,
    /// Copies in stores that acknowledgements waited for.
    pub kept: u64,
}

pub struct World {
    env: Env,
    /// `None` while it is being stepped.
    nodes: Vec<Option<Node>>,
    mail: Mailboxes,
    directory: Arc<Directory>,
    clients: Vec<Client>,
    rogues: Vec<Rogue>,
    /// Links that have been given to a shard's backlog.
    offered: usize,
}

/// A shard's way to the others while its mail is posted: others act between any two batches.
struct Office<'a> {
    world: &'a mut World,
    from: u16,
}

impl PostOffice for Office<'_> {
    fn post(&mut self, to: ShardId, batch: Vec<Envelope>) {
        self.world.mail.post(self.from, to.0, Item::Batch(batch));
        while !self.world.env.calm && self.world.env.rng.one_in(3) {
            self.world.advance();
        }
    }

    fn congested(&self) -> bool {
        self.world.mail.congested(self.from)
    }
}

impl World {
    /// Everything that follows is decided by `rng`.
    pub fn new(rng: Rng, steps: u64, trace: bool) -> World {
        let mut env = Env::new(rng, steps, trace);
        let directory = Arc::new(Directory::new(env.rng.next()));
        let shards = env.plan.shards;
        let node = |id| Some(Node::new(id, &mut env, &directory).start(&mut env));
        let nodes: Vec<_> = (0..shards).map(node).collect();
        let clients = (0..env.plan.clients)
            .map(|index| Client::draw(index, &mut env))
            .collect();
        let rogues = (0..env.plan.rogues).map(Rogue::new).collect();
        let mail = Mailboxes::new(env.plan.shards, env.plan.mailbox_slots);
        env.say(|| format!("{:?}", env.plan));
        World {
            env,
            nodes,
            mail,
            directory,
            clients,
            rogues,
            offered: 0,
        }
    }

    /// The whole life of the world.
    pub fn run(mut self) -> Summary {
        let steps = self.env.plan.steps;
        let mut quiet_at = QUIET_EVERY;
        while self.env.step < steps && !self.env.rng.is_used_up() {
            self.advance();
            if self.env.step >= quiet_at {
                quiet_at = self.env.step + QUIET_EVERY;
                let everybody = self.env.rng.one_in(2);
                self.rest(everybody);
            }
        }
        self.rest(true);
        match self.env.rng.one_in(4) {
            true => self.shut_down(),
            false => self.leave(),
        }
        for node in self.nodes.iter().flatten() {
            let ledger = format!("{:?}", node.shard.counters().ledger);
            self.env.fold(ledger.as_bytes());
        }
        Summary {
            steps: self.env.step,
            digest: self.env.digest,
            messages: self.env.model.messages.len() as u64,
            deliveries: self.env.model.deliveries,
            promises: self.env.model.promises,
            states: self.env.model.states_checked,
            links: self.env.links.len() as u64,
            overflows: self.mail.overflows,
            kept: self.env.kept.checked,
        }
    }

    /// One step of somebody.
    fn advance(&mut self) {
        self.env.step += 1;
        self.pass_time();
        self.offer_links();
        let clients = self.clients.len() as u64;
        match self.env.rng.below(100) {
            0..50 => {
                let node = self.env.rng.below(self.nodes.len() as u64);
                self.step_node(node as usize);
            }
            50..55 if !self.rogues.is_empty() => {
                let rogue = self.env.rng.below(self.rogues.len() as u64);
                self.rogues[rogue as usize].act(&mut self.env);
            }
            _ => {
                let client = self.env.rng.below(clients);
                self.clients[client as usize].act(&mut self.env);
            }
        }
    }

    fn pass_time(&mut self) {
        let env = &mut self.env;
        env.now_ms += env.rng.below(4);
        if env.rng.below(1_000) < env.plan.jumps {
            env.now_ms += match env.rng.below(4) {
                0 => env.rng.range(10_000, 200_000),
                _ => env.rng.range(100, 5_000),
            };
        }
        env.model.pass(env.now_ms, env.step);
    }

    /// New connections come to whatever listener the kernel picks.
    fn offer_links(&mut self) {
        while self.offered < self.env.links.len() {
            let to = self.env.rng.below(self.nodes.len() as u64) as usize;
            match self.nodes[to].as_mut() {
                Some(node) => node.backlog.push(self.offered),
                // In the middle of its turn: next time.
                None => return,
            }
            self.offered += 1;
        }
    }

    /// One stage of a shard's turn.
    fn step_node(&mut self, at: usize) {
        let Some(mut node) = self.nodes[at].take() else {
            return;
        };
        match node.stage {
            Stage::Gather => {
                node.gather(&mut self.env, &mut self.mail);
                node.stage = Stage::Post;
            }
            Stage::Post => {
                self.post(&mut node);
                node.stage = Stage::Write;
            }
            Stage::Write => {
                let congested = self.mail.congested(node.id);
                node.write(&mut self.env, congested);
                node.stage = Stage::Gather;
            }
        }
        self.nodes[at] = Some(node);
    }

    /// All stages, to the end of a turn.
    fn turn(&mut self, at: usize) {
        for _ in 0..3 {
            self.step_node(at);
            if self.nodes[at]
                .as_ref()
                .is_some_and(|node| node.stage == Stage::Gather)
            {
                return;
            }
        }
    }

    fn post(&mut self, node: &mut Node) {
        let directory = self.directory.clone();
        let shards = self.env.plan.shards;
        let route = MailRoute {
            from: ShardId(node.id),
            shards,
            directory: &directory,
        };
        let mut office = Office {
            world: self,
            from: node.id,
        };
        while !node.fx.mail.is_empty() {
            let posted = node.fx.mail.drain(route, &mut office);
            let now = office.world.env.now();
            node.shard.account_posted(now, posted, &mut node.fx);
        }
        for moved in std::mem::take(&mut node.fx.moves) {
            let Some(link) = node.release(moved.conn) else {
                continue;
            };
            self.env.links[link].place = Place::Mail;
            let item = Item::Socket {
                link,
                bytes: moved.bytes,
            };
            self.mail.post(node.id, moved.to.0, item);
        }
    }

    /// Faults stop; everything drains; what was promised is checked.
    fn rest(&mut self, everybody: bool) {
        self.env.say(|| format!("rest, everybody {everybody}"));
        self.env.calm = true;
        for link in &mut self.env.links {
            if link.vanished {
                link.cut(0, true);
            }
        }
        self.drain(everybody);
        let here = self.present();
        let (now_ms, step) = (self.env.now_ms, self.env.step);
        self.env.model.check_promises(&here, now_ms, step);
        self.check_forwarded();
        let mut probe = Probe::start(&mut self.env);
        self.drain_with(everybody, |env| {
            probe.settle(env);
            probe.is_idle(env)
        });
        self.env.model.check_registers(&probe.seen);
        self.env.model.check_states(&here);
        probe.stop(&mut self.env);
        self.drain(everybody);
        self.env.calm = false;
    }

    fn present(&self) -> BTreeSet<usize> {
        self.clients
            .iter()
            .filter(|client| client.is_up())
            .map(|client| client.index)
            .collect()
    }

    fn drain(&mut self, everybody: bool) {
        self.drain_with(everybody, |_| true);
    }

    /// Goes on without faults until nothing is left to do.
    fn drain_with(&mut self, everybody: bool, mut also: impl FnMut(&mut Env) -> bool) {
        for _ in 0..ROUNDS_MAX {
            self.env.step += 1;
            self.offer_links();
            for at in 0..self.nodes.len() {
                self.turn(at);
            }
            for client in &mut self.clients {
                if everybody || client.link.is_some() {
                    client.settle(&mut self.env);
                } else {
                    client.tend_old(&mut self.env);
                }
            }
            for rogue in &mut self.rogues {
                rogue.settle(&mut self.env);
            }
            let also = also(&mut self.env);
            if also && self.is_quiet(everybody) {
                return;
            }
        }
        let clients: Vec<String> = self.clients.iter().map(Client::told).collect();
        let nodes = self.nodes.iter().flatten().map(|node| node.told(&self.env));
        let nodes: Vec<String> = nodes.collect();
        panic!("it never became quiet: {clients:#?} {nodes:#?}");
    }

    fn is_quiet(&self, everybody: bool) -> bool {
        self.mail.is_empty()
            && self.offered == self.env.links.len()
            && self
                .nodes
                .iter()
                .flatten()
                .all(|node| node.is_quiet(&self.env))
            && self
                .clients
                .iter()
                .all(|c| c.is_idle(&self.env) || (!everybody && c.is_away()))
            && self.rogues.iter().all(Rogue::is_gone)
    }

    /// Every message that one shard posted, another one got.
    fn check_forwarded(&self) {
        let (mut arrived, mut forwarded) = (0, 0);
        for node in self.nodes.iter().flatten() {
            let counters = node.shard.counters();
            arrived += counters.ledger.arrived;
            forwarded += counters.ledger.forwarded;
            let full = counters.ledger.dropped[Drop::QueueFull as usize];
            let memory = counters.ledger.dropped[Drop::MemoryBudget as usize];
            assert!(
                self.env.plan.lossy || full + memory == 0,
                "queues dropped without need"
            );
        }
        assert_eq!(arrived, forwarded, "mail between shards");
    }

    /// Everybody leaves for good: nothing may stay behind.
    fn leave(&mut self) {
        self.env.say(|| "everybody leaves".to_owned());
        self.env.calm = true;
        for client in &mut self.clients {
            client.connect(&mut self.env, Some(true));
        }
        for rogue in &mut self.rogues {
            rogue.clean_up(&mut self.env);
        }
        self.drain(true);
        for client in &mut self.clients {
            client.disconnect(&mut self.env, ringmq::codec::ReasonCode::Success, None);
        }
        self.drain(false);
        for node in self.nodes.iter().flatten() {
            let stats = node.shard.stats();
            let left = (stats.connections, stats.sessions, stats.subscriptions);
            assert_eq!(
                left,
                (0, 0, 0),
                "connections, sessions, subscriptions left behind"
            );
            assert_eq!(stats.counters.queued_bytes, 0, "bytes left in queues");
            assert_eq!(stats.counters.ledger.held, 0, "deliveries left");
            assert_eq!(node.connections(), 0, "the driver holds connections");
            node.store.check_empty();
        }
        assert!(self.directory.is_empty(), "interest left in the directory");
    }

    /// The process ends: every connection is closed.
    fn shut_down(&mut self) {
        self.env.say(|| "shut down".to_owned());
        self.env.model.shut_down(self.env.step);
        self.env.calm = true;
        for at in 0..self.nodes.len() {
            let mut node = self.nodes[at].take().expect("nobody is stepped now");
            node.step(Input::Shutdown, &mut self.env);
            self.nodes[at] = Some(node);
        }
        self.drain(false);
        for node in self.nodes.iter().flatten() {
            assert_eq!(
                node.shard.stats().connections,
                0,
                "connections after the end"
            );
            assert_eq!(node.connections(), 0, "the driver holds connections");
        }
    }
}
