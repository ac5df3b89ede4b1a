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
 * page that did not exist at the snapshot has no copy; it was zero, and is made zero again. Where the tracker wants it,
 * the template maps the copy privately in place of its own memory: then unwritten pages exist once for all processes.
 *
 * Pages that many requests write are hot: they are left unprotected, so that writing them costs no fault, and are
 * compared and copied back each time. One that several requests in a row have left alone is protected again.
 *
 * To ask the kernel takes longer than to copy: it looks at each of a hundred mappings and at each of their pages. But the
 * first write to a protected page is a page fault, and page faults are counted. So where a request had none, only hot pages
 * were written, and the kernel is not asked (see regie_kernel_may_have_written). */
#include "rewind.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REGIONS_MAX 2048
#define MAPS_MAX (1 << 20)
#define SPANS_MAX 4096
#define HOT_MAX 4096
/* Written that often, a page counts as hot; after so many requests that have left it alone it is cold again: twice as
 * many each time that it was wrong to think so. */
#define HOT 4
#define IDLE 16
#define IDLE_MAX 2048
/* Requests after which a write counts half. */
#define HALVE_EVERY 32
/* A longer run of pages that did not exist is given back to the kernel instead of being zeroed, and stays without a copy
 * where the copy is mapped. */
#define GIVE_BACK 32

typedef struct region {
    uintptr_t start, end;
    char *copy;
    size_t first;   /* the number of its first page */
    int absent;     /* some of its pages have no copy */
    int protection; /* regular expressions are compiled into memory that is executed */
} region;

static region regions[REGIONS_MAX];
static size_t regions_len;
static size_t pages;
/* Per page, for all workers: whether it was zero, or did not exist. */
static unsigned char *absent;
/* Per page, each worker's own: how often it was written of late; from HOT on, how long ago. */
static uint16_t *heat;
/* Per page, for how long it has to be left alone to be cold again. */
static uint16_t *patience;
/* The numbers of hot pages, in no order. Where there are too many, the kernel is always asked. */
static uint32_t hot[HOT_MAX];
static size_t hot_len;
static int hot_are_listed;
static const regie_tracker *tracker;
static regie_span spans[SPANS_MAX];
/* Regions that are looked at together. */
static regie_span groups[REGIONS_MAX];
static size_t groups_len;
static uint32_t since_halved;

extern char __executable_start[], _end[];

static void *shared(size_t size) {
    void *made = mmap(NULL, size ? size : REGIE_PAGE, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return made == MAP_FAILED ? NULL : made;
}

/* --- regions --------------------------------------------------------------------------------------------------- */

static void add(uintptr_t start, uintptr_t end, int protection) {
    if (start >= end || regions_len == REGIONS_MAX) return;
    regions[regions_len++] = (region){.start = start, .end = end, .first = pages, .protection = protection};
    pages += (end - start) / REGIE_PAGE;
}

/* The part of [start, end) that is not in [from, to). */
static void add_without(uintptr_t start, uintptr_t end, int protection, uintptr_t from, uintptr_t to) {
    if (end <= from || start >= to) {
        add(start, end, protection);
        return;
    }
    if (start < from) add(start, from, protection);
    if (end > to) add(to, end, protection);
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
        int protection = PROT_WRITE | (rights[0] == 'r' ? PROT_READ : 0) | (rights[2] == 'x' ? PROT_EXEC : 0);
        add_without(start, end, protection, ours, ours_end);
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

/* The file of the copy, which the template alone has open, and only while it takes the snapshot. */
static char *make_copy(int *file) {
    *file = (int)syscall(SYS_memfd_create, "regie-snapshot", MFD_CLOEXEC);
    if (*file < 0 || ftruncate(*file, (off_t)(pages * REGIE_PAGE)) != 0) return NULL;
    void *made = mmap(NULL, pages * REGIE_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, *file, 0);
    return made == MAP_FAILED ? NULL : made;
}

/* Puts the copy in the place of the memory that it was made of. Between the two nothing of PHP's world is written: there
 * are system calls only, and this is our stack. */
static int map_copy(const region *region, int file) {
    size_t count = (region->end - region->start) / REGIE_PAGE;
    const unsigned char *gone = absent + region->first;
    for (size_t i = 0; i < count;) {
        /* [i, to) is mapped; it ends before a long run of pages that did not exist. */
        size_t to = i, run = 0;
        while (to < count && run < GIVE_BACK) run = gone[to++] ? run + 1 : 0;
        if (run >= GIVE_BACK || to == count) to -= run;
        if (to > i) {
            void *at = (void *)(region->start + i * REGIE_PAGE);
            off_t offset = (off_t)((region->first + i) * REGIE_PAGE);
            if ((void *)syscall(SYS_mmap, at, (to - i) * REGIE_PAGE, region->protection, MAP_PRIVATE | MAP_FIXED,
                                file, offset) != at) {
                return 0;
            }
        }
        for (i = to; i < count && gone[i]; i++) {
        }
    }
    return 1;
}

int regie_memory_snapshot(uintptr_t stack_low, const regie_tracker *by, const char **why) {
    int file, fits = 1;
    tracker = by;
    if (!find_regions(stack_low)) {
        *why = "its mappings cannot be read from /proc/self/maps";
        return 0;
    }
    char *copy = make_copy(&file);
    absent = shared(pages);
    if (!copy || !absent) {
        *why = "there is no memory for the snapshot";
        return 0;
    }
    for (size_t i = 0; i < regions_len; i++) {
        regions[i].copy = copy + regions[i].first * REGIE_PAGE;
        copy_region(&regions[i]);
    }
    for (size_t i = 0; i < regions_len && fits && tracker->is_private; i++) fits = map_copy(&regions[i], file);
    mprotect(copy, pages * REGIE_PAGE, PROT_READ);
    mprotect(absent, pages, PROT_READ);
    close(file);
    if (!fits) *why = "the snapshot cannot be mapped";
    return fits;
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

/* Neighbours are looked at together. */
static void make_groups(void) {
    groups_len = 0;
    for (size_t i = 0; i < regions_len; i++) {
        regie_span *last = groups_len ? &groups[groups_len - 1] : NULL;
        if (last && (regions[i].start - last->end) / REGIE_PAGE <= tracker->gap) last->end = regions[i].end;
        else groups[groups_len++] = (regie_span){regions[i].start, regions[i].end};
    }
}

int regie_memory_watch(const char **why) {
    if (!tracker->open(why)) return 0;
    heat = shared(pages * sizeof *heat);
    patience = shared(pages * sizeof *patience);
    if (!heat || !patience) {
        *why = "there is no memory to count its pages";
        return 0;
    }
    for (size_t i = 0; i < regions_len; i++) {
        const region *region = &regions[i];
        if (!tracker->watch(region->start, region->end) ||
            (!tracker->is_private && !tracker->protect(region->start, region->end))) {
            *why = "the kernel refuses to watch a mapping";
            return 0;
        }
    }
    make_groups();
    return 1;
}

/* --- putting back ---------------------------------------------------------------------------------------------- */

typedef uint64_t vector __attribute__((vector_size(16), may_alias));

/* Writes those lines of 64 bytes that differ. Whether there was one. */
static int put_back_page(uintptr_t page, const char *copy) {
    vector *to = (vector *)page;
    const vector *from = (const vector *)copy;
    int differs = 0;
    for (size_t i = 0; i < REGIE_PAGE / sizeof *to; i += 4) {
        vector line = (to[i] ^ from[i]) | (to[i + 1] ^ from[i + 1]) | (to[i + 2] ^ from[i + 2]) | (to[i + 3] ^ from[i + 3]);
        if (!(line[0] | line[1])) continue;
        differs = 1;
        for (size_t j = i; j < i + 4; j++) to[j] = from[j];
    }
    return differs;
}

static int clear_page(uintptr_t page) {
    if (is_zero((const char *)page)) return 0;
    memset((void *)page, 0, REGIE_PAGE);
    return 1;
}

static void put_back_absent(uintptr_t start, uintptr_t end) {
    if (end - start >= GIVE_BACK * REGIE_PAGE && syscall(SYS_madvise, start, end - start, MADV_DONTNEED) == 0 &&
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

/* Cold pages: the next write to them is noticed again. */
static void put_back_cold(const region *region, uintptr_t start, uintptr_t end) {
    if (start == end) return;
    if (!tracker->is_private) put_back_span(region, start, end);
    if (!tracker->protect(start, end)) abort();
}

static int put_back_hot(const region *region, uintptr_t page, size_t number) {
    return absent[number] ? clear_page(page) : put_back_page(page, region->copy + (page - region->start));
}

/* A page that was written. Whether it counts as cold: it shall be put back with its neighbours, and protected. */
static int is_cold(size_t number) {
    if (heat[number] >= HOT || ++heat[number] < HOT) return heat[number] < HOT;
    if (patience[number] == 0) patience[number] = IDLE;
    else if (patience[number] < IDLE_MAX) patience[number] *= 2;
    return 0;
}

/* Written pages of one region. The number of those that the request has changed, as far as is known. */
static uint64_t put_back_written(const region *region, uintptr_t start, uintptr_t end) {
    size_t number = region->first + (start - region->start) / REGIE_PAGE;
    uintptr_t cold = start;
    uint64_t changed = 0;
    for (uintptr_t page = start; page < end; page += REGIE_PAGE, number++) {
        if (is_cold(number)) {
            changed++;
            continue;
        }
        int differs = put_back_hot(region, page, number);
        changed += (uint64_t)differs;
        heat[number] = differs ? HOT : heat[number] + 1;
        if (heat[number] == HOT + patience[number]) {
            /* Left alone for long: it goes with the cold ones. */
            heat[number] = 0;
            continue;
        }
        if (hot_len < HOT_MAX) hot[hot_len++] = (uint32_t)number;
        else hot_are_listed = 0;
        put_back_cold(region, cold, page);
        cold = page + REGIE_PAGE;
    }
    put_back_cold(region, cold, end);
    return changed;
}

static const region *region_of(size_t number) {
    size_t low = 0, high = regions_len - 1;
    while (low < high) {
        size_t middle = (low + high + 1) / 2;
        if (regions[middle].first <= number) low = middle;
        else high = middle - 1;
    }
    return &regions[low];
}

/* No other page was written. One that is left alone goes on being hot until the kernel is asked again. */
static uint64_t put_back_listed(void) {
    uint64_t changed = 0;
    const region *region = regions;
    for (size_t i = 0; i < hot_len; i++) {
        size_t number = hot[i];
        if (number < region->first || number - region->first >= (region->end - region->start) / REGIE_PAGE) {
            region = region_of(number);
        }
        int differs = put_back_hot(region, region->start + (number - region->first) * REGIE_PAGE, number);
        changed += (uint64_t)differs;
        if (differs) heat[number] = HOT;
        else if (heat[number] < HOT + patience[number] - 1) heat[number]++;
    }
    return changed;
}

static void halve(void) {
    since_halved = 0;
    for (size_t i = 0; i < pages; i++) heat[i] = heat[i] < HOT ? heat[i] / 2 : heat[i];
}

static uint64_t put_back_all(void) {
    uint64_t changed = 0;
    size_t at = 0;
    hot_len = 0;
    hot_are_listed = 1;
    for (size_t group = 0; group < groups_len; group++) {
        for (uintptr_t from = groups[group].start, to = groups[group].end; from < to;) {
            long found = tracker->written(from, to, spans, SPANS_MAX, &from);
            if (found < 0) abort();
            for (long i = 0; i < found; i++) {
                /* A span may cover neighbouring regions, and what lies between them. */
                for (uintptr_t reached = spans[i].start; reached < spans[i].end;) {
                    while (at < regions_len && regions[at].end <= reached) at++;
                    if (at == regions_len) break;
                    uintptr_t start = reached > regions[at].start ? reached : regions[at].start;
                    uintptr_t end = spans[i].end < regions[at].end ? spans[i].end : regions[at].end;
                    if (start >= end) break;
                    changed += put_back_written(&regions[at], start, end);
                    reached = end;
                }
            }
        }
    }
    return changed;
}

uint64_t regie_memory_put_back(int may_have_written) {
    /* Hot pages that are cold by now are protected once in a while. */
    int look = may_have_written || !hot_are_listed || since_halved == 0;
    uint64_t changed = look ? put_back_all() : put_back_listed();
    if (++since_halved == HALVE_EVERY) halve();
    return changed;
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
