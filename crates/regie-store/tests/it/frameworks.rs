//! PHP's own client and Laravel's own scripts.

use crate::server::{Store, show};

/// Laravel's queue: push, pop and the return of what was reserved, as its Lua scripts do it.
#[test]
fn a_queue_s_scripts_push_and_pop() {
    const PUSH: &[u8] = b"-- Push the job onto the queue...\nredis.call('rpush', KEYS[1], ARGV[1])\n-- Push a notification onto the \"notify\" queue...\nredis.call('rpush', KEYS[2], 1)";
    const POP: &[u8] = b"local job = redis.call('lpop', KEYS[1])\nlocal reserved = false\nif(job ~= false) then\n    reserved = cjson.decode(job)\n    reserved['attempts'] = reserved['attempts'] + 1\n    reserved = cjson.encode(reserved)\n    redis.call('zadd', KEYS[2], ARGV[1], reserved)\n    redis.call('lpop', KEYS[3])\nend\nreturn {job, reserved}";
    let store = Store::start(None, &[]);
    let mut client = store.client();
    let payload = br#"{"uuid":"u","displayName":"App\\Jobs\\A","data":{"list":[],"n":1.5},"attempts":0}"#;
    assert_eq!(
        show(&client.call(&[b"EVAL", PUSH, b"2", b"queues:default", b"queues:default:notify", payload])),
        "nil"
    );
    let popped = client.call(&[
        b"EVAL",
        POP,
        b"3",
        b"queues:default",
        b"queues:default:reserved",
        b"queues:default:notify",
        b"1700000090",
    ]);
    let regie_resp::Frame::Array(items) = &popped else { panic!("{popped:?}") };
    assert_eq!(show(&items[0]).as_bytes(), payload);
    let reserved = show(&items[1]);
    assert!(reserved.contains("\"attempts\":1") && reserved.contains("\"list\":{}"), "{reserved}");
    assert_eq!(client.line("ZSCORE queues:default:reserved none"), "nil");
    assert_eq!(show(&client.call(&[b"ZREM", b"queues:default:reserved", reserved.as_bytes()])), ":1");
    assert_eq!(client.line("LLEN queues:default:notify"), ":0");
}

#[test]
fn phpredis_works() {
    const SCRIPT: &str = r#"
        $r = new Redis();
        $r->connect('127.0.0.1', (int) $argv[1]);
        $r->setOption(Redis::OPT_PREFIX, 'app:');
        $out = [$r->set('k', 'v', ['nx', 'ex' => 1000]), $r->get('k'), $r->mget(['k', 'none'])];
        $r->multi(Redis::PIPELINE); $r->incr('n'); $r->hset('h', 'f', '1'); $out[] = $r->exec();
        $r->multi(); $r->incr('n'); $out[] = $r->exec();
        $out[] = $r->eval('return {KEYS[1], ARGV[1]}', ['k', 'x'], 1);
        $r->xAdd('s', '*', ['m' => '{}']);
        $r->xGroup('CREATE', 's', 'g', '0');
        $out[] = count($r->xReadGroup('g', 'c', ['s' => '>'], 1));
        $it = null; $out[] = $r->scan($it, 'app:k');
        $r->rawCommand('CLIENT', 'SETNAME', 'php'); $out[] = $r->client('getname');
        echo json_encode($out);
    "#;
    let store = Store::start(None, &[]);
    let output = std::process::Command::new("php")
        .args(["-r", SCRIPT, "--", &store.address.port().to_string()])
        .output()
        .expect("the package php-cli is installed");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let expect = r#"[true,"v",["v",false],[1,1],[2],["app:k","x"],1,["app:k"],"php"]"#;
    assert_eq!(text, expect, "are the packages php-cli and php-redis installed?");
}
