//! `regie check`: the checklist, with the fix for each fault.

use regie_config::check::check as check_all;
use regie_config::facts::{Facts, Holder};
use regie_config::values::{AppEnv, Framework};
use regie_config::{Finding, Severity};
use regie_core::Exit;

use crate::cli::Check;
use crate::commands::control;
use crate::commands::moving::script;
use crate::commands::rewind;
use crate::commands::run;
use crate::output::{self, Paint, Table, Tone};
use crate::site::{Place, Site, plural};

/// `regie check [--production] [--show | --probe] [--json]`.
pub(crate) fn check(place: &Place, asked: &Check) -> Exit {
    let env = asked.production.then_some(AppEnv::Production);
    if asked.show {
        return match place.load(env) {
            Ok(site) => show(&site, asked.json),
            Err(exit) => exit,
        };
    }
    let site = match place.read(env) {
        Ok(site) => site,
        Err(faults) if asked.json => {
            let findings: Vec<Finding> = faults.iter().map(Finding::from).collect();
            output::line(serde_json::to_string_pretty(&findings).expect("plain data"));
            return Exit::Usage;
        }
        Err(faults) => {
            output::error(faults);
            return Exit::Usage;
        }
    };
    if asked.at_start {
        complain(&site);
        return Exit::Done;
    }
    let mut findings = check_all(&site.loaded, &facts_while_it_runs(&site));
    findings.extend(rewind::check(&site));
    if asked.probe {
        findings.extend(probe(&site, asked.probe_wait));
    }
    if asked.json {
        output::line(serde_json::to_string_pretty(&findings).expect("plain data"));
    } else {
        report(&findings, Paint::stdout());
    }
    if findings.iter().any(|finding| finding.severity == Severity::Error) { Exit::Failed } else { Exit::Done }
}

/// The machine as the site finds it, running or not: the addresses that it holds itself are not taken.
fn facts_while_it_runs(site: &Site) -> Facts {
    let mut facts = site.facts();
    if !facts.taken.is_empty() {
        let own = control::own_processes(&site.run_dir());
        let is_own = |holder: &Holder| u32::try_from(holder.pid).is_ok_and(|pid| own.contains(&pid));
        facts.taken.retain(|taken| !taken.holder.as_ref().is_some_and(is_own));
    }
    facts
}

/// What a person should know when the site starts, each with its fix.
pub(crate) fn complain(site: &Site) {
    let mut findings = check_all(&site.loaded, &site.facts());
    // What is merely good to know is said by `regie check`; a taken port is met again when it is opened.
    findings.retain(|finding| finding.severity > Severity::Note && finding.place != "[gateway] listen");
    for finding in &findings {
        output::note(finding);
    }
}

/// What only the application itself can tell: it is booted, and uses what it is configured for.
fn probe(site: &Site, wait_s: u64) -> Vec<Finding> {
    let one = |severity, what: String, fix: &str| vec![Finding::new(severity, "probe", what, fix)];
    if site.loaded.application.framework != Framework::Laravel {
        let what = "only a Laravel application can be tried so".to_owned();
        return one(Severity::Warning, what, "try it by hand, or leave --probe out");
    }
    let ready = site.make_folders().and_then(|()| run::become_user(site));
    let lines = ready.map_err(|fault| fault.to_string()).and_then(|()| script::probe(site, wait_s));
    match lines {
        Ok(lines) => lines.as_array().map_or_else(Vec::new, |lines| lines.iter().map(probed).collect()),
        Err(fault) => one(Severity::Error, fault, "regie artisan about, for what keeps it from booting"),
    }
}

/// A line of the probe. That dispatching is slow keeps nothing from working.
fn probed(line: &serde_json::Value) -> Finding {
    let of = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let (severity, fix) = match (line["well"].as_bool(), of("what").as_str()) {
        (Some(true) | None, _) => (Severity::Note, ""),
        (Some(false), "dispatch") => {
            (Severity::Warning, "look at the machine's load, or move jobs to Redis: regie move queue")
        }
        (Some(false), "job") => {
            (Severity::Error, "regie up, and regie queue stats: does a worker serve this queue?")
        }
        (Some(false), "extension") => (Severity::Error, "install it, or set REDIS_CLIENT=predis"),
        (Some(false), _) => {
            (Severity::Error, "regie up, and regie check --show for where its addresses lead")
        }
    };
    Finding::new(severity, format!("probe {}", of("what")), of("said"), fix)
}

fn report(findings: &[Finding], paint: Paint) {
    for finding in findings {
        let tone = match finding.severity {
            Severity::Note => Tone::Quiet,
            Severity::Warning => Tone::Warning,
            Severity::Error => Tone::Bad,
        };
        output::line(paint.text(tone, finding));
    }
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let warnings = findings.iter().filter(|finding| finding.severity == Severity::Warning).count();
    let line = match (errors, warnings) {
        (0, 0) => paint.text(Tone::Good, "all is well"),
        _ => format!("{errors} error{}, {warnings} warning{}", plural(errors), plural(warnings)),
    };
    output::line(line);
}

/// Effective values with their origin.
fn show(site: &Site, json: bool) -> Exit {
    let rows = &site.loaded.shown;
    if json {
        output::line(serde_json::to_string_pretty(rows).expect("plain data"));
        return Exit::Done;
    }
    let mut table = Table::new(&["SETTING", "VALUE", "FROM"], &[]);
    for row in rows {
        let name = format!("{}.{}", row.section, row.key);
        let value = if row.value.is_empty() { "–".to_owned() } else { row.value.clone() };
        table.row(vec![(Tone::Strong, name), (Tone::Plain, value), (Tone::Quiet, row.origin.to_string())]);
    }
    for line in table.render(Paint::stdout()) {
        output::line(line);
    }
    Exit::Done
}
