/* regie_json_decode(): what json_decode($text, true) gives, in less than half of its time.
 *
 * A job's payload is half a kilobyte of JSON, most of it one string with many escapes. PHP's scanner spends forty
 * instructions on each byte of it, which was a seventh of a short job. Here a string is measured, taken and copied.
 *
 * What this file is not certain of is left to PHP's own decoder, which then reads all anew: whatever is wrong,
 * surrogates, numbers of 19 digits and more, words in capitals, what is nested deeper than DEPTH. So no error is told
 * from here, and equal keys, keys that are numbers and values are PHP's (RFC 8259; php_json_scanner.re). */
#include "internal.h"

#include <ext/json/php_json.h>
#include <string.h>
#include <zend_strtod.h>

#define DEPTH 64
#define DIGITS 18

/* The next byte. A zend_string ends with a zero, which nothing here goes past: it stands for none of the grammar. */
typedef const unsigned char *cursor;

static cursor read_value(cursor at, zval *value, int depth);

static cursor skip_space(cursor at) {
    while (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r') at++;
    return at;
}

/* Bytes of the character of several at `at`, 0 when it is none (RFC 3629). */
static size_t character_length(cursor at) {
    static const struct {
        unsigned char first, last, low, high, length;
    } forms[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t form = 0; form < sizeof forms / sizeof *forms; form++) {
        if (*at < forms[form].first || *at > forms[form].last) continue;
        if (at[1] < forms[form].low || at[1] > forms[form].high) return 0;
        for (size_t next = 2; next < forms[form].length; next++) {
            if ((at[next] & 0xc0) != 0x80) return 0;
        }
        return forms[form].length;
    }
    return 0;
}

/* The code of four hexadecimal digits; -1 when they are none, or half of a pair. */
static int read_code(cursor at) {
    int code = 0;
    for (int digit = 0; digit < 4; digit++, at++) {
        int lower = *at | 0x20;
        if (*at >= '0' && *at <= '9') code = code << 4 | (*at - '0');
        else if (lower >= 'a' && lower <= 'f') code = code << 4 | (lower - 'a' + 10);
        else return -1;
    }
    return code >= 0xd800 && code < 0xe000 ? -1 : code;
}

static char *write_code(char *to, int code) {
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3f));
    } else {
        *to++ = (char)(0xe0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    }
    return to;
}

/* What stands for itself within a string, of one byte. */
static const unsigned char plain[256] = {
    [0x20 ... 0x7f] = 1,
    ['"'] = 0,
    ['\\'] = 0,
};

/* The end of the string that begins at `at`, its quote; null when there is none. */
static cursor find_end(cursor at, int *escapes) {
    *escapes = 0;
    for (;;) {
        while (plain[*at]) at++;
        if (*at == '"') return at;
        if (*at == '\\') {
            /* Which one it is, is looked at when it is taken. */
            if (!at[1]) return NULL;
            *escapes = 1;
            at += 2;
        } else {
            size_t length = character_length(at);
            if (!length) return NULL;
            at += length;
        }
    }
}

/* Takes out the escapes between `at` and `end`. Null when one is not known. */
static zend_string *unescape(cursor at, cursor end) {
    zend_string *text = zend_string_alloc((size_t)(end - at), 0);
    char *to = ZSTR_VAL(text);
    while (at < end) {
        cursor escape = memchr(at, '\\', (size_t)(end - at));
        size_t before = (size_t)((escape ? escape : end) - at);
        memcpy(to, at, before);
        to += before;
        at += before;
        if (!escape) break;
        static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
        const char *letter = memchr(letters, at[1], sizeof letters - 1);
        int code = letter ? (unsigned char)meant[letter - letters] : at[1] == 'u' ? read_code(at + 2) : -1;
        if (code < 0) {
            zend_string_efree(text);
            return NULL;
        }
        to = write_code(to, code);
        at += letter ? 2 : 6;
    }
    *to = 0;
    size_t length = (size_t)(to - ZSTR_VAL(text));
    return length == ZSTR_LEN(text) ? text : zend_string_truncate(text, length, 0);
}

/* A string, whose first quote is at `at`. */
static cursor read_string(cursor at, zend_string **text) {
    int escapes;
    cursor begin = at + 1, end = find_end(begin, &escapes);
    if (!end) return NULL;
    *text = escapes ? unescape(begin, end) : zend_string_init_fast((const char *)begin, (size_t)(end - begin));
    return *text ? end + 1 : NULL;
}

static cursor skip_digits(cursor at) {
    while (*at >= '0' && *at <= '9') at++;
    return at;
}

static cursor read_number(cursor at, zval *value) {
    cursor begin = at, digits = at + (*at == '-');
    at = skip_digits(digits);
    /* No zero in front of others. */
    if (at == digits || (*digits == '0' && at - digits > 1)) return NULL;
    if (*at != '.' && (*at | 0x20) != 'e') {
        /* -0 is a fraction to PHP. */
        if (at - digits > DIGITS || (*begin == '-' && *digits == '0')) return NULL;
        zend_long number = 0;
        for (cursor digit = digits; digit < at; digit++) number = number * 10 + (*digit - '0');
        ZVAL_LONG(value, *begin == '-' ? -number : number);
        return at;
    }
    if (*at == '.') {
        cursor fraction = at + 1;
        if ((at = skip_digits(fraction)) == fraction) return NULL;
    }
    if ((*at | 0x20) == 'e') {
        cursor exponent = at + 1;
        if (*exponent == '+' || *exponent == '-') exponent++;
        if ((at = skip_digits(exponent)) == exponent) return NULL;
    }
    ZVAL_DOUBLE(value, zend_strtod((const char *)begin, NULL));
    return at;
}

/* What is behind the bracket that is at `at`. */
static cursor read_list(cursor at, zval *value, int depth) {
    at = skip_space(at + 1);
    if (*at == ']') {
        ZVAL_EMPTY_ARRAY(value);
        return at + 1;
    }
    array_init(value);
    for (;;) {
        zval item;
        if (!(at = read_value(at, &item, depth))) break;
        zend_hash_next_index_insert_new(Z_ARRVAL_P(value), &item);
        at = skip_space(at);
        if (*at == ']') return at + 1;
        if (*at++ != ',') break;
    }
    zval_ptr_dtor_nogc(value);
    return NULL;
}

static cursor read_member(cursor at, HashTable *members, int depth) {
    zend_string *key;
    zval item;
    at = skip_space(at);
    if (*at != '"' || !(at = read_string(at, &key))) return NULL;
    at = skip_space(at);
    at = *at == ':' ? read_value(at + 1, &item, depth) : NULL;
    if (at) zend_symtable_update(members, key, &item);
    zend_string_release_ex(key, 0);
    return at;
}

static cursor read_object(cursor at, zval *value, int depth) {
    at = skip_space(at + 1);
    if (*at == '}') {
        ZVAL_EMPTY_ARRAY(value);
        return at + 1;
    }
    array_init(value);
    while ((at = read_member(at, Z_ARRVAL_P(value), depth))) {
        at = skip_space(at);
        if (*at == '}') return at + 1;
        if (*at++ != ',') break;
    }
    zval_ptr_dtor_nogc(value);
    return NULL;
}

/* Reads what stands at `at` and returns what is behind it. Null, with nothing to be freed, when that is PHP's part. */
static cursor read_value(cursor at, zval *value, int depth) {
    zend_string *text;
    if (depth == 0) return NULL;
    at = skip_space(at);
    switch (*at) {
    case '"':
        if ((at = read_string(at, &text))) ZVAL_STR(value, text);
        return at;
    case '{':
        return read_object(at, value, depth - 1);
    case '[':
        return read_list(at, value, depth - 1);
    case 't':
        ZVAL_TRUE(value);
        return strncmp((const char *)at, "true", 4) == 0 ? at + 4 : NULL;
    case 'f':
        ZVAL_FALSE(value);
        return strncmp((const char *)at, "false", 5) == 0 ? at + 5 : NULL;
    case 'n':
        ZVAL_NULL(value);
        return strncmp((const char *)at, "null", 4) == 0 ? at + 4 : NULL;
    default:
        return read_number(at, value);
    }
}

ZEND_FUNCTION(regie_json_decode) {
    zend_string *text;
    ZEND_PARSE_PARAMETERS_START(1, 1)
    Z_PARAM_STR(text)
    ZEND_PARSE_PARAMETERS_END();
    cursor begin = (cursor)ZSTR_VAL(text), at = read_value(begin, return_value, DEPTH);
    if (at && (size_t)(skip_space(at) - begin) == ZSTR_LEN(text)) return;
    if (at) zval_ptr_dtor_nogc(return_value);
    ZVAL_NULL(return_value);
    php_json_decode_ex(return_value, ZSTR_VAL(text), ZSTR_LEN(text), PHP_JSON_OBJECT_AS_ARRAY, PHP_JSON_PARSER_DEFAULT_DEPTH);
}
