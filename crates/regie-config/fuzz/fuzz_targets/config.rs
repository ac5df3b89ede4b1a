//! Any text as regie.toml: no panic, and each fault has its place.
#![no_main]

use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use regie_config::Options;
use regie_config::addresses::Network;
use regie_config::dotenv::Variables;
use regie_config::files::{Files, MemoryFiles};
use regie_config::load::{World, load};

struct Only<'a>(&'a str);

impl Network for Only<'_> {
    fn resolves(&self, _host: &str) -> bool {
        false
    }

    fn listens(&self, _host: &str, _port: u16) -> bool {
        false
    }
}

impl World for Only<'_> {
    fn folder(&self) -> PathBuf {
        PathBuf::from("/srv/shop")
    }

    fn config(&self, name: &str) -> Result<Option<String>, String> {
        Ok((name == "regie.toml").then(|| self.0.to_owned()))
    }

    fn application(&self, _root: &Path) -> Box<dyn Files + '_> {
        Box::new(MemoryFiles::new([("index.php", ""), (".htaccess", self.0)]))
    }

    fn secret(&self, _path: &Path) -> Result<String, String> {
        Ok(String::new())
    }
}

fuzz_target!(|text: &str| {
    match load(&Only(text), &Options::default(), &Variables::new()) {
        Ok(loaded) => drop(regie_config::reference::show(&loaded.shown)),
        Err(faults) => assert!(faults.iter().all(|fault| fault.place.line > 0 || text.len() > (1 << 20))),
    }
});
