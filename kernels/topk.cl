// Selection and sorting along the rows of x [rows, columns], largest first; equal values keep their order (the lower
// index first, -0 equals +0), NaN counts as larger than everything, as in PyTorch.
//
//   topk             values, indices [rows, k], 1 <= k <= columns; for small k: O(columns + k · entries that move in)
//   sort_descending  values, indices [rows, columns]: a radix sort of keys from the lowest digit up, each pass of which
//                    keeps the order of equal digits. Digits are 8 bits wide for `vector`, 4 for `simt`; a digit that
//                    all keys of a row share costs no pass
//   sort_by_rank     the same for short rows, `simt` alone: O(columns²) and no memory besides
//   topk_backward    dx [rows, columns] = dy [rows, k] at the saved indices, else 0 (the gradient of sort: k = columns)
//
// indices are int32, unique within a row; values and indices are dense, x and dx have a pitch. Sorts look at bits of
// floats alone: what they give does not depend on how a device treats NaN and what lies below its normal numbers.

// Floats as numbers whose ascending order is the order wanted here: NaN, then from +inf down.
INLINE uint sort_key(uint bits) {
    const uint magnitude = bits & 0x7fffffffu;
    const uint key = magnitude == 0 || bits == magnitude ? 0x7fffffffu - magnitude : bits;
    return magnitude > 0x7f800000u ? 0 : key;
}

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

// Digits of 8 bits: as many places are written to in turns as a small first-level cache has lines for.
#define SORT_DIGITS 4
#define SORT_VALUES 256

// Keys and places of a row go back and forth between `values` and `indices` and the work memory of
// SORT_DIGITS · SORT_VALUES + 2 · columns numbers, which all rows of a range use one after the other, arranged so that
// the last pass lands in the results.
INLINE void sort_descending_rows(
    index_t begin, index_t end, GLOBAL const uint *x, index_t x_pitch, GLOBAL uint *values, GLOBAL int *indices,
    GLOBAL uint *work, int columns) {
    GLOBAL uint *work_keys = work + SORT_DIGITS * SORT_VALUES;
    GLOBAL int *work_places = (GLOBAL int *)(work_keys + columns);
    for (index_t r = begin; r < end; r++) {
        GLOBAL const uint *from = x + r * x_pitch;
        GLOBAL uint *to = values + r * columns;
        GLOBAL int *order = indices + r * columns;
        // How often each value of each digit occurs, of all digits in one pass.
        for (int i = 0; i < SORT_DIGITS * SORT_VALUES; i++) work[i] = 0;
        for (int i = 0; i < columns; i++) {
            const uint key = sort_key(from[i]);
            work[key & 0xff]++;
            work[SORT_VALUES + (key >> 8 & 0xff)]++;
            work[2 * SORT_VALUES + (key >> 16 & 0xff)]++;
            work[3 * SORT_VALUES + (key >> 24)]++;
        }
        const uint first = sort_key(from[0]);
        int passes = 0;
        for (int digit = 0; digit < SORT_DIGITS; digit++) {
            passes += work[digit * SORT_VALUES + (first >> 8 * digit & 0xff)] != (uint)columns;
        }
        GLOBAL uint *keys = passes & 1 ? work_keys : to;
        GLOBAL int *places = passes & 1 ? work_places : order;
        GLOBAL uint *next_keys = passes & 1 ? to : work_keys;
        GLOBAL int *next_places = passes & 1 ? order : work_places;
        for (int i = 0; i < columns; i++) {
            keys[i] = sort_key(from[i]);
            places[i] = i;
        }
        for (int digit = 0; digit < SORT_DIGITS; digit++) {
            GLOBAL uint *counts = work + digit * SORT_VALUES;
            const int shift = 8 * digit;
            if (counts[first >> shift & 0xff] != (uint)columns) {
                uint before = 0;
                for (int i = 0; i < SORT_VALUES; i++) {
                    const uint count = counts[i];
                    counts[i] = before;
                    before += count;
                }
                for (int i = 0; i < columns; i++) {
                    const uint key = keys[i];
                    const uint at = counts[key >> shift & 0xff]++;
                    next_keys[at] = key;
                    next_places[at] = places[i];
                }
                GLOBAL uint *swap_keys = keys;
                GLOBAL int *swap_places = places;
                keys = next_keys;
                places = next_places;
                next_keys = swap_keys;
                next_places = swap_places;
            }
        }
        // From x and not from the keys, which know neither -0 nor which NaN it was.
        for (int i = 0; i < columns; i++) to[i] = from[order[i]];
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
    long rows, long rows_per_item, __global const uint *x, long x_at, __global uint *values, long values_at,           \
        __global int *indices, long indices_at, __global uint *work, long work_at, long x_pitch, int columns
#define RANK_ARGUMENTS                                                                                                 \
    long rows, long rows_per_item, __global const uint *x, long x_at, __global uint *values, long values_at,           \
        __global int *indices, long indices_at, long x_pitch, int columns
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
    const long size = SORT_DIGITS * SORT_VALUES + 2 * (long)columns;
    sort_descending_rows(
        begin, end, x + x_at, x_pitch, values + values_at, indices + indices_at,
        work + work_at + get_global_id(0) * size, columns);
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
// Digits of 4 bits: a counter of each value for each work-item is 16 KiB of local memory.
#define SORT_VALUES 16
// The place of counter i, moved so that neither a work-item's counters of one value nor 16 in a row for each work-item
// lie in one bank of local memory.
#define COUNTER(i) ((i) + ((i) >> 5))

// A group for each row. Each work-item has a piece of the row, counts its digits, and then knows from the counts of all
// where its entries of each digit go: behind smaller digits, and behind the same digit of pieces in front of its own.
// Keys and places go back and forth between the results and the row's 2 · columns numbers of work memory.
#if WANTED(sort_descending)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void sort_descending(SORT_ARGUMENTS) {
    __local uint counts[COUNTER(SORT_VALUES * GROUP)];
    __local uint sums[GROUP];
    __local uint bits[GROUP];
    const int l = (int)get_local_id(0);
    const long r = get_group_id(0);
    x += x_at + r * x_pitch;
    values += values_at + r * columns;
    indices += indices_at + r * columns;
    work += work_at + r * 2 * columns;

    // Bits that are not the same in all keys: 1 in one of them and 0 in one of them.
    uint some = 0, all_of_them = 0xffffffffu;
    for (int i = l; i < columns; i += GROUP) {
        const uint key = sort_key(x[i]);
        some |= key;
        all_of_them &= key;
    }
    sums[l] = some;
    bits[l] = all_of_them;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int half_size = GROUP / 2; half_size > 0; half_size >>= 1) {
        if (l < half_size) {
            sums[l] |= sums[l + half_size];
            bits[l] &= bits[l + half_size];
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    const uint differing = sums[0] & ~bits[0];
    int passes = 0;
    for (int shift = 0; shift < 32; shift += 4) passes += (differing >> shift & 0xf) != 0;

    __global uint *keys = passes & 1 ? work : values;
    __global int *places = passes & 1 ? (__global int *)(work + columns) : indices;
    __global uint *next_keys = passes & 1 ? values : work;
    __global int *next_places = passes & 1 ? indices : (__global int *)(work + columns);
    for (int i = l; i < columns; i += GROUP) {
        keys[i] = sort_key(x[i]);
        places[i] = i;
    }
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);

    // Pieces of whole quads: four loads are under way at a time.
    const int piece = ((columns + GROUP - 1) / GROUP + 3) / 4 * 4;
    const int begin = min(l * piece, columns), end = min(begin + piece, columns);
    const int quads_end = begin + (end - begin) / 4 * 4;
    int shift = 0;
    // Every work-item goes through as many passes as the others.
    for (int pass = 0; pass < passes; pass++) {
        while ((differing >> shift & 0xf) == 0) shift += 4;
        for (int v = 0; v < SORT_VALUES; v++) counts[COUNTER(v * GROUP + l)] = 0;
        for (int i = begin; i < quads_end; i += 4) {
            const uint4 digit = vload4(0, keys + i) >> (uint4)shift & (uint4)0xf;
            counts[COUNTER(digit.x * GROUP + l)]++;
            counts[COUNTER(digit.y * GROUP + l)]++;
            counts[COUNTER(digit.z * GROUP + l)]++;
            counts[COUNTER(digit.w * GROUP + l)]++;
        }
        for (int i = quads_end; i < end; i++) counts[COUNTER((keys[i] >> shift & 0xf) * GROUP + l)]++;
        barrier(CLK_LOCAL_MEM_FENCE);

        // The sum of the counters in front of each, by value and then by work-item: of 16 in a row, of their sums, of
        // both.
        uint sum = 0;
        for (int j = 0; j < SORT_VALUES; j++) sum += counts[COUNTER(l * SORT_VALUES + j)];
        sums[l] = sum;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int step = 1; step < GROUP; step <<= 1) {
            const uint more = l >= step ? sums[l - step] : 0;
            barrier(CLK_LOCAL_MEM_FENCE);
            sums[l] += more;
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        uint before = sums[l] - sum;
        for (int j = 0; j < SORT_VALUES; j++) {
            const int at = COUNTER(l * SORT_VALUES + j);
            const uint count = counts[at];
            counts[at] = before;
            before += count;
        }
        barrier(CLK_LOCAL_MEM_FENCE);

        for (int i = begin; i < quads_end; i += 4) {
            const uint4 key = vload4(0, keys + i), digit = key >> (uint4)shift & (uint4)0xf;
            const int4 place = vload4(0, places + i);
            uint at = counts[COUNTER(digit.x * GROUP + l)]++;
            next_keys[at] = key.x;
            next_places[at] = place.x;
            at = counts[COUNTER(digit.y * GROUP + l)]++;
            next_keys[at] = key.y;
            next_places[at] = place.y;
            at = counts[COUNTER(digit.z * GROUP + l)]++;
            next_keys[at] = key.z;
            next_places[at] = place.z;
            at = counts[COUNTER(digit.w * GROUP + l)]++;
            next_keys[at] = key.w;
            next_places[at] = place.w;
        }
        for (int i = quads_end; i < end; i++) {
            const uint at = counts[COUNTER((keys[i] >> shift & 0xf) * GROUP + l)]++;
            next_keys[at] = keys[i];
            next_places[at] = places[i];
        }
        __global uint *swap_keys = keys;
        __global int *swap_places = places;
        keys = next_keys;
        places = next_places;
        next_keys = swap_keys;
        next_places = swap_places;
        shift += 4;
        barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
    }
    // From x and not from the keys, which know neither -0 nor which NaN it was.
    for (int i = l; i < columns; i += GROUP) values[i] = x[indices[i]];
}
#endif
// An entry's place is the number of entries before it.
#if WANTED(sort_by_rank)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void sort_by_rank(RANK_ARGUMENTS) {
    __local uint tile[GROUP];
    const int l = (int)get_local_id(0);
    const long r = get_group_id(0);
    x += x_at + r * x_pitch;
    for (int first = 0; first < columns; first += GROUP) {
        const int i = first + l;
        const uint bits = i < columns ? x[i] : 0;
        const uint key = sort_key(bits);
        int rank = 0;
        for (int start = 0; start < columns; start += GROUP) {
            tile[l] = start + l < columns ? sort_key(x[start + l]) : 0;
            barrier(CLK_LOCAL_MEM_FENCE);
            const int count = min(GROUP, columns - start);
            for (int j = 0; j < count; j++) rank += tile[j] < key || (tile[j] == key && start + j < i);
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        if (i < columns) {
            values[values_at + r * columns + rank] = bits;
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
