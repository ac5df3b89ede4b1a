/* What a script finds: the libraries that Redis opens, without input, output and loading of files; every table read-only,
 * unknown globals an error. Libraries of functions see their own `redis` while they load and the scripts' one later. */

/* Globals that may be set while the libraries open. All else that they try to set is dropped in silence: dofile,
 * loadfile, print, newproxy, getfenv, setfenv. */
static const char *const rl_allowed_globals[] = {
    "string", "cjson", "bit", "cmsgpack", "math", "table", "struct", "redis", "__redis__err__handler", "xpcall",
    "tostring", "setmetatable", "next", "assert", "tonumber", "rawequal", "collectgarbage", "getmetatable", "rawset",
    "pcall", "coroutine", "type", "_G", "select", "unpack", "gcinfo", "pairs", "rawget", "loadstring", "ipairs",
    "_VERSION", "load", "error", "debug",
};

static int rl_set_if_allowed(lua_State *L) {
    const char *name = lua_tostring(L, 2);
    for (size_t i = 0; name && i < sizeof(rl_allowed_globals) / sizeof(rl_allowed_globals[0]); i++) {
        if (strcmp(rl_allowed_globals[i], name) == 0) {
            lua_rawset(L, 1);
            return 0;
        }
    }
    return 0;
}

static int rl_unknown_global(lua_State *L) {
    if (lua_gettop(L) != 2) return luaL_error(L, "Wrong number of arguments to luaProtectedTableError");
    if (!lua_isstring(L, 2)) return luaL_error(L, "Second argument to luaProtectedTableError must be a string or number");
    return luaL_error(L, "Script attempted to access nonexistent global variable '%s'", lua_tostring(L, 2));
}

/* Unknown fields of the table on top become errors. */
static void rl_refuse_unknown(lua_State *L) {
    lua_newtable(L);
    lua_pushcfunction(L, rl_unknown_global);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

/* Makes the table on top read-only, and every table that can be reached from it. */
static void rl_protect(lua_State *L) {
    if (lua_isreadonlytable(L, -1)) return;
    lua_enablereadonlytable(L, -1, 1);
    luaL_checkstack(L, 4, "in the sandbox");
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        if (lua_istable(L, -1)) rl_protect(L);
        lua_pop(L, 1);
    }
    if (lua_getmetatable(L, -1)) {
        rl_protect(L);
        lua_pop(L, 1);
    }
}

/* Strings are the one basic type with a metatable. */
static void rl_protect_strings(lua_State *L) {
    lua_pushliteral(L, "");
    if (lua_getmetatable(L, -1)) {
        rl_protect(L);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void rl_set_number(lua_State *L, const char *name, lua_Number number) {
    lua_pushnumber(L, number);
    lua_setfield(L, -2, name);
}

static void rl_set_function(lua_State *L, const char *name, lua_CFunction function) {
    lua_pushcfunction(L, function);
    lua_setfield(L, -2, name);
}

/* What a library may use while it loads too. */
static void rl_set_log_and_version(lua_State *L) {
    rl_set_function(L, "log", rl_redis_log);
    rl_set_number(L, "LOG_DEBUG", 0);
    rl_set_number(L, "LOG_VERBOSE", 1);
    rl_set_number(L, "LOG_NOTICE", 2);
    rl_set_number(L, "LOG_WARNING", 3);
    rl_set_number(L, "REDIS_VERSION_NUM", RL_VERSION_NUMBER);
    lua_pushliteral(L, RL_VERSION);
    lua_setfield(L, -2, "REDIS_VERSION");
}

static void rl_open_library(lua_State *L, const char *name, lua_CFunction open) {
    lua_pushcfunction(L, open);
    lua_pushstring(L, name);
    lua_call(L, 1, 0);
}

static void rl_open_libraries(lua_State *L) {
    lua_newtable(L);
    rl_set_function(L, "__newindex", rl_set_if_allowed);
    lua_setmetatable(L, LUA_GLOBALSINDEX);
    rl_open_library(L, "", luaopen_base);
    rl_open_library(L, LUA_TABLIBNAME, luaopen_table);
    rl_open_library(L, LUA_STRLIBNAME, luaopen_string);
    rl_open_library(L, LUA_MATHLIBNAME, luaopen_math);
    rl_open_library(L, LUA_DBLIBNAME, luaopen_debug);
    rl_open_library(L, "cjson", luaopen_cjson);
    rl_open_library(L, "struct", luaopen_struct);
    rl_open_library(L, "cmsgpack", luaopen_cmsgpack);
    rl_open_library(L, "bit", luaopen_bit);
    lua_pushcfunction(L, rl_pcall);
    lua_setglobal(L, "pcall");
    lua_getglobal(L, "math");
    rl_set_function(L, "random", rl_math_random);
    rl_set_function(L, "randomseed", rl_math_randomseed);
    lua_pop(L, 1);
}

static void rl_open_redis(lua_State *L, int functions) {
    lua_newtable(L);
    rl_set_function(L, "call", rl_redis_call);
    rl_set_function(L, "pcall", rl_redis_pcall);
    rl_set_log_and_version(L);
    rl_set_function(L, "setresp", rl_redis_setresp);
    rl_set_function(L, "sha1hex", rl_redis_sha1hex);
    rl_set_function(L, "error_reply", rl_redis_error_reply);
    rl_set_function(L, "status_reply", rl_redis_status_reply);
    rl_set_function(L, "set_repl", rl_redis_set_repl);
    rl_set_number(L, "REPL_NONE", 0);
    rl_set_number(L, "REPL_AOF", 1);
    rl_set_number(L, "REPL_SLAVE", 2);
    rl_set_number(L, "REPL_REPLICA", 2);
    rl_set_number(L, "REPL_ALL", 3);
    rl_set_function(L, "acl_check_cmd", rl_redis_acl_check_cmd);
    if (!functions) {
        rl_set_function(L, "breakpoint", rl_redis_breakpoint);
        rl_set_function(L, "debug", rl_redis_debug);
        rl_set_function(L, "replicate_commands", rl_redis_replicate_commands);
    }
    lua_setglobal(L, "redis");
}

/* The error handler tells where an error arose; where a C function raised it, the place of its caller. EVAL's one can be
 * seen by scripts under the name that it has in Redis. */
static void rl_open_handler(lua_State *L, struct rl_state *state) {
    static const char code[] =
        "local getinfo = debug.getinfo\n"
        "return function(problem)\n"
        "  local place = getinfo(2, 'Sl')\n"
        "  if place and place.what == 'C' then place = getinfo(3, 'Sl') end\n"
        "  if type(problem) ~= 'table' then problem = {err = 'ERR ' .. tostring(problem)} end\n"
        "  if place then\n"
        "    problem.source = place.source\n"
        "    problem.line = place.currentline\n"
        "  end\n"
        "  return problem\n"
        "end\n";
    if (luaL_loadbuffer(L, code, sizeof(code) - 1, "@err_handler_def") != 0) lua_error(L);
    lua_call(L, 0, 1);
    if (!state->functions) {
        lua_pushvalue(L, -1);
        lua_setglobal(L, "__redis__err__handler");
    }
    state->handler = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushliteral(L, "debug");
    lua_pushnil(L);
    lua_rawset(L, LUA_GLOBALSINDEX);
}

#define RL_LIBRARY_GLOBALS "library globals"
#define RL_FUNCTION_GLOBALS "function globals"

/* Globals of the libraries' state are an empty table; what they inherit from is exchanged while a library loads. */
static void rl_open_function_globals(lua_State *L) {
    lua_newtable(L);
    lua_newtable(L);
    rl_set_function(L, "register_function", rl_redis_register_function);
    rl_set_log_and_version(L);
    rl_refuse_unknown(L);
    lua_setfield(L, -2, "redis");
    rl_refuse_unknown(L);
    rl_protect(L);
    lua_setfield(L, LUA_REGISTRYINDEX, RL_LIBRARY_GLOBALS);

    lua_pushvalue(L, LUA_GLOBALSINDEX);
    lua_setfield(L, LUA_REGISTRYINDEX, RL_FUNCTION_GLOBALS);
    lua_newtable(L);
    lua_newtable(L);
    lua_pushvalue(L, LUA_GLOBALSINDEX);
    lua_setfield(L, -2, "__index");
    lua_enablereadonlytable(L, -1, 1);
    lua_setmetatable(L, -2);
    lua_enablereadonlytable(L, -1, 1);
    /* Of the thread, and so of every function that is compiled from now on. */
    setobj(L, gt(L), L->top - 1);
    lua_pop(L, 1);
}

/* Called protected, once. */
static int rl_open_sandbox(lua_State *L) {
    static const char *const names[NAME_COUNT] = {
        "ok", "err", "double", "big_number", "verbatim_string", "format", "string", "map", "set",
        "ignore_error_stats_update", "KEYS", "ARGV",
    };
    struct rl_state *state = rl_of(L);
    for (int i = 0; i < NAME_COUNT; i++) {
        state->names[i] = luaS_new(L, names[i]);
        luaS_fix(state->names[i]);
    }
    rl_open_libraries(L);
    rl_open_redis(L, state->functions);
    rl_open_handler(L, state);
    lua_pushvalue(L, LUA_GLOBALSINDEX);
    rl_refuse_unknown(L);
    rl_protect(L);
    lua_pop(L, 1);
    rl_protect_strings(L);
    if (state->functions) rl_open_function_globals(L);
    return 0;
}
