/* What Rust and C say to each other. Each struct has its twin in src/layout.rs; both sides assert sizes and offsets
 * (layout.c, layout.rs), so a change on one side alone does not build.
 *
 * Rules of the border:
 * - Only C calls the engine. A bailout is a longjmp, and must never pass a Rust frame: the callbacks below are leaves,
 *   they return normally and call nothing of PHP.
 * - Text given over has a NUL behind its last byte, so that it serves as a C string too.
 * - What a request points to lies in memory that Rust has mapped once, and is valid until `done` returns. */
#ifndef REGIE_H
#define REGIE_H

#include <stddef.h>
#include <stdint.h>

typedef struct regie_text {
    const char *ptr;
    size_t len;
} regie_text;

typedef struct regie_param {
    regie_text name;
    regie_text value;
} regie_param;

/* A request, as the engine wants it. An absent text has a null pointer. */
typedef struct regie_request {
    regie_text method;
    regie_text uri;
    regie_text query;
    regie_text content_type;
    regie_text script;
    regie_text cookie;
    regie_text authorization;
    regie_text php_value;
    regie_text php_admin_value;
    const regie_param *params;
    size_t params_len;
    int64_t content_length;
    int32_t protocol; /* 1000 or 1001, as PHP counts */
    int32_t message;  /* 1: the body is a message for the worker script's callback; see message.c */
} regie_request;

/* What C tells about a request that is over. */
typedef struct regie_outcome {
    int32_t exit_status;
    int32_t fatal; /* 1: it ended in a fatal error */
    uint64_t memory_peak;
} regie_outcome;

/* The part of a worker's scoreboard slot that C writes. It lies in shared memory. */
#define REGIE_TRACE_SIZE 8184
typedef struct regie_trace {
    uint32_t sequence; /* the request that it is about, written last */
    uint32_t len;
    char text[REGIE_TRACE_SIZE];
} regie_trace;

/* What rewinding has cost a worker. */
typedef struct regie_rewind_stats {
    uint64_t requests;
    uint64_t pages;       /* put back, in all */
    uint64_t micros;      /* spent on it */
    uint64_t last_pages;  /* after the last request */
    uint64_t last_micros;
    uint64_t ready_micros; /* from the fork until the process took requests */
} regie_rewind_stats;

enum { REGIE_LOG_DEBUG = 0, REGIE_LOG_INFO = 1, REGIE_LOG_WARNING = 2, REGIE_LOG_ERROR = 3 };

/* What `event` tells. */
enum {
    REGIE_EVENT_BOOTED = 1,     /* the worker script has reached its loop */
    REGIE_EVENT_GENERATION = 2, /* the pool must start anew with fresh opcache memory; detail says why */
    REGIE_EVENT_LEFTOVER = 3,   /* paranoid: detail names what the request left behind */
    REGIE_EVENT_REPLACE = 4     /* rewind: this process cannot be put back; detail says why */
};

/* Called by C, written in Rust. */
typedef struct regie_callbacks {
    /* Blocks until there is a request (1), or the worker shall leave (0). */
    int32_t (*next_request)(regie_request *request);
    /* Up to `size` bytes of the request's body; 0 at its end, or when the peer is gone. */
    size_t (*read_body)(char *buffer, size_t size);
    /* Takes response bytes. Less than `size`: the peer is gone, or a time limit has passed. */
    size_t (*write)(const char *bytes, size_t size);
    /* The head: begin, a line each, end. 1, or 0 when it is not sent. `reason` may be absent. */
    void (*head_begin)(int32_t status, regie_text reason);
    void (*head_line)(const char *bytes, size_t size);
    int32_t (*head_end)(void);
    /* Sends what is buffered. 0: the peer is gone. */
    int32_t (*flush)(void);
    /* Ends the response while the script goes on. 0: it was over already. */
    int32_t (*finish)(void);
    /* The request is over; ends the response if it is not. */
    void (*done)(const regie_outcome *outcome);
    void (*log)(int32_t level, const char *bytes, size_t size);
    void (*event)(int32_t what, regie_text detail);
    /* Writes the whole response "504 Gateway Timeout" if nothing of the response has left yet. Called in a signal
     * handler. */
    void (*give_up)(void);
    /* The pool's state as JSON, with php-fpm's names for it. Writes as much as fits, and returns how long it is. */
    size_t (*status)(char *buffer, size_t size);
} regie_callbacks;

/* What is put back between two requests of a worker script. */
enum {
    REGIE_RESET_INI = 1 << 0,
    REGIE_RESET_CWD = 1 << 1,
    REGIE_RESET_UMASK = 1 << 2,
    REGIE_RESET_LOCALE = 1 << 3,
    REGIE_RESET_TIMEZONE = 1 << 4,
    REGIE_RESET_HANDLERS = 1 << 5
};

typedef struct regie_settings {
    const char *sapi_name;
    const char *ini_path;    /* the folder of php.ini, or null for the built-in one */
    const char *ini_scan_path; /* its folder of further files, or null */
    const char *ini_entries; /* lines that win over php.ini */
    const char *executable;  /* PHP_BINARY */
    const regie_callbacks *callbacks;
    const regie_request *boot;     /* worker mode: what $_SERVER describes before the loop; its script */
    const regie_param *worker_env; /* entries that $_SERVER has at boot only (worker mode) or always (classic) */
    size_t worker_env_len;
    size_t stack_size;
    uint32_t resets;
    uint8_t worker_mode;
    uint8_t paranoid;
    uint8_t define_streams; /* STDIN, STDOUT and STDERR, as the CLI has them */
    uint8_t rewind;
} regie_settings;

/* Why the loop of a worker has ended. */
enum {
    REGIE_ENDED_ASKED = 0,   /* next_request said so */
    REGIE_ENDED_SCRIPT = 1,  /* the worker script has ended before its loop: exit_status says how */
    REGIE_ENDED_RECYCLE = 2, /* the engine is not clean any more */
    REGIE_ENDED_ENGINE = 3,  /* the engine refused to start a request */
    REGIE_ENDED_CHECKPOINT = 4 /* rewind mode: the script is parked at its checkpoint */
};

/* The timing signal's value, in `sival_int`: stage in the lowest bit, the request's sequence above. */
enum { REGIE_STAGE_FATAL = 0, REGIE_STAGE_GIVE_UP = 1 };

/* --- called by Rust -------------------------------------------------------------------------------------------- */

/* Why the boot script doubts that its application may be parked; empty when it does not. Valid for ever. */
const char *regie_rewind_doubt(void);
/* Starts the engine, once, in the master. 1 when it runs. `settings` must live as long as the process. */
int32_t regie_php_startup(const regie_settings *settings);
/* After the fork, in the worker. `signal` is the timing signal. */
void regie_php_child(regie_trace *trace, int32_t signal);
/* Serves until it is asked to leave; on a stack of its own. */
int32_t regie_php_run(int32_t *exit_status);
/* Rewind mode, in the template: after regie_php_run has returned at the checkpoint. 1, or 0 with the reason in `why`. */
int32_t regie_rewind_snapshot(char *why, size_t size);
/* Makes a worker of the template: as fork(), but the child's parent is the template's. */
int32_t regie_rewind_fork(void);
/* In that child: serves until it is asked to leave. REGIE_ENDED_*; `stats` lies in shared memory. */
int32_t regie_rewind_serve(regie_rewind_stats *stats, char *why, size_t size);
/* The descriptor of the peer's connection, or -1: one that is not closed between requests. */
void regie_rewind_keep(int32_t fd);
/* How written pages will be found: by the tracker of that name, or, where it is null, by the best that works here. Its
 * name; null when they cannot be found, with the reason in `why`. */
const char *regie_rewind_tracker(const char *name, char *why, size_t size);
/* The sequence of the request in hand, 0 for none; the timing signal is ignored for any other. */
void regie_php_sequence(uint32_t sequence);
/* 1 when the time limit of the request in hand has passed. */
int32_t regie_php_timed_out(void);
/* In the master: writes where PHP stands in this worker, a line for each frame, while it runs on. How many bytes; 0 when it
 * runs no script, -errno when its memory cannot be read. */
int64_t regie_php_peek(int32_t pid, char *out, size_t size);
/* In a child that is no worker: the state of opcache as JSON, valid until the next call; null when it could not be made.
 */
const char *regie_php_opcache(int32_t with_scripts);
/* Version of the engine, "8.2.35". */
const char *regie_php_version(void);
/* Name shown by ps. */
void regie_title(const char *title);
/* Ends the process without running any destructor. */
void regie_exit(int32_t status);

#endif
