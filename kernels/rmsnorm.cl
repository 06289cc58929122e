// Root mean square normalisation over the rows of x [rows, columns] (Zhang & Sennrich 2019), and its gradients:
//
//   rstd = 1 / sqrt(mean(x²) + epsilon), y = x · rstd · w, w = weight + offset
//   dn = dy · w, dx = rstd (dn - x rstd² mean(dn x)), dweight = Σ_rows dy x rstd
//
// rstd [rows] is saved by the forward for the backward. weight [columns] is optional (a flag); Gemma's
// are stored as what they are beyond 1, the offset. dweight goes through
// partial sums of fixed blocks of 64 rows [ceil(rows / 64), columns], which the host adds up: the same bits for any split.
//
// x and y are activations: fp32, or bfloat16 with X_BF16; everything else is fp32.

#define RMSNORM_BLOCK 64

#ifdef VECTOR

INLINE void X_NAME(rmsnorm_forward_rows)(
    index_t begin, index_t end, GLOBAL const X_ELEMENT *x, index_t x_pitch, GLOBAL const float *weight,
    GLOBAL X_ELEMENT *y, index_t y_pitch, GLOBAL float *rstd, int columns, int has_weight, float epsilon,
    float offset) {
    const int whole = columns / LANES * LANES, part = columns - whole;
    const float share = 1.0f / (float)columns;
    for (index_t r = begin; r < end; r++) {
        GLOBAL const X_ELEMENT *from = x + r * x_pitch;
        GLOBAL X_ELEMENT *to = y + r * y_pitch;
        real squares = SPLAT(0.0f);
        for (int i = 0; i < whole; i += LANES) {
            real v = LOAD_X(from + i);
            squares = V_FMA(v, v, squares);
        }
        if (part) {
            real v = LOAD_PART_X(from + whole, part, 0.0f);
            squares = V_FMA(v, v, squares);
        }
        const float scale = 1.0f / S_SQRT(lane_sum(squares) * share + epsilon);
        rstd[r] = scale;
        for (int i = 0; i < whole; i += LANES) {
            real v = LOAD_X(from + i) * SPLAT(scale);
            STORE_X(to + i, has_weight ? v * (LOAD(weight + i) + SPLAT(offset)) : v);
        }
        if (part) {
            real v = LOAD_PART_X(from + whole, part, 0.0f) * SPLAT(scale);
            STORE_PART_X(to + whole, has_weight ? v * (load_part(weight + whole, part, 0.0f) + SPLAT(offset)) : v, part);
        }
    }
}

INLINE void X_NAME(rmsnorm_backward_rows)(
    index_t begin, index_t end, GLOBAL const X_ELEMENT *x, index_t x_pitch, GLOBAL const float *weight,
    GLOBAL const float *rstd, GLOBAL const float *dy, index_t dy_pitch, GLOBAL float *dx, index_t dx_pitch,
    int columns, int has_weight, int accumulate, float offset) {
    const int whole = columns / LANES * LANES, part = columns - whole;
    const float share = 1.0f / (float)columns;
    for (index_t r = begin; r < end; r++) {
        GLOBAL const X_ELEMENT *a = x + r * x_pitch;
        GLOBAL const float *b = dy + r * dy_pitch;
        GLOBAL float *to = dx + r * dx_pitch;
        const real scale = SPLAT(rstd[r]);
        real products = SPLAT(0.0f);
        for (int i = 0; i < whole; i += LANES) {
            real d = has_weight ? LOAD(b + i) * (LOAD(weight + i) + SPLAT(offset)) : LOAD(b + i);
            products = V_FMA(d, LOAD_X(a + i) * scale, products);
        }
        real d_part = SPLAT(0.0f), n_part = d_part;
        if (part) {
            d_part = load_part(b + whole, part, 0.0f);
            if (has_weight) d_part = d_part * (load_part(weight + whole, part, 0.0f) + SPLAT(offset));
            n_part = LOAD_PART_X(a + whole, part, 0.0f) * scale;
            products = V_FMA(d_part, n_part, products);
        }
        const real c = SPLAT(lane_sum(products) * share);
        for (int i = 0; i < whole; i += LANES) {
            real d = has_weight ? LOAD(b + i) * (LOAD(weight + i) + SPLAT(offset)) : LOAD(b + i);
            real v = scale * (d - LOAD_X(a + i) * scale * c);
            STORE(to + i, accumulate ? LOAD(to + i) + v : v);
        }
        if (part) {
            real v = scale * (d_part - n_part * c);
            if (accumulate) v += load_part(to + whole, part, 0.0f);
            store_part(to + whole, v, part);
        }
    }
}

// Partial sums of blocks [begin, end) of 64 rows.
INLINE void X_NAME(rmsnorm_partials_blocks)(
    index_t begin, index_t end, GLOBAL const X_ELEMENT *x, index_t x_pitch, GLOBAL const float *rstd,
    GLOBAL const float *dy, index_t dy_pitch, GLOBAL float *partials, index_t rows, int columns) {
    const int whole = columns / LANES * LANES, part = columns - whole;
    for (index_t block = begin; block < end; block++) {
        const index_t first = block * RMSNORM_BLOCK;
        const index_t last = rows - first < RMSNORM_BLOCK ? rows : first + RMSNORM_BLOCK;
        GLOBAL float *to = partials + block * columns;
        for (int i = 0; i < columns; i += LANES) {
            real w = SPLAT(0.0f);
            for (index_t r = first; r < last; r++) {
                GLOBAL const X_ELEMENT *p = x + r * x_pitch + i;
                GLOBAL const float *q = dy + r * dy_pitch + i;
                real d = i < whole ? LOAD(q) : load_part(q, part, 0.0f);
                real v = i < whole ? LOAD_X(p) : LOAD_PART_X(p, part, 0.0f);
                w = V_FMA(d, v * SPLAT(rstd[r]), w);
            }
            if (i < whole)
                STORE(to + i, w);
            else
                store_part(to + i, w, part);
        }
    }
}

#endif

#ifdef __OPENCL_VERSION__
#define RMSNORM_FORWARD_ARGUMENTS                                                                                      \
    long rows, long rows_per_item, __global const X_ELEMENT *x, long x_at, __global const float *weight,               \
        long weight_at, __global X_ELEMENT *y, long y_at, __global float *rstd, long rstd_at, long x_pitch,            \
        long y_pitch, int columns, int has_weight, float epsilon, float offset
#define RMSNORM_BACKWARD_ARGUMENTS                                                                                     \
    long rows, long rows_per_item, __global const X_ELEMENT *x, long x_at, __global const float *weight,               \
        long weight_at, __global const float *rstd, long rstd_at, __global const float *dy, long dy_at,                \
        __global float *dx, long dx_at, long x_pitch, long dy_pitch, long dx_pitch, int columns, int has_weight,       \
        int accumulate, float offset
#define RMSNORM_PARTIALS_ARGUMENTS                                                                                     \
    long blocks, long blocks_per_item, __global const X_ELEMENT *x, long x_at, __global const float *rstd,             \
        long rstd_at, __global const float *dy, long dy_at, __global float *partials, long partials_at, long x_pitch,  \
        long dy_pitch, long rows, int columns
#endif

#if defined(VECTOR) && defined(__OPENCL_VERSION__)
#if WANTED(rmsnorm_forward)
__kernel void rmsnorm_forward(RMSNORM_FORWARD_ARGUMENTS) {
    const long begin = get_global_id(0) * rows_per_item, end = min(rows, begin + rows_per_item);
    X_NAME(rmsnorm_forward_rows)(
        begin, end, x + x_at, x_pitch, weight + weight_at, y + y_at, y_pitch, rstd + rstd_at, columns, has_weight,
        epsilon, offset);
}
#endif
#if WANTED(rmsnorm_backward)
__kernel void rmsnorm_backward(RMSNORM_BACKWARD_ARGUMENTS) {
    const long begin = get_global_id(0) * rows_per_item, end = min(rows, begin + rows_per_item);
    X_NAME(rmsnorm_backward_rows)(
        begin, end, x + x_at, x_pitch, weight + weight_at, rstd + rstd_at, dy + dy_at, dy_pitch, dx + dx_at, dx_pitch,
        columns, has_weight, accumulate, offset);
}
#endif
// vector: one work-item per blocks_per_item blocks of 64 rows. simt: global = blocks · 256, local = 256.
#if WANTED(rmsnorm_partials)
__kernel void rmsnorm_partials(RMSNORM_PARTIALS_ARGUMENTS) {
    const long begin = get_global_id(0) * blocks_per_item, end = min(blocks, begin + blocks_per_item);
    X_NAME(rmsnorm_partials_blocks)(
        begin, end, x + x_at, x_pitch, rstd + rstd_at, dy + dy_at, dy_pitch, partials + partials_at, rows, columns);
}
#endif
#endif

#ifdef SIMT
#if WANTED(rmsnorm_forward)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void rmsnorm_forward(RMSNORM_FORWARD_ARGUMENTS) {
    __local float scratch[GROUP];
    const int l = (int)get_local_id(0);
    const long r = get_group_id(0);
    x += x_at + r * x_pitch;
    y += y_at + r * y_pitch;
    weight += weight_at;
    float squares = 0.0f;
    for (int i = l; i < columns; i += GROUP) {
        const float v = READ_X(x + i);
        squares = fma(v, v, squares);
    }
    const float scale = 1.0f / sqrt(group_sum(squares, scratch) / (float)columns + epsilon);
    if (l == 0) rstd[rstd_at + r] = scale;
    for (int i = l; i < columns; i += GROUP) {
        const float v = READ_X(x + i) * scale;
        WRITE_X(y + i, has_weight ? v * (weight[i] + offset) : v);
    }
}
#endif
#if WANTED(rmsnorm_backward)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void rmsnorm_backward(RMSNORM_BACKWARD_ARGUMENTS) {
    __local float scratch[GROUP];
    const int l = (int)get_local_id(0);
    const long r = get_group_id(0);
    const float scale = rstd[rstd_at + r];
    x += x_at + r * x_pitch;
    dy += dy_at + r * dy_pitch;
    dx += dx_at + r * dx_pitch;
    weight += weight_at;
    float products = 0.0f;
    for (int i = l; i < columns; i += GROUP) {
        const float d = has_weight ? dy[i] * (weight[i] + offset) : dy[i];
        products = fma(d, READ_X(x + i) * scale, products);
    }
    const float c = group_sum(products, scratch) / (float)columns;
    for (int i = l; i < columns; i += GROUP) {
        const float d = has_weight ? dy[i] * (weight[i] + offset) : dy[i];
        const float v = scale * (d - READ_X(x + i) * scale * c);
        dx[i] = accumulate ? dx[i] + v : v;
    }
}
#endif
#if WANTED(rmsnorm_partials)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void rmsnorm_partials(RMSNORM_PARTIALS_ARGUMENTS) {
    const long block = get_group_id(0);
    const long first = block * RMSNORM_BLOCK, last = min(rows, first + RMSNORM_BLOCK);
    partials += partials_at + block * columns;
    for (int c = (int)get_local_id(0); c < columns; c += GROUP) {
        float w = 0.0f;
        for (long r = first; r < last; r++) {
            w = fma(dy[dy_at + r * dy_pitch + c], READ_X(x + x_at + r * x_pitch + c) * rstd[rstd_at + r], w);
        }
        partials[c] = w;
    }
}
#endif
#endif
