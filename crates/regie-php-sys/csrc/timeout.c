/* The wall-clock limit of a request.
 *
 *   master                                     worker
 *   T has passed: sigqueue(sequence, FATAL) ─▶ handler: still that request? write down where PHP stands,
 *                                              ask the engine to look (vm_interrupt)
 *                                              engine, at its next check: fatal error, status 504 if unsent;
 *                                              shutdown functions run, the response is ended
 *   T + grace: sigqueue(sequence, GIVE_UP) ──▶ handler: sends a bare 504 if nothing was sent yet
 *   a moment later: SIGKILL
 *
 * The signal interrupts system calls (no SA_RESTART), so sleep() and its like return and the engine gets to look; a
 * client library that tries again after an interruption is ended by the kill.
 *
 * The handler walks the engine's frames without allocating. A frame may be half made when the signal comes, so a bad
 * pointer ends the walk (by a temporary SIGSEGV handler) and not the process. Zend's own signal layer does not know
 * real-time signals, and pcntl's users are left every signal but this one. */
#include "internal.h"

#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#define DEPTH_MAX 64

static regie_trace *trace;
static volatile sig_atomic_t sequence_in_hand;
static volatile sig_atomic_t raise_fatal;
static volatile sig_atomic_t timed_out;
static sigjmp_buf bad_pointer;
static void (*next_interrupt)(zend_execute_data *);

static void put(const char *bytes, size_t length) {
    uint32_t room = REGIE_TRACE_SIZE - trace->len;
    if (length > room) length = room;
    memcpy(trace->text + trace->len, bytes, length);
    trace->len += (uint32_t)length;
}

static void put_text(const char *text) { put(text, strlen(text)); }

static void put_string(const zend_string *text) {
    size_t length = ZSTR_LEN(text);
    put(ZSTR_VAL(text), length < 512 ? length : 512);
}

static void put_number(uint32_t number) {
    char digits[10];
    size_t at = sizeof digits;
    do digits[--at] = (char)('0' + number % 10);
    while (number /= 10);
    put(digits + at, sizeof digits - at);
}

/* `#2 App\Shop->pay() /srv/app/Shop.php:17`, as PHP's own traces have it, without arguments. */
static void put_frame(uint32_t depth, const zend_execute_data *frame) {
    const zend_function *function = frame->func;
    put_text("#");
    put_number(depth);
    put_text(" ");
    if (function->common.function_name) {
        if (function->common.scope) {
            put_string(function->common.scope->name);
            put_text(function->common.fn_flags & ZEND_ACC_STATIC ? "::" : "->");
        }
        put_string(function->common.function_name);
        put_text("()");
    } else {
        put_text("{main}");
    }
    if (ZEND_USER_CODE(function->type)) {
        put_text(" ");
        put_string(function->op_array.filename);
        put_text(":");
        put_number(frame->opline ? frame->opline->lineno : 0);
    }
    put_text("\n");
}

static void on_bad_pointer(int signal_number) { siglongjmp(bad_pointer, 1); }

static void walk(void) {
    struct sigaction catch, segv_before, bus_before;
    memset(&catch, 0, sizeof catch);
    catch.sa_handler = on_bad_pointer;
    catch.sa_flags = SA_NODEFER;
    sigemptyset(&catch.sa_mask);
    sigaction(SIGSEGV, &catch, &segv_before);
    sigaction(SIGBUS, &catch, &bus_before);
    trace->sequence = 0;
    trace->len = 0;
    if (sigsetjmp(bad_pointer, 1) == 0) {
        uint32_t depth = 0;
        for (const zend_execute_data *frame = EG(current_execute_data); frame && depth < DEPTH_MAX;
             frame = frame->prev_execute_data) {
            if (frame->func) put_frame(depth++, frame);
        }
        if (depth == DEPTH_MAX) put_text("(deeper frames left out)\n");
    } else {
        put_text("(frames could not be read further)\n");
    }
    sigaction(SIGSEGV, &segv_before, NULL);
    sigaction(SIGBUS, &bus_before, NULL);
    atomic_thread_fence(memory_order_release);
    trace->sequence = (uint32_t)sequence_in_hand;
}

static void on_signal(int signal_number, siginfo_t *info, void *context) {
    int errno_before = errno;
    int sequence = info->si_value.sival_int >> 1;
    int stage = info->si_value.sival_int & 1;
    if (info->si_code == SI_QUEUE && sequence && sequence == (sequence_in_hand & 0x3fffffff)) {
        if (stage == REGIE_STAGE_GIVE_UP) {
            regie.call->give_up();
        } else {
            walk();
            timed_out = 1;
            raise_fatal = 1;
#if PHP_VERSION_ID >= 80200
            zend_atomic_bool_store_ex(&EG(vm_interrupt), true);
#else
            EG(vm_interrupt) = 1;
#endif
        }
    }
    errno = errno_before;
}

static void on_interrupt(zend_execute_data *execute_data) {
    if (raise_fatal) {
        raise_fatal = 0;
        /* The engine turns a 200 into 500 on a fatal error; any other status stays. */
        if (regie.responding && !SG(headers_sent)) {
            SG(sapi_headers).http_response_code = 504;
        }
        regie.fatal = 1;
        zend_error_noreturn(E_ERROR, "Maximum request time exceeded");
    }
    if (next_interrupt) next_interrupt(execute_data);
}

void regie_timeout_startup(void) {
    next_interrupt = zend_interrupt_function;
    zend_interrupt_function = on_interrupt;
}

void regie_timeout_child(regie_trace *shared, int signal_number) {
    struct sigaction action;
    trace = shared;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    sigaction(signal_number, &action, NULL);
}

void regie_php_sequence(uint32_t sequence) {
    sequence_in_hand = (sig_atomic_t)sequence;
    if (!sequence) raise_fatal = 0;
    timed_out = 0;
    regie_cwd_forget();
}

int32_t regie_php_timed_out(void) { return timed_out; }
