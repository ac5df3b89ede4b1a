/* Rewind mode: what its files say to each other.
 *
 *   master ── fork ──▶ template: runs the boot script up to regie_checkpoint(), takes the snapshot, is parked
 *                          └─ clone (the master's child) ──▶ worker: watches its memory, and then for each request:
 *                                next_request ─▶ on PHP's stack: enter, run, end ─▶ done ─▶ put everything back
 *
 * Two worlds share the process. PHP's world is every private writable mapping: heap, Zend's memory, the data of all
 * libraries, thread-local storage, PHP's own stack. It is put back after each request. Ours is what survives: the data
 * of this program itself (all `static` variables of regie-php, C and Rust), the process's original stack, on which the
 * monitor runs, and shared mappings. So nothing here may keep a pointer to the heap, and nothing of PHP's may be kept
 * in a `static` of ours between two requests.
 *
 * Who does what:
 *   rewind.c          the checkpoint, a request's way through PHP, the monitor
 *   rewind_memory.c   regions, the snapshot, putting pages back
 *   rewind_tracker.c  which pages were written: one interface, an implementation for each thing that kernels offer
 *   rewind_kernel.c   what a process has in the kernel and memory does not put back: mappings, signals, timers, …
 *   rewind_files.c    descriptors
 *   rewind_boot.c     priming, and what of the boot's $_SERVER lasts
 *   rewind_engine.c   what the engine must be told: randomness, resources, objects, opcache's lock */
#ifndef REGIE_REWIND_H
#define REGIE_REWIND_H

#include "internal.h"

#define REGIE_PAGE ((uintptr_t)4096)

typedef struct regie_span {
    uintptr_t start;
    uintptr_t end;
} regie_span;

/* --- rewind_tracker.c ------------------------------------------------------------------------------------------ */

typedef struct regie_tracker {
    const char *name;
    /* PHP's world must be mapped privately from the snapshot; what is protected is put back by that. */
    int is_private;
    /* Pages between two regions over which it is cheaper to look than to ask twice. */
    size_t gap;
    /* In the worker, before anything else. 0: not here, `why` says why. */
    int (*open)(const char **why);
    /* Writes to these pages shall be noticed; they count as unwritten from `protect` on. */
    int (*watch)(uintptr_t start, uintptr_t end);
    int (*protect)(uintptr_t start, uintptr_t end);
    /* Written spans from `from` on, in order. `*reached` is where to go on, `to` when that was all. */
    long (*written)(uintptr_t from, uintptr_t to, regie_span *spans, size_t max, uintptr_t *reached);
} regie_tracker;

/* The one of that name, or the best that works here; null with `why` when there is none. */
const regie_tracker *regie_tracker_choose(const char *name, const char **why);

/* --- rewind_memory.c ------------------------------------------------------------------------------------------- */

/* In the template: copies PHP's world. `stack_low` is the lowest address of PHP's stack that counts. 0: `why` says why. */
int regie_memory_snapshot(uintptr_t stack_low, const regie_tracker *by, const char **why);
/* In the worker: begins to watch. */
int regie_memory_watch(const char **why);
/* After a request, which has written nothing but hot pages, or may have. Returns the number of pages that were copied. */
uint64_t regie_memory_put_back(int may_have_written);
/* Compares everything with the snapshot. The number of pages that differ; the first one in `page`. */
uint64_t regie_memory_verify(uintptr_t *page);
/* Whether any byte of the snapshot lies there. */
int regie_memory_has(uintptr_t start, uintptr_t end);

/* --- rewind_kernel.c ------------------------------------------------------------------------------------------- */

/* In the template, before the boot: settings of malloc and of the process that rewinding counts on. */
void regie_kernel_prepare(void);
/* In the template, when the snapshot is taken: what is mapped stays mapped, here and in the workers. Where this kernel cannot
 * do that, the workers look now and then. */
void regie_kernel_seal(void);
/* In the worker, before the first request: notes what there is. */
int regie_kernel_note(const char **why);
/* A request begins, and is over. */
void regie_kernel_arm(void);
/* Puts back what can be; returns null, or why this process must be replaced. Called before memory is put back. */
const char *regie_kernel_put_back(void);
/* Whether a protected page may have been written since this was asked last. */
int regie_kernel_may_have_written(void);
/* After memory was put back: whether there are mappings that came unseen. */
const char *regie_kernel_settle(void);

/* --- rewind_files.c -------------------------------------------------------------------------------------------- */

/* In the template, before the boot: what is open is ours. */
void regie_files_ours(void);
/* At the checkpoint. 0: `why` names a descriptor that cannot be shared. */
int regie_files_check(char *why, size_t size);
/* In the worker: own offsets for the files of the boot. */
int regie_files_note(const char **why);
void regie_files_put_back(void);

/* --- rewind_boot.c --------------------------------------------------------------------------------------------- */

/* What the boot has added to $_SERVER; and adds it to the request's. */
void regie_boot_keep_server(zval *kept);
void regie_boot_add_server(zval *kept);

/* --- rewind_engine.c ------------------------------------------------------------------------------------------- */

/* At the checkpoint, on PHP's stack. */
void regie_engine_checkpoint(void);
/* On PHP's stack, before a request: seeds what PHP would seed with the time. */
void regie_engine_begin_request(void);
/* On PHP's stack, when a request's script is over: the steps of the engine's own end of request that others see. */
void regie_engine_end_request(void);
/* In the worker, before the first request. */
void regie_engine_worker(void);

#endif
