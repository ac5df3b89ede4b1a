/* Settings that come with a request: the parameters PHP_VALUE and PHP_ADMIN_VALUE, lines of `name=value`.
 *
 * Both may set what a script cannot (PHP_INI_SYSTEM, PHP_INI_PERDIR); what PHP_ADMIN_VALUE sets, the script cannot
 * change. They are put in place before the request starts, so that limits on its body hold, and they are the engine's
 * ordinary changed settings: the end of the request puts the old value and the old right to change it back. */
#include "internal.h"

#include <string.h>
#include <zend_ini_scanner.h>

static void apply_line(zval *name, zval *value, zval *index, int callback_type, void *is_admin) {
    if (!name || !value || callback_type != ZEND_INI_PARSER_ENTRY) return;
    zend_string *text = zval_get_string(value);
    zend_result done = zend_alter_ini_entry_ex(Z_STR_P(name), text, PHP_INI_SYSTEM, PHP_INI_STAGE_ACTIVATE, 1);
    zend_string_release(text);
    if (done == FAILURE) {
        regie_log(REGIE_LOG_WARNING, "unable to set %s=%s for this request", Z_STRVAL_P(name), Z_TYPE_P(value) == IS_STRING ? Z_STRVAL_P(value) : "");
        return;
    }
    /* Set by the system, an entry is closed to the script; PHP_VALUE leaves it as open as it was. */
    zend_ini_entry *entry = zend_hash_find_ptr(EG(ini_directives), Z_STR_P(name));
    if (entry && !is_admin) entry->modifiable = entry->orig_modifiable;
}

static void apply_lines(regie_text lines, int is_admin) {
    if (!lines.len) return;
    char *copy = estrndup(lines.ptr, lines.len);
    zend_parse_ini_string(copy, 1, ZEND_INI_SCANNER_NORMAL, apply_line, is_admin ? (void *)1 : NULL);
    efree(copy);
}

void regie_ini_apply(const regie_request *request) {
    apply_lines(request->php_value, 0);
    apply_lines(request->php_admin_value, 1);
}
