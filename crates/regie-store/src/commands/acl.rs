//! ACL: users and what they may do.

use crate::acl::{CATEGORIES, Denied, User, category_of, parse, rules_of};
use crate::command;
use crate::commands::table::COMMANDS;
use crate::context::{Ctx, integer, is};
use crate::dispatch::resolve;
use crate::effects::DiskRequest;
use crate::engine::Engine;
use crate::failure::{Failure, Outcome, shown, wrong_arity};
use crate::session::{ClientId, Waiting};
use sha2::{Digest, Sha256};

/// Bits of a generated password at most.
const PASSWORD_BITS: i64 = 4096;
/// Entries that ACL LOG shows if not told otherwise.
const SHOWN_ENTRIES: i64 = 10;

/// What a new user may do to channels.
fn all_channels(engine: &Engine) -> bool {
    engine.config.get("acl-pubsub-default") == "allchannels"
}

fn wrong_subcommand(word: &[u8]) -> Failure {
    format!("ERR unknown subcommand or wrong number of arguments for '{}'. Try ACL HELP.", shown(word)).into()
}

pub(crate) fn setuser(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let name = args[2];
    if name.iter().any(|byte| byte.is_ascii_whitespace() || *byte == 0) {
        return Err("ERR Usernames can't contain spaces or null characters".into());
    }
    let rules = rules_of(&args[3..]).map_err(|word| -> Failure {
        format!("ERR Unmatched parenthesis in acl selector starting at '{}'.", shown(&word)).into()
    })?;
    let all_channels = all_channels(ctx.engine);
    let mut user = ctx.engine.users.get(name).cloned().unwrap_or_else(|| User::new(all_channels));
    for rule in rules {
        user.apply(&rule, all_channels).map_err(|error| -> Failure {
            format!("ERR Error in ACL SETUSER modifier '{}': {}", shown(&rule), error.text()).into()
        })?;
    }
    ctx.engine.put_user(name, user);
    ctx.out.ok();
    Ok(())
}

pub(crate) fn deluser(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    if args[2..].contains(&&b"default"[..]) {
        return Err("ERR The 'default' user cannot be removed".into());
    }
    let client = ctx.client;
    let count = args[2..].iter().filter(|name| ctx.engine.delete_user(name, client)).count();
    ctx.out.integer(count as i64);
    Ok(())
}

pub(crate) fn getuser(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let Some(user) = ctx.engine.users.get(args[2]) else {
        ctx.out.null();
        return Ok(());
    };
    ctx.out.map(6);
    ctx.out.bulk(b"flags");
    let flags = user.flags();
    ctx.out.set(flags.len());
    flags.iter().for_each(|flag| ctx.out.bulk(flag.as_bytes()));
    ctx.out.bulk(b"passwords");
    ctx.out.array(user.passwords.len());
    user.passwords.iter().for_each(|hash| ctx.out.bulk(hash.as_bytes()));
    write_selector(ctx.out, &user.selectors[0]);
    ctx.out.bulk(b"selectors");
    ctx.out.array(user.selectors.len() - 1);
    for selector in &user.selectors[1..] {
        ctx.out.map(3);
        write_selector(ctx.out, selector);
    }
    Ok(())
}

fn write_selector(out: &mut regie_resp::Encoder, selector: &crate::acl::Selector) {
    for (name, text) in [
        ("commands", selector.describe_commands()),
        ("keys", selector.describe_keys()),
        ("channels", selector.describe_channels()),
    ] {
        out.bulk(name.as_bytes());
        out.bulk(&text);
    }
}

pub(crate) fn list(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    let lines = ctx.engine.users.lines();
    ctx.out.array(lines.len());
    lines.iter().for_each(|line| ctx.out.bulk(line));
    Ok(())
}

pub(crate) fn users(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    let users = ctx.engine.users.iter();
    ctx.out.array(users.len());
    users.for_each(|(name, _)| ctx.out.bulk(name));
    Ok(())
}

pub(crate) fn whoami(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    let user = ctx.session().user.clone();
    ctx.out.bulk(&user);
    Ok(())
}

pub(crate) fn cat(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let Some(name) = args.get(2) else {
        ctx.out.array(CATEGORIES.len());
        CATEGORIES.iter().for_each(|category| ctx.out.bulk(category.as_bytes()));
        return Ok(());
    };
    if args.len() > 3 {
        return Err(wrong_subcommand(args[1]));
    }
    let category =
        category_of(name).ok_or_else(|| Failure::from(format!("ERR Unknown category '{}'", shown(name))))?;
    let members: Vec<&str> = COMMANDS
        .iter()
        .filter(|row| row.all_categories().contains(&CATEGORIES[category]))
        .map(|row| row.name)
        .collect();
    ctx.out.array(members.len());
    members.iter().for_each(|name| ctx.out.bulk(name.as_bytes()));
    Ok(())
}

pub(crate) fn genpass(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let bits = match &args[2..] {
        [] => 256,
        [bits] => integer(bits)?,
        _ => return Err(wrong_subcommand(args[1])),
    };
    if !(1..=PASSWORD_BITS).contains(&bits) {
        return Err(format!("ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to {PASSWORD_BITS}").into());
    }
    let digits = bits.div_euclid(4) + i64::from(bits % 4 > 0);
    let mut password = String::new();
    while (password.len() as i64) < digits {
        password.push_str(&ctx.engine.secret_digits());
    }
    password.truncate(digits as usize);
    ctx.out.bulk(password.as_bytes());
    Ok(())
}

impl Engine {
    /// 64 hexadecimal digits that nobody can guess: the next hash of the secret and a counter.
    fn secret_digits(&mut self) -> String {
        self.secrets_given += 1;
        let mut hash = Sha256::new();
        hash.update(self.secret);
        hash.update(self.secrets_given.to_le_bytes());
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

pub(crate) fn log(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let count = match &args[2..] {
        [] => SHOWN_ENTRIES,
        [word] if is(word, "RESET") => {
            ctx.engine.users.log.entries.clear();
            ctx.out.ok();
            return Ok(());
        }
        [count] => integer(count)?.max(0),
        _ => return Err(wrong_subcommand(args[1])),
    };
    let now = ctx.engine.now;
    let entries = &ctx.engine.users.log.entries;
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(entries.len());
    ctx.out.array(count);
    for entry in entries.iter().take(count) {
        ctx.out.map(7);
        ctx.out.bulk(b"count");
        ctx.out.integer(entry.count as i64);
        for (name, text) in [
            ("reason", entry.reason.as_bytes()),
            ("context", entry.context.name().as_bytes()),
            ("object", &entry.object),
            ("username", &entry.user),
        ] {
            ctx.out.bulk(name.as_bytes());
            ctx.out.bulk(text);
        }
        ctx.out.bulk(b"age-seconds");
        ctx.out.double((now - entry.at) as f64 / 1000.0);
        ctx.out.bulk(b"client-info");
        ctx.out.bulk(entry.client.as_bytes());
    }
    Ok(())
}

pub(crate) fn dryrun(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (name, line) = (args[2], &args[3..]);
    let user = ctx.engine.users.get(name);
    let user = user.ok_or_else(|| Failure::from(format!("ERR User '{}' not found", shown(name))))?;
    let id =
        resolve(line).map_err(|_| Failure::from(format!("ERR Command '{}' not found", shown(line[0]))))?;
    let row = command::row(id);
    if !row.accepts(line.len()) {
        return Err(wrong_arity(row.name));
    }
    let refused = |what: &str, name: &[u8]| {
        format!("This user has no permissions to access the '{}' {what}", shown(name))
    };
    let text = match user.check(id, line) {
        Ok(()) => {
            ctx.out.ok();
            return Ok(());
        }
        Err(Denied::Command) => {
            format!("This user has no permissions to run the '{}' command", row.name)
        }
        Err(Denied::Key(at)) => refused("key", line[at]),
        Err(Denied::Channel(at)) => refused("channel", line[at]),
    };
    ctx.out.bulk(text.as_bytes());
    Ok(())
}

/// ACL LOAD and ACL SAVE: the file is the shell's; the client waits for it.
fn ask_for_file(ctx: &mut Ctx<'_>, request: DiskRequest, args: &[&[u8]]) -> Outcome {
    if ctx.engine.config.get("aclfile").is_empty() {
        return Err("ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in the Redis configuration.".into());
    }
    if !ctx.block(Waiting::Shell, &[], None, args) {
        return Err("ERR ACL LOAD and ACL SAVE are not allowed within a transaction or a script".into());
    }
    ctx.engine.effects.disk.push(request);
    Ok(())
}

pub(crate) fn load(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let client = ctx.client;
    ask_for_file(ctx, DiskRequest::LoadUsers(client), args)
}

pub(crate) fn save(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let client = ctx.client;
    ask_for_file(ctx, DiskRequest::SaveUsers(client), args)
}

impl Engine {
    /// Puts the users of an ACL file in place of all; an error names every fault, and nothing is changed.
    pub fn load_users(&mut self, text: &[u8], file: &str, by: ClientId) -> Result<(), String> {
        let users = parse(text, file, all_channels(self))?;
        self.replace_users(users, by);
        Ok(())
    }

    /// All users as lines of an ACL file.
    #[must_use]
    pub fn users_file(&self) -> Vec<u8> {
        let mut file = Vec::new();
        for line in self.users.lines() {
            file.extend_from_slice(&line);
            file.push(b'\n');
        }
        file
    }

    /// Answers a client that waited for the shell (ACL LOAD, ACL SAVE).
    pub fn shell_has_done(&mut self, client: ClientId, result: Result<(), String>) {
        if self.unblock(client).is_none() {
            return;
        }
        match result {
            Ok(()) => self.deliver(client, regie_resp::Encoder::ok),
            Err(why) => {
                let text = format!("ERR {why}");
                self.stats.count_error(&text);
                self.deliver(client, |out| out.error(text.as_bytes()));
            }
        }
        if self.session(client).is_closing {
            self.effects.closes.push(client);
        } else {
            self.effects.resumed.push(client);
        }
    }
}
