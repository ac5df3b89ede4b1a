/* max_execution_time without system calls.
 *
 * The limit is ITIMER_PROF's. The engine arms it at the start of a request and again before the script, stops it at the
 * end, and each time sets the handler of SIGPROF and unblocks that signal: five system calls, as much as a small page
 * costs otherwise. Here the engine's wish is kept in memory, and the kernel's timer runs on from request to request:
 *
 *   the engine asks for T        due = processor time spent + T; the kernel is asked only where nothing comes before
 *   the engine needs no more     due = nothing; the kernel's timer stays
 *   SIGPROF                      nothing due, or not yet (an earlier request had armed it): armed for the rest
 *                                else it is the engine's, as if the kernel had sent it there
 *
 * So a worker asks the kernel once in T seconds of processor time. What has been spent is read at most every SAMPLE_NS;
 * between, wall-clock time is added to it, which is never less. So a limit strikes up to SAMPLE_NS late, and never early.
 *
 * For workers in classic and worker mode, from their fork on. Rewind mode would put these notes back and not the timer,
 * so there, and in programs that PHP starts, all is the kernel's. */
#include "internal.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000LL
#define SAMPLE_NS (20 * 1000000LL)
/* The kernel counts in ticks: what is due within one is due. */
#define TICK_NS (10 * 1000000LL)

/* What the kernel has of a set; libc leaves the rest of it as it was. */
#define SET_SIZE (64 / 8)

static int kept;                 /* whether this process keeps the engine's wishes here */
static int64_t due;              /* the engine's wish, in processor time; 0: none */
static int64_t armed_for;        /* when the kernel's timer strikes; 0: it does not run */
static int64_t spent_read;       /* processor time as read last … */
static int64_t spent_read_at;    /* … and when */
static struct sigaction engines; /* what the engine wants done at SIGPROF */
static int stands;               /* whether on_profile stands for it */
static int unblocked;            /* whether SIGPROF is known to be unblocked */

static int64_t read_clock(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * SECOND_NS + time.tv_nsec;
}

/* Processor time of this process, or up to SAMPLE_NS more. */
static int64_t spent(void) {
    int64_t now = read_clock(CLOCK_MONOTONIC);
    if (spent_read_at == 0 || now - spent_read_at > SAMPLE_NS) {
        spent_read = read_clock(CLOCK_PROCESS_CPUTIME_ID);
        spent_read_at = now;
    }
    return spent_read + (now - spent_read_at);
}

static void arm(int64_t when, int64_t in) {
    struct itimerval value = {{0, 0}, {in / SECOND_NS, in % SECOND_NS / 1000 + 1}};
    armed_for = when;
    syscall(SYS_setitimer, ITIMER_PROF, &value, NULL);
}

static void on_profile(int number, siginfo_t *info, void *context) {
    int errno_before = errno;
    if (info->si_code == SI_KERNEL) {
        int64_t now = read_clock(CLOCK_PROCESS_CPUTIME_ID);
        armed_for = 0;
        if (due == 0 || now < due - TICK_NS) {
            if (due) arm(due, due - now);
            errno = errno_before;
            return;
        }
        due = 0;
    }
    /* The engine may leave by a jump, with the signal still blocked. */
    unblocked = 0;
    if (engines.sa_flags & SA_SIGINFO) engines.sa_sigaction(number, info, context);
    else engines.sa_handler(number);
    errno = errno_before;
}

/* From here on the kernel's timer is what the engine wants, no more and no less. */
static void give_back(void) {
    struct itimerval none = {{0, 0}, {0, 0}};
    int64_t now = read_clock(CLOCK_PROCESS_CPUTIME_ID);
    if (due) arm(due, due > now ? due - now : 1);
    else if (armed_for) syscall(SYS_setitimer, ITIMER_PROF, &none, NULL);
    due = armed_for = 0;
    stands = 0;
}

int regie_cputime_timer(int which, const struct itimerval *value, struct itimerval *before) {
    /* The engine asks for neither of these. */
    int plain = value && !before && !value->it_interval.tv_sec && !value->it_interval.tv_usec;
    if (!kept || which != ITIMER_PROF || !stands || !plain) {
        if (which == ITIMER_PROF && value) due = armed_for = 0;
        return 0;
    }
    int64_t in = value->it_value.tv_sec * SECOND_NS + value->it_value.tv_usec * 1000LL;
    due = in ? spent() + in : 0;
    if (due && (armed_for == 0 || armed_for > due)) arm(due, in);
    return 1;
}

int regie_cputime_action(int number, const struct sigaction *action, struct sigaction *before) {
    if (!kept || number != SIGPROF) return 0;
    if (!action) {
        if (!stands || !before) return 0;
        *before = engines;
        return 1;
    }
    int function = action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN;
    if (!function || before) {
        if (stands) give_back();
        return 0;
    }
    int same = stands && engines.sa_flags == action->sa_flags &&
               memcmp(&engines.sa_mask, &action->sa_mask, SET_SIZE) == 0;
    engines = *action;
    if (same) return 1;
    struct sigaction ours = *action;
    ours.sa_sigaction = on_profile;
    /* A signal that is nobody's must not be felt. */
    ours.sa_flags |= SA_SIGINFO | SA_RESTART;
    stands = regie_real_sigaction(SIGPROF, &ours, NULL) == 0;
    return stands;
}

/* In place of libc's, for everybody in the process. */
int sigprocmask(int how, const sigset_t *set, sigset_t *before) {
    REAL(sigprocmask);
    if (kept && !before && set && how == SIG_UNBLOCK) {
        sigset_t profile;
        sigemptyset(&profile);
        sigaddset(&profile, SIGPROF);
        if (memcmp(set, &profile, SET_SIZE) == 0) {
            if (unblocked) return 0;
            unblocked = 1;
        }
    } else if (set) {
        unblocked = 0;
    }
    return real(how, set, before);
}

/* A child of PHP's has no timer, and what it starts knows nothing of this. */
static void in_child(void) { armed_for = due = spent_read_at = 0; }

void regie_cputime_child(void) {
    kept = 1;
    stands = unblocked = 0;
    in_child();
    pthread_atfork(NULL, NULL, in_child);
}
