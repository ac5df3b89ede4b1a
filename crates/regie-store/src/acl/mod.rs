//! Users and what they may do, as Redis 7.0 has them.
//!
//! A user has passwords (kept as SHA-256), is on or off, and has selectors: sets of rules, of which one that allows a
//! command is enough. The first selector is the user's own; others come in parentheses. A client refers to its user by
//! name; when a user goes or loses channels, its clients are closed. Clients whose user may do everything are marked,
//! so that the check costs them nothing.

mod describe;
mod file;
mod log;
mod rules;
mod selector;
mod user;

pub(crate) use file::{parse, rules_of};
pub(crate) use log::{Context, Log};
pub(crate) use rules::{CATEGORIES, category_of};
pub(crate) use selector::{Denied, Selector};
pub(crate) use user::{User, hash_password};

use crate::command::{self, CommandId};
use crate::engine::Engine;
use crate::failure::{Failure, Outcome};
use crate::session::ClientId;
use std::collections::BTreeMap;

/// All users.
#[derive(Debug)]
pub(crate) struct Users {
    all: BTreeMap<Vec<u8>, User>,
    pub(crate) log: Log,
}

impl Default for Users {
    fn default() -> Self {
        Self { all: BTreeMap::from([(b"default".to_vec(), User::all_powerful())]), log: Log::default() }
    }
}

impl Users {
    /// `requirepass`: the password of the default user, or none.
    pub(crate) fn set_default_password(&mut self, password: &[u8]) {
        if let Some(user) = self.all.get_mut(&b"default"[..]) {
            user.passwords.clear();
            user.needs_no_password = password.is_empty();
            if !password.is_empty() {
                user.passwords.push(hash_password(password));
            }
        }
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<&User> {
        self.all.get(name)
    }

    pub(crate) fn exists(&self, name: &[u8]) -> bool {
        self.all.contains_key(name)
    }

    /// By name.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &User)> {
        self.all.iter().map(|(name, user)| (name.as_slice(), user))
    }

    /// A new client may do something before AUTH.
    pub(crate) fn default_needs_no_password(&self) -> bool {
        self.get(b"default").is_some_and(|user| user.needs_no_password && user.is_on)
    }

    /// AUTH without a user's name makes sense.
    pub(crate) fn default_has_password(&self) -> bool {
        self.get(b"default").is_some_and(|user| !user.needs_no_password)
    }

    pub(crate) fn authenticate(&self, name: &[u8], password: &[u8]) -> bool {
        self.get(name).is_some_and(|user| user.accepts(password))
    }

    /// All as lines of an ACL file.
    pub(crate) fn lines(&self) -> Vec<Vec<u8>> {
        self.iter().map(|(name, user)| [b"user ", name, b" ", &user.describe()].concat()).collect()
    }
}

impl Engine {
    /// Whether `client` may run this command, and if not why.
    fn rights(&self, client: ClientId, id: CommandId, arguments: &[&[u8]]) -> Result<(), Denied> {
        let Some(session) = self.sessions.get(&client) else { return Ok(()) };
        if session.may_all {
            return Ok(());
        }
        match self.users.get(&session.user) {
            Some(user) => user.check(id, arguments),
            None => Err(Denied::Command),
        }
    }

    /// Whether `client` may run this command; nothing is written into ACL LOG.
    pub(crate) fn may_run(&self, client: ClientId, id: CommandId, arguments: &[&[u8]]) -> bool {
        self.rights(client, id, arguments).is_ok()
    }

    /// Refuses what the client's user may not do, and writes it into ACL LOG. At dispatch, within EXEC and in scripts.
    pub(crate) fn check_rights(&mut self, client: ClientId, id: CommandId, arguments: &[&[u8]]) -> Outcome {
        let Err(denied) = self.rights(client, id, arguments) else { return Ok(()) };
        self.log_denied(client, denied, id, arguments);
        Err(match denied {
            Denied::Command => {
                let name = command::row(id).name;
                format!("NOPERM this user has no permissions to run the '{name}' command").into()
            }
            Denied::Key(_) => Failure::from(
                "NOPERM this user has no permissions to access one of the keys used as arguments",
            ),
            Denied::Channel(_) => Failure::from(
                "NOPERM this user has no permissions to access one of the channels used as arguments",
            ),
        })
    }

    /// As [`Engine::check_rights`], for a command that was queued when it was still allowed.
    pub(crate) fn check_rights_again(
        &mut self,
        client: ClientId,
        id: CommandId,
        arguments: &[&[u8]],
    ) -> Outcome {
        let Err(denied) = self.rights(client, id, arguments) else { return Ok(()) };
        self.log_entry(client, denied, Context::Multi, id, arguments);
        let reason = match denied {
            Denied::Command => "no permission to execute the command or subcommand",
            Denied::Key(_) => "no permission to touch the specified keys",
            Denied::Channel(_) => "no permission to access one of the channels used as arguments",
        };
        Err(format!("NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed for the following reason: {reason}").into())
    }

    fn log_denied(&mut self, client: ClientId, denied: Denied, id: CommandId, arguments: &[&[u8]]) {
        let in_script = self.scripts.running.is_some();
        let in_transaction = self.sessions.get(&client).is_some_and(|s| s.transaction.is_some());
        let context = match (in_script, in_transaction) {
            (true, _) => Context::Lua,
            (false, true) => Context::Multi,
            (false, false) => Context::TopLevel,
        };
        self.log_entry(client, denied, context, id, arguments);
    }

    fn log_entry(
        &mut self,
        client: ClientId,
        denied: Denied,
        context: Context,
        id: CommandId,
        arguments: &[&[u8]],
    ) {
        let (reason, object) = match denied {
            Denied::Command => ("command", command::row(id).name.as_bytes().to_vec()),
            Denied::Key(at) => ("key", arguments[at].to_vec()),
            Denied::Channel(at) => ("channel", arguments[at].to_vec()),
        };
        let user = self.session(client).user.clone();
        self.add_to_log(client, context, reason, object, user);
    }

    /// A wrong password, or a user who is off.
    pub(crate) fn log_denied_login(&mut self, client: ClientId, command: &[u8], user: &[u8]) {
        let in_transaction = self.sessions.get(&client).is_some_and(|s| s.transaction.is_some());
        let context = if in_transaction { Context::Multi } else { Context::TopLevel };
        self.add_to_log(client, context, "auth", command.to_vec(), user.to_vec());
    }

    fn add_to_log(
        &mut self,
        client: ClientId,
        context: Context,
        reason: &'static str,
        object: Vec<u8>,
        user: Vec<u8>,
    ) {
        let info = crate::commands::clients::describe(self, client);
        let limit = self.config.get("acllog-max-len").parse().unwrap_or(128);
        self.users
            .log
            .add(log::Entry { count: 1, reason, context, object, user, at: self.now, client: info }, limit);
    }

    /// Whether `client` may read every key with this command: SORT looks at keys that its arguments do not name.
    pub(crate) fn may_read_all_keys(&self, client: ClientId, arguments: &[&[u8]]) -> bool {
        let Some(session) = self.sessions.get(&client).filter(|session| !session.may_all) else {
            return true;
        };
        let Ok(id) = crate::dispatch::resolve(arguments) else { return false };
        self.users.get(&session.user).is_some_and(|user| user.check_with_all_keys(id, arguments))
    }

    /// Puts a user in place of the one of this name. Listeners to channels that it has lost are closed.
    pub(crate) fn put_user(&mut self, name: &[u8], user: User) {
        if let Some(old) = self.users.get(name)
            && user.has_lost_channels(old)
        {
            let stranded = self.sessions.values().filter(|session| {
                let may = |names: &std::collections::BTreeSet<crate::blob::Blob>, pattern| {
                    names.iter().all(|channel| user.may_listen(channel, pattern))
                };
                session.user == name
                    && session.subscriptions() > 0
                    && !(may(&session.patterns, true)
                        && may(&session.channels, false)
                        && may(&session.shard_channels, false))
            });
            let stranded: Vec<ClientId> = stranded.map(|session| session.id).collect();
            for client in stranded {
                self.close_client(client);
            }
        }
        self.users.all.insert(name.to_vec(), user);
        self.refresh_rights();
    }

    /// Deletes a user and closes its clients; true if there was one.
    pub(crate) fn delete_user(&mut self, name: &[u8], by: ClientId) -> bool {
        if self.users.all.remove(name).is_none() {
            return false;
        }
        self.close_clients_of(name, by);
        true
    }

    fn close_clients_of(&mut self, name: &[u8], by: ClientId) {
        let clients: Vec<ClientId> =
            self.sessions.values().filter(|session| session.user == name).map(|session| session.id).collect();
        for client in clients {
            let session = self.session(client);
            session.user = b"default".to_vec();
            session.is_authenticated = false;
            if client == by {
                session.is_closing = true;
            } else {
                self.close_client(client);
            }
        }
        self.refresh_rights();
    }

    fn close_client(&mut self, client: ClientId) {
        self.session(client).is_closing = true;
        self.effects.closes.push(client);
    }

    /// Puts the users of a file in place of all. The default user stays if the file has none.
    pub(crate) fn replace_users(&mut self, users: BTreeMap<Vec<u8>, User>, by: ClientId) {
        let old = std::mem::replace(&mut self.users.all, users);
        self.users.all.entry(b"default".to_vec()).or_insert_with(User::all_powerful);
        for name in old.keys().filter(|name| name.as_slice() != b"default") {
            self.close_clients_of(name, by);
        }
        self.refresh_rights();
    }

    /// Marks anew which clients may do everything.
    pub(crate) fn refresh_rights(&mut self) {
        let users = &self.users;
        for session in self.sessions.values_mut() {
            session.may_all = session.is_trusted || users.get(&session.user).is_some_and(User::may_all);
        }
    }
}
