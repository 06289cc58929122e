// The few OpenBLAS entry points Retort uses, loaded at run time.
//
// OpenBLAS chooses its kernels when it is loaded and lets OPENBLAS_CORETYPE overrule the choice. A shell that exports a
// core type meant for another machine halves the speed, so the loader hides that variable while the library starts and
// lets the library look at the processor. Where the library is older than the processor and takes it for one without
// AVX2 or AVX-512, it is loaded once more with a core type that fits. RETORT_OPENBLAS_CORETYPE is the deliberate way to
// force one; nothing overrules it.
#ifndef RETORT_COPENBLAS_H
#define RETORT_COPENBLAS_H

#include <stdbool.h>

/// Why OpenBLAS could not be opened (dlopen's own words), or NULL once it is open. Thread-safe; loads on first call.
const char *copenblas_load_error(void);

/// The core type OpenBLAS took ("Cooperlake", "Haswell", …); "" when it is not loaded.
const char *copenblas_core_name(void);

/// The core type to ask for where OpenBLAS took `core` on a processor of x86-64 level `level` (4: AVX-512, 3: AVX2, 0: neither or
/// another architecture), or NULL when `core` fits.
const char *copenblas_better_core(const char *core, int level);

/// Whether OpenBLAS, asked for a core type, took it: `core` has its name, in whatever case, or is one of the same instruction set. It
/// passes over names that it does not know, and over those that the processor cannot run.
bool copenblas_took_core(const char *asked, const char *core);

/// How many threads OpenBLAS uses from now on; it has one when it is loaded.
void copenblas_set_threads(int count);

/// Whether it has threads of its own (neither none nor OpenMP's): then several may call it at once, and it uses as many as it was told,
/// whoever calls. False where it is not loaded.
bool copenblas_has_own_threads(void);

/// C[m, n] = alpha · op(A)[m, k] · op(B)[k, n] + beta · C, row-major, fp32. The library must be loaded.
void copenblas_sgemm(bool transpose_a, bool transpose_b, int m, int n, int k, float alpha, const float *a, int lda,
                     const float *b, int ldb, float beta, float *c, int ldc);

/// y[m] = alpha · op(A) · x + beta · y, A row-major [rows, columns], fp32. The library must be loaded.
void copenblas_sgemv(bool transpose, int rows, int columns, float alpha, const float *a, int lda, const float *x,
                     int incx, float beta, float *y, int incy);

#endif
