/* The title that ps shows. It is written over the arguments and the environment that the kernel put on the stack, so
 * what stood in the arguments (`--env` may carry a secret) is gone from ps at once. */
#include "regie.h"

#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

extern char **environ;
static char *area;
static size_t area_size;

/* Called before main with what the kernel gave. */
__attribute__((constructor)) static void remember(int argc, char **argv, char **envp) {
    if (argc < 1 || !argv || !argv[0]) return;
    char *end = argv[0];
    for (int i = 0; i < argc && argv[i] == end; i++) end = argv[i] + strlen(argv[i]) + 1;
    for (int i = 0; envp && envp[i] && envp[i] == end; i++) end = envp[i] + strlen(envp[i]) + 1;
    area = argv[0];
    area_size = (size_t)(end - area);
}

/* The environment moves away from the area before the first title is written. */
static int move_environment(void) {
    size_t count = 0;
    while (environ && environ[count]) count++;
    char **moved = calloc(count + 1, sizeof *moved);
    if (!moved) return 0;
    for (size_t i = 0; i < count; i++) {
        moved[i] = strdup(environ[i]);
        if (!moved[i]) return 0;
    }
    environ = moved;
    return 1;
}

void regie_title(const char *title) {
    static int moved;
    if (!area || area_size < 2) return;
    if (!moved) moved = move_environment();
    if (!moved) return;
    memset(area, 0, area_size);
    size_t length = strlen(title);
    memcpy(area, title, length < area_size - 1 ? length : area_size - 1);
    prctl(PR_SET_NAME, "regie-php");
}
