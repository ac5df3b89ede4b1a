/* The SAPI: what the engine asks of its host, answered from the request in hand.
 *
 * Start-up happens once, in the pool master, before any thread or worker exists: php.ini is read, extensions are
 * loaded, opcache makes its shared memory and preloads. Workers are forked from that state and share it. */
#include "internal.h"

#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef ZTS
#error "regie-php needs PHP without thread safety (NTS): its workers are processes"
#endif
#if PHP_VERSION_ID < 80100
#error "regie-php needs PHP 8.1 or later"
#endif

regie_state regie;

void regie_log(int32_t level, const char *format, ...) {
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length < 0) return;
    regie.call->log(level, line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1);
}

/* --- output ---------------------------------------------------------------------------------------------------- */

static size_t sapi_write(const char *bytes, size_t size) {
    if (!regie.responding || regie.message) {
        /* At boot and after the loop nobody waits for it, and a message's answer is another: it goes to the log. */
        regie.call->log(REGIE_LOG_INFO, bytes, size);
        return size;
    }
    size_t written = regie.call->write(bytes, size);
    /* A time limit that has passed is raised by the engine at its next check; it is not an abort by the client. */
    if (written < size && !regie_php_timed_out()) php_handle_aborted_connection();
    return size;
}

static void sapi_flush_output(void *server_context) {
    if (!regie.responding || regie.message || SG(request_info).no_headers) return;
    if (!SG(headers_sent)) {
        sapi_send_headers();
        SG(headers_sent) = 1;
    }
    if (!regie.call->flush() && !regie_php_timed_out()) php_handle_aborted_connection();
}

/* `HTTP/1.1 404 Nothing Here` -> `Nothing Here` */
static regie_text reason_of(const char *status_line) {
    regie_text reason = {NULL, 0};
    const char *space = status_line ? strchr(status_line, ' ') : NULL;
    space = space ? strchr(space + 1, ' ') : NULL;
    if (space && space[1]) {
        reason.ptr = space + 1;
        reason.len = strlen(space + 1);
    }
    return reason;
}

static int is_status_header(const sapi_header_struct *header) {
    return header->header_len > 7 && strncasecmp(header->header, "Status:", 7) == 0;
}

static int send_head(sapi_headers_struct *headers) {
    int32_t status = headers->http_response_code ? headers->http_response_code : 200;
    zend_llist_position position;
    sapi_header_struct *header;
    if (!headers->http_status_line) {
        /* header('Status: 404 Gone') counts, as it does in php-fpm. */
        for (header = zend_llist_get_first_ex(&headers->headers, &position); header;
             header = zend_llist_get_next_ex(&headers->headers, &position)) {
            int given = is_status_header(header) ? atoi(header->header + 7) : 0;
            if (given >= 100 && given <= 999) status = given;
        }
    }
    if (status < 100 || status > 999) status = 500;
    regie.call->head_begin(status, reason_of(headers->http_status_line));
    for (header = zend_llist_get_first_ex(&headers->headers, &position); header;
         header = zend_llist_get_next_ex(&headers->headers, &position)) {
        /* A line without a colon is no header, and would spoil the whole head. */
        if (memchr(header->header, ':', header->header_len) && !is_status_header(header)) {
            regie.call->head_line(header->header, header->header_len);
        }
    }
    return regie.call->head_end();
}

static int sapi_send_head(sapi_headers_struct *headers) {
    if (regie.responding && !SG(request_info).no_headers) send_head(headers);
    return SAPI_HEADER_SENT_SUCCESSFULLY;
}

/* 103 and its like: the headers as they stand, and the final ones follow later. */
int32_t regie_send_informational(int32_t status) {
    if (!regie.responding || regie.message || SG(headers_sent)) return 0;
    int before = SG(sapi_headers).http_response_code;
    char *line_before = SG(sapi_headers).http_status_line;
    SG(sapi_headers).http_response_code = status;
    SG(sapi_headers).http_status_line = NULL;
    int32_t sent = send_head(&SG(sapi_headers));
    SG(sapi_headers).http_response_code = before;
    SG(sapi_headers).http_status_line = line_before;
    return sent;
}

/* --- input ----------------------------------------------------------------------------------------------------- */

static size_t sapi_read_body(char *buffer, size_t size) {
    return regie.responding ? regie.call->read_body(buffer, size) : 0;
}

static char *sapi_cookies(void) {
    return regie.request ? (char *)regie.request->cookie.ptr : NULL;
}

/* php-fpm answers getenv() from the request's parameters too. In a worker script getenv() belongs to the script. */
static char *sapi_find_env(const char *name, size_t length) {
    if (!regie.request || regie.settings->worker_mode) return NULL;
    for (size_t i = 0; i < regie.request->params_len; i++) {
        const regie_param *param = &regie.request->params[i];
        if (param->name.len == length && memcmp(param->name.ptr, name, length) == 0) {
            return (char *)param->value.ptr;
        }
    }
    return NULL;
}

/* The environment as the process was started with it: putenv() changes getenv(), never $_SERVER. Names and values are
 * made once, before the fork, so that a request adds them without making a string. */
typedef struct environment_entry {
    zend_string *name;
    zend_string *value;
} environment_entry;
static environment_entry *environment;
static size_t environment_len;

static int is_worker_env(const char *entry, size_t name_len) {
    for (size_t i = 0; i < regie.settings->worker_env_len; i++) {
        regie_text name = regie.settings->worker_env[i].name;
        if (name.len == name_len && memcmp(name.ptr, entry, name_len) == 0) return 1;
    }
    return 0;
}

static void remember_environment(void) {
    extern char **environ;
    size_t count = 0;
    while (environ[count]) count++;
    environment = calloc(count + 1, sizeof *environment);
    for (char **entry = environ; environment && *entry; entry++) {
        const char *equals = strchr(*entry, '=');
        if (!equals || equals == *entry) continue;
        size_t name_len = (size_t)(equals - *entry);
        if (regie.settings->worker_mode && is_worker_env(*entry, name_len)) continue;
        environment_entry *made = &environment[environment_len++];
        made->name = zend_string_init(*entry, name_len, 1);
        made->value = zend_string_init(equals + 1, strlen(equals + 1), 1);
        zend_string_hash_val(made->name);
        GC_ADD_FLAGS(made->name, IS_STR_PERSISTENT | GC_IMMUTABLE);
        GC_ADD_FLAGS(made->value, IS_STR_PERSISTENT | GC_IMMUTABLE);
    }
}

/* Names with these bytes are rewritten by PHP ("a.b" -> "a_b", "a[b]" -> an array): the long way takes care of it. */
static int is_plain_name(regie_text name) {
    for (size_t i = 0; i < name.len; i++) {
        char byte = name.ptr[i];
        if (byte == '.' || byte == '[' || byte == ' ') return 0;
    }
    return name.len > 0;
}

static void register_param(const regie_param *param, int filter, zval *array) {
    char *value = (char *)param->value.ptr;
    size_t length = param->value.len;
    if (sapi_module.input_filter &&
        !sapi_module.input_filter(filter, param->name.ptr, &value, length, &length)) {
        return;
    }
    if (!is_plain_name(param->name)) {
        php_register_variable_safe(param->name.ptr, value, length, array);
        return;
    }
    zval held;
    ZVAL_STRINGL_FAST(&held, value, length);
    zend_symtable_str_update(Z_ARRVAL_P(array), param->name.ptr, param->name.len, &held);
}

static void sapi_register_server_variables(zval *array) {
    HashTable *table = Z_ARRVAL_P(array);
    const regie_request *request = regie.request;
    zend_hash_extend(table, (uint32_t)(environment_len + (request ? request->params_len : 0) + 8), 0);
    for (size_t i = 0; i < environment_len; i++) {
        zval value;
        ZVAL_INTERNED_STR(&value, environment[i].value);
        zend_hash_update(table, environment[i].name, &value);
    }
    if (!request) return;
    for (size_t i = 0; i < request->params_len; i++) {
        register_param(&request->params[i], PARSE_SERVER, array);
    }
}

/* --- the rest -------------------------------------------------------------------------------------------------- */

static void sapi_log_message(const char *message, int syslog_type) {
    int32_t level = syslog_type <= 3 ? REGIE_LOG_ERROR : syslog_type == 4 ? REGIE_LOG_WARNING : REGIE_LOG_INFO;
    regie.call->log(level, message, strlen(message));
}

static void ignore_error(int type, const char *message, ...) {}

static int sapi_deactivate_request(void) { return SUCCESS; }

#if PHP_VERSION_ID >= 80200
static int sapi_start(sapi_module_struct *module) { return php_module_startup(module, NULL); }
#else
static int sapi_start(sapi_module_struct *module) { return php_module_startup(module, NULL, 0); }
#endif

static sapi_module_struct module = {
    .pretty_name = "Régie",
    .startup = sapi_start,
    .shutdown = php_module_shutdown_wrapper,
    .deactivate = sapi_deactivate_request,
    .ub_write = sapi_write,
    .flush = sapi_flush_output,
    .getenv = sapi_find_env,
    .sapi_error = (void *)ignore_error,
    .send_headers = sapi_send_head,
    .read_post = sapi_read_body,
    .read_cookies = sapi_cookies,
    .register_server_variables = sapi_register_server_variables,
    .log_message = sapi_log_message,
};

/* PHP gets the environment that it is given, less what was said to us alone. */
static void prepare_environment(void) {
    static const char *const ours[] = {"LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "NOTIFY_SOCKET", "REGIE_PHP_INHERIT",
                                       "REGIE_PHP_TRIAL"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) unsetenv(ours[i]);
    for (size_t i = 0; i < regie.settings->worker_env_len; i++) {
        const regie_param *entry = &regie.settings->worker_env[i];
        setenv(entry->name.ptr, entry->value.ptr, 1);
    }
}

int32_t regie_php_startup(const regie_settings *settings) {
    regie.settings = settings;
    regie.call = settings->callbacks;
    prepare_environment();
    const char *scan_before = getenv("PHP_INI_SCAN_DIR");
    char *scan_kept = scan_before ? strdup(scan_before) : NULL;
    if (settings->ini_scan_path) setenv("PHP_INI_SCAN_DIR", settings->ini_scan_path, 1);
#ifdef ZEND_SIGNALS
    zend_signal_startup();
#endif
    module.sapi_error = (void (*)(int, const char *, ...))zend_error;
    module.name = (char *)settings->sapi_name;
    module.executable_location = (char *)settings->executable;
    module.php_ini_path_override = (char *)settings->ini_path;
    module.additional_functions = regie_functions;
    sapi_startup(&module);
    /* Only now: sapi_startup clears them. */
    module.ini_entries = (char *)settings->ini_entries;
    sapi_module.ini_entries = (char *)settings->ini_entries;
    if (module.startup(&module) != SUCCESS) return 0;
    if (scan_kept) setenv("PHP_INI_SCAN_DIR", scan_kept, 1);
    else unsetenv("PHP_INI_SCAN_DIR");
    free(scan_kept);
    regie_functions_startup();
    regie_timeout_startup();
    remember_environment();
    return 1;
}

static void signal_default(int number) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    sigaction(number, &action, NULL);
}

void regie_php_child(regie_trace *trace, int32_t signal) {
#ifdef ZEND_SIGNALS
    /* The handlers stand for the life of the process; PHP need not look at each of them in each request. */
    SIGG(reset) = 0;
#endif
    /* Rust's runtime answers these once before it lets go (it looks for an overflow of its own stack). PHP's worker is
     * to die of them at once, with the signal in its status. */
    signal_default(SIGSEGV);
    signal_default(SIGBUS);
    regie_timeout_child(trace, signal);
    if (!regie.settings->rewind) regie_cputime_child();
}

const char *regie_php_version(void) {
#if PHP_VERSION_ID >= 80300
    return php_version();
#else
    return PHP_VERSION;
#endif
}

void regie_exit(int32_t status) { _exit(status); }

void regie_fill_request_info(const regie_request *request) {
    SG(server_context) = (void *)request;
    SG(request_info).request_method = regie_or_empty(request->method);
    SG(request_info).query_string = (char *)regie_or_empty(request->query);
    SG(request_info).request_uri = (char *)regie_or_empty(request->uri);
    SG(request_info).content_type = regie_or_empty(request->content_type);
    SG(request_info).content_length = request->content_length;
    SG(request_info).path_translated = (char *)request->script.ptr;
    SG(request_info).proto_num = request->protocol;
    SG(request_info).argc = 0;
    SG(request_info).argv = NULL;
    SG(sapi_headers).http_response_code = 200;
    php_handle_auth_data(request->authorization.ptr);
}
