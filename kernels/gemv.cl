// Products of few rows, where every number of B is used a few times only and the time is that of reading B once: B is read as it
// lies, without packing.
//
//   C[r, j] = relu?(alpha · Σ_k A[r, k] · B[k, j]  (+ bias[j]))  (+ residual[r, j])  (+ C[r, j])
//
// A [m, k] and C [m, n] have rows with a pitch. B is stored k × n (`gemv_along`), or n × k (`gemv_across`: each column's numbers are
// neighbours). Ranges are columns of B. GPUs have gemm_skinny in gemm.cl.
//
// B is fp32, or bfloat16 where B_BF16 is defined; the CPU backend includes this text once for each.

#ifdef B_BF16
#define GEMV(name) name##_bf16
#define GEMV_B ushort
#define LOAD_B LOAD_BF16
#define LOAD_PART_B load_part_bf16
#else
#define GEMV(name) name
#define GEMV_B float
#define LOAD_B LOAD
#define LOAD_PART_B load_part
#endif

#define GEMV_BIAS 1
#define GEMV_RESIDUAL 2
#define GEMV_ACCUMULATE 4
#define GEMV_RELU 8

#ifdef VECTOR

// B stored n × k: one column after the other, so that memory is read in one stream; a column's sum in four parts, because one
// would wait for itself.
INLINE void GEMV(gemv_across_columns)(
    index_t begin, index_t end, GLOBAL const float *a, index_t a_pitch, GLOBAL const GEMV_B *b, index_t b_pitch,
    GLOBAL const float *bias, GLOBAL const float *residual, index_t residual_pitch, GLOBAL float *c, index_t c_pitch,
    int m, int k, float alpha, int flags) {
    const int fours = k / (4 * LANES) * (4 * LANES), whole = k / LANES * LANES, part = k - whole;
    for (index_t j = begin; j < end; j++) {
        GLOBAL const GEMV_B *from = b + j * b_pitch;
        for (int r = 0; r < m; r++) {
            GLOBAL const float *x = a + r * a_pitch;
            real s0 = SPLAT(0.0f), s1 = SPLAT(0.0f), s2 = SPLAT(0.0f), s3 = SPLAT(0.0f);
            int i = 0;
            for (; i < fours; i += 4 * LANES) {
                s0 = V_FMA(LOAD(x + i), LOAD_B(from + i), s0);
                s1 = V_FMA(LOAD(x + i + LANES), LOAD_B(from + i + LANES), s1);
                s2 = V_FMA(LOAD(x + i + 2 * LANES), LOAD_B(from + i + 2 * LANES), s2);
                s3 = V_FMA(LOAD(x + i + 3 * LANES), LOAD_B(from + i + 3 * LANES), s3);
            }
            for (; i < whole; i += LANES) s0 = V_FMA(LOAD(x + i), LOAD_B(from + i), s0);
            if (part) s1 = V_FMA(load_part(x + whole, part, 0.0f), LOAD_PART_B(from + whole, part, 0.0f), s1);
            float y = alpha * lane_sum((s0 + s1) + (s2 + s3));
            GLOBAL float *to = c + r * c_pitch + j;
            if (flags & GEMV_BIAS) y += bias[j];
            if ((flags & GEMV_RELU) && y < 0.0f) y = 0.0f;  // NaN stays NaN
            if (flags & GEMV_RESIDUAL) y += residual[r * residual_pitch + j];
            *to = flags & GEMV_ACCUMULATE ? *to + y : y;
        }
    }
}

INLINE real GEMV(gemv_finished)(
    real sum, GLOBAL const float *bias, GLOBAL const float *residual, GLOBAL const float *c, float alpha, int flags,
    int n) {
    real y = SPLAT(alpha) * sum;
    if (flags & GEMV_BIAS) y += n < LANES ? load_part(bias, n, 0.0f) : LOAD(bias);
    if (flags & GEMV_RELU) y = SELECT(y, SPLAT(0.0f), y < SPLAT(0.0f));
    if (flags & GEMV_RESIDUAL) y += n < LANES ? load_part(residual, n, 0.0f) : LOAD(residual);
    if (flags & GEMV_ACCUMULATE) y += n < LANES ? load_part(c, n, 0.0f) : LOAD(c);
    return y;
}

// B stored k × n: 64 columns at a time.
INLINE void GEMV(gemv_along_columns)(
    index_t begin, index_t end, GLOBAL const float *a, index_t a_pitch, GLOBAL const GEMV_B *b, index_t b_pitch,
    GLOBAL const float *bias, GLOBAL const float *residual, index_t residual_pitch, GLOBAL float *c, index_t c_pitch,
    int m, int k, float alpha, int flags) {
#define FINISHED(sum, at, n) \
    GEMV(gemv_finished)(sum, bias + (at), residual + r * residual_pitch + (at), c + r * c_pitch + (at), alpha, flags, n)
    index_t j = begin;
    for (; j + 4 * LANES <= end; j += 4 * LANES) {
        for (int r = 0; r < m; r++) {
            GLOBAL const float *x = a + r * a_pitch;
            GLOBAL const GEMV_B *from = b + j;
            real s0 = SPLAT(0.0f), s1 = SPLAT(0.0f), s2 = SPLAT(0.0f), s3 = SPLAT(0.0f);
            for (int i = 0; i < k; i++, from += b_pitch) {
                const real v = SPLAT(x[i]);
                s0 = V_FMA(v, LOAD_B(from), s0);
                s1 = V_FMA(v, LOAD_B(from + LANES), s1);
                s2 = V_FMA(v, LOAD_B(from + 2 * LANES), s2);
                s3 = V_FMA(v, LOAD_B(from + 3 * LANES), s3);
            }
            GLOBAL float *to = c + r * c_pitch + j;
            STORE(to, FINISHED(s0, j, LANES));
            STORE(to + LANES, FINISHED(s1, j + LANES, LANES));
            STORE(to + 2 * LANES, FINISHED(s2, j + 2 * LANES, LANES));
            STORE(to + 3 * LANES, FINISHED(s3, j + 3 * LANES, LANES));
        }
    }
    for (; j < end; j += LANES) {
        const int n = end - j < LANES ? (int)(end - j) : LANES;
        for (int r = 0; r < m; r++) {
            GLOBAL const float *x = a + r * a_pitch;
            GLOBAL const GEMV_B *from = b + j;
            real sum = SPLAT(0.0f);
            for (int i = 0; i < k; i++, from += b_pitch)
                sum = V_FMA(SPLAT(x[i]), n < LANES ? LOAD_PART_B(from, n, 0.0f) : LOAD_B(from), sum);
            GLOBAL float *to = c + r * c_pitch + j;
            const real y = FINISHED(sum, j, n);
            if (n < LANES)
                store_part(to, y, n);
            else
                STORE(to, y);
        }
    }
#undef FINISHED
}

#endif

#if defined(VECTOR) && defined(__OPENCL_VERSION__)
#define GEMV_ARGUMENTS                                                                                                 \
    long count, long count_per_item, __global const float *a, long a_at, __global const GEMV_B *b, long b_at,           \
        __global const float *bias, long bias_at, __global const float *residual, long residual_at,                    \
        __global float *c, long c_at, long a_pitch, long b_pitch, long residual_pitch, long c_pitch, int m, int k,      \
        float alpha, int flags
#define GEMV_KERNEL(name)                                                                                              \
    __kernel void name(GEMV_ARGUMENTS) {                                                                               \
        const long begin = get_global_id(0) * count_per_item, end = min(count, begin + count_per_item);                \
        GEMV(name##_columns)(                                                                                                \
            begin, end, a + a_at, a_pitch, b + b_at, b_pitch, bias + bias_at, residual + residual_at, residual_pitch,  \
            c + c_at, c_pitch, m, k, alpha, flags);                                                                    \
    }
// One work-item for count_per_item columns.
#if WANTED(gemv_across)
GEMV_KERNEL(gemv_across)
#endif
#if WANTED(gemv_along)
GEMV_KERNEL(gemv_along)
#endif
#endif

#undef GEMV
#undef GEMV_B
#undef LOAD_B
#undef LOAD_PART_B
