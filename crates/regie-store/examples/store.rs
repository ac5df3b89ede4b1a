//! The store alone: `cargo run -p regie-store --example store -- --listen 127.0.0.1:6390 --dir DIR [--unix PATH]
//! [--NAME VALUE …]`, where NAME is any setting that CONFIG SET knows. Ends at end of file on standard input when
//! `--until-eof` is given, and at SHUTDOWN.

use regie_store::{Inherited, Options, run};
use std::io::Write;
use std::process::ExitCode;

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<(Options, bool), String> {
    let mut options = Options {
        report: Some(|line| drop(writeln!(std::io::stderr(), "store: {line}"))),
        ..Options::default()
    };
    let mut until_eof = false;
    while let Some(argument) = arguments.next() {
        let name =
            argument.strip_prefix("--").ok_or_else(|| format!("'{argument}' is no option"))?.to_owned();
        if name == "until-eof" {
            until_eof = true;
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("--{name} needs a value"))?;
        match name.as_str() {
            "listen" => options.listen.push(value.parse().map_err(|_| format!("'{value}' is no address"))?),
            "unix" => options.unix = Some(value.into()),
            "dir" => options.dir = Some(value.into()),
            _ => options.config.push((name, value)),
        }
    }
    if options.listen.is_empty() && options.unix.is_none() {
        options.listen.push("127.0.0.1:6379".parse().map_err(|_| "no address")?);
    }
    Ok((options, until_eof))
}

fn main() -> ExitCode {
    let (options, until_eof) = match parse(std::env::args().skip(1)) {
        Ok(parsed) => parsed,
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "store: {why}");
            return ExitCode::from(64);
        }
    };
    let Ok((shutdown, trigger)) = std::io::pipe() else { return ExitCode::FAILURE };
    std::thread::spawn(move || {
        if until_eof {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            drop(trigger);
        } else {
            std::mem::forget(trigger);
        }
    });
    let ready = |addresses: &[std::net::SocketAddr]| {
        for address in addresses {
            let _ = writeln!(std::io::stdout(), "ready {address}");
        }
        let _ = std::io::stdout().flush();
    };
    match run(&options, Inherited::default(), &shutdown.into(), ready) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "store: {error}");
            ExitCode::FAILURE
        }
    }
}
