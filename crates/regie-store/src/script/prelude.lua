-- Run once in a new Lua, with: the table that holds the engine's function, the libraries, and the functions of the host.
local slot, cjson, cmsgpack, bit, host = ...
local error, pcall, type, setmetatable, rawget, rawset, tostring, select, getmetatable =
  error, pcall, type, setmetatable, rawget, rawset, tostring, select, getmetatable

-- Tables are seen through a proxy that refuses writes.
local protected = setmetatable({}, { __mode = "k" })
local function refuse()
  error("Attempt to modify a readonly table", 2)
end
local function readonly(table)
  local proxy = setmetatable({}, { __index = table, __newindex = refuse, __metatable = false })
  protected[proxy] = true
  return proxy
end

local redis = {}

function redis.call(...)
  local ok, result = slot[1](...)
  if ok then
    return result
  end
  -- Where the script called: three levels up from error().
  local _, where = pcall(error, "", 3)
  result.where = where
  error(result, 0)
end

function redis.pcall(...)
  local _, result = slot[1](...)
  return result
end

function redis.error_reply(...)
  local text = ...
  if select("#", ...) ~= 1 or type(text) ~= "string" then
    return { err = "ERR wrong number or type of arguments" }
  end
  text = text:gsub("^%-", "")
  if not text:find(" ", 1, true) then
    text = "ERR " .. text
  end
  return { err = text }
end

function redis.status_reply(...)
  local text = ...
  if select("#", ...) ~= 1 or type(text) ~= "string" then
    return { err = "ERR wrong number or type of arguments" }
  end
  return { ok = text }
end

redis.sha1hex, redis.log, redis.setresp = host.sha1hex, host.log, host.setresp
redis.LOG_DEBUG, redis.LOG_VERBOSE, redis.LOG_NOTICE, redis.LOG_WARNING = 0, 1, 2, 3
redis.REPL_NONE, redis.REPL_SLAVE, redis.REPL_REPLICA, redis.REPL_AOF, redis.REPL_ALL = 0, 2, 2, 1, 3
redis.REDIS_VERSION, redis.REDIS_VERSION_NUM = host.version, host.version_number
function redis.replicate_commands() return true end
function redis.set_repl() end
function redis.breakpoint() return false end
function redis.debug() end

local globals = {}
for _, name in ipairs { "assert", "collectgarbage", "error", "gcinfo", "getfenv", "getmetatable", "ipairs", "next",
  "pairs", "pcall", "rawequal", "rawget", "select", "setfenv", "setmetatable", "tonumber", "tostring", "type",
  "unpack", "xpcall", "_VERSION" } do
  globals[name] = _G[name]
end
for name, library in pairs { string = string, table = table, math = math, cjson = cjson, cmsgpack = cmsgpack,
  bit = bit, redis = redis, os = { clock = os.clock } } do
  globals[name] = readonly(library)
end
getmetatable("").__index = globals.string
getmetatable("").__metatable = false

function globals.rawset(table, key, value)
  if protected[table] then
    error("Attempt to modify a readonly table", 2)
  end
  return rawset(table, key, value)
end

-- Compiled code could do anything: only text is loaded.
local loadstring, setfenv = loadstring, setfenv
local environment
function globals.loadstring(text, name)
  if type(text) == "string" and text:byte() == 27 then
    return nil, "attempt to load a binary chunk"
  end
  local chunk, why = loadstring(text, name)
  if chunk then
    setfenv(chunk, environment)
  end
  return chunk, why
end
function globals.load(reader, name)
  local pieces = {}
  while true do
    local piece = reader()
    if not piece or piece == "" then
      break
    end
    pieces[#pieces + 1] = piece
  end
  return globals.loadstring(table.concat(pieces), name or "=(load)")
end

setmetatable(globals, {
  __index = function(_, name)
    error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
  end,
})
environment = readonly(globals)
globals._G = environment

return environment, globals, function(script)
  return pcall(script)
end
