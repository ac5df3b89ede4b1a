/* Descriptors. What was open before the boot is ours and stays. What the boot has opened is looked at once, at the
 * checkpoint:
 *
 *   a regular file, a folder   each worker opens it anew, so that workers do not share an offset or a lock; after each
 *                              request it is put where it was, at the offset that it had
 *   /dev/…, our own streams    stay: they have no state
 *   a socket, a pipe, an event the boot is refused: two workers would speak on it at once. SQLite's files likewise
 *
 * What a request opens is closed. For that, no number below the highest of ours is free, so that whatever is opened
 * gets a higher one, and one system call closes them all. */
#include "rewind.h"

#include <dirent.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILES_MAX 256
#define OURS_MAX 1024

typedef struct boot_file {
    int fd;
    int parked; /* the same, under a number that PHP does not know */
    off_t offset;
} boot_file;

static unsigned char ours[OURS_MAX];
static boot_file files[FILES_MAX];
static size_t files_len;
static int highest;
static int kept = -1;

void regie_rewind_keep(int32_t fd) { kept = fd; }

static int each_open(int (*visit)(int fd, void *context), void *context) {
    DIR *folder = opendir("/proc/self/fd");
    struct dirent *entry;
    int going = folder != NULL;
    while (going && (entry = readdir(folder))) {
        if (entry->d_name[0] == '.') continue;
        int fd = atoi(entry->d_name);
        if (fd != dirfd(folder)) going = visit(fd, context);
    }
    if (folder) closedir(folder);
    return going;
}

static int mark(int fd, void *context) {
    if (fd < OURS_MAX) ours[fd] = 1;
    return 1;
}

void regie_files_ours(void) { each_open(mark, NULL); }

/* --- at the checkpoint ----------------------------------------------------------------------------------------- */

typedef struct complaint {
    char *text;
    size_t size;
} complaint;

static int is_same(const struct stat *file, int fd) {
    struct stat other;
    return fstat(fd, &other) == 0 && other.st_dev == file->st_dev && other.st_ino == file->st_ino;
}

/* `127.0.0.1:6379`, or the path of a Unix socket. */
static void name_peer(int fd, char *name, size_t size) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    char host[96] = "", port[16] = "";
    snprintf(name, size, "nobody");
    if (getpeername(fd, (struct sockaddr *)&address, &length) != 0) return;
    if (address.ss_family == AF_UNIX) {
        const char *path = ((const char *)&address) + sizeof(sa_family_t);
        snprintf(name, size, "%s", *path ? path : "another process");
    } else if (getnameinfo((struct sockaddr *)&address, length, host, sizeof host, port, sizeof port,
                           NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
        snprintf(name, size, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
    }
}

/* The classes of objects that may hold it, as far as they are known. */
static void name_classes(char *name, size_t size) {
    static const char *const holders[] = {"PDO", "mysqli", "Redis", "RedisCluster", "RedisSentinel", "Memcached", "SQLite3",
                                          "CurlHandle", "CurlMultiHandle", "AMQPConnection", "MongoDB\\Driver\\Manager",
                                          "PgSql\\Connection", "IMAP\\Connection", "LDAP\\Connection", "FTP\\Connection",
                                          "Socket", "SoapClient"};
    size_t used = 0;
    name[0] = 0;
    for (size_t i = 0; i < sizeof holders / sizeof *holders; i++) {
        for (uint32_t handle = 1; handle < EG(objects_store).top; handle++) {
            zend_object *object = EG(objects_store).object_buckets[handle];
            if (!IS_OBJ_VALID(object)) continue;
            const zend_class_entry *class = object->ce;
            while (class->parent && class->type == ZEND_USER_CLASS) class = class->parent;
            if (strcmp(ZSTR_VAL(class->name), holders[i]) != 0) continue;
            int written = snprintf(name + used, size - used, "%s%s", used ? ", " : "", ZSTR_VAL(object->ce->name));
            if (written > 0 && used + (size_t)written < size) used += (size_t)written;
            break;
        }
    }
}

static int is_sqlite(int fd) {
    char head[16];
    return pread(fd, head, sizeof head, 0) == sizeof head && memcmp(head, "SQLite format 3", sizeof head) == 0;
}

static int complain(complaint *complaint, const char *what, const char *which) {
    char classes[160];
    name_classes(classes, sizeof classes);
    snprintf(complaint->text, complaint->size,
             "%s %s is open at the checkpoint%s%s%s: workers would share it; close it before regie_checkpoint(), or open it "
             "after it",
             what, which, *classes ? " (there are objects of " : "", classes, *classes ? ")" : "");
    return 0;
}

static int look_at(int fd, void *context) {
    struct stat file;
    char path[512], link[64];
    if ((fd < OURS_MAX && ours[fd]) || fstat(fd, &file) != 0) return 1;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = 0;
    if (is_same(&file, 0) || is_same(&file, 1) || is_same(&file, 2)) return 1;
    if (S_ISSOCK(file.st_mode)) {
        char peer[256];
        name_peer(fd, peer, sizeof peer);
        return complain(context, "a connection to", peer);
    }
    if (S_ISFIFO(file.st_mode)) return complain(context, "a pipe", path);
    if (S_ISREG(file.st_mode) && is_sqlite(fd)) return complain(context, "the SQLite database", path);
    if (S_ISREG(file.st_mode) || S_ISDIR(file.st_mode)) {
        if (files_len == FILES_MAX) return complain(context, "one file more than can be kept track of,", path);
        files[files_len++] = (boot_file){.fd = fd, .parked = -1, .offset = lseek(fd, 0, SEEK_CUR)};
        return 1;
    }
    if (S_ISCHR(file.st_mode)) return 1;
    return complain(context, "the descriptor", path);
}

int regie_files_check(char *why, size_t size) {
    complaint complaint = {why, size};
    files_len = 0;
    return each_open(look_at, &complaint);
}

/* --- in the worker --------------------------------------------------------------------------------------------- */

static int find_highest(int fd, void *context) {
    if (fd > highest) highest = fd;
    return 1;
}

int regie_files_note(const char **why) {
    char link[64];
    for (size_t i = 0; i < files_len; i++) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", files[i].fd);
        int flags = fcntl(files[i].fd, F_GETFL) & ~(O_CREAT | O_EXCL | O_TRUNC);
        files[i].parked = open(link, flags | O_CLOEXEC);
        if (files[i].parked < 0 || dup3(files[i].parked, files[i].fd, O_CLOEXEC) < 0) {
            *why = "a file of the boot cannot be opened a second time";
            return 0;
        }
        lseek(files[i].fd, files[i].offset, SEEK_SET);
    }
    highest = 0;
    each_open(find_highest, NULL);
    int filler;
    while ((filler = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0 && filler < highest) {
    }
    if (filler >= 0) close(filler);
    return 1;
}

void regie_files_put_back(void) {
    if (kept > highest) {
        if (kept > highest + 1) syscall(SYS_close_range, highest + 1, kept - 1, 0);
        syscall(SYS_close_range, kept + 1, ~0u, 0);
    } else {
        syscall(SYS_close_range, highest + 1, ~0u, 0);
    }
    for (size_t i = 0; i < files_len; i++) {
        flock(files[i].parked, LOCK_UN);
        dup3(files[i].parked, files[i].fd, O_CLOEXEC);
        if (files[i].offset >= 0) lseek(files[i].fd, files[i].offset, SEEK_SET);
    }
}
