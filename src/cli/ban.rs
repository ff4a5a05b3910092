//! `ringmq ctl ban`.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use super::args::{AddBanArgs, BanArgs, BanCommand, BanWord, FindArgs};
use super::{Done, Failure, ask, connect, say, unexpected};
use crate::config::unit::{about_duration_s, parse_duration_s};
use crate::control::{Ban, BanKind, Reply, Request};

pub fn ban(command: BanCommand) -> Done {
    match command {
        BanCommand::Add(args) => add(args),
        BanCommand::Del(args) => del(args),
        BanCommand::List(find) => list(&find),
    }
}

fn add(args: AddBanArgs) -> Done {
    let lasts_s = args.r#for.as_deref().map(parse_duration_s).transpose()?;
    let request = Request::AddBan(Ban {
        kind: kind(args.ban.kind),
        value: args.ban.value,
        until_unix_s: lasts_s.map(|lasts_s| now_s() + lasts_s),
        reason: args.reason,
    });
    let mut control = connect(&args.ban.find.folder())?;
    match ask(&mut control, &request)? {
        Reply::Done => {
            say("ok");
            Ok(ExitCode::SUCCESS)
        }
        _ => Err(unexpected()),
    }
}

fn del(args: BanArgs) -> Done {
    let mut control = connect(&args.find.folder())?;
    let request = Request::LiftBan {
        kind: kind(args.kind),
        value: args.value.clone(),
    };
    match ask(&mut control, &request)? {
        Reply::Lifted(true) => {
            say("ok");
            Ok(ExitCode::SUCCESS)
        }
        Reply::Lifted(false) => Err(Failure(format!("there is no ban of {}", args.value))),
        _ => Err(unexpected()),
    }
}

fn list(find: &FindArgs) -> Done {
    let mut control = connect(&find.folder())?;
    let Reply::Bans(bans) = ask(&mut control, &Request::Bans)? else {
        return Err(unexpected());
    };
    for ban in bans {
        let kind = match ban.kind {
            BanKind::Client => "client",
            BanKind::User => "user",
            BanKind::Address => "address",
        };
        let left = ban.until_unix_s.map_or("for good".into(), |until| {
            format!("for {}", about_duration_s(until.saturating_sub(now_s())))
        });
        let reason = match ban.reason.as_str() {
            "" => String::new(),
            reason => format!(", {reason}"),
        };
        say(&format!("Ban({kind} {}, {left}{reason})", ban.value));
    }
    Ok(ExitCode::SUCCESS)
}

fn kind(word: BanWord) -> BanKind {
    match word {
        BanWord::Client => BanKind::Client,
        BanWord::User => BanKind::User,
        BanWord::Address => BanKind::Address,
    }
}

fn now_s() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}
