//! Configuration as users meet it: what is wrong is told with file and line, and flags win over
//! the environment, which wins over the file, which wins over the defaults.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use ringmq::config::{AllowAnonymous, Loaded, LogLevel, Overrides, QueueDrop, Source, Sources};

/// A file of its own for each call, gone at the end.
struct File(PathBuf);

impl File {
    fn new(text: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ringmq-config-{}-{number}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn sources(&self) -> Sources {
        let overrides = Overrides {
            config: Some(self.0.clone()),
            ..Overrides::default()
        };
        Sources {
            overrides,
            variables: Vec::new(),
        }
    }

    /// What is wrong, a line for each mistake, with `FILE` for the path.
    fn mistakes(&self) -> String {
        let errors = self.sources().load().unwrap_err().to_string();
        errors.replace(&self.0.display().to_string(), "FILE")
    }

    fn load(&self) -> Loaded {
        self.sources().load().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, text)| (name.to_string(), text.to_string()))
        .collect()
}

#[test]
fn mistakes_are_told_with_file_line_and_nearest_key() {
    for (text, told) in MISTAKES {
        assert_eq!(File::new(text).mistakes(), *told, "{text}");
    }
}

const MISTAKES: &[(&str, &str)] = &[
    (
        "[mqtt]\n\npacket_byte_max = 1\n",
        "FILE:3: unknown key `mqtt.packet_byte_max`; the nearest is `mqtt.packet_bytes_max`",
    ),
    (
        "[mqtt]\nqueue_length_max = 1",
        "FILE:2: unknown key `mqtt.queue_length_max`; the nearest is `limits.queue_length_max`",
    ),
    (
        "# first\n[limit]\n",
        "FILE:2: unknown section `limit`; the nearest is `limits`",
    ),
    (
        "shards = 2\n",
        "FILE:1: unknown key `shards`; the nearest is `node.shards`",
    ),
    ("node = 2\n", "FILE:1: `node` is a section: write [node]"),
    (
        "[node]\nshards = 129\n",
        "FILE:2: node.shards: 129 is out of range: 1 to 128, or 0 (one for each CPU)",
    ),
    (
        "[node]\nshards = \"two\"\n",
        "FILE:2: node.shards: `two` is not a whole number",
    ),
    (
        "[node]\nshards = -1\n",
        "FILE:2: node.shards: `-1` is not a whole number",
    ),
    (
        "[node]\nshards = 1.5\n",
        "FILE:2: node.shards: `1.5` is not a whole number",
    ),
    (
        "[node]\nshards = { a = 1 }\n",
        "FILE:2: node.shards: a value is wanted, not a table",
    ),
    (
        "[mqtt]\npacket_bytes_max = \"1 mile\"\n",
        "FILE:2: mqtt.packet_bytes_max: `mile` is no unit of size: use B, KiB, MiB, GiB or TiB",
    ),
    (
        "[mqtt]\npacket_bytes_max = \"300MiB\"\n",
        "FILE:2: mqtt.packet_bytes_max: 300MiB is out of range: 1KiB to 268435455",
    ),
    (
        "[mqtt]\nconnect_timeout_s = \"1500ms\"\n",
        "FILE:2: mqtt.connect_timeout_s: 1500ms is not a whole number of seconds",
    ),
    (
        "[mqtt]\nretain_available = \"yes\"\n",
        "FILE:2: mqtt.retain_available: `yes` is neither true nor false",
    ),
    (
        "[node]\nlog_level = \"verbose\"\n",
        "FILE:2: node.log_level: `verbose` is none of off, error, warn, info, debug, trace",
    ),
    (
        "[node]\ncpus = [0, 0]\n",
        "FILE:2: node.cpus: CPU 0 is in the list twice",
    ),
    (
        "[node]\nname = \"ring mq\"\n",
        "FILE:2: node.name: `ring mq` is no node name: write name@host in letters, digits, \
             . _ -",
    ),
    (
        "[[listener]]\nurl = \"tcp://here:1883\"\n",
        "FILE:2: listener.url: `here` is no IP address (names are not looked up)",
    ),
    (
        "[[listener]]\nuri = \"tcp://:1883\"\n",
        "FILE:2: unknown key `listener.uri`; the nearest is `listener.url`",
    ),
    (
        "[listener]\nurl = \"tcp://:1\"\n",
        "FILE:1: a listener is written [[listener]]",
    ),
    (
        "[[listener]]\nproxy_protocol = true\n",
        "FILE:1: tcp://0.0.0.0:1883: listener.proxy_protocol needs listener.trusted_proxies: whose \
             PROXY headers are believed",
    ),
    (
        "[[listener]]\ntrusted_proxies = [\"10.0.0.0/33\"]\n",
        "FILE:2: listener.trusted_proxies: `10.0.0.0/33`: a prefix has at most 32 bits here",
    ),
    (
        "[[listener]]\nwebsocket_path = \"mqtt\"\n",
        "FILE:2: listener.websocket_path: `mqtt` is no path of a URL: write /mqtt",
    ),
    (
        "[tls]\nclient_certificates = \"required\"\n[[listener]]\nurl = \"tls://:1\"\n",
        "FILE:2: tls://0.0.0.0:1: client certificates are asked for, but no client_ca says who \
             issues them",
    ),
    (
        "[tls]\ncertificates = \"a.pem,b.pem\"\nprivate_keys = \"a.key\"\n",
        "FILE:3: tls.private_keys names 1 files and tls.certificates 2: one key for each, or none \
             where they are in the same files",
    ),
    (
        "[[listener]]\n[[listener]]\n",
        "FILE:2: tcp://0.0.0.0:1883 is listened on twice",
    ),
    (
        "[limits]\nqueue_bytes_max = \"64KiB\"\n",
        "FILE:2: limits.queue_bytes_max (64KiB) is less than mqtt.packet_bytes_max (1MiB)",
    ),
    (
        "[mqtt]\npacket_bytes_max = \"2MiB\"\n",
        "FILE:2: limits.outbox_bytes_max (1MiB) is less than mqtt.packet_bytes_max (2MiB)",
    ),
];

#[test]
fn every_mistake_is_told_in_the_order_of_lines() {
    let file = File::new("[sys]\npresense = true\n[auth]\nallow = true\n[node]\nshards = 999\n");
    let mistakes = file.mistakes();
    let lines: Vec<_> = mistakes
        .lines()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(lines, ["FILE:2:", "FILE:4:", "FILE:6:"]);
}

#[test]
fn syntax_errors_have_a_line() {
    for (text, line) in [
        ("[node\n", "FILE:1: "),
        ("[node]\nshards 2\n", "FILE:2: "),
        ("[node]\nshards = 1\nshards = 2\n", "FILE:3: "),
        ("[node]\nname = \"open\n", "FILE:2: "),
    ] {
        let mistakes = File::new(text).mistakes();
        assert!(mistakes.starts_with(line), "{text}: {mistakes}");
        assert!(
            mistakes.lines().all(|line| line.len() > "FILE:1: ".len()),
            "{mistakes}"
        );
    }
}

#[test]
fn a_named_file_that_is_not_there_is_a_mistake() {
    let overrides = Overrides {
        config: Some("no/such.toml".into()),
        ..Overrides::default()
    };
    let errors = Sources {
        overrides,
        variables: Vec::new(),
    }
    .load()
    .unwrap_err();
    assert_eq!(errors.to_string(), "no/such.toml:1: there is no such file");
}

#[test]
fn numbers_and_units_mean_the_same() {
    let file = File::new(
        "[mqtt]\npacket_bytes_max = 65536\nconnect_timeout_s = \"1m\"\n\
         session_expiry_max_s = \"never\"\n[limits]\nqueue_bytes_max = \"64KiB\"\n\
         outbox_bytes_max = 0x1_0000\nqueue_drop = \"newest\"\n[auth]\nallow_anonymous = true\n\
         [node]\ncpus = \"0-2,5\"\n",
    );
    let settings = file.load().settings;
    assert_eq!(settings.mqtt.packet_bytes_max, 65_536);
    assert_eq!(settings.mqtt.connect_timeout_s, 60);
    assert_eq!(settings.mqtt.session_expiry_max_s, u32::MAX);
    assert_eq!(settings.limits.queue_bytes_max, 65_536);
    assert_eq!(settings.limits.outbox_bytes_max, 65_536);
    assert_eq!(settings.limits.queue_drop, QueueDrop::Newest);
    assert_eq!(settings.auth.allow_anonymous, AllowAnonymous::Everybody);
    assert_eq!(settings.node.cpus, [0, 1, 2, 5]);
}

#[test]
fn flags_win_over_environment_over_file() {
    let file = File::new(
        "[node]\nshards = 2\nlog_level = \"error\"\nname = \"a@b\"\n\
         [[listener]]\nurl = \"tcp://127.0.0.1:1\"\n",
    );
    let mut sources = file.sources();
    let urls = |sources: &Sources| -> Vec<String> {
        let listeners = sources.load().unwrap().settings.listeners;
        listeners
            .iter()
            .map(|listener| listener.url.to_string())
            .collect()
    };
    assert_eq!(urls(&sources), ["tcp://127.0.0.1:1"]);

    sources.variables = variables(&[
        ("RINGMQ_NODE_SHARDS", "3"),
        ("RINGMQ_NODE_LOG_LEVEL", "warn"),
        ("RINGMQ_LISTEN", "tcp://127.0.0.1:2, tcp://127.0.0.1:3"),
        ("HOME", "/home/user"),
    ]);
    let settings = sources.load().unwrap().settings;
    assert_eq!(
        (settings.node.shards, settings.node.log_level),
        (3, LogLevel::Warn)
    );
    assert_eq!(settings.node.name, "a@b");
    assert_eq!(urls(&sources), ["tcp://127.0.0.1:2", "tcp://127.0.0.1:3"]);

    sources.overrides.shards = Some("4".into());
    sources.overrides.log = Some("debug".into());
    sources.overrides.cpus = Some("1".into());
    sources.overrides.data = Some("/data".into());
    sources.overrides.listen = vec!["tcp://127.0.0.1:0".into(), "tcp://127.0.0.1:0".into()];
    let loaded = sources.load().unwrap();
    assert_eq!(loaded.source, Source::File(file.0.clone()));
    let node = loaded.settings.node;
    assert_eq!(
        (node.shards, node.log_level, node.cpus),
        (4, LogLevel::Debug, vec![1])
    );
    assert_eq!(node.data_dir, PathBuf::from("/data"));
    assert_eq!(urls(&sources), ["tcp://127.0.0.1:0", "tcp://127.0.0.1:0"]);
}

#[test]
fn mistakes_of_environment_and_flags_are_told_by_name() {
    let file = File::new("");
    let mut sources = file.sources();
    sources.variables = variables(&[
        ("RINGMQ_NODE_SHARD", "3"),
        ("RINGMQ_SYS_PRESENCE", "perhaps"),
        ("RINGMQ_PORT_1883_TCP_ADDR", "10.0.0.7"),
        ("RINGMQ_SERVICE_HOST", "10.0.0.7"),
    ]);
    sources.overrides.shards = Some("many".into());
    sources.overrides.listen = vec!["8883".into()];
    let errors = sources.load().unwrap_err().to_string();
    let lines: Vec<_> = errors.lines().collect();
    assert_eq!(
        lines,
        [
            "RINGMQ_NODE_SHARD: no such variable; the nearest is RINGMQ_NODE_SHARDS",
            "RINGMQ_SYS_PRESENCE: sys.presence: `perhaps` is neither true nor false",
            "--listen: `8883` is no listener: write it as tcp://0.0.0.0:1883",
            "--shards: node.shards: `many` is not a whole number",
        ]
    );
}

#[test]
fn the_data_folder_has_a_place_without_being_told() {
    let file = File::new("");
    let mut sources = file.sources();
    sources.variables = variables(&[("STATE_DIRECTORY", "/var/lib/fleet:/x")]);
    let dir = |sources: &Sources| sources.load().unwrap().settings.node.data_dir;
    assert_eq!(dir(&sources), PathBuf::from("/var/lib/fleet"));
    sources.overrides.data = Some("relative".into());
    assert_eq!(
        dir(&sources),
        std::env::current_dir().unwrap().join("relative")
    );
}
