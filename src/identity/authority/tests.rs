//! The authority over sources that a test holds in its hand.

use super::super::chain::number_of;
use super::super::source::Reach;
use super::super::source::tests::question;
use super::*;
use crate::auth::{Voucher, Whom};
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::sync::atomic::AtomicUsize;

const PATIENCE: Duration = Duration::from_secs(10);

/// What the shards hear.
#[derive(Debug, PartialEq)]
enum Heard {
    Verdict(u32, Verdict),
    Revision(Arc<Revision>),
}

struct Post(Sender<Heard>);

impl Shards for Post {
    fn answer(&self, _: ShardId, (_, attempt): (ConnId, u32), verdict: Verdict) {
        self.0.send(Heard::Verdict(attempt, verdict)).unwrap();
    }

    fn revise(&self, revision: Arc<Revision>) {
        self.0.send(Heard::Revision(revision)).unwrap();
    }
}

/// A source that answers what the test says, when it says it.
struct Hand {
    asked: AtomicUsize,
    /// About which attempts, in order.
    order: Mutex<Vec<u32>>,
    answers: Receiver<Judgement>,
}

impl Source for Hand {
    fn name(&self) -> &'static str {
        "users"
    }

    fn reach(&self, request: &AuthRequest) -> Reach {
        match request.username {
            Some(_) => Reach::Waits,
            None => Reach::Beyond,
        }
    }

    fn judge(&self, request: &AuthRequest) -> Judgement {
        self.order.lock().unwrap().push(request.attempt);
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.answers.recv().unwrap()
    }
}

struct World {
    authority: Arc<Authority>,
    gate: Gate,
    source: Arc<Hand>,
    say: Sender<Judgement>,
    heard: Receiver<Heard>,
}

fn options() -> Options {
    Options {
        doors: vec![Door::Inherit, Door::Required, Door::Open],
        chain: vec!["users".into()],
        anonymous: Anonymous::Loopback,
        threads: 2,
        waiting_max: 8,
        deadline: PATIENCE,
        memo_life: Duration::from_secs(60),
        memo_entries_max: 100,
        pace: PaceOptions {
            failures_max: 3,
            connects_max: 0,
            window: PATIENCE,
            hold: PATIENCE,
        },
    }
}

fn world(options: Options) -> World {
    let (tell, heard) = unbounded();
    let (say, answers) = unbounded();
    let source = Arc::new(Hand {
        asked: AtomicUsize::new(0),
        order: Mutex::default(),
        answers,
    });
    let bans = Bans::open(std::path::Path::new("/nowhere")).unwrap();
    let authority = Authority::start(options, &[1; 32], bans, Box::new(Post(tell))).unwrap();
    authority.set_source(source.clone());
    World {
        gate: authority.gate(ShardId(0)),
        authority,
        source,
        say,
        heard,
    }
}

impl World {
    fn put(&mut self, mut request: AuthRequest, attempt: u32) {
        request.attempt = attempt;
        assert_eq!(self.gate.ask(&request), Verdict::Pending);
        self.gate.put(request).unwrap();
    }

    fn hear(&self) -> Heard {
        self.heard.recv_timeout(PATIENCE).unwrap()
    }

    /// Waits until a source was asked so often.
    fn wait_asked(&self, times: usize) {
        let until = Instant::now() + PATIENCE;
        while self.source.asked.load(Ordering::SeqCst) < times {
            assert!(Instant::now() < until, "the source is not asked");
            std::thread::yield_now();
        }
    }
}

fn allow() -> Judgement {
    Judgement::Allow(Grant::default(), Remember::Password(Scope::default()))
}

/// What the gate says of somebody whom the source "users" let in: it is the one that vouches.
fn admitted() -> Verdict {
    Verdict::Allow(Grant {
        voucher: Voucher {
            source: number_of("users"),
            ..Voucher::default()
        },
        ..Grant::default()
    })
}

#[test]
fn a_right_password_is_asked_for_once() {
    let mut world = world(options());
    world.say.send(allow()).unwrap();
    world.put(question("u", "p", "c"), 1);
    assert_eq!(world.hear(), Heard::Verdict(1, admitted()));
    assert_eq!(world.gate.ask(&question("u", "p", "c")), admitted());
    assert_eq!(world.gate.ask(&question("u", "q", "c")), Verdict::Pending);
    world.authority.changed(Revision::Recheck(Whom::user("u")));
    assert!(matches!(world.hear(), Heard::Revision(_)));
    assert_eq!(world.gate.ask(&question("u", "p", "c")), Verdict::Pending);
    assert_eq!(world.source.asked.load(Ordering::SeqCst), 1);
}

#[test]
fn questions_of_one_user_are_one() {
    let mut world = world(options());
    world.put(question("u", "p", "c0"), 0);
    world.wait_asked(1);
    for attempt in 1..8 {
        world.put(question("u", "p", &format!("c{attempt}")), attempt);
    }
    assert_eq!(world.authority.waiting(), 8);
    world.say.send(allow()).unwrap();
    let mut heard: Vec<_> = (0..8)
        .map(|_| match world.hear() {
            Heard::Verdict(attempt, verdict) if verdict == admitted() => attempt,
            other => panic!("{other:?}"),
        })
        .collect();
    heard.sort();
    assert_eq!(heard, (0..8).collect::<Vec<_>>());
    assert_eq!(world.source.asked.load(Ordering::SeqCst), 1);
}

#[test]
fn what_holds_for_one_client_is_asked_for_each() {
    let mut world = world(options());
    world.put(question("u", "p", "c0"), 0);
    world.wait_asked(1);
    for attempt in 1..4 {
        world.put(question("u", "p", &format!("c{attempt}")), attempt);
    }
    for _ in 0..4 {
        let remember = Remember::Password(Scope::of(true, false));
        world
            .say
            .send(Judgement::Allow(Grant::default(), remember))
            .unwrap();
    }
    for _ in 0..4 {
        assert!(matches!(world.hear(), Heard::Verdict(_, Verdict::Allow(_))));
    }
    assert_eq!(world.source.asked.load(Ordering::SeqCst), 4);
}

#[test]
fn an_answer_that_a_change_has_overtaken_is_asked_for_anew() {
    let mut world = world(options());
    world.put(question("u", "p", "c"), 1);
    world.wait_asked(1);
    let kick = Revision::Kick(Whom::user("u"), ReasonCode::NotAuthorized);
    world.authority.changed(kick);
    assert!(matches!(world.hear(), Heard::Revision(_)));
    world.say.send(allow()).unwrap();
    world
        .say
        .send(Judgement::Deny(ReasonCode::NotAuthorized))
        .unwrap();
    let refused = Verdict::Refuse(ReasonCode::NotAuthorized);
    assert_eq!(world.hear(), Heard::Verdict(1, refused));
    assert_eq!(world.gate.ask(&question("u", "p", "c")), Verdict::Pending);
}

#[test]
fn a_full_queue_says_so_at_once() {
    let mut world = world(options());
    for attempt in 0..8 {
        world.put(question(&attempt.to_string(), "p", "c"), attempt);
    }
    let refused = world.gate.put(question("u", "p", "c"));
    assert_eq!(refused, Err(ReasonCode::ServerBusy));
    assert!(world.authority.is_strained());
    for _ in 0..8 {
        world.say.send(allow()).unwrap();
        world.hear();
    }
    let until = Instant::now() + PATIENCE;
    while world.authority.waiting() > 0 {
        assert!(Instant::now() < until, "questions are left");
        std::thread::yield_now();
    }
    assert!(!world.authority.is_strained());
}

#[test]
fn whoever_waited_for_half_of_the_time_is_a_reason_to_let_in_fewer() {
    let deadline = Duration::from_secs(2);
    let mut world = world(Options {
        deadline,
        threads: 1,
        ..options()
    });
    world.put(question("a", "p", "c"), 1);
    world.wait_asked(1);
    world.put(question("b", "p", "c"), 2);
    assert!(!world.authority.is_strained(), "it only begins to wait");
    let begun = Instant::now();
    while begun.elapsed() < deadline / 2 {
        std::thread::yield_now();
    }
    world.say.send(allow()).unwrap();
    world.wait_asked(2);
    assert!(world.authority.is_strained());
    world.say.send(allow()).unwrap();
    world.put(question("c", "p", "c"), 3);
    world.wait_asked(3);
    assert!(!world.authority.is_strained(), "the line has gone");
    world.say.send(allow()).unwrap();
}

#[test]
fn a_source_that_is_down_is_no_reason_to_doubt_a_password() {
    let mut world = world(options());
    world.say.send(allow()).unwrap();
    world.put(question("known", "p", "c"), 1);
    world.hear();
    world
        .say
        .send(Judgement::Unavailable("refused".into()))
        .unwrap();
    world.put(question("u", "p", "c"), 2);
    let unavailable = Verdict::Refuse(ReasonCode::ServerUnavailable);
    assert_eq!(world.hear(), Heard::Verdict(2, unavailable));
    assert!(world.authority.is_strained());
    assert_eq!(world.gate.ask(&question("known", "p", "c")), admitted());
}

#[test]
fn what_may_have_changed_is_asked_and_stands_in_for_no_answer() {
    let mut world = world(options());
    let ear = Ear::sharp();
    let heard = || {
        let remember = Remember::WhileHeard(Scope::default(), ear.clone());
        Judgement::Allow(Grant::default(), remember)
    };
    for (attempt, user) in [(1, "u"), (2, "v")] {
        world.say.send(heard()).unwrap();
        world.put(question(user, "p", "c"), attempt);
        assert_eq!(world.hear(), Heard::Verdict(attempt, admitted()));
    }
    ear.end();
    assert_eq!(world.gate.ask(&question("u", "p", "c")), admitted());
    world.authority.hear(News::Missed {
        ear: ear.clone(),
        clients_too: true,
    });
    ear.begin();
    let everybody = Revision::Recheck(Whom::everybody());
    assert_eq!(world.hear(), Heard::Revision(Arc::new(everybody)));
    let no_answer = || Judgement::Unavailable("refused".into());
    world.say.send(no_answer()).unwrap();
    world.put(question("u", "p", "c"), 3);
    assert_eq!(world.hear(), Heard::Verdict(3, admitted()));
    let bad = ReasonCode::BadUserNameOrPassword;
    world.say.send(Judgement::Deny(bad)).unwrap();
    world.put(question("v", "p", "c"), 4);
    assert_eq!(world.hear(), Heard::Verdict(4, Verdict::Refuse(bad)));
    // From then on it is not the password any more.
    world.say.send(no_answer()).unwrap();
    world.put(question("v", "p", "c"), 5);
    let unavailable = Verdict::Refuse(ReasonCode::ServerUnavailable);
    assert_eq!(world.hear(), Heard::Verdict(5, unavailable));
    world.say.send(heard()).unwrap();
    world.put(question("u", "p", "c"), 6);
    assert_eq!(world.hear(), Heard::Verdict(6, admitted()));
    assert_eq!(world.gate.ask(&question("u", "p", "c")), admitted());
}

#[test]
fn who_shows_no_password_does_not_stand_in_line() {
    let mut world = world(Options {
        anonymous: Anonymous::Everywhere,
        ..options()
    });
    for attempt in 0..4 {
        world.put(question(&attempt.to_string(), "p", "c"), attempt);
    }
    world.wait_asked(2);
    let mut asked = question("", "", "c");
    (asked.username, asked.password) = (None, None);
    let anonymous = Verdict::Allow(Grant::anonymous());
    assert_eq!(world.gate.ask(&asked), anonymous);
    asked.username = Some("u".into());
    assert_eq!(world.gate.ask(&asked), Verdict::Pending);
    assert_eq!(world.source.asked.load(Ordering::SeqCst), 2);
    world.say.send(allow()).unwrap();
}

#[test]
fn a_guesser_is_held_off_and_a_remembered_password_is_not() {
    let mut world = world(options());
    world.say.send(allow()).unwrap();
    world.put(question("u", "right", "c"), 0);
    world.hear();
    let denied = ReasonCode::BadUserNameOrPassword;
    for attempt in 1..5 {
        world.say.send(Judgement::Deny(denied)).unwrap();
        world.put(question("u", &attempt.to_string(), "c"), attempt);
        assert_eq!(
            world.hear(),
            Heard::Verdict(attempt, Verdict::Refuse(denied))
        );
    }
    let held = Verdict::Refuse(ReasonCode::ConnectionRateExceeded);
    assert_eq!(world.gate.ask(&question("u", "x", "c")), held);
    assert_eq!(world.gate.ask(&question("u", "right", "c")), admitted());
    assert_eq!(world.gate.ask(&question("v", "x", "c")), Verdict::Pending);
}

#[test]
fn without_sources_everybody_is_anonymous_and_with_one_nobody() {
    let world = world(options());
    let mut local = question("u", "p", "c");
    local.peer.address = "127.0.0.1:1".parse().unwrap();
    let unknown = |request: &AuthRequest| world.authority.unknown(request);
    let bad = Verdict::Refuse(ReasonCode::BadUserNameOrPassword);
    assert_eq!(unknown(&local), bad);
    local.username = None;
    assert_eq!(unknown(&local), bad);
    world.authority.configure(Options {
        anonymous: Anonymous::Everywhere,
        ..options()
    });
    assert_eq!(unknown(&local), Verdict::Allow(Grant::anonymous()));
    local.username = Some("u".into());
    assert_eq!(unknown(&local), bad);
    world.authority.remove_source("users");
    assert_eq!(unknown(&local), Verdict::Allow(Grant::anonymous()));
    world.authority.configure(options());
    let refused = Verdict::Refuse(ReasonCode::NotAuthorized);
    assert_eq!(unknown(&question("u", "p", "c")), refused);
}

#[test]
fn a_listener_may_be_stricter_or_open() {
    let mut world = world(options());
    let mut asked = question("u", "p", "c");
    asked.peer.address = "127.0.0.1:1".parse().unwrap();
    asked.peer.listener = 2;
    let anonymous = Verdict::Allow(Grant::anonymous());
    assert_eq!(world.gate.ask(&asked), anonymous);
    // What is let in there is not remembered for elsewhere.
    asked.peer.listener = 0;
    assert_eq!(world.gate.ask(&asked), Verdict::Pending);
    // Without any source everybody of this machine is anonymous, but for where it is required.
    world.authority.remove_source("users");
    assert_eq!(world.gate.ask(&asked), anonymous);
    asked.peer.listener = 1;
    let refused = Verdict::Refuse(ReasonCode::BadUserNameOrPassword);
    assert_eq!(world.gate.ask(&asked), refused);
    asked.username = None;
    assert_eq!(world.gate.ask(&asked), refused);
}

fn recheck(attempt: u32) -> AuthRequest {
    let mut asked = question("u", "p", "c");
    (asked.attempt, asked.step, asked.password) = (attempt, AuthStep::Recheck, None);
    asked.voucher.source = number_of("users");
    asked
}

#[test]
fn who_is_in_is_told_of_when_its_turn_comes_too_late() {
    let mut options = options();
    options.deadline = Duration::ZERO;
    let world = world(options);
    world.gate.put(recheck(1)).unwrap();
    let busy = Verdict::Refuse(ReasonCode::ServerBusy);
    assert_eq!(world.hear(), Heard::Verdict(1, busy));
    // Nobody waits for this one, whose shard has answered by then.
    world.gate.put(question("u", "p", "c")).unwrap();
    world.gate.put(recheck(2)).unwrap();
    let busy = Verdict::Refuse(ReasonCode::ServerBusy);
    assert_eq!(world.hear(), Heard::Verdict(2, busy));
}

#[test]
fn many_who_are_in_do_not_hold_up_who_comes() {
    let mut options = options();
    options.threads = 2;
    let mut world = world(options);
    // More than there are threads, and than those who want to come in may wait.
    for attempt in 0..20 {
        world.gate.put(recheck(attempt)).unwrap();
    }
    world.wait_asked(2);
    world.put(question("v", "p", "c"), 100);
    loop {
        world.say.send(allow()).unwrap();
        if matches!(world.hear(), Heard::Verdict(100, _)) {
            break;
        }
    }
    // Who is answered first is up to the system, who is asked about is not: two were being asked
    // about, and each thread takes from both lines in turn.
    let order = world.source.order.lock().unwrap();
    let before = order.iter().position(|&attempt| attempt == 100);
    assert!(before.is_some_and(|before| before <= 6), "{order:?}");
}

#[test]
fn who_cannot_be_asked_about_stays() {
    let world = world(options());
    let mut asked = recheck(1);
    asked.voucher.source = number_of("jwt");
    world.gate.put(asked).unwrap();
    assert_eq!(world.hear(), Heard::Verdict(1, Verdict::Stay));
}
