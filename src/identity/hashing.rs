//! Hashes that are meant to take their time, on threads that run where nobody else wants to.
//!
//! Being nice is not enough: Linux lets a running thread go on to the end of its slice, some
//! milliseconds, before one that counts ten times as much gets its core. A thread of the *idle
//! class* gives way as soon as anything else wakes there. But it gets next to nothing (3 to 1024)
//! of a core that is never idle, and who has taken this class cannot leave it again without a
//! privilege. So:
//!
//! - Each thread that asks sources has a helper of that class, which does nothing but hash. It
//!   holds no lock that a shard could wait for.
//! - Who waits for its helper looks how far it gets. Where that is next to nowhere, it does the
//!   work itself, and for some seconds does not ask the helper at all.

use super::fits::Fits;
use super::threads;
use crate::auth::PasswordFormat;
use crossbeam_channel::{RecvTimeoutError, Sender, TrySendError, bounded};
use rustix::thread::{Pid, gettid};
use std::cell::RefCell;
use std::fs;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often to look how far the helper is.
const LOOK: Duration = Duration::from_millis(100);
/// One part in so many of a core is next to nothing. The idle class gets a three-hundredth of a
/// core that others keep busy, and its fair share of one that they leave to it.
const STARVED_PART: u32 = 50;
/// How long a thread then does the work itself.
const HURRY: Duration = Duration::from_secs(10);

/// How long to wait for a helper to begin. It does nothing before, but where others keep all
/// processors the idle class may get none.
const START_MAX: Duration = Duration::from_millis(500);

/// Whether `shown` is the password that `stored` was made of, as
/// [`PasswordFormat::verify`]; a form that takes its time gives way to everything else, and is not
/// gone through again where it came out well before.
pub fn verify(format: PasswordFormat, shown: &[u8], stored: &str, salt: Option<&str>) -> bool {
    if !format.is_slow() {
        return format.verify(shown, stored, salt);
    }
    FITS.with_borrow(|fits| {
        let fit = fits
            .as_ref()
            .map(|fits| (fits, fits.fit(format, shown, stored, salt)));
        if fit.as_ref().is_some_and(|(fits, fit)| fits.has(fit)) {
            return true;
        }
        if let Some((fits, _)) = &fit {
            fits.count();
        }
        let (shown, stored, salt) = (shown.to_vec(), stored.to_owned(), salt.map(str::to_owned));
        let work: Work = Arc::new(move || format.verify(&shown, &stored, salt.as_deref()));
        let is_right = HELPER.with_borrow_mut(|helper| helper.run(&work));
        if let Some((fits, fit)) = fit.filter(|_| is_right) {
            fits.keep(fit);
        }
        is_right
    })
}

/// The calling thread keeps in mind with others what came out well.
pub fn share(fits: Arc<Fits>) {
    FITS.set(Some(fits));
}

thread_local! {
    static FITS: RefCell<Option<Arc<Fits>>> = const { RefCell::new(None) };
    /// Of this thread, from its first slow hash on. It ends when this thread does.
    static HELPER: RefCell<Helper> = RefCell::default();
}

/// What a helper and whoever has lost patience with it may both do.
type Work = Arc<dyn Fn() -> bool + Send + Sync>;

/// All that a helper does.
type Run = Box<dyn FnOnce() + Send>;

/// A thread's way to its helper.
#[derive(Default)]
struct Helper {
    line: Option<Line>,
    hurries_until: Option<Instant>,
}

struct Line {
    jobs: Sender<(Work, Sender<bool>)>,
    thread: Pid,
}

impl Helper {
    /// The result of `work`, whoever does it.
    fn run(&mut self, work: &Work) -> bool {
        let begun = Instant::now();
        if self.hurries_until.is_some_and(|until| begun < until) {
            return work();
        }
        match self.ask(work, begun) {
            Some(result) => result,
            None => {
                self.hurries_until = Some(Instant::now() + HURRY);
                work()
            }
        }
    }

    /// The helper's result; `None`: it gets nowhere, or there is none.
    fn ask(&mut self, work: &Work, begun: Instant) -> Option<bool> {
        let line = match self.line.take() {
            Some(line) => line,
            None => Line::start(threads::spawn_idle)
                .inspect_err(|error| {
                    crate::log_limited!(warn, 1, "hashes are not left to the idle class: {error}");
                })
                .ok()?,
        };
        let used_before = line.used();
        let (reply, result) = bounded(1);
        let asked = line.jobs.try_send((work.clone(), reply));
        if matches!(asked, Err(TrySendError::Disconnected(_))) {
            return None;
        }
        let line = self.line.insert(line);
        asked.ok()?;
        loop {
            match result.recv_timeout(LOOK) {
                Ok(result) => return Some(result),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let used = line.used().zip(used_before).map(|(now, then)| now - then);
            if used.is_none_or(|used| is_starved(used, begun.elapsed())) {
                return None;
            }
        }
    }
}

impl Line {
    /// A helper on a thread that `spawn` begins.
    fn start(spawn: impl FnOnce(String, Run) -> io::Result<()>) -> io::Result<Line> {
        let (jobs, to_do) = bounded::<(Work, Sender<bool>)>(1);
        let (tell, told) = bounded(1);
        let run = move || {
            let _ = tell.send(gettid());
            while let Ok((work, reply)) = to_do.recv() {
                // Whoever has lost patience, and is done, has let go of it.
                if Arc::strong_count(&work) > 1 {
                    let _ = reply.send(work());
                }
            }
        };
        spawn("hash".into(), Box::new(run))?;
        let late = |_| {
            let ms = START_MAX.as_millis();
            io::Error::other(format!("a helper got no processor within {ms} ms"))
        };
        let thread = told.recv_timeout(START_MAX).map_err(late)?;
        Ok(Line { jobs, thread })
    }

    /// The processor time that the helper has used; none where the system does not say.
    fn used(&self) -> Option<Duration> {
        let path = format!("/proc/self/task/{}/schedstat", self.thread.as_raw_nonzero());
        let text = fs::read_to_string(path).ok()?;
        let used_ns = text.split_ascii_whitespace().next()?.parse().ok()?;
        Some(Duration::from_nanos(used_ns))
    }
}

fn is_starved(used: Duration, passed: Duration) -> bool {
    used < passed / STARVED_PART
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::thread;

    /// Work that tells who has done it, and whose result is whether it was a helper.
    fn told() -> (Work, Arc<Mutex<Vec<String>>>) {
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let tell = told.clone();
        let work = move || {
            let name = thread::current().name().unwrap_or_default().to_owned();
            let is_helper = name == "hash";
            tell.lock().unwrap().push(name);
            is_helper
        };
        (Arc::new(work), told)
    }

    #[test]
    fn a_helper_does_the_work_or_is_seen_to_get_nowhere() {
        let (work, told) = told();
        let by_helper = Helper::default().run(&work);
        // On a machine that others keep busy both may have done it.
        assert!(told.lock().unwrap().len() <= 2);
        assert!(by_helper || told.lock().unwrap().iter().any(|name| name != "hash"));
    }

    #[test]
    fn whoever_has_a_helper_that_gets_nowhere_does_the_work_itself() {
        let (open, gate) = bounded::<()>(0);
        let (work, told) = told();
        let stuck: Work = Arc::new(move || {
            if thread::current().name() == Some("hash") {
                let _ = gate.recv();
            }
            work()
        });
        let mut helper = Helper::default();
        // The first time it waits for a moment, then no more for a while.
        for _ in 0..3 {
            assert!(!helper.run(&stuck), "not the helper's result");
        }
        assert_eq!(told.lock().unwrap().len(), 3);
        assert!(helper.hurries_until.is_some());
        // Once that is over the helper is asked again; it had one job only, which it now ends.
        helper.hurries_until = None;
        drop(open);
        let (work, _) = self::told();
        let _ = helper.run(&work);
        assert!(told.lock().unwrap().len() <= 4);
    }

    #[test]
    fn nobody_waits_long_for_a_helper_that_gets_no_processor() {
        let mut kept = None;
        let started = Line::start(|_, run| {
            // It has begun for the system, and never runs.
            kept = Some(run);
            Ok(())
        });
        let error = started.err().unwrap().to_string();
        assert_eq!(error, "a helper got no processor within 500 ms");
        // One that gets one after all finds that it has nothing to do.
        kept.unwrap()();
    }

    #[test]
    fn next_to_nothing_is_a_fiftieth() {
        let ms = Duration::from_millis;
        assert!(is_starved(ms(0), ms(100)) && is_starved(ms(19), ms(1000)));
        assert!(!is_starved(ms(2), ms(100)), "a fair part among fifty");
    }

    #[test]
    fn right_and_wrong_passwords_are_told_apart() {
        let stored = bcrypt::hash("right", 4).unwrap();
        assert!(verify(PasswordFormat::Bcrypt, b"right", &stored, None));
        assert!(!verify(PasswordFormat::Bcrypt, b"wrong", &stored, None));
        let plain: PasswordFormat = "plain".parse().unwrap();
        assert!(verify(plain, b"p", "p", None));
    }
}
