//! Scripts without end, scripts without measure. After each, the next one works.

use regie_script::{Engine, Limits};

use crate::fake::{Fake, text};

#[test]
fn a_script_without_end_is_ended() {
    let mut engine = Engine::new(Limits::default());
    for script in [
        "while true do end",
        "local i = 0\nwhile true do i = i + 1 end",
        "while true do pcall(function() while true do end end) end",
        "while true do xpcall(function() while true do end end, function() end) end",
        "local function f() return f() end return f()",
        "coroutine.wrap(function() while true do end end)()",
        "repeat redis.call('llen', 'l') until false",
        "return string.find(string.rep('a', 40), string.rep('a?', 40) .. string.rep('a', 41))",
        "return string.gsub(string.rep('a', 1000000), '.-.-.-b', '')",
    ] {
        let mut host = Fake { patience: Some(3), ..Fake::default() };
        let line = text(&mut engine, &mut host, script);
        assert!(line.contains("Script killed by user with SCRIPT KILL..."), "{script}: {line}");
        assert!(line.starts_with("ERR "), "{line}");
        assert!(line.contains(" on @user_script:"), "{line}");
        assert_eq!(host.ticks, 4, "{script}");
        assert_eq!(text(&mut engine, &mut Fake::default(), "return 'fine'"), "fine");
    }
}

#[test]
fn a_script_without_measure_is_refused() {
    let limit = 16 << 20;
    let mut engine = Engine::new(Limits { memory: limit, ..Limits::default() });
    let mut host = Fake::default();
    for script in [
        "return string.rep('x', 1e9)",
        "local s = 'x' while true do s = s .. s end",
        "local t = {} for i = 1, 1e9 do t[i] = {} end",
        "local t = {} for i = 1, 1e9 do t['k' .. i] = i end",
        "local t = {} for i = 1, 200 do t[i] = string.rep('x', 100000) .. i end",
        "local s = string.rep('\\1', 4000000) return cjson.encode(s)",
        "local s = string.rep('x', 6000000) return cmsgpack.pack({s, s, s})",
        "local s = string.rep('x', 5000000) return {s, s, s, s}",
        "local s = string.rep('x', 5000000) return string.gsub(s, 'x', 'yyyyyyyy')",
        "return table.concat({string.rep('x', 5000000), string.rep('y', 5000000), string.rep('z', 5000000)})",
        "return loadstring('return {' .. string.rep('1,', 3000000) .. '}')()",
        "return cjson.decode('[' .. string.rep('{},', 1000000) .. '1]')",
        "local s = string.rep('x', 4000000) return struct.pack(string.rep('c4000000', 5), s, s, s, s, s)",
    ] {
        let line = text(&mut engine, &mut host, script);
        assert!(line.contains("not enough memory"), "{script}: {}", &line[..line.len().min(200)]);
        assert!(line.starts_with("ERR "), "{line}");
        assert!(engine.memory() < 1 << 20, "{script}: {} bytes stay", engine.memory());
        assert_eq!(text(&mut engine, &mut host, "return #string.rep('x', 4000000)"), "4000000");
    }
    // Garbage alone is no reason to refuse.
    let churn = "for i = 1, 100000 do local s = string.rep('x', 10000) .. i end return 'fine'";
    assert_eq!(text(&mut engine, &mut host, churn), "fine");
    // A script may catch it.
    let caught = "local ok, why = pcall(string.rep, 'x', 1e9) return tostring(ok) .. ' ' .. why";
    assert_eq!(text(&mut engine, &mut host, caught), "false not enough memory");
}

#[test]
fn a_script_that_is_too_large_to_compile_is_refused() {
    let mut engine = Engine::new(Limits { memory: 1 << 20, ..Limits::default() });
    let body = format!("return {{{}}}", "{},".repeat(200_000));
    let error = engine.prepare(body.as_bytes()).unwrap_err().to_string();
    assert!(error.starts_with("ERR Error compiling script (new function): "), "{error}");
    assert_eq!(text(&mut engine, &mut Fake::default(), "return 'fine'"), "fine");
}

/// Depth is bounded before the stack of a thread of 2 MB is: here the test's own.
#[test]
fn depth_is_bounded() {
    let mut engine = Engine::new(Limits::default());
    let mut host = Fake::default();
    for (script, words) in [
        ("local function f() return 1 + f() end return f()", "stack overflow"),
        (
            "local t = {} t.__index = function(t, k) return t[k] end return setmetatable(t, t).x",
            "C stack overflow",
        ),
        ("local f f = function() return pcall(f) end return tostring(f())", "true"),
        ("local f f = function() return string.gsub('a', 'a', f) end f()", "C stack overflow"),
        (
            "return loadstring('return ' .. string.rep('(', 300) .. '1' .. string.rep(')', 300))()",
            "attempt to call a nil value",
        ),
        ("return cmsgpack.unpack(string.rep('\\145', 20000))", "stack overflow"),
        ("return #cjson.encode(cjson.decode(string.rep('[', 1000) .. '1' .. string.rep(']', 1000)))", "2001"),
        ("return string.find(string.rep('a', 220000), string.rep('(', 40))", "too many captures"),
        ("return tostring(string.find(string.rep('a', 3000), '.-b'))", "nil"),
        ("return string.find(string.rep('x', 300000), string.rep('x?', 300000))", "too complex"),
    ] {
        let line = text(&mut engine, &mut host, script);
        assert!(line.contains(words), "{script}: {}", &line[..line.len().min(200)]);
    }
}
