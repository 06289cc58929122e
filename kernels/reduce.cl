// Reductions of x seen as [outer, n, inner] over n, and their gradients. Two forms of each:
//
//   *_rows      inner = 1: x [outer, n] with a pitch, one result per row
//   *_columns   inner > 1: x dense, results y [outer, inner]
//
//   sum          y = scale · Σ x (+ y)              scale = 1/n gives the mean
//   variance     y = Σ (x - mean)² / (n - correction); mean is written too (two passes)
//   extreme      the largest (smallest when `smallest`) value and the index of its first appearance; NaN wins
//   logsumexp    y = ln Σ e^x
//   cumsum       y_j = Σ_{i <= j} x_i, or i >= j when `reverse` (the gradient of cumsum)
//
// Long sums: rows of partial sums over fixed blocks, then a sum of the partials. For few long rows, sum_row_blocks
// writes partials [rows, ceil(n / 4096)] in parallel and sum_rows adds them. For columns, sum_columns with block_rows =
// 64 writes partials [outer, ceil(n / 64), inner], and once more with n = ceil(n / 64), block_rows = n, gives the
// result. Blocks are fixed, so results do not depend on how the work is split.
//
// Gradients: reduce_backward and extreme_backward, for dy [outer, inner]:
//   kind 0  sum        dx = scale · dy                      (no x, no statistic)
//   kind 1  logsumexp  dx = scale · dy · e^(x - y)          statistic = y
//   kind 2  variance   dx = scale · dy · (x - mean)         statistic = mean, scale = 2 / (n - correction)
//   extreme            dx = dy at the saved index, else 0

#define REDUCE_BLOCK 4096  // elements of a row that are added up before their sum joins the row's
#define REDUCE_STRIP 64    // columns that one item of a *_columns kernel works on (vector family and CRows)
#define REDUCE_SUM 0
#define REDUCE_LOGSUMEXP 1
#define REDUCE_VARIANCE 2

#ifdef VECTOR

// A vector of a row at column i, of which `left` columns remain.
INLINE real reduce_load(GLOBAL const float *p, index_t left, float fill) {
    return left >= LANES ? LOAD(p) : load_part(p, (int)left, fill);
}
INLINE void reduce_store(GLOBAL float *p, real v, index_t left) {
    if (left >= LANES) {
        STORE(p, v);
    } else {
        store_part(p, v, (int)left);
    }
}

// Σ (x - center)^power over at most REDUCE_BLOCK elements, power 1 or 2.
INLINE real reduce_block(GLOBAL const float *x, int n, float center, const int power) {
    const int whole = n / LANES * LANES;
    real s0 = SPLAT(0.0f), s1 = s0, s2 = s0, s3 = s0;
    int i = 0;
    for (; i + 4 * LANES <= whole; i += 4 * LANES) {
        real a = LOAD(x + i), b = LOAD(x + i + LANES), c = LOAD(x + i + 2 * LANES), d = LOAD(x + i + 3 * LANES);
        if (power == 2) {
            a = (a - SPLAT(center)) * (a - SPLAT(center));
            b = (b - SPLAT(center)) * (b - SPLAT(center));
            c = (c - SPLAT(center)) * (c - SPLAT(center));
            d = (d - SPLAT(center)) * (d - SPLAT(center));
        }
        s0 += a;
        s1 += b;
        s2 += c;
        s3 += d;
    }
    for (; i < n; i += LANES) {
        real a = reduce_load(x + i, n - i, power == 2 ? center : 0.0f);
        if (power == 2) a = (a - SPLAT(center)) * (a - SPLAT(center));
        s0 += a;
    }
    return (s0 + s1) + (s2 + s3);
}

INLINE float reduce_row(GLOBAL const float *x, index_t n, float center, const int power) {
    // Three levels: a block, 64 blocks, everything. The error grows with the longest level, not with n.
    float total = 0.0f;
    for (index_t start = 0; start < n; start += 64 * REDUCE_BLOCK) {
        const index_t stop = n - start < 64 * REDUCE_BLOCK ? n : start + 64 * REDUCE_BLOCK;
        real sum = SPLAT(0.0f);
        for (index_t i = start; i < stop; i += REDUCE_BLOCK) {
            sum += reduce_block(x + i, (int)(stop - i < REDUCE_BLOCK ? stop - i : REDUCE_BLOCK), center, power);
        }
        total += lane_sum(sum);
    }
    return total;
}

INLINE void sum_rows_rows(
    index_t begin, index_t end, GLOBAL const float *x, index_t x_pitch, GLOBAL float *y, index_t n, int accumulate,
    float scale) {
    for (index_t r = begin; r < end; r++) {
        const float v = scale * reduce_row(x + r * x_pitch, n, 0.0f, 1);
        y[r] = accumulate ? y[r] + v : v;
    }
}

// Items are pairs (row, block): partials[row · blocks + block] = Σ of 4096 elements.
INLINE void sum_row_blocks_items(
    index_t begin, index_t end, GLOBAL const float *x, index_t x_pitch, GLOBAL float *partials, index_t n,
    index_t blocks) {
    for (index_t item = begin; item < end; item++) {
        const index_t row = item / blocks, i = item % blocks * REDUCE_BLOCK;
        const int length = (int)(n - i < REDUCE_BLOCK ? n - i : REDUCE_BLOCK);
        partials[item] = lane_sum(reduce_block(x + row * x_pitch + i, length, 0.0f, 1));
    }
}

// Items are (outer, block, strip) with strips = ceil(inner / 1024); y [outer, blocks, inner].
#define SUM_STRIP 1024
INLINE void sum_columns_items(
    index_t begin, index_t end, GLOBAL const float *x, GLOBAL float *y, index_t n, index_t inner, index_t block_rows,
    int accumulate, float scale) {
    const index_t blocks = (n + block_rows - 1) / block_rows, strips = (inner + SUM_STRIP - 1) / SUM_STRIP;
    for (index_t item = begin; item < end; item++) {
        const index_t strip = item % strips, block = item / strips % blocks, o = item / strips / blocks;
        const index_t first = block * block_rows, last = n - first < block_rows ? n : first + block_rows;
        const index_t c0 = strip * SUM_STRIP, c1 = inner - c0 < SUM_STRIP ? inner : c0 + SUM_STRIP;
        GLOBAL float *to = y + (o * blocks + block) * inner;
        // Rows are read along their whole strip, four at a time; the strip of results stays in the first-level cache.
        for (index_t r = first; r < last; r += 4) {
            const int count = (int)(last - r < 4 ? last - r : 4);
            GLOBAL const float *a = x + (o * n + r) * inner;
            GLOBAL const float *b = a + (count > 1 ? inner : 0);
            GLOBAL const float *c = a + (count > 2 ? 2 * inner : 0);
            GLOBAL const float *d = a + (count > 3 ? 3 * inner : 0);
            for (index_t i = c0; i < c1; i += LANES) {
                const index_t left = c1 - i;
                real v = reduce_load(a + i, left, 0.0f);
                if (count == 4) {
                    v = (v + reduce_load(b + i, left, 0.0f))
                        + (reduce_load(c + i, left, 0.0f) + reduce_load(d + i, left, 0.0f));
                } else {
                    if (count > 1) v += reduce_load(b + i, left, 0.0f);
                    if (count > 2) v += reduce_load(c + i, left, 0.0f);
                }
                v = v * SPLAT(scale);
                if (r > first || accumulate) v += reduce_load(to + i, left, 0.0f);
                reduce_store(to + i, v, left);
            }
        }
    }
}

INLINE void variance_rows_rows(
    index_t begin, index_t end, GLOBAL const float *x, index_t x_pitch, GLOBAL float *y, GLOBAL float *mean, index_t n,
    float correction) {
    for (index_t r = begin; r < end; r++) {
        GLOBAL const float *from = x + r * x_pitch;
        const float m = reduce_row(from, n, 0.0f, 1) / (float)n;
        y[r] = reduce_row(from, n, m, 2) / ((float)n - correction);
        mean[r] = m;
    }
}

// Items are (outer, strip) with strips = ceil(inner / 64), for this and the other *_columns below.
INLINE void variance_columns_items(
    index_t begin, index_t end, GLOBAL const float *x, GLOBAL float *y, GLOBAL float *mean, index_t n, index_t inner,
    float correction) {
    const index_t strips = (inner + REDUCE_STRIP - 1) / REDUCE_STRIP;
    for (index_t item = begin; item < end; item++) {
        const index_t o = item / strips, c0 = item % strips * REDUCE_STRIP;
        const index_t c1 = inner - c0 < REDUCE_STRIP ? inner : c0 + REDUCE_STRIP;
        for (index_t i = c0; i < c1; i += LANES) {
            const index_t left = c1 - i;
            GLOBAL const float *from = x + o * n * inner + i;
            real m = SPLAT(0.0f);
            for (int power = 1; power <= 2; power++) {
                real total = SPLAT(0.0f);
                for (index_t start = 0; start < n; start += 64) {
                    const index_t stop = n - start < 64 ? n : start + 64;
                    real sum = SPLAT(0.0f);
                    for (index_t r = start; r < stop; r++) {
                        real v = reduce_load(from + r * inner, left, 0.0f) - m;
                        sum += power == 1 ? v : v * v;
                    }
                    total += sum;
                }
                if (power == 1) {
                    m = total / SPLAT((float)n);
                    reduce_store(mean + o * inner + i, m, left);
                } else {
                    reduce_store(y + o * inner + i, total / SPLAT((float)n - correction), left);
                }
            }
        }
    }
}

// Lanes where `v` replaces `best`: larger, or NaN where best is none.
INLINE mask_t extreme_better(real v, real best) {
    return (v > best) | ((v != v) & (best == best));
}

INLINE void extreme_rows_rows(
    index_t begin, index_t end, GLOBAL const float *x, index_t x_pitch, GLOBAL float *y, GLOBAL int *index, index_t n,
    int smallest) {
    const real sign = SPLAT(smallest ? -1.0f : 1.0f);
    for (index_t r = begin; r < end; r++) {
        GLOBAL const float *from = x + r * x_pitch;
        real best = SPLAT(-INFINITY);
        mask_t ids = LANE_IDS, where = LANE_IDS;
        for (index_t i = 0; i < n; i += LANES) {
            real v = reduce_load(from + i, n - i, smallest ? INFINITY : -INFINITY) * sign;
            mask_t better = extreme_better(v, best);
            best = SELECT(best, v, better);
            where = SELECT_INT(where, ids, better);
            ids += (mask_t)(LANES);
        }
        float values[LANES];
        int places[LANES];
        STORE(values, best);
        STORE_INT(places, where);
        float top = values[0];
        int place = places[0];
        for (int lane = 1; lane < LANES; lane++) {
            const float v = values[lane];
            const int nan = v != v, top_nan = top != top;
            const int equal = v == top || (nan && top_nan);
            if (v > top || (nan && !top_nan) || (equal && places[lane] < place)) {
                top = v;
                place = places[lane];
            }
        }
        y[r] = smallest ? -top : top;
        index[r] = place;
    }
}

INLINE void store_int_part(GLOBAL int *p, mask_t v, index_t left) {
    if (left >= LANES) {
        STORE_INT(p, v);
    } else {
        int t[LANES];
        STORE_INT(t, v);
        for (int i = 0; i < (int)left; i++) p[i] = t[i];
    }
}

INLINE void extreme_columns_items(
    index_t begin, index_t end, GLOBAL const float *x, GLOBAL float *y, GLOBAL int *index, index_t n, index_t inner,
    int smallest) {
    const index_t strips = (inner + REDUCE_STRIP - 1) / REDUCE_STRIP;
    const real sign = SPLAT(smallest ? -1.0f : 1.0f);
    for (index_t item = begin; item < end; item++) {
        const index_t o = item / strips, c0 = item % strips * REDUCE_STRIP;
        const index_t c1 = inner - c0 < REDUCE_STRIP ? inner : c0 + REDUCE_STRIP;
        for (index_t i = c0; i < c1; i += LANES) {
            const index_t left = c1 - i;
            GLOBAL const float *from = x + o * n * inner + i;
            real best = SPLAT(-INFINITY);
            mask_t where = (mask_t)(0);
            for (index_t r = 0; r < n; r++) {
                real v = reduce_load(from + r * inner, left, 0.0f) * sign;
                mask_t better = extreme_better(v, best);
                best = SELECT(best, v, better);
                where = SELECT_INT(where, (mask_t)((int)r), better);
            }
            reduce_store(y + o * inner + i, best * sign, left);
            store_int_part(index + o * inner + i, where, left);
        }
    }
}

INLINE void logsumexp_rows_rows(
    index_t begin, index_t end, GLOBAL const float *x, index_t x_pitch, GLOBAL float *y, int n) {
    for (index_t r = begin; r < end; r++) {
        float sum;
        const float top = softmax_statistics(x + r * x_pitch, n, 1.0f, LOG2E, &sum);
        y[r] = top == INFINITY ? INFINITY : S_LOG(sum) + top;
    }
}

INLINE void logsumexp_columns_items(
    index_t begin, index_t end, GLOBAL const float *x, GLOBAL float *y, index_t n, index_t inner) {
    const index_t strips = (inner + REDUCE_STRIP - 1) / REDUCE_STRIP;
    for (index_t item = begin; item < end; item++) {
        const index_t o = item / strips, c0 = item % strips * REDUCE_STRIP;
        const index_t c1 = inner - c0 < REDUCE_STRIP ? inner : c0 + REDUCE_STRIP;
        for (index_t i = c0; i < c1; i += LANES) {
            const index_t left = c1 - i;
            GLOBAL const float *from = x + o * n * inner + i;
            real top = SPLAT(LOWEST), sum = SPLAT(0.0f);
            for (index_t r = 0; r < n; r++) top = v_larger(top, reduce_load(from + r * inner, left, 0.0f));
            for (index_t r = 0; r < n; r++) {
                sum += v_exp2_scaled(reduce_load(from + r * inner, left, 0.0f) - top, LOG2E, -127.0f / LOG2E);
            }
            // Σ is 0 for a column of nothing but -inf, where v_log_positive would stop at ln 2^-126.
            real v = SELECT(v_log_positive(sum) + top, SPLAT(-INFINITY), sum == SPLAT(0.0f));
            v = SELECT(v, SPLAT(INFINITY), top == SPLAT(INFINITY));
            reduce_store(y + o * inner + i, v, left);
        }
    }
}

// One row after another in blocks of 64 elements, each summed from 0 and then put on top of the blocks before it.
INLINE void cumsum_rows_rows(
    index_t begin, index_t end, GLOBAL const float *x, index_t x_pitch, GLOBAL float *y, index_t y_pitch, index_t n,
    int reverse, int accumulate) {
    for (index_t r = begin; r < end; r++) {
        GLOBAL const float *from = x + r * x_pitch;
        GLOBAL float *to = y + r * y_pitch;
        float base = 0.0f, local_sum = 0.0f;
        for (index_t j = 0; j < n; j++) {
            const index_t i = reverse ? n - 1 - j : j;
            local_sum += from[i];
            const float v = base + local_sum;
            to[i] = accumulate ? to[i] + v : v;
            if ((j & 63) == 63) {
                base += local_sum;
                local_sum = 0.0f;
            }
        }
    }
}

INLINE void cumsum_columns_items(
    index_t begin, index_t end, GLOBAL const float *x, GLOBAL float *y, index_t n, index_t inner, int reverse,
    int accumulate) {
    const index_t strips = (inner + REDUCE_STRIP - 1) / REDUCE_STRIP;
    for (index_t item = begin; item < end; item++) {
        const index_t o = item / strips, c0 = item % strips * REDUCE_STRIP;
        const index_t c1 = inner - c0 < REDUCE_STRIP ? inner : c0 + REDUCE_STRIP;
        for (index_t i = c0; i < c1; i += LANES) {
            const index_t left = c1 - i;
            real base = SPLAT(0.0f), sum = SPLAT(0.0f);
            for (index_t j = 0; j < n; j++) {
                const index_t at = (o * n + (reverse ? n - 1 - j : j)) * inner + i;
                sum += reduce_load(x + at, left, 0.0f);
                real v = base + sum;
                if (accumulate) v += reduce_load(y + at, left, 0.0f);
                reduce_store(y + at, v, left);
                if ((j & 63) == 63) {
                    base += sum;
                    sum = SPLAT(0.0f);
                }
            }
        }
    }
}

INLINE real reduce_backward_vector(int kind, real x, real statistic, real dy, float scale) {
    real v = dy * SPLAT(scale);
    if (kind == REDUCE_LOGSUMEXP) v = v * v_exp2_scaled(x - statistic, LOG2E, -127.0f / LOG2E);
    if (kind == REDUCE_VARIANCE) v = v * (x - statistic);
    return v;
}

// x and dx are [outer, n, inner] with rows of `inner` (of n when inner is 1) at a pitch. Items are the rows: outer · n
// of them, or outer when inner is 1.
INLINE void reduce_backward_rows(
    index_t begin, index_t end, GLOBAL const float *x, index_t x_pitch, GLOBAL const float *statistic,
    GLOBAL const float *dy, GLOBAL float *dx, index_t dx_pitch, index_t n, index_t inner, int kind, int accumulate,
    float scale) {
    const index_t length = inner == 1 ? n : inner;
    for (index_t r = begin; r < end; r++) {
        const index_t o = inner == 1 ? r : r / n * inner;
        GLOBAL const float *from = x + r * x_pitch;
        GLOBAL float *to = dx + r * dx_pitch;
        for (index_t i = 0; i < length; i += LANES) {
            const index_t left = length - i;
            real a = SPLAT(0.0f), s = SPLAT(0.0f), d;
            if (kind != REDUCE_SUM) {
                a = reduce_load(from + i, left, 0.0f);
                s = inner == 1 ? SPLAT(statistic[o]) : reduce_load(statistic + o + i, left, 0.0f);
            }
            d = inner == 1 ? SPLAT(dy[o]) : reduce_load(dy + o + i, left, 0.0f);
            real v = reduce_backward_vector(kind, a, s, d, scale);
            if (accumulate) v += reduce_load(to + i, left, 0.0f);
            reduce_store(to + i, v, left);
        }
    }
}

// dx [outer, n, inner] (rows as above): dy where the saved index is, else 0.
INLINE void extreme_backward_rows(
    index_t begin, index_t end, GLOBAL const int *index, GLOBAL const float *dy, GLOBAL float *dx, index_t dx_pitch,
    index_t n, index_t inner, int accumulate) {
    const index_t length = inner == 1 ? n : inner;
    for (index_t r = begin; r < end; r++) {
        const index_t o = inner == 1 ? r : r / n * inner;
        GLOBAL float *to = dx + r * dx_pitch;
        for (index_t i = 0; i < length; i++) {
            const int hit = inner == 1 ? index[o] == (int)i : index[o + i] == (int)(r % n);
            const float v = hit ? dy[inner == 1 ? o : o + i] : 0.0f;
            to[i] = accumulate ? to[i] + v : v;
        }
    }
}

#endif

#ifdef __OPENCL_VERSION__
#define SUM_ROWS_ARGUMENTS                                                                                             \
    long rows, long rows_per_item, __global const float *x, long x_at, __global float *y, long y_at, long x_pitch,     \
        long n, int accumulate, float scale
#define SUM_ROW_BLOCKS_ARGUMENTS                                                                                       \
    long items, long items_per_item, __global const float *x, long x_at, __global float *partials, long partials_at,   \
        long x_pitch, long n, long blocks
#define SUM_COLUMNS_ARGUMENTS                                                                                          \
    long items, long items_per_item, __global const float *x, long x_at, __global float *y, long y_at, long outer,     \
        long n, long inner, long block_rows, int accumulate, float scale
#define VARIANCE_ROWS_ARGUMENTS                                                                                        \
    long rows, long rows_per_item, __global const float *x, long x_at, __global float *y, long y_at,                   \
        __global float *mean, long mean_at, long x_pitch, long n, float correction
#define VARIANCE_COLUMNS_ARGUMENTS                                                                                     \
    long items, long items_per_item, __global const float *x, long x_at, __global float *y, long y_at,                 \
        __global float *mean, long mean_at, long outer, long n, long inner, float correction
#define EXTREME_ROWS_ARGUMENTS                                                                                         \
    long rows, long rows_per_item, __global const float *x, long x_at, __global float *y, long y_at,                   \
        __global int *index, long index_at, long x_pitch, long n, int smallest
#define EXTREME_COLUMNS_ARGUMENTS                                                                                      \
    long items, long items_per_item, __global const float *x, long x_at, __global float *y, long y_at,                 \
        __global int *index, long index_at, long outer, long n, long inner, int smallest
#define LOGSUMEXP_ROWS_ARGUMENTS                                                                                       \
    long rows, long rows_per_item, __global const float *x, long x_at, __global float *y, long y_at, long x_pitch, int n
#define LOGSUMEXP_COLUMNS_ARGUMENTS                                                                                    \
    long items, long items_per_item, __global const float *x, long x_at, __global float *y, long y_at, long outer,     \
        long n, long inner
#define CUMSUM_ROWS_ARGUMENTS                                                                                          \
    long rows, long rows_per_item, __global const float *x, long x_at, __global float *y, long y_at, long x_pitch,     \
        long y_pitch, long n, int reverse, int accumulate
#define CUMSUM_COLUMNS_ARGUMENTS                                                                                       \
    long items, long items_per_item, __global const float *x, long x_at, __global float *y, long y_at, long outer,     \
        long n, long inner, int reverse, int accumulate
#define REDUCE_BACKWARD_ARGUMENTS                                                                                      \
    long rows, long rows_per_item, __global const float *x, long x_at, __global const float *statistic,                \
        long statistic_at, __global const float *dy, long dy_at, __global float *dx, long dx_at, long x_pitch,         \
        long dx_pitch, long n, long inner, int kind, int accumulate, float scale
#define EXTREME_BACKWARD_ARGUMENTS                                                                                     \
    long rows, long rows_per_item, __global const int *index, long index_at, __global const float *dy, long dy_at,     \
        __global float *dx, long dx_at, long dx_pitch, long n, long inner, int accumulate
#endif

#if defined(VECTOR) && defined(__OPENCL_VERSION__)

#define REDUCE_RANGE(total, step) \
    const long begin = get_global_id(0) * step, end = min(total, begin + step)

#if WANTED(sum_rows)
__kernel void sum_rows(SUM_ROWS_ARGUMENTS) {
    REDUCE_RANGE(rows, rows_per_item);
    sum_rows_rows(begin, end, x + x_at, x_pitch, y + y_at, n, accumulate, scale);
}
#endif
// vector: items = rows · blocks, blocks = ceil(n / 4096). simt: global = items · 256, local = 256.
#if WANTED(sum_row_blocks)
__kernel void sum_row_blocks(SUM_ROW_BLOCKS_ARGUMENTS) {
    REDUCE_RANGE(items, items_per_item);
    sum_row_blocks_items(begin, end, x + x_at, x_pitch, partials + partials_at, n, blocks);
}
#endif
// vector: items = outer · ceil(n / block_rows) · ceil(inner / 1024). simt: grid-stride over outer · blocks · inner,
// local = 256.
#if WANTED(sum_columns)
__kernel void sum_columns(SUM_COLUMNS_ARGUMENTS) {
    REDUCE_RANGE(items, items_per_item);
    sum_columns_items(begin, end, x + x_at, y + y_at, n, inner, block_rows, accumulate, scale);
}
#endif
#if WANTED(variance_rows)
__kernel void variance_rows(VARIANCE_ROWS_ARGUMENTS) {
    REDUCE_RANGE(rows, rows_per_item);
    variance_rows_rows(begin, end, x + x_at, x_pitch, y + y_at, mean + mean_at, n, correction);
}
#endif
// The *_columns below: vector: items = outer · ceil(inner / 64). simt: grid-stride over outer · inner, local = 256.
#if WANTED(variance_columns)
__kernel void variance_columns(VARIANCE_COLUMNS_ARGUMENTS) {
    REDUCE_RANGE(items, items_per_item);
    variance_columns_items(begin, end, x + x_at, y + y_at, mean + mean_at, n, inner, correction);
}
#endif
#if WANTED(extreme_rows)
__kernel void extreme_rows(EXTREME_ROWS_ARGUMENTS) {
    REDUCE_RANGE(rows, rows_per_item);
    extreme_rows_rows(begin, end, x + x_at, x_pitch, y + y_at, index + index_at, n, smallest);
}
#endif
#if WANTED(extreme_columns)
__kernel void extreme_columns(EXTREME_COLUMNS_ARGUMENTS) {
    REDUCE_RANGE(items, items_per_item);
    extreme_columns_items(begin, end, x + x_at, y + y_at, index + index_at, n, inner, smallest);
}
#endif
#if WANTED(logsumexp_rows)
__kernel void logsumexp_rows(LOGSUMEXP_ROWS_ARGUMENTS) {
    REDUCE_RANGE(rows, rows_per_item);
    logsumexp_rows_rows(begin, end, x + x_at, x_pitch, y + y_at, n);
}
#endif
#if WANTED(logsumexp_columns)
__kernel void logsumexp_columns(LOGSUMEXP_COLUMNS_ARGUMENTS) {
    REDUCE_RANGE(items, items_per_item);
    logsumexp_columns_items(begin, end, x + x_at, y + y_at, n, inner);
}
#endif
#if WANTED(cumsum_rows)
__kernel void cumsum_rows(CUMSUM_ROWS_ARGUMENTS) {
    REDUCE_RANGE(rows, rows_per_item);
    cumsum_rows_rows(begin, end, x + x_at, x_pitch, y + y_at, y_pitch, n, reverse, accumulate);
}
#endif
#if WANTED(cumsum_columns)
__kernel void cumsum_columns(CUMSUM_COLUMNS_ARGUMENTS) {
    REDUCE_RANGE(items, items_per_item);
    cumsum_columns_items(begin, end, x + x_at, y + y_at, n, inner, reverse, accumulate);
}
#endif
// rows = outer · n, or outer when inner is 1 (then a row has n elements). simt: global = rows · 256, local = 256.
#if WANTED(reduce_backward)
__kernel void reduce_backward(REDUCE_BACKWARD_ARGUMENTS) {
    REDUCE_RANGE(rows, rows_per_item);
    reduce_backward_rows(
        begin, end, x + x_at, x_pitch, statistic + statistic_at, dy + dy_at, dx + dx_at, dx_pitch, n, inner, kind,
        accumulate, scale);
}
#endif
#if WANTED(extreme_backward)
__kernel void extreme_backward(EXTREME_BACKWARD_ARGUMENTS) {
    REDUCE_RANGE(rows, rows_per_item);
    extreme_backward_rows(begin, end, index + index_at, dy + dy_at, dx + dx_at, dx_pitch, n, inner, accumulate);
}
#endif

#endif

#ifdef SIMT

#define WORK_GROUP_256 __attribute__((reqd_work_group_size(GROUP, 1, 1)))
#define FOR_EACH(e, total) for (long e = get_global_id(0); e < (total); e += get_global_size(0))

// Σ (x - center)^power over a row, for all work-items of the group: strips of 16 per work-item, added in two levels.
float reduce_group(__global const float *x, long n, float center, int power, __local float *scratch) {
    float total = 0.0f;
    for (long start = 0; start < n; start += 64 * GROUP) {
        const long stop = min(n, start + 64 * GROUP);
        float sum = 0.0f;
        for (long i = start + get_local_id(0); i < stop; i += GROUP) {
            const float d = x[i] - center;
            sum += power == 1 ? d : d * d;
        }
        total += sum;
    }
    return group_sum(total, scratch);
}

#if WANTED(sum_rows)
__kernel WORK_GROUP_256 void sum_rows(SUM_ROWS_ARGUMENTS) {
    __local float scratch[GROUP];
    const long r = get_group_id(0);
    const float v = scale * reduce_group(x + x_at + r * x_pitch, n, 0.0f, 1, scratch);
    if (get_local_id(0) == 0) y[y_at + r] = accumulate ? y[y_at + r] + v : v;
}
#endif
#if WANTED(sum_row_blocks)
__kernel WORK_GROUP_256 void sum_row_blocks(SUM_ROW_BLOCKS_ARGUMENTS) {
    __local float scratch[GROUP];
    const long item = get_group_id(0), i = item % blocks * REDUCE_BLOCK;
    const long length = min(n - i, (long)REDUCE_BLOCK);
    const float v = reduce_group(x + x_at + item / blocks * x_pitch + i, length, 0.0f, 1, scratch);
    if (get_local_id(0) == 0) partials[partials_at + item] = v;
}
#endif
#if WANTED(sum_columns)
__kernel WORK_GROUP_256 void sum_columns(SUM_COLUMNS_ARGUMENTS) {
    const long blocks = (n + block_rows - 1) / block_rows;
    FOR_EACH(e, outer * blocks * inner) {
        const long i = e % inner, block = e / inner % blocks, o = e / inner / blocks;
        const long first = block * block_rows, last = min(n, first + block_rows);
        float total = 0.0f;
        for (long start = first; start < last; start += 64) {
            const long stop = min(last, start + 64);
            float sum = 0.0f;
            for (long r = start; r < stop; r++) sum += x[x_at + (o * n + r) * inner + i];
            total += sum;
        }
        y[y_at + e] = accumulate ? y[y_at + e] + scale * total : scale * total;
    }
}
#endif
#if WANTED(variance_rows)
__kernel WORK_GROUP_256 void variance_rows(VARIANCE_ROWS_ARGUMENTS) {
    __local float scratch[GROUP];
    const long r = get_group_id(0);
    x += x_at + r * x_pitch;
    const float m = reduce_group(x, n, 0.0f, 1, scratch) / (float)n;
    const float squares = reduce_group(x, n, m, 2, scratch);
    if (get_local_id(0) == 0) {
        y[y_at + r] = squares / ((float)n - correction);
        mean[mean_at + r] = m;
    }
}
#endif
#if WANTED(variance_columns)
__kernel WORK_GROUP_256 void variance_columns(VARIANCE_COLUMNS_ARGUMENTS) {
    FOR_EACH(e, outer * inner) {
        __global const float *from = x + x_at + e / inner * n * inner + e % inner;
        float m = 0.0f;
        for (int power = 1; power <= 2; power++) {
            float total = 0.0f;
            for (long start = 0; start < n; start += 64) {
                const long stop = min(n, start + 64);
                float sum = 0.0f;
                for (long r = start; r < stop; r++) {
                    const float d = from[r * inner] - m;
                    sum += power == 1 ? d : d * d;
                }
                total += sum;
            }
            if (power == 1) {
                m = total / (float)n;
            } else {
                y[y_at + e] = total / ((float)n - correction);
            }
        }
        mean[mean_at + e] = m;
    }
}
#endif

// Whether (v, i) comes before (best, j): larger, NaN first, then the lower index.
INLINE int extreme_before(float v, long i, float best, long j) {
    if (v != v) return best == best || i < j;
    if (best != best) return 0;
    return v > best || (v == best && i < j);
}

#if WANTED(extreme_rows)
__kernel WORK_GROUP_256 void extreme_rows(EXTREME_ROWS_ARGUMENTS) {
    __local float values[GROUP];
    __local int places[GROUP];
    const int l = (int)get_local_id(0);
    const long r = get_group_id(0);
    const float sign = smallest ? -1.0f : 1.0f;
    x += x_at + r * x_pitch;
    float best = -INFINITY;
    long where = l;
    for (long i = l; i < n; i += GROUP) {
        const float v = x[i] * sign;
        if (extreme_before(v, i, best, where)) {
            best = v;
            where = i;
        }
    }
    values[l] = best;
    places[l] = (int)where;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int half_size = GROUP / 2; half_size > 0; half_size >>= 1) {
        if (l < half_size && extreme_before(values[l + half_size], places[l + half_size], values[l], places[l])) {
            values[l] = values[l + half_size];
            places[l] = places[l + half_size];
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (l == 0) {
        y[y_at + r] = values[0] * sign;
        index[index_at + r] = places[0];
    }
}
#endif
#if WANTED(extreme_columns)
__kernel WORK_GROUP_256 void extreme_columns(EXTREME_COLUMNS_ARGUMENTS) {
    const float sign = smallest ? -1.0f : 1.0f;
    FOR_EACH(e, outer * inner) {
        __global const float *from = x + x_at + e / inner * n * inner + e % inner;
        float best = -INFINITY;
        long where = 0;
        for (long r = 0; r < n; r++) {
            const float v = from[r * inner] * sign;
            if (extreme_before(v, r, best, where)) {
                best = v;
                where = r;
            }
        }
        y[y_at + e] = best * sign;
        index[index_at + e] = (int)where;
    }
}
#endif
#if WANTED(logsumexp_rows)
__kernel WORK_GROUP_256 void logsumexp_rows(LOGSUMEXP_ROWS_ARGUMENTS) {
    __local float scratch[GROUP];
    const long r = get_group_id(0);
    float sum;
    const float top = softmax_statistics(x + x_at + r * x_pitch, n, 1.0f, LOG2E, scratch, &sum);
    if (get_local_id(0) == 0) y[y_at + r] = top == INFINITY ? INFINITY : S_LOG(sum) + top;
}
#endif
#if WANTED(logsumexp_columns)
__kernel WORK_GROUP_256 void logsumexp_columns(LOGSUMEXP_COLUMNS_ARGUMENTS) {
    FOR_EACH(e, outer * inner) {
        __global const float *from = x + x_at + e / inner * n * inner + e % inner;
        float top = LOWEST, sum = 0.0f;
        for (long r = 0; r < n; r++) top = v_larger(top, from[r * inner]);
        for (long r = 0; r < n; r++) sum += v_exp2_scaled(from[r * inner] - top, LOG2E, -127.0f / LOG2E);
        y[y_at + e] = top == INFINITY ? INFINITY : S_LOG(sum) + top;
    }
}
#endif
// One work-group a row: blocks of 256 elements, each a scan in local memory on top of what came before.
#if WANTED(cumsum_rows)
__kernel WORK_GROUP_256 void cumsum_rows(CUMSUM_ROWS_ARGUMENTS) {
    __local float scratch[GROUP];
    const int l = (int)get_local_id(0);
    const long r = get_group_id(0);
    x += x_at + r * x_pitch;
    y += y_at + r * y_pitch;
    float base = 0.0f;
    for (long start = 0; start < n; start += GROUP) {
        const long j = start + l, i = reverse ? n - 1 - j : j;
        scratch[l] = j < n ? x[i] : 0.0f;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int step = 1; step < GROUP; step <<= 1) {
            const float before = l >= step ? scratch[l - step] : 0.0f;
            barrier(CLK_LOCAL_MEM_FENCE);
            scratch[l] += before;
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        if (j < n) y[i] = accumulate ? y[i] + (base + scratch[l]) : base + scratch[l];
        base += scratch[GROUP - 1];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}
#endif
#if WANTED(cumsum_columns)
__kernel WORK_GROUP_256 void cumsum_columns(CUMSUM_COLUMNS_ARGUMENTS) {
    FOR_EACH(e, outer * inner) {
        const long at = e / inner * n * inner + e % inner;
        float base = 0.0f, sum = 0.0f;
        for (long j = 0; j < n; j++) {
            const long i = at + (reverse ? n - 1 - j : j) * inner;
            sum += x[x_at + i];
            const float v = base + sum;
            y[y_at + i] = accumulate ? y[y_at + i] + v : v;
            if ((j & 63) == 63) {
                base += sum;
                sum = 0.0f;
            }
        }
    }
}
#endif
#if WANTED(reduce_backward)
__kernel WORK_GROUP_256 void reduce_backward(REDUCE_BACKWARD_ARGUMENTS) {
    const long r = get_group_id(0), length = inner == 1 ? n : inner, o = inner == 1 ? r : r / n * inner;
    x += x_at + r * x_pitch;
    dx += dx_at + r * dx_pitch;
    statistic += statistic_at;
    dy += dy_at;
    for (long i = get_local_id(0); i < length; i += GROUP) {
        const long at = inner == 1 ? o : o + i;
        float v = dy[at] * scale;
        if (kind == REDUCE_LOGSUMEXP) v *= v_exp2_scaled(x[i] - statistic[at], LOG2E, -127.0f / LOG2E);
        if (kind == REDUCE_VARIANCE) v *= x[i] - statistic[at];
        dx[i] = accumulate ? dx[i] + v : v;
    }
}
#endif
#if WANTED(extreme_backward)
__kernel WORK_GROUP_256 void extreme_backward(EXTREME_BACKWARD_ARGUMENTS) {
    const long r = get_group_id(0), length = inner == 1 ? n : inner, o = inner == 1 ? r : r / n * inner;
    dx += dx_at + r * dx_pitch;
    index += index_at;
    dy += dy_at;
    for (long i = get_local_id(0); i < length; i += GROUP) {
        const int hit = inner == 1 ? index[o] == (int)i : index[o + i] == (int)(r % n);
        const float v = hit ? dy[inner == 1 ? o : o + i] : 0.0f;
        dx[i] = accumulate ? dx[i] + v : v;
    }
}
#endif

#endif
