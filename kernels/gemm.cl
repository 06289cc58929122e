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
// Kernel families that share this file and the epilogue. The host picks one per device when it builds the program:
//
//   -DVECTOR        CPUs. One work-item computes a whole tile with `float16` arithmetic: no local memory, no barriers,
//                   because CPU runtimes turn work-groups with barriers into slow loops over spilled variables.
//   -DSIMT          GPUs. A work-group shares a tile of A and B in local memory, each work-item keeps a small block of C
//                   in registers.
//   -DMATRIX_UNITS  GPUs that multiply small matrices of bf16 by themselves (family `nvptx`); see there.
//
// All sum in an order fixed by the launch plan: two runs of one plan give the same bits.
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
// Epilogue, common to all families
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
#if !defined(BM) && !defined(MATRIX_UNITS)
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

// The tile of C that a work-group computes, and its share of k. Work-groups that run at the same time should share rows of A and columns of
// B in the last-level cache: tiles are walked in strips 8 high, top to bottom within a strip.
#define PLACE_GROUP                                                                                                    \
    const uint tilesM = (m + BM - 1) / BM, tilesN = (n + BN - 1) / BN;                                                 \
    const uint group = get_group_id(0), plane = group / (tilesM * tilesN), tile = group % (tilesM * tilesN);           \
    const uint strip = tile / (8 * tilesN), inStrip = tile % (8 * tilesN);                                             \
    const uint height = min(tilesM - 8 * strip, 8u), tileColumn = inStrip / height;                                    \
    const int row0 = (8 * strip + inStrip % height) * BM, column0 = tileColumn * BN;                                   \
    const size_t z = plane / splits;                                                                                   \
    const int split = plane % splits, steps = (k + BK - 1) / BK;                                                       \
    const int kBegin = (int)((long)steps * split / splits) * BK;                                                       \
    const int kEnd = min((int)((long)steps * (split + 1) / splits) * BK, k);

// Where this work-item's quad of a tile lies: ALONG rows of op(A), or columns of op(B), x BK steps of k. K_CONTIGUOUS says in which
// direction the storage runs, so that each quad is one piece of memory.
#define QUAD_ALONG(ALONG, K_CONTIGUOUS) (K_CONTIGUOUS ? item / (BK / 4) : item % (ALONG / 4) * 4)
#define QUAD_STEP(ALONG, K_CONTIGUOUS) (K_CONTIGUOUS ? item % (BK / 4) * 4 : item / (ALONG / 4))

// Its place in the matrix.
#define AT(K_CONTIGUOUS, along, step, ld)                                                                              \
    (K_CONTIGUOUS ? (along) * (size_t)(ld) + (step) : (step) * (size_t)(ld) + (along))

// How many numbers of a piece are inside of the matrix when its first is at `along`, `step`; not above 0 when none is.
#define INSIDE(K_CONTIGUOUS, along, alongEnd, step)                                                                    \
    (K_CONTIGUOUS ? ((along) < alongEnd ? kEnd - (step) : 0) : ((step) < kEnd ? alongEnd - (along) : 0))

// Loads this step's quads, zero outside of the matrix, and moves on to the next. Nearly all tiles are inside as a whole.
#define FETCH_QUADS                                                                                                    \
    if (isInside && kNext + BK <= kEnd) {                                                                              \
        quadA = QUAD_A(nextA);                                                                                         \
        quadB = QUAD_B(nextB);                                                                                         \
    } else {                                                                                                           \
        quadA = load_quad_a(nextA, INSIDE(!TA, row0 + alongA, m, kNext + stepA));                                      \
        quadB = load_quad_b(nextB, INSIDE(TB, column0 + alongB, n, kNext + stepB));                                    \
    }                                                                                                                  \
    nextA += TA ? BK * (size_t)lda : BK;                                                                               \
    nextB += TB ? BK : BK * (size_t)ldb;

// Puts a fetched quad into local memory, always k-major: tile[k][row].
#define STORE_QUAD(quad, K_CONTIGUOUS, tile, LD, along, step)                                                          \
    {                                                                                                                  \
        __local float *to = tile + (step) * LD + (along);                                                              \
        if (K_CONTIGUOUS) {                                                                                            \
            to[0] = quad.x;                                                                                            \
            to[LD] = quad.y;                                                                                           \
            to[2 * LD] = quad.z;                                                                                       \
            to[3 * LD] = quad.w;                                                                                       \
        } else {                                                                                                       \
            *(__local float4 *)to = quad;                                                                              \
        }                                                                                                              \
    }
#define STORE_QUADS(buffer)                                                                                            \
    STORE_QUAD(quadA, !TA, tileA[buffer], LD_TILE_A, alongA, stepA)                                                    \
    STORE_QUAD(quadB, TB, tileB[buffer], LD_TILE_B, alongB, stepB)

// One list for all kernels of products, whether they need all of it or not.
#define GEMM_ARGUMENTS                                                                                                 \
    int m, int n, int k, int batch, float alpha, int accumulate, __global const a_t *restrict a, ulong offsetA, int lda, \
        ulong strideA, __global const b_t *restrict b, ulong offsetB, int ldb, ulong strideB, __global c_t *c,         \
        ulong offsetC, int ldc, ulong strideC, __global const float *bias, ulong offsetBias, __global c_t *pre,        \
        ulong offsetPre, int ldPre, ulong stridePre, __global const c_t *residual, ulong offsetResidual,               \
        int ldResidual, ulong strideResidual, int epilogue, int splits, __global float *workspace, ulong offsetWorkspace

#if WANTED(gemm_simt) && !defined(MATRIX_UNITS)
// Launch: one dimension, tilesM * tilesN * splits * batch work-groups of ITEMS work-items.
__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
gemm_simt(GEMM_ARGUMENTS) {
    // Two buffers: one is read while the next step is written into the other, so one barrier per step is enough.
    __local float tileA[2][BK * LD_TILE_A] __attribute__((aligned(16)));
    __local float tileB[2][BK * LD_TILE_B] __attribute__((aligned(16)));

    const int item = get_local_id(0);
#if TA == TB
    const int itemN = item % ITEMS_N, itemM = item / ITEMS_N;
#else
    // Blocks of 8 x 4 parts for 32 neighbours. Which of the two is faster is the compiler's doing: 127 registers let two work-groups share a
    // unit of NVIDIA's, and each of them needs 149 for the other forms.
    const int itemN = item / 32 % (ITEMS_N / 8) * 8 + item % 8, itemM = item / 32 / (ITEMS_N / 8) * 4 + item % 32 / 8;
#endif
    PLACE_GROUP

    const int alongA = QUAD_ALONG(BM, !TA), stepA = QUAD_STEP(BM, !TA);
    const int alongB = QUAD_ALONG(BN, TB), stepB = QUAD_STEP(BN, TB);
    const bool isInside = row0 + BM <= m && column0 + BN <= n;
    __global const a_t *nextA = a + offsetA + z * strideA + AT(!TA, row0 + alongA, kBegin + stepA, lda);
    __global const b_t *nextB = b + offsetB + z * strideB + AT(TB, column0 + alongB, kBegin + stepB, ldb);
    float4 quadA, quadB;
    float4 sum[TM][QUADS_N];
#pragma unroll
    for (int i = 0; i < TM; i++)
#pragma unroll
        for (int j = 0; j < QUADS_N; j++)
            sum[i][j] = 0.0f;

    int buffer = 0, kNext = kBegin;
    FETCH_QUADS
    STORE_QUADS(0)
    barrier(CLK_LOCAL_MEM_FENCE);

    while (kNext < kEnd) {
        kNext += BK;
        // Start the loads of the next step early; they arrive while this step computes.
        if (kNext < kEnd) {
            FETCH_QUADS
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
            STORE_QUADS(buffer)
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
#endif

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

#if WANTED(gemm_skinny) && !defined(MATRIX_UNITS)
// Launch: one dimension, ceil(n / SKINNY_COLUMNS) * splits * batch work-groups of 256 work-items.
__kernel __attribute__((reqd_work_group_size(SKINNY_ITEMS, 1, 1))) void
gemm_skinny(GEMM_ARGUMENTS) {
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
#endif

// ---------------------------------------------------------------------------------------------------------------------
// Matrix units: B bf16, A bf16 or fp32, sums fp32, on NVIDIA's tensor cores (compute capability 8.0 and up) through inline PTX. OpenCL C
// has no word for them, so each instruction stands in a macro of its own.
//
// The units multiply bf16 by bf16. An fp32 number is exactly the sum of three of bf16, 8 bits of it each, so an A of fp32 becomes three
// planes and three products: gradients, which are fp32, lose nothing.
//
// Tiles travel to local memory 16 bytes at a time, asynchronously (cp.async), STAGES - 1 steps ahead. Work-items of a warp read fragments
// of 8 x 8 from there (ldmatrix), transposed where k does not run along memory, and multiply 16 x 8 x 16 at a time (mma.sync). Chunks of
// 16 bytes are permuted within their row of local memory, so that the eight rows of a fragment lie in different banks.
//
// Build switches, beside TA and TB:
//   MATRIX_UNITS      this kernel instead of the two above;  without NVPTX it has the same tiles and edges, but plain arithmetic, for tests
//   BM, BN, BK        tile of a work-group;  WARP_M, WARP_N  tile of a warp of 32 work-items;  STAGES  tiles in local memory
//
// Needs leading dimensions, offsets and batch strides of A and B that are multiples of 16 bytes.
// ---------------------------------------------------------------------------------------------------------------------

#ifdef MATRIX_UNITS

#ifndef BM
#define BM 128
#define BN 128
#define BK 16
#define WARP_M 64
#define WARP_N 32
#define STAGES 2
#endif

#define WARPS_M (BM / WARP_M)
#define MATRIX_ITEMS (32 * WARPS_M * (BN / WARP_N))
#define CHUNK 8 // bf16 in 16 bytes
#ifdef A_BF16
#define PLANES 1
#else
#define PLANES 3
#endif
#define STAGE ((PLANES * BM + BN) * BK)

// Where a chunk lies in a tile. k along memory: BK / 8 chunks a row of op(A) (a column of op(B)); else `ALONG` / 8 chunks a step of k.
#define PLACE_K(along, k) ((along) * BK + (((k) / CHUNK ^ (along) / (64 / BK)) & (BK / CHUNK - 1)) * CHUNK)
#define PLACE_ALONG(ALONG, along, k) ((k) * ALONG + ((along) / CHUNK ^ ((k) & 7)) * CHUNK)

#ifdef NVPTX
// Copies `bytes` (0...16) and fills the rest of 16 with zeros.
#define COPY_CHUNK(to, from, bytes)                                                                                    \
    __asm__ volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"l"(to), "l"(from), "r"(bytes) : "memory")
#define COPIES_COMMIT() __asm__ volatile("cp.async.commit_group;" ::: "memory")
#define COPIES_WAIT(left) __asm__ volatile("cp.async.wait_group %0;" ::"n"(left) : "memory")
// Four fragments of 8 x 8, one address of a row from each lane.
#define LOAD_FRAGMENTS(r, from)                                                                                        \
    __asm__ volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"                                \
                     : "=r"((r)[0]), "=r"((r)[1]), "=r"((r)[2]), "=r"((r)[3])                                          \
                     : "l"(from)                                                                                       \
                     : "memory")
#define LOAD_FRAGMENTS_TRANSPOSED(r, from)                                                                             \
    __asm__ volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"                          \
                     : "=r"((r)[0]), "=r"((r)[1]), "=r"((r)[2]), "=r"((r)[3])                                          \
                     : "l"(from)                                                                                       \
                     : "memory")
#define MULTIPLY_ADD(d, a, b0, b1)                                                                                     \
    __asm__ volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "                                            \
                     "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                                 \
                     : "+f"((d)[0]), "+f"((d)[1]), "+f"((d)[2]), "+f"((d)[3])                                          \
                     : "r"((a)[0]), "r"((a)[1]), "r"((a)[2]), "r"((a)[3]), "r"(b0), "r"(b1))
// The value of the lane whose number differs in the last bit.
static float neighbour_lane(float v) {
    float other;
    __asm__ volatile("shfl.sync.bfly.b32 %0, %1, 1, 31, 0xffffffff;" : "=f"(other) : "f"(v));
    return other;
}
#else
#define COPY_CHUNK(to, from, bytes)                                                                                    \
    for (int e = 0; e < CHUNK; e++)                                                                                    \
    (to)[e] = 2 * e < bytes ? (from)[e] : 0
#define COPIES_COMMIT()
#define COPIES_WAIT(left)
#endif

// A work-item's first chunk of a tile of ALONG rows of op(A), or columns of op(B), x BK steps of k; the next is a fixed distance on.
#define CHUNK_ALONG(ALONG, K_CONTIGUOUS) (K_CONTIGUOUS ? item / (BK / CHUNK) : item % (ALONG / CHUNK) * CHUNK)
#define CHUNK_STEP(ALONG, K_CONTIGUOUS) (K_CONTIGUOUS ? item % (BK / CHUNK) * CHUNK : item / (ALONG / CHUNK))
#define CHUNK_DISTANCE(ALONG, K_CONTIGUOUS) (MATRIX_ITEMS / ((K_CONTIGUOUS ? BK : ALONG) / CHUNK))

// Starts the copies of a tile from `next` on; BYTES of each chunk are inside of the matrix.
#define COPY_TILE(tile, ALONG, K_CONTIGUOUS, next, ld, along, step, BYTES)                                             \
    _Pragma("unroll") for (int f = 0; f < ALONG * BK / CHUNK / MATRIX_ITEMS; f++) {                                    \
        const int on = f * CHUNK_DISTANCE(ALONG, K_CONTIGUOUS);                                                        \
        const int alongOn = K_CONTIGUOUS ? on : 0, stepOn = K_CONTIGUOUS ? 0 : on;                                     \
        COPY_CHUNK((tile) + (K_CONTIGUOUS ? PLACE_K(along, step) + on * BK                                             \
                                          : PLACE_ALONG(ALONG, along, step) + on * ALONG),                             \
                   (next) + on * (size_t)(ld), BYTES);                                                                 \
    }
#define BYTES_A (2 * clamp(INSIDE(!TA, row0 + alongA + alongOn, m, kNext + stepA + stepOn), 0, CHUNK))
#define BYTES_B (2 * clamp(INSIDE(TB, column0 + alongB + alongOn, n, kNext + stepB + stepOn), 0, CHUNK))

#ifdef A_BF16

#define FETCHED_A
#define START_A(toA, BYTES) COPY_TILE(toA, BM, !TA, nextA, lda, alongA, stepA, BYTES)
#define FINISH_A(toA)

#else

// An fp32 A passes through registers: fetched before a step's products, split and stored behind them.
#define COPIES_A (BM * BK / CHUNK / MATRIX_ITEMS)
#define FETCHED_A float4 fetched[COPIES_A][2];
#define START_A(toA, BYTES)                                                                                            \
    _Pragma("unroll") for (int f = 0; f < COPIES_A; f++) {                                                             \
        const int on = f * CHUNK_DISTANCE(BM, !TA), alongOn = TA ? 0 : on, stepOn = TA ? on : 0, bytes = BYTES;        \
        fetched[f][0] = load_quad(nextA + on * (size_t)lda, bytes / 2);                                                \
        fetched[f][1] = load_quad(nextA + on * (size_t)lda + 4, bytes / 2 - 4);                                        \
    }
#define FINISH_A(toA)                                                                                                  \
    _Pragma("unroll") for (int f = 0; f < COPIES_A; f++) {                                                             \
        const int on = f * CHUNK_DISTANCE(BM, !TA);                                                                    \
        store_planes(fetched[f][0], fetched[f][1],                                                                     \
                     (toA) + (TA ? PLACE_ALONG(BM, alongA, stepA) + on * BM : PLACE_K(alongA, stepA) + on * BK));      \
    }

// The first 8 bits of each number, which are taken off it. Of what is not finite nothing is left over.
static uint4 leading_bits(float4 *v) {
    const uint4 bits = as_uint4(*v) & 0xFFFF0000u;
    const int4 finite = (bits & 0x7F800000u) != 0x7F800000u;
    // NaN stays NaN, whatever bits of it are cut off.
    const uint4 leading = isnan(*v) ? (uint4)(0x7FC00000u) : bits;
    *v = select((float4)(0.0f), *v - as_float4(bits), finite);
    return leading;
}

// Splits eight numbers into the three planes of a tile.
static void store_planes(float4 low, float4 high, __local ushort *to) {
#pragma unroll
    for (int plane = 0; plane < 3; plane++) {
        const uint4 a = leading_bits(&low), b = leading_bits(&high);
        *(__local uint4 *)(to + plane * BM * BK) =
            (uint4)(a.x >> 16 | a.y, a.z >> 16 | a.w, b.x >> 16 | b.y, b.z >> 16 | b.w);
    }
}

#endif

// Starts the transfers of a step and moves on. Nearly all tiles are inside as a whole.
#define START_STEP(stage)                                                                                              \
    {                                                                                                                  \
        __local ushort *toA = tiles + (stage) * STAGE, *toB = toA + PLANES * BM * BK;                                  \
        if (isInside && kNext + BK <= kEnd) {                                                                          \
            START_A(toA, 2 * CHUNK)                                                                                    \
            COPY_TILE(toB, BN, TB, nextB, ldb, alongB, stepB, 2 * CHUNK)                                               \
        } else if (kNext < kEnd) {                                                                                     \
            START_A(toA, BYTES_A)                                                                                      \
            COPY_TILE(toB, BN, TB, nextB, ldb, alongB, stepB, BYTES_B)                                                 \
        }                                                                                                              \
        COPIES_COMMIT();                                                                                               \
        nextA += TA ? BK * (size_t)lda : BK;                                                                           \
        nextB += TB ? BK : BK * (size_t)ldb;                                                                           \
        kNext += BK;                                                                                                   \
    }

// Launch: as gemm_simt, of MATRIX_ITEMS work-items.
__kernel __attribute__((reqd_work_group_size(MATRIX_ITEMS, 1, 1))) void
gemm_matrix(GEMM_ARGUMENTS) {
    __local ushort tiles[STAGES * STAGE] __attribute__((aligned(128)));

    const int item = get_local_id(0), lane = item % 32, warp = item / 32;
    const int warpRow = warp % WARPS_M * WARP_M, warpColumn = warp / WARPS_M * WARP_N;
    PLACE_GROUP

    const int alongA = CHUNK_ALONG(BM, !TA), stepA = CHUNK_STEP(BM, !TA);
    const int alongB = CHUNK_ALONG(BN, TB), stepB = CHUNK_STEP(BN, TB);
    const bool isInside = row0 + BM <= m && column0 + BN <= n;
    __global const a_t *nextA = a + offsetA + z * strideA + AT(!TA, row0 + alongA, kBegin + stepA, lda);
    __global const b_t *nextB = b + offsetB + z * strideB + AT(TB, column0 + alongB, kBegin + stepB, ldb);

    float sum[WARP_M / 16][WARP_N / 8][4];
#pragma unroll
    for (int i = 0; i < WARP_M / 16; i++)
#pragma unroll
        for (int j = 0; j < WARP_N / 8; j++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                sum[i][j][e] = 0.0f;

    FETCHED_A
    int kNext = kBegin;
#pragma unroll
    for (int stage = 0; stage < STAGES - 1; stage++) {
        START_STEP(stage)
        FINISH_A(tiles + stage * STAGE)
    }
    int stage = 0;
    for (int kk = kBegin; kk < kEnd; kk += BK) {
        // This step's tile has come, and no work-item reads the one of the step before any more: its place is free.
        COPIES_WAIT(STAGES - 2);
        barrier(CLK_LOCAL_MEM_FENCE);
        const int ahead = stage == 0 ? STAGES - 1 : stage - 1;
        START_STEP(ahead)
        __local const ushort *fromA = tiles + stage * STAGE, *fromB = fromA + PLANES * BM * BK;
#ifdef NVPTX
#pragma unroll
        for (int piece = 0; piece < BK; piece += 16) {
            uint left[WARP_M / 16][4], right[WARP_N / 16][4];
            // Fragments of B: both halves of k of columns 0-7, then of columns 8-15.
#pragma unroll
            for (int j = 0; j < WARP_N / 16; j++) {
                const int along = warpColumn + j * 16;
                if (TB)
                    LOAD_FRAGMENTS(right[j], fromB + PLACE_K(along + (lane & 7) + (lane >> 4) * 8,
                                                             piece + (lane >> 3 & 1) * 8));
                else
                    LOAD_FRAGMENTS_TRANSPOSED(right[j], fromB + PLACE_ALONG(BN, along + (lane >> 4) * 8,
                                                                            piece + (lane & 15)));
            }
            // The least bits first.
#pragma unroll
            for (int plane = PLANES - 1; plane >= 0; plane--) {
                // Fragments of A: rows 0-7 and 8-15 of the first 8 of k, then of the second.
#pragma unroll
                for (int i = 0; i < WARP_M / 16; i++) {
                    const int along = warpRow + i * 16;
                    if (TA)
                        LOAD_FRAGMENTS_TRANSPOSED(left[i], fromA + plane * BM * BK +
                                                               PLACE_ALONG(BM, along + (lane >> 3 & 1) * 8,
                                                                           piece + (lane & 7) + (lane >> 4) * 8));
                    else
                        LOAD_FRAGMENTS(left[i],
                                       fromA + plane * BM * BK + PLACE_K(along + (lane & 15), piece + (lane >> 4) * 8));
                }
#pragma unroll
                for (int i = 0; i < WARP_M / 16; i++)
#pragma unroll
                    for (int j = 0; j < WARP_N / 8; j++)
                        MULTIPLY_ADD(sum[i][j], left[i], right[j / 2][j % 2 * 2], right[j / 2][j % 2 * 2 + 1]);
            }
        }
#else
        // Each work-item's four neighbours, as they are stored below.
        for (int i = 0; i < WARP_M / 16; i++)
            for (int j = 0; j < WARP_N / 8; j++)
                for (int e = 0; e < 4; e++) {
                    const int row = warpRow + i * 16 + lane / 4 + lane % 2 * 8;
                    const int column = warpColumn + j * 8 + lane % 4 / 2 * 4 + e;
                    for (int step = 0; step < BK; step++) {
                        const int placeA = TA ? PLACE_ALONG(BM, row, step) + row % CHUNK : PLACE_K(row, step) + step % CHUNK;
                        const int placeB =
                            TB ? PLACE_K(column, step) + step % CHUNK : PLACE_ALONG(BN, column, step) + column % CHUNK;
                        for (int plane = PLANES - 1; plane >= 0; plane--)
                            sum[i][j][e] = fma(float_of_bf16(fromA[plane * BM * BK + placeA]),
                                               float_of_bf16(fromB[placeB]), sum[i][j][e]);
                    }
                }
#endif
        FINISH_A(tiles + ahead * STAGE)
        stage = stage == STAGES - 1 ? 0 : stage + 1;
    }

    MAKE_TARGET
    // A work-item has two neighbours of a row and the two eight rows below. Neighbouring lanes swap a pair, so that each has four neighbours:
    // even lanes of the upper row, odd ones of the lower.
#pragma unroll
    for (int i = 0; i < WARP_M / 16; i++)
#pragma unroll
        for (int j = 0; j < WARP_N / 8; j++) {
            const int odd = lane & 1, row = row0 + warpRow + i * 16 + lane / 4 + odd * 8;
            const int column = column0 + warpColumn + j * 8 + lane % 4 / 2 * 4;
            float4 quad;
#ifdef NVPTX
            const float *d = sum[i][j];
            const float first = neighbour_lane(odd ? d[0] : d[2]), second = neighbour_lane(odd ? d[1] : d[3]);
            quad = odd ? (float4)(first, second, d[2], d[3]) : (float4)(d[0], d[1], first, second);
#else
            quad = vload4(0, sum[i][j]);
#endif
            if (row < m && column < n)
                finish(target, splits, quad, row, column, n - column);
        }
}

#endif // MATRIX_UNITS

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
