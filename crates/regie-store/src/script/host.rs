//! How a script reaches the engine.

use super::busy::Meanwhile;
use crate::command::{self, CommandId, Flags};
use crate::dispatch::{Manner, resolve};
use crate::engine::Engine;
use crate::failure::{Failure, OUT_OF_MEMORY, Outcome};
use crate::session::ClientId;
use regie_resp::Encoder;
use regie_script::{Host, LogLevel, Replicate, Tick};

/// How long the code of a library may run when it is loaded.
const LOAD_TIMEOUT_US: u64 = 500_000;

/// A script that runs.
pub(super) struct Caller<'a> {
    pub(super) engine: &'a mut Engine,
    pub(super) client: ClientId,
    pub(super) outside: &'a mut dyn Meanwhile,
    /// The command that runs it.
    pub(super) command: &'a [&'a [u8]],
    /// The SHA-1 of a script, the name of a function.
    pub(super) name: &'a [u8],
    pub(super) read_only: bool,
    pub(super) allow_oom: bool,
}

impl Caller<'_> {
    /// Checks a command in Redis's order.
    fn admit(&mut self, arguments: &[&[u8]]) -> Result<CommandId, (Option<CommandId>, Failure)> {
        let id =
            resolve(arguments).map_err(|_| (None, "ERR Unknown Redis command called from script".into()))?;
        self.check(id, arguments).map(|()| id).map_err(|failure| (Some(id), failure))
    }

    fn check(&mut self, id: CommandId, arguments: &[&[u8]]) -> Outcome {
        let row = command::row(id);
        if !row.accepts(arguments.len()) {
            return Err("ERR Wrong number of args calling Redis command from script".into());
        }
        if row.flags.has(Flags::NOSCRIPT) {
            return Err("ERR This Redis command is not allowed from script".into());
        }
        self.engine.check_rights(self.client, id, arguments).map_err(|failure| as_script(&failure))?;
        if self.read_only && row.flags.has(Flags::WRITE | Flags::MAY_REPLICATE) {
            return Err("ERR Write commands are not allowed from read-only scripts.".into());
        }
        let writes = row.flags.has(Flags::WRITE);
        // What has begun to write is not stopped half way.
        if !self.engine.scripts.running.as_ref().is_some_and(|running| running.wrote) {
            if writes {
                self.engine.check_disk()?;
                self.engine.check_replicas()?;
                self.engine.check_follower()?;
            }
            if self.engine.scripts.out_of_memory && !self.allow_oom && row.flags.has(Flags::DENYOOM) {
                return Err(OUT_OF_MEMORY);
            }
        }
        if writes && let Some(running) = &mut self.engine.scripts.running {
            running.wrote = true;
        }
        Ok(())
    }
}

/// A refusal of rights in the words that scripts get.
fn as_script(failure: &Failure) -> Failure {
    let text = &failure.0;
    let reason = if text.contains("keys") {
        "can't access at least one of the keys mentioned in the command arguments"
    } else if text.contains("channels") {
        "can't publish to the channel mentioned in the command"
    } else {
        "can't run this command or subcommand"
    };
    format!("ERR The user executing the script {reason}").into()
}

impl Host for Caller<'_> {
    fn call(&mut self, args: &[&[u8]], replicate: Replicate, reply: &mut Encoder) {
        let id = match self.admit(args) {
            Ok(id) => id,
            Err((id, failure)) => {
                self.engine.stats.count_error(&failure.0);
                if let Some(id) = id {
                    self.engine.stats.by_command[id].rejected += 1;
                }
                reply.error(failure.0.as_bytes());
                return;
            }
        };
        let logged = (self.engine.effects.journal.len(), self.engine.logged_db);
        let manner = Manner { in_script: true, in_transaction: false };
        self.engine.call(self.client, id, args, reply, manner, &mut super::Nobody);
        if !replicate.append_only_file {
            self.engine.effects.journal.truncate(logged.0);
            self.engine.logged_db = logged.1;
        }
    }

    fn may_call(&mut self, args: &[&[u8]]) -> Option<bool> {
        let id = resolve(args).ok().filter(|id| command::row(*id).accepts(args.len()))?;
        Some(self.engine.may_run(self.client, id, args))
    }

    fn log_level(&self) -> LogLevel {
        log_level(self.engine)
    }

    fn log(&mut self, _: LogLevel, message: &[u8]) {
        note(self.engine, message);
    }

    fn tick(&mut self) -> Tick {
        let limit = self.engine.config.script_limit_ms;
        let Some(running) = &mut self.engine.scripts.running else { return Tick::Continue };
        if running.slow.is_none() {
            let elapsed = (self.engine.stopwatch)().saturating_sub(running.started) / 1000;
            if limit <= 0 || elapsed < limit as u64 {
                return Tick::Continue;
            }
            let command = self.command.iter().map(|argument| argument.to_vec()).collect();
            running.slow = Some((self.name.to_vec(), command));
            let kill = if running.is_function { "FUNCTION KILL" } else { "SCRIPT KILL" };
            let name = String::from_utf8_lossy(self.name);
            let line = format!(
                "slow script: still running after {elapsed} ms; other clients are answered with BUSY; {kill} ends it unless it has written. Script name is: {name}"
            );
            self.engine.effects.notices.push(line);
        }
        if self.outside.serve(self.engine) {
            self.engine.abandon_command();
            return Tick::Stop;
        }
        let is_killed = self.engine.scripts.running.as_ref().is_some_and(|running| running.is_killed);
        if is_killed { Tick::Stop } else { Tick::Continue }
    }

    fn count_error(&mut self, line: &[u8]) {
        self.engine.stats.count_error(&String::from_utf8_lossy(line));
    }
}

fn log_level(engine: &Engine) -> LogLevel {
    match engine.config.get("loglevel") {
        "debug" => LogLevel::Debug,
        "verbose" => LogLevel::Verbose,
        "notice" => LogLevel::Notice,
        _ => LogLevel::Warning,
    }
}

fn note(engine: &mut Engine, message: &[u8]) {
    engine.effects.notices.push(format!("script: {}", String::from_utf8_lossy(message)));
}

/// A library that is being loaded: it can call nothing, and must come to its end soon.
pub(super) struct Loader<'a> {
    pub(super) engine: &'a mut Engine,
    pub(super) started: u64,
}

impl Host for Loader<'_> {
    fn call(&mut self, _: &[&[u8]], _: Replicate, reply: &mut Encoder) {
        reply.error(b"ERR redis.call can only be called inside a script invocation");
    }

    fn may_call(&mut self, _: &[&[u8]]) -> Option<bool> {
        None
    }

    fn log_level(&self) -> LogLevel {
        log_level(self.engine)
    }

    fn log(&mut self, _: LogLevel, message: &[u8]) {
        note(self.engine, message);
    }

    fn tick(&mut self) -> Tick {
        let elapsed = (self.engine.stopwatch)().saturating_sub(self.started);
        // A library in the log or a snapshot was loaded in time once; the machine may be slower now.
        if elapsed > LOAD_TIMEOUT_US && !self.engine.is_loading { Tick::Stop } else { Tick::Continue }
    }

    fn count_error(&mut self, line: &[u8]) {
        self.engine.stats.count_error(&String::from_utf8_lossy(line));
    }
}
