//! `regie store import` and `export`: moving in from a Redis or Valkey, and out to one.
//!
//! Between running servers keys are copied one by one. A Redis's files are read into a store of their own beside the
//! application's, which is started for the copy and ends with it, so that keys that are here already are treated alike.

use std::net::SocketAddr;
use std::path::Path;

use regie_core::{ByteSize, Exit, Secret};
use regie_store::tools::{self, Endpoint, ServerAddress, ToolError, TransferOptions, Transferred};
use regie_store::{Inherited, Options, run};

use super::{Bar, Target, failed, folder, is_running};
use crate::cli::StoreImport;
use crate::output;
use crate::site::{Place, plural};

/// The variable that holds the other server's password, redis-cli's own.
const PASSWORD: &str = "REDISCLI_AUTH";

/// `regie store import --from URL|FILE`.
pub(super) fn import(place: &Place, asked: &StoreImport) -> Result<Exit, Exit> {
    let site = place.load(None)?;
    let target = Target::of(&site)?.address;
    let options = TransferOptions {
        replace: asked.replace,
        pattern: asked.pattern.clone(),
        databases: asked.databases.clone(),
        ..TransferOptions::default()
    };
    let path = Path::new(&asked.from);
    let copied = if is_address(&asked.from) {
        copy(&other(&asked.from)?, &target, &options)
    } else {
        let state = site.state_dir();
        let beside = tempfile::Builder::new().prefix("import-").tempdir_in(&state).map_err(|source| {
            let fault = ToolError::File { path: state, source };
            failed(&fault)
        })?;
        let loaded = Bar::during(|bar| tools::load_redis_files(path, beside.path(), bar))
            .map_err(|fault| failed(&fault))?;
        output::line(format_args!("{}: {}", loaded.from.display(), keys(loaded.keys)));
        if loaded.expired > 0 {
            output::line(format_args!("{} had expired", keys(loaded.expired)));
        }
        loaded.notes.iter().for_each(output::line);
        beside_us(beside.path(), |source| copy(source, &target, &options))?
    };
    Ok(report(&copied.map_err(|fault| failed(&fault))?))
}

/// `regie store export --to URL|FILE`.
pub(super) fn export(place: &Place, to: &str, replace: bool) -> Result<Exit, Exit> {
    if is_address(to) {
        let site = place.load(None)?;
        let source = Target::of(&site)?.address;
        let options = TransferOptions { replace, ..TransferOptions::default() };
        let copied = copy(&source, &other(to)?, &options).map_err(|fault| failed(&fault))?;
        return Ok(report(&copied));
    }
    let (dir, site) = folder(place, None)?;
    let site = site.expect("the application's own folder");
    let running = is_running(&site).then(|| Target::of(&site)).transpose()?.map(|target| target.address);
    let done = Bar::during(|bar| tools::export_rdb(&dir, running.as_ref(), Path::new(to), bar))
        .map_err(|fault| failed(&fault))?;
    output::line(format_args!("{to}: {}, {}", keys(done.keys), ByteSize(done.bytes)));
    Ok(Exit::Done)
}

/// Whether a server is named and not a file: `redis://…`, or `host:port` where no such file is.
fn is_address(text: &str) -> bool {
    let port = text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    text.contains("://") || (port && !Path::new(text).exists())
}

/// The other server. Its password is better given in the environment, where `ps` does not show it.
fn other(text: &str) -> Result<ServerAddress, Exit> {
    let mut address = ServerAddress::parse(text).map_err(|fault| failed(&fault))?;
    if address.password.is_none() {
        address.password = std::env::var(PASSWORD).ok().filter(|text| !text.is_empty()).map(Secret::new);
    }
    Ok(address)
}

fn copy(
    from: &ServerAddress,
    to: &ServerAddress,
    options: &TransferOptions,
) -> Result<Transferred, ToolError> {
    Bar::during(|bar| tools::transfer(from, to, options, bar))
}

/// Runs a store on `dir` for as long as `work` takes.
fn beside_us<T>(dir: &Path, work: impl FnOnce(&ServerAddress) -> T) -> Result<T, Exit> {
    let refused = |fault: std::io::Error| {
        output::error(format_args!("cannot start a store for the copy: {fault}"));
        Exit::Failed
    };
    let socket = dir.join("import.sock");
    let options = Options {
        unix: Some(socket.clone()),
        dir: Some(dir.to_owned()),
        config: vec![("databases".to_owned(), "64".to_owned())],
        ..Options::default()
    };
    let (shutdown, running) = std::io::pipe().map_err(refused)?;
    let (ready, wait) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let server = scope.spawn(move || {
            let shutdown = shutdown.into();
            run(&options, Inherited::default(), &shutdown, |_: &[SocketAddr]| {
                ready.send(()).unwrap_or_default();
            })
        });
        // An error instead of the word: it has ended without being ready.
        let done = wait
            .recv()
            .ok()
            .map(|()| work(&ServerAddress { endpoint: Endpoint::Unix(socket), user: None, password: None }));
        drop(running);
        match (server.join().expect("the store does not panic"), done) {
            (Ok(()), Some(done)) => Ok(done),
            (Err(fault), _) => Err(refused(std::io::Error::other(fault))),
            (Ok(()), None) => Err(refused(std::io::Error::other("it has ended at once"))),
        }
    })
}

fn report(done: &Transferred) -> Exit {
    for (database, count) in &done.databases {
        output::line(format_args!("database {database}: {}", keys(*count)));
    }
    output::line(format_args!("copied: {}", keys(done.keys)));
    if done.functions > 0 {
        output::line(format_args!("copied: {} libraries of functions", done.functions));
    }
    if done.kept > 0 {
        output::line(format_args!(
            "{} were there already and stayed; --replace takes the others",
            keys(done.kept)
        ));
    }
    if done.vanished > 0 {
        output::line(format_args!("{} were gone when their turn came", keys(done.vanished)));
    }
    for (key, why) in &done.failed {
        output::warning(format_args!("{key}: {why}"));
    }
    if done.failures > 0 {
        output::error(format_args!("{} could not be copied", keys(done.failures)));
        return Exit::Failed;
    }
    Exit::Done
}

fn keys(count: u64) -> String {
    format!("{count} key{}", plural(usize::try_from(count).unwrap_or(usize::MAX)))
}

#[cfg(test)]
mod tests {
    use super::is_address;

    #[test]
    fn servers_and_files_are_told_apart() {
        for (text, expected) in [
            ("redis://127.0.0.1:6379", true),
            ("127.0.0.1:6379", true),
            ("redis:6379", true),
            ("/var/lib/redis/dump.rdb", false),
            ("dump.rdb", false),
            ("redis", false),
        ] {
            assert_eq!(is_address(text), expected, "{text}");
        }
    }
}
