//! A whole broker: its shards, its listeners, and the way to talk to them.

use super::doors::Doors;
use super::driver::{Crowd, Seat};
use super::epochs::Epochs;
use super::helm::Helm;
use super::host::House;
use super::mail::{Ask, Mail, Report};
use super::mesh::{Address, Mailbox, Outgoing, mailboxes};
use super::post::Post;
use super::written::{Installed, Written};
use super::{certificates, executor, options, sys_topics};
use crate::base::ShardId;
use crate::config::{self, Scheme, Settings, cpus};
use crate::identity::Authority;
use crate::identity::guard::Bans;
use crate::identity::plugin::Plugins;
use crate::identity::users::Users;
use crate::net::{files, listener};
use crate::routing::Directory;
use crate::shard::Shard;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the control plane waits for a shard: longer than any turn takes.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How often mail about a message to a group may be passed on: to the group's owner, to a member's
/// shard, and the answer.
const GROUP_HOPS: usize = 3;

/// A running broker. Dropping it without [`Broker::stop`] leaves it running.
pub struct Broker {
    pub(super) addresses: Arc<[Address<Mail>]>,
    pub(super) listening: Vec<Listening>,
    pub(super) crowd: Arc<Crowd>,
    pub(super) cpus: Vec<Option<u16>>,
    pub(super) settings: Arc<Mutex<Settings>>,
    pub(super) authority: Arc<Authority>,
    pub(super) plugins: Plugins,
    pub(super) doors: Arc<Doors>,
    pub(super) users: Arc<Users>,
    /// What the files about identity said when they were last read.
    pub(super) written: Mutex<Installed>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Where the thread that publishes `$SYS` hears its interval; dropped to end it.
    sys_topics: Mutex<Option<Sender<u32>>>,
    /// Dropped to end the threads that look after certificates and epochs.
    ends: Mutex<Vec<Sender<()>>>,
}

/// A configured listener and the address that it got.
#[derive(Clone, Debug)]
pub struct Listening {
    pub scheme: Scheme,
    pub address: config::Address,
    /// 0: only the limit of the process.
    pub connections_max: u32,
}

/// How a stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Connections that were still open when the deadline passed.
    pub connections_left: u32,
    /// Whether every shard has ended.
    pub is_complete: bool,
}

impl Broker {
    /// Starts a broker; when this returns, every shard accepts connections.
    ///
    /// # Errors
    /// A sentence for the operator: an address that cannot be had, no ring, no thread.
    pub fn start(settings: Settings) -> io::Result<Broker> {
        let placement = cpus::place(&settings.node).map_err(io::Error::other)?;
        let shards = placement.shards as u16;
        files::reserve(settings.limits.connections_max);
        let doors = Doors::open(&settings).map_err(io::Error::other)?;
        let (listening, mut sockets) = listen(&settings, shards)?;
        let (mailboxes, addresses) = mailboxes(shards, settings.limits.mailbox_slots as usize)?;
        let folder = &settings.node.data_dir;
        let epochs = Epochs::open(folder).map_err(io::Error::other)?;
        let users = Arc::new(Users::open(folder).map_err(io::Error::other)?);
        let written = Written::read(&settings).map_err(io::Error::other)?;
        let authority = Authority::start(
            options::identity(&settings),
            &secret()?,
            Bans::open(folder).map_err(io::Error::other)?,
            Box::new(Post(addresses.clone())),
        )?;
        authority.set_source(users.clone());
        let written = written.install(&authority, None);
        let folder = settings.auth.plugins_dir.clone();
        let plugins = Plugins::new(&authority, folder, &settings.node.data_dir);
        // Before anybody can connect: what it takes to come in must be known by then.
        if let Err(why) = plugins.resume() {
            authority.end();
            return Err(io::Error::other(why));
        }
        let (sys_topics, intervals) = unbounded();
        let broker = Broker {
            addresses,
            crowd: Arc::new(Crowd {
                total: AtomicU32::new(0),
                by_listener: listening.iter().map(|_| AtomicU32::new(0)).collect(),
            }),
            listening,
            cpus: (0..placement.shards)
                .map(|shard| placement.cpu(shard))
                .collect(),
            authority,
            plugins,
            doors: Arc::new(doors),
            users,
            written: Mutex::new(written),
            settings: Arc::new(Mutex::new(settings)),
            threads: Mutex::new(Vec::new()),
            sys_topics: Mutex::new(Some(sys_topics)),
            ends: Mutex::new(Vec::new()),
        };
        let started = broker.start_shards(mailboxes, &mut sockets, epochs.first());
        if let Err(error) = started {
            broker.stop(Duration::ZERO);
            return Err(error);
        }
        broker.start_sys_topics(intervals);
        broker.start_watching_certificates();
        broker.start_reserving(epochs);
        Ok(broker)
    }

    /// Where it listens, in the order of the configuration, but for unix sockets.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let addresses = self.listening.iter();
        addresses
            .filter_map(|listening| match listening.address {
                config::Address::Inet(address) => Some(address),
                config::Address::Path(_) => None,
            })
            .collect()
    }

    /// The numbers of every shard.
    ///
    /// # Errors
    /// A shard does not answer: a sentence.
    pub fn reports(&self) -> Result<Vec<Report>, String> {
        self.ask_all(Ask::Stats)
    }

    /// Stops listening, tells the clients, writes out what waits and ends the shards; gives up on
    /// connections after `deadline`. A second call finds nothing to do.
    pub fn stop(&self, deadline: Duration) -> Ended {
        lock(&self.ends).clear();
        *lock(&self.sys_topics) = None;
        let until = Instant::now() + deadline;
        let shards = self.addresses.len();
        self.round(Ask::LastWills, until);
        for _ in 0..GROUP_HOPS {
            self.round(Ask::Settle, until);
        }
        let quiet = self.round(Ask::Shutdown, until);
        let connections_left = self.crowd.total.load(Ordering::Relaxed);
        for address in &*self.addresses {
            address.post_within(ask(Ask::End), ANSWER_WITHIN);
        }
        self.authority.end();
        self.plugins.close();
        self.remove_socket_files();
        let threads = std::mem::take(&mut *lock(&self.threads));
        let asked = threads.len();
        let joined = threads.into_iter().filter_map(join_within).count();
        Ended {
            connections_left,
            is_complete: quiet == shards && joined == asked,
        }
    }

    /// Has every shard do the same. Gives how many have done it in time.
    fn round(&self, task: impl Fn(Sender<u16>) -> Ask, until: Instant) -> usize {
        let shards = self.addresses.len();
        let (reply, replies) = bounded(shards);
        for address in &*self.addresses {
            address.post_within(ask(task(reply.clone())), left(until));
        }
        (0..shards)
            .take_while(|_| replies.recv_timeout(left(until)).is_ok())
            .count()
    }

    /// Asks every shard the same and gathers the answers.
    pub(super) fn ask_all<T>(&self, question: impl Fn(Sender<T>) -> Ask) -> Result<Vec<T>, String> {
        let until = Instant::now() + ANSWER_WITHIN;
        let (reply, replies) = bounded(self.addresses.len());
        for address in &*self.addresses {
            address.post_within(ask(question(reply.clone())), left(until));
        }
        (0..self.addresses.len())
            .map(|_| receive(&replies, until))
            .collect()
    }

    /// Asks one shard.
    pub(super) fn ask_one<T>(
        &self,
        shard: ShardId,
        question: impl FnOnce(Sender<T>) -> Ask,
    ) -> Result<T, String> {
        let until = Instant::now() + ANSWER_WITHIN;
        let (reply, replies) = bounded(1);
        let address = &self.addresses[usize::from(shard.0)];
        address.post_within(ask(question(reply)), left(until));
        receive(&replies, until)
    }

    fn start_shards(
        &self,
        mailboxes: Vec<Mailbox<Mail>>,
        sockets: &mut [Sockets],
        epoch_floor: u64,
    ) -> io::Result<()> {
        let settings = lock(&self.settings).clone();
        let shards = self.addresses.len() as u16;
        let directory = Arc::new(Directory::new(seed()));
        let helms: Arc<[Helm]> = (0..shards).map(|_| Helm::default()).collect();
        let house = Arc::new(House::default());
        let (ready, readiness) = bounded(usize::from(shards));
        for (mailbox, id) in mailboxes.into_iter().zip(0..) {
            let mut options = options::options(&settings, id, shards);
            options.access.common = lock(&self.written).rules.clone();
            options.epoch_floor = epoch_floor;
            let authenticator = Box::new(self.authority.gate(ShardId(id)));
            let gate = self.authority.gate(ShardId(id));
            let reach = options::reach(&settings, shards);
            let listeners = std::mem::take(&mut sockets[usize::from(id)]);
            let out = Outgoing::new(self.addresses.clone());
            let (directory, crowd) = (directory.clone(), self.crowd.clone());
            let doors = self.doors.rules();
            let (helms, house) = (helms.clone(), house.clone());
            let make_seat = move || Seat {
                id: ShardId(id),
                shards,
                outbox_bytes_max: options.limits.outbox_bytes_max,
                shard: Shard::new(
                    options,
                    authenticator,
                    (shards > 1).then(|| directory.clone()),
                    seed(),
                ),
                listeners,
                mailbox,
                out,
                helms,
                house,
                directory,
                gate,
                crowd,
                reach,
                doors,
            };
            let cpu = self.cpus[usize::from(id)];
            let thread = executor::spawn(id, cpu, make_seat, ready.clone())?;
            lock(&self.threads).push(thread);
        }
        drop(ready);
        for _ in 0..shards {
            let gone = || io::Error::other("a shard ended before it was ready");
            readiness.recv().map_err(|_| gone())??;
        }
        Ok(())
    }

    /// Exchanges certificates when their files have changed and do not change any more.
    fn start_watching_certificates(&self) {
        let (end, ended) = bounded(0);
        let (doors, addresses) = (self.doors.clone(), self.addresses.clone());
        let settings = self.settings.clone();
        let watch = move || certificates::watch(&doors, &settings, &addresses, &ended);
        let named = std::thread::Builder::new().name("certificates".into());
        match named.spawn(watch) {
            Ok(_) => lock(&self.ends).push(end),
            Err(error) => {
                tracing::error!(%error, "no thread for certificates: changes wait for SIGHUP");
            }
        }
    }

    fn start_reserving(&self, epochs: Epochs) {
        let (end, ended) = bounded(0);
        let named = std::thread::Builder::new().name("epochs".into());
        match named.spawn(move || epochs.watch(&ended)) {
            Ok(_) => lock(&self.ends).push(end),
            Err(error) => {
                tracing::error!(%error, "no thread for epochs: they may fall back after a restart");
            }
        }
    }

    /// Files of unix sockets that nobody listens to any more.
    fn remove_socket_files(&self) {
        for listening in &self.listening {
            if let config::Address::Path(path) = &listening.address {
                // Somebody may have tidied up before us.
                let _ = std::fs::remove_file(path);
            }
        }
    }

    fn start_sys_topics(&self, intervals: Receiver<u32>) {
        let settings = lock(&self.settings);
        let watched = sys_topics::Watched {
            authority: self.authority.clone(),
            crowd: self.crowd.clone(),
            settings: self.settings.clone(),
        };
        let addresses = self.addresses.clone();
        let publisher = sys_topics::Publisher::new(&settings.node.name, addresses, watched);
        self.set_sys_interval(settings.sys.interval_s);
        if let Err(error) = std::thread::Builder::new()
            .name("sys-topics".into())
            .spawn(move || publisher.run(&intervals))
        {
            tracing::error!(%error, "no thread for $SYS: it is not published");
        }
    }

    /// How often `$SYS` is published from now on, in seconds; 0: never.
    pub(super) fn set_sys_interval(&self, interval_s: u32) {
        if let Some(publisher) = &*lock(&self.sys_topics) {
            // Nobody is there where the thread could not be started, which was said then.
            let _ = publisher.send(interval_s);
        }
    }
}

/// A shard's listening sockets, with their index in the configuration.
type Sockets = Vec<(OwnedFd, u16)>;

/// Opens every listener once for each shard. Port 0 is chosen by the first shard's socket.
fn listen(settings: &Settings, shards: u16) -> io::Result<(Vec<Listening>, Vec<Sockets>)> {
    let mut sockets: Vec<Sockets> = (0..shards).map(|_| Vec::new()).collect();
    let mut listening = Vec::new();
    for (configured, index) in settings.listeners.iter().zip(0u16..) {
        let url = &configured.url;
        let failed = |error: io::Error| io::Error::new(error.kind(), format!("{url}: {error}"));
        let address = match &url.address {
            config::Address::Inet(wanted) => {
                listener::check_free(*wanted).map_err(failed)?;
                let mut address = *wanted;
                for of_shard in &mut sockets {
                    let socket = listener::bind(address).map_err(failed)?;
                    address = listener::local_address(&socket).map_err(failed)?;
                    of_shard.push((socket, index));
                }
                config::Address::Inet(address)
            }
            config::Address::Path(path) => {
                // One file, one queue: the shards take from it in turns.
                let socket = listener::bind_unix(path, configured.unix_mode).map_err(failed)?;
                for of_shard in &mut sockets {
                    of_shard.push((socket.try_clone().map_err(failed)?, index));
                }
                url.address.clone()
            }
        };
        listening.push(Listening {
            scheme: url.scheme,
            address,
            connections_max: configured.connections_max,
        });
    }
    Ok((listening, sockets))
}

pub(super) fn ask(ask: Ask) -> Mail {
    Mail::Ask(Box::new(ask))
}

fn receive<T>(replies: &Receiver<T>, until: Instant) -> Result<T, String> {
    let missing = |_| "a shard does not answer".to_owned();
    replies.recv_timeout(left(until)).map_err(missing)
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

/// A thread that was told to end does so within a turn; one that does not is left behind.
fn join_within(thread: JoinHandle<()>) -> Option<()> {
    let until = Instant::now() + ANSWER_WITHIN;
    while !thread.is_finished() {
        if left(until).is_zero() {
            return None;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    thread.join().ok()
}

/// What nobody outside this process can know.
fn secret() -> io::Result<[u8; 32]> {
    let mut secret = [0; 32];
    rustix::rand::getrandom(&mut secret, rustix::rand::GetRandomFlags::empty())?;
    Ok(secret)
}

/// What the system gives every hash map of this process to start from.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A panic while one of these is locked cannot leave its plain value half written.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
