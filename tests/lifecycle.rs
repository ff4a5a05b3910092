//! start, status, ctl, reload, restart, stop, and signals, with a node that only pretends: what
//! is tested is the process around it, the failures included that a real node has to be forced
//! to. The test runs itself as `ringmq`, hence a `main` instead of `#[test]` functions.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringmq::config::Settings;
use ringmq::control::{
    ClientDetail, ClientInfo, ListenerStatus, Node, NodeStatus, Page, Plugin, Stopped, Subscription,
};

/// What the pretended node does, for the child process.
const BEHAVIOUR: &str = "PRETENDED_NODE";
const VERSION: &str = env!("CARGO_PKG_VERSION");

type Case = (&'static str, fn(&Home));

const CASES: &[Case] = &[
    ("start_status_stop", start_status_stop),
    ("failures_of_start_are_told", failures_of_start_are_told),
    ("ctl", ctl),
    ("plugins", plugins),
    ("reload", reload),
    ("restart_keeps_flags", restart_keeps_flags),
    ("foreground_and_signals", foreground_and_signals),
    (
        "a_second_interrupt_ends_at_once",
        a_second_interrupt_ends_at_once,
    ),
    ("an_overdue_stop_is_told", an_overdue_stop_is_told),
    (
        "leftovers_of_a_killed_process_do_no_harm",
        leftovers_do_no_harm,
    ),
    ("the_control_socket_is_robust", the_control_socket_is_robust),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if std::env::var_os(BEHAVIOUR).is_some() {
        return ringmq::cli::main_with(pretend);
    }
    if arguments.iter().any(|argument| argument == "--list") {
        let is_ignored = arguments.iter().any(|argument| argument == "--ignored");
        CASES
            .iter()
            .filter(|_| !is_ignored)
            .for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let wanted = arguments
        .iter()
        .find(|argument| !argument.starts_with("--"));
    for (name, case) in CASES {
        if wanted.is_none_or(|wanted| name.contains(wanted.as_str())) {
            case(&Home::new());
            println!("test {name} ... ok");
        }
    }
    ExitCode::SUCCESS
}

/// A node with two clients that does nothing but answer.
struct Pretended {
    behaviour: String,
    settings: Settings,
}

fn pretend(settings: Settings) -> io::Result<Arc<dyn Node>> {
    let behaviour = std::env::var(BEHAVIOUR).unwrap_or_default();
    match behaviour.as_str() {
        "fails" => Err(io::Error::other("port 1883 is taken")),
        "panics" => panic!("the shards fell over"),
        _ => Ok(Arc::new(Pretended {
            behaviour,
            settings,
        })),
    }
}

impl Node for Pretended {
    fn status(&self) -> Result<NodeStatus, String> {
        let listener = |url: &dyn ToString| ListenerStatus {
            url: url.to_string(),
            ..Default::default()
        };
        Ok(NodeStatus {
            listeners: self
                .settings
                .listeners
                .iter()
                .map(|l| listener(&l.url))
                .collect(),
            connections_max: self.settings.limits.connections_max.into(),
            ..NodeStatus::default()
        })
    }

    fn reload(&self, settings: &Settings) -> Result<(), String> {
        match settings.mqtt.inflight_max {
            13 => Err("no shard likes 13".into()),
            _ => Ok(()),
        }
    }

    fn stop(&self, deadline: Duration) -> Stopped {
        if self.behaviour == "lingers" {
            std::thread::sleep(deadline);
            return Stopped {
                connections_left: 3,
                is_complete: false,
            };
        }
        Stopped {
            connections_left: 0,
            is_complete: true,
        }
    }

    fn plugins(&self) -> Result<Vec<Plugin>, String> {
        Ok(vec![Plugin {
            name: "emq_auth_pgsql".into(),
            description: "Users".into(),
            is_loaded: true,
            detail: Some("asleep".into()),
        }])
    }

    fn load_plugin(&self, name: &str) -> Result<Vec<String>, String> {
        match name {
            "odd" => Err("already_started".into()),
            _ => Ok(vec!["nobody answers".into()]),
        }
    }

    fn unload_plugin(&self, name: &str) -> Result<(), String> {
        match name {
            "odd" => Err("not_started".into()),
            _ => Ok(()),
        }
    }

    fn clients(&self, limit: usize, from: Option<&str>) -> Result<Page, String> {
        assert!(limit > 0);
        let client = |id: &str| ClientInfo {
            client_id: id.into(),
            is_connected: true,
            protocol: "5.0".into(),
            subscriptions: 1,
            ..ClientInfo::default()
        };
        // A page a client, to see that all pages are asked for.
        Ok(match from {
            None => Page {
                clients: vec![client("a")],
                next: Some("a".into()),
            },
            Some(_) => Page {
                clients: vec![client("b")],
                next: None,
            },
        })
    }

    fn client(&self, client_id: &str) -> Result<Option<ClientDetail>, String> {
        let client = ClientInfo {
            client_id: client_id.into(),
            ..ClientInfo::default()
        };
        let subscriptions = vec![Subscription {
            filter: "x/#".into(),
            qos: 1,
        }];
        Ok((client_id != "nobody").then_some(ClientDetail {
            client,
            subscriptions,
        }))
    }

    fn kick(&self, client_id: &str) -> Result<bool, String> {
        Ok(client_id == "a")
    }
}

/// A data folder of its own; what still runs in it at the end is killed.
struct Home(PathBuf);

impl Home {
    fn new() -> Self {
        let name = format!("ringmq-life-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("ringmq.toml"), "[node]\nstop_deadline_s = 1\n").unwrap();
        Self(path)
    }

    fn config(&self) -> PathBuf {
        self.0.join("ringmq.toml")
    }

    fn command(&self, behaviour: &str, words: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(words.split_whitespace());
        command
            .arg("--config")
            .arg(self.config())
            .arg("--data")
            .arg(&self.0);
        command
            .env(BEHAVIOUR, behaviour)
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, words: &str) -> Output {
        self.command("", words).output().unwrap()
    }

    /// The command's standard output; it must succeed.
    fn ok(&self, words: &str) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words}: {output:?}");
        text(&output.stdout)
    }

    /// Both outputs of a command that must end with status 1.
    fn not_ok(&self, words: &str) -> String {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(1), "{words}: {output:?}");
        text(&output.stdout) + &text(&output.stderr)
    }

    fn pid(&self) -> Option<u32> {
        ringmq::control::DataDir::new(&self.0).holder()
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid().unwrap() as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.0.join("ringmq.log")).unwrap_or_default()
    }

    fn wait_for_log(&self, part: &str) {
        wait(&format!("`{part}` in the log"), || {
            self.log().contains(part)
        });
    }

    fn foreground(&self, behaviour: &str) -> Child {
        let mut command = self.command(behaviour, "run --listen tcp://127.0.0.1:7");
        let log = fs::File::create(self.0.join("ringmq.log")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "listening on tcp://127.0.0.1:7\n", "{}", self.log());
        child
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.pid().is_some() {
            self.signal(rustix::process::Signal::KILL);
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn wait(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_true() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn start_status_stop(home: &Home) {
    assert_eq!(home.not_ok("status"), "ringmq is not running\n");
    assert_eq!(home.not_ok("stop"), "ringmq is not running\n");

    let said = home.ok("start --listen tcp://127.0.0.1:7 --listen tcp://127.0.0.1:8");
    assert_eq!(
        said,
        format!(
            "ringmq {VERSION} is started successfully!\n\
             listening on tcp://127.0.0.1:7\nlistening on tcp://127.0.0.1:8\n"
        )
    );
    let status = home.ok("status");
    let lines: Vec<_> = status.lines().collect();
    assert_eq!(lines[0], "Node 'ringmq@127.0.0.1' is started");
    assert_eq!(lines[1], format!("ringmq {VERSION} is running"));
    assert!(
        status.contains(&home.config().display().to_string()),
        "{status}"
    );
    assert!(home.ok("status --json").contains("\"uptime_s\": 0"));
    assert!(home.ok("ctl status").starts_with(&lines[..2].join("\n")));

    assert_eq!(home.not_ok("start"), "Node is already running!\n");
    let second = home.not_ok("run");
    assert!(
        second.contains(&format!("another broker (process {})", home.pid().unwrap())),
        "{second}"
    );

    // The daemon is a session of its own, and writes where it says.
    let pid = rustix::process::Pid::from_raw(home.pid().unwrap() as i32);
    assert_eq!(rustix::process::getsid(pid).ok(), pid);
    assert!(home.log().contains("open files: "), "{}", home.log());
    let mode = |name| {
        fs::metadata(home.0.join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode("control.sock"), 0o600);

    assert_eq!(home.ok("stop"), format!("ringmq {VERSION} is stopped\n"));
    assert_eq!(home.pid(), None);
    assert_eq!(home.not_ok("status"), "ringmq is not running\n");
    assert!(home.log().contains("stopped"));
}

fn failures_of_start_are_told(home: &Home) {
    for (behaviour, reason) in [
        ("fails", "ringmq could not start: port 1883 is taken"),
        ("panics", "the shards fell over"),
    ] {
        let output = home.command(behaviour, "start").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(
            said.starts_with("ringmq could not be started: the process ended"),
            "{said}"
        );
        assert!(said.contains(reason), "{said}");
        assert_eq!(home.pid(), None);
    }
    fs::write(home.config(), "[node]\nshard = 1\n").unwrap();
    let said = home.not_ok("start");
    let place = format!("{}:2: unknown key `node.shard`", home.config().display());
    assert!(said.starts_with(&place), "{said}");
    assert_eq!(home.not_ok("run"), said);
}

fn ctl(home: &Home) {
    home.ok("start");
    let clients = home.ok("ctl clients list");
    let ids: Vec<_> = clients
        .lines()
        .map(|line| line.split(',').next().unwrap())
        .collect();
    assert_eq!(ids, ["Client(a", "Client(b"]);
    assert!(home.ok("ctl clients show a").starts_with("Client(a, "));
    assert_eq!(
        home.not_ok("ctl clients show nobody"),
        "there is no client nobody\n"
    );
    assert_eq!(
        home.ok("ctl subscriptions list"),
        "a -> x/#: qos 1\nb -> x/#: qos 1\n"
    );
    assert_eq!(home.ok("ctl subscriptions show b"), "b -> x/#: qos 1\n");
    assert_eq!(home.ok("ctl clients kick a"), "ok\n");
    assert_eq!(
        home.not_ok("ctl clients kick b"),
        "client b is not connected\n"
    );
}

fn plugins(home: &Home) {
    home.ok("start");
    assert_eq!(
        home.ok("ctl plugins list"),
        format!(
            "Plugin(emq_auth_pgsql, version={VERSION}, description=Users, active=true, asleep)\n"
        )
    );
    assert_eq!(
        home.ok("ctl plugins load emqx-auth-pgsql"),
        "Start apps: ['emqx-auth-pgsql']\nPlugin emqx-auth-pgsql loaded successfully.\n\
         warning: nobody answers\n"
    );
    assert_eq!(
        home.not_ok("ctl plugins load odd"),
        "load plugin error: already_started\n"
    );
    assert_eq!(
        home.ok("ctl plugins unload emq_auth_pgsql"),
        "Plugin emq_auth_pgsql unloaded successfully.\n"
    );
    assert_eq!(
        home.not_ok("ctl plugins unload odd"),
        "unload plugin error: not_started\n"
    );
}

fn reload(home: &Home) {
    home.ok("start");
    assert_eq!(home.ok("ctl reload"), "nothing has changed\n");

    let write = |text: &str| fs::write(home.config(), text).unwrap();
    write("[node]\nstop_deadline_s = 2\nshards = 3\n[mqtt]\nqos_max = 1\n");
    let said = "node.stop_deadline_s: 1 -> 2\n\
                mqtt.qos_max: 2 -> 1 (for new connections)\n\
                node.shards: 0 -> 3 (needs a restart; not done)\n";
    assert_eq!(home.ok("ctl reload"), said);
    assert_eq!(
        home.ok("ctl reload"),
        "node.shards: 0 -> 3 (needs a restart; not done)\n"
    );

    // One mistake, and nothing of the file counts.
    write("[node]\nstop_deadline_s = 5\n[mqtt]\nqos_max = 3\n");
    let said = home.not_ok("ctl reload");
    assert!(
        said.contains(":4: mqtt.qos_max: 3 is out of range: 0 to 2\nnothing has changed"),
        "{said}"
    );
    write("[node]\nstop_deadline_s = 5\n[mqtt]\ninflight_max = 13\n");
    assert_eq!(
        home.not_ok("ctl reload"),
        "no shard likes 13\nnothing has changed\n"
    );

    write("[node]\nstop_deadline_s = 6\n");
    home.signal(rustix::process::Signal::HUP);
    home.wait_for_log("reloaded: node.stop_deadline_s: 2 -> 6");
    home.wait_for_log("reloaded: mqtt.qos_max: 1 -> 2 (for new connections)");
    write("[node\n");
    home.signal(rustix::process::Signal::HUP);
    home.wait_for_log("reload refused, nothing has changed");
    assert!(home.log().contains("ringmq.toml:1: "), "{}", home.log());
    // A broken file does not keep a running broker from being found and stopped.
    home.ok("status");
    home.ok("stop");
}

fn restart_keeps_flags(home: &Home) {
    home.ok("start --listen tcp://127.0.0.1:9 --log warn");
    let before = home.pid();
    let said = home.ok("restart --log info");
    assert!(
        said.ends_with("is started successfully!\nlistening on tcp://127.0.0.1:9\n"),
        "{said}"
    );
    assert!(home.pid().is_some() && home.pid() != before);

    let running = home.pid();
    fs::write(home.config(), "[nodes]\n").unwrap();
    let said = home.not_ok("restart");
    assert!(said.ends_with("nothing was stopped\n"), "{said}");
    assert_eq!(home.pid(), running);
    home.ok("stop");
    fs::write(home.config(), "").unwrap();
    assert!(home.ok("restart").contains("is started successfully!"));
}

fn foreground_and_signals(home: &Home) {
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let mut child = home.foreground("");
        home.signal(signal);
        assert!(child.wait().unwrap().success());
        assert!(!home.0.join("control.sock").exists());
    }
}

fn a_second_interrupt_ends_at_once(home: &Home) {
    fs::write(home.config(), "[node]\nstop_deadline_s = 60\n").unwrap();
    let mut child = home.foreground("lingers");
    home.signal(rustix::process::Signal::TERM);
    home.wait_for_log("stopping, within 60 s");
    assert!(home.ok("status").contains(" is stopping"));
    home.signal(rustix::process::Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

fn an_overdue_stop_is_told(home: &Home) {
    let mut child = home.foreground("lingers");
    let output = home.run("stop");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        text(&output.stdout),
        format!("ringmq {VERSION} is stopped\n")
    );
    let said = text(&output.stderr);
    let left = "stopped at its deadline of 1 s, with 3 connections still open";
    assert!(said.contains(left), "{said}");
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(
        home.log()
            .contains("stopped at the deadline, with 3 connections still open")
    );
    // The next one is not blamed for it.
    home.ok("start");
    assert!(home.run("stop").stderr.is_empty());
}

fn leftovers_do_no_harm(home: &Home) {
    home.ok("start");
    home.signal(rustix::process::Signal::KILL);
    wait("the end", || home.pid().is_none());
    assert!(home.0.join("control.sock").exists() && home.0.join("ringmq.pid").exists());
    assert_eq!(home.not_ok("status"), "ringmq is not running\n");
    assert_eq!(home.not_ok("stop"), "ringmq is not running\n");
    home.ok("start");
    home.ok("stop");
}

fn the_control_socket_is_robust(home: &Home) {
    home.ok("start");
    let socket = home.0.join("control.sock");
    let ask = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        let _ = stream.write_all(bytes);
        if bytes.ends_with(b"\n") {
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    assert!(
        ask(b"{\"request\":\"status\"}\n{\"request\":\"status\"}\n")
            .lines()
            .count()
            == 2
    );
    for (line, part) in [
        ("GET / HTTP/1.1\r\n", "not a request"),
        ("{\"request\":\"dance\"}\n", "unknown variant"),
        ("{\"request\":\"kick\"}\n", "client_id"),
        ("{\"request\":\"clients\",\"limit\":0}\n", "clients"),
    ] {
        let answer = ask(line.as_bytes());
        assert!(answer.contains(part), "{line}: {answer}");
    }
    // Too long, half a line, silence: the next one is served all the same.
    assert_eq!(ask(&[b'x'; 100_000]), "");
    let began = Instant::now();
    let silent = UnixStream::connect(&socket).unwrap();
    assert_eq!(ask(b"{\"request\""), "");
    home.ok("status");
    assert!(began.elapsed() < Duration::from_secs(8));
    drop(silent);
    home.ok("stop");
    refuses_a_foreign_socket(&home.0);
}

/// Something that listens but is no broker is told apart from nothing.
fn refuses_a_foreign_socket(folder: &Path) {
    let listener = UnixListener::bind(folder.join("control.sock")).unwrap();
    let answer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(b"220 mail\n");
    });
    let folder = ringmq::control::DataDir::new(folder);
    let mut client = ringmq::control::Client::connect(&folder).unwrap();
    assert!(client.request(&ringmq::control::Request::Status).is_err());
    answer.join().unwrap();
}
