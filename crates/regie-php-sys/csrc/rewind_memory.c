/* PHP's world as regions of memory: found, copied once, put back page by page.
 *
 * A region is a private writable mapping, as /proc/self/maps has it:
 *
 *   [heap]                   malloc: extensions, libraries, the persistent part of the engine
 *   anonymous                Zend's chunks, thread-local storage, bss of libraries, arenas of libraries
 *   file, private            data of libphp, libc and every other library
 *   PHP's stack              from where PHP stands at the checkpoint to its top; what lies below is not in use there
 *
 * and not: this program's own data and bss, the process's original stack (both are the monitor's), shared mappings
 * (opcache, APCu, the scoreboard; they stay as they are, on purpose), and what cannot be written.
 *
 * The copy is one shared mapping, made by the template and read-only from then on: it exists once for all workers. A
 * page that did not exist at the snapshot has no copy; it was zero, and is made zero again.
 *
 * Pages that nearly every request writes are hot: they are left unprotected, so that writing them costs no fault, and
 * are copied back each time. Now and then all pages are protected again, to learn anew which are hot. */
#define _GNU_SOURCE
#include "rewind.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define REGIONS_MAX 2048
#define MAPS_MAX (1 << 20)
#define SPANS_MAX 4096
/* After that many times a page counts as hot. */
#define HOT 5
/* Requests after which all is learnt anew. */
#define LEARN_EVERY 1024
/* A longer run of pages that did not exist is given back to the kernel instead of being zeroed. */
#define GIVE_BACK 32

typedef struct region {
    uintptr_t start, end;
    char *copy;
    size_t first; /* the number of its first page */
    int absent;   /* some of its pages have no copy */
} region;

static region regions[REGIONS_MAX];
static size_t regions_len;
static size_t pages;
/* Per page, for all workers: whether it was zero, or did not exist. */
static unsigned char *absent;
/* Per page, each worker's own: how often it was written since the learning began. */
static unsigned char *heat;
static const regie_tracker *tracker;
static regie_span spans[SPANS_MAX];
static uint32_t since_learnt;

extern char __executable_start[], _end[];

static void *shared(size_t size) {
    void *made = mmap(NULL, size ? size : REGIE_PAGE, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return made == MAP_FAILED ? NULL : made;
}

/* --- regions --------------------------------------------------------------------------------------------------- */

static void add(uintptr_t start, uintptr_t end) {
    if (start >= end || regions_len == REGIONS_MAX) return;
    regions[regions_len++] = (region){.start = start, .end = end, .first = pages};
    pages += (end - start) / REGIE_PAGE;
}

/* The part of [start, end) that is not in [from, to). */
static void add_without(uintptr_t start, uintptr_t end, uintptr_t from, uintptr_t to) {
    if (end <= from || start >= to) {
        add(start, end);
        return;
    }
    if (start < from) add(start, from);
    if (end > to) add(to, end);
}

/* `55d0-55d1 rw-p 00000000 00:00 0   [heap]` */
static int read_line(const char *line, uintptr_t *start, uintptr_t *end, char *rights) {
    char *at;
    *start = strtoull(line, &at, 16);
    if (*at != '-') return 0;
    *end = strtoull(at + 1, &at, 16);
    if (*at != ' ') return 0;
    memcpy(rights, at + 1, 4);
    return 1;
}

static int find_regions(uintptr_t stack_low) {
    static char text[MAPS_MAX];
    size_t length = 0;
    ssize_t got;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    while (length < sizeof text - 1 && (got = read(fd, text + length, sizeof text - 1 - length)) > 0) {
        length += (size_t)got;
    }
    close(fd);
    text[length] = 0;
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    uintptr_t ours = (uintptr_t)__executable_start;
    uintptr_t ours_end = ((uintptr_t)_end + REGIE_PAGE - 1) & ~(REGIE_PAGE - 1);
    regions_len = pages = 0;
    for (char *line = text, *next; line && *line; line = next) {
        uintptr_t start, end;
        char rights[4];
        next = strchr(line, '\n');
        if (next) *next++ = 0;
        if (!read_line(line, &start, &end, rights)) return 0;
        if (rights[1] != 'w' || rights[3] != 'p') continue;
        if (start <= here && here < end) continue;
        if (start <= stack_low && stack_low < end) start = stack_low;
        add_without(start, end, ours, ours_end);
    }
    return regions_len > 0 && regions_len < REGIONS_MAX;
}

/* --- the snapshot ---------------------------------------------------------------------------------------------- */

static int is_zero(const char *page) {
    const uint64_t *words = (const uint64_t *)page;
    for (size_t i = 0; i < REGIE_PAGE / sizeof *words; i++) {
        if (words[i]) return 0;
    }
    return 1;
}

/* Pages of zeroes have no copy: one that is only read would take memory too. To read a page that does not exist maps the
 * kernel's page of zeroes, which costs an entry in the page table and no memory. */
static void copy_region(region *region) {
    size_t count = (region->end - region->start) / REGIE_PAGE;
    for (size_t i = 0; i < count; i++) {
        const char *page = (const char *)region->start + i * REGIE_PAGE;
        if (is_zero(page)) absent[region->first + i] = region->absent = 1;
        else memcpy(region->copy + i * REGIE_PAGE, page, REGIE_PAGE);
    }
}

int regie_memory_snapshot(uintptr_t stack_low, const char **why) {
    if (!find_regions(stack_low)) {
        *why = "its mappings cannot be read from /proc/self/maps";
        return 0;
    }
    char *copy = shared(pages * REGIE_PAGE);
    absent = shared(pages);
    if (!copy || !absent) {
        *why = "there is no memory for the snapshot";
        return 0;
    }
    for (size_t i = 0; i < regions_len; i++) {
        regions[i].copy = copy + regions[i].first * REGIE_PAGE;
        copy_region(&regions[i]);
    }
    mprotect(copy, pages * REGIE_PAGE, PROT_READ);
    mprotect(absent, pages, PROT_READ);
    return 1;
}

int regie_memory_has(uintptr_t start, uintptr_t end) {
    size_t low = 0, high = regions_len;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (regions[middle].end <= start) low = middle + 1;
        else high = middle;
    }
    return low < regions_len && regions[low].start < end;
}

/* --- watching -------------------------------------------------------------------------------------------------- */

static void protect_all(void) {
    for (size_t i = 0; i < regions_len; i++) tracker->protect(regions[i].start, regions[i].end);
    memset(heat, 0, pages);
    since_learnt = 0;
}

int regie_memory_watch(const char **why) {
    tracker = regie_tracker_choose(why);
    if (!tracker) return 0;
    if (!tracker->open(why)) return 0;
    heat = shared(pages);
    if (!heat) {
        *why = "there is no memory to count its pages";
        return 0;
    }
    for (size_t i = 0; i < regions_len; i++) {
        if (!tracker->watch(regions[i].start, regions[i].end)) {
            *why = "the kernel refuses to watch a mapping";
            return 0;
        }
    }
    protect_all();
    return 1;
}

/* --- putting back ---------------------------------------------------------------------------------------------- */

static void put_back_absent(uintptr_t start, uintptr_t end) {
    if (end - start >= GIVE_BACK * REGIE_PAGE && madvise((void *)start, end - start, MADV_DONTNEED) == 0 &&
        is_zero((const char *)start)) {
        return;
    }
    memset((void *)start, 0, end - start);
}

static void put_back_span(const region *region, uintptr_t start, uintptr_t end) {
    const char *copy = region->copy + (start - region->start);
    if (!region->absent) {
        memcpy((void *)start, copy, end - start);
        return;
    }
    const unsigned char *gone = absent + region->first + (start - region->start) / REGIE_PAGE;
    for (size_t i = 0, count = (end - start) / REGIE_PAGE; i < count;) {
        size_t to = i + 1;
        while (to < count && gone[to] == gone[i]) to++;
        if (gone[i]) put_back_absent(start + i * REGIE_PAGE, start + to * REGIE_PAGE);
        else memcpy((void *)(start + i * REGIE_PAGE), copy + i * REGIE_PAGE, (to - i) * REGIE_PAGE);
        i = to;
    }
}

/* Protects those again that are not hot. */
static void protect_cold(const region *region, uintptr_t start, uintptr_t end) {
    unsigned char *count = heat + region->first + (start - region->start) / REGIE_PAGE;
    uintptr_t cold = 0;
    for (uintptr_t page = start; page < end; page += REGIE_PAGE, count++) {
        int is_cold = *count < HOT && ++*count < HOT;
        if (is_cold && !cold) cold = page;
        if (!is_cold && cold) {
            tracker->protect(cold, page);
            cold = 0;
        }
    }
    if (cold) tracker->protect(cold, end);
}

uint64_t regie_memory_put_back(void) {
    uint64_t copied = 0;
    size_t at = 0;
    int learn = ++since_learnt >= LEARN_EVERY;
    uintptr_t from = regions[0].start, to = regions[regions_len - 1].end;
    while (from < to) {
        long found = tracker->written(from, to, spans, SPANS_MAX, &from);
        if (found < 0) abort();
        for (long i = 0; i < found; i++) {
            /* A span may cover neighbouring regions. */
            while (spans[i].start < spans[i].end) {
                while (at < regions_len && regions[at].end <= spans[i].start) at++;
                if (at == regions_len) break;
                uintptr_t start = spans[i].start > regions[at].start ? spans[i].start : regions[at].start;
                uintptr_t end = spans[i].end < regions[at].end ? spans[i].end : regions[at].end;
                if (start >= end) break;
                put_back_span(&regions[at], start, end);
                if (!learn) protect_cold(&regions[at], start, end);
                copied += (end - start) / REGIE_PAGE;
                spans[i].start = end;
            }
        }
    }
    if (learn) protect_all();
    return copied;
}

/* Where the kernel writes the number of the processor, whenever it likes (rseq); libc says where, since 2.35. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
#define RSEQ_SIZE 32

static int is_same(uintptr_t page, const char *copy) {
    uintptr_t kernels = &__rseq_offset ? (uintptr_t)__builtin_thread_pointer() + (uintptr_t)__rseq_offset : 0;
    if (kernels < page || kernels >= page + REGIE_PAGE) return memcmp((const char *)page, copy, REGIE_PAGE) == 0;
    size_t before = kernels - page, after = before + RSEQ_SIZE;
    return memcmp((const char *)page, copy, before) == 0 &&
           (after >= REGIE_PAGE || memcmp((const char *)page + after, copy + after, REGIE_PAGE - after) == 0);
}

uint64_t regie_memory_verify(uintptr_t *page) {
    uint64_t wrong = 0;
    for (size_t i = 0; i < regions_len; i++) {
        const region *region = &regions[i];
        for (uintptr_t at = region->start; at < region->end; at += REGIE_PAGE) {
            size_t number = (at - region->start) / REGIE_PAGE;
            int same = absent[region->first + number] ? is_zero((const char *)at)
                                                      : is_same(at, region->copy + number * REGIE_PAGE);
            if (!same && !wrong++) *page = at;
        }
    }
    return wrong;
}
