// Batch normalisation of x [samples, channels, inner] by channel (Ioffe and Szegedy 2015), with what follows it in a
// residual network; inner is height · width, or 1:
//
//   m = mean(x), v = mean((x - m)²), rstd = 1 / sqrt(v + epsilon), n = (x - m) rstd
//   y = n · weight + bias (+ residual), with `relu` max(0, ·) of it
//   g = dy, with `relu` 0 where y <= 0; dresidual = g, dweight = Σ g n, dbias = Σ g
//   dx = weight rstd (g - mean(g) - n mean(g n)); where m and v were given (evaluation) weight rstd g
//
// Both reductions have two steps: partials of fixed parts of x, then all partials of a channel in order. The same bits
// for any split into work-items. Parts are
//
//   planes    `block` samples of one channel: few elements of few rows, each row a plane of `inner` elements
//   columns   where planes are shorter than vectors: x is [samples, channels · inner], and a part is one column of 64
//             samples; a channel has `fold` = inner neighbouring columns. For planes fold is 1.
//
// partials [blocks, 2, channels · fold]: mean and Σ (x - mean)²; backward Σ g n and Σ g. Moments are combined by Chan et
// al. (1983), never as a difference of squares: the mean may be large.
//
// `spread` is rstd, or with `from_variance` the variance v.

#define BATCHNORM_BLOCK 64  // samples of a column's part
#define BATCHNORM_STRIP 64  // columns of an item

#ifdef VECTOR

INLINE real batchnorm_load(GLOBAL const float *p, int part) { return part ? load_part(p, part, 0.0f) : LOAD(p); }
INLINE void batchnorm_store(GLOBAL float *p, real v, int part) {
    if (part) {
        store_part(p, v, part);
    } else {
        STORE(p, v);
    }
}

// p[channel of each of 16 columns]; a channel has `inner` columns.
INLINE real batchnorm_spread(GLOBAL const float *p, int column, int part, int inner) {
    const int count = part ? part : LANES;
    if (inner == 1) return batchnorm_load(p + column, part);
    float t[16];
    for (int k = 0; k < LANES; k++) t[k] = k < count ? p[(column + k) / inner] : 0.0f;
    return LOAD(t);
}
// p[fold · channel] for 16 channels.
INLINE real batchnorm_fold(GLOBAL const float *p, index_t channel, int part, int fold) {
    const int count = part ? part : LANES;
    if (fold == 1) return batchnorm_load(p + channel, part);
    float t[16];
    for (int k = 0; k < LANES; k++) t[k] = k < count ? p[(channel + k) * fold] : 0.0f;
    return LOAD(t);
}

INLINE float batchnorm_rstd(float spread, int from_variance, float epsilon) {
    return from_variance ? 1.0f / S_SQRT(spread + epsilon) : spread;
}
INLINE real batchnorm_rstd_lanes(real spread, int from_variance, float epsilon) {
    return from_variance ? SPLAT(1.0f) / V_SQRT(spread + SPLAT(epsilon)) : spread;
}

// Mean and Σ (x - mean)² of planes [begin, end), blocks of one sample.
INLINE void batchnorm_moments_planes_items(
    index_t begin, index_t end, GLOBAL const float *x, GLOBAL float *partials, int channels, int inner) {
    const float share = 1.0f / (float)inner;
    for (index_t p = begin; p < end; p++) {
        GLOBAL const float *from = x + p * inner;
        GLOBAL float *to = partials + p / channels * 2 * channels + p % channels;
        float error, squares;
        const float m = row_moments(from, inner, &error, &squares);
        squares -= error * error * share;
        to[0] = m + error * share;
        to[channels] = squares < 0.0f ? 0.0f : squares;
    }
}

// The same of columns; an item is 64 samples of 64 columns, strips fastest.
INLINE void batchnorm_moments_columns_items(
    index_t begin, index_t end, GLOBAL const float *x, GLOBAL float *partials, index_t samples, int columns) {
    const int strips = (columns + BATCHNORM_STRIP - 1) / BATCHNORM_STRIP;
    for (index_t item = begin; item < end; item++) {
        const index_t block = item / strips, first = block * BATCHNORM_BLOCK;
        const index_t last = samples - first < BATCHNORM_BLOCK ? samples : first + BATCHNORM_BLOCK;
        const int c0 = (int)(item % strips) * BATCHNORM_STRIP;
        const int c1 = columns - c0 < BATCHNORM_STRIP ? columns : c0 + BATCHNORM_STRIP;
        const real share = SPLAT(1.0f / (float)(last - first));
        for (int c = c0; c < c1; c += LANES) {
            const int part = c1 - c < LANES ? c1 - c : 0;
            GLOBAL float *to = partials + block * 2 * columns + c;
            real sum = SPLAT(0.0f), error = sum, squares = sum;
            for (index_t r = first; r < last; r++) sum += batchnorm_load(x + r * columns + c, part);
            const real m = sum * share;
            for (index_t r = first; r < last; r++) {
                real a = batchnorm_load(x + r * columns + c, part) - m;
                squares = V_FMA(a, a, squares);
                error += a;
            }
            squares = squares - error * error * share;
            batchnorm_store(to, m + error * share, part);
            batchnorm_store(to + columns, SELECT(squares, SPLAT(0.0f), squares < SPLAT(0.0f)), part);
        }
    }
}

// Mean and rstd of channels [begin, end) from their partials; the running statistics move by `momentum`, the variance
// among them without bias.
INLINE void batchnorm_statistics_channels(
    index_t begin, index_t end, GLOBAL const float *partials, GLOBAL float *mean, GLOBAL float *rstd,
    GLOBAL float *running_mean, GLOBAL float *running_variance, index_t samples, int channels, int inner, int fold,
    int block, float epsilon, float momentum, int has_running) {
    const index_t blocks = (samples + block - 1) / block, columns = (index_t)channels * fold;
    const int per_sample = inner / fold;
    const float total = (float)(samples * inner), share = 1.0f / total;
    for (index_t c = begin; c < end; c += LANES) {
        const int part = end - c < LANES ? (int)(end - c) : 0;
        real m = SPLAT(0.0f), error = m, squares = m;
        for (index_t b = 0; b < blocks; b++) {
            const index_t left = samples - b * block;
            const real count = SPLAT((float)((left < block ? left : block) * per_sample));
            for (int j = 0; j < fold; j++) {
                m = V_FMA(count, batchnorm_fold(partials + b * 2 * columns + j, c, part, fold), m);
            }
        }
        m = m * SPLAT(share);
        for (index_t b = 0; b < blocks; b++) {
            const index_t left = samples - b * block;
            const real count = SPLAT((float)((left < block ? left : block) * per_sample));
            for (int j = 0; j < fold; j++) {
                const real d = batchnorm_fold(partials + b * 2 * columns + j, c, part, fold) - m;
                error = V_FMA(count, d, error);
                squares += V_FMA(
                    count * d, d, batchnorm_fold(partials + b * 2 * columns + columns + j, c, part, fold));
            }
        }
        squares = squares - error * error * SPLAT(share);
        squares = SELECT(squares, SPLAT(0.0f), squares < SPLAT(0.0f));
        m = m + error * SPLAT(share);
        batchnorm_store(mean + c, m, part);
        batchnorm_store(rstd + c, batchnorm_rstd_lanes(squares * SPLAT(share), 1, epsilon), part);
        if (has_running) {
            const real old_mean = batchnorm_load(running_mean + c, part);
            const real old_variance = batchnorm_load(running_variance + c, part);
            const real variance = squares * SPLAT(1.0f / (total - 1.0f)), keep = SPLAT(1.0f - momentum);
            batchnorm_store(running_mean + c, keep * old_mean + SPLAT(momentum) * m, part);
            batchnorm_store(running_variance + c, keep * old_variance + SPLAT(momentum) * variance, part);
        }
    }
}

INLINE real batchnorm_value(real x, real m, real scale, real shift, real residual, int relu) {
    real v = V_FMA(x - m, scale, shift) + residual;
    return relu ? SELECT(v, SPLAT(0.0f), v <= SPLAT(0.0f)) : v;
}

// y of planes [begin, end).
INLINE void batchnorm_apply_planes_items(
    index_t begin, index_t end, GLOBAL const float *x, GLOBAL const float *mean, GLOBAL const float *spread,
    GLOBAL const float *weight, GLOBAL const float *bias, GLOBAL const float *residual, GLOBAL float *y, int channels,
    int inner, int has_weight, int has_bias, int has_residual, int relu, int from_variance, float epsilon) {
    const int whole = inner / LANES * LANES, part = inner - whole;
    for (index_t p = begin; p < end; p++) {
        const int c = (int)(p % channels);
        const float factor = batchnorm_rstd(spread[c], from_variance, epsilon);
        const real m = SPLAT(mean[c]), scale = SPLAT(has_weight ? factor * weight[c] : factor);
        const real shift = SPLAT(has_bias ? bias[c] : 0.0f), zero = SPLAT(0.0f);
        GLOBAL const float *from = x + p * inner;
        GLOBAL const float *extra = residual + p * inner;
        GLOBAL float *to = y + p * inner;
        for (int i = 0; i < whole; i += LANES) {
            real r = zero;
            if (has_residual) r = LOAD(extra + i);
            STORE(to + i, batchnorm_value(LOAD(from + i), m, scale, shift, r, relu));
        }
        if (part) {
            real r = zero;
            if (has_residual) r = load_part(extra + whole, part, 0.0f);
            store_part(
                to + whole, batchnorm_value(load_part(from + whole, part, 0.0f), m, scale, shift, r, relu), part);
        }
    }
}

// y of items of 64 samples by 64 columns.
INLINE void batchnorm_apply_columns_items(
    index_t begin, index_t end, GLOBAL const float *x, GLOBAL const float *mean, GLOBAL const float *spread,
    GLOBAL const float *weight, GLOBAL const float *bias, GLOBAL const float *residual, GLOBAL float *y,
    index_t samples, int channels, int inner, int has_weight, int has_bias, int has_residual, int relu,
    int from_variance, float epsilon) {
    const int columns = channels * inner, strips = (columns + BATCHNORM_STRIP - 1) / BATCHNORM_STRIP;
    for (index_t item = begin; item < end; item++) {
        const index_t first = item / strips * BATCHNORM_BLOCK;
        const index_t last = samples - first < BATCHNORM_BLOCK ? samples : first + BATCHNORM_BLOCK;
        const int c0 = (int)(item % strips) * BATCHNORM_STRIP;
        const int c1 = columns - c0 < BATCHNORM_STRIP ? columns : c0 + BATCHNORM_STRIP;
        for (int c = c0; c < c1; c += LANES) {
            const int part = c1 - c < LANES ? c1 - c : 0;
            const real m = batchnorm_spread(mean, c, part, inner);
            real scale = batchnorm_rstd_lanes(batchnorm_spread(spread, c, part, inner), from_variance, epsilon);
            real shift = SPLAT(0.0f);
            if (has_weight) scale = scale * batchnorm_spread(weight, c, part, inner);
            if (has_bias) shift = batchnorm_spread(bias, c, part, inner);
            for (index_t r = first; r < last; r++) {
                const index_t at = r * columns + c;
                real extra = SPLAT(0.0f);
                if (has_residual) extra = batchnorm_load(residual + at, part);
                batchnorm_store(
                    y + at, batchnorm_value(batchnorm_load(x + at, part), m, scale, shift, extra, relu), part);
            }
        }
    }
}

INLINE real batchnorm_masked(GLOBAL const float *dy, GLOBAL const float *y, int part, int relu) {
    const real d = batchnorm_load(dy, part);
    return relu ? SELECT(d, SPLAT(0.0f), batchnorm_load(y, part) <= SPLAT(0.0f)) : d;
}

// Σ g n and Σ g of planes [begin, end), blocks of one sample.
INLINE void batchnorm_products_planes_items(
    index_t begin, index_t end, GLOBAL const float *x, GLOBAL const float *y, GLOBAL const float *dy,
    GLOBAL const float *mean, GLOBAL const float *spread, GLOBAL float *partials, int channels, int inner, int relu,
    int from_variance, float epsilon) {
    const int whole = inner / LANES * LANES, part = inner - whole;
    for (index_t p = begin; p < end; p++) {
        const int c = (int)(p % channels);
        const index_t at = p * inner;
        const real m = SPLAT(mean[c]);
        GLOBAL float *to = partials + p / channels * 2 * channels + c;
        real s0 = SPLAT(0.0f), s1 = s0, t0 = s0, t1 = s0;
        int i = 0;
        for (; i + 2 * LANES <= whole; i += 2 * LANES) {
            const real a = batchnorm_masked(dy + at + i, y + at + i, 0, relu);
            const real b = batchnorm_masked(dy + at + i + LANES, y + at + i + LANES, 0, relu);
            s0 += a;
            s1 += b;
            t0 = V_FMA(a, LOAD(x + at + i) - m, t0);
            t1 = V_FMA(b, LOAD(x + at + i + LANES) - m, t1);
        }
        if (i < whole) {
            const real a = batchnorm_masked(dy + at + i, y + at + i, 0, relu);
            s0 += a;
            t0 = V_FMA(a, LOAD(x + at + i) - m, t0);
        }
        if (part) {
            const real a = batchnorm_masked(dy + at + whole, y + at + whole, part, relu);
            s1 += a;
            t1 = V_FMA(a, load_part(x + at + whole, part, mean[c]) - m, t1);
        }
        to[0] = lane_sum(t0 + t1) * batchnorm_rstd(spread[c], from_variance, epsilon);
        to[channels] = lane_sum(s0 + s1);
    }
}

// The same of columns, items of 64 samples by 64 columns.
INLINE void batchnorm_products_columns_items(
    index_t begin, index_t end, GLOBAL const float *x, GLOBAL const float *y, GLOBAL const float *dy,
    GLOBAL const float *mean, GLOBAL const float *spread, GLOBAL float *partials, index_t samples, int channels,
    int inner, int relu, int from_variance, float epsilon) {
    const int columns = channels * inner, strips = (columns + BATCHNORM_STRIP - 1) / BATCHNORM_STRIP;
    for (index_t item = begin; item < end; item++) {
        const index_t block = item / strips, first = block * BATCHNORM_BLOCK;
        const index_t last = samples - first < BATCHNORM_BLOCK ? samples : first + BATCHNORM_BLOCK;
        const int c0 = (int)(item % strips) * BATCHNORM_STRIP;
        const int c1 = columns - c0 < BATCHNORM_STRIP ? columns : c0 + BATCHNORM_STRIP;
        for (int c = c0; c < c1; c += LANES) {
            const int part = c1 - c < LANES ? c1 - c : 0;
            const real m = batchnorm_spread(mean, c, part, inner);
            const real rstd = batchnorm_rstd_lanes(batchnorm_spread(spread, c, part, inner), from_variance, epsilon);
            GLOBAL float *to = partials + block * 2 * columns + c;
            real sum = SPLAT(0.0f), product = sum;
            for (index_t r = first; r < last; r++) {
                const index_t at = r * columns + c;
                const real g = batchnorm_masked(dy + at, y + at, part, relu);
                sum += g;
                product = V_FMA(g, batchnorm_load(x + at, part) - m, product);
            }
            batchnorm_store(to, product * rstd, part);
            batchnorm_store(to + columns, sum, part);
        }
    }
}

// sums [2, channels]: Σ g n and Σ g of channels [begin, end), in order of blocks; also as gradients where wanted.
INLINE void batchnorm_sums_channels(
    index_t begin, index_t end, GLOBAL const float *partials, GLOBAL float *sums, GLOBAL float *dweight,
    GLOBAL float *dbias, index_t blocks, int channels, int fold, int want_weight, int want_bias, int add_weight,
    int add_bias) {
    const index_t columns = (index_t)channels * fold;
    for (index_t c = begin; c < end; c += LANES) {
        const int part = end - c < LANES ? (int)(end - c) : 0;
        real product = SPLAT(0.0f), sum = product;
        for (index_t b = 0; b < blocks; b++) {
            for (int j = 0; j < fold; j++) {
                product += batchnorm_fold(partials + b * 2 * columns + j, c, part, fold);
                sum += batchnorm_fold(partials + b * 2 * columns + columns + j, c, part, fold);
            }
        }
        batchnorm_store(sums + c, product, part);
        batchnorm_store(sums + channels + c, sum, part);
        if (want_weight) {
            if (add_weight) product += batchnorm_load(dweight + c, part);
            batchnorm_store(dweight + c, product, part);
        }
        if (want_bias) {
            if (add_bias) sum += batchnorm_load(dbias + c, part);
            batchnorm_store(dbias + c, sum, part);
        }
    }
}

// dx and dresidual at one place; mean_product and mean_sum are 0 in evaluation.
INLINE void batchnorm_backward_at(
    GLOBAL const float *x, GLOBAL const float *y, GLOBAL const float *dy, GLOBAL float *dx, GLOBAL float *dresidual,
    int part, real m, real rstd, real scale, real mean_product, real mean_sum, int relu, int training, int want_dx,
    int want_dresidual, int add_dx, int add_dresidual) {
    const real g = batchnorm_masked(dy, y, part, relu);
    if (want_dx) {
        real d = g;
        if (training) d = (g - mean_sum) - (batchnorm_load(x, part) - m) * rstd * mean_product;
        d = d * scale;
        if (add_dx) d += batchnorm_load(dx, part);
        batchnorm_store(dx, d, part);
    }
    if (want_dresidual) {
        batchnorm_store(dresidual, add_dresidual ? batchnorm_load(dresidual, part) + g : g, part);
    }
}

#define BATCHNORM_BACKWARD_BODY_ARGUMENTS                                                                              \
    index_t begin, index_t end, GLOBAL const float *x, GLOBAL const float *y, GLOBAL const float *dy,                  \
    GLOBAL const float *mean, GLOBAL const float *spread, GLOBAL const float *weight, GLOBAL const float *sums,        \
    GLOBAL float *dx, GLOBAL float *dresidual, index_t samples, int channels, int inner, int has_weight, int relu,     \
    int training, float epsilon, int want_dx, int want_dresidual, int add_dx, int add_dresidual
INLINE void batchnorm_backward_planes_items(BATCHNORM_BACKWARD_BODY_ARGUMENTS) {
    const int whole = inner / LANES * LANES, part = inner - whole;
    const float share = 1.0f / (float)(samples * inner);
    for (index_t p = begin; p < end; p++) {
        const int c = (int)(p % channels);
        const float factor = batchnorm_rstd(spread[c], !training, epsilon);
        const real m = SPLAT(mean[c]), rstd = SPLAT(factor), scale = SPLAT(has_weight ? factor * weight[c] : factor);
        const real mean_product = SPLAT(training ? sums[c] * share : 0.0f);
        const real mean_sum = SPLAT(training ? sums[channels + c] * share : 0.0f);
        const index_t at = p * inner;
        for (int i = 0; i < whole; i += LANES) {
            batchnorm_backward_at(
                x + at + i, y + at + i, dy + at + i, dx + at + i, dresidual + at + i, 0, m, rstd, scale, mean_product,
                mean_sum, relu, training, want_dx, want_dresidual, add_dx, add_dresidual);
        }
        if (part) {
            const index_t last = at + whole;
            batchnorm_backward_at(
                x + last, y + last, dy + last, dx + last, dresidual + last, part, m, rstd, scale, mean_product,
                mean_sum, relu, training, want_dx, want_dresidual, add_dx, add_dresidual);
        }
    }
}

INLINE void batchnorm_backward_columns_items(BATCHNORM_BACKWARD_BODY_ARGUMENTS) {
    const int columns = channels * inner, strips = (columns + BATCHNORM_STRIP - 1) / BATCHNORM_STRIP;
    const real share = SPLAT(1.0f / (float)(samples * inner));
    for (index_t item = begin; item < end; item++) {
        const index_t first = item / strips * BATCHNORM_BLOCK;
        const index_t last = samples - first < BATCHNORM_BLOCK ? samples : first + BATCHNORM_BLOCK;
        const int c0 = (int)(item % strips) * BATCHNORM_STRIP;
        const int c1 = columns - c0 < BATCHNORM_STRIP ? columns : c0 + BATCHNORM_STRIP;
        for (int c = c0; c < c1; c += LANES) {
            const int part = c1 - c < LANES ? c1 - c : 0;
            const real m = batchnorm_spread(mean, c, part, inner);
            const real rstd = batchnorm_rstd_lanes(batchnorm_spread(spread, c, part, inner), !training, epsilon);
            real scale = rstd, mean_product = SPLAT(0.0f), mean_sum = mean_product;
            if (has_weight) scale = scale * batchnorm_spread(weight, c, part, inner);
            if (training) {
                mean_product = batchnorm_spread(sums, c, part, inner) * share;
                mean_sum = batchnorm_spread(sums + channels, c, part, inner) * share;
            }
            for (index_t r = first; r < last; r++) {
                const index_t at = r * columns + c;
                batchnorm_backward_at(
                    x + at, y + at, dy + at, dx + at, dresidual + at, part, m, rstd, scale, mean_product, mean_sum,
                    relu, training, want_dx, want_dresidual, add_dx, add_dresidual);
            }
        }
    }
}

#endif

#ifdef __OPENCL_VERSION__
#define BATCHNORM_MOMENTS_ARGUMENTS                                                                                    \
    long items, long items_per_item, __global const float *x, long x_at, __global float *partials, long partials_at,   \
        long samples, int channels, int inner, int block
#define BATCHNORM_STATISTICS_ARGUMENTS                                                                                 \
    long items, long items_per_item, __global const float *partials, long partials_at, __global float *mean,           \
        long mean_at, __global float *rstd, long rstd_at, __global float *running_mean, long running_mean_at,          \
        __global float *running_variance, long running_variance_at, long samples, int channels, int inner, int fold,   \
        int block, float epsilon, float momentum, int has_running
#define BATCHNORM_APPLY_ARGUMENTS                                                                                      \
    long items, long items_per_item, __global const float *x, long x_at, __global const float *mean, long mean_at,     \
        __global const float *spread, long spread_at, __global const float *weight, long weight_at,                    \
        __global const float *bias, long bias_at, __global const float *residual, long residual_at, __global float *y, \
        long y_at, long samples, int channels, int inner, int has_weight, int has_bias, int has_residual, int relu,    \
        int from_variance, float epsilon
#define BATCHNORM_PRODUCTS_ARGUMENTS                                                                                   \
    long items, long items_per_item, __global const float *x, long x_at, __global const float *y, long y_at,           \
        __global const float *dy, long dy_at, __global const float *mean, long mean_at, __global const float *spread,  \
        long spread_at, __global float *partials, long partials_at, long samples, int channels, int inner, int block,  \
        int relu, int from_variance, float epsilon
#define BATCHNORM_SUMS_ARGUMENTS                                                                                       \
    long items, long items_per_item, __global const float *partials, long partials_at, __global float *sums,           \
        long sums_at, __global float *dweight, long dweight_at, __global float *dbias, long dbias_at, long blocks,     \
        int channels, int fold, int want_weight, int want_bias, int add_weight, int add_bias
#define BATCHNORM_BACKWARD_ARGUMENTS                                                                                   \
    long items, long items_per_item, __global const float *x, long x_at, __global const float *y, long y_at,           \
        __global const float *dy, long dy_at, __global const float *mean, long mean_at, __global const float *spread,  \
        long spread_at, __global const float *weight, long weight_at, __global const float *sums, long sums_at,        \
        __global float *dx, long dx_at, __global float *dresidual, long dresidual_at, long samples, int channels,      \
        int inner, int has_weight, int relu, int training, float epsilon, int want_dx, int want_dresidual, int add_dx, \
        int add_dresidual
#endif

#if defined(VECTOR) && defined(__OPENCL_VERSION__)
#define BATCHNORM_RANGE \
    const long begin = get_global_id(0) * items_per_item, end = min(items, begin + items_per_item);
#if WANTED(batchnorm_moments_planes)
__kernel void batchnorm_moments_planes(BATCHNORM_MOMENTS_ARGUMENTS) {
    BATCHNORM_RANGE
    batchnorm_moments_planes_items(begin, end, x + x_at, partials + partials_at, channels, inner);
}
#endif
#if WANTED(batchnorm_moments_columns)
__kernel void batchnorm_moments_columns(BATCHNORM_MOMENTS_ARGUMENTS) {
    BATCHNORM_RANGE
    batchnorm_moments_columns_items(begin, end, x + x_at, partials + partials_at, samples, channels * inner);
}
#endif
#if WANTED(batchnorm_statistics)
__kernel void batchnorm_statistics(BATCHNORM_STATISTICS_ARGUMENTS) {
    BATCHNORM_RANGE
    batchnorm_statistics_channels(
        begin, end, partials + partials_at, mean + mean_at, rstd + rstd_at, running_mean + running_mean_at,
        running_variance + running_variance_at, samples, channels, inner, fold, block, epsilon, momentum, has_running);
}
#endif
#if WANTED(batchnorm_apply_planes)
__kernel void batchnorm_apply_planes(BATCHNORM_APPLY_ARGUMENTS) {
    BATCHNORM_RANGE
    batchnorm_apply_planes_items(
        begin, end, x + x_at, mean + mean_at, spread + spread_at, weight + weight_at, bias + bias_at,
        residual + residual_at, y + y_at, channels, inner, has_weight, has_bias, has_residual, relu, from_variance,
        epsilon);
}
#endif
#if WANTED(batchnorm_apply_columns)
__kernel void batchnorm_apply_columns(BATCHNORM_APPLY_ARGUMENTS) {
    BATCHNORM_RANGE
    batchnorm_apply_columns_items(
        begin, end, x + x_at, mean + mean_at, spread + spread_at, weight + weight_at, bias + bias_at,
        residual + residual_at, y + y_at, samples, channels, inner, has_weight, has_bias, has_residual, relu,
        from_variance, epsilon);
}
#endif
#if WANTED(batchnorm_products_planes)
__kernel void batchnorm_products_planes(BATCHNORM_PRODUCTS_ARGUMENTS) {
    BATCHNORM_RANGE
    batchnorm_products_planes_items(
        begin, end, x + x_at, y + y_at, dy + dy_at, mean + mean_at, spread + spread_at, partials + partials_at,
        channels, inner, relu, from_variance, epsilon);
}
#endif
#if WANTED(batchnorm_products_columns)
__kernel void batchnorm_products_columns(BATCHNORM_PRODUCTS_ARGUMENTS) {
    BATCHNORM_RANGE
    batchnorm_products_columns_items(
        begin, end, x + x_at, y + y_at, dy + dy_at, mean + mean_at, spread + spread_at, partials + partials_at,
        samples, channels, inner, relu, from_variance, epsilon);
}
#endif
#if WANTED(batchnorm_sums)
__kernel void batchnorm_sums(BATCHNORM_SUMS_ARGUMENTS) {
    BATCHNORM_RANGE
    batchnorm_sums_channels(
        begin, end, partials + partials_at, sums + sums_at, dweight + dweight_at, dbias + dbias_at, blocks, channels,
        fold, want_weight, want_bias, add_weight, add_bias);
}
#endif
#define BATCHNORM_BACKWARD_OPERANDS                                                                                    \
    begin, end, x + x_at, y + y_at, dy + dy_at, mean + mean_at, spread + spread_at, weight + weight_at,                \
    sums + sums_at, dx + dx_at, dresidual + dresidual_at, samples, channels, inner, has_weight, relu, training,        \
    epsilon, want_dx, want_dresidual, add_dx, add_dresidual
#if WANTED(batchnorm_backward_planes)
__kernel void batchnorm_backward_planes(BATCHNORM_BACKWARD_ARGUMENTS) {
    BATCHNORM_RANGE
    batchnorm_backward_planes_items(BATCHNORM_BACKWARD_OPERANDS);
}
#endif
#if WANTED(batchnorm_backward_columns)
__kernel void batchnorm_backward_columns(BATCHNORM_BACKWARD_ARGUMENTS) {
    BATCHNORM_RANGE
    batchnorm_backward_columns_items(BATCHNORM_BACKWARD_OPERANDS);
}
#endif
#endif

#ifdef SIMT
#define BATCHNORM_GROUP __attribute__((reqd_work_group_size(GROUP, 1, 1)))
INLINE float batchnorm_rstd(float spread, int from_variance, float epsilon) {
    return from_variance ? 1.0f / sqrt(spread + epsilon) : spread;
}
// Planes: one group for `block` samples of one channel, channels fastest.
#if WANTED(batchnorm_moments_planes)
__kernel BATCHNORM_GROUP void batchnorm_moments_planes(BATCHNORM_MOMENTS_ARGUMENTS) {
    __local float scratch[GROUP];
    const long b = get_group_id(0) / channels;
    const int c = (int)(get_group_id(0) % channels);
    const int count = (int)min((long)block, samples - b * block) * inner;
    const float share = 1.0f / (float)count;
    x += x_at + (b * block * channels + c) * inner;
    float sum = 0.0f, error = 0.0f, squares = 0.0f;
    for (int e = (int)get_local_id(0); e < count; e += GROUP) sum += x[(long)(e / inner) * channels * inner + e % inner];
    const float m = group_sum(sum, scratch) * share;
    for (int e = (int)get_local_id(0); e < count; e += GROUP) {
        const float d = x[(long)(e / inner) * channels * inner + e % inner] - m;
        squares = fma(d, d, squares);
        error += d;
    }
    error = group_sum(error, scratch);
    squares = group_sum(squares, scratch) - error * error * share;
    if (get_local_id(0) == 0) {
        partials += partials_at + b * 2 * channels + c;
        partials[0] = m + error * share;
        partials[channels] = squares < 0.0f ? 0.0f : squares;
    }
}
#endif
// Columns: one work-item for 64 samples of one column.
#if WANTED(batchnorm_moments_columns)
__kernel BATCHNORM_GROUP void batchnorm_moments_columns(BATCHNORM_MOMENTS_ARGUMENTS) {
    const int columns = channels * inner;
    for (long i = get_global_id(0); i < items; i += get_global_size(0)) {
        const long b = i / columns, first = b * BATCHNORM_BLOCK, last = min(samples, first + BATCHNORM_BLOCK);
        const int c = (int)(i % columns);
        const float share = 1.0f / (float)(last - first);
        __global const float *from = x + x_at + c;
        float sum = 0.0f, error = 0.0f, squares = 0.0f;
        for (long r = first; r < last; r++) sum += from[r * columns];
        const float m = sum * share;
        for (long r = first; r < last; r++) {
            const float d = from[r * columns] - m;
            squares = fma(d, d, squares);
            error += d;
        }
        squares -= error * error * share;
        partials[partials_at + b * 2 * columns + c] = m + error * share;
        partials[partials_at + b * 2 * columns + columns + c] = squares < 0.0f ? 0.0f : squares;
    }
}
#endif
// One group for a channel.
#if WANTED(batchnorm_statistics)
__kernel BATCHNORM_GROUP void batchnorm_statistics(BATCHNORM_STATISTICS_ARGUMENTS) {
    __local float scratch[GROUP];
    const int c = (int)get_group_id(0), l = (int)get_local_id(0), per_sample = inner / fold;
    const long blocks = (samples + block - 1) / block, columns = (long)channels * fold, parts = blocks * fold;
    const float total = (float)(samples * inner), share = 1.0f / total;
    partials += partials_at + (long)c * fold;
    float sum = 0.0f, error = 0.0f, squares = 0.0f;
    for (long i = l; i < parts; i += GROUP) {
        const long b = i / fold;
        const float count = (float)(min((long)block, samples - b * block) * per_sample);
        sum = fma(count, partials[b * 2 * columns + i % fold], sum);
    }
    float m = group_sum(sum, scratch) * share;
    for (long i = l; i < parts; i += GROUP) {
        const long b = i / fold;
        const float count = (float)(min((long)block, samples - b * block) * per_sample);
        const float d = partials[b * 2 * columns + i % fold] - m;
        error = fma(count, d, error);
        squares += fma(count * d, d, partials[b * 2 * columns + columns + i % fold]);
    }
    error = group_sum(error, scratch);
    squares = group_sum(squares, scratch) - error * error * share;
    squares = squares < 0.0f ? 0.0f : squares;
    m += error * share;
    if (l == 0) {
        mean[mean_at + c] = m;
        rstd[rstd_at + c] = batchnorm_rstd(squares * share, 1, epsilon);
        if (has_running) {
            running_mean += running_mean_at + c;
            running_variance += running_variance_at + c;
            *running_mean = (1.0f - momentum) * *running_mean + momentum * m;
            *running_variance = (1.0f - momentum) * *running_variance + momentum * (squares / (total - 1.0f));
        }
    }
}
#endif
// One group for items_per_item planes, which follow each other in memory.
#define BATCHNORM_EACH                                                                                      \
    const long plane = get_group_id(0) * items_per_item;                                                    \
    const int elements = (int)min(items_per_item, samples * channels - plane) * inner;                      \
    for (int e = (int)get_local_id(0); e < elements; e += GROUP)
#if WANTED(batchnorm_apply_planes)
__kernel BATCHNORM_GROUP void batchnorm_apply_planes(BATCHNORM_APPLY_ARGUMENTS) {
    BATCHNORM_EACH {
        const int c = (int)((plane + e / inner) % channels);
        const long at = plane * inner + e;
        const float rstd = batchnorm_rstd(spread[spread_at + c], from_variance, epsilon);
        const float scale = has_weight ? rstd * weight[weight_at + c] : rstd;
        float v = fma(x[x_at + at] - mean[mean_at + c], scale, has_bias ? bias[bias_at + c] : 0.0f);
        if (has_residual) v += residual[residual_at + at];
        y[y_at + at] = relu && v <= 0.0f ? 0.0f : v;
    }
}
#endif
#if WANTED(batchnorm_products_planes)
__kernel BATCHNORM_GROUP void batchnorm_products_planes(BATCHNORM_PRODUCTS_ARGUMENTS) {
    __local float scratch[GROUP];
    const long b = get_group_id(0) / channels;
    const int c = (int)(get_group_id(0) % channels);
    const int count = (int)min((long)block, samples - b * block) * inner;
    const float m = mean[mean_at + c];
    const long first = (b * block * channels + c) * inner;
    float sum = 0.0f, product = 0.0f;
    for (int e = (int)get_local_id(0); e < count; e += GROUP) {
        const long at = first + (long)(e / inner) * channels * inner + e % inner;
        const float g = relu && y[y_at + at] <= 0.0f ? 0.0f : dy[dy_at + at];
        sum += g;
        product = fma(g, x[x_at + at] - m, product);
    }
    product = group_sum(product, scratch);
    sum = group_sum(sum, scratch);
    if (get_local_id(0) == 0) {
        partials += partials_at + b * 2 * channels + c;
        partials[0] = product * batchnorm_rstd(spread[spread_at + c], from_variance, epsilon);
        partials[channels] = sum;
    }
}
#endif
#if WANTED(batchnorm_products_columns)
__kernel BATCHNORM_GROUP void batchnorm_products_columns(BATCHNORM_PRODUCTS_ARGUMENTS) {
    const int columns = channels * inner;
    for (long i = get_global_id(0); i < items; i += get_global_size(0)) {
        const long b = i / columns, first = b * BATCHNORM_BLOCK, last = min(samples, first + BATCHNORM_BLOCK);
        const int column = (int)(i % columns), c = column / inner;
        const float m = mean[mean_at + c];
        float sum = 0.0f, product = 0.0f;
        for (long r = first; r < last; r++) {
            const long at = r * columns + column;
            const float g = relu && y[y_at + at] <= 0.0f ? 0.0f : dy[dy_at + at];
            sum += g;
            product = fma(g, x[x_at + at] - m, product);
        }
        partials[partials_at + b * 2 * columns + column] =
            product * batchnorm_rstd(spread[spread_at + c], from_variance, epsilon);
        partials[partials_at + b * 2 * columns + columns + column] = sum;
    }
}
#endif
#if WANTED(batchnorm_sums)
__kernel BATCHNORM_GROUP void batchnorm_sums(BATCHNORM_SUMS_ARGUMENTS) {
    __local float scratch[GROUP];
    const int c = (int)get_group_id(0);
    const long columns = (long)channels * fold;
    partials += partials_at + (long)c * fold;
    float product = 0.0f, sum = 0.0f;
    for (long i = (long)get_local_id(0); i < blocks * fold; i += GROUP) {
        const long at = i / fold * 2 * columns + i % fold;
        product += partials[at];
        sum += partials[at + columns];
    }
    product = group_sum(product, scratch);
    sum = group_sum(sum, scratch);
    if (get_local_id(0) == 0) {
        sums[sums_at + c] = product;
        sums[sums_at + channels + c] = sum;
        if (want_weight) dweight[dweight_at + c] = add_weight ? dweight[dweight_at + c] + product : product;
        if (want_bias) dbias[dbias_at + c] = add_bias ? dbias[dbias_at + c] + sum : sum;
    }
}
#endif
#if WANTED(batchnorm_backward_planes)
__kernel BATCHNORM_GROUP void batchnorm_backward_planes(BATCHNORM_BACKWARD_ARGUMENTS) {
    const float share = 1.0f / (float)(samples * inner);
    BATCHNORM_EACH {
        const int c = (int)((plane + e / inner) % channels);
        const long at = plane * inner + e;
        const float rstd = batchnorm_rstd(spread[spread_at + c], !training, epsilon);
        const float g = relu && y[y_at + at] <= 0.0f ? 0.0f : dy[dy_at + at];
        if (want_dx) {
            float d = g;
            if (training) {
                const float n = (x[x_at + at] - mean[mean_at + c]) * rstd;
                d = (g - sums[sums_at + channels + c] * share) - n * (sums[sums_at + c] * share);
            }
            d *= has_weight ? rstd * weight[weight_at + c] : rstd;
            dx[dx_at + at] = add_dx ? dx[dx_at + at] + d : d;
        }
        if (want_dresidual) dresidual[dresidual_at + at] = add_dresidual ? dresidual[dresidual_at + at] + g : g;
    }
}
#endif
#endif
