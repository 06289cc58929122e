// Selection and sorting along the rows of x [rows, columns], largest first; equal values keep their order (the lower
// index first), NaN counts as larger than everything, as in PyTorch.
//
//   topk             values, indices [rows, k], 1 <= k <= columns; for small k: O(columns + k · entries that move in)
//   sort_descending  values, indices [rows, columns]; a merge sort in two work buffers of the same shape
//   topk_backward    dx [rows, columns] = dy [rows, k] at the saved indices, else 0 (the gradient of sort: k = columns)
//
// indices are int32, unique within a row; values and indices are dense, x and dx have a pitch.

// Whether value v at index i comes before w at index j.
INLINE int topk_before(float v, int i, float w, int j) {
    if (v != v) return w == w || i < j;
    return v > w || (v == w && i < j);
}

#ifdef VECTOR

// Puts v at its place in a list of `count` sorted entries, of at most k; the last one may drop out. Returns the new
// count.
INLINE int topk_insert(GLOBAL float *values, GLOBAL int *indices, int count, int k, float v, int index) {
    if (count == k && !topk_before(v, index, values[k - 1], indices[k - 1])) return count;
    int at = count < k ? count : k - 1;
    for (; at > 0 && topk_before(v, index, values[at - 1], indices[at - 1]); at--) {
        values[at] = values[at - 1];
        indices[at] = indices[at - 1];
    }
    values[at] = v;
    indices[at] = index;
    return count < k ? count + 1 : k;
}

INLINE void topk_rows(
    index_t begin, index_t end, GLOBAL const float *x, index_t x_pitch, GLOBAL float *values, GLOBAL int *indices,
    int columns, int k) {
    for (index_t r = begin; r < end; r++) {
        GLOBAL const float *from = x + r * x_pitch;
        GLOBAL float *top = values + r * k;
        GLOBAL int *places = indices + r * k;
        int count = 0, i = 0;
        while (i < columns) {
            if (count == k && columns - i >= 4 * LANES) {
                // 64 entries at once are passed over when none exceeds the smallest one kept.
                real a = LOAD(from + i), b = LOAD(from + i + LANES);
                real c = LOAD(from + i + 2 * LANES), d = LOAD(from + i + 3 * LANES);
                real most = v_larger(v_larger(a, b), v_larger(c, d));
                // v_larger drops a NaN on its right: the sum keeps every one.
                real sum = (a + b) + (c + d);
                most = SELECT(most, SPLAT(INFINITY), (sum != sum) | (most != most));
                const float highest = lane_max(most);
                if (highest <= top[k - 1] && highest < INFINITY) {
                    i += 4 * LANES;
                    continue;
                }
            }
            const int stop = columns - i < 4 * LANES ? columns : i + 4 * LANES;
            for (; i < stop; i++) count = topk_insert(top, places, count, k, from[i], i);
        }
    }
}

// Bottom-up merge sort of pairs; runs of 1 come from x, further passes go back and forth between the work buffers and
// the results, arranged so that the last one lands in the results.
INLINE void sort_descending_rows(
    index_t begin, index_t end, GLOBAL const float *x, index_t x_pitch, GLOBAL float *values, GLOBAL int *indices,
    GLOBAL float *work_values, GLOBAL int *work_indices, int columns) {
    int passes = 0;
    for (int run = 1; run < columns; run = columns - run < run ? columns : 2 * run) passes++;
    for (index_t r = begin; r < end; r++) {
        GLOBAL const float *from = x + r * x_pitch;
        GLOBAL float *v = (passes & 1 ? work_values : values) + r * columns;
        GLOBAL int *p = (passes & 1 ? work_indices : indices) + r * columns;
        GLOBAL float *to_v = (passes & 1 ? values : work_values) + r * columns;
        GLOBAL int *to_p = (passes & 1 ? indices : work_indices) + r * columns;
        for (int i = 0; i < columns; i++) {
            v[i] = from[i];
            p[i] = i;
        }
        int run = 1;
        for (int pass = 0; pass < passes; pass++) {
            for (int start = 0; start < columns;) {
                const int middle = columns - start < run ? columns : start + run;
                const int stop = columns - middle < run ? columns : middle + run;
                int a = start, b = middle;
                for (int i = start; i < stop; i++) {
                    const int left = b >= stop || (a < middle && topk_before(v[a], p[a], v[b], p[b]));
                    const int at = left ? a : b;
                    to_v[i] = v[at];
                    to_p[i] = p[at];
                    a += left;
                    b += !left;
                }
                start = stop;
            }
            GLOBAL float *swap_v = v;
            GLOBAL int *swap_p = p;
            v = to_v;
            p = to_p;
            to_v = swap_v;
            to_p = swap_p;
            run = columns - run < run ? columns : 2 * run;
        }
    }
}

INLINE void topk_backward_rows(
    index_t begin, index_t end, GLOBAL const float *dy, GLOBAL const int *indices, GLOBAL float *dx, index_t dx_pitch,
    int columns, int k, int accumulate) {
    for (index_t r = begin; r < end; r++) {
        GLOBAL float *to = dx + r * dx_pitch;
        if (!accumulate) {
            int i = 0;
            for (; i + LANES <= columns; i += LANES) STORE(to + i, SPLAT(0.0f));
            if (i < columns) store_part(to + i, SPLAT(0.0f), columns - i);
        }
        for (int j = 0; j < k; j++) {
            const int at = indices[r * k + j];
            if (at >= 0 && at < columns) to[at] += dy[r * k + j];
        }
    }
}

#endif

#ifdef __OPENCL_VERSION__
#define TOPK_ARGUMENTS                                                                                                 \
    long rows, long rows_per_item, __global const float *x, long x_at, __global float *values, long values_at,         \
        __global int *indices, long indices_at, long x_pitch, int columns, int k
#define SORT_ARGUMENTS                                                                                                 \
    long rows, long rows_per_item, __global const float *x, long x_at, __global float *values, long values_at,         \
        __global int *indices, long indices_at, __global float *work_values, long work_values_at,                      \
        __global int *work_indices, long work_indices_at, long x_pitch, int columns
#define TOPK_BACKWARD_ARGUMENTS                                                                                        \
    long rows, long rows_per_item, __global const float *dy, long dy_at, __global const int *indices, long indices_at, \
        __global float *dx, long dx_at, long dx_pitch, int columns, int k, int accumulate
#endif

#if defined(VECTOR) && defined(__OPENCL_VERSION__)
#if WANTED(topk)
__kernel void topk(TOPK_ARGUMENTS) {
    const long begin = get_global_id(0) * rows_per_item, end = min(rows, begin + rows_per_item);
    topk_rows(begin, end, x + x_at, x_pitch, values + values_at, indices + indices_at, columns, k);
}
#endif
#if WANTED(sort_descending)
__kernel void sort_descending(SORT_ARGUMENTS) {
    const long begin = get_global_id(0) * rows_per_item, end = min(rows, begin + rows_per_item);
    sort_descending_rows(
        begin, end, x + x_at, x_pitch, values + values_at, indices + indices_at, work_values + work_values_at,
        work_indices + work_indices_at, columns);
}
#endif
#if WANTED(topk_backward)
__kernel void topk_backward(TOPK_BACKWARD_ARGUMENTS) {
    const long begin = get_global_id(0) * rows_per_item, end = min(rows, begin + rows_per_item);
    topk_backward_rows(begin, end, dy + dy_at, indices + indices_at, dx + dx_at, dx_pitch, columns, k, accumulate);
}
#endif
#endif

#ifdef SIMT

// k rounds: in each, the group finds the first entry that comes after the one found before.
#if WANTED(topk)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void topk(TOPK_ARGUMENTS) {
    __local float best_values[GROUP];
    __local int best_places[GROUP];
    const int l = (int)get_local_id(0);
    const long r = get_group_id(0);
    x += x_at + r * x_pitch;
    float last_value = INFINITY;
    int last_place = -1;
    for (int j = 0; j < k; j++) {
        float best = -INFINITY;
        int place = columns;  // behind every entry
        for (int i = l; i < columns; i += GROUP) {
            const float v = x[i];
            if ((j == 0 || topk_before(last_value, last_place, v, i)) && topk_before(v, i, best, place)) {
                best = v;
                place = i;
            }
        }
        best_values[l] = best;
        best_places[l] = place;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int half_size = GROUP / 2; half_size > 0; half_size >>= 1) {
            const int other = l + half_size;
            if (l < half_size
                && topk_before(best_values[other], best_places[other], best_values[l], best_places[l])) {
                best_values[l] = best_values[other];
                best_places[l] = best_places[other];
            }
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        last_value = best_values[0];
        last_place = best_places[0];
        if (l == 0) {
            values[values_at + r * k + j] = last_value;
            indices[indices_at + r * k + j] = last_place;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}
#endif
// By rank: an entry's place is the number of entries before it. The work buffers are not used.
#if WANTED(sort_descending)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void sort_descending(SORT_ARGUMENTS) {
    __local float tile[GROUP];
    const int l = (int)get_local_id(0);
    const long r = get_group_id(0);
    x += x_at + r * x_pitch;
    for (int first = 0; first < columns; first += GROUP) {
        const int i = first + l;
        const float v = i < columns ? x[i] : 0.0f;
        int rank = 0;
        for (int start = 0; start < columns; start += GROUP) {
            tile[l] = start + l < columns ? x[start + l] : 0.0f;
            barrier(CLK_LOCAL_MEM_FENCE);
            const int count = min(GROUP, columns - start);
            for (int j = 0; j < count; j++) rank += topk_before(tile[j], start + j, v, i);
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        if (i < columns) {
            values[values_at + r * columns + rank] = v;
            indices[indices_at + r * columns + rank] = i;
        }
    }
}
#endif
#if WANTED(topk_backward)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void topk_backward(TOPK_BACKWARD_ARGUMENTS) {
    const int l = (int)get_local_id(0);
    const long r = get_group_id(0);
    dx += dx_at + r * dx_pitch;
    if (!accumulate) {
        for (int i = l; i < columns; i += GROUP) dx[i] = 0.0f;
    }
    barrier(CLK_GLOBAL_MEM_FENCE);
    for (int j = l; j < k; j += GROUP) {
        const int at = indices[indices_at + r * k + j];
        if (at >= 0 && at < columns) dx[at] += dy[dy_at + r * k + j];
    }
}
#endif

#endif
