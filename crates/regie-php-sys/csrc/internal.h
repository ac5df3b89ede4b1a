/* What the C files say to each other. */
#ifndef REGIE_INTERNAL_H
#define REGIE_INTERNAL_H

#include "regie.h"
#include <dlfcn.h>

#include <main/php.h>
#include <main/SAPI.h>
#include <main/php_ini.h>
#include <main/php_main.h>
#include <main/php_output.h>
#include <main/php_variables.h>
#include <zend_exceptions.h>

/* What the process is doing. Nothing here outgrows a request but what the fork has set. */
typedef struct regie_state {
    const regie_settings *settings;
    const regie_callbacks *call;
    const regie_request *request; /* in hand, or null */
    int32_t responding;           /* a peer waits for the response to `request` */
    int32_t message;              /* `request` is a message: see message.c */
    int32_t fatal;                /* as in regie_outcome */
    int32_t looping;              /* worker mode: the script has called frankenphp_handle_request() */
    int32_t script_runs;          /* worker mode: the script is being executed */
    int32_t asked_to_leave;
    int32_t directory_changed; /* the script has called chdir() */
} regie_state;

extern regie_state regie;

/* sapi.c */
void regie_fill_request_info(const regie_request *request);
int32_t regie_send_informational(int32_t status);
void regie_log(int32_t level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* request.c */
int32_t regie_run_classic(void);
void regie_end_request(int32_t exit_status);

/* worker.c */
int32_t regie_run_worker(int32_t *exit_status);
int regie_handle_request(zend_fcall_info *fci, zend_fcall_info_cache *fcc);
void regie_call(zend_fcall_info *fci, zend_fcall_info_cache *fcc, zval *result);
void regie_leave_request(void);

/* message.c */
void regie_handle_message(const regie_request *request, zend_fcall_info *fci, zend_fcall_info_cache *fcc);
void regie_message_script_ends(void);
void regie_message_script_ended(int32_t exit_status);

/* json.c */
ZEND_FUNCTION(regie_json_decode);

/* What a request begins with, where the script goes on behind it. */
void regie_enter_request(const regie_request *request);
/* Runs the boot's script to its end. 0 when the engine refused. */
int regie_run_script(void);
void regie_end_script(void);

/* stack.c: leaves PHP where it stands; enters it there (returns when it is left); leaves it for good. */
void regie_stack_park(void);
void regie_stack_resume(void);
void regie_stack_leave(void);

/* rewind.c */
int32_t regie_run_rewind(int32_t *exit_status);
int regie_checkpoint(void);
/* rewind_boot.c */
zend_long regie_prime(zend_fcall_info *fci, zend_fcall_info_cache *fcc);
int regie_rewind_handle_request(zend_fcall_info *fci, zend_fcall_info_cache *fcc);

/* reset.c */
void regie_reset_remember(void);
void regie_reset_put_back(void);
void regie_reset_forget(void);
void regie_session_close(void);

/* ini.c */
void regie_ini_apply(const regie_request *request);

/* userini.c */
/* Now and then after a request, where requests have no end of their own: asks for a new generation when it is full. */
void regie_look_at_opcache(void);
void regie_user_ini_apply(const regie_request *request);

/* functions.c */
extern const zend_function_entry regie_functions[];
void regie_functions_startup(void);
void regie_define_streams(void);

/* timeout.c */
void regie_timeout_startup(void);
void regie_timeout_child(regie_trace *trace, int signal_number);

/* `real`: the function of that name which ours takes the place of, libc's. */
#define REAL(name)                                                         \
    static __typeof__(name) *real;                                         \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

/* cputime.c; 1: done, the kernel need not hear of it */
struct itimerval;
struct sigaction;
void regie_cputime_child(void);
int regie_cputime_timer(int which, const struct itimerval *value, struct itimerval *before);
int regie_cputime_action(int number, const struct sigaction *action, struct sigaction *before);
/* cwd.c */
void regie_cwd_forget(void);

/* rewind_kernel.c; libc's */
int regie_real_sigaction(int number, const struct sigaction *action, struct sigaction *before);

/* paranoid.c */
void regie_paranoid_begin(void);
void regie_paranoid_end(void);
void regie_paranoid_forget(void);

/* A text as PHP wants it where it may not be absent. */
static inline const char *regie_or_empty(regie_text text) { return text.ptr ? text.ptr : ""; }

#endif
