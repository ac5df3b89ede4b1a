/* What the engine must be told, since it does not know that it is put back.
 *
 * The end of a request is the engine's own (php_request_shutdown), less what only frees memory: shutdown functions,
 * destructors, output, the modules' end of request (sessions are written there), and then what holds something outside
 * of this process: resources, objects of extensions, persistent connections. Those of the boot stay.
 *
 * Randomness: whatever keeps a state in memory would give the same numbers after each rewind. The engine's generators
 * count as unseeded at the checkpoint, so that each request seeds them from the kernel; OpenSSL is made to ask the
 * kernel for every number; SQLite's generator is reset. random_bytes() asks the kernel anyway. libc's own functions do
 * from glibc 2.41 on what OpenSSL does, and keep a state that would be put back: ours ask the kernel. */
#include "rewind.h"

#include <dlfcn.h>
#include <ext/standard/basic_functions.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <zend_closures.h>
#include <zend_gc.h>
#include <zend_observer.h>
#if PHP_VERSION_ID >= 80200
#include <ext/random/php_random.h>
#else
#include <ext/standard/php_lcg.h>
#endif

static zend_long boot_resources;
static uint32_t boot_objects;
static uint32_t boot_persistent;

/* --- randomness ------------------------------------------------------------------------------------------------ */

/* As OpenSSL declares it (RAND_METHOD), whose headers need not be there. */
typedef struct openssl_random {
    int (*seed)(const void *, int);
    int (*bytes)(unsigned char *, int);
    void (*cleanup)(void);
    int (*add)(const void *, int, double);
    int (*pseudorand)(unsigned char *, int);
    int (*status)(void);
} openssl_random;

static int kernel_seed(const void *bytes, int length) { return 1; }

static int kernel_add(const void *bytes, int length, double entropy) { return 1; }

static int kernel_status(void) { return 1; }

static int kernel_bytes(unsigned char *into, int length) {
    for (int done = 0; done < length;) {
        ssize_t got = syscall(SYS_getrandom, into + done, (size_t)(length - done), 0);
        if (got < 0 && errno != EINTR) return 0;
        if (got > 0) done += (int)got;
    }
    return 1;
}

/* In place of libc's, for everybody in the process. */
ssize_t getrandom(void *into, size_t length, unsigned flags) { return syscall(SYS_getrandom, into, length, flags); }

int getentropy(void *into, size_t length) {
    if (length <= 256) return kernel_bytes(into, (int)length) ? 0 : -1;
    errno = EIO;
    return -1;
}

void arc4random_buf(void *into, size_t length) {
    for (size_t done = 0; done < length;) {
        size_t part = length - done < 1 << 20 ? length - done : 1 << 20;
        if (!kernel_bytes((unsigned char *)into + done, (int)part)) abort();
        done += part;
    }
}

uint32_t arc4random(void) {
    uint32_t number;
    arc4random_buf(&number, sizeof number);
    return number;
}

static void renew_randomness(void) {
    static const openssl_random kernel = {kernel_seed, kernel_bytes, NULL, kernel_add, kernel_bytes, kernel_status};
#if PHP_VERSION_ID >= 80200
    RANDOM_G(mt19937_seeded) = false;
    RANDOM_G(combined_lcg_seeded) = false;
#if PHP_VERSION_ID >= 80400
    RANDOM_G(fallback_seed_state).initialized = false;
#endif
#else
    BG(mt_rand_is_seeded) = 0;
    LCG(seeded) = 0;
#endif
    int (*openssl)(const openssl_random *) = (int (*)(const openssl_random *))dlsym(RTLD_DEFAULT, "RAND_set_rand_method");
    if (openssl) openssl(&kernel);
    void (*sqlite)(int, void *) = (void (*)(int, void *))dlsym(RTLD_DEFAULT, "sqlite3_randomness");
    if (sqlite) sqlite(0, NULL);
}

/* PHP would seed this one with the time of day, which requests of one moment share in part. */
void regie_engine_begin_request(void) {
    int32_t seeds[2];
    if (!kernel_bytes((unsigned char *)seeds, sizeof seeds)) return;
    for (int i = 0; i < 2; i++) seeds[i] = (int32_t)((uint32_t)seeds[i] % 2147483398u) + 1;
#if PHP_VERSION_ID >= 80400
    memcpy(RANDOM_G(combined_lcg), seeds, sizeof seeds);
    RANDOM_G(combined_lcg_seeded) = true;
#elif PHP_VERSION_ID >= 80200
    memcpy(RANDOM_G(combined_lcg)->state, seeds, sizeof seeds);
    RANDOM_G(combined_lcg_seeded) = true;
#else
    LCG(s1) = seeds[0];
    LCG(s2) = seeds[1];
    LCG(seeded) = 1;
#endif
}

/* --- the checkpoint -------------------------------------------------------------------------------------------- */

static void find_lock_file(void);

void regie_engine_checkpoint(void) {
    find_lock_file();
    zend_gc_collect_cycles();
    php_clear_stat_cache(0, NULL, 0);
    renew_randomness();
    PG(ignore_user_abort) = INI_BOOL("ignore_user_abort");
    /* Objects of requests get handles of their own, so that the boot's can be told from them. */
    EG(objects_store).free_list_head = -1;
    boot_objects = EG(objects_store).top;
    boot_resources = EG(regular_list).nNextFreeElement;
    boot_persistent = EG(persistent_list).nNumUsed;
}

/* --- the end of a request -------------------------------------------------------------------------------------- */

static void call_destructor(zend_object *object) {
    if (OBJ_FLAGS(object) & IS_OBJ_DESTRUCTOR_CALLED) return;
    if (object->handlers->dtor_obj == zend_objects_destroy_object && !object->ce->destructor) return;
    GC_ADD_FLAGS(object, IS_OBJ_DESTRUCTOR_CALLED);
    GC_ADDREF(object);
    object->handlers->dtor_obj(object);
    GC_DELREF(object);
}

/* As the engine: a global that nobody else holds goes first. One of the boot only thinks so. */
static int end_global(zval *value) {
    if (Z_TYPE_P(value) == IS_INDIRECT) value = Z_INDIRECT_P(value);
    if (Z_TYPE_P(value) != IS_OBJECT || Z_REFCOUNT_P(value) != 1) return ZEND_HASH_APPLY_KEEP;
    if (Z_OBJ_HANDLE_P(value) >= boot_objects) return ZEND_HASH_APPLY_REMOVE;
    call_destructor(Z_OBJ_P(value));
    return ZEND_HASH_APPLY_KEEP;
}

static void call_destructors(void) {
    uint32_t before;
    do {
        before = zend_hash_num_elements(&EG(symbol_table));
        zend_hash_reverse_apply(&EG(symbol_table), end_global);
    } while (before != zend_hash_num_elements(&EG(symbol_table)));
    EG(flags) |= EG_FLAGS_OBJECT_STORE_NO_REUSE;
    for (uint32_t handle = 1; handle < EG(objects_store).top; handle++) {
        zend_object *object = EG(objects_store).object_buckets[handle];
        if (IS_OBJ_VALID(object)) call_destructor(object);
    }
}

static void close_resources(void) {
    HashTable *list = &EG(regular_list);
    for (zend_long handle = list->nNextFreeElement - 1; handle >= boot_resources; handle--) {
        zval *found = zend_hash_index_find(list, (zend_ulong)handle);
        if (found && Z_TYPE_P(found) == IS_RESOURCE && Z_RES_P(found)->type >= 0) zend_list_close(Z_RES_P(found));
    }
}

/* Objects of extensions may hold a connection, a file, a lock; those of PHP code hold memory. */
static void free_objects(void) {
    for (uint32_t handle = EG(objects_store).top; handle-- > boot_objects;) {
        zend_object *object = EG(objects_store).object_buckets[handle];
        if (!IS_OBJ_VALID(object) || OBJ_FLAGS(object) & IS_OBJ_FREE_CALLED) continue;
        if (object->handlers->free_obj == zend_object_std_dtor || object->ce == zend_ce_closure) continue;
        GC_ADD_FLAGS(object, IS_OBJ_FREE_CALLED);
        GC_ADDREF(object);
        object->handlers->free_obj(object);
    }
}

static int end_persistent(zval *value) {
    HashTable *list = &EG(persistent_list);
    /* The value is the first field of its bucket. */
    return (uint32_t)((Bucket *)value - list->arData) < boot_persistent ? ZEND_HASH_APPLY_STOP : ZEND_HASH_APPLY_REMOVE;
}

/* Each step stands alone: a fatal error in one does not take the next with it. */
#define STEP(...)                  \
    zend_try { __VA_ARGS__; }      \
    zend_end_try()

void regie_engine_end_request(void) {
    EG(flags) |= EG_FLAGS_IN_SHUTDOWN;
#ifdef ZEND_HAS_OOM
    /* Debian's PHP calls no function any more once memory was exhausted, until the request's end says so. */
    EG(delayed_oom).state = ZEND_OOM_STATE_NONE;
#endif
    EG(current_execute_data) = NULL;
#if PHP_VERSION_ID >= 80000
    if (ZEND_OBSERVER_ENABLED) zend_observer_fcall_end_all();
#endif
    STEP(php_call_shutdown_functions());
    zend_try { call_destructors(); }
    zend_catch {
        /* exit() in one: the others do not run any more, whoever frees their objects. */
        zend_objects_store_mark_destructed(&EG(objects_store));
    }
    zend_end_try();
    STEP(php_output_end_all());
    STEP(zend_unset_timeout());
    zend_deactivate_modules();
    STEP(php_output_deactivate());
    EG(flags) |= EG_FLAGS_IN_RESOURCE_SHUTDOWN;
    STEP(close_resources());
    STEP(free_objects());
    STEP(zend_hash_reverse_apply(&EG(persistent_list), end_persistent));
    STEP(sapi_deactivate());
}

/* --- opcache --------------------------------------------------------------------------------------------------- */

static int lock_file = -1;

/* The number is the same in every worker, and looking for it takes longer than all else that a new one has to do. */
static void find_lock_file(void) {
    char link[64], path[256];
    for (int fd = 0; fd < 256 && lock_file < 0; fd++) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, path, sizeof path - 1);
        if (length <= 0) continue;
        path[length] = 0;
        if (strstr(path, "opcache_lock") || strstr(path, "/.ZendSem.")) lock_file = fd;
    }
}

/* A process that uses opcache's memory holds a lock on byte 1 of its lock file. A fork does not inherit it, although the
 * engine's state says that it is held. */
void regie_engine_worker(void) {
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 1, .l_len = 1};
    if (lock_file >= 0) fcntl(lock_file, F_SETLK, &lock);
}
