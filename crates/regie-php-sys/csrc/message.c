/* Messages: requests of our own programs to a worker script, for jobs and the like. The callback that the script gave to
 * frankenphp_handle_request() gets the body as its argument, and the string that it returns is the answer.
 *
 *   REGIE_MESSAGE=1, body ──▶ callback($body) ──▶ Status: 200, what it returned (null: nothing)
 *                                 │ an exception leaves it     Status: 500, Regie-Ended: exception
 *                                 │ exit(), die()              Status: 500, Regie-Ended: exit
 *                                 │ a fatal error              Status: 500, Regie-Ended: fatal
 *                                 └ the time limit             Status: 500, Regie-Ended: timeout
 *
 * The script is as it would be under the command line: superglobals are not touched, headers go nowhere, and what is
 * printed goes to the log, unless the script buffers it. After an exception the loop goes on; after an exit the script
 * runs again, after a fatal error or a limit in a new process, as for any request. A body that broke off is never given
 * to the callback: the answer is Status: 400. */
#include "internal.h"

#include <string.h>
#include <zend_smart_str.h>

#define PIECE (64 * 1024)

/* What is told of a script that has ended: the engine's own record of the last error is gone when the answer is made. */
static char last_words[2048];

static void answer(const char *head, const char *body, size_t length) {
    if (regie.call->write(head, strlen(head)) && length) regie.call->write(body, length);
}

static void enter(const regie_request *request) {
    regie.request = request;
    regie.responding = 1;
    regie.message = 1;
    regie.fatal = 0;
    last_words[0] = 0;
    EG(exit_status) = 0;
    SG(server_context) = NULL;
    php_output_activate();
    PG(header_is_being_sent) = 0;
    PG(connection_status) = PHP_CONNECTION_NORMAL;
    sapi_activate();
    SG(headers_sent) = 1;
    SG(request_info).no_headers = 1;
    if (PG(implicit_flush)) php_output_set_implicit_flush(1);
}

/* 0 when the body broke off. */
static int read_known(size_t length, zval *message) {
    zend_string *body = zend_string_alloc(length, 0);
    size_t done = 0, taken;
    while (done < length && (taken = regie.call->read_body(ZSTR_VAL(body) + done, length - done)) > 0) done += taken;
    ZSTR_VAL(body)[done] = 0;
    ZVAL_STR(message, body);
    return done == length;
}

/* Who does not say how long it is cannot be caught at breaking off. */
static int read_to_end(zval *message) {
    smart_str body = {0};
    size_t taken;
    do {
        smart_str_alloc(&body, PIECE, 0);
        taken = regie.call->read_body(ZSTR_VAL(body.s) + ZSTR_LEN(body.s), PIECE);
        ZSTR_LEN(body.s) += taken;
    } while (taken > 0);
    ZVAL_STR(message, smart_str_extract(&body));
    return 1;
}

static void answer_result(zval *result) {
    if (Z_TYPE_P(result) == IS_UNDEF || Z_TYPE_P(result) == IS_NULL) return answer("Status: 200\r\n\r\n", NULL, 0);
    zend_string *text = zval_try_get_string(result);
    if (!text) return;
    answer("Status: 200\r\n\r\n", ZSTR_VAL(text), ZSTR_LEN(text));
    zend_string_release(text);
}

static void answer_exception(void) {
    zval held, *message, *file, *line;
    zend_object *exception = EG(exception);
    GC_ADDREF(exception);
    zend_clear_exception();
    message = zend_read_property(zend_get_exception_base(exception), exception, ZEND_STRL("message"), 1, &held);
    zend_string *said = zval_get_string(message);
    file = zend_read_property(zend_get_exception_base(exception), exception, ZEND_STRL("file"), 1, &held);
    zend_string *where = zval_get_string(file);
    line = zend_read_property(zend_get_exception_base(exception), exception, ZEND_STRL("line"), 1, &held);
    zend_string *text = strpprintf(0, "%s: %s in %s:" ZEND_LONG_FMT, ZSTR_VAL(exception->ce->name), ZSTR_VAL(said),
                                   ZSTR_VAL(where), zval_get_long(line));
    regie_log(REGIE_LOG_ERROR, "an exception left the message's callback: %s", ZSTR_VAL(text));
    answer("Status: 500\r\nRegie-Ended: exception\r\n\r\n", ZSTR_VAL(text), ZSTR_LEN(text));
    zend_string_release(text);
    zend_string_release(where);
    zend_string_release(said);
    OBJ_RELEASE(exception);
}

/* The caller leaves the request as any other. With an exception set, the script shall end. */
void regie_handle_message(const regie_request *request, zend_fcall_info *fci, zend_fcall_info_cache *fcc) {
    zval message, result;
    enter(request);
    if (regie.settings->paranoid) regie_paranoid_begin();
    if (!(request->content_length > 0 ? read_known((size_t)request->content_length, &message)
                                      : read_to_end(&message))) {
        zval_ptr_dtor(&message);
        answer("Status: 400\r\n\r\n", ZEND_STRL("the message broke off\n"));
        return;
    }
    fci->params = &message;
    fci->param_count = 1;
    regie_call(fci, fcc, &result);
    fci->params = NULL;
    fci->param_count = 0;
    zval_ptr_dtor(&message);
    /* exit() unwinds the script by itself. */
    if (EG(exception) && (zend_is_unwind_exit(EG(exception)) || zend_is_graceful_exit(EG(exception)))) return;
    /* Before the answer, so that what follows it in the log belongs to the next. */
    php_output_end_all();
    if (!EG(exception)) answer_result(&result);
    zval_ptr_dtor(&result);
    if (EG(exception)) answer_exception();
}

/* The script has ended within the message; its shutdown functions have still to run. */
void regie_message_script_ends(void) {
    if (!PG(last_error_message)) return;
    snprintf(last_words, sizeof last_words, "%s in %s:%d", ZSTR_VAL(PG(last_error_message)),
             PG(last_error_file) ? ZSTR_VAL(PG(last_error_file)) : "?", PG(last_error_lineno));
}

/* And now they have run. */
void regie_message_script_ended(int32_t exit_status) {
    char status[16];
    if (regie_php_timed_out()) {
        answer("Status: 500\r\nRegie-Ended: timeout\r\n\r\n", last_words, strlen(last_words));
    } else if (regie.fatal) {
        answer("Status: 500\r\nRegie-Ended: fatal\r\n\r\n", last_words, strlen(last_words));
    } else {
        snprintf(status, sizeof status, "%d", exit_status);
        answer("Status: 500\r\nRegie-Ended: exit\r\n\r\n", status, strlen(status));
    }
}
