// Elementwise operations: unary functions and their derivatives, scaling and adding, binary operations with
// broadcasting, gated activations.
//
// Unary and gated operations work on matrices [rows, columns] with a pitch per operand and take their range in
// elements, row after row: element i lies in row i / columns. A contiguous tensor of any shape is one row of `count`
// columns. Derivatives read x, not y, and follow PyTorch at the kinks. `p` is the function's parameter, where it has
// one.
//
// Operands and results of the functions themselves are activations: fp32, or bfloat16 with X_BF16. What a gradient is
// made from is one too; gradients are fp32.

// ---- the functions: value_<fn>(x, p) and slope_<fn>(x, p) -----------------------------------------------------------
#if (defined(VECTOR) || defined(SIMT)) && !defined(AGAIN)

#define FUNCTION(fn, value, slope)                           \
    INLINE real value_##fn(real x, float p) {                \
        (void)p;                                             \
        return value;                                        \
    }                                                        \
    INLINE real slope_##fn(real x, float p) {                \
        (void)p;                                             \
        (void)x;                                             \
        return slope;                                        \
    }
#define ZERO SPLAT(0.0f)
#define ONE SPLAT(1.0f)

FUNCTION(exp, v_exp(x), v_exp(x))
FUNCTION(log, v_log(x), ONE / x)
FUNCTION(sqrt, V_SQRT(x), SPLAT(0.5f) / V_SQRT(x))
FUNCTION(rsqrt, v_rsqrt(x), SPLAT(-0.5f) * v_rsqrt(x) / x)
FUNCTION(square, x * x, x + x)
FUNCTION(abs, V_ABS(x), SELECT(SELECT(x, ONE, x > ZERO), -ONE, x < ZERO))
FUNCTION(neg, -x, -ONE)
FUNCTION(reciprocal, ONE / x, -(ONE / x) * (ONE / x))
FUNCTION(relu, SELECT(x, ZERO, x <= ZERO), SELECT(ONE, ZERO, x <= ZERO))
// leaky_relu: p = slope below zero
FUNCTION(leaky_relu, SELECT(x * SPLAT(p), x, x > ZERO), SELECT(SPLAT(p), ONE, x > ZERO))
// elu: p = alpha, the limit at -inf negated
FUNCTION(elu, SELECT(SPLAT(p) * v_expm1(x), x, x > ZERO), SELECT(SPLAT(p) * v_exp(x), ONE, x > ZERO))
FUNCTION(relu6, v_clamp(x, 0.0f, 6.0f), SELECT(SELECT(ONE, ZERO, x <= ZERO), ZERO, x >= SPLAT(6.0f)))
FUNCTION(hardswish, x * v_clamp(x + SPLAT(3.0f), 0.0f, 6.0f) * SPLAT(0.166666667f),
         SELECT(SELECT(V_FMA(x, SPLAT(0.333333333f), SPLAT(0.5f)), ZERO, x <= SPLAT(-3.0f)), ONE, x >= SPLAT(3.0f)))
FUNCTION(sigmoid, v_sigmoid(x), v_sigmoid(x) * v_sigmoid(-x))
// 1 - tanh² would cancel; it equals 4·s(2x)·s(-2x) with the logistic function s.
FUNCTION(tanh, v_tanh(x), SPLAT(4.0f) * v_sigmoid(x + x) * v_sigmoid(-(x + x)))
FUNCTION(silu, v_silu(x), v_sigmoid(x) * V_FMA(x, v_sigmoid(-x), ONE))
// quick_gelu: x·s(1.702 x)
FUNCTION(quick_gelu, x * v_sigmoid(SPLAT(1.702f) * x),
         v_sigmoid(SPLAT(1.702f) * x) * V_FMA(SPLAT(1.702f) * x, v_sigmoid(SPLAT(-1.702f) * x), ONE))
// gelu_erf: x·Φ(x); Φ and the density share one exponential
FUNCTION(gelu_erf, x * v_normal_cdf(x, v_bell(x)),
         V_FMA(x * SPLAT(0.398942280f), v_bell(x), v_normal_cdf(x, v_bell(x))))
INLINE real gelu_tanh_slope(real x) {
    real b = v_clamp(x, -20.0f, 20.0f), u = gelu_tanh_twice_u(b);
    real du = SPLAT(1.59576912f) * V_FMA(SPLAT(0.134145f) * b, b, ONE);
    return v_sigmoid(u) * V_FMA(b * du, v_sigmoid(-u), ONE);
}
FUNCTION(gelu_tanh, v_gelu_tanh(x), gelu_tanh_slope(x))
FUNCTION(softplus, v_softplus(x), v_sigmoid(x))
FUNCTION(logsigmoid, -v_softplus(-x), v_sigmoid(-x))
// smooth_l1: p = beta; |x| < beta ? x² / (2 beta) : |x| - beta / 2
FUNCTION(smooth_l1, SELECT(V_ABS(x) - SPLAT(0.5f * p), x * x * SPLAT(0.5f / p), V_ABS(x) < SPLAT(p)),
         SELECT(slope_abs(x, p), x / SPLAT(p), V_ABS(x) < SPLAT(p)))
// clamp_min: max(x, p)
FUNCTION(clamp_min, SELECT(x, SPLAT(p), x < SPLAT(p)), SELECT(ONE, ZERO, x < SPLAT(p)))

// The list must name every FUNCTION above; the kernels at the end of the file and CRows follow it.
#define FOR_EACH_FUNCTION(DO) \
    DO(exp) DO(log) DO(sqrt) DO(rsqrt) DO(square) DO(abs) DO(neg) DO(reciprocal) DO(relu) DO(leaky_relu) DO(elu) \
    DO(relu6) DO(hardswish) DO(sigmoid) DO(tanh) DO(silu) DO(quick_gelu) DO(gelu_erf) DO(gelu_tanh) DO(softplus) \
    DO(logsigmoid) DO(smooth_l1) DO(clamp_min)

#undef FUNCTION
#undef ZERO
#undef ONE

// A gated activation is the product of an activation of `gate` and `up`.
#define FOR_EACH_GATED(DO) DO(swiglu, silu) DO(geglu_tanh, gelu_tanh)

#endif

// ---- row bodies -----------------------------------------------------------------------------------------------------
#ifdef VECTOR

// Walks the range [begin, end) in pieces that lie in one row: `n` elements from (row, column).
#define FOR_EACH_PIECE                                                                              \
    for (index_t i_ = begin, row = begin / columns, column = begin % columns, n = 0;                \
         i_ < end && (n = end - i_ < columns - column ? end - i_ : columns - column) > 0;           \
         i_ += n, row++, column = 0)

// y = (accumulate ? y : 0) + v, full vectors and tails; PUT_X for activations, rounded once
#define PUT_AS(READ, WRITE, y, v)            \
    {                                        \
        real put_ = (v);                     \
        if (accumulate) put_ += READ(y);     \
        WRITE(y, put_);                      \
    }
#define PUT(y, v) PUT_AS(LOAD, STORE, y, v)
#define PUT_X(y, v) PUT_AS(LOAD_X, STORE_X, y, v)
#define PUT_PART_AS(READ, WRITE, y, v, rest)              \
    {                                                     \
        real put_ = (v);                                  \
        if (accumulate) put_ += READ(y, rest, 0.0f);      \
        WRITE(y, put_, rest);                             \
    }
#define PUT_PART(y, v, rest) PUT_PART_AS(load_part, store_part, y, v, rest)
#define PUT_PART_X(y, v, rest) PUT_PART_AS(LOAD_PART_X, STORE_PART_X, y, v, rest)

#define UNARY_ROWS(fn)                                                                                              \
    INLINE void X_NAME(unary_##fn##_range)(index_t begin, index_t end, GLOBAL const X_ELEMENT *x, index_t x_pitch,  \
                                           GLOBAL X_ELEMENT *y, index_t y_pitch, index_t columns, int accumulate,   \
                                           float p) {                                                               \
        FOR_EACH_PIECE {                                                                                            \
            GLOBAL const X_ELEMENT *in = x + row * x_pitch + column;                                                \
            GLOBAL X_ELEMENT *out = y + row * y_pitch + column;                                                     \
            index_t k = 0;                                                                                          \
            for (; k + LANES <= n; k += LANES) PUT_X(out + k, value_##fn(LOAD_X(in + k), p));                       \
            int rest = (int)(n - k);                                                                                \
            if (rest > 0) PUT_PART_X(out + k, value_##fn(LOAD_PART_X(in + k, rest, 1.0f), p), rest);                \
        }                                                                                                           \
    }                                                                                                               \
    INLINE void X_NAME(unary_##fn##_backward_range)(                                                                \
        index_t begin, index_t end, GLOBAL const X_ELEMENT *x, index_t x_pitch, GLOBAL const float *dy,             \
        index_t dy_pitch, GLOBAL float *dx, index_t dx_pitch, index_t columns, int accumulate, float p) {           \
        FOR_EACH_PIECE {                                                                                            \
            GLOBAL const X_ELEMENT *in = x + row * x_pitch + column;                                                \
            GLOBAL const float *up = dy + row * dy_pitch + column;                                                  \
            GLOBAL float *out = dx + row * dx_pitch + column;                                                       \
            index_t k = 0;                                                                                          \
            for (; k + LANES <= n; k += LANES) PUT(out + k, LOAD(up + k) * slope_##fn(LOAD_X(in + k), p));          \
            int rest = (int)(n - k);                                                                                \
            if (rest > 0) {                                                                                         \
                real g = load_part(up + k, rest, 0.0f) * slope_##fn(LOAD_PART_X(in + k, rest, 1.0f), p);            \
                PUT_PART(out + k, g, rest);                                                                         \
            }                                                                                                       \
        }                                                                                                           \
    }
FOR_EACH_FUNCTION(UNARY_ROWS)

#define GATED_ROWS(name, fn)                                                                                        \
    INLINE void X_NAME(name##_range)(index_t begin, index_t end, GLOBAL const X_ELEMENT *gate, index_t gate_pitch,  \
                                     GLOBAL const X_ELEMENT *up, index_t up_pitch, GLOBAL X_ELEMENT *y,             \
                                     index_t y_pitch, index_t columns, int accumulate) {                            \
        FOR_EACH_PIECE {                                                                                            \
            GLOBAL const X_ELEMENT *g = gate + row * gate_pitch + column, *u = up + row * up_pitch + column;        \
            GLOBAL X_ELEMENT *out = y + row * y_pitch + column;                                                     \
            index_t k = 0;                                                                                          \
            for (; k + LANES <= n; k += LANES) PUT_X(out + k, value_##fn(LOAD_X(g + k), 0.0f) * LOAD_X(u + k));     \
            int rest = (int)(n - k);                                                                                \
            if (rest > 0) {                                                                                         \
                real v = value_##fn(LOAD_PART_X(g + k, rest, 0.0f), 0.0f) * LOAD_PART_X(u + k, rest, 0.0f);         \
                PUT_PART_X(out + k, v, rest);                                                                       \
            }                                                                                                       \
        }                                                                                                           \
    }                                                                                                               \
    INLINE void X_NAME(name##_backward_range)(                                                                      \
        index_t begin, index_t end, GLOBAL const X_ELEMENT *gate, index_t gate_pitch, GLOBAL const X_ELEMENT *up,   \
        index_t up_pitch, GLOBAL const float *dy, index_t dy_pitch, GLOBAL float *dgate, index_t dgate_pitch,       \
        GLOBAL float *dup, index_t dup_pitch, index_t columns, int accumulate) {                                    \
        FOR_EACH_PIECE {                                                                                            \
            GLOBAL const X_ELEMENT *g = gate + row * gate_pitch + column, *u = up + row * up_pitch + column;        \
            GLOBAL const float *d = dy + row * dy_pitch + column;                                                   \
            GLOBAL float *dg = dgate + row * dgate_pitch + column, *du = dup + row * dup_pitch + column;            \
            index_t k = 0;                                                                                          \
            for (; k + LANES <= n; k += LANES) {                                                                    \
                real vg = LOAD_X(g + k), vu = LOAD_X(u + k), vd = LOAD(d + k);                                      \
                PUT(dg + k, vd * vu * slope_##fn(vg, 0.0f));                                                        \
                PUT(du + k, vd * value_##fn(vg, 0.0f));                                                             \
            }                                                                                                       \
            int rest = (int)(n - k);                                                                                \
            if (rest > 0) {                                                                                         \
                real vg = LOAD_PART_X(g + k, rest, 0.0f), vu = LOAD_PART_X(u + k, rest, 0.0f);                      \
                real vd = load_part(d + k, rest, 0.0f);                                                             \
                PUT_PART(dg + k, vd * vu * slope_##fn(vg, 0.0f), rest);                                             \
                PUT_PART(du + k, vd * value_##fn(vg, 0.0f), rest);                                                  \
            }                                                                                                       \
        }                                                                                                           \
    }
FOR_EACH_GATED(GATED_ROWS)

// y = (accumulate ? y : 0) + a·x + b
INLINE void X_NAME(affine_range)(index_t begin, index_t end, GLOBAL const X_ELEMENT *x, index_t x_pitch,
                                 GLOBAL X_ELEMENT *y, index_t y_pitch, index_t columns, int accumulate, float a,
                                 float b) {
    FOR_EACH_PIECE {
        GLOBAL const X_ELEMENT *in = x + row * x_pitch + column;
        GLOBAL X_ELEMENT *out = y + row * y_pitch + column;
        index_t k = 0;
        for (; k + LANES <= n; k += LANES) PUT_X(out + k, V_FMA(SPLAT(a), LOAD_X(in + k), SPLAT(b)));
        int rest = (int)(n - k);
        if (rest > 0) PUT_PART_X(out + k, V_FMA(SPLAT(a), LOAD_PART_X(in + k, rest, 0.0f), SPLAT(b)), rest);
    }
}

#ifndef AGAIN
// y = a·x + b·y; y is not read when b = 0
INLINE void axpby_range(index_t begin, index_t end, GLOBAL const float *x, GLOBAL float *y, float a, float b) {
    index_t k = begin;
    for (; k + LANES <= end; k += LANES) {
        real v = SPLAT(a) * LOAD(x + k);
        if (b != 0.0f) v = V_FMA(SPLAT(b), LOAD(y + k), v);
        STORE(y + k, v);
    }
    int rest = (int)(end - k);
    if (rest > 0) {
        real v = SPLAT(a) * load_part(x + k, rest, 0.0f);
        if (b != 0.0f) v = V_FMA(SPLAT(b), load_part(y + k, rest, 0.0f), v);
        store_part(y + k, v, rest);
    }
}
#endif

// One operand of a broadcast row: contiguous, one value, or strided (gathered one by one).
INLINE real X_NAME(broadcast_load)(GLOBAL const X_ELEMENT *p, index_t stride, index_t k) {
    if (stride == 1) return LOAD_X(p + k);
    if (stride == 0) return SPLAT(READ_X(p));
    float t[LANES];
    for (int i = 0; i < LANES; i++) t[i] = READ_X(p + (k + i) * stride);
    return LOAD(t);
}
INLINE real X_NAME(broadcast_load_part)(GLOBAL const X_ELEMENT *p, index_t stride, index_t k, int rest) {
    if (stride == 1) return LOAD_PART_X(p + k, rest, 1.0f);
    if (stride == 0) return SPLAT(READ_X(p));
    float t[LANES];
    for (int i = 0; i < LANES; i++) t[i] = i < rest ? READ_X(p + (k + i) * stride) : 1.0f;
    return LOAD(t);
}

// Where the row of the index space lies in a and b; the indices are counted up, because dividing for every row is dear.
#define BROADCAST_START                                                                                             \
    index_t columns = sizes[3], sa = a_strides[3], sb = b_strides[3];                                               \
    index_t i2 = begin / columns % sizes[2], i1 = begin / columns / sizes[2] % sizes[1];                            \
    index_t i0 = begin / columns / sizes[2] / sizes[1];
#define BROADCAST_ROW(p, stride) p + i0 * stride[0] + i1 * stride[1] + i2 * stride[2] + column * stride[3]
#define BROADCAST_NEXT                                                                                              \
    if (++i2 == sizes[2]) {                                                                                         \
        i2 = 0;                                                                                                     \
        if (++i1 == sizes[1]) i1 = 0, i0++;                                                                         \
    }

// y = (accumulate ? y : 0) + a op b over the index space sizes[4] (last fastest); y is contiguous, a and b have
// strides[4], 0 where they are broadcast.
#define BINARY_ROWS(op, value)                                                                                      \
    INLINE void X_NAME(binary_##op##_range)(index_t begin, index_t end, GLOBAL const X_ELEMENT *a,                  \
                                            GLOBAL const X_ELEMENT *b, GLOBAL X_ELEMENT *y, const index_t *sizes,   \
                                            const index_t *a_strides, const index_t *b_strides, int accumulate) {   \
        BROADCAST_START                                                                                             \
        FOR_EACH_PIECE {                                                                                            \
            GLOBAL const X_ELEMENT *ra = BROADCAST_ROW(a, a_strides), *rb = BROADCAST_ROW(b, b_strides);            \
            GLOBAL X_ELEMENT *out = y + i_;                                                                         \
            index_t k = 0;                                                                                          \
            for (; k + LANES <= n; k += LANES) {                                                                    \
                real u = X_NAME(broadcast_load)(ra, sa, k), v = X_NAME(broadcast_load)(rb, sb, k);                  \
                PUT_X(out + k, value);                                                                              \
            }                                                                                                       \
            int rest = (int)(n - k);                                                                                \
            if (rest > 0) {                                                                                         \
                real u = X_NAME(broadcast_load_part)(ra, sa, k, rest);                                              \
                real v = X_NAME(broadcast_load_part)(rb, sb, k, rest);                                              \
                PUT_PART_X(out + k, value, rest);                                                                   \
            }                                                                                                       \
            BROADCAST_NEXT                                                                                          \
        }                                                                                                           \
    }
BINARY_ROWS(add, u + v)
BINARY_ROWS(sub, u - v)
BINARY_ROWS(mul, u * v)
BINARY_ROWS(div, u / v)

// db = (accumulate ? db : 0) - dy·a / b², the derivative of a / b by b; a and b as in binary_div, dy and db contiguous.
// Summing db over the dimensions that b was broadcast along is the caller's.
INLINE void X_NAME(binary_div_backward_b_range)(
    index_t begin, index_t end, GLOBAL const X_ELEMENT *a, GLOBAL const X_ELEMENT *b, GLOBAL const float *dy,
    GLOBAL float *db, const index_t *sizes, const index_t *a_strides, const index_t *b_strides, int accumulate) {
    BROADCAST_START
    FOR_EACH_PIECE {
        GLOBAL const X_ELEMENT *ra = BROADCAST_ROW(a, a_strides), *rb = BROADCAST_ROW(b, b_strides);
        index_t k = 0;
        for (; k + LANES <= n; k += LANES) {
            real u = X_NAME(broadcast_load)(ra, sa, k), v = X_NAME(broadcast_load)(rb, sb, k);
            PUT(db + i_ + k, -LOAD(dy + i_ + k) * (u / v) / v);
        }
        int rest = (int)(n - k);
        if (rest > 0) {
            real u = X_NAME(broadcast_load_part)(ra, sa, k, rest), v = X_NAME(broadcast_load_part)(rb, sb, k, rest);
            PUT_PART(db + i_ + k, -load_part(dy + i_ + k, rest, 0.0f) * (u / v) / v, rest);
        }
        BROADCAST_NEXT
    }
}

#undef FOR_EACH_PIECE
#undef BROADCAST_START
#undef BROADCAST_ROW
#undef BROADCAST_NEXT
#undef PUT
#undef PUT_PART
#undef PUT_X
#undef PUT_PART_X

#endif  // VECTOR

// ---- OpenCL kernels -------------------------------------------------------------------------------------------------
#ifdef __OPENCL_VERSION__

// The argument lists both families share.
#define UNARY_ARGUMENTS                                                                                             \
    long count, long count_per_item, __global const X_ELEMENT *x, long x_at, __global X_ELEMENT *y, long y_at,      \
        long columns, long x_pitch, long y_pitch, int accumulate, float p
#define UNARY_BACKWARD_ARGUMENTS                                                                                    \
    long count, long count_per_item, __global const X_ELEMENT *x, long x_at, __global const float *dy, long dy_at,  \
        __global float *dx, long dx_at, long columns, long x_pitch, long dy_pitch, long dx_pitch, int accumulate,   \
        float p
#define GATED_ARGUMENTS                                                                                             \
    long count, long count_per_item, __global const X_ELEMENT *gate, long gate_at, __global const X_ELEMENT *up,    \
        long up_at, __global X_ELEMENT *y, long y_at, long columns, long gate_pitch, long up_pitch, long y_pitch,   \
        int accumulate
#define GATED_BACKWARD_ARGUMENTS                                                                                    \
    long count, long count_per_item, __global const X_ELEMENT *gate, long gate_at, __global const X_ELEMENT *up,    \
        long up_at, __global const float *dy, long dy_at, __global float *dgate, long dgate_at, __global float *dup, \
        long dup_at, long columns, long gate_pitch, long up_pitch, long dy_pitch, long dgate_pitch, long dup_pitch, \
        int accumulate
#define AFFINE_ARGUMENTS                                                                                            \
    long count, long count_per_item, __global const X_ELEMENT *x, long x_at, __global X_ELEMENT *y, long y_at,      \
        long columns, long x_pitch, long y_pitch, int accumulate, float a, float b
#define AXPBY_ARGUMENTS \
    long count, long count_per_item, __global const float *x, long x_at, __global float *y, long y_at, float a, float b
#define BROADCAST_ARGUMENTS                                                                                         \
    long n0, long n1, long n2, long n3, long a0, long a1, long a2, long a3, long b0, long b1, long b2, long b3
#define BINARY_ARGUMENTS                                                                                            \
    long count, long count_per_item, __global const X_ELEMENT *a, long a_at, __global const X_ELEMENT *b, long b_at, \
        __global X_ELEMENT *y, long y_at, BROADCAST_ARGUMENTS, int accumulate
#define DIV_BACKWARD_ARGUMENTS                                                                                      \
    long count, long count_per_item, __global const X_ELEMENT *a, long a_at, __global const X_ELEMENT *b, long b_at, \
        __global const float *dy, long dy_at, __global float *db, long db_at, BROADCAST_ARGUMENTS, int accumulate

#define WANTED_UNARY(fn) (WANTED(unary_##fn) || WANTED(unary_##fn##_backward))
#define WANTED_GATED(name) (WANTED(name) || WANTED(name##_backward))

#ifdef VECTOR

// The elements of this work-item.
#define ITEM_RANGE                                          \
    long begin = (long)get_global_id(0) * count_per_item;   \
    long end = min(count, begin + count_per_item);

#define UNARY_KERNELS(fn)                                                                                       \
    __kernel void unary_##fn(UNARY_ARGUMENTS) {                                                                 \
        ITEM_RANGE                                                                                              \
        X_NAME(unary_##fn##_range)(begin, end, x + x_at, x_pitch, y + y_at, y_pitch, columns, accumulate, p);   \
    }                                                                                                           \
    __kernel void unary_##fn##_backward(UNARY_BACKWARD_ARGUMENTS) {                                             \
        ITEM_RANGE                                                                                              \
        X_NAME(unary_##fn##_backward_range)(begin, end, x + x_at, x_pitch, dy + dy_at, dy_pitch, dx + dx_at,    \
                                            dx_pitch, columns, accumulate, p);                                  \
    }

#define GATED_KERNELS(name, fn)                                                                                  \
    __kernel void name(GATED_ARGUMENTS) {                                                                        \
        ITEM_RANGE                                                                                               \
        X_NAME(name##_range)(begin, end, gate + gate_at, gate_pitch, up + up_at, up_pitch, y + y_at, y_pitch,    \
                             columns, accumulate);                                                               \
    }                                                                                                            \
    __kernel void name##_backward(GATED_BACKWARD_ARGUMENTS) {                                                    \
        ITEM_RANGE                                                                                               \
        X_NAME(name##_backward_range)(begin, end, gate + gate_at, gate_pitch, up + up_at, up_pitch, dy + dy_at,  \
                                      dy_pitch, dgate + dgate_at, dgate_pitch, dup + dup_at, dup_pitch, columns, \
                                      accumulate);                                                               \
    }

#define BROADCAST_ARRAYS                                                                                        \
    long sizes[4] = {n0, n1, n2, n3}, a_strides[4] = {a0, a1, a2, a3}, b_strides[4] = {b0, b1, b2, b3};

#define BINARY_KERNEL(op, value)                                                                                \
    __kernel void binary_##op(BINARY_ARGUMENTS) {                                                               \
        ITEM_RANGE                                                                                              \
        BROADCAST_ARRAYS                                                                                        \
        X_NAME(binary_##op##_range)(begin, end, a + a_at, b + b_at, y + y_at, sizes, a_strides, b_strides,      \
                                    accumulate);                                                                \
    }

#if WANTED(affine)
__kernel void affine(AFFINE_ARGUMENTS) {
    ITEM_RANGE
    X_NAME(affine_range)(begin, end, x + x_at, x_pitch, y + y_at, y_pitch, columns, accumulate, a, b);
}
#endif

#if WANTED(axpby)
__kernel void axpby(AXPBY_ARGUMENTS) {
    ITEM_RANGE
    axpby_range(begin, end, x + x_at, y + y_at, a, b);
}
#endif

#if WANTED(binary_div_backward_b)
__kernel void binary_div_backward_b(DIV_BACKWARD_ARGUMENTS) {
    ITEM_RANGE
    BROADCAST_ARRAYS
    X_NAME(binary_div_backward_b_range)(begin, end, a + a_at, b + b_at, dy + dy_at, db + db_at, sizes, a_strides,
                                        b_strides, accumulate);
}
#endif

#endif  // VECTOR

#ifdef SIMT

#define WORK_GROUP __attribute__((reqd_work_group_size(256, 1, 1)))
#define FOR_EACH_ELEMENT(first) for (long i = (first) + get_global_id(0); i < count; i += get_global_size(0))
#define PUT(target, v) (target) = accumulate ? (target) + (v) : (v)
#define QUAD(p) (*(__global float4 *)(p))
#define CONST_QUAD(p) (*(__global const float4 *)(p))
// The same of activations, rounded once; the type of what is written is that of what `p` points to.
#define PUT_X(p, v)                                               \
    {                                                             \
        const float put_ = (v);                                   \
        WRITE_X(p, accumulate ? READ_X(p) + put_ : put_);         \
    }
#define PUT_QUAD_X(p, v)                                          \
    {                                                             \
        const float4 put_ = (v);                                  \
        WRITE_QUAD_X(p, accumulate ? READ_QUAD_X(p) + put_ : put_); \
    }
#define READ_QUAD_X(p) X_WORD(READ_QUAD)(p)
#define READ_QUAD_f32(p) CONST_QUAD(p)
#define READ_QUAD_bf16(p) as_float4(convert_uint4(*(__global const ushort4 *)(p)) << 16)
#define WRITE_QUAD_X(p, v) X_WORD(WRITE_QUAD)(p, v)
#define WRITE_QUAD_f32(p, v) (QUAD(p) = (v))
#define WRITE_QUAD_bf16(p, v) (*(__global ushort4 *)(p) = bf16_of_quad(v))
INLINE ushort4 bf16_of_quad(float4 v) {
    return (ushort4)(bf16_of_float(v.s0), bf16_of_float(v.s1), bf16_of_float(v.s2), bf16_of_float(v.s3));
}

// How many elements are done four at a time, as loads and stores of 16 bytes (of bfloat16: 8): all but a short tail where
// every operand begins on 16 bytes and is without gaps (`pitches` do not matter then) or made of rows that begin so.
#define ELEMENTS_IN_QUADS(offsets, pitches) \
    ((((offsets) | (count <= columns ? 0 : columns | (pitches))) & 3) == 0 ? count / 4 * 4 : 0)
#define FOR_EACH_QUAD(whole) for (long i = 4 * get_global_id(0); i < (whole); i += 4 * get_global_size(0))

// Where element i of a pitched matrix lies. Contiguous operands (one row) skip the 64-bit division.
#define ROW_AND_COLUMN                            \
    long row = count <= columns ? 0 : i / columns; \
    long column = i - row * columns;

// One function of a number, for four.
#define ON_QUAD(f, four, p) ((float4)(f((four).s0, p), f((four).s1, p), f((four).s2, p), f((four).s3, p)))

#define UNARY_KERNELS(fn)                                                                                     \
    __kernel WORK_GROUP void unary_##fn(UNARY_ARGUMENTS) {                                                    \
        const long whole = ELEMENTS_IN_QUADS(x_at | y_at, x_pitch | y_pitch);                                 \
        FOR_EACH_QUAD(whole) {                                                                                \
            ROW_AND_COLUMN                                                                                    \
            const float4 from = READ_QUAD_X(x + x_at + row * x_pitch + column);                               \
            PUT_QUAD_X(y + y_at + row * y_pitch + column, ON_QUAD(value_##fn, from, p));                      \
        }                                                                                                     \
        FOR_EACH_ELEMENT(whole) {                                                                             \
            ROW_AND_COLUMN                                                                                    \
            const float v = value_##fn(READ_X(x + x_at + row * x_pitch + column), p);                         \
            PUT_X(y + y_at + row * y_pitch + column, v);                                                      \
        }                                                                                                     \
    }                                                                                                         \
    __kernel WORK_GROUP void unary_##fn##_backward(UNARY_BACKWARD_ARGUMENTS) {                                \
        const long whole = ELEMENTS_IN_QUADS(x_at | dy_at | dx_at, x_pitch | dy_pitch | dx_pitch);            \
        FOR_EACH_QUAD(whole) {                                                                                \
            ROW_AND_COLUMN                                                                                    \
            const float4 from = READ_QUAD_X(x + x_at + row * x_pitch + column);                               \
            const float4 v = ON_QUAD(slope_##fn, from, p) * CONST_QUAD(dy + dy_at + row * dy_pitch + column); \
            PUT(QUAD(dx + dx_at + row * dx_pitch + column), v);                                               \
        }                                                                                                     \
        FOR_EACH_ELEMENT(whole) {                                                                             \
            ROW_AND_COLUMN                                                                                    \
            const float v = slope_##fn(READ_X(x + x_at + row * x_pitch + column), p);                         \
            PUT(dx[dx_at + row * dx_pitch + column], v * dy[dy_at + row * dy_pitch + column]);                \
        }                                                                                                     \
    }

#define GATED_KERNELS(name, fn)                                                                                \
    __kernel WORK_GROUP void name(GATED_ARGUMENTS) {                                                           \
        const long whole = ELEMENTS_IN_QUADS(gate_at | up_at | y_at, gate_pitch | up_pitch | y_pitch);         \
        FOR_EACH_QUAD(whole) {                                                                                 \
            ROW_AND_COLUMN                                                                                     \
            const float4 g = READ_QUAD_X(gate + gate_at + row * gate_pitch + column);                          \
            const float4 v = ON_QUAD(value_##fn, g, 0.0f) * READ_QUAD_X(up + up_at + row * up_pitch + column); \
            PUT_QUAD_X(y + y_at + row * y_pitch + column, v);                                                  \
        }                                                                                                      \
        FOR_EACH_ELEMENT(whole) {                                                                              \
            ROW_AND_COLUMN                                                                                     \
            const float v = value_##fn(READ_X(gate + gate_at + row * gate_pitch + column), 0.0f);              \
            PUT_X(y + y_at + row * y_pitch + column, v * READ_X(up + up_at + row * up_pitch + column));        \
        }                                                                                                      \
    }                                                                                                          \
    __kernel WORK_GROUP void name##_backward(GATED_BACKWARD_ARGUMENTS) {                                       \
        const long whole = ELEMENTS_IN_QUADS(gate_at | up_at | dy_at | dgate_at | dup_at,                      \
                                             gate_pitch | up_pitch | dy_pitch | dgate_pitch | dup_pitch);      \
        FOR_EACH_QUAD(whole) {                                                                                 \
            ROW_AND_COLUMN                                                                                     \
            const float4 g = READ_QUAD_X(gate + gate_at + row * gate_pitch + column);                          \
            const float4 u = READ_QUAD_X(up + up_at + row * up_pitch + column);                                \
            const float4 d = CONST_QUAD(dy + dy_at + row * dy_pitch + column);                                 \
            PUT(QUAD(dgate + dgate_at + row * dgate_pitch + column), d * u * ON_QUAD(slope_##fn, g, 0.0f));    \
            PUT(QUAD(dup + dup_at + row * dup_pitch + column), d * ON_QUAD(value_##fn, g, 0.0f));              \
        }                                                                                                      \
        FOR_EACH_ELEMENT(whole) {                                                                              \
            ROW_AND_COLUMN                                                                                     \
            const float g = READ_X(gate + gate_at + row * gate_pitch + column);                                \
            const float u = READ_X(up + up_at + row * up_pitch + column);                                      \
            const float d = dy[dy_at + row * dy_pitch + column];                                               \
            PUT(dgate[dgate_at + row * dgate_pitch + column], d * u * slope_##fn(g, 0.0f));                    \
            PUT(dup[dup_at + row * dup_pitch + column], d * value_##fn(g, 0.0f));                              \
        }                                                                                                      \
    }

// Where the operands of element i lie. Dimensions of size 1 (most of them, once the host has merged dimensions) cost no
// division.
#define BROADCAST_PLACES                                                                  \
    long r = i, i3 = r, i2 = 0, i1 = 0, i0 = 0;                                           \
    if (count > n3) r = i / n3, i3 = i - r * n3, i2 = r;                                  \
    if (count > n3 && n0 * n1 > 1) r = i2 / n2, i2 -= r * n2, i1 = r;                     \
    if (count > n3 && n0 > 1) r = i1 / n1, i1 -= r * n1, i0 = r;                          \
    __global const X_ELEMENT *pa = a + a_at + i0 * a0 + i1 * a1 + i2 * a2 + i3 * a3;      \
    __global const X_ELEMENT *pb = b + b_at + i0 * b0 + i1 * b1 + i2 * b2 + i3 * b3;
// Neighbours in the last dimension as four: rows that begin on 16 bytes, or one number for all of them (stride 0).
#define STEPS_BY_QUADS(at, s0, s1, s2, s3) ((s3) == 0 || ((s3) == 1 && (((at) | (s0) | (s1) | (s2)) & 3) == 0))
#define BROADCAST_IN_QUADS(offsets)                                                                             \
    (((offsets) & 3) == 0 && (count <= n3 || (n3 & 3) == 0) && STEPS_BY_QUADS(a_at, a0, a1, a2, a3) &&           \
             STEPS_BY_QUADS(b_at, b0, b1, b2, b3)                                                                \
         ? count / 4 * 4                                                                                         \
         : 0)
#define BROADCAST_QUADS                                             \
    const float4 u = a3 ? READ_QUAD_X(pa) : (float4)(READ_X(pa));   \
    const float4 v = b3 ? READ_QUAD_X(pb) : (float4)(READ_X(pb));

#define BINARY_KERNEL(op, value)                             \
    __kernel WORK_GROUP void binary_##op(BINARY_ARGUMENTS) { \
        const long whole = BROADCAST_IN_QUADS(y_at);         \
        FOR_EACH_QUAD(whole) {                               \
            BROADCAST_PLACES                                 \
            BROADCAST_QUADS                                  \
            PUT_QUAD_X(y + y_at + i, value);                 \
        }                                                    \
        FOR_EACH_ELEMENT(whole) {                            \
            BROADCAST_PLACES                                 \
            const float u = READ_X(pa), v = READ_X(pb);      \
            PUT_X(y + y_at + i, value);                      \
        }                                                    \
    }

#if WANTED(affine)
__kernel WORK_GROUP void affine(AFFINE_ARGUMENTS) {
    const long whole = ELEMENTS_IN_QUADS(x_at | y_at, x_pitch | y_pitch);
    FOR_EACH_QUAD(whole) {
        ROW_AND_COLUMN
        const float4 v = fma((float4)(a), READ_QUAD_X(x + x_at + row * x_pitch + column), (float4)(b));
        PUT_QUAD_X(y + y_at + row * y_pitch + column, v);
    }
    FOR_EACH_ELEMENT(whole) {
        ROW_AND_COLUMN
        PUT_X(y + y_at + row * y_pitch + column, fma(a, READ_X(x + x_at + row * x_pitch + column), b));
    }
}
#endif

#if WANTED(axpby)
__kernel WORK_GROUP void axpby(AXPBY_ARGUMENTS) {
    const long whole = ((x_at | y_at) & 3) == 0 ? count / 4 * 4 : 0;
    FOR_EACH_QUAD(whole) {
        float4 v = a * CONST_QUAD(x + x_at + i);
        if (b != 0.0f) v = fma((float4)(b), QUAD(y + y_at + i), v);
        QUAD(y + y_at + i) = v;
    }
    FOR_EACH_ELEMENT(whole) {
        float v = a * x[x_at + i];
        if (b != 0.0f) v = fma(b, y[y_at + i], v);
        y[y_at + i] = v;
    }
}
#endif

#if WANTED(binary_div_backward_b)
__kernel WORK_GROUP void binary_div_backward_b(DIV_BACKWARD_ARGUMENTS) {
    const long whole = BROADCAST_IN_QUADS(dy_at | db_at);
    FOR_EACH_QUAD(whole) {
        BROADCAST_PLACES
        BROADCAST_QUADS
        PUT(QUAD(db + db_at + i), -CONST_QUAD(dy + dy_at + i) * (u / v) / v);
    }
    FOR_EACH_ELEMENT(whole) {
        BROADCAST_PLACES
        const float u = READ_X(pa), v = READ_X(pb);
        PUT(db[db_at + i], -dy[dy_at + i] * (u / v) / v);
    }
}
#endif

#endif  // SIMT

// ---- the kernels made by the macros of either family ----------------------------------------------------------------
#if WANTED_UNARY(exp)
UNARY_KERNELS(exp)
#endif
#if WANTED_UNARY(log)
UNARY_KERNELS(log)
#endif
#if WANTED_UNARY(sqrt)
UNARY_KERNELS(sqrt)
#endif
#if WANTED_UNARY(rsqrt)
UNARY_KERNELS(rsqrt)
#endif
#if WANTED_UNARY(square)
UNARY_KERNELS(square)
#endif
#if WANTED_UNARY(abs)
UNARY_KERNELS(abs)
#endif
#if WANTED_UNARY(neg)
UNARY_KERNELS(neg)
#endif
#if WANTED_UNARY(reciprocal)
UNARY_KERNELS(reciprocal)
#endif
#if WANTED_UNARY(relu)
UNARY_KERNELS(relu)
#endif
#if WANTED_UNARY(leaky_relu)
UNARY_KERNELS(leaky_relu)
#endif
#if WANTED_UNARY(elu)
UNARY_KERNELS(elu)
#endif
#if WANTED_UNARY(relu6)
UNARY_KERNELS(relu6)
#endif
#if WANTED_UNARY(hardswish)
UNARY_KERNELS(hardswish)
#endif
#if WANTED_UNARY(sigmoid)
UNARY_KERNELS(sigmoid)
#endif
#if WANTED_UNARY(tanh)
UNARY_KERNELS(tanh)
#endif
#if WANTED_UNARY(silu)
UNARY_KERNELS(silu)
#endif
#if WANTED_UNARY(quick_gelu)
UNARY_KERNELS(quick_gelu)
#endif
#if WANTED_UNARY(gelu_erf)
UNARY_KERNELS(gelu_erf)
#endif
#if WANTED_UNARY(gelu_tanh)
UNARY_KERNELS(gelu_tanh)
#endif
#if WANTED_UNARY(softplus)
UNARY_KERNELS(softplus)
#endif
#if WANTED_UNARY(logsigmoid)
UNARY_KERNELS(logsigmoid)
#endif
#if WANTED_UNARY(smooth_l1)
UNARY_KERNELS(smooth_l1)
#endif
#if WANTED_UNARY(clamp_min)
UNARY_KERNELS(clamp_min)
#endif
#if WANTED_GATED(swiglu)
GATED_KERNELS(swiglu, silu)
#endif
#if WANTED_GATED(geglu_tanh)
GATED_KERNELS(geglu_tanh, gelu_tanh)
#endif
#if WANTED(binary_add)
BINARY_KERNEL(add, u + v)
#endif
#if WANTED(binary_sub)
BINARY_KERNEL(sub, u - v)
#endif
#if WANTED(binary_mul)
BINARY_KERNEL(mul, u * v)
#endif
#if WANTED(binary_div)
BINARY_KERNEL(div, u / v)
#endif
#endif  // __OPENCL_VERSION__
