//! From sources to settings: defaults, file, environment, flags, then what must fit together.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::choice::ClientCertificates;
use super::error::{Error, Errors, Origin};
use super::file::{self, Content, Entry};
use super::keys::{KEYS, Key, LISTENER_KEYS};
use super::listen::ListenUrl;
use super::settings::{Listener, Settings};
use super::{env, nearest, unit};
use crate::limits::LISTENERS_MAX;

/// Looked for in this order when no file is named.
const PLACES: [&str; 2] = ["etc/ringmq.toml", "/etc/ringmq/ringmq.toml"];

/// What the flags of the command line say.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    pub config: Option<PathBuf>,
    pub data: Option<PathBuf>,
    /// Replaces the configured listeners when not empty.
    pub listen: Vec<String>,
    pub shards: Option<String>,
    pub cpus: Option<String>,
    pub auth_threads: Option<String>,
    pub log: Option<String>,
}

/// Everything that settings are made from; kept, so that a reload reads the same again.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    pub overrides: Overrides,
    /// The environment as it was when the process started.
    pub variables: Vec<(String, String)>,
}

/// Where the file's part came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    File(PathBuf),
    /// No file was named or found.
    Embedded,
}

#[derive(Debug, Clone)]
pub struct Loaded {
    pub settings: Settings,
    pub source: Source,
}

impl Overrides {
    /// With paths that mean the same from whichever working directory.
    pub fn absolute(mut self) -> Self {
        for path in [&mut self.config, &mut self.data].into_iter().flatten() {
            if let Ok(absolute) = std::path::absolute(&*path) {
                *path = absolute;
            }
        }
        self
    }

    /// The flags that say the same, from whichever working directory.
    pub fn arguments(&self) -> Vec<String> {
        let absolute = self.clone().absolute();
        let path = |path: Option<PathBuf>| path.map(|path| path.display().to_string());
        let single = [
            ("--config", path(absolute.config)),
            ("--data", path(absolute.data)),
            ("--shards", self.shards.clone()),
            ("--cpus", self.cpus.clone()),
            ("--auth-threads", self.auth_threads.clone()),
            ("--log", self.log.clone()),
        ];
        let single = single
            .into_iter()
            .filter_map(|(flag, text)| Some((flag, text?)));
        let listen = self.listen.iter().map(|url| ("--listen", url.clone()));
        single
            .chain(listen)
            .flat_map(|(flag, text)| [flag.to_string(), text])
            .collect()
    }
}

impl Sources {
    /// The flags given, and this process's environment.
    pub fn of_process(overrides: Overrides) -> Self {
        let unicode = |(name, text): (OsString, OsString)| {
            Some((name.into_string().ok()?, text.into_string().ok()?))
        };
        Self {
            overrides,
            variables: std::env::vars_os().filter_map(unicode).collect(),
        }
    }

    /// The variables that settings are made from, so that another process can be given the same.
    pub fn carried(&self) -> Vec<(String, String)> {
        let variables = self.variables.iter();
        variables
            .filter(|(name, _)| env::counts(name))
            .cloned()
            .collect()
    }

    /// Reads everything and checks everything.
    ///
    /// # Errors
    /// All mistakes found, each with its place.
    pub fn load(&self) -> Result<Loaded, Errors> {
        let source = self.source();
        let settings = self.read(&source).finish(&self.variables)?;
        Ok(Loaded { settings, source })
    }

    /// The data folder alone, as far as it can be told whatever else is wrong: a node that runs
    /// can be found and stopped although its file was broken since.
    pub fn data_dir(&self) -> PathBuf {
        let mut builder = self.read(&self.source());
        builder.settle_data_dir(&self.variables);
        builder.settings.node.data_dir
    }

    fn read(&self, source: &Source) -> Builder {
        let mut errors = Vec::new();
        let mut content = Content::default();
        if let Source::File(path) = source {
            match std::fs::read_to_string(path) {
                Ok(text) => content = file::parse(path, &text, &mut errors),
                Err(error) => errors.push(unreadable(path, &error)),
            }
        }
        let mut builder = Builder {
            errors,
            ..Builder::default()
        };
        content
            .entries
            .into_iter()
            .for_each(|entry| builder.set(entry));
        builder.listeners(content.listeners);
        env::entries(&self.variables, &mut builder.errors)
            .into_iter()
            .for_each(|entry| builder.set(entry));
        self.apply_listen(&mut builder);
        self.flags()
            .into_iter()
            .for_each(|entry| builder.set(entry));
        builder
    }

    /// The file that [`Self::load`] reads now.
    pub fn source(&self) -> Source {
        let named = self.overrides.config.clone();
        let named = named.or_else(|| env::find(&self.variables, env::CONFIG).map(PathBuf::from));
        let found = || PLACES.iter().map(PathBuf::from).find(|path| path.is_file());
        named.or_else(found).map_or(Source::Embedded, Source::File)
    }

    fn flags(&self) -> Vec<Entry> {
        let flags = &self.overrides;
        let data = flags.data.as_ref().map(|path| path.display().to_string());
        [
            ("node", "data_dir", data.as_ref(), "--data"),
            ("node", "shards", flags.shards.as_ref(), "--shards"),
            ("node", "cpus", flags.cpus.as_ref(), "--cpus"),
            (
                "auth",
                "threads",
                flags.auth_threads.as_ref(),
                "--auth-threads",
            ),
            ("node", "log_level", flags.log.as_ref(), "--log"),
        ]
        .into_iter()
        .filter_map(|(section, name, text, flag)| {
            Some(Entry {
                section: section.into(),
                name: name.into(),
                text: text?.clone(),
                origin: Origin::Flag(flag),
            })
        })
        .collect()
    }

    /// Flags replace the listeners of the environment, which replace those of the file.
    fn apply_listen(&self, builder: &mut Builder) {
        let (urls, origin) = if self.overrides.listen.is_empty() {
            (
                env::listen(&self.variables),
                Origin::Environment(env::LISTEN.into()),
            )
        } else {
            (self.overrides.listen.clone(), Origin::Flag("--listen"))
        };
        if urls.is_empty() {
            return;
        }
        let mut listeners = Vec::new();
        for url in urls {
            match url.parse::<ListenUrl>() {
                Ok(url) => listeners.push((Listener::at(url), origin.clone())),
                Err(message) => builder.errors.push(Error::new(origin.clone(), message)),
            }
        }
        builder.listeners = Some(listeners);
    }
}

impl Source {
    /// The file, from the root.
    pub fn file(&self) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(std::path::absolute(path).unwrap_or_else(|_| path.clone())),
            Self::Embedded => None,
        }
    }
}

impl Loaded {
    /// Where the files of plug-ins are: as configured, else beside the file that was read, else
    /// where a file would be looked for.
    pub fn plugins_dir(&self) -> PathBuf {
        let beside = |file: &Path| file.with_file_name("plugins");
        let configured = &self.settings.auth.plugins_dir;
        let folder = match &self.source {
            _ if !configured.as_os_str().is_empty() => configured.clone(),
            Source::File(path) => beside(path),
            Source::Embedded => PLACES
                .map(|place| beside(Path::new(place)))
                .into_iter()
                .find(|folder| folder.is_dir())
                .unwrap_or_else(|| beside(Path::new(PLACES[0]))),
        };
        std::path::absolute(&folder).unwrap_or(folder)
    }

    /// A warning of rules that lie beside the file that was read and are not read themselves:
    /// emqttd reads them without being told to, and so whoever put them there may expect it.
    pub fn unread_rules(&self) -> Option<String> {
        let Source::File(path) = &self.source else {
            return None;
        };
        let rules = path.with_file_name("acl.conf");
        let is_unread = self.settings.auth.acl_file.as_os_str().is_empty() && rules.is_file();
        let rules = rules.display();
        is_unread.then(|| format!("{rules} is not read: auth.acl_file names no file"))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Embedded => write!(f, "built-in defaults (no {})", PLACES.join(", no ")),
        }
    }
}

/// Settings while they are put together, with the place of each key that was set.
#[derive(Default)]
struct Builder {
    settings: Settings,
    /// Those of the file, or those that replace them; none: the default one.
    listeners: Option<Vec<(Listener, Origin)>>,
    origins: HashMap<String, Origin>,
    errors: Vec<Error>,
}

impl Builder {
    fn set(&mut self, entry: Entry) {
        let known = |key: &&Key<Settings>| key.section == entry.section && key.name == entry.name;
        let message = match KEYS.iter().find(known) {
            Some(key) => match key.set(&mut self.settings, &entry.text) {
                Ok(()) => {
                    self.origins.insert(key.path(), entry.origin);
                    return;
                }
                Err(message) => format!("{}: {message}", key.path()),
            },
            None => {
                let nearest = nearest::key(&entry.section, &entry.name);
                let written = format!("{}.{}", entry.section, entry.name);
                format!("unknown key `{written}`; the nearest is `{nearest}`")
            }
        };
        self.errors.push(Error::new(entry.origin, message));
    }

    fn listeners(&mut self, listeners: Vec<(Origin, Vec<Entry>)>) {
        for (origin, entries) in listeners {
            let mut listener = Listener::preset();
            for entry in entries {
                let key = LISTENER_KEYS.iter().find(|key| key.name == entry.name);
                let message = match key {
                    Some(key) => match key.set(&mut listener, &entry.text) {
                        Ok(()) => continue,
                        Err(message) => format!("listener.{}: {message}", entry.name),
                    },
                    None => {
                        let nearest = nearest::listener_key(&entry.name);
                        let name = &entry.name;
                        format!(
                            "unknown key `listener.{name}`; the nearest is `listener.{nearest}`"
                        )
                    }
                };
                self.errors.push(Error::new(entry.origin, message));
            }
            self.listeners
                .get_or_insert_default()
                .push((listener, origin));
        }
    }

    fn finish(mut self, variables: &[(String, String)]) -> Result<Settings, Errors> {
        let listeners = self.listeners.take();
        if let Some(listeners) = &listeners {
            self.check_listeners(listeners);
        }
        if let Some(listeners) = listeners {
            self.settings.listeners = listeners
                .into_iter()
                .map(|(listener, _)| listener)
                .collect();
        }
        self.check_relations();
        self.check_tls();
        self.settle_data_dir(variables);
        if self.errors.is_empty() {
            return Ok(self.settings);
        }
        // The table of a file comes sorted by name; a reader goes by line.
        self.errors.sort_by_key(|error| match error.origin {
            Origin::File { line, .. } => line,
            _ => usize::MAX,
        });
        Err(Errors(self.errors))
    }

    fn settle_data_dir(&mut self, variables: &[(String, String)]) {
        let data_dir = &mut self.settings.node.data_dir;
        if data_dir.as_os_str().is_empty() {
            *data_dir = default_data_dir(variables);
        }
        if let Ok(absolute) = std::path::absolute(&*data_dir) {
            *data_dir = absolute;
        }
    }

    fn check_listeners(&mut self, listeners: &[(Listener, Origin)]) {
        if listeners.len() > LISTENERS_MAX {
            let origin = listeners[LISTENERS_MAX].1.clone();
            self.errors.push(Error::new(
                origin,
                format!("more than {LISTENERS_MAX} listeners"),
            ));
        }
        for (index, (listener, origin)) in listeners.iter().enumerate() {
            let url = &listener.url;
            let mut missing = Vec::new();
            let is_unix = url.inet().is_none();
            if listener.proxy_protocol && listener.trusted_proxies.is_empty() && !is_unix {
                missing.push(format!(
                    "{url}: listener.proxy_protocol needs listener.trusted_proxies: \
                     whose PROXY headers are believed"
                ));
            }
            let picks_port = url.inet().is_some_and(|address| address.port() == 0);
            if !picks_port
                && listeners[..index]
                    .iter()
                    .any(|(other, _)| other.url == *url)
            {
                missing.push(format!("{url} is listened on twice"));
            }
            let errors = missing
                .into_iter()
                .map(|message| Error::new(origin.clone(), message));
            self.errors.extend(errors);
        }
    }

    /// What can be seen to be wrong without reading the files.
    fn check_tls(&mut self) {
        let tls = &self.settings.tls;
        let mut wrong = Vec::new();
        let mut check = |place: &str, certificates: usize, keys: usize| {
            if keys > 0 && keys != certificates {
                wrong.push(format!(
                    "{place}.private_keys names {keys} files and {place}.certificates \
                     {certificates}: one key for each, or none where they are in the same files"
                ));
            }
        };
        check("tls", tls.certificates.len(), tls.private_keys.len());
        for listener in &self.settings.listeners {
            let keys = listener.private_keys.len();
            check("listener", listener.certificates.len(), keys);
        }
        for listener in self
            .settings
            .listeners
            .iter()
            .filter(|l| l.url.scheme.is_tls())
        {
            let ca = [&listener.client_ca, &tls.client_ca];
            let has_ca = ca.iter().any(|path| !path.as_os_str().is_empty());
            if tls.clients_of(listener) != ClientCertificates::None && !has_ca {
                let url = &listener.url;
                wrong.push(format!(
                    "{url}: client certificates are asked for, but no client_ca says who issues \
                     them"
                ));
            }
        }
        for message in wrong {
            let place = self.origins.get("tls.private_keys");
            let place = place.or_else(|| self.origins.get("tls.client_certificates"));
            self.errors.push(Error::new(
                place.cloned().unwrap_or(Origin::Default),
                message,
            ));
        }
    }

    /// A packet of the largest size accepted must fit wherever it may have to wait.
    fn check_relations(&mut self) {
        let limits = &self.settings.limits;
        let packet = self.settings.mqtt.packet_bytes_max;
        let mut wrong = Vec::new();
        for (path, bytes) in [
            ("limits.queue_bytes_max", limits.queue_bytes_max),
            ("limits.outbox_bytes_max", limits.outbox_bytes_max),
        ] {
            if bytes < packet {
                let bytes = unit::format_size(bytes as u64);
                let packet = unit::format_size(packet as u64);
                wrong.push((
                    path,
                    format!("{path} ({bytes}) is less than mqtt.packet_bytes_max ({packet})"),
                ));
            }
        }
        for (path, message) in wrong {
            let place = self
                .origins
                .get(path)
                .or_else(|| self.origins.get("mqtt.packet_bytes_max"));
            self.errors.push(Error::new(
                place.cloned().unwrap_or(Origin::Default),
                message,
            ));
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    let reason = match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".into(),
        io::ErrorKind::InvalidData => "is not UTF-8".into(),
        _ => format!("cannot be read: {error}"),
    };
    Error::new(
        Origin::File {
            path: path.into(),
            line: 1,
        },
        reason,
    )
}

/// Where the data goes when nobody says: a service manager's folder, the system's for root, else
/// the user's own, so that `start` and `status` agree from any working directory.
fn default_data_dir(variables: &[(String, String)]) -> PathBuf {
    let set = |name| env::find(variables, name).filter(|path| path.starts_with('/'));
    if let Some(path) = set("STATE_DIRECTORY") {
        return path.split(':').next().unwrap_or(path).into();
    }
    if rustix::process::geteuid().is_root() {
        return "/var/lib/ringmq".into();
    }
    if let Some(path) = set("XDG_STATE_HOME") {
        return Path::new(path).join("ringmq");
    }
    match set("HOME") {
        Some(home) => Path::new(home).join(".local/state/ringmq"),
        None => "ringmq-data".into(),
    }
}
