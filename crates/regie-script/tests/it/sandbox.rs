//! What scripts must not reach, what the host is told, what stays after a script.

use regie_resp::Frame;
use regie_script::{Engine, Limits, LogLevel, Replicate};

use crate::fake::{Fake, eval, text};

#[test]
fn ways_out_are_closed() {
    let mut engine = Engine::new(Limits::default());
    let mut host = Fake::default();
    let readonly = "ERR user_script:1: Attempt to modify a readonly table";
    let missing = "ERR user_script:1: Script attempted to access nonexistent global variable";
    let table = [
        ("return io.open('/etc/passwd')", missing),
        ("return os.execute('id')", missing),
        ("return package.loadlib('x','y')", missing),
        ("return debug.getregistry()", missing),
        ("return require('os')", missing),
        ("return dofile('/etc/passwd')", missing),
        ("return loadfile('/etc/passwd')", missing),
        ("return getfenv(1)", missing),
        ("return setfenv(1, {})", missing),
        ("return newproxy(true)", missing),
        ("_G.x = 1", readonly),
        ("rawset(_G, 'x', 1)", "ERR Attempt to modify a readonly table"),
        ("getmetatable(_G).__index = nil", readonly),
        ("getmetatable('').__index = function() end", readonly),
        ("string.len = nil", readonly),
        ("redis.call = nil", readonly),
        ("cjson.encode = nil", readonly),
        ("setmetatable(_G, {})", "ERR Attempt to modify a readonly table"),
        ("setmetatable(redis, {})", "ERR Attempt to modify a readonly table"),
        (
            "return loadstring(string.dump(function() return 1 end))()",
            "ERR user_script:1: attempt to call a nil value",
        ),
        ("return loadstring('x = 1')()", "ERR [string \"x = 1\"]:1: Attempt to modify a readonly table"),
    ];
    for (script, expect) in table {
        let line = text(&mut engine, &mut host, script);
        assert!(line.starts_with(expect), "{script}: {line}");
    }
}

#[test]
fn scripts_leave_nothing_behind() {
    let mut engine = Engine::new(Limits::default());
    let mut host = Fake::default();
    eval(&mut engine, &mut host, "redis.setresp(3) redis.set_repl(0) KEYS.x = 1 ARGV = nil", &["a"], &["b"])
        .unwrap_err();
    eval(&mut engine, &mut host, "redis.setresp(3) redis.set_repl(0) KEYS.x = 1", &["a"], &["b"]).unwrap();
    eval(&mut engine, &mut host, "collectgarbage('stop') collectgarbage('setpause', 100000)", &[], &[])
        .unwrap();
    host.calls.clear();
    assert_eq!(
        text(&mut engine, &mut host, "redis.call('llen', 'l') return tostring(KEYS.x) .. #KEYS .. #ARGV"),
        "nil00"
    );
    assert_eq!(host.calls, [Replicate { append_only_file: true, replicas: true }]);
    assert_eq!(text(&mut engine, &mut host, "return true"), "1", "RESP 2 again");
    for _ in 0..2_000 {
        text(&mut engine, &mut host, "local t = {} for i = 1, 200 do t[i] = {i} end return 1");
    }
    assert!(engine.memory() < 2_000_000, "the collector works: {}", engine.memory());
}

#[test]
fn the_host_is_told() {
    let mut engine = Engine::new(Limits::default());
    let mut host = Fake::default();
    text(
        &mut engine,
        &mut host,
        "redis.log(redis.LOG_WARNING, 'a', 5, true, 'b') redis.log(redis.LOG_DEBUG, 'quiet')",
    );
    assert_eq!(host.log, [(LogLevel::Warning, "a 5 b".to_owned())]);
    text(
        &mut engine,
        &mut host,
        "redis.set_repl(redis.REPL_AOF) redis.call('llen','l') redis.set_repl(0) redis.call('llen','l')",
    );
    let only = |append_only_file, replicas| Replicate { append_only_file, replicas };
    assert_eq!(host.calls, [only(true, false), only(false, false)]);
    assert_eq!(text(&mut engine, &mut host, "return redis.acl_check_cmd('get', 'a')"), "1");
    assert_eq!(
        eval(&mut engine, &mut host, "return redis.acl_check_cmd('flushall')", &[], &[]),
        Ok(Frame::Null)
    );
    let line = text(&mut engine, &mut host, "return redis.acl_check_cmd('nosuch')");
    assert!(line.starts_with("ERR Invalid command passed to redis.acl_check_cmd() script: "), "{line}");
}

#[test]
fn errors_are_counted_once() {
    let mut engine = Engine::new(Limits::default());
    let mut host = Fake::default();
    let run = |engine: &mut Engine, host: &mut Fake, script: &str| {
        let id = engine.prepare(script.as_bytes()).unwrap();
        let mut out = regie_resp::Encoder::default();
        engine.run(id, &[], &[], host, &mut out).map_err(|error| error.counted)
    };
    assert_eq!(
        run(&mut engine, &mut host, "return redis.call('fail', 'MY fault')"),
        Err(false),
        "the command counted it"
    );
    assert_eq!(run(&mut engine, &mut host, "error('x')"), Err(true));
    assert_eq!(run(&mut engine, &mut host, "return redis.pcall('fail', 'MY fault')"), Ok(()));
    assert_eq!(host.errors, [""; 0]);
    assert_eq!(
        run(&mut engine, &mut host, "return {1, redis.error_reply('OWN fault'), {err = 'OTHER one'}}"),
        Ok(())
    );
    assert_eq!(host.errors, ["OWN fault", "OTHER one"]);
}

/// A host that writes nonsense is a fault of ours, and must not be read past its end.
#[test]
fn malformed_replies() {
    let mut engine = Engine::new(Limits::default());
    let mut host = Fake::default();
    for bytes in [
        "",
        "$",
        "$5\r\nab\r\n",
        "$99999999999999999999\r\n",
        "*3\r\n:1\r\n",
        "*99999999\r\n",
        ":x\r\n",
        "+a",
        "?\r\n",
        "%2\r\n+a\r\n",
        "=2\r\nab\r\n",
        "*-1",
    ] {
        let script = "return redis.call('raw', ARGV[1])";
        let line = eval(&mut engine, &mut host, script, &[], &[bytes]).unwrap_err();
        assert!(line.starts_with("ERR user_script:1: malformed reply"), "{bytes:?}: {line}");
    }
}

#[test]
fn scripts_by_name() {
    let mut engine = Engine::new(Limits { eval_scripts: 8, ..Limits::default() });
    let mut host = Fake::default();
    let loaded = engine.load(b"return 'loaded'").unwrap();
    let sha = engine.script(loaded).unwrap().sha.hex();
    assert_eq!(engine.find(&sha.to_ascii_uppercase()), Some(loaded));
    assert_eq!(engine.find(b"0000000000000000000000000000000000000000"), None);
    assert_eq!(engine.find(b"short"), None);
    let first = engine.prepare(b"return 0").unwrap();
    for number in 1..100 {
        engine.prepare(format!("return {number}").as_bytes()).unwrap();
        engine.prepare(b"return 'used again and again'").unwrap();
    }
    assert!(engine.len() <= 9, "{} scripts", engine.len());
    assert!(engine.script(first).is_none());
    let mut out = regie_resp::Encoder::default();
    let gone = engine.run(first, &[], &[], &mut host, &mut out).unwrap_err();
    assert_eq!(gone.to_string(), "NOSCRIPT No matching script. Please use EVAL.");
    engine.run(loaded, &[], &[], &mut host, &mut out).unwrap();
    assert_eq!(out.bytes, b"$6\r\nloaded\r\n");
    engine.flush();
    assert!(engine.is_empty() && engine.script(loaded).is_none());
    let again = engine.prepare(b"return 'loaded'").unwrap();
    assert_ne!(again, loaded);
}
