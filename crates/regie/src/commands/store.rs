//! `regie store …`: ask the application's store, look at its data, copy it.
//!
//! What asks goes to the store's own socket, or to the server that `[store] url` names. The password goes with it in
//! the environment or over the connection, never as an argument.

mod moving;
mod prompt;
mod stats;

use std::io::{IsTerminal as _, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use regie_core::{ByteSize, Exit, Secret};
use regie_store::tools::{
    self, Connection, Endpoint, FileKind, FileState, Progress, ServerAddress, ToolError,
};
use regie_supervisor::{Client, Reply, Request, State};

use crate::cli::StoreCommand;
use crate::output::{self, Paint, Table, Tone};
use crate::site::{Place, Site, plural};
use crate::store;

/// `regie store …`.
pub(crate) fn store(place: &Place, asked: StoreCommand) -> Exit {
    let done = match asked {
        StoreCommand::Cli(words) => cli(place, &words.words),
        StoreCommand::Stats { json } => stats(place, json),
        StoreCommand::Check { dir, json } => check(place, dir, json),
        StoreCommand::Repair { dir } => repair(place, dir),
        StoreCommand::Backup { to } => backup(place, &to),
        StoreCommand::Import(asked) => moving::import(place, &asked),
        StoreCommand::Export { to, replace } => moving::export(place, &to, replace),
    };
    done.unwrap_or_else(|exit| exit)
}

/// What went wrong, said, and how the process ends for it.
fn failed(fault: &ToolError) -> Exit {
    output::error(output::chain(fault));
    match fault {
        ToolError::Connection { .. } => Exit::Unavailable,
        ToolError::Address { .. } | ToolError::Exists { .. } | ToolError::Nothing { .. } => Exit::Usage,
        _ => Exit::Failed,
    }
}

/// The store that the application has, wherever it runs.
struct Target {
    address: ServerAddress,
    tls: bool,
}

impl Target {
    fn of(site: &Site) -> Result<Self, Exit> {
        if site.loaded.config.store.url.is_some() {
            let Some(store) = site.loaded.store.clone() else {
                output::error("no sentinel says where the store is; see: regie check");
                return Err(Exit::Unavailable);
            };
            let endpoint = Endpoint::Tcp(store.host, store.port);
            let address = ServerAddress { endpoint, user: store.username, password: store.password };
            return Ok(Self { address, tls: store.tls });
        }
        let path = store::socket_path(site);
        if !store::is_embedded(site) {
            output::error(
                "this application has no store: it names no Redis, and there is no [store] section",
            );
            return Err(Exit::Usage);
        }
        if !is_running(site) {
            output::error("the store does not run; see: regie status");
            return Err(Exit::Unavailable);
        }
        let password = store::password(site).map(Secret::new);
        Ok(Self {
            address: ServerAddress { endpoint: Endpoint::Unix(path), user: None, password },
            tls: false,
        })
    }

    /// A connection of our own, which speaks no TLS.
    fn connect(&self) -> Result<Connection, Exit> {
        if self.tls {
            output::error("the store of [store] url speaks TLS; use: regie store cli");
            return Err(Exit::Usage);
        }
        Connection::open(&self.address).map_err(|fault| failed(&fault))
    }
}

/// Whether somebody answers on the store's socket. The supervisor keeps it open for a store that is stopped or starts,
/// so it is asked; without one the store may run by itself.
fn is_running(site: &Site) -> bool {
    let request = Request::Status { names: vec!["store".to_owned()] };
    match Client::connect(&site.run_dir()).map(|mut client| client.ask(&request)) {
        Ok(Ok(Reply::Status(overview))) => overview.rows.iter().any(|row| row.state == State::Running),
        Ok(_) => false,
        Err(_) => UnixStream::connect(store::socket_path(site)).is_ok(),
    }
}

/// `regie store cli [ARGS]`.
fn cli(place: &Place, words: &[String]) -> Result<Exit, Exit> {
    let site = place.load(None)?;
    let target = Target::of(&site)?;
    let mut command = Command::new("redis-cli");
    match &target.address.endpoint {
        Endpoint::Unix(path) => command.arg("-s").arg(path),
        Endpoint::Tcp(host, port) => command.args(["-h", host, "-p", &port.to_string()]),
    };
    if let Some(user) = &target.address.user {
        command.args(["--user", user]);
    }
    if target.tls {
        command.arg("--tls");
    }
    if let Some(password) = &target.address.password {
        command.env("REDISCLI_AUTH", password.reveal());
    }
    let fault = command.args(words).exec();
    if fault.kind() != std::io::ErrorKind::NotFound {
        output::error(format_args!("failed to run redis-cli: {fault}"));
        return Err(Exit::Failed);
    }
    let mut connection = target.connect()?;
    prompt::run(&mut connection, words)
}

/// `regie store stats [--json]`.
fn stats(place: &Place, json: bool) -> Result<Exit, Exit> {
    let site = place.load(None)?;
    let target = Target::of(&site)?;
    let mut connection = target.connect()?;
    let info = stats::Info::ask(&mut connection).map_err(|fault| failed(&fault))?;
    if json {
        output::line(serde_json::to_string_pretty(&info.json()).expect("plain data"));
    } else {
        info.lines(&target.address, Paint::stdout()).into_iter().for_each(output::line);
    }
    Ok(Exit::Done)
}

/// The folder that was named, or the application's own, where the store has one here.
fn folder(place: &Place, dir: Option<PathBuf>) -> Result<(PathBuf, Option<Site>), Exit> {
    if let Some(dir) = dir {
        return Ok((dir, None));
    }
    let site = place.load(None)?;
    if site.loaded.config.store.url.is_some() {
        output::error("the data lies with the server that [store] url names, not here");
        return Err(Exit::Usage);
    }
    Ok((store::data_dir(&site), Some(site)))
}

/// `regie store check`.
fn check(place: &Place, dir: Option<PathBuf>, json: bool) -> Result<Exit, Exit> {
    let (dir, site) = folder(place, dir)?;
    let found = Bar::during(|bar| tools::check(&dir, bar)).map_err(|fault| failed(&fault))?;
    let exit = if found.can_start() { Exit::Done } else { Exit::Failed };
    if json {
        let files: Vec<_> = found
            .files
            .iter()
            .map(|file| {
                serde_json::json!({
                    "name": file.name, "kind": kind(file.kind), "bytes": file.bytes,
                    "entries": file.entries, "state": file.state.to_string(),
                })
            })
            .collect();
        let all = serde_json::json!({
            "folder": dir, "files": files, "leftovers": found.leftovers, "whole": found.is_whole(),
            "can_start": found.can_start(),
        });
        output::line(serde_json::to_string_pretty(&all).expect("plain data"));
        return Ok(exit);
    }
    let paint = Paint::stdout();
    let mut table = Table::new(&["FILE", "KIND", "SIZE", "ENTRIES", "STATE"], &[2, 3]);
    for file in &found.files {
        let tone = if file.state == FileState::Whole { Tone::Good } else { Tone::Bad };
        table.row(vec![
            (Tone::Strong, file.name.clone()),
            (Tone::Plain, kind(file.kind).to_owned()),
            (Tone::Plain, ByteSize(file.bytes).to_string()),
            (Tone::Plain, file.entries.to_string()),
            (tone, file.state.to_string()),
        ]);
    }
    table.render(paint).into_iter().for_each(output::line);
    for name in &found.leftovers {
        output::line(format_args!("{name}: left by a crash; the next start deletes it"));
    }
    let running = site.as_ref().is_some_and(is_running);
    output::line(match (found.is_whole(), found.can_start(), running) {
        (true, ..) => paint.text(Tone::Good, "all is whole"),
        (_, true, true) => "the end of the last log is being written right now".to_owned(),
        (_, true, false) => "the torn end of the last log is cut off at the next start".to_owned(),
        (_, false, _) => paint.text(Tone::Bad, "damaged; after regie stop store: regie store repair"),
    });
    Ok(exit)
}

const fn kind(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Snapshot => "snapshot",
        FileKind::Log => "log",
    }
}

/// `regie store repair`.
fn repair(place: &Place, dir: Option<PathBuf>) -> Result<Exit, Exit> {
    let (dir, _) = folder(place, dir)?;
    let done = Bar::during(|bar| tools::repair(&dir, bar)).map_err(|fault| failed(&fault))?;
    let Some(copy) = &done.copy else {
        output::line("nothing to repair: all is whole");
        return Ok(Exit::Done);
    };
    output::line(format_args!("the damaged state is kept in {}", copy.display()));
    done.steps.iter().for_each(output::line);
    if done.lost_commands > 0 || done.lost_bytes > 0 {
        let lost = done.lost_commands;
        let commands = format!("{lost} command{}", plural(usize::try_from(lost).unwrap_or(usize::MAX)));
        output::warning(format_args!(
            "lost: {commands} behind the damage, {} in all",
            ByteSize(done.lost_bytes)
        ));
    }
    Ok(Exit::Done)
}

/// `regie store backup FOLDER`.
fn backup(place: &Place, to: &Path) -> Result<Exit, Exit> {
    let (dir, site) = folder(place, None)?;
    let site = site.expect("the application's own folder");
    let running = is_running(&site).then(|| Target::of(&site)).transpose()?.map(|target| target.address);
    let done =
        Bar::during(|bar| tools::backup(&dir, running.as_ref(), to, bar)).map_err(|fault| failed(&fault))?;
    output::line(format_args!(
        "{}: {} key{}, {}, checked",
        done.path.display(),
        done.keys,
        plural(usize::try_from(done.keys).unwrap_or(usize::MAX)),
        ByteSize(done.bytes)
    ));
    Ok(Exit::Done)
}

/// How far a long piece of work is, on a terminal's last line.
#[derive(Debug, Default)]
struct Bar {
    shown: String,
}

impl Bar {
    /// Runs `work` with something that hears how far it is. Where stderr is no terminal nothing is shown.
    fn during<T>(work: impl FnOnce(&mut dyn FnMut(Progress<'_>)) -> T) -> T {
        let is_terminal = std::io::stderr().is_terminal();
        let mut bar = Self::default();
        let done = work(&mut |progress| {
            if is_terminal {
                bar.show(progress);
            }
        });
        if !bar.shown.is_empty() {
            bar.write("");
        }
        done
    }

    fn show(&mut self, progress: Progress<'_>) {
        let line = match progress.done.saturating_mul(100).checked_div(progress.total) {
            None => format!("{} {}", progress.what, progress.done),
            Some(share) => format!("{} {share} %", progress.what),
        };
        if line != self.shown {
            self.write(&line);
            self.shown = line;
        }
    }

    fn write(&self, line: &str) {
        let _ = write!(std::io::stderr(), "\r\x1b[2K{line}");
    }
}
