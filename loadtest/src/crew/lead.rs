//! The leader: it starts the workers of this host, waits for those of others, and has the report
//! made of what all of them found out.

use super::aligned::clock_name;
use super::said::{Answer, Hello, Lines, Said, Status, Task, VERSION};
use super::work::{Link, work};
use crate::host::limits::Demand;
use crate::measure::clock::now_ns;
use crate::report::{Report, Value, text};
use crate::run::{Ended, Scenario, Setup, Shared, observe, run};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two looks whether another worker has joined or got ready.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long one that has connected may take to say who it is.
const HELLO_PATIENCE: Duration = Duration::from_secs(5);

/// The workers of a run.
#[derive(Clone, Debug)]
pub struct Crew {
    /// For each worker, without `workers` and the like: a kind of load and its options.
    pub words: Vec<String>,
    pub run: u32,
    /// Processes on this host.
    pub own: usize,
    /// Processes that join from elsewhere, and where they do.
    pub others: usize,
    pub listen: SocketAddr,
}

/// What this process is in a run.
pub enum Place<'a> {
    /// All there is.
    Alone,
    Leader(Crew),
    Worker(&'a Task, &'a mut Link),
}

impl Place<'_> {
    /// Of what all are to do together, the part of this process.
    pub fn part_of(&self, all: Demand) -> Option<Demand> {
        match self {
            Place::Alone => Some(all),
            Place::Leader(_) => None,
            Place::Worker(task, _) => {
                let own = all.own.div_ceil(task.workers as u64);
                // How many there are on another host is not known.
                let neighbours = if task.has_same_clock { task.own } else { 1 };
                Some(Demand {
                    own,
                    together: own * neighbours.max(1) as u64,
                    ..all
                })
            }
        }
    }

    /// Runs a scenario; a worker has no report of its own.
    ///
    /// # Errors
    /// A sentence: something in a host does not work.
    pub fn run<S: Scenario>(self, scenario: S, setup: &Setup) -> Result<Option<Report>, String> {
        match self {
            Place::Alone => run(scenario, setup).map(Some),
            Place::Leader(crew) => lead(&scenario, &crew, setup).map(Some),
            Place::Worker(task, link) => work(scenario, setup, task, link).map(|()| None),
        }
    }
}

/// What the threads that talk to workers share, beside the counters.
#[derive(Debug)]
struct Talks {
    may_begin: AtomicBool,
    aligned: AtomicUsize,
    /// The worst so far.
    clock_error_ns: AtomicU64,
    /// Workers that are lost, in the order in which they were.
    lost: Mutex<Vec<Lost>>,
}

/// A worker whose outcomes will not come.
#[derive(Clone, Debug)]
struct Lost {
    worker: usize,
    pid: u32,
    at_ns: u64,
    /// A sentence.
    why: String,
    /// The run had begun: then the others' outcomes are worth a report.
    had_begun: bool,
}

/// A worker that has joined.
struct Joined {
    lines: Lines,
    /// It has the leader's clock, as processes of this host have.
    has_same_clock: bool,
    pid: u32,
}

fn lead<S: Scenario>(scenario: &S, crew: &Crew, setup: &Setup) -> Result<Report, String> {
    let count = crew.own + crew.others;
    let address = match crew.others {
        0 => SocketAddr::from(([127, 0, 0, 1], 0)),
        _ => crew.listen,
    };
    let failed = |error| format!("workers cannot join at {address}: {error}");
    let listener = TcpListener::bind(address).map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    let mut children = Children::spawn(crew.own, port)?;
    if crew.others > 0 {
        let address = SocketAddr::new(address.ip(), port);
        eprintln!(
            "waiting for {} more to join: loadtest --join {address}",
            crew.others
        );
    }
    let joined = gather(&listener, count, &mut children, setup)?;
    let has_others = joined.iter().any(|one| !one.has_same_clock);
    let talks = Arc::new(Talks {
        may_begin: AtomicBool::new(false),
        aligned: AtomicUsize::new(0),
        clock_error_ns: AtomicU64::new(0),
        lost: Mutex::default(),
    });
    let executors = count * setup.shards;
    let shared = Arc::new(Shared::of_leader(count, executors, setup.interrupt.clone()));
    let threads: Vec<_> = joined
        .into_iter()
        .enumerate()
        .map(|(worker, one)| talk::<S>(one, (worker, crew), &shared, &talks))
        .collect();
    while talks.aligned.load(Ordering::Acquire) < count && !shared.is_stopping() {
        std::thread::sleep(LOOK_EVERY);
    }
    let began_ns = now_ns();
    let mut report = observe(scenario, &shared, &setup.broker, || {
        talks
            .may_begin
            .store(!shared.is_stopping(), Ordering::Release);
        Ok(|| join::<S>(threads, &talks))
    })?;
    let section = report.section("workers");
    section.count("workers", "processes", count as u64);
    let lost = talks.lost();
    if !lost.is_empty() {
        section.count("workers_lost", "lost", lost.len() as u64);
    }
    if has_others {
        let error_ns = talks.clock_error_ns.load(Ordering::Acquire);
        section.add(
            "clock_error_us",
            "clocks agree within",
            Value::Time(error_ns),
        );
    }
    for (at, one) in lost.iter().enumerate() {
        let why = children.end_of(one.pid).unwrap_or_else(|| one.why.clone());
        let problem = format!(
            "worker {} of {count} was lost after {}: {why}; what it did is not in the figures",
            one.worker + 1,
            text::time(one.at_ns.saturating_sub(began_ns)),
        );
        report.problems.insert(at, problem);
    }
    Ok(report)
}

/// Starts the thread that talks to one worker; it gives no outcomes if the worker is lost, and the
/// run ends then.
fn talk<S: Scenario>(
    mut one: Joined,
    (worker, crew): (usize, &Crew),
    shared: &Arc<Shared>,
    talks: &Arc<Talks>,
) -> JoinHandle<Outcomes<S>> {
    let task = Task {
        words: crew.words.clone(),
        run: crew.run,
        worker,
        workers: crew.own + crew.others,
        own: crew.own,
        has_same_clock: one.has_same_clock,
    };
    let (shared, talks) = (shared.clone(), talks.clone());
    std::thread::spawn(move || {
        let _ended = Ended(&shared);
        serve::<S>(&mut one.lines, task, &shared, &talks).unwrap_or_else(|why| {
            let lost = Lost {
                worker,
                // The process ids of another host say nothing here.
                pid: if one.has_same_clock { one.pid } else { 0 },
                at_ns: now_ns(),
                why,
                had_begun: talks.may_begin.load(Ordering::Acquire),
            };
            talks.note(lost);
            shared.stop();
            Vec::new()
        })
    })
}

impl Talks {
    fn note(&self, lost: Lost) {
        self.list().push(lost);
    }

    fn lost(&self) -> Vec<Lost> {
        self.list().clone()
    }

    /// A list is whole between any two calls, so one that panicked has left no harm.
    fn list(&self) -> MutexGuard<'_, Vec<Lost>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The executors' outcomes of one worker.
type Outcomes<S> = Vec<<S as Scenario>::Outcome>;

/// The outcomes of all workers that were not lost.
fn join<S: Scenario>(
    threads: Vec<JoinHandle<Outcomes<S>>>,
    talks: &Talks,
) -> Result<Outcomes<S>, String> {
    let mut all = Vec::new();
    for thread in threads {
        let outcomes = thread.join();
        all.extend(outcomes.map_err(|_| "the talk with a worker failed".to_owned())?);
    }
    match talks.lost().first() {
        // What one cannot even begin, the others are not to do by themselves.
        Some(lost) if all.is_empty() || !lost.had_begun => {
            Err(format!("worker {}: {}", lost.worker + 1, lost.why))
        }
        None if all.is_empty() => Err("ended before the run began".into()),
        _ => Ok(all),
    }
}

/// Waits until all have joined.
fn gather(
    listener: &TcpListener,
    count: usize,
    children: &mut Children,
    setup: &Setup,
) -> Result<Vec<Joined>, String> {
    let failed = |error: std::io::Error| format!("workers cannot join: {error}");
    listener.set_nonblocking(true).map_err(failed)?;
    let clock = clock_name();
    let mut joined = Vec::new();
    while joined.len() < count {
        match listener.accept() {
            Ok((stream, from)) => match greet(stream, &clock) {
                Ok(one) => joined.push(one),
                Err(why) => eprintln!("{from} has not joined: {why}"),
            },
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                children.check()?;
                if setup.interrupt.load(Ordering::Relaxed) {
                    return Err("ended before all workers had joined".into());
                }
                std::thread::sleep(LOOK_EVERY);
            }
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(joined)
}

fn greet(stream: TcpStream, clock: &str) -> Result<Joined, String> {
    let prepared = stream
        .set_nonblocking(false)
        .and_then(|()| stream.set_read_timeout(Some(HELLO_PATIENCE)));
    let unread = stream.try_clone();
    let text = |error: std::io::Error| error.to_string();
    prepared.map_err(text)?;
    let mut lines = Lines::new(stream).map_err(text)?;
    let hello: Hello = lines.read().map_err(text)?;
    if hello.version != VERSION {
        let why = format!("its version is {}, the leader's {VERSION}", hello.version);
        lines.write(&Err::<Task, _>(&why)).map_err(text)?;
        return Err(why);
    }
    unread
        .and_then(|stream| stream.set_read_timeout(None))
        .map_err(text)?;
    Ok(Joined {
        lines,
        has_same_clock: hello.clock == clock,
        pid: hello.pid,
    })
}

/// The talk with one worker, from its task to its outcomes.
fn serve<S: Scenario>(
    lines: &mut Lines,
    task: Task,
    shared: &Shared,
    talks: &Talks,
) -> Result<Outcomes<S>, String> {
    let gone = |error| format!("it has gone: {error}");
    let worker = task.worker;
    lines.write(&Ok::<_, String>(task)).map_err(gone)?;
    let mut arrived = Default::default();
    let mut is_aligned = false;
    loop {
        let status = match lines.read::<Said<Outcomes<S>>>().map_err(gone)? {
            Said::Now(status) => status,
            Said::Done(outcomes, status) => {
                hear(&status, worker, shared, talks);
                return Ok(outcomes);
            }
            Said::Failed(sentence) => return Err(sentence),
        };
        hear(&status, worker, shared, talks);
        for (gate, (before, now)) in std::iter::zip(arrived, status.arrived).enumerate() {
            shared.arrive_all(gate, now - before);
        }
        arrived = status.arrived;
        if status.is_aligned && !is_aligned {
            is_aligned = true;
            talks.aligned.fetch_add(1, Ordering::AcqRel);
        }
        let answer = Answer {
            others: shared.totals_without(worker),
            opened_ns: shared.all_opened_ns(),
            may_begin: talks.may_begin.load(Ordering::Acquire),
            is_stopping: shared.is_stopping(),
            at_ns: now_ns(),
        };
        lines.write(&answer).map_err(gone)?;
    }
}

fn hear(status: &Status, worker: usize, shared: &Shared, talks: &Talks) {
    shared.live(worker).set(status.totals);
    if let Some(window) = &status.window {
        shared.show(worker, window);
    }
    if status.is_stopping {
        shared.stop();
    }
    let error_ns = &talks.clock_error_ns;
    error_ns.fetch_max(status.clock_error_ns, Ordering::AcqRel);
}

/// The workers of this host. They end with the leader.
struct Children(Vec<Child>);

impl Children {
    fn spawn(count: usize, port: u16) -> Result<Children, String> {
        let mut children = Children(Vec::new());
        let failed = |error| format!("a worker cannot be started: {error}");
        let program = std::env::current_exe().map_err(failed)?;
        for _ in 0..count {
            let child = Command::new(&program)
                .arg("--join")
                .arg(format!("127.0.0.1:{port}"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn();
            children.0.push(child.map_err(failed)?);
        }
        Ok(children)
    }

    /// # Errors
    /// One has ended, which it may not.
    fn check(&mut self) -> Result<(), String> {
        for child in &mut self.0 {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("a worker has ended early: {status}"));
            }
        }
        Ok(())
    }
}

impl Children {
    /// How the worker with this process id ended, if it is one of these.
    fn end_of(&mut self, pid: u32) -> Option<String> {
        let child = self.0.iter_mut().find(|child| child.id() == pid)?;
        // It has closed its connection, and does nothing after that but end.
        let status = child.wait().ok()?;
        (!status.success()).then(|| format!("its process {pid} ended with {status}"))
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // What it had to say is said.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
