/* cjson: JSON exactly as lua-cjson 2.1.0 of Redis 7.0 reads and writes it, to the byte and to the error text.
 *
 * Written anew for speed on the tables and strings of the Lua core beside it (runs are found 16 bytes at a time, plain
 * strings are taken from the input without a copy, integers are printed without printf), after the behaviour of
 * lua-cjson, Copyright (c) 2010-2012 Mark Pulford <mark@kyne.com.au>, MIT licence: see LICENCE.lua-cjson beside this
 * file.
 *
 * Rules kept on purpose: an empty table is `{}`; `/` and 0x7f are escaped; numbers have 14 significant digits; the
 * order of keys is the order of the table; NUL ends the input; invalid UTF-8 passes; numbers are what strtod takes. */

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum json_token {
    T_OBJ_BEGIN, T_OBJ_END, T_ARR_BEGIN, T_ARR_END, T_STRING, T_NUMBER, T_BOOLEAN, T_NULL, T_COLON, T_COMMA, T_END,
    T_ERROR
};

static const char *const json_token_names[] = {
    "T_OBJ_BEGIN", "T_OBJ_END", "T_ARR_BEGIN", "T_ARR_END", "T_STRING", "T_NUMBER", "T_BOOLEAN", "T_NULL", "T_COLON",
    "T_COMMA", "T_END", "T_ERROR"
};

/* What the configuration functions of one `cjson` table set. */
struct json_config {
    int encode_sparse_convert;
    int encode_sparse_ratio;
    int encode_sparse_safe;
    int encode_max_depth;
    int encode_invalid_numbers; /* 2: as "null" */
    int encode_number_precision;
    int encode_keep_buffer;
    int decode_invalid_numbers;
    int decode_max_depth;
};

/* ---- Configuration ---- */

static struct json_config *json_config_of(lua_State *L) {
    struct json_config *config = lua_touserdata(L, lua_upvalueindex(1));
    if (!config) luaL_error(L, "BUG: Unable to fetch CJSON configuration");
    return config;
}

static struct json_config *json_options(lua_State *L, int count) {
    luaL_argcheck(L, lua_gettop(L) <= count, count + 1, "found too many arguments");
    while (lua_gettop(L) < count) lua_pushnil(L);
    return json_config_of(L);
}

static int json_integer_option(lua_State *L, int index, int *setting, int min, int max) {
    if (!lua_isnil(L, index)) {
        char message[64];
        int value = luaL_checkinteger(L, index);
        snprintf(message, sizeof(message), "expected integer between %d and %d", min, max);
        luaL_argcheck(L, min <= value && value <= max, 1, message);
        *setting = value;
        rl_of(L)->json_options_set = 1;
    }
    lua_pushinteger(L, *setting);
    return 1;
}

static int json_enum_option(lua_State *L, int index, int *setting, const char *const *options) {
    static const char *const switches[] = {"off", "on", NULL};
    if (!lua_isnil(L, index)) {
        rl_of(L)->json_options_set = 1;
        if (lua_isboolean(L, index)) *setting = lua_toboolean(L, index);
        else *setting = luaL_checkoption(L, index, NULL, options ? options : switches);
    }
    if (*setting == 0 || *setting == 1) lua_pushboolean(L, *setting);
    else lua_pushstring(L, options[*setting]);
    return 1;
}

static int json_encode_sparse_array(lua_State *L) {
    struct json_config *config = json_options(L, 3);
    json_enum_option(L, 1, &config->encode_sparse_convert, NULL);
    json_integer_option(L, 2, &config->encode_sparse_ratio, 0, INT_MAX);
    json_integer_option(L, 3, &config->encode_sparse_safe, 0, INT_MAX);
    return 3;
}

static int json_encode_max_depth(lua_State *L) {
    struct json_config *config = json_options(L, 1);
    return json_integer_option(L, 1, &config->encode_max_depth, 1, INT_MAX);
}

static int json_decode_max_depth(lua_State *L) {
    struct json_config *config = json_options(L, 1);
    return json_integer_option(L, 1, &config->decode_max_depth, 1, INT_MAX);
}

static int json_encode_number_precision(lua_State *L) {
    struct json_config *config = json_options(L, 1);
    return json_integer_option(L, 1, &config->encode_number_precision, 1, 14);
}

/* The buffer belongs to the state here and is always kept; the setting is remembered for who asks. */
static int json_encode_keep_buffer(lua_State *L) {
    struct json_config *config = json_options(L, 1);
    return json_enum_option(L, 1, &config->encode_keep_buffer, NULL);
}

static int json_encode_invalid_numbers(lua_State *L) {
    static const char *const options[] = {"off", "on", "null", NULL};
    struct json_config *config = json_options(L, 1);
    return json_enum_option(L, 1, &config->encode_invalid_numbers, options);
}

static int json_decode_invalid_numbers(lua_State *L) {
    struct json_config *config = json_options(L, 1);
    return json_enum_option(L, 1, &config->decode_invalid_numbers, NULL);
}

/* ---- Encoding ---- */

/* 0: as it is; 1: six characters; else the letter after a backslash. */
static const unsigned char json_escapes[256] = {
    1, 1, 1, 1, 1, 1, 1, 1, 'b', 't', 'n', 1, 'f', 'r', 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    ['"'] = '"', ['/'] = '/', ['\\'] = '\\', [127] = 1,
};

struct json_encoder {
    lua_State *L;
    struct json_config *config;
    struct rl_buffer *out;
};

static void json_put_string(struct json_encoder *e, const TString *text) {
    const unsigned char *at = (const unsigned char *)getstr(text);
    size_t left = text->tsv.len;
    if (left > SIZE_MAX / 6 - 64) luaD_throw(e->L, LUA_ERRMEM);
    rl_reserve(e->L, e->out, left * 6 + 64); /* all escaped, and 16 bytes that a block may write past the end */
    unsigned char *out = (unsigned char *)e->out->data + e->out->length;
    *out++ = '"';
    while (left > 0) {
#if defined(__SSE2__)
        while (left >= 16) {
            __m128i block = _mm_loadu_si128((const __m128i *)at);
            __m128i special = _mm_or_si128(
                _mm_or_si128(_mm_cmpeq_epi8(block, _mm_set1_epi8('"')), _mm_cmpeq_epi8(block, _mm_set1_epi8('\\'))),
                _mm_or_si128(_mm_cmpeq_epi8(block, _mm_set1_epi8('/')), _mm_cmpeq_epi8(block, _mm_set1_epi8(127))));
            /* Bytes below 0x20, unsigned: those that the minimum with 0x1f leaves unchanged. */
            special = _mm_or_si128(special, _mm_cmpeq_epi8(_mm_min_epu8(block, _mm_set1_epi8(0x1f)), block));
            unsigned mask = (unsigned)_mm_movemask_epi8(special);
            _mm_storeu_si128((__m128i *)out, block);
            if (mask == 0) {
                at += 16, out += 16, left -= 16;
                continue;
            }
            unsigned plain = (unsigned)__builtin_ctz(mask);
            at += plain, out += plain, left -= plain;
            break;
        }
        if (left == 0) break;
#endif
        unsigned char byte = *at++, escape = json_escapes[byte];
        left--;
        if (escape == 0) {
            *out++ = byte;
        } else if (escape == 1) {
            static const char digits[] = "0123456789abcdef";
            memcpy(out, "\\u00", 4);
            out[4] = (unsigned char)digits[byte >> 4];
            out[5] = (unsigned char)digits[byte & 15];
            out += 6;
        } else {
            *out++ = '\\';
            *out++ = escape;
        }
    }
    *out++ = '"';
    e->out->length = (size_t)((char *)out - e->out->data);
}

static void json_refuse(struct json_encoder *e, const TValue *value, const char *reason) {
    luaL_error(e->L, "Cannot serialise %s: %s", luaT_typenames[ttype(value)], reason);
}

static void json_put_number(struct json_encoder *e, const TValue *value) {
    static const double powers[] = {1,    1e1, 1e2, 1e3,  1e4,  1e5,  1e6, 1e7,
                                    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14};
    double number = nvalue(value);
    int precision = e->config->encode_number_precision;
    rl_reserve(e->L, e->out, 40);
    char *out = e->out->data + e->out->length;
    /* Whole numbers that %.*g prints without an exponent. Minus zero is not among them. */
    if (fabs(number) < powers[precision]) {
        long long whole = (long long)number;
        if ((double)whole == number && (whole != 0 || !signbit(number))) {
            e->out->length += rl_print_integer(out, whole);
            return;
        }
    }
    if (isinf(number) || isnan(number)) {
        if (e->config->encode_invalid_numbers == 0) json_refuse(e, value, "must not be NaN or Inf");
        if (e->config->encode_invalid_numbers == 2) {
            rl_append(e->L, e->out, "null", 4);
            return;
        }
        if (isnan(number)) {
            rl_append(e->L, e->out, "nan", 3);
            return;
        }
    }
    e->out->length += (size_t)snprintf(out, 40, "%.*g", precision, number);
}

/* The length of a table that has whole keys from 1 only, -1 for an object; the rules for holes are cjson's. */
static int json_array_length(struct json_encoder *e, const Table *table, const TValue *value) {
    int max = 0, items = 0;
    for (int i = 0; i < table->sizearray; i++) {
        if (!ttisnil(&table->array[i])) max = i + 1, items++;
    }
    for (int i = 0; i < sizenode(table); i++) {
        const Node *node = gnode(table, i);
        if (ttisnil(gval(node))) continue;
        if (!ttisnumber(gkey(node))) return -1;
        double key = nvalue(gkey(node));
        if (key == 0 || floor(key) != key || !(key >= 1)) return -1;
        if (key > max) max = (int)key;
        items++;
    }
    if (e->config->encode_sparse_ratio > 0 && max > items * e->config->encode_sparse_ratio
        && max > e->config->encode_sparse_safe) {
        if (!e->config->encode_sparse_convert) json_refuse(e, value, "excessively sparse array");
        return -1;
    }
    return max;
}

static void json_put(struct json_encoder *e, const TValue *value, int depth, int slots);

static void json_put_member(struct json_encoder *e, const TValue *key, const TValue *value, int first, int depth,
                            int slots) {
    if (!first) rl_append(e->L, e->out, ",", 1);
    if (ttisnumber(key)) {
        rl_append(e->L, e->out, "\"", 1);
        json_put_number(e, key);
        rl_append(e->L, e->out, "\":", 2);
    } else if (ttisstring(key)) {
        json_put_string(e, rawtsvalue(key));
        rl_append(e->L, e->out, ":", 1);
    } else {
        json_refuse(e, key, "table key must be a number or string");
    }
    json_put(e, value, depth, slots + 2);
}

/* `slots`: how much of the Lua stack the original would have used here, which bounds the depth as it does there. */
static void json_put_table(struct json_encoder *e, const TValue *value, int depth, int slots) {
    const Table *table = hvalue(value);
    if (depth > e->config->encode_max_depth || slots + 3 > LUAI_MAXCSTACK)
        luaL_error(e->L, "Cannot serialise, excessive nesting (%d)", depth);
    int length = json_array_length(e, table, value);
    if (length > 0) {
        rl_append(e->L, e->out, "[", 1);
        for (int i = 1; i <= length; i++) {
            if (i > 1) rl_append(e->L, e->out, ",", 1);
            json_put(e, luaH_getnum((Table *)table, i), depth, slots + 1);
        }
        rl_append(e->L, e->out, "]", 1);
        return;
    }
    rl_append(e->L, e->out, "{", 1);
    int first = 1;
    for (int i = 0; i < table->sizearray; i++) {
        if (ttisnil(&table->array[i])) continue;
        TValue key;
        setnvalue(&key, i + 1);
        json_put_member(e, &key, &table->array[i], first, depth, slots);
        first = 0;
    }
    for (int i = 0; i < sizenode(table); i++) {
        const Node *node = gnode(table, i);
        if (ttisnil(gval(node))) continue;
        TValue key;
        setobj(e->L, &key, key2tval(node));
        json_put_member(e, &key, gval(node), first, depth, slots);
        first = 0;
    }
    rl_append(e->L, e->out, "}", 1);
}

static void json_put(struct json_encoder *e, const TValue *value, int depth, int slots) {
    switch (ttype(value)) {
    case LUA_TSTRING: json_put_string(e, rawtsvalue(value)); break;
    case LUA_TNUMBER: json_put_number(e, value); break;
    case LUA_TBOOLEAN:
        if (bvalue(value)) rl_append(e->L, e->out, "true", 4);
        else rl_append(e->L, e->out, "false", 5);
        break;
    case LUA_TTABLE: json_put_table(e, value, depth + 1, slots); break;
    case LUA_TNIL: rl_append(e->L, e->out, "null", 4); break;
    case LUA_TLIGHTUSERDATA:
        if (pvalue(value) == NULL) {
            rl_append(e->L, e->out, "null", 4);
            break;
        }
        /* fall through */
    default: json_refuse(e, value, "type not supported");
    }
}

static int json_encode(lua_State *L) {
    struct json_encoder e = {L, json_config_of(L), &rl_of(L)->json};
    luaL_argcheck(L, lua_gettop(L) == 1, 1, "expected 1 argument");
    e.out->length = 0;
    json_put(&e, L->base, 0, 1);
    lua_pushlstring(L, e.out->data, e.out->length);
    return 1;
}

/* ---- Decoding ---- */

struct json_decoder {
    lua_State *L;
    const struct json_config *config;
    const char *data; /* ends with NUL, as every Lua string does */
    const char *at;
    const char *end;
    int depth;
    /* Of the token just read: */
    size_t index;
    const char *text; /* a string's bytes, in the input or in the scratch buffer; an error's words */
    size_t length;
    double number;
    int truth;
};

static int json_hex4(const char *hex) {
    int value = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex[i];
        if ('0' <= digit && digit <= '9') {
            digit -= '0';
        } else {
            digit |= 0x20;
            if (digit < 'a' || digit > 'f') return -1;
            digit += 10 - 'a';
        }
        value = value << 4 | digit;
    }
    return value;
}

/* Reads the escape \uXXXX, or a pair of them, at `at` and writes it as UTF-8. Gives the bytes written, 0 for an error. */
static int json_unicode(const char **at, char *out) {
    int length = 6, code = json_hex4(*at + 2);
    if (code < 0) return 0;
    if ((code & 0xF800) == 0xD800) {
        if (code & 0x400) return 0;
        if ((*at)[6] != '\\' || (*at)[7] != 'u') return 0;
        int low = json_hex4(*at + 8);
        if (low < 0 || (low & 0xFC00) != 0xDC00) return 0;
        code = ((code & 0x3FF) << 10 | (low & 0x3FF)) + 0x10000;
        length = 12;
    }
    *at += length;
    if (code <= 0x7F) {
        out[0] = (char)code;
        return 1;
    }
    if (code <= 0x7FF) {
        out[0] = (char)(code >> 6 | 0xC0);
        out[1] = (char)((code & 0x3F) | 0x80);
        return 2;
    }
    if (code <= 0xFFFF) {
        out[0] = (char)(code >> 12 | 0xE0);
        out[1] = (char)((code >> 6 & 0x3F) | 0x80);
        out[2] = (char)((code & 0x3F) | 0x80);
        return 3;
    }
    out[0] = (char)(code >> 18 | 0xF0);
    out[1] = (char)((code >> 12 & 0x3F) | 0x80);
    out[2] = (char)((code >> 6 & 0x3F) | 0x80);
    out[3] = (char)((code & 0x3F) | 0x80);
    return 4;
}

static enum json_token json_error(struct json_decoder *d, const char *words) {
    d->index = (size_t)(d->at - d->data);
    d->text = words;
    return T_ERROR;
}

/* Where the first quote, backslash or NUL is. One of them is there: the string's own end is a NUL. */
static const char *json_run(const char *at, const char *end) {
#if defined(__SSE2__)
    while (end - at >= 16) {
        __m128i block = _mm_loadu_si128((const __m128i *)at);
        __m128i stop = _mm_or_si128(
            _mm_or_si128(_mm_cmpeq_epi8(block, _mm_set1_epi8('"')), _mm_cmpeq_epi8(block, _mm_set1_epi8('\\'))),
            _mm_cmpeq_epi8(block, _mm_setzero_si128()));
        unsigned mask = (unsigned)_mm_movemask_epi8(stop);
        if (mask != 0) return at + __builtin_ctz(mask);
        at += 16;
    }
#endif
    (void)end;
    while (*at != '"' && *at != '\\' && *at != 0) at++;
    return at;
}

static enum json_token json_string_token(struct json_decoder *d) {
    const char *start = ++d->at;
    const char *at = json_run(start, d->end);
    if (*at == '"') {
        d->text = start;
        d->length = (size_t)(at - start);
        d->at = at + 1;
        return T_STRING;
    }
    /* An escape never grows, so what is left of the input is room enough; 16 more for blocks. */
    struct rl_buffer *scratch = &rl_of(d->L)->scratch;
    scratch->length = 0;
    rl_reserve(d->L, scratch, (size_t)(d->end - start) + 16);
    char *out = scratch->data;
    for (;;) {
        memcpy(out, start, (size_t)(at - start));
        out += at - start;
        d->at = at;
        if (*at == '"') break;
        if (*at == 0) return json_error(d, "unexpected end of string");
        switch (at[1]) {
        case '"': case '\\': case '/': *out++ = at[1]; at += 2; break;
        case 'b': *out++ = '\b'; at += 2; break;
        case 't': *out++ = '\t'; at += 2; break;
        case 'n': *out++ = '\n'; at += 2; break;
        case 'f': *out++ = '\f'; at += 2; break;
        case 'r': *out++ = '\r'; at += 2; break;
        case 'u': {
            int written = json_unicode(&at, out);
            if (written == 0) return json_error(d, "invalid unicode escape code");
            out += written;
            break;
        }
        default: return json_error(d, "invalid escape code");
        }
        start = at;
        at = json_run(at, d->end);
    }
    d->at = at + 1;
    d->text = scratch->data;
    d->length = (size_t)(out - scratch->data);
    return T_STRING;
}

/* What strtod would take and JSON would not: a plus sign, hexadecimal, leading zeros, infinity, not-a-number. */
static int json_is_invalid_number(const char *at) {
    if (*at == '+') return 1;
    if (*at == '-') at++;
    if (*at == '0') return (at[1] | 0x20) == 'x' || ('0' <= at[1] && at[1] <= '9');
    if (*at <= '9') return 0;
    return !strncasecmp(at, "inf", 3) || !strncasecmp(at, "nan", 3);
}

static enum json_token json_number_token(struct json_decoder *d) {
    static const double powers[] = {1,   1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    /* Up to 15 digits, with or without a point: the quotient of two exact doubles is the nearest one. */
    const char *at = d->at;
    int negative = *at == '-';
    at += negative;
    const char *digits = at;
    unsigned long long mantissa = 0;
    while (*at >= '0' && *at <= '9' && at - digits < 15) mantissa = mantissa * 10 + (unsigned)(*at++ - '0');
    int whole = (int)(at - digits), fraction = 0;
    if (whole > 0 && *at == '.' && at[1] >= '0' && at[1] <= '9') {
        at++;
        while (*at >= '0' && *at <= '9' && whole + fraction < 15) {
            mantissa = mantissa * 10 + (unsigned)(*at++ - '0');
            fraction++;
        }
    }
    char next = (char)(*at | 0x20);
    if (whole > 0 && !(*at >= '0' && *at <= '9') && *at != '.' && next != 'e' && next != 'x') {
        double number = (double)mantissa;
        if (fraction > 0) number /= powers[fraction];
        d->number = negative ? -number : number;
        d->at = at;
        return T_NUMBER;
    }
    char *end;
    d->number = strtod(d->at, &end);
    if (end == d->at) return json_error(d, "invalid number");
    d->at = end;
    return T_NUMBER;
}

static enum json_token json_next(struct json_decoder *d) {
    while (*d->at == ' ' || *d->at == '\t' || *d->at == '\n' || *d->at == '\r') d->at++;
    d->index = (size_t)(d->at - d->data);
    switch (*d->at) {
    case '{': d->at++; return T_OBJ_BEGIN;
    case '}': d->at++; return T_OBJ_END;
    case '[': d->at++; return T_ARR_BEGIN;
    case ']': d->at++; return T_ARR_END;
    case ',': d->at++; return T_COMMA;
    case ':': d->at++; return T_COLON;
    case '\0': return T_END;
    case '"': return json_string_token(d);
    case '-': case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9':
        if (!d->config->decode_invalid_numbers && json_is_invalid_number(d->at)) return json_error(d, "invalid number");
        return json_number_token(d);
    case 't':
        if (strncmp(d->at, "true", 4)) break;
        d->at += 4;
        d->truth = 1;
        return T_BOOLEAN;
    case 'f':
        if (strncmp(d->at, "false", 5)) break;
        d->at += 5;
        d->truth = 0;
        return T_BOOLEAN;
    case 'n':
        if (strncmp(d->at, "null", 4)) break;
        d->at += 4;
        return T_NULL;
    case 'i': case 'I': case 'N': case '+': break;
    default: return json_error(d, "invalid token");
    }
    if (d->config->decode_invalid_numbers && json_is_invalid_number(d->at)) return json_number_token(d);
    return json_error(d, "invalid token");
}

static void json_unexpected(struct json_decoder *d, const char *expected, enum json_token found) {
    luaL_error(d->L, "Expected %s but found %s at character %d", expected,
               found == T_ERROR ? d->text : json_token_names[found], (int)d->index + 1);
}

static void json_descend(struct json_decoder *d, int slots) {
    d->depth++;
    if (d->depth > d->config->decode_max_depth || !lua_checkstack(d->L, slots))
        luaL_error(d->L, "Found too many nested data structures (%d) at character %d", d->depth,
                   (int)(d->at - d->data));
}

static void json_take(struct json_decoder *d, enum json_token token);

static void json_take_object(struct json_decoder *d) {
    lua_State *L = d->L;
    json_descend(d, 3);
    lua_newtable(L);
    enum json_token token = json_next(d);
    if (token == T_OBJ_END) {
        d->depth--;
        return;
    }
    for (;;) {
        if (token != T_STRING) json_unexpected(d, "object key string", token);
        lua_pushlstring(L, d->text, d->length);
        token = json_next(d);
        if (token != T_COLON) json_unexpected(d, "colon", token);
        json_take(d, json_next(d));
        Table *table = hvalue(L->top - 3);
        setobj2t(L, luaH_setstr(L, table, rawtsvalue(L->top - 2)), L->top - 1);
        luaC_barriert(L, table, L->top - 1);
        L->top -= 2;
        token = json_next(d);
        if (token == T_OBJ_END) {
            d->depth--;
            return;
        }
        if (token != T_COMMA) json_unexpected(d, "comma or object end", token);
        token = json_next(d);
    }
}

static void json_take_array(struct json_decoder *d) {
    lua_State *L = d->L;
    json_descend(d, 2);
    lua_newtable(L);
    enum json_token token = json_next(d);
    if (token == T_ARR_END) {
        d->depth--;
        return;
    }
    for (int i = 1;; i++) {
        json_take(d, token);
        lua_rawseti(L, -2, i);
        token = json_next(d);
        if (token == T_ARR_END) {
            d->depth--;
            return;
        }
        if (token != T_COMMA) json_unexpected(d, "comma or array end", token);
        token = json_next(d);
    }
}

static void json_take(struct json_decoder *d, enum json_token token) {
    switch (token) {
    case T_STRING: lua_pushlstring(d->L, d->text, d->length); break;
    case T_NUMBER: lua_pushnumber(d->L, d->number); break;
    case T_BOOLEAN: lua_pushboolean(d->L, d->truth); break;
    case T_OBJ_BEGIN: json_take_object(d); break;
    case T_ARR_BEGIN: json_take_array(d); break;
    case T_NULL: lua_pushlightuserdata(d->L, NULL); break;
    default: json_unexpected(d, "value", token);
    }
}

static int json_decode(lua_State *L) {
    struct json_decoder d = {.L = L};
    size_t length;
    luaL_argcheck(L, lua_gettop(L) == 1, 1, "expected 1 argument");
    d.config = json_config_of(L);
    d.at = d.data = luaL_checklstring(L, 1, &length);
    d.end = d.data + length;
    if (length >= 2 && (!d.data[0] || !d.data[1])) luaL_error(L, "JSON parser does not support UTF-16 or UTF-32");
    json_take(&d, json_next(&d));
    enum json_token token = json_next(&d);
    if (token != T_END) json_unexpected(&d, "the end", token);
    return 1;
}

/* ---- The module ---- */

static int json_new(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"encode", json_encode},
        {"decode", json_decode},
        {"encode_sparse_array", json_encode_sparse_array},
        {"encode_max_depth", json_encode_max_depth},
        {"decode_max_depth", json_decode_max_depth},
        {"encode_number_precision", json_encode_number_precision},
        {"encode_keep_buffer", json_encode_keep_buffer},
        {"encode_invalid_numbers", json_encode_invalid_numbers},
        {"decode_invalid_numbers", json_decode_invalid_numbers},
        {"new", json_new},
        {NULL, NULL},
    };
    lua_newtable(L);
    struct json_config *config = lua_newuserdata(L, sizeof(*config));
    *config = (struct json_config){
        .encode_sparse_ratio = 2,
        .encode_sparse_safe = 10,
        .encode_max_depth = 1000,
        .encode_number_precision = 14,
        .encode_keep_buffer = 1,
        .decode_invalid_numbers = 1,
        .decode_max_depth = 1000,
    };
    for (const luaL_Reg *entry = functions; entry->name; entry++) {
        lua_pushvalue(L, -1);
        lua_pushcclosure(L, entry->func, 1);
        lua_setfield(L, -3, entry->name);
    }
    lua_pop(L, 1);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    lua_pushliteral(L, "cjson");
    lua_setfield(L, -2, "_NAME");
    lua_pushliteral(L, "2.1.0");
    lua_setfield(L, -2, "_VERSION");
    return 1;
}

static int luaopen_cjson(lua_State *L) {
    json_new(L);
    lua_pushvalue(L, -1);
    lua_setglobal(L, "cjson");
    return 1;
}
