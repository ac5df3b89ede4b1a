/* `.user.ini`: settings of a folder and of those below it, as php-fpm reads them in classic mode. From the document root
 * down to the script's folder, each file wins over the one above. What was read is kept for `user_ini.cache_ttl` seconds,
 * per worker; a folder without such a file is remembered too, so a request costs no system call. */
#include "internal.h"

#include <string.h>
#include <time.h>

typedef struct folder_settings {
    time_t fresh_until;
    HashTable settings;
} folder_settings;

static HashTable folders;
static int made;

static HashTable *settings_of(const char *folder, size_t length, time_t now) {
    if (!made) zend_hash_init(&folders, 16, NULL, NULL, 1);
    made = 1;
    folder_settings *found = zend_hash_str_find_ptr(&folders, folder, length);
    if (!found) {
        found = pemalloc(sizeof *found, 1);
        found->fresh_until = 0;
        zend_hash_init(&found->settings, 8, NULL, config_zval_dtor, 1);
        zend_hash_str_update_ptr(&folders, folder, length, found);
    }
    if (now >= found->fresh_until) {
        char path[MAXPATHLEN];
        memcpy(path, folder, length);
        path[length] = 0;
        zend_hash_clean(&found->settings);
        php_parse_user_ini_file(path, PG(user_ini_filename), &found->settings);
        found->fresh_until = now + PG(user_ini_cache_ttl);
    }
    return &found->settings;
}

static void apply(const char *folder, size_t length, time_t now) {
    HashTable *settings = settings_of(folder, length, now);
    if (zend_hash_num_elements(settings)) {
        php_ini_activate_config(settings, PHP_INI_PERDIR, PHP_INI_STAGE_HTACCESS);
    }
}

static regie_text document_root(const regie_request *request) {
    static const char name[] = "DOCUMENT_ROOT";
    for (size_t i = 0; i < request->params_len; i++) {
        regie_text found = request->params[i].name;
        if (found.len == sizeof name - 1 && memcmp(found.ptr, name, found.len) == 0) {
            regie_text root = request->params[i].value;
            while (root.len > 1 && root.ptr[root.len - 1] == '/') root.len--;
            return root;
        }
    }
    return (regie_text){NULL, 0};
}

void regie_user_ini_apply(const regie_request *request) {
    const char *path = request->script.ptr;
    const char *slash = path ? memrchr(path, '/', request->script.len) : NULL;
    if (!slash || !PG(user_ini_filename) || !*PG(user_ini_filename)) return;
    size_t length = (size_t)(slash - path);
    if (length == 0 || length >= MAXPATHLEN) return;
    time_t now = time(NULL);
    regie_text root = document_root(request);
    int below = root.len && root.len <= length && memcmp(path, root.ptr, root.len) == 0 && path[root.len] == '/';
    /* A script outside of the document root has its own folder's settings alone. */
    for (size_t end = below ? root.len : length; end < length; end++) {
        if (path[end] == '/') apply(path, end, now);
    }
    apply(path, length, now);
}
