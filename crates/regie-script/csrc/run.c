/* Opening, compiling, running. Each entry is one protected call; the state is as before when it returns. */

static void rl_tick(lua_State *L, lua_Debug *place) {
    (void)place;
    struct rl_state *state = rl_of(L);
    if (!state->host) return;
    if (!state->stopped && !state->host->tick(state->host->context)) return;
    /* From now on at each line, so that no pcall goes on after catching the error. */
    state->stopped = 1;
    lua_sethook(L, rl_tick, LUA_MASKLINE, 0);
    rl_raise(L, state->loading ? "FUNCTION LOAD timeout" : "Script killed by user with SCRIPT KILL...");
}

/* In Redis a search has no end but its own. As in a hook, no hook is called while the error is on its way. */
static void rl_match_tick(lua_State *L) {
    lu_byte allowed = L->allowhook;
    L->allowhook = 0;
    rl_tick(L, NULL);
    L->allowhook = allowed;
}

/* All Lua runs below protected calls, so this is not reached unless one of them is missing. */
static int rl_panic(lua_State *L) {
    fprintf(stderr, "regie-script: unprotected Lua error: %s\n", lua_tostring(L, -1));
    abort();
}

struct rl_state *rl_open(int functions, size_t memory_limit, uint64_t *random) {
    struct rl_state *state = calloc(1, sizeof(*state));
    if (!state) return NULL;
    state->arena = state->fresh = malloc(RL_ARENA);
    if (!state->arena) {
        free(state);
        return NULL;
    }
    state->arena_end = state->arena + RL_ARENA;
    state->functions = functions;
    state->random = random;
    state->L = lua_newstate(rl_allocate, state);
    if (!state->L) {
        free(state->arena);
        free(state);
        return NULL;
    }
    lua_atpanic(state->L, rl_panic);
    if (lua_cpcall(state->L, rl_open_sandbox, NULL) != 0) {
        rl_close(state);
        return NULL;
    }
    lua_settop(state->L, 0);
    lua_sethook(state->L, rl_tick, LUA_MASKCOUNT, RL_TICK);
    rl_collect(state);
    state->limit = memory_limit;
    return state;
}

void rl_close(struct rl_state *state) {
    lua_close(state->L);
    while (state->pack_buffers) mp_buf_drop(state);
    rl_drop(state, &state->out);
    rl_drop(state, &state->json);
    rl_drop(state, &state->scratch);
    rl_drop(state, &state->digits);
    if (state->args) rl_allocate(state, state->args, state->args_capacity * sizeof(struct rl_slice), 0);
    free(state->arena);
    free(state);
}

size_t rl_memory(const struct rl_state *state) {
    return state->used;
}

int rl_json_is_plain(const struct rl_state *state) {
    return !state->json_options_set;
}

static int rl_collect_protected(lua_State *L) {
    lua_gc(L, LUA_GCCOLLECT, 0);
    return 0;
}

/* The collector needs a little memory itself, at the limit too. */
static void rl_collect_by(struct rl_state *state, lua_CFunction collect) {
    size_t limit = state->limit;
    state->limit = 0;
    lua_cpcall(state->L, collect, NULL);
    lua_settop(state->L, 0);
    state->limit = limit;
}

void rl_collect(struct rl_state *state) {
    rl_collect_by(state, rl_collect_protected);
}

void rl_release(struct rl_state *state, int reference) {
    luaL_unref(state->L, LUA_REGISTRYINDEX, reference);
}

/* What a protected call works on. */
struct rl_job {
    struct rl_state *state;
    struct rl_slice code, name;
    const struct rl_slice *keys, *args;
    size_t key_count, arg_count;
    int reference, resp;
    struct rl_result *result;
};

static void rl_begin(struct rl_state *state, const struct rl_host *host, int loading) {
    state->host = host;
    state->loading = loading;
    state->stopped = 0;
    state->resp = 2;
    state->replicate = 3;
    state->out.length = 0;
}

static void rl_trim(struct rl_state *state, struct rl_buffer *buffer) {
    if (buffer->capacity > RL_KEPT_BUFFER) rl_drop(state, buffer);
}

static void rl_finish(struct rl_state *state) {
    state->host = NULL;
    state->loading = 0;
    lua_settop(state->L, 0);
    if (state->stopped || (state->L->hookmask & LUA_MASKLINE))
        lua_sethook(state->L, rl_tick, LUA_MASKCOUNT, RL_TICK);
    state->stopped = 0;
    /* What collectgarbage has set holds for one script. */
    global_State *g = G(state->L);
    g->gcpause = LUAI_GCPAUSE;
    g->gcstepmul = LUAI_GCMUL;
    if (g->GCthreshold > g->totalbytes * 4 + ((size_t)1 << 20)) g->GCthreshold = g->totalbytes;
    while (state->pack_buffers) mp_buf_drop(state);
    rl_trim(state, &state->json);
    rl_trim(state, &state->scratch);
    rl_trim(state, &state->digits);
    if (luaZ_sizebuffer(&g->buff) > RL_KEPT_BUFFER) luaZ_freebuffer(state->L, &g->buff);
}

/* Turns a job that ended by a Lua error outside of the script into a failed result: in practice, no memory. */
static void rl_fail(struct rl_state *state, struct rl_result *result, const char *before) {
    const char *words = lua_isstring(state->L, -1) ? lua_tostring(state->L, -1) : "execution failure";
    static const char no_memory[] = "not enough memory";
    size_t length = strlen(before) + strlen(words);
    result->failed = 1;
    result->counted = 1;
    state->out.length = 0;
    if (state->out.capacity < length) {
        rl_drop(state, &state->out);
        state->out.data = rl_allocate(state, NULL, 0, length);
        if (!state->out.data) {
            result->text = (struct rl_slice){no_memory, sizeof(no_memory) - 1};
            return;
        }
        state->out.capacity = length;
    }
    memcpy(state->out.data, before, strlen(before));
    memcpy(state->out.data + strlen(before), words, length - strlen(before));
    state->out.length = length;
    result->text = (struct rl_slice){state->out.data, length};
}

static void rl_text(struct rl_job *job) {
    struct rl_buffer *out = &job->state->out;
    job->result->text = (struct rl_slice){out->length ? out->data : "", out->length};
}

/* ---- Compiling ---- */

static int rl_compile_protected(lua_State *L) {
    struct rl_job *job = lua_touserdata(L, 1);
    lua_settop(L, 0);
    if (luaL_loadbuffer(L, job->code.data, job->code.length, "@user_script") != 0) {
        size_t length;
        const char *words = lua_tolstring(L, -1, &length);
        rl_append(L, &job->state->out, words, strlen(words));
        job->result->failed = 1;
        rl_text(job);
        return 0;
    }
    job->reference = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

int rl_compile(struct rl_state *state, struct rl_slice body, int *reference, struct rl_result *result) {
    struct rl_job job = {.state = state, .code = body, .reference = LUA_NOREF, .result = result};
    *result = (struct rl_result){.counted = 1};
    rl_begin(state, NULL, 0);
    if (lua_cpcall(state->L, rl_compile_protected, &job) != 0) rl_fail(state, result, "");
    rl_finish(state);
    *reference = job.reference;
    return result->failed;
}

/* ---- Errors of scripts ---- */

/* The text of a field that is a string or a number, else NULL. Pushes it. */
static const char *rl_error_field(lua_State *L, const char *name) {
    lua_getfield(L, 1, name);
    return lua_isstring(L, -1) ? lua_tostring(L, -1) : NULL;
}

/* Writes the error line for the error value at 1: a table that the handler has seen, or a bare message. */
static int rl_describe_error(lua_State *L) {
    struct rl_job *job = lua_touserdata(L, 2);
    struct rl_buffer *out = &job->state->out;
    out->length = 0;
    job->result->failed = 1;
    job->result->counted = 1;
    if (!lua_istable(L, 1)) {
        const char *words = lua_isstring(L, 1) ? lua_tostring(L, 1) : "execution failure";
        size_t length = strlen(words);
        rl_append(L, out, "ERR Error running script ", 25);
        rl_append(L, out, job->name.data, job->name.length);
        rl_append(L, out, ", ", 2);
        rl_append(L, out, words, length > 100 ? 100 : length);
    } else {
        const char *words = rl_error_field(L, "err"), *source = rl_error_field(L, "source");
        const char *line = rl_error_field(L, "line");
        if (!words) words = "ERR unknown error";
        rl_append(L, out, words, strlen(words));
        if (line && source) {
            rl_append(L, out, " script: ", 9);
            rl_append(L, out, job->name.data, job->name.length);
            rl_append(L, out, ", on ", 5);
            rl_append(L, out, source, strlen(source));
            rl_append(L, out, ":", 1);
            rl_append(L, out, line, strlen(line));
            rl_append(L, out, ".", 1);
        }
        lua_getfield(L, 1, "ignore_error_stats_update");
        if (lua_isboolean(L, -1) && lua_toboolean(L, -1)) job->result->counted = 0;
    }
    while (out->length > 0 && (out->data[out->length - 1] == '\r' || out->data[out->length - 1] == '\n')) out->length--;
    for (size_t i = 0; i < out->length; i++)
        if (out->data[i] == '\r' || out->data[i] == '\n') out->data[i] = ' ';
    rl_text(job);
    return 0;
}

/* ---- Running ---- */

/* Pushes a table with an array part as it would have grown. */
static void rl_push_strings(lua_State *L, const struct rl_slice *strings, size_t count) {
    lua_createtable(L, rl_grown_size(count), 0);
    Table *table = hvalue(L->top - 1);
    for (size_t i = 0; i < count; i++) {
        lua_pushlstring(L, strings[i].data, strings[i].length);
        setobj2t(L, &table->array[i], L->top - 1);
        luaC_barriert(L, table, L->top - 1);
        L->top--;
    }
}

/* Sets a global past the protection. */
static void rl_set_global(lua_State *L, TString *name) {
    Table *globals = hvalue(gt(L));
    setobj2t(L, luaH_setstr(L, globals, name), L->top - 1);
    luaC_barriert(L, globals, L->top - 1);
    L->top--;
}

static int rl_run_protected(lua_State *L) {
    struct rl_job *job = lua_touserdata(L, 1);
    struct rl_state *state = job->state;
    /* As deep as Redis calls it from, so that recursion ends at the same depth. */
    unsigned short calls = L->nCcalls;
    L->nCcalls = 0;
    lua_settop(L, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, state->handler);
    lua_rawgeti(L, LUA_REGISTRYINDEX, job->reference);
    rl_push_strings(L, job->keys, job->key_count);
    if (!state->functions) rl_set_global(L, state->names[NAME_KEYS]);
    rl_push_strings(L, job->args, job->arg_count);
    if (!state->functions) rl_set_global(L, state->names[NAME_ARGV]);
    int status = lua_pcall(L, state->functions ? 2 : 0, 1, 1);
    state->out.length = 0;
    if (status != 0) {
        lua_remove(L, 1);
        lua_pushlightuserdata(L, job);
        rl_describe_error(L);
    } else {
        struct rl_writer writer = {L, state, &state->out, job->resp};
        rl_put(&writer, L->top - 1, 2);
        rl_text(job);
    }
    L->nCcalls = calls;
    return 0;
}

static int rl_step_protected(lua_State *L) {
    lua_gc(L, LUA_GCSTEP, 50);
    return 0;
}

/* Redis takes 50 steps each 50 scripts; so does this. After a failure all that it held goes at once. */
static void rl_collect_some(struct rl_state *state, int failed) {
    if (failed && state->used > ((size_t)1 << 19)) {
        /* Each time the table of strings becomes half as large. */
        size_t before;
        do {
            before = state->used;
            rl_collect(state);
        } while (state->used < before / 8 * 7);
    } else if (++state->runs == 50) {
        state->runs = 0;
        rl_collect_by(state, rl_step_protected);
    }
}

void rl_run(struct rl_state *state, const struct rl_host *host, int reference, struct rl_slice name,
            const struct rl_slice *keys, size_t key_count, const struct rl_slice *args, size_t arg_count, int resp,
            struct rl_result *result) {
    struct rl_job job = {.state = state, .name = name, .keys = keys, .args = args, .key_count = key_count,
                         .arg_count = arg_count, .reference = reference, .resp = resp, .result = result};
    *result = (struct rl_result){.counted = 1};
    rl_trim(state, &state->out);
    rl_begin(state, host, 0);
    if (lua_cpcall(state->L, rl_run_protected, &job) != 0) rl_fail(state, result, "ERR Error running script, ");
    rl_finish(state);
    rl_collect_some(state, result->failed);
}

/* ---- Loading a library ---- */

/* Exchanges what the libraries' globals inherit from. */
static void rl_inherit(lua_State *L, const char *globals) {
    lua_getmetatable(L, LUA_GLOBALSINDEX);
    lua_enablereadonlytable(L, -1, 0);
    lua_getfield(L, LUA_REGISTRYINDEX, globals);
    lua_setfield(L, -2, "__index");
    lua_enablereadonlytable(L, -1, 1);
    lua_pop(L, 1);
}

static int rl_load_protected(lua_State *L) {
    struct rl_job *job = lua_touserdata(L, 1);
    struct rl_buffer *out = &job->state->out;
    lua_settop(L, 0);
    rl_inherit(L, RL_LIBRARY_GLOBALS);
    if (luaL_loadbuffer(L, job->code.data, job->code.length, "@user_function") != 0) {
        const char *words = lua_tostring(L, -1);
        rl_append(L, out, "ERR Error compiling function: ", 30);
        rl_append(L, out, words, strlen(words));
        job->result->failed = 1;
        rl_text(job);
        return 0;
    }
    if (lua_pcall(L, 0, 0, 0) != 0) {
        rl_append(L, out, "ERR Error registering functions: ", 33);
        const char *words = "execution failure";
        if (lua_istable(L, -1)) {
            lua_getfield(L, -1, "err");
            if (lua_isstring(L, -1)) words = lua_tostring(L, -1);
        } else if (lua_isstring(L, -1)) {
            rl_append(L, out, "ERR ", 4);
            words = lua_tostring(L, -1);
        }
        rl_append(L, out, words, strlen(words));
        job->result->failed = 1;
        rl_text(job);
    }
    return 0;
}

static int rl_restore_globals(lua_State *L) {
    rl_inherit(L, RL_FUNCTION_GLOBALS);
    return 0;
}

int rl_load(struct rl_state *state, const struct rl_host *host, struct rl_slice code, struct rl_result *result) {
    struct rl_job job = {.state = state, .code = code, .result = result};
    *result = (struct rl_result){.counted = 1};
    rl_trim(state, &state->out);
    rl_begin(state, host, 1);
    if (lua_cpcall(state->L, rl_load_protected, &job) != 0)
        rl_fail(state, result, "ERR Error registering functions: ERR ");
    lua_settop(state->L, 0);
    size_t limit = state->limit;
    state->limit = 0; /* this must not fail */
    lua_cpcall(state->L, rl_restore_globals, NULL);
    state->limit = limit;
    rl_finish(state);
    return result->failed;
}
