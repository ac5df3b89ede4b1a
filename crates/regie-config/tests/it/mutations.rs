//! Thousands of broken configurations: none may panic, each fault must have its place.

use std::path::{Path, PathBuf};

use regie_config::addresses::Network;
use regie_config::dotenv::Variables;
use regie_config::files::{Files, MemoryFiles};
use regie_config::load::{World, load};
use regie_config::{Options, reference};

/// How many mutants are tried; the whole takes a few seconds.
const MUTANTS: usize = 2000;

/// Everything that the file can say, to be broken.
const WHOLE: &str = r#"
[app]
env = "production"
user = "deploy"
state = "/var/lib/shop"
[hosts]
db = "10.0.0.7"
redis = "cache.internal:6380"
[gateway]
listen = ["127.0.0.1:8000", "unix:/run/shop.sock", "[::1]:80"]
hosts = ["shop.example.org"]
body_limit = "20mb"
trusted_proxies = ["10.0.0.0/8", "fd00::/8"]
compression = ["gzip"]
[php]
version = "8.2"
ini = { memory_limit = "512M", "opcache.enable" = true, precision = 1.5 }
[php.web]
mode = "worker"
script = "public/frankenphp-worker.php"
workers = "auto"
request_timeout = "1h 30m"
env = { A = "${HOME}", B = 1, C = "$${x}" }
reset = ["ini", "cwd"]
[php.jobs]
url = "unix:/run/php/php8.2-fpm.sock"
[store]
password = "${file:/run/secrets/store}"
maxmemory = "512mb"
protected_keys = ["@default", "orders:*"]
db.1 = { maxmemory_policy = "allkeys-lru", appendfsync = "no" }
[workers.default]
queues = ["redis:high"]
min = 1
max = 4
backoff = ["1s", "10s"]
[schedule]
enabled = true
[program.vite]
command = ["npm", "run", "dev"]
ready = "tcp:127.0.0.1:5173"
exit_codes = [0, 2]
[mercure]
jwt_secret = "${JWT}"
[console]
listen = "127.0.0.1:8899"
"#;

/// SplitMix64: a seed gives the same mutants everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }
}

/// A world in memory: one configuration, one `.env`.
struct Memory<'a> {
    config: &'a str,
    files: &'a MemoryFiles,
}

impl Network for Memory<'_> {
    fn resolves(&self, host: &str) -> bool {
        host.len().is_multiple_of(2)
    }

    fn listens(&self, _host: &str, port: u16) -> bool {
        port.is_multiple_of(2)
    }
}

impl World for Memory<'_> {
    fn folder(&self) -> PathBuf {
        PathBuf::from("/srv/shop")
    }

    fn config(&self, name: &str) -> Result<Option<String>, String> {
        Ok((name == "regie.toml").then(|| self.config.to_owned()))
    }

    fn application(&self, _root: &Path) -> Box<dyn Files + '_> {
        Box::new(self.files.clone())
    }

    fn secret(&self, _path: &Path) -> Result<String, String> {
        Ok("secret".to_owned())
    }
}

const PIECES: [&str; 26] = [
    "\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "\n",
    "#",
    "${",
    "}",
    "\\",
    "\u{0}",
    "é",
    "-1",
    "99999999999999999999",
    "true",
    "1979-05-27",
    "[php]",
    "[a.b.c]",
    "\"\"\"",
    "0x7f",
    "nan",
    "\r",
];

fn mutate(text: &str, random: &mut Random) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(6) {
        let at = random.below(chars.len());
        match random.below(5) {
            0 => drop(chars.drain(at..(at + 1 + random.below(12)).min(chars.len()))),
            1 => drop(chars.splice(at..at, PIECES[random.below(PIECES.len())].chars())),
            2 => {
                let end = (at + random.below(40)).min(chars.len());
                let copy: Vec<char> = chars[at..end].to_vec();
                let to = random.below(chars.len());
                drop(chars.splice(to..to, copy));
            }
            3 => {
                let other = random.below(chars.len());
                chars.swap(at, other);
            }
            _ => chars.truncate(at.max(1)),
        }
        if chars.is_empty() {
            chars.push('[');
        }
    }
    chars.into_iter().collect()
}

fn check(config: &str, env: &str, htaccess: &str) {
    let files = MemoryFiles::new([
        (".env", env),
        ("artisan", ""),
        ("bootstrap/app.php", ""),
        ("public/index.php", ""),
        ("public/.htaccess", htaccess),
        ("bootstrap/cache/config.php", env),
    ]);
    let environment: Variables =
        [("HOME", "/root"), ("JWT", "j")].map(|(n, v)| (n.to_owned(), v.to_owned())).into();
    match load(&Memory { config, files: &files }, &Options::default(), &environment) {
        Ok(loaded) => assert!(reference::show(&loaded.shown).contains("[php.web]")),
        Err(faults) => {
            let lines = config.lines().count().max(1) + 1;
            for fault in faults.iter() {
                assert!(
                    (1..=lines).contains(&fault.place.line) && fault.place.column > 0,
                    "{fault} has a place"
                );
                assert!(!fault.what.is_empty());
            }
        }
    }
}

#[test]
fn broken_configurations_are_refused_with_places() {
    let seed = std::env::var("REGIE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_260);
    let env = "A=1\nexport REDIS_HOST=\"redis\"\nB='x ${A}' # c\nDATABASE_URL=mysql://u:p@db:3306/x\n";
    let htaccess = "<FilesMatch \"\\.(sql|log)$\">\nDeny from all\n</FilesMatch>\nRewriteRule ^(a|b)/ - [F]\nRedirect 301 /a /b\n";
    check(WHOLE, env, htaccess);
    let mut random = Random(seed);
    for number in 0..MUTANTS {
        let (config, env, htaccess) =
            (mutate(WHOLE, &mut random), mutate(env, &mut random), mutate(htaccess, &mut random));
        let outcome = std::panic::catch_unwind(|| check(&config, &env, &htaccess));
        if let Err(panic) = outcome {
            eprintln!(
                "REGIE_SEED={seed}, mutant {number}:\n{config}\n--- .env\n{env}\n--- .htaccess\n{htaccess}"
            );
            std::panic::resume_unwind(panic);
        }
    }
}
