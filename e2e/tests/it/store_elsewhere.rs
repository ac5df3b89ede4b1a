//! `[store] url` with several servers behind it: sentinels and a cluster, of Debian's redis-server.

use regie_e2e::programs::repository;
use regie_e2e::{App, Redis, Site, eventually, within};

use crate::queue_app::{LONG, Ledger, laravel, pause, pid_of, push};

const PASSWORD: &str = "secret";

/// The port of the master, as a sentinel has it.
fn master_of(sentinel: &Redis) -> String {
    sentinel
        .says(&["sentinel", "get-master-addr-by-name", "main"])
        .lines()
        .nth(1)
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn a_failover_under_jobs_loses_none() {
    const JOBS: usize = 400;
    let mut master = Redis::start(PASSWORD, "");
    let follow = format!("replicaof 127.0.0.1 {}\n", master.port);
    let replica = Redis::start(PASSWORD, &follow);
    let sentinels = [1, 2, 3].map(|_| Redis::sentinel(&master, "main", 2));
    let hosts: Vec<String> = sentinels.iter().map(|one| format!("127.0.0.1:{}", one.port)).collect();
    let app = laravel();
    let url = format!("redis+sentinel://:{PASSWORD}@{}/main", hosts.join(","));
    let config = format!(
        "[app]\nenv = \"development\"\n[store]\nurl = \"{url}\"\n[workers.default]\nmin = 2\nmax = 2\n"
    );
    let site = Site::up(app.path(), &config);
    let led = format!("REDIS_HOST redis → main, 127.0.0.1:{}", master.port);
    assert!(site.printed().contains(&led), "{}", site.printed());
    assert!(!site.printed().contains(PASSWORD), "{}", site.printed());
    assert!(site.status("store").is_none(), "no store of its own");

    pause(&site, "pause", "default");
    push(&app, 0..JOBS, 2_000, "");
    pause(&site, "resume", "default");
    let done = || Ledger::read(&app).times("done").len();
    within(LONG, "some are done", || (done() > 20).then_some(()));
    assert_eq!(master.says(&["wait", "1", "0"]), "1");
    within(LONG, "each sentinel knows the replica and the others", || {
        let knows = |one: &Redis| {
            let said = one.says(&["sentinel", "master", "main"]);
            let field = |name: &str| said.lines().skip_while(|line| *line != name).nth(1).map(str::to_owned);
            field("num-slaves").as_deref() == Some("1")
                && field("num-other-sentinels").as_deref() == Some("2")
        };
        sentinels.iter().all(knows).then_some(())
    });
    let before = pid_of(&site, "workers:default").expect("the workers run");
    master.kill();
    // Just now it may find the replica too old to be chosen.
    within(LONG, "the failover begins", || {
        let said = sentinels[0].says(&["sentinel", "failover", "main"]);
        (said == "OK" || said.contains("INPROG")).then_some(())
    });
    within(LONG, "the replica is the master", || {
        (master_of(&sentinels[0]) == replica.port.to_string()).then_some(())
    });
    // What was done and not replicated any more may be done again; nothing is missing.
    within(LONG, "each job is done", || (done() == JOBS).then_some(()));
    eventually("where the master is now is written down", || {
        let told = app.read(".regie/store.master");
        (told.trim() == format!("main 127.0.0.1:{}", replica.port)).then_some(())
    });
    within(LONG, "the workers of before have left", || {
        pid_of(&site, "workers:default").filter(|now| *now != before).map(drop)
    });
    // What begins now goes to the new master.
    push(&app, JOBS..JOBS + 20, 1_000, "");
    within(LONG, "jobs of the new master are done", || (done() == JOBS + 20).then_some(()));
    let stats = site.regie(&["store", "stats", "--json"]);
    assert!(stats.status.success(), "{}", String::from_utf8_lossy(&stats.stderr));
}

/// Three nodes that hold all slots.
fn cluster() -> [Redis; 3] {
    let lines = "cluster-enabled yes\ncluster-config-file nodes.conf\ncluster-node-timeout 600000\n";
    let nodes = [1, 2, 3].map(|_| Redis::start(PASSWORD, lines));
    for (index, (node, [first, last])) in
        nodes.iter().zip([["0", "5460"], ["5461", "10922"], ["10923", "16383"]]).enumerate()
    {
        assert_eq!(node.says(&["cluster", "addslotsrange", first, last]), "OK");
        assert_eq!(node.says(&["cluster", "set-config-epoch", &(index + 1).to_string()]), "OK");
    }
    for node in &nodes[1..] {
        assert_eq!(nodes[0].says(&["cluster", "meet", "127.0.0.1", &node.port.to_string()]), "OK");
    }
    within(LONG, "the nodes know each other", || {
        let knows = |node: &Redis| {
            let info = node.says(&["cluster", "info"]);
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        };
        nodes.iter().all(knows).then_some(())
    });
    nodes
}

fn url_of(nodes: &[Redis]) -> String {
    let hosts: Vec<String> = nodes.iter().map(|one| format!("127.0.0.1:{}", one.port)).collect();
    format!("redis+cluster://:{PASSWORD}@{}", hosts.join(","))
}

/// How many keys each node has.
fn sizes(nodes: &[Redis]) -> Vec<u64> {
    nodes.iter().map(|node| node.says(&["dbsize"]).parse().unwrap_or_default()).collect()
}

#[test]
fn symfony_speaks_to_a_cluster_without_a_change() {
    let nodes = cluster();
    let app = App::named("symfony");
    let env = "REDIS_URL=redis://redis:6379/2\nLOCK_DSN=redis://localhost\n\
               MESSENGER_TRANSPORT_DSN=redis://127.0.0.1:6379/notes/group/consumer\n";
    app.write(".env.local", env);
    app.write("config/packages/messenger.yaml", "");
    let script = repository().join("e2e/php/store/symfony.php");
    app.write("store.php", std::fs::read_to_string(script).expect("a script of the tests"));
    // The lead is taken at whichever node holds its key.
    let config = format!(
        "[php.web]\nworkers = 1\n[store]\nurl = \"{}\"\n[schedule.nothing]\ncron = \"0 0 1 1 *\"\ncommand = \"true\"\n",
        url_of(&nodes)
    );
    let site = Site::up(app.path(), &config);
    assert!(site.printed().contains("REDIS_URL redis → cluster 127.0.0.1:"), "{}", site.printed());
    let output = site.regie(&["php", "store.php"]);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(
        told,
        serde_json::json!({
            "client": "RedisCluster",
            "cache": ["Ada", "Ada"],
            "tags": [true, true, false],
            "pruned": true,
            "lock": [true, false, true],
            "shared": [true, true, false],
            "messages": ["hello", "late"],
        })
    );
    let holders = || nodes.iter().filter(|node| !node.says(&["keys", "regie:*:leader"]).is_empty()).count();
    within(LONG, "this machine leads", || (holders() == 1).then_some(()));
}

#[test]
fn laravel_s_own_workers_run_the_jobs_of_a_cluster() {
    let nodes = cluster();
    let app = laravel();
    let config = app.read("config/database.php");
    let (before, redis) = config.split_once("'redis' => [").expect("a section for redis");
    let clusters = "'clusters' => [\n            'options' => ['password' => env('REDIS_PASSWORD')],\n            \
                    'default' => [['host' => env('REDIS_HOST'), 'port' => env('REDIS_PORT')]],\n        ],";
    let redis = redis.replacen("'default' => [", "'alone' => [", 1);
    app.write("config/database.php", format!("{before}'redis' => [\n        {clusters}{redis}"));
    app.write(
        "config/queue.php",
        app.read("config/queue.php")
            .replace("'queue' => env('REDIS_QUEUE', 'default')", "'queue' => '{default}'"),
    );
    let url = url_of(&nodes);
    let site = Site::up(
        app.path(),
        &format!(
            "[app]\nenv = \"development\"\n[store]\nurl = \"{url}\"\n[workers.default]\nmin = 1\nmax = 1\n"
        ),
    );
    push(&app, 0..20, 100, "");
    within(LONG, "each job is done", || (Ledger::read(&app).times("done").len() == 20).then_some(()));
    assert!(site.status("workers:redis._default_").is_some(), "on the framework's own worker");
    eventually("nothing is left", || (sizes(&nodes).iter().sum::<u64>() <= 1).then_some(()));
}
