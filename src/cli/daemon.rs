//! `ringmq start`: `run` as a process of its own, which outlives this one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, PipeReader, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

use super::run::READY;
use super::{Done, Failure, say};
use crate::config::{Overrides, Sources};
use crate::control::{Client, DataDir};

/// How long a start may take until connections are accepted.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// Lines of the log shown when a start fails.
const TAIL_LINES: usize = 20;
/// A log larger than this is put aside at the next start, in place of the one before it.
const LOG_BYTES_MAX: u64 = 64 << 20;

pub fn start(sources: &Sources) -> Done {
    // Mistakes are told here, on the user's terminal, before there is a process to fail.
    let loaded = sources
        .load()
        .map_err(|errors| Failure(errors.to_string()))?;
    let folder = DataDir::new(loaded.settings.node.data_dir);
    if Client::connect(&folder).is_ok() {
        say("Node is already running!");
        return Ok(ExitCode::FAILURE);
    }
    folder.create()?;
    let log = Log::open(&folder)?;
    let (mut child, pipe) = spawn(sources, &log)?;
    match wait_until_ready(pipe) {
        Ok(listeners) => {
            say(&format!(
                "ringmq {} is started successfully!",
                env!("CARGO_PKG_VERSION")
            ));
            listeners.iter().for_each(|line| say(line));
            Ok(ExitCode::SUCCESS)
        }
        Err(reason) => Err(Failure(failed(&mut child, &reason, &log))),
    }
}

/// The daemon's log, and where this start's part of it begins.
struct Log {
    file: File,
    path: std::path::PathBuf,
    begin: u64,
}

impl Log {
    fn open(folder: &DataDir) -> Result<Self, Failure> {
        let path = folder.log();
        if fs::metadata(&path).is_ok_and(|found| found.len() > LOG_BYTES_MAX) {
            fs::rename(&path, path.with_extension("log.1"))?;
        }
        let opened = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .open(&path);
        let file = opened.map_err(|error| {
            Failure(format!("cannot write the log {}: {error}", path.display()))
        })?;
        let begin = file.metadata()?.len();
        Ok(Self { file, path, begin })
    }

    /// What this start has written, its last lines.
    fn tail(&self) -> String {
        let mut written = Vec::new();
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.begin))?;
            file.read_to_end(&mut written)
        });
        let text = String::from_utf8_lossy(&written);
        let lines: Vec<_> = text.lines().collect();
        match read {
            Ok(_) => lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"),
            Err(error) => format!("{}: {error}", self.path.display()),
        }
    }
}

/// `run` with the same flags and variables, its output in the log, its standard input the pipe on
/// which it says that it is ready.
fn spawn(sources: &Sources, log: &Log) -> io::Result<(Child, PipeReader)> {
    let (reader, writer) = io::pipe()?;
    let own = Sources::of_process(Overrides::default()).carried();
    let mut command = Command::new(std::env::current_exe()?);
    for (name, _) in own {
        command.env_remove(name);
    }
    let child = command
        .envs(sources.carried())
        .arg("run")
        .args(sources.overrides.arguments())
        .arg("--daemon")
        .stdin(writer)
        .stdout(log.file.try_clone()?)
        .stderr(log.file.try_clone()?)
        .spawn()?;
    Ok((child, reader))
}

/// The lines before [`READY`].
///
/// # Errors
/// The process ended, or took too long.
fn wait_until_ready(mut pipe: PipeReader) -> Result<Vec<String>, String> {
    let deadline = Instant::now() + START_PATIENCE;
    let mut said = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(format!(
                "no connections accepted after {} s",
                START_PATIENCE.as_secs()
            ));
        }
        let timeout = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut fds = [PollFd::new(&pipe, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
        let mut chunk = [0; 1024];
        match pipe.read(&mut chunk) {
            Ok(0) => return Err("the process ended".into()),
            Ok(count) => said.extend_from_slice(&chunk[..count]),
            Err(error) => return Err(error.to_string()),
        }
        let text = String::from_utf8_lossy(&said);
        if let Some(listeners) = text.strip_suffix(&format!("{READY}\n")) {
            return Ok(listeners.lines().map(String::from).collect());
        }
    }
}

/// Why the start failed; a process that only took too long is ended.
fn failed(child: &mut Child, reason: &str, log: &Log) -> String {
    if let Ok(None) = child.try_wait()
        && let Some(pid) = Pid::from_raw(child.id() as i32)
    {
        // It may end by itself in this moment.
        let _ = kill_process(pid, Signal::TERM);
    }
    let mut text = format!("ringmq could not be started: {reason}");
    let tail = log.tail();
    if !tail.is_empty() {
        text += &format!("; {} says:\n{tail}", log.path.display());
    }
    text
}
