/* Which pages were written since they were last protected.
 *
 *   scan      Linux 6.7: userfaultfd with WP_ASYNC (a write clears the page's mark, without a message and without a
 *             sleep) and PAGEMAP_SCAN, which lists the unmarked pages. Needs no privilege. */
#define _GNU_SOURCE
#include "rewind.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of linux/fs.h and linux/userfaultfd.h since 6.7; older headers lack them. */
#define SCAN_PAGE_IS_WPALLOWED (1 << 0)
#define SCAN_PAGE_IS_WRITTEN (1 << 1)
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

static int uffd = -1, pagemap = -1;
static struct scan_region found[SCAN_REGIONS_MAX];

static int scan_open(const char **why) {
    uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    if (uffd < 0) {
        *why = errno == EPERM ? "userfaultfd is denied here (a container's seccomp profile must allow it)"
                              : "the kernel has no userfaultfd";
        return 0;
    }
    struct uffdio_api api = {.api = UFFD_API, .features = FEATURE_WP_ASYNC | FEATURE_WP_UNPOPULATED};
    if (ioctl(uffd, UFFDIO_API, &api) != 0) {
        *why = "the kernel's userfaultfd has no WP_ASYNC (Linux 6.7)";
    } else if ((pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)) < 0) {
        *why = "/proc/self/pagemap cannot be opened";
    } else {
        struct scan_argument nothing = {.size = sizeof nothing};
        if (ioctl(pagemap, SCAN, &nothing) == 0) return 1;
        *why = "the kernel has no PAGEMAP_SCAN (Linux 6.7)";
        close(pagemap);
    }
    close(uffd);
    uffd = pagemap = -1;
    return 0;
}

static int scan_watch(uintptr_t start, uintptr_t end) {
    struct uffdio_register wanted = {.range = {start, end - start}, .mode = UFFDIO_REGISTER_MODE_WP};
    return ioctl(uffd, UFFDIO_REGISTER, &wanted) == 0;
}

static int scan_protect(uintptr_t start, uintptr_t end) {
    struct scan_argument scan = {
        .size = sizeof scan,
        .flags = SCAN_WP_MATCHING | SCAN_CHECK_WPASYNC,
        .start = start,
        .end = end,
        .category_mask = SCAN_PAGE_IS_WRITTEN,
    };
    return ioctl(pagemap, SCAN, &scan) >= 0;
}

static long scan_written(uintptr_t from, uintptr_t to, regie_span *spans, size_t max, uintptr_t *reached) {
    struct scan_argument scan = {
        .size = sizeof scan,
        .start = from,
        .end = to,
        .vec = (uintptr_t)found,
        .vec_len = max < SCAN_REGIONS_MAX ? max : SCAN_REGIONS_MAX,
        /* What is not watched lies in between, and is passed over. */
        .category_mask = SCAN_PAGE_IS_WPALLOWED | SCAN_PAGE_IS_WRITTEN,
        .return_mask = SCAN_PAGE_IS_WRITTEN,
    };
    long count = ioctl(pagemap, SCAN, &scan);
    for (long i = 0; i < count; i++) spans[i] = (regie_span){found[i].start, found[i].end};
    *reached = count < 0 ? to : scan.walk_end;
    return count;
}

static const regie_tracker scan = {"PAGEMAP_SCAN", scan_open, scan_watch, scan_protect, scan_written};

const regie_tracker *regie_tracker_choose(const char **why) {
    if (!scan_open(why)) return NULL;
    close(uffd);
    close(pagemap);
    uffd = pagemap = -1;
    return &scan;
}
