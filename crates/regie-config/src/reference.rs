//! The pages that are written from the table of settings: docs/reference/configuration.md and `regie check --show`.

use std::fmt::Write as _;

use crate::schema::{Default, Key, Shown};
use crate::settings::SECTIONS;

/// What stands before the sections.
const HEAD: &str = "\
<!-- Written from crates/regie-config/src/settings.rs. To renew it: REGIE_BLESS=1 cargo test -p regie-config -->

# regie.toml

Every key is optional, and so is the file: what is not written is detected or has the default below.
`regie check --show` prints the values in force and where each comes from.

- `regie.toml` lies beside the application. `regie.production.toml` is laid over it in production and
  `regie.local.toml` in development, key by key; `[app] env`, `root` and `framework` stand in `regie.toml` only.
- `${NAME}` in a text is a variable of the environment or of `.env`, `${file:/path}` the content of a file, and `$${`
  stands for `${` itself. What comes from a file, or from a variable whose name says secret, is never shown.
- A size is written `512`, `64kb`, `200mb` or `2gb`; a time `250ms`, `30s`, `5m`, `1h 30m`, or a number of seconds.
- Unknown keys are faults. All faults of all files are reported at once, with exit code 64, and nothing is started.
";

/// The reference page.
#[must_use]
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    for section in SECTIONS {
        let doc = section.doc.trim().replace('\n', "");
        write!(page, "\n## [{}]\n\n{}\n", section.name, doc.trim()).ok();
        if !section.served {
            page.push_str("\n*Read and checked, but not yet served by this version.*\n");
        }
        let keys = (section.keys)();
        if keys.is_empty() {
            page.push_str("\n```toml\n[hosts]\ndb = \"10.0.0.7\"\nredis = \"cache.internal:6380\"\n```\n");
            continue;
        }
        page.push_str(
            "\n| Key | Meaning | What may be written | Default | Example |\n|---|---|---|---|---|\n",
        );
        for key in keys {
            page.push_str(&row(key));
        }
    }
    page
}

fn row(key: &Key) -> String {
    let default = match key.default {
        Default::Toml(text) => format!("`{text}`"),
        Default::Found(text) => text.to_owned(),
    };
    let doc = key.doc.trim().replace('\n', "");
    let cells = [
        format!("`{}`", key.name),
        doc.trim().to_owned(),
        (key.kind)(),
        default,
        format!("`{}`", key.example),
    ];
    format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}

/// The effective values as `regie check --show` prints them: sections, keys in columns, and the origin of each.
#[must_use]
pub fn show(rows: &[Shown]) -> String {
    let mut out = String::new();
    let mut section = "";
    for row in rows {
        if row.section != section {
            section = &row.section;
            let gap = if out.is_empty() { "" } else { "\n" };
            writeln!(out, "{gap}[{section}]").ok();
        }
        let value = if row.value.is_empty() { "(not set)" } else { &row.value };
        writeln!(out, "{:<20} = {value:<36} # {}", row.key, row.origin).ok();
    }
    out
}
