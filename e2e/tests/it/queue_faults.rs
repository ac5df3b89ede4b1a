//! Jobs under kills at random moments, and jobs that misbehave: each one is counted.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use regie_e2e::{App, MariaDb, Site, eventually, within};

use crate::queue_app::{LONG, Ledger, laravel, laravel_with_table, pause, pid_of, push, stats};

const TWO_WORKERS: &str = "[app]\nenv = \"development\"\n[workers.default]\nmin = 2\nmax = 2\n";

/// The workers, as their pool tells them: its master has other children, too.
fn workers(site: &Site) -> Vec<Pid> {
    let row = site.status("workers:default").unwrap_or_default();
    let workers = row["workers"].as_array().cloned().unwrap_or_default();
    let pids = workers.iter().filter_map(|worker| worker["pid"].as_i64()?.try_into().ok());
    pids.map(Pid::from_raw).collect()
}

/// The same numbers for the same seed.
struct Random(u64);

impl Random {
    fn seeded() -> Self {
        let seed = std::env::var("REGIE_SEED").ok().and_then(|text| text.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
        eprintln!("REGIE_SEED={seed}");
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("it is below the limit")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Worker,
    Runner,
    Store,
    Supervisor,
}

#[test]
fn kills_at_random_moments_lose_no_job() {
    kill_at_random(&[Victim::Worker, Victim::Runner, Victim::Store]);
}

/// With the supervisor all others go: the workers when their jobs have ended, the runner when it has settled them, the store
/// last. Only then the next start begins.
#[test]
fn a_supervisor_killed_at_random_moments_loses_no_job() {
    kill_at_random(&[Victim::Supervisor]);
}

/// Kills each of `kinds` twice, in any order, while 2,000 jobs run; each ends, and only those whose worker died begin
/// again. `REGIE_JOBS=10000 REGIE_SEED=1` makes it longer and the same each time.
fn kill_at_random(kinds: &[Victim]) {
    let number = std::env::var("REGIE_JOBS").ok().and_then(|text| text.parse().ok());
    let jobs: usize = number.unwrap_or(2_000);
    let app = laravel();
    let mut random = Random::seeded();
    let mut site = Site::up(app.path(), TWO_WORKERS);
    pause(&site, "pause", "default");
    push(&app, 0..jobs, 100, "");
    pause(&site, "resume", "default");
    let ended = |app: &App| {
        let ledger = Ledger::read(app);
        let mut ended = ledger.times("done");
        ended.extend(ledger.times("failed"));
        ended.len()
    };
    let mut victims = [kinds, kinds].concat();
    let (mut killed_workers, mut goal) = (0, 0);
    while !victims.is_empty() {
        let victim = victims.swap_remove(random.below(victims.len()));
        goal += random.below(jobs / 9);
        within(LONG, "some more are done", || (ended(&app) >= goal).then_some(()));
        let pid = match victim {
            Victim::Worker => {
                let found =
                    within(LONG, "workers", || Some(workers(&site)).filter(|found| !found.is_empty()));
                found[random.below(found.len())]
            }
            Victim::Runner => within(LONG, "the runner", || pid_of(&site, "jobs")),
            Victim::Store => within(LONG, "the store", || pid_of(&site, "store")),
            Victim::Supervisor => site.pid(),
        };
        // It may have left meanwhile, which is as good.
        let _ = kill(pid, Signal::SIGKILL);
        killed_workers += usize::from(victim == Victim::Worker);
        if victim == Victim::Supervisor {
            eventually("it is dead", || site.has_ended());
            drop(site);
            site = Site::up(app.path(), TWO_WORKERS);
            // A job that does not end in time dies with its worker.
            killed_workers += 2;
        }
    }
    within(LONG, "each job has ended", || (ended(&app) == jobs).then_some(()));
    let left = within(LONG, "nothing is left", || {
        Some(stats(&site)).filter(|now| now["reserved"] == 0 && now["waiting"] == 0 && now["delayed"] == 0)
    });
    assert_eq!(left["parked"], 0, "{left}");
    let ledger = Ledger::read(&app);
    let (begun, done, failed) = (ledger.times("begun"), ledger.times("done"), ledger.times("failed"));
    let never: Vec<_> = failed.keys().filter(|job| !begun.contains_key(job)).collect();
    // A worker may die with a job in its hands before the job's own first line.
    assert!(
        never.len() <= killed_workers,
        "{killed_workers} workers died; failed and never begun: {never:?}"
    );
    let again: usize = begun.values().map(|times| times - 1).sum();
    let both = failed.keys().filter(|job| done.contains_key(job)).count();
    assert!(
        again + both <= killed_workers && failed.len() <= killed_workers,
        "{killed_workers} workers died; {again} jobs began again, {both} are done and failed, {} failed",
        failed.len()
    );
}

#[test]
fn a_database_that_restarts_loses_no_job() {
    const JOBS: usize = 600;
    let mut database = MariaDb::start();
    let app = laravel_with_table(&database);
    // By the clock, what the runner has leased ends while the database is away.
    app.write(
        "config/queue.php",
        app.read("config/queue.php").replace("'retry_after' => 20", "'retry_after' => 2"),
    );
    let site = Site::up(app.path(), TWO_WORKERS);
    push(&app, 0..JOBS, 1_000, "");
    for round in 1..=3 {
        within(LONG, "some are done", || {
            (Ledger::read(&app).times("done").len() >= JOBS * round / 4).then_some(())
        });
        database.kill();
        if round == 2 {
            // Away for long enough that somebody notices.
            eventually("it is said", || stats(&site)["trouble"].is_string().then_some(()));
        }
        database.restart();
    }
    within(LONG, "all are done", || (Ledger::read(&app).times("done").len() == JOBS).then_some(()));
    eventually("nothing is left", || Some(stats(&site)).filter(|now| now["reserved"] == 0));
    let ledger = Ledger::read(&app);
    assert!(ledger.times("begun").values().all(|times| *times == 1), "no worker died, so nothing runs twice");
    assert_eq!(ledger.times("failed").len(), 0);
}

#[test]
fn jobs_that_misbehave_hurt_only_themselves() {
    let app = laravel();
    let site = Site::up(app.path(), TWO_WORKERS);
    let faults = ["exit", "crash", "leak", "sleep", "throw", "throw twice"];
    for (at, fault) in faults.iter().enumerate() {
        push(&app, at..at + 1, 1, fault);
        push(&app, 100 + at * 10..110 + at * 10, 1, "");
    }
    push(&app, 50..51, 1, "print");
    within(LONG, "all have ended", || {
        let ledger = Ledger::read(&app);
        (ledger.times("done").len() == 61 && ledger.times("failed").len() == faults.len()).then_some(())
    });
    // What is counted and what the store holds are seen one after the other.
    let is_over = |now: &serde_json::Value| {
        (&now["reserved"], &now["totals"]["failed"], &now["totals"]["done"])
            == (&0.into(), &6.into(), &61.into())
    };
    let left = eventually("nothing is left", || Some(stats(&site)).filter(is_over));
    assert_eq!(left["waiting"], 0, "{left}");
    let ledger = Ledger::read(&app);
    for what in ["begun", "failed"] {
        assert!(ledger.times(what).values().all(|times| *times == 1), "{what} once: {ledger:?}");
    }
    let count = |more: &[&str]| {
        let words = ["queue", "runs", "--json", "--limit", "500", "--class", "Count", "--queue", "default"];
        let output = site.regie(&[&words, more].concat());
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let runs = answer["runs"].as_array().cloned().unwrap_or_default();
        ["done", "failed", "died"].map(|end| runs.iter().filter(|run| run["end"] == end).count())
    };
    // Four of them took their worker along: its death is a run, and what Laravel made of it another. To be asked is to have
    // written down all that is known.
    eventually("all is told", || (count(&["--since", "1h"]) == [61, 6, 4]).then_some(()));
    // What became of each is still known to the next runner.
    let runner = eventually("the runner", || pid_of(&site, "jobs"));
    kill(runner, Signal::SIGKILL).expect("it runs");
    eventually("another runner", || pid_of(&site, "jobs").filter(|pid| *pid != runner));
    eventually("it answers", || site.regie(&["queue", "stats"]).status.success().then_some(()));
    assert_eq!(count(&["--since", "1h"]), [61, 6, 4]);
    assert_eq!(count(&["--failed"]), [0, 6, 4]);
    assert_eq!(count(&["--tag", "none"]), [0, 0, 0]);
    let printed = site.regie(&["queue", "runs", "--json", "--grep", "Count"]);
    assert!(printed.stdout.len() < 2 << 20, "what a job prints is cut: {}", printed.stdout.len());
}
