//! What a client says about itself and its connection.

use crate::context::{Ctx, integer, is};
use crate::failure::{Failure, Outcome, SYNTAX, wrong_arity};
use regie_resp::Version;

pub(crate) fn ping(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    if args.len() > 2 {
        return Err(wrong_arity("ping"));
    }
    let session = ctx.session();
    if session.version == Version::Two && session.subscriptions() > 0 {
        ctx.out.array(2);
        ctx.out.bulk(b"pong");
        ctx.out.bulk(args.get(1).copied().unwrap_or_default());
        return Ok(());
    }
    match args.get(1) {
        Some(text) => ctx.out.bulk(text),
        None => ctx.out.simple("PONG"),
    }
    Ok(())
}

pub(crate) fn echo(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    ctx.out.bulk(args[1]);
    Ok(())
}

pub(crate) fn quit(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    ctx.session().is_closing = true;
    ctx.out.ok();
    Ok(())
}

pub(crate) fn reset(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    let client = ctx.client;
    ctx.engine.unwatch(client);
    ctx.engine.unsubscribe_all(client);
    ctx.engine.tracking_off(client);
    ctx.engine.monitors.remove(&client);
    let authenticated = ctx.engine.users.default_needs_no_password();
    let may_all = ctx.engine.users.get(b"default").is_some_and(crate::acl::User::may_all);
    let session = ctx.session();
    session.transaction = None;
    session.db = 0;
    session.version = Version::Two;
    session.name.clear();
    session.user = b"default".to_vec();
    session.is_authenticated = authenticated;
    session.may_all = may_all;
    session.is_monitor = false;
    session.no_evict = false;
    session.no_touch = false;
    session.replies = crate::session::Replies::On;
    ctx.out.version = Version::Two;
    ctx.out.simple("RESET");
    Ok(())
}

pub(crate) fn select(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let number = integer(args[1])?;
    let count = ctx.engine.databases.len();
    let number = usize::try_from(number).ok().filter(|number| *number < count);
    ctx.session().db = number.ok_or("ERR DB index is out of range")?;
    ctx.out.ok();
    Ok(())
}

fn log_in(ctx: &mut Ctx<'_>, command: &[u8], user: &[u8], password: &[u8]) -> Outcome {
    if !ctx.engine.users.authenticate(user, password) {
        ctx.engine.log_denied_login(ctx.client, command, user);
        return Err("WRONGPASS invalid username-password pair or user is disabled.".into());
    }
    let may_all = ctx.engine.users.get(user).is_some_and(crate::acl::User::may_all);
    let session = ctx.session();
    session.user = user.to_vec();
    session.is_authenticated = true;
    session.may_all = may_all;
    Ok(())
}

pub(crate) fn auth(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    match args {
        [_, password] => {
            if !ctx.engine.users.default_has_password() {
                return Err("ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?".into());
            }
            log_in(ctx, args[0], b"default", password)?;
        }
        [_, user, password] => log_in(ctx, args[0], user, password)?,
        _ => return Err(SYNTAX),
    }
    ctx.out.ok();
    Ok(())
}

/// A client's name may hold no spaces or line breaks: CLIENT LIST would become unreadable.
pub(crate) fn check_name(name: &[u8], what: &str) -> Outcome {
    if name.iter().any(|byte| !(b'!'..=b'~').contains(byte)) {
        return Err(format!("ERR {what} cannot contain spaces, newlines or special characters.").into());
    }
    Ok(())
}

pub(crate) fn hello(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let version = match args.get(1) {
        None => None,
        Some(text) => {
            let number = crate::number::parse_integer(text)
                .ok_or("ERR Protocol version is not an integer or out of range")?;
            Some(match number {
                2 => Version::Two,
                3 => Version::Three,
                _ => return Err("NOPROTO unsupported protocol version".into()),
            })
        }
    };
    let (mut login, mut name) = (None, None);
    let mut at = 2;
    while at < args.len() {
        let left = args.len() - at - 1;
        if is(args[at], "AUTH") && left >= 2 {
            login = Some((args[at + 1], args[at + 2]));
            at += 3;
        } else if is(args[at], "SETNAME") && left >= 1 {
            check_name(args[at + 1], "Client names")?;
            name = Some(args[at + 1]);
            at += 2;
        } else {
            let word = crate::failure::shown(args[at]);
            return Err(Failure::from(format!("ERR Syntax error in HELLO option '{word}'")));
        }
    }
    if let Some((user, password)) = login {
        log_in(ctx, args[0], user, password)?;
    }
    if ctx.engine.is_unauthenticated(ctx.client) {
        return Err("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time".into());
    }
    if let Some(name) = name {
        ctx.session().name = name.to_vec();
    }
    if let Some(version) = version {
        ctx.session().version = version;
        ctx.out.version = version;
    }
    let client = ctx.client;
    ctx.out.map(7);
    ctx.out.bulk(b"server");
    ctx.out.bulk(b"redis");
    ctx.out.bulk(b"version");
    ctx.out.bulk(super::server::REDIS_VERSION.as_bytes());
    ctx.out.bulk(b"proto");
    ctx.out.integer(if ctx.out.version == Version::Three { 3 } else { 2 });
    ctx.out.bulk(b"id");
    ctx.out.integer(client as i64);
    ctx.out.bulk(b"mode");
    ctx.out.bulk(b"standalone");
    ctx.out.bulk(b"role");
    ctx.out.bulk(b"master");
    ctx.out.bulk(b"modules");
    ctx.out.array(0);
    Ok(())
}
