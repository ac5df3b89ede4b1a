/* Classic mode: a full PHP request for each request, as php-fpm does it. */
#include "internal.h"

#include <string.h>
#include <unistd.h>

void regie_end_request(int32_t exit_status) {
    regie_outcome outcome = {exit_status, regie.fatal, zend_memory_peak_usage(1)};
    regie.responding = 0;
    regie.message = 0;
    regie.request = NULL;
    regie.call->done(&outcome);
}

/* A script starts in its own folder, as under php-fpm. Requests of one folder need one chdir() in all; the engine's own
 * way there and back (SAPI_OPTION_NO_CHDIR switches it off) takes three system calls each time. */
static void enter_folder_of(const regie_request *request) {
    static char folder[MAXPATHLEN];
    const char *slash = memrchr(request->script.ptr, '/', request->script.len);
    size_t length = slash ? (size_t)(slash - request->script.ptr) : 0;
    if (!slash || length >= sizeof folder) {
        SG(options) &= ~SAPI_OPTION_NO_CHDIR;
        return;
    }
    SG(options) |= SAPI_OPTION_NO_CHDIR;
    if (!regie.directory_changed && folder[0] && strlen(folder) == length &&
        memcmp(folder, request->script.ptr, length) == 0) {
        return;
    }
    memcpy(folder, request->script.ptr, length);
    folder[length] = 0;
    regie.directory_changed = chdir(length ? folder : "/") != 0;
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
        regie_user_ini_apply(request);
        started = php_request_startup() == SUCCESS;
        if (started) {
            enter_folder_of(request);
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
