#include "COpenBLAS.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 };

typedef void (*sgemm_entry)(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *,
                            int);
typedef void (*sgemv_entry)(int, int, int, int, float, const float *, int, const float *, int, float, float *, int);
typedef char *(*name_entry)(void);

static sgemm_entry sgemm;
static sgemv_entry sgemv;
static name_entry core_name;
static void (*set_threads)(int);
static int (*parallel_kind)(void);
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

// Core types of processors without AVX2, and of those without AVX-512, as OpenBLAS names them. Other names, also those
// that OpenBLAS has yet to invent, count as fitting.
static const char *const narrow_cores[] = {
    "Unknown",    "Katmai",       "Coppermine", "Northwood", "Prescott",    "Banias", "Atom",      "Core2",
    "Penryn",     "Dunnington",   "Nehalem",    "Athlon",    "Opteron",     "Nano",   "Barcelona", "Bobcat",
    "Bulldozer",  "Opteron_SSE3", "Piledriver", "Steamroller", "Sandybridge", NULL,
};
static const char *const middle_cores[] = {"Haswell", "Excavator", "Zen", NULL};
static const char *const wide_cores[] = {"SkylakeX", "Cooperlake", "SapphireRapids", NULL};

static bool contains(const char *const *names, const char *name) {
    while (*names && strcasecmp(*names, name)) names++;
    return *names != NULL;
}

const char *copenblas_better_core(const char *core, int level) {
    if (level >= 4 && (contains(narrow_cores, core) || contains(middle_cores, core))) return "SkylakeX";
    if (level >= 3 && contains(narrow_cores, core)) return "Haswell";
    return NULL;
}

bool copenblas_took_core(const char *asked, const char *core) {
    // A build without kernels of its own for a processor has those of another of its kind, and says that one's name.
    const char *const *const kinds[] = {narrow_cores, middle_cores, wide_cores};
    for (int i = 0; i < 3; i++)
        if (contains(kinds[i], asked) && contains(kinds[i], core)) return true;
    return !strcasecmp(asked, core);
}

static int processor_level(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("x86-64-v4")) return 4;
    if (__builtin_cpu_supports("x86-64-v3")) return 3;
#endif
    return 0;
}

// Opens the library with OPENBLAS_CORETYPE set to `type`, or unset; it reads its variables once, while it is loaded. It has one thread
// then: those it starts turn in circles for a tenth of a second before they sleep, and many programs never give them a product.
// `copenblas_set_threads` starts them.
static void *open_library(const char **name, const char *type) {
    struct hidden core = {"OPENBLAS_CORETYPE", NULL}, cache = {"OPENBLAS_L2_SIZE", NULL};
    struct hidden threads = {"OPENBLAS_NUM_THREADS", NULL};
    hide(&core);
    hide(&cache);
    hide(&threads);
    if (type) setenv("OPENBLAS_CORETYPE", type, 1);
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    void *library = dlopen(*name, RTLD_NOW | RTLD_LOCAL);
    if (!library && !strcmp(*name, "libopenblas.so.0")) {
        library = dlopen("libopenblas.so", RTLD_NOW | RTLD_LOCAL);
        if (library) *name = "libopenblas.so";
    }
    if (!library) snprintf(load_error, sizeof load_error, "%s", dlerror());
    restore(&core);
    restore(&cache);
    restore(&threads);
    return library;
}

static void load(void) {
    const char *chosen = getenv("RETORT_OPENBLAS_LIBRARY"), *name = chosen ? chosen : "libopenblas.so.0";
    const char *forced = getenv("RETORT_OPENBLAS_CORETYPE");
    if (forced && !*forced) forced = NULL;
    void *library = open_library(&name, forced);
    if (!library) return;

    core_name = (name_entry)dlsym(library, "openblas_get_corename");
    const char *better = forced || !core_name ? NULL : copenblas_better_core(core_name(), processor_level());
    if (better) {
        // A library older than the processor took it for something ancient. Once unloaded it may be told better; where
        // something else in the process holds it, it stays as it is.
        dlclose(library);
        library = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
        if (!library) library = open_library(&name, better);
        if (!library) return;
        core_name = (name_entry)dlsym(library, "openblas_get_corename");
    }
    sgemm = (sgemm_entry)dlsym(library, "cblas_sgemm");
    sgemv = (sgemv_entry)dlsym(library, "cblas_sgemv");
    set_threads = (void (*)(int))dlsym(library, "openblas_set_num_threads");
    parallel_kind = (int (*)(void))dlsym(library, "openblas_get_parallel");
    if (!sgemm || !sgemv || !set_threads) {
        sgemm = NULL;
        snprintf(load_error, sizeof load_error, "the library has no cblas_sgemm or openblas_set_num_threads");
    }
}

const char *copenblas_load_error(void) {
    pthread_once(&once, load);
    return sgemm ? NULL : load_error;
}

const char *copenblas_core_name(void) { return copenblas_load_error() || !core_name ? "" : core_name(); }
// 0: none, 1: its own, 2: OpenMP's.
bool copenblas_has_own_threads(void) { return !copenblas_load_error() && parallel_kind && parallel_kind() == 1; }
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
