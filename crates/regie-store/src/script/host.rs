//! The Lua that scripts run in, and how they reach the engine.

use super::{bits, cjson, convert, msgpack, sha1};
use crate::command::{self, Flags};
use crate::commands::server::REDIS_VERSION;
use crate::context::Ctx;
use crate::dispatch::{Manner, resolve};
use crate::engine::Engine;
use crate::failure::{Failure, OUT_OF_MEMORY, Outcome};
use crate::session::ClientId;
use mlua::chunk::ChunkMode;
use mlua::{Function, HookTriggers, Lua, LuaOptions, MultiValue, Result, StdLib, Table, Value, VmState};
use regie_resp::{Encoder, Version};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// Most memory that all scripts may hold.
const MEMORY: usize = 512 << 20;
/// How often time and memory are looked at, in Lua's instructions. (A limit in Lua's allocator would make every call
/// from Rust a protected one, which costs more than the scripts themselves.)
const INSTRUCTIONS: u32 = 20_000;

/// A script that has been compiled.
pub(crate) struct Compiled {
    pub(crate) sha: String,
    function: Function,
    flags: ScriptFlags,
}

/// What a script's first line says (`#!lua flags=no-writes`).
#[derive(Debug, Clone, Copy, Default)]
struct ScriptFlags {
    no_writes: bool,
    allow_oom: bool,
    /// The line is there: then what is not allowed is refused before the script runs.
    is_given: bool,
}

/// What the host and the functions in Lua share.
struct Shared {
    /// When the script that runs must end, by the stopwatch in microseconds; 0 when none runs.
    deadline: Cell<u64>,
    wrote: Cell<bool>,
    version: Cell<Version>,
    stopwatch: fn() -> u64,
}

struct Host {
    lua: Lua,
    slot: Table,
    environment: Table,
    globals: Table,
    run: Function,
    shared: Rc<Shared>,
}

/// All scripts that are known.
#[derive(Default)]
pub(crate) struct Scripts {
    host: Option<Rc<Host>>,
    by_body: HashMap<Vec<u8>, Rc<Compiled>, foldhash::fast::FixedState>,
    by_sha: HashMap<String, Rc<Compiled>>,
    bodies: usize,
    /// Memory was short when the current command began.
    pub(crate) out_of_memory: bool,
}

impl std::fmt::Debug for Scripts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} scripts", self.by_sha.len())
    }
}

impl Scripts {
    /// Bytes that scripts hold.
    pub(crate) fn memory(&self) -> usize {
        self.bodies + self.host.as_ref().map_or(0, |host| host.lua.used_memory())
    }

    pub(crate) fn count(&self) -> usize {
        self.by_sha.len()
    }

    pub(crate) fn contains(&self, sha: &str) -> bool {
        self.by_sha.contains_key(&sha.to_ascii_lowercase())
    }

    pub(crate) fn find(&self, sha: &str) -> Option<Rc<Compiled>> {
        self.by_sha.get(&sha.to_ascii_lowercase()).cloned()
    }

    /// Forgets all scripts, and the Lua they ran in.
    pub(crate) fn flush(&mut self) {
        *self = Self { out_of_memory: self.out_of_memory, ..Self::default() };
    }

    fn host(&mut self, stopwatch: fn() -> u64) -> Result<Rc<Host>> {
        if let Some(host) = &self.host {
            return Ok(host.clone());
        }
        let host = Rc::new(Host::new(stopwatch)?);
        self.host = Some(host.clone());
        Ok(host)
    }

    /// The compiled script of this body.
    pub(crate) fn compile(&mut self, body: &[u8], stopwatch: fn() -> u64) -> Outcome<Rc<Compiled>> {
        if let Some(compiled) = self.by_body.get(body) {
            return Ok(compiled.clone());
        }
        let (flags, text) = shebang(body)?;
        let host = self.host(stopwatch).map_err(|error| Failure::from(format!("ERR {error}")))?;
        let function = host
            .lua
            .load(&text[..])
            .set_name("@user_script")
            .set_mode(ChunkMode::Text)
            .set_environment(host.environment.clone())
            .into_function()
            .map_err(|error| {
                let why = message(&error);
                Failure::from(format!("ERR Error compiling script (new function): {why}"))
            })?;
        let compiled = Rc::new(Compiled { sha: sha1::hex(body), function, flags });
        self.bodies += body.len();
        self.by_body.insert(body.to_vec(), compiled.clone());
        self.by_sha.insert(compiled.sha.clone(), compiled.clone());
        Ok(compiled)
    }
}

/// The text of an error without mlua's words around it.
fn message(error: &mlua::Error) -> String {
    match error {
        mlua::Error::SyntaxError { message, .. } | mlua::Error::RuntimeError(message) => message.clone(),
        mlua::Error::CallbackError { cause, .. } => message(cause),
        mlua::Error::MemoryError(_) => "not enough memory".to_owned(),
        other => other.to_string(),
    }
}

/// Reads the first line if it begins with `#!`, and gives the script with that line made empty.
fn shebang(body: &[u8]) -> Outcome<(ScriptFlags, Vec<u8>)> {
    let mut flags = ScriptFlags::default();
    if !body.starts_with(b"#!") {
        return Ok((flags, body.to_vec()));
    }
    let Some(end) = body.iter().position(|byte| *byte == b'\n') else {
        return Err("ERR Invalid script shebang".into());
    };
    flags.is_given = true;
    let line = String::from_utf8_lossy(&body[2..end]).into_owned();
    let mut words = line.split_whitespace();
    let engine = words.next().unwrap_or_default();
    if engine != "lua" {
        return Err(format!("ERR Unexpected engine in script shebang: {engine}").into());
    }
    for word in words {
        let Some(list) = word.strip_prefix("flags=") else {
            return Err(format!("ERR Unknown lua shebang option: {word}").into());
        };
        for flag in list.split(',').filter(|flag| !flag.is_empty()) {
            match flag {
                "no-writes" => flags.no_writes = true,
                "allow-oom" => flags.allow_oom = true,
                "allow-stale" | "no-cluster" | "allow-cross-slot-keys" => {}
                _ => return Err(format!("ERR Unexpected flag in script shebang: {flag}").into()),
            }
        }
    }
    Ok((flags, body[end..].to_vec()))
}

impl Host {
    fn new(stopwatch: fn() -> u64) -> Result<Self> {
        let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::OS;
        let lua = Lua::new_with(libraries, LuaOptions::new().catch_rust_panics(false))?;
        let shared = Rc::new(Shared {
            deadline: Cell::new(0),
            wrote: Cell::new(false),
            version: Cell::new(Version::Two),
            stopwatch,
        });
        let watched = shared.clone();
        lua.set_hook(HookTriggers::new().every_nth_instruction(INSTRUCTIONS), move |lua, _| {
            if lua.used_memory() > MEMORY {
                return Err(mlua::Error::RuntimeError("not enough memory".into()));
            }
            let deadline = watched.deadline.get();
            // A script that has written must end by itself: half of it would be worse than waiting.
            if deadline > 0 && !watched.wrote.get() && (watched.stopwatch)() > deadline {
                return Err(mlua::Error::RuntimeError(
                    "Script killed: it ran longer than busy-reply-threshold".into(),
                ));
            }
            Ok(VmState::Continue)
        })?;
        let functions = lua.create_table()?;
        functions.raw_set("version", REDIS_VERSION)?;
        functions.raw_set("version_number", 0x0007_000f)?;
        functions.raw_set(
            "sha1hex",
            lua.create_function(|_, text: mlua::LuaString| Ok(sha1::hex(&text.as_bytes())))?,
        )?;
        functions.raw_set("log", lua.create_function(|_, _: MultiValue| Ok(()))?)?;
        let chosen = shared.clone();
        let setresp = lua.create_function(move |_, version: f64| {
            chosen.version.set(match version as i64 {
                2 => Version::Two,
                3 => Version::Three,
                _ => return Err(mlua::Error::RuntimeError("RESP version must be 2 or 3.".into())),
            });
            Ok(())
        })?;
        functions.raw_set("setresp", setresp)?;
        let slot = lua.create_table()?;
        let libraries =
            (slot.clone(), cjson::library(&lua)?, msgpack::library(&lua)?, bits::library(&lua)?, functions);
        let (environment, globals, run) = lua
            .load(include_str!("prelude.lua"))
            .set_name("@prelude")
            .call::<(Table, Table, Function)>(libraries)?;
        Ok(Self { lua, slot, environment, globals, run, shared })
    }
}

/// A script that runs: what `redis.call` works with.
struct Running<'a> {
    engine: &'a mut Engine,
    client: ClientId,
    read_only: bool,
    allow_oom: bool,
    shared: &'a Shared,
    out: Encoder,
}

impl Running<'_> {
    /// `redis.call`: true and the reply, or false and a table with the error.
    fn call(&mut self, lua: &Lua, values: &MultiValue) -> Result<(bool, Value)> {
        let outcome = arguments(values).and_then(|arguments| self.execute(&arguments));
        let is_refused = outcome.is_err();
        if let Err(failure) = outcome {
            self.engine.stats.count_error(&failure.0);
            self.out.bytes.clear();
            self.out.error(failure.0.as_bytes());
        }
        let failed = is_refused || self.out.bytes.first() == Some(&b'-');
        let value = convert::to_lua(lua, &self.out.bytes, &mut 0)?;
        Ok((!failed, value))
    }

    fn execute(&mut self, owned: &[Vec<u8>]) -> Outcome {
        let arguments: Vec<&[u8]> = owned.iter().map(Vec::as_slice).collect();
        if arguments.is_empty() {
            return Err("ERR Please specify at least one argument for this redis.call() call".into());
        }
        let id =
            resolve(&arguments).map_err(|_| Failure::from("ERR Unknown Redis command called from script"))?;
        let row = command::row(id);
        if !row.accepts(arguments.len()) {
            return Err("ERR Wrong number of args calling Redis command from script".into());
        }
        if row.flags.has(Flags::NOSCRIPT) {
            return Err("ERR This Redis command is not allowed from script".into());
        }
        self.engine.check_rights(self.client, id, &arguments)?;
        let writes = row.flags.has(Flags::WRITE);
        if writes && self.read_only {
            return Err("ERR Write commands are not allowed from read-only scripts.".into());
        }
        if writes && let Some(fault) = &self.engine.disk_fault {
            return Err(fault.clone().into());
        }
        let short = self.engine.scripts.out_of_memory && !self.allow_oom && !self.shared.wrote.get();
        if short && row.flags.has(Flags::DENYOOM) {
            return Err(OUT_OF_MEMORY);
        }
        if writes {
            self.shared.wrote.set(true);
        }
        self.out.bytes.clear();
        self.out.version = self.shared.version.get();
        self.engine.call(
            self.client,
            id,
            &arguments,
            &mut self.out,
            Manner { in_script: true, in_transaction: false },
        );
        Ok(())
    }
}

/// The arguments of `redis.call` as bytes.
fn arguments(values: &MultiValue) -> Outcome<Vec<Vec<u8>>> {
    values
        .iter()
        .map(|value| match value {
            Value::String(text) => Ok(text.as_bytes().to_vec()),
            Value::Integer(number) => Ok(number.to_string().into_bytes()),
            Value::Number(number) => Ok(regie_resp::format_double(*number).into_bytes()),
            _ => Err("ERR Lua redis lib command arguments must be strings or integers".into()),
        })
        .collect()
}

/// Runs a script and writes what it returns.
pub(crate) fn run(
    ctx: &mut Ctx<'_>,
    script: &Compiled,
    keys: &[&[u8]],
    args: &[&[u8]],
    read_only: bool,
) -> Outcome {
    let fault = |error: mlua::Error| Failure::from(format!("ERR {}", message(&error).replace('\n', " ")));
    let Some(host) = ctx.engine.scripts.host.clone() else { return Err("ERR no Lua".into()) };
    let short = ctx.engine.scripts.out_of_memory;
    if script.flags.is_given && short && !script.flags.allow_oom && !script.flags.no_writes {
        return Err(
            "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'"
                .into(),
        );
    }
    for (name, texts) in [("KEYS", keys), ("ARGV", args)] {
        let table = host.lua.create_table_with_capacity(texts.len(), 0).map_err(fault)?;
        for (index, text) in texts.iter().enumerate() {
            host.lua.create_string(text).and_then(|text| table.raw_set(index + 1, text)).map_err(fault)?;
        }
        host.globals.raw_set(name, table).map_err(fault)?;
    }
    let (client, db) = (ctx.client, ctx.db);
    let limit = ctx.engine.config.script_limit_ms.max(0) as u64 * 1000;
    host.shared.deadline.set(if limit == 0 { 0 } else { (host.shared.stopwatch)() + limit });
    host.shared.wrote.set(false);
    host.shared.version.set(Version::Two);
    let state = RefCell::new(Running {
        engine: &mut *ctx.engine,
        client,
        read_only: read_only || script.flags.no_writes,
        allow_oom: script.flags.allow_oom,
        shared: &host.shared,
        out: Encoder::default(),
    });
    let result = host.lua.scope(|scope| {
        let call = scope.create_function(|lua, values: MultiValue| state.borrow_mut().call(lua, &values))?;
        host.slot.raw_set(1, call)?;
        host.run.call::<(bool, Value)>(&script.function)
    });
    drop(state);
    host.shared.deadline.set(0);
    // A script may look at another database, but leaves its client where it was.
    ctx.session().db = db;
    match result {
        Ok((true, value)) => {
            let mark = ctx.out.mark();
            convert::to_reply(ctx.out, &value, 0).map_err(|error| {
                ctx.out.bytes.truncate(mark);
                fault(error)
            })
        }
        Ok((false, value)) => Err(script_error(&value, &script.sha)),
        Err(error) => Err(script_error_text(&message(&error), None, &script.sha)),
    }
}

/// The reply for an error that a script has not caught.
fn script_error(value: &Value, sha: &str) -> Failure {
    match value {
        Value::Table(table) => {
            let text = table.raw_get::<Option<mlua::LuaString>>("err").ok().flatten();
            let text = text.map(|text| text.to_string_lossy()).unwrap_or_else(|| "ERR unknown error".into());
            let place = table.raw_get::<Option<mlua::LuaString>>("where").ok().flatten();
            script_error_text(
                &text,
                Some(place.map(|place| place.to_string_lossy()).unwrap_or_default()),
                sha,
            )
        }
        Value::Error(error) => script_error_text(&message(error), None, sha),
        other => script_error_text(&other.to_string().unwrap_or_default(), None, sha),
    }
}

/// `place` is where a command failed (`user_script:3: `); an error of the script itself has it in its text.
fn script_error_text(text: &str, place: Option<String>, sha: &str) -> Failure {
    let first = text.lines().next().unwrap_or_default();
    let line_of = |text: &str| {
        text.strip_prefix("user_script:").and_then(|rest| rest.split(':').next()).map(str::to_owned)
    };
    let (text, line) = match place {
        Some(place) => (first.to_owned(), line_of(&place)),
        None => (format!("ERR {first}"), line_of(first)),
    };
    match line {
        Some(line) => format!("{text} script: {sha}, on @user_script:{line}.").into(),
        None => text.into(),
    }
}
