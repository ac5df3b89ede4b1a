/* opcache's read lock, kept from one request to the next.
 *
 * A process that uses opcache's shared memory holds a lock on byte 1 of a lock file, so that nobody empties the memory
 * under it. opcache takes it in each request and lets go at its end: two system calls, and all workers meet at one list
 * of locks. A worker that has the next request already keeps it instead. It is let go
 *
 *   - before the worker waits for a request (regie_opcache_lock_rest), and
 *   - for the last fifth of each tenth of a second, by the machine's clock and so in all workers at once: then opcache
 *     works as ever, and a restart that is due finds its moment under any load.
 *
 * The process never believes that it holds the lock when it does not. For workers in classic mode, from their fork on;
 * worker and rewind mode hold the lock for their life anyway. */
#include "internal.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_MS 100
#define KEEP_MS 80

static int keeps;
static int lock_file = -1;
static int held;    /* the kernel has our read lock */
static int writing; /* it has our write lock too: an end of all locks must be one */

int regie_is_opcache_lock(int fd) {
    char link[64], path[256];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return strstr(path, "opcache_lock") || strstr(path, "/.ZendSem.");
}

static int kernel(int fd, int command, void *argument) { return (int)syscall(SYS_fcntl, fd, command, argument); }

static int may_keep(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_nsec / 1000000 % PERIOD_MS < KEEP_MS;
}

static int is_read_lock(const struct flock *lock) {
    return lock->l_type == F_RDLCK && lock->l_whence == SEEK_SET && lock->l_start == 1 && lock->l_len == 1;
}

static int is_end_of_all(const struct flock *lock) {
    return lock->l_type == F_UNLCK && lock->l_whence == SEEK_SET && lock->l_start == 0 && lock->l_len == 0;
}

static int on_lock_file(int command, struct flock *lock) {
    if (held && is_read_lock(lock)) return 0;
    if (held && !writing && is_end_of_all(lock) && may_keep()) return 0;
    int result = kernel(lock_file, command, lock);
    if (result == 0) {
        if (is_read_lock(lock)) held = 1;
        else if (lock->l_type == F_WRLCK) writing = 1;
        else if (is_end_of_all(lock)) held = writing = 0;
        else if (lock->l_type == F_UNLCK && lock->l_start == 0) writing = 0;
        else if (lock->l_type == F_UNLCK) held = 0;
    }
    return result;
}

/* In place of libc's, for everybody in the process. */
int fcntl(int fd, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (keeps && (command == F_SETLK || command == F_SETLKW)) {
        if (lock_file < 0 && is_read_lock(argument) && regie_is_opcache_lock(fd)) lock_file = fd;
        if (fd == lock_file) return on_lock_file(command, argument);
    }
    return kernel(fd, command, argument);
}

void regie_opcache_lock_rest(void) {
    if (!held) return;
    struct flock all = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    if (kernel(lock_file, F_SETLK, &all) == 0) held = 0;
}

/* A fork has none of the locks. */
static void in_child(void) { held = writing = 0; }

void regie_opcache_lock_child(void) {
    keeps = 1;
    in_child();
    pthread_atfork(NULL, NULL, in_child);
}
