/* Classic mode: a full PHP request for each request, as php-fpm does it. */
#include "internal.h"

void regie_end_request(int32_t exit_status) {
    regie_outcome outcome = {exit_status, regie.fatal, zend_memory_peak_usage(1)};
    regie.responding = 0;
    regie.request = NULL;
    regie.call->done(&outcome);
}

static void execute(const regie_request *request) {
    zend_file_handle script;
    zend_stream_init_filename(&script, request->script.ptr);
    script.primary_script = 1;
    php_execute_script(&script);
    zend_destroy_file_handle(&script);
}

/* 0 when the engine could not start the request: the process is of no further use. */
static int serve(const regie_request *request) {
    volatile int started = 0;
    regie.request = request;
    regie.responding = 1;
    regie.fatal = 0;
    zend_first_try {
        regie_fill_request_info(request);
        regie_ini_apply(request);
        started = php_request_startup() == SUCCESS;
        if (started) {
            if (regie.settings->define_streams) regie_define_streams();
            execute(request);
        }
    }
    zend_end_try();
    int32_t exit_status = EG(exit_status);
    zend_first_try { php_request_shutdown(NULL); }
    zend_end_try();
    SG(server_context) = NULL;
    SG(request_info).path_translated = NULL;
    regie_end_request(exit_status);
    return started;
}

int32_t regie_run_classic(void) {
    regie_request request;
    while (regie.call->next_request(&request)) {
        if (!serve(&request)) return REGIE_ENDED_ENGINE;
    }
    return REGIE_ENDED_ASKED;
}
