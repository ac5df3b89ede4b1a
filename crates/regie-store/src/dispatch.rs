//! From arguments to a command that runs: what is checked first, and what follows.

use crate::command::{self, Command, CommandId, Flags};
use crate::context::{Ctx, Log};
use crate::engine::{Engine, Flow};
use crate::failure::{Failure, Outcome, shown, wrong_arity};
use crate::script::{Meanwhile, Nobody, busy, effective_flags};
use crate::session::{ClientId, OwnedArguments, Replies};
use regie_resp::{Encoder, Version};

/// How a command is run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Manner {
    pub(crate) in_transaction: bool,
    pub(crate) in_script: bool,
}

impl Engine {
    /// Runs a command of a client at the time set with [`Engine::set_now`], and writes its reply.
    #[must_use]
    pub fn execute(&mut self, client: ClientId, arguments: &[&[u8]], out: &mut Encoder) -> Flow {
        self.execute_with(client, arguments, out, &mut Nobody)
    }

    /// As [`Engine::execute`]; while a script takes long, `outside` serves the other clients.
    #[must_use]
    pub fn execute_with(
        &mut self,
        client: ClientId,
        arguments: &[&[u8]],
        out: &mut Encoder,
        outside: &mut dyn Meanwhile,
    ) -> Flow {
        if arguments.is_empty() {
            return Flow::Next;
        }
        let is_inside = self.scripts.running.is_some();
        if !is_inside {
            self.journal_before = self.effects.journal.len();
        }
        let mark = out.mark();
        let now = self.now;
        let session = self.session(client);
        session.used_at = now;
        session.is_paused = false;
        out.version = session.version;
        let is_leader = self.following.is_some() && self.is_leader(client);
        if is_leader {
            self.is_from_leader = true;
        }
        let flow = self.process(client, arguments, out, outside);
        if is_leader {
            self.is_from_leader = false;
            if out.bytes.get(mark) == Some(&b'-') {
                self.complain_of_leader(arguments, &out.bytes[mark..]);
            }
        }
        if !is_inside {
            if self.replicate(true) {
                let offset = self.replication.offset;
                self.session(client).wrote_until = offset;
            }
            // Mostly there is nothing to do here, so it costs a look and no call.
            if !self.ready.is_empty() {
                self.serve_ready();
            }
            if self.unsettled != 0 {
                self.settle();
            }
            if !self.changed_keys.is_empty() {
                self.tracking_broadcast();
            }
        }
        self.mute(client, mark, out);
        flow
    }

    /// Takes back what was written for a client that wants no replies.
    fn mute(&mut self, client: ClientId, mark: usize, out: &mut Encoder) {
        // What is pushed comes whether replies are wanted or not.
        let kept = std::mem::take(&mut self.is_pushing);
        let session = self.session(client);
        if session.replies == Replies::On {
            return;
        }
        let mark = if kept { out.mark() } else { mark };
        match session.replies {
            Replies::On => {}
            Replies::Off => out.bytes.truncate(mark),
            Replies::SkipNext => {
                out.bytes.truncate(mark);
                session.replies = Replies::Skip;
            }
            Replies::Skip => {
                out.bytes.truncate(mark);
                session.replies = Replies::On;
            }
        }
    }

    fn process(
        &mut self,
        client: ClientId,
        arguments: &[&[u8]],
        out: &mut Encoder,
        outside: &mut dyn Meanwhile,
    ) -> Flow {
        if is_http(arguments[0]) {
            return Flow::Close;
        }
        let id = match self.admit(client, arguments) {
            Ok(Admitted::Run(id)) => id,
            Ok(Admitted::Queue) => {
                if let Some(transaction) = &mut self.session(client).transaction {
                    transaction.queue.push(arguments.iter().map(|argument| argument.to_vec()).collect());
                }
                out.simple("QUEUED");
                return Flow::Next;
            }
            Ok(Admitted::Later) => {
                self.session(client).is_paused = true;
                return Flow::Later;
            }
            Err(failure) if arguments[0].eq_ignore_ascii_case(b"exec") => {
                // A transaction that may not run now is over: none of it runs later.
                self.abandon_transaction(client);
                let text = format!("EXECABORT Transaction discarded because of: {}", failure.0);
                self.refuse(client, &text.into(), out);
                return Flow::Next;
            }
            Err(failure) => {
                self.refuse(client, &failure, out);
                return Flow::Next;
            }
        };
        self.deliver_early(client, out);
        self.call(client, id, arguments, out, Manner::default(), outside);
        let session = self.session(client);
        if session.is_closing {
            Flow::Close
        } else if session.blocked.is_some() {
            Flow::Blocked
        } else {
            Flow::Next
        }
    }

    /// What others or the search for room had to say to this client comes before its reply.
    fn deliver_early(&mut self, client: ClientId, out: &mut Encoder) {
        if self.effects.deliveries.iter().any(|(receiver, _)| *receiver == client) {
            for (receiver, bytes) in std::mem::take(&mut self.effects.deliveries) {
                if receiver == client {
                    out.bytes.extend_from_slice(&bytes);
                } else {
                    self.effects.deliveries.push((receiver, bytes));
                }
            }
        }
    }

    fn refuse(&mut self, client: ClientId, failure: &Failure, out: &mut Encoder) {
        self.stats.count_error(&failure.0);
        if let Some(transaction) = &mut self.session(client).transaction {
            transaction.is_broken = true;
        }
        out.error(failure.0.as_bytes());
    }

    /// Finds the command and checks everything that does not depend on what it does.
    fn admit(&mut self, client: ClientId, arguments: &[&[u8]]) -> Outcome<Admitted> {
        let id = self.find_command(arguments)?;
        let row = command::row(id);
        self.check(client, id, row, arguments).inspect_err(|_| self.stats.by_command[id].rejected += 1)
    }

    /// As [`resolve`]; mostly the same command comes again, and then its name needs no look-up.
    fn find_command(&mut self, arguments: &[&[u8]]) -> Outcome<CommandId> {
        if arguments[0].eq_ignore_ascii_case(command::row(self.last_command).name.as_bytes()) {
            return Ok(self.last_command);
        }
        let id = resolve(arguments)?;
        let row = command::row(id);
        // Behind the first word of the others there may come a subcommand.
        if row.container().is_none() && row.name != "command" {
            self.last_command = id;
        }
        Ok(id)
    }

    fn check(
        &mut self,
        client: ClientId,
        id: CommandId,
        row: &Command,
        arguments: &[&[u8]],
    ) -> Outcome<Admitted> {
        if !row.accepts(arguments.len()) {
            return Err(wrong_arity(row.name));
        }
        if row.name == "debug" {
            self.check_debug(client)?;
        }
        let flags = if row.group == "scripting" { effective_flags(self, row, arguments) } else { row.flags };
        if !flags.has(Flags::NO_AUTH) && self.is_unauthenticated(client) {
            return Err("NOAUTH Authentication required.".into());
        }
        let session = self.session(client);
        let in_transaction = session.transaction.is_some();
        let subscribed = session.version == Version::Two && session.subscriptions() > 0;
        if in_transaction && flags.has(Flags::NO_MULTI) {
            return Err("ERR Command not allowed inside a transaction".into());
        }
        if self.is_from_leader {
            return Ok(if in_transaction && is_queued(row) { Admitted::Queue } else { Admitted::Run(id) });
        }
        self.check_rights(client, id, arguments)?;
        let writes = flags.has(Flags::WRITE)
            || (row.name == "exec"
                && self.session(client).transaction.as_ref().is_some_and(|transaction| transaction.writes));
        self.check_room(client, row, flags, in_transaction)?;
        if writes {
            self.check_disk()?;
            self.check_replicas()?;
            self.check_follower()?;
        }
        self.check_stale(client, row, flags)?;
        if subscribed
            && !matches!(
                base_name(row),
                "subscribe"
                    | "unsubscribe"
                    | "psubscribe"
                    | "punsubscribe"
                    | "ssubscribe"
                    | "sunsubscribe"
                    | "ping"
                    | "quit"
                    | "reset"
            )
        {
            return Err(format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
                row.name
            )
            .into());
        }
        if !flags.has(Flags::ALLOW_BUSY) {
            busy(self)?;
        }
        if self.must_pause(client, row, flags, writes) {
            return Ok(Admitted::Later);
        }
        if in_transaction && is_queued(row) {
            if writes && let Some(transaction) = &mut self.session(client).transaction {
                transaction.writes = true;
            }
            return Ok(Admitted::Queue);
        }
        Ok(Admitted::Run(id))
    }

    /// Refuses writes that could not be kept.
    pub(crate) fn check_disk(&self) -> Outcome {
        self.disk_fault.as_ref().map_or(Ok(()), |fault| Err(fault.clone().into()))
    }

    /// Refuses what would show old data, if old data are not to be shown.
    #[inline]
    fn check_stale(&mut self, client: ClientId, row: &Command, flags: Flags) -> Outcome {
        if !self.is_stale() {
            return Ok(());
        }
        let is_refused = |arguments: &OwnedArguments| {
            let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
            resolve(&arguments).is_ok_and(|id| !command::row(id).flags.has(Flags::STALE))
        };
        let transaction = self.session(client).transaction.as_ref().filter(|_| row.name == "exec");
        if !flags.has(Flags::STALE) || transaction.is_some_and(|t| t.queue.iter().any(is_refused)) {
            return Err(
                "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.".into()
            );
        }
        Ok(())
    }

    /// Refuses writes when there are fewer replicas than `min-replicas-to-write` asks for.
    pub(crate) fn check_replicas(&self) -> Outcome {
        // A replica takes writes from its leader alone, who has counted.
        if self.following.is_none() && self.replication.replicas.len() < self.config.min_replicas {
            return Err("NOREPLICAS Not enough good replicas to write.".into());
        }
        Ok(())
    }

    fn check_debug(&mut self, client: ClientId) -> Outcome {
        let is_unix = self.session(client).peer.is_unix;
        let is_local = is_unix || self.session(client).peer.address.starts_with("127.");
        match self.config.get("enable-debug-command") {
            "yes" => Ok(()),
            "local" if is_local => Ok(()),
            _ => Err("ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.".into()),
        }
    }

    /// Makes room in memory; refuses what needs more when there is none.
    fn check_room(&mut self, client: ClientId, row: &Command, flags: Flags, in_transaction: bool) -> Outcome {
        // A replica evicts nothing: its leader says what goes.
        if self.scripts.running.is_some() || self.following.is_some() {
            return Ok(());
        }
        self.scripts.out_of_memory = false;
        if !self.config.is_limited {
            return Ok(());
        }
        let db = self.session(client).db;
        let room = self.make_room(db);
        let queues = in_transaction && !matches!(row.name, "exec" | "discard" | "reset");
        let executes = row.name == "exec"
            && self.session(client).transaction.as_ref().is_some_and(|transaction| {
                transaction.queue.iter().any(|arguments| {
                    let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
                    resolve(&arguments).is_ok_and(|id| command::row(id).flags.has(Flags::DENYOOM))
                })
            });
        self.scripts.out_of_memory = room.is_err();
        if room.is_err() && (flags.has(Flags::DENYOOM) || executes || (queues && flags.has(Flags::DENYOOM))) {
            return room;
        }
        Ok(())
    }

    #[inline]
    fn must_pause(&self, client: ClientId, row: &Command, flags: Flags, writes: bool) -> bool {
        let Some((until, writes_only)) = self.pause else { return false };
        if until <= self.now
            || self.sessions.get(&client).is_some_and(|s| s.transaction.is_some() && row.name != "exec")
        {
            return false;
        }
        if row.name.starts_with("client|")
            || matches!(row.name, "ping" | "info" | "auth" | "hello" | "quit") && writes_only
        {
            return false;
        }
        !writes_only || writes || flags.has(Flags::MAY_REPLICATE)
    }

    /// Runs a command that was admitted, with its statistics, its log and its reply.
    pub(crate) fn call(
        &mut self,
        client: ClientId,
        id: CommandId,
        arguments: &[&[u8]],
        out: &mut Encoder,
        manner: Manner,
        outside: &mut dyn Meanwhile,
    ) {
        let row = command::row(id);
        let Some(run) = row.run else { return };
        // EXEC is shown after what it runs.
        let is_shown =
            !self.monitors.is_empty() && !row.flags.has(Flags::SKIP_MONITOR) && !row.flags.has(Flags::ADMIN);
        if is_shown && row.name != "exec" {
            self.feed_monitors(client, arguments, manner.in_script);
        }
        let session = self.session(client);
        if !manner.in_script {
            session.last_command = row.name;
        }
        let db = session.db;
        let caching = session.tracking.caching;
        let untouched = session.no_touch && row.name != "touch";
        self.is_untouched = untouched;
        if self.any_tracking && row.group == "scripting" {
            self.declare(row, arguments);
        }
        let (mark, dirty) = (out.mark(), self.dirty);
        let start = self.lap.take().unwrap_or_else(self.stopwatch);
        let mut ctx = Ctx {
            engine: self,
            client,
            db,
            out,
            outside,
            may_not_block: manner.in_transaction || manner.in_script,
            in_script: manner.in_script,
            log: Log::Itself,
        };
        let outcome = run(&mut ctx, arguments);
        let log = ctx.log;
        let end = (self.stopwatch)();
        let us = end.saturating_sub(start);
        let failed = match &outcome {
            Ok(()) => out.bytes.get(mark) == Some(&b'-'),
            Err(failure) => {
                out.bytes.truncate(mark);
                out.error(failure.0.as_bytes());
                self.stats.count_error(&failure.0);
                true
            }
        };
        self.lap = Some(end);
        // CLIENT CACHING speaks of the next command that is none of CLIENT's; of a whole transaction or script.
        let is_last = !row.name.starts_with("client|") && !manner.in_transaction && !manner.in_script;
        if caching.is_some() && is_last {
            self.session(client).tracking.caching = None;
        }
        self.write_log(db, dirty, log, row, arguments);
        if row.flags.has(Flags::READONLY) && !self.tracked_nobody() && row.group != "scripting" {
            self.remember_read(client, row, arguments, caching, manner.in_script);
        }
        self.count(client, id, us, failed, arguments, manner);
        if is_shown && row.name == "exec" {
            self.feed_monitors(client, arguments, manner.in_script);
        }
    }

    fn write_log(&mut self, db: usize, dirty_before: u64, log: Log, row: &Command, arguments: &[&[u8]]) {
        if !self.is_recording() {
            return;
        }
        match log {
            Log::Itself => {
                // Scripts and transactions log what their commands do.
                if self.dirty != dirty_before && row.flags.has(Flags::WRITE) {
                    self.log(db, arguments);
                }
            }
            Log::Instead(commands) => {
                for command in commands {
                    let command: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
                    self.log(db, &command);
                }
            }
        }
    }

    fn count(
        &mut self,
        client: ClientId,
        id: CommandId,
        us: u64,
        failed: bool,
        arguments: &[&[u8]],
        manner: Manner,
    ) {
        let row = command::row(id);
        self.stats.commands += 1;
        let stats = &mut self.stats.by_command[id];
        let is_blocked = self.sessions.get(&client).is_some_and(|session| session.blocked.is_some());
        if !is_blocked {
            stats.calls += 1;
            stats.us += us;
            stats.failed += u64::from(failed);
            stats.histogram[(64 - us.leading_zeros() as usize).min(31)] += 1;
        }
        if row.name != "exec" {
            self.note_latency(if row.flags.has(Flags::FAST) { "fast-command" } else { "command" }, us);
        }
        let slower = self.config.slowlog_slower_than;
        if slower >= 0 && us as i64 >= slower && !row.flags.has(Flags::SKIP_SLOWLOG) && !manner.in_script {
            let session = self.session(client);
            let who = (session.peer.address.clone(), session.name.clone());
            let limit = self.config.slowlog_length;
            self.slowlog.push(
                self.now / 1000,
                us,
                &crate::commands::server::hide_secrets(row, arguments),
                who,
                limit,
            );
        }
    }

    /// Keeps for LATENCY what took longer than the threshold.
    #[inline]
    pub(crate) fn note_latency(&mut self, event: &str, us: u64) {
        let threshold = self.config.latency_threshold;
        if threshold > 0 && us / 1000 >= threshold as u64 {
            self.latency.add(event, self.now / 1000, us / 1000);
        }
    }

    /// Shows a command to those who watch all.
    pub(crate) fn feed_monitors(&mut self, client: ClientId, arguments: &[&[u8]], in_script: bool) {
        let session = self.session(client);
        let from = if in_script { "lua".to_owned() } else { session.peer.address.clone() };
        let db = session.db;
        let (seconds, us) = (self.now_us / 1_000_000, self.now_us % 1_000_000);
        let mut line = format!("{seconds}.{us:06} [{db} {from}]").into_bytes();
        let hidden =
            resolve(arguments).map(|id| crate::commands::server::hide_secrets(command::row(id), arguments));
        for argument in hidden.as_deref().unwrap_or(arguments) {
            line.push(b' ');
            crate::commands::server::quote(&mut line, argument);
        }
        for monitor in self.monitors.clone() {
            self.deliver(monitor, |out| {
                out.bytes.push(b'+');
                out.bytes.extend_from_slice(&line);
                out.bytes.extend_from_slice(b"\r\n");
            });
        }
    }

    /// Runs a command again for a client that was blocked; true if it is blocked no longer.
    pub(crate) fn retry(&mut self, client: ClientId, arguments: &OwnedArguments) -> bool {
        let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        let Ok(id) = resolve(&arguments) else { return true };
        let mut out = Encoder::new(self.session(client).version);
        // The reply comes before what it entails for this client.
        let before = std::mem::take(&mut self.effects.deliveries);
        self.call(client, id, &arguments, &mut out, Manner::default(), &mut Nobody);
        let after = std::mem::replace(&mut self.effects.deliveries, before);
        self.replicate(true);
        if self.session(client).blocked.is_some() {
            self.effects.deliveries.extend(after);
            return false;
        }
        let mut bytes = out.bytes;
        if self.session(client).replies == Replies::Off {
            bytes.clear();
        }
        self.effects.deliveries.push((client, bytes));
        self.effects.deliveries.extend(after);
        true
    }
}

/// A browser that was led here by a page speaks HTTP: as in Redis, nothing that follows its first lines is run.
fn is_http(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"host:") || word.eq_ignore_ascii_case(b"post")
}

/// What becomes of a command that may run.
enum Admitted {
    Run(CommandId),
    Queue,
    Later,
}

/// Whether a transaction keeps the command for EXEC.
fn is_queued(row: &Command) -> bool {
    !matches!(row.name, "exec" | "discard" | "multi" | "watch" | "quit" | "reset")
}

fn base_name(row: &Command) -> &'static str {
    row.container().unwrap_or(row.name)
}

/// The command that the arguments name.
pub(crate) fn resolve(arguments: &[&[u8]]) -> Outcome<CommandId> {
    let unknown = || -> Failure {
        let mut rest = String::new();
        for argument in &arguments[1..] {
            if rest.len() >= 128 {
                break;
            }
            rest.push_str(&format!(
                "'{}' ",
                shown(&argument[..argument.len().min(128 - rest.len().min(128))])
            ));
        }
        format!("ERR unknown command '{}', with args beginning with: {rest}", shown(arguments[0])).into()
    };
    let id = command::find(arguments[0]).ok_or_else(unknown)?;
    let row = command::row(id);
    // COMMAND stands alone and holds subcommands too.
    if row.run.is_some() && (row.name != "command" || arguments.len() == 1) {
        return Ok(id);
    }
    let Some(sub) = arguments.get(1) else { return Err(wrong_arity(row.name)) };
    command::find_sub(row.name, sub).ok_or_else(|| {
        format!("ERR unknown subcommand '{}'. Try {} HELP.", shown(sub), row.name.to_ascii_uppercase()).into()
    })
}
