//! The job scripts of `php/` on the real frameworks of Debian's packages: one job or message for each behaviour, sent as
//! the runner sends it, and looked at from both ends: what is answered, and what the framework has done besides.

use std::path::{Path, PathBuf};
use std::process::Command;

use regie_pool::{Address, Message, MessageError, Pool as Workers, PoolSettings};

use crate::pool::{Carrier, Mode, Pool};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path).canonicalize().unwrap()
}

/// An application of `e2e/apps` with a pool that runs its jobs.
struct Jobs {
    pool: Pool,
    runtime: tokio::runtime::Runtime,
    workers: Workers,
    storage: tempfile::TempDir,
    app: PathBuf,
    helper: &'static str,
}

impl Jobs {
    fn start(mode: Mode, framework: &str, helper: &'static str, flags: &[&str]) -> Self {
        Self::start_with(mode, framework, helper, flags, &[])
    }

    fn start_with(
        mode: Mode,
        framework: &str,
        helper: &'static str,
        flags: &[&str],
        more: &[(&str, &str)],
    ) -> Self {
        let app = root(&format!("e2e/apps/{framework}-jobs"));
        let storage = tempfile::tempdir().unwrap();
        let folder = storage.path().to_str().unwrap().to_owned();
        let setup = php(&app, &folder, &[helper, "setup"]);
        assert_eq!(setup, "", "the packages of `scripts/setup test` are needed");
        let script = root(&format!("php/{framework}/jobs.php"));
        let flags = [&["--sapi-name", "cli", "--pool", "jobs", "--workers", "1"], flags].concat();
        let env = [
            ("STORAGE", folder.as_str()),
            ("APP_ENV", "test"),
            ("APP_DEBUG", "0"),
            ("APP_BASE_PATH", app.to_str().unwrap()),
        ];
        let env = [&env, more].concat();
        let pool = Pool::launch_on((mode, Carrier::Lane), script.to_str().unwrap(), &flags, &env);
        pool.wait_for_notice("READY=1");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let workers = {
            let _inside = runtime.enter();
            let settings = PoolSettings::new(Address::Unix(pool.socket()));
            Workers::start(PoolSettings { lane: Some(pool.lane()), ..settings })
        };
        Self { pool, runtime, workers, storage, app, helper }
    }

    /// What the helper script prints.
    fn help(&self, words: &[&str]) -> String {
        let words = [&[self.helper], words].concat();
        php(&self.app, self.storage.path().to_str().unwrap(), &words)
    }

    fn send(&self, header: &str, payload: &str, limit_ms: u64) -> Result<String, MessageError> {
        let mut message = Message::new("job".into(), format!("{header}\n{payload}").into());
        message.time_limit = std::time::Duration::from_millis(limit_ms);
        let delivered = self.runtime.block_on(self.workers.message(message));
        delivered.hold.release();
        delivered.outcome.map(|body| String::from_utf8(body.to_vec()).unwrap())
    }

    /// The lines that were noted since the last look, joined by `; `.
    fn notes(&self) -> String {
        let path = self.storage.path().join("notes");
        let notes = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(path);
        notes.lines().collect::<Vec<_>>().join("; ")
    }
}

fn php(app: &Path, storage: &str, words: &[&str]) -> String {
    let output = Command::new("php")
        .args(words)
        .current_dir(app)
        .env("STORAGE", storage)
        .env("APP_ENV", "test")
        .env("APP_DEBUG", "0")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap()
}

fn header(kind: &str, connection: &str, attempts: u32, more: &str) -> String {
    format!(
        r#"{{"kind":"{kind}","connection":"{connection}","queue":"default","id":"7","attempts":{attempts}{more}}}"#
    )
}

fn laravel(mode: Mode, flags: &[&str]) -> Jobs {
    Jobs::start(mode, "laravel", "jobs.php", flags)
}

/// The job that `code` dispatches, run as attempt `attempts` on both connections.
fn run(jobs: &Jobs, code: &str, attempts: u32, more: &str, expected: &str, notes: &str) {
    for connection in ["database", "redis"] {
        let payload = jobs.help(&[code]);
        let mut payload = payload.trim_end().to_owned();
        if connection == "redis" {
            payload.insert_str(1, &format!(r#""id":"r","attempts":{},"#, attempts - 1));
        }
        let kind = if more.contains("reason") { "died" } else { "run" };
        let answer = jobs.send(&header(kind, connection, attempts, more), &payload, 0).unwrap();
        assert!(answer.starts_with(expected), "{connection} {code}: {answer}");
        assert_eq!(jobs.notes(), notes, "{connection} {code}: {answer}");
    }
}

#[test]
fn laravel_decides_about_its_jobs() {
    decides(Mode::Worker);
}

#[test]
fn laravel_decides_about_its_jobs_in_rewind_mode() {
    decides(Mode::Rewind);
}

fn decides(mode: Mode) {
    let jobs = laravel(mode, &[]);
    for (code, attempts, more, expected, notes) in [
        ("Fine::dispatch('a');", 1, "", r#"{"do":"ack","class":"App\\Jobs\\Fine"}"#, "fine a"),
        ("Secret::dispatch('b');", 1, "", r#"{"do":"ack","class":"App\\Jobs\\Secret"}"#, "fine b"),
        (
            "Throwing::dispatch('c');",
            1,
            "",
            r#"{"do":"failed","class":"App\\Jobs\\Throwing","exception":{"class":"RuntimeException","message":"thrown c""#,
            "attempt 1; failed: thrown c; reported RuntimeException: thrown c",
        ),
        (
            "Throwing::dispatch('c');",
            1,
            r#","tries":2,"backoff":"7,8""#,
            r#"{"do":"release","delay":7,"#,
            "attempt 1; reported RuntimeException: thrown c",
        ),
        (
            "ThreeTries::dispatch('d');",
            2,
            "",
            r#"{"do":"release","delay":60,"#,
            "attempt 2; reported RuntimeException: thrown d",
        ),
        (
            "ThreeTries::dispatch('d');",
            3,
            "",
            r#"{"do":"failed","#,
            "attempt 3; failed: thrown d; reported RuntimeException: thrown d",
        ),
        (
            "UntilThen::dispatch('-5');",
            1,
            "",
            r#"{"do":"failed","class":"App\\Jobs\\UntilThen","exception":{"class":"Illuminate\\Queue\\MaxAttemptsExceededException""#,
            "failed: App\\Jobs\\UntilThen has been attempted too many times or run too long. The job may have \
             previously timed out.; reported Illuminate\\Queue\\MaxAttemptsExceededException: App\\Jobs\\UntilThen \
             has been attempted too many times or run too long. The job may have previously timed out.",
        ),
        (
            "Releasing::dispatch();",
            1,
            "",
            r#"{"do":"release","delay":17,"class":"App\\Jobs\\Releasing"}"#,
            "",
        ),
        ("GivingUp::dispatch();", 1, "", r#"{"do":"failed","#, ""),
        (
            "FailingTwice::dispatch();",
            1,
            "",
            r#"{"do":"failed","class":"App\\Jobs\\FailingTwice","exception":{"class":"RuntimeException","message":"the job""#,
            "reported RuntimeException: the hook",
        ),
        (
            "app('queue')->push('App\\Jobs\\Plain@finish', ['n' => 1]);",
            1,
            "",
            r#"{"do":"ack","#,
            "finished {\"n\":1}",
        ),
        // A worker that was killed, or ran out of time: what Laravel does in its alarm.
        ("ThreeTries::dispatch('e');", 1, r#","reason":"killed""#, r#"{"do":"release","delay":5,"#, ""),
        (
            "FailsOnTimeout::dispatch('f');",
            1,
            r#","reason":"timeout""#,
            r#"{"do":"failed","#,
            "failed: App\\Jobs\\FailsOnTimeout has been attempted too many times or run too long. The job may have \
             previously timed out.",
        ),
        ("FailsOnTimeout::dispatch('f');", 1, r#","reason":"killed""#, r#"{"do":"release","delay":0,"#, ""),
    ] {
        run(&jobs, code, attempts, more, expected, notes);
    }
    let failed =
        jobs.help(&["foreach (app('db')->table('failed_jobs')->get() as $f) { echo $f->connection, ' '; }"]);
    assert_eq!(failed.split_whitespace().count(), 2 * 6, "each failure is recorded once: {failed}");
}

#[test]
fn laravel_jobs_with_friends() {
    with_friends(Mode::Worker);
}

#[test]
fn laravel_jobs_with_friends_in_rewind_mode() {
    with_friends(Mode::Rewind);
}

fn with_friends(mode: Mode) {
    let jobs = laravel(mode, &[]);
    let take = |payloads: &str| payloads.lines().next().unwrap_or_default().to_owned();
    let run = |payload: &str| jobs.send(&header("run", "database", 1, ""), payload, 0).unwrap();
    // A chain: the next one is dispatched when the first is done.
    let first = take(&jobs.help(&["Fine::withChain([new Fine('second')])->dispatch('first');"]));
    assert!(run(&first).starts_with(r#"{"do":"ack""#));
    let second = take(&jobs.help(&["//"]));
    assert!(run(&second).starts_with(r#"{"do":"ack""#));
    assert_eq!(jobs.notes(), "fine first; fine second");
    // A batch counts what is done and what has failed.
    let batch = jobs
        .help(&["\\Illuminate\\Support\\Facades\\Bus::batch([new Fine('1'), new Throwing('2')])\
                             ->allowFailures()->dispatch();"]);
    batch.lines().for_each(|payload| drop(run(payload)));
    let counts = jobs
        .help(&["$b = app('db')->table('job_batches')->first(); echo $b->pending_jobs, $b->failed_jobs;"]);
    assert_eq!(counts, "11");
    jobs.notes();
    // A unique job is unique until it is done.
    let unique = jobs.help(&["Unique::dispatch('u'); Unique::dispatch('u');"]);
    assert_eq!(unique.lines().count(), 1);
    run(&take(&unique));
    assert_eq!(jobs.help(&["Unique::dispatch('u');"]).lines().count(), 1, "its lock was released");
    jobs.notes();
    // One that may not overlap goes back while another holds the lock.
    let alone =
        take(&jobs.help(&["cache()->lock('laravel-queue-overlap:App\\\\Jobs\\\\Alone:alone', 60)->get(); \
                                   Alone::dispatch('x');"]));
    assert_eq!(run(&alone), r#"{"do":"release","delay":33,"class":"App\\Jobs\\Alone"}"#);
    // One whose limit has been reached goes back, with its attempt spent, as under queue:work.
    let limited = jobs.help(&["Limited::dispatch('l'); Limited::dispatch('l');"]);
    let answers: Vec<String> = limited.lines().map(run).collect();
    assert!(answers[0].starts_with(r#"{"do":"ack""#), "{answers:?}");
    assert!(answers[1].starts_with(r#"{"do":"release","delay":3"#), "{answers:?}");
    assert_eq!(jobs.notes(), "fine l");
    // What a job leaves behind, the next one does not meet.
    run(&take(&jobs.help(&["Soiling::dispatch();"])));
    run(&take(&jobs.help(&["Looking::dispatch();"])));
    assert_eq!(jobs.notes(), r#"clean 14 UTC[[],[]]; [true,"cli",true,["artisan","queue:work"],false]"#);
    // What a job binds in place of Laravel's own class is used from the next job on; in rewind mode no job meets it.
    run(&take(&jobs.help(&["Rebinding::dispatch();"])));
    run(&take(&jobs.help(&["Fine::dispatch('after');"])));
    let rebound = if mode == Mode::Rewind { "fine after" } else { "own handler; fine after" };
    assert_eq!(jobs.notes(), rebound);
}

#[test]
fn laravel_jobs_that_end_badly_are_told_apart() {
    ending_badly(Mode::Worker);
}

#[test]
fn laravel_jobs_that_end_badly_are_told_apart_in_rewind_mode() {
    ending_badly(Mode::Rewind);
}

fn ending_badly(mode: Mode) {
    let jobs = laravel(mode, &["--request-grace", "5s", "--ini", "memory_limit=256M"]);
    let run = |code: &str, limit_ms| {
        let payload = jobs.help(&[code]);
        jobs.send(&header("run", "database", 1, ""), payload.trim_end(), limit_ms)
    };
    assert!(matches!(run("Exiting::dispatch();", 0), Err(MessageError::Exit(status)) if status == "3"));
    assert!(matches!(run("Crashing::dispatch();", 0), Err(MessageError::Died)));
    assert!(matches!(run("Swallowing::dispatch();", 0), Err(MessageError::Fatal(_))));
    assert!(matches!(run("Sleeping::dispatch();", 400), Err(MessageError::Timeout(_))));
    let printed = run("Printing::dispatch('90000');", 0).unwrap();
    assert!(printed.len() < 70_000 && printed.contains("printed 90000xxx"), "{} bytes", printed.len());
    let grown = run("Growing::dispatch();", 0).unwrap();
    assert!(grown.starts_with(r#"{"do":"ack""#) && grown.ends_with(r#""stop":"memory"}"#), "{grown}");
    assert!(run("Fine::dispatch('after');", 0).unwrap().starts_with(r#"{"do":"ack""#));
    jobs.notes();
    for payload in ["{broken", "[]", "{\"uuid\":\"x\"}", ""] {
        let answer = jobs.send(&header("run", "database", 1, ""), payload, 0).unwrap();
        assert!(answer.starts_with(r#"{"do":"failed","class":"","exception""#), "{payload:?}: {answer}");
    }
    let unknown = jobs.help(&["Fine::dispatch('x');"]).replace("Jobs\\\\Fine", "Jobs\\\\Gone");
    let answer = jobs.send(&header("run", "database", 1, ""), unknown.trim_end(), 0).unwrap();
    assert!(answer.starts_with(r#"{"do":"failed","class":"App\\Jobs\\Gone""#), "{answer}");
    assert!(matches!(jobs.send("no header", "", 0), Err(MessageError::Exception(_))));
    assert!(jobs.pool.workers().len() == 1);
}

/// After so many jobs, or so long, the script ends with a job and the application boots anew; nothing else is a job.
#[test]
fn a_worker_begins_anew_after_its_jobs_and_its_time() {
    for (name, value, expected) in [
        ("REGIE_MAX_JOBS", "2", [None, Some("jobs"), None, Some("jobs"), None]),
        ("REGIE_MAX_TIME", "0.000001", [Some("time"); 5]),
        ("REGIE_MAX_TIME", "3600", [None; 5]),
    ] {
        let jobs = Jobs::start_with(Mode::Worker, "laravel", "jobs.php", &[], &[(name, value)]);
        let payload = jobs.help(&["Fine::dispatch('x');"]);
        let stops = expected.map(|_| {
            assert!(jobs.send(r#"{"kind":"describe"}"#, "", 0).unwrap().contains("laravel"));
            let answer = jobs.send(&header("run", "database", 1, ""), payload.trim_end(), 0).unwrap();
            assert!(answer.starts_with(r#"{"do":"ack""#), "{answer}");
            answer.split_once(r#""stop":""#).map(|(_, why)| why.trim_end_matches(r#""}"#).to_owned())
        });
        assert_eq!(stops.each_ref().map(Option::as_deref), expected, "{name}={value}");
    }
}

#[test]
fn laravel_describes_its_connections() {
    let jobs = laravel(Mode::Worker, &[]);
    let told = jobs.send(r#"{"kind":"describe"}"#, "", 0).unwrap();
    for part in [
        r#"{"framework":"laravel","version":"8."#,
        r#""default":"database""#,
        r#""redis":{"driver":"redis","queue":"default","retry_after":45,"block_for":null"#,
        r#""server":{"scheme":"tcp","host":"127.0.0.1","port":1,"path":null,"username":null,"password":"secret","database":3,"prefix":"jobs_""#,
        r#""cloud":{"driver":"sqs""#,
        r#""failed":{"driver":"database-uuids","table":"failed_jobs""#,
        r#""horizon":{"installed":false}"#,
    ] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
}

#[test]
fn messenger_decides_about_its_messages() {
    messenger(Mode::Worker);
}

#[test]
fn messenger_decides_about_its_messages_in_rewind_mode() {
    messenger(Mode::Rewind);
}

fn messenger(mode: Mode) {
    let jobs = Jobs::start(mode, "symfony", "messages.php", &["--ini", "memory_limit=256M"]);
    let run = |transport: &str, kind: &str, message: &str| {
        let payload = jobs.help(&[transport, message]);
        jobs.send(&header(kind, transport, 1, ""), &payload, 0)
    };
    for (transport, kind, message, expected, notes, waiting) in [
        ("async", "run", "new Say('a')", r#"{"do":"ack","class":"App\\Say"}"#, "said a clean", ""),
        ("json", "run", "new Say('b')", r#"{"do":"ack","class":"App\\Say"}"#, "said b clean", ""),
        // Nobody listens at its address: it is not asked.
        ("stream", "run", "new Say('c')", r#"{"do":"ack","class":"App\\Say"}"#, "said c clean", ""),
        (
            "async",
            "run",
            "new Broken('d')",
            r#"{"do":"ack","retried":true,"class":"App\\Broken","exception":{"class":"RuntimeException","message":"broken d""#,
            "tried d",
            "async Broken 5\n",
        ),
        (
            "async",
            "run",
            "new Hopeless()",
            r#"{"do":"failed","class":"App\\Hopeless""#,
            "",
            "failed Hopeless 0\n",
        ),
        (
            "async",
            "run",
            "new Printing('e')",
            r#"{"do":"ack","class":"App\\Printing","output":"printed e"}"#,
            "",
            "",
        ),
        ("async", "run", "new Gathered()", r#"{"do":"ack","class":"App\\Gathered"}"#, "batch of 1", ""),
        (
            "async",
            "died",
            "new Say('f')",
            r#"{"do":"ack","retried":true,"class":"App\\Say""#,
            "",
            "async Say 5\n",
        ),
        ("async", "fail", "new Say('g')", r#"{"do":"failed","class":"App\\Say""#, "", "failed Say 0\n"),
    ] {
        let answer = run(transport, kind, message).unwrap();
        assert!(answer.starts_with(expected), "{message}: {answer}");
        assert_eq!((jobs.notes().as_str(), jobs.help(&["waiting"]).as_str()), (notes, waiting), "{message}");
    }
    assert!(matches!(run("async", "run", "new Exiting()"), Err(MessageError::Exit(status)) if status == "5"));
    let answer =
        jobs.send(&header("run", "async", 1, ""), "{\"body\":\"broken\",\"headers\":[]}", 0).unwrap();
    assert!(answer.starts_with(r#"{"do":"failed","class":"","exception""#), "{answer}");
    assert!(run("async", "run", "new Say('after')").unwrap().starts_with(r#"{"do":"ack""#));
    let told = jobs.send(r#"{"kind":"describe"}"#, "", 0).unwrap();
    for part in [
        r#""framework":"symfony","version":"5."#,
        r#""async":{"driver":"doctrine","table_name":"messenger_messages","queue_name":"async""#,
        r#""stream":{"driver":"redis","stream":"orders","delayed":"orders__queue","group":"shop""#,
        r#""password":"word","database":2,"#,
        r#""failure_transport":"failed""#,
    ] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
}
