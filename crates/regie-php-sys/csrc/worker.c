/* Worker mode: the script boots the application once and then calls frankenphp_handle_request() in a loop.
 *
 *   run the script ──▶ boot ──▶ frankenphp_handle_request(callback) ◀───────────────┐
 *        ▲                        │ leave what came before (boot or request)         │ true
 *        │                        │ next_request: blocks ──── leave ──▶ false        │
 *        │                        │ enter the request: superglobals, output, SAPI    │
 *        │                        │ callback()                                       │
 *        │                        └ end the response, close the session ─────────────┘
 *        │ A message (message.c) goes the same way, without superglobals.
 *        │ exit(), die(): the script ends inside the callback; its shutdown functions, destructors and output still
 *        └ belong to the request; then the script runs again, at once
 *   a fatal error leaves the engine in doubt: the response is ended, and the process makes room for a new one
 *
 * Between requests only what belongs to a request is put back (the order matters; it is that of
 * php_request_shutdown, without the steps that would end the script). */
#include "internal.h"

#include <ext/session/php_session.h>
#include <ext/standard/basic_functions.h>
#include <string.h>

#define OPCACHE_LOOK_EVERY 200

/* Handles of php://input that the engine leaves behind would pile up; those that the script holds are kept. */
static void drop_unreferenced_input(void) {
    zval *entry;
    ZEND_HASH_FOREACH_VAL(&EG(regular_list), entry) {
        zend_resource *resource = Z_RES_P(entry);
        if (resource->type != php_file_le_stream() || GC_REFCOUNT(resource) != 1) continue;
        php_stream *stream = resource->ptr;
        if (stream && stream->ops == &php_stream_temp_ops && stream->__exposed == 0) {
            zend_list_delete(resource);
        }
    }
    ZEND_HASH_FOREACH_END();
}

static void forget_last_error(void) {
    if (PG(last_error_message)) {
        zend_string_release(PG(last_error_message));
        PG(last_error_message) = NULL;
    }
    if (PG(last_error_file)) {
        zend_string_release(PG(last_error_file));
        PG(last_error_file) = NULL;
    }
    PG(last_error_type) = 0;
    PG(last_error_lineno) = 0;
}

static void shutdown_module(const char *name, size_t length) {
    zend_module_entry *module = zend_hash_str_find_ptr(&module_registry, name, length);
    if (module && module->request_shutdown_func) {
        module->request_shutdown_func(module->type, module->module_number);
    }
}

/* A full opcache restarts itself as soon as nobody uses it, and until then caches nothing new. In a pool of worker
 * scripts somebody always uses it. Looked at now and then, between requests. */
void regie_look_at_opcache(void) {
    static uint32_t requests;
    static int told;
    if (told || ++requests % OPCACHE_LOOK_EVERY != 0) return;
    zval function, result, scripts;
    zval *full, *pending;
    if (!zend_hash_str_exists(EG(function_table), ZEND_STRL("opcache_get_status"))) return;
    ZVAL_STRING(&function, "opcache_get_status");
    ZVAL_FALSE(&scripts);
    ZVAL_UNDEF(&result);
    call_user_function(NULL, NULL, &function, &result, 1, &scripts);
    zval_ptr_dtor(&function);
    if (Z_TYPE(result) == IS_ARRAY) {
        full = zend_hash_str_find(Z_ARRVAL(result), ZEND_STRL("cache_full"));
        pending = zend_hash_str_find(Z_ARRVAL(result), ZEND_STRL("restart_pending"));
        if ((full && zend_is_true(full)) || (pending && zend_is_true(pending))) {
            regie_text why = {ZEND_STRL("opcache is full: raise opcache.memory_consumption or opcache.max_accelerated_files")};
            told = 1;
            regie.call->event(REGIE_EVENT_GENERATION, why);
        }
    }
    zval_ptr_dtor(&result);
}

/* What follows a request, or the boot. */
void regie_leave_request(void) {
    php_output_end_all();
    shutdown_module(ZEND_STRL("filter"));
    regie_session_close();
    php_output_deactivate();
    sapi_deactivate();
    SG(server_context) = NULL;
    SG(request_info).path_translated = NULL;
    zend_hash_str_del(&EG(symbol_table), ZEND_STRL("_SESSION"));
    regie_reset_put_back();
    forget_last_error();
    zend_set_memory_limit(PG(memory_limit));
}

static void renew_superglobals(void) {
    zend_auto_global *global;
    zval_ptr_dtor_nogc(&PG(http_globals)[TRACK_VARS_FILES]);
    ZVAL_UNDEF(&PG(http_globals)[TRACK_VARS_FILES]);
    ZEND_HASH_FOREACH_PTR(CG(auto_globals), global) {
        if (zend_string_equals_literal(global->name, "_ENV") || !global->auto_global_callback) continue;
        /* $_REQUEST is made when a script first names it; once there, it would stay that of the first visitor. */
        if (global->jit && !zend_string_equals_literal(global->name, "_SERVER") &&
            !zend_hash_exists(&EG(symbol_table), global->name)) {
            continue;
        }
        global->armed = global->auto_global_callback(global->name);
    }
    ZEND_HASH_FOREACH_END();
}

void regie_enter_request(const regie_request *request) {
    regie.request = request;
    regie.responding = request != regie.settings->boot;
    regie.message = 0;
    regie.fatal = 0;
    EG(exit_status) = 0;
    regie_fill_request_info(request);
    drop_unreferenced_input();
    regie_ini_apply(request);
    php_output_activate();
    PG(header_is_being_sent) = 0;
    PG(connection_status) = PHP_CONNECTION_NORMAL;
    sapi_activate();
    SG(request_info).proto_num = request->protocol;
    /* Without a body there is no input to wait for. */
    if (PG(max_input_time) != -1 && request->content_length > 0) zend_set_timeout(PG(max_input_time), 1);
    if (PG(expose_php)) sapi_add_header(SAPI_PHP_VERSION_HEADER, sizeof SAPI_PHP_VERSION_HEADER - 1, 1);
    if (PG(output_handler) && PG(output_handler)[0]) {
        zval handler;
        ZVAL_STRING(&handler, PG(output_handler));
        php_output_start_user(&handler, 0, PHP_OUTPUT_HANDLER_STDFLAGS);
        zval_ptr_dtor(&handler);
    } else if (PG(output_buffering)) {
        php_output_start_user(NULL, PG(output_buffering) > 1 ? PG(output_buffering) : 0, PHP_OUTPUT_HANDLER_STDFLAGS);
    } else if (PG(implicit_flush)) {
        php_output_set_implicit_flush(1);
    }
    renew_superglobals();
    SG(sapi_started) = 1;
}

static int signals_set;

void regie_call(zend_fcall_info *fci, zend_fcall_info_cache *fcc, zval *result) {
    ZVAL_UNDEF(result);
    fci->retval = result;
    /* The handler stands since the first time; to arm the timer is enough. */
    zend_set_timeout(EG(timeout_seconds), !signals_set);
    signals_set = 1;
    zend_call_function(fci, fcc);
    zend_unset_timeout();
}

static void call_back(zend_fcall_info *fci, zend_fcall_info_cache *fcc) {
    zval result;
    regie_call(fci, fcc, &result);
    zval_ptr_dtor(&result);
    /* exit() unwinds the script by itself; anything else uncaught is shown as a fatal error, and ends the script. */
    if (EG(exception) && !zend_is_unwind_exit(EG(exception)) && !zend_is_graceful_exit(EG(exception))) {
        zend_exception_error(EG(exception), E_ERROR);
        EG(exit_status) = 255;
        zend_bailout();
    }
}

/* 1 after a request, 0 when the worker shall leave. */
int regie_handle_request(zend_fcall_info *fci, zend_fcall_info_cache *fcc) {
    regie_request request;
    if (!regie.looping) {
        zend_unset_timeout();
        regie_leave_request();
        regie.looping = 1;
        regie_reset_remember();
        regie_text nothing = {NULL, 0};
        regie.call->event(REGIE_EVENT_BOOTED, nothing);
    }
    if (!regie.call->next_request(&request)) {
        regie.asked_to_leave = 1;
        regie_enter_request(regie.settings->boot);
        return 0;
    }
    if (request.message) {
        regie_handle_message(&request, fci, fcc);
    } else {
        regie_enter_request(&request);
        if (regie.settings->paranoid) regie_paranoid_begin();
        call_back(fci, fcc);
    }
    if (EG(exception)) return 1; /* exit(): the rest of the script's end belongs to this request */
    if (regie.settings->paranoid) regie_paranoid_end();
    regie_leave_request();
    regie_end_request(0);
    regie_look_at_opcache();
    return 1;
}

int regie_run_script(void) {
    volatile int started = 0;
    const regie_request *boot = regie.settings->boot;
    regie.request = boot;
    regie.responding = 0;
    regie.message = 0;
    regie.looping = 0;
    regie.fatal = 0;
    regie.script_runs = 1;
    signals_set = 0;
    zend_first_try {
        regie_fill_request_info(boot);
        started = php_request_startup() == SUCCESS;
        if (started) {
            PG(ignore_user_abort) = 1;
            /* Booting may take longer than a request; --boot-timeout is its limit. */
            zend_unset_timeout();
            if (regie.settings->define_streams) regie_define_streams();
            zend_file_handle script;
            zend_stream_init_filename(&script, boot->script.ptr);
            script.primary_script = 1;
            php_execute_script(&script);
            zend_destroy_file_handle(&script);
        }
    }
    zend_end_try();
    return started;
}

void regie_end_script(void) {
    regie.script_runs = 0;
    if (regie.message) regie_message_script_ends();
    regie_reset_forget();
    regie_paranoid_forget();
    zend_first_try { php_request_shutdown(NULL); }
    zend_end_try();
    SG(server_context) = NULL;
    SG(request_info).path_translated = NULL;
}

int32_t regie_run_worker(int32_t *exit_status) {
    for (;;) {
        int started = regie_run_script();
        int32_t status = EG(exit_status);
        regie_end_script();
        *exit_status = status;
        /* How PHP ends a script after any fatal error. */
        if (status == 255 && !regie.fatal) regie.fatal = 1;
        if (regie.responding) {
            if (regie.message) regie_message_script_ended(status);
            regie_end_request(status);
        }
        if (!started) return REGIE_ENDED_ENGINE;
        if (regie.asked_to_leave) return REGIE_ENDED_ASKED;
        if (!regie.looping) return REGIE_ENDED_SCRIPT;
        if (regie.fatal) return REGIE_ENDED_RECYCLE;
    }
}
