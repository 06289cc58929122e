// Row kernels of the CPU backend: the row bodies of kernels/*.cl compiled as C, once per instruction set, chosen at run time.
//
// Every entry works on a half-open range [begin, end) of rows, elements, blocks or tiles and writes nothing outside it, so a
// caller may split one call over threads. Matrices are row-major; a pitch is the distance in elements between two rows.
// `accumulate` != 0 adds to the output instead of overwriting it. Results do not depend on how a range is split.
#ifndef RETORT_CROWS_H
#define RETORT_CROWS_H

#include <stddef.h>

typedef struct {
    // ---- copy.cl: moving and converting elements --------------------------------------------------------------------

    /// y[i] = value for i in [begin, end).
    void (*fill_range)(ptrdiff_t begin, ptrdiff_t end, float *y, float value);
} crows_table;

/// The fastest table this machine can run. RETORT_CPU_LEVEL=base|v3|v4 lowers the choice (read once).
const crows_table *crows(void);

/// What `crows()` chose: "base", "v3" (AVX2 + FMA) or "v4" (AVX-512).
const char *crows_level(void);

#endif
