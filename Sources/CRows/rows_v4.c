// The row kernels for AVX-512 (F, BW, CD, DQ, VL). System headers come before the attribute, so it touches our
// functions only; min_vector_width keeps 512-bit vectors whole where the tuning of x86-64-v4 would rather split them.
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "include/CRows.h"

#define CROWS_LEVEL 4
#pragma clang attribute push(__attribute__((target("arch=x86-64-v4"), min_vector_width(512))), apply_to = function)
#define CROWS_TABLE crows_v4
#include "rows_all.inc"
#pragma clang attribute pop
#endif
