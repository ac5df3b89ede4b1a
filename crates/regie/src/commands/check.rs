//! `regie check`: the checklist, with the fix for each fault.

use regie_config::check::check as check_all;
use regie_config::values::AppEnv;
use regie_config::{Finding, Severity};
use regie_core::Exit;

use crate::cli::Check;
use crate::commands::rewind;
use crate::output::{self, Paint, Table, Tone};
use crate::site::{Place, Site, plural};

/// `regie check [--production] [--show] [--json]`.
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
    let mut findings = check_all(&site.loaded, &site.facts());
    findings.extend(rewind::check(&site));
    if asked.json {
        output::line(serde_json::to_string_pretty(&findings).expect("plain data"));
    } else {
        report(&findings, Paint::stdout());
    }
    if findings.iter().any(|finding| finding.severity == Severity::Error) { Exit::Failed } else { Exit::Done }
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
