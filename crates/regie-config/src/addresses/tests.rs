//! The rules, by table: variables in, decisions and environment out.

use super::*;
use crate::files::MemoryFiles;
use crate::store::{External, external};

struct Net {
    resolves: &'static [&'static str],
    listens: &'static [u16],
}

impl Network for Net {
    fn resolves(&self, host: &str) -> bool {
        self.resolves.contains(&host)
    }

    fn listens(&self, _host: &str, port: u16) -> bool {
        self.listens.contains(&port)
    }
}

fn store() -> Available {
    Available::store(StoreAddress {
        name: "embedded store".to_owned(),
        host: "127.0.0.1".to_owned(),
        port: 7001,
        username: None,
        password: Some(Secret::new("pw")),
        tls: false,
        nodes: Vec::new(),
    })
}

fn outcome(
    framework: Framework,
    files: &MemoryFiles,
    hosts: &[(&str, &str)],
    available: &Available,
) -> Addresses {
    let env = DotEnv::read(files, framework, &Variables::new());
    assert_eq!(env.faults, [], "the .env of a test reads");
    let hosts = hosts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let net = Net { resolves: &["db.example.org"], listens: &[5432] };
    decide(&env, &hosts, files, framework, &net, available)
}

#[test]
fn each_address_leads_where_the_rules_say() {
    for (env, expected, overrides) in [
        (
            "REDIS_HOST=redis",
            "REDIS_HOST redis → embedded store",
            "REDIS_HOST=127.0.0.1 REDIS_PASSWORD=pw REDIS_PORT=7001",
        ),
        (
            "REDIS_HOST=127.0.0.1\nREDIS_PORT=6379",
            "REDIS_HOST 127.0.0.1 → embedded store",
            "REDIS_HOST=127.0.0.1 REDIS_PASSWORD=pw REDIS_PORT=7001",
        ),
        ("REDIS_HOST=127.0.0.1\nREDIS_PORT=6380", "REDIS_HOST 127.0.0.1:6380 → nothing behind it", ""),
        ("REDIS_HOST=10.0.0.5", "REDIS_HOST 10.0.0.5 → as written", ""),
        (
            "REDIS_URL=rediss://u:x@redis:6379/1",
            "REDIS_URL redis → embedded store",
            "REDIS_URL=redis://:pw@127.0.0.1:7001/1",
        ),
        ("DB_HOST=db", "DB_HOST db → 10.0.0.7", "DB_HOST=10.0.0.7"),
        ("DB_HOST=mysql", "DB_HOST mysql → nothing behind it", ""),
        ("DB_HOST=db.example.org", "DB_HOST db.example.org → as written", ""),
        ("DB_HOST=gone.example.org", "DB_HOST gone.example.org → nothing behind it", ""),
        ("DB_HOST=127.0.0.1", "DB_HOST 127.0.0.1 → nothing behind it", ""),
        ("DB_CONNECTION=pgsql\nDB_HOST=127.0.0.1", "DB_HOST 127.0.0.1 → as written", ""),
        (
            "DATABASE_URL=\"mysql://u:p@db:3306/x\"",
            "DATABASE_URL db → 10.0.0.7",
            "DATABASE_URL=mysql://u:p@10.0.0.7:3306/x",
        ),
        (
            "MAILER_DSN=smtp://mail:1025",
            "MAILER_DSN mail:1025 → 10.0.0.8:25",
            "MAILER_DSN=smtp://10.0.0.8:25",
        ),
        (
            "MAIL_HOST=mail\nMAIL_PORT=1025",
            "MAIL_HOST mail:1025 → 10.0.0.8:25",
            "MAIL_HOST=10.0.0.8 MAIL_PORT=25",
        ),
        (
            "WORDPRESS_DB_HOST=db:3307",
            "WORDPRESS_DB_HOST db:3307 → 10.0.0.7",
            "WORDPRESS_DB_HOST=10.0.0.7:3307",
        ),
        (
            "MESSENGER_TRANSPORT_DSN=redis://valkey/messages",
            "MESSENGER_TRANSPORT_DSN valkey → embedded store",
            "MESSENGER_TRANSPORT_DSN=redis://:pw@127.0.0.1:7001/messages",
        ),
        (
            "REDIS_HOST=redis\nREDIS_USERNAME=app\nREDIS_SCHEME=tls",
            "REDIS_HOST redis → embedded store",
            "REDIS_HOST=127.0.0.1 REDIS_PASSWORD=pw REDIS_PORT=7001 REDIS_SCHEME=tcp REDIS_USERNAME=",
        ),
        (
            "LOCK_DSN=redis://localhost",
            "LOCK_DSN localhost → embedded store",
            "LOCK_DSN=redis://:pw@127.0.0.1:7001",
        ),
        ("CACHE_DRIVER=redis", "", ""),
        ("MESSENGER_TRANSPORT_DSN=doctrine://default", "", ""),
        ("LOCK_DSN=flock", "", ""),
        ("DB_HOST=/run/mysqld/mysqld.sock", "", ""),
    ] {
        let files = MemoryFiles::new([(".env", env)]);
        let hosts = [("db", "10.0.0.7"), ("mail", "10.0.0.8:25")];
        let out = outcome(Framework::Plain, &files, &hosts, &store());
        let shown: Vec<String> = out.decisions.iter().map(ToString::to_string).collect();
        let set: Vec<String> = out.overrides.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!((shown.join(", ").as_str(), set.join(" ").as_str()), (expected, overrides), "{env}");
    }
}

#[test]
fn laravel_s_drivers_name_a_redis_without_an_address() {
    for (env, expected) in [
        ("CACHE_DRIVER=redis", "REDIS_HOST=127.0.0.1 REDIS_PASSWORD=pw REDIS_PORT=7001"),
        ("QUEUE_CONNECTION=redis\nREDIS_URL=redis://redis/3", "REDIS_URL=redis://:pw@127.0.0.1:7001/3"),
        ("CACHE_DRIVER=redis\nREDIS_PORT=6380", ""),
        ("CACHE_DRIVER=file", ""),
    ] {
        let files = MemoryFiles::new([(".env", env)]);
        let out = outcome(Framework::Laravel, &files, &[], &store());
        let set: Vec<String> = out.overrides.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(set.join(" "), expected, "{env}");
        assert_eq!(out.leads_to_store, !expected.is_empty());
    }
}

#[test]
fn addresses_that_symfony_writes_down_are_named() {
    const FILE: &str = "config/packages/cache.yaml";
    for (yaml, expected) in [
        (
            "framework:\n  cache:\n    default_redis_provider: redis://localhost\n",
            Some(("config/packages/cache.yaml:3", "redis://localhost is")),
        ),
        (
            "framework:\n  cache:\n    app: cache.adapter.redis\n",
            Some(("config/packages/cache.yaml:3", "Symfony's default")),
        ),
        (
            "framework:\n  cache:\n    app: cache.adapter.redis\n    default_redis_provider: '%env(REDIS_URL)%'\n",
            None,
        ),
        ("framework:\n  cache:\n    # default_redis_provider: redis://localhost\n", None),
        ("framework:\n  lock: 'redis://cache.example.org'\n", None),
    ] {
        let out = outcome(Framework::Symfony, &MemoryFiles::new([(FILE, yaml)]), &[], &store());
        let told: Vec<String> = out.findings.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), usize::from(expected.is_some()), "{yaml}: {told:?}");
        if let Some((place, what)) = expected {
            assert!(told[0].contains(place) && told[0].contains(what), "{told:?}");
        }
    }
}

#[test]
fn an_external_store_may_ask_for_a_user_and_tls() {
    let url = "rediss://app:pw@10.0.0.5:6380";
    let Ok(External::One(store)) = external(url) else { panic!("{url} names one server") };
    let external = Available::store(store);
    let files =
        MemoryFiles::new([(".env", "REDIS_HOST=127.0.0.1\nLOCK_DSN=redis://localhost/2\nREDIS_SCHEME=tcp")]);
    let out = outcome(Framework::Laravel, &files, &[], &external);
    let set: Vec<String> = out.overrides.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        set.join(" "),
        "LOCK_DSN=rediss://app:pw@10.0.0.5:6380/2 REDIS_HOST=10.0.0.5 REDIS_PASSWORD=pw REDIS_PORT=6380 \
         REDIS_SCHEME=tls REDIS_USERNAME=app"
    );
}

#[test]
fn a_cluster_is_named_as_each_framework_reads_it() {
    let Ok(External::Cluster(cluster)) = external("redis+cluster://:p%40w@10.0.0.5:7000,10.0.0.6:7001")
    else {
        panic!("it names a cluster")
    };
    let available = Available::store(cluster.entered_by(1));
    let env = "REDIS_HOST=redis\nREDIS_URL=redis://localhost/1?timeout=5\nMESSENGER_TRANSPORT_DSN=redis://redis/messages?serializer=1";
    let set = |framework, files: &MemoryFiles| {
        let out = outcome(framework, files, &[], &available);
        let set: Vec<String> = out.overrides.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (set, out.findings.iter().map(|finding| finding.what.clone()).collect::<Vec<_>>())
    };
    assert_eq!(
        set(Framework::Symfony, &MemoryFiles::new([(".env", env)])).0,
        [
            "MESSENGER_TRANSPORT_DSN=redis://:p%40w@10.0.0.5:7000,redis://:p%40w@10.0.0.6:7001/messages?serializer=1",
            "REDIS_HOST=10.0.0.6",
            "REDIS_PASSWORD=p@w",
            "REDIS_PORT=7001",
            "REDIS_URL=redis::p%40w@?host[10.0.0.5:7000]&host[10.0.0.6:7001]&redis_cluster=1&auth=p%40w&timeout=5",
        ]
    );
    let one = "<?php return ['redis' => ['default' => ['host' => env('REDIS_HOST')]]];";
    let all = "<?php return ['redis' => ['clusters' => ['default' => [['host' => env('REDIS_HOST')]]]]];";
    for (config, expected) in [(one, 1), (all, 0)] {
        let files = MemoryFiles::new([(".env", "REDIS_HOST=redis"), ("config/database.php", config)]);
        let (set, findings) = set(Framework::Laravel, &files);
        assert_eq!(set, ["REDIS_HOST=10.0.0.6", "REDIS_PASSWORD=p@w", "REDIS_PORT=7001"]);
        assert_eq!(findings.len(), expected, "{findings:?}");
    }
}

#[test]
fn while_no_sentinel_answers_the_application_waits_for_the_store() {
    let lost = Available { store_is_lost: true, ..Available::default() };
    let out = outcome(Framework::Laravel, &MemoryFiles::new([(".env", "REDIS_HOST=127.0.0.1")]), &[], &lost);
    let told: Vec<String> = out.decisions.iter().map(|one| format!("{one}: {}", one.why)).collect();
    assert_eq!(told, ["REDIS_HOST 127.0.0.1 → nothing behind it: the sentinels do not answer"]);
}

#[test]
fn without_a_store_the_ways_out_are_named() {
    let files = MemoryFiles::new([(
        ".env",
        "CACHE_DRIVER=redis\nREDIS_HOST=redis\nDB_HOST=db\nDB_CONNECTION=sqlite\nMAIL_MAILER=log\nMAIL_HOST=mailpit",
    )]);
    let out = outcome(Framework::Laravel, &files, &[], &Available::default());
    let lines: Vec<String> = out.findings.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "warning: .env: REDIS_HOST redis has nothing behind it\n  \
             fix: [hosts] redis = \"ADDRESS\" in regie.toml, or [store] url = \"redis://…\" for a real Redis",
            "note: .env: DB_HOST db has nothing behind it; the application's settings do not use it\n  \
             fix: [hosts] db = \"ADDRESS\" in regie.toml, or a [program.mariadb] section that starts one",
            "note: .env: MAIL_HOST mailpit has nothing behind it; the application's settings do not use it\n  \
             fix: [hosts] mailpit = \"ADDRESS\" in regie.toml, or the log mailer (MAIL_MAILER=log, MAILER_DSN=null://null)",
        ]
    );
    assert!(out.overrides.is_empty());
}

#[test]
fn a_cached_configuration_with_other_values_is_named() {
    let cached = "<?php return array ('database' => array ('redis' => array ('default' => array ('host' => 'HOST'))));";
    for (held, expected) in [
        (
            "redis",
            Some(
                "error: bootstrap/cache/config.php: the cached configuration still holds REDIS_HOST redis\n  fix: regie artisan config:cache (or config:clear)",
            ),
        ),
        ("127.0.0.1", None),
    ] {
        let text = cached.replace("HOST", held);
        let files = MemoryFiles::new([(".env", "REDIS_HOST=redis"), (cached::LARAVEL, &text)]);
        let out = outcome(Framework::Laravel, &files, &[], &store());
        assert_eq!(out.findings.first().map(ToString::to_string).as_deref(), expected, "{held}");
    }
    let cached = "<?php return array ('database' => array ('redis' => array ('default' => array ('host' => '127.0.0.1', 'password' => 'PASSWORD', 'port' => 'PORT'))));";
    for (port, password, expected) in [
        ("6379", "pw", Some("still holds port 6379 for Redis")),
        ("7001", "old", Some("holds another password than the store has")),
        ("7001", "pw", None),
    ] {
        let text = cached.replace("PORT", port).replace("PASSWORD", password);
        let env = "CACHE_DRIVER=redis\nREDIS_HOST=127.0.0.1";
        let files = MemoryFiles::new([(".env", env), (cached::LARAVEL, &text)]);
        let out = outcome(Framework::Laravel, &files, &[], &store());
        let what = out.findings.first().map(|finding| finding.what.clone());
        assert_eq!(
            what,
            expected.map(|what| format!("the cached configuration {what}")),
            "{port} {password}"
        );
    }
    let files = MemoryFiles::new([(".env", "A=1"), (cached::LARAVEL, "<?php return array ();")])
        .written_at(".env", 9);
    let out = outcome(Framework::Laravel, &files, &[], &store());
    assert!(out.findings[0].what.contains("older than .env"), "{:?}", out.findings);
}

#[test]
fn a_programs_port_counts_as_something() {
    let files = MemoryFiles::new([(".env", "DB_HOST=127.0.0.1")]);
    let available = Available { ports: vec![3306], ..Available::default() };
    let out = outcome(Framework::Plain, &files, &[], &available);
    assert_eq!(out.decisions[0].becomes, Becomes::AsWritten);
}

#[test]
fn a_host_in_wp_config_can_only_be_named() {
    for (line, decision, findings) in [
        ("define( 'DB_HOST', 'db' );", "wp-config.php DB_HOST db → nothing behind it", 1),
        ("define('DB_HOST', 'db.example.org');", "wp-config.php DB_HOST db.example.org → as written", 0),
        ("define('DB_HOST', getenv('DB_HOST'));", "", 0),
        ("define('DB_NAME', 'db');", "", 0),
    ] {
        let files = MemoryFiles::new([("wp-config.php", line)]);
        let out = outcome(Framework::Wordpress, &files, &[], &Available::default());
        let shown: Vec<String> = out.decisions.iter().map(ToString::to_string).collect();
        assert_eq!((shown.join(", ").as_str(), out.findings.len()), (decision, findings), "{line}");
    }
}
