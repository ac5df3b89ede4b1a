/* Paranoid mode: what has a request of a worker script left behind? Before the callback a note is made of every global
 * variable, static property and static variable of PHP code; after it they are compared, and one line per request names
 * those that are new, have changed or have grown:
 *
 *   GET /cart left behind: global $cart (new, array(3)); App\Price::$cache array(10) -> array(11)
 *
 * A note is a kind and a size, not a copy: it tells that something stayed, and where to look. Objects are told apart by
 * their handle, and looked into one level deep by the number of their properties. Slow; meant for a test stage. */
#include "internal.h"

#include <string.h>
#include <zend_smart_str.h>

#define LINE_MAX_BYTES 2000

static HashTable before;
static int noted;

/* `array(3)`, `string(12)`, `object(App\Cart)#7(4)`, `int(5)` */
static zend_string *describe(zval *value) {
    ZVAL_DEREF(value);
    switch (Z_TYPE_P(value)) {
        case IS_ARRAY: return strpprintf(0, "array(%u)", zend_hash_num_elements(Z_ARRVAL_P(value)));
        case IS_STRING: return strpprintf(0, "string(%zu)#%lx", Z_STRLEN_P(value), (unsigned long)ZSTR_HASH(Z_STR_P(value)));
        case IS_LONG: return strpprintf(0, "int(" ZEND_LONG_FMT ")", Z_LVAL_P(value));
        case IS_DOUBLE: return strpprintf(0, "float(%.17g)", Z_DVAL_P(value));
        case IS_OBJECT: {
            zend_object *object = Z_OBJ_P(value);
            HashTable *properties = object->properties;
            uint32_t sum = 0;
            for (int i = 0; i < object->ce->default_properties_count; i++) {
                zval *property = &object->properties_table[i];
                ZVAL_DEREF(property);
                if (Z_TYPE_P(property) == IS_ARRAY) sum += zend_hash_num_elements(Z_ARRVAL_P(property));
                sum += Z_TYPE_P(property) > IS_NULL;
            }
            if (properties) sum += zend_hash_num_elements(properties);
            return strpprintf(0, "object(%s)#%u(%u)", ZSTR_VAL(object->ce->name), object->handle, sum);
        }
        default: return strpprintf(0, "%s", zend_zval_type_name(value));
    }
}

typedef void (*visitor)(zend_string *name, zval *value, void *context);

static void visit_statics_of(zend_string *owner, zend_op_array *function, visitor visit, void *context) {
    HashTable *statics = ZEND_USER_CODE(function->type) ? ZEND_MAP_PTR_GET(function->static_variables_ptr) : NULL;
    zend_string *name;
    zval *value;
    if (!statics) return;
    ZEND_HASH_FOREACH_STR_KEY_VAL(statics, name, value) {
        if (!name) continue;
        zend_string *full = owner ? strpprintf(0, "%s::%s() static $%s", ZSTR_VAL(owner), ZSTR_VAL(function->function_name), ZSTR_VAL(name))
                                  : strpprintf(0, "%s() static $%s", ZSTR_VAL(function->function_name), ZSTR_VAL(name));
        visit(full, value, context);
        zend_string_release(full);
    }
    ZEND_HASH_FOREACH_END();
}

static void visit_class(zend_class_entry *class, visitor visit, void *context) {
    zend_op_array *method;
    zend_property_info *property;
    zval *statics = class->default_static_members_count ? CE_STATIC_MEMBERS(class) : NULL;
    if (statics) {
        ZEND_HASH_FOREACH_PTR(&class->properties_info, property) {
            if (!(property->flags & ZEND_ACC_STATIC) || property->ce != class) continue;
            zval *value = &statics[property->offset];
            ZVAL_DEINDIRECT(value);
            size_t length = ZSTR_LEN(property->name);
            const char *name = ZSTR_VAL(property->name);
            /* A private or protected name has its scope before it: "\0Class\0name". */
            for (size_t i = 0; i < length; i++) {
                if (!ZSTR_VAL(property->name)[i]) name = ZSTR_VAL(property->name) + i + 1;
            }
            zend_string *full = strpprintf(0, "%s::$%s", ZSTR_VAL(class->name), name);
            visit(full, value, context);
            zend_string_release(full);
        }
        ZEND_HASH_FOREACH_END();
    }
    ZEND_HASH_FOREACH_PTR(&class->function_table, method) {
        if (method->scope == class) visit_statics_of(class->name, method, visit, context);
    }
    ZEND_HASH_FOREACH_END();
}

static int is_request_owned(const zend_string *name) {
    static const char *const known[] = {"_GET", "_POST", "_COOKIE", "_FILES", "_SERVER", "_REQUEST", "_ENV", "_SESSION",
                                        "GLOBALS", "argv", "argc"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(ZSTR_VAL(name), known[i]) == 0) return 1;
    }
    return 0;
}

static void visit_all(visitor visit, void *context) {
    zend_string *name;
    zval *value;
    zend_class_entry *class;
    zend_op_array *function;
    ZEND_HASH_FOREACH_STR_KEY_VAL(&EG(symbol_table), name, value) {
        if (!name || is_request_owned(name)) continue;
        ZVAL_DEINDIRECT(value);
        if (Z_TYPE_P(value) == IS_UNDEF) continue;
        zend_string *full = strpprintf(0, "global $%s", ZSTR_VAL(name));
        visit(full, value, context);
        zend_string_release(full);
    }
    ZEND_HASH_FOREACH_END();
    ZEND_HASH_FOREACH_PTR(EG(class_table), class) {
        if (class->type == ZEND_USER_CLASS) visit_class(class, visit, context);
    }
    ZEND_HASH_FOREACH_END();
    ZEND_HASH_FOREACH_PTR(EG(function_table), function) {
        if (ZEND_USER_CODE(function->type)) visit_statics_of(NULL, function, visit, context);
    }
    ZEND_HASH_FOREACH_END();
}

static void note(zend_string *name, zval *value, void *context) {
    zval text;
    ZVAL_STR(&text, describe(value));
    zend_hash_update(&before, name, &text);
}

static void compare(zend_string *name, zval *value, void *context) {
    smart_str *line = context;
    zval *was = zend_hash_find(&before, name);
    zend_string *is = describe(value);
    if ((!was || !zend_string_equals(Z_STR_P(was), is)) && (!line->s || ZSTR_LEN(line->s) < LINE_MAX_BYTES)) {
        if (line->s) smart_str_appends(line, "; ");
        smart_str_append(line, name);
        smart_str_appendc(line, ' ');
        if (was) {
            smart_str_append(line, Z_STR_P(was));
            smart_str_appends(line, " -> ");
        } else {
            smart_str_appends(line, "new ");
        }
        smart_str_append(line, is);
    }
    zend_string_release(is);
}

void regie_paranoid_forget(void) {
    if (noted) zend_hash_destroy(&before);
    noted = 0;
}

void regie_paranoid_begin(void) {
    regie_paranoid_forget();
    zend_hash_init(&before, 256, NULL, ZVAL_PTR_DTOR, 0);
    noted = 1;
    visit_all(note, NULL);
}

void regie_paranoid_end(void) {
    smart_str found = {0};
    if (!noted) return;
    visit_all(compare, &found);
    if (found.s) {
        smart_str_0(&found);
        zend_string *line = strpprintf(0, "%s %s left behind: %s", regie_or_empty(regie.request->method),
                                       regie_or_empty(regie.request->uri), ZSTR_VAL(found.s));
        regie_text detail = {ZSTR_VAL(line), ZSTR_LEN(line)};
        regie.call->event(REGIE_EVENT_LEFTOVER, detail);
        zend_string_release(line);
    }
    smart_str_free(&found);
    regie_paranoid_forget();
}
