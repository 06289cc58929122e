#include "CPCRE2.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

// pcre2.h
#define PCRE2_MULTILINE 0x00000400u
#define PCRE2_UCP 0x00020000u
#define PCRE2_UTF 0x00080000u
#define PCRE2_NEVER_BACKSLASH_C 0x00100000u
#define PCRE2_NO_UTF_CHECK 0x40000000u
#define PCRE2_NO_JIT 0x00002000u
#define PCRE2_JIT_COMPLETE 0x00000001u
enum {
    PCRE2_ERROR_NOMATCH = -1,
    PCRE2_ERROR_JIT_STACKLIMIT = -46,
    PCRE2_ERROR_MATCHLIMIT = -47,
    PCRE2_ERROR_DEPTHLIMIT = -53,
    PCRE2_ERROR_HEAPLIMIT = -63,
};

enum {
    LARGEST_COMPILED = 1 << 22,   // bytes of a compiled pattern
    LARGEST_NESTING = 250,        // parentheses inside each other
    MOST_STEPS = 10000000,        // of one attempt: milliseconds to a second
    MOST_DEPTH = 1000000,         // backtracking points of one attempt, without JIT
    MOST_HEAP_KIB = 128 << 10,    // memory of one attempt, without JIT
};

struct cpcre2_pattern {
    void *code;
    void *match_context;
};

static void *(*compile)(const uint8_t *, size_t, uint32_t, int *, size_t *, void *);
static void (*code_free)(void *);
static int (*jit_compile)(void *, uint32_t);
static int (*match)(const void *, const uint8_t *, size_t, size_t, uint32_t, void *, void *);
static void *(*match_data_create)(uint32_t, void *);
static void (*match_data_free)(void *);
static size_t *(*ovector)(void *);
static int (*error_message)(int, uint8_t *, size_t);
static void *(*compile_context_create)(void *);
static void (*compile_context_free)(void *);
static int (*set_nest_limit)(void *, uint32_t);
static void *(*match_context_create)(void *);
static void (*match_context_free)(void *);
static int (*set_match_limit)(void *, uint32_t);
static int (*set_depth_limit)(void *, uint32_t);
static int (*set_heap_limit)(void *, uint32_t);
static int (*pattern_info)(const void *, uint32_t, void *);
static bool is_loaded;
static char load_error[512];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void) {
    const char *chosen = getenv("RETORT_PCRE2_LIBRARY");
    void *library = dlopen(chosen ? chosen : "libpcre2-8.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library && !chosen) library = dlopen("libpcre2-8.so", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(load_error, sizeof load_error, "%s", dlerror());
        return;
    }
    const struct {
        const char *name;
        void **function;
    } functions[] = {
        {"pcre2_compile_8", (void **)&compile},
        {"pcre2_code_free_8", (void **)&code_free},
        {"pcre2_jit_compile_8", (void **)&jit_compile},
        {"pcre2_match_8", (void **)&match},
        {"pcre2_match_data_create_8", (void **)&match_data_create},
        {"pcre2_match_data_free_8", (void **)&match_data_free},
        {"pcre2_get_ovector_pointer_8", (void **)&ovector},
        {"pcre2_get_error_message_8", (void **)&error_message},
        {"pcre2_compile_context_create_8", (void **)&compile_context_create},
        {"pcre2_compile_context_free_8", (void **)&compile_context_free},
        {"pcre2_set_parens_nest_limit_8", (void **)&set_nest_limit},
        {"pcre2_match_context_create_8", (void **)&match_context_create},
        {"pcre2_match_context_free_8", (void **)&match_context_free},
        {"pcre2_set_match_limit_8", (void **)&set_match_limit},
        {"pcre2_set_depth_limit_8", (void **)&set_depth_limit},
        {"pcre2_set_heap_limit_8", (void **)&set_heap_limit},
        {"pcre2_pattern_info_8", (void **)&pattern_info},
    };
    for (size_t index = 0; index < sizeof functions / sizeof *functions; ++index) {
        *functions[index].function = dlsym(library, functions[index].name);
        if (!*functions[index].function) {
            snprintf(load_error, sizeof load_error, "the library has no %s", functions[index].name);
            return;
        }
    }
    is_loaded = true;
}

const char *cpcre2_load_error(void) {
    pthread_once(&once, load);
    return is_loaded ? NULL : load_error;
}

enum { PCRE2_INFO_SIZE = 22 };

cpcre2_pattern *cpcre2_compile(const char *text, size_t length, char *message, size_t message_room, size_t *offset) {
    *offset = 0;
    cpcre2_pattern *pattern = calloc(1, sizeof *pattern);
    void *context = compile_context_create(NULL);
    if (pattern) pattern->match_context = match_context_create(NULL);
    if (!pattern || !context || !pattern->match_context) {
        snprintf(message, message_room, "out of memory");
        if (context) compile_context_free(context);
        if (pattern) cpcre2_free(pattern);
        return NULL;
    }
    set_nest_limit(context, LARGEST_NESTING);
    set_match_limit(pattern->match_context, MOST_STEPS);
    set_depth_limit(pattern->match_context, MOST_DEPTH);
    set_heap_limit(pattern->match_context, MOST_HEAP_KIB);
    int error = 0;
    // MULTILINE: ^ and $ stand for the ends of lines in the patterns of tokenizer files.
    const uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
    pattern->code = compile((const uint8_t *)text, length, options, &error, offset, context);
    compile_context_free(context);
    if (!pattern->code) {
        if (error_message(error, (uint8_t *)message, message_room) < 0) snprintf(message, message_room, "error %d", error);
        cpcre2_free(pattern);
        return NULL;
    }
    size_t size = 0;
    if (pattern_info(pattern->code, PCRE2_INFO_SIZE, &size) != 0 || size > LARGEST_COMPILED) {
        snprintf(message, message_room, "the compiled pattern is too large");
        cpcre2_free(pattern);
        return NULL;
    }
    jit_compile(pattern->code, PCRE2_JIT_COMPLETE);  // without it matching is slower, nothing else
    return pattern;
}

void cpcre2_free(cpcre2_pattern *pattern) {
    if (pattern->code) code_free(pattern->code);
    if (pattern->match_context) match_context_free(pattern->match_context);
    free(pattern);
}

bool cpcre2_begin(cpcre2_search *search, const cpcre2_pattern *pattern) {
    (void)pattern;
    *search = (cpcre2_search){.match_data = match_data_create(1, NULL)};
    return search->match_data != NULL;
}

void cpcre2_end(cpcre2_search *search) {
    match_data_free(search->match_data);
    search->match_data = NULL;
}

static size_t next_scalar(const uint8_t *text, size_t length, size_t position) {
    ++position;
    while (position < length && (text[position] & 0xC0) == 0x80) ++position;
    return position;
}

ptrdiff_t cpcre2_next(cpcre2_search *search, const cpcre2_pattern *pattern, const uint8_t *text, size_t length,
                      uint32_t *ranges, size_t capacity) {
    const size_t *found = ovector(search->match_data);
    size_t count = 0;
    while (count < capacity && !search->is_done) {
        if (search->position > length) {
            search->is_done = true;
            break;
        }
        int status = match(pattern->code, text, length, search->position, PCRE2_NO_UTF_CHECK, search->match_data,
                           pattern->match_context);
        // The machine's stack is not enough for compiled code; the interpreter has the heap.
        if (status == PCRE2_ERROR_JIT_STACKLIMIT)
            status = match(pattern->code, text, length, search->position, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                           search->match_data, pattern->match_context);
        if (status == PCRE2_ERROR_NOMATCH) {
            search->is_done = true;
            break;
        }
        if (status == PCRE2_ERROR_MATCHLIMIT || status == PCRE2_ERROR_DEPTHLIMIT || status == PCRE2_ERROR_HEAPLIMIT)
            return CPCRE2_LIMIT;
        size_t start = found[0], end = found[1];
        // \K can put the start elsewhere.
        if (status < 0 || start > end || start < search->position || end > length) return CPCRE2_FAILED;
        if (start == end && search->has_matched && search->last_end == end) {
            search->position = next_scalar(text, length, end);
            continue;
        }
        search->position = end;
        search->last_end = end;
        search->has_matched = true;
        ranges[2 * count] = (uint32_t)start;
        ranges[2 * count + 1] = (uint32_t)end;
        ++count;
    }
    return (ptrdiff_t)count;
}
