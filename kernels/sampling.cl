// The next token of each row of logits x [rows, columns]:
//
//   scale_logits   y = x / temperature, after the repetition penalty for the tokens of history [rows, seen]; ids outside the columns count
//                  for nothing
//   keep_top_k, keep_top_p, keep_min_p
//                  y = -inf for the tokens that are taken out; all in the order of Hugging Face's library
//   draw_tokens    tokens [rows]: the first token at which the running sum of probabilities exceeds u [rows] of their total
//
// Both filters are a threshold: the k-th largest logit, or the largest one above which the probabilities reach p. It is found bit by bit,
// from the number of the logits that reach it (or from their sum): 32 passes over a row instead of a sort. Logits that equal the
// threshold: top-k keeps all of them; top-p keeps the later ones as far as p wants them.

// Floats in the order of unsigned integers; below -inf and above +inf lie NaNs, which no logit reaches.
INLINE float threshold_of_order(uint order) { return FLOAT_OF_BITS(order & 0x80000000u ? order ^ 0x80000000u : ~order); }

INLINE float penalised(float v, float penalty) { return v < 0.0f ? v * penalty : v / penalty; }

#ifdef VECTOR

// The number of entries that are at least the threshold. Exact: fewer than 2^24 in a lane.
INLINE float count_reaching(GLOBAL const float *x, int columns, float threshold) {
    real sum = SPLAT(0.0f);
    const real one = SPLAT(1.0f), none = SPLAT(0.0f), t = SPLAT(threshold);
    int i = 0;
    for (; i + LANES <= columns; i += LANES) sum += SELECT(none, one, LOAD(x + i) >= t);
    float count = lane_sum(sum);
    for (; i < columns; i++) count += x[i] >= threshold;
    return count;
}

// The sum of the weights of the entries that are at least (or, strictly, above) the threshold, in one order whatever it is.
INLINE float weight_reaching(GLOBAL const float *x, GLOBAL const float *w, int columns, float threshold, int strictly) {
    real sum = SPLAT(0.0f);
    const real none = SPLAT(0.0f), t = SPLAT(threshold);
    int i = 0;
    for (; i + LANES <= columns; i += LANES) {
        const real v = LOAD(x + i);
        sum += strictly ? SELECT(none, LOAD(w + i), v > t) : SELECT(none, LOAD(w + i), v >= t);
    }
    float total = lane_sum(sum);
    for (; i < columns; i++) total += (strictly ? x[i] > threshold : x[i] >= threshold) ? w[i] : 0.0f;
    return total;
}

INLINE float row_max(GLOBAL const float *x, int columns) {
    real top = SPLAT(-INFINITY);
    int i = 0;
    for (; i + LANES <= columns; i += LANES) top = V_MAX(top, LOAD(x + i));
    float most = lane_max(top);
    for (; i < columns; i++) most = S_MAX(most, x[i]);
    return most;
}

// w = e^(x - top)
INLINE void row_weights(GLOBAL const float *x, GLOBAL float *w, int columns, float top) {
    int i = 0;
    for (; i + LANES <= columns; i += LANES) STORE(w + i, v_exp(LOAD(x + i) - SPLAT(top)));
    if (i < columns) store_part(w + i, v_exp(load_part(x + i, columns - i, -INFINITY) - SPLAT(top)), columns - i);
}

INLINE void scale_logits_rows(
    index_t begin, index_t end, GLOBAL const float *x, index_t x_pitch, GLOBAL const int *history, GLOBAL float *y,
    int columns, int seen, float penalty, float temperature) {
    for (index_t r = begin; r < end; r++) {
        GLOBAL const float *from = x + r * x_pitch;
        GLOBAL float *to = y + r * columns;
        for (int i = 0; i < columns; i++) to[i] = from[i];
        for (int j = 0; j < seen; j++) {
            const int token = history[r * seen + j];
            if (token >= 0 && token < columns) to[token] = penalised(from[token], penalty);
        }
        int i = 0;
        for (; i + LANES <= columns; i += LANES) STORE(to + i, LOAD(to + i) / SPLAT(temperature));
        for (; i < columns; i++) to[i] = to[i] / temperature;
    }
}

INLINE void keep_top_k_rows(index_t begin, index_t end, GLOBAL float *y, int columns, int k) {
    for (index_t r = begin; r < end; r++) {
        GLOBAL float *row = y + r * columns;
        uint order = 0;
        for (uint bit = 0x80000000u; bit; bit >>= 1) {
            if (count_reaching(row, columns, threshold_of_order(order | bit)) >= (float)k) order |= bit;
        }
        const float least = threshold_of_order(order);
        for (int i = 0; i < columns; i++) row[i] = row[i] < least ? -INFINITY : row[i];
    }
}

INLINE void keep_top_p_rows(index_t begin, index_t end, GLOBAL float *y, GLOBAL float *work, int columns, float p) {
    for (index_t r = begin; r < end; r++) {
        GLOBAL float *row = y + r * columns;
        GLOBAL float *w = work + r * columns;
        row_weights(row, w, columns, row_max(row, columns));
        const float wanted = p * weight_reaching(row, w, columns, -INFINITY, 0);
        uint order = 0;
        for (uint bit = 0x80000000u; bit; bit >>= 1) {
            if (weight_reaching(row, w, columns, threshold_of_order(order | bit), 0) >= wanted) order |= bit;
        }
        const float least = threshold_of_order(order);
        // Never none: without those that equal the threshold the sum is too small.
        float kept = weight_reaching(row, w, columns, least, 1);
        int left = 1;
        for (int i = columns - 1; i >= 0; i--) {
            if (row[i] == least) {
                if (!left) row[i] = -INFINITY;
                kept += w[i];
                left = left && kept < wanted;
            } else if (row[i] < least) {
                row[i] = -INFINITY;
            }
        }
    }
}

INLINE void keep_min_p_rows(index_t begin, index_t end, GLOBAL float *y, int columns, float log_min_p) {
    for (index_t r = begin; r < end; r++) {
        GLOBAL float *row = y + r * columns;
        const float least = row_max(row, columns) + log_min_p;
        for (int i = 0; i < columns; i++) row[i] = row[i] < least ? -INFINITY : row[i];
    }
}

// The weights of a row go by chunks: the first pass finds their total, the second the chunk in which u of it is reached.
#define DRAW_CHUNK 256
INLINE float chunk_weight(GLOBAL const float *x, int start, int columns, float top) {
    const int stop = columns - start < DRAW_CHUNK ? columns : start + DRAW_CHUNK;
    real sum = SPLAT(0.0f);
    int i = start;
    for (; i + LANES <= stop; i += LANES) sum += v_exp(LOAD(x + i) - SPLAT(top));
    if (i < stop) sum += v_exp(load_part(x + i, stop - i, -INFINITY) - SPLAT(top));
    return lane_sum(sum);
}

INLINE void draw_tokens_rows(
    index_t begin, index_t end, GLOBAL const float *x, index_t x_pitch, GLOBAL const float *u, GLOBAL int *tokens,
    int columns) {
    for (index_t r = begin; r < end; r++) {
        GLOBAL const float *from = x + r * x_pitch;
        const float top = row_max(from, columns);
        float total = 0.0f;
        for (int start = 0; start < columns; start += DRAW_CHUNK) total += chunk_weight(from, start, columns, top);
        const float wanted = u[r] * total;
        float sum = 0.0f;
        int start = 0;
        while (start + DRAW_CHUNK < columns) {
            const float more = chunk_weight(from, start, columns, top);
            if (sum + more > wanted) break;
            sum += more;
            start += DRAW_CHUNK;
        }
        // Rounding may leave the last chunk short of u: the last token that is possible then.
        int token = -1, possible = -1;
        for (int i = start; i < columns && token < 0; i++) {
            if (!(from[i] > -INFINITY)) continue;
            sum += S_EXP(from[i] - top);
            possible = i;
            if (sum > wanted) token = i;
        }
        for (int i = start - 1; i >= 0 && token < 0 && possible < 0; i--) {
            if (from[i] > -INFINITY) possible = i;
        }
        tokens[r] = token >= 0 ? token : possible >= 0 ? possible : 0;
    }
}

#endif

#ifdef __OPENCL_VERSION__
#define SCALE_LOGITS_ARGUMENTS                                                                                         \
    long rows, long rows_per_item, __global const float *x, long x_at, __global const int *history, long history_at,   \
        __global float *y, long y_at, long x_pitch, int columns, int seen, float penalty, float temperature
#define KEEP_TOP_K_ARGUMENTS long rows, long rows_per_item, __global float *y, long y_at, int columns, int k
#define KEEP_TOP_P_ARGUMENTS                                                                                           \
    long rows, long rows_per_item, __global float *y, long y_at, __global float *work, long work_at, int columns, float p
#define KEEP_MIN_P_ARGUMENTS long rows, long rows_per_item, __global float *y, long y_at, int columns, float log_min_p
#define DRAW_TOKENS_ARGUMENTS                                                                                          \
    long rows, long rows_per_item, __global const float *x, long x_at, __global const float *u, long u_at,             \
        __global int *tokens, long tokens_at, long x_pitch, int columns
#endif

#if defined(VECTOR) && defined(__OPENCL_VERSION__)
#if WANTED(scale_logits)
__kernel void scale_logits(SCALE_LOGITS_ARGUMENTS) {
    const long begin = get_global_id(0) * rows_per_item, end = min(rows, begin + rows_per_item);
    scale_logits_rows(
        begin, end, x + x_at, x_pitch, history + history_at, y + y_at, columns, seen, penalty, temperature);
}
#endif
#if WANTED(keep_top_k)
__kernel void keep_top_k(KEEP_TOP_K_ARGUMENTS) {
    const long begin = get_global_id(0) * rows_per_item, end = min(rows, begin + rows_per_item);
    keep_top_k_rows(begin, end, y + y_at, columns, k);
}
#endif
#if WANTED(keep_top_p)
__kernel void keep_top_p(KEEP_TOP_P_ARGUMENTS) {
    const long begin = get_global_id(0) * rows_per_item, end = min(rows, begin + rows_per_item);
    keep_top_p_rows(begin, end, y + y_at, work + work_at, columns, p);
}
#endif
#if WANTED(keep_min_p)
__kernel void keep_min_p(KEEP_MIN_P_ARGUMENTS) {
    const long begin = get_global_id(0) * rows_per_item, end = min(rows, begin + rows_per_item);
    keep_min_p_rows(begin, end, y + y_at, columns, log_min_p);
}
#endif
#if WANTED(draw_tokens)
__kernel void draw_tokens(DRAW_TOKENS_ARGUMENTS) {
    const long begin = get_global_id(0) * rows_per_item, end = min(rows, begin + rows_per_item);
    draw_tokens_rows(begin, end, x + x_at, x_pitch, u + u_at, tokens + tokens_at, columns);
}
#endif
#endif

#ifdef SIMT

// Over the whole group; every work-item gets the result. Not static, as group_sum (math.clh).
float count_reaching(__global const float *x, int columns, float threshold, __local float *scratch) {
    float count = 0.0f;
    for (int i = (int)get_local_id(0); i < columns; i += GROUP) count += x[i] >= threshold ? 1.0f : 0.0f;
    return group_sum(count, scratch);
}

float weight_reaching(
    __global const float *x, __global const float *w, int columns, float threshold, int strictly, __local float *scratch) {
    float sum = 0.0f;
    for (int i = (int)get_local_id(0); i < columns; i += GROUP) {
        sum += (strictly ? x[i] > threshold : x[i] >= threshold) ? w[i] : 0.0f;
    }
    return group_sum(sum, scratch);
}

float row_max(__global const float *x, int columns, __local float *scratch) {
    const int l = (int)get_local_id(0);
    float top = -INFINITY;
    for (int i = l; i < columns; i += GROUP) top = fmax(top, x[i]);
    scratch[l] = top;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int half_size = GROUP / 2; half_size > 0; half_size >>= 1) {
        if (l < half_size) scratch[l] = fmax(scratch[l], scratch[l + half_size]);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    const float result = scratch[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    return result;
}

// A kernel for each filter: barriers that all work-items reach, whatever is asked for.
#if WANTED(scale_logits)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void scale_logits(SCALE_LOGITS_ARGUMENTS) {
    const int l = (int)get_local_id(0);
    const long r = get_group_id(0);
    x += x_at + r * x_pitch;
    history += history_at + r * seen;
    y += y_at + r * columns;
    for (int i = l; i < columns; i += GROUP) y[i] = x[i] / temperature;
    barrier(CLK_GLOBAL_MEM_FENCE);
    // A token that was seen twice is written twice, with the same number.
    for (int j = l; j < seen; j += GROUP) {
        const int token = history[j];
        if (token >= 0 && token < columns) y[token] = penalised(x[token], penalty) / temperature;
    }
}
#endif
#if WANTED(keep_top_k)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void keep_top_k(KEEP_TOP_K_ARGUMENTS) {
    __local float scratch[GROUP];
    const int l = (int)get_local_id(0);
    y += y_at + get_group_id(0) * columns;
    uint order = 0;
    for (int step = 0; step < 32; step++) {
        const uint next = order | 0x80000000u >> step;
        order = count_reaching(y, columns, threshold_of_order(next), scratch) >= (float)k ? next : order;
    }
    const float least = threshold_of_order(order);
    for (int i = l; i < columns; i += GROUP) y[i] = y[i] < least ? -INFINITY : y[i];
}
#endif
#if WANTED(keep_top_p)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void keep_top_p(KEEP_TOP_P_ARGUMENTS) {
    __local float scratch[GROUP];
    const int l = (int)get_local_id(0);
    y += y_at + get_group_id(0) * columns;
    work += work_at + get_group_id(0) * columns;
    const float top = row_max(y, columns, scratch);
    for (int i = l; i < columns; i += GROUP) work[i] = v_exp(y[i] - top);
    const float wanted = p * weight_reaching(y, work, columns, -INFINITY, 0, scratch);
    uint order = 0;
    for (int step = 0; step < 32; step++) {
        const uint next = order | 0x80000000u >> step;
        order = weight_reaching(y, work, columns, threshold_of_order(next), 0, scratch) >= wanted ? next : order;
    }
    const float least = threshold_of_order(order);
    const float above = weight_reaching(y, work, columns, least, 1, scratch);
    // The last place from which on all that equal the threshold are enough.
    int cut = 0;
    for (int step = 1; step < 32; step++) {
        const int from = cut | (int)(0x80000000u >> step);
        float sum = 0.0f;
        for (int i = l; i < columns; i += GROUP) sum += i >= from && y[i] == least ? work[i] : 0.0f;
        const float reached = above + group_sum(sum, scratch);
        cut = from < columns && reached >= wanted ? from : cut;
    }
    for (int i = l; i < columns; i += GROUP) {
        if (y[i] < least || (y[i] == least && i < cut)) y[i] = -INFINITY;
    }
}
#endif
#if WANTED(keep_min_p)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void keep_min_p(KEEP_MIN_P_ARGUMENTS) {
    __local float scratch[GROUP];
    const int l = (int)get_local_id(0);
    y += y_at + get_group_id(0) * columns;
    const float least = row_max(y, columns, scratch) + log_min_p;
    for (int i = l; i < columns; i += GROUP) y[i] = y[i] < least ? -INFINITY : y[i];
}
#endif
// Each work-item sums up a segment of its own; one of them walks through its segment.
#if WANTED(draw_tokens)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void draw_tokens(DRAW_TOKENS_ARGUMENTS) {
    __local float scratch[GROUP];
    __local float before[GROUP];
    __local float wanted_local[1];
    __local int winner[1];
    const int l = (int)get_local_id(0);
    const long r = get_group_id(0);
    x += x_at + r * x_pitch;
    const float top = row_max(x, columns, scratch);
    const int segment = (columns + GROUP - 1) / GROUP;
    const int first = min(columns, l * segment), last = min(columns, first + segment);
    float sum = 0.0f;
    int possible = -1;
    for (int i = first; i < last; i++) {
        sum += v_exp(x[i] - top);
        if (x[i] > -INFINITY) possible = i;
    }
    before[l] = sum;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (l == 0) {
        float total = 0.0f;
        for (int j = 0; j < GROUP; j++) total += before[j];
        const float wanted = u[u_at + r] * total;
        float running = 0.0f;
        int found = -1, fallback = 0;
        for (int j = 0; j < GROUP; j++) {
            const float more = before[j];
            before[j] = running;
            running += more;
            if (more > 0.0f) fallback = j;
            if (found < 0 && running > wanted) found = j;
        }
        wanted_local[0] = wanted;
        winner[0] = found < 0 ? fallback : found;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (l == winner[0]) {
        float running = before[l];
        int token = -1;
        for (int i = first; i < last && token < 0; i++) {
            running += v_exp(x[i] - top);
            if (x[i] > -INFINITY && running > wanted_local[0]) token = i;
        }
        tokens[tokens_at + r] = token >= 0 ? token : possible >= 0 ? possible : 0;
    }
}
#endif

#endif
