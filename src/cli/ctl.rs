//! `ringmq ctl`: emqttd's command words, for what this broker has of them.

use std::process::ExitCode;

use super::args::{
    AclCommand, ClientsCommand, CtlArgs, CtlCommand, FindArgs, SubscriptionsCommand,
};
use super::{Done, Failure, ask, ban, connect, plugins, say, status, unexpected, users};
use crate::config::unit::about_duration_s;
use crate::control::{Client, ClientDetail, ClientInfo, Reply, Request};
use crate::limits::CONTROL_PAGE_MAX;

pub fn ctl(args: CtlArgs) -> Done {
    match args.command {
        CtlCommand::Status(args) => status::status(&args),
        CtlCommand::Clients(ClientsCommand::List(find)) => clients(&find),
        CtlCommand::Clients(ClientsCommand::Show(args)) => {
            let detail = client(&args.find, &args.client_id)?;
            say(&client_line(&detail.client));
            Ok(ExitCode::SUCCESS)
        }
        CtlCommand::Clients(ClientsCommand::Kick(args)) => kick(&args.find, args.client_id),
        CtlCommand::Subscriptions(SubscriptionsCommand::List(find)) => subscriptions(&find),
        CtlCommand::Subscriptions(SubscriptionsCommand::Show(args)) => {
            say_subscriptions(&client(&args.find, &args.client_id)?);
            Ok(ExitCode::SUCCESS)
        }
        CtlCommand::Plugins(command) => plugins::plugins(command),
        CtlCommand::Users(command) => users::users(command),
        CtlCommand::Ban(command) => ban::ban(command),
        CtlCommand::Acl(AclCommand::Reload(find)) => reload(&find),
        CtlCommand::Reload(find) => reload(&find),
    }
}

fn clients(find: &FindArgs) -> Done {
    let mut control = connect(&find.folder())?;
    each_client(&mut control, |_, client| {
        say(&client_line(client));
        Ok(())
    })
}

fn subscriptions(find: &FindArgs) -> Done {
    let mut control = connect(&find.folder())?;
    each_client(&mut control, |control, client| {
        if client.subscriptions == 0 {
            return Ok(());
        }
        let request = Request::Client {
            client_id: client.client_id.clone(),
        };
        match ask(control, &request)? {
            Reply::Client(Some(detail)) => say_subscriptions(&detail),
            // It went between the two questions.
            Reply::Client(None) => {}
            _ => return Err(unexpected()),
        }
        Ok(())
    })
}

/// Page after page, so that neither side ever holds all clients.
fn each_client(
    control: &mut Client,
    mut handle: impl FnMut(&mut Client, &ClientInfo) -> Result<(), Failure>,
) -> Done {
    let mut from = None;
    loop {
        let request = Request::Clients {
            limit: CONTROL_PAGE_MAX,
            from,
        };
        let Reply::Clients(page) = ask(control, &request)? else {
            return Err(unexpected());
        };
        for client in &page.clients {
            handle(control, client)?;
        }
        match page.next {
            Some(next) => from = Some(next),
            None => return Ok(ExitCode::SUCCESS),
        }
    }
}

fn client(find: &FindArgs, client_id: &str) -> Result<ClientDetail, Failure> {
    let mut control = connect(&find.folder())?;
    match ask(
        &mut control,
        &Request::Client {
            client_id: client_id.into(),
        },
    )? {
        Reply::Client(Some(detail)) => Ok(*detail),
        Reply::Client(None) => Err(Failure(format!("there is no client {client_id}"))),
        _ => Err(unexpected()),
    }
}

fn kick(find: &FindArgs, client_id: String) -> Done {
    let mut control = connect(&find.folder())?;
    match ask(
        &mut control,
        &Request::Kick {
            client_id: client_id.clone(),
        },
    )? {
        Reply::Kicked(true) => {
            say("ok");
            Ok(ExitCode::SUCCESS)
        }
        Reply::Kicked(false) => Err(Failure(format!("client {client_id} is not connected"))),
        _ => Err(unexpected()),
    }
}

fn reload(find: &FindArgs) -> Done {
    let mut control = connect(&find.folder())?;
    match control.request(&Request::Reload)? {
        Reply::Reloaded(report) => {
            let lines = report.lines();
            if lines.is_empty() {
                say("nothing has changed");
            }
            lines.iter().for_each(|line| say(line));
            Ok(ExitCode::SUCCESS)
        }
        Reply::Error(reason) => Err(Failure(format!("{reason}\nnothing has changed"))),
        _ => Err(unexpected()),
    }
}

/// In emqttd's form: `Client(id, name=value, ...)`.
fn client_line(client: &ClientInfo) -> String {
    let expiry = match client.session_expiry_s {
        Some(seconds) => about_duration_s(seconds.into()).replace(' ', ""),
        None => "never".into(),
    };
    let told = [
        ("transport", &client.transport),
        ("proxy", &client.proxy),
        ("server_name", &client.server_name),
        ("certificate", &client.certificate),
        ("unique_id", &client.unique_id),
    ];
    let told: String = told
        .into_iter()
        .filter_map(|(name, text)| Some(format!(", {name}={}", text.as_ref()?.escape_debug())))
        .collect();
    format!(
        "Client({}, username={}, peername={}, protocol={}, silence_max={}s, expiry={expiry}, \
         connected={}, epoch={}, shard={}, subscriptions={}, inflight={}, queued={}{told})",
        client.client_id,
        client.username.as_deref().unwrap_or("undefined"),
        client.peer.as_deref().unwrap_or("undefined"),
        client.protocol,
        client.silence_s_max,
        client.is_connected,
        client.epoch,
        client.shard,
        client.subscriptions,
        client.inflight,
        client.queued,
    )
}

fn say_subscriptions(detail: &ClientDetail) {
    for subscription in &detail.subscriptions {
        let id = &detail.client.client_id;
        say(&format!(
            "{id} -> {}: qos {}",
            subscription.filter, subscription.qos
        ));
    }
}
