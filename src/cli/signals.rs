//! Signals: SIGTERM and SIGINT stop, a SIGINT during the stop ends at once, SIGHUP reloads.

use std::io;
use std::sync::Arc;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::control::{ReloadReport, Supervisor};

/// Status of a process that was interrupted: 128 and the signal's number, as shells have it.
const INTERRUPTED: i32 = 128 + SIGINT;

/// From here on the signals wait for [`serve`] instead of ending the process.
pub fn catch() -> io::Result<Signals> {
    Signals::new([SIGTERM, SIGINT, SIGHUP])
}

/// Obeys the signals on a thread of its own.
pub fn serve(mut signals: Signals, supervisor: Arc<Supervisor>) -> io::Result<()> {
    let obey = move || {
        for signal in signals.forever() {
            match signal {
                SIGHUP => reload(&supervisor),
                SIGINT if supervisor.is_stopping() => {
                    tracing::warn!("interrupted again: ending at once");
                    std::process::exit(INTERRUPTED);
                }
                _ => supervisor.request_stop(),
            }
        }
    };
    thread::Builder::new()
        .name("signals".into())
        .spawn(obey)
        .map(drop)
}

fn reload(supervisor: &Supervisor) {
    match supervisor.reload() {
        Ok(report) => log(&report),
        Err(reason) => {
            tracing::error!("reload refused, nothing has changed:");
            reason.lines().for_each(|line| tracing::error!("  {line}"));
        }
    }
}

fn log(report: &ReloadReport) {
    let lines = report.lines();
    if lines.is_empty() {
        tracing::info!("reloaded: nothing has changed");
    }
    for line in lines {
        tracing::info!("reloaded: {line}");
    }
}
