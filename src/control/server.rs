//! The one thread that answers on the control socket, one connection after the other.

use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::api::{Reply, Request};
use super::folder::{DataDir, Lock, SOCKET_PATH_BYTES_MAX};
use crate::limits::{CONTROL_REPLY_BYTES_MAX, CONTROL_REQUEST_BYTES_MAX, CONTROL_TIMEOUT_MS};
use crate::log_limited;

/// Wait after an accept that failed: the reason (no files left) does not go at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Opens the socket, for this user only. Whoever holds the lock may take away a socket file that
/// a dead process left.
///
/// # Errors
/// A sentence that names the socket.
pub fn bind(folder: &DataDir, _lock: &Lock) -> io::Result<UnixListener> {
    let path = folder.socket();
    let fail = |error: io::Error| {
        let path = path.display();
        io::Error::new(
            error.kind(),
            format!("cannot open the control socket {path}: {error}"),
        )
    };
    if path.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        let reason = format!("a path of at most {SOCKET_PATH_BYTES_MAX} bytes is possible");
        return Err(fail(io::Error::new(io::ErrorKind::InvalidInput, reason)));
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&path).map_err(fail)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(fail)?;
    Ok(listener)
}

/// The thread that answers, as the rest of the process sees it.
pub struct Desk {
    /// Held while a request is answered.
    answering: Arc<Mutex<()>>,
}

impl Desk {
    /// Waits until the answer that is being given is written, so that whoever asked for the end
    /// of the process hears of it. At most a second after the node has answered.
    pub fn finish(self) {
        drop(
            self.answering
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

/// Answers with what `answer` makes of each request, from a thread of its own, until the process
/// ends.
///
/// # Errors
/// The thread could not be started.
pub fn serve(
    listener: UnixListener,
    answer: impl Fn(Request) -> Reply + Send + 'static,
) -> io::Result<Desk> {
    let answering = Arc::new(Mutex::new(()));
    let desk = Desk {
        answering: answering.clone(),
    };
    let accept = move || {
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    if let Err(error) = converse(stream, &answering, &answer) {
                        log_limited!(debug, 5, "control socket: {error}");
                    }
                }
                Err(error) => {
                    log_limited!(warn, 1, "control socket: cannot accept: {error}");
                    thread::sleep(ACCEPT_PAUSE);
                }
            }
        }
    };
    thread::Builder::new()
        .name("control".into())
        .spawn(accept)?;
    Ok(desk)
}

/// Answers line after line until the client goes, is silent, or is not one of us.
fn converse(
    mut stream: UnixStream,
    answering: &Mutex<()>,
    answer: &impl Fn(Request) -> Reply,
) -> io::Result<()> {
    if !is_trusted(&stream) {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "refused another user",
        ));
    }
    stream.set_write_timeout(Some(Duration::from_millis(CONTROL_TIMEOUT_MS)))?;
    let mut pending = Vec::new();
    while let Some(line) = read_line(&mut stream, &mut pending)? {
        let _answering = answering.lock().unwrap_or_else(PoisonError::into_inner);
        let reply = match serde_json::from_slice(&line) {
            Ok(request) => answer(request),
            Err(error) => Reply::Error(format!("not a request: {error}")),
        };
        let mut text = serde_json::to_vec(&reply)?;
        if text.len() >= CONTROL_REPLY_BYTES_MAX {
            text = serde_json::to_vec(&Reply::Error("the answer is too long".into()))?;
        }
        text.push(b'\n');
        stream.write_all(&text)?;
    }
    Ok(())
}

/// The next line without its end; none when the client has gone. `pending` holds what came after.
///
/// # Errors
/// The line is too long, or did not come in time.
fn read_line(stream: &mut UnixStream, pending: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let deadline = Instant::now() + Duration::from_millis(CONTROL_TIMEOUT_MS);
    loop {
        if let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let rest = pending.split_off(end + 1);
            let mut line = std::mem::replace(pending, rest);
            line.pop();
            return Ok(Some(line));
        }
        if pending.len() >= CONTROL_REQUEST_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a request is too long",
            ));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(None),
            Ok(count) => pending.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The file's mode keeps others out; the kernel's word on who connected keeps them out also where
/// somebody has changed that mode.
fn is_trusted(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid();
    rustix::net::sockopt::socket_peercred(stream)
        .is_ok_and(|peer| peer.uid == own || peer.uid.is_root())
}
