//! `regie init`: writes a regie.toml from what is found, so that it can be changed rather than invented.

use std::fmt::Write as _;

use regie_core::Exit;

use crate::cli::Init;
use crate::output;
use crate::site::{Place, Site};

/// `regie init [--force]`.
pub(crate) fn init(place: &Place, asked: &Init) -> Exit {
    let file = place.folder().join("regie.toml");
    if file.exists() && !asked.force {
        output::error(format_args!(
            "{} is there already; replace it with: regie init --force",
            file.display()
        ));
        return Exit::Usage;
    }
    let site = match place.load(None) {
        Ok(site) => site,
        Err(exit) => return exit,
    };
    if let Err(fault) = std::fs::write(&file, content(&site)) {
        output::error(format_args!("{} cannot be written: {fault}", file.display()));
        return Exit::Failed;
    }
    output::line(format_args!("wrote {}", file.display()));
    Exit::Done
}

/// What was found, as comments where it needs no line, so that the file changes nothing until somebody edits it.
fn content(site: &Site) -> String {
    let loaded = &site.loaded;
    let mut text = format!(
        "# {}, found by {}. Every line is optional; the guide's page \"configuration\" has all keys.\n",
        loaded.application.title(),
        loaded.application.because
    );
    for section in ["app", "gateway", "php.web"] {
        let _ = write!(text, "\n[{section}]\n");
        for row in loaded.shown.iter().filter(|row| row.section == section && !row.value.is_empty()) {
            let _ = writeln!(text, "# {} = {}    # {}", row.key, row.value, row.origin);
        }
    }
    text
}
