/* Which pages were written, and what makes them count as unwritten again.
 *
 *   name          written pages are found by                       a page is put back by       Linux
 *   userfaultfd   WP_ASYNC (a write clears the page's mark,        copying it and marking it   6.7
 *                 without a message and without a sleep), and
 *                 PAGEMAP_SCAN, which lists the unmarked ones
 *   scan          PHP's world is mapped privately from the         dropping it: the next       6.7
 *                 snapshot's file, so a written page is one that   access finds the file's
 *                 is not the file's; PAGEMAP_SCAN lists them
 *   pagemap       the same; /proc/self/pagemap says it of each     the same                    4.2
 *
 * None needs a privilege. Only the first needs userfaultfd, which profiles of containers deny. The other two need
 * memfd_create and /proc/self/pagemap. Writes by the kernel (a read() into a buffer) are seen by all of them. */
#include "rewind.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of linux/fs.h and linux/userfaultfd.h since 6.7; older headers lack them. */
#define SCAN_PAGE_IS_WPALLOWED (1 << 0)
#define SCAN_PAGE_IS_WRITTEN (1 << 1)
#define SCAN_PAGE_IS_FILE (1 << 2)
#define SCAN_PAGE_IS_PRESENT (1 << 3)
#define SCAN_PAGE_IS_SWAPPED (1 << 4)
#define SCAN_WP_MATCHING (1 << 0)
#define SCAN_CHECK_WPASYNC (1 << 1)
#define FEATURE_WP_UNPOPULATED (1 << 13)
#define FEATURE_WP_ASYNC (1 << 15)

struct scan_region {
    uint64_t start, end, categories;
};

struct scan_argument {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define SCAN _IOWR('f', 16, struct scan_argument)

#define SCAN_REGIONS_MAX 4096

/* Bits of an entry of /proc/self/pagemap. */
#define ENTRY_IS_FILE ((uint64_t)1 << 61)
#define ENTRY_IS_THERE ((uint64_t)3 << 62) /* in memory, or swapped out */
#define ENTRIES_MAX 4096

static int uffd = -1, pagemap = -1;

static int open_pagemap(const char **why) {
    pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (pagemap < 0) *why = "/proc/self/pagemap cannot be opened";
    return pagemap >= 0;
}

static void shut(void) {
    if (uffd >= 0) close(uffd);
    if (pagemap >= 0) close(pagemap);
    uffd = pagemap = -1;
}

static long list(struct scan_argument *scan, regie_span *spans, size_t max, uintptr_t *reached) {
    static struct scan_region found[SCAN_REGIONS_MAX];
    scan->size = sizeof *scan;
    scan->vec = (uintptr_t)found;
    scan->vec_len = max < SCAN_REGIONS_MAX ? max : SCAN_REGIONS_MAX;
    long count = ioctl(pagemap, SCAN, scan);
    for (long i = 0; i < count; i++) spans[i] = (regie_span){found[i].start, found[i].end};
    *reached = count < 0 ? scan->end : scan->walk_end;
    return count;
}

/* --- userfaultfd ----------------------------------------------------------------------------------------------- */

static int uffd_open(const char **why) {
    uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    if (uffd < 0) {
        *why = errno == ENOSYS ? "the kernel has no userfaultfd"
                               : "userfaultfd is denied here (a container's seccomp profile must allow it)";
        return 0;
    }
    struct uffdio_api api = {.api = UFFD_API, .features = FEATURE_WP_ASYNC | FEATURE_WP_UNPOPULATED};
    struct scan_argument nothing = {.size = sizeof nothing};
    if (ioctl(uffd, UFFDIO_API, &api) != 0) {
        *why = "the kernel's userfaultfd has no WP_ASYNC (Linux 6.7)";
    } else if (open_pagemap(why)) {
        if (ioctl(pagemap, SCAN, &nothing) == 0) return 1;
        *why = "the kernel has no PAGEMAP_SCAN (Linux 6.7)";
    }
    shut();
    return 0;
}

static int uffd_watch(uintptr_t start, uintptr_t end) {
    struct uffdio_register wanted = {.range = {start, end - start}, .mode = UFFDIO_REGISTER_MODE_WP};
    return ioctl(uffd, UFFDIO_REGISTER, &wanted) == 0;
}

static int uffd_protect(uintptr_t start, uintptr_t end) {
    struct scan_argument scan = {
        .size = sizeof scan,
        .flags = SCAN_WP_MATCHING | SCAN_CHECK_WPASYNC,
        .start = start,
        .end = end,
        .category_mask = SCAN_PAGE_IS_WRITTEN,
    };
    return ioctl(pagemap, SCAN, &scan) >= 0;
}

static long uffd_written(uintptr_t from, uintptr_t to, regie_span *spans, size_t max, uintptr_t *reached) {
    struct scan_argument scan = {
        .start = from,
        .end = to,
        /* What is not watched lies in between, and is passed over. */
        .category_mask = SCAN_PAGE_IS_WPALLOWED | SCAN_PAGE_IS_WRITTEN,
        .return_mask = SCAN_PAGE_IS_WRITTEN,
    };
    return list(&scan, spans, max, reached);
}

/* --- pages that are not the snapshot's ------------------------------------------------------------------------- */

static int drop(uintptr_t start, uintptr_t end) { return syscall(SYS_madvise, start, end - start, MADV_DONTNEED) == 0; }

static int nothing_to_do(uintptr_t start, uintptr_t end) { return 1; }

static long scan_written(uintptr_t from, uintptr_t to, regie_span *spans, size_t max, uintptr_t *reached) {
    struct scan_argument scan = {
        .start = from,
        .end = to,
        .category_inverted = SCAN_PAGE_IS_FILE,
        .category_mask = SCAN_PAGE_IS_FILE,
        .category_anyof_mask = SCAN_PAGE_IS_PRESENT | SCAN_PAGE_IS_SWAPPED,
        .return_mask = SCAN_PAGE_IS_FILE,
    };
    return list(&scan, spans, max, reached);
}

static long pagemap_written(uintptr_t from, uintptr_t to, regie_span *spans, size_t max, uintptr_t *reached) {
    static uint64_t entries[ENTRIES_MAX];
    size_t count = (to - from) / REGIE_PAGE;
    if (count > ENTRIES_MAX) count = ENTRIES_MAX;
    *reached = to;
    ssize_t got = pread(pagemap, entries, count * sizeof *entries, (off_t)(from / REGIE_PAGE * sizeof *entries));
    if (got != (ssize_t)(count * sizeof *entries)) return -1;
    long found = 0;
    for (size_t i = 0; i < count; i++) {
        if (!(entries[i] & ENTRY_IS_THERE) || entries[i] & ENTRY_IS_FILE) continue;
        uintptr_t page = from + i * REGIE_PAGE;
        if (found && spans[found - 1].end == page) {
            spans[found - 1].end += REGIE_PAGE;
        } else if ((size_t)found == max) {
            *reached = page;
            return found;
        } else {
            spans[found++] = (regie_span){page, page + REGIE_PAGE};
        }
    }
    *reached = from + count * REGIE_PAGE;
    return found;
}

/* Does it once: written pages of a private mapping are told from others, and are as before when they were dropped. */
static int try(const regie_tracker *tracker, const char **why) {
    regie_span span;
    uintptr_t reached;
    int works = 0, file = (int)syscall(SYS_memfd_create, "regie", 1 /* MFD_CLOEXEC */);
    if (file < 0 || ftruncate(file, 4 * REGIE_PAGE) != 0) {
        *why = "memfd_create is denied here (a container's seccomp profile must allow it)";
        if (file >= 0) close(file);
        return 0;
    }
    char *pages = mmap(NULL, 4 * REGIE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    if (pages != MAP_FAILED) {
        volatile char *byte = pages;
        uintptr_t start = (uintptr_t)pages, end = start + 4 * REGIE_PAGE, second = start + REGIE_PAGE;
        works = byte[0] == 0 && (byte[REGIE_PAGE] = 1) && tracker->written(start, end, &span, 1, &reached) == 1 &&
                span.start == second && span.end == second + REGIE_PAGE && tracker->protect(second, second + REGIE_PAGE) &&
                byte[REGIE_PAGE] == 0 && tracker->written(start, end, &span, 1, &reached) == 0;
        munmap(pages, 4 * REGIE_PAGE);
    }
    close(file);
    if (!works) *why = "the kernel does not say which pages of a private mapping were written";
    return works;
}

static int scan_open(const char **why) {
    struct scan_argument nothing = {.size = sizeof nothing};
    if (!open_pagemap(why)) return 0;
    if (ioctl(pagemap, SCAN, &nothing) == 0) return 1;
    *why = "the kernel has no PAGEMAP_SCAN (Linux 6.7)";
    shut();
    return 0;
}

/* --- which ----------------------------------------------------------------------------------------------------- */

/* In the order of preference. */
static const regie_tracker trackers[] = {
    {"userfaultfd", 0, SIZE_MAX, uffd_open, uffd_watch, uffd_protect, uffd_written},
    {"scan", 1, 64, scan_open, nothing_to_do, drop, scan_written},
    {"pagemap", 1, 64, open_pagemap, nothing_to_do, drop, pagemap_written},
};

static int works(const regie_tracker *tracker, const char **why) {
    int is_there = tracker->open(why) && (!tracker->is_private || try(tracker, why));
    shut();
    return is_there;
}

const regie_tracker *regie_tracker_choose(const char *name, const char **why) {
    *why = "there is no tracker of that name";
    for (size_t i = 0; i < sizeof trackers / sizeof *trackers; i++) {
        if (name && strcmp(trackers[i].name, name) != 0) continue;
        if (works(&trackers[i], why)) return &trackers[i];
    }
    return NULL;
}
