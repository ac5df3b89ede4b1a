/* What the boot of an application asks of rewind mode before its checkpoint, and what of it lasts.
 *
 * regie_prime(callback) runs requests in a child that is thrown away, so that nothing of them can be in the snapshot: no
 * session, no token, no static variable. What is kept is knowledge: opcache, which the child shares, has compiled the
 * scripts, and the classes that the child has loaded are loaded here too, through the application's own autoloader; and
 * the regular expressions that it has compiled are compiled here.
 *
 * $_SERVER is made anew for each request. What the boot has added to it (Dotenv) is added again, where the request says
 * nothing of that name. */
#include "rewind.h"

#include <ext/pcre/php_pcre.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long priming may take without a word. */
#define PATIENCE_MS 30000
#define NAMES_MAX (4 << 20)

/* --- priming --------------------------------------------------------------------------------------------------- */

static void write_all(int fd, const char *bytes, size_t length) {
    while (length) {
        ssize_t written = write(fd, bytes, length);
        if (written <= 0) return;
        bytes += written;
        length -= (size_t)written;
    }
}

/* A kind and the length come before the bytes: a pattern may hold any. */
typedef struct piece {
    char kind;
    uint32_t length;
} piece;

enum { KIND_CLASS = 'c', KIND_PATTERN = 'p' };

static void tell(int fd, char kind, const zend_string *text) {
    piece piece = {kind, (uint32_t)ZSTR_LEN(text)};
    write_all(fd, (const char *)&piece, sizeof piece);
    write_all(fd, ZSTR_VAL(text), ZSTR_LEN(text));
}

/* In the child: the classes that PHP code has declared, and the patterns that were compiled. */
static void tell_all(int fd) {
    zend_class_entry *class;
    zend_string *pattern;
    ZEND_HASH_FOREACH_PTR(EG(class_table), class) {
        if (class->type != ZEND_USER_CLASS || class->ce_flags & ZEND_ACC_ANON_CLASS) continue;
        tell(fd, KIND_CLASS, class->name);
    }
    ZEND_HASH_FOREACH_END();
    ZEND_HASH_FOREACH_STR_KEY(&PCRE_G(pcre_cache), pattern) {
        if (pattern) tell(fd, KIND_PATTERN, pattern);
    }
    ZEND_HASH_FOREACH_END();
}

static void be_child(int fd, zend_fcall_info *fci, zend_fcall_info_cache *fcc) {
    zval result;
    ZVAL_UNDEF(&result);
    fci->retval = &result;
    zend_try {
        php_output_start_user(NULL, 0, PHP_OUTPUT_HANDLER_STDFLAGS);
        zend_call_function(fci, fcc);
        if (EG(exception) && !zend_is_unwind_exit(EG(exception))) {
            zend_object *exception = EG(exception);
            regie_log(REGIE_LOG_WARNING, "priming the application ended in a %s", ZSTR_VAL(exception->ce->name));
        }
        php_output_discard_all();
    }
    zend_end_try();
    tell_all(fd);
    _exit(0);
}

/* Everything that the child says; null when it says nothing for too long. */
static zend_string *listen_to(int fd) {
    zend_string *said = zend_string_alloc(NAMES_MAX, 0);
    size_t length = 0;
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        int ready = poll(&wait, 1, PATIENCE_MS);
        if (ready < 0 && errno == EINTR) continue;
        ssize_t got = ready > 0 && length < NAMES_MAX ? read(fd, ZSTR_VAL(said) + length, NAMES_MAX - length) : 0;
        if (got <= 0) break;
        length += (size_t)got;
    }
    ZSTR_VAL(said)[length] = 0;
    ZSTR_LEN(said) = length;
    return said;
}

static zend_long load_all(const zend_string *said) {
    zend_long loaded = 0;
    const char *at = ZSTR_VAL(said), *end = at + ZSTR_LEN(said);
    piece piece;
    while ((size_t)(end - at) > sizeof piece) {
        memcpy(&piece, at, sizeof piece);
        at += sizeof piece;
        if (piece.length > (size_t)(end - at)) break;
        zend_string *text = zend_string_init(at, piece.length, 0);
        at += piece.length;
        if (piece.kind == KIND_PATTERN) {
            pcre_get_compiled_regex_cache(text);
        } else if (zend_lookup_class_ex(text, NULL, ZEND_FETCH_CLASS_SILENT)) {
            loaded++;
        }
        /* Whatever is wrong with a class is said when it is used. */
        if (EG(exception)) zend_clear_exception();
        zend_string_release(text);
    }
    return loaded;
}

/* Classes that are loaded here afterwards; -1 when there was no child. */
zend_long regie_prime(zend_fcall_info *fci, zend_fcall_info_cache *fcc) {
    int ends[2];
    if (pipe(ends) != 0) return -1;
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        be_child(ends[1], fci, fcc);
    }
    close(ends[1]);
    zend_string *said = child > 0 ? listen_to(ends[0]) : zend_empty_string;
    close(ends[0]);
    if (child < 0) return -1;
    kill(child, SIGKILL);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {
    }
    zend_long loaded = load_all(said);
    zend_string_release(said);
    return loaded;
}

/* --- $_SERVER -------------------------------------------------------------------------------------------------- */

static zval *server(void) {
    zval *found = zend_hash_str_find(&EG(symbol_table), ZEND_STRL("_SERVER"));
    return found && Z_TYPE_P(found) == IS_ARRAY ? found : NULL;
}

static int is_of_the_boot(const zend_string *name) {
    static const char *const made[] = {"argv", "argc", "REQUEST_TIME", "REQUEST_TIME_FLOAT", "PHP_SELF"};
    const regie_request *boot = regie.settings->boot;
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        if (strcmp(ZSTR_VAL(name), made[i]) == 0) return 1;
    }
    for (size_t i = 0; i < boot->params_len; i++) {
        regie_text param = boot->params[i].name;
        if (param.len == ZSTR_LEN(name) && memcmp(param.ptr, ZSTR_VAL(name), param.len) == 0) return 1;
    }
    return 0;
}

void regie_boot_keep_server(zval *kept) {
    zend_string *name;
    zval *value, *now = server();
    array_init(kept);
    if (!now) return;
    ZEND_HASH_FOREACH_STR_KEY_VAL(Z_ARRVAL_P(now), name, value) {
        if (!name || is_of_the_boot(name)) continue;
        Z_TRY_ADDREF_P(value);
        zend_hash_add(Z_ARRVAL_P(kept), name, value);
    }
    ZEND_HASH_FOREACH_END();
}

void regie_boot_add_server(zval *kept) {
    zend_string *name;
    zval *value, *now = server();
    if (!now || !zend_hash_num_elements(Z_ARRVAL_P(kept))) return;
    SEPARATE_ARRAY(now);
    ZEND_HASH_FOREACH_STR_KEY_VAL(Z_ARRVAL_P(kept), name, value) {
        if (zend_hash_add(Z_ARRVAL_P(now), name, value)) Z_TRY_ADDREF_P(value);
    }
    ZEND_HASH_FOREACH_END();
}
