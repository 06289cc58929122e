// Layer normalisation over the rows of x [rows, columns] (Ba et al. 2016), and its gradients:
//
//   m = mean(x), rstd = 1 / sqrt(mean((x - m)²) + epsilon), n = (x - m) rstd, y = n · weight + bias
//   dn = dy · weight, dx = rstd (dn - mean(dn) - n mean(dn n)), dweight = Σ_rows dy n, dbias = Σ_rows dy
//
// mean [rows] and rstd [rows] are saved by the forward for the backward. weight and bias [columns] are optional
// (flags). dweight and dbias go through partial sums of fixed blocks of 64 rows, added up in order: the same bits for
// any split.
//
// x and y are activations: fp32, or bfloat16 with X_BF16; everything else is fp32.

#define LAYERNORM_BLOCK 64  // rows of a block; partials [ceil(rows / 64), 2, columns]: dweight, then dbias

#ifdef VECTOR

INLINE void X_NAME(layernorm_forward_rows)(
    index_t begin, index_t end, GLOBAL const X_ELEMENT *x, index_t x_pitch, GLOBAL const float *weight,
    GLOBAL const float *bias, GLOBAL X_ELEMENT *y, index_t y_pitch, GLOBAL float *mean, GLOBAL float *rstd, int columns,
    int has_weight, int has_bias, float epsilon) {
    const int whole = columns / LANES * LANES, part = columns - whole;
    const float share = 1.0f / (float)columns;
    for (index_t r = begin; r < end; r++) {
        GLOBAL const X_ELEMENT *from = x + r * x_pitch;
        GLOBAL X_ELEMENT *to = y + r * y_pitch;
        float error, squares;
        const float m = X_NAME(row_moments)(from, columns, &error, &squares);
        const float rest = error * share;
        const float variance = squares * share - rest * rest;
        const float scale = 1.0f / S_SQRT(S_MAX(variance, 0.0f) + epsilon);
        mean[r] = m + rest;
        rstd[r] = scale;
        for (int i = 0; i < whole; i += LANES) {
            real v = ((LOAD_X(from + i) - SPLAT(m)) - SPLAT(rest)) * SPLAT(scale);
            if (has_weight) v = v * LOAD(weight + i);
            if (has_bias) v = v + LOAD(bias + i);
            STORE_X(to + i, v);
        }
        if (part) {
            real v = ((LOAD_PART_X(from + whole, part, m) - SPLAT(m)) - SPLAT(rest)) * SPLAT(scale);
            if (has_weight) v = v * load_part(weight + whole, part, 0.0f);
            if (has_bias) v = v + load_part(bias + whole, part, 0.0f);
            STORE_PART_X(to + whole, v, part);
        }
    }
}

INLINE void X_NAME(layernorm_backward_rows)(
    index_t begin, index_t end, GLOBAL const X_ELEMENT *x, index_t x_pitch, GLOBAL const float *weight,
    GLOBAL const float *mean, GLOBAL const float *rstd, GLOBAL const float *dy, index_t dy_pitch, GLOBAL float *dx,
    index_t dx_pitch, int columns, int has_weight, int accumulate) {
    const int whole = columns / LANES * LANES, part = columns - whole;
    const float share = 1.0f / (float)columns;
    for (index_t r = begin; r < end; r++) {
        GLOBAL const X_ELEMENT *a = x + r * x_pitch;
        GLOBAL const float *b = dy + r * dy_pitch;
        GLOBAL float *to = dx + r * dx_pitch;
        const real m = SPLAT(mean[r]), scale = SPLAT(rstd[r]);
        const real slope = SPLAT(columns > 1 ? rstd[r] : 0.0f);  // one column is always 0, whatever x is
        real sums = SPLAT(0.0f), products = SPLAT(0.0f);
        for (int i = 0; i < whole; i += LANES) {
            real d = has_weight ? LOAD(b + i) * LOAD(weight + i) : LOAD(b + i);
            sums += d;
            products = V_FMA(d, (LOAD_X(a + i) - m) * scale, products);
        }
        real d_part = SPLAT(0.0f), n_part = SPLAT(0.0f);
        if (part) {
            d_part = load_part(b + whole, part, 0.0f);
            if (has_weight) d_part = d_part * load_part(weight + whole, part, 0.0f);
            n_part = (LOAD_PART_X(a + whole, part, mean[r]) - m) * scale;
            sums += d_part;
            products = V_FMA(d_part, n_part, products);
        }
        const real c1 = SPLAT(lane_sum(sums) * share), c2 = SPLAT(lane_sum(products) * share);
        for (int i = 0; i < whole; i += LANES) {
            real d = has_weight ? LOAD(b + i) * LOAD(weight + i) : LOAD(b + i);
            real v = slope * (d - c1 - (LOAD_X(a + i) - m) * scale * c2);
            STORE(to + i, accumulate ? LOAD(to + i) + v : v);
        }
        if (part) {
            real v = slope * (d_part - c1 - n_part * c2);
            if (accumulate) v += load_part(to + whole, part, 0.0f);
            store_part(to + whole, v, part);
        }
    }
}

// Partial sums of blocks [begin, end) of 64 rows.
INLINE void X_NAME(layernorm_partials_blocks)(
    index_t begin, index_t end, GLOBAL const X_ELEMENT *x, index_t x_pitch, GLOBAL const float *mean,
    GLOBAL const float *rstd, GLOBAL const float *dy, index_t dy_pitch, GLOBAL float *partials, index_t rows,
    int columns) {
    const int whole = columns / LANES * LANES, part = columns - whole;
    for (index_t block = begin; block < end; block++) {
        const index_t first = block * LAYERNORM_BLOCK;
        const index_t last = rows - first < LAYERNORM_BLOCK ? rows : first + LAYERNORM_BLOCK;
        GLOBAL float *to = partials + block * 2 * columns;
        int i = 0;
        for (; i + 2 * LANES <= whole; i += 2 * LANES) {
            real w0 = SPLAT(0.0f), w1 = w0, b0 = w0, b1 = w0;
            for (index_t r = first; r < last; r++) {
                GLOBAL const X_ELEMENT *a = x + r * x_pitch + i;
                GLOBAL const float *b = dy + r * dy_pitch + i;
                const real m = SPLAT(mean[r]), scale = SPLAT(rstd[r]), d0 = LOAD(b), d1 = LOAD(b + LANES);
                w0 = V_FMA(d0, (LOAD_X(a) - m) * scale, w0);
                w1 = V_FMA(d1, (LOAD_X(a + LANES) - m) * scale, w1);
                b0 += d0;
                b1 += d1;
            }
            STORE(to + i, w0);
            STORE(to + i + LANES, w1);
            STORE(to + columns + i, b0);
            STORE(to + columns + i + LANES, b1);
        }
        for (; i < columns; i += LANES) {
            real w = SPLAT(0.0f), b = w;
            for (index_t r = first; r < last; r++) {
                GLOBAL const X_ELEMENT *p = x + r * x_pitch + i;
                GLOBAL const float *q = dy + r * dy_pitch + i;
                real d = i < whole ? LOAD(q) : load_part(q, part, 0.0f);
                real n = i < whole ? LOAD_X(p) : LOAD_PART_X(p, part, 0.0f);
                w = V_FMA(d, (n - SPLAT(mean[r])) * SPLAT(rstd[r]), w);
                b += d;
            }
            if (i < whole) {
                STORE(to + i, w);
                STORE(to + columns + i, b);
            } else {
                store_part(to + i, w, part);
                store_part(to + columns + i, b, part);
            }
        }
    }
}

#ifndef AGAIN
// dweight[c] and dbias[c] = Σ_blocks partials, in order, for columns [begin, end). Each is written only when wanted.
INLINE void layernorm_sums_range(
    index_t begin, index_t end, GLOBAL const float *partials, GLOBAL float *dweight, GLOBAL float *dbias, int blocks,
    int columns, int want_weight, int want_bias, int accumulate) {
    for (index_t c = begin; c < end; c += LANES) {
        const int part = end - c < LANES ? (int)(end - c) : 0;
        real w = SPLAT(0.0f), b = w;
        for (int block = 0; block < blocks; block++) {
            GLOBAL const float *from = partials + (index_t)block * 2 * columns + c;
            w += part ? load_part(from, part, 0.0f) : LOAD(from);
            b += part ? load_part(from + columns, part, 0.0f) : LOAD(from + columns);
        }
        if (part) {
            if (want_weight) {
                store_part(dweight + c, accumulate ? load_part(dweight + c, part, 0.0f) + w : w, part);
            }
            if (want_bias) store_part(dbias + c, accumulate ? load_part(dbias + c, part, 0.0f) + b : b, part);
        } else {
            if (want_weight) STORE(dweight + c, accumulate ? LOAD(dweight + c) + w : w);
            if (want_bias) STORE(dbias + c, accumulate ? LOAD(dbias + c) + b : b);
        }
    }
}
#endif

#endif

#ifdef __OPENCL_VERSION__
#define LAYERNORM_FORWARD_ARGUMENTS                                                                                    \
    long rows, long rows_per_item, __global const X_ELEMENT *x, long x_at, __global const float *weight,               \
        long weight_at, __global const float *bias, long bias_at, __global X_ELEMENT *y, long y_at,                    \
        __global float *mean, long mean_at, __global float *rstd, long rstd_at, long x_pitch, long y_pitch,            \
        int columns, int has_weight, int has_bias, float epsilon
#define LAYERNORM_BACKWARD_ARGUMENTS                                                                                   \
    long rows, long rows_per_item, __global const X_ELEMENT *x, long x_at, __global const float *weight,               \
        long weight_at, __global const float *mean, long mean_at, __global const float *rstd, long rstd_at,            \
        __global const float *dy, long dy_at, __global float *dx, long dx_at, long x_pitch, long dy_pitch,             \
        long dx_pitch, int columns, int has_weight, int accumulate
#define LAYERNORM_PARTIALS_ARGUMENTS                                                                                   \
    long blocks, long blocks_per_item, __global const X_ELEMENT *x, long x_at, __global const float *mean,             \
        long mean_at, __global const float *rstd, long rstd_at, __global const float *dy, long dy_at,                  \
        __global float *partials, long partials_at, long x_pitch, long dy_pitch, long rows, int columns
#define LAYERNORM_SUMS_ARGUMENTS                                                                                       \
    long count, long count_per_item, __global const float *partials, long partials_at, __global float *dweight,        \
        long dweight_at, __global float *dbias, long dbias_at, int blocks, int columns, int want_weight,               \
        int want_bias, int accumulate
#endif

#if defined(VECTOR) && defined(__OPENCL_VERSION__)
#if WANTED(layernorm_forward)
__kernel void layernorm_forward(LAYERNORM_FORWARD_ARGUMENTS) {
    const long begin = get_global_id(0) * rows_per_item, end = min(rows, begin + rows_per_item);
    X_NAME(layernorm_forward_rows)(
        begin, end, x + x_at, x_pitch, weight + weight_at, bias + bias_at, y + y_at, y_pitch, mean + mean_at,
        rstd + rstd_at, columns, has_weight, has_bias, epsilon);
}
#endif
#if WANTED(layernorm_backward)
__kernel void layernorm_backward(LAYERNORM_BACKWARD_ARGUMENTS) {
    const long begin = get_global_id(0) * rows_per_item, end = min(rows, begin + rows_per_item);
    X_NAME(layernorm_backward_rows)(
        begin, end, x + x_at, x_pitch, weight + weight_at, mean + mean_at, rstd + rstd_at, dy + dy_at, dy_pitch,
        dx + dx_at, dx_pitch, columns, has_weight, accumulate);
}
#endif
// vector: one work-item per blocks_per_item blocks of 64 rows. simt: global = blocks · 256, local = 256.
#if WANTED(layernorm_partials)
__kernel void layernorm_partials(LAYERNORM_PARTIALS_ARGUMENTS) {
    const long begin = get_global_id(0) * blocks_per_item, end = min(blocks, begin + blocks_per_item);
    X_NAME(layernorm_partials_blocks)(
        begin, end, x + x_at, x_pitch, mean + mean_at, rstd + rstd_at, dy + dy_at, dy_pitch, partials + partials_at,
        rows, columns);
}
#endif
// Elementwise over count = columns.
#if WANTED(layernorm_sums)
__kernel void layernorm_sums(LAYERNORM_SUMS_ARGUMENTS) {
    const long begin = get_global_id(0) * count_per_item, end = min(count, begin + count_per_item);
    layernorm_sums_range(
        begin, end, partials + partials_at, dweight + dweight_at, dbias + dbias_at, blocks, columns, want_weight,
        want_bias, accumulate);
}
#endif
#endif

#ifdef SIMT
#if WANTED(layernorm_forward)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void layernorm_forward(LAYERNORM_FORWARD_ARGUMENTS) {
    __local float scratch[GROUP];
    const int l = (int)get_local_id(0);
    const long r = get_group_id(0);
    const float share = 1.0f / (float)columns;
    x += x_at + r * x_pitch;
    y += y_at + r * y_pitch;
    weight += weight_at;
    bias += bias_at;
    float sum = 0.0f, squares = 0.0f, rest = 0.0f;
    for (int i = l; i < columns; i += GROUP) sum += READ_X(x + i);
    const float m = group_sum(sum, scratch) * share;
    for (int i = l; i < columns; i += GROUP) {
        const float d = READ_X(x + i) - m;
        squares = fma(d, d, squares);
        rest += d;
    }
    rest = group_sum(rest, scratch) * share;
    const float variance = group_sum(squares, scratch) * share - rest * rest;
    const float scale = 1.0f / sqrt(fmax(variance, 0.0f) + epsilon);
    if (l == 0) {
        mean[mean_at + r] = m + rest;
        rstd[rstd_at + r] = scale;
    }
    for (int i = l; i < columns; i += GROUP) {
        float v = ((READ_X(x + i) - m) - rest) * scale;
        if (has_weight) v *= weight[i];
        if (has_bias) v += bias[i];
        WRITE_X(y + i, v);
    }
}
#endif
#if WANTED(layernorm_backward)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void layernorm_backward(LAYERNORM_BACKWARD_ARGUMENTS) {
    __local float scratch[GROUP];
    const int l = (int)get_local_id(0);
    const long r = get_group_id(0);
    const float share = 1.0f / (float)columns, m = mean[mean_at + r], scale = rstd[rstd_at + r];
    const float slope = columns > 1 ? scale : 0.0f;  // one column is always 0, whatever x is
    x += x_at + r * x_pitch;
    dy += dy_at + r * dy_pitch;
    dx += dx_at + r * dx_pitch;
    weight += weight_at;
    float sum = 0.0f, products = 0.0f;
    for (int i = l; i < columns; i += GROUP) {
        const float d = has_weight ? dy[i] * weight[i] : dy[i];
        sum += d;
        products = fma(d, (READ_X(x + i) - m) * scale, products);
    }
    const float c1 = group_sum(sum, scratch) * share;
    const float c2 = group_sum(products, scratch) * share;
    for (int i = l; i < columns; i += GROUP) {
        const float d = has_weight ? dy[i] * weight[i] : dy[i];
        const float v = slope * (d - c1 - (READ_X(x + i) - m) * scale * c2);
        dx[i] = accumulate ? dx[i] + v : v;
    }
}
#endif
#if WANTED(layernorm_partials)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void layernorm_partials(LAYERNORM_PARTIALS_ARGUMENTS) {
    const long block = get_group_id(0);
    const long first = block * LAYERNORM_BLOCK, last = min(rows, first + LAYERNORM_BLOCK);
    partials += partials_at + block * 2 * columns;
    for (int c = (int)get_local_id(0); c < columns; c += GROUP) {
        float w = 0.0f, b = 0.0f;
        for (long r = first; r < last; r++) {
            const float d = dy[dy_at + r * dy_pitch + c];
            w = fma(d, (READ_X(x + x_at + r * x_pitch + c) - mean[mean_at + r]) * rstd[rstd_at + r], w);
            b += d;
        }
        partials[c] = w;
        partials[columns + c] = b;
    }
}
#endif
#if WANTED(layernorm_sums)
__kernel void layernorm_sums(LAYERNORM_SUMS_ARGUMENTS) {
    for (long c = get_global_id(0); c < count; c += get_global_size(0)) {
        float w = 0.0f, b = 0.0f;
        for (int block = 0; block < blocks; block++) {
            w += partials[partials_at + (long)block * 2 * columns + c];
            b += partials[partials_at + (long)block * 2 * columns + columns + c];
        }
        if (want_weight) dweight[dweight_at + c] = accumulate ? dweight[dweight_at + c] + w : w;
        if (want_bias) dbias[dbias_at + c] = accumulate ? dbias[dbias_at + c] + b : b;
    }
}
#endif
#endif
