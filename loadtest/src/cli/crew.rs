//! Several processes: `--workers`, `--await`, `--join`.

use super::values;
use crate::crew::{Crew, Link, Place};
use clap::Args;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

/// Where workers join unless something else is said.
const PORT: u16 = 7883;

#[derive(Debug, Args)]
pub struct CrewArgs {
    /// Processes on this host that share the load, each with --shards executors and a limit of
    /// open files of its own; 0 with --await: none here
    #[arg(short, long, value_name = "COUNT", default_value_t = 1)]
    workers: usize,
    /// Processes on other machines to wait for: there, `loadtest --join HOST --workers COUNT`
    #[arg(long = "await", value_name = "COUNT", default_value_t = 0)]
    others: usize,
    /// Where they join; everybody who reaches it may
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:7883")]
    listen: SocketAddr,
}

impl CrewArgs {
    /// Of the whole run.
    pub fn processes(&self) -> usize {
        self.workers + self.others
    }

    /// # Errors
    /// A sentence: there is nobody to do it.
    pub fn check(&self) -> Result<(), String> {
        match self.processes() {
            0 => Err("--workers 0 leaves nobody, unless others join (--await)".into()),
            _ => Ok(()),
        }
    }

    /// Nothing if this process is to do it alone.
    pub fn crew(&self, words: &[String], run: u32) -> Option<Crew> {
        let crew = Crew {
            words: words.to_vec(),
            run,
            own: self.workers,
            others: self.others,
            listen: self.listen,
        };
        (self.workers != 1 || self.others > 0).then_some(crew)
    }
}

/// `loadtest --join`
#[derive(Clone, Debug, Args)]
pub struct JoinArgs {
    /// Be a worker of the load tester on another machine, which was started with --await
    #[arg(long, value_name = "HOST[:PORT]")]
    pub join: Option<String>,
    /// With --join: be so many workers
    #[arg(long, value_name = "COUNT", requires = "join", value_parser = values::count::<usize>)]
    workers: Option<usize>,
    /// With --join: source addresses on this machine, instead of those that the leader names
    #[arg(long, value_name = "LIST", requires = "join")]
    source: Option<String>,
}

impl JoinArgs {
    /// Does what the leader says; `run` does the part of one worker.
    ///
    /// # Errors
    /// A sentence: there is no leader, it has gone, or this host cannot do it.
    pub fn work(
        &self,
        leader: &str,
        run: impl FnOnce(&[String], Place<'_>, Option<&str>) -> Result<(), String>,
    ) -> Result<(), String> {
        let leader = with_port(leader);
        match self.workers.unwrap_or(1) {
            1 => {
                let (mut link, task) = Link::join(&leader)?;
                let place = Place::Worker(&task, &mut link);
                let done = run(&task.words, place, self.source.as_deref());
                if let Err(sentence) = &done {
                    link.fail(sentence);
                }
                done
            }
            count => self.spawn(&leader, count),
        }
    }

    /// That many processes like this one.
    fn spawn(&self, leader: &str, count: usize) -> Result<(), String> {
        let failed = |error| format!("a worker cannot be started: {error}");
        let program = std::env::current_exe().map_err(failed)?;
        let mut children = Vec::new();
        for _ in 0..count {
            let mut command = Command::new(&program);
            command.arg("--join").arg(leader).stdin(Stdio::null());
            if let Some(source) = &self.source {
                command.arg("--source").arg(source);
            }
            children.push(command.spawn().map_err(failed)?);
        }
        let mut all_well = true;
        for mut child in children {
            all_well &= child.wait().map_err(failed)?.success();
        }
        match all_well {
            true => Ok(()),
            false => Err("not all workers ended well".into()),
        }
    }
}

fn with_port(leader: &str) -> String {
    let is_bare_v6 = leader.matches(':').count() > 1 && !leader.contains(']');
    match leader.rsplit_once(':') {
        Some((_, port)) if !is_bare_v6 && port.parse::<u16>().is_ok() => leader.to_owned(),
        _ if is_bare_v6 => format!("[{leader}]:{PORT}"),
        _ => format!("{leader}:{PORT}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_without_a_port_has_the_usual_one() {
        for (text, full) in [
            ("10.0.0.1", "10.0.0.1:7883"),
            ("load-1:99", "load-1:99"),
            ("fd00::1", "[fd00::1]:7883"),
            ("[fd00::1]:5", "[fd00::1]:5"),
        ] {
            assert_eq!(with_port(text), full);
        }
    }
}
