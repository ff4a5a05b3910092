//! What stands around a node while it runs: it answers the control socket, reloads, and carries
//! the wish to stop from wherever it comes to the thread that does it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Node;
use super::api::{Process, ReloadReport, Reply, Request, State, Status, Stopped};
use crate::config::keys::Reload;
use crate::config::{Change, Host, Loaded, Settings, Sources, changes, keep_restart_keys};
use crate::limits::CONTROL_PAGE_MAX;
use crate::logging;
use rustix::time::{ClockId, clock_gettime};

pub struct Supervisor {
    node: Arc<dyn Node>,
    sources: Sources,
    host: Host,
    /// What the node obeys; its lock is also what lets one reload happen at a time.
    running: Mutex<Loaded>,
    started: Instant,
    is_stopping: AtomicBool,
    /// Whether a stop was asked for.
    wish: Mutex<bool>,
    wished: Condvar,
}

impl Supervisor {
    /// Around a node that was started with `loaded` on `host`; `sources` are read again at a
    /// reload.
    pub fn new(node: Arc<dyn Node>, loaded: Loaded, sources: Sources, host: Host) -> Self {
        Self {
            node,
            sources,
            host,
            running: Mutex::new(loaded),
            started: Instant::now(),
            is_stopping: AtomicBool::new(false),
            wish: Mutex::new(false),
            wished: Condvar::new(),
        }
    }

    /// The answer to one request of the control socket.
    pub fn answer(&self, request: Request) -> Reply {
        let answer = match request {
            Request::Status => self.status().map(|status| Reply::Status(Box::new(status))),
            Request::Stop => {
                self.request_stop();
                Ok(Reply::Stopping {
                    deadline_s: self.stop_deadline().as_secs(),
                })
            }
            Request::Reload => self.reload().map(Reply::Reloaded),
            Request::Clients { limit, from } => {
                let limit = limit.clamp(1, CONTROL_PAGE_MAX);
                self.node
                    .clients(limit, from.as_deref())
                    .map(Reply::Clients)
            }
            Request::Client { client_id } => self
                .node
                .client(&client_id)
                .map(|found| Reply::Client(found.map(Box::new))),
            Request::Kick { client_id } => self.node.kick(&client_id).map(Reply::Kicked),
            Request::Plugins => self.node.plugins().map(Reply::Plugins),
            Request::LoadPlugin { name } => self.node.load_plugin(&name).map(Reply::PluginLoaded),
            Request::UnloadPlugin { name } => self
                .node
                .unload_plugin(&name)
                .map(|()| Reply::PluginUnloaded),
            request => self.answer_about_users(request),
        };
        answer.unwrap_or_else(Reply::Error)
    }

    fn answer_about_users(&self, request: Request) -> Result<Reply, String> {
        let node = &self.node;
        match request {
            Request::Users { limit, from } => {
                let limit = limit.clamp(1, CONTROL_PAGE_MAX);
                node.users(limit, from.as_deref()).map(Reply::Users)
            }
            Request::AddUser(user) => node.add_user(&user).map(|()| Reply::Done),
            Request::DeleteUser { name } => node.delete_user(&name).map(|()| Reply::Done),
            Request::SetPassword { name, password } => {
                node.set_password(&name, &password).map(|()| Reply::Done)
            }
            Request::Bans => node.bans().map(Reply::Bans),
            Request::AddBan(ban) => node.add_ban(ban).map(|()| Reply::Done),
            Request::LiftBan { kind, value } => node.lift_ban(kind, value).map(Reply::Lifted),
            _ => Err("this version does not know the request".into()),
        }
    }

    /// Asks for the end; [`Self::run`] returns once it is there. More than once is as once.
    pub fn request_stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        *lock(&self.wish) = true;
        self.wished.notify_all();
    }

    /// Whether a stop was asked for.
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// Waits for the wish to stop, then stops the node within its deadline.
    pub fn run(&self) -> Stopped {
        let mut wish = lock(&self.wish);
        while !*wish {
            wish = self
                .wished
                .wait(wish)
                .unwrap_or_else(PoisonError::into_inner);
        }
        drop(wish);
        let deadline = self.stop_deadline();
        tracing::info!("stopping, within {} s", deadline.as_secs());
        self.node.stop(deadline)
    }

    /// Reads the configuration again and tells the node, all or nothing.
    ///
    /// # Errors
    /// What is wrong with the file (with lines), or why the node refused: nothing has changed.
    pub fn reload(&self) -> Result<ReloadReport, String> {
        let mut running = lock(&self.running);
        let loaded = self.sources.load().map_err(|errors| errors.to_string())?;
        let report = report(&changes(&running.settings, &loaded.settings));
        let obeyed = keep_restart_keys(&running.settings, &loaded.settings);
        // Also where no key has changed: files that the keys name may have.
        self.node.reload(&self.host.resolve(&obeyed))?;
        logging::set_level(obeyed.node.log_level.filter());
        *running = Loaded {
            settings: obeyed,
            source: loaded.source,
        };
        Ok(report)
    }

    fn status(&self) -> Result<Status, String> {
        let node = self.node.status()?;
        let running = lock(&self.running);
        let Settings { node: named, .. } = &running.settings;
        let process = Process {
            node: named.name.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            state: if self.is_stopping() {
                State::Stopping
            } else {
                State::Running
            },
            pid: std::process::id(),
            uptime_s: self.started.elapsed().as_secs(),
            resident_bytes: resident_bytes(),
            cpu_us: cpu_us(),
            config: running.source.to_string(),
            data_dir: named.data_dir.display().to_string(),
            arguments: self.sources.overrides.arguments(),
            config_file: running.source.file().map(|path| path.display().to_string()),
            directory: std::env::current_dir()
                .ok()
                .map(|path| path.display().to_string()),
            variables: self.sources.carried(),
        };
        Ok(Status { process, node })
    }

    fn stop_deadline(&self) -> Duration {
        Duration::from_secs(lock(&self.running).settings.node.stop_deadline_s.into())
    }
}

/// A panic while holding one of these locks cannot leave its plain value half written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn report(changes: &[Change]) -> ReloadReport {
    let of = |class: Reload| -> Vec<String> {
        let of_class = changes.iter().filter(|change| change.reload == class);
        of_class.map(ToString::to_string).collect()
    };
    ReloadReport {
        live: of(Reload::Live),
        new_connections: of(Reload::NewConnections),
        restart: of(Reload::Restart),
    }
}

/// Processor time of this process.
fn cpu_us() -> u64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec as u64 * 1_000_000 + used.tv_nsec as u64 / 1_000
}

/// What the kernel says this process has in memory; 0 when it does not say.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| {
            text.split_whitespace()
                .nth(1)
                .and_then(|pages| pages.parse::<u64>().ok())
        });
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}
