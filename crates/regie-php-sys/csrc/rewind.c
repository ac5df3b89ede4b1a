/* Rewind mode: the checkpoint, a request's way through PHP, and the monitor.
 *
 *   template                                     worker (cloned from it)
 *   run the boot script                          watch memory, note what the kernel holds
 *     regie_checkpoint()                         loop, on the process's own stack:
 *       end what the boot began                    next_request ── leave ──▶ the end
 *       park ──▶ regie_php_run returns             resume: regie_checkpoint() returns true, the script goes on,
 *   take the snapshot                                ends; shutdown functions, destructors, output, session
 *   parked for life: workers are cloned            done: the response ends
 *                                                  put back: kernel, files, memory
 *
 * The template runs nothing more: what it holds (opcache's lock, the snapshot) must stay as it is. The worker's loop
 * keeps nothing on the heap and nothing in thread-local storage that it would miss. */
#include "rewind.h"

#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static regie_request next;
static uintptr_t stack_low;
static char refused[1024];
/* The request has ended with its script, and not at the end of its callback. */
static int script_over;
/* Chosen by the master, before there is a template. */
static const regie_tracker *tracker;

/* --- on PHP's stack -------------------------------------------------------------------------------------------- */

/* Ends what the boot began, and comes back once for each request, in a worker. */
static void park(void) {
    zval kept;
    zend_unset_timeout();
    regie_boot_keep_server(&kept);
    regie_leave_request();
    regie_engine_checkpoint();
    /* Room for the frames of parking itself. */
    stack_low = ((uintptr_t)__builtin_frame_address(0) - 2 * REGIE_PAGE) & ~(REGIE_PAGE - 1);
    regie.looping = 1;
    regie_stack_park();
    script_over = 0;
    if (!next.message) {
        regie_enter_request(&next);
        regie_boot_add_server(&kept);
    }
    regie_engine_begin_request();
    zend_set_timeout(EG(timeout_seconds), 0);
}

int regie_checkpoint(void) {
    park();
    return 1;
}

/* The request is over; nothing below this frame is needed again. */
static void leave(void) {
    if (EG(exit_status) != 255) {
        zend_try { regie_look_at_opcache(); }
        zend_end_try();
    }
    regie_engine_end_request();
    regie_stack_leave();
}

/* A worker script runs as it is: its loop is entered once for each request, and what stands behind is not reached. */
int regie_rewind_handle_request(zend_fcall_info *fci, zend_fcall_info_cache *fcc) {
    zval result;
    park();
    if (next.message) {
        regie_handle_message(&next, fci, fcc);
    } else {
        ZVAL_UNDEF(&result);
        fci->retval = &result;
        zend_call_function(fci, fcc);
        zval_ptr_dtor(&result);
    }
    if (EG(exception)) {
        if (!zend_is_unwind_exit(EG(exception)) && !zend_is_graceful_exit(EG(exception))) {
            zend_exception_error(EG(exception), E_ERROR);
            EG(exit_status) = 255;
        }
        zend_bailout();
    }
    zend_first_try { leave(); }
    zend_end_try();
    return 0;
}

int32_t regie_run_rewind(int32_t *exit_status) {
    regie_kernel_prepare();
    regie_files_ours();
    int started = regie_run_script();
    if (regie.looping) {
        script_over = 1;
        if (regie.message) regie_message_script_ends();
        leave();
    }
    int32_t status = EG(exit_status);
    regie_end_script();
    *exit_status = status;
    return started ? REGIE_ENDED_SCRIPT : REGIE_ENDED_ENGINE;
}

/* --- watching -------------------------------------------------------------------------------------------------- */

static const char *unwatched;

/* The child's first act: what it writes before would be missed. */
static void begin_watching(void) {
    /* A process that has changed its user may not look at itself otherwise. */
    int dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    unwatched = NULL;
    if (!regie_memory_watch(&unwatched) && !unwatched) unwatched = "its memory cannot be watched";
    prctl(PR_SET_DUMPABLE, dumpable, 0, 0, 0);
}

/* The clock, and when the template made this process. */
static uint64_t micros_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint64_t forked_at;

/* --- the template ---------------------------------------------------------------------------------------------- */

int32_t regie_rewind_snapshot(char *why, size_t size) {
    const char *reason = "";
    if (regie_files_check(refused, sizeof refused) && regie_memory_snapshot(stack_low, tracker, &reason)) {
        regie_kernel_seal();
        return 1;
    }
    snprintf(why, size, "%s", *refused ? refused : reason);
    return 0;
}

int32_t regie_rewind_fork(void) {
    /* As fork() in a process of one thread; libc has no call for a sibling. */
    forked_at = micros_now();
    int32_t pid = (int32_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0) begin_watching();
    return pid;
}

/* --- the worker ------------------------------------------------------------------------------------------------ */

static void replace(const char *why) {
    regie_text detail = {why, strlen(why)};
    regie.call->event(REGIE_EVENT_REPLACE, detail);
}

static int prepare(const char **why) {
    *why = unwatched;
    if (unwatched) return 0;
    regie_engine_worker();
    return regie_kernel_note(why) && regie_files_note(why);
}

/* Paranoid mode: looks at every page, and not only at those that are said to be written. */
static const char *verify(void) {
    uintptr_t page;
    uint64_t wrong = regie.settings->paranoid ? regie_memory_verify(&page) : 0;
    if (!wrong) return NULL;
    regie_log(REGIE_LOG_ERROR, "%llu pages were not put back, the first at %lx", (unsigned long long)wrong,
              (unsigned long)page);
    return "its memory is not that of the snapshot";
}

static void put_back(regie_rewind_stats *stats) {
    uint64_t began = micros_now();
    regie_files_put_back();
    uint64_t pages = regie_memory_put_back(regie_kernel_may_have_written());
    uint64_t took = micros_now() - began;
    stats->requests++;
    stats->pages += pages;
    stats->micros += took;
    stats->last_pages = pages;
    stats->last_micros = took;
}

int32_t regie_rewind_serve(regie_rewind_stats *stats, char *why, size_t size) {
    const char *reason = NULL;
    if (!prepare(&reason)) {
        snprintf(why, size, "%s", reason);
        return REGIE_ENDED_ENGINE;
    }
    pid_t self = getpid();
    regie_kernel_may_have_written();
    regie_memory_put_back(1);
    stats->ready_micros = micros_now() - forked_at;
    regie_text nothing = {NULL, 0};
    regie.call->event(REGIE_EVENT_BOOTED, nothing);
    while (regie.call->next_request(&next)) {
        regie_kernel_arm();
        regie_stack_resume();
        /* A child that the script has forked ends with its request. */
        if (getpid() != self) _exit(EG(exit_status));
        reason = regie_kernel_put_back();
        if (reason) replace(reason);
        int32_t status = EG(exit_status);
        if (status == 255 && !regie.fatal) regie.fatal = 1;
        if (regie.message && script_over) regie_message_script_ended(status);
        regie_end_request(status);
        if (reason) return REGIE_ENDED_RECYCLE;
        put_back(stats);
        reason = regie_kernel_settle();
        if (!reason) reason = verify();
        if (reason) {
            replace(reason);
            return REGIE_ENDED_RECYCLE;
        }
    }
    return REGIE_ENDED_ASKED;
}

const char *regie_rewind_tracker(const char *name, char *why, size_t size) {
    const char *reason = "";
    tracker = regie_tracker_choose(name, &reason);
    if (tracker) return tracker->name;
    snprintf(why, size, "%s", reason);
    return NULL;
}
