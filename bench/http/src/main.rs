//! Régie beside Debian's nginx + php-fpm, on one machine, in alternation.
//!
//! The pure part: the scenarios ([`catalogue`]), what makes a run count ([`wrk`]), medians and ratios ([`stats`]) and
//! the report ([`report`]). [`shell`] starts both sides and the clients. bench/README.md explains the method.

#![forbid(unsafe_code)]

mod catalogue;
mod report;
mod shell;
mod stats;
mod wrk;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use report::{Outcome, Report, table};
use shell::scenario::{Settings, run};
use shell::{machine, server};

/// Régie beside nginx + php-fpm: requests per second, latency, memory.
#[derive(Debug, Parser)]
#[command(name = "regie-bench-http")]
struct Arguments {
    /// Print the scenarios and end.
    #[arg(long)]
    list: bool,
    /// Run only this scenario, or this family (`laravel`); may be given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// How many pairs of runs; three where Régie is compared with itself.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pairs: u32,
    /// How long each run of wrk takes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Let nginx keep its connections to php-fpm, which is not its default.
    #[arg(long)]
    peer_keepalive: bool,
    /// A setting of PHP on both sides, above those that are alike anyway; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    ini: Vec<(String, String)>,
    /// Measure the peer against itself: how far do equal things differ on this machine?
    #[arg(long)]
    against_itself: bool,
    /// Where the result is written as JSON.
    #[arg(long, value_name = "FILE", default_value = "target/bench-http.json")]
    json: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        for scenario in catalogue::SCENARIOS {
            say(&format!("{:<17}{}", scenario.name, scenario.about));
        }
        return ExitCode::SUCCESS;
    }
    match measure(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            tell(&format!("bench-http: {fault}"));
            ExitCode::from(69)
        }
    }
}

/// Whether every scenario could be measured. A missed goal is a result, not a failure.
fn measure(arguments: &Arguments) -> Result<bool, String> {
    let scenarios = catalogue::chosen(&arguments.only)?;
    let php_fpm = machine::php_fpm()?;
    machine::find("nginx", "nginx-light")?;
    machine::find("wrk", "wrk")?;
    if !arguments.against_itself {
        machine::regie()?;
    }
    let settings = Settings {
        pairs: arguments.pairs,
        seconds: arguments.seconds,
        keepalive: arguments.peer_keepalive,
        ini: server::INI
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .chain(arguments.ini.iter().cloned())
            .collect(),
        against_itself: arguments.against_itself,
    };
    let peer = if arguments.peer_keepalive { "nginx+fpm (kept)" } else { "nginx+fpm" };
    let ours = if arguments.against_itself { "nginx+fpm again" } else { "Régie" };
    let machine = machine::describe(&php_fpm);
    say(&format!("{} × {}, Linux {}, {}", machine.cpus, machine.cpu, machine.kernel, machine.php));
    say(&format!("{} pairs of runs of {} s\n", settings.pairs, settings.seconds));

    let mut outcomes: Vec<Outcome> = Vec::new();
    for scenario in &scenarios {
        tell(&format!("{} …", scenario.name));
        let outcome = run(scenario, &settings, &tell);
        say(&table(&outcome, peer, ours));
        outcomes.push(outcome);
    }
    let whole = outcomes.iter().all(|outcome| outcome.fault.is_none());
    let report = Report {
        format: 1,
        machine,
        peer: peer.to_owned(),
        pairs: settings.pairs,
        seconds: settings.seconds,
        scenarios: outcomes,
    };
    write_json(&arguments.json, &report)?;
    Ok(whole)
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expects NAME=VALUE")?;
    if name.is_empty() || text.contains(['"', '\n']) {
        return Err("expects the name of a setting, and a value without quotation marks".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn write_json(path: &Path, report: &Report) -> Result<(), String> {
    let fault = |fault: std::io::Error| format!("{}: {fault}", path.display());
    let json = serde_json::to_string_pretty(report)
        .map_err(|fault| format!("the result cannot be written: {fault}"))?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(fault)?;
    }
    fs::write(path, json + "\n").map_err(fault)?;
    tell(&format!("written to {}", path.display()));
    Ok(())
}

/// The result, to stdout.
#[expect(clippy::disallowed_macros, reason = "the one place of this program that prints its result")]
fn say(text: &str) {
    println!("{text}");
}

/// What happens meanwhile, to stderr.
fn tell(text: &str) {
    eprintln!("{text}");
}
