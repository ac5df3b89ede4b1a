//! The checklist of whole applications.

use regie_config::check::{check, refusals};
use regie_config::facts::{Facts, Holder, PathFact, PhpFacts, SqliteFacts, TakenPort, UserFacts};
use regie_config::values::AppEnv;
use regie_config::{Finding, Loaded, Options, shell};

use crate::folder::{Folder, variables};

/// A machine on which nothing is wrong.
fn sound() -> Facts {
    let mut facts = Facts::default();
    facts.php = Some(PhpFacts {
        version: (8, 2),
        bin: "/usr/bin/php8.2".into(),
        ini_dir: None,
        embed: true,
        extensions: [
            "ctype",
            "fileinfo",
            "iconv",
            "mbstring",
            "openssl",
            "pdo",
            "pdo_sqlite",
            "tokenizer",
            "xml",
            "zend opcache",
        ]
        .map(str::to_owned)
        .into(),
        ini: [("post_max_size", "200M"), ("upload_max_filesize", "200M")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
    });
    facts.php_versions = vec![(8, 2)];
    facts.user = UserFacts { name: "deploy".into(), ..UserFacts::default() };
    facts.first_free_port = 1024;
    facts
}

fn lines(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

fn plain() -> Loaded {
    Folder::new(&[("index.php", "<?php")]).load(&[]).unwrap()
}

fn laravel(env: &str, more: &[(&str, &str)]) -> Loaded {
    let mut files = vec![("artisan", ""), ("bootstrap/app.php", ""), ("public/index.php", "<?php")];
    if !env.is_empty() {
        files.push((".env", env));
    }
    files.extend(more);
    Folder::new(&files).load(&[]).unwrap()
}

#[test]
fn the_client_of_a_redis_is_looked_for() {
    const PREDIS: (&str, &str) =
        ("vendor/composer/installed.json", r#"{"packages":[{"name":"predis/predis","version":"v2.0.0"}]}"#);
    let missing = "error: php: the PHP extension redis is missing; the application's Redis needs it\n  \
                   fix: apt install php8.2-redis";
    let package = "error: .env: REDIS_CLIENT is predis, but the package is not installed\n  \
                   fix: composer require predis/predis, or REDIS_CLIENT=phpredis with the PHP extension redis";
    for (env, more, expected) in [
        ("CACHE_DRIVER=redis\nREDIS_HOST=127.0.0.1", &[][..], vec![missing]),
        ("CACHE_DRIVER=redis", &[], vec![missing]),
        ("CACHE_DRIVER=redis\nREDIS_CLIENT=predis", &[], vec![package]),
        ("CACHE_DRIVER=redis\nREDIS_CLIENT=predis", &[PREDIS], vec![]),
        ("CACHE_DRIVER=file\nREDIS_HOST=127.0.0.1", &[], vec![]),
    ] {
        let found = check(&laravel(&format!("APP_KEY=base64:x\n{env}"), more), &sound());
        let told: Vec<String> =
            lines(&found).into_iter().filter(|line| line.to_lowercase().contains("redis")).collect();
        assert_eq!(told, expected, "{env}");
    }
}

#[test]
fn a_lease_that_ends_before_the_job_is_named() {
    const QUEUE: &str = "<?php return ['default' => env('QUEUE_CONNECTION', 'redis'), 'connections' => [
        'database' => ['driver' => 'database', 'retry_after' => 90],
        'redis' => ['driver' => 'redis', 'retry_after' => env('REDIS_RETRY', 60)], 'sync' => ['driver' => 'sync']]];";
    let worker =
        |options: &str| format!("[program.worker]\ncommand = \"php artisan queue:work {options}\"\n");
    let twice = |runs: &str, name: &str, after: u64, less: u64| {
        vec![format!(
            "warning: [program.worker]: a job may run {runs}, but on {name} it is started a second time after \
             retry_after, {after} s\n  fix: --timeout={less}, or a retry_after in config/queue.php that is longer"
        )]
    };
    for (toml, env, expected) in [
        (worker(""), "", twice("for 60 s", "redis", 60, 50)),
        (worker("--timeout=59"), "", vec![]),
        (worker("--timeout=0 --tries=3"), "", twice("for ever", "redis", 60, 50)),
        (worker("database --timeout=90"), "", twice("for 90 s", "database", 90, 80)),
        (worker("database"), "", vec![]),
        (worker(""), "REDIS_RETRY=120", vec![]),
        (worker(""), "QUEUE_CONNECTION=database", vec![]),
        ("[workers.default]\ntimeout = \"50s\"\n".to_owned(), "", vec![]),
        (
            "[workers.default]\nqueues = [\"database:mail\"]\ntimeout = \"90s\"\n".to_owned(),
            "",
            vec![
                "note: [workers.default]: jobs of database may run longer than its retry_after, 90 s: Régie keeps \
                 their lease, but a queue:work or Horizon beside it would start them a second time\n  \
                 fix: a retry_after in config/queue.php above 90, or leave it"
                    .to_owned(),
            ],
        ),
    ] {
        let env = format!("APP_KEY=base64:x\n{env}\n");
        let files = [
            ("artisan", ""),
            ("bootstrap/app.php", ""),
            ("public/index.php", "<?php"),
            (".env", env.as_str()),
            ("config/queue.php", QUEUE),
            ("regie.toml", toml.as_str()),
        ];
        let folder = Folder::new(&files);
        let loaded = folder.load(&[]).unwrap();
        let mut facts = sound();
        facts.queue_connections = shell::gather(folder.path(), &loaded, "").queue_connections;
        let found = lines(&check(&loaded, &facts));
        let told: Vec<String> = found.into_iter().filter(|line| line.contains("retry_after")).collect();
        assert_eq!(told, expected, "{toml}{env}");
    }
}

#[test]
fn a_sound_machine_has_nothing_to_say() {
    assert_eq!(lines(&check(&plain(), &sound())), [""; 0]);
}

#[test]
fn what_php_lacks_comes_with_its_package() {
    let mut facts = sound();
    facts.php = None;
    facts.php_versions = Vec::new();
    assert_eq!(
        lines(&check(&plain(), &facts)),
        ["error: php: PHP is not installed\n  fix: apt install php8.2-cli php8.2-fpm libphp8.2-embed"]
    );
    let mut facts = sound();
    let php = facts.php.as_mut().unwrap();
    php.embed = false;
    php.extensions = vec!["pdo".into()];
    php.ini.clear();
    let folder = Folder::new(&[
        ("index.php", "<?php"),
        ("composer.json", r#"{"require": {"php": "^8.3", "ext-intl": "*", "ext-pdo_mysql": "*"}}"#),
        ("regie.toml", "[php.web]\nini = { max_execution_time = 120 }\n"),
    ]);
    let loaded = folder.load(&[]).unwrap();
    assert_eq!(
        lines(&check(&loaded, &facts)),
        [
            "error: composer.json: the application wants PHP ^8.3 (require.php), this is 8.2\n  fix: install a PHP version that fits",
            "error: php: PHP 8.2 can be run, but not embedded: its library is missing\n  fix: apt install libphp8.2-embed",
            "error: php: the PHP extension intl is missing; composer.json needs it\n  fix: apt install php8.2-intl",
            "error: php: the PHP extension pdo_mysql is missing; composer.json needs it\n  fix: apt install php8.2-mysql",
            "warning: php: opcache is not loaded, so every request compiles the application anew\n  fix: apt install php8.2-opcache",
            "note: [gateway] body_limit: the gateway takes bodies up to 200 MB, PHP only post_max_size 8M and upload_max_filesize 2M\n  fix: [php] ini = { post_max_size = \"200M\", upload_max_filesize = \"200M\" }, or a smaller [gateway] body_limit",
            "note: [php.web] request_timeout: requests end after 1m, before PHP's max_execution_time of 120s\n  fix: [php.web] request_timeout = \"120s\", or a smaller max_execution_time",
        ]
    );
}

#[test]
fn a_fresh_laravel_application_gets_one_line_each() {
    let facts = sound();
    let first = |env: &str, more: &[(&str, &str)]| lines(&check(&laravel(env, more), &facts));
    assert_eq!(
        first("", &[(".env.example", "APP_KEY=\n")]),
        [
            "error: .env: the file does not exist, so Laravel has no key\n  fix: cp .env.example .env && regie artisan key:generate"
        ]
    );
    assert_eq!(
        first("APP_KEY=\n", &[]),
        [
            "error: .env: APP_KEY is empty, so Laravel answers every page with an error\n  fix: regie artisan key:generate"
        ]
    );
    assert_eq!(first("APP_KEY=base64:x\n", &[]), [""; 0]);
    assert_eq!(first("", &[("config/app.php", "<?php return [\n    'key' => 'base64:x',\n];")]), [""; 0]);
}

#[test]
fn a_sqlite_database_must_be_there_and_migrated() {
    let loaded = laravel("APP_KEY=x\nDB_CONNECTION=sqlite\n", &[]);
    assert_eq!(loaded.first_steps.sqlite.as_deref(), Some("database/database.sqlite"));
    for (exists, writable, folder_writable, migrated, expected) in [
        (
            false,
            false,
            true,
            None,
            "error: database/database.sqlite: the SQLite database does not exist\n  fix: touch database/database.sqlite && regie artisan migrate",
        ),
        (
            true,
            false,
            true,
            Some(true),
            "error: database/database.sqlite: deploy may not write the SQLite database\n  fix: chown deploy database/database.sqlite",
        ),
        (
            true,
            true,
            false,
            Some(true),
            "error: database: deploy may not write the folder of the SQLite database, where its journal goes\n  fix: chown deploy database",
        ),
        (
            true,
            true,
            true,
            Some(false),
            "error: database/database.sqlite: the database has no tables yet\n  fix: regie artisan migrate",
        ),
    ] {
        let mut facts = sound();
        let path = "database/database.sqlite".to_owned();
        facts.sqlite = Some(SqliteFacts { path, exists, writable, folder_writable, migrated });
        assert_eq!(lines(&check(&loaded, &facts)), [expected]);
    }
}

#[test]
fn production_refuses_what_development_only_names() {
    let mut facts = sound();
    facts.user =
        UserFacts { name: "root".into(), is_root: true, started_as_root: true, ..UserFacts::default() };
    facts.taken = vec![TakenPort {
        address: "127.0.0.1:8000".into(),
        holder: Some(Holder { pid: 42, program: "nginx".into() }),
    }];
    for (env, expected) in [
        (AppEnv::Production, [
            "error: .env: debug mode is on in production: error pages show code and settings to everybody\n  fix: APP_DEBUG=false",
            "error: [app] user: PHP would run as root: a fault in the application would own the machine\n  fix: [app] user = \"www-data\", and give the folder to that user",
            "error: [gateway] listen: 127.0.0.1:8000 is taken by nginx (pid 42)\n  fix: stop that program, or choose another port",
        ].as_slice()),
        (AppEnv::Development, &[
            "warning: [app] user: PHP would run as root: a fault in the application would own the machine\n  fix: [app] user = \"www-data\", and give the folder to that user",
            "note: [gateway] listen: 127.0.0.1:8000 is taken by nginx (pid 42)\n  fix: nothing to do: the next free port is used",
        ]),
    ] {
        let folder = Folder::new(&[("index.php", "<?php"), (".env", "APP_DEBUG=true\n")]);
        let options = Options { env: Some(env), ..Options::default() };
        let loaded = shell::load(folder.path(), &options, &variables(&[])).unwrap();
        assert_eq!(lines(&check(&loaded, &facts)), expected);
        let refused = if env == AppEnv::Production { &expected[..2] } else { &[] };
        assert_eq!(lines(&refusals(&loaded, &facts.user)), refused);
    }
    facts.user.container = true;
    facts.taken.clear();
    assert_eq!(lines(&check(&plain(), &facts)), [""; 0]);
}

#[test]
fn worker_mode_without_a_script_is_named() {
    let none = "error: [php.web] mode: worker mode needs a worker script, and none was found\n  fix: script = \"FILE\" \
                with a loop on frankenphp_handle_request(), or mode = \"classic\"";
    let lost = "error: [php.web] script: there is no worker script at work.php\n  fix: correct the path, from the \
                application's folder";
    let (bare, named) =
        ("[php.web]\nmode = \"worker\"\n", "[php.web]\nmode = \"worker\"\nscript = \"work.php\"\n");
    let classic = ("index.php", "<?php");
    let laravel = [("artisan", ""), ("bootstrap/app.php", ""), ("public/index.php", "<?php")];
    for (files, expected) in [
        (vec![classic, ("regie.toml", bare)], Some(none)),
        (vec![classic, ("regie.toml", named)], Some(lost)),
        (vec![classic, ("work.php", "<?php"), ("regie.toml", named)], None),
        ([&laravel[..], &[("regie.toml", bare)]].concat(), None),
    ] {
        let folder = Folder::new(&files);
        let loaded = folder.load(&[]).unwrap();
        let found = shell::gather(folder.path(), &loaded, "").missing_scripts;
        let mut facts = sound();
        facts.missing_scripts = found;
        let said = lines(&check(&loaded, &facts));
        let told: Vec<&String> = said.iter().filter(|line| line.contains("[php.web]")).collect();
        assert_eq!(told, expected.iter().collect::<Vec<_>>(), "{files:?}");
    }
}

#[test]
fn folders_and_ports_that_are_out_of_reach_are_named() {
    let mut facts = sound();
    facts.paths = vec![
        PathFact { path: "storage".into(), exists: false, writable: true, made_by_itself: false },
        PathFact { path: "var".into(), exists: false, writable: true, made_by_itself: true },
        PathFact { path: "bootstrap/cache".into(), exists: true, writable: false, made_by_itself: false },
    ];
    let folder =
        Folder::new(&[("index.php", "<?php"), ("regie.toml", "[gateway]\nlisten = [\"127.0.0.1:80\"]\n")]);
    assert_eq!(
        lines(&check(&folder.load(&[]).unwrap(), &facts)),
        [
            "error: [gateway] listen: port 80 needs a privilege that this user has not\n  fix: sudo setcap cap_net_bind_service=+ep \"$(command -v regie)\", or start regie as root",
            "error: storage: the folder does not exist\n  fix: mkdir -p storage && chown deploy storage",
            "error: bootstrap/cache: deploy may not write here\n  fix: chown -R deploy bootstrap/cache",
        ]
    );
}

/// The real machine: Debian's PHP 8.2 with the extensions that the tests of this project install.
#[test]
fn the_facts_of_this_machine_are_gathered() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let toml = format!("[gateway]\nlisten = [\"{address}\"]\n[php]\nversion = \"8.2\"\n");
    let folder = Folder::new(&[
        ("artisan", ""),
        ("bootstrap/cache/", ""),
        ("public/index.php", "<?php"),
        ("storage/logs/", ""),
        (".env", "APP_KEY=x\nDB_CONNECTION=sqlite\n"),
        ("regie.toml", &toml),
    ]);
    let environment = shell::environment();
    let loaded = shell::load(folder.path(), &Options::default(), &environment).unwrap();
    let facts = shell::gather(folder.path(), &loaded, &environment["PATH"]);
    let php = facts.php.clone().expect("php8.2 is installed: apt install php8.2-cli");
    assert_eq!(php.version, (8, 2));
    assert!(
        php.extensions.iter().any(|name| name == "zend opcache"),
        "apt install php8.2-opcache: {:?}",
        php.extensions
    );
    assert_eq!(php.ini_dir.as_deref(), Some("/etc/php/8.2/fpm".as_ref()), "apt install php8.2-fpm");
    assert_eq!(php.ini["post_max_size"], "8M", "the value of fpm's own php.ini");
    assert!(php.embed, "apt install libphp8.2-embed");
    assert_eq!(
        facts.taken[0].holder.as_ref().map(|holder| holder.pid),
        i32::try_from(std::process::id()).ok()
    );
    let storage = facts.paths.iter().find(|fact| fact.path == "storage/logs").unwrap();
    assert!(storage.exists && storage.writable);
    assert!(!facts.sqlite.as_ref().unwrap().exists);

    std::fs::create_dir(folder.path().join("database")).unwrap();
    let database = folder.path().join("database/database.sqlite");
    let create = |table: &str| {
        let code = format!(
            "(new PDO('sqlite:{}'))->exec('create table \"{table}\" (id integer)');",
            database.display()
        );
        let done = std::process::Command::new(&php.bin).args(["-r", &code]).status().unwrap();
        assert!(done.success(), "apt install php8.2-sqlite3");
        shell::gather(folder.path(), &loaded, &environment["PATH"]).sqlite.unwrap().migrated
    };
    assert_eq!(create("other"), Some(false));
    assert_eq!(create("migrations"), Some(true));
}

#[test]
fn faults_of_the_configuration_are_a_checklist_too() {
    let folder = Folder::new(&[("regie.toml", "[app]\nuzer = \"x\"\n")]);
    let findings = shell::check(folder.path(), &Options::default(), &shell::environment());
    assert_eq!(
        lines(&findings),
        ["error: regie.toml:2:1: unknown key \"uzer\" in [app]\n  fix: did you mean \"user\"?"]
    );
    let json = serde_json::to_value(&findings).unwrap();
    assert_eq!(json[0]["severity"], "error");
    assert_eq!(json[0]["where"], "regie.toml:2:1");
}
