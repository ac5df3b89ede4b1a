//! New code and configuration under load: nothing is dropped, and what is new is what is served.

use std::os::unix::fs::symlink;

use regie_e2e::{App, Site, eventually};

use crate::load::Load;

fn version(body: &str) -> bool {
    body.starts_with("version ")
}

#[test]
fn reloads_under_load_drop_no_request() {
    let app = App::empty();
    app.write("index.php", "<?php usleep(2000); echo 'version ', getmypid();");
    let site = Site::up(app.path(), "[php.web]\nworkers = 3\n");
    let load = Load::start(site.address(), 8, "/", version);
    let mut pids = vec![site.status("php:web").unwrap()["pid"].clone()];
    for round in 0..4 {
        // Every second time the gateway's own configuration changes too.
        if round % 2 == 1 {
            let config = app
                .read("regie.toml")
                .replace("[gateway]", &format!("[gateway]\nqueue_length = {}", 100 + round));
            let config: String = config
                .lines()
                .scan(false, |seen, line| {
                    let again = line.starts_with("queue_length") && *seen;
                    *seen |= line.starts_with("queue_length");
                    Some(if again { String::new() } else { format!("{line}\n") })
                })
                .collect();
            app.write("regie.toml", config);
        }
        let reload = site.regie(&["reload"]);
        assert!(reload.status.success(), "{}", String::from_utf8_lossy(&reload.stderr));
        let pid = site.status("php:web").unwrap()["pid"].clone();
        assert!(!pids.contains(&pid), "a new generation of the pool");
        pids.push(pid);
    }
    let seen = load.stop();
    assert!(seen.bad.is_empty(), "{} good; bad: {:?}", seen.good, &seen.bad[..seen.bad.len().min(5)]);
    assert!(seen.good > 100, "{}", seen.good);
}

#[test]
fn a_switched_release_is_served_without_a_dropped_request() {
    let app = App::empty();
    for release in ["one", "two"] {
        app.write(
            &format!("releases/{release}/public/index.php"),
            format!("<?php echo 'version {release}';"),
        );
    }
    let switch = |to: &str| {
        let (current, fresh) = (app.path().join("current"), app.path().join("fresh"));
        symlink(format!("releases/{to}"), &fresh).unwrap();
        std::fs::rename(&fresh, &current).unwrap();
    };
    switch("one");
    let config = "[app]\nenv = \"production\"\nroot = \"current\"\n[php.web]\nworkers = 2\n";
    app.give_away();
    let site = Site::up(app.path(), config);
    assert_eq!(site.get("/").text(), "version one");
    let load = Load::start(site.address(), 4, "/", version);
    switch("two");
    let reload = site.regie(&["reload"]);
    assert!(reload.status.success(), "{}", String::from_utf8_lossy(&reload.stderr));
    eventually("the new release is served", || (site.get("/").text() == "version two").then_some(()));
    for _ in 0..20 {
        assert_eq!(site.get("/").text(), "version two", "the old one does not come back");
    }
    let seen = load.stop();
    assert!(seen.bad.is_empty(), "{} good; bad: {:?}", seen.good, &seen.bad[..seen.bad.len().min(5)]);
}

#[test]
fn changed_files_are_seen_at_once_in_development() {
    let app = App::empty();
    app.write("index.php", "<?php echo 'version 1';");
    let site = Site::up(app.path(), "[php.web]\nworkers = 2\n");
    assert_eq!(site.get("/").text(), "version 1");
    app.write("index.php", "<?php echo 'version 22';");
    eventually("the change is served", || (site.get("/").text() == "version 22").then_some(()));
}

#[test]
fn changed_files_reach_a_worker_script_in_development() {
    let app = App::empty();
    app.write("public/index.php", "");
    let script = |number: u32| {
        format!("<?php while (frankenphp_handle_request(function () {{ echo 'version {number}'; }})) {{ }}")
    };
    app.write("worker.php", script(1));
    let config = "[php.web]\nmode = \"worker\"\nscript = \"worker.php\"\nworkers = 2\n\
                  [gateway]\nfront_controller = \"index.php\"\n";
    let site = Site::up(app.path(), config);
    assert_eq!(site.get("/").text(), "version 1");
    let load = Load::start(site.address(), 4, "/", version);
    for number in 2..4 {
        app.write("worker.php", script(number));
        let new = format!("version {number}");
        eventually("the new script is served", || (site.get("/").text() == new).then_some(()));
    }
    let seen = load.stop();
    assert!(seen.bad.is_empty(), "{} good; bad: {:?}", seen.good, &seen.bad[..seen.bad.len().min(5)]);
}

#[test]
fn other_php_files_run_beside_a_worker_script() {
    let app = App::empty();
    app.write("public/index.php", "");
    app.write("worker.php", "<?php while (frankenphp_handle_request(function () { echo 'worker'; })) { }");
    let config = "[app]\nenv = \"production\"\n[php.web]\nmode = \"worker\"\nscript = \"worker.php\"\nworkers = 1\n\
                  [gateway]\nfront_controller = \"index.php\"\n";
    app.give_away();
    let site = Site::up(app.path(), config);
    assert_eq!(site.get("/info.php").text(), "worker", "what is no file is the worker's");
    app.write(
        "public/info.php",
        "<?php echo 'beside it ', $_SERVER['SCRIPT_NAME'], $_SERVER['PATH_INFO'] ?? '';",
    );
    app.give_away();
    let reload = site.regie(&["reload"]);
    assert!(reload.status.success(), "{}", String::from_utf8_lossy(&reload.stderr));
    eventually("the new file is served", || {
        (site.get("/info.php/a").text() == "beside it /info.php/a").then_some(())
    });
    assert_eq!(site.get("/").text(), "worker");
    let status = site.regie(&["status"]);
    assert!(String::from_utf8_lossy(&status.stdout).contains("php:web-classic"), "{status:?}");
    assert_eq!(lanes_of(&site, "gateway"), 2, "both pools are asked through shared memory");
    assert_eq!((lanes_of(&site, "php:web"), lanes_of(&site, "php:web-classic")), (1, 1));
    let opcache = site.regie(&["php", "opcache", "--json"]);
    let told = String::from_utf8_lossy(&opcache.stdout);
    assert!(told.contains("\"web\":{") && told.contains("\"web-classic\":{"), "{opcache:?}");
    let reset = site.regie(&["php", "opcache", "reset", "-p", "web"]);
    assert!(reset.status.success(), "{reset:?}");
    assert_eq!(site.get("/").text(), "worker");
}

/// Lanes that a program has in its memory.
fn lanes_of(site: &Site, program: &str) -> usize {
    let pid = site.status(program).unwrap()["pid"].as_i64().expect("it runs");
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("the tests may look at it");
    maps.lines().filter(|line| line.contains("memfd:regie-lane")).count()
}

#[test]
fn a_worker_that_never_boots_does_not_replace_the_one_that_serves() {
    let app = App::empty();
    app.write("public/index.php", "");
    let good = "<?php while (frankenphp_handle_request(function () { echo 'version good'; })) { }";
    app.write("worker.php", good);
    let config = "[app]\nenv = \"production\"\n[php.web]\nmode = \"worker\"\nscript = \"worker.php\"\nworkers = 1\n\
                  boot_timeout = \"10s\"\n[gateway]\nfront_controller = \"index.php\"\n";
    app.give_away();
    let site = Site::up(app.path(), config);
    assert_eq!(site.get("/").text(), "version good");
    app.write("worker.php", "<?php exit(1);");
    let reload = site.regie(&["reload"]);
    assert!(!reload.status.success(), "a generation that does not boot is reported");
    assert_eq!(site.get("/").text(), "version good", "and the old one goes on");
}
