// Optimizer steps over flat arenas, the global gradient norm, and exponential moving averages of parameters.
//
// The host launches once per parameter group. Every step reads two device scalars that norm_finish wrote: clip, a
// factor on the gradient, and skip: when it is not 0, nothing is changed. Formulas and their order are those of
// torch.optim. A buffer that an option leaves unused (momentum = 0, no amsgrad) must still be a valid buffer; it is
// not touched.

#if defined(VECTOR) || defined(SIMT)

// SGD: g = clip·g + wd·p;  m = first ? g : momentum·m + (1 - dampening)·g;  p -= lr·(nesterov ? g + momentum·m : m)
INLINE real sgd_gradient(real g, real p, float clip, float weight_decay) {
    return V_FMA(SPLAT(weight_decay), p, g * SPLAT(clip));
}
INLINE real sgd_moment(real g, real m, float momentum, float dampening) {
    return V_FMA(SPLAT(momentum), m, SPLAT(1.0f - dampening) * g);
}

// Adam (Kingma and Ba 2015), AdamW (Loshchilov and Hutter 2019), AMSGrad (Reddi et al. 2018):
//     decoupled:  p -= lr·wd·p          coupled:  g += wd·p
//     m += (1 - β1)(g - m);  v = β2·v + (1 - β2)·g²;  amsgrad: v̂ = max(v̂, v), else v̂ = v
//     p -= step_size · m / (sqrt(v̂) / sqrt_correction2 + ε)
// step_size = lr / (1 - β1^t) and sqrt_correction2 = sqrt(1 - β2^t) come from the host, computed in double, and so do
// the complements of β1 and β2, which lose digits when formed from rounded floats.
INLINE real adam_first(real g, real m, float one_minus_beta1) { return V_FMA(SPLAT(one_minus_beta1), g - m, m); }
INLINE real adam_second(real g, real v, float beta2, float one_minus_beta2) {
    return V_FMA(SPLAT(one_minus_beta2) * g, g, SPLAT(beta2) * v);
}
INLINE real adam_step(real p, real m, real v, float step_size, float sqrt_correction2, float epsilon) {
    return V_FMA(SPLAT(-step_size), m / (V_SQRT(v) / SPLAT(sqrt_correction2) + SPLAT(epsilon)), p);
}

#define NORM_BLOCK 4096

// Compensated sum: `lost` carries what the last addition rounded away. Infinities end up as NaN, which is as
// non-finite.
#define KAHAN_ADD(sum, lost, value)        \
    {                                      \
        float y_ = (value) - (lost);       \
        float t_ = (sum) + y_;             \
        (lost) = (t_ - (sum)) - y_;        \
        (sum) = t_;                        \
    }

#endif

#ifdef VECTOR

// Runs `BODY(at, load, store)` over a range: load(pointer) and store(pointer, value) are of full vectors, then of the
// tail.
#define LOAD_REST(q) load_part((q), rest, 0.0f)
#define STORE_REST(q, v) store_part((q), (v), rest)
#define OVER_RANGE(BODY)                                                 \
    index_t i = begin;                                                   \
    for (; i + LANES <= end; i += LANES) BODY(LOAD, STORE)               \
    int rest = (int)(end - i);                                           \
    if (rest > 0) BODY(LOAD_REST, STORE_REST)

INLINE void sgd_range(index_t begin, index_t end, GLOBAL float *p, GLOBAL const float *g, GLOBAL float *m,
                      GLOBAL const float *clip, GLOBAL const int *skip, int first, int nesterov, float lr,
                      float momentum, float dampening, float weight_decay) {
    if (*skip == 0) {
        float factor = *clip;
#define SGD_BODY(load, store)                                                             \
    {                                                                                     \
        real vp = load(p + i), vg = sgd_gradient(load(g + i), vp, factor, weight_decay);  \
        real step = vg;                                                                   \
        if (momentum != 0.0f) {                                                           \
            real vm = vg;                                                                 \
            if (!first) vm = sgd_moment(vg, load(m + i), momentum, dampening);         \
            store(m + i, vm);                                                             \
            step = vm;                                                                    \
            if (nesterov) step = V_FMA(SPLAT(momentum), vm, vg);                          \
        }                                                                                 \
        store(p + i, V_FMA(SPLAT(-lr), step, vp));                                        \
    }
        OVER_RANGE(SGD_BODY)
    }
}

INLINE void adam_range(index_t begin, index_t end, GLOBAL float *p, GLOBAL const float *g, GLOBAL float *m,
                       GLOBAL float *v, GLOBAL float *v_max, GLOBAL const float *clip, GLOBAL const int *skip,
                       int decoupled, int amsgrad, float lr, float weight_decay, float one_minus_beta1, float beta2,
                       float one_minus_beta2, float step_size, float sqrt_correction2, float epsilon) {
    if (*skip == 0) {
        float factor = *clip, shrink = decoupled ? -lr * weight_decay : 0.0f, l2 = decoupled ? 0.0f : weight_decay;
#define ADAM_BODY(load, store)                                                            \
    {                                                                                     \
        real vp = load(p + i), vg = V_FMA(SPLAT(l2), vp, load(g + i) * SPLAT(factor));    \
        vp = V_FMA(SPLAT(shrink), vp, vp);                                                \
        real first = adam_first(vg, load(m + i), one_minus_beta1);                        \
        real second = adam_second(vg, load(v + i), beta2, one_minus_beta2);               \
        store(m + i, first);                                                              \
        store(v + i, second);                                                             \
        if (amsgrad) {                                                                    \
            second = V_MAX(second, load(v_max + i));                                      \
            store(v_max + i, second);                                                     \
        }                                                                                 \
        store(p + i, adam_step(vp, first, second, step_size, sqrt_correction2, epsilon)); \
    }
        OVER_RANGE(ADAM_BODY)
    }
}

// e = decay·e + one_minus_decay·p
INLINE void ema_range(index_t begin, index_t end, GLOBAL float *e, GLOBAL const float *p, float decay,
                      float one_minus_decay) {
#define EMA_BODY(load, store) \
    store(e + i, V_FMA(SPLAT(decay), load(e + i), SPLAT(one_minus_decay) * load(p + i)));
    OVER_RANGE(EMA_BODY)
}

// y[i] = clip · y[i]: gradient clipping on its own
INLINE void scale_by_range(index_t begin, index_t end, GLOBAL float *y, GLOBAL const float *clip) {
    float factor = *clip;
#define SCALE_BODY(load, store) store(y + i, load(y + i) * SPLAT(factor));
    OVER_RANGE(SCALE_BODY)
}

// partials[b] = Σ x² over elements [4096 b, min(count, 4096 (b + 1))) for the blocks b in [begin, end)
INLINE void sum_squares_partial_blocks(index_t begin, index_t end, GLOBAL const float *x, index_t count,
                                       GLOBAL float *partials) {
    for (index_t block = begin; block < end; block++) {
        index_t i = block * NORM_BLOCK, stop = i + NORM_BLOCK < count ? i + NORM_BLOCK : count;
        real s0 = SPLAT(0.0f), s1 = s0, s2 = s0, s3 = s0;
        for (; i + 4 * LANES <= stop; i += 4 * LANES) {
            real a = LOAD(x + i), b = LOAD(x + i + 16), c = LOAD(x + i + 32), d = LOAD(x + i + 48);
            s0 = V_FMA(a, a, s0);
            s1 = V_FMA(b, b, s1);
            s2 = V_FMA(c, c, s2);
            s3 = V_FMA(d, d, s3);
        }
        for (; i + LANES <= stop; i += LANES) {
            real a = LOAD(x + i);
            s0 = V_FMA(a, a, s0);
        }
        if (i < stop) {
            real a = load_part(x + i, (int)(stop - i), 0.0f);
            s1 = V_FMA(a, a, s1);
        }
        partials[block] = lane_sum((s0 + s1) + (s2 + s3));
    }
}

#undef OVER_RANGE
#undef LOAD_REST
#undef STORE_REST

#endif  // VECTOR

#if defined(VECTOR) || defined(SIMT)

// norm, clip = min(1, max_norm / (norm + 1e-6)) (1 when max_norm <= 0), skip = norm is not finite, counter += skip
INLINE void norm_write(float sum, GLOBAL float *norm, GLOBAL float *clip, GLOBAL int *skip, GLOBAL int *counter,
                       float max_norm) {
    float n = S_SQRT(sum);
    int bad = !(n <= 3.402823466e+38f);
    float factor = max_norm / (n + 1e-6f);
    *norm = n;
    *clip = max_norm > 0.0f && factor < 1.0f && !bad ? factor : 1.0f;
    *skip = bad;
    *counter += bad;
}

#endif

#ifdef VECTOR

// norm = sqrt(Σ partials), summed in order
INLINE void norm_finish_all(GLOBAL const float *partials, index_t count, GLOBAL float *norm, GLOBAL float *clip,
                            GLOBAL int *skip, GLOBAL int *counter, float max_norm) {
    float sum = 0.0f, lost = 0.0f;
    for (index_t i = 0; i < count; i++) KAHAN_ADD(sum, lost, partials[i])
    norm_write(sum, norm, clip, skip, counter, max_norm);
}

#endif

// ---- OpenCL kernels -------------------------------------------------------------------------------------------------
#ifdef __OPENCL_VERSION__

#define SGD_ARGUMENTS                                                                                               \
    long count, long count_per_item, __global float *p, long p_at, __global const float *g, long g_at,              \
        __global float *m, long m_at, __global const float *clip, long clip_at, __global const int *skip,           \
        long skip_at, int first, int nesterov, float lr, float momentum, float dampening, float weight_decay
#define ADAM_ARGUMENTS                                                                                              \
    long count, long count_per_item, __global float *p, long p_at, __global const float *g, long g_at,              \
        __global float *m, long m_at, __global float *v, long v_at, __global float *v_max, long v_max_at,           \
        __global const float *clip, long clip_at, __global const int *skip, long skip_at, int decoupled,            \
        int amsgrad, float lr, float weight_decay, float one_minus_beta1, float beta2, float one_minus_beta2,       \
        float step_size, float sqrt_correction2, float epsilon
#define EMA_ARGUMENTS                                                                                               \
    long count, long count_per_item, __global float *e, long e_at, __global const float *p, long p_at, float decay, \
        float one_minus_decay
#define SCALE_BY_ARGUMENTS \
    long count, long count_per_item, __global float *y, long y_at, __global const float *clip, long clip_at
#define SUM_SQUARES_ARGUMENTS                                                                                       \
    long blocks, long blocks_per_item, __global const float *x, long x_at, __global float *partials,                \
        long partials_at, long count
#define NORM_FINISH_ARGUMENTS                                                                                       \
    __global const float *partials, long partials_at, __global float *norm, long norm_at, __global float *clip,     \
        long clip_at, __global int *skip, long skip_at, __global int *counter, long counter_at, long count,         \
        float max_norm

#ifdef VECTOR

#define ITEM_RANGE                                        \
    long begin = (long)get_global_id(0) * count_per_item; \
    long end = min(count, begin + count_per_item);

#if WANTED(sgd)
__kernel void sgd(SGD_ARGUMENTS) {
    ITEM_RANGE
    sgd_range(begin, end, p + p_at, g + g_at, m + m_at, clip + clip_at, skip + skip_at, first, nesterov, lr, momentum,
              dampening, weight_decay);
}
#endif

#if WANTED(adam)
__kernel void adam(ADAM_ARGUMENTS) {
    ITEM_RANGE
    adam_range(begin, end, p + p_at, g + g_at, m + m_at, v + v_at, v_max + v_max_at, clip + clip_at, skip + skip_at,
               decoupled, amsgrad, lr, weight_decay, one_minus_beta1, beta2, one_minus_beta2, step_size,
               sqrt_correction2, epsilon);
}
#endif

#if WANTED(ema)
__kernel void ema(EMA_ARGUMENTS) {
    ITEM_RANGE
    ema_range(begin, end, e + e_at, p + p_at, decay, one_minus_decay);
}
#endif

#if WANTED(scale_by)
__kernel void scale_by(SCALE_BY_ARGUMENTS) {
    ITEM_RANGE
    scale_by_range(begin, end, y + y_at, clip + clip_at);
}
#endif

// simt: one work-group of 256 per block, global = 256 · blocks; vector: blocks split over work-items.
#if WANTED(sum_squares_partial)
__kernel void sum_squares_partial(SUM_SQUARES_ARGUMENTS) {
    long begin = (long)get_global_id(0) * blocks_per_item;
    sum_squares_partial_blocks(begin, min(blocks, begin + blocks_per_item), x + x_at, count, partials + partials_at);
}
#endif

// simt: one work-group of 256; vector: one work-item. `count` = number of partials.
#if WANTED(norm_finish)
__kernel void norm_finish(NORM_FINISH_ARGUMENTS) {
    norm_finish_all(partials + partials_at, count, norm + norm_at, clip + clip_at, skip + skip_at,
                    counter + counter_at, max_norm);
}
#endif

#endif  // VECTOR

#ifdef SIMT

#define FOR_EACH_ELEMENT for (long i = get_global_id(0); i < count; i += get_global_size(0))
#define WORK_GROUP __attribute__((reqd_work_group_size(256, 1, 1)))

#if WANTED(sgd)
__kernel WORK_GROUP void sgd(SGD_ARGUMENTS) {
    if (skip[skip_at] == 0) {
        float factor = clip[clip_at];
        FOR_EACH_ELEMENT {
            float vp = p[p_at + i], vg = sgd_gradient(g[g_at + i], vp, factor, weight_decay), step = vg;
            if (momentum != 0.0f) {
                float vm = first ? vg : sgd_moment(vg, m[m_at + i], momentum, dampening);
                m[m_at + i] = vm;
                step = nesterov ? fma(momentum, vm, vg) : vm;
            }
            p[p_at + i] = fma(-lr, step, vp);
        }
    }
}
#endif

#if WANTED(adam)
__kernel WORK_GROUP void adam(ADAM_ARGUMENTS) {
    if (skip[skip_at] == 0) {
        float factor = clip[clip_at], shrink = decoupled ? -lr * weight_decay : 0.0f;
        float l2 = decoupled ? 0.0f : weight_decay;
        FOR_EACH_ELEMENT {
            float vp = p[p_at + i], vg = fma(l2, vp, g[g_at + i] * factor);
            vp = fma(shrink, vp, vp);
            float first = adam_first(vg, m[m_at + i], one_minus_beta1);
            float second = adam_second(vg, v[v_at + i], beta2, one_minus_beta2);
            m[m_at + i] = first;
            v[v_at + i] = second;
            if (amsgrad) v_max[v_max_at + i] = second = fmax(second, v_max[v_max_at + i]);
            p[p_at + i] = adam_step(vp, first, second, step_size, sqrt_correction2, epsilon);
        }
    }
}
#endif

#if WANTED(ema)
__kernel WORK_GROUP void ema(EMA_ARGUMENTS) {
    FOR_EACH_ELEMENT e[e_at + i] = fma(decay, e[e_at + i], one_minus_decay * p[p_at + i]);
}
#endif

#if WANTED(scale_by)
__kernel WORK_GROUP void scale_by(SCALE_BY_ARGUMENTS) {
    float factor = clip[clip_at];
    FOR_EACH_ELEMENT y[y_at + i] *= factor;
}
#endif

// simt: one work-group of 256 per block, global = 256 · blocks; vector: blocks split over work-items.
#if WANTED(sum_squares_partial)
__kernel WORK_GROUP void sum_squares_partial(SUM_SQUARES_ARGUMENTS) {
    __local float scratch[256];
    long start = (long)get_group_id(0) * NORM_BLOCK, stop = min(count, start + NORM_BLOCK);
    float sum = 0.0f;
    for (long i = start + get_local_id(0); i < stop; i += 256) sum = fma(x[x_at + i], x[x_at + i], sum);
    sum = group_sum(sum, scratch);
    if (get_local_id(0) == 0) partials[partials_at + get_group_id(0)] = sum;
}
#endif

// simt: one work-group of 256 (each work-item sums every 256th partial, then a tree); vector: one work-item.
// `count` = number of partials.
#if WANTED(norm_finish)
__kernel WORK_GROUP void norm_finish(NORM_FINISH_ARGUMENTS) {
    __local float scratch[256];
    float sum = 0.0f, lost = 0.0f;
    for (long i = get_local_id(0); i < count; i += 256) KAHAN_ADD(sum, lost, partials[partials_at + i])
    sum = group_sum(sum, scratch);
    if (get_local_id(0) == 0)
        norm_write(sum, norm + norm_at, clip + clip_at, skip + skip_at, counter + counter_at, max_norm);
}
#endif

#endif  // SIMT

#endif  // __OPENCL_VERSION__
