/* The `redis` table: what scripts call. Names, argument rules and error texts are those of Redis 7.0. */

#define RL_VERSION "7.0.15"
#define RL_VERSION_NUMBER 0x0007000f

/* A script (not the loading of a library) is running. */
static int rl_running(struct rl_state *state) {
    return state->host != NULL && !state->loading;
}

/* Lays the arguments on the stack out as slices. They stay on the stack, so their bytes stay. NULL with an error pushed
 * when one is neither a string nor a number. */
static struct rl_slice *rl_arguments(lua_State *L, size_t *count) {
    struct rl_state *state = rl_of(L);
    size_t n = (size_t)lua_gettop(L);
    if (n == 0) {
        rl_push_error_text(L, "Please specify at least one argument for this redis lib call");
        return NULL;
    }
    if (state->args_capacity < n) {
        size_t capacity = n < 64 ? 64 : n;
        void *args = rl_allocate(state, state->args, state->args_capacity * sizeof(struct rl_slice),
                                 capacity * sizeof(struct rl_slice));
        if (!args) luaD_throw(L, LUA_ERRMEM);
        state->args = args;
        state->args_capacity = capacity;
    }
    state->digits.length = 0;
    rl_reserve(L, &state->digits, n * 32);
    char *digits = state->digits.data;
    for (size_t i = 0; i < n; i++) {
        const TValue *value = L->base + i;
        if (ttisstring(value)) {
            state->args[i] = (struct rl_slice){svalue(value), tsvalue(value)->len};
        } else if (ttisnumber(value)) {
            double number = nvalue(value);
            long long whole = fabs(number) < 1e17 ? (long long)number : 0;
            size_t length;
            if ((double)whole == number && (whole != 0 || !signbit(number))) length = rl_print_integer(digits, whole);
            else length = (size_t)snprintf(digits, 32, "%.17g", number);
            state->args[i] = (struct rl_slice){digits, length};
            digits += 32;
        } else {
            lua_settop(L, 0);
            rl_push_error_text(L, "Lua redis lib command arguments must be strings or integers");
            return NULL;
        }
    }
    *count = n;
    return state->args;
}

static int rl_call_command(lua_State *L, int raise) {
    struct rl_state *state = rl_of(L);
    if (!rl_running(state)) return rl_raise(L, "redis.call/pcall can only be called inside a script invocation");
    size_t count;
    const struct rl_slice *args = rl_arguments(L, &count);
    if (!args) return raise ? lua_error(L) : 1;
    struct rl_slice reply = {NULL, 0};
    state->host->call(state->host->context, args, count, state->resp, state->replicate, &reply);
    struct rl_reader reader = {L, reply.data, reply.data + reply.length, state->resp};
    lua_settop(L, 0);
    raise = raise && reply.length > 0 && reply.data[0] == '-';
    rl_push_reply(&reader);
    return raise ? lua_error(L) : 1;
}

static int rl_redis_call(lua_State *L) {
    return rl_call_command(L, 1);
}

static int rl_redis_pcall(lua_State *L) {
    return rl_call_command(L, 0);
}

/* The global pcall: an error table that a command raised is given as its text, as before Redis 7. */
static int rl_pcall(lua_State *L) {
    int count = lua_gettop(L);
    lua_pushboolean(L, 1);
    lua_insert(L, 1);
    if (lua_pcall(L, count - 1, LUA_MULTRET, 0)) {
        lua_remove(L, 1);
        if (lua_istable(L, -1)) {
            lua_getfield(L, -1, "err");
            if (lua_isstring(L, -1)) lua_replace(L, -2);
        }
        lua_pushboolean(L, 0);
        lua_insert(L, 1);
    }
    return lua_gettop(L);
}

static int rl_redis_sha1hex(lua_State *L) {
    if (lua_gettop(L) != 1) return rl_raise(L, "wrong number of arguments");
    struct rl_state *state = rl_of(L);
    struct rl_slice text = {NULL, 0};
    char digits[40];
    text.data = lua_tolstring(L, 1, &text.length);
    if (!text.data) text = (struct rl_slice){"", 0};
    if (!state->host) return rl_raise(L, "redis.sha1hex can only be called inside a script invocation");
    state->host->sha1hex(text, digits);
    lua_pushlstring(L, digits, sizeof(digits));
    return 1;
}

static int rl_one_string(lua_State *L) {
    if (lua_gettop(L) == 1 && lua_type(L, -1) == LUA_TSTRING) return 1;
    rl_push_error_text(L, "wrong number or type of arguments");
    return 0;
}

static int rl_redis_error_reply(lua_State *L) {
    if (!rl_one_string(L)) return 1;
    const char *text = lua_tostring(L, 1);
    if (text[0] != '-') {
        lua_pushliteral(L, "-");
        lua_pushvalue(L, 1);
        lua_concat(L, 2);
        text = lua_tostring(L, -1);
    }
    rl_push_error_text(L, text);
    return 1;
}

static int rl_redis_status_reply(lua_State *L) {
    if (!rl_one_string(L)) return 1;
    lua_newtable(L);
    lua_pushvalue(L, 1);
    lua_setfield(L, -2, "ok");
    return 1;
}

static int rl_redis_set_repl(lua_State *L) {
    struct rl_state *state = rl_of(L);
    if (!rl_running(state)) return rl_raise(L, "redis.set_repl can only be called inside a script invocation");
    if (lua_gettop(L) != 1) return rl_raise(L, "redis.set_repl() requires two arguments.");
    int flags = (int)lua_tonumber(L, -1);
    if ((flags & ~3) != 0)
        return rl_raise(L, "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.");
    state->replicate = flags;
    return 0;
}

static int rl_redis_acl_check_cmd(lua_State *L) {
    struct rl_state *state = rl_of(L);
    if (!rl_running(state)) return rl_raise(L, "redis.acl_check_cmd can only be called inside a script invocation");
    size_t count;
    const struct rl_slice *args = rl_arguments(L, &count);
    if (!args) return lua_error(L);
    int allowed = state->host->may_call(state->host->context, args, count);
    if (allowed < 0) return rl_raise(L, "Invalid command passed to redis.acl_check_cmd()");
    lua_pushboolean(L, allowed);
    return 1;
}

static int rl_redis_log(lua_State *L) {
    struct rl_state *state = rl_of(L);
    int count = lua_gettop(L);
    if (count < 2) return rl_raise(L, "redis.log() requires two arguments or more.");
    if (!lua_isnumber(L, 1)) return rl_raise(L, "First argument must be a number (log level).");
    int level = (int)lua_tonumber(L, 1);
    if (level < 0 || level > 3) return rl_raise(L, "Invalid debug level.");
    if (!state->host || level < state->host->log_level(state->host->context)) return 0;
    struct rl_buffer *line = &state->scratch;
    line->length = 0;
    for (int i = 2; i <= count; i++) {
        size_t length;
        const char *text = lua_tolstring(L, i, &length);
        if (!text) continue;
        if (i != 2) rl_append(L, line, " ", 1);
        rl_append(L, line, text, length);
    }
    state->host->log(state->host->context, level, (struct rl_slice){line->length ? line->data : "", line->length});
    return 0;
}

static int rl_redis_setresp(lua_State *L) {
    struct rl_state *state = rl_of(L);
    if (!rl_running(state)) return rl_raise(L, "redis.setresp can only be called inside a script invocation");
    if (lua_gettop(L) != 1) return rl_raise(L, "redis.setresp() requires one argument.");
    int resp = (int)lua_tonumber(L, 1);
    if (resp != 2 && resp != 3) return rl_raise(L, "RESP version must be 2 or 3.");
    state->resp = resp;
    return 0;
}

/* There is no debugger: as in Redis without one. */
static int rl_redis_breakpoint(lua_State *L) {
    lua_pushboolean(L, 0);
    return 1;
}

static int rl_redis_debug(lua_State *L) {
    (void)L;
    return 0;
}

static int rl_redis_replicate_commands(lua_State *L) {
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- redis.register_function ---- */

static const char *const rl_flag_names[] = {"no-writes", "allow-oom", "allow-stale", "no-cluster",
                                            "allow-cross-slot-keys"};

/* Reads the list of flags on top. 0 when one is unknown. */
static int rl_read_flags(lua_State *L, int *flags) {
    for (int i = 1;; i++) {
        lua_pushnumber(L, i);
        lua_gettable(L, -2);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            return 1;
        }
        if (!lua_isstring(L, -1)) return 0;
        size_t flag = 0, known = sizeof(rl_flag_names) / sizeof(rl_flag_names[0]);
        while (flag < known && strcasecmp(rl_flag_names[flag], lua_tostring(L, -1)) != 0) flag++;
        if (flag == known) return 0;
        *flags |= 1 << flag;
        lua_pop(L, 1);
    }
}

struct rl_registration {
    struct rl_slice name, description; /* their strings stay on the stack, in the argument table or in places kept */
    int has_description, flags, reference;
};

static const char *rl_read_named(lua_State *L, struct rl_registration *r) {
    if (!lua_istable(L, 1))
        return "calling redis.register_function with a single argument is only applicable to Lua table (representing "
               "named arguments).";
    lua_settop(L, 3); /* 2: the name, 3: the description */
    lua_pushnil(L);
    while (lua_next(L, 1)) {
        if (!lua_isstring(L, -2)) return "named argument key given to redis.register_function is not a string";
        /* A number as key must stay one for lua_next. */
        lua_pushvalue(L, -2);
        const char *key = lua_tostring(L, -1);
        int is_name = !strcasecmp(key, "function_name"), is_description = !strcasecmp(key, "description");
        int is_callback = !strcasecmp(key, "callback"), is_flags = !strcasecmp(key, "flags");
        lua_pop(L, 1);
        if (is_name) {
            if (!lua_isstring(L, -1)) return "function_name argument given to redis.register_function must be a string";
            lua_pushvalue(L, -1);
            lua_replace(L, 2);
            r->name.data = lua_tolstring(L, 2, &r->name.length);
        } else if (is_description) {
            if (!lua_isstring(L, -1)) return "description argument given to redis.register_function must be a string";
            lua_pushvalue(L, -1);
            lua_replace(L, 3);
            r->description.data = lua_tolstring(L, 3, &r->description.length);
            r->has_description = 1;
        } else if (is_callback) {
            if (!lua_isfunction(L, -1)) return "callback argument given to redis.register_function must be a function";
            if (r->reference != LUA_NOREF) luaL_unref(L, LUA_REGISTRYINDEX, r->reference);
            r->reference = luaL_ref(L, LUA_REGISTRYINDEX);
            continue;
        } else if (is_flags) {
            if (!lua_istable(L, -1))
                return "flags argument to redis.register_function must be a table representing function flags";
            if (!rl_read_flags(L, &r->flags)) return "unknown flag given";
        } else {
            return "unknown argument given to redis.register_function";
        }
        lua_pop(L, 1);
    }
    if (!r->name.data) return "redis.register_function must get a function name argument";
    if (r->reference == LUA_NOREF) return "redis.register_function must get a callback argument";
    return NULL;
}

static const char *rl_read_positional(lua_State *L, struct rl_registration *r) {
    if (!lua_isstring(L, 1)) return "first argument to redis.register_function must be a string";
    if (!lua_isfunction(L, 2)) return "second argument to redis.register_function must be a function";
    r->reference = luaL_ref(L, LUA_REGISTRYINDEX);
    r->name.data = lua_tolstring(L, 1, &r->name.length);
    return NULL;
}

static int rl_redis_register_function(lua_State *L) {
    struct rl_state *state = rl_of(L);
    struct rl_registration r = {.reference = LUA_NOREF};
    if (!state->loading) return rl_raise(L, "redis.register_function can only be called on FUNCTION LOAD command");
    int count = lua_gettop(L);
    if (count < 1 || count > 2) return rl_raise(L, "wrong number of arguments to redis.register_function");
    const char *refused = count == 1 ? rl_read_named(L, &r) : rl_read_positional(L, &r);
    if (!refused)
        refused = state->host->register_function(state->host->context, r.name, r.has_description ? &r.description : NULL,
                                                 r.flags, r.reference);
    if (refused) {
        luaL_unref(L, LUA_REGISTRYINDEX, r.reference);
        return rl_raise(L, refused);
    }
    return 0;
}

/* ---- math.random, the same on every machine ---- */

static int32_t rl_next_random(uint64_t *random) {
    *random = (*random * 0x5DEECE66DULL + 0xB) & 0xFFFFFFFFFFFFULL;
    return (int32_t)(*random >> 17);
}

static int rl_math_random(lua_State *L) {
    struct rl_state *state = rl_of(L);
    if (!rl_running(state)) return luaL_error(L, "math.random can only be called inside a script invocation");
    lua_Number r = (lua_Number)(rl_next_random(state->random) % INT32_MAX) / (lua_Number)INT32_MAX;
    switch (lua_gettop(L)) {
    case 0: lua_pushnumber(L, r); return 1;
    case 1: {
        int upper = luaL_checkint(L, 1);
        luaL_argcheck(L, 1 <= upper, 1, "interval is empty");
        lua_pushnumber(L, floor(r * upper) + 1);
        return 1;
    }
    case 2: {
        int lower = luaL_checkint(L, 1), upper = luaL_checkint(L, 2);
        luaL_argcheck(L, lower <= upper, 2, "interval is empty");
        lua_pushnumber(L, floor(r * (lua_Number)(int)((unsigned)upper - (unsigned)lower + 1)) + lower);
        return 1;
    }
    default: return luaL_error(L, "wrong number of arguments");
    }
}

static int rl_math_randomseed(lua_State *L) {
    struct rl_state *state = rl_of(L);
    if (!rl_running(state)) return luaL_error(L, "math.randomseed can only be called inside a script invocation");
    uint32_t seed = (uint32_t)luaL_checkint(L, 1);
    *state->random = (uint64_t)seed << 16 | 0x330E;
    return 0;
}
