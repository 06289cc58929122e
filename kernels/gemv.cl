// Products of few rows, where every number of B is used a few times only and the time is that of reading B once: B is read as it
// lies, without packing.
//
//   C[r, j] = relu?(alpha · Σ_k A[r, k] · B[k, j]  (+ bias[j]))  (+ residual[r, j])  (+ C[r, j])
//
// A [m, k] and C [m, n] have rows with a pitch. B is stored k × n (`gemv_along`), or n × k (`gemv_across`: each column's numbers are
// neighbours). Ranges are columns of B. GPUs have gemm_skinny in gemm.cl.
//
// normed_product has the norm in front of a product and a gated activation behind it in the same launch, for GPUs too: decoding a
// token takes as long as its launches.
//
//   C[r, j] = Σ_k N[r, k] · B[j, k]  (+ bias[j]),   N[r, k] = A[r, k] / sqrt(mean_k(A[r, k]²) + epsilon)  (· norm[k])
//   C[r, j] = activation(gate) · up,   the two being columns j and n + j of such a product
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

// The activation of a gate; 0: there is none.
#define GATE_SILU 1
#define GATE_GELU_TANH 2
#define NORMED_MOST_ROWS 8

#ifdef VECTOR

// Σ x · b over k numbers, in four parts, because one sum would wait for itself.
INLINE float GEMV(gemv_sum)(GLOBAL const float *x, GLOBAL const GEMV_B *b, int k) {
    const int fours = k / (4 * LANES) * (4 * LANES), whole = k / LANES * LANES, part = k - whole;
    real s0 = SPLAT(0.0f), s1 = SPLAT(0.0f), s2 = SPLAT(0.0f), s3 = SPLAT(0.0f);
    int i = 0;
    for (; i < fours; i += 4 * LANES) {
        s0 = V_FMA(LOAD(x + i), LOAD_B(b + i), s0);
        s1 = V_FMA(LOAD(x + i + LANES), LOAD_B(b + i + LANES), s1);
        s2 = V_FMA(LOAD(x + i + 2 * LANES), LOAD_B(b + i + 2 * LANES), s2);
        s3 = V_FMA(LOAD(x + i + 3 * LANES), LOAD_B(b + i + 3 * LANES), s3);
    }
    for (; i < whole; i += LANES) s0 = V_FMA(LOAD(x + i), LOAD_B(b + i), s0);
    if (part) s1 = V_FMA(load_part(x + whole, part, 0.0f), LOAD_PART_B(b + whole, part, 0.0f), s1);
    return lane_sum((s0 + s1) + (s2 + s3));
}

// B stored n × k: one column after the other, so that memory is read in one stream.
INLINE void GEMV(gemv_across_columns)(
    index_t begin, index_t end, GLOBAL const float *a, index_t a_pitch, GLOBAL const GEMV_B *b, index_t b_pitch,
    GLOBAL const float *bias, GLOBAL const float *residual, index_t residual_pitch, GLOBAL float *c, index_t c_pitch,
    int m, int k, float alpha, int flags) {
    for (index_t j = begin; j < end; j++) {
        GLOBAL const GEMV_B *from = b + j * b_pitch;
        for (int r = 0; r < m; r++) {
            float y = alpha * GEMV(gemv_sum)(a + r * a_pitch, from, k);
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

// Rows of A are normalised into `normed` [m, k], memory of this range alone, by the sums of rmsnorm.cl; then B is read as above. All
// of it has the bits that a norm, a product and a gated activation have one after the other. m <= NORMED_MOST_ROWS.
INLINE void GEMV(normed_product_columns)(
    index_t begin, index_t end, GLOBAL const float *a, index_t a_pitch, GLOBAL const float *norm,
    GLOBAL const GEMV_B *b, index_t b_pitch, GLOBAL const float *bias, GLOBAL float *c, index_t c_pitch,
    GLOBAL float *normed, index_t n, int m, int k, float epsilon, int has_norm, int has_bias, int gate) {
    const int whole = k / LANES * LANES, part = k - whole;
    const float share = 1.0f / (float)k;
    for (int r = 0; r < m; r++) {
        GLOBAL const float *from = a + r * a_pitch;
        GLOBAL float *to = normed + (index_t)r * k;
        real squares = SPLAT(0.0f);
        for (int i = 0; i < whole; i += LANES) {
            real v = LOAD(from + i);
            squares = V_FMA(v, v, squares);
        }
        real v_part = SPLAT(0.0f);
        if (part) {
            v_part = load_part(from + whole, part, 0.0f);
            squares = V_FMA(v_part, v_part, squares);
        }
        const real scale = SPLAT(1.0f / S_SQRT(lane_sum(squares) * share + epsilon));
        for (int i = 0; i < whole; i += LANES) {
            real v = LOAD(from + i) * scale;
            STORE(to + i, has_norm ? v * LOAD(norm + i) : v);
        }
        if (part) {
            real v = v_part * scale;
            store_part(to + whole, has_norm ? v * load_part(norm + whole, part, 0.0f) : v, part);
        }
    }
    if (!gate)
        GEMV(gemv_across_columns)(
            begin, end, normed, k, b, b_pitch, bias, c, 0, c, c_pitch, m, k, 1.0f, has_bias ? GEMV_BIAS : 0);
    else {
        // A whole vector of gates and ups for each row, so that the activation is one of vectors.
        float gates[NORMED_MOST_ROWS * LANES], ups[NORMED_MOST_ROWS * LANES];
        for (int i = 0; i < NORMED_MOST_ROWS * LANES; i++) gates[i] = ups[i] = 0.0f;
        for (index_t j = begin; j < end; j += LANES) {
            const int count = end - j < LANES ? (int)(end - j) : LANES;
            for (int i = 0; i < count; i++) {
                GLOBAL const GEMV_B *from = b + (j + i) * b_pitch, *other = from + n * b_pitch;
                const float gate_bias = has_bias ? bias[j + i] : 0.0f, up_bias = has_bias ? bias[n + j + i] : 0.0f;
                for (int r = 0; r < m; r++) {
                    GLOBAL const float *x = normed + (index_t)r * k;
                    gates[r * LANES + i] = GEMV(gemv_sum)(x, from, k) + gate_bias;
                    ups[r * LANES + i] = GEMV(gemv_sum)(x, other, k) + up_bias;
                }
            }
            for (int r = 0; r < m; r++) {
                const real g = LOAD(gates + r * LANES);
                const real y = (gate == GATE_SILU ? v_silu(g) : v_gelu_tanh(g)) * LOAD(ups + r * LANES);
                if (count < LANES)
                    store_part(c + r * c_pitch + j, y, count);
                else
                    STORE(c + r * c_pitch + j, y);
            }
        }
    }
}

#endif

#ifdef __OPENCL_VERSION__
// count = n, columns of C.
#define NORMED_ARGUMENTS                                                                                               \
    long count, long count_per_item, __global const float *a, long a_at, __global const float *norm, long norm_at,     \
        __global const GEMV_B *b, long b_at, __global const float *bias, long bias_at, __global float *c, long c_at,   \
        long a_pitch, long b_pitch, long c_pitch, int m, int k, float epsilon, int has_norm, int has_bias, int gate
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
// The same; `normed` has m · k floats for each work-item.
#if WANTED(normed_product)
__kernel void normed_product(NORMED_ARGUMENTS, __global float *normed, long normed_at) {
    const long item = get_global_id(0), begin = item * count_per_item, end = min(count, begin + count_per_item);
    GEMV(normed_product_columns)(
        begin, end, a + a_at, a_pitch, norm + norm_at, b + b_at, b_pitch, bias + bias_at, c + c_at, c_pitch,
        normed + normed_at + item * m * k, count, m, k, epsilon, has_norm, has_bias, gate);
}
#endif
#endif

#ifdef SIMT

// VEC: 1 when all offsets and pitches of what is read in quads are multiples of 4 elements (see gemm.cl).
#ifndef VEC
#define VEC 0
#endif

// The first `valid` of four neighbours, zero for the rest; touches nothing outside.
INLINE float4 normed_quad(__global const float *p, int valid) {
#if VEC
    if (valid >= 4) return *(__global const float4 *)p;
#else
    if (valid >= 4) return vload4(0, p);
#endif
    return (float4)(valid > 0 ? p[0] : 0.0f, valid > 1 ? p[1] : 0.0f, valid > 2 ? p[2] : 0.0f, 0.0f);
}
#ifdef B_BF16
INLINE float4 quad_of_b(__global const ushort *p, int valid) {
    ushort4 v = (ushort4)(0);
    if (valid >= 4) {
#if VEC
        v = *(__global const ushort4 *)p;
#else
        v = vload4(0, p);
#endif
    } else {
        if (valid > 0) v.x = p[0];
        if (valid > 1) v.y = p[1];
        if (valid > 2) v.z = p[2];
    }
    return as_float4(convert_uint4(v) << 16);
}
#else
#define quad_of_b normed_quad
#endif

#define NORMED_TEAM 32
#define NORMED_TEAMS (GROUP / NORMED_TEAM)

// One group of 256 for 8 columns of B, each read by a team of 32 work-items along k; with a gate these are 4 columns of gates and the
// 4 of ups that belong to them. Global = ceil(n / (gate ? 4 : 8)) · 256. m <= NORMED_MOST_ROWS.
#if WANTED(normed_product)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void normed_product(NORMED_ARGUMENTS) {
    __local float shared[NORMED_MOST_ROWS * GROUP];
    const int item = get_local_id(0), lane = item % NORMED_TEAM, team = item / NORMED_TEAM;
    const int width = gate ? NORMED_TEAMS / 2 : NORMED_TEAMS;
    const long column0 = get_group_id(0) * width, column = column0 + team % width;
    const bool is_known = column < count;
    a += a_at;
    norm += norm_at;
    b += b_at + (column + (team < width ? 0 : count)) * b_pitch;
    bias += bias_at;
    c += c_at;

    // As rmsnorm_forward sums, all rows at once: the whole group divides k.
#pragma unroll
    for (int row = 0; row < NORMED_MOST_ROWS; row++)
        if (row < m) {
            float squares = 0.0f;
            for (int i = item; i < k; i += GROUP) {
                const float v = a[row * a_pitch + i];
                squares = fma(v, v, squares);
            }
            shared[row * GROUP + item] = squares;
        }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int reach = GROUP / 2; reach > 0; reach /= 2) {
        if (item < reach)
            for (int row = 0; row < m; row++) shared[row * GROUP + item] += shared[row * GROUP + item + reach];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    float scale[NORMED_MOST_ROWS];
    float4 sum[NORMED_MOST_ROWS];
#pragma unroll
    for (int row = 0; row < NORMED_MOST_ROWS; row++) {
        scale[row] = row < m ? 1.0f / sqrt(shared[row * GROUP] / (float)k + epsilon) : 0.0f;
        sum[row] = 0.0f;
    }
    barrier(CLK_LOCAL_MEM_FENCE);

    for (int i = 4 * lane; i < k; i += 4 * NORMED_TEAM) {
        const float4 right = quad_of_b(b + i, is_known ? k - i : 0);
        const float4 own = has_norm ? normed_quad(norm + i, k - i) : (float4)(1.0f);
#pragma unroll
        for (int row = 0; row < NORMED_MOST_ROWS; row++)
            if (row < m)
                sum[row] = fma(normed_quad(a + row * a_pitch + i, k - i) * scale[row] * own, right, sum[row]);
    }
#pragma unroll
    for (int row = 0; row < NORMED_MOST_ROWS; row++)
        if (row < m) shared[row * GROUP + item] = (sum[row].x + sum[row].y) + (sum[row].z + sum[row].w);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int reach = NORMED_TEAM / 2; reach > 0; reach /= 2) {
        if (lane < reach)
            for (int row = 0; row < m; row++) shared[row * GROUP + item] += shared[row * GROUP + item + reach];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    // 8 rows of 8 or 4 columns, finished by the first work-items, one number each.
    const int row = item / width, place = item % width;
    const long j = column0 + place;
    if (row < m && j < count) {
        __local const float *from = shared + row * GROUP + place * NORMED_TEAM;
        float y = from[0] + (has_bias ? bias[j] : 0.0f);
        if (gate) {
            const float up = from[width * NORMED_TEAM] + (has_bias ? bias[count + j] : 0.0f);
            y = (gate == GATE_SILU ? v_silu(y) : v_gelu_tanh(y)) * up;
        }
        c[row * c_pitch + j] = y;
    }
}
#endif
#undef quad_of_b
#endif

#undef GEMV
#undef GEMV_B
#undef LOAD_B
#undef LOAD_PART_B
