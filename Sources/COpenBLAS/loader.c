#include "COpenBLAS.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 };

typedef void (*sgemm_entry)(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *,
                            int);
typedef void (*sgemv_entry)(int, int, int, int, float, const float *, int, const float *, int, float, float *, int);

static sgemm_entry sgemm;
static sgemv_entry sgemv;
static char *(*core_name)(void);
static int (*get_threads)(void);
static void (*set_threads)(int);
static char load_error[512];
static pthread_once_t once = PTHREAD_ONCE_INIT;

// Takes a variable out of the environment and remembers it; `restore` puts it back, for child processes' sake.
struct hidden { const char *name; char *value; };
static void hide(struct hidden *h) {
    const char *v = getenv(h->name);
    h->value = v ? strdup(v) : NULL;
    unsetenv(h->name);
}
static void restore(struct hidden *h) {
    if (h->value) setenv(h->name, h->value, 1); else unsetenv(h->name);
    free(h->value);
}

static void load(void) {
    struct hidden core = {"OPENBLAS_CORETYPE", NULL}, cache = {"OPENBLAS_L2_SIZE", NULL};
    hide(&core);
    hide(&cache);
    const char *forced = getenv("RETORT_OPENBLAS_CORETYPE");
    if (forced) setenv("OPENBLAS_CORETYPE", forced, 1);

    const char *chosen = getenv("RETORT_OPENBLAS_LIBRARY");
    void *library = dlopen(chosen ? chosen : "libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library && !chosen) library = dlopen("libopenblas.so", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(load_error, sizeof load_error, "%s", dlerror());
    } else {
        sgemm = (sgemm_entry)dlsym(library, "cblas_sgemm");
        sgemv = (sgemv_entry)dlsym(library, "cblas_sgemv");
        core_name = (char *(*)(void))dlsym(library, "openblas_get_corename");
        get_threads = (int (*)(void))dlsym(library, "openblas_get_num_threads");
        set_threads = (void (*)(int))dlsym(library, "openblas_set_num_threads");
        if (!sgemm || !sgemv || !set_threads || !get_threads) {
            sgemm = NULL;
            snprintf(load_error, sizeof load_error, "the library has no cblas_sgemm or openblas_set_num_threads");
        }
    }
    restore(&core);
    restore(&cache);
}

const char *copenblas_load_error(void) {
    pthread_once(&once, load);
    return sgemm ? NULL : load_error;
}

const char *copenblas_core_name(void) { return copenblas_load_error() || !core_name ? "" : core_name(); }
int copenblas_threads(void) { return copenblas_load_error() ? 0 : get_threads(); }
void copenblas_set_threads(int count) {
    if (!copenblas_load_error()) set_threads(count);
}

void copenblas_sgemm(bool ta, bool tb, int m, int n, int k, float alpha, const float *a, int lda, const float *b,
                     int ldb, float beta, float *c, int ldc) {
    sgemm(ROW_MAJOR, ta ? TRANSPOSE : NO_TRANSPOSE, tb ? TRANSPOSE : NO_TRANSPOSE, m, n, k, alpha, a, lda, b, ldb, beta,
          c, ldc);
}

void copenblas_sgemv(bool t, int rows, int columns, float alpha, const float *a, int lda, const float *x, int incx,
                     float beta, float *y, int incy) {
    sgemv(ROW_MAJOR, t ? TRANSPOSE : NO_TRANSPOSE, rows, columns, alpha, a, lda, x, incx, beta, y, incy);
}
