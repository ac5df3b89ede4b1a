/* One translation unit: the Lua core, its libraries and the border. Everything but the `rl_` functions of regie_lua.h
 * is static, so that no symbol meets another Lua in the same program, and the compiler sees all of it at once.
 *
 * Lua here is 5.1.5 as Redis 7.0 carries it (read-only tables, no bytecode, its security fixes): see lua/CHANGES. */

#include <ctype.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "regie_lua.h"

#define luaall_c
#define LUA_CORE
#define LUA_LIB
#define LUA_ANSI
#define LUA_API static

struct lua_State;
/* Asks the host whether the script goes on, from within a long search for a pattern. */
static void rl_match_tick(struct lua_State *L);

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Waddress"
#include "lua/lapi.c"
#include "lua/lcode.c"
#include "lua/ldebug.c"
#include "lua/ldo.c"
#include "lua/ldump.c"
#include "lua/lfunc.c"
#include "lua/lgc.c"
#include "lua/llex.c"
#include "lua/lmem.c"
#include "lua/lobject.c"
#include "lua/lopcodes.c"
#include "lua/lparser.c"
#include "lua/lstate.c"
#include "lua/lstring.c"
#include "lua/ltable.c"
#include "lua/ltm.c"
#include "lua/lundump.c"
#include "lua/lvm.c"
#include "lua/lzio.c"
#include "lua/lauxlib.c"
#include "lua/lbaselib.c"
#include "lua/ldblib.c"
#include "lua/lmathlib.c"
#include "lua/lstrlib.c"
#include "lua/ltablib.c"
#pragma GCC diagnostic pop

#include "state.c"
#include "json.c"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#include "lib/lua_cmsgpack.c"
#include "lib/lua_struct.c"
#include "lib/lua_bit.c"
#pragma GCC diagnostic pop

#include "reply.c"
#include "redis.c"
#include "sandbox.c"
#include "run.c"
