//! The time of day is set under a running application: every job is still done once, and nothing is stuck.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use regie_e2e::programs::need;
use regie_e2e::site::regie;
use regie_e2e::{App, Site, within};

use crate::queue_app::{LONG, Ledger, laravel, stats};

/// To be loaded before the system's library: the time of day, moved by as many seconds as a file says.
const CLOCK: &str = r#"
    #define _GNU_SOURCE
    #include <fcntl.h>
    #include <stdlib.h>
    #include <sys/mman.h>
    #include <sys/syscall.h>
    #include <sys/time.h>
    #include <time.h>
    #include <unistd.h>
    static long shift(void) {
        static const volatile long *at;
        if (at == NULL) {
            const char *file = getenv("CLOCK_SHIFT");
            int fd = file == NULL ? -1 : open(file, O_RDONLY | O_CLOEXEC);
            if (fd < 0) return 0;
            void *map = mmap(NULL, sizeof *at, PROT_READ, MAP_SHARED, fd, 0);
            close(fd);
            if (map == MAP_FAILED) return 0;
            at = map;
        }
        return *at;
    }
    int clock_gettime(clockid_t id, struct timespec *now) {
        int failed = (int)syscall(SYS_clock_gettime, id, now);
        if (failed == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec += shift();
        return failed;
    }
    int gettimeofday(struct timeval *now, void *zone) {
        struct timespec at;
        (void)zone;
        if (clock_gettime(CLOCK_REALTIME, &at) != 0) return -1;
        now->tv_sec = at.tv_sec;
        now->tv_usec = at.tv_nsec / 1000;
        return 0;
    }
    time_t time(time_t *out) {
        struct timespec at;
        if (clock_gettime(CLOCK_REALTIME, &at) != 0) return -1;
        if (out != NULL) *out = at.tv_sec;
        return at.tv_sec;
    }
"#;

const SEND: &str = r"<?php
require 'vendor/autoload.php';
$app = require 'bootstrap/app.php';
$app->make(Illuminate\Contracts\Console\Kernel::class)->bootstrap();
[, $from, $to, $fault, $delay] = $argv;
for ($i = (int) $from; $i < (int) $to; $i++) {
    dispatch((new App\Jobs\Count($i, 1000, $fault))->delay((int) $delay));
}
";

const CONFIG: &str = "[app]\nenv = \"development\"\n[php.web]\nworkers = 1\n[workers.default]\nmin = 2\nmax = 2\n\
                      [schedule.tick]\ncron = \"* * * * * *\"\ncommand = \"echo tick >> ticks.txt\"\n";

/// The clock of an application.
struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    fn of(folder: &Path) -> Self {
        let (source, library, file) = (folder.join("clock.c"), folder.join("clock.so"), folder.join("clock"));
        std::fs::write(&source, CLOCK).expect("the folder can be written");
        let built = std::process::Command::new(need("cc", "gcc"))
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .status()
            .expect("cc can be started");
        assert!(built.success());
        std::fs::write(&file, 0_i64.to_ne_bytes()).expect("the folder can be written");
        Self { library, file }
    }

    fn environment(&self) -> [(&'static str, &Path); 2] {
        [("LD_PRELOAD", &self.library), ("CLOCK_SHIFT", &self.file)]
    }

    /// So many seconds from the real time. The file keeps its length, as others have it mapped.
    fn set(&self, seconds: i64) {
        let mut file = OpenOptions::new().write(true).open(&self.file).expect("the clock is there");
        file.write_all(&seconds.to_ne_bytes()).expect("the clock can be set");
    }
}

fn send(app: &App, clock: &Clock, numbers: std::ops::Range<usize>, fault: &str, delay_s: u32) {
    let numbers = [numbers.start.to_string(), numbers.end.to_string()];
    let output = regie(app.path())
        .envs(clock.environment())
        .args(["php", "send.php", &numbers[0], &numbers[1], fault, &delay_s.to_string()])
        .output()
        .expect("regie can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_clock_that_is_set_runs_each_job_once_and_keeps_none() {
    const HOUR: i64 = 3600;
    let app = laravel();
    app.write("send.php", SEND);
    app.write("ticks.txt", "");
    let clock = Clock::of(app.path());
    let site = Site::up_with(app.path(), CONFIG, &clock.environment());
    let done = |count: usize| {
        within(LONG, "they are done", || (Ledger::read(&app).times("done").len() == count).then_some(()));
    };
    let delayed = |count: u64| {
        within(LONG, "they are put off", || (stats(&site)["delayed"] == count).then_some(()));
    };
    let ticks = || app.read("ticks.txt").lines().count();
    let ticks_on = || {
        let before = ticks();
        within(LONG, "scheduled tasks run", || (ticks() > before).then_some(()));
    };

    // A job is at a worker all the time.
    send(&app, &clock, 0..1, "gate", 0);
    within(LONG, "it has begun", || (Ledger::read(&app).times("begun").len() == 1).then_some(()));
    ticks_on();
    send(&app, &clock, 1..6, "", 1800);
    delayed(5);
    // An hour forward: what was put off is due, and the lease looks as if it had ended.
    clock.set(HOUR);
    done(5);
    send(&app, &clock, 6..16, "", 0);
    done(15);
    ticks_on();
    // Five hours back: leases seem to begin in the future. (After a smaller step scheduled tasks wait for their last time.)
    clock.set(-4 * HOUR);
    send(&app, &clock, 16..26, "", 0);
    done(25);
    send(&app, &clock, 26..30, "", 1800);
    delayed(4);
    ticks_on();
    // And forward to where it was.
    clock.set(0);
    done(29);
    ticks_on();
    app.write("gate", "");
    done(30);
    let ledger = Ledger::read(&app);
    assert!(ledger.times("begun").values().chain(ledger.times("done").values()).all(|times| *times == 1));
    assert_eq!(ledger.times("failed").len(), 0);
    within(LONG, "nothing is left", || {
        let left = stats(&site);
        ["waiting", "delayed", "reserved"].iter().all(|state| left[state] == 0).then_some(())
    });
}
