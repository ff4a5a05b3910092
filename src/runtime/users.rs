//! Users and bans, as the control plane asks for them.

use super::broker::Broker;
use crate::auth::{Revision, Whom};
use crate::codec::ReasonCode;
use crate::control::{self, BanKind, NewUser, User};
use crate::identity::guard::{Ban, Target};
use crate::identity::users;

impl Broker {
    pub(super) fn list_users(&self, limit: usize, from: Option<&str>) -> Vec<User> {
        let listed = self.users.list(limit, from).into_iter();
        listed
            .map(|user| User {
                name: user.name,
                is_superuser: user.is_superuser,
                has_scram: user.has_scram,
            })
            .collect()
    }

    pub(super) fn make_user(&self, new: &NewUser) -> Result<(), String> {
        self.users.add(&users::NewUser {
            name: &new.name,
            password: &new.password,
            is_superuser: new.is_superuser,
            scram: new.scram,
        })?;
        self.authority
            .changed(Revision::Recheck(Whom::user(&new.name)));
        Ok(())
    }

    /// Whoever came in with the old password is cut, and comes back with the new one.
    pub(super) fn change_password(&self, name: &str, password: &str) -> Result<(), String> {
        self.users.set_password(name, password)?;
        let kick = Revision::Kick(Whom::user(name), ReasonCode::NotAuthorized);
        self.authority.changed(kick);
        tracing::info!("the password of user {name:?} was changed, its clients are cut");
        Ok(())
    }

    /// Its clients are cut, unless another source knows them by that name.
    pub(super) fn delete_user(&self, name: &str) -> Result<(), String> {
        self.users.remove(name)?;
        self.authority.changed(Revision::Recheck(Whom::user(name)));
        tracing::info!("user {name:?} was deleted");
        Ok(())
    }

    pub(super) fn add_ban(&self, ban: control::Ban) -> Result<(), String> {
        let target = target(ban.kind, ban.value);
        tracing::info!(?target, reason = ban.reason, "banned");
        self.authority.ban(Ban {
            target,
            until_unix_s: ban.until_unix_s,
            reason: ban.reason,
        })
    }

    pub(super) fn lift_ban(&self, kind: BanKind, value: String) -> Result<bool, String> {
        self.authority.lift_ban(&target(kind, value))
    }

    pub(super) fn list_bans(&self) -> Vec<control::Ban> {
        let shown = |ban: Ban| {
            let (kind, value) = match ban.target {
                Target::Client(value) => (BanKind::Client, value),
                Target::User(value) => (BanKind::User, value),
                Target::Address(value) => (BanKind::Address, value),
            };
            control::Ban {
                kind,
                value,
                until_unix_s: ban.until_unix_s,
                reason: ban.reason,
            }
        };
        self.authority.bans().into_iter().map(shown).collect()
    }
}

fn target(kind: BanKind, value: String) -> Target {
    match kind {
        BanKind::Client => Target::Client(value),
        BanKind::User => Target::User(value),
        BanKind::Address => Target::Address(value),
    }
}
