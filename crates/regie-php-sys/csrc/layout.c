/* The border's structs as Rust must find them; the twin of the assertions in src/layout.rs. */
#include "regie.h"

#define AT(type, field, offset) \
    _Static_assert(offsetof(type, field) == (offset), #type "." #field " has moved: change layout.rs with it")
#define SIZE(type, size) _Static_assert(sizeof(type) == (size), #type " has grown: change layout.rs with it")

SIZE(regie_text, 16);
SIZE(regie_param, 32);
SIZE(regie_request, 176);
AT(regie_request, params, 144);
AT(regie_request, content_length, 160);
AT(regie_request, protocol, 168);
AT(regie_request, message, 172);
SIZE(regie_outcome, 16);
SIZE(regie_trace, 8192);
AT(regie_trace, text, 8);
SIZE(regie_callbacks, 104);
SIZE(regie_settings, 88);
AT(regie_settings, worker_env_len, 64);
AT(regie_settings, resets, 80);
AT(regie_settings, worker_mode, 84);
AT(regie_settings, rewind, 87);
SIZE(regie_rewind_stats, 48);
