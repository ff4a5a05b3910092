//! The thread that hears of changes: it keeps the mirror, and says whose verdicts do not hold any
//! more.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::failure::Failure;
use super::health::Health;
use super::hearsay;
use super::mirror::{LOAD_MAX, Mirror};
use super::notes::{CHANNEL, Changes};
use super::options::Options;
use super::session::{Connector, Session};
use super::source::look_up;
use super::template::Variable;
use crate::auth::{Revision, Whom};
use crate::codec::ReasonCode;
use crate::identity::{Ear, News, threads};

/// How soon the thread sees that it is to end.
const LOOK_UP: Duration = Duration::from_millis(500);
/// How long a look at the connection itself may take.
const HEARTBEAT_MAX: Duration = Duration::from_secs(3);
/// Users of one change that are asked about one by one; of more all are read.
const USERS_ASKED_MAX: usize = 10_000;
/// Whether both tables have their triggers.
const HAS_TRIGGERS: &str = "select count(distinct tgname) >= 2 from pg_trigger \
                            where tgname in ('ringmq_user_update', 'ringmq_acl_update') \
                            and tgenabled <> 'D'";

/// Carries out what does not hold any more.
pub type Tell = Arc<dyn Fn(News) + Send + Sync>;

/// The thread; dropping this ends it.
pub struct Listener {
    is_over: Arc<AtomicBool>,
}

/// What the thread works with.
pub struct Hearing {
    pub options: Arc<Options>,
    pub connector: Arc<Connector>,
    pub health: Arc<Health>,
    pub mirror: Option<Arc<Mirror>>,
    pub ear: Arc<Ear>,
    pub tell: Tell,
    /// False: there is nothing to listen to.
    pub has_channel: bool,
}

impl Listener {
    /// # Errors
    /// There is no thread to be had.
    pub fn start(hearing: Hearing) -> io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = is_over.clone();
        threads::spawn("pgsql-listen".into(), move || hearing.run(&over))?;
        Ok(Self { is_over })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
    }
}

fn has_triggers(session: &mut Session, deadline: Instant) -> Result<bool, Failure> {
    let found = session.first((HAS_TRIGGERS, &[]), deadline)?;
    Ok(found.is_some_and(|row| row[0].as_deref() == Some("true")))
}

impl Hearing {
    fn run(&self, over: &AtomicBool) {
        if !self.has_channel {
            while !over.load(Ordering::Acquire) {
                thread::sleep(LOOK_UP);
                (self.tell)(News::Deaf);
            }
            return;
        }
        let mut is_first = true;
        let mut pause = Duration::from_millis(100);
        while !over.load(Ordering::Acquire) {
            let heard = self.connector.connect().and_then(|mut session| {
                pause = Duration::from_millis(100);
                self.hear(&mut session, &mut is_first, over)
            });
            self.ear.end();
            if let Some(mirror) = &self.mirror {
                mirror.set_live(false);
            }
            if let Err(failure) = heard {
                let name = self.health.name();
                crate::log_limited!(info, 1, "{name}: cannot hear of changes: {failure}");
                thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_secs(2));
            }
        }
    }

    /// Listens until the end, or until the connection fails.
    fn hear(
        &self,
        session: &mut Session,
        is_first: &mut bool,
        over: &AtomicBool,
    ) -> Result<(), Failure> {
        let soon = || Instant::now() + HEARTBEAT_MAX;
        let hears = self.begin(session, soon())?;
        let unheard = match hears {
            true => hearsay::unheard_of(session, &self.options, soon())?,
            false => None,
        };
        let hears_all = hears && unheard.is_none();
        // Listening comes first, so that nothing falls between it and what is read now.
        self.read_tables(session, hears_all)?;
        if hears {
            self.begin_to_hear(unheard, *is_first);
        }
        *is_first = false;
        let mut last_word = Instant::now();
        let mut last_read = Instant::now();
        while !over.load(Ordering::Acquire) {
            let notes = session.notes(LOOK_UP)?;
            if !notes.is_empty() {
                let mut changes = Changes::default();
                notes.iter().for_each(|note| changes.add(note));
                self.take_in(session, &changes)?;
                self.announce(&changes);
                last_word = Instant::now();
            } else if last_word.elapsed() >= self.options.keepalive {
                // As good as any question to see whether the server is there.
                let finds_triggers = has_triggers(session, soon())?;
                if self.options.can_hear() && finds_triggers != hears {
                    // They were made or dropped: begin anew, with whatever was missed.
                    return Ok(());
                }
                let is_partly_deaf = hears && !self.ear.hears();
                if is_partly_deaf && hearsay::unheard_of(session, &self.options, soon())?.is_none()
                {
                    return Ok(());
                }
                last_word = Instant::now();
            }
            if !hears_all {
                (self.tell)(News::Deaf);
            }
            if !hears_all && last_read.elapsed() >= self.options.mirror_refresh {
                self.read_tables(session, false)?;
                last_read = Instant::now();
            }
        }
        Ok(())
    }

    /// Begins to listen; whether there is something to be heard.
    fn begin(&self, session: &mut Session, deadline: Instant) -> Result<bool, Failure> {
        if !self.options.can_hear() {
            return Ok(false);
        }
        let listen = format!("listen {CHANNEL}");
        session.query((&listen, &[]), deadline, |_| true)?;
        // Reading a whole table takes longer than a client may wait for its row.
        let patient = format!("set statement_timeout = {}", LOAD_MAX.as_millis());
        session.query((&patient, &[]), deadline, |_| true)?;
        let has_triggers = has_triggers(session, deadline)?;
        if !has_triggers {
            tracing::info!(
                "{}: no triggers (etc/sql/pgsql_notify.sql): changes act when what is \
                 remembered is over",
                self.health.name()
            );
        }
        Ok(has_triggers)
    }

    /// Whatever changed until now was told to nobody: what is remembered is doubted, and who is in
    /// is asked about again. From here on nothing is missed of the tables that have triggers.
    fn begin_to_hear(&self, unheard: Option<String>, is_first: bool) {
        (self.tell)(News::Missed {
            ear: self.ear.clone(),
            clients_too: !is_first,
        });
        let name = self.health.name();
        let missed = match is_first {
            true => "",
            false => "; some may have been missed, so everybody is asked about again",
        };
        match unheard {
            None => {
                self.ear.begin();
                tracing::info!("{name}: listening for changes{missed}");
            }
            Some(what) => tracing::warn!(
                "{name}: listening for changes{missed}, but {what}, of which no trigger tells: \
                 changes there act when what is remembered is over (auth.memo_s)"
            ),
        }
    }

    fn read_tables(&self, session: &mut Session, is_live: bool) -> Result<(), Failure> {
        let Some(mirror) = &self.mirror else {
            return Ok(());
        };
        let began = Instant::now();
        let is_new = !mirror.is_loaded();
        let read = mirror
            .load_users(session, &self.options)
            .and_then(|()| mirror.load_rules(session, &self.options));
        if let Err(failure) = read {
            tracing::error!("{}: no mirror: {failure}", self.health.name());
            return Err(failure);
        }
        mirror.set_live(is_live);
        if is_new {
            let size = mirror.size();
            let ms = began.elapsed().as_millis();
            tracing::info!(
                "{}: mirrored {} users in {} bytes, and {} rules, in {ms} ms",
                self.health.name(),
                size.users,
                size.bytes,
                size.rules
            );
        }
        Ok(())
    }

    /// Brings the mirror up to date.
    fn take_in(&self, session: &mut Session, changes: &Changes) -> Result<(), Failure> {
        let Some(mirror) = &self.mirror else {
            return Ok(());
        };
        let names: BTreeSet<&str> = [&changes.kicked, &changes.touched, &changes.new]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        if changes.all_users || changes.many_new || names.len() > USERS_ASKED_MAX {
            mirror.load_users(session, &self.options)?;
        } else {
            for name in names {
                let deadline = Instant::now() + self.options.query_timeout;
                let user = look_up(session, &self.options, name, deadline)?;
                mirror.set_user(name, user.as_ref());
            }
        }
        if changes.has_rules() {
            mirror.load_rules(session, &self.options)?;
        }
        Ok(())
    }

    /// Whoever is meant is off, or looked at again.
    fn announce(&self, changes: &Changes) {
        let set = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect();
        let acl_query = self.options.acl_query.as_ref();
        let binds = |variable| acl_query.is_some_and(|query| query.variables().contains(&variable));
        // What is remembered of a user holds for whichever client and address the query does not
        // ask about.
        let is_wide = !changes.rule_clients.is_empty() && !binds(Variable::ClientId)
            || !changes.rule_addresses.is_empty() && !binds(Variable::Address);
        let kicked = Whom {
            users: set(&changes.kicked),
            ..Whom::default()
        };
        let mut again = Whom {
            everybody: changes.all_users || changes.all_rules || is_wide,
            users: set(&changes.touched),
            clients: set(&changes.rule_clients),
            addresses: Vec::new(),
        };
        again.users.extend(set(&changes.new));
        again.users.extend(set(&changes.rule_users));
        for address in &changes.rule_addresses {
            match address.parse() {
                Ok(range) => again.addresses.push(range),
                // A row like this denies whoever it may be about.
                Err(_) => again.everybody = true,
            }
        }
        tracing::info!("{}: changed: {}", self.health.name(), changes);
        if !kicked.is_empty() {
            let kick = Revision::Kick(kicked, ReasonCode::NotAuthorized);
            (self.tell)(News::Changed(kick));
        }
        if !again.is_empty() {
            (self.tell)(News::Changed(Revision::Recheck(again)));
        }
    }
}
