//! A small table on disk: one JSON object a line, the last one of a name being the one that holds.
//! A change is a line that is appended and synced; now and then the file is written anew.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Lines beyond those that hold, before the file is written anew.
const STALE_LINES_MAX: usize = 1000;

/// A file of records, for this user only.
pub struct Journal {
    path: PathBuf,
    lines: usize,
}

impl Journal {
    /// Opens the file and reads its records in order; without a file there are none.
    ///
    /// # Errors
    /// A sentence with the file and the line. A last line without an end was never confirmed to
    /// anybody, and is left out.
    pub fn open<R: DeserializeOwned>(path: &Path) -> Result<(Journal, Vec<R>), String> {
        let text = text(path)?;
        let whole = whole(&text);
        let records = records(path, whole)?;
        let journal = Journal {
            path: path.into(),
            lines: records.len(),
        };
        if whole.len() + 1 < text.len() {
            let cut = OpenOptions::new().write(true).open(path);
            let length = if whole.is_empty() { 0 } else { whole.len() + 1 };
            cut.and_then(|file| file.set_len(length as u64))
                .map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok((journal, records))
    }

    /// The records, without taking the file: another process may be writing it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn read<R: DeserializeOwned>(path: &Path) -> Result<Vec<R>, String> {
        records(path, whole(&text(path)?))
    }

    /// Whether so much of the file does not hold any more that it should be written anew.
    pub fn is_stale(&self, holding: usize) -> bool {
        self.lines > 2 * holding + STALE_LINES_MAX
    }

    /// Appends a record; when this returns, it is on disk.
    ///
    /// # Errors
    /// A sentence with the file.
    pub fn append(&mut self, record: &impl Serialize) -> Result<(), String> {
        let write = || -> io::Result<()> {
            let mut line = serde_json::to_vec(record)?;
            line.push(b'\n');
            let mut file = options().append(true).open(&self.path)?;
            file.write_all(&line)?;
            file.sync_all()
        };
        write().map_err(|error| format!("{}: {error}", self.path.display()))?;
        self.lines += 1;
        Ok(())
    }

    /// Replaces the file by these records; the old one stays until the new one is on disk.
    ///
    /// # Errors
    /// A sentence with the file.
    pub fn rewrite<R: Serialize>(
        &mut self,
        records: impl Iterator<Item = R>,
    ) -> Result<(), String> {
        let fresh = self.path.with_extension("new");
        let mut lines = 0;
        let write = || -> io::Result<()> {
            let mut file = options().truncate(true).write(true).open(&fresh)?;
            for record in records {
                let mut line = serde_json::to_vec(&record)?;
                line.push(b'\n');
                file.write_all(&line)?;
                lines += 1;
            }
            file.sync_all()?;
            fs::rename(&fresh, &self.path)?;
            match self.path.parent() {
                Some(folder) => File::open(folder)?.sync_all(),
                None => Ok(()),
            }
        };
        write().map_err(|error| format!("{}: {error}", self.path.display()))?;
        self.lines = lines;
        Ok(())
    }
}

fn text(path: &Path) -> Result<String, String> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// The lines that have an end, without the last end.
fn whole(text: &str) -> &str {
    text.rfind('\n').map_or("", |end| &text[..end])
}

fn records<R: DeserializeOwned>(path: &Path, whole: &str) -> Result<Vec<R>, String> {
    let record = |(line, number): (&str, usize)| {
        serde_json::from_str(line).map_err(|error| format!("{}:{number}: {error}", path.display()))
    };
    whole.lines().zip(1..).map(record).collect()
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_appended_is_read_and_half_a_line_is_not() {
        let folder = std::env::temp_dir().join(format!("ringmq-journal-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("j.jsonl");
        let (mut journal, records) = Journal::open::<u32>(&path).unwrap();
        assert!(records.is_empty());
        for i in 0..3 {
            journal.append(&i).unwrap();
        }
        OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"77")
            .unwrap();
        let (mut journal, records) = Journal::open::<u32>(&path).unwrap();
        assert_eq!(records, [0, 1, 2]);
        journal.append(&3).unwrap();
        journal.rewrite([7, 8].iter()).unwrap();
        journal.append(&9).unwrap();
        assert_eq!(Journal::open::<u32>(&path).unwrap().1, [7, 8, 9]);
        fs::write(&path, "1\nx\n").unwrap();
        let error = Journal::open::<u32>(&path).map(drop).unwrap_err();
        assert!(error.contains("j.jsonl:2: "), "{error}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
