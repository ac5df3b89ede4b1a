//! Laravel's and Symfony's own classes on the embedded store, through phpredis and Predis.

use regie_e2e::programs::repository;
use regie_e2e::site::regie;
use regie_e2e::{App, Site, eventually};

fn script(name: &str) -> String {
    std::fs::read_to_string(repository().join("e2e/php/store").join(name)).expect("a script of the tests")
}

fn laravel(more: &str) -> App {
    let app = App::named("laravel-ready");
    let env = app.read(".env");
    let drivers = "CACHE_DRIVER=redis\nSESSION_DRIVER=redis\nQUEUE_CONNECTION=redis\nREDIS_HOST=redis\n";
    let kept = env
        .lines()
        .filter(|line| !line.contains("_DRIVER=") && !line.starts_with("QUEUE_"))
        .collect::<Vec<_>>();
    app.write(".env", format!("{}\n{drivers}{more}", kept.join("\n")));
    app.write("app/Jobs/Greet.php", script("Greet.php"));
    app.write("store.php", script("laravel.php"));
    app.write("database/database.sqlite", "");
    app.give_away();
    app
}

fn run(app: &App, words: &[&str]) -> String {
    let output = regie(app.path()).args(words).output().expect("regie can be started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{words:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("{text}"))
}

/// What `laravel.php` has to find.
fn laravel_finds(app: &App, client: &str) {
    assert_eq!(
        json(&run(app, &["php", "store.php"])),
        serde_json::json!({
            "client": client,
            "cache": ["Ada", "default", 2, false],
            "remember": ["made", "made"],
            "tags": ["1", null],
            "lock": [true, false, true, true],
            "limit": [true, true, true, false],
            "funnel": "in",
            "throttle": "in",
            "session": "Grace",
            "queued": 2,
        })
    );
    run(app, &["artisan", "queue:work", "redis", "--queue=own", "--once", "--quiet"]);
    assert_eq!(app.read("greeted"), "first 1\n");
}

#[test]
fn laravel_through_phpredis() {
    let app = laravel("");
    let site = Site::up(app.path(), "[php.web]\nworkers = 1\n");
    laravel_finds(&app, "Redis");
    // The worker as a program beside it, with the same addresses and no word about them.
    run(&app, &["php", "-r", PUSH]);
    let toml =
        "[php.web]\nworkers = 1\n[program.queue]\ncommand = \"php artisan queue:work redis --sleep=0.1\"\n";
    regie_e2e::site::write_config(app.path(), toml);
    run(&app, &["reload"]);
    eventually("the second greeting", || app.read("greeted").contains("second 1").then_some(()));
    // A visitor's session lives in the store.
    let me = site.get("/me?name=Ada");
    let cookie = me.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
    let cookies: Vec<&str> = me
        .headers
        .iter()
        .filter(|(name, _)| name == "set-cookie")
        .filter_map(|(_, value)| value.split(';').next())
        .collect();
    assert!(!cookie.is_empty(), "{:?}", me.headers);
    let again = site.ask("GET", "/me", &[("Cookie", &cookies.join("; "))], b"").unwrap();
    assert_eq!(json(&again.text())["name"], "Ada");
}

const PUSH: &str = "require 'vendor/autoload.php'; $app = require 'bootstrap/app.php';
    $app->make(Illuminate\\Contracts\\Console\\Kernel::class)->bootstrap();
    Illuminate\\Support\\Facades\\Queue::push(new App\\Jobs\\Greet('second'));";

#[test]
fn laravel_through_predis() {
    assert!(
        std::path::Path::new("/usr/share/php/Predis/autoload.php").is_file(),
        "Predis is not installed; install Debian's package php-predis"
    );
    let app = laravel("REDIS_CLIENT=predis\n");
    let autoload = app.read("vendor/autoload.php");
    app.write("vendor/autoload.php", format!("{autoload}\nrequire_once 'Predis/autoload.php';\n"));
    let _site = Site::up(app.path(), "[php.web]\nworkers = 1\n");
    laravel_finds(&app, "Predis\\Client");
}

#[test]
fn symfony_s_cache_lock_and_messenger() {
    let app = App::named("symfony");
    let env = "REDIS_URL=redis://redis:6379/2\nLOCK_DSN=redis://localhost\n\
               MESSENGER_TRANSPORT_DSN=redis://127.0.0.1:6379/notes/group/consumer\n";
    app.write(".env.local", env);
    // Nobody else consumes what the script sends.
    app.write("config/packages/messenger.yaml", "");
    app.write("store.php", script("symfony.php"));
    let site = Site::up(app.path(), "[php.web]\nworkers = 1\n");
    for line in ["REDIS_URL redis → embedded store", "MESSENGER_TRANSPORT_DSN 127.0.0.1 → embedded store"]
    {
        assert!(site.printed().contains(line), "{}", site.printed());
    }
    assert_eq!(
        json(&run(&app, &["php", "store.php"])),
        serde_json::json!({
            "client": "Redis",
            "cache": ["Ada", "Ada"],
            "tags": [true, true, false],
            "pruned": true,
            "lock": [true, false, true],
            "shared": [true, true, false],
            "messages": ["hello", "late"],
        })
    );
    // The database of the DSN is the application's own.
    assert_eq!(run(&app, &["store", "cli", "-n", "2", "get", "here"]).trim(), "yes");
}
