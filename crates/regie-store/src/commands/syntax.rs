//! What each command's arguments are, for COMMAND DOCS and the hints of clients.
//!
//! A row is read as Redis's reference writes a command, with what a program wants to know beside it:
//!
//! | written | is |
//! |---|---|
//! | `value` | a string called so |
//! | `count<int>` | of another type: `int`, `double`, `key`, `pattern`, `time` (unix time), `token` (nothing but its word) |
//! | `key<key>#0` | a key that the command's key specification 0 finds |
//! | `'EX'seconds<int>` | the word EX, then a number |
//! | `mode('ON'on<token>\|'OFF'off<token>)` | one of these |
//! | `pair{field value}` | these, one after the other |
//! | `[count<int>]` | may be left out |
//! | `key<key>*`, `**` | may come again; with its word each time |

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Argument {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) token: Option<&'static str>,
    pub(super) key_spec: Option<u32>,
    pub(super) optional: bool,
    pub(super) multiple: bool,
    pub(super) multiple_token: bool,
    pub(super) inside: Vec<Argument>,
}

/// What an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    #[default]
    String,
    Integer,
    Double,
    Key,
    Pattern,
    UnixTime,
    PureToken,
    OneOf,
    Block,
}

impl Kind {
    /// As COMMAND DOCS calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::Key => "key",
            Self::Pattern => "pattern",
            Self::UnixTime => "unix-time",
            Self::PureToken => "pure-token",
            Self::OneOf => "oneof",
            Self::Block => "block",
        }
    }
}

/// The arguments of the command called `name`; none where it takes none.
pub(super) fn arguments(name: &str) -> Vec<Argument> {
    let row = SYNTAX.binary_search_by(|(row, _)| (*row).cmp(name));
    let mut reader = Reader { rest: row.map_or("", |at| SYNTAX[at].1) };
    reader.list(' ')
}

struct Reader {
    rest: &'static str,
}

impl Reader {
    fn takes(&mut self, prefix: &str) -> bool {
        let rest = self.rest.strip_prefix(prefix);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// What stands before the first byte for which `end` holds, or before the end.
    fn until(&mut self, end: impl Fn(char) -> bool) -> &'static str {
        let (text, rest) = self.rest.split_at(self.rest.find(end).unwrap_or(self.rest.len()));
        self.rest = rest;
        text
    }

    fn list(&mut self, between: char) -> Vec<Argument> {
        let mut all = Vec::new();
        while !self.rest.is_empty() && !self.rest.starts_with([')', '}', ']']) {
            all.push(self.argument());
            if self.rest.starts_with(between) {
                self.rest = &self.rest[1..];
            }
        }
        all
    }

    fn argument(&mut self) -> Argument {
        if self.takes("[") {
            let inside = self.argument();
            assert!(self.takes("]"), "a row is well formed: {}", self.rest);
            return Argument { optional: true, ..inside };
        }
        let mut out = Argument::default();
        if self.takes("'") {
            out.token = Some(self.until(|c| c == '\''));
            self.rest = &self.rest[1..];
        }
        out.name = self.until(|c| "<({}[])|*# ".contains(c));
        if self.takes("<") {
            out.kind = match self.until(|c| c == '>') {
                "int" => Kind::Integer,
                "double" => Kind::Double,
                "key" => Kind::Key,
                "pattern" => Kind::Pattern,
                "time" => Kind::UnixTime,
                "token" => Kind::PureToken,
                other => panic!("a row is well formed: {other}"),
            };
            self.rest = &self.rest[1..];
        } else if self.takes("(") {
            (out.kind, out.inside) = (Kind::OneOf, self.list('|'));
            assert!(self.takes(")"), "a row is well formed: {}", self.rest);
        } else if self.takes("{") {
            (out.kind, out.inside) = (Kind::Block, self.list(' '));
            assert!(self.takes("}"), "a row is well formed: {}", self.rest);
        }
        if self.takes("#") {
            out.key_spec = self.until(|c| !c.is_ascii_digit()).parse().ok();
        }
        out.multiple = self.takes("*");
        out.multiple_token = out.multiple && self.takes("*");
        out
    }
}

/// By the command's name, in order.
#[rustfmt::skip]
static SYNTAX: &[(&str, &str)] = &[
    ("acl|cat", "[categoryname]"),
    ("acl|deluser", "username*"),
    ("acl|dryrun", "username command [arg*]"),
    ("acl|genpass", "[bits<int>]"),
    ("acl|getuser", "username"),
    ("acl|log", "[operation(count<int>|'RESET'reset<token>)]"),
    ("acl|setuser", "username [rule*]"),
    ("append", "key<key>#0 value"),
    ("auth", "[username] password"),
    ("backup", "name"),
    ("bgsave", "['SCHEDULE'schedule<token>]"),
    ("bitcount", "key<key>#0 [index{start<int> end<int> [index_unit('BYTE'byte<token>|'BIT'bit<token>)]}]"),
    ("bitfield", "key<key>#0 [operation('GET'encoding_offset{encoding offset<int>}|write{['OVERFLOW'wrap_sat_fail('WRAP'wrap<token>|'SAT'sat<token>|'FAIL'fail<token>)] write_operation('SET'encoding_offset_value{encoding offset<int> value<int>}|'INCRBY'encoding_offset_increment{encoding offset<int> increment<int>})})*]"),
    ("bitfield_ro", "key<key>#0 ['GET'encoding_offset{encoding offset<int>}**]"),
    ("bitop", "operation destkey<key>#0 key<key>#1*"),
    ("bitpos", "key<key>#0 bit<int> [index{start<int> [end_index{end<int> [index_unit('BYTE'byte<token>|'BIT'bit<token>)]}]}]"),
    ("blmove", "source<key>#0 destination<key>#1 wherefrom('LEFT'left<token>|'RIGHT'right<token>) whereto('LEFT'left<token>|'RIGHT'right<token>) timeout<double>"),
    ("blmpop", "timeout<double> numkeys<int> key<key>#0* where('LEFT'left<token>|'RIGHT'right<token>) ['COUNT'count<int>]"),
    ("blpop", "key<key>#0* timeout<double>"),
    ("brpop", "key<key>#0* timeout<double>"),
    ("brpoplpush", "source<key>#0 destination<key>#1 timeout<double>"),
    ("bzmpop", "timeout<double> numkeys<int> key<key>#0* where('MIN'min<token>|'MAX'max<token>) ['COUNT'count<int>]"),
    ("bzpopmax", "key<key>#0* timeout<double>"),
    ("bzpopmin", "key<key>#0* timeout<double>"),
    ("client|caching", "mode('YES'yes<token>|'NO'no<token>)"),
    ("client|kill", "filter(ip:port|new-format(['ID'client-id<int>]|['TYPE'normal_master_slave_pubsub('NORMAL'normal<token>|'MASTER'master<token>|'SLAVE'slave<token>|'REPLICA'replica<token>|'PUBSUB'pubsub<token>)]|['USER'username]|['ADDR'ip:port]|['LADDR'ip:port]|['SKIPME'yes/no])*)"),
    ("client|list", "['TYPE'normal_master_replica_pubsub('NORMAL'normal<token>|'MASTER'master<token>|'REPLICA'replica<token>|'PUBSUB'pubsub<token>)] ['ID'id{client-id<int>*}]"),
    ("client|no-evict", "enabled('ON'on<token>|'OFF'off<token>)"),
    ("client|no-touch", "enabled('ON'on<token>|'OFF'off<token>)"),
    ("client|pause", "timeout<int> [mode('WRITE'write<token>|'ALL'all<token>)]"),
    ("client|reply", "on_off_skip('ON'on<token>|'OFF'off<token>|'SKIP'skip<token>)"),
    ("client|setinfo", "attr('LIB-NAME'libname|'LIB-VER'libver)"),
    ("client|setname", "connection-name"),
    ("client|tracking", "status('ON'on<token>|'OFF'off<token>) ['REDIRECT'client-id<int>] ['PREFIX'prefix**] ['BCAST'bcast<token>] ['OPTIN'optin<token>] ['OPTOUT'optout<token>] ['NOLOOP'noloop<token>]"),
    ("client|unblock", "client-id<int> [timeout_error('TIMEOUT'timeout<token>|'ERROR'error<token>)]"),
    ("cluster|addslots", "slot<int>*"),
    ("cluster|addslotsrange", "start-slot_end-slot{start-slot<int> end-slot<int>}*"),
    ("cluster|count-failure-reports", "node-id"),
    ("cluster|countkeysinslot", "slot<int>"),
    ("cluster|delslots", "slot<int>*"),
    ("cluster|delslotsrange", "start-slot_end-slot{start-slot<int> end-slot<int>}*"),
    ("cluster|failover", "[options('FORCE'force<token>|'TAKEOVER'takeover<token>)]"),
    ("cluster|forget", "node-id"),
    ("cluster|getkeysinslot", "slot<int> count<int>"),
    ("cluster|keyslot", "key"),
    ("cluster|meet", "ip port<int> [cluster_bus_port<int>]"),
    ("cluster|replicas", "node-id"),
    ("cluster|replicate", "node-id"),
    ("cluster|reset", "[hard_soft('HARD'hard<token>|'SOFT'soft<token>)]"),
    ("cluster|set-config-epoch", "config-epoch<int>"),
    ("cluster|setslot", "slot<int> subcommand('IMPORTING'node-id|'MIGRATING'node-id|'NODE'node-id|'STABLE'stable<token>)"),
    ("cluster|slaves", "node-id"),
    ("command|docs", "[command-name*]"),
    ("command|getkeys", "command [arg*]"),
    ("command|getkeysandflags", "command [arg*]"),
    ("command|info", "[command-name*]"),
    ("command|list", "['FILTERBY'filterby('MODULE'module-name|'ACLCAT'category|'PATTERN'pattern<pattern>)]"),
    ("config|get", "parameter{parameter}*"),
    ("config|set", "parameter_value{parameter value}*"),
    ("copy", "source<key>#0 destination<key>#1 ['DB'destination-db<int>] ['REPLACE'replace<token>]"),
    ("decr", "key<key>#0"),
    ("decrby", "key<key>#0 decrement<int>"),
    ("del", "key<key>#0*"),
    ("dump", "key<key>#0"),
    ("echo", "message"),
    ("eval", "script numkeys<int> [key<key>#0*] [arg*]"),
    ("eval_ro", "script numkeys<int> [key<key>#0*] [arg*]"),
    ("evalsha", "sha1 numkeys<int> [key<key>#0*] [arg*]"),
    ("evalsha_ro", "sha1 numkeys<int> [key<key>#0*] [arg*]"),
    ("exists", "key<key>#0*"),
    ("expire", "key<key>#0 seconds<int> [condition('NX'nx<token>|'XX'xx<token>|'GT'gt<token>|'LT'lt<token>)]"),
    ("expireat", "key<key>#0 unix-time-seconds<time> [condition('NX'nx<token>|'XX'xx<token>|'GT'gt<token>|'LT'lt<token>)]"),
    ("expiretime", "key<key>#0"),
    ("failover", "['TO'target{host port<int> ['FORCE'force<token>]}] ['ABORT'abort<token>] ['TIMEOUT'milliseconds<int>]"),
    ("fcall", "function numkeys<int> [key<key>#0*] [arg*]"),
    ("fcall_ro", "function numkeys<int> [key<key>#0*] [arg*]"),
    ("flushall", "[async('ASYNC'async<token>|'SYNC'sync<token>)]"),
    ("flushdb", "[async('ASYNC'async<token>|'SYNC'sync<token>)]"),
    ("function|delete", "library-name"),
    ("function|flush", "[async('ASYNC'async<token>|'SYNC'sync<token>)]"),
    ("function|list", "['LIBRARYNAME'library-name-pattern] ['WITHCODE'withcode<token>]"),
    ("function|load", "['REPLACE'replace<token>] function-code"),
    ("function|restore", "serialized-value [policy('FLUSH'flush<token>|'APPEND'append<token>|'REPLACE'replace<token>)]"),
    ("geoadd", "key<key>#0 [condition('NX'nx<token>|'XX'xx<token>)] ['CH'change<token>] longitude_latitude_member{longitude<double> latitude<double> member}*"),
    ("geodist", "key<key>#0 member1 member2 [unit('M'm<token>|'KM'km<token>|'FT'ft<token>|'MI'mi<token>)]"),
    ("geohash", "key<key>#0 member*"),
    ("geopos", "key<key>#0 member*"),
    ("georadius", "key<key>#0 longitude<double> latitude<double> radius<double> unit('M'm<token>|'KM'km<token>|'FT'ft<token>|'MI'mi<token>) ['WITHCOORD'withcoord<token>] ['WITHDIST'withdist<token>] ['WITHHASH'withhash<token>] [count{'COUNT'count<int> ['ANY'any<token>]}] [order('ASC'asc<token>|'DESC'desc<token>)] ['STORE'key<key>#1] ['STOREDIST'key<key>#2]"),
    ("georadius_ro", "key<key>#0 longitude<double> latitude<double> radius<double> unit('M'm<token>|'KM'km<token>|'FT'ft<token>|'MI'mi<token>) ['WITHCOORD'withcoord<token>] ['WITHDIST'withdist<token>] ['WITHHASH'withhash<token>] [count{'COUNT'count<int> ['ANY'any<token>]}] [order('ASC'asc<token>|'DESC'desc<token>)]"),
    ("georadiusbymember", "key<key>#0 member radius<double> unit('M'm<token>|'KM'km<token>|'FT'ft<token>|'MI'mi<token>) ['WITHCOORD'withcoord<token>] ['WITHDIST'withdist<token>] ['WITHHASH'withhash<token>] [count{'COUNT'count<int> ['ANY'any<token>]}] [order('ASC'asc<token>|'DESC'desc<token>)] ['STORE'key<key>#1] ['STOREDIST'key<key>#2]"),
    ("georadiusbymember_ro", "key<key>#0 member radius<double> unit('M'm<token>|'KM'km<token>|'FT'ft<token>|'MI'mi<token>) ['WITHCOORD'withcoord<token>] ['WITHDIST'withdist<token>] ['WITHHASH'withhash<token>] [count{'COUNT'count<int> ['ANY'any<token>]}] [order('ASC'asc<token>|'DESC'desc<token>)]"),
    ("geosearch", "key<key>#0 from('FROMMEMBER'member|'FROMLONLAT'longitude_latitude{longitude<double> latitude<double>}) by(circle{'BYRADIUS'radius<double> unit('M'm<token>|'KM'km<token>|'FT'ft<token>|'MI'mi<token>)}|box{'BYBOX'width<double> height<double> unit('M'm<token>|'KM'km<token>|'FT'ft<token>|'MI'mi<token>)}) [order('ASC'asc<token>|'DESC'desc<token>)] [count{'COUNT'count<int> ['ANY'any<token>]}] ['WITHCOORD'withcoord<token>] ['WITHDIST'withdist<token>] ['WITHHASH'withhash<token>]"),
    ("geosearchstore", "destination<key>#0 source<key>#1 from('FROMMEMBER'member|'FROMLONLAT'longitude_latitude{longitude<double> latitude<double>}) by(circle{'BYRADIUS'radius<double> unit('M'm<token>|'KM'km<token>|'FT'ft<token>|'MI'mi<token>)}|box{'BYBOX'width<double> height<double> unit('M'm<token>|'KM'km<token>|'FT'ft<token>|'MI'mi<token>)}) [order('ASC'asc<token>|'DESC'desc<token>)] [count{'COUNT'count<int> ['ANY'any<token>]}] ['STOREDIST'storedist<token>]"),
    ("get", "key<key>#0"),
    ("getbit", "key<key>#0 offset<int>"),
    ("getdel", "key<key>#0"),
    ("getex", "key<key>#0 [expiration('EX'seconds<int>|'PX'milliseconds<int>|'EXAT'unix-time-seconds<time>|'PXAT'unix-time-milliseconds<time>|'PERSIST'persist<token>)]"),
    ("getrange", "key<key>#0 start<int> end<int>"),
    ("getset", "key<key>#0 value"),
    ("hdel", "key<key>#0 field*"),
    ("hello", "[arguments{protover<int> ['AUTH'username_password{username password}] ['SETNAME'clientname]}]"),
    ("hexists", "key<key>#0 field"),
    ("hexpire", "key<key>#0 seconds<int> [condition('NX'nx<token>|'XX'xx<token>|'GT'gt<token>|'LT'lt<token>)] 'FIELDS'fields{numfields<int> field*}"),
    ("hexpireat", "key<key>#0 unix-time-seconds<time> [condition('NX'nx<token>|'XX'xx<token>|'GT'gt<token>|'LT'lt<token>)] 'FIELDS'fields{numfields<int> field*}"),
    ("hexpiretime", "key<key>#0 'FIELDS'fields{numfields<int> field*}"),
    ("hget", "key<key>#0 field"),
    ("hgetall", "key<key>#0"),
    ("hincrby", "key<key>#0 field increment<int>"),
    ("hincrbyfloat", "key<key>#0 field increment<double>"),
    ("hkeys", "key<key>#0"),
    ("hlen", "key<key>#0"),
    ("hmget", "key<key>#0 field*"),
    ("hmset", "key<key>#0 field_value{field value}*"),
    ("hpersist", "key<key>#0 'FIELDS'fields{numfields<int> field*}"),
    ("hpexpire", "key<key>#0 milliseconds<int> [condition('NX'nx<token>|'XX'xx<token>|'GT'gt<token>|'LT'lt<token>)] 'FIELDS'fields{numfields<int> field*}"),
    ("hpexpireat", "key<key>#0 unix-time-milliseconds<time> [condition('NX'nx<token>|'XX'xx<token>|'GT'gt<token>|'LT'lt<token>)] 'FIELDS'fields{numfields<int> field*}"),
    ("hpexpiretime", "key<key>#0 'FIELDS'fields{numfields<int> field*}"),
    ("hpttl", "key<key>#0 'FIELDS'fields{numfields<int> field*}"),
    ("hrandfield", "key<key>#0 [options{count<int> ['WITHVALUES'withvalues<token>]}]"),
    ("hscan", "key<key>#0 cursor<int> ['MATCH'pattern<pattern>] ['COUNT'count<int>]"),
    ("hset", "key<key>#0 field_value{field value}*"),
    ("hsetnx", "key<key>#0 field value"),
    ("hstrlen", "key<key>#0 field"),
    ("httl", "key<key>#0 'FIELDS'fields{numfields<int> field*}"),
    ("hvals", "key<key>#0"),
    ("incr", "key<key>#0"),
    ("incrby", "key<key>#0 increment<int>"),
    ("incrbyfloat", "key<key>#0 increment<double>"),
    ("info", "[section*]"),
    ("keys", "pattern<pattern>"),
    ("latency|graph", "event"),
    ("latency|histogram", "[command*]"),
    ("latency|history", "event"),
    ("latency|reset", "[event*]"),
    ("lcs", "key1<key>#0 key2<key>#0 ['LEN'len<token>] ['IDX'idx<token>] ['MINMATCHLEN'len<int>] ['WITHMATCHLEN'withmatchlen<token>]"),
    ("lindex", "key<key>#0 index<int>"),
    ("linsert", "key<key>#0 where('BEFORE'before<token>|'AFTER'after<token>) pivot element"),
    ("llen", "key<key>#0"),
    ("lmove", "source<key>#0 destination<key>#1 wherefrom('LEFT'left<token>|'RIGHT'right<token>) whereto('LEFT'left<token>|'RIGHT'right<token>)"),
    ("lmpop", "numkeys<int> key<key>#0* where('LEFT'left<token>|'RIGHT'right<token>) ['COUNT'count<int>]"),
    ("lolwut", "['VERSION'version<int>]"),
    ("lpop", "key<key>#0 [count<int>]"),
    ("lpos", "key<key>#0 element ['RANK'rank<int>] ['COUNT'num-matches<int>] ['MAXLEN'len<int>]"),
    ("lpush", "key<key>#0 element*"),
    ("lpushx", "key<key>#0 element*"),
    ("lrange", "key<key>#0 start<int> stop<int>"),
    ("lrem", "key<key>#0 count<int> element"),
    ("lset", "key<key>#0 index<int> element"),
    ("ltrim", "key<key>#0 start<int> stop<int>"),
    ("memory|usage", "key<key>#0 ['SAMPLES'count<int>]"),
    ("mget", "key<key>#0*"),
    ("migrate", "host port<int> key_or_empty_string(key<key>#0|''empty_string<token>) destination-db<int> timeout<int> ['COPY'copy<token>] ['REPLACE'replace<token>] [authentication(['AUTH'password]|['AUTH2'username_password{username password}])] ['KEYS'key<key>#1*]"),
    ("module|load", "path [arg*]"),
    ("module|loadex", "path ['CONFIG'configs{name value}**] ['ARGS'args{arg}*]"),
    ("module|unload", "name"),
    ("move", "key<key>#0 db<int>"),
    ("mset", "key_value{key<key>#0 value}*"),
    ("msetnx", "key_value{key<key>#0 value}*"),
    ("object|encoding", "key<key>#0"),
    ("object|freq", "key<key>#0"),
    ("object|idletime", "key<key>#0"),
    ("object|refcount", "key<key>#0"),
    ("persist", "key<key>#0"),
    ("pexpire", "key<key>#0 milliseconds<int> [condition('NX'nx<token>|'XX'xx<token>|'GT'gt<token>|'LT'lt<token>)]"),
    ("pexpireat", "key<key>#0 unix-time-milliseconds<time> [condition('NX'nx<token>|'XX'xx<token>|'GT'gt<token>|'LT'lt<token>)]"),
    ("pexpiretime", "key<key>#0"),
    ("pfadd", "key<key>#0 [element*]"),
    ("pfcount", "key<key>#0*"),
    ("pfdebug", "subcommand key<key>#0"),
    ("pfmerge", "destkey<key>#0 sourcekey<key>#1*"),
    ("ping", "[message]"),
    ("psetex", "key<key>#0 milliseconds<int> value"),
    ("psubscribe", "pattern{pattern<pattern>}*"),
    ("psync", "replicationid offset<int>"),
    ("pttl", "key<key>#0"),
    ("publish", "channel message"),
    ("pubsub|channels", "[pattern<pattern>]"),
    ("pubsub|numsub", "[channel*]"),
    ("pubsub|shardchannels", "[pattern<pattern>]"),
    ("pubsub|shardnumsub", "[shardchannel*]"),
    ("punsubscribe", "[pattern<pattern>*]"),
    ("rename", "key<key>#0 newkey<key>#1"),
    ("renamenx", "key<key>#0 newkey<key>#1"),
    ("replicaof", "args(host-port{host port<int>}|no-one{'NO'no<token> 'ONE'one<token>})"),
    ("restore", "key<key>#0 ttl<int> serialized-value ['REPLACE'replace<token>] ['ABSTTL'absttl<token>] ['IDLETIME'seconds<int>] ['FREQ'frequency<int>]"),
    ("restore-asking", "key<key>#0 ttl<int> serialized-value ['REPLACE'replace<token>] ['ABSTTL'absttl<token>] ['IDLETIME'seconds<int>] ['FREQ'frequency<int>]"),
    ("rpop", "key<key>#0 [count<int>]"),
    ("rpoplpush", "source<key>#0 destination<key>#1"),
    ("rpush", "key<key>#0 element*"),
    ("rpushx", "key<key>#0 element*"),
    ("sadd", "key<key>#0 member*"),
    ("scan", "cursor<int> ['MATCH'pattern<pattern>] ['COUNT'count<int>] ['TYPE'type]"),
    ("scard", "key<key>#0"),
    ("script|debug", "mode('YES'yes<token>|'SYNC'sync<token>|'NO'no<token>)"),
    ("script|exists", "sha1*"),
    ("script|flush", "[async('ASYNC'async<token>|'SYNC'sync<token>)]"),
    ("script|load", "script"),
    ("sdiff", "key<key>#0*"),
    ("sdiffstore", "destination<key>#0 key<key>#1*"),
    ("select", "index<int>"),
    ("set", "key<key>#0 value [condition('NX'nx<token>|'XX'xx<token>)] ['GET'get<token>] [expiration('EX'seconds<int>|'PX'milliseconds<int>|'EXAT'unix-time-seconds<time>|'PXAT'unix-time-milliseconds<time>|'KEEPTTL'keepttl<token>)]"),
    ("setbit", "key<key>#0 offset<int> value<int>"),
    ("setex", "key<key>#0 seconds<int> value"),
    ("setnx", "key<key>#0 value"),
    ("setrange", "key<key>#0 offset<int> value"),
    ("shutdown", "[nosave_save('NOSAVE'nosave<token>|'SAVE'save<token>)] ['NOW'now<token>] ['FORCE'force<token>] ['ABORT'abort<token>]"),
    ("sinter", "key<key>#0*"),
    ("sintercard", "numkeys<int> key<key>#0* ['LIMIT'limit<int>]"),
    ("sinterstore", "destination<key>#0 key<key>#1*"),
    ("sismember", "key<key>#0 member"),
    ("slaveof", "args(host-port{host port<int>}|no-one{'NO'no<token> 'ONE'one<token>})"),
    ("slowlog|get", "[count<int>]"),
    ("smembers", "key<key>#0"),
    ("smismember", "key<key>#0 member*"),
    ("smove", "source<key>#0 destination<key>#1 member"),
    ("sort", "key<key>#0 ['BY'pattern<pattern>#1] ['LIMIT'offset_count{offset<int> count<int>}] ['GET'pattern<pattern>#1**] [order('ASC'asc<token>|'DESC'desc<token>)] ['ALPHA'sorting<token>] ['STORE'destination<key>#2]"),
    ("sort_ro", "key<key>#0 ['BY'pattern<pattern>#1] ['LIMIT'offset_count{offset<int> count<int>}] ['GET'pattern<pattern>#1**] [order('ASC'asc<token>|'DESC'desc<token>)] ['ALPHA'sorting<token>]"),
    ("spop", "key<key>#0 [count<int>]"),
    ("spublish", "shardchannel message"),
    ("srandmember", "key<key>#0 [count<int>]"),
    ("srem", "key<key>#0 member*"),
    ("sscan", "key<key>#0 cursor<int> ['MATCH'pattern<pattern>] ['COUNT'count<int>]"),
    ("ssubscribe", "shardchannel*"),
    ("strlen", "key<key>#0"),
    ("subscribe", "channel*"),
    ("substr", "key<key>#0 start<int> end<int>"),
    ("sunion", "key<key>#0*"),
    ("sunionstore", "destination<key>#0 key<key>#1*"),
    ("sunsubscribe", "[shardchannel*]"),
    ("swapdb", "index1<int> index2<int>"),
    ("touch", "key<key>#0*"),
    ("ttl", "key<key>#0"),
    ("type", "key<key>#0"),
    ("unlink", "key<key>#0*"),
    ("unsubscribe", "[channel*]"),
    ("wait", "numreplicas<int> timeout<int>"),
    ("watch", "key<key>#0*"),
    ("xack", "key<key>#0 group id*"),
    ("xadd", "key<key>#0 ['NOMKSTREAM'nomkstream<token>] [trim{strategy('MAXLEN'maxlen<token>|'MINID'minid<token>) [operator('='equal<token>|'~'approximately<token>)] threshold ['LIMIT'count<int>]}] id_or_auto('*'auto_id<token>|id) field_value{field value}*"),
    ("xautoclaim", "key<key>#0 group consumer min-idle-time start ['COUNT'count<int>] ['JUSTID'justid<token>]"),
    ("xclaim", "key<key>#0 group consumer min-idle-time id* ['IDLE'ms<int>] ['TIME'unix-time-milliseconds<time>] ['RETRYCOUNT'count<int>] ['FORCE'force<token>] ['JUSTID'justid<token>] ['LASTID'id]"),
    ("xdel", "key<key>#0 id*"),
    ("xgroup|create", "key<key>#0 groupname id(id|'$'new_id<token>) ['MKSTREAM'mkstream<token>] ['ENTRIESREAD'entries_read<int>]"),
    ("xgroup|createconsumer", "key<key>#0 groupname consumername"),
    ("xgroup|delconsumer", "key<key>#0 groupname consumername"),
    ("xgroup|destroy", "key<key>#0 groupname"),
    ("xgroup|setid", "key<key>#0 groupname id(id|'$'new_id<token>) ['ENTRIESREAD'entries_read<int>]"),
    ("xinfo|consumers", "key<key>#0 groupname"),
    ("xinfo|groups", "key<key>#0"),
    ("xinfo|stream", "key<key>#0 ['FULL'full{['COUNT'count<int>]}]"),
    ("xlen", "key<key>#0"),
    ("xpending", "key<key>#0 group [filters{['IDLE'min-idle-time<int>] start end count<int> [consumer]}]"),
    ("xrange", "key<key>#0 start end ['COUNT'count<int>]"),
    ("xread", "['COUNT'count<int>] ['BLOCK'milliseconds<int>] 'STREAMS'streams{key<key>#0* id*}"),
    ("xreadgroup", "'GROUP'group_consumer{group consumer} ['COUNT'count<int>] ['BLOCK'milliseconds<int>] ['NOACK'noack<token>] 'STREAMS'streams{key<key>#0* id*}"),
    ("xrevrange", "key<key>#0 end start ['COUNT'count<int>]"),
    ("xsetid", "key<key>#0 last-id ['ENTRIESADDED'entries_added<int>] ['MAXDELETEDID'max_deleted_entry_id]"),
    ("xtrim", "key<key>#0 trim{strategy('MAXLEN'maxlen<token>|'MINID'minid<token>) [operator('='equal<token>|'~'approximately<token>)] threshold ['LIMIT'count<int>]}"),
    ("zadd", "key<key>#0 [condition('NX'nx<token>|'XX'xx<token>)] [comparison('GT'gt<token>|'LT'lt<token>)] ['CH'change<token>] ['INCR'increment<token>] score_member{score<double> member}*"),
    ("zcard", "key<key>#0"),
    ("zcount", "key<key>#0 min<double> max<double>"),
    ("zdiff", "numkeys<int> key<key>#0* ['WITHSCORES'withscores<token>]"),
    ("zdiffstore", "destination<key>#0 numkeys<int> key<key>#1*"),
    ("zincrby", "key<key>#0 increment<int> member"),
    ("zinter", "numkeys<int> key<key>#0* ['WEIGHTS'weight<int>*] ['AGGREGATE'aggregate('SUM'sum<token>|'MIN'min<token>|'MAX'max<token>)] ['WITHSCORES'withscores<token>]"),
    ("zintercard", "numkeys<int> key<key>#0* ['LIMIT'limit<int>]"),
    ("zinterstore", "destination<key>#0 numkeys<int> key<key>#1* ['WEIGHTS'weight<int>*] ['AGGREGATE'aggregate('SUM'sum<token>|'MIN'min<token>|'MAX'max<token>)]"),
    ("zlexcount", "key<key>#0 min max"),
    ("zmpop", "numkeys<int> key<key>#0* where('MIN'min<token>|'MAX'max<token>) ['COUNT'count<int>]"),
    ("zmscore", "key<key>#0 member*"),
    ("zpopmax", "key<key>#0 [count<int>]"),
    ("zpopmin", "key<key>#0 [count<int>]"),
    ("zrandmember", "key<key>#0 [options{count<int> ['WITHSCORES'withscores<token>]}]"),
    ("zrange", "key<key>#0 start stop [sortby('BYSCORE'byscore<token>|'BYLEX'bylex<token>)] ['REV'rev<token>] ['LIMIT'offset_count{offset<int> count<int>}] ['WITHSCORES'withscores<token>]"),
    ("zrangebylex", "key<key>#0 min max ['LIMIT'offset_count{offset<int> count<int>}]"),
    ("zrangebyscore", "key<key>#0 min<double> max<double> ['WITHSCORES'withscores<token>] ['LIMIT'offset_count{offset<int> count<int>}]"),
    ("zrangestore", "dst<key>#0 src<key>#1 min max [sortby('BYSCORE'byscore<token>|'BYLEX'bylex<token>)] ['REV'rev<token>] ['LIMIT'offset_count{offset<int> count<int>}]"),
    ("zrank", "key<key>#0 member"),
    ("zrem", "key<key>#0 member*"),
    ("zremrangebylex", "key<key>#0 min max"),
    ("zremrangebyrank", "key<key>#0 start<int> stop<int>"),
    ("zremrangebyscore", "key<key>#0 min<double> max<double>"),
    ("zrevrange", "key<key>#0 start<int> stop<int> ['WITHSCORES'withscores<token>]"),
    ("zrevrangebylex", "key<key>#0 max min ['LIMIT'offset_count{offset<int> count<int>}]"),
    ("zrevrangebyscore", "key<key>#0 max<double> min<double> ['WITHSCORES'withscores<token>] ['LIMIT'offset_count{offset<int> count<int>}]"),
    ("zrevrank", "key<key>#0 member"),
    ("zscan", "key<key>#0 cursor<int> ['MATCH'pattern<pattern>] ['COUNT'count<int>]"),
    ("zscore", "key<key>#0 member"),
    ("zunion", "numkeys<int> key<key>#0* ['WEIGHTS'weight<int>*] ['AGGREGATE'aggregate('SUM'sum<token>|'MIN'min<token>|'MAX'max<token>)] ['WITHSCORES'withscores<token>]"),
    ("zunionstore", "destination<key>#0 numkeys<int> key<key>#1* ['WEIGHTS'weight<int>*] ['AGGREGATE'aggregate('SUM'sum<token>|'MIN'min<token>|'MAX'max<token>)]"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table::COMMANDS;

    #[test]
    fn every_row_is_read_whole_and_belongs_to_a_command() {
        assert!(SYNTAX.is_sorted_by(|one, next| one.0 < next.0));
        for (name, text) in SYNTAX {
            assert!(COMMANDS.iter().any(|row| row.name == *name), "{name} is no command");
            let mut reader = Reader { rest: text };
            assert!(!reader.list(' ').is_empty() && reader.rest.is_empty(), "{name}: {}", reader.rest);
        }
    }

    #[test]
    fn a_row_says_everything() {
        let found = &arguments("set")[3];
        assert_eq!((found.name, found.kind, found.optional), ("get", Kind::PureToken, true));
        let expire = &arguments("set")[4];
        assert_eq!(
            (expire.kind, expire.inside[0].token, expire.inside[0].kind),
            (Kind::OneOf, Some("EX"), Kind::Integer)
        );
        let pairs = &arguments("mset")[0];
        assert_eq!((pairs.kind, pairs.multiple, pairs.inside[0].key_spec), (Kind::Block, true, Some(0)));
        assert_eq!(arguments("ping").len(), 1);
        assert_eq!(arguments("dbsize"), []);
    }
}
