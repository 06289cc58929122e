// The row kernels for any machine: whatever the compiler's default target is (SSE2 on x86-64, NEON on arm64).
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "include/CRows.h"

#define CROWS_TABLE crows_base
#include "rows_all.inc"
