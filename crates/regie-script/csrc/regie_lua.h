/* The border between the Rust engine and the Lua core: `ffi.rs` mirrors every line of it.
 *
 *   Rust                                   C
 *   Engine::run ──────────────────────────▶ rl_run ─▶ lua_cpcall ─▶ script
 *   Host::call  ◀── (rl_host.call, a leaf) ─── redis.call
 *   reply bytes ──────────────────────────▶ Lua values
 *   result      ◀────────────────────────── rl_run returns; the bytes lie in `rl_result.text`
 *
 * A Lua error is a longjmp. It never crosses a Rust frame: all Lua runs below a protected call made here, and what Rust
 * offers in `rl_host` are leaves that return before C goes on and never call back into this file. */

#ifndef REGIE_LUA_H
#define REGIE_LUA_H

#include <stddef.h>
#include <stdint.h>

struct rl_slice {
    const char *data;
    size_t length;
};

/* What a script can reach while it runs. Slices given out stay valid until the next call of the same function. */
struct rl_host {
    void *context;
    /* Called by redis.call and redis.pcall: runs the command and gives its reply in RESP `resp` (2 or 3). `replicate`
     * is the sum of 1 (append-only file) and 2 (replicas), as redis.set_repl left it. */
    void (*call)(void *context, const struct rl_slice *args, size_t count, int resp, int replicate,
                 struct rl_slice *reply);
    /* Called by redis.acl_check_cmd: 1 allowed, 0 forbidden, -1 no such command. */
    int (*may_call)(void *context, const struct rl_slice *args, size_t count);
    /* Called by redis.log. */
    int (*log_level)(void *context);
    void (*log)(void *context, int level, struct rl_slice message);
    /* Called each 100,000 instructions: not 0 ends the script. */
    int (*tick)(void *context);
    /* Called for each error in a result that error statistics should count. */
    void (*count_error)(void *context, struct rl_slice line);
    /* Called by redis.register_function: NULL, or why the function is refused. Then `reference` is released here. */
    const char *(*register_function)(void *context, struct rl_slice name, const struct rl_slice *description, int flags,
                                     int reference);
    /* Called by redis.sha1hex: writes 40 hexadecimal digits. */
    void (*sha1hex)(struct rl_slice text, char *digits);
};

struct rl_result {
    int failed;                 /* `text` is an error line without `-`, else a reply in RESP */
    int counted;                /* for an error: error statistics should count it */
    struct rl_slice text;       /* valid until the next call on the same state */
};

struct rl_state;

/* What `random` of rl_open holds at first. */
#define RL_FIRST_RANDOM 0x1234ABCD330EULL

/* NULL when there is no memory. `functions`: the state of FUNCTION libraries, else that of EVAL. `random`: the generator
 * of math.random, which must outlive the state. */
struct rl_state *rl_open(int functions, size_t memory_limit, uint64_t *random);
void rl_close(struct rl_state *state);

/* Compiles a script's body. 0 and `reference`, or 1 and the compiler's words in `result`. */
int rl_compile(struct rl_state *state, struct rl_slice body, int *reference, struct rl_result *result);
/* Compiles and runs a library's code, which registers its functions. */
int rl_load(struct rl_state *state, const struct rl_host *host, struct rl_slice code, struct rl_result *result);
void rl_release(struct rl_state *state, int reference);

/* Runs a compiled script (or a library's function) and writes its result in RESP `resp`. `name` stands in errors. */
void rl_run(struct rl_state *state, const struct rl_host *host, int reference, struct rl_slice name,
            const struct rl_slice *keys, size_t key_count, const struct rl_slice *args, size_t arg_count, int resp,
            struct rl_result *result);

/* Bytes that the state holds. */
size_t rl_memory(const struct rl_state *state);
/* Whether no script has set an option of cjson. */
int rl_json_is_plain(const struct rl_state *state);
void rl_collect(struct rl_state *state);

#endif
