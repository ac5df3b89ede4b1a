//! `regie check`: the checklist, with the fix for each fault.

use regie_config::values::AppEnv;
use regie_config::{Finding, Severity};
use regie_core::Exit;

use crate::cli::Check;
use crate::output::{self, Paint, Table, Tone};
use crate::site::{Place, Site, plural};

/// `regie check [--production] [--show] [--json]`.
pub(crate) fn check(place: &Place, asked: &Check) -> Exit {
    let site = match place.load(asked.production.then_some(AppEnv::Production)) {
        Ok(site) => site,
        Err(exit) => return exit,
    };
    if asked.show {
        show(&site, asked.json);
        return Exit::Done;
    }
    let findings = findings(&site);
    if asked.json {
        output::line(serde_json::to_string_pretty(&findings).expect("plain data"));
    } else {
        report(&findings, Paint::stdout());
    }
    if findings.iter().any(|finding| finding.severity == Severity::Error) { Exit::Failed } else { Exit::Done }
}

/// Everything that is worth saying about the application and its machine.
pub(crate) fn findings(site: &Site) -> Vec<Finding> {
    site.loaded.warnings.clone()
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
fn show(site: &Site, json: bool) {
    let rows = &site.loaded.shown;
    if json {
        output::line(serde_json::to_string_pretty(rows).expect("plain data"));
        return;
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
}
