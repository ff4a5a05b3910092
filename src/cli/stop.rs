//! `ringmq stop`.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use super::args::FindArgs;
use super::{Done, Failure, ask, connect, say, unexpected};
use crate::control::{Client, DataDir, Reply, Request};

/// Added to the node's own deadline: the process has to end after its node has.
const GRACE: Duration = Duration::from_secs(5);

pub fn stop(args: &FindArgs) -> Done {
    let folder = args.folder();
    stop_and_wait(&mut connect(&folder)?, &folder)?;
    say(&format!("ringmq {} is stopped", env!("CARGO_PKG_VERSION")));
    Ok(ExitCode::SUCCESS)
}

/// Returns when the process has ended.
pub fn stop_and_wait(client: &mut Client, folder: &DataDir) -> Result<(), Failure> {
    let Reply::Stopping { deadline_s } = ask(client, &Request::Stop)? else {
        return Err(unexpected());
    };
    let deadline = Duration::from_secs(deadline_s);
    if folder.wait_until_free(deadline + GRACE) {
        if let Some(left) = folder.last_left() {
            // It is stopped, which is what was asked for, so that what comes after `stop` in a
            // script goes on.
            let how = match left {
                0 => "before all that was under way was done".to_owned(),
                left => format!(
                    "with {left} connections still open: what was not sent to them by then is lost"
                ),
            };
            let _ = writeln!(
                std::io::stderr(),
                "warning: stopped at its deadline of {deadline_s} s, {how} (node.stop_deadline_s)"
            );
        }
        return Ok(());
    }
    let holder = folder.holder().map_or("?".into(), |pid| pid.to_string());
    let waited = (deadline + GRACE).as_secs();
    Err(Failure(format!(
        "ringmq (process {holder}) still runs after {waited} s"
    )))
}
