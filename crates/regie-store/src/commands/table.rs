//! Every command, one row each. From this table come dispatch, the checks of arity and rights, COMMAND and COMMAND
//! DOCS, the statistics and `docs/reference/store-commands.md`. A command that is not here is unknown, as in any Redis.

use super::{
    acl, bits, clients, connection, debug, field_ends, functions, geo, hashes, hyperloglog, info,
    introspection, keys, latency, lists, memory, pubsub, replication, scripting, server, sets,
    sorted_set_algebra, sorted_sets, stream_claims, stream_groups, stream_info, streams, strings,
    transactions,
};
use crate::command::{Command, Flags, Run};
use crate::command_keys::{Access, Begin, Find, KeySpec};

const W: Flags = Flags::WRITE;
const R: Flags = Flags::READONLY;
const OOM: Flags = Flags::DENYOOM;
const ADM: Flags = Flags::ADMIN;
const PUB: Flags = Flags::PUBSUB;
const NOSC: Flags = Flags::NOSCRIPT;
const BLK: Flags = Flags::BLOCKING;
const LOAD: Flags = Flags::LOADING;
const STALE: Flags = Flags::STALE;
const NOMON: Flags = Flags::SKIP_MONITOR;
const NOSLOW: Flags = Flags::SKIP_SLOWLOG;
const NOAUTH: Flags = Flags::NO_AUTH;
const F: Flags = Flags::FAST;
const BUSY: Flags = Flags::ALLOW_BUSY;
const NOMULTI: Flags = Flags::NO_MULTI;
const REPL: Flags = Flags::MAY_REPLICATE;
const NOASYNC: Flags = Flags::NO_ASYNC_LOADING;
const NOKEYS: Flags = Flags::NO_MANDATORY_KEYS;
const ASK: Flags = Flags::ASKING;
const NONE: Flags = Flags(0);

/// Looks at what a key is, not into it.
const LOOK: Access = Access::RO;
const READ: Access = Access::RO.and(Access::ACCESS);
const UPDATE: Access = Access::RW.and(Access::UPDATE);
/// Reads and changes.
const CHANGE: Access = Access::RW.and(Access::ACCESS).and(Access::UPDATE);
const INSERT: Access = Access::RW.and(Access::INSERT);
/// Removes without telling what.
const TRIM: Access = Access::RW.and(Access::DELETE);
/// Removes and tells what.
const TAKE: Access = Access::RW.and(Access::ACCESS).and(Access::DELETE);
const TAKE_SOME: Access = TAKE.and(Access::INCOMPLETE);
/// Writes over what is there.
const PUT: Access = Access::OW.and(Access::UPDATE);
/// Writes where nothing is.
const MAKE: Access = Access::OW.and(Access::INSERT);
/// Removes the key.
const DROP: Access = Access::RM.and(Access::DELETE);
/// Reads, and may change how it is kept.
const TOUCH: Access = Access::RW.and(Access::ACCESS);
const MERGE: Access = Access::RW.and(Access::ACCESS).and(Access::INSERT);
/// What is done follows from the arguments.
const VARIES: Access = CHANGE.and(Access::VARIABLE);
/// A name like a key's that is none: a sharded channel.
const NAMED: Access = Access::NOT_KEY;

const fn flags(list: &[Flags]) -> Flags {
    let (mut bits, mut index) = (0, 0);
    while index < list.len() {
        bits |= list[index].0;
        index += 1;
    }
    Flags(bits)
}

/// A command.
#[expect(clippy::too_many_arguments, reason = "a row of a table: each argument is a column")]
const fn row(
    name: &'static str,
    arity: i32,
    flags: Flags,
    keys: &'static [KeySpec],
    (group, categories): (&'static str, &'static str),
    since: &'static str,
    help: &'static str,
    run: Run,
) -> Command {
    Command { name, arity, flags, keys, categories, group, since, help, tips: "", run: Some(run) }
}

/// A command that only holds subcommands.
const fn container(
    name: &'static str,
    group: &'static str,
    since: &'static str,
    help: &'static str,
) -> Command {
    Command {
        name,
        arity: -2,
        flags: NONE,
        keys: &[],
        categories: "",
        group,
        since,
        help,
        tips: "",
        run: None,
    }
}

/// One key.
const fn at(access: Access, first: i32) -> KeySpec {
    range(access, first, 0, 1)
}

/// Keys from `first` on; `last` is counted from there, or from the end when negative.
const fn range(access: Access, first: i32, last: i32, step: i32) -> KeySpec {
    KeySpec { access, begin: Begin::Index(first), find: Find::Range { last, step, limit: 0 } }
}

/// A count at `at`, and so many keys behind it.
const fn counted(access: Access, at: i32) -> KeySpec {
    KeySpec { access, begin: Begin::Index(at), find: Find::Counted }
}

/// Keys behind a word that is looked for from `from` on, backwards when negative.
const fn after(access: Access, word: &'static str, from: i32, last: i32, step: i32, limit: i32) -> KeySpec {
    KeySpec { access, begin: Begin::Keyword(word, from), find: Find::Range { last, step, limit } }
}

/// Keys that cannot be told from the arguments by a rule.
const fn unknown(access: Access) -> KeySpec {
    KeySpec { access, begin: Begin::Unknown, find: Find::Unknown }
}

#[rustfmt::skip]
pub(crate) static COMMANDS: &[Command] = &[
    row("append", 3, flags(&[W, OOM, F]), &[at(INSERT, 1)], ("string", "string"), "2.0.0", "Appends to a string, making it if need be.", strings::append),
    row("decr", 2, flags(&[W, OOM, F]), &[at(CHANGE, 1)], ("string", "string"), "1.0.0", "Takes one off a number.", strings::decr),
    row("decrby", 3, flags(&[W, OOM, F]), &[at(CHANGE, 1)], ("string", "string"), "1.0.0", "Takes an amount off a number.", strings::decrby),
    row("get", 2, flags(&[R, F]), &[at(READ, 1)], ("string", "string"), "1.0.0", "Reads a string.", strings::get),
    row("getdel", 2, flags(&[W, F]), &[at(TAKE, 1)], ("string", "string"), "6.2.0", "Reads a string and deletes its key.", strings::getdel),
    row("getex", -2, flags(&[W, F]), &[at(CHANGE, 1)], ("string", "string"), "6.2.0", "Reads a string and sets or removes its deadline.", strings::getex),
    row("getrange", 4, R, &[at(READ, 1)], ("string", "string"), "2.4.0", "Reads a part of a string.", strings::getrange),
    row("getset", 3, flags(&[W, OOM, F]), &[at(CHANGE, 1)], ("string", "string"), "1.0.0", "Sets a string and answers with the old one.", strings::getset),
    row("incr", 2, flags(&[W, OOM, F]), &[at(CHANGE, 1)], ("string", "string"), "1.0.0", "Adds one to a number.", strings::incr),
    row("incrby", 3, flags(&[W, OOM, F]), &[at(CHANGE, 1)], ("string", "string"), "1.0.0", "Adds an amount to a number.", strings::incrby),
    row("incrbyfloat", 3, flags(&[W, OOM, F]), &[at(CHANGE, 1)], ("string", "string"), "2.6.0", "Adds an amount to a decimal number.", strings::incrbyfloat),
    row("lcs", -3, R, &[range(READ, 1, 1, 1)], ("string", "string"), "7.0.0", "Finds the longest common subsequence of two strings.", strings::lcs),
    row("mget", -2, flags(&[R, F]), &[range(READ, 1, -1, 1)], ("string", "string"), "1.0.0", "Reads several strings.", strings::mget).tips("request_policy:multi_shard"),
    row("mset", -3, flags(&[W, OOM]), &[range(PUT, 1, -1, 2)], ("string", "string"), "1.0.1", "Sets several strings.", strings::mset).tips("request_policy:multi_shard response_policy:all_succeeded"),
    row("msetnx", -3, flags(&[W, OOM]), &[range(MAKE, 1, -1, 2)], ("string", "string"), "1.0.1", "Sets several strings unless one of the keys is there.", strings::msetnx).tips("request_policy:multi_shard response_policy:agg_min"),
    row("psetex", 4, flags(&[W, OOM]), &[at(PUT, 1)], ("string", "string"), "2.6.0", "Sets a string that lives so many milliseconds.", strings::psetex),
    row("set", -3, flags(&[W, OOM]), &[at(VARIES, 1)], ("string", "string"), "1.0.0", "Sets a string, with conditions and a deadline if wanted.", strings::set),
    row("setex", 4, flags(&[W, OOM]), &[at(PUT, 1)], ("string", "string"), "2.0.0", "Sets a string that lives so many seconds.", strings::setex),
    row("setnx", 3, flags(&[W, OOM, F]), &[at(MAKE, 1)], ("string", "string"), "1.0.0", "Sets a string unless the key is there.", strings::setnx),
    row("setrange", 4, flags(&[W, OOM]), &[at(UPDATE, 1)], ("string", "string"), "2.2.0", "Writes over a part of a string.", strings::setrange),
    row("strlen", 2, flags(&[R, F]), &[at(LOOK, 1)], ("string", "string"), "2.2.0", "Answers with a string's length.", strings::strlen),
    row("substr", 4, R, &[at(READ, 1)], ("string", "string"), "1.0.0", "Reads a part of a string (older name of GETRANGE).", strings::getrange),
    row("copy", -3, flags(&[W, OOM]), &[at(READ, 1), at(PUT, 2)], ("generic", "keyspace"), "6.2.0", "Copies a key's value to another key.", keys::copy),
    row("del", -2, W, &[range(DROP, 1, -1, 1)], ("generic", "keyspace"), "1.0.0", "Deletes keys.", keys::del).tips("request_policy:multi_shard response_policy:agg_sum"),
    row("dump", 2, R, &[at(READ, 1)], ("generic", "keyspace"), "2.6.0", "Answers with a value in the encoding that RESTORE reads.", keys::dump).tips("nondeterministic_output"),
    row("exists", -2, flags(&[R, F]), &[range(LOOK, 1, -1, 1)], ("generic", "keyspace"), "1.0.0", "Counts which of the keys are there.", keys::exists).tips("request_policy:multi_shard response_policy:agg_sum"),
    row("expire", -3, flags(&[W, F]), &[at(UPDATE, 1)], ("generic", "keyspace"), "1.0.0", "Lets a key live so many seconds more.", keys::expire),
    row("expireat", -3, flags(&[W, F]), &[at(UPDATE, 1)], ("generic", "keyspace"), "1.2.0", "Lets a key live until a second since 1970.", keys::expireat),
    row("expiretime", 2, flags(&[R, F]), &[at(READ, 1)], ("generic", "keyspace"), "7.0.0", "Answers with the second at which a key ends.", keys::expiretime),
    row("keys", 2, R, &[], ("generic", "keyspace dangerous"), "1.0.0", "Lists all keys that match a pattern.", keys::keys).tips("request_policy:all_shards nondeterministic_output_order"),
    row("move", 3, flags(&[W, F]), &[at(CHANGE, 1)], ("generic", "keyspace"), "1.0.0", "Moves a key to another database.", keys::move_key),
    container("object", "generic", "2.2.3", "Looks inside a value."),
    row("object|encoding", 3, R, &[at(LOOK, 2)], ("generic", "keyspace"), "2.2.3", "Names a value's encoding.", keys::object_encoding).tips("nondeterministic_output"),
    row("object|freq", 3, R, &[at(LOOK, 2)], ("generic", "keyspace"), "4.0.0", "Answers with a key's logarithmic count of uses.", keys::object_freq).tips("nondeterministic_output"),
    row("object|idletime", 3, R, &[at(LOOK, 2)], ("generic", "keyspace"), "2.2.3", "Answers with the seconds since a key was used.", keys::object_idletime).tips("nondeterministic_output"),
    row("object|refcount", 3, R, &[at(LOOK, 2)], ("generic", "keyspace"), "2.2.3", "Answers with a value's number of references.", keys::object_refcount).tips("nondeterministic_output"),
    row("persist", 2, flags(&[W, F]), &[at(UPDATE, 1)], ("generic", "keyspace"), "2.2.0", "Removes a key's deadline.", keys::persist),
    row("pexpire", -3, flags(&[W, F]), &[at(UPDATE, 1)], ("generic", "keyspace"), "2.6.0", "Lets a key live so many milliseconds more.", keys::pexpire),
    row("pexpireat", -3, flags(&[W, F]), &[at(UPDATE, 1)], ("generic", "keyspace"), "2.6.0", "Lets a key live until a millisecond since 1970.", keys::pexpireat),
    row("pexpiretime", 2, flags(&[R, F]), &[at(READ, 1)], ("generic", "keyspace"), "7.0.0", "Answers with the millisecond at which a key ends.", keys::pexpiretime),
    row("pttl", 2, flags(&[R, F]), &[at(READ, 1)], ("generic", "keyspace"), "2.6.0", "Answers with the milliseconds that a key has left.", keys::pttl).tips("nondeterministic_output"),
    row("randomkey", 1, R, &[], ("generic", "keyspace"), "1.0.0", "Names a random key.", keys::randomkey).tips("request_policy:all_shards nondeterministic_output"),
    row("rename", 3, W, &[at(TAKE, 1), at(PUT, 2)], ("generic", "keyspace"), "1.0.0", "Gives a key another name, in place of what bears it.", keys::rename),
    row("renamenx", 3, flags(&[W, F]), &[at(TAKE, 1), at(MAKE, 2)], ("generic", "keyspace"), "1.0.0", "Gives a key another name unless something bears it.", keys::renamenx),
    row("restore", -4, flags(&[W, OOM]), &[at(PUT, 1)], ("generic", "keyspace dangerous"), "2.6.0", "Makes a key from what DUMP has given.", keys::restore),
    row("scan", -2, R, &[], ("generic", "keyspace"), "2.8.0", "Walks over the keys of the database.", keys::scan).tips("nondeterministic_output request_policy:special"),
    row("sort", -2, flags(&[W, OOM]), &[at(READ, 1), unknown(READ), unknown(PUT)], ("generic", "set sortedset list dangerous"), "1.0.0", "Sorts a list, set or sorted set, and stores the result if wanted.", keys::sort),
    row("sort_ro", -2, R, &[at(READ, 1), unknown(READ)], ("generic", "set sortedset list dangerous"), "7.0.0", "Sorts a list, set or sorted set.", keys::sort_ro),
    row("touch", -2, flags(&[R, F]), &[range(LOOK, 1, -1, 1)], ("generic", "keyspace"), "3.2.1", "Counts which of the keys are there, and marks them as used.", keys::touch).tips("request_policy:multi_shard response_policy:agg_sum"),
    row("ttl", 2, flags(&[R, F]), &[at(READ, 1)], ("generic", "keyspace"), "1.0.0", "Answers with the seconds that a key has left.", keys::ttl).tips("nondeterministic_output"),
    row("type", 2, flags(&[R, F]), &[at(LOOK, 1)], ("generic", "keyspace"), "1.0.0", "Names a value's type.", keys::type_of),
    row("unlink", -2, flags(&[W, F]), &[range(DROP, 1, -1, 1)], ("generic", "keyspace"), "4.0.0", "Deletes keys and frees big values in the background.", keys::del).tips("request_policy:multi_shard response_policy:agg_sum"),
    row("blmove", 6, flags(&[W, OOM, NOSC, BLK]), &[at(TAKE, 1), at(INSERT, 2)], ("list", "list"), "6.2.0", "Moves an element between lists, waiting for one.", lists::blmove),
    row("blmpop", -5, flags(&[W, BLK]), &[counted(TAKE, 2)], ("list", "list"), "7.0.0", "Pops elements from the first list that has some, waiting for one.", lists::blmpop),
    row("blpop", -3, flags(&[W, NOSC, BLK]), &[range(TAKE, 1, -2, 1)], ("list", "list"), "2.0.0", "Pops the first element of the first list that has one, waiting for it.", lists::blpop),
    row("brpop", -3, flags(&[W, NOSC, BLK]), &[range(TAKE, 1, -2, 1)], ("list", "list"), "2.0.0", "Pops the last element of the first list that has one, waiting for it.", lists::brpop),
    row("brpoplpush", 4, flags(&[W, OOM, NOSC, BLK]), &[at(TAKE, 1), at(INSERT, 2)], ("list", "list"), "2.2.0", "Moves the last element of a list to the head of another, waiting for one.", lists::brpoplpush),
    row("lindex", 3, R, &[at(READ, 1)], ("list", "list"), "1.0.0", "Reads an element by its index.", lists::lindex),
    row("linsert", 5, flags(&[W, OOM]), &[at(INSERT, 1)], ("list", "list"), "2.2.0", "Puts an element before or after another.", lists::linsert),
    row("llen", 2, flags(&[R, F]), &[at(LOOK, 1)], ("list", "list"), "1.0.0", "Answers with a list's length.", lists::llen),
    row("lmove", 5, flags(&[W, OOM]), &[at(TAKE, 1), at(INSERT, 2)], ("list", "list"), "6.2.0", "Moves an element between lists.", lists::lmove),
    row("lmpop", -4, W, &[counted(TAKE, 1)], ("list", "list"), "7.0.0", "Pops elements from the first list that has some.", lists::lmpop),
    row("lpop", -2, flags(&[W, F]), &[at(TAKE, 1)], ("list", "list"), "1.0.0", "Pops the first elements.", lists::lpop),
    row("lpos", -3, R, &[at(READ, 1)], ("list", "list"), "6.0.6", "Finds the index of an element.", lists::lpos),
    row("lpush", -3, flags(&[W, OOM, F]), &[at(INSERT, 1)], ("list", "list"), "1.0.0", "Puts elements in front.", lists::lpush),
    row("lpushx", -3, flags(&[W, OOM, F]), &[at(INSERT, 1)], ("list", "list"), "2.2.0", "Puts elements in front if the list is there.", lists::lpushx),
    row("lrange", 4, R, &[at(READ, 1)], ("list", "list"), "1.0.0", "Reads a range of elements.", lists::lrange),
    row("lrem", 4, W, &[at(TRIM, 1)], ("list", "list"), "1.0.0", "Removes elements by their value.", lists::lrem),
    row("lset", 4, flags(&[W, OOM]), &[at(UPDATE, 1)], ("list", "list"), "1.0.0", "Replaces an element by its index.", lists::lset),
    row("ltrim", 4, W, &[at(TRIM, 1)], ("list", "list"), "1.0.0", "Keeps a range of elements only.", lists::ltrim),
    row("rpop", -2, flags(&[W, F]), &[at(TAKE, 1)], ("list", "list"), "1.0.0", "Pops the last elements.", lists::rpop),
    row("rpoplpush", 3, flags(&[W, OOM]), &[at(TAKE, 1), at(INSERT, 2)], ("list", "list"), "1.2.0", "Moves the last element of a list to the head of another.", lists::rpoplpush),
    row("rpush", -3, flags(&[W, OOM, F]), &[at(INSERT, 1)], ("list", "list"), "1.0.0", "Puts elements at the end.", lists::rpush),
    row("rpushx", -3, flags(&[W, OOM, F]), &[at(INSERT, 1)], ("list", "list"), "2.2.0", "Puts elements at the end if the list is there.", lists::rpushx),
    row("hdel", -3, flags(&[W, F]), &[at(TRIM, 1)], ("hash", "hash"), "2.0.0", "Deletes fields.", hashes::hdel),
    row("hexists", 3, flags(&[R, F]), &[at(LOOK, 1)], ("hash", "hash"), "2.0.0", "Says whether a field is there.", hashes::hexists),
    row("hexpire", -6, flags(&[W, OOM, F]), &[at(UPDATE, 1)], ("hash", "hash"), "7.4.0", "Lets fields live so many seconds more.", field_ends::hexpire),
    row("hexpireat", -6, flags(&[W, OOM, F]), &[at(UPDATE, 1)], ("hash", "hash"), "7.4.0", "Lets fields live until a second since 1970.", field_ends::hexpireat),
    row("hexpiretime", -5, flags(&[R, F]), &[at(READ, 1)], ("hash", "hash"), "7.4.0", "Answers with the seconds at which fields end.", field_ends::hexpiretime),
    row("hget", 3, flags(&[R, F]), &[at(READ, 1)], ("hash", "hash"), "2.0.0", "Reads a field.", hashes::hget),
    row("hgetall", 2, R, &[at(READ, 1)], ("hash", "hash"), "2.0.0", "Reads all fields and values.", hashes::hgetall).tips("nondeterministic_output_order"),
    row("hincrby", 4, flags(&[W, OOM, F]), &[at(CHANGE, 1)], ("hash", "hash"), "2.0.0", "Adds an amount to a field's number.", hashes::hincrby),
    row("hincrbyfloat", 4, flags(&[W, OOM, F]), &[at(CHANGE, 1)], ("hash", "hash"), "2.6.0", "Adds an amount to a field's decimal number.", hashes::hincrbyfloat),
    row("hkeys", 2, R, &[at(READ, 1)], ("hash", "hash"), "2.0.0", "Reads all fields.", hashes::hkeys).tips("nondeterministic_output_order"),
    row("hlen", 2, flags(&[R, F]), &[at(LOOK, 1)], ("hash", "hash"), "2.0.0", "Answers with the number of fields.", hashes::hlen),
    row("hmget", -3, flags(&[R, F]), &[at(READ, 1)], ("hash", "hash"), "2.0.0", "Reads several fields.", hashes::hmget),
    row("hmset", -4, flags(&[W, OOM, F]), &[at(UPDATE, 1)], ("hash", "hash"), "2.0.0", "Sets several fields.", hashes::hmset),
    row("hpersist", -5, flags(&[W, F]), &[at(UPDATE, 1)], ("hash", "hash"), "7.4.0", "Lets fields stay that would have ended.", field_ends::hpersist),
    row("hpexpire", -6, flags(&[W, OOM, F]), &[at(UPDATE, 1)], ("hash", "hash"), "7.4.0", "Lets fields live so many milliseconds more.", field_ends::hpexpire),
    row("hpexpireat", -6, flags(&[W, OOM, F]), &[at(UPDATE, 1)], ("hash", "hash"), "7.4.0", "Lets fields live until a millisecond since 1970.", field_ends::hpexpireat),
    row("hpexpiretime", -5, flags(&[R, F]), &[at(READ, 1)], ("hash", "hash"), "7.4.0", "Answers with the milliseconds at which fields end.", field_ends::hpexpiretime),
    row("hpttl", -5, flags(&[R, F]), &[at(READ, 1)], ("hash", "hash"), "7.4.0", "Answers with the milliseconds that fields have left.", field_ends::hpttl).tips("nondeterministic_output"),
    row("hrandfield", -2, R, &[at(READ, 1)], ("hash", "hash"), "6.2.0", "Reads random fields.", hashes::hrandfield).tips("nondeterministic_output"),
    row("hscan", -3, R, &[at(READ, 1)], ("hash", "hash"), "2.8.0", "Walks over fields and values.", hashes::hscan).tips("nondeterministic_output"),
    row("hset", -4, flags(&[W, OOM, F]), &[at(UPDATE, 1)], ("hash", "hash"), "2.0.0", "Sets fields and answers with how many are new.", hashes::hset),
    row("hsetnx", 4, flags(&[W, OOM, F]), &[at(INSERT, 1)], ("hash", "hash"), "2.0.0", "Sets a field unless it is there.", hashes::hsetnx),
    row("hstrlen", 3, flags(&[R, F]), &[at(LOOK, 1)], ("hash", "hash"), "3.2.0", "Answers with the length of a field's value.", hashes::hstrlen),
    row("httl", -5, flags(&[R, F]), &[at(READ, 1)], ("hash", "hash"), "7.4.0", "Answers with the seconds that fields have left.", field_ends::httl).tips("nondeterministic_output"),
    row("hvals", 2, R, &[at(READ, 1)], ("hash", "hash"), "2.0.0", "Reads all values.", hashes::hvals).tips("nondeterministic_output_order"),
    row("sadd", -3, flags(&[W, OOM, F]), &[at(INSERT, 1)], ("set", "set"), "1.0.0", "Adds members.", sets::sadd),
    row("scard", 2, flags(&[R, F]), &[at(LOOK, 1)], ("set", "set"), "1.0.0", "Answers with the number of members.", sets::scard),
    row("sdiff", -2, R, &[range(READ, 1, -1, 1)], ("set", "set"), "1.0.0", "Reads what is in the first set and in no other.", sets::sdiff).tips("nondeterministic_output_order"),
    row("sdiffstore", -3, flags(&[W, OOM]), &[at(PUT, 1), range(READ, 2, -1, 1)], ("set", "set"), "1.0.0", "Stores what is in the first set and in no other.", sets::sdiffstore),
    row("sinter", -2, R, &[range(READ, 1, -1, 1)], ("set", "set"), "1.0.0", "Reads what is in all sets.", sets::sinter).tips("nondeterministic_output_order"),
    row("sintercard", -3, R, &[counted(READ, 1)], ("set", "set"), "7.0.0", "Counts what is in all sets.", sets::sintercard),
    row("sinterstore", -3, flags(&[W, OOM]), &[at(UPDATE, 1), range(READ, 2, -1, 1)], ("set", "set"), "1.0.0", "Stores what is in all sets.", sets::sinterstore),
    row("sismember", 3, flags(&[R, F]), &[at(LOOK, 1)], ("set", "set"), "1.0.0", "Says whether a member is there.", sets::sismember),
    row("smembers", 2, R, &[at(READ, 1)], ("set", "set"), "1.0.0", "Reads all members.", sets::smembers).tips("nondeterministic_output_order"),
    row("smismember", -3, flags(&[R, F]), &[at(READ, 1)], ("set", "set"), "6.2.0", "Says which members are there.", sets::smismember),
    row("smove", 4, flags(&[W, F]), &[at(TAKE, 1), at(INSERT, 2)], ("set", "set"), "1.0.0", "Moves a member to another set.", sets::smove),
    row("spop", -2, flags(&[W, F]), &[at(TAKE, 1)], ("set", "set"), "1.0.0", "Takes random members out.", sets::spop).tips("nondeterministic_output"),
    row("srandmember", -2, R, &[at(READ, 1)], ("set", "set"), "1.0.0", "Reads random members.", sets::srandmember).tips("nondeterministic_output"),
    row("srem", -3, flags(&[W, F]), &[at(TRIM, 1)], ("set", "set"), "1.0.0", "Removes members.", sets::srem),
    row("sscan", -3, R, &[at(READ, 1)], ("set", "set"), "2.8.0", "Walks over members.", sets::sscan).tips("nondeterministic_output"),
    row("sunion", -2, R, &[range(READ, 1, -1, 1)], ("set", "set"), "1.0.0", "Reads what is in any of the sets.", sets::sunion).tips("nondeterministic_output_order"),
    row("sunionstore", -3, flags(&[W, OOM]), &[at(PUT, 1), range(READ, 2, -1, 1)], ("set", "set"), "1.0.0", "Stores what is in any of the sets.", sets::sunionstore),
    row("bzmpop", -5, flags(&[W, BLK]), &[counted(TAKE, 2)], ("sorted-set", "sortedset"), "7.0.0", "Pops members of the first sorted set that has some, waiting for one.", sorted_sets::bzmpop),
    row("bzpopmax", -3, flags(&[W, NOSC, BLK, F]), &[range(TAKE, 1, -2, 1)], ("sorted-set", "sortedset"), "5.0.0", "Pops the highest member of the first sorted set that has one, waiting for it.", sorted_sets::bzpopmax),
    row("bzpopmin", -3, flags(&[W, NOSC, BLK, F]), &[range(TAKE, 1, -2, 1)], ("sorted-set", "sortedset"), "5.0.0", "Pops the lowest member of the first sorted set that has one, waiting for it.", sorted_sets::bzpopmin),
    row("zadd", -4, flags(&[W, OOM, F]), &[at(UPDATE, 1)], ("sorted-set", "sortedset"), "1.2.0", "Adds members or changes their scores.", sorted_sets::zadd),
    row("zcard", 2, flags(&[R, F]), &[at(LOOK, 1)], ("sorted-set", "sortedset"), "1.2.0", "Answers with the number of members.", sorted_sets::zcard),
    row("zcount", 4, flags(&[R, F]), &[at(READ, 1)], ("sorted-set", "sortedset"), "2.0.0", "Counts the members within a range of scores.", sorted_sets::zcount),
    row("zdiff", -3, R, &[counted(READ, 1)], ("sorted-set", "sortedset"), "6.2.0", "Reads what is in the first sorted set and in no other.", sorted_set_algebra::zdiff),
    row("zdiffstore", -4, flags(&[W, OOM]), &[at(PUT, 1), counted(READ, 2)], ("sorted-set", "sortedset"), "6.2.0", "Stores what is in the first sorted set and in no other.", sorted_set_algebra::zdiffstore),
    row("zincrby", 4, flags(&[W, OOM, F]), &[at(CHANGE, 1)], ("sorted-set", "sortedset"), "1.2.0", "Adds an amount to a member's score.", sorted_sets::zincrby),
    row("zinter", -3, R, &[counted(READ, 1)], ("sorted-set", "sortedset"), "6.2.0", "Reads what is in all sorted sets.", sorted_set_algebra::zinter),
    row("zintercard", -3, R, &[counted(READ, 1)], ("sorted-set", "sortedset"), "7.0.0", "Counts what is in all sorted sets.", sorted_set_algebra::zintercard),
    row("zinterstore", -4, flags(&[W, OOM]), &[at(PUT, 1), counted(READ, 2)], ("sorted-set", "sortedset"), "2.0.0", "Stores what is in all sorted sets.", sorted_set_algebra::zinterstore),
    row("zlexcount", 4, flags(&[R, F]), &[at(READ, 1)], ("sorted-set", "sortedset"), "2.8.9", "Counts the members within a range of names.", sorted_sets::zlexcount),
    row("zmpop", -4, W, &[counted(TAKE, 1)], ("sorted-set", "sortedset"), "7.0.0", "Pops members of the first sorted set that has some.", sorted_sets::zmpop),
    row("zmscore", -3, flags(&[R, F]), &[at(READ, 1)], ("sorted-set", "sortedset"), "6.2.0", "Reads the scores of several members.", sorted_sets::zmscore),
    row("zpopmax", -2, flags(&[W, F]), &[at(TAKE, 1)], ("sorted-set", "sortedset"), "5.0.0", "Pops the highest members.", sorted_sets::zpopmax),
    row("zpopmin", -2, flags(&[W, F]), &[at(TAKE, 1)], ("sorted-set", "sortedset"), "5.0.0", "Pops the lowest members.", sorted_sets::zpopmin),
    row("zrandmember", -2, R, &[at(READ, 1)], ("sorted-set", "sortedset"), "6.2.0", "Reads random members.", sorted_sets::zrandmember).tips("nondeterministic_output"),
    row("zrange", -4, R, &[at(READ, 1)], ("sorted-set", "sortedset"), "1.2.0", "Reads a range by index, score or name.", sorted_sets::zrange),
    row("zrangebylex", -4, R, &[at(READ, 1)], ("sorted-set", "sortedset"), "2.8.9", "Reads a range of names.", sorted_sets::zrangebylex),
    row("zrangebyscore", -4, R, &[at(READ, 1)], ("sorted-set", "sortedset"), "1.0.5", "Reads a range of scores.", sorted_sets::zrangebyscore),
    row("zrangestore", -5, flags(&[W, OOM]), &[at(PUT, 1), at(READ, 2)], ("sorted-set", "sortedset"), "6.2.0", "Stores a range by index, score or name.", sorted_sets::zrangestore),
    row("zrank", 3, flags(&[R, F]), &[at(READ, 1)], ("sorted-set", "sortedset"), "2.0.0", "Answers with a member's place from the lowest.", sorted_sets::zrank),
    row("zrem", -3, flags(&[W, F]), &[at(TRIM, 1)], ("sorted-set", "sortedset"), "1.2.0", "Removes members.", sorted_sets::zrem),
    row("zremrangebylex", 4, W, &[at(TRIM, 1)], ("sorted-set", "sortedset"), "2.8.9", "Removes a range of names.", sorted_sets::zremrangebylex),
    row("zremrangebyrank", 4, W, &[at(TRIM, 1)], ("sorted-set", "sortedset"), "2.0.0", "Removes a range of places.", sorted_sets::zremrangebyrank),
    row("zremrangebyscore", 4, W, &[at(TRIM, 1)], ("sorted-set", "sortedset"), "1.2.0", "Removes a range of scores.", sorted_sets::zremrangebyscore),
    row("zrevrange", -4, R, &[at(READ, 1)], ("sorted-set", "sortedset"), "1.2.0", "Reads a range of places from the highest.", sorted_sets::zrevrange),
    row("zrevrangebylex", -4, R, &[at(READ, 1)], ("sorted-set", "sortedset"), "2.8.9", "Reads a range of names from the highest.", sorted_sets::zrevrangebylex),
    row("zrevrangebyscore", -4, R, &[at(READ, 1)], ("sorted-set", "sortedset"), "2.2.0", "Reads a range of scores from the highest.", sorted_sets::zrevrangebyscore),
    row("zrevrank", 3, flags(&[R, F]), &[at(READ, 1)], ("sorted-set", "sortedset"), "2.0.0", "Answers with a member's place from the highest.", sorted_sets::zrevrank),
    row("zscan", -3, R, &[at(READ, 1)], ("sorted-set", "sortedset"), "2.8.0", "Walks over members and scores.", sorted_sets::zscan).tips("nondeterministic_output"),
    row("zscore", 3, flags(&[R, F]), &[at(READ, 1)], ("sorted-set", "sortedset"), "1.2.0", "Reads a member's score.", sorted_sets::zscore),
    row("zunion", -3, R, &[counted(READ, 1)], ("sorted-set", "sortedset"), "6.2.0", "Reads what is in any of the sorted sets.", sorted_set_algebra::zunion),
    row("zunionstore", -4, flags(&[W, OOM]), &[at(PUT, 1), counted(READ, 2)], ("sorted-set", "sortedset"), "2.0.0", "Stores what is in any of the sorted sets.", sorted_set_algebra::zunionstore),
    row("discard", 1, flags(&[NOSC, LOAD, STALE, F, BUSY]), &[], ("transactions", "transaction"), "2.0.0", "Forgets the queued commands.", transactions::discard),
    row("exec", 1, flags(&[NOSC, LOAD, STALE, NOSLOW]), &[], ("transactions", "transaction"), "1.2.0", "Runs the queued commands.", transactions::exec),
    row("multi", 1, flags(&[NOSC, LOAD, STALE, F, BUSY]), &[], ("transactions", "transaction"), "1.2.0", "Begins to queue commands.", transactions::multi),
    row("unwatch", 1, flags(&[NOSC, LOAD, STALE, F, BUSY]), &[], ("transactions", "transaction"), "2.2.0", "Forgets the watched keys.", transactions::unwatch),
    row("watch", -2, flags(&[NOSC, LOAD, STALE, F, BUSY]), &[range(LOOK, 1, -1, 1)], ("transactions", "transaction"), "2.2.0", "Makes EXEC fail if a key changes before.", transactions::watch),
    row("psubscribe", -2, flags(&[PUB, NOSC, LOAD, STALE]), &[], ("pubsub", ""), "2.0.0", "Listens to the channels that match patterns.", pubsub::psubscribe),
    row("publish", 3, flags(&[PUB, LOAD, STALE, F, REPL]), &[], ("pubsub", ""), "2.0.0", "Sends a message to a channel.", pubsub::publish),
    container("pubsub", "pubsub", "2.8.0", "Tells about channels."),
    row("pubsub|channels", -2, flags(&[PUB, LOAD, STALE]), &[], ("pubsub", ""), "2.8.0", "Lists the channels that have listeners.", pubsub::channels),
    row("pubsub|numpat", 2, flags(&[PUB, LOAD, STALE]), &[], ("pubsub", ""), "2.8.0", "Counts the patterns that are listened to.", pubsub::numpat),
    row("pubsub|numsub", -2, flags(&[PUB, LOAD, STALE]), &[], ("pubsub", ""), "2.8.0", "Counts the listeners of channels.", pubsub::numsub),
    row("pubsub|shardchannels", -2, flags(&[PUB, LOAD, STALE]), &[], ("pubsub", ""), "7.0.0", "Lists the sharded channels that have listeners.", pubsub::shard_channels),
    row("pubsub|shardnumsub", -2, flags(&[PUB, LOAD, STALE]), &[], ("pubsub", ""), "7.0.0", "Counts the listeners of sharded channels.", pubsub::shard_numsub),
    row("punsubscribe", -1, flags(&[PUB, NOSC, LOAD, STALE]), &[], ("pubsub", ""), "2.0.0", "Listens no longer to patterns.", pubsub::punsubscribe),
    row("spublish", 3, flags(&[PUB, LOAD, STALE, F, REPL]), &[at(NAMED, 1)], ("pubsub", ""), "7.0.0", "Sends a message to a sharded channel.", pubsub::spublish),
    row("ssubscribe", -2, flags(&[PUB, NOSC, LOAD, STALE]), &[range(NAMED, 1, -1, 1)], ("pubsub", ""), "7.0.0", "Listens to sharded channels.", pubsub::ssubscribe),
    row("subscribe", -2, flags(&[PUB, NOSC, LOAD, STALE]), &[], ("pubsub", ""), "2.0.0", "Listens to channels.", pubsub::subscribe),
    row("sunsubscribe", -1, flags(&[PUB, NOSC, LOAD, STALE]), &[range(NAMED, 1, -1, 1)], ("pubsub", ""), "7.0.0", "Listens no longer to sharded channels.", pubsub::sunsubscribe),
    row("unsubscribe", -1, flags(&[PUB, NOSC, LOAD, STALE]), &[], ("pubsub", ""), "2.0.0", "Listens no longer to channels.", pubsub::unsubscribe),
    row("auth", -2, flags(&[NOSC, LOAD, STALE, F, NOAUTH, BUSY]), &[], ("connection", "connection"), "1.0.0", "Says who one is.", connection::auth),
    container("client", "connection", "2.4.0", "Tells about clients, and does things to them."),
    row("client|caching", 3, flags(&[NOSC, LOAD, STALE]), &[], ("connection", "connection"), "6.0.0", "Says whether the next command's keys are tracked.", clients::caching),
    row("client|getname", 2, flags(&[NOSC, LOAD, STALE]), &[], ("connection", "connection"), "2.6.9", "Answers with the connection's name.", clients::getname),
    row("client|getredir", 2, flags(&[NOSC, LOAD, STALE]), &[], ("connection", "connection"), "6.0.0", "Names the client that invalidations are sent to.", clients::getredir),
    row("client|id", 2, flags(&[NOSC, LOAD, STALE]), &[], ("connection", "connection"), "5.0.0", "Answers with the connection's number.", clients::id),
    row("client|info", 2, flags(&[NOSC, LOAD, STALE]), &[], ("connection", "connection"), "6.2.0", "Tells about this connection.", clients::info).tips("nondeterministic_output"),
    row("client|kill", -3, flags(&[ADM, NOSC, LOAD, STALE]), &[], ("connection", "connection"), "2.4.0", "Closes connections.", clients::kill),
    row("client|list", -2, flags(&[ADM, NOSC, LOAD, STALE]), &[], ("connection", "connection"), "2.4.0", "Lists connections.", clients::list).tips("nondeterministic_output"),
    row("client|no-evict", 3, flags(&[ADM, NOSC, LOAD, STALE]), &[], ("connection", "connection"), "7.0.0", "Says that this connection is not to be closed when memory is short.", clients::no_evict),
    row("client|no-touch", 3, flags(&[NOSC, LOAD, STALE]), &[], ("connection", "connection"), "7.2.0", "Says that what this connection reads does not count as used.", clients::no_touch),
    row("client|pause", -3, flags(&[ADM, NOSC, LOAD, STALE]), &[], ("connection", "connection"), "2.9.50", "Puts commands off for a while.", clients::pause),
    row("client|reply", 3, flags(&[NOSC, LOAD, STALE]), &[], ("connection", "connection"), "3.2.0", "Says whether replies are wanted.", clients::reply),
    row("client|setinfo", 4, flags(&[NOSC, LOAD, STALE]), &[], ("connection", "connection"), "7.2.0", "Names the client's library or its version.", clients::setinfo),
    row("client|setname", 3, flags(&[NOSC, LOAD, STALE]), &[], ("connection", "connection"), "2.6.9", "Names the connection.", clients::setname),
    row("client|tracking", -3, flags(&[NOSC, LOAD, STALE]), &[], ("connection", "connection"), "6.0.0", "Asks to be told when keys change that were read.", clients::tracking),
    row("client|trackinginfo", 2, flags(&[NOSC, LOAD, STALE]), &[], ("connection", "connection"), "6.2.0", "Tells what is tracked for this connection.", clients::trackinginfo),
    row("client|unblock", -3, flags(&[ADM, NOSC, LOAD, STALE]), &[], ("connection", "connection"), "5.0.0", "Ends another client's wait.", clients::unblock),
    row("client|unpause", 2, flags(&[ADM, NOSC, LOAD, STALE]), &[], ("connection", "connection"), "6.2.0", "Ends a pause.", clients::unpause),
    row("echo", 2, flags(&[LOAD, STALE, F]), &[], ("connection", "connection"), "1.0.0", "Answers with the same text.", connection::echo),
    row("hello", -1, flags(&[NOSC, LOAD, STALE, F, NOAUTH, BUSY]), &[], ("connection", "connection"), "6.0.0", "Chooses the version of the protocol.", connection::hello),
    row("ping", -1, F, &[], ("connection", "connection"), "1.0.0", "Answers PONG.", connection::ping).tips("request_policy:all_shards response_policy:all_succeeded"),
    row("quit", -1, flags(&[NOSC, LOAD, STALE, F, NOAUTH, BUSY]), &[], ("connection", "connection"), "1.0.0", "Closes the connection.", connection::quit),
    row("reset", 1, flags(&[NOSC, LOAD, STALE, F, NOAUTH, BUSY]), &[], ("connection", "connection"), "6.2.0", "Makes the connection as it was when new.", connection::reset),
    row("select", 2, flags(&[LOAD, STALE, F]), &[], ("connection", "connection"), "1.0.0", "Chooses a database.", connection::select),
    row("command", -1, flags(&[LOAD, STALE]), &[], ("server", "connection"), "2.8.13", "Tells about all commands.", introspection::all).tips("nondeterministic_output_order"),
    container("config", "server", "2.0.0", "Reads and changes settings."),
    row("config|get", -3, flags(&[ADM, NOSC, LOAD, STALE]), &[], ("server", ""), "2.0.0", "Reads settings.", server::config_get),
    row("config|resetstat", 2, flags(&[ADM, NOSC, LOAD, STALE]), &[], ("server", ""), "2.0.0", "Sets statistics to zero.", server::config_resetstat),
    row("config|rewrite", 2, flags(&[ADM, NOSC, LOAD, STALE]), &[], ("server", ""), "2.8.0", "Keeps what CONFIG SET has changed for the next start.", server::config_rewrite),
    row("config|set", -4, flags(&[ADM, NOSC, LOAD, STALE]), &[], ("server", ""), "2.0.0", "Changes settings.", server::config_set).tips("request_policy:all_nodes response_policy:all_succeeded"),
    row("dbsize", 1, flags(&[R, F]), &[], ("server", "keyspace"), "1.0.0", "Counts the keys of the database.", keys::dbsize).tips("request_policy:all_shards response_policy:agg_sum"),
    row("debug", -2, flags(&[ADM, NOSC, LOAD, STALE]), &[], ("server", ""), "1.0.0", "Serves test suites.", debug::debug),
    row("flushall", -1, W, &[], ("server", "keyspace dangerous"), "1.0.0", "Deletes all keys of all databases.", keys::flushall).tips("request_policy:all_shards response_policy:all_succeeded"),
    row("flushdb", -1, W, &[], ("server", "keyspace dangerous"), "1.0.0", "Deletes all keys of the database.", keys::flushdb).tips("request_policy:all_shards response_policy:all_succeeded"),
    row("info", -1, flags(&[LOAD, STALE]), &[], ("server", "dangerous"), "1.0.0", "Tells about the server.", info::info).tips("nondeterministic_output request_policy:all_shards response_policy:special"),
    row("lastsave", 1, flags(&[LOAD, STALE, F]), &[], ("server", "admin dangerous"), "1.0.0", "Answers with the time of the last snapshot.", server::lastsave).tips("nondeterministic_output"),
    container("latency", "server", "2.8.13", "Tells what took long."),
    row("latency|histogram", -2, flags(&[ADM, NOSC, LOAD, STALE]), &[], ("server", ""), "7.0.0", "Tells how long commands take.", latency::latency_histogram).tips("nondeterministic_output request_policy:all_nodes response_policy:special"),
    row("latency|history", 3, flags(&[ADM, NOSC, LOAD, STALE]), &[], ("server", ""), "2.8.13", "Lists when an event took long.", latency::latency_history).tips("nondeterministic_output request_policy:all_nodes response_policy:special"),
    row("latency|latest", 2, flags(&[ADM, NOSC, LOAD, STALE]), &[], ("server", ""), "2.8.13", "Lists the last time that each event took long.", latency::latency_latest).tips("nondeterministic_output request_policy:all_nodes response_policy:special"),
    row("latency|reset", -2, flags(&[ADM, NOSC, LOAD, STALE]), &[], ("server", ""), "2.8.13", "Forgets what took long.", latency::latency_reset).tips("request_policy:all_nodes response_policy:all_succeeded"),
    container("memory", "server", "4.0.0", "Tells about memory."),
    row("memory|doctor", 2, NONE, &[], ("server", ""), "4.0.0", "Gives advice about memory.", memory::doctor).tips("nondeterministic_output request_policy:all_shards response_policy:special"),
    row("memory|purge", 2, NONE, &[], ("server", ""), "4.0.0", "Gives memory back.", memory::purge).tips("request_policy:all_shards response_policy:all_succeeded"),
    row("memory|stats", 2, NONE, &[], ("server", ""), "4.0.0", "Tells how memory is used.", memory::stats).tips("nondeterministic_output request_policy:all_shards response_policy:special"),
    row("memory|usage", -3, R, &[at(LOOK, 2)], ("server", ""), "4.0.0", "Tells how many bytes a key takes.", memory::usage),
    row("monitor", 1, flags(&[ADM, NOSC, LOAD, STALE]), &[], ("server", ""), "1.0.0", "Shows every command that is run.", clients::monitor),
    row("role", 1, flags(&[NOSC, LOAD, STALE, F]), &[], ("server", "admin dangerous"), "2.8.12", "Tells the part in replication.", replication::role),
    container("slowlog", "server", "2.2.12", "Tells about commands that took long."),
    row("slowlog|get", -2, flags(&[ADM, LOAD, STALE]), &[], ("server", ""), "2.2.12", "Lists commands that took long.", latency::slowlog_get).tips("request_policy:all_nodes nondeterministic_output"),
    row("slowlog|len", 2, flags(&[ADM, LOAD, STALE]), &[], ("server", ""), "2.2.12", "Counts commands that took long.", latency::slowlog_len).tips("request_policy:all_nodes response_policy:agg_sum nondeterministic_output"),
    row("slowlog|reset", 2, flags(&[ADM, LOAD, STALE]), &[], ("server", ""), "2.2.12", "Forgets commands that took long.", latency::slowlog_reset).tips("request_policy:all_nodes response_policy:all_succeeded"),
    row("swapdb", 3, flags(&[W, F]), &[], ("server", "keyspace dangerous"), "4.0.0", "Exchanges two databases.", keys::swapdb),
    row("time", 1, flags(&[LOAD, STALE, F]), &[], ("server", ""), "2.6.0", "Tells the time.", server::time).tips("nondeterministic_output"),
    row("wait", 3, NOSC, &[], ("generic", "connection"), "3.0.0", "Waits for replicas.", replication::wait).tips("request_policy:all_shards response_policy:agg_min"),
    row("command|count", 2, flags(&[LOAD, STALE]), &[], ("server", "connection"), "2.8.13", "Counts the commands.", introspection::count),
    row("command|docs", -2, flags(&[LOAD, STALE]), &[], ("server", "connection"), "7.0.0", "Explains commands.", introspection::docs).tips("nondeterministic_output_order"),
    row("command|getkeys", -4, flags(&[LOAD, STALE]), &[], ("server", "connection"), "2.8.13", "Finds the keys of a command.", introspection::getkeys),
    row("command|getkeysandflags", -4, flags(&[LOAD, STALE]), &[], ("server", "connection"), "7.0.0", "Finds the keys of a command and what is done to them.", introspection::getkeysandflags),
    row("command|info", -2, flags(&[LOAD, STALE]), &[], ("server", "connection"), "2.8.13", "Tells about commands.", introspection::info).tips("nondeterministic_output_order"),
    row("command|list", -2, flags(&[LOAD, STALE]), &[], ("server", "connection"), "7.0.0", "Lists the names of commands.", introspection::list).tips("nondeterministic_output_order"),
    row("save", 1, flags(&[ADM, NOSC, NOASYNC, NOMULTI]), &[], ("server", ""), "1.0.0", "Writes a snapshot before it answers.", server::save),
    row("backup", 2, flags(&[ADM, NOSC]), &[], ("server", "dangerous"), "7.0.0", "Writes a copy of everything into a folder of this name. Not in Redis.", server::backup),
    row("bgsave", -1, flags(&[ADM, NOSC, NOASYNC]), &[], ("server", ""), "1.0.0", "Writes a snapshot in the background.", server::bgsave),
    row("bgrewriteaof", 1, flags(&[ADM, NOSC, NOASYNC]), &[], ("server", ""), "1.0.0", "Writes the log anew in the background.", server::bgrewriteaof),
    row("shutdown", -1, flags(&[ADM, NOSC, LOAD, STALE, NOMULTI, BUSY]), &[], ("server", ""), "1.0.0", "Ends the server.", server::shutdown),
    row("eval", -3, flags(&[NOSC, STALE, NOMON, NOKEYS, REPL]), &[counted(CHANGE, 2)], ("scripting", "scripting"), "2.6.0", "Runs a script.", scripting::eval),
    row("eval_ro", -3, flags(&[R, NOSC, STALE, NOMON, NOKEYS]), &[counted(READ, 2)], ("scripting", "scripting"), "7.0.0", "Runs a script that may not write.", scripting::eval_ro),
    row("evalsha", -3, flags(&[NOSC, STALE, NOMON, NOKEYS, REPL]), &[counted(CHANGE, 2)], ("scripting", "scripting"), "2.6.0", "Runs a script that the server knows.", scripting::evalsha),
    row("evalsha_ro", -3, flags(&[R, NOSC, STALE, NOMON, NOKEYS]), &[counted(READ, 2)], ("scripting", "scripting"), "7.0.0", "Runs a script that the server knows and that may not write.", scripting::evalsha_ro),
    container("script", "scripting", "2.6.0", "Manages scripts."),
    row("script|debug", 3, NOSC, &[], ("scripting", "scripting"), "3.2.0", "Turns the debugger on or off.", scripting::debug),
    row("script|exists", -3, NOSC, &[], ("scripting", "scripting"), "2.6.0", "Says which scripts the server knows.", scripting::exists).tips("request_policy:all_shards response_policy:agg_logical_and"),
    row("script|flush", -2, NOSC, &[], ("scripting", "scripting"), "2.6.0", "Forgets all scripts.", scripting::flush).tips("request_policy:all_nodes response_policy:all_succeeded"),
    row("script|kill", 2, flags(&[NOSC, BUSY]), &[], ("scripting", "scripting"), "2.6.0", "Ends the script that runs.", scripting::kill).tips("request_policy:all_shards response_policy:one_succeeded"),
    row("script|load", 3, flags(&[NOSC, STALE]), &[], ("scripting", "scripting"), "2.6.0", "Makes a script known.", scripting::load).tips("request_policy:all_nodes response_policy:all_succeeded"),
    row("fcall", -3, flags(&[NOSC, STALE, NOMON, NOKEYS, REPL]), &[counted(CHANGE, 2)], ("scripting", "scripting"), "7.0.0", "Runs a function.", functions::fcall),
    row("fcall_ro", -3, flags(&[R, NOSC, STALE, NOMON, NOKEYS]), &[counted(READ, 2)], ("scripting", "scripting"), "7.0.0", "Runs a function that may not write.", functions::fcall_ro),
    container("function", "scripting", "7.0.0", "Manages functions."),
    row("function|delete", 3, flags(&[W, NOSC]), &[], ("scripting", "scripting"), "7.0.0", "Deletes a library.", functions::delete).tips("request_policy:all_shards response_policy:all_succeeded"),
    row("function|dump", 2, NOSC, &[], ("scripting", "scripting"), "7.0.0", "Gives all libraries in one string.", functions::dump),
    row("function|flush", -2, flags(&[W, NOSC]), &[], ("scripting", "scripting"), "7.0.0", "Deletes all libraries.", functions::flush).tips("request_policy:all_shards response_policy:all_succeeded"),
    row("function|help", 2, flags(&[LOAD, STALE]), &[], ("scripting", "scripting"), "7.0.0", "Lists these subcommands.", introspection::help),
    row("function|kill", 2, flags(&[NOSC, BUSY]), &[], ("scripting", "scripting"), "7.0.0", "Ends the function that runs.", functions::kill).tips("request_policy:all_shards response_policy:one_succeeded"),
    row("function|list", -2, NOSC, &[], ("scripting", "scripting"), "7.0.0", "Lists libraries and their functions.", functions::list).tips("nondeterministic_output_order"),
    row("function|load", -3, flags(&[W, OOM, NOSC]), &[], ("scripting", "scripting"), "7.0.0", "Loads a library.", functions::load).tips("request_policy:all_shards response_policy:all_succeeded"),
    row("function|restore", -3, flags(&[W, OOM, NOSC]), &[], ("scripting", "scripting"), "7.0.0", "Loads the libraries of a dump.", functions::restore).tips("request_policy:all_shards response_policy:all_succeeded"),
    row("function|stats", 2, flags(&[NOSC, BUSY]), &[], ("scripting", "scripting"), "7.0.0", "Tells which function runs, and how many there are.", functions::stats).tips("nondeterministic_output request_policy:all_shards response_policy:special"),
    row("xack", -4, flags(&[W, F]), &[at(UPDATE, 1)], ("stream", "stream"), "5.0.0", "Acknowledges entries for a group.", stream_groups::xack),
    row("xadd", -5, flags(&[W, OOM, F]), &[at(UPDATE, 1)], ("stream", "stream"), "5.0.0", "Appends an entry.", streams::xadd).tips("nondeterministic_output"),
    row("xautoclaim", -6, flags(&[W, F]), &[at(TRIM, 1)], ("stream", "stream"), "6.2.0", "Takes over entries that others have held too long.", stream_claims::xautoclaim).tips("nondeterministic_output"),
    row("xclaim", -6, flags(&[W, F]), &[at(UPDATE, 1)], ("stream", "stream"), "5.0.0", "Takes over entries that others have had.", stream_claims::xclaim).tips("nondeterministic_output"),
    row("xdel", -3, flags(&[W, F]), &[at(TRIM, 1)], ("stream", "stream"), "5.0.0", "Deletes entries.", streams::xdel),
    container("xgroup", "stream", "5.0.0", "Manages groups of readers."),
    row("xgroup|create", -5, flags(&[W, OOM]), &[at(INSERT, 2)], ("stream", "stream"), "5.0.0", "Makes a group.", stream_groups::create),
    row("xgroup|createconsumer", 5, flags(&[W, OOM]), &[at(INSERT, 2)], ("stream", "stream"), "6.2.0", "Makes a consumer.", stream_groups::createconsumer),
    row("xgroup|delconsumer", 5, W, &[at(TRIM, 2)], ("stream", "stream"), "5.0.0", "Deletes a consumer.", stream_groups::delconsumer),
    row("xgroup|destroy", 4, W, &[at(TRIM, 2)], ("stream", "stream"), "5.0.0", "Deletes a group.", stream_groups::destroy),
    row("xgroup|setid", -5, W, &[at(UPDATE, 2)], ("stream", "stream"), "5.0.0", "Says what a group has read.", stream_groups::setid),
    container("xinfo", "stream", "5.0.0", "Tells about streams."),
    row("xinfo|consumers", 4, R, &[at(READ, 2)], ("stream", "stream"), "5.0.0", "Tells about a group's consumers.", stream_info::info_consumers).tips("nondeterministic_output"),
    row("xinfo|groups", 3, R, &[at(READ, 2)], ("stream", "stream"), "5.0.0", "Tells about a stream's groups.", stream_info::info_groups),
    row("xinfo|stream", -3, R, &[at(READ, 2)], ("stream", "stream"), "5.0.0", "Tells about a stream.", stream_info::info_stream),
    row("xlen", 2, flags(&[R, F]), &[at(LOOK, 1)], ("stream", "stream"), "5.0.0", "Answers with the number of entries.", streams::xlen),
    row("xpending", -3, R, &[at(READ, 1)], ("stream", "stream"), "5.0.0", "Tells what is not yet acknowledged.", stream_groups::xpending).tips("nondeterministic_output"),
    row("xrange", -4, R, &[at(READ, 1)], ("stream", "stream"), "5.0.0", "Reads a range of entries.", streams::xrange),
    row("xread", -4, flags(&[R, BLK]), &[after(READ, "STREAMS", 1, -1, 1, 2)], ("stream", "stream"), "5.0.0", "Reads new entries of streams, waiting for them if wanted.", streams::xread),
    row("xreadgroup", -7, flags(&[W, BLK]), &[after(READ, "STREAMS", 4, -1, 1, 2)], ("stream", "stream"), "5.0.0", "Reads new entries for a group, waiting for them if wanted.", stream_groups::xreadgroup),
    row("xrevrange", -4, R, &[at(READ, 1)], ("stream", "stream"), "5.0.0", "Reads a range of entries from the newest.", streams::xrevrange),
    row("xsetid", -3, flags(&[W, OOM, F]), &[at(UPDATE, 1)], ("stream", "stream"), "5.0.0", "Sets a stream's last id.", streams::xsetid),
    row("xtrim", -4, W, &[at(TRIM, 1)], ("stream", "stream"), "5.0.0", "Removes the oldest entries.", streams::xtrim).tips("nondeterministic_output"),
    row("bitcount", -2, R, &[at(READ, 1)], ("bitmap", "bitmap"), "2.6.0", "Counts the bits that are set.", bits::bitcount),
    row("bitfield", -2, flags(&[W, OOM]), &[at(VARIES, 1)], ("bitmap", "bitmap"), "3.2.0", "Reads and changes numbers of any width within a string.", bits::bitfield),
    row("bitfield_ro", -2, flags(&[R, F]), &[at(READ, 1)], ("bitmap", "bitmap"), "6.0.0", "Reads numbers of any width within a string.", bits::bitfield_ro),
    row("bitop", -4, flags(&[W, OOM]), &[at(PUT, 2), range(READ, 3, -1, 1)], ("bitmap", "bitmap"), "2.6.0", "Combines strings bit by bit.", bits::bitop),
    row("bitpos", -3, R, &[at(READ, 1)], ("bitmap", "bitmap"), "2.8.7", "Finds the first bit that is set, or not.", bits::bitpos),
    row("getbit", 3, flags(&[R, F]), &[at(READ, 1)], ("bitmap", "bitmap"), "2.2.0", "Reads a bit.", bits::getbit),
    row("setbit", 4, flags(&[W, OOM]), &[at(CHANGE, 1)], ("bitmap", "bitmap"), "2.2.0", "Sets a bit.", bits::setbit),
    row("object|help", 2, flags(&[LOAD, STALE]), &[], ("generic", "keyspace"), "6.2.0", "Lists these subcommands.", introspection::help),
    row("pubsub|help", 2, flags(&[LOAD, STALE]), &[], ("pubsub", ""), "6.2.0", "Lists these subcommands.", introspection::help),
    row("client|help", 2, flags(&[LOAD, STALE]), &[], ("connection", "connection"), "5.0.0", "Lists these subcommands.", introspection::help),
    row("config|help", 2, flags(&[LOAD, STALE]), &[], ("server", ""), "5.0.0", "Lists these subcommands.", introspection::help),
    row("latency|help", 2, flags(&[LOAD, STALE]), &[], ("server", ""), "2.8.13", "Lists these subcommands.", introspection::help),
    row("memory|help", 2, flags(&[LOAD, STALE]), &[], ("server", ""), "4.0.0", "Lists these subcommands.", introspection::help),
    row("slowlog|help", 2, flags(&[LOAD, STALE]), &[], ("server", ""), "6.2.0", "Lists these subcommands.", introspection::help),
    row("script|help", 2, flags(&[LOAD, STALE]), &[], ("scripting", "scripting"), "5.0.0", "Lists these subcommands.", introspection::help),
    row("xgroup|help", 2, flags(&[LOAD, STALE]), &[], ("stream", "stream"), "5.0.0", "Lists these subcommands.", introspection::help),
    row("xinfo|help", 2, flags(&[LOAD, STALE]), &[], ("stream", "stream"), "5.0.0", "Lists these subcommands.", introspection::help),
    row("command|help", 2, flags(&[LOAD, STALE]), &[], ("server", "connection"), "5.0.0", "Lists these subcommands.", introspection::help),
    row("pfadd", -2, flags(&[W, OOM, F]), &[at(INSERT, 1)], ("hyperloglog", "hyperloglog"), "2.8.9", "Adds elements to be counted.", hyperloglog::pfadd),
    row("pfcount", -2, flags(&[R, REPL]), &[range(TOUCH, 1, -1, 1)], ("hyperloglog", "hyperloglog"), "2.8.9", "Counts distinct elements, nearly.", hyperloglog::pfcount),
    row("pfmerge", -2, flags(&[W, OOM]), &[at(MERGE, 1), range(READ, 2, -1, 1)], ("hyperloglog", "hyperloglog"), "2.8.9", "Unites what was counted.", hyperloglog::pfmerge),
    row("sync", 1, flags(&[ADM, NOSC, NOASYNC, NOMULTI]), &[], ("server", ""), "1.0.0", "Makes the connection a replica: answers with all data, then with every change.", replication::sync),
    row("psync", -3, flags(&[ADM, NOSC, NOASYNC, NOMULTI]), &[], ("server", ""), "2.8.0", "Makes the connection a replica, in the form that replicas use.", replication::psync),
    row("replconf", -1, flags(&[ADM, NOSC, LOAD, STALE, BUSY]), &[], ("server", ""), "3.0.0", "Lets a replica tell about itself.", replication::replconf),
    row("replicaof", 3, flags(&[ADM, NOSC, STALE, NOASYNC]), &[], ("server", ""), "5.0.0", "Makes this server a replica of another; NO ONE ends that.", replication::replicaof),
    row("slaveof", 3, flags(&[ADM, NOSC, STALE, NOASYNC]), &[], ("server", ""), "1.0.0", "Older name of REPLICAOF.", replication::replicaof),
    row("failover", -1, flags(&[ADM, NOSC, STALE]), &[], ("server", ""), "6.2.0", "Answers with an error: there is nobody to take over.", replication::failover),
    row("asking", 1, F, &[], ("cluster", "connection"), "3.0.0", "Answers with an error: this is no cluster.", replication::no_cluster),
    row("readonly", 1, flags(&[LOAD, STALE, F]), &[], ("cluster", "connection"), "3.0.0", "Answers with an error: this is no cluster.", replication::no_cluster),
    row("readwrite", 1, flags(&[LOAD, STALE, F]), &[], ("cluster", "connection"), "3.0.0", "Answers with an error: this is no cluster.", replication::no_cluster),
    row("migrate", -6, W, &[at(TAKE, 3), after(TAKE_SOME, "KEYS", -2, -1, 1, 0)], ("generic", "keyspace dangerous"), "2.6.0", "Answers with an error: use the import and export of the command line.", keys::migrate).tips("nondeterministic_output"),
    row("restore-asking", -4, flags(&[W, OOM, ASK]), &[at(PUT, 1)], ("server", "keyspace dangerous"), "3.0.0", "Makes a key from what DUMP has given, as a cluster does.", keys::restore),
    row("lolwut", -1, flags(&[R, F]), &[], ("server", ""), "5.0.0", "Draws something.", server::lolwut),
    row("pfdebug", 3, flags(&[W, OOM, ADM]), &[at(TOUCH, 2)], ("hyperloglog", "hyperloglog"), "2.8.9", "Serves test suites.", hyperloglog::pfdebug),
    row("pfselftest", 1, ADM, &[], ("hyperloglog", "hyperloglog"), "2.8.9", "Serves test suites.", hyperloglog::pfselftest),
    row("latency|doctor", 2, flags(&[ADM, NOSC, LOAD, STALE]), &[], ("server", ""), "2.8.13", "Explains what took long.", latency::latency_doctor).tips("nondeterministic_output request_policy:all_nodes response_policy:special"),
    row("latency|graph", 3, flags(&[ADM, NOSC, LOAD, STALE]), &[], ("server", ""), "2.8.13", "Draws how long an event took.", latency::latency_graph).tips("nondeterministic_output request_policy:all_nodes response_policy:special"),
    row("memory|malloc-stats", 2, NONE, &[], ("server", ""), "4.0.0", "Tells about the allocator.", memory::malloc_stats).tips("nondeterministic_output request_policy:all_shards response_policy:special"),
    container("module", "server", "4.0.0", "Manages modules: there are none."),
    row("module|list", 2, flags(&[ADM, NOSC]), &[], ("server", ""), "4.0.0", "Lists no modules.", server::module_list).tips("nondeterministic_output_order"),
    row("module|load", -3, flags(&[ADM, NOSC, NOASYNC]), &[], ("server", ""), "4.0.0", "Answers with an error: modules cannot be loaded.", server::module_refused),
    row("module|loadex", -3, flags(&[ADM, NOSC, NOASYNC]), &[], ("server", ""), "7.0.0", "Answers with an error: modules cannot be loaded.", server::module_refused),
    row("module|unload", 3, flags(&[ADM, NOSC, NOASYNC]), &[], ("server", ""), "4.0.0", "Answers with an error: modules cannot be loaded.", server::module_refused),
    row("module|help", 2, flags(&[LOAD, STALE]), &[], ("server", ""), "5.0.0", "Lists these subcommands.", introspection::help),
    container("cluster", "cluster", "3.0.0", "Answers with an error: this is no cluster."),
    row("cluster|addslots", -3, flags(&[ADM, STALE, NOASYNC]), &[], ("cluster", ""), "3.0.0", "Answers with an error: this is no cluster.", replication::no_cluster),
    row("cluster|addslotsrange", -4, flags(&[ADM, STALE, NOASYNC]), &[], ("cluster", ""), "7.0.0", "Answers with an error: this is no cluster.", replication::no_cluster),
    row("cluster|bumpepoch", 2, flags(&[ADM, STALE, NOASYNC]), &[], ("cluster", ""), "3.0.0", "Answers with an error: this is no cluster.", replication::no_cluster).tips("nondeterministic_output"),
    row("cluster|count-failure-reports", 3, flags(&[ADM, STALE]), &[], ("cluster", ""), "3.0.0", "Answers with an error: this is no cluster.", replication::no_cluster).tips("nondeterministic_output"),
    row("cluster|countkeysinslot", 3, STALE, &[], ("cluster", ""), "3.0.0", "Answers with an error: this is no cluster.", replication::no_cluster),
    row("cluster|delslots", -3, flags(&[ADM, STALE, NOASYNC]), &[], ("cluster", ""), "3.0.0", "Answers with an error: this is no cluster.", replication::no_cluster),
    row("cluster|delslotsrange", -4, flags(&[ADM, STALE, NOASYNC]), &[], ("cluster", ""), "7.0.0", "Answers with an error: this is no cluster.", replication::no_cluster),
    row("cluster|failover", -2, flags(&[ADM, STALE, NOASYNC]), &[], ("cluster", ""), "3.0.0", "Answers with an error: this is no cluster.", replication::no_cluster),
    row("cluster|flushslots", 2, flags(&[ADM, STALE, NOASYNC]), &[], ("cluster", ""), "3.0.0", "Answers with an error: this is no cluster.", replication::no_cluster),
    row("cluster|forget", 3, flags(&[ADM, STALE, NOASYNC]), &[], ("cluster", ""), "3.0.0", "Answers with an error: this is no cluster.", replication::no_cluster),
    row("cluster|getkeysinslot", 4, STALE, &[], ("cluster", ""), "3.0.0", "Answers with an error: this is no cluster.", replication::no_cluster).tips("nondeterministic_output"),
    row("cluster|help", 2, flags(&[LOAD, STALE]), &[], ("cluster", ""), "5.0.0", "Answers with an error: this is no cluster.", replication::no_cluster),
    row("cluster|info", 2, STALE, &[], ("cluster", ""), "3.0.0", "Answers with an error: this is no cluster.", replication::no_cluster).tips("nondeterministic_output"),
    row("cluster|keyslot", 3, STALE, &[], ("cluster", ""), "3.0.0", "Answers with an error: this is no cluster.", replication::no_cluster),
    row("cluster|links", 2, STALE, &[], ("cluster", ""), "7.0.0", "Answers with an error: this is no cluster.", replication::no_cluster).tips("nondeterministic_output"),
    row("cluster|meet", -4, flags(&[ADM, STALE, NOASYNC]), &[], ("cluster", ""), "3.0.0", "Answers with an error: this is no cluster.", replication::no_cluster),
    row("cluster|myid", 2, STALE, &[], ("cluster", ""), "3.0.0", "Answers with an error: this is no cluster.", replication::no_cluster),
    row("cluster|nodes", 2, STALE, &[], ("cluster", ""), "3.0.0", "Answers with an error: this is no cluster.", replication::no_cluster).tips("nondeterministic_output"),
    row("cluster|replicas", 3, flags(&[ADM, STALE]), &[], ("cluster", ""), "5.0.0", "Answers with an error: this is no cluster.", replication::no_cluster).tips("nondeterministic_output"),
    row("cluster|replicate", 3, flags(&[ADM, STALE, NOASYNC]), &[], ("cluster", ""), "3.0.0", "Answers with an error: this is no cluster.", replication::no_cluster),
    row("cluster|reset", -2, flags(&[ADM, NOSC, STALE]), &[], ("cluster", ""), "3.0.0", "Answers with an error: this is no cluster.", replication::no_cluster),
    row("cluster|saveconfig", 2, flags(&[ADM, STALE, NOASYNC]), &[], ("cluster", ""), "3.0.0", "Answers with an error: this is no cluster.", replication::no_cluster),
    row("cluster|set-config-epoch", 3, flags(&[ADM, STALE, NOASYNC]), &[], ("cluster", ""), "3.0.0", "Answers with an error: this is no cluster.", replication::no_cluster),
    row("cluster|setslot", -4, flags(&[ADM, STALE, NOASYNC]), &[], ("cluster", ""), "3.0.0", "Answers with an error: this is no cluster.", replication::no_cluster),
    row("cluster|shards", 2, STALE, &[], ("cluster", ""), "7.0.0", "Answers with an error: this is no cluster.", replication::no_cluster).tips("nondeterministic_output"),
    row("cluster|slaves", 3, flags(&[ADM, STALE]), &[], ("cluster", ""), "3.0.0", "Answers with an error: this is no cluster.", replication::no_cluster).tips("nondeterministic_output"),
    row("cluster|slots", 2, STALE, &[], ("cluster", ""), "3.0.0", "Answers with an error: this is no cluster.", replication::no_cluster).tips("nondeterministic_output"),
    container("acl", "server", "6.0.0", "Manages users and what they may do."),
    row("acl|cat", -2, flags(&[NOSC, LOAD, STALE]), &[], ("server", ""), "6.0.0", "Lists categories of commands, or the commands of one.", acl::cat),
    row("acl|deluser", -3, flags(&[ADM, NOSC, LOAD, STALE]), &[], ("server", ""), "6.0.0", "Deletes users and closes their connections.", acl::deluser),
    row("acl|dryrun", -4, flags(&[ADM, NOSC, LOAD, STALE]), &[], ("server", ""), "7.0.0", "Says whether a user might run a command.", acl::dryrun),
    row("acl|genpass", -2, flags(&[NOSC, LOAD, STALE]), &[], ("server", ""), "6.0.0", "Makes a password.", acl::genpass),
    row("acl|getuser", 3, flags(&[ADM, NOSC, LOAD, STALE]), &[], ("server", ""), "6.0.0", "Tells about a user.", acl::getuser),
    row("acl|help", 2, flags(&[LOAD, STALE]), &[], ("server", ""), "6.0.0", "Lists these subcommands.", introspection::help),
    row("acl|list", 2, flags(&[ADM, NOSC, LOAD, STALE]), &[], ("server", ""), "6.0.0", "Lists users with their rules.", acl::list),
    row("acl|load", 2, flags(&[ADM, NOSC, LOAD, STALE]), &[], ("server", ""), "6.0.0", "Reads the file of users.", acl::load),
    row("acl|log", -2, flags(&[ADM, NOSC, LOAD, STALE]), &[], ("server", ""), "6.0.0", "Lists what was refused.", acl::log),
    row("acl|save", 2, flags(&[ADM, NOSC, LOAD, STALE]), &[], ("server", ""), "6.0.0", "Writes the file of users.", acl::save),
    row("acl|setuser", -3, flags(&[ADM, NOSC, LOAD, STALE]), &[], ("server", ""), "6.0.0", "Makes or changes a user.", acl::setuser),
    row("acl|users", 2, flags(&[ADM, NOSC, LOAD, STALE]), &[], ("server", ""), "6.0.0", "Lists the names of users.", acl::users),
    row("acl|whoami", 2, flags(&[NOSC, LOAD, STALE]), &[], ("server", ""), "6.0.0", "Names the connection's user.", acl::whoami),
    row("geoadd", -5, flags(&[W, OOM]), &[at(UPDATE, 1)], ("geo", "geo"), "3.2.0", "Adds places.", geo::geoadd),
    row("geodist", -4, R, &[at(READ, 1)], ("geo", "geo"), "3.2.0", "Tells the distance between two places.", geo::geodist),
    row("geohash", -2, R, &[at(READ, 1)], ("geo", "geo"), "3.2.0", "Tells places in the letters that other programs know.", geo::geohash),
    row("geopos", -2, R, &[at(READ, 1)], ("geo", "geo"), "3.2.0", "Tells where places are.", geo::geopos),
    row("georadius", -6, flags(&[W, OOM]), &[at(READ, 1), after(PUT, "STORE", 6, 0, 1, 0), after(PUT, "STOREDIST", 6, 0, 1, 0)], ("geo", "geo"), "3.2.0", "Finds places within a circle around a position, and stores them if wanted.", geo::georadius),
    row("georadius_ro", -6, R, &[at(READ, 1)], ("geo", "geo"), "3.2.10", "Finds places within a circle around a position.", geo::georadius_ro),
    row("georadiusbymember", -5, flags(&[W, OOM]), &[at(READ, 1), after(PUT, "STORE", 5, 0, 1, 0), after(PUT, "STOREDIST", 5, 0, 1, 0)], ("geo", "geo"), "3.2.0", "Finds places within a circle around another, and stores them if wanted.", geo::georadiusbymember),
    row("georadiusbymember_ro", -5, R, &[at(READ, 1)], ("geo", "geo"), "3.2.10", "Finds places within a circle around another.", geo::georadiusbymember_ro),
    row("geosearch", -7, R, &[at(READ, 1)], ("geo", "geo"), "6.2.0", "Finds places within a circle or a box.", geo::geosearch),
    row("geosearchstore", -8, flags(&[W, OOM]), &[at(PUT, 1), at(READ, 2)], ("geo", "geo"), "6.2.0", "Stores the places within a circle or a box.", geo::geosearchstore),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_name_stands_once_and_each_row_makes_sense() {
        let mut names = BTreeSet::new();
        for row in COMMANDS {
            assert!(names.insert(row.name), "{} stands twice", row.name);
            assert_eq!(row.name, row.name.to_ascii_lowercase());
            assert!(row.help.ends_with('.'), "{}", row.name);
            assert!(!(row.flags.has(W) && row.flags.has(R)), "{}", row.name);
            if let Some(container) = row.container() {
                assert!(COMMANDS.iter().any(|row| row.name == container), "{}", row.name);
            }
        }
    }
}
