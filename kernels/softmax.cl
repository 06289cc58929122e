// Softmax over the rows of x [rows, columns] with a temperature T, and its gradient:
//
//   softmax       y = e^(x/T) / Σ e^(x/T)          dx = y (dy - Σ dy y) / T
//   log_softmax   y = x/T - ln Σ e^(x/T)           dx = (dy - e^y Σ dy) / T
//
// The row's maximum is subtracted before anything is scaled, so x = 1e4 is as exact as x = 1. An entry of -inf (a mask)
// gives probability exactly 0 and log-probability -inf; a row of nothing but -inf gives NaN, as elsewhere. Backward
// takes the forward's output y; where y is 0 (or -inf) dx is exactly 0 for a finite dy. y may be x's buffer, and dx may
// be dy's.
//
// Forward: the sums of a row are relative to a running maximum, by chunks that stay in the first-level cache.

#ifdef VECTOR

INLINE void softmax_forward_rows(
    index_t begin, index_t end, GLOBAL const float *x, index_t x_pitch, GLOBAL float *y, index_t y_pitch, int columns,
    float temperature) {
    const float inverse_temperature = 1.0f / temperature;
    const float rate = LOG2E * inverse_temperature, lowest = -127.0f / rate;
    const int whole = columns / LANES * LANES, part = columns - whole;
    for (index_t r = begin; r < end; r++) {
        GLOBAL const float *from = x + r * x_pitch;
        GLOBAL float *to = y + r * y_pitch;
        float sum;
        const float top = softmax_statistics(from, columns, inverse_temperature, rate, &sum);
        const real inverse = SPLAT(1.0f / sum);
        for (int i = 0; i < whole; i += LANES) {
            STORE(to + i, v_exp2_scaled(LOAD(from + i) - SPLAT(top), rate, lowest) * inverse);
        }
        if (part) {
            real v = load_part(from + whole, part, -INFINITY);
            store_part(to + whole, v_exp2_scaled(v - SPLAT(top), rate, lowest) * inverse, part);
        }
    }
}

INLINE void log_softmax_forward_rows(
    index_t begin, index_t end, GLOBAL const float *x, index_t x_pitch, GLOBAL float *y, index_t y_pitch, int columns,
    float temperature) {
    const float inverse_temperature = 1.0f / temperature, rate = LOG2E * inverse_temperature;
    const int whole = columns / LANES * LANES, part = columns - whole;
    for (index_t r = begin; r < end; r++) {
        GLOBAL const float *from = x + r * x_pitch;
        GLOBAL float *to = y + r * y_pitch;
        float sum;
        const float top = softmax_statistics(from, columns, inverse_temperature, rate, &sum);
        const float log_sum = S_LOG(sum);
        for (int i = 0; i < whole; i += LANES) {
            STORE(to + i, V_FMA(LOAD(from + i) - SPLAT(top), SPLAT(inverse_temperature), SPLAT(-log_sum)));
        }
        if (part) {
            real v = load_part(from + whole, part, -INFINITY);
            store_part(to + whole, V_FMA(v - SPLAT(top), SPLAT(inverse_temperature), SPLAT(-log_sum)), part);
        }
    }
}

INLINE void softmax_backward_rows(
    index_t begin, index_t end, GLOBAL const float *y, index_t y_pitch, GLOBAL const float *dy, index_t dy_pitch,
    GLOBAL float *dx, index_t dx_pitch, int columns, int accumulate, float temperature) {
    const float inverse_temperature = 1.0f / temperature;
    const int whole = columns / LANES * LANES, part = columns - whole;
    for (index_t r = begin; r < end; r++) {
        GLOBAL const float *a = y + r * y_pitch;
        GLOBAL const float *b = dy + r * dy_pitch;
        GLOBAL float *to = dx + r * dx_pitch;
        real s0 = SPLAT(0.0f), s1 = s0, s2 = s0, s3 = s0;
        int i = 0;
        for (; i + 4 * LANES <= whole; i += 4 * LANES) {
            s0 = V_FMA(LOAD(a + i), LOAD(b + i), s0);
            s1 = V_FMA(LOAD(a + i + LANES), LOAD(b + i + LANES), s1);
            s2 = V_FMA(LOAD(a + i + 2 * LANES), LOAD(b + i + 2 * LANES), s2);
            s3 = V_FMA(LOAD(a + i + 3 * LANES), LOAD(b + i + 3 * LANES), s3);
        }
        for (; i < whole; i += LANES) s0 = V_FMA(LOAD(a + i), LOAD(b + i), s0);
        if (part) s1 = V_FMA(load_part(a + whole, part, 0.0f), load_part(b + whole, part, 0.0f), s1);
        const real mean = SPLAT(lane_sum((s0 + s1) + (s2 + s3)));
        const real factor = SPLAT(inverse_temperature);
        for (i = 0; i < whole; i += LANES) {
            real v = LOAD(a + i) * (LOAD(b + i) - mean) * factor;
            STORE(to + i, accumulate ? LOAD(to + i) + v : v);
        }
        if (part) {
            real v = load_part(a + whole, part, 0.0f) * (load_part(b + whole, part, 0.0f) - mean) * factor;
            if (accumulate) v += load_part(to + whole, part, 0.0f);
            store_part(to + whole, v, part);
        }
    }
}

INLINE void log_softmax_backward_rows(
    index_t begin, index_t end, GLOBAL const float *y, index_t y_pitch, GLOBAL const float *dy, index_t dy_pitch,
    GLOBAL float *dx, index_t dx_pitch, int columns, int accumulate, float temperature) {
    const float inverse_temperature = 1.0f / temperature, lowest = -127.0f / LOG2E;
    const int whole = columns / LANES * LANES, part = columns - whole;
    for (index_t r = begin; r < end; r++) {
        GLOBAL const float *a = y + r * y_pitch;
        GLOBAL const float *b = dy + r * dy_pitch;
        GLOBAL float *to = dx + r * dx_pitch;
        real s0 = SPLAT(0.0f), s1 = s0, s2 = s0, s3 = s0;
        int i = 0;
        for (; i + 4 * LANES <= whole; i += 4 * LANES) {
            s0 += LOAD(b + i);
            s1 += LOAD(b + i + LANES);
            s2 += LOAD(b + i + 2 * LANES);
            s3 += LOAD(b + i + 3 * LANES);
        }
        for (; i < whole; i += LANES) s0 += LOAD(b + i);
        if (part) s1 += load_part(b + whole, part, 0.0f);
        const real sum = SPLAT(lane_sum((s0 + s1) + (s2 + s3)));
        const real factor = SPLAT(inverse_temperature);
        for (i = 0; i < whole; i += LANES) {
            real v = V_FMA(v_exp2_scaled(LOAD(a + i), LOG2E, lowest), -sum, LOAD(b + i)) * factor;
            STORE(to + i, accumulate ? LOAD(to + i) + v : v);
        }
        if (part) {
            real e = v_exp2_scaled(load_part(a + whole, part, 0.0f), LOG2E, lowest);
            real v = V_FMA(e, -sum, load_part(b + whole, part, 0.0f)) * factor;
            if (accumulate) v += load_part(to + whole, part, 0.0f);
            store_part(to + whole, v, part);
        }
    }
}

#endif

#if defined(VECTOR) && defined(__OPENCL_VERSION__)

#if WANTED(softmax_forward)
__kernel void softmax_forward(
    long rows, long rows_per_item, __global const float *x, long x_at, __global float *y, long y_at, long x_pitch,
    long y_pitch, int columns, float temperature) {
    const long begin = get_global_id(0) * rows_per_item, end = min(rows, begin + rows_per_item);
    softmax_forward_rows(begin, end, x + x_at, x_pitch, y + y_at, y_pitch, columns, temperature);
}
#endif
#if WANTED(log_softmax_forward)
__kernel void log_softmax_forward(
    long rows, long rows_per_item, __global const float *x, long x_at, __global float *y, long y_at, long x_pitch,
    long y_pitch, int columns, float temperature) {
    const long begin = get_global_id(0) * rows_per_item, end = min(rows, begin + rows_per_item);
    log_softmax_forward_rows(begin, end, x + x_at, x_pitch, y + y_at, y_pitch, columns, temperature);
}
#endif
#if WANTED(softmax_backward)
__kernel void softmax_backward(
    long rows, long rows_per_item, __global const float *y, long y_at, __global const float *dy, long dy_at,
    __global float *dx, long dx_at, long y_pitch, long dy_pitch, long dx_pitch, int columns, int accumulate,
    float temperature) {
    const long begin = get_global_id(0) * rows_per_item, end = min(rows, begin + rows_per_item);
    softmax_backward_rows(
        begin, end, y + y_at, y_pitch, dy + dy_at, dy_pitch, dx + dx_at, dx_pitch, columns, accumulate, temperature);
}
#endif
#if WANTED(log_softmax_backward)
__kernel void log_softmax_backward(
    long rows, long rows_per_item, __global const float *y, long y_at, __global const float *dy, long dy_at,
    __global float *dx, long dx_at, long y_pitch, long dy_pitch, long dx_pitch, int columns, int accumulate,
    float temperature) {
    const long begin = get_global_id(0) * rows_per_item, end = min(rows, begin + rows_per_item);
    log_softmax_backward_rows(
        begin, end, y + y_at, y_pitch, dy + dy_at, dy_pitch, dx + dx_at, dx_pitch, columns, accumulate, temperature);
}
#endif

#endif

#ifdef SIMT

// simt: rows_per_item is the size of a team (see math.clh), global a multiple of 256, local = 256.
#define SOFTMAX_TEAM const int team = (int)rows_per_item, lane = (int)get_local_id(0) & (team - 1);
#define SOFTMAX_ROW(places)                                   \
    const long r = turn + get_local_id(0) / team;             \
    const int here = r < rows ? columns : 0;                  \
    const int quads = ((places) & 3) == 0 ? here / 4 : 0;     \
    const int share = team_share(quads, lane, team);
#define SOFTMAX_LOAD(q) QUAD_OF(from, q)
#define SOFTMAX_BACKWARD_LOAD(q) ((quad_pair){QUAD_OF(a, q), QUAD_OF(b, q)})

#if WANTED(softmax_forward)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void softmax_forward(
    long rows, long rows_per_item, __global const float *x, long x_at, __global float *y, long y_at, long x_pitch,
    long y_pitch, int columns, float temperature) {
    __local float scratch[GROUP];
    const float inverse_temperature = 1.0f / temperature;
    const float rate = LOG2E * inverse_temperature, lowest = -127.0f / rate;
    SOFTMAX_TEAM
    FOR_EACH_TEAM_TURN(rows, team) {
        SOFTMAX_ROW(x_at | y_at | x_pitch | y_pitch)
        __global const float *from = x + x_at + r * x_pitch;
        __global float *to = y + y_at + r * y_pitch;
        float sum;
        const float top = softmax_statistics_team(
            from, here, quads, lane, team, inverse_temperature, rate, scratch, &sum);
        const float inverse = 1.0f / sum;
        for (int i = 4 * quads + lane; i < here; i += team) {
            to[i] = v_exp2_scaled(from[i] - top, rate, lowest) * inverse;
        }
#define SOFTMAX_USE(q, v) STORE_QUAD_OF(to, q, exp2_scaled_quad(v - top, rate, lowest) * inverse);
        TEAM_QUADS_BACKWARDS(float4, SOFTMAX_LOAD, SOFTMAX_USE)
    }
}
#endif
#if WANTED(log_softmax_forward)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void log_softmax_forward(
    long rows, long rows_per_item, __global const float *x, long x_at, __global float *y, long y_at, long x_pitch,
    long y_pitch, int columns, float temperature) {
    __local float scratch[GROUP];
    const float inverse_temperature = 1.0f / temperature;
    SOFTMAX_TEAM
    FOR_EACH_TEAM_TURN(rows, team) {
        SOFTMAX_ROW(x_at | y_at | x_pitch | y_pitch)
        __global const float *from = x + x_at + r * x_pitch;
        __global float *to = y + y_at + r * y_pitch;
        float sum;
        const float top = softmax_statistics_team(
            from, here, quads, lane, team, inverse_temperature, LOG2E * inverse_temperature, scratch, &sum);
        const float log_sum = S_LOG(sum);
        for (int i = 4 * quads + lane; i < here; i += team) to[i] = fma(from[i] - top, inverse_temperature, -log_sum);
#define LOG_SOFTMAX_USE(q, v) \
    STORE_QUAD_OF(to, q, fma(v - top, (float4)(inverse_temperature), (float4)(-log_sum)));
        TEAM_QUADS_BACKWARDS(float4, SOFTMAX_LOAD, LOG_SOFTMAX_USE)
    }
}
#endif
#if WANTED(softmax_backward)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void softmax_backward(
    long rows, long rows_per_item, __global const float *y, long y_at, __global const float *dy, long dy_at,
    __global float *dx, long dx_at, long y_pitch, long dy_pitch, long dx_pitch, int columns, int accumulate,
    float temperature) {
    __local float scratch[GROUP];
    const float inverse_temperature = 1.0f / temperature;
    SOFTMAX_TEAM
    FOR_EACH_TEAM_TURN(rows, team) {
        SOFTMAX_ROW(y_at | dy_at | dx_at | y_pitch | dy_pitch | dx_pitch)
        __global const float *a = y + y_at + r * y_pitch;
        __global const float *b = dy + dy_at + r * dy_pitch;
        __global float *to = dx + dx_at + r * dx_pitch;
        float4 dots = 0.0f;
        float mean = 0.0f;
        for (int k = 0; k < share; k++) dots = fma(QUAD_OF(a, lane + k * team), QUAD_OF(b, lane + k * team), dots);
        for (int i = 4 * quads + lane; i < here; i += team) mean = fma(a[i], b[i], mean);
        mean += quad_sum(dots);
        team_sums(1, &mean, team, scratch);
        for (int i = 4 * quads + lane; i < here; i += team) {
            const float v = a[i] * (b[i] - mean) * inverse_temperature;
            to[i] = accumulate ? to[i] + v : v;
        }
#define SOFTMAX_BACKWARD_USE(q, v) \
    put_quad(to, q, v.first * (v.second - mean) * inverse_temperature, accumulate);
        TEAM_QUADS_BACKWARDS(quad_pair, SOFTMAX_BACKWARD_LOAD, SOFTMAX_BACKWARD_USE)
    }
}
#endif
#if WANTED(log_softmax_backward)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void log_softmax_backward(
    long rows, long rows_per_item, __global const float *y, long y_at, __global const float *dy, long dy_at,
    __global float *dx, long dx_at, long y_pitch, long dy_pitch, long dx_pitch, int columns, int accumulate,
    float temperature) {
    __local float scratch[GROUP];
    const float inverse_temperature = 1.0f / temperature;
    SOFTMAX_TEAM
    FOR_EACH_TEAM_TURN(rows, team) {
        SOFTMAX_ROW(y_at | dy_at | dx_at | y_pitch | dy_pitch | dx_pitch)
        __global const float *a = y + y_at + r * y_pitch;
        __global const float *b = dy + dy_at + r * dy_pitch;
        __global float *to = dx + dx_at + r * dx_pitch;
        float4 totals = 0.0f;
        float sum = 0.0f;
        for (int k = 0; k < share; k++) totals += QUAD_OF(b, lane + k * team);
        for (int i = 4 * quads + lane; i < here; i += team) sum += b[i];
        sum += quad_sum(totals);
        team_sums(1, &sum, team, scratch);
        for (int i = 4 * quads + lane; i < here; i += team) {
            const float v = fma(v_exp2_scaled(a[i], LOG2E, -127.0f / LOG2E), -sum, b[i]) * inverse_temperature;
            to[i] = accumulate ? to[i] + v : v;
        }
#define LOG_SOFTMAX_BACKWARD_USE(q, v)                                          \
    {                                                                           \
        const float4 e = exp2_scaled_quad(v.first, LOG2E, -127.0f / LOG2E);     \
        const float4 slope = fma(e, (float4)(-sum), v.second);                  \
        put_quad(to, q, slope * inverse_temperature, accumulate);               \
    }
        TEAM_QUADS_BACKWARDS(quad_pair, SOFTMAX_BACKWARD_LOAD, LOG_SOFTMAX_BACKWARD_USE)
    }
}
#endif

#endif
