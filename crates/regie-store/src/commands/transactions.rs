//! Transactions: commands are queued and run together, unless a watched key has changed.

use crate::blob::Blob;
use crate::context::Ctx;
use crate::dispatch::{Manner, resolve};
use crate::engine::Engine;
use crate::failure::Outcome;
use crate::session::{ClientId, Transaction};

impl Engine {
    /// Ends a client's transaction without running it.
    pub(crate) fn abandon_transaction(&mut self, client: ClientId) {
        self.session(client).transaction = None;
        self.unwatch(client);
    }

    /// Forgets the watched keys of a client.
    pub(crate) fn unwatch(&mut self, client: ClientId) {
        let Some(session) = self.sessions.get_mut(&client) else { return };
        session.watch_is_dirty = false;
        for (db, key, _) in std::mem::take(&mut session.watched) {
            let place = (db, key);
            if let Some(clients) = self.watchers.get_mut(&place) {
                clients.retain(|watcher| *watcher != client);
                if clients.is_empty() {
                    self.watchers.remove(&place);
                }
            }
        }
    }
}

pub(crate) fn multi(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    let session = ctx.session();
    if session.transaction.is_some() {
        return Err("ERR MULTI calls can not be nested".into());
    }
    session.transaction = Some(Transaction::default());
    ctx.out.ok();
    Ok(())
}

pub(crate) fn discard(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    if ctx.session().transaction.is_none() {
        return Err("ERR DISCARD without MULTI".into());
    }
    let client = ctx.client;
    ctx.engine.abandon_transaction(client);
    ctx.out.ok();
    Ok(())
}

pub(crate) fn exec(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    let client = ctx.client;
    let now = ctx.now();
    let session = ctx.engine.session(client);
    let Some(transaction) = session.transaction.take() else {
        return Err("ERR EXEC without MULTI".into());
    };
    let watched = session.watched.clone();
    let expired =
        watched.iter().any(|(db, key, was_due)| !was_due && ctx.engine.databases[*db].is_due(key, now));
    let dirty = ctx.engine.session(client).watch_is_dirty || expired;
    ctx.engine.unwatch(client);
    if transaction.is_broken {
        return Err("EXECABORT Transaction discarded because of previous errors.".into());
    }
    if dirty {
        ctx.out.null_array();
        return Ok(());
    }
    ctx.out.array(transaction.queue.len());
    for arguments in &transaction.queue {
        let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        let manner = Manner { in_transaction: true, in_script: false };
        let admitted = resolve(&arguments)
            .and_then(|id| ctx.engine.check_rights_again(client, id, &arguments).map(|()| id));
        match admitted {
            Ok(id) => ctx.engine.call(client, id, &arguments, ctx.out, manner, ctx.outside),
            Err(failure) => ctx.out.error(failure.0.as_bytes()),
        }
    }
    Ok(())
}

pub(crate) fn watch(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (client, db, now) = (ctx.client, ctx.db, ctx.now());
    if ctx.session().transaction.is_some() {
        return Err("ERR WATCH inside MULTI is not allowed".into());
    }
    for key in &args[1..] {
        let key = Blob::from(*key);
        if ctx.session().watched.iter().any(|(watched_db, watched, _)| *watched_db == db && *watched == key) {
            continue;
        }
        let was_due = ctx.engine.databases[db].is_due(&key, now);
        ctx.session().watched.push((db, key.clone(), was_due));
        ctx.engine.watchers.entry((db, key)).or_default().push(client);
    }
    ctx.out.ok();
    Ok(())
}

pub(crate) fn unwatch(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    let client = ctx.client;
    ctx.engine.unwatch(client);
    ctx.out.ok();
    Ok(())
}
