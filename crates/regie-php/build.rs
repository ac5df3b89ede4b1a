//! libphp and what it loads find these functions in this program, in place of libc's (see `rewind_kernel.c` and
//! `rewind_engine.c` of `regie-php-sys`). Those that libphp itself calls are exported by the linker anyway.

const IN_PLACE_OF_LIBC: &[&str] = &[
    "arc4random",
    "arc4random_buf",
    "catclose",
    "dlclose",
    "dlopen",
    "freelocale",
    "getentropy",
    "getrandom",
    "iconv_close",
    "iconv_open",
    "initgroups",
    "madvise",
    "mprotect",
    "mremap",
    "newlocale",
    "pthread_create",
    "sched_setaffinity",
    "setgroups",
    "setlocale",
    "setpriority",
    "setregid",
    "setresgid",
    "setresuid",
    "setreuid",
    "setrlimit",
    "setrlimit64",
    "timer_create",
    "unshare",
];

#[expect(clippy::disallowed_macros, reason = "this is how a build script speaks to Cargo")]
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for name in IN_PLACE_OF_LIBC {
        println!("cargo:rustc-link-arg-bins=-Wl,--export-dynamic-symbol={name}");
    }
}
