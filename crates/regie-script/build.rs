//! Compiles Lua and the border to it, as one translation unit.

fn main() {
    let mut build = cc::Build::new();
    build
        .std("gnu11")
        .opt_level(2)
        .warnings(true)
        .extra_warnings(false)
        .include("csrc/lua")
        .file("csrc/regie_lua.c");
    build.flag("-fno-strict-aliasing").flag("-Wno-unused-function").compile("regie_lua");
    for path in ["csrc", "csrc/lua", "csrc/lib"] {
        for entry in std::fs::read_dir(path).expect("the folder of C sources").flatten() {
            instruct(&format!("rerun-if-changed={}", entry.path().display()));
        }
    }
}

#[expect(clippy::disallowed_macros, reason = "this is how a build script speaks to Cargo")]
fn instruct(line: &str) {
    println!("cargo:{line}");
}
