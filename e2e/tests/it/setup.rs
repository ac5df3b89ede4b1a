//! `scripts/setup` on a machine that has nothing: what it would install.

use std::process::{Command, Output};

use regie_e2e::App;
use regie_e2e::programs::repository;

/// Runs the script with a package manager that knows of the packages `installed` and of no others.
fn setup(installed: &str, words: &[&str]) -> Output {
    let tools = App::empty();
    let answer = "for row in $INSTALLED; do for asked in \"$@\"; do \
                  [ \"$asked\" = \"$row\" ] && echo \"installed $row\"; done; done; exit 0";
    for (name, script) in [("dpkg-query", answer), ("apt-get", "exit 9"), ("apt-cache", "exit 9")] {
        tools.program(name, &format!("#!/bin/sh\n{script}\n"));
    }
    // A compiler is found as a command.
    for name in ["sh", "sed", "tr", "sort", "tail", "grep", "echo"] {
        let real = regie_e2e::need(name, "coreutils, sed or grep");
        std::os::unix::fs::symlink(real, tools.path().join(name)).unwrap();
    }
    Command::new(tools.path().join("sh"))
        .arg(repository().join("scripts/setup"))
        .args(words)
        .env_clear()
        .env("PATH", tools.path())
        .env("PHP_VERSION", "8.2")
        .env("INSTALLED", installed)
        .output()
        .expect("sh can be started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_bare_machine_is_told_what_is_missing() {
    const NEEDED: [&str; 8] = [
        "cc|gcc",
        "libc6-dev",
        "pkg-config|pkgconf",
        "php8.2-cli",
        "php8.2-dev",
        "libphp8.2-embed",
        "php8.2-opcache",
        "php8.2-redis",
    ];
    let list = setup("", &["--list", "run"]);
    assert_eq!(text(&list.stdout).lines().collect::<Vec<_>>(), NEEDED, "{}", text(&list.stderr));
    let check = setup("", &["--check", "run"]);
    assert_eq!(check.status.code(), Some(1));
    assert_eq!(text(&check.stderr), format!("setup: missing: {}\n", NEEDED.join(" ")));

    // One of two is enough, and what is there is not named.
    let rest = setup("gcc libc6-dev pkgconf php8.2-cli php8.2-opcache php8.2-redis", &["--check", "run"]);
    assert_eq!(text(&rest.stderr), "setup: missing: php8.2-dev libphp8.2-embed\n");
    let all = setup(
        "gcc libc6-dev pkgconf php8.2-cli php8.2-dev libphp8.2-embed php8.2-opcache php8.2-redis",
        &["run"],
    );
    assert_eq!((all.status.code(), text(&all.stderr)), (Some(0), String::new()), "it installs nothing");

    let test = text(&setup("", &["--list", "test"]).stdout);
    for package in NEEDED.iter().chain(&["php8.2-fpm", "chromium", "wrk", "nginx-light|nginx"]) {
        assert!(test.lines().any(|line| line == *package), "{package} in {test}");
    }
    assert_eq!(setup("", &["--check"]).status.code(), Some(64));
}
