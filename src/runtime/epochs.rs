//! Epochs of presence only grow, also where the clock was set back between two runs of the broker:
//! a file in the data folder says up to where they may have gone. What it says is reserved ahead,
//! so that a crash loses nothing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::control::DataDir;
use crossbeam_channel::{Receiver, RecvTimeoutError};

const FILE: &str = "epoch";
/// How far ahead epochs are reserved, and how often.
const AHEAD: Duration = Duration::from_secs(600);
const RESERVE_EVERY: Duration = Duration::from_secs(60);

/// The epochs of this run.
pub struct Epochs {
    /// None where there is no data folder: then the clock is all there is.
    path: Option<PathBuf>,
    first: u64,
    began: Instant,
    /// What the file says: it never says less.
    mark: AtomicU64,
}

impl Epochs {
    /// For a run that begins now in this data folder; the first of its epochs are reserved.
    ///
    /// # Errors
    /// The file cannot be read or written, or says something else: a sentence with its name.
    pub fn open(folder: &Path) -> Result<Epochs, String> {
        let has_folder = !folder.as_os_str().is_empty();
        let path = has_folder.then(|| folder.join(FILE));
        if has_folder {
            let made = DataDir::new(folder).create();
            made.map_err(|error| error.to_string())?;
        }
        let kept = match &path {
            Some(path) => read(path).map_err(|error| format!("{}: {error}", path.display()))?,
            None => 0,
        };
        let epochs = Epochs {
            path,
            first: kept.max(now_us()),
            began: Instant::now(),
            mark: AtomicU64::new(kept),
        };
        epochs.reserve()?;
        Ok(epochs)
    }

    /// Above all epochs of the runs before.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Reserves what may be used until some minutes from now, until `end` is closed.
    pub fn watch(&self, end: &Receiver<()>) {
        let mut was_told = false;
        while end.recv_timeout(RESERVE_EVERY) == Err(RecvTimeoutError::Timeout) {
            let reserved = self.reserve();
            if let Err(why) = &reserved
                && !was_told
            {
                tracing::error!("epochs of presence may fall back after a restart: {why}");
            }
            was_told = reserved.is_err();
        }
    }

    fn reserve(&self) -> Result<(), String> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        // A connect takes an epoch, and there is less than one a microsecond. Those of a clock that
        // was ahead for a while have been given out, too.
        let used = (self.first + micros(self.began.elapsed())).max(now_us());
        let mark = self.mark.fetch_max(used + micros(AHEAD), Ordering::Relaxed);
        let mark = mark.max(used + micros(AHEAD));
        write(path, mark).map_err(|error| format!("{}: {error}", path.display()))
    }
}

fn read(path: &Path) -> io::Result<u64> {
    match fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map_err(|_| {
            io::Error::other("this is no number of microseconds; remove it to begin by the clock")
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

fn write(path: &Path, mark: u64) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    writeln!(file, "{mark}")?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    micros(since.unwrap_or_default())
}

fn micros(duration: Duration) -> u64 {
    duration.as_micros() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_begins_above_what_the_one_before_had_reserved() {
        let folder = std::env::temp_dir().join(format!("ringmq-epochs-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let before = Epochs::open(&folder).unwrap();
        let kept = read(&folder.join(FILE)).unwrap();
        assert!(kept >= before.first() + micros(AHEAD));
        // Whatever the clock says meanwhile.
        let ahead = now_us() + micros(Duration::from_secs(86_400));
        write(&folder.join(FILE), ahead).unwrap();
        let after = Epochs::open(&folder).unwrap();
        assert_eq!(after.first(), ahead);
        assert!(read(&folder.join(FILE)).unwrap() > ahead);
        // Nor where it was ahead for a while and is not any more.
        let further = ahead + micros(Duration::from_secs(86_400));
        after.mark.store(further, Ordering::Relaxed);
        after.reserve().unwrap();
        assert_eq!(read(&folder.join(FILE)).unwrap(), further);
        fs::write(folder.join(FILE), "yesterday").unwrap();
        let error = Epochs::open(&folder).err().unwrap();
        assert!(error.contains("epoch: this is no number"), "{error}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
