/* The two conversions: a command's reply in RESP to a Lua value, a script's result to RESP.
 *
 *   reply                  Lua                          Lua                      result
 *   integer                number                       number                   integer, cut towards zero
 *   bulk                   string                       string                   bulk
 *   status                 {ok=...}                     {ok=string}              status
 *   error                  {err=...}                    {err=string}             error
 *   null bulk or array     false                        false                    null (RESP3 after setresp(3): false)
 *   array                  table from 1                 true                     1 (RESP3 after setresp(3): true)
 *   null (RESP3)           nil                          nil and all else         null
 *   boolean (RESP3)        boolean                      table                    array up to the first nil
 *   double (RESP3)         {double=number}              {double=number}          double
 *   map, set (RESP3)       {map={}}, {set={v=true}}     the same                 map, set
 *   big number (RESP3)     {big_number=string}          the same                 big number
 *   verbatim (RESP3)       {verbatim_string={format=,string=}}                   verbatim string */

/* ---- Errors ---- */

/* Pushes {err=...}. `-CODE words` keeps its code, other words get ERR; line breaks at the ends go. */
static void rl_push_error(lua_State *L, const char *line, size_t length) {
    const char *code = "ERR", *nul = memchr(line, 0, length);
    size_t code_length = 3;
    if (nul) length = (size_t)(nul - line);
    if (length > 0 && line[0] == '-') {
        const char *space = memchr(line, ' ', length);
        line++, length--;
        if (space) {
            code = line;
            code_length = (size_t)(space - line);
            length -= code_length + 1;
            line = space + 1;
        }
    }
    while (length > 0 && (line[0] == '\r' || line[0] == '\n')) line++, length--;
    while (length > 0 && (line[length - 1] == '\r' || line[length - 1] == '\n')) length--;
    luaL_checkstack(L, 5, "in an error");
    lua_newtable(L);
    lua_pushlstring(L, code, code_length);
    lua_pushliteral(L, " ");
    lua_pushlstring(L, line, length);
    lua_concat(L, 3);
    lua_setfield(L, -2, "err");
}

static void rl_push_error_text(lua_State *L, const char *text) {
    rl_push_error(L, text, strlen(text));
}

/* Marks the error on top as one that has been counted where it arose. */
static void rl_mark_counted(lua_State *L) {
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "ignore_error_stats_update");
}

static int rl_raise(lua_State *L, const char *text) {
    rl_push_error_text(L, text);
    return lua_error(L);
}

/* ---- A reply becomes a Lua value ---- */

struct rl_reader {
    lua_State *L;
    const char *at, *end;
    int resp;
};

static void rl_malformed(struct rl_reader *reader) {
    luaL_error(reader->L, "malformed reply");
}

/* The line after the kind, without its end. */
static struct rl_slice rl_take_line(struct rl_reader *reader) {
    const char *start = reader->at;
    const char *end = memchr(start, '\r', (size_t)(reader->end - start));
    if (!end || reader->end - end < 2) rl_malformed(reader);
    reader->at = end + 2;
    return (struct rl_slice){start, (size_t)(end - start)};
}

static long long rl_take_integer(struct rl_reader *reader) {
    const char *at = reader->at, *end = reader->end;
    int negative = at < end && *at == '-';
    unsigned long long value = 0;
    if (negative || (at < end && *at == '+')) at++;
    while (at < end && *at >= '0' && *at <= '9') value = value * 10 + (unsigned)(*at++ - '0');
    if (end - at < 2 || *at != '\r') rl_malformed(reader);
    reader->at = at + 2;
    return negative ? (long long)(0ULL - value) : (long long)value;
}

static struct rl_slice rl_take_bytes(struct rl_reader *reader, size_t length) {
    if ((size_t)(reader->end - reader->at) < 2 || length > (size_t)(reader->end - reader->at) - 2)
        rl_malformed(reader);
    struct rl_slice bytes = {reader->at, length};
    reader->at += length + 2;
    return bytes;
}

/* The size that a table's array part has when it grows by one up to `count`: Lua code can see it in `#` with holes. */
static int rl_grown_size(size_t count) {
    size_t size = 1;
    if (count == 0) return 0;
    while (size < count) size *= 2;
    return size > INT_MAX ? INT_MAX : (int)size;
}

static void rl_push_reply(struct rl_reader *reader);

static void rl_push_array(struct rl_reader *reader, long long count) {
    lua_State *L = reader->L;
    if (count < 0) {
        lua_pushboolean(L, 0);
        return;
    }
    if (count > reader->end - reader->at) rl_malformed(reader);
    if (reader->resp == 2) { /* no nil can come: the size is known */
        lua_createtable(L, rl_grown_size((size_t)count), 0);
        for (long long i = 0; i < count; i++) {
            rl_push_reply(reader);
            lua_rawseti(L, -2, (int)(i + 1));
        }
        return;
    }
    lua_newtable(L);
    for (long long i = 0; i < count; i++) {
        lua_pushnumber(L, (lua_Number)(i + 1));
        rl_push_reply(reader);
        lua_settable(L, -3);
    }
}

/* {map={...}} or {set={...}} */
static void rl_push_collection(struct rl_reader *reader, const char *name, long long count, int with_values) {
    lua_State *L = reader->L;
    lua_newtable(L);
    lua_newtable(L);
    for (long long i = 0; i < count; i++) {
        rl_push_reply(reader);
        if (with_values) rl_push_reply(reader);
        else lua_pushboolean(L, 1);
        lua_settable(L, -3);
    }
    lua_setfield(L, -2, name);
}

static void rl_push_text(lua_State *L, const char *name, struct rl_slice text) {
    lua_newtable(L);
    lua_pushlstring(L, text.data, text.length);
    lua_setfield(L, -2, name);
}

static void rl_push_rare(struct rl_reader *reader, char kind) {
    lua_State *L = reader->L;
    switch (kind) {
    case '_':
        rl_take_line(reader);
        lua_pushnil(L);
        return;
    case '#': {
        struct rl_slice line = rl_take_line(reader);
        lua_pushboolean(L, line.length > 0 && line.data[0] == 't');
        return;
    }
    case ',': {
        struct rl_slice line = rl_take_line(reader);
        char text[128];
        size_t length = line.length < sizeof(text) - 1 ? line.length : sizeof(text) - 1;
        memcpy(text, line.data, length);
        text[length] = 0;
        lua_newtable(L);
        lua_pushnumber(L, strtod(text, NULL));
        lua_setfield(L, -2, "double");
        return;
    }
    case '(': rl_push_text(L, "big_number", rl_take_line(reader)); return;
    case '=': {
        long long length = rl_take_integer(reader);
        if (length < 4) rl_malformed(reader);
        struct rl_slice text = rl_take_bytes(reader, (size_t)length);
        lua_newtable(L);
        lua_newtable(L);
        lua_pushlstring(L, text.data + 4, text.length - 4);
        lua_setfield(L, -2, "string");
        lua_pushlstring(L, text.data, 3);
        lua_setfield(L, -2, "format");
        lua_setfield(L, -2, "verbatim_string");
        return;
    }
    case '%': rl_push_collection(reader, "map", rl_take_integer(reader), 1); return;
    case '~': rl_push_collection(reader, "set", rl_take_integer(reader), 0); return;
    case '|': { /* attributes are read over */
        long long count = rl_take_integer(reader) * 2;
        for (long long i = 0; i < count; i++) {
            rl_push_reply(reader);
            lua_pop(L, 1);
        }
        rl_push_reply(reader);
        return;
    }
    default: rl_malformed(reader);
    }
}

/* Pushes the value of the reply at the reader. */
static void rl_push_reply(struct rl_reader *reader) {
    lua_State *L = reader->L;
    luaL_checkstack(L, 6, "in a reply");
    if (reader->at >= reader->end) rl_malformed(reader);
    char kind = *reader->at++;
    switch (kind) {
    case '$': {
        long long length = rl_take_integer(reader);
        if (length < 0) {
            lua_pushboolean(L, 0);
            return;
        }
        struct rl_slice text = rl_take_bytes(reader, (size_t)length);
        lua_pushlstring(L, text.data, text.length);
        return;
    }
    case ':': lua_pushnumber(L, (lua_Number)rl_take_integer(reader)); return;
    case '+': rl_push_text(L, "ok", rl_take_line(reader)); return;
    case '-': {
        reader->at--;
        struct rl_slice line = rl_take_line(reader);
        rl_push_error(L, line.data, line.length);
        rl_mark_counted(L);
        return;
    }
    case '*': rl_push_array(reader, rl_take_integer(reader)); return;
    default: rl_push_rare(reader, kind);
    }
}

/* ---- A result becomes a reply ---- */

struct rl_writer {
    lua_State *L;
    struct rl_state *state;
    struct rl_buffer *out;
    int resp; /* of the client; the script's own is in the state */
};

static void rl_put_header(struct rl_writer *w, char kind, long long number) {
    rl_reserve(w->L, w->out, 24);
    char *at = w->out->data + w->out->length;
    *at++ = kind;
    at += rl_print_integer(at, number);
    *at++ = '\r';
    *at++ = '\n';
    w->out->length = (size_t)(at - w->out->data);
}

static void rl_put_bulk(struct rl_writer *w, const char *text, size_t length) {
    rl_put_header(w, '$', (long long)length);
    rl_append(w->L, w->out, text, length);
    rl_append(w->L, w->out, "\r\n", 2);
}

static void rl_put_null(struct rl_writer *w) {
    if (w->resp == 2) rl_append(w->L, w->out, "$-1\r\n", 5);
    else rl_append(w->L, w->out, "_\r\n", 3);
}

static void rl_put_boolean(struct rl_writer *w, int truth) {
    if (w->state->resp == 2 && !truth) rl_put_null(w);
    else if (w->state->resp == 2 || w->resp == 2) rl_append(w->L, w->out, truth ? ":1\r\n" : ":0\r\n", 4);
    else rl_append(w->L, w->out, truth ? "#t\r\n" : "#f\r\n", 4);
}

/* Appends text as a line: line breaks become spaces. */
static void rl_put_line(struct rl_writer *w, char kind, const char *text, size_t length) {
    rl_reserve(w->L, w->out, length + 3);
    char *at = w->out->data + w->out->length;
    *at++ = kind;
    for (size_t i = 0; i < length; i++) *at++ = text[i] == '\r' || text[i] == '\n' ? ' ' : text[i];
    *at++ = '\r';
    *at++ = '\n';
    w->out->length = (size_t)(at - w->out->data);
}

static void rl_count_error(struct rl_state *state, const char *line, size_t length) {
    if (state->host) state->host->count_error(state->host->context, (struct rl_slice){line, length});
}

static const TValue *rl_field(struct rl_state *state, const TValue *table, enum rl_name name) {
    return luaH_getstr(hvalue(table), state->names[name]);
}

static __attribute__((noinline)) void rl_put_error(struct rl_writer *w, const TValue *table, const TValue *text) {
    const char *line = svalue(text);
    size_t length = strlen(line);
    while (length > 0 && (line[length - 1] == '\r' || line[length - 1] == '\n')) length--;
    const TValue *ignore = rl_field(w->state, table, NAME_IGNORE);
    size_t start = w->out->length + 1;
    rl_put_line(w, '-', line, length);
    if (!ttisboolean(ignore) || !bvalue(ignore)) rl_count_error(w->state, w->out->data + start, length);
}

static __attribute__((noinline)) void rl_put_double(struct rl_writer *w, double number) {
    char text[64];
    int length;
    if (isinf(number)) length = snprintf(text, sizeof(text), "%s", number > 0 ? "inf" : "-inf");
    else length = snprintf(text, sizeof(text), "%.17g", number);
    if (w->resp == 2) rl_put_bulk(w, text, (size_t)length);
    else rl_put_line(w, ',', text, (size_t)length);
}

static __attribute__((noinline)) void rl_put_big_number(struct rl_writer *w, const TString *text) {
    size_t start = w->out->length;
    if (w->resp == 2) {
        rl_put_bulk(w, getstr(text), text->tsv.len);
        size_t from = w->out->length - 2 - text->tsv.len;
        for (char *at = w->out->data + from; at < w->out->data + w->out->length - 2; at++)
            if (*at == '\r' || *at == '\n') *at = ' ';
    } else {
        rl_put_line(w, '(', getstr(text), text->tsv.len);
    }
    (void)start;
}

static __attribute__((noinline)) void rl_put_verbatim(struct rl_writer *w, const TString *format, const TString *text) {
    if (w->resp == 2) {
        rl_put_bulk(w, getstr(text), text->tsv.len);
        return;
    }
    char padded[4] = {' ', ' ', ' ', ':'};
    const char *from = getstr(format);
    for (int i = 0; i < 3 && from[i]; i++) padded[i] = from[i];
    rl_put_header(w, '=', (long long)text->tsv.len + 4);
    rl_append(w->L, w->out, padded, 4);
    rl_append(w->L, w->out, getstr(text), text->tsv.len);
    rl_append(w->L, w->out, "\r\n", 2);
}

static void rl_put(struct rl_writer *w, const TValue *value, int slots);

static int rl_count_pairs(const Table *table) {
    int count = 0;
    for (int i = 0; i < table->sizearray; i++) count += !ttisnil(&table->array[i]);
    for (int i = 0; i < sizenode(table); i++) count += !ttisnil(gval(gnode(table, i)));
    return count;
}

static __attribute__((noinline)) void rl_put_collection(struct rl_writer *w, const Table *table, int is_map,
                                                        int slots) {
    int count = rl_count_pairs(table);
    if (w->resp == 2) rl_put_header(w, '*', is_map ? count * 2LL : count);
    else rl_put_header(w, is_map ? '%' : '~', count);
    for (int i = 0; i < table->sizearray; i++) {
        if (ttisnil(&table->array[i])) continue;
        TValue key;
        setnvalue(&key, i + 1);
        rl_put(w, &key, slots + 3 + is_map);
        if (is_map) rl_put(w, &table->array[i], slots + 3);
    }
    for (int i = 0; i < sizenode(table); i++) {
        const Node *node = gnode(table, i);
        if (ttisnil(gval(node))) continue;
        TValue key;
        setobj(w->L, &key, key2tval(node));
        rl_put(w, &key, slots + 3 + is_map);
        if (is_map) rl_put(w, gval(node), slots + 3);
    }
}

/* Tables with a meaning. Gives 0 for a plain array. */
static __attribute__((noinline)) int rl_put_special(struct rl_writer *w, const TValue *table, int slots) {
    const TValue *field = rl_field(w->state, table, NAME_ERR);
    if (ttisstring(field)) {
        rl_put_error(w, table, field);
        return 1;
    }
    field = rl_field(w->state, table, NAME_OK);
    if (ttisstring(field)) {
        rl_put_line(w, '+', svalue(field), strlen(svalue(field)));
        return 1;
    }
    field = rl_field(w->state, table, NAME_DOUBLE);
    if (ttisnumber(field)) {
        rl_put_double(w, nvalue(field));
        return 1;
    }
    field = rl_field(w->state, table, NAME_BIG_NUMBER);
    if (ttisstring(field)) {
        rl_put_big_number(w, rawtsvalue(field));
        return 1;
    }
    field = rl_field(w->state, table, NAME_VERBATIM);
    if (ttistable(field)) {
        const TValue *format = rl_field(w->state, field, NAME_FORMAT);
        const TValue *text = rl_field(w->state, field, NAME_STRING);
        if (ttisstring(format) && ttisstring(text)) {
            rl_put_verbatim(w, rawtsvalue(format), rawtsvalue(text));
            return 1;
        }
    }
    field = rl_field(w->state, table, NAME_MAP);
    if (ttistable(field)) {
        rl_put_collection(w, hvalue(field), 1, slots);
        return 1;
    }
    field = rl_field(w->state, table, NAME_SET);
    if (ttistable(field)) {
        rl_put_collection(w, hvalue(field), 0, slots);
        return 1;
    }
    return 0;
}

static void rl_put_table(struct rl_writer *w, const TValue *value, int slots) {
    Table *table = hvalue(value);
    if (table->node != dummynode && rl_put_special(w, value, slots)) return;
    int count = 0;
    while (!ttisnil(luaH_getnum(table, count + 1))) count++;
    rl_put_header(w, '*', count);
    for (int i = 1; i <= count; i++) rl_put(w, luaH_getnum(table, i), slots + 1);
}

/* `slots`: how many values Redis has on the Lua stack here, which bounds how deep a result may be. Nothing below
 * allocates in Lua, so no value moves while it is written. */
static void rl_put(struct rl_writer *w, const TValue *value, int slots) {
    if (slots + 4 > LUAI_MAXCSTACK) {
        static const char text[] = "ERR reached lua stack limit";
        rl_put_line(w, '-', text, sizeof(text) - 1);
        rl_count_error(w->state, text, sizeof(text) - 1);
        return;
    }
    switch (ttype(value)) {
    case LUA_TSTRING: rl_put_bulk(w, svalue(value), tsvalue(value)->len); break;
    case LUA_TBOOLEAN: rl_put_boolean(w, bvalue(value)); break;
    case LUA_TNUMBER: rl_put_header(w, ':', (long long)nvalue(value)); break;
    case LUA_TTABLE: rl_put_table(w, value, slots); break;
    default: rl_put_null(w);
    }
}
