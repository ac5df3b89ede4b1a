//! `regie php …`: the application's PHP, and what can be asked about it.

use regie_config::shell::php::{choose, installed};
use regie_core::Exit;

use crate::commands::{opcache, run};
use crate::output::{self, Paint, Table, Tone};
use crate::programs;
use crate::site::{Place, Site};

/// `info`, `opcache` and `versions` are questions of our own; everything else goes to PHP.
pub(crate) fn php(place: &Place, words: Vec<String>) -> Exit {
    let own = match words.first().map(String::as_str) {
        Some("info") => info,
        Some("versions") => versions,
        Some("opcache") => return opcache::opcache(place, &words[1..]),
        _ => {
            let command: Vec<String> = std::iter::once("php".to_owned()).chain(words).collect();
            return run::run(place, "jobs", &command);
        }
    };
    place.load(None).map_or_else(|exit| exit, |site| own(&site))
}

/// Each value that the web pool's PHP has, and where it comes from.
fn info(site: &Site) -> Exit {
    let facts = site.facts();
    let Some(php) = &facts.php else {
        output::error("no PHP is installed that serves this application; see: regie check");
        return Exit::Unavailable;
    };
    let folder = php.ini_dir.as_ref().map_or("ini files".to_owned(), |folder| folder.display().to_string());
    let overridden = programs::ini(site, site.loaded.web());
    let mut rows: Vec<(String, String, String)> = Vec::new();
    for (name, value) in &php.ini {
        if !overridden.iter().any(|(other, _)| other == name) {
            rows.push((name.clone(), value.clone(), folder.clone()));
        }
    }
    for (name, value) in overridden {
        let origin = written_at(site, &name).unwrap_or_else(|| site.loaded.env.to_string());
        rows.push((name, value, origin));
    }
    rows.sort();
    let mut table = Table::new(&["SETTING", "VALUE", "FROM"], &[]);
    for (name, value, origin) in rows {
        table.row(vec![(Tone::Strong, name), (Tone::Plain, value), (Tone::Quiet, origin)]);
    }
    let (major, minor) = php.version;
    output::line(format_args!("PHP {major}.{minor}, {}", php.bin.display()));
    print(&table);
    Exit::Done
}

/// The line of the configuration that sets an ini value.
fn written_at(site: &Site, name: &str) -> Option<String> {
    let key = format!("ini.{name}");
    let find = |section: &str| site.loaded.shown.iter().find(|row| row.section == section && row.key == key);
    find("php.web").or_else(|| find("php")).map(|row| row.origin.to_string())
}

/// The PHPs of this machine, and which of them serves.
fn versions(site: &Site) -> Exit {
    let all = installed(&std::env::var("PATH").unwrap_or_default());
    let chosen = choose(&site.loaded, &all);
    let mut table = Table::new(&["VERSION", "PROGRAM", ""], &[]);
    for php in &all {
        let (major, minor) = php.version;
        let serves = chosen.as_ref().is_some_and(|chosen| chosen.version == php.version);
        let note = if serves {
            (Tone::Good, "serves this application".to_owned())
        } else {
            (Tone::Plain, String::new())
        };
        table.row(vec![
            (Tone::Strong, format!("{major}.{minor}")),
            (Tone::Plain, php.bin.display().to_string()),
            note,
        ]);
    }
    print(&table);
    if all.is_empty() { Exit::Unavailable } else { Exit::Done }
}

fn print(table: &Table) {
    for line in table.render(Paint::stdout()) {
        output::line(line);
    }
}
