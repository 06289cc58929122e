#include "CRows.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

extern const crows_table crows_base;
#if defined(__x86_64__)
extern const crows_table crows_v3, crows_v4;
#endif

static const crows_table *chosen;
static const char *chosen_level;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void choose(void) {
    chosen = &crows_base;
    chosen_level = "base";
#if defined(__x86_64__)
    const char *limit = getenv("RETORT_CPU_LEVEL");
    int highest = !limit ? 4 : !strcmp(limit, "base") ? 1 : !strcmp(limit, "v3") ? 3 : 4;
    __builtin_cpu_init();
    if (highest >= 4 && __builtin_cpu_supports("x86-64-v4")) {
        chosen = &crows_v4;
        chosen_level = "v4";
    } else if (highest >= 3 && __builtin_cpu_supports("x86-64-v3")) {
        chosen = &crows_v3;
        chosen_level = "v3";
    }
#endif
}

const crows_table *crows(void) {
    pthread_once(&once, choose);
    return chosen;
}

const char *crows_level(void) {
    pthread_once(&once, choose);
    return chosen_level;
}

#define FORWARD(fn) \
    if (!strcmp(name, #fn)) return crows()->unary_##fn##_range;
crows_unary crows_unary_named(const char *name) {
    CROWS_FOR_EACH_FUNCTION(FORWARD)
    return NULL;
}

#define BACKWARD(fn) \
    if (!strcmp(name, #fn)) return crows()->unary_##fn##_backward_range;
crows_unary_backward crows_unary_backward_named(const char *name) {
    CROWS_FOR_EACH_FUNCTION(BACKWARD)
    return NULL;
}

#define FORWARD_BF16(fn) \
    if (!strcmp(name, #fn)) return crows()->unary_##fn##_range_bf16;
crows_unary_bf16 crows_unary_bf16_named(const char *name) {
    CROWS_FOR_EACH_FUNCTION(FORWARD_BF16)
    return NULL;
}

#define BACKWARD_BF16(fn) \
    if (!strcmp(name, #fn)) return crows()->unary_##fn##_backward_range_bf16;
crows_unary_backward_bf16 crows_unary_backward_bf16_named(const char *name) {
    CROWS_FOR_EACH_FUNCTION(BACKWARD_BF16)
    return NULL;
}
