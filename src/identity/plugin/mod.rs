//! Plug-ins as emqttd's users know them: `ctl plugins load emq_auth_pgsql` reads the plug-in's file
//! and puts its source into the chain, at once and after every restart.

pub mod file;
mod names;

pub use names::{Kind, Name};

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::pgsql::{self, Tell};
use super::{Authority, Judgement, News, Reach, Source, http, jwt};
use crate::auth::AuthRequest;

/// Names of the plug-ins to load at start, one a line with a full stop, as in emqttd.
const LOADED_FILE: &str = "loaded_plugins";

/// The plug-ins of one broker.
pub struct Plugins {
    authority: Weak<Authority>,
    /// Where the plug-ins' files are.
    folder: PathBuf,
    /// `loaded_plugins` in the data folder.
    loaded_file: PathBuf,
    loaded: Mutex<BTreeMap<Kind, Loaded>>,
}

/// A plug-in that is loaded.
struct Loaded {
    name: Name,
    /// Its file, as it was read.
    file: Vec<u8>,
    running: Running,
}

/// What a plug-in consists of while it is loaded.
enum Running {
    Http(Arc<http::Plugin>),
    Jwt(Arc<jwt::Plugin>),
    Pgsql(Arc<pgsql::Plugin>),
}

/// A plug-in that was read again, with what does not work yet.
pub struct Fresh((Loaded, Vec<String>));

/// A plug-in for `plugins list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub name: Name,
    pub is_loaded: bool,
    /// One line more about a loaded one.
    pub detail: Option<String>,
}

impl Plugins {
    /// None is loaded yet.
    pub fn new(authority: &Arc<Authority>, folder: PathBuf, data_dir: &Path) -> Self {
        Self {
            authority: Arc::downgrade(authority),
            folder,
            loaded_file: data_dir.join(LOADED_FILE),
            loaded: Mutex::default(),
        }
    }

    /// Loads what was loaded when the process before this one ended.
    ///
    /// # Errors
    /// A plug-in's file is wrong or missing: starting without would let in whom it keeps out.
    pub fn resume(&self) -> Result<(), String> {
        for line in remembered(&self.loaded_file)? {
            let begun = Name::parse(&line).and_then(|name| self.begin(name));
            let warnings = begun.map_err(|why| of_line(&self.loaded_file, &line, &why))?;
            for warning in warnings {
                tracing::warn!("plug-in {line}: {warning}");
            }
        }
        Ok(())
    }

    /// Why [`Self::resume`] would fail, as far as files say; nobody is asked and nothing begins.
    pub fn complaints(folder: &Path, data_dir: &Path) -> Vec<String> {
        let file = data_dir.join(LOADED_FILE);
        let lines = match remembered(&file) {
            Ok(lines) => lines,
            Err(why) => return vec![why],
        };
        let complaint = |line: String| {
            let name = Name::parse(&line);
            let why = name.and_then(|name| check(folder, name.kind())).err()?;
            Some(of_line(&file, &line, &why))
        };
        lines.into_iter().filter_map(complaint).collect()
    }

    /// Loads a plug-in: its file is read, and it is asked from now on. Sentences say what does not
    /// work yet, such as a server that does not answer.
    ///
    /// # Errors
    /// It is loaded already, unknown, or its file has mistakes: nothing has changed.
    pub fn load(&self, name: &str) -> Result<Vec<String>, String> {
        let name = Name::parse(name)?;
        if self.lock().contains_key(&name.kind()) {
            return Err("already_started".into());
        }
        let warnings = self.begin(name)?;
        self.remember()?;
        Ok(warnings)
    }

    /// Unloads a plug-in: nobody asks it any more. Clients that it let in stay.
    ///
    /// # Errors
    /// It is not loaded.
    pub fn unload(&self, name: &str) -> Result<(), String> {
        let name = Name::parse(name)?;
        let Some(loaded) = self.lock().remove(&name.kind()) else {
            return Err("not_started".into());
        };
        if let Some(authority) = self.authority.upgrade() {
            authority.remove_source(name.kind().source());
        }
        tracing::info!("plug-in {} unloaded", loaded.name);
        self.remember()
    }

    /// All plug-ins that there are.
    pub fn list(&self) -> Vec<Listed> {
        let loaded = self.lock();
        let listed = |kind: Kind| match loaded.get(&kind) {
            Some(loaded) => Listed {
                name: loaded.name.clone(),
                is_loaded: true,
                detail: Some(loaded.running.detail()),
            },
            None => Listed {
                name: Name::of(kind),
                is_loaded: false,
                detail: None,
            },
        };
        Kind::ALL.into_iter().map(listed).collect()
    }

    /// Reads the files again of all that are loaded, and starts those that changed, which nobody
    /// asks before [`Plugins::begin_anew`].
    ///
    /// # Errors
    /// One has mistakes.
    pub fn read_again(&self) -> Result<Vec<Fresh>, String> {
        let names: Vec<Name> = self
            .lock()
            .values()
            .filter(|loaded| {
                let file = find(&self.folder, loaded.name.kind()).map(fs::read);
                !file.is_ok_and(|file| file.is_ok_and(|file| file == loaded.file))
            })
            .map(|loaded| loaded.name.clone())
            .collect();
        names
            .into_iter()
            .map(|name| self.start(name).map(Fresh))
            .collect()
    }

    /// Puts these in the place of those that they were.
    pub fn begin_anew(&self, fresh: Vec<Fresh>) {
        for Fresh((loaded, warnings)) in fresh {
            tracing::info!("plug-in {} read again", loaded.name);
            for warning in warnings {
                tracing::warn!("plug-in {}: {warning}", loaded.name);
            }
            self.take_in(loaded);
        }
    }

    /// Ends what the plug-ins run; the process ends, and they stay loaded for the next one.
    pub fn close(&self) {
        let authority = self.authority.upgrade();
        for (kind, _) in std::mem::take(&mut *self.lock()) {
            if let Some(authority) = &authority {
                authority.remove_source(kind.source());
            }
        }
    }

    fn begin(&self, name: Name) -> Result<Vec<String>, String> {
        let (loaded, warnings) = self.start(name)?;
        tracing::info!("plug-in {} loaded", loaded.name);
        self.take_in(loaded);
        Ok(warnings)
    }

    fn take_in(&self, loaded: Loaded) {
        if let Some(authority) = self.authority.upgrade() {
            authority.set_source(loaded.running.source());
        }
        self.lock().insert(loaded.name.kind(), loaded);
    }

    fn start(&self, name: Name) -> Result<(Loaded, Vec<String>), String> {
        let path = find(&self.folder, name.kind())?;
        let file = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let (running, mut warnings) = self.run(name.kind(), &path)?;
        let source = name.kind().source();
        if self
            .authority
            .upgrade()
            .is_some_and(|authority| !authority.asks(source))
        {
            warnings.push(format!(
                "auth.chain does not name {source}, so it is not asked"
            ));
        }
        let loaded = Loaded {
            name,
            file,
            running,
        };
        Ok((loaded, warnings))
    }

    fn run(&self, kind: Kind, path: &Path) -> Result<(Running, Vec<String>), String> {
        let named = |why: String| format!("{}: {why}", path.display());
        let authority = self.authority.clone();
        match kind {
            Kind::Http => {
                let options = http::Options::load(path).map_err(|errors| errors.to_string())?;
                let plugin = http::Plugin::start(options).map_err(named)?;
                Ok((Running::Http(Arc::new(plugin)), Vec::new()))
            }
            Kind::Jwt => {
                let options = jwt::Options::load(path).map_err(|errors| errors.to_string())?;
                let (plugin, warnings) = jwt::Plugin::start(options).map_err(named)?;
                Ok((Running::Jwt(Arc::new(plugin)), warnings))
            }
            Kind::Pgsql => {
                let options = pgsql::Options::load(path).map_err(|errors| errors.to_string())?;
                let tell: Tell = Arc::new(move |news: News| {
                    if let Some(authority) = authority.upgrade() {
                        authority.hear(news);
                    }
                });
                let (plugin, warnings) = pgsql::Plugin::start(options, tell).map_err(named)?;
                Ok((Running::Pgsql(Arc::new(plugin)), warnings))
            }
        }
    }

    /// Writes down what is loaded, whole or not at all.
    fn remember(&self) -> Result<(), String> {
        let names: String = self
            .lock()
            .values()
            .map(|loaded| format!("{}.\n", loaded.name))
            .collect();
        let fresh = self.loaded_file.with_extension("new");
        fs::write(&fresh, names)
            .and_then(|()| fs::rename(&fresh, &self.loaded_file))
            .map_err(|error| {
                let path = self.loaded_file.display();
                format!("done, but a restart will not know of it: {path}: {error}")
            })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Kind, Loaded>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The names in `loaded_plugins`; none without a file.
fn remembered(file: &Path) -> Result<Vec<String>, String> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", file.display())),
    };
    let names = text.lines().map(|line| line.trim().trim_end_matches('.'));
    let names = names.filter(|name| !name.is_empty());
    Ok(names.map(String::from).collect())
}

fn of_line(file: &Path, line: &str, why: &str) -> String {
    format!("{}: plug-in {line}: {why}", file.display())
}

/// The plug-in's file, by whichever of its names it has.
fn find(folder: &Path, kind: Kind) -> Result<PathBuf, String> {
    let places = || kind.files().map(|file| folder.join(file));
    let found: Vec<PathBuf> = places().filter(|path| path.is_file()).collect();
    match found.as_slice() {
        [path] => Ok(path.clone()),
        [] => {
            let wanted: Vec<String> = places().map(|path| path.display().to_string()).collect();
            Err(format!("there is no file {}", wanted.join(" or ")))
        }
        [path, other, ..] => Err(format!(
            "{} and {} are both there: which one counts?",
            path.display(),
            other.display()
        )),
    }
}

/// Reads the plug-in's file, and the files that it names.
fn check(folder: &Path, kind: Kind) -> Result<(), String> {
    let path = find(folder, kind)?;
    let checked = match kind {
        Kind::Http => {
            let options = http::Options::load(&path).map_err(|errors| errors.to_string())?;
            http::Plugin::start(options).map(drop)
        }
        Kind::Jwt => {
            let options = jwt::Options::load(&path).map_err(|errors| errors.to_string())?;
            jwt::check(&options)
        }
        Kind::Pgsql => {
            let options = pgsql::Options::load(&path).map_err(|errors| errors.to_string())?;
            pgsql::check(&options)
        }
    };
    checked.map_err(|why| format!("{}: {why}", path.display()))
}

impl Running {
    fn source(&self) -> Arc<dyn Source> {
        match self {
            Self::Http(plugin) => Arc::new(Shared(plugin.clone())),
            Self::Jwt(plugin) => Arc::new(Shared(plugin.clone())),
            Self::Pgsql(plugin) => Arc::new(Shared(plugin.clone())),
        }
    }

    /// How it is, in a line.
    fn detail(&self) -> String {
        match self {
            Self::Http(plugin) => plugin.detail(),
            Self::Jwt(plugin) => plugin.detail(),
            Self::Pgsql(plugin) => plugin.detail(),
        }
    }
}

/// A source that the chain and the list of plug-ins both hold.
struct Shared<T>(Arc<T>);

impl<T: Source> Source for Shared<T> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn judge(&self, question: &AuthRequest) -> Judgement {
        self.0.judge(question)
    }

    fn pretend(&self, question: &AuthRequest) -> bool {
        self.0.pretend(question)
    }

    fn reach(&self, question: &AuthRequest) -> Reach {
        self.0.reach(question)
    }

    fn can_recheck(&self) -> bool {
        self.0.can_recheck()
    }

    fn is_active(&self) -> bool {
        self.0.is_active()
    }
}
