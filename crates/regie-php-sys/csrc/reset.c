/* What a request of a worker script changed and nobody puts back: settings, working directory, umask, locale, time
 * zone, error and exception handlers. The state to return to is that of the moment when the script first called
 * frankenphp_handle_request(): what the boot has set stays. Each can be left out (`--reset`).
 *
 * Sessions are closed always: an open one would meet the next visitor. */
#include "internal.h"

#include <ext/date/php_date.h>
#include <ext/session/php_session.h>
#include <ext/standard/basic_functions.h>
#include <fcntl.h>
#include <locale.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Sessions may be left out of a PHP build. */
#pragma weak ps_globals

/* The state at the loop's start. It lives as long as the script, in the script's own memory. */
static struct {
    int held;
    HashTable settings; /* name -> value, of those that the boot has changed */
    int directory;
    mode_t umask;
    int boot_changed_umask;
    int boot_changed_locale;
    char *locale;
    char *timezone;
    zval error_handler;
    int error_reporting;
    zval exception_handler;
    int error_handlers;
    int exception_handlers;
} kept;

static int wants(uint32_t what) { return (regie.settings->resets & what) != 0; }

/* --- settings -------------------------------------------------------------------------------------------------- */

static void remember_settings(void) {
    zend_hash_init(&kept.settings, 8, NULL, ZVAL_PTR_DTOR, 0);
    if (!EG(modified_ini_directives)) return;
    zend_ini_entry *entry;
    ZEND_HASH_FOREACH_PTR(EG(modified_ini_directives), entry) {
        zval value;
        if (entry->value) ZVAL_STR_COPY(&value, entry->value);
        else ZVAL_EMPTY_STRING(&value);
        zend_hash_update(&kept.settings, entry->name, &value);
    }
    ZEND_HASH_FOREACH_END();
}

static int is_unchanged(const zend_ini_entry *entry, const zval *at_boot) {
    if (!at_boot) return 0;
    if (!entry->value) return Z_STRLEN_P(at_boot) == 0;
    return entry->value == Z_STR_P(at_boot) || zend_string_equals(entry->value, Z_STR_P(at_boot));
}

/* Restoring an entry takes it out of the list, so the list is walked anew after each; it is short. */
static zend_ini_entry *first_changed(void) {
    zend_ini_entry *entry;
    if (!EG(modified_ini_directives)) return NULL;
    ZEND_HASH_FOREACH_PTR(EG(modified_ini_directives), entry) {
        if (!is_unchanged(entry, zend_hash_find(&kept.settings, entry->name))) return entry;
    }
    ZEND_HASH_FOREACH_END();
    return NULL;
}

static void put_back_settings(void) {
    /* The stage says that this is no script's doing, so that the session module lets go of its own settings. A setting
     * that refuses is left as it is: one round for each entry is the limit. */
    uint32_t rounds = EG(modified_ini_directives) ? zend_hash_num_elements(EG(modified_ini_directives)) : 0;
    zend_ini_entry *entry;
    while (rounds-- && (entry = first_changed())) {
        zval *at_boot = zend_hash_find(&kept.settings, entry->name);
        zend_string *name = zend_string_copy(entry->name);
        entry->modifiable = entry->orig_modifiable;
        if (at_boot) {
            zend_alter_ini_entry_ex(name, Z_STR_P(at_boot), PHP_INI_SYSTEM, PHP_INI_STAGE_DEACTIVATE, 1);
        } else {
            zend_restore_ini_entry(name, PHP_INI_STAGE_DEACTIVATE);
        }
        zend_string_release(name);
    }
}

/* --- handlers -------------------------------------------------------------------------------------------------- */

static void put_back_handler(zval *current, const zval *at_boot) {
    if (Z_TYPE_P(current) == Z_TYPE_P(at_boot) &&
        (Z_TYPE_P(current) == IS_UNDEF || zend_is_identical(current, (zval *)at_boot))) {
        return;
    }
    zval left;
    ZVAL_COPY_VALUE(&left, current);
    ZVAL_COPY(current, at_boot);
    zval_ptr_dtor(&left);
}

static void shorten(zend_stack *handlers, int length) {
    while (zend_stack_count(handlers) > length) {
        zval_ptr_dtor(zend_stack_top(handlers));
        zend_stack_del_top(handlers);
    }
}

static void put_back_handlers(void) {
    while (zend_stack_count(&EG(user_error_handlers_error_reporting)) > kept.error_handlers) {
        zend_stack_del_top(&EG(user_error_handlers_error_reporting));
    }
    shorten(&EG(user_error_handlers), kept.error_handlers);
    shorten(&EG(user_exception_handlers), kept.exception_handlers);
    put_back_handler(&EG(user_error_handler), &kept.error_handler);
    put_back_handler(&EG(user_exception_handler), &kept.exception_handler);
    EG(user_error_handler_error_reporting) = kept.error_reporting;
}

/* --- locale and time zone -------------------------------------------------------------------------------------- */

static void put_back_locale(void) {
    if (!BG(locale_changed)) return;
    setlocale(LC_ALL, kept.locale ? kept.locale : "C");
    zend_update_current_locale();
    if (BG(ctype_string)) {
        zend_string_release_ex(BG(ctype_string), 0);
        BG(ctype_string) = NULL;
    }
    const char *ctype = setlocale(LC_CTYPE, NULL);
    if (ctype && strcmp(ctype, "C") != 0) BG(ctype_string) = zend_string_init(ctype, strlen(ctype), 0);
    BG(locale_changed) = 0;
}

/* The date module keeps its time zone to itself; its own functions are the way in. */
static void call_date_function(const char *name, zval *argument, zval *result) {
    zval function;
    ZVAL_STRING(&function, name);
    ZVAL_UNDEF(result);
    call_user_function(NULL, NULL, &function, result, argument ? 1 : 0, argument);
    zval_ptr_dtor(&function);
}

static void remember_timezone(void) {
    zval result;
    call_date_function("date_default_timezone_get", NULL, &result);
    kept.timezone = Z_TYPE(result) == IS_STRING ? estrdup(Z_STRVAL(result)) : NULL;
    zval_ptr_dtor(&result);
}

static void put_back_timezone(void) {
    zval result, argument;
    if (!kept.timezone) return;
    call_date_function("date_default_timezone_get", NULL, &result);
    int changed = Z_TYPE(result) == IS_STRING && strcmp(Z_STRVAL(result), kept.timezone) != 0;
    zval_ptr_dtor(&result);
    if (!changed) return;
    ZVAL_STRING(&argument, kept.timezone);
    call_date_function("date_default_timezone_set", &argument, &result);
    zval_ptr_dtor(&argument);
    zval_ptr_dtor(&result);
}

/* --- sessions -------------------------------------------------------------------------------------------------- */

/* As the session module ends a request, except that a save handler set before the loop stays. */
void regie_session_close(void) {
    if (!&ps_globals || !zend_hash_str_exists(&module_registry, ZEND_STRL("session"))) return;
    if (PS(session_status) == php_session_active) {
        zend_try { php_session_flush(1); }
        zend_end_try();
    }
    if (!Z_ISUNDEF(PS(http_session_vars))) {
        zval_ptr_dtor(&PS(http_session_vars));
        ZVAL_UNDEF(&PS(http_session_vars));
    }
    if (PS(mod) && (PS(mod_data) || PS(mod_user_implemented))) {
        zend_try { PS(mod)->s_close(&PS(mod_data)); }
        zend_end_try();
    }
    if (PS(id)) {
        zend_string_release_ex(PS(id), 0);
        PS(id) = NULL;
    }
    if (PS(session_vars)) {
        zend_string_release_ex(PS(session_vars), 0);
        PS(session_vars) = NULL;
    }
    PS(session_status) = php_session_none;
    PS(in_save_handler) = 0;
    PS(set_handler) = 0;
    PS(mod_user_is_open) = 0;
    PS(define_sid) = 1;
}

/* --- together -------------------------------------------------------------------------------------------------- */

void regie_reset_remember(void) {
    memset(&kept, 0, sizeof kept);
    kept.held = 1;
    kept.directory = -1;
    if (wants(REGIE_RESET_INI)) remember_settings();
    regie.directory_changed = 0;
    if (wants(REGIE_RESET_CWD)) kept.directory = open(".", O_PATH | O_CLOEXEC);
    if (wants(REGIE_RESET_UMASK)) {
        kept.umask = umask(0);
        umask(kept.umask);
        kept.boot_changed_umask = BG(umask);
        BG(umask) = -1;
    }
    if (wants(REGIE_RESET_LOCALE)) {
        const char *locale = setlocale(LC_ALL, NULL);
        kept.locale = locale ? estrdup(locale) : NULL;
        kept.boot_changed_locale = BG(locale_changed);
        BG(locale_changed) = 0;
    }
    if (wants(REGIE_RESET_TIMEZONE)) remember_timezone();
    if (wants(REGIE_RESET_HANDLERS)) {
        ZVAL_COPY(&kept.error_handler, &EG(user_error_handler));
        ZVAL_COPY(&kept.exception_handler, &EG(user_exception_handler));
        kept.error_reporting = EG(user_error_handler_error_reporting);
        kept.error_handlers = zend_stack_count(&EG(user_error_handlers));
        kept.exception_handlers = zend_stack_count(&EG(user_exception_handlers));
    }
}

void regie_reset_put_back(void) {
    if (!kept.held) return;
    if (wants(REGIE_RESET_HANDLERS)) put_back_handlers();
    if (wants(REGIE_RESET_INI)) put_back_settings();
    if (wants(REGIE_RESET_TIMEZONE)) put_back_timezone();
    if (wants(REGIE_RESET_LOCALE)) put_back_locale();
    if (wants(REGIE_RESET_UMASK) && BG(umask) != -1) {
        umask(kept.umask);
        BG(umask) = -1;
    }
    if (kept.directory >= 0 && regie.directory_changed) {
        regie.directory_changed = 0;
        if (fchdir(kept.directory) != 0) {
            regie_log(REGIE_LOG_WARNING, "the working directory at boot cannot be entered any more");
        }
    }
}

/* The script is about to end: the engine's own end of request frees the rest. */
void regie_reset_forget(void) {
    if (!kept.held) return;
    kept.held = 0;
    if (kept.directory >= 0) close(kept.directory);
    if (wants(REGIE_RESET_UMASK) && kept.boot_changed_umask != -1) BG(umask) = kept.boot_changed_umask;
    if (wants(REGIE_RESET_LOCALE) && kept.boot_changed_locale) BG(locale_changed) = 1;
    if (wants(REGIE_RESET_INI)) zend_hash_destroy(&kept.settings);
    if (wants(REGIE_RESET_HANDLERS)) {
        zval_ptr_dtor(&kept.error_handler);
        zval_ptr_dtor(&kept.exception_handler);
    }
    if (kept.locale) efree(kept.locale);
    if (kept.timezone) efree(kept.timezone);
}
