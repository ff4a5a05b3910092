//! The one that is asked: by shards on their threads, which never wait for it, and by whoever
//! changes what a source knows.

use super::chain::{Chain, SourceStatus};
use super::fits::Fits;
use super::guard::{Ban, Bans, Pace, PaceOptions, Target};
use super::hearing::Ear;
use super::memo::{Memo, is_password};
use super::pool::{self, Counter, Pool, Question};
use super::source::{Judgement, Remember, Scope, Source};
use crate::auth::{
    Anonymous, AuthRequest, AuthStep, Authenticator, Grant, Identity, Revision, Verdict, Whom,
};
use crate::base::{ConnId, ShardId};
use crate::codec::ReasonCode;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Times that a question is asked anew because something changed while it was answered.
const ASKED_ANEW_MAX: usize = 3;

/// How often who is in is asked about where nobody tells of changes and nothing is remembered.
const DEAF_ASKS_EVERY: Duration = Duration::from_secs(60);

/// The way from here to the shards.
pub trait Shards: Send + Sync {
    /// Brings a verdict to the shard that asked for it.
    fn answer(&self, shard: ShardId, to: (ConnId, u32), verdict: Verdict);

    /// Tells every shard which clients to cut or to ask about again.
    fn revise(&self, revision: Arc<Revision>);
}

/// What is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Names of the sources in the order in which they are asked.
    pub chain: Vec<String>,
    /// Who comes in without an identity.
    pub anonymous: Anonymous,
    /// What else holds on each listener; on further ones, nothing.
    pub doors: Vec<Door>,
    /// Threads that may block.
    pub threads: usize,
    /// Questions that may wait.
    pub waiting_max: usize,
    /// How long a question may take.
    pub deadline: Duration,
    /// How long a password that was right is remembered; zero: not at all.
    pub memo_life: Duration,
    pub memo_entries_max: usize,
    pub pace: PaceOptions,
}

impl Options {
    /// Comparisons to keep in mind: a password each.
    fn fits_max(&self) -> usize {
        match self.memo_life.is_zero() {
            true => 0,
            false => self.memo_entries_max,
        }
    }
}

/// Who comes in by one listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Door {
    /// As everywhere.
    #[default]
    Inherit,
    /// Nobody without an identity.
    Required,
    /// Everybody, and no source is asked.
    Open,
}

/// All of identity, one for the process.
pub struct Authority {
    options: RwLock<Arc<Options>>,
    chain: RwLock<Arc<Chain>>,
    is_active: AtomicBool,
    /// Spares all others a look at the options.
    has_open_doors: AtomicBool,
    memo: Memo,
    fits: Arc<Fits>,
    bans: Bans,
    pace: Pace,
    pool: Arc<Pool>,
    shards: Box<dyn Shards>,
    /// Held by whoever says what a source said, and alone by whoever says that it does not hold
    /// any more: so what is said first also arrives first, and nothing old is said after it.
    changes: RwLock<()>,
    generation: AtomicU64,
    /// When all who are in were last asked about because nobody tells of what changes.
    asked_again: Mutex<Instant>,
}

/// What a source tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Something that it knows is different now.
    Changed(Revision),
    /// What was said by this ear's source until now may be different, and nobody has heard how:
    /// passwords that are remembered are doubted.
    Missed {
        ear: Arc<Ear>,
        /// Whether it was ever heard, so that clients that are in were let in by what was missed.
        clients_too: bool,
    },
    /// Its source hears nothing, or not of everything. Said again and again while it is so.
    Deaf,
}

/// A shard's way to the authority.
pub struct Gate {
    authority: Arc<Authority>,
    counter: Option<Counter>,
    shard: ShardId,
}

impl Authority {
    /// With no source yet, and its threads running. `key` is a secret of this process.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(
        options: Options,
        key: &[u8; 32],
        bans: Bans,
        shards: Box<dyn Shards>,
    ) -> io::Result<Arc<Authority>> {
        let authority = Arc::new(Authority {
            chain: RwLock::default(),
            is_active: AtomicBool::new(false),
            has_open_doors: AtomicBool::new(options.doors.contains(&Door::Open)),
            memo: Memo::new(key, options.memo_entries_max, options.memo_life),
            fits: Arc::new(Fits::new(key, options.fits_max())),
            bans,
            pace: Pace::new(options.pace),
            pool: Arc::new(Pool::new(options.waiting_max)),
            shards,
            changes: RwLock::new(()),
            generation: AtomicU64::new(0),
            asked_again: Mutex::new(Instant::now()),
            options: RwLock::new(Arc::new(options.clone())),
        });
        let started = pool::start(&authority, options.threads);
        if started.is_err() {
            authority.end();
        }
        started.map(|()| authority)
    }

    /// Puts `source` into its place of the chain, or in the place of the one of that name.
    pub fn set_source(&self, source: Arc<dyn Source>) {
        let order = &self.options().chain;
        self.change_chain(|chain| chain.with(source, order));
    }

    /// Takes the source of this name out.
    pub fn remove_source(&self, name: &str) {
        let order = &self.options().chain;
        self.change_chain(|chain| chain.without(name, order));
    }

    /// Something that a source knows is different now: what is remembered of these clients is
    /// dropped, and every shard is told.
    pub fn changed(&self, revision: Revision) {
        if revision.whom().is_empty() {
            return;
        }
        let _alone = self.changes.write().unwrap_or_else(PoisonError::into_inner);
        self.generation.fetch_add(1, Ordering::Release);
        self.is_active
            .store(self.chain().is_active(), Ordering::Relaxed);
        self.memo.forget(revision.whom());
        self.shards.revise(Arc::new(revision));
    }

    /// Obeys what a source tells.
    pub fn hear(&self, news: News) {
        let (ear, clients_too) = match news {
            News::Changed(revision) => return self.changed(revision),
            News::Deaf => return self.ask_again_after_a_while(),
            News::Missed { ear, clients_too } => (ear, clients_too),
        };
        let _alone = self.changes.write().unwrap_or_else(PoisonError::into_inner);
        self.generation.fetch_add(1, Ordering::Release);
        self.memo.doubt(&ear);
        if clients_too {
            let everybody = Revision::Recheck(Whom::everybody());
            self.shards.revise(Arc::new(everybody));
        }
    }

    /// Nobody tells of what changes: who is in is asked about again when what was said of it is as
    /// old as a password may be that is remembered.
    fn ask_again_after_a_while(&self) {
        let life = match self.options().memo_life {
            Duration::ZERO => DEAF_ASKS_EVERY,
            life => life,
        };
        let mut last = self
            .asked_again
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() < life {
            return;
        }
        *last = Instant::now();
        let _alone = self.changes.write().unwrap_or_else(PoisonError::into_inner);
        let everybody = Revision::Recheck(Whom::everybody());
        self.shards.revise(Arc::new(everybody));
    }

    /// Bans a client id, a user or an address, and cuts those that are in.
    ///
    /// # Errors
    /// A sentence.
    pub fn ban(&self, ban: Ban) -> Result<(), String> {
        let revision = self.bans.add(ban)?;
        self.changed(revision);
        Ok(())
    }

    /// Lifts a ban; false: there was none.
    ///
    /// # Errors
    /// A sentence.
    pub fn lift_ban(&self, target: &Target) -> Result<bool, String> {
        self.bans.remove(target)
    }

    pub fn bans(&self) -> Vec<Ban> {
        self.bans.list()
    }

    /// Obeys other settings; threads and the length of the queue stay.
    pub fn configure(&self, options: Options) {
        let order = options.chain.clone();
        let has_open_doors = options.doors.contains(&Door::Open);
        self.has_open_doors.store(has_open_doors, Ordering::Relaxed);
        self.pace.configure(options.pace);
        self.memo
            .configure(options.memo_entries_max, options.memo_life);
        self.fits.configure(options.fits_max());
        *self.options.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(options);
        self.change_chain(|chain| chain.in_order(&order));
    }

    /// No more questions are answered.
    pub fn end(&self) {
        self.pool.end();
    }

    /// The way in for one shard.
    pub fn gate(self: &Arc<Authority>, shard: ShardId) -> Gate {
        Gate {
            authority: self.clone(),
            counter: self.pool.counter(),
            shard,
        }
    }

    /// Whether `auth.chain` names this source.
    pub fn asks(&self, source: &str) -> bool {
        self.options().chain.iter().any(|name| name == source)
    }

    pub fn status(&self) -> Vec<SourceStatus> {
        self.chain().status()
    }

    /// Questions that wait or are being asked.
    pub fn waiting(&self) -> usize {
        self.pool.waiting()
    }

    /// Questions that nobody took up by their deadline, over all time.
    pub fn expired(&self) -> u64 {
        self.pool.expired()
    }

    /// Slow hashes that were calculated, over all time.
    pub fn hashed(&self) -> u64 {
        self.fits.made()
    }

    /// Passwords that are remembered.
    pub fn remembered(&self) -> usize {
        self.memo.len()
    }

    /// Whether fewer clients should be let in at a time, because they cannot be decided about.
    pub fn is_strained(&self) -> bool {
        self.pool.is_crowded() || self.chain().is_down()
    }

    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub(super) fn fits(&self) -> &Arc<Fits> {
        &self.fits
    }

    /// Asks the sources, on a thread that may block, and tells the shard. `None`: what was said
    /// changed as often as it was asked.
    pub(super) fn decide(&self, shard: ShardId, request: &AuthRequest) -> Option<Verdict> {
        if self.answer_from_memo(shard, request) {
            return None;
        }
        for _ in 0..ASKED_ANEW_MAX {
            let generation = self.generation.load(Ordering::Acquire);
            let judgement = self.chain().judge(request);
            let _together = self.changes.read().unwrap_or_else(PoisonError::into_inner);
            if self.generation.load(Ordering::Acquire) != generation {
                continue;
            }
            let judgement = self.weigh(request, judgement);
            let verdict = self.verdict(request, judgement);
            self.answer(shard, request, verdict.clone());
            return Some(verdict);
        }
        self.answer(shard, request, Verdict::Refuse(ReasonCode::ServerBusy));
        None
    }

    /// Remembers what a source has said, or what was remembered stands in for what it cannot say.
    fn weigh(&self, request: &AuthRequest, judgement: Judgement) -> Judgement {
        match &judgement {
            Judgement::Unavailable(_) => {
                let found = self.memo.look_up(request);
                let stands_in =
                    found.map(|found| Judgement::Allow(Grant::clone(&found.grant), Remember::No));
                return stands_in.unwrap_or(judgement);
            }
            Judgement::Allow(grant, remember) => {
                if let Some(what) = remember.what() {
                    self.memo.keep(request, what, grant.clone());
                }
            }
            Judgement::Deny(_) | Judgement::Next => self.memo.drop_doubted(request),
            Judgement::Challenge { .. } | Judgement::Stay => {}
        }
        judgement
    }

    /// Answers what the memo knows by now.
    pub(super) fn answer_from_memo(&self, shard: ShardId, request: &AuthRequest) -> bool {
        let _together = self.changes.read().unwrap_or_else(PoisonError::into_inner);
        let Some(grant) = self.memo.find(request) else {
            return false;
        };
        self.answer(shard, request, Verdict::Allow(Grant::clone(&grant)));
        true
    }

    pub(super) fn answer(&self, shard: ShardId, request: &AuthRequest, verdict: Verdict) {
        self.shards
            .answer(shard, (request.conn, request.attempt), verdict);
    }

    fn verdict(&self, request: &AuthRequest, judgement: Judgement) -> Verdict {
        let is_recheck = request.step == AuthStep::Recheck;
        match judgement {
            Judgement::Allow(grant, _) if self.is_banned(request, &grant) => {
                Verdict::Refuse(ReasonCode::Banned)
            }
            Judgement::Allow(grant, _) => {
                if !is_recheck {
                    self.pace.succeeded(request);
                }
                Verdict::Allow(grant)
            }
            Judgement::Deny(reason) if !is_recheck => {
                self.pace.failed(request, Instant::now());
                Verdict::Refuse(reason)
            }
            Judgement::Challenge { data, state } => Verdict::Challenge { data, state },
            Judgement::Deny(reason) => Verdict::Refuse(reason),
            Judgement::Stay => Verdict::Stay,
            Judgement::Unavailable(_) => Verdict::Refuse(ReasonCode::ServerUnavailable),
            Judgement::Next => self.unknown(request),
        }
    }

    /// What becomes of a client that no source knows. Whoever gives a name is held to it as soon as
    /// there are sources that could know it; the anonymous come in from this machine only as long
    /// as there are none, and otherwise only where the operator has said that all may.
    fn unknown(&self, request: &AuthRequest) -> Verdict {
        let door = self.door(request);
        let is_active = self.chain().is_active() || door == Door::Required;
        let anonymous = match door {
            Door::Inherit => self.options().anonymous,
            Door::Required => Anonymous::Nowhere,
            Door::Open => Anonymous::Everywhere,
        };
        if request.method.is_some() {
            return Verdict::Refuse(ReasonCode::BadAuthenticationMethod);
        }
        let may_be_anonymous = !is_active
            || door == Door::Open
            || anonymous == Anonymous::Everywhere && request.username.is_none();
        match may_be_anonymous {
            true => anonymous.judge(request),
            false => {
                if request.username.is_some() && request.step != AuthStep::Recheck {
                    self.pace.failed(request, Instant::now());
                }
                Verdict::Refuse(ReasonCode::BadUserNameOrPassword)
            }
        }
    }

    fn door(&self, request: &AuthRequest) -> Door {
        self.door_of(request.peer.listener)
    }

    fn door_of(&self, listener: u16) -> Door {
        let doors = &self.options().doors;
        doors
            .get(usize::from(listener))
            .copied()
            .unwrap_or_default()
    }

    /// Whether the name that a source has found is banned, where it is not the one of CONNECT.
    fn is_banned(&self, request: &AuthRequest, grant: &Grant) -> bool {
        match &grant.identity {
            Identity::Named(name) => self.bans.has(request, Some(name)),
            _ => false,
        }
    }

    /// Whoever is not asked about: why.
    fn held_off(&self, request: &AuthRequest) -> Option<ReasonCode> {
        if self.bans.has(request, request.username.as_deref()) {
            return Some(ReasonCode::Banned);
        }
        let is_connect = request.step == AuthStep::Connect;
        let comes_too_often = is_connect && self.pace.connects(request, Instant::now());
        comes_too_often.then_some(ReasonCode::ConnectionRateExceeded)
    }

    fn change_chain(&self, change: impl FnOnce(&Chain) -> Chain) {
        let mut chain = self.chain.write().unwrap_or_else(PoisonError::into_inner);
        *chain = Arc::new(change(&chain));
        self.is_active.store(chain.is_active(), Ordering::Relaxed);
        self.generation.fetch_add(1, Ordering::Release);
        // What another chain has said is not what this one would say.
        self.memo.forget(&Whom::everybody());
    }

    fn chain(&self) -> Arc<Chain> {
        self.chain
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn options(&self) -> Arc<Options> {
        self.options
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Authenticator for Gate {
    fn ask(&mut self, request: &AuthRequest) -> Verdict {
        let authority = &self.authority;
        if let Some(reason) = authority.held_off(request) {
            return Verdict::Refuse(reason);
        }
        let is_open = authority.has_open_doors.load(Ordering::Relaxed)
            && authority.door(request) == Door::Open;
        if is_open || !authority.is_active.load(Ordering::Relaxed) {
            return authority.unknown(request);
        }
        match authority.memo.look_up(request) {
            Some(found) if !found.is_doubted => Verdict::Allow(Grant::clone(&found.grant)),
            // Who knows what was the password does not guess.
            Some(_) => Verdict::Pending,
            None if request.step != AuthStep::Recheck
                && authority.pace.is_held(request, Instant::now()) =>
            {
                Verdict::Refuse(ReasonCode::ConnectionRateExceeded)
            }
            None => {
                // Who shows no password need not stand in line with those who do.
                let judgement = authority.chain().judge_at_once(request);
                judgement.map_or(Verdict::Pending, |said| authority.verdict(request, said))
            }
        }
    }
}

impl Gate {
    /// As [`Authority::is_strained`], for whoever comes in by this listener.
    pub fn is_strained(&self, listener: u16) -> bool {
        let authority = &self.authority;
        authority.is_active.load(Ordering::Relaxed)
            && authority.is_strained()
            && authority.door_of(listener) != Door::Open
    }

    /// Puts a question that [`Authenticator::ask`] has left open to the sources.
    ///
    /// # Errors
    /// It cannot be asked now: the reason for the client.
    pub fn put(&self, request: AuthRequest) -> Result<(), ReasonCode> {
        let deadline = self.authority.options().deadline;
        let key =
            is_password(&request).then(|| self.authority.memo.tag(&request, Scope::default()));
        let question = Box::new(Question {
            shard: self.shard,
            since: Instant::now(),
            deadline,
            key,
            request,
        });
        let put = match &self.counter {
            Some(counter) => counter.put(question),
            None => Err(question),
        };
        put.map_err(|_| ReasonCode::ServerBusy)
    }
}

#[cfg(test)]
mod tests;
