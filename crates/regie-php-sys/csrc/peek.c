/* Where PHP stands in a worker, read by the master while the worker runs on.
 *
 * A worker is a fork of the master, so what lies where is known: the engine's globals have the same address in both. The
 * worker is neither stopped nor interrupted: a signal would end its sleep() early, and a stopped process would run out of
 * its time. So what is read may change meanwhile. Nothing is believed of it: each piece is copied before it is looked
 * at, lengths and depth are bounded, and what cannot be read ends the walk. */
#include "internal.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/uio.h>

#define DEPTH_MAX 64
#define NAME_MAX_LENGTH 512

typedef struct peek {
    pid_t pid;
    char *out;
    size_t size, length;
} peek;

static int copy(const peek *peek, const void *from, void *to, size_t length) {
    struct iovec here = {to, length}, there = {(void *)from, length};
    return process_vm_readv(peek->pid, &here, 1, &there, 1, 0) == (ssize_t)length;
}

static void put(peek *peek, const char *bytes, size_t length) {
    size_t room = peek->size - peek->length;
    if (length > room) length = room;
    memcpy(peek->out + peek->length, bytes, length);
    peek->length += length;
}

static void put_text(peek *peek, const char *text) { put(peek, text, strlen(text)); }

static int put_string(peek *peek, const zend_string *text) {
    char bytes[NAME_MAX_LENGTH];
    size_t length;
    if (!copy(peek, (const char *)text + offsetof(zend_string, len), &length, sizeof length)) return 0;
    if (length > sizeof bytes) length = sizeof bytes;
    if (length && !copy(peek, (const char *)text + offsetof(zend_string, val), bytes, length)) return 0;
    put(peek, bytes, length);
    return 1;
}

/* `#2 App\Shop->pay() /srv/app/Shop.php:17`, as timeout.c has it. */
static int put_frame(peek *peek, uint32_t depth, const zend_execute_data *frame) {
    /* What functions of all kinds begin with: one of an extension is shorter than one of a script. */
    zend_internal_function function;
    const size_t common = offsetof(zend_internal_function, scope) + sizeof function.scope;
    char number[32];
    if (!copy(peek, frame->func, &function, common)) return 0;
    put(peek, number, (size_t)snprintf(number, sizeof number, "#%u ", depth));
    if (function.function_name) {
        zend_string *class_name;
        if (function.scope) {
            if (!copy(peek, (const char *)function.scope + offsetof(zend_class_entry, name), &class_name, sizeof class_name)
                || !put_string(peek, class_name)) {
                return 0;
            }
            put_text(peek, function.fn_flags & ZEND_ACC_STATIC ? "::" : "->");
        }
        if (!put_string(peek, function.function_name)) return 0;
        put_text(peek, "()");
    } else {
        put_text(peek, "{main}");
    }
    if (ZEND_USER_CODE(function.type)) {
        zend_string *file;
        zend_op line;
        if (!copy(peek, (const char *)frame->func + offsetof(zend_op_array, filename), &file, sizeof file)) return 0;
        put_text(peek, " ");
        if (!put_string(peek, file)) return 0;
        if (frame->opline && copy(peek, frame->opline, &line, sizeof line)) {
            put(peek, number, (size_t)snprintf(number, sizeof number, ":%u", line.lineno));
        }
    }
    put_text(peek, "\n");
    return 1;
}

int64_t regie_php_peek(int32_t pid, char *out, size_t size) {
    peek peek = {pid, out, size, 0};
    const zend_execute_data *at;
    zend_execute_data frame;
    uint32_t depth = 0;
    if (!copy(&peek, &EG(current_execute_data), &at, sizeof at)) return -errno;
    for (; at && depth < DEPTH_MAX; at = frame.prev_execute_data) {
        if (!copy(&peek, at, &frame, sizeof frame) || (frame.func && !put_frame(&peek, depth++, &frame))) {
            put_text(&peek, "(frames could not be read further)\n");
            return (int64_t)peek.length;
        }
    }
    if (at) put_text(&peek, "(deeper frames left out)\n");
    return (int64_t)peek.length;
}
