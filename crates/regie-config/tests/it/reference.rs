//! The reference page is what the table of settings says.

use std::path::Path;

use regie_config::reference::page;
use regie_config::schema::Default;
use regie_config::settings::SECTIONS;

use crate::folder::Folder;

#[test]
fn the_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/configuration.md");
    if std::env::var_os("REGIE_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, page()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == page(), "{} is stale: run REGIE_BLESS=1 cargo test -p regie-config", path.display());
}

/// Every example of the page is one that the reader takes, and every default is what an absent key gives.
#[test]
fn examples_are_taken_and_defaults_are_in_force() {
    // Examples that exclude each other stand in files of their own.
    for section in SECTIONS {
        for key in (section.keys)() {
            let name = section.name.replace("NAME", "web").replace(".N", ".1");
            let mut text = format!("[{name}]\n{} = {}\n", key.name, key.example);
            match (section.name, key.name) {
                ("workers.NAME.limits.CLASS", _) => text.push_str("[workers.web]\nqueues = [\"a\"]\n"),
                ("program.NAME", "command") => {}
                ("program.NAME", "depends_on") => {
                    text.push_str("command = \"true\"\n[program.db]\ncommand = \"true\"\n");
                }
                ("program.NAME", _) => text.push_str("command = \"true\"\n"),
                ("workers.NAME", "min") => text.push_str("queues = [\"a\"]\nmax = 9\n"),
                ("workers.NAME", name) if name != "queues" => text.push_str("queues = [\"a\"]\n"),
                ("schedule.NAME", "cron") => text.push_str("command = \"true\"\n"),
                ("schedule.NAME", "command") => text.push_str("cron = \"@daily\"\n"),
                ("schedule.NAME", _) => text.push_str("cron = \"@daily\"\ncommand = \"true\"\n"),
                ("php.NAME", "script") => text.push_str("mode = \"worker\"\n"),
                _ => {}
            }
            let text = text.replace("${file:/run/secrets/store}", "x");
            let folder = Folder::new(&[("regie.toml", &text)]);
            let environment =
                [("REDIS_PASSWORD", "x"), ("MERCURE_JWT_SECRET", "x"), ("CONSOLE_PASSWORD", "x")];
            let loaded = folder.load(&environment).unwrap_or_else(|faults| panic!("{text}\n{faults}"));
            let written =
                loaded.shown.iter().filter(|row| row.origin.to_string().starts_with("regie.toml:2")).count();
            assert!(
                written > 0 || section.name.starts_with("store.db") || section.name.ends_with("CLASS"),
                "{text} is shown with its line"
            );

            let Default::Toml(default) = key.default else { continue };
            if section.name == "workers.NAME" && key.name == "queues" {
                // Its absence is a fault.
                continue;
            }
            let text = text.replacen(key.example, default, 1);
            let same = Folder::new(&[("regie.toml", &text)])
                .load(&environment)
                .unwrap_or_else(|faults| panic!("{text}\n{faults}"));
            let absent = text.replacen(&format!("{} = {default}\n", key.name), "", 1);
            let absent = Folder::new(&[("regie.toml", &absent)]).load(&environment).unwrap();
            assert_eq!(same.config, absent.config, "[{}] {} = {default}", section.name, key.name);
        }
    }
}
