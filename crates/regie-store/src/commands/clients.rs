//! CLIENT: who is connected, and what is done to them.

use crate::blob::Blob;
use crate::context::{Ctx, integer, is};
use crate::engine::Engine;
use crate::failure::{Failure, Outcome, SYNTAX};
use crate::session::{ClientId, Replies, Session, Tracking};
use regie_resp::Version;

fn flags(engine: &Engine, session: &Session) -> String {
    let mut flags = String::new();
    for (holds, letter) in [
        (session.is_monitor, 'O'),
        (session.is_replica(), 'S'),
        (engine.is_leader(session.id), 'M'),
        (session.subscriptions() > 0, 'P'),
        (session.transaction.is_some(), 'x'),
        (session.blocked.is_some(), 'b'),
        (session.tracking.is_on, 't'),
        (session.tracking.redirect_is_broken, 'R'),
        (session.tracking.is_on && session.tracking.broadcast, 'B'),
        (session.watch_is_dirty, 'd'),
        (session.is_closing, 'c'),
        (session.peer.is_unix, 'U'),
        (session.no_evict, 'e'),
        (session.no_touch, 'T'),
    ] {
        if holds {
            flags.push(letter);
        }
    }
    if flags.is_empty() {
        flags.push('N');
    }
    flags
}

/// Bytes of a command as the protocol has it.
fn length(arguments: &[&[u8]]) -> usize {
    let digits = |number: usize| number.to_string().len();
    3 + digits(arguments.len()) + arguments.iter().map(|a| 5 + digits(a.len()) + a.len()).sum::<usize>()
}

/// `current`: the command that this client has just sent, if it is the one that asks.
fn line(engine: &Engine, session: &Session, current: &[&[u8]]) -> String {
    let query = if current.is_empty() { 0 } else { length(current) };
    let argument_memory: usize = current.iter().map(|argument| argument.len()).sum();
    let seconds = |since: i64| (engine.now - since).max(0) / 1000;
    let multi = session.transaction.as_ref().map_or(-1, |transaction| transaction.queue.len() as i64);
    let multi_memory: usize = session
        .transaction
        .iter()
        .flat_map(|transaction| &transaction.queue)
        .flatten()
        .map(|argument| argument.len() + 24)
        .sum();
    let (library, library_version) =
        session.library.as_deref().map_or((&[][..], &[][..]), |(name, version)| (name, version));
    let redirect = match &session.tracking {
        tracking if !tracking.is_on => -1,
        tracking => tracking.redirect as i64,
    };
    format!(
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={multi} qbuf={query} qbuf-free={} argv-mem={argument_memory} multi-mem={multi_memory} rbs=1024 rbp=0 obl=0 oll=0 omem=0 tot-mem=22298 events=r cmd={} user={} redir={redirect} resp={} lib-name={} lib-ver={}",
        session.id,
        session.peer.address,
        session.peer.local_address,
        session.peer.descriptor,
        String::from_utf8_lossy(&session.name),
        seconds(session.created_at),
        seconds(session.used_at),
        flags(engine, session),
        session.db,
        session.channels.len(),
        session.patterns.len(),
        session.shard_channels.len(),
        20_474usize.saturating_sub(query),
        session.last_command,
        String::from_utf8_lossy(&session.user),
        if session.version == Version::Three { 3 } else { 2 },
        String::from_utf8_lossy(library),
        String::from_utf8_lossy(library_version),
    )
}

/// A client as CLIENT LIST shows it.
pub(crate) fn describe(engine: &Engine, client: ClientId) -> String {
    engine.sessions.get(&client).map(|session| line(engine, session, &[])).unwrap_or_default()
}

/// The kinds of clients that TYPE names.
fn kind_matches(session: &Session, kind: &[u8]) -> Outcome<bool> {
    let is_replica = session.is_replica();
    let is_subscriber = session.subscriptions() > 0 && !is_replica;
    match () {
        () if is(kind, "normal") => Ok(!is_subscriber && !is_replica),
        () if is(kind, "pubsub") => Ok(is_subscriber),
        () if is(kind, "replica") || is(kind, "slave") => Ok(is_replica),
        () if is(kind, "master") => Ok(false),
        () => Err(format!("ERR Unknown client type '{}'", crate::failure::shown(kind)).into()),
    }
}

pub(crate) fn list(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let mut sessions: Vec<&Session> = ctx.engine.sessions.values().collect();
    match args {
        [_, _] => {}
        [_, _, word, kind] if is(word, "TYPE") => {
            for session in &sessions {
                kind_matches(session, kind)?;
            }
            sessions.retain(|session| kind_matches(session, kind) == Ok(true));
        }
        [_, _, word, ids @ ..] if is(word, "ID") && !ids.is_empty() => {
            let ids: Option<Vec<i64>> = ids.iter().map(|id| crate::number::parse_integer(id)).collect();
            let ids = ids.ok_or("ERR Invalid client ID")?;
            sessions.retain(|session| ids.contains(&(session.id as i64)));
        }
        _ => return Err(SYNTAX),
    }
    sessions.sort_by_key(|session| session.id);
    let mut text = String::new();
    for session in sessions {
        let current = if session.id == ctx.client { args } else { &[] };
        text.push_str(&line(ctx.engine, session, current));
        text.push('\n');
    }
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

pub(crate) fn info(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let session = ctx.engine.sessions.get(&ctx.client);
    let text = session.map(|session| line(ctx.engine, session, args)).unwrap_or_default();
    ctx.out.verbatim("txt", format!("{text}\n").as_bytes());
    Ok(())
}

pub(crate) fn id(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    ctx.out.integer(ctx.client as i64);
    Ok(())
}

pub(crate) fn setname(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    super::connection::check_name(args[2], "Client names")?;
    ctx.session().name = args[2].to_vec();
    ctx.out.ok();
    Ok(())
}

pub(crate) fn getname(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    let name = ctx.session().name.clone();
    if name.is_empty() {
        ctx.out.null();
    } else {
        ctx.out.bulk(&name);
    }
    Ok(())
}

pub(crate) fn reply(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    ctx.session().replies = match () {
        () if is(args[2], "ON") => {
            ctx.out.ok();
            Replies::On
        }
        () if is(args[2], "OFF") => Replies::Off,
        () if is(args[2], "SKIP") => Replies::SkipNext,
        () => return Err(SYNTAX),
    };
    Ok(())
}

/// What newer clients say of themselves; Redis 7.2 has brought it.
pub(crate) fn setinfo(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let what = match () {
        () if is(args[2], "LIB-NAME") => "lib-name",
        () if is(args[2], "LIB-VER") => "lib-ver",
        () => return Err(format!("ERR Unrecognized option '{}'", crate::failure::shown(args[2])).into()),
    };
    super::connection::check_name(args[3], what)?;
    let library = ctx.session().library.get_or_insert_default();
    if what == "lib-name" {
        library.0 = args[3].to_vec();
    } else {
        library.1 = args[3].to_vec();
    }
    ctx.out.ok();
    Ok(())
}

pub(crate) fn no_touch(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    ctx.session().no_touch = match () {
        () if is(args[2], "ON") => true,
        () if is(args[2], "OFF") => false,
        () => return Err(SYNTAX),
    };
    ctx.out.ok();
    Ok(())
}

pub(crate) fn no_evict(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    ctx.session().no_evict = match () {
        () if is(args[2], "ON") => true,
        () if is(args[2], "OFF") => false,
        () => return Err(SYNTAX),
    };
    ctx.out.ok();
    Ok(())
}

pub(crate) fn kill(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let own = ctx.client;
    let mut skip_me = true;
    let mut chosen: Vec<ClientId> = ctx.engine.sessions.values().map(|session| session.id).collect();
    let old_form = args.len() == 3;
    if old_form {
        chosen.retain(|id| ctx.engine.sessions[id].peer.address.as_bytes() == args[2]);
        skip_me = false;
    } else {
        for option in args[2..].chunks(2) {
            let [name, value] = option else { return Err(SYNTAX) };
            let sessions = &ctx.engine.sessions;
            match () {
                () if is(name, "ID") => {
                    let id = integer(value).ok().filter(|id| *id > 0);
                    let id =
                        id.ok_or_else(|| Failure::from("ERR client-id should be greater than 0"))? as u64;
                    chosen.retain(|chosen| *chosen == id);
                }
                () if is(name, "ADDR") => chosen.retain(|id| sessions[id].peer.address.as_bytes() == *value),
                () if is(name, "LADDR") => {
                    chosen.retain(|id| sessions[id].peer.local_address.as_bytes() == *value);
                }
                () if is(name, "USER") => {
                    if !ctx.engine.users.exists(value) {
                        let name = crate::failure::shown(value);
                        return Err(format!("ERR No such user '{name}'").into());
                    }
                    chosen.retain(|id| sessions[id].user == *value);
                }
                () if is(name, "TYPE") => {
                    for id in chosen.clone() {
                        if !kind_matches(&sessions[&id], value)? {
                            chosen.retain(|chosen| *chosen != id);
                        }
                    }
                }
                () if is(name, "SKIPME") => {
                    skip_me = match () {
                        () if is(value, "YES") => true,
                        () if is(value, "NO") => false,
                        () => return Err(SYNTAX),
                    };
                }
                () => return Err(SYNTAX),
            }
        }
    }
    if skip_me {
        chosen.retain(|id| *id != own);
    }
    if old_form && chosen.is_empty() {
        return Err("ERR No such client".into());
    }
    for &id in &chosen {
        if id == own {
            ctx.session().is_closing = true;
        } else {
            ctx.engine.effects.closes.push(id);
        }
    }
    if old_form {
        ctx.out.ok();
    } else {
        ctx.out.integer(chosen.len() as i64);
    }
    Ok(())
}

pub(crate) fn unblock(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let with_error = match args.get(3) {
        None => false,
        Some(word) if is(word, "TIMEOUT") => false,
        Some(word) if is(word, "ERROR") => true,
        Some(_) => return Err("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR".into()),
    };
    let id = integer(args[2])?;
    let done = ctx.engine.unblock_by_hand(id as u64, with_error);
    ctx.out.integer(i64::from(done));
    Ok(())
}

pub(crate) fn pause(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let writes_only = match args.get(3) {
        None => false,
        Some(word) if is(word, "ALL") => false,
        Some(word) if is(word, "WRITE") => true,
        Some(_) => return Err("ERR CLIENT PAUSE mode must be WRITE or ALL".into()),
    };
    let ms = integer(args[2]).map_err(|_| Failure::from("ERR timeout is not an integer or out of range"))?;
    if ms < 0 {
        return Err("ERR timeout is negative".into());
    }
    let until = ctx.now().checked_add(ms).ok_or("ERR timeout is out of range")?;
    // A pause is never weakened by another: the longer and the stricter hold.
    let engine = &mut *ctx.engine;
    engine.pause = Some(match engine.pause {
        Some((old, old_writes_only)) => (old.max(until), old_writes_only && writes_only),
        None => (until, writes_only),
    });
    ctx.out.ok();
    Ok(())
}

pub(crate) fn unpause(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    ctx.engine.pause = None;
    ctx.out.ok();
    Ok(())
}

pub(crate) fn getredir(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    let tracking = &ctx.session().tracking;
    let reply = if tracking.is_on { tracking.redirect as i64 } else { -1 };
    ctx.out.integer(reply);
    Ok(())
}

pub(crate) fn caching(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let tracking = ctx.session().tracking.clone();
    if !tracking.is_on {
        return Err("ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled".into());
    }
    let wanted = match () {
        () if is(args[2], "YES") && tracking.opt_in => true,
        () if is(args[2], "YES") => {
            return Err("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.".into());
        }
        () if is(args[2], "NO") && tracking.opt_out => false,
        () if is(args[2], "NO") => {
            return Err("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.".into());
        }
        () => return Err(SYNTAX),
    };
    ctx.session().tracking.caching = Some(wanted);
    ctx.out.ok();
    Ok(())
}

pub(crate) fn tracking(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let client = ctx.client;
    let mut wanted = Tracking { is_on: true, ..Tracking::default() };
    let mut at = 3;
    while at < args.len() {
        match () {
            () if is(args[at], "REDIRECT") && at + 1 < args.len() => {
                at += 1;
                if wanted.redirect != 0 {
                    return Err("ERR A client can only redirect to a single other client".into());
                }
                let id = integer(args[at])? as u64;
                if !ctx.engine.sessions.contains_key(&id) {
                    return Err("ERR The client ID you want redirect to does not exist".into());
                }
                wanted.redirect = id;
            }
            () if is(args[at], "BCAST") => wanted.broadcast = true,
            () if is(args[at], "OPTIN") => wanted.opt_in = true,
            () if is(args[at], "OPTOUT") => wanted.opt_out = true,
            () if is(args[at], "NOLOOP") => wanted.no_loop = true,
            () if is(args[at], "PREFIX") && at + 1 < args.len() => {
                at += 1;
                wanted.prefixes.push(Blob::from(args[at]));
            }
            () => return Err(SYNTAX),
        }
        at += 1;
    }
    match () {
        () if is(args[2], "ON") => {}
        () if is(args[2], "OFF") => {
            ctx.engine.tracking_off(client);
            ctx.out.ok();
            return Ok(());
        }
        () => return Err(SYNTAX),
    }
    let old = ctx.session().tracking.clone();
    check_tracking(&wanted, &old)?;
    if wanted.broadcast {
        let prefixes = if wanted.prefixes.is_empty() && old.prefixes.is_empty() {
            vec![Blob::from(&b""[..])]
        } else {
            wanted.prefixes.clone()
        };
        for prefix in &prefixes {
            ctx.engine.broadcasting.entry(prefix.clone()).or_default().insert(client);
        }
        wanted.prefixes = [old.prefixes, prefixes].concat();
    }
    ctx.session().tracking = wanted;
    ctx.engine.any_tracking = true;
    ctx.out.ok();
    Ok(())
}

fn check_tracking(wanted: &Tracking, old: &Tracking) -> Outcome {
    if !wanted.broadcast && !wanted.prefixes.is_empty() {
        return Err("ERR PREFIX option requires BCAST mode to be enabled".into());
    }
    if old.is_on && old.broadcast != wanted.broadcast {
        return Err("ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.".into());
    }
    if wanted.broadcast && (wanted.opt_in || wanted.opt_out) {
        return Err("ERR OPTIN and OPTOUT are not compatible with BCAST".into());
    }
    if wanted.opt_in && wanted.opt_out {
        return Err("ERR You can't use both OPTIN and OPTOUT together".into());
    }
    if old.is_on && ((wanted.opt_in && old.opt_out) || (wanted.opt_out && old.opt_in)) {
        return Err("ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.".into());
    }
    let clash = |a: &Blob, b: &Blob| -> Failure {
        format!(
            "ERR Prefix '{}' overlaps with an existing prefix '{}'. Prefixes for a single client must not overlap.",
            crate::failure::shown(a),
            crate::failure::shown(b)
        )
        .into()
    };
    for (index, prefix) in wanted.prefixes.iter().enumerate() {
        if let Some(other) = old.prefixes.iter().find(|o| o.starts_with(prefix) || prefix.starts_with(o)) {
            return Err(clash(prefix, other));
        }
        if let Some(other) =
            wanted.prefixes[..index].iter().find(|o| o.starts_with(prefix) || prefix.starts_with(o))
        {
            let text = clash(other, prefix).0.replace("an existing prefix", "another provided prefix");
            return Err(text.into());
        }
    }
    Ok(())
}

pub(crate) fn trackinginfo(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    let tracking = ctx.session().tracking.clone();
    let mut flags = vec![if tracking.is_on { "on" } else { "off" }];
    for (holds, name) in [
        (tracking.broadcast, "bcast"),
        (tracking.opt_in, "optin"),
        (tracking.opt_out, "optout"),
        (tracking.opt_in && tracking.caching == Some(true), "caching-yes"),
        (tracking.opt_out && tracking.caching == Some(false), "caching-no"),
        (tracking.no_loop, "noloop"),
        (tracking.redirect_is_broken, "broken_redirect"),
    ] {
        if holds {
            flags.push(name);
        }
    }
    ctx.out.map(3);
    ctx.out.bulk(b"flags");
    ctx.out.set(flags.len());
    flags.iter().for_each(|flag| ctx.out.bulk(flag.as_bytes()));
    ctx.out.bulk(b"redirect");
    ctx.out.integer(if tracking.is_on { tracking.redirect as i64 } else { -1 });
    ctx.out.bulk(b"prefixes");
    ctx.out.array(tracking.prefixes.len());
    tracking.prefixes.iter().for_each(|prefix| ctx.out.bulk(prefix));
    Ok(())
}

pub(crate) fn monitor(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    let client = ctx.client;
    if ctx.may_not_block {
        return Err("ERR MONITOR isn't allowed for DENY BLOCKING client".into());
    }
    ctx.session().is_monitor = true;
    ctx.engine.monitors.insert(client);
    ctx.out.ok();
    Ok(())
}
