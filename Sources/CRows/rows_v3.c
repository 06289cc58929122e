// The row kernels for AVX2 and FMA. System headers come before the attribute, so it touches our functions only;
// min_vector_width keeps 256-bit vectors whole where the tuning of x86-64-v4 would rather split them.
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "include/CRows.h"

#define CROWS_LEVEL 3
#pragma clang attribute push(__attribute__((target("arch=x86-64-v3"), min_vector_width(256))), apply_to = function)
#define CROWS_TABLE crows_v3
#include "rows_all.inc"
#pragma clang attribute pop
#endif
