// fp32 matrix multiply, row-major:
//
//     C[z] = epilogue(alpha * op(A[z]) * op(B[z]))        z = 0 ..< batch
//
// op(A) is m x k and op(B) is k x n; each op is "as stored" or "transposed". The epilogue runs once per element,
// after the whole sum over k:
//
//     v = alpha * sum   (+ bias[column])   ->  stored to `pre` if asked   ->  activation   (+ residual[row, column])
//     C = v,  or  C + v  when `accumulate` is set
//
// Two kernel families share this file and the epilogue. The host picks one per device when it builds the program:
//
//   -DVECTOR   CPUs. One work-item computes a whole tile with `float16` arithmetic: no local memory, no barriers,
//              because CPU runtimes turn work-groups with barriers into slow loops over spilled variables.
//   -DSIMT     GPUs. A work-group shares a tile of A and B in local memory, each work-item keeps a small block of C
//              in registers.
//
// Both sum in an order fixed by the launch plan: two runs of one plan give the same bits.
//
// A, B and C are fp32, or bfloat16 with -DA_BF16, -DB_BF16, -DC_BF16; `pre` and `residual` are stored as C is. Numbers become fp32
// when they are loaded, all sums are fp32, and C is rounded once, after the epilogue.

#ifdef A_BF16
typedef ushort a_t;
#define READ_A(p) float_of_bf16(*(p))
#define QUAD_A(p) bf16_quad(p)
#define VECTOR_A(p) LOAD_BF16(p)
#else
typedef float a_t;
#define READ_A(p) (*(p))
#define QUAD_A(p) float_quad(p)
#define VECTOR_A(p) vload16(0, p)
#endif
#ifdef B_BF16
typedef ushort b_t;
#define READ_B(p) float_of_bf16(*(p))
#define QUAD_B(p) bf16_quad(p)
#define VECTOR_B(p) LOAD_BF16(p)
#else
typedef float b_t;
#define READ_B(p) (*(p))
#define QUAD_B(p) float_quad(p)
#define VECTOR_B(p) vload16(0, p)
#endif
#ifdef C_BF16
typedef ushort c_t;
#define READ_C(p) float_of_bf16(*(p))
#define MADE_C(v) bf16_of_float(v)
#define QUAD_C(p) bf16_quad(p)
#define STORE_QUAD_C(v, p) store_bf16_quad(v, p)
#define VECTOR_C(p) LOAD_BF16(p)
#define STORE_VECTOR_C(v, p) STORE_BF16(p, v)
#else
typedef float c_t;
#define READ_C(p) (*(p))
#define MADE_C(v) (v)
#define QUAD_C(p) float_quad(p)
#define STORE_QUAD_C(v, p) store_float_quad(v, p)
#define VECTOR_C(p) vload16(0, p)
#define STORE_VECTOR_C(v, p) vstore16(v, 0, p)
#endif

// ---------------------------------------------------------------------------------------------------------------------
// Epilogue, common to both families
// ---------------------------------------------------------------------------------------------------------------------

// Bits of the `epilogue` argument; the activation sits above them.
#define EPILOGUE_BIAS 1
#define EPILOGUE_PRE 2
#define EPILOGUE_RESIDUAL 4
#define EPILOGUE_ACTIVATION_SHIFT 8

#define ACTIVATION_NONE 0
#define ACTIVATION_RELU 1
#define ACTIVATION_GELU 2
#define ACTIVATION_GELU_TANH 3
#define ACTIVATION_SILU 4
#define ACTIVATION_TANH 5
#define ACTIVATION_SIGMOID 6

// Everything the epilogue needs, so that it can be handed on as one argument. Pointers are already moved to the batch.
typedef struct {
    float alpha;
    int accumulate;
    int flags;
    int activation;
    __global const float *bias;
    __global c_t *pre;
    int ldPre;
    __global const c_t *residual;
    int ldResidual;
} Epilogue;

static Epilogue make_epilogue(float alpha, int accumulate, int epilogue, __global const float *bias,
                              __global c_t *pre, int ldPre, __global const c_t *residual, int ldResidual) {
    Epilogue e;
    e.alpha = alpha;
    e.accumulate = accumulate;
    e.flags = epilogue & (EPILOGUE_BIAS | EPILOGUE_PRE | EPILOGUE_RESIDUAL);
    e.activation = epilogue >> EPILOGUE_ACTIVATION_SHIFT;
    e.bias = bias;
    e.pre = pre;
    e.ldPre = ldPre;
    e.residual = residual;
    e.ldResidual = ldResidual;
    return e;
}

// The same text serves float (GPU) and float16 (CPU): CPUs vectorise `erf` and friends only when given vectors.
#define DEFINE_ACTIVATION(NAME, TYPE)                                                                                  \
    static TYPE NAME(TYPE x, int kind) {                                                                               \
        switch (kind) {                                                                                                \
        case ACTIVATION_RELU:                                                                                          \
            return x < (TYPE)(0.0f) ? (TYPE)(0.0f) : x; /* NaN stays NaN */                                            \
        case ACTIVATION_GELU:                                                                                          \
            return 0.5f * x * (1.0f + erf(x * 0.70710678f));                                                           \
        case ACTIVATION_GELU_TANH:                                                                                     \
            return 0.5f * x * (1.0f + tanh(0.79788456f * fma(0.044715f * x * x, x, x)));                               \
        case ACTIVATION_SILU:                                                                                          \
            return x / (1.0f + exp(-x));                                                                               \
        case ACTIVATION_TANH:                                                                                          \
            return tanh(x);                                                                                            \
        case ACTIVATION_SIGMOID:                                                                                       \
            return 1.0f / (1.0f + exp(-x));                                                                            \
        default:                                                                                                       \
            return x;                                                                                                  \
        }                                                                                                              \
    }

#ifdef VECTOR

DEFINE_ACTIVATION(activate, float16)

// PoCL compiles a kernel three times over, with all it inlines: separate functions halve the time of the first launch.
#define SEPARATE __attribute__((noinline))

// Loads or stores the first `count` (1...16) numbers of a vector without touching memory behind them.
#define DEFINE_SOME(SUFFIX, TYPE, VECTOR_LOAD, READ, VECTOR_STORE, MADE)                                               \
    static float16 load_some##SUFFIX(__global const TYPE *p, int count) {                                              \
        if (count >= 16)                                                                                               \
            return VECTOR_LOAD(p);                                                                                     \
        float lanes[16];                                                                                               \
        for (int i = 0; i < 16; i++)                                                                                   \
            lanes[i] = i < count ? READ(p + i) : 0.0f;                                                                 \
        return vload16(0, lanes);                                                                                      \
    }                                                                                                                  \
    static void store_some##SUFFIX(float16 v, __global TYPE *p, int count) {                                           \
        if (count >= 16) {                                                                                             \
            VECTOR_STORE(v, p);                                                                                        \
            return;                                                                                                    \
        }                                                                                                              \
        float lanes[16];                                                                                               \
        vstore16(v, 0, lanes);                                                                                         \
        for (int i = 0; i < count; i++)                                                                                \
            p[i] = MADE(lanes[i]);                                                                                     \
    }
#define VECTOR_FLOAT(p) vload16(0, p)
#define READ_FLOAT(p) (*(p))
#define STORE_VECTOR_FLOAT(v, p) vstore16(v, 0, p)
#define MADE_FLOAT(v) (v)
DEFINE_SOME(, float, VECTOR_FLOAT, READ_FLOAT, STORE_VECTOR_FLOAT, MADE_FLOAT)
DEFINE_SOME(_c, c_t, VECTOR_C, READ_C, STORE_VECTOR_C, MADE_C)

// Runs the epilogue on a block. `source` holds the sums; it may be C itself.
SEPARATE static void finish_block(Epilogue e, __global const float *source, size_t ldSource, __global c_t *c,
                                  size_t ldc, int row0, int rows, int column0, int columns) {
    for (int row = row0; row < row0 + rows; row++) {
        for (int column = column0; column < column0 + columns; column += 16) {
            const int count = min(16, column0 + columns - column);
            float16 v = e.alpha * load_some(source + row * ldSource + column, count);
            if (e.flags & EPILOGUE_BIAS)
                v += load_some(e.bias + column, count);
            if (e.flags & EPILOGUE_PRE)
                store_some_c(v, e.pre + row * (size_t)e.ldPre + column, count);
            if (e.activation)
                v = activate(v, e.activation);
            if (e.flags & EPILOGUE_RESIDUAL)
                v += load_some_c(e.residual + row * (size_t)e.ldResidual + column, count);
            if (e.accumulate)
                v += load_some_c(c + row * ldc + column, count);
            store_some_c(v, c + row * ldc + column, count);
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Vector family
//
// A tile of C is computed block by block along k. For each block the work-item first copies ("packs") its part of B,
// then a few rows of A, into a private slice of the workspace, in exactly the order in which the innermost loop reads
// them. Packing costs one pass over data that is then used hundreds of times, and pays three ways: the loop reads
// memory strictly in sequence, transposes disappear, and ragged edges become padding. The packed block of B stays in
// the second-level cache, the packed rows of A in the first.
//
// Panels: B is packed PANEL_COLUMNS wide, A PANEL_ROWS high; a short rest gets narrower (lower) panels. Padding holds
// copies of valid elements: it only feeds results nobody stores. The panel sizes follow from the registers:
//
//   12 x 32   24 of the 32 registers of AVX-512 hold sums, the others operands. The default.
//   6 x 16    12 of the 16 registers of AVX2. For devices whose native vector width is below 16 floats.
//
// 4 rows still keep the multipliers busy, so a rest of 1...8 rows wastes at most 3.
// ---------------------------------------------------------------------------------------------------------------------

#ifndef PANEL_ROWS
#define PANEL_ROWS 12
#define PANEL_COLUMNS 32
#endif
#define SHORT_PANEL_ROWS 4
#define NARROW_PANEL_COLUMNS 16

// Rows of A packed at a time: enough to use whole cache lines of a transposed A, few enough to stay in the L1 cache.
#define GROUP_ROWS 48

static int panel_rows(int remaining) {
    const int coveredByShort = (PANEL_ROWS - 1) / SHORT_PANEL_ROWS * SHORT_PANEL_ROWS;
    return remaining > coveredByShort ? PANEL_ROWS : SHORT_PANEL_ROWS;
}

static int panel_columns(int remaining) {
    return remaining > NARROW_PANEL_COLUMNS ? PANEL_COLUMNS : NARROW_PANEL_COLUMNS;
}

// Copies a block whose stored rows run along k (A as stored, or B transposed) so that `width` neighbours lie side by
// side:  target[k * width + i] = source[i * ld + k].  Only `valid` (1...width) rows exist; the last one is repeated for
// the rest. Writes up to 16 floats behind the panel, so panels must be packed in ascending order.
#define DEFINE_PACK_ACROSS(NAME, TYPE, VECTOR_LOAD, READ)                                                              \
    SEPARATE static void NAME(__global const TYPE *source, size_t ld, int valid, int depth, int width,                 \
                                     __global float *target) {                                                         \
        for (int lane0 = 0; lane0 < width; lane0 += 16) {                                                              \
            const int last = valid - 1;                                                                                \
            int k = 0;                                                                                                 \
            while (k + 16 <= depth) {                                                                                  \
                float16 row[16];                                                                                       \
                __attribute__((opencl_unroll_hint(16))) for (int i = 0; i < 16; i++)                                   \
                    row[i] = VECTOR_LOAD(source + min(lane0 + i, last) * ld + k);                                      \
                TRANSPOSE_16(row)                                                                                      \
                __attribute__((opencl_unroll_hint(16))) for (int i = 0; i < 16; i++)                                   \
                    vstore16(row[i], 0, target + (k + i) * width + lane0);                                             \
                k += 16;                                                                                               \
                if (k < depth && k + 16 > depth)                                                                       \
                    k = depth - 16; /* the last step overlaps the one before instead of reading past the end */        \
            }                                                                                                          \
            for (; k < depth; k++) /* only when depth < 16 */                                                          \
                for (int i = 0; i < min(16, width - lane0); i++)                                                       \
                    target[k * width + lane0 + i] = READ(source + min(lane0 + i, last) * ld + k);                      \
        }                                                                                                              \
    }
DEFINE_PACK_ACROSS(pack_across_a, a_t, VECTOR_A, READ_A)
#if defined(A_BF16) == defined(B_BF16)
#define pack_across_b pack_across_a
#else
DEFINE_PACK_ACROSS(pack_across_b, b_t, VECTOR_B, READ_B)
#endif

// Packs op(A)[row0 ..< row0 + rows, k0 ..< k0 + depth] as panels: the panel that starts at row r lies at r * depth.
SEPARATE static void pack_a(__global const a_t *a, size_t lda, int transposed, int row0, int rows, int k0, int depth,
                            __global float *target) {
    if (!transposed) {
        for (int r = 0; r < rows;) {
            const int height = panel_rows(rows - r);
            pack_across_a(a + (row0 + r) * lda + k0, lda, min(height, rows - r), depth, height, target + r * depth);
            r += height;
        }
        return;
    }
    for (int k = 0; k < depth; k++) {
        __global const a_t *source = a + (k0 + k) * lda + row0;
        for (int r = 0; r < rows;) {
            const int height = panel_rows(rows - r);
            __global float *to = target + r * depth + k * height;
            if (height == PANEL_ROWS && r + PANEL_ROWS <= rows) {
#if defined(A_BF16)
                for (int i = 0; i < PANEL_ROWS; i++)
                    to[i] = READ_A(source + r + i);
#elif PANEL_ROWS == 12
                vstore8(vload8(0, source + r), 0, to);
                vstore4(vload4(0, source + r + 8), 0, to + 8);
#else
                vstore4(vload4(0, source + r), 0, to);
                vstore2(vload2(0, source + r + 4), 0, to + 4);
#endif
            } else {
                for (int i = 0; i < height; i++)
                    to[i] = READ_A(source + min(r + i, rows - 1));
            }
            r += height;
        }
    }
}

// Packs op(B)[k0 ..< k0 + depth, column0 ..< column0 + columns]: the panel that starts at column c lies at c * depth.
SEPARATE static void pack_b(__global const b_t *b, size_t ldb, int transposed, int k0, int depth, int column0,
                            int columns, __global float *target) {
    if (transposed) {
        for (int c = 0; c < columns;) {
            const int width = panel_columns(columns - c);
            pack_across_b(b + (column0 + c) * ldb + k0, ldb, min(width, columns - c), depth, width, target + c * depth);
            c += width;
        }
        return;
    }
    for (int k = 0; k < depth; k++) {
        __global const b_t *source = b + (k0 + k) * ldb + column0;
        int c = 0;
        for (; c + PANEL_COLUMNS <= columns; c += PANEL_COLUMNS) {
            __global float *to = target + c * depth + k * PANEL_COLUMNS;
            for (int v = 0; v < PANEL_COLUMNS / 16; v++)
                vstore16(VECTOR_B(source + c + 16 * v), v, to);
        }
        if (c < columns) {
            const int width = panel_columns(columns - c);
            __global float *to = target + c * depth + k * width;
            for (int i = 0; i < width; i++)
                to[i] = READ_B(source + min(c + i, columns - 1));
        }
    }
}

// The innermost loop: c (+)= alpha * (A panel) * (B panel), where only rows x columns elements of c exist.
// A macro, because the panel must stay in registers: compilers put an array into registers only when all loops over it
// unroll, and some unroll such nests only when the bounds are literals.
#define UNROLL _Pragma("unroll")
#define DEFINE_MULTIPLY(NAME, ROWS, COLUMNS)                                                                           \
    SEPARATE static void NAME(int depth, __global const float *a, __global const float *b, float alpha, int add,       \
                              __global float *c, size_t ldc, int rows, int columns) {                                  \
        float16 sum[ROWS][COLUMNS / 16];                                                                               \
        UNROLL for (int r = 0; r < ROWS; r++)                                                                          \
            UNROLL for (int v = 0; v < COLUMNS / 16; v++)                                                              \
                sum[r][v] = 0.0f;                                                                                      \
                                                                                                                       \
        for (int k = 0; k < depth; k++) {                                                                              \
            float16 right[COLUMNS / 16];                                                                               \
            UNROLL for (int v = 0; v < COLUMNS / 16; v++)                                                              \
                right[v] = vload16(v, b);                                                                              \
            UNROLL for (int r = 0; r < ROWS; r++) {                                                                    \
                const float16 left = a[r];                                                                             \
                UNROLL for (int v = 0; v < COLUMNS / 16; v++)                                                          \
                    sum[r][v] = fma(left, right[v], sum[r][v]);                                                        \
            }                                                                                                          \
            a += ROWS;                                                                                                 \
            b += COLUMNS;                                                                                              \
        }                                                                                                              \
                                                                                                                       \
        if (rows >= ROWS && columns >= COLUMNS) {                                                                      \
            UNROLL for (int r = 0; r < ROWS; r++)                                                                      \
                UNROLL for (int v = 0; v < COLUMNS / 16; v++) {                                                        \
                    float16 value = alpha * sum[r][v];                                                                 \
                    if (add)                                                                                           \
                        value += vload16(v, c + r * ldc);                                                              \
                    vstore16(value, v, c + r * ldc);                                                                   \
                }                                                                                                      \
        } else { /* ragged edge: through a private copy, element by element */                                         \
            float edge[ROWS * COLUMNS];                                                                                \
            UNROLL for (int r = 0; r < ROWS; r++)                                                                      \
                UNROLL for (int v = 0; v < COLUMNS / 16; v++)                                                          \
                    vstore16(alpha * sum[r][v], v, edge + r * COLUMNS);                                                \
            for (int r = 0; r < min(rows, ROWS); r++)                                                                  \
                for (int j = 0; j < min(columns, COLUMNS); j++) {                                                      \
                    const float value = edge[r * COLUMNS + j];                                                         \
                    c[r * ldc + j] = add ? c[r * ldc + j] + value : value;                                             \
                }                                                                                                      \
        }                                                                                                              \
    }

DEFINE_MULTIPLY(multiply_panel, PANEL_ROWS, PANEL_COLUMNS)
DEFINE_MULTIPLY(multiply_narrow, PANEL_ROWS, NARROW_PANEL_COLUMNS)
DEFINE_MULTIPLY(multiply_short, SHORT_PANEL_ROWS, PANEL_COLUMNS)
DEFINE_MULTIPLY(multiply_corner, SHORT_PANEL_ROWS, NARROW_PANEL_COLUMNS)

// Launch: global size = number of workers, local size 1. Worker w computes an equal share of the tiles.
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
gemm_vector(int m, int n, int k, int batch, float alpha, int accumulate,
            __global const a_t *a, ulong offsetA, int lda, ulong strideA,
            __global const b_t *b, ulong offsetB, int ldb, ulong strideB,
            __global c_t *c, ulong offsetC, int ldc, ulong strideC,
            __global const float *bias, ulong offsetBias,
            __global c_t *pre, ulong offsetPre, int ldPre, ulong stridePre,
            __global const c_t *residual, ulong offsetResidual, int ldResidual,
            ulong strideResidual, int epilogue,
            int transposeA, int transposeB, int tileM, int tileN, int blockK,
            int splits, int partials, __global float *workspace, ulong offsetWorkspace, ulong slotSize) {
    const ulong worker = get_global_id(0), workers = get_global_size(0);
    const int tilesM = (m + tileM - 1) / tileM;
    const int tilesN = (n + tileN - 1) / tileN;
    const int splitK = (k + splits - 1) / splits;
    const ulong tiles = (ulong)tilesM * tilesN * splits * batch;

    // This worker's slice of the workspace: one block of B, then a few rows of A.
    __global float *packedB = workspace + offsetWorkspace + worker * slotSize;
    __global float *packedA = packedB + (size_t)(tileN + PANEL_COLUMNS) * blockK;
    __global float *partialSums = workspace + offsetWorkspace + workers * slotSize;

    for (ulong tile = tiles * worker / workers; tile < tiles * (worker + 1) / workers; tile++) {
        // Neighbouring tiles share columns of B, the larger block.
        const ulong tileColumn = tile / tilesM, plane = tileColumn / tilesN, z = plane / splits;
        const int row0 = (int)(tile % tilesM) * tileM;
        const int column0 = (int)(tileColumn % tilesN) * tileN;
        const int split = (int)(plane % splits);
        const float scale = partials ? 1.0f : alpha; // gemm_reduce multiplies partial sums itself
        const int rows = min(tileM, m - row0), columns = min(tileN, n - column0);
        const int kBegin = min(split * splitK, k), kEnd = min(kBegin + splitK, k);

        __global const a_t *aZ = a + offsetA + z * strideA;
        __global const b_t *bZ = b + offsetB + z * strideB;
#ifndef C_BF16
        // alpha and `accumulate` are already in the sums when the epilogue runs.
        const Epilogue e = make_epilogue(1.0f, 0, epilogue, bias + offsetBias, pre + offsetPre + z * stridePre, ldPre,
                                         residual + offsetResidual + z * strideResidual, ldResidual);
#endif

        // With split k the raw sums go to the workspace, and a second kernel adds them up.
        const size_t ldOut = partials ? (n + 3) / 4 * 4 : ldc;
#ifdef C_BF16 // the host asks for partial sums: what has been rounded cannot be added to
        __global float *out = partialSums + plane * (m * ldOut);
#else
        __global float *out = partials ? partialSums + plane * (m * ldOut) : c + offsetC + z * strideC;
#endif

        // Once even when there is nothing to sum: C still gets its zeros and its epilogue.
        for (int k0 = kBegin; k0 == kBegin || k0 < kEnd; k0 += blockK) {
            const int depth = min(blockK, kEnd - k0);
            const int add = k0 > kBegin || (accumulate && !partials);
            pack_b(bZ, ldb, transposeB, k0, depth, column0, columns, packedB);
            for (int group = 0; group < rows; group += GROUP_ROWS) {
                const int groupRows = min(GROUP_ROWS, rows - group);
                pack_a(aZ, lda, transposeA, row0 + group, groupRows, k0, depth, packedA);
                for (int i = 0; i < groupRows;) {
                    const int height = panel_rows(groupRows - i);
                    for (int j = 0; j < columns;) {
                        const int width = panel_columns(columns - j);
                        __global const float *aPanel = packedA + i * depth, *bPanel = packedB + j * depth;
                        __global float *cPanel = out + (row0 + group + i) * ldOut + column0 + j;
#define MULTIPLY_ARGUMENTS depth, aPanel, bPanel, scale, add, cPanel, ldOut, groupRows - i, columns - j
                        if (height == PANEL_ROWS && width == PANEL_COLUMNS)
                            multiply_panel(MULTIPLY_ARGUMENTS);
                        else if (height == PANEL_ROWS)
                            multiply_narrow(MULTIPLY_ARGUMENTS);
                        else if (width == PANEL_COLUMNS)
                            multiply_short(MULTIPLY_ARGUMENTS);
                        else
                            multiply_corner(MULTIPLY_ARGUMENTS);
                        j += width;
                    }
                    i += height;
                }
#ifndef C_BF16
                // While these rows of C are still in the cache.
                if (k0 + depth == kEnd && !partials && epilogue)
                    finish_block(e, out, ldOut, out, ldOut, row0 + group, groupRows, column0, columns);
#endif
            }
        }
    }
}

// Adds up the partial sums of a split k, in ascending order, and runs the epilogue. One work-item per row of C.
// Launch: one dimension, m * batch work-items, local size 1.
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
gemm_reduce(int m, int n, int batch, int splits, float alpha, int accumulate,
            __global float *partials, ulong offsetPartials,
            __global c_t *c, ulong offsetC, int ldc, ulong strideC,
            __global const float *bias, ulong offsetBias,
            __global c_t *pre, ulong offsetPre, int ldPre, ulong stridePre,
            __global const c_t *residual, ulong offsetResidual, int ldResidual,
            ulong strideResidual, int epilogue) {
    const size_t rowOfAll = get_global_id(0), z = rowOfAll / m, row = rowOfAll % m;
    const size_t ldPartial = (n + 3) / 4 * 4, plane = m * ldPartial;
    __global float *total = partials + offsetPartials + z * splits * plane;
    const Epilogue e =
        make_epilogue(alpha, accumulate, epilogue, bias + offsetBias, pre + offsetPre + z * stridePre, ldPre,
                      residual + offsetResidual + z * strideResidual, ldResidual);
    for (int column = 0; column < n; column += 16) {
        __global float *to = total + row * ldPartial + column;
        const int count = min(16, n - column);
        float16 sum = load_some(to, count);
        for (int split = 1; split < splits; split++)
            sum += load_some(to + split * plane, count);
        store_some(sum, to, count);
    }
    finish_block(e, total, ldPartial, c + offsetC + z * strideC, ldc, row, 1, 0, n);
}

#endif // VECTOR

#ifdef SIMT

// ---------------------------------------------------------------------------------------------------------------------
// SIMT family
//
// Build switches:
//   TA, TB   1 when A (B) is stored transposed: k x m (n x k)
//   VEC      1 when all leading dimensions, offsets and batch strides in use are multiples of 4 elements. Only an
//            aligned float4 access becomes one 128-bit instruction; `vload4` promises no more than 4-byte alignment
//            and is split into single loads.
//   BM, BN   tile of C that one work-group computes;  BK  its step along k;  TM, TN  part of one work-item.
//            128, 128, 8, 8, 8 for large matrices; 64, 64, 16, 4, 4 for smaller ones. Both have 256 work-items.
// ---------------------------------------------------------------------------------------------------------------------

#ifndef TA
#define TA 0
#endif
#ifndef TB
#define TB 0
#endif
#ifndef VEC
#define VEC 0
#endif
#ifndef BM
#define BM 128
#define BN 128
#define BK 8
#define TM 8
#define TN 8
#endif

// Each work-item owns TM x TN elements as 4 x 4 quads, spread evenly over the tile: neighbouring work-items then read
// neighbouring float4 from local memory, which costs no bank conflicts.
#define QUADS_M (TM / 4)
#define QUADS_N (TN / 4)
#define ITEMS_M (BM / TM)
#define ITEMS_N (BN / TN)
#define ITEMS (ITEMS_M * ITEMS_N)

// How many quads of each operand a work-item fetches per step along k.
#define FETCHES_A (BM * BK / 4 / ITEMS)
#define FETCHES_B (BN * BK / 4 / ITEMS)

// Rows of the local tiles are padded by one quad: the scattered stores of a transposing fetch then spread over banks.
#define LD_TILE_A (BM + 4)
#define LD_TILE_B (BN + 4)

DEFINE_ACTIVATION(activate, float4)

// Four neighbours.
static float4 float_quad(__global const float *p) {
#if VEC
    return *(__global const float4 *)p;
#else
    return vload4(0, p);
#endif
}
static void store_float_quad(float4 v, __global float *p) {
#if VEC
    *(__global float4 *)p = v;
#else
    vstore4(v, 0, p);
#endif
}
#if defined(A_BF16) || defined(B_BF16) || defined(C_BF16)
static float4 bf16_quad(__global const ushort *p) {
#if VEC
    return as_float4(convert_uint4(*(__global const ushort4 *)p) << 16);
#else
    return as_float4(convert_uint4(vload4(0, p)) << 16);
#endif
}
#endif
#ifdef C_BF16
static void store_bf16_quad(float4 v, __global ushort *p) {
    const ushort4 rounded =
        (ushort4)(bf16_of_float(v.x), bf16_of_float(v.y), bf16_of_float(v.z), bf16_of_float(v.w));
#if VEC
    *(__global ushort4 *)p = rounded;
#else
    vstore4(rounded, 0, p);
#endif
}
#endif

// Loads the first `valid` of four neighbours, zero for the rest; touches nothing outside.
#define DEFINE_LOAD_QUAD(NAME, TYPE, QUAD, READ)                                                                       \
    static float4 NAME(__global const TYPE *p, int valid) {                                                            \
        if (valid >= 4)                                                                                                \
            return QUAD(p);                                                                                            \
        float4 v = 0.0f;                                                                                               \
        if (valid > 0)                                                                                                 \
            v.x = READ(p);                                                                                             \
        if (valid > 1)                                                                                                 \
            v.y = READ(p + 1);                                                                                         \
        if (valid > 2)                                                                                                 \
            v.z = READ(p + 2);                                                                                         \
        return v;                                                                                                      \
    }
#define DEFINE_STORE_QUAD(NAME, TYPE, STORE_FOUR, MADE)                                                                \
    static void NAME(float4 v, __global TYPE *p, int valid) {                                                          \
        if (valid >= 4) {                                                                                              \
            STORE_FOUR(v, p);                                                                                          \
            return;                                                                                                    \
        }                                                                                                              \
        if (valid > 0)                                                                                                 \
            p[0] = MADE(v.x);                                                                                          \
        if (valid > 1)                                                                                                 \
            p[1] = MADE(v.y);                                                                                          \
        if (valid > 2)                                                                                                 \
            p[2] = MADE(v.z);                                                                                          \
    }
#define READ_FLOAT(p) (*(p))
#define MADE_FLOAT(v) (v)
DEFINE_LOAD_QUAD(load_quad, float, float_quad, READ_FLOAT)
DEFINE_LOAD_QUAD(load_quad_a, a_t, QUAD_A, READ_A)
DEFINE_LOAD_QUAD(load_quad_b, b_t, QUAD_B, READ_B)
DEFINE_LOAD_QUAD(load_quad_c, c_t, QUAD_C, READ_C)
DEFINE_STORE_QUAD(store_quad, float, store_float_quad, MADE_FLOAT)
DEFINE_STORE_QUAD(store_quad_c, c_t, STORE_QUAD_C, MADE_C)

// Runs the epilogue on `valid` neighbours of one row and stores them.
static void finish_quad(Epilogue e, float4 sum, __global c_t *c, size_t ldc, size_t row, int column, int valid) {
    float4 v = e.alpha * sum;
    if (e.flags & EPILOGUE_BIAS)
        v += load_quad(e.bias + column, valid);
    if (e.flags & EPILOGUE_PRE)
        store_quad_c(v, e.pre + row * e.ldPre + column, valid);
    if (e.activation)
        v = activate(v, e.activation);
    if (e.flags & EPILOGUE_RESIDUAL)
        v += load_quad_c(e.residual + row * e.ldResidual + column, valid);
    if (e.accumulate)
        v += load_quad_c(c + row * ldc + column, valid);
    store_quad_c(v, c + row * ldc + column, valid);
}

// Where a work-group's sums go: with split k raw into the workspace (rows padded to whole quads), for gemm_reduce to finish; else through
// the epilogue into C.
typedef struct {
    Epilogue epilogue;
    __global c_t *c;
    size_t ldc;
    __global float *partials;
    size_t ldPartials;
} Target;

static void finish(Target t, int splits, float4 sum, size_t row, int column, int valid) {
    if (splits == 1)
        finish_quad(t.epilogue, sum, t.c, t.ldc, row, column, valid);
    else
        store_quad(sum, t.partials + row * t.ldPartials + column, valid);
}

#define MAKE_TARGET                                                                                                    \
    Target target;                                                                                                     \
    target.epilogue = make_epilogue(alpha, accumulate, epilogue, bias + offsetBias, pre + offsetPre + z * stridePre,   \
                                    ldPre, residual + offsetResidual + z * strideResidual, ldResidual);                \
    target.c = c + offsetC + z * strideC;                                                                              \
    target.ldc = ldc;                                                                                                  \
    target.ldPartials = (n + 3) / 4 * 4;                                                                               \
    target.partials = workspace + offsetWorkspace + plane * (m * target.ldPartials);

// Fetches this work-item's quads of a tile: ALONG rows (of op(A), or columns of op(B)) x BK steps of k, zero outside of
// the matrix. K_CONTIGUOUS says in which direction the storage runs, so that each quad is one piece of memory.
#define FETCH_TILE(quads, LOAD_QUAD, FETCHES, ALONG, K_CONTIGUOUS, source, ld, along0, alongEnd)                                  \
    _Pragma("unroll") for (int f = 0; f < FETCHES; f++) {                                                              \
        const int q = item + f * ITEMS;                                                                                \
        const int i = along0 + (K_CONTIGUOUS ? q / (BK / 4) : q % (ALONG / 4) * 4);                                    \
        const int kk = kNext + (K_CONTIGUOUS ? q % (BK / 4) * 4 : q / (ALONG / 4));                                    \
        const size_t at = K_CONTIGUOUS ? (size_t)i * ld + kk : (size_t)kk * ld + i;                                    \
        const int inside = K_CONTIGUOUS ? (i < alongEnd ? kEnd - kk : 0) : (kk < kEnd ? alongEnd - i : 0);             \
        quads[f] = LOAD_QUAD(source + at, inside);                                                                     \
    }

// Puts the fetched quads into local memory, always k-major: tile[k][row].
#define STORE_TILE(quads, FETCHES, ALONG, K_CONTIGUOUS, tile, LD)                                                      \
    _Pragma("unroll") for (int f = 0; f < FETCHES; f++) {                                                              \
        const int q = item + f * ITEMS;                                                                                \
        if (K_CONTIGUOUS) {                                                                                            \
            __local float *to = tile + q % (BK / 4) * 4 * LD + q / (BK / 4);                                           \
            to[0] = quads[f].x;                                                                                        \
            to[LD] = quads[f].y;                                                                                       \
            to[2 * LD] = quads[f].z;                                                                                   \
            to[3 * LD] = quads[f].w;                                                                                   \
        } else {                                                                                                       \
            *(__local float4 *)(tile + q / (ALONG / 4) * LD + q % (ALONG / 4) * 4) = quads[f];                         \
        }                                                                                                              \
    }

// Launch: one dimension, tilesM * tilesN * splits * batch work-groups of ITEMS work-items. (`batch` is not needed here;
// it keeps one argument list for all kernels.)
__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
gemm_simt(int m, int n, int k, int batch, float alpha, int accumulate,
          __global const a_t *restrict a, ulong offsetA, int lda, ulong strideA,
          __global const b_t *restrict b, ulong offsetB, int ldb, ulong strideB,
          __global c_t *c, ulong offsetC, int ldc, ulong strideC,
          __global const float *bias, ulong offsetBias,
          __global c_t *pre, ulong offsetPre, int ldPre, ulong stridePre,
          __global const c_t *residual, ulong offsetResidual, int ldResidual,
          ulong strideResidual, int epilogue,
          int splits, __global float *workspace, ulong offsetWorkspace) {
    // Two buffers: one is read while the next step is written into the other, so one barrier per step is enough.
    __local float tileA[2][BK * LD_TILE_A] __attribute__((aligned(16)));
    __local float tileB[2][BK * LD_TILE_B] __attribute__((aligned(16)));

    const int item = get_local_id(0);
    const int itemN = item % ITEMS_N, itemM = item / ITEMS_N;

    // Work-groups that run at the same time should share rows of A and columns of B in the last-level cache: walk the
    // tiles in strips 8 high, top to bottom within a strip.
    const uint tilesM = (m + BM - 1) / BM, tilesN = (n + BN - 1) / BN;
    const uint group = get_group_id(0), plane = group / (tilesM * tilesN), tile = group % (tilesM * tilesN);
    const uint strip = tile / (8 * tilesN), inStrip = tile % (8 * tilesN);
    const uint height = min(tilesM - 8 * strip, 8u), tileColumn = inStrip / height;
    const int row0 = (8 * strip + inStrip % height) * BM, column0 = tileColumn * BN;

    // This group's share of k, in whole steps.
    const size_t z = plane / splits;
    const int split = plane % splits, steps = (k + BK - 1) / BK;
    const int kBegin = (int)((long)steps * split / splits) * BK;
    const int kEnd = min((int)((long)steps * (split + 1) / splits) * BK, k);

    a += offsetA + z * strideA;
    b += offsetB + z * strideB;

    float4 quadsA[FETCHES_A], quadsB[FETCHES_B];
    float4 sum[TM][QUADS_N];
#pragma unroll
    for (int i = 0; i < TM; i++)
#pragma unroll
        for (int j = 0; j < QUADS_N; j++)
            sum[i][j] = 0.0f;

    int buffer = 0, kNext = kBegin;
    FETCH_TILE(quadsA, load_quad_a, FETCHES_A, BM, !TA, a, lda, row0, m)
    FETCH_TILE(quadsB, load_quad_b, FETCHES_B, BN, TB, b, ldb, column0, n)
    STORE_TILE(quadsA, FETCHES_A, BM, !TA, tileA[0], LD_TILE_A)
    STORE_TILE(quadsB, FETCHES_B, BN, TB, tileB[0], LD_TILE_B)
    barrier(CLK_LOCAL_MEM_FENCE);

    while (kNext < kEnd) {
        kNext += BK;
        // Start the loads of the next step early; they arrive while this step computes.
        if (kNext < kEnd) {
            FETCH_TILE(quadsA, load_quad_a, FETCHES_A, BM, !TA, a, lda, row0, m)
            FETCH_TILE(quadsB, load_quad_b, FETCHES_B, BN, TB, b, ldb, column0, n)
        }
        __local const float *fromA = tileA[buffer] + itemM * 4, *fromB = tileB[buffer] + itemN * 4;
#pragma unroll
        for (int kk = 0; kk < BK; kk++) {
            float4 left[QUADS_M], right[QUADS_N];
#pragma unroll
            for (int i = 0; i < QUADS_M; i++)
                left[i] = *(__local const float4 *)(fromA + kk * LD_TILE_A + i * (BM / QUADS_M));
#pragma unroll
            for (int j = 0; j < QUADS_N; j++)
                right[j] = *(__local const float4 *)(fromB + kk * LD_TILE_B + j * (BN / QUADS_N));
#pragma unroll
            for (int i = 0; i < QUADS_M; i++)
#pragma unroll
                for (int j = 0; j < QUADS_N; j++) {
                    sum[4 * i + 0][j] = fma((float4)(left[i].x), right[j], sum[4 * i + 0][j]);
                    sum[4 * i + 1][j] = fma((float4)(left[i].y), right[j], sum[4 * i + 1][j]);
                    sum[4 * i + 2][j] = fma((float4)(left[i].z), right[j], sum[4 * i + 2][j]);
                    sum[4 * i + 3][j] = fma((float4)(left[i].w), right[j], sum[4 * i + 3][j]);
                }
        }
        buffer ^= 1;
        if (kNext < kEnd) {
            STORE_TILE(quadsA, FETCHES_A, BM, !TA, tileA[buffer], LD_TILE_A)
            STORE_TILE(quadsB, FETCHES_B, BN, TB, tileB[buffer], LD_TILE_B)
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    MAKE_TARGET
#pragma unroll
    for (int i = 0; i < TM; i++) {
        const int row = row0 + i / 4 * (BM / QUADS_M) + itemM * 4 + i % 4;
#pragma unroll
        for (int j = 0; j < QUADS_N; j++) {
            const int column = column0 + j * (BN / QUADS_N) + itemN * 4;
            if (row < m)
                finish(target, splits, sum[i][j], row, column, n - column);
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// m <= 8: every element of B is used a few times only, so the time is that of reading B once. No tiles; the work-group
// spreads over B in the direction of its storage and divides k among its work-items, then adds their sums up.
//
//   TB = 1   32 lanes run along k, 8 columns per work-group
//   TB = 0   32 lanes run along n, a quad of columns each: 128 columns per work-group, 8 slices of k
// ---------------------------------------------------------------------------------------------------------------------

#define SKINNY_ROWS 8
#define SKINNY_LANES 32
#define SKINNY_TEAMS 8
#define SKINNY_ITEMS (SKINNY_LANES * SKINNY_TEAMS)
#define SKINNY_COLUMNS (TB ? SKINNY_TEAMS : 4 * SKINNY_LANES)

// Launch: one dimension, ceil(n / SKINNY_COLUMNS) * splits * batch work-groups of 256 work-items.
__kernel __attribute__((reqd_work_group_size(SKINNY_ITEMS, 1, 1))) void
gemm_skinny(int m, int n, int k, int batch, float alpha, int accumulate,
            __global const a_t *restrict a, ulong offsetA, int lda, ulong strideA,
            __global const b_t *restrict b, ulong offsetB, int ldb, ulong strideB,
            __global c_t *c, ulong offsetC, int ldc, ulong strideC,
            __global const float *bias, ulong offsetBias,
            __global c_t *pre, ulong offsetPre, int ldPre, ulong stridePre,
            __global const c_t *residual, ulong offsetResidual, int ldResidual,
            ulong strideResidual, int epilogue,
            int splits, __global float *workspace, ulong offsetWorkspace) {
    // TB = 1: one float per work-item and row.  TB = 0: one quad per work-item, row after row.
    __local float shared[SKINNY_ROWS * SKINNY_ITEMS] __attribute__((aligned(16)));

    const int item = get_local_id(0), lane = item % SKINNY_LANES, team = item / SKINNY_LANES;
    const uint group = get_group_id(0), groupsN = (n + SKINNY_COLUMNS - 1) / SKINNY_COLUMNS, plane = group / groupsN;
    const int column0 = group % groupsN * SKINNY_COLUMNS;
    const size_t z = plane / splits;
    const int split = plane % splits, steps = (k + 3) / 4;
    const int kBegin = (int)((long)steps * split / splits) * 4;
    const int kEnd = min((int)((long)steps * (split + 1) / splits) * 4, k);

    a += offsetA + z * strideA;
    b += offsetB + z * strideB;

    MAKE_TARGET

    float4 sum[SKINNY_ROWS];
#pragma unroll
    for (int row = 0; row < SKINNY_ROWS; row++)
        sum[row] = 0.0f;

#if TB
    const int column = column0 + team;
    for (int kk = kBegin + 4 * lane; kk < kEnd; kk += 4 * SKINNY_LANES) {
        const float4 right = load_quad_b(b + (size_t)column * ldb + kk, column < n ? kEnd - kk : 0);
#pragma unroll
        for (int row = 0; row < SKINNY_ROWS; row++)
            if (row < m) {
#if TA
                float4 left = 0.0f;
                left.x = READ_A(a + (size_t)kk * lda + row);
                if (kk + 1 < kEnd)
                    left.y = READ_A(a + (size_t)(kk + 1) * lda + row);
                if (kk + 2 < kEnd)
                    left.z = READ_A(a + (size_t)(kk + 2) * lda + row);
                if (kk + 3 < kEnd)
                    left.w = READ_A(a + (size_t)(kk + 3) * lda + row);
#else
                const float4 left = load_quad_a(a + (size_t)row * lda + kk, kEnd - kk);
#endif
                sum[row] = fma(left, right, sum[row]);
            }
    }
#pragma unroll
    for (int row = 0; row < SKINNY_ROWS; row++)
        shared[row * SKINNY_ITEMS + item] = (sum[row].x + sum[row].y) + (sum[row].z + sum[row].w);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int reach = SKINNY_LANES / 2; reach > 0; reach /= 2) {
        if (lane < reach)
#pragma unroll
            for (int row = 0; row < SKINNY_ROWS; row++)
                shared[row * SKINNY_ITEMS + item] += shared[row * SKINNY_ITEMS + item + reach];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    // 8 rows x 8 columns, finished by the first 16 work-items, a quad of columns each.
    const int row = item / 2, quad = item % 2 * 4;
    if (row < m && column0 + quad < n) {
        __local const float *from = shared + row * SKINNY_ITEMS + quad * SKINNY_LANES;
        const float4 total = (float4)(from[0], from[SKINNY_LANES], from[2 * SKINNY_LANES], from[3 * SKINNY_LANES]);
        finish(target, splits, total, row, column0 + quad, n - column0 - quad);
    }
#else
    const int column = column0 + 4 * lane;
    for (int kk = kBegin + team; kk < kEnd; kk += SKINNY_TEAMS) {
        const float4 right = load_quad_b(b + (size_t)kk * ldb + column, n - column);
#pragma unroll
        for (int row = 0; row < SKINNY_ROWS; row++)
            if (row < m) {
                const float left = READ_A(a + (TA ? (size_t)kk * lda + row : (size_t)row * lda + kk));
                sum[row] = fma((float4)(left), right, sum[row]);
            }
    }
    // Two rows of quads at a time fill the shared array; then one team per row adds the 8 slices up in order.
    __local float4 *quads = (__local float4 *)shared;
#pragma unroll
    for (int row = 0; row < SKINNY_ROWS; row += 2) {
        quads[item] = sum[row];
        quads[SKINNY_ITEMS + item] = sum[row + 1];
        barrier(CLK_LOCAL_MEM_FENCE);
        if (team < 2 && row + team < m && column < n) {
            float4 total = 0.0f;
            for (int slice = 0; slice < SKINNY_TEAMS; slice++)
                total += quads[team * SKINNY_ITEMS + slice * SKINNY_LANES + lane];
            finish(target, splits, total, row + team, column, n - column);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
#endif
}

// Adds up the partial sums of a split k, in ascending order, and runs the epilogue: one work-item per quad of C.
// Launch: one dimension, ceil(n / 4) * m * batch work-items, rounded up to whole work-groups.
__kernel __attribute__((reqd_work_group_size(256, 1, 1))) void
gemm_reduce(int m, int n, int batch, int splits, float alpha, int accumulate,
            __global const float *partials, ulong offsetPartials,
            __global c_t *c, ulong offsetC, int ldc, ulong strideC,
            __global const float *bias, ulong offsetBias,
            __global c_t *pre, ulong offsetPre, int ldPre, ulong stridePre,
            __global const c_t *residual, ulong offsetResidual, int ldResidual,
            ulong strideResidual, int epilogue) {
    const size_t quadsN = (n + 3) / 4, quad = get_global_id(0), rowOfAll = quad / quadsN;
    const size_t z = rowOfAll / m, row = rowOfAll % m, plane = m * quadsN * 4;
    const int column = (int)(quad % quadsN) * 4;
    if (z >= (size_t)batch)
        return;
    __global const float *from = partials + offsetPartials + z * splits * plane + row * quadsN * 4 + column;
    float4 sum = load_quad(from, n - column);
    for (int split = 1; split < splits; split++)
        sum += load_quad(from + split * plane, n - column);
    const Epilogue e =
        make_epilogue(alpha, accumulate, epilogue, bias + offsetBias, pre + offsetPre + z * stridePre, ldPre,
                      residual + offsetResidual + z * strideResidual, ldResidual);
    finish_quad(e, sum, c + offsetC + z * strideC, ldc, row, column, n - column);
}

#endif // SIMT
