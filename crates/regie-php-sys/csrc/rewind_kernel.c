/* What a process has in the kernel, and memory does not put back.
 *
 * The functions below take the place of libc's for everybody in the process (this program comes first in the search for
 * a symbol). They do what libc's do, and while a request runs they note what was changed; so a request that changes
 * nothing costs nothing here.
 *
 *   mappings made             unmapped
 *   mappings of the boot      are not given up during a request: to unmap one does nothing, and all is as it was
 *   the heap's end (brk)      set back
 *   signal handlers           set back, those that were changed
 *   timers                    stopped, those that were started
 *   working directory, umask  set back
 *   children that have ended  reaped
 *   signal mask               set back
 *   threads, identity, limits, priority, protection of the boot's memory: the process is replaced
 *
 * PHP loads extensions with RTLD_DEEPBIND, by which they would find libc's functions and not ours; in rewind mode it does
 * not get it. libc itself calls its own mmap unseen by us (stacks of threads, loaded libraries, locales). So the template
 * seals what is mapped at the checkpoint (mseal, Linux 6.10): nobody can remove or replace it, whatever is mapped besides
 * makes the process larger, and its size is looked at after each request. Where it is not what it was, the mappings are
 * read and compared. malloc is told to use nothing but the heap.
 *
 * On an older kernel something of the boot could go and something of just its size come. libc does so where a locale, a
 * character set or a catalogue is closed or a library is loaded: after a request that called for one of those the mappings
 * are compared, and after each request of many that did not, for those who call the kernel themselves. */
#include "rewind.h"

#include <fcntl.h>
#include <grp.h>
#include <iconv.h>
#include <locale.h>
#include <malloc.h>
#include <nl_types.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MADE_MAX 512
#define EXTENTS_MAX 4096
#define SIGNALS 65
/* Requests between two looks at the mappings, where they are not sealed. */
#define LOOK_EVERY 64
/* Since Linux 6.10, the same everywhere; older headers lack it. */
#define SYS_MSEAL 462
/* What malloc and Zend get in advance, so that an ordinary request needs no new memory. */
#define HEAP_AHEAD (4 << 20)

static int armed;
static regie_span made[MADE_MAX];
static size_t made_len;
static const char *unfit; /* why this process must be replaced */
static uint64_t signals_changed;
static uint32_t timers_changed;
static int directory_changed, umask_changed, threads_made;

static struct sigaction handlers[SIGNALS];
static uint64_t blocked; /* the signal mask, as the kernel has it */
static void *heap_end;
static int directory = -1;
static mode_t mask;
static int statm = -1;
static long faults = -1; /* as of the last look */
static int has_children;
static uint64_t size_noted;
/* What is mapped where, with its rights: as it was, and as it was read last. */
static uint64_t mapped_noted, mapped;
static int sealed, may_have_unmapped;
static uint32_t unlooked;
static regie_span extents[EXTENTS_MAX];
static size_t extents_len;

/* --- mappings -------------------------------------------------------------------------------------------------- */

/* Whether anything of the boot may lie there. */
static int is_of_the_boot(uintptr_t start, uintptr_t end) {
    size_t low = 0, high = extents_len;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (extents[middle].end <= start) low = middle + 1;
        else high = middle;
    }
    return !extents_len || (low < extents_len && extents[low].start < end);
}

/* Zend's memory grows in small steps, each a mapping behind the last one: what touches is one. What finds no room here is
 * found by the size of the process. */
static void note_made(uintptr_t start, size_t length, int flags) {
    uintptr_t end = start + ((length + REGIE_PAGE - 1) & ~(REGIE_PAGE - 1));
    if ((flags & MAP_FIXED) && is_of_the_boot(start, end)) unfit = "a mapping of the boot was replaced";
    for (size_t i = made_len; i-- > 0;) {
        if (made[i].end < start || end < made[i].start) continue;
        if (start < made[i].start) made[i].start = start;
        if (end > made[i].end) made[i].end = end;
        return;
    }
    if (made_len < MADE_MAX) made[made_len++] = (regie_span){start, end};
}

/* One that is torn in two stays whole here: to unmap nothing does no harm. */
static void note_gone(uintptr_t start, size_t length) {
    uintptr_t end = start + ((length + REGIE_PAGE - 1) & ~(REGIE_PAGE - 1));
    for (size_t i = made_len; i-- > 0;) {
        if (end <= made[i].start || made[i].end <= start) continue;
        if (start <= made[i].start && made[i].end <= end) made[i] = made[--made_len];
        else if (start <= made[i].start) made[i].start = end;
        else if (made[i].end <= end) made[i].end = start;
    }
}

void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset) {
    void *got = (void *)syscall(SYS_mmap, at, length, protection, flags, fd, offset);
    if (armed && got != MAP_FAILED) note_made((uintptr_t)got, length, flags);
    return got;
}

void *mmap64(void *at, size_t length, int protection, int flags, int fd, off_t offset) {
    return mmap(at, length, protection, flags, fd, offset);
}

int munmap(void *at, size_t length) {
    if (armed && is_of_the_boot((uintptr_t)at, (uintptr_t)at + length)) return 0;
    if (armed) note_gone((uintptr_t)at, length);
    return (int)syscall(SYS_munmap, at, length);
}

void *mremap(void *at, size_t before, size_t after, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    void *to = flags & MREMAP_FIXED ? va_arg(arguments, void *) : NULL;
    va_end(arguments);
    if (armed && is_of_the_boot((uintptr_t)at, (uintptr_t)at + before)) {
        if (after <= before && !(flags & MREMAP_FIXED)) return at;
        errno = ENOMEM;
        return MAP_FAILED;
    }
    void *got = (void *)syscall(SYS_mremap, at, before, after, flags, to);
    if (armed && got != MAP_FAILED) {
        note_gone((uintptr_t)at, before);
        note_made((uintptr_t)got, after, flags & MREMAP_FIXED ? MAP_FIXED : 0);
    }
    return got;
}

int mprotect(void *at, size_t length, int protection) {
    if (armed && regie_memory_has((uintptr_t)at, (uintptr_t)at + length)) {
        unfit = "the protection of memory was changed";
    }
    return (int)syscall(SYS_mprotect, at, length, protection);
}

int madvise(void *at, size_t length, int advice) {
    int drops = advice == MADV_DONTNEED || advice == MADV_FREE || advice == MADV_REMOVE;
    if (armed && drops && regie_memory_has((uintptr_t)at, (uintptr_t)at + length)) {
        /* The tracker would not see that it is gone. Nobody can count on MADV_FREE. */
        if (advice == MADV_FREE) return 0;
        unfit = "memory of the boot was given back";
    }
    return (int)syscall(SYS_madvise, at, length, advice);
}

/* What comes with a library is found as ours is: see above. */
void *dlopen(const char *name, int flags) {
    REAL(dlopen);
    may_have_unmapped = 1;
    return real(name, regie.settings && regie.settings->rewind ? flags & ~RTLD_DEEPBIND : flags);
}

/* A library of the boot stays; one that the request has loaded goes with its mappings. */
int dlclose(void *library) {
    REAL(dlclose);
    return armed ? 0 : real(library);
}

/* Who calls one of these has libc map or unmap something by itself. */
#define MAY_UNMAP(result, name, parameters, arguments) \
    result name parameters {                           \
        REAL(name);                                    \
        may_have_unmapped = 1;                         \
        return real arguments;                         \
    }

MAY_UNMAP(char *, setlocale, (int category, const char *locale), (category, locale))
MAY_UNMAP(locale_t, newlocale, (int categories, const char *locale, locale_t base), (categories, locale, base))
MAY_UNMAP(void, freelocale, (locale_t locale), (locale))
MAY_UNMAP(iconv_t, iconv_open, (const char *to, const char *from), (to, from))
MAY_UNMAP(int, iconv_close, (iconv_t state), (state))
MAY_UNMAP(int, catclose, (nl_catd catalogue), (catalogue))

/* --- signals, timers, and the rest ----------------------------------------------------------------------------- */

int regie_real_sigaction(int number, const struct sigaction *action, struct sigaction *before) {
    REAL(sigaction);
    return real(number, action, before);
}

int sigaction(int number, const struct sigaction *action, struct sigaction *before) {
    if (regie_cputime_action(number, action, before)) return 0;
    if (armed && action && number > 0 && number < SIGNALS) signals_changed |= (uint64_t)1 << (number - 1);
    return regie_real_sigaction(number, action, before);
}

sighandler_t signal(int number, sighandler_t handler) {
    struct sigaction action, before;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    return sigaction(number, &action, &before) == 0 ? before.sa_handler : SIG_ERR;
}

int setitimer(__itimer_which_t which, const struct itimerval *value, struct itimerval *before) {
    if (regie_cputime_timer(which, value, before)) return 0;
    if (armed && value) {
        int runs = value->it_value.tv_sec || value->it_value.tv_usec;
        if (runs) timers_changed |= 1u << which;
        else timers_changed &= ~(1u << which);
    }
    return (int)syscall(SYS_setitimer, which, value, before);
}

unsigned alarm(unsigned seconds) {
    struct itimerval value = {.it_value = {.tv_sec = seconds}}, before = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &value, &before);
    return (unsigned)before.it_value.tv_sec + (before.it_value.tv_usec > 0);
}

int chdir(const char *path) {
    regie_cwd_forget();
    directory_changed = 1;
    return (int)syscall(SYS_chdir, path);
}

int fchdir(int fd) {
    regie_cwd_forget();
    directory_changed = 1;
    return (int)syscall(SYS_fchdir, fd);
}

mode_t umask(mode_t wanted) {
    umask_changed = 1;
    return (mode_t)syscall(SYS_umask, wanted);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument) {
    REAL(pthread_create);
    threads_made = 1;
    return real(thread, attributes, run, argument);
}

/* Who calls one of these changes what this process is; there is no way back. */
#define NO_WAY_BACK(result, name, parameters, arguments) \
    result name parameters {                             \
        REAL(name);                                      \
        if (armed) unfit = #name "() was called";        \
        return real arguments;                           \
    }

NO_WAY_BACK(int, nice, (int by), (by))
NO_WAY_BACK(int, setpriority, (__priority_which_t which, id_t who, int priority), (which, who, priority))
NO_WAY_BACK(int, setrlimit, (__rlimit_resource_t what, const struct rlimit *limit), (what, limit))
NO_WAY_BACK(int, setrlimit64, (__rlimit_resource_t what, const struct rlimit64 *limit), (what, limit))
NO_WAY_BACK(int, sched_setaffinity, (pid_t pid, size_t size, const cpu_set_t *set), (pid, size, set))
NO_WAY_BACK(int, unshare, (int what), (what))
NO_WAY_BACK(int, timer_create, (clockid_t clock, struct sigevent *event, timer_t *timer), (clock, event, timer))
NO_WAY_BACK(int, setuid, (uid_t id), (id))
NO_WAY_BACK(int, seteuid, (uid_t id), (id))
NO_WAY_BACK(int, setgid, (gid_t id), (id))
NO_WAY_BACK(int, setegid, (gid_t id), (id))
NO_WAY_BACK(int, setreuid, (uid_t real_id, uid_t effective), (real_id, effective))
NO_WAY_BACK(int, setregid, (gid_t real_id, gid_t effective), (real_id, effective))
NO_WAY_BACK(int, setresuid, (uid_t real_id, uid_t effective, uid_t saved), (real_id, effective, saved))
NO_WAY_BACK(int, setresgid, (gid_t real_id, gid_t effective, gid_t saved), (real_id, effective, saved))
NO_WAY_BACK(int, setgroups, (size_t count, const gid_t *list), (count, list))
NO_WAY_BACK(int, initgroups, (const char *user, gid_t group), (user, group))
NO_WAY_BACK(pid_t, setsid, (void), ())
NO_WAY_BACK(int, setpgid, (pid_t pid, pid_t group), (pid, group))
NO_WAY_BACK(int, chroot, (const char *path), (path))

/* --- what there is --------------------------------------------------------------------------------------------- */

void regie_kernel_prepare(void) {
    /* One heap that only grows: no arena of its own for a thread, nothing mapped beside it, nothing given back. */
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    mallopt(M_TOP_PAD, HEAP_AHEAD);
    /* One byte written into a huge page would have all 2 MB of it put back. */
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

/* The size of all that is mapped, and of what is private and can be written. */
static uint64_t size_now(void) {
    char text[96], *at = text;
    ssize_t length = pread(statm, text, sizeof text - 1, 0);
    if (length <= 0) return 0;
    text[length] = 0;
    /* `size resident shared text lib data dt` */
    uint64_t size = strtoull(at, &at, 10);
    for (int i = 0; i < 4; i++) strtoull(at, &at, 10);
    return size << 32 | strtoull(at, &at, 10);
}

typedef struct mapping {
    int is_private;
    uint64_t is; /* the same for two neighbours that are one thing */
} mapping;

static uint64_t mix(uint64_t one, uint64_t other) {
    one = (one ^ other) * 0x9e3779b97f4a7c15;
    return one ^ one >> 29;
}

/* `rw-p 00021000 fe:00 1234   /lib/…`: its rights (opcache changes those of shared memory), and which part of which file. */
static mapping read_mapping(const char *line, uintptr_t start) {
    mapping what = {line[3] == 'p', 0};
    char *at;
    uint64_t offset = strtoull(line + 4, &at, 16), device = strtoull(at, &at, 16);
    device = device << 32 | strtoull(at + 1, &at, 16);
    uint64_t file = strtoull(at, &at, 10);
    if (what.is_private) what.is = mix((uint64_t)line[0] << 16 | (uint64_t)line[1] << 8 | (uint64_t)line[2], 1);
    if (file) what.is = mix(mix(mix(what.is, device), file), offset - start);
    return what;
}

/* Visits what is mapped, in order; without the process's original stack, which grows as it likes. 0: it cannot be read. */
static int each_mapping(int (*visit)(uintptr_t start, uintptr_t end, const mapping *what)) {
    static char text[1 << 20];
    size_t length = 0;
    ssize_t got;
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    while (length < sizeof text - 1 && (got = read(fd, text + length, sizeof text - 1 - length)) > 0) {
        length += (size_t)got;
    }
    close(fd);
    text[length] = 0;
    for (char *line = text; *line;) {
        char *at, *next = strchr(line, '\n');
        uintptr_t start = strtoull(line, &at, 16);
        uintptr_t end = strtoull(at + 1, &at, 16);
        /* `55d0-55d1 rw-p …` */
        mapping what = read_mapping(at + 1, start);
        if (!(start <= here && here < end) && end < ((uintptr_t)1 << 63) && !visit(start, end, &what)) return 0;
        if (!next) break;
        line = next + 1;
    }
    return 1;
}

/* Neighbours are joined. */
static regie_span *gathered;
static size_t gathered_len;

static regie_span run;
static uint64_t run_is;

/* The kernel may make one mapping of two, or two of one. */
static void end_run(void) { mapped = mix(mix(mix(mapped, run.start), run.end), run_is); }

static int gather(uintptr_t start, uintptr_t end, const mapping *what) {
    if (run.end == start && run_is == what->is) {
        run.end = end;
    } else {
        end_run();
        run = (regie_span){start, end};
        run_is = what->is;
    }
    if (gathered_len && gathered[gathered_len - 1].end == start) gathered[gathered_len - 1].end = end;
    else if (gathered_len == EXTENTS_MAX) return 0;
    else gathered[gathered_len++] = (regie_span){start, end};
    return 1;
}

static long read_extents(regie_span into[EXTENTS_MAX]) {
    gathered = into;
    gathered_len = 0;
    run = (regie_span){0, 0};
    run_is = mapped = 0;
    if (!each_mapping(gather)) return -1;
    end_run();
    return (long)gathered_len;
}

/* Whatever is shared is opcache's and its like: the JIT changes the protection of its part. */
static int seal(uintptr_t start, uintptr_t end, const mapping *what) {
    return !what->is_private || syscall(SYS_MSEAL, start, end - start, 0) == 0;
}

void regie_kernel_seal(void) {
    /* For the tests: as on a kernel that cannot. */
    const char *wanted = getenv("REGIE_MSEAL");
    sealed = !(wanted && *wanted == '0') && each_mapping(seal);
}

int regie_kernel_note(const char **why) {
    for (int number = 1; number < SIGNALS; number++) sigaction(number, NULL, &handlers[number]);
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &blocked, sizeof blocked);
    heap_end = (void *)syscall(SYS_brk, 0);
    mask = umask(0);
    umask(mask);
    directory = open(".", O_PATH | O_CLOEXEC);
    statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (directory < 0 || statm < 0) {
        *why = "the working directory or /proc/self/statm cannot be opened";
        return 0;
    }
    directory_changed = umask_changed = threads_made = 0;
    return 1;
}

void regie_kernel_arm(void) {
    if (!size_noted) {
        /* Only now: what the worker itself needs is mapped. */
        long count = read_extents(extents);
        extents_len = count < 0 ? 0 : (size_t)count;
        mapped_noted = mapped;
        size_noted = size_now();
    }
    unfit = NULL;
    signals_changed = timers_changed = 0;
    directory_changed = umask_changed = threads_made = may_have_unmapped = 0;
    made_len = 0;
    armed = 1;
}

/* --- putting back ---------------------------------------------------------------------------------------------- */

static int has_threads(void) {
    struct stat tasks;
    /* A link for itself, one for its parent, one for each thread. */
    return stat("/proc/self/task", &tasks) != 0 || tasks.st_nlink > 3;
}

const char *regie_kernel_put_back(void) {
    static const struct itimerval stopped;
    armed = 0;
    if (threads_made && has_threads()) unfit = "a thread is still running";
    for (uint64_t left = signals_changed; left; left &= left - 1) {
        int number = __builtin_ctzll(left) + 1;
        sigaction(number, &handlers[number], NULL);
    }
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &blocked, NULL, sizeof blocked);
    for (int which = 0; timers_changed && which < 3; which++) {
        if (timers_changed & (1u << which)) syscall(SYS_setitimer, which, &stopped, NULL);
    }
    if (directory_changed && syscall(SYS_fchdir, directory) != 0) unfit = "its working directory is gone";
    if (umask_changed) syscall(SYS_umask, mask);
    long child;
    while ((child = syscall(SYS_wait4, -1, NULL, WNOHANG, NULL)) > 0) {
    }
    has_children = child == 0;
    for (size_t i = 0; i < made_len; i++) {
        syscall(SYS_munmap, made[i].start, made[i].end - made[i].start);
    }
    if ((void *)syscall(SYS_brk, 0) != heap_end) syscall(SYS_brk, heap_end);
    return unfit;
}

/* --- page faults ----------------------------------------------------------------------------------------------- */

/* Those of this process, and of its children that have ended: one may have run in our memory until its exec (vfork, and
 * libc's posix_spawn, popen and system). */
static long faults_now(void) {
    struct rusage ours, childrens;
    if (syscall(SYS_getrusage, RUSAGE_SELF, &ours) != 0 || syscall(SYS_getrusage, RUSAGE_CHILDREN, &childrens) != 0) return -1;
    return ours.ru_minflt + ours.ru_majflt + childrens.ru_minflt + childrens.ru_majflt;
}

/* What is written while memory is put back, by whomever, counts for the next request: its page may be protected already. */
int regie_kernel_may_have_written(void) {
    /* Nobody counts the children of one who ignores their end. */
    const struct sigaction *ended = &handlers[SIGCHLD];
    int ignores = ended->sa_handler == SIG_IGN || ended->sa_flags & SA_NOCLDWAIT ||
                  signals_changed & (uint64_t)1 << (SIGCHLD - 1);
    long before = faults;
    faults = faults_now();
    return before < 0 || before != faults || ignores || has_children;
}

static const char *compare(const regie_span *now, size_t count) {
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        uintptr_t from = now[i].start;
        while (from < now[i].end) {
            while (at < extents_len && extents[at].end <= from) at++;
            /* Up to the next thing that was there before, it is new. */
            uintptr_t known = at < extents_len ? extents[at].start : UINTPTR_MAX;
            if (known > from) {
                uintptr_t to = known < now[i].end ? known : now[i].end;
                syscall(SYS_munmap, from, to - from);
                from = to;
            } else {
                from = extents[at].end;
            }
        }
    }
    return NULL;
}

const char *regie_kernel_settle(void) {
    static regie_span now[EXTENTS_MAX];
    int looks = !sealed && (may_have_unmapped || ++unlooked >= LOOK_EVERY);
    if (size_now() == size_noted && !looks) return NULL;
    unlooked = 0;
    long count = read_extents(now);
    if (count < 0) return "its mappings cannot be read";
    if (mapped == mapped_noted) {
        size_noted = size_now();
        return NULL;
    }
    compare(now, (size_t)count);
    /* The process's own stack may have grown; anything else is missing. */
    size_t before = 0, after = 0;
    count = read_extents(now);
    for (long i = 0; i < count; i++) after += now[i].end - now[i].start;
    for (size_t i = 0; i < extents_len; i++) before += extents[i].end - extents[i].start;
    if (count < 0 || before != after) return "a mapping of the boot is gone";
    if (!sealed && mapped != mapped_noted) return "a mapping of the boot was replaced";
    size_noted = size_now();
    return NULL;
}
