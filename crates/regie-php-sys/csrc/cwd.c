/* getcwd() without a system call each time. PHP asks for the working directory whenever it meets a relative path, which a
 * framework's boot does dozens of times. Here the kernel is asked once in a request, since somebody else may have renamed the
 * directory, and again after whatever of this process may change the answer: chdir() and fchdir() (see rewind_kernel.c),
 * rename() and rmdir(). */
#include "internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static char known[MAXPATHLEN];
static size_t known_size; /* with the NUL; 0: ask the kernel */

void regie_cwd_forget(void) { known_size = 0; }

/* In place of libc's, for everybody in the process. */
char *getcwd(char *buffer, size_t size) {
    if (buffer && known_size && size >= known_size) return memcpy(buffer, known, known_size);
    REAL(getcwd);
    char *directory = real(buffer, size);
    if (directory) {
        size_t length = strlen(directory) + 1;
        known_size = length <= sizeof known ? length : 0;
        memcpy(known, directory, known_size);
    }
    return directory;
}

int rename(const char *from, const char *to) {
    regie_cwd_forget();
    return (int)syscall(SYS_rename, from, to);
}

int rmdir(const char *path) {
    regie_cwd_forget();
    return (int)syscall(SYS_rmdir, path);
}
