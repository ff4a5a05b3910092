//! The sources in the order in which they are asked.

use super::health::{Health, Turn};
use super::source::{Judgement, Reach, Remember, Source};
use crate::auth::{AuthRequest, AuthStep};
use crate::log_limited;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// What is asked, in order. Unchangeable: another order is another chain.
#[derive(Clone, Default)]
pub struct Chain {
    /// Every source there is.
    known: Vec<Arc<Link>>,
    /// Those that are asked.
    links: Vec<Arc<Link>>,
}

/// A source in the chain with what is known of it.
struct Link {
    source: Arc<dyn Source>,
    health: Health,
    counts: [AtomicU64; Count::ALL.len()],
}

/// How a source has answered.
#[derive(Clone, Copy)]
enum Count {
    Allowed,
    Denied,
    Unknown,
    Unavailable,
}

impl Count {
    const ALL: [&str; 4] = ["allowed", "denied", "unknown", "unavailable"];
}

/// A source as `status` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStatus {
    pub name: &'static str,
    pub is_active: bool,
    /// For how many seconds it cannot be asked, and why.
    pub down: Option<(u64, String)>,
    /// Answers by kind.
    pub counts: Vec<(&'static str, u64)>,
}

impl Chain {
    /// With `source`, in the place that `order` gives it; one that is not named there is not
    /// asked. It replaces a source of the same name.
    pub fn with(&self, source: Arc<dyn Source>, order: &[String]) -> Chain {
        let mut known = self.others(source.name());
        known.push(Arc::new(Link {
            source,
            health: Health::default(),
            counts: Default::default(),
        }));
        Chain::new(known, order)
    }

    /// Without the source of this name.
    pub fn without(&self, name: &str, order: &[String]) -> Chain {
        Chain::new(self.others(name), order)
    }

    /// The same sources in another order.
    pub fn in_order(&self, order: &[String]) -> Chain {
        Chain::new(self.known.clone(), order)
    }

    fn new(known: Vec<Arc<Link>>, order: &[String]) -> Chain {
        let find = |name: &String| {
            known
                .iter()
                .find(|link| link.source.name() == name)
                .cloned()
        };
        let links = order.iter().filter_map(find).collect();
        Chain { known, links }
    }

    fn others(&self, name: &str) -> Vec<Arc<Link>> {
        let others = self.known.iter().filter(|link| link.source.name() != name);
        others.cloned().collect()
    }

    /// Whether anybody is known to any source.
    pub fn is_active(&self) -> bool {
        self.links.iter().any(|link| link.source.is_active())
    }

    /// Asks one source after the other until one decides. [`Judgement::Next`]: none did.
    pub fn judge(&self, question: &AuthRequest) -> Judgement {
        if question.step == AuthStep::Recheck && question.voucher.source != 0 {
            return self.judge_again(question);
        }
        let mut is_memorable = true;
        for link in &self.links {
            match link.judge(question) {
                Judgement::Next => is_memorable &= !link.source.looks_further(),
                Judgement::Allow(grant, _) if !is_memorable => {
                    return Judgement::Allow(grant, Remember::No);
                }
                decided => return decided,
            }
        }
        let shows_password = question.step == AuthStep::Connect && question.password.is_some();
        if shows_password && question.username.is_some() && question.method.is_none() {
            self.links.iter().any(|link| link.source.pretend(question));
        }
        Judgement::Next
    }

    /// As [`Self::judge`], of a client without a password, where nobody has to wait for anything.
    /// `None`: somebody has to.
    pub fn judge_at_once(&self, question: &AuthRequest) -> Option<Judgement> {
        if question.step == AuthStep::Recheck || question.password.is_some() {
            return None;
        }
        for link in &self.links {
            match link.source.reach(question) {
                Reach::Beyond => {}
                Reach::Waits => return None,
                Reach::AtOnce => match link.judge(question) {
                    Judgement::Next => {}
                    decided => return Some(decided),
                },
            }
        }
        Some(Judgement::Next)
    }

    /// Asks whoever vouches for a client that is in. Where that cannot be, the client stays: its
    /// source is unloaded, or says so much once and for all.
    fn judge_again(&self, question: &AuthRequest) -> Judgement {
        let is_it = |link: &&Arc<Link>| number_of(link.source.name()) == question.voucher.source;
        match self.links.iter().find(is_it) {
            Some(link) if link.source.can_recheck() => link.judge(question),
            _ => Judgement::Stay,
        }
    }

    /// Whether a source cannot be asked now.
    pub fn is_down(&self) -> bool {
        self.links.iter().any(|link| link.health.down().is_some())
    }

    pub fn status(&self) -> Vec<SourceStatus> {
        self.links.iter().map(|link| link.status()).collect()
    }
}

impl Link {
    fn judge(&self, question: &AuthRequest) -> Judgement {
        if let Err(why) = self.health.admit(Instant::now()) {
            self.count(Count::Unavailable);
            return Judgement::Unavailable(why);
        }
        let mut judgement = self.source.judge(question);
        if let Judgement::Allow(grant, _) = &mut judgement {
            grant.voucher.source = number_of(self.source.name());
        }
        let name = self.source.name();
        let now = Instant::now();
        self.count(match &judgement {
            Judgement::Allow(..) | Judgement::Challenge { .. } => Count::Allowed,
            Judgement::Deny(_) => Count::Denied,
            Judgement::Next | Judgement::Stay => Count::Unknown,
            Judgement::Unavailable(_) => Count::Unavailable,
        });
        let turn = match &judgement {
            Judgement::Unavailable(why) => {
                log_limited!(warn, 1, "identities of {name} cannot be asked: {why}");
                self.health.fail(now, why)
            }
            _ => self.health.succeed(now),
        };
        if let Turn::CameBack(after) = turn {
            let after_s = after.as_secs();
            tracing::info!("identities of {name} can be asked again, after {after_s} s");
        }
        judgement
    }

    fn count(&self, what: Count) {
        self.counts[what as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn status(&self) -> SourceStatus {
        let counts = Count::ALL.into_iter().zip(&self.counts);
        let down = self.health.down();
        SourceStatus {
            name: self.source.name(),
            is_active: self.source.is_active(),
            down: down.map(|down| (down.since.elapsed().as_secs(), down.why)),
            counts: counts
                .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
                .collect(),
        }
    }
}

/// What a source is called in [`Voucher::source`](crate::auth::Voucher::source); 0 for none of
/// these.
pub(super) fn number_of(name: &str) -> u8 {
    const NAMES: [&str; 6] = ["certificate", "users", "file", "postgres", "jwt", "http"];
    let found = NAMES.iter().zip(1..).find(|(known, _)| **known == name);
    found.map_or(0, |(_, number)| number)
}

#[cfg(test)]
mod tests {
    use super::super::source::Scope;
    use super::super::source::tests::question;
    use super::*;
    use crate::auth::Grant;
    use crate::codec::ReasonCode;

    struct Fixed(&'static str, Judgement);

    impl Source for Fixed {
        fn name(&self) -> &'static str {
            self.0
        }

        fn judge(&self, _: &AuthRequest) -> Judgement {
            self.1.clone()
        }

        fn looks_further(&self) -> bool {
            self.0 == "b"
        }
    }

    fn chain(judgements: [Judgement; 3]) -> Chain {
        let order = ["a", "b", "c"].map(String::from);
        let mut chain = Chain::default();
        // Set in another order than they are asked in.
        for (name, judgement) in ["a", "b", "c"].into_iter().zip(judgements).rev() {
            chain = chain.with(Arc::new(Fixed(name, judgement)), &order);
        }
        chain
    }

    #[test]
    fn the_first_that_decides() {
        let allow = Judgement::Allow(Grant::default(), Remember::No);
        let deny = Judgement::Deny(ReasonCode::NotAuthorized);
        let down = Judgement::Unavailable("down".into());
        let next = Judgement::Next;
        let asked = question("u", "p", "c");
        for (judgements, decided) in [
            ([&next, &allow, &deny], &allow),
            ([&deny, &allow, &allow], &deny),
            ([&next, &down, &allow], &down),
            ([&allow, &down, &deny], &allow),
            ([&next, &next, &next], &next),
        ] {
            assert_eq!(chain(judgements.map(Clone::clone)).judge(&asked), *decided);
        }
    }

    #[test]
    fn what_rests_on_more_than_the_password_is_not_remembered() {
        let remember = Remember::Password(Scope::default());
        let allow = |remember| Judgement::Allow(Grant::default(), remember);
        let (known, next) = (allow(remember.clone()), Judgement::Next);
        let asked = question("u", "p", "c");
        for (judgements, decided) in [
            // The second one has let it pass: for another client id it may not.
            ([&next, &next, &known], allow(Remember::No)),
            ([&next, &known, &next], allow(remember.clone())),
            ([&known, &next, &next], allow(remember)),
        ] {
            assert_eq!(chain(judgements.map(Clone::clone)).judge(&asked), decided);
        }
    }

    #[test]
    fn status_says_what_is_down() {
        let down = Judgement::Unavailable("no route".into());
        let chain = chain([Judgement::Next, down, Judgement::Next]);
        chain.judge(&question("u", "p", "c"));
        let status = chain.status();
        assert_eq!(status[1].down, Some((0, "no route".into())));
        assert_eq!(status[0].counts[2], ("unknown", 1));
        assert_eq!(status[2].down, None);
        let others = ["a", "c"].map(String::from);
        assert!(chain.is_down() && !chain.in_order(&others).is_down());
        assert_eq!(chain.without("b", &["b".into()]).status(), []);
    }
}
