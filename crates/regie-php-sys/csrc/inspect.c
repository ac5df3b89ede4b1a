/* What the master's children other than workers ask the engine: the state of opcache, as JSON. Opcache's memory is one for
 * all processes of a pool, so a process that serves no request sees what the workers see, also when all of them are
 * busy. */
#include "internal.h"

#include <ext/json/php_json.h>
#include <stdlib.h>
#include <string.h>
#include <zend_smart_str.h>

static char *copy;

static void opcache_status(int with_scripts) {
    zval function, result, scripts;
    smart_str json = {0};
    if (!zend_hash_str_exists(EG(function_table), ZEND_STRL("opcache_get_status"))) {
        copy = strdup("false");
        return;
    }
    ZVAL_STRING(&function, "opcache_get_status");
    ZVAL_BOOL(&scripts, with_scripts);
    ZVAL_UNDEF(&result);
    call_user_function(NULL, NULL, &function, &result, 1, &scripts);
    zval_ptr_dtor(&function);
    php_json_encode(&json, &result, PHP_JSON_PARTIAL_OUTPUT_ON_ERROR | PHP_JSON_UNESCAPED_SLASHES);
    smart_str_0(&json);
    zval_ptr_dtor(&result);
    if (json.s) copy = strdup(ZSTR_VAL(json.s));
    smart_str_free(&json);
}

const char *regie_php_opcache(int32_t with_scripts) {
    volatile int started = 0;
    free(copy);
    copy = NULL;
    regie.request = regie.settings->boot;
    regie.responding = 0;
    zend_first_try {
        regie_fill_request_info(regie.request);
        started = php_request_startup() == SUCCESS;
        if (started) opcache_status(with_scripts);
    }
    zend_end_try();
    zend_first_try { php_request_shutdown(NULL); }
    zend_end_try();
    return copy;
}
