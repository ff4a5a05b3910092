//! The data folder: who owns it, and what is where in it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Access, FlockOperation, access, flock};

/// Longest path that a socket address holds.
pub(super) const SOCKET_PATH_BYTES_MAX: usize = 107;
/// How often a waiter looks whether the folder is free.
const POLL: Duration = Duration::from_millis(20);
/// How often a lock is tried: [`DataDir::holder`] of another process has it for a moment.
const LOCK_TRIES: u32 = 10;

#[derive(Debug, Clone)]
pub struct DataDir {
    path: PathBuf,
}

/// The folder is ours as long as this lives; the kernel takes it back when the process ends,
/// however it ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Leaves word of connections that were still open at the end, for whoever waits for it.
    pub fn leave_word(&mut self, connections_left: u64) {
        // Without it the log says so.
        let _ = writeln!(self.file, "{connections_left}");
    }
}

impl DataDir {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn socket(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    /// The log of a daemon.
    pub fn log(&self) -> PathBuf {
        self.path.join("ringmq.log")
    }

    fn pid_file(&self) -> PathBuf {
        self.path.join("ringmq.pid")
    }

    /// Makes the folder, for this user only, unless it is there.
    ///
    /// # Errors
    /// A sentence that names the folder.
    pub fn create(&self) -> io::Result<()> {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path);
        made.map_err(|error| {
            let path = self.path.display();
            let hint = "choose another with --data or node.data_dir";
            io::Error::new(
                error.kind(),
                format!("cannot make the data folder {path}: {error}; {hint}"),
            )
        })
    }

    /// Whether the folder can be made, or is there, and can be written; makes nothing.
    ///
    /// # Errors
    /// A sentence that names the folder.
    pub fn check(&self) -> io::Result<()> {
        let socket = self.socket();
        if socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            return Err(io::Error::other(format!(
                "the path of the control socket {} is longer than {SOCKET_PATH_BYTES_MAX} bytes",
                socket.display()
            )));
        }
        let parts = self.path.ancestors();
        let mut parts = parts.filter(|part| !part.as_os_str().is_empty());
        let there = parts.find(|part| part.exists()).unwrap_or(Path::new("."));
        let refused = match there.is_dir() {
            true => access(there, Access::WRITE_OK | Access::EXEC_OK).err(),
            false => Some(rustix::io::Errno::NOTDIR),
        };
        refused.map_or(Ok(()), |error| {
            let (path, there) = (self.path.display(), there.display());
            Err(io::Error::other(format!(
                "the data folder {path} cannot be written: {there}: {error}"
            )))
        })
    }

    /// Takes the folder for this process.
    ///
    /// # Errors
    /// Another process has it, which the sentence names; or the folder cannot be written.
    pub fn lock(&self) -> io::Result<Lock> {
        let path = self.pid_file();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(&path)
            .map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("cannot write {}: {error}", path.display()),
                )
            })?;
        if let Err(error) = try_lock(&file) {
            let mut holder = String::new();
            // The number only makes the sentence better.
            let _ = file.read_to_string(&mut holder);
            let folder = self.path.display();
            let sentence = match error {
                rustix::io::Errno::WOULDBLOCK => {
                    format!(
                        "another broker (process {}) uses {folder}",
                        holder.lines().next().unwrap_or("?")
                    )
                }
                error => format!("cannot lock {}: {error}", path.display()),
            };
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, sentence));
        }
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Lock { file })
    }

    /// The process that has the folder; none when nobody has.
    pub fn holder(&self) -> Option<u32> {
        let mut file = File::open(self.pid_file()).ok()?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                file.read_to_string(&mut text).ok()?;
                text.lines().next()?.trim().parse().ok()
            }
            _ => None,
        }
    }

    /// How many connections were still open when the last process in this folder ended at its
    /// deadline; none when it ended as it should.
    pub fn last_left(&self) -> Option<u64> {
        let text = fs::read_to_string(self.pid_file()).ok()?;
        text.lines().nth(1)?.trim().parse().ok()
    }

    /// Waits until nobody has the folder; false when that took longer than `patience`.
    pub fn wait_until_free(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.holder().is_some() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(POLL);
        }
        true
    }
}

fn try_lock(file: &File) -> rustix::io::Result<()> {
    let mut tries = LOCK_TRIES;
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) if tries > 1 => tries -= 1,
            done => return done,
        }
        std::thread::sleep(POLL);
    }
}
