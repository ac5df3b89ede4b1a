/* PHP runs on a stack that is mapped for it and guarded at its end, and the process's own stays nearly empty. So a
 * deep recursion meets the guard page and not somebody's memory, and the memory that PHP writes is known by address.
 *
 * In rewind mode PHP is left in the middle of its script, at the checkpoint, and entered there again for each request;
 * when the request is over it is left for good, and nobody returns to where it was. */
#include "internal.h"

#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#if PHP_VERSION_ID >= 80300
#include <zend_call_stack.h>
#endif

static ucontext_t outside, inside;
static int32_t ended;
static int32_t *script_status;

static void run_inside(void) {
    ended = regie.settings->rewind        ? regie_run_rewind(script_status)
            : regie.settings->worker_mode ? regie_run_worker(script_status)
                                          : regie_run_classic();
}

int32_t regie_php_run(int32_t *exit_status) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t size = (regie.settings->stack_size + page - 1) / page * page;
    char *stack = mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK,
                       -1, 0);
    if (stack == MAP_FAILED || mprotect(stack, page, PROT_NONE) != 0) return REGIE_ENDED_ENGINE;
    script_status = exit_status;
    getcontext(&inside);
    inside.uc_stack.ss_sp = stack + page;
    inside.uc_stack.ss_size = size;
    inside.uc_link = &outside;
    makecontext(&inside, run_inside, 0);
#ifdef ZEND_CHECK_STACK_LIMIT
    /* PHP 8.3 and later measure the depth of recursion against these, as zend.max_allowed_stack_size says: 0 is all of
     * the stack, -1 no measuring. */
    zend_long allowed = EG(max_allowed_stack_size);
    EG(stack_base) = stack + page + size;
    EG(stack_limit) = allowed < 0 ? NULL
                                  : zend_call_stack_limit(EG(stack_base),
                                                          allowed > 0 && (size_t)allowed < size ? (size_t)allowed : size,
                                                          EG(reserved_stack_size));
#endif
    swapcontext(&outside, &inside);
    return ended;
}

void regie_stack_park(void) {
    ended = REGIE_ENDED_CHECKPOINT;
    swapcontext(&inside, &outside);
}

void regie_stack_resume(void) { swapcontext(&outside, &inside); }

void regie_stack_leave(void) { setcontext(&outside); }
