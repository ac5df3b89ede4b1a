/* What PHP code sees of us. Names and meanings are FrankenPHP's, so that the worker scripts of Octane and Symfony run
 * as they are; `fastcgi_finish_request` and `getallheaders` are those that php-fpm has. */
#include "internal.h"

#include <ext/json/php_json.h>
#include <ext/spl/spl_exceptions.h>
#include <ext/standard/head.h>
#include <string.h>
#include <zend_smart_str.h>

/* --- headers --------------------------------------------------------------------------------------------------- */

/* HTTP_ACCEPT_LANGUAGE -> Accept-Language */
static zend_string *header_name(const char *param, size_t length) {
    zend_string *name = zend_string_alloc(length, 0);
    int start_of_word = 1;
    for (size_t i = 0; i < length; i++) {
        char byte = param[i];
        if (byte == '_') byte = '-';
        else if (!start_of_word && byte >= 'A' && byte <= 'Z') byte = (char)(byte + 32);
        start_of_word = byte == '-';
        ZSTR_VAL(name)[i] = byte;
    }
    ZSTR_VAL(name)[length] = 0;
    return name;
}

static int starts_with(regie_text text, const char *prefix, size_t length) {
    return text.len > length && memcmp(text.ptr, prefix, length) == 0;
}

static int is(regie_text text, const char *name) {
    return text.len == strlen(name) && memcmp(text.ptr, name, text.len) == 0;
}

PHP_FUNCTION(frankenphp_request_headers) {
    ZEND_PARSE_PARAMETERS_NONE();
    array_init(return_value);
    if (!regie.request || !regie.responding) return;
    for (size_t i = 0; i < regie.request->params_len; i++) {
        const regie_param *param = &regie.request->params[i];
        const char *name = NULL;
        size_t length = 0;
        if (starts_with(param->name, "HTTP_", 5)) {
            name = param->name.ptr + 5;
            length = param->name.len - 5;
        } else if (param->value.len && (is(param->name, "CONTENT_TYPE") ||
                                        is(param->name, "CONTENT_LENGTH"))) {
            name = param->name.ptr;
            length = param->name.len;
        } else {
            continue;
        }
        zend_string *key = header_name(name, length);
        zval value;
        ZVAL_STRINGL(&value, param->value.ptr, param->value.len);
        zend_symtable_update(Z_ARRVAL_P(return_value), key, &value);
        zend_string_release(key);
    }
}

PHP_FUNCTION(frankenphp_response_headers) {
    ZEND_PARSE_PARAMETERS_NONE();
    array_init(return_value);
    zend_llist_position position;
    for (sapi_header_struct *header = zend_llist_get_first_ex(&SG(sapi_headers).headers, &position); header;
         header = zend_llist_get_next_ex(&SG(sapi_headers).headers, &position)) {
        const char *colon = memchr(header->header, ':', header->header_len);
        if (!colon) continue;
        size_t name_len = (size_t)(colon - header->header);
        const char *value = colon + 1;
        const char *end = header->header + header->header_len;
        while (value < end && (*value == ' ' || *value == '\t')) value++;
        zval *before = zend_symtable_str_find(Z_ARRVAL_P(return_value), header->header, name_len);
        if (before) {
            zend_string *joined = strpprintf(0, "%s, %.*s", Z_STRVAL_P(before), (int)(end - value), value);
            zval_ptr_dtor_str(before);
            ZVAL_STR(before, joined);
        } else {
            add_assoc_stringl_ex(return_value, header->header, name_len, value, (size_t)(end - value));
        }
    }
}

PHP_FUNCTION(headers_send) {
    zend_long status = 200;
    ZEND_PARSE_PARAMETERS_START(0, 1)
    Z_PARAM_OPTIONAL
    Z_PARAM_LONG(status)
    ZEND_PARSE_PARAMETERS_END();
    if (status >= 100 && status < 200) {
        RETURN_LONG(regie_send_informational((int32_t)status) ? SAPI_HEADER_SENT_SUCCESSFULLY
                                                               : SAPI_HEADER_SEND_FAILED);
    }
    if (ZEND_NUM_ARGS() > 0) SG(sapi_headers).http_response_code = (int)status;
    RETURN_LONG(sapi_send_headers());
}

/* --- the end of the response ----------------------------------------------------------------------------------- */

PHP_FUNCTION(frankenphp_finish_request) {
    ZEND_PARSE_PARAMETERS_NONE();
    if (!regie.responding || regie.message) RETURN_FALSE;
    php_output_end_all();
    php_header();
    RETURN_BOOL(regie.call->finish());
}

/* --- the pool -------------------------------------------------------------------------------------------------- */

/* php-fpm's: the pool's state with an array per process under `procs`. False where it cannot be told. */
PHP_FUNCTION(fpm_get_status) {
    ZEND_PARSE_PARAMETERS_NONE();
    /* Preloaded scripts run in the master. */
    if (!regie.responding && !regie.script_runs) RETURN_FALSE;
    size_t room = 8 * 1024;
    char *json = emalloc(room + 1);
    size_t length = regie.call->status(json, room);
    while (length > room) {
        /* Meanwhile it may have grown. */
        room = length + length / 4;
        json = erealloc(json, room + 1);
        length = regie.call->status(json, room);
    }
    /* PHP's scanner knows the end by a zero. */
    json[length] = 0;
    int decoded = php_json_decode(return_value, json, length, 1, PHP_JSON_PARSER_DEFAULT_DEPTH);
    efree(json);
    if (decoded == FAILURE) RETURN_FALSE;
}

/* --- the loop -------------------------------------------------------------------------------------------------- */

PHP_FUNCTION(frankenphp_handle_request) {
    zend_fcall_info fci;
    zend_fcall_info_cache fcc;
    ZEND_PARSE_PARAMETERS_START(1, 1)
    Z_PARAM_FUNC(fci, fcc)
    ZEND_PARSE_PARAMETERS_END();
    if (!(regie.settings->worker_mode || regie.settings->rewind) || !regie.script_runs) {
        zend_throw_exception(spl_ce_RuntimeException,
                             "frankenphp_handle_request() called while not in worker mode", 0);
        RETURN_THROWS();
    }
    if (regie.responding) {
        zend_throw_exception(spl_ce_RuntimeException,
                             "frankenphp_handle_request() called inside a request", 0);
        RETURN_THROWS();
    }
    RETURN_BOOL(regie.settings->rewind ? regie_rewind_handle_request(&fci, &fcc) : regie_handle_request(&fci, &fcc));
}

/* Rewind mode: what stands before has run once, what stands after runs for each request, and true says so. In any other
 * mode it does nothing and says false, so that an application may call it wherever it runs. */
PHP_FUNCTION(regie_checkpoint) {
    ZEND_PARSE_PARAMETERS_NONE();
    if (!regie.settings->rewind || !regie.script_runs) RETURN_FALSE;
    if (regie.looping) {
        zend_throw_exception(spl_ce_RuntimeException, "regie_checkpoint() called a second time", 0);
        RETURN_THROWS();
    }
    RETURN_BOOL(regie_checkpoint());
}

/* Runs requests in a child before the checkpoint, so that what they need is compiled and loaded and nothing else of them
 * stays. The number of classes that are loaded afterwards; false in any other mode, without running anything. */
PHP_FUNCTION(regie_prime) {
    zend_fcall_info fci;
    zend_fcall_info_cache fcc;
    ZEND_PARSE_PARAMETERS_START(1, 1)
    Z_PARAM_FUNC(fci, fcc)
    ZEND_PARSE_PARAMETERS_END();
    if (!regie.settings->rewind || !regie.script_runs || regie.looping) RETURN_FALSE;
    zend_long loaded = regie_prime(&fci, &fcc);
    if (loaded < 0) RETURN_FALSE;
    RETURN_LONG(loaded);
}

/* --- logs and publishing --------------------------------------------------------------------------------------- */

static void append_context(smart_str *line, HashTable *context) {
    zend_string *key;
    zval *value;
    ZEND_HASH_FOREACH_STR_KEY_VAL(context, key, value) {
        if (!key) continue;
        zend_string *text = zval_try_get_string(value);
        if (!text) {
            zend_clear_exception();
            continue;
        }
        smart_str_appendc(line, ' ');
        smart_str_append(line, key);
        smart_str_appendc(line, '=');
        smart_str_append(line, text);
        zend_string_release(text);
    }
    ZEND_HASH_FOREACH_END();
}

PHP_FUNCTION(frankenphp_log) {
    zend_string *message;
    zend_long level = 0;
    HashTable *context = NULL;
    ZEND_PARSE_PARAMETERS_START(1, 3)
    Z_PARAM_STR(message)
    Z_PARAM_OPTIONAL
    Z_PARAM_LONG(level)
    Z_PARAM_ARRAY_HT(context)
    ZEND_PARSE_PARAMETERS_END();
    smart_str line = {0};
    smart_str_append(&line, message);
    if (context) append_context(&line, context);
    smart_str_0(&line);
    if (line.s) {
        int32_t ours = level >= 8   ? REGIE_LOG_ERROR
                       : level >= 4 ? REGIE_LOG_WARNING
                       : level >= 0 ? REGIE_LOG_INFO
                                    : REGIE_LOG_DEBUG;
        regie.call->log(ours, ZSTR_VAL(line.s), ZSTR_LEN(line.s));
    }
    smart_str_free(&line);
}

/* --- streams --------------------------------------------------------------------------------------------------- */

static void define_stream(const char *name, size_t length, const char *path, const char *mode) {
    php_stream_context *context = php_stream_context_alloc();
    php_stream *stream = php_stream_open_wrapper_ex((char *)path, (char *)mode, 0, NULL, context);
    if (!stream) return;
    stream->flags |= PHP_STREAM_FLAG_NO_CLOSE;
    zend_constant constant;
    php_stream_to_zval(stream, &constant.value);
    Z_CONSTANT_FLAGS(constant.value) = 0;
    constant.name = zend_string_init_interned(name, length, 0);
    zend_register_constant(&constant);
}

/* Only the CLI defines these, but worker scripts (Octane's writes boot errors to STDERR) and jobs count on them. In a
 * classic web pool they stay undefined as under php-fpm: frameworks take `defined('STDIN')` for "this is the CLI". */
void regie_define_streams(void) {
    define_stream(ZEND_STRL("STDIN"), "php://stdin", "rb");
    define_stream(ZEND_STRL("STDOUT"), "php://stdout", "wb");
    define_stream(ZEND_STRL("STDERR"), "php://stderr", "wb");
}

/* --- opcache_reset --------------------------------------------------------------------------------------------- */

/* A worker script, and a boot that requests go back to, never end their request, so a reset of opcache would stay pending, switch the cache off for everybody
 * and at last kill a worker in mid-request. There the pool starts anew instead, with fresh memory. */
static zif_handler opcache_reset_before;

static ZEND_FUNCTION(regie_opcache_reset) {
    if (!regie.settings->worker_mode && !regie.settings->rewind) {
        opcache_reset_before(INTERNAL_FUNCTION_PARAM_PASSTHRU);
        return;
    }
    ZEND_PARSE_PARAMETERS_NONE();
    regie_text why = {ZEND_STRL("opcache_reset()")};
    regie.call->event(REGIE_EVENT_GENERATION, why);
    RETURN_TRUE;
}

/* --- chdir ----------------------------------------------------------------------------------------------------- */

/* Only a script that has called chdir() needs its working directory put back; the others are spared the system calls. */
static zif_handler chdir_before;

static ZEND_FUNCTION(regie_chdir) {
    regie.directory_changed = 1;
    chdir_before(INTERNAL_FUNCTION_PARAM_PASSTHRU);
}

/* --- regie_doubt ----------------------------------------------------------------------------------------------- */

/* What a boot script has noticed that speaks against parking the application after it; the first text counts. */
static char doubt[512];

ZEND_FUNCTION(regie_doubt) {
    zend_string *why;
    ZEND_PARSE_PARAMETERS_START(1, 1)
    Z_PARAM_STR(why)
    ZEND_PARSE_PARAMETERS_END();
    if (!*doubt) snprintf(doubt, sizeof doubt, "%s", ZSTR_VAL(why));
}

const char *regie_rewind_doubt(void) { return doubt; }

/* --- regie_unchanged ------------------------------------------------------------------------------------------- */

/* Whether all of an object's properties are identical to what `(array) $object` gave then. It is our Laravel worker script's
 * question to each service after each request, and making that array again is most of its price. False also where the
 * properties do not lie plainly in the object's slots: then the script looks itself. */
ZEND_FUNCTION(regie_unchanged) {
    zend_object *object;
    HashTable *then;
    ZEND_PARSE_PARAMETERS_START(2, 2)
    Z_PARAM_OBJ(object)
    Z_PARAM_ARRAY_HT(then)
    ZEND_PARSE_PARAMETERS_END();
    const zend_class_entry *class = object->ce;
    if (object->properties || class->type != ZEND_USER_CLASS ||
        object->handlers->get_properties != zend_std_get_properties || object->handlers->get_properties_for ||
        HT_IS_PACKED(then)) {
        RETURN_BOOL(zend_hash_num_elements(then) == 0 && class->default_properties_count == 0);
    }
    uint32_t same = 0;
    for (int slot = 0; slot < class->default_properties_count; slot++) {
        const zend_property_info *property = class->properties_info_table[slot];
        zval *now = OBJ_PROP_NUM(object, slot);
        if (!property || Z_TYPE_P(now) == IS_UNDEF) continue;
        /* Most often the next one: the array was made in the order of the slots. */
        zval *before = same < then->nNumUsed && then->arData[same].key == property->name
                           ? &then->arData[same].val
                           : zend_hash_find_known_hash(then, property->name);
        if (!before) RETURN_FALSE;
        ZVAL_DEREF(now);
        ZVAL_DEREF(before);
        if (!zend_is_identical(now, before)) RETURN_FALSE;
        same++;
    }
    RETURN_BOOL(same == zend_hash_num_elements(then));
}

void regie_functions_startup(void) {
    zend_internal_function *chdir = zend_hash_str_find_ptr(CG(function_table), ZEND_STRL("chdir"));
    if (chdir && chdir->type == ZEND_INTERNAL_FUNCTION) {
        chdir_before = chdir->handler;
        chdir->handler = ZEND_FN(regie_chdir);
    }
    zend_internal_function *reset = zend_hash_str_find_ptr(CG(function_table), ZEND_STRL("opcache_reset"));
    if (reset && reset->type == ZEND_INTERNAL_FUNCTION) {
        opcache_reset_before = reset->handler;
        reset->handler = ZEND_FN(regie_opcache_reset);
    }
    REGISTER_MAIN_LONG_CONSTANT("FRANKENPHP_LOG_LEVEL_DEBUG", -4, CONST_PERSISTENT | CONST_CS);
    REGISTER_MAIN_LONG_CONSTANT("FRANKENPHP_LOG_LEVEL_INFO", 0, CONST_PERSISTENT | CONST_CS);
    REGISTER_MAIN_LONG_CONSTANT("FRANKENPHP_LOG_LEVEL_WARN", 4, CONST_PERSISTENT | CONST_CS);
    REGISTER_MAIN_LONG_CONSTANT("FRANKENPHP_LOG_LEVEL_ERROR", 8, CONST_PERSISTENT | CONST_CS);
}

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_handle_request, 0, 1, _IS_BOOL, 0)
ZEND_ARG_TYPE_INFO(0, callback, IS_CALLABLE, 0)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_headers_send, 0, 0, IS_LONG, 0)
ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, status, IS_LONG, 0, "200")
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_MASK_EX(arginfo_prime, 0, 1, MAY_BE_LONG | MAY_BE_FALSE)
ZEND_ARG_TYPE_INFO(0, callback, IS_CALLABLE, 0)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_bool, 0, 0, _IS_BOOL, 0)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_doubt, 0, 1, IS_VOID, 0)
ZEND_ARG_TYPE_INFO(0, why, IS_STRING, 0)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_unchanged, 0, 2, _IS_BOOL, 0)
ZEND_ARG_TYPE_INFO(0, object, IS_OBJECT, 0)
ZEND_ARG_TYPE_INFO(0, then, IS_ARRAY, 0)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_json_decode, 0, 1, IS_MIXED, 0)
ZEND_ARG_TYPE_INFO(0, text, IS_STRING, 0)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_array, 0, 0, IS_ARRAY, 0)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_MASK_EX(arginfo_status, 0, 0, MAY_BE_ARRAY | MAY_BE_FALSE)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_log, 0, 1, IS_VOID, 0)
ZEND_ARG_TYPE_INFO(0, message, IS_STRING, 0)
ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, level, IS_LONG, 0, "0")
ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, context, IS_ARRAY, 0, "[]")
ZEND_END_ARG_INFO()

const zend_function_entry regie_functions[] = {
    ZEND_FE(frankenphp_handle_request, arginfo_handle_request)
    ZEND_FE(regie_checkpoint, arginfo_bool)
    ZEND_FE(regie_prime, arginfo_prime)
    ZEND_FE(regie_doubt, arginfo_doubt)
    ZEND_FE(regie_unchanged, arginfo_unchanged)
    ZEND_FE(regie_json_decode, arginfo_json_decode)
    ZEND_FE(headers_send, arginfo_headers_send)
    ZEND_FE(frankenphp_finish_request, arginfo_bool)
    ZEND_FALIAS(fastcgi_finish_request, frankenphp_finish_request, arginfo_bool)
    ZEND_FE(frankenphp_request_headers, arginfo_array)
    ZEND_FALIAS(apache_request_headers, frankenphp_request_headers, arginfo_array)
    ZEND_FALIAS(getallheaders, frankenphp_request_headers, arginfo_array)
    ZEND_FE(frankenphp_response_headers, arginfo_array)
    ZEND_FALIAS(apache_response_headers, frankenphp_response_headers, arginfo_array)
    ZEND_FE(frankenphp_log, arginfo_log)
    ZEND_FE(fpm_get_status, arginfo_status)
    ZEND_FE_END
};
