//! The threads on which sources may block, and the questions that wait for them.
//!
//! Shards put questions in without waiting and without a lock. A question that nobody has taken up
//! by its deadline is dropped, because its shard has answered by then; one that asks what another
//! thread is asking just now waits for that answer instead.

use super::authority::Authority;
use super::memo::Tag;
use super::threads;
use crate::auth::AuthRequest;
use crate::base::ShardId;
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The questions of all shards.
pub struct Pool {
    sender: Mutex<Option<Sender<Box<Question>>>>,
    receiver: Receiver<Box<Question>>,
    waiting: AtomicUsize,
    waiting_max: usize,
    expired: AtomicU64,
    /// What is being asked now, and who else wants to know.
    running: Mutex<HashMap<Tag, Vec<Question>>>,
}

/// A shard's question.
pub struct Question {
    pub shard: ShardId,
    pub request: AuthRequest,
    /// When nobody waits for the answer any more.
    pub until: Instant,
    /// Questions with the same key may have the same answer; `None`: this one is asked by itself.
    pub key: Option<Tag>,
}

/// Where a shard puts its questions.
#[derive(Clone)]
pub struct Counter {
    sender: Sender<Box<Question>>,
    pool: Arc<Pool>,
}

impl Pool {
    /// Without threads yet. At most `waiting_max` questions wait.
    pub fn new(waiting_max: usize) -> Pool {
        let (sender, receiver) = unbounded();
        Pool {
            sender: Mutex::new(Some(sender)),
            receiver,
            waiting: AtomicUsize::new(0),
            waiting_max,
            expired: AtomicU64::new(0),
            running: Mutex::default(),
        }
    }

    /// Where a shard puts its questions; `None` once the pool has ended.
    pub fn counter(self: &Arc<Pool>) -> Option<Counter> {
        let sender = lock(&self.sender).clone()?;
        let pool = self.clone();
        Some(Counter { sender, pool })
    }

    /// Questions that wait or are being asked.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether so many wait that fewer should come.
    pub fn is_crowded(&self) -> bool {
        self.waiting() * 2 > self.waiting_max
    }

    /// Questions that nobody took up in time.
    pub fn expired(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }

    /// No more questions: threads end once they have no question and no shard can put one.
    pub fn end(&self) {
        drop(lock(&self.sender).take());
        // Nobody waits for these any more.
        while self.receiver.try_recv().is_ok() {}
    }

    fn lock_running(&self) -> MutexGuard<'_, HashMap<Tag, Vec<Question>>> {
        lock(&self.running)
    }
}

impl Counter {
    /// Puts a question in.
    ///
    /// # Errors
    /// As many wait as may: the question back.
    pub fn put(&self, question: Box<Question>) -> Result<(), Box<Question>> {
        let waiting = &self.pool.waiting;
        if waiting.fetch_add(1, Ordering::Relaxed) >= self.pool.waiting_max {
            waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(question);
        }
        let sent = self.sender.send(question);
        sent.map_err(|failed| failed.into_inner())
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
        threads::spawn(name, move || work(&authority))?;
    }
    Ok(())
}

fn work(authority: &Authority) {
    let pool = authority.pool();
    while let Ok(question) = pool.receiver.recv() {
        let Some(lead) = take_up(pool, question) else {
            continue;
        };
        let verdict = authority.decide(lead.shard, &lead.request);
        let key = lead.key;
        pool.waiting.fetch_sub(1, Ordering::Relaxed);
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
            pool.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The question, if this thread is to ask it.
fn take_up(pool: &Pool, question: Box<Question>) -> Option<Box<Question>> {
    if question.until <= Instant::now() {
        pool.waiting.fetch_sub(1, Ordering::Relaxed);
        pool.expired.fetch_add(1, Ordering::Relaxed);
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
    if let Some(sender) = &*lock(&pool.sender) {
        // The receiver lives in the pool, so it is there.
        let _ = sender.send(question);
    }
}

/// A panic while one of these is locked cannot leave its plain value half written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
