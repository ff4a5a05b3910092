//! The threads on which sources may block, and the questions that wait for them.
//!
//! Shards put questions in without waiting and without a lock. A question that nobody has taken up
//! by its deadline is dropped, because its shard has answered by then; one that asks what another
//! thread is asking just now waits for that answer instead.

use super::authority::Authority;
use super::memo::Tag;
use super::{hashing, threads};
use crate::auth::{AuthRequest, AuthStep, Verdict};
use crate::base::ShardId;
use crate::codec::ReasonCode;
use crate::limits::RECHECKS_WAITING_MAX;
use crossbeam_channel::{Receiver, Sender, select, unbounded};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The questions of all shards.
pub struct Pool {
    senders: Mutex<Option<Lines<Sender<Box<Question>>>>>,
    receivers: Lines<Receiver<Box<Question>>>,
    /// Of those who want to come in.
    waiting: AtomicUsize,
    waiting_max: usize,
    /// The last of them that was taken up had waited for half of its time.
    is_late: AtomicBool,
    /// Of those who are in.
    rechecks: AtomicUsize,
    expired: AtomicU64,
    /// What is being asked now, and who else wants to know.
    running: Mutex<HashMap<Tag, Vec<Question>>>,
}

/// The two lines in which questions wait.
#[derive(Clone)]
struct Lines<T> {
    connects: T,
    /// About clients that are in: there may be very many of them at once.
    rechecks: T,
}

/// A shard's question.
pub struct Question {
    pub shard: ShardId,
    pub request: AuthRequest,
    pub since: Instant,
    /// After this nobody waits for the answer any more.
    pub deadline: Duration,
    /// Questions with the same key may have the same answer; `None`: this one is asked by itself.
    pub key: Option<Tag>,
}

/// Where a shard puts its questions.
#[derive(Clone)]
pub struct Counter {
    senders: Lines<Sender<Box<Question>>>,
    pool: Arc<Pool>,
}

impl Pool {
    /// Without threads yet. At most `waiting_max` questions wait.
    pub fn new(waiting_max: usize) -> Pool {
        let (connects, rechecks) = (unbounded(), unbounded());
        Pool {
            senders: Mutex::new(Some(Lines {
                connects: connects.0,
                rechecks: rechecks.0,
            })),
            receivers: Lines {
                connects: connects.1,
                rechecks: rechecks.1,
            },
            waiting: AtomicUsize::new(0),
            waiting_max,
            is_late: AtomicBool::new(false),
            rechecks: AtomicUsize::new(0),
            expired: AtomicU64::new(0),
            running: Mutex::default(),
        }
    }

    /// Where a shard puts its questions; `None` once the pool has ended.
    pub fn counter(self: &Arc<Pool>) -> Option<Counter> {
        let senders = lock(&self.senders).clone()?;
        let pool = self.clone();
        Some(Counter { senders, pool })
    }

    /// Clients that want to come in and wait or are being asked about.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether so many wait, or for so long, that fewer should come: more than can be answered in
    /// time would only be turned away, and come again.
    pub fn is_crowded(&self) -> bool {
        let waiting = self.waiting();
        waiting * 2 > self.waiting_max || waiting > 0 && self.is_late.load(Ordering::Relaxed)
    }

    /// Questions that nobody took up in time.
    pub fn expired(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }

    /// No more questions: threads end once they have no question and no shard can put one.
    pub fn end(&self) {
        drop(lock(&self.senders).take());
        // Nobody waits for these any more.
        let lines = [&self.receivers.connects, &self.receivers.rechecks];
        for line in lines {
            while line.try_recv().is_ok() {}
        }
    }

    /// The next question, from one line rather than from the other; none when there will be none.
    fn next(&self, rechecks_first: bool) -> Option<Box<Question>> {
        let Lines { connects, rechecks } = &self.receivers;
        let (first, second) = match rechecks_first {
            true => (rechecks, connects),
            false => (connects, rechecks),
        };
        if let Ok(question) = first.try_recv().or_else(|_| second.try_recv()) {
            return Some(question);
        }
        select! {
            recv(connects) -> question => question.ok(),
            recv(rechecks) -> question => question.ok(),
        }
    }

    /// A question that was put in has its answer.
    fn done(&self, question: &Question) {
        let count = match question.is_recheck() {
            true => &self.rechecks,
            false => &self.waiting,
        };
        count.fetch_sub(1, Ordering::Relaxed);
    }

    fn lock_running(&self) -> MutexGuard<'_, HashMap<Tag, Vec<Question>>> {
        lock(&self.running)
    }
}

impl Question {
    fn is_recheck(&self) -> bool {
        self.request.step == AuthStep::Recheck
    }
}

impl Counter {
    /// Puts a question in.
    ///
    /// # Errors
    /// As many wait as may: the question back.
    pub fn put(&self, question: Box<Question>) -> Result<(), Box<Question>> {
        let pool = &self.pool;
        let (line, count, max) = match question.is_recheck() {
            true => (&self.senders.rechecks, &pool.rechecks, RECHECKS_WAITING_MAX),
            false => (&self.senders.connects, &pool.waiting, pool.waiting_max),
        };
        if count.fetch_add(1, Ordering::Relaxed) >= max {
            count.fetch_sub(1, Ordering::Relaxed);
            return Err(question);
        }
        line.send(question).map_err(|failed| failed.into_inner())
    }
}

/// Starts the threads that ask. Each ends when the pool has, and no shard is left.
///
/// # Errors
/// The system has no thread left.
pub fn start(authority: &Arc<Authority>, threads: usize) -> io::Result<()> {
    for number in 0..threads {
        let authority = authority.clone();
        let name = format!("auth-{number}");
        // One thread takes from either line in turn, so that neither ever stands still for long.
        let is_fair = number == 0;
        threads::spawn(name, move || work(&authority, is_fair))?;
    }
    Ok(())
}

fn work(authority: &Authority, is_fair: bool) {
    hashing::share(authority.fits().clone());
    let pool = authority.pool();
    let mut rechecks_first = false;
    while let Some(question) = pool.next(rechecks_first) {
        rechecks_first = is_fair && !rechecks_first;
        let Some(lead) = take_up(authority, question) else {
            continue;
        };
        let verdict = authority.decide(lead.shard, &lead.request);
        let key = lead.key;
        pool.done(&lead);
        let followers = key.and_then(|key| pool.lock_running().remove(&key));
        for mut follower in followers.into_iter().flatten() {
            let same = follower.request.client_id == lead.request.client_id
                && follower.request.peer.ip() == lead.request.peer.ip();
            if let Some(verdict) = verdict.as_ref().filter(|_| same) {
                authority.answer(follower.shard, &follower.request, verdict.clone());
            } else if !authority.answer_from_memo(follower.shard, &follower.request) {
                // The answer was for the other's client id or address alone.
                follower.key = None;
                requeue(authority, Box::new(follower));
                continue;
            }
            pool.done(&follower);
        }
    }
}

/// The question, if this thread is to ask it.
fn take_up(authority: &Authority, question: Box<Question>) -> Option<Box<Question>> {
    let pool = authority.pool();
    let waited = question.since.elapsed();
    if !question.is_recheck() {
        pool.is_late
            .store(waited >= question.deadline / 2, Ordering::Relaxed);
    }
    if waited >= question.deadline {
        pool.done(&question);
        pool.expired.fetch_add(1, Ordering::Relaxed);
        if question.is_recheck() {
            // Its shard waits without an end, and asks again.
            let verdict = Verdict::Refuse(ReasonCode::ServerBusy);
            authority.answer(question.shard, &question.request, verdict);
        }
        return None;
    }
    let Some(key) = question.key else {
        return Some(question);
    };
    let mut running = pool.lock_running();
    match running.get_mut(&key) {
        Some(followers) => {
            followers.push(*question);
            None
        }
        None => {
            running.insert(key, Vec::new());
            Some(question)
        }
    }
}

/// Back into the queue; it counts as waiting all the time.
fn requeue(authority: &Authority, question: Box<Question>) {
    let pool = authority.pool();
    if let Some(senders) = &*lock(&pool.senders) {
        // The receiver lives in the pool, so it is there.
        let _ = senders.connects.send(question);
    }
}

/// A panic while one of these is locked cannot leave its plain value half written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
