//! `ringmq ctl users`.

use std::io::{self, BufRead};
use std::process::ExitCode;

use super::args::{AddUserArgs, FindArgs, UserArgs, UsersCommand};
use super::{Done, Failure, ask, connect, say, unexpected};
use crate::control::{NewUser, Reply, Request};
use crate::limits::CONTROL_PAGE_MAX;

pub fn users(command: UsersCommand) -> Done {
    match command {
        UsersCommand::Add(args) => add(args),
        UsersCommand::Del(UserArgs { name, find }) => done(&find, &Request::DeleteUser { name }),
        UsersCommand::Passwd(args) => {
            let password = password(args.password)?;
            let name = args.name;
            done(&args.find, &Request::SetPassword { name, password })
        }
        UsersCommand::List(find) => list(&find),
    }
}

fn add(args: AddUserArgs) -> Done {
    let new = NewUser {
        name: args.user.name,
        password: password(args.user.password)?,
        is_superuser: args.superuser,
        scram: args.scram,
    };
    done(&args.user.find, &Request::AddUser(new))
}

fn list(find: &FindArgs) -> Done {
    let mut control = connect(&find.folder())?;
    let mut from = None;
    loop {
        let limit = CONTROL_PAGE_MAX;
        let Reply::Users(page) = ask(&mut control, &Request::Users { limit, from })? else {
            return Err(unexpected());
        };
        for user in &page {
            let superuser = if user.is_superuser { ", superuser" } else { "" };
            let scram = if user.has_scram { ", scram" } else { "" };
            say(&format!("User({}{superuser}{scram})", user.name));
        }
        match page.last() {
            Some(last) if page.len() == CONTROL_PAGE_MAX => from = Some(last.name.clone()),
            _ => return Ok(ExitCode::SUCCESS),
        }
    }
}

fn done(find: &FindArgs, request: &Request) -> Done {
    let mut control = connect(&find.folder())?;
    match ask(&mut control, request)? {
        Reply::Done => {
            say("ok");
            Ok(ExitCode::SUCCESS)
        }
        _ => Err(unexpected()),
    }
}

/// The password given, or the first line of standard input.
fn password(given: Option<String>) -> Result<String, Failure> {
    if let Some(password) = given {
        return Ok(password);
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let line = line.trim_end_matches(['\r', '\n']);
    match line.is_empty() {
        true => Err(Failure("no password on standard input".into())),
        false => Ok(line.into()),
    }
}
