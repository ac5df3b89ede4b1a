//! `regie move` in a Symfony application: messages that leave a table for the store and come back, and sessions.

use std::path::Path;

use regie_e2e::{App, Site, within};

use crate::queue_app::{HANDLER, LONG, Ledger, SEND, pause};

const TABLE: &str = "doctrine://default?queue_name=orders&auto_setup=0";
const STREAM: &str = "redis://redis:6379/orders?delete_after_ack=1";

/// Sends with the application's own environment, as a command of it would.
fn send(site: &Site, numbers: std::ops::Range<usize>) {
    let (from, to) = (numbers.start.to_string(), numbers.end.to_string());
    said(site, &["php", "send.php", "stream", &from, &to]);
}

fn said(site: &Site, words: &[&str]) -> String {
    let done = site.regie(words);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{words:?}: {said}{}", String::from_utf8_lossy(&done.stderr));
    said
}

fn refused(site: &Site, words: &[&str]) -> String {
    let done = site.regie(words);
    assert!(!done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stdout));
    String::from_utf8_lossy(&done.stderr).into_owned()
}

/// An application whose transport `stream` lies in a table, as a team has it before it moves.
fn before() -> (App, Site) {
    let app = App::named("symfony-jobs");
    let kernel = app.read("src/Kernel.php");
    for (from, to) in [
        ("redis://:word@127.0.0.1:1/orders/shop?lazy=1&dbindex=2", "%env(MESSENGER_TRANSPORT_DSN)%"),
        ("sys_get_temp_dir()", "dirname(__DIR__) . '/storage'"),
        ("BatchHandler::class, Soil", "BatchHandler::class, CountedHandler::class, Soil"),
        (
            "$services->set('logger', Notes::class);",
            "$services->set('logger', Notes::class);\n$services->alias('senders', 'messenger.receiver_locator')->public();",
        ),
    ]
    .into_iter()
    .scan(kernel, |kernel, (from, to)| {
        assert!(kernel.contains(from), "the application has changed: {from}");
        *kernel = kernel.replace(from, to);
        app.write("src/Kernel.php", kernel.as_str());
        Some((from, to))
    }) {
        assert_ne!(from, to);
    }
    app.write("src/messages.php", app.read("src/messages.php") + HANDLER);
    app.write(
        ".env",
        format!(
            "APP_ENV=test\nAPP_SECRET=x\nMESSENGER_TRANSPORT_DSN=\"{TABLE}\"\nREDIS_URL=redis://redis:6379\n"
        ),
    );
    let boot = "require 'vendor/autoload.php';\n(new Symfony\\Component\\Dotenv\\Dotenv())->bootEnv(__DIR__ . '/.env');";
    app.write("send.php", SEND.replace("require 'vendor/autoload.php';", boot));
    app.write("sessions.php", SESSIONS);
    app.write("storage/notes", "");
    let config = "[store]\nenabled = true\n[workers.default]\nqueues = [\"stream\"]\nmin = 1\nmax = 1\n";
    let site = Site::up(app.path(), config);
    said(&site, &["php", "messages.php", "setup"]);
    (app, site)
}

fn all_once(app: &App, count: usize) {
    within(LONG, "every message is handled", || {
        (Ledger::read(app).times("done").len() == count).then_some(())
    });
    let ledger = Ledger::read(app);
    let doubles: Vec<_> = ledger.times("begun").into_iter().filter(|(_, times)| *times > 1).collect();
    assert_eq!(doubles, [], "none is handled twice");
}

#[test]
fn messages_leave_the_table_for_the_store_and_come_back() {
    const MESSAGES: usize = 250;
    let (app, site) = before();
    let env = app.read(".env");
    pause(&site, "pause", "stream");
    send(&site, 0..MESSAGES);

    let forth = ["move", "queue", "--from", TABLE, "--to", STREAM, "--write-env"];
    let told = said(&site, &forth);
    for line in [
        &format!("+MESSENGER_TRANSPORT_DSN=\"{STREAM}\""),
        "what runs was reloaded",
        &format!("stream: {MESSAGES} jobs moved"),
        "regie move queue --rollback",
    ] {
        assert!(told.contains(line), "{line} in\n{told}");
    }
    assert_eq!(app.read(".env"), env.replace(TABLE, STREAM));
    // What is sent from now on lies in the store; the pause has outlived the move.
    send(&site, MESSAGES..MESSAGES + 10);
    assert!(
        said(&site, &["move", "queue", "--from", TABLE, "--to", STREAM]).contains("stream: 0 jobs moved")
    );

    let told = said(&site, &["move", "queue", "--rollback"]);
    assert!(told.contains(&format!("stream: {} jobs moved", MESSAGES + 10)), "{told}");
    assert_eq!(app.read(".env"), env, "to the byte");
    assert_eq!(Ledger::read(&app).times("begun").len(), 0, "nobody has worked yet");
    pause(&site, "resume", "stream");
    all_once(&app, MESSAGES + 10);
}

#[test]
fn transports_by_their_names_and_what_cannot_be_moved() {
    let (app, site) = before();
    pause(&site, "pause", "stream");
    send(&site, 0..30);
    let told = said(&site, &["move", "queue", "--from", "stream", "--to", "async", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(told["queues"][0]["moved"], 30, "{told}");
    assert!(
        said(&site, &["move", "queue", "--from", "async", "--to", "stream"]).contains("async: 30 jobs moved")
    );
    pause(&site, "resume", "stream");
    all_once(&app, 30);
    for (words, why) in [
        (vec!["queue", "--from", "stream", "--to", "nowhere"], "there is no transport \"nowhere\""),
        (vec!["queue", "--from", "stream", "--to", "now"], "now keeps no messages"),
        (vec!["queue", "--from", "stream", "--to", "async", "--write-env"], "routing"),
        (vec!["queue", "--from", "stream", "--to", STREAM], "two transports, or two addresses"),
        (
            vec!["queue", "--from", "redis://:pw@x/a", "--to", STREAM],
            "no variable in .env has the value redis://…@x/a",
        ),
        (vec!["cache", "--from", "a", "--to", "b"], "Laravel's cache stores"),
        (vec!["sessions", "--from", "file", "--to", "nowhere"], "name \"file\", or the address"),
    ] {
        let told = refused(&site, &[&["move"], words.as_slice()].concat());
        assert!(told.replace("the application has no", "there is no").contains(why), "{words:?}: {told}");
    }
}

/// `sessions.php make FOLDER COUNT` writes what PHP's own files hold; `read ADDRESS COUNT` prints what a handler finds.
const SESSIONS: &str = r#"<?php
require 'vendor/autoload.php';
[, $what, $where, $count] = $argv;
if ($what === 'make') {
    is_dir($where) || mkdir($where, 0777, true);
    for ($i = 1; $i <= (int) $count; $i++) {
        file_put_contents("$where/sess_visitor$i", "_sf2_attributes|a:1:{s:4:\"name\";s:3:\"\xc3\xa9\0\";}$i");
        touch("$where/sess_visitor$i", time() - $i);
    }
    exit;
}
$where = str_starts_with($where, 'redis:') ? getenv('REDIS_URL') : $where;
// PHP's own handler works in a session only; it reads the file.
$files = str_starts_with($where, 'file://') ? substr($where, 7) : null;
$handler = Symfony\Component\HttpFoundation\Session\Storage\Handler\SessionHandlerFactory::createHandler($where);
$files === null && $handler->open('', 'PHPSESSID');
$found = 0;
for ($i = 1; $i <= (int) $count; $i++) {
    $data = $files === null ? $handler->read("visitor$i") : file_get_contents("$files/sess_visitor$i");
    $found += $data === "_sf2_attributes|a:1:{s:4:\"name\";s:3:\"\xc3\xa9\0\";}$i" ? 1 : 0;
}
echo $found, "\n";
"#;

#[test]
fn visitors_of_symfony_stay_logged_in() {
    const VISITORS: &str = "40";
    let (app, site) = before();
    let at = |name: &str| app.path().join(name).display().to_string();
    let files = format!("file://{}", at("storage/sessions"));
    let table = format!("sqlite:///{}", at("storage/sessions.sqlite"));
    let redis = "redis://redis:6379".to_owned();
    said(&site, &["php", "sessions.php", "make", &at("storage/sessions"), VISITORS]);
    for (from, to) in [(&files, &redis), (&redis, &table), (&table, &redis), (&table, &files)] {
        let told = said(&site, &["move", "sessions", "--from", from, "--to", to, "--json"]);
        let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
        let count = |name: &str| told["first"][name].as_u64().unwrap_or_default();
        assert_eq!(count("copied") + count("younger"), 40, "{told}");
        let found = said(&site, &["php", "sessions.php", "read", to, VISITORS]);
        assert_eq!(found.trim(), VISITORS, "{from} → {to}");
    }
    // What is younger there stays.
    std::fs::write(Path::new(&at("storage/sessions/sess_visitor1")), "younger").expect("it can be written");
    let told = said(&site, &["move", "sessions", "--from", &table, "--to", &files]);
    assert!(told.contains("40 younger there already"), "{told}");
    assert_eq!(app.read("storage/sessions/sess_visitor1"), "younger");
}
