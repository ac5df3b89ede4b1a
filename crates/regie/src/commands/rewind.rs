//! Rewind mode as an operator sees it: what this kernel offers (`regie check`), and what putting back has cost
//! (`regie status`).

use std::fmt;
use std::process::Command;

use regie_config::values::Mode;
use regie_config::{Finding, Severity};
use serde_json::{Map, Value, json};

use crate::commands::pool_workers::Pool;
use crate::commands::{opcache, up};
use crate::site::Site;

/// What the kernel offers to pools in rewind mode, and those that have left it; nothing where there is none.
pub(crate) fn check(site: &Site) -> Vec<Finding> {
    let pools = site.loaded.config.pools.iter();
    let rewinds = pools.filter(|(_, pool)| pool.url.is_none() && pool.mode() == Mode::Rewind);
    let mut names = rewinds.map(|(name, _)| name).peekable();
    let Some(first) = names.peek() else { return Vec::new() };
    // Where it is missing, or does not start, other lines say so.
    let regie_php = up::binaries().ok().map(|binaries| binaries.regie_php);
    let told = regie_php.and_then(|regie_php| Command::new(regie_php).arg("--trackers").output().ok());
    let kernel = told.map(|told| finding(&place(first), &String::from_utf8_lossy(&told.stdout)));
    let left = names.filter_map(|name| {
        let socket = site.run_dir().join(format!("php.{name}.status.sock"));
        let page = socket.exists().then(|| opcache::inspect(&socket, "pool").ok())??;
        left_finding(&place(name), &page)
    });
    kernel.into_iter().chain(left).collect()
}

fn place(pool: &str) -> String {
    format!("[php.{pool}] mode")
}

/// What a pool says that runs and could not be in rewind mode.
fn left_finding(place: &str, page: &Value) -> Option<Finding> {
    let why = page.get("not rewound because").and_then(Value::as_str)?;
    let what = format!("the pool runs in classic mode, which boots the application for each request: {why}");
    let fix = "repair that and: regie reload; or set mode = \"classic\", and this line goes";
    Some(Finding::new(Severity::Warning, place, what, fix))
}

/// What follows from the lines of `regie-php --trackers`.
fn finding(place: &str, told: &str) -> Finding {
    let trackers: Vec<(&str, &str)> = told.lines().filter_map(|line| line.split_once(": ")).collect();
    let (_, best_fault) = trackers.first().copied().unwrap_or(("", "regie-php does not say what works here"));
    match trackers.iter().find(|(_, said)| *said == "works") {
        Some((name @ "userfaultfd", _)) => {
            let what = format!("memory is put back with the help of {name}, the fastest way");
            Finding::new(Severity::Note, place, what, "")
        }
        Some((name, _)) => {
            let what = format!("memory is put back with the help of {name}: {best_fault}");
            let fix = if best_fault.contains("denied") {
                "allow userfaultfd in the container's seccomp profile; it is faster"
            } else {
                "nothing; a newer kernel is faster"
            };
            Finding::new(Severity::Note, place, what, fix)
        }
        None => {
            let what = format!("memory cannot be put back: {best_fault}; each request boots the application");
            let fix = "allow userfaultfd, or memfd_create and /proc/self/pagemap, in the container's profile; \
                       or set mode = \"classic\"";
            Finding::new(Severity::Warning, place, what, fix)
        }
    }
}

/// What rewinding has cost a pool since its master was started.
#[derive(Debug, PartialEq)]
pub(crate) struct Rewound {
    program: String,
    requests: u64,
    pages: u64,
    micros: u64,
    replaced: u64,
    replaced_why: String,
}

/// What these pools tell of it. One in another mode has no line.
pub(crate) fn read_pools(pools: &[Pool]) -> Vec<Rewound> {
    pools.iter().filter_map(|pool| read(&pool.program, &pool.page)).collect()
}

/// The status socket of a pool, `php:web` or `workers:mail`; other programs have none that speaks FastCGI.
pub(super) fn socket_of(program: &str) -> Option<String> {
    let (kind, name) = program.split_once(':')?;
    Some(format!("{kind}.{name}.status.sock"))
}

fn read(program: &str, page: &Value) -> Option<Rewound> {
    let number = |name: &str| page.get(name).and_then(Value::as_u64);
    Some(Rewound {
        program: program.to_owned(),
        requests: number("rewound requests")?,
        pages: number("pages put back")?,
        micros: number("put back us")?,
        replaced: number("replaced workers")?,
        replaced_why: page.get("last replaced for").and_then(Value::as_str).unwrap_or_default().to_owned(),
    })
}

/// A member `rewind`, with one for each pool; none where no pool rewinds.
pub(crate) fn add_to(status: &mut Value, pools: &[Rewound]) {
    if pools.is_empty() {
        return;
    }
    let pools = pools.iter().map(|pool| {
        let value = json!({
            "requests": pool.requests,
            "pages_put_back": pool.pages,
            "put_back_us": pool.micros,
            "replaced_workers": pool.replaced,
            "last_replaced_for": pool.replaced_why,
        });
        (pool.program.clone(), value)
    });
    status["rewind"] = Value::Object(pools.collect::<Map<_, _>>());
}

/// `php:web put back 212 pages in 0.09 ms per request (1024 requests); 1 worker replaced, the last for: …`
impl fmt::Display for Rewound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.requests == 0 {
            return write!(f, "{} is in rewind mode and has served nothing yet", self.program);
        }
        let requests = self.requests;
        #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
        let millis = self.micros as f64 / requests as f64 / 1000.0;
        let pages = (self.pages + requests / 2) / requests;
        write!(f, "{} put back {pages} pages in {millis:.2} ms per request ", self.program)?;
        write!(f, "({} request{})", self.requests, if self.requests == 1 { "" } else { "s" })?;
        if self.replaced > 0 {
            write!(f, "; {} worker{} replaced", self.replaced, if self.replaced == 1 { "" } else { "s" })?;
        }
        if !self.replaced_why.is_empty() {
            write!(f, ", the last for: {}", self.replaced_why)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_checklist_follows_from_what_works() {
        let denied = "userfaultfd is denied here (a container's seccomp profile must allow it)";
        for (told, severity, what, fix) in [
            (
                "userfaultfd: works\nscan: works\npagemap: works\n",
                Severity::Note,
                "userfaultfd, the fastest",
                "",
            ),
            (
                &format!("userfaultfd: {denied}\nscan: works\npagemap: works\n"),
                Severity::Note,
                "help of scan: userfaultfd is denied",
                "allow userfaultfd",
            ),
            (
                "userfaultfd: the kernel's userfaultfd has no WP_ASYNC (Linux 6.7)\nscan: no\npagemap: works\n",
                Severity::Note,
                "help of pagemap: the kernel's",
                "newer kernel",
            ),
            (
                &format!("userfaultfd: {denied}\nscan: no\npagemap: no\n"),
                Severity::Warning,
                "each request boots",
                "memfd_create and /proc/self/pagemap",
            ),
            ("", Severity::Warning, "does not say", "classic"),
        ] {
            let found = finding("[php.web] mode", told);
            assert_eq!(found.severity, severity, "{told}");
            assert!(found.what.contains(what) && found.fix.contains(fix), "{told}: {found}");
        }
    }

    #[test]
    fn a_pool_that_has_left_rewind_mode_says_why() {
        let why = "a connection to 127.0.0.1:6379 is open at the checkpoint (there are objects of Redis)";
        let page = json!({"pool": "web", "mode": "classic", "not rewound because": why});
        let found = left_finding("[php.web] mode", &page).unwrap();
        assert!(found.severity == Severity::Warning && found.what.ends_with(why), "{found}");
        assert!(left_finding("[php.web] mode", &json!({"pool": "web", "mode": "rewind"})).is_none());
    }

    #[test]
    fn pools_alone_are_asked() {
        // The gateway has such a socket too, which speaks HTTP: asking it would wait for an answer that never comes.
        for (program, socket) in [
            ("php:web", Some("php.web.status.sock")),
            ("workers:mail", Some("workers.mail.status.sock")),
            ("gateway", None),
            ("store", None),
        ] {
            assert_eq!(socket_of(program).as_deref(), socket, "{program}");
        }
    }

    #[test]
    fn a_pool_that_rewinds_has_a_line() {
        let page = json!({"pool": "web", "rewound requests": 1000, "pages put back": 207_499, "put back us": 93_000,
            "replaced workers": 2, "last replaced for": "a thread is still running"});
        let pool = read("php:web", &page).unwrap();
        assert_eq!(
            pool.to_string(),
            "php:web put back 207 pages in 0.09 ms per request (1000 requests); 2 workers replaced, the last for: a \
             thread is still running"
        );
        let mut status = json!({"rows": []});
        add_to(&mut status, &[pool]);
        assert_eq!(status["rewind"]["php:web"]["put_back_us"], 93_000);
        assert_eq!(read("php:web", &json!({"pool": "web"})), None, "a pool in another mode has none");
    }
}
