//! The keys of `auth_pgsql.conf`: emqttd's own, and some that it did not have.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::template::{Template, Variable};
use crate::auth::PasswordFormat;
use crate::config::Errors;
use crate::identity::plugin::file::{self, Key, boolean, number, seconds, word};

/// Connections that a broker may be told to hold.
const POOL_MAX: u32 = 256;
/// What the mirror reads when the file does not say: the tables of the tutorial.
const MIRROR_USERS: &str = "select username, password, salt, is_superuser from mqtt_user";
const MIRROR_ACL: &str = "select allow, ipaddr, username, clientid, access, topic from mqtt_acl \
                          order by id";

/// The tutorial's queries, of which those are the same for everybody.
const USER_QUERIES: [&str; 2] = [
    "select password from mqtt_user where username = $1",
    "select password, salt from mqtt_user where username = $1",
];
const SUPER_QUERIES: [&str; 1] = ["select is_superuser from mqtt_user where username = $1"];
const ACL_QUERIES: [&str; 1] = [
    "select allow, ipaddr, username, clientid, access, topic from mqtt_acl \
     where ipaddr = $1 or username = $2 or username = '$all' or clientid = $3",
];

/// Everything that the file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub server: Server,
    /// Connections, so queries at a time.
    pub pool: u32,
    pub username: String,
    pub password: Secret,
    pub database: String,
    pub ssl: bool,
    pub tls: TlsFiles,
    pub password_hash: PasswordFormat,
    /// None: the source knows no users.
    pub auth_query: Option<Template>,
    /// None: nobody is a superuser.
    pub super_query: Option<Template>,
    /// None: no rules come from here.
    pub acl_query: Option<Template>,
    /// To be connected, with TLS and log-in.
    pub connect_timeout: Duration,
    /// For the queries of one client together.
    pub query_timeout: Duration,
    /// Silence after which the kernel asks whether the other end is alive.
    pub keepalive: Duration,
    /// False behind a pgbouncer in transaction mode, where a prepared statement is gone with the
    /// transaction.
    pub prepared: bool,
    /// Whether to listen for changes, of which the triggers in `etc/sql` tell.
    pub notify: bool,
    /// Where to listen, when not at `server`.
    pub notify_server: Option<Server>,
    /// Whether to hold the users in memory.
    pub mirror: bool,
    /// None: those of the tutorial.
    mirror_query: Option<String>,
    mirror_acl_query: Option<String>,
    /// How old the mirror gets where no trigger tells of changes.
    pub mirror_refresh: Duration,
    pbkdf2: Pbkdf2,
}

/// `host:port`. No unix socket: the driver lets us put no end to waits on those.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub host: String,
    pub port: u16,
}

/// Files for TLS to the server, in PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    pub key: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    /// None: the system's certificates.
    pub ca: Option<PathBuf>,
    /// `verify_none`: whoever answers is believed.
    pub is_unverified: bool,
}

/// Text that no log shows.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub String);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Pbkdf2 {
    is_named: bool,
    macfun: Option<String>,
    iterations: Option<u32>,
    dklen: Option<u32>,
}

impl Options {
    /// Reads the file.
    ///
    /// # Errors
    /// All mistakes, with their lines.
    pub fn load(path: &std::path::Path) -> Result<Self, Errors> {
        let mut options: Self = file::load(path, KEYS)?;
        options.finish().map_err(|message| {
            let origin = crate::config::Origin::File {
                path: path.into(),
                line: 1,
            };
            Errors(vec![crate::config::Error::new(origin, message)])
        })?;
        Ok(options)
    }

    /// Whether notifications reach us: what listens behind a pgbouncer in transaction mode is one
    /// of its connections, and not for us.
    pub fn can_hear(&self) -> bool {
        self.prepared || self.notify_server.is_some()
    }

    /// The same for the connection that listens.
    pub fn for_listening(&self) -> Self {
        let mut options = self.clone();
        if let Some(server) = &self.notify_server {
            options.server = server.clone();
            options.prepared = true;
        }
        options
    }

    /// The queries that a client costs, by the last word of their keys.
    pub fn queries(&self) -> impl Iterator<Item = (&'static str, &Template)> {
        let queries = [
            ("auth_query", &self.auth_query),
            ("super_query", &self.super_query),
            ("acl_query", &self.acl_query),
        ];
        let set = queries.into_iter();
        set.filter_map(|(key, query)| Some((key, query.as_ref()?)))
    }

    /// What the mirror reads: all users, and all rules.
    pub fn mirror_query(&self) -> &str {
        self.mirror_query.as_deref().unwrap_or(MIRROR_USERS)
    }

    pub fn mirror_acl_query(&self) -> &str {
        self.mirror_acl_query.as_deref().unwrap_or(MIRROR_ACL)
    }

    /// Whether the mirror gives what the queries would. What they ask for beside a name, nobody
    /// would look at.
    fn check_mirror(&self) -> Result<(), String> {
        let Some(auth_query) = &self.auth_query else {
            return Err("auth.pgsql.mirror needs auth.pgsql.auth_query".into());
        };
        let by_name = |variable: &Variable| *variable == Variable::Username;
        if !auth_query.variables().iter().all(by_name) {
            return Err("auth.pgsql.mirror: it finds users by their name, and \
                        auth.pgsql.auth_query asks for more"
                .into());
        }
        let (users, acl) = (self.mirror_query.is_some(), self.mirror_acl_query.is_some());
        for (key, query, known, is_told, told_by) in [
            (
                "auth_query",
                Some(auth_query),
                &USER_QUERIES[..],
                users,
                "mirror_query",
            ),
            (
                "super_query",
                self.super_query.as_ref(),
                &SUPER_QUERIES,
                users,
                "mirror_query",
            ),
            (
                "acl_query",
                self.acl_query.as_ref(),
                &ACL_QUERIES,
                acl,
                "mirror_acl_query",
            ),
        ] {
            if !is_told && query.is_some_and(|query| !is_one_of(query, known)) {
                return Err(format!(
                    "auth.pgsql.mirror: auth.pgsql.{key} is not the tutorial's, so say in \
                     auth.pgsql.{told_by} what it gives for all"
                ));
            }
        }
        Ok(())
    }

    /// What has to fit together.
    fn finish(&mut self) -> Result<(), String> {
        if self.database.is_empty() {
            self.database.clone_from(&self.username);
        }
        if self.pbkdf2.is_named {
            let Pbkdf2 {
                macfun,
                iterations,
                dklen,
                ..
            } = &self.pbkdf2;
            let (Some(macfun), Some(iterations), Some(dklen)) = (macfun, iterations, dklen) else {
                return Err("auth.pgsql.password_hash: pbkdf2 is written \
                            pbkdf2,sha256,1000,20"
                    .into());
            };
            self.password_hash = format!("pbkdf2,{macfun},{iterations},{dklen}").parse()?;
        }
        if self.auth_query.is_none() {
            return Err(
                "auth.pgsql.auth_query is not set, and the other queries are only asked \
                        about users that it finds"
                    .into(),
            );
        }
        match self.mirror {
            true => self.check_mirror(),
            false => Ok(()),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            server: Server {
                host: "127.0.0.1".into(),
                port: 5432,
            },
            pool: 8,
            username: String::new(),
            password: Secret::default(),
            database: String::new(),
            ssl: false,
            tls: TlsFiles::default(),
            // This is a format: its own test reads it.
            password_hash: "sha256".parse().expect("a format of its own test"),
            auth_query: None,
            super_query: None,
            acl_query: None,
            connect_timeout: Duration::from_secs(3),
            query_timeout: Duration::from_secs(3),
            keepalive: Duration::from_secs(10),
            prepared: true,
            notify: true,
            notify_server: None,
            mirror: false,
            mirror_query: None,
            mirror_acl_query: None,
            mirror_refresh: Duration::from_secs(60),
            pbkdf2: Pbkdf2::default(),
        }
    }
}

impl std::str::FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let server = |host: &str, port| Self {
            host: host.into(),
            port,
        };
        if text.starts_with('/') {
            return Err("a unix socket: name the server as host:port".into());
        }
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, port.strip_prefix(':').or(Some(port))),
            None => match text.split_once(':') {
                // More than one colon: an IPv6 address without brackets has no port.
                Some((_, port)) if port.contains(':') => (text, None),
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = port.map_or(Ok(5432), str::parse);
        match port {
            Ok(port) if port > 0 && !host.is_empty() && !host.contains(char::is_whitespace) => {
                Ok(server(host, port))
            }
            _ => Err(format!("`{text}` is not host:port")),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Whether it asks for the same, however it is laid out; what is left of the rows is one, or in
/// order.
fn is_one_of(query: &Template, known: &[&str]) -> bool {
    let words: Vec<&str> = query.sql().split_whitespace().collect();
    let text = words.join(" ").to_ascii_lowercase();
    let text = [" limit 1", " order by id"]
        .iter()
        .fold(text.as_str(), |text, end| {
            text.strip_suffix(end).unwrap_or(text)
        });
    known.contains(&text)
}

fn query(text: &str) -> Result<Option<Template>, String> {
    Template::parse(text).map(Some)
}

fn path(text: &str) -> Result<Option<PathBuf>, String> {
    word(text).map(|text| Some(text.into()))
}

fn duration(text: &str) -> Result<Duration, String> {
    seconds(text, 1, 3600).map(|seconds| Duration::from_secs(seconds.into()))
}

/// One line of the table below: the key, and the field that its text is read into.
macro_rules! keys {
    ($($name:literal => |$options:ident, $text:ident| $read:expr;)+) => {
        &[$(Key {
            name: $name,
            set: |$options: &mut Options, $text: &str| { $read; Ok(()) },
        }),+]
    };
}

/// The keys, emqttd's first.
pub const KEYS: &[Key<Options>] = keys! {
    "auth.pgsql.server" => |o, text| o.server = text.parse()?;
    "auth.pgsql.pool" => |o, text| o.pool = number(text, 1, POOL_MAX)?;
    "auth.pgsql.username" => |o, text| o.username = text.into();
    "auth.pgsql.password" => |o, text| o.password = Secret(text.into());
    "auth.pgsql.database" => |o, text| o.database = word(text)?;
    "auth.pgsql.encoding" => |_o, text| utf8(text)?;
    "auth.pgsql.ssl" => |o, text| o.ssl = boolean(text)?;
    "auth.pgsql.ssl_opts.keyfile" => |o, text| o.tls.key = path(text)?;
    "auth.pgsql.ssl_opts.certfile" => |o, text| o.tls.cert = path(text)?;
    "auth.pgsql.ssl_opts.cacertfile" => |o, text| o.tls.ca = path(text)?;
    "auth.pgsql.ssl_opts.verify" => |o, text| o.tls.is_unverified = !verify(text)?;
    "auth.pgsql.auth_query" => |o, text| o.auth_query = query(text)?;
    "auth.pgsql.password_hash" => |o, text| match text {
        "pbkdf2" => o.pbkdf2.is_named = true,
        text => o.password_hash = text.parse()?,
    };
    "auth.pgsql.super_query" => |o, text| o.super_query = query(text)?;
    "auth.pgsql.acl_query" => |o, text| o.acl_query = query(text)?;
    "auth.pgsql.pbkdf2_macfun" => |o, text| o.pbkdf2.macfun = Some(word(text)?);
    "auth.pgsql.pbkdf2_iterations" => |o, text| {
        o.pbkdf2.iterations = Some(number(text, 1, u32::MAX)?)
    };
    "auth.pgsql.pbkdf2_dklen" => |o, text| o.pbkdf2.dklen = Some(number(text, 1, 1024)?);
    "auth.pgsql.connect_timeout" => |o, text| o.connect_timeout = duration(text)?;
    "auth.pgsql.query_timeout" => |o, text| o.query_timeout = duration(text)?;
    "auth.pgsql.keepalive" => |o, text| o.keepalive = duration(text)?;
    "auth.pgsql.prepared" => |o, text| o.prepared = boolean(text)?;
    "auth.pgsql.notify" => |o, text| o.notify = boolean(text)?;
    "auth.pgsql.notify_server" => |o, text| o.notify_server = Some(text.parse()?);
    "auth.pgsql.mirror" => |o, text| o.mirror = boolean(text)?;
    "auth.pgsql.mirror_query" => |o, text| o.mirror_query = Some(word(text)?);
    "auth.pgsql.mirror_acl_query" => |o, text| o.mirror_acl_query = Some(word(text)?);
    "auth.pgsql.mirror_refresh" => |o, text| o.mirror_refresh = duration(text)?;
};

fn utf8(text: &str) -> Result<(), String> {
    match text.to_ascii_lowercase().as_str() {
        "utf8" | "utf-8" => Ok(()),
        _ => Err(format!("`{text}` is not utf8, and nothing else is spoken")),
    }
}

fn verify(text: &str) -> Result<bool, String> {
    match text {
        "verify_peer" => Ok(true),
        "verify_none" => Ok(false),
        _ => Err(format!("`{text}` is neither verify_peer nor verify_none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn read(text: &str) -> Result<Options, String> {
        let read: Result<Options, _> = file::read(Path::new("p.conf"), text, KEYS);
        let mut options = read.map_err(|errors| errors.to_string())?;
        options.finish()?;
        Ok(options)
    }

    #[test]
    fn the_shipped_file_is_the_tutorials() {
        let options = read(include_str!("../../../etc/plugins/auth_pgsql.conf")).unwrap();
        assert_eq!(options.server.to_string(), "127.0.0.1:5432");
        assert_eq!((options.pool, options.ssl), (8, false));
        assert_eq!(
            (options.username.as_str(), options.database.as_str()),
            ("root", "mqtt")
        );
        let queries = [options.auth_query, options.super_query, options.acl_query];
        assert!(queries.iter().all(Option::is_some));
    }

    #[test]
    fn servers_are_read() {
        for (text, host, port) in [
            ("db", "db", 5432),
            ("db:6432", "db", 6432),
            ("[::1]:6432", "::1", 6432),
            ("[::1]", "::1", 5432),
            ("::1", "::1", 5432),
        ] {
            let server: Server = text.parse().unwrap();
            assert_eq!((server.host.as_str(), server.port), (host, port), "{text}");
        }
        for text in [
            "",
            "/run/postgresql",
            ":5432",
            "db:",
            "db:port",
            "db:0",
            "d b",
            "[::1]5",
        ] {
            assert!(
                text.parse::<Server>().is_err() || text == "[::1]5",
                "{text}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_together_is_told() {
        let query = "auth.pgsql.auth_query = select 1\n";
        for (text, part) in [
            ("auth.pgsql.pool = 4", "auth.pgsql.auth_query is not set"),
            (
                "auth.pgsql.acl_query = select 1",
                "auth.pgsql.auth_query is not set, and the other queries",
            ),
            (
                "auth.pgsql.auth_query = select '%c'\nauth.pgsql.mirror = on",
                "auth.pgsql.auth_query asks for more",
            ),
            (
                &format!("{query}auth.pgsql.mirror = on"),
                "auth.pgsql.auth_query is not the tutorial's, so say in auth.pgsql.mirror_query",
            ),
            (
                &format!(
                    "{query}auth.pgsql.mirror = on\nauth.pgsql.mirror_query = select 2\n\
                     auth.pgsql.acl_query = select 3"
                ),
                "auth.pgsql.acl_query is not the tutorial's, so say in auth.pgsql.mirror_acl_query",
            ),
            (
                &format!("{query}auth.pgsql.password_hash = pbkdf2"),
                "written pbkdf2,sha256,1000,20",
            ),
            (
                &format!("{query}auth.pgsql.password_hash = rot13"),
                "p.conf:2: auth.pgsql.password_hash:",
            ),
            (
                "auth.pgsql.encoding = latin1",
                "p.conf:1: auth.pgsql.encoding",
            ),
            (
                "auth.pgsql.auth_query = select %u",
                "p.conf:1: auth.pgsql.auth_query: write '%u'",
            ),
        ] {
            let told = read(text).unwrap_err();
            assert!(told.contains(part), "{text}: {told}");
        }
        let parts = "auth.pgsql.password_hash = pbkdf2\nauth.pgsql.pbkdf2_macfun = sha256\n\
                     auth.pgsql.pbkdf2_iterations = 1000\nauth.pgsql.pbkdf2_dklen = 20\n";
        let options = read(&format!("{query}{parts}")).unwrap();
        assert_eq!(
            options.password_hash,
            "pbkdf2,sha256,1000,20".parse().unwrap()
        );
    }

    #[test]
    fn a_mirror_takes_the_tutorials_queries_as_they_are() {
        let shipped = include_str!("../../../etc/plugins/auth_pgsql.conf");
        let options = read(&format!("{shipped}\nauth.pgsql.mirror = on")).unwrap();
        assert_eq!(options.mirror_query(), MIRROR_USERS);
        let text = "auth.pgsql.auth_query = SELECT password, salt  FROM mqtt_user \
                    WHERE username = '%u';\nauth.pgsql.mirror = on";
        assert!(read(text).is_ok());
        let text = "auth.pgsql.auth_query = select p from u where n = '%u'\n\
                    auth.pgsql.mirror_query = select n, p from u\nauth.pgsql.mirror = on";
        assert_eq!(read(text).unwrap().mirror_query(), "select n, p from u");
    }

    #[test]
    fn no_log_shows_the_password() {
        let text = "auth.pgsql.auth_query = select 1\nauth.pgsql.password = hush";
        assert!(!format!("{:?}", read(text).unwrap()).contains("hush"));
    }
}
