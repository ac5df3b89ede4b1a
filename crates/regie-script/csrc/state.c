/* What stands beside a Lua state: its memory account, its buffers, what the running script may reach. */

struct rl_buffer {
    char *data;
    size_t length, capacity;
};

enum rl_name { NAME_OK, NAME_ERR, NAME_DOUBLE, NAME_BIG_NUMBER, NAME_VERBATIM, NAME_FORMAT, NAME_STRING, NAME_MAP,
               NAME_SET, NAME_IGNORE, NAME_KEYS, NAME_ARGV, NAME_COUNT };

/* Small blocks come from one arena per state, in lists by size: most of what a script makes is small and goes soon. What
 * does not fit in the arena comes from malloc, so that it can be given back. */
#define RL_ARENA ((size_t)2 * 1024 * 1024)
#define RL_SMALL ((size_t)512)
#define RL_UNIT ((size_t)16)

struct rl_state {
    lua_State *L;
    size_t used, limit;
    char *arena, *arena_end;        /* the whole of it */
    char *fresh;                    /* what has never been used of it */
    void *free_blocks[RL_SMALL / RL_UNIT];
    int functions;                  /* the state of libraries, not of EVAL */
    int handler;                    /* registry reference of the error handler */
    const struct rl_host *host;     /* while something runs, else NULL */
    int loading;                    /* a library is being loaded: no script runs */
    int stopped;                    /* the host has ended the script */
    int resp, replicate;            /* what redis.setresp and redis.set_repl left */
    unsigned runs;                  /* since the last step of the collector */
    TString *names[NAME_COUNT];     /* field names, never collected */
    struct rl_slice *args;          /* of the command being called */
    size_t args_capacity;
    struct rl_buffer digits;        /* numbers among them */
    struct rl_buffer out;           /* the result */
    struct rl_buffer json, scratch; /* of cjson */
    int json_options_set;           /* by a script, whatever to */
    struct mp_buf *pack_buffers;    /* of cmsgpack */
    uint64_t *random;               /* 48 bits: the generator of drand48(3), as Redis has it */
};

/* Buffers longer than this are given back when the script ends. */
#define RL_KEPT_BUFFER ((size_t)256 * 1024)

/* Instructions between two looks at the host, as in Redis. */
#define RL_TICK 100000

static inline size_t rl_class(size_t size) {
    return (size - 1) / RL_UNIT;
}

static inline void *rl_take_block(struct rl_state *state, size_t size) {
    if (size <= RL_SMALL) {
        size_t class = rl_class(size);
        void *block = state->free_blocks[class];
        if (block) {
            memcpy(&state->free_blocks[class], block, sizeof(void *));
            return block;
        }
        size_t whole = (class + 1) * RL_UNIT;
        if ((size_t)(state->arena_end - state->fresh) >= whole) {
            block = state->fresh;
            state->fresh += whole;
            return block;
        }
    }
    return malloc(size);
}

static inline int rl_in_arena(const struct rl_state *state, const void *block) {
    return (uintptr_t)block - (uintptr_t)state->arena < RL_ARENA;
}

static inline void rl_give_block(struct rl_state *state, void *block, size_t size) {
    if (block && size <= RL_SMALL && rl_in_arena(state, block)) {
        size_t class = rl_class(size);
        memcpy(block, &state->free_blocks[class], sizeof(void *));
        state->free_blocks[class] = block;
    } else {
        free(block);
    }
}

/* Lua's allocator, and that of every buffer: no more than the limit is ever held. */
static void *rl_allocate(void *user, void *block, size_t old_size, size_t new_size) {
    struct rl_state *state = user;
    if (new_size == 0) {
        state->used -= old_size;
        rl_give_block(state, block, old_size);
        return NULL;
    }
    if (new_size > old_size && state->limit != 0
        && (new_size - old_size > state->limit || state->used > state->limit - (new_size - old_size)))
        return NULL;
    void *moved;
    if (!block) {
        moved = rl_take_block(state, new_size);
    } else if (old_size > RL_SMALL || !rl_in_arena(state, block)) {
        moved = realloc(block, new_size);
    } else if (new_size <= RL_SMALL && rl_class(new_size) == rl_class(old_size)) {
        moved = block;
    } else {
        moved = rl_take_block(state, new_size);
        if (moved) {
            memcpy(moved, block, old_size < new_size ? old_size : new_size);
            rl_give_block(state, block, old_size);
        }
    }
    if (moved) state->used += new_size - old_size;
    return moved;
}

static inline struct rl_state *rl_of(lua_State *L) {
    return G(L)->ud;
}

static void rl_grow(lua_State *L, struct rl_buffer *buffer, size_t more) {
    if (more > SIZE_MAX / 4 || buffer->length > SIZE_MAX / 4) luaD_throw(L, LUA_ERRMEM);
    size_t capacity = buffer->capacity * 2;
    if (capacity < buffer->length + more) capacity = buffer->length + more;
    if (capacity < 1024) capacity = 1024;
    char *data = rl_allocate(rl_of(L), buffer->data, buffer->capacity, capacity);
    if (!data) luaD_throw(L, LUA_ERRMEM);
    buffer->data = data;
    buffer->capacity = capacity;
}

/* Makes room for `more` bytes past the end, or raises Lua's memory error. */
static inline void rl_reserve(lua_State *L, struct rl_buffer *buffer, size_t more) {
    if (buffer->capacity - buffer->length < more) rl_grow(L, buffer, more);
}

static inline void rl_append(lua_State *L, struct rl_buffer *buffer, const char *data, size_t length) {
    rl_reserve(L, buffer, length);
    memcpy(buffer->data + buffer->length, data, length);
    buffer->length += length;
}

static void rl_drop(struct rl_state *state, struct rl_buffer *buffer) {
    if (buffer->data) rl_allocate(state, buffer->data, buffer->capacity, 0);
    memset(buffer, 0, sizeof(*buffer));
}

/* Writes a number in decimal, without a NUL, and gives its length: 20 at most. */
static size_t rl_print_integer(char *out, long long number) {
    char digits[20];
    size_t count = 0, length = 0;
    unsigned long long rest = number < 0 ? 0ULL - (unsigned long long)number : (unsigned long long)number;
    do {
        digits[count++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (number < 0) out[length++] = '-';
    while (count) out[length++] = digits[--count];
    return length;
}
