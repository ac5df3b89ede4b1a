//! Libraries, on both sides.

use regie_resp::{Encoder, Frame, Version, decode};
use regie_script::{Engine, Limits, Restore};

use crate::fake::Fake;
use crate::redis::{RedisHost, Server};

const CODES: &[&str] = &[
    "#!lua name=a\nredis.register_function('fa', function(keys, args) return {keys, args} end)",
    "#!lua name=a\nredis.register_function('fa', function() return 1 end)",
    "#!lua name=b\nredis.register_function('FA', function() return 1 end)",
    "#!LUA NAME=b\nredis.register_function{function_name='fb', callback=function(k, a) return redis.call('get', k[1]) end, flags={'no-writes'}, description='reads'}",
    "#!lua name=c\nlocal x = string.len('abc') redis.register_function('fc', function() return x end)",
    "#!lua name=c\nlocal n = 0\nredis.register_function('fc', function() n = n + 1 return n end)\nredis.register_function('fc2', function() return n end)",
    "#!lua name=d\nredis.register_function('fd', function() error('boom') end)\nredis.register_function('fd2', function() return redis.call('nosuch') end)\nredis.register_function('fd3', function() return nosuch end)\nredis.register_function('fd4', function() x = 1 end)\nredis.register_function('fd5', function() return KEYS end)\nredis.register_function('fd6', function() return redis.register_function('q', function() end) end)\nredis.register_function('fd7', function() return {type(redis.call), type(math), type(_G), type(rawget(_G, 'redis'))} end)\nredis.register_function('fd8', function() return redis.breakpoint end)\nredis.register_function('fd9', function() return {math.random(100), redis.sha1hex('x')} end)",
    "",
    "redis.register_function('x', function() end)",
    "#!lua",
    "#!lua\nreturn 1",
    "#!lua name=\nreturn 1",
    "#!lua name=bad-name\nreturn 1",
    "#!lua name=x name=y\nreturn 1",
    "#!lua nome=x\nreturn 1",
    "#!lua name=x\nreturn 1",
    "#!python name=x\nreturn 1",
    "#! name=x\nreturn 1",
    "#!lua name=x\nreturn 1 +",
    "#!lua name=x\nerror('at load')",
    "#!lua name=x\nerror({err='AT load'})",
    "#!lua name=x\nreturn redis.call('ping')",
    "#!lua name=x\nreturn nosuch",
    "#!lua name=x\ny = 1",
    "#!lua name=x\nredis.register_function()",
    "#!lua name=x\nredis.register_function(1, 2, 3)",
    "#!lua name=x\nredis.register_function('f')",
    "#!lua name=x\nredis.register_function('f', 'g')",
    "#!lua name=x\nredis.register_function({}, function() end)",
    "#!lua name=x\nredis.register_function('bad-name', function() end)",
    "#!lua name=x\nredis.register_function('f', function() end) redis.register_function('f', function() end)",
    "#!lua name=x2\nredis.register_function(12, function() return 'twelve' end)",
    "#!lua name=x\nredis.register_function{}",
    "#!lua name=x\nredis.register_function{function_name='f'}",
    "#!lua name=x\nredis.register_function{callback=function() end}",
    "#!lua name=x\nredis.register_function{function_name={}, callback=function() end}",
    "#!lua name=x\nredis.register_function{function_name='f', callback=1}",
    "#!lua name=x\nredis.register_function{function_name='f', callback=function() end, flags='x'}",
    "#!lua name=x\nredis.register_function{function_name='f', callback=function() end, flags={'x'}}",
    "#!lua name=x\nredis.register_function{function_name='f', callback=function() end, flags={{}}}",
    "#!lua name=x\nredis.register_function{function_name='f', callback=function() end, description={}}",
    "#!lua name=x\nredis.register_function{function_name='f', callback=function() end, other=1}",
    "#!lua name=x\nredis.register_function{[{}]='f'}",
    "#!lua name=x\nredis.setresp(3)",
    "#!lua name=x\nredis.log(redis.LOG_DEBUG, 'x') return redis.REDIS_VERSION",
    "#!lua name=x\nmath.random()",
    "#!lua name=x\nredis.log = 1",
    "#!lua name=x\n_G.y = 1",
    "#!lua name=x\nredis.sha1hex('x')",
];

const CALLS: &[&str] = &[
    "fa", "FA", "fb", "fc", "fc", "fc2", "fd", "fd2", "fd3", "fd4", "fd5", "fd6", "fd7", "fd8", "fd9", "12",
    "nosuch", "f",
];

fn line(result: Result<Vec<u8>, regie_script::ScriptError>) -> String {
    match result {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => format!("-{error}\r\n"),
    }
}

#[test]
fn libraries_load_and_answer_as_in_redis() {
    let server = Server::start();
    let mut redis = server.connect(Version::Two, "1");
    let mut host = RedisHost::new(&server);
    let mut engine = Engine::new(Limits::default());
    let mut differences = Vec::new();
    for replace in [false, true] {
        for code in CODES {
            let mut command: Vec<&[u8]> = vec![b"FUNCTION", b"LOAD"];
            if replace {
                command.push(b"REPLACE");
            }
            command.push(code.as_bytes());
            let theirs = String::from_utf8_lossy(&redis.send(&command)).into_owned();
            let name = engine.load_library(code.as_bytes(), replace, &mut host);
            let ours = line(name.map(|name| {
                let mut reply = Encoder::default();
                reply.bulk(&name);
                reply.bytes
            }));
            if theirs != ours {
                differences.push(format!("{code}\n  redis {theirs:?}\n  ours  {ours:?}"));
            }
        }
        for name in CALLS {
            let theirs = redis.send(&[b"FCALL", name.as_bytes(), b"1", b"k", b"v", b"w"]);
            let mut out = Encoder::default();
            let result = engine.run_function(name.as_bytes(), &[b"k"], &[b"v", b"w"], &mut host, &mut out);
            let ours = line(result.map(|()| out.bytes));
            let theirs = String::from_utf8_lossy(&theirs).into_owned();
            if theirs != ours {
                differences.push(format!("FCALL {name}\n  redis {theirs:?}\n  ours  {ours:?}"));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(names(&engine), ["a", "b", "c", "d", "x2"]);
    let function = engine.function(b"fb").unwrap();
    assert_eq!(function.flags.names().collect::<Vec<_>>(), ["no-writes"]);
    assert_eq!(function.description.as_deref(), Some(&b"reads"[..]));

    // Each side reads what the other has written.
    let Some((Frame::Bulk(payload), _)) = decode(&redis.send(&[b"FUNCTION", b"DUMP"])).unwrap() else {
        panic!("no dump")
    };
    let mut copy = Engine::new(Limits::default());
    copy.restore_libraries(&payload, Restore::Append, &mut host).unwrap();
    assert_eq!(names(&copy), names(&engine));
    let codes = |engine: &Engine| engine.libraries().map(|library| library.code.clone()).collect::<Vec<_>>();
    assert_eq!(codes(&copy), codes(&engine));
    assert_eq!(redis.send(&[b"FUNCTION", b"RESTORE", &copy.dump_libraries(), b"FLUSH"]), b"+OK\r\n");
    assert_eq!(redis.send(&[b"FCALL", b"fc", b"0"]), b":1\r\n");
}

fn names(engine: &Engine) -> Vec<String> {
    engine.libraries().map(|library| String::from_utf8_lossy(&library.name).into_owned()).collect()
}

#[test]
fn restoring_is_all_or_nothing() {
    let library = |name: &str, function: &str| {
        format!("#!lua name={name}\nredis.register_function('{function}', function() return '{name}' end)")
    };
    let dump = |codes: &[String]| {
        let mut engine = Engine::new(Limits::default());
        for code in codes {
            engine.load_library(code.as_bytes(), false, &mut Fake::default()).unwrap();
        }
        engine.dump_libraries()
    };
    let mut host = Fake::default();
    let mut engine = Engine::new(Limits::default());
    engine.load_library(library("a", "f").as_bytes(), false, &mut host).unwrap();
    let mut restore = |engine: &mut Engine, codes: &[String], policy| {
        engine.restore_libraries(&dump(codes), policy, &mut host).map_err(|error| error.to_string())
    };
    let same_name = [library("b", "g"), library("a", "h")];
    assert_eq!(restore(&mut engine, &same_name, Restore::Append), Err("ERR Library a already exists".into()));
    let same_function = [library("b", "f")];
    assert_eq!(
        restore(&mut engine, &same_function, Restore::Replace),
        Err("ERR Function f already exists".into())
    );
    assert_eq!(names(&engine), ["a"]);
    assert_eq!(restore(&mut engine, &same_name, Restore::Replace), Ok(()));
    assert_eq!(names(&engine), ["a", "b"]);
    assert!(engine.function(b"f").is_err() && engine.function(b"h").is_ok());
    assert_eq!(restore(&mut engine, &same_function, Restore::Flush), Ok(()));
    assert_eq!(names(&engine), ["b"]);
    engine.delete_library(b"b").unwrap();
    assert_eq!(engine.delete_library(b"b").unwrap_err().to_string(), "ERR Library not found");
    engine.flush_libraries();
    assert_eq!(engine.function(b"f").unwrap_err().to_string(), "ERR Function not found");
    assert_eq!(engine.libraries_memory(), 0);
}

#[test]
fn a_library_that_loads_without_end_is_ended() {
    let mut engine = Engine::new(Limits::default());
    let mut host = Fake { patience: Some(2), ..Fake::default() };
    let error = engine.load_library(b"#!lua name=x\nwhile true do end", false, &mut host).unwrap_err();
    assert_eq!(error.to_string(), "ERR Error registering functions: ERR FUNCTION LOAD timeout");
    let code = b"#!lua name=x\nredis.register_function('f', function() return 7 end)";
    engine.load_library(code, false, &mut Fake::default()).unwrap();
    let mut out = Encoder::default();
    engine.run_function(b"f", &[], &[], &mut Fake::default(), &mut out).unwrap();
    assert_eq!(out.bytes, b":7\r\n");
}
