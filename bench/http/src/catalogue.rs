//! The scenarios: one row each, from which the list, the run and the report are made.

use crate::stats::Goal;

/// How PHP runs on our side. The peer has only one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Classic,
    Worker,
    Rewind,
}

/// What is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Application {
    /// A folder of small scripts and a file.
    Plain,
    /// The Laravel example, with its caches as a deployment makes them.
    Laravel,
    /// The same without cached configuration and routes.
    LaravelUncached,
}

/// What the measured side is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Against {
    /// nginx with php-fpm.
    Fpm,
    /// Régie itself, with this many workers.
    Workers(u32),
    /// Régie itself, over FastCGI in place of the lane.
    FastCgi,
    /// Régie itself, with a worker script that does nothing but hand requests to Laravel's kernel.
    BareLoop,
}

impl Against {
    /// The names of both columns, where they are not those of the whole report.
    pub(crate) fn sides(self, load: &Load) -> Option<[String; 2]> {
        match self {
            Self::Fpm => None,
            Self::Workers(count) => Some([format!("{count} workers"), format!("{} workers", load.workers)]),
            Self::FastCgi => Some(["FastCGI".to_owned(), "lane".to_owned()]),
            Self::BareLoop => Some(["bare loop".to_owned(), "Régie's".to_owned()]),
        }
    }
}

/// wrk on one address.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Load {
    pub(crate) application: Application,
    pub(crate) against: Against,
    pub(crate) mode: Mode,
    pub(crate) path: &'static str,
    pub(crate) workers: u32,
    pub(crate) connections: u32,
    /// How many have a session, whose cookies the requests carry in turn.
    pub(crate) visitors: u32,
    /// Requests of half a second that are always in flight beside the measured ones.
    pub(crate) slow: u32,
    /// Bytes that each request sends; 0 for a GET.
    pub(crate) sends: u32,
    /// What each body holds.
    pub(crate) needle: &'static str,
    /// Whether wrk looks into each body; else their size is added up.
    pub(crate) look: bool,
    pub(crate) requests_goal: Option<Goal>,
    pub(crate) p50_goal: Option<Goal>,
    pub(crate) p99_goal: Option<Goal>,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Load(Load),
    /// Parallel requests on one HTTP/2 connection.
    Multiplex,
    /// One large upload.
    Upload,
    /// Memory without connections, and the time to the first answer.
    Idle,
}

/// A row of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) kind: Kind,
}

const HELLO: Load = Load {
    application: Application::Plain,
    against: Against::Fpm,
    mode: Mode::Classic,
    path: "/hello.php",
    workers: 4,
    connections: 32,
    visitors: 1,
    slow: 0,
    sends: 0,
    needle: "Hello, world!",
    look: false,
    requests_goal: None,
    p50_goal: None,
    p99_goal: None,
};

const LARAVEL: Load = Load {
    application: Application::Laravel,
    path: "/",
    // A session is read and written under a lock: with one for all, its requests would wait for each other.
    visitors: 32,
    needle: "This is your visit number",
    // The number in the body grows, so the sizes differ; and PHP's share dwarfs wrk's.
    look: true,
    ..HELLO
};

/// Equal things differ by so much in a run.
const NO_SLOWER: Goal = Goal::RatioAtLeast(0.95);

/// All of them, in the order of the report.
pub(crate) const SCENARIOS: [Scenario; 16] = [
    Scenario {
        name: "hello",
        about: "hello world in classic mode, 4 workers, 32 connections",
        kind: Kind::Load(Load { requests_goal: Some(Goal::RatioAtLeast(3.5)), ..HELLO }),
    },
    Scenario {
        name: "hello-c1",
        about: "hello world in classic mode, one connection",
        kind: Kind::Load(Load { connections: 1, ..HELLO }),
    },
    Scenario {
        name: "mixed",
        about: "hello world on 32 connections while two requests of 500 ms are always in flight",
        kind: Kind::Load(Load { slow: 2, p99_goal: Some(Goal::RatioAtMost(1.0)), ..HELLO }),
    },
    Scenario {
        name: "laravel-classic",
        about: "a Laravel route with session and view, classic mode",
        kind: Kind::Load(Load { requests_goal: Some(Goal::RatioAtLeast(1.0)), ..LARAVEL }),
    },
    Scenario {
        name: "laravel-worker",
        about: "the same route, worker mode on our side",
        kind: Kind::Load(Load {
            mode: Mode::Worker,
            requests_goal: Some(Goal::RatioAtLeast(7.5)),
            ..LARAVEL
        }),
    },
    Scenario {
        name: "laravel-rewind",
        about: "the same route, rewind mode on our side",
        kind: Kind::Load(Load {
            mode: Mode::Rewind,
            requests_goal: Some(Goal::RatioAtLeast(5.0)),
            ..LARAVEL
        }),
    },
    Scenario {
        name: "laravel-uncached",
        about: "the same in worker mode, without cached configuration and routes on either side",
        kind: Kind::Load(Load { application: Application::LaravelUncached, mode: Mode::Worker, ..LARAVEL }),
    },
    Scenario {
        name: "own-workers",
        about: "hello world with 64 workers, beside ourselves with 2",
        kind: Kind::Load(Load {
            workers: 64,
            against: Against::Workers(2),
            requests_goal: Some(Goal::RatioAtLeast(0.9)),
            ..HELLO
        }),
    },
    Scenario {
        name: "own-laravel-loop",
        about: "the Laravel route in worker mode, beside a loop that puts nothing back",
        kind: Kind::Load(Load {
            mode: Mode::Worker,
            against: Against::BareLoop,
            requests_goal: Some(Goal::RatioAtLeast(0.9)),
            ..LARAVEL
        }),
    },
    Scenario {
        name: "own-lane-c1",
        about: "hello world on one connection, the lane beside FastCGI",
        kind: Kind::Load(Load {
            connections: 1,
            against: Against::FastCgi,
            p50_goal: Some(Goal::RatioAtMost(1.1)),
            ..HELLO
        }),
    },
    Scenario {
        name: "own-lane-response",
        about: "answers of 1 MB, the lane beside FastCGI",
        kind: Kind::Load(Load {
            path: "/large.php",
            connections: 8,
            against: Against::FastCgi,
            needle: "a megabyte of",
            requests_goal: Some(NO_SLOWER),
            ..HELLO
        }),
    },
    Scenario {
        name: "own-lane-upload",
        about: "uploads of 10 MB, the lane beside FastCGI",
        kind: Kind::Load(Load {
            path: "/input.php",
            connections: 4,
            sends: 10_000_000,
            against: Against::FastCgi,
            needle: "10000000 bytes",
            requests_goal: Some(NO_SLOWER),
            ..HELLO
        }),
    },
    Scenario {
        name: "static",
        about: "a file of 10 KB, 32 connections",
        kind: Kind::Load(Load {
            path: "/file.txt",
            needle: "a line of the file",
            requests_goal: Some(Goal::RatioAtLeast(0.9)),
            ..HELLO
        }),
    },
    Scenario {
        name: "h2",
        about: "one HTTP/2 connection, 16 parallel requests of 100 ms each, 8 workers",
        kind: Kind::Multiplex,
    },
    Scenario { name: "upload", about: "an upload of 200 MB: how much memory grows", kind: Kind::Upload },
    Scenario {
        name: "idle",
        about: "memory with no connection open; time from start to the first answer",
        kind: Kind::Idle,
    },
];

/// The scenarios that `only` names: a name, or the words before a dash of several. All without one.
pub(crate) fn chosen(only: &[String]) -> Result<Vec<Scenario>, String> {
    for name in only {
        if !SCENARIOS.iter().any(|scenario| is_named(scenario, name)) {
            let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
            return Err(format!("no scenario {name}; there are {}", names.join(", ")));
        }
    }
    let wanted = |scenario: &&Scenario| only.is_empty() || only.iter().any(|name| is_named(scenario, name));
    Ok(SCENARIOS.iter().filter(wanted).copied().collect())
}

fn is_named(scenario: &Scenario, name: &str) -> bool {
    // `hello` is a scenario itself, so it does not stand for hello-c1 too.
    let whole = SCENARIOS.iter().any(|other| other.name == name);
    scenario.name == name
        || (!whole && scenario.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('-')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_chosen_by_name_or_family() {
        let names = |only: &[&str]| -> Vec<&str> {
            let only: Vec<String> = only.iter().map(ToString::to_string).collect();
            chosen(&only).unwrap().iter().map(|scenario| scenario.name).collect()
        };
        assert_eq!(names(&[]).len(), SCENARIOS.len());
        assert_eq!(names(&["hello"]), ["hello"]);
        assert_eq!(
            names(&["laravel", "h2"]),
            ["laravel-classic", "laravel-worker", "laravel-rewind", "laravel-uncached", "h2"]
        );
        assert!(chosen(&["helo".to_owned()]).unwrap_err().contains("no scenario helo"));
    }
}
