// Pooling of planes: x [planes, height, width] to y [planes, out_height, out_width], and its gradients.
//
// An axis is five numbers: its length, the number of windows, and kernel, stride, padding. Window o holds positions
// o · stride - padding ..< o · stride - padding + kernel as far as they exist. kernel = 0 is the adaptive rule
// floor(o · length / windows) ..< ceil((o + 1) · length / windows).
//
//   max      the largest element and its index in the plane, row · width + column. Of equal ones the first in row-major
//            order; NaN wins; padding never does
//   average  sum / divisor; divisor 0 stands for the number of elements that exist
//
// Gradients are sums over the windows that hold an element, in row-major order of the windows. One work-item of a CPU
// owns a whole plane and adds window after window; on GPUs every work-item collects the sum of one element.

#define POOL_LENGTH 0
#define POOL_WINDOWS 1
#define POOL_KERNEL 2
#define POOL_STRIDE 3
#define POOL_PADDING 4

#if defined(VECTOR) || defined(SIMT)

// The positions of window o: begin ..< end.
INLINE int pool_begin(const int *axis, int o) {
    if (axis[POOL_KERNEL] == 0) return o * axis[POOL_LENGTH] / axis[POOL_WINDOWS];
    const int at = o * axis[POOL_STRIDE] - axis[POOL_PADDING];
    return at < 0 ? 0 : at;
}
INLINE int pool_end(const int *axis, int o) {
    const int length = axis[POOL_LENGTH], windows = axis[POOL_WINDOWS];
    if (axis[POOL_KERNEL] == 0) return ((o + 1) * length + windows - 1) / windows;
    const int at = o * axis[POOL_STRIDE] - axis[POOL_PADDING] + axis[POOL_KERNEL];
    return at < length ? at : length;
}

#endif

#ifdef VECTOR

// 2 x 2 windows side by side: what most networks pool by.
INLINE int pool_halves(const int *axis) {
    return axis[POOL_KERNEL] == 2 && axis[POOL_STRIDE] == 2 && axis[POOL_PADDING] == 0;
}

// The even and the odd of the first 2n elements at p, n <= 16.
INLINE void pool_split(GLOBAL const float *p, int n, real *even, real *odd) {
    real a = SPLAT(0.0f), b = a;
    if (2 * n >= LANES) {
        a = LOAD(p);
    } else {
        a = load_part(p, 2 * n, 0.0f);
    }
    if (n == LANES) {
        b = LOAD(p + LANES);
    } else if (2 * n > LANES) {
        b = load_part(p + LANES, 2 * n - LANES, 0.0f);
    }
    real e, o;
    e.lo = a.even;
    e.hi = b.even;
    o.lo = a.odd;
    o.hi = b.odd;
    *even = e;
    *odd = o;
}

// The opposite: 2n elements at p, written or added to.
INLINE void pool_join(GLOBAL float *p, int n, real even, real odd, int accumulate) {
    real a, b;
    a.even = even.lo;
    a.odd = odd.lo;
    b.even = even.hi;
    b.odd = odd.hi;
    const int first = 2 * n < LANES ? 2 * n : LANES, second = 2 * n - first;
    if (first == LANES) {
        STORE(p, accumulate ? LOAD(p) + a : a);
    } else {
        store_part(p, accumulate ? load_part(p, first, 0.0f) + a : a, first);
    }
    if (second == LANES) {
        STORE(p + LANES, accumulate ? LOAD(p + LANES) + b : b);
    } else if (second > 0) {
        store_part(p + LANES, accumulate ? load_part(p + LANES, second, 0.0f) + b : b, second);
    }
}

// p[0], p[stride], …, n of them; stride 1 or 2.
INLINE real pool_lanes(GLOBAL const float *p, int n, int stride) {
    if (stride == 1) return n == LANES ? LOAD(p) : load_part(p, n, 0.0f);
    const int last = 2 * n - 1;  // the element after it may lie beyond the row
    real a = SPLAT(0.0f), b = a;
    if (last >= LANES) {
        a = LOAD(p);
        b = load_part(p + LANES, last - LANES, 0.0f);
    } else {
        a = load_part(p, last, 0.0f);
    }
    real v;
    v.lo = a.even;
    v.hi = b.even;
    return v;
}

INLINE void pool_store(GLOBAL float *p, real v, int n) {
    if (n == LANES) {
        STORE(p, v);
    } else {
        store_part(p, v, n);
    }
}
// As floats: only bits are moved.
INLINE mask_t pool_load_int(GLOBAL const int *p, int n) {
    return n == LANES ? LOAD_INT(p) : AS_INT(load_part((GLOBAL const float *)p, n, 0.0f));
}
INLINE void pool_store_int(GLOBAL int *p, mask_t v, int n) {
    if (n == LANES) {
        STORE_INT(p, v);
    } else {
        store_part((GLOBAL float *)p, AS_REAL(v), n);
    }
}

// Windows first ..< last lie inside the row and can be computed side by side.
INLINE void pool_inside(const int *axis, int *first, int *last) {
    const int stride = axis[POOL_STRIDE], padding = axis[POOL_PADDING], windows = axis[POOL_WINDOWS];
    const int room = axis[POOL_LENGTH] + padding - axis[POOL_KERNEL];
    const int begin = (padding + stride - 1) / stride, end = room < 0 ? 0 : room / stride + 1;
    const int possible = axis[POOL_KERNEL] > 0 && stride <= 2 && begin < end && begin < windows;
    *first = possible ? begin : windows;
    *last = possible && end < windows ? end : windows;
}

INLINE void average_pool_at(
    GLOBAL const float *x, GLOBAL float *y, const int *columns, int o, int r0, int r1, int divisor) {
    const int width = columns[POOL_LENGTH], c0 = pool_begin(columns, o), c1 = pool_end(columns, o);
    float sum = 0.0f;
    for (int r = r0; r < r1; r++) {
        for (int c = c0; c < c1; c++) sum += x[r * width + c];
    }
    y[o] = sum / (float)(divisor ? divisor : (r1 - r0) * (c1 - c0));
}

// The sums of n windows that begin at x; `side` and `stride` are constants where this is called with common ones.
INLINE real average_pool_strip(GLOBAL const float *x, int lines, int width, int n, const int side, const int stride) {
    real sum = SPLAT(0.0f);
    for (int r = 0; r < lines; r++, x += width) {
        int k = 0;
        for (; stride == 2 && k + 1 < side; k += 2) {
            real even, odd;
            pool_split(x + k, n, &even, &odd);
            sum += even + odd;
        }
        for (; k < side; k++) sum += pool_lanes(x + k, n, stride);
    }
    return sum;
}

INLINE void average_pool_planes(
    index_t begin, index_t end, GLOBAL const float *x, GLOBAL float *y, const int *rows, const int *columns,
    int divisor) {
    const int width = columns[POOL_LENGTH], windows = columns[POOL_WINDOWS], stride = columns[POOL_STRIDE];
    const int side = columns[POOL_KERNEL];
    int inside, outside;
    pool_inside(columns, &inside, &outside);
    for (index_t p = begin; p < end; p++) {
        GLOBAL const float *plane = x + p * rows[POOL_LENGTH] * width;
        for (int row = 0; row < rows[POOL_WINDOWS]; row++) {
            const int r0 = pool_begin(rows, row), r1 = pool_end(rows, row);
            GLOBAL float *to = y + (p * rows[POOL_WINDOWS] + row) * windows;
            const real share = SPLAT(1.0f / (float)(divisor ? divisor : (r1 - r0) * side));
            for (int o = 0; o < inside; o++) average_pool_at(plane, to, columns, o, r0, r1, divisor);
            for (int o = inside; o < outside; o += LANES) {
                const int n = outside - o < LANES ? outside - o : LANES;
                GLOBAL const float *from = plane + r0 * width + o * stride - columns[POOL_PADDING];
                real sum;
                if (stride == 2 && side == 2) {
                    sum = average_pool_strip(from, r1 - r0, width, n, 2, 2);
                } else if (stride == 2 && side == 3) {
                    sum = average_pool_strip(from, r1 - r0, width, n, 3, 2);
                } else {
                    sum = average_pool_strip(from, r1 - r0, width, n, side, stride);
                }
                pool_store(to + o, sum * share, n);
            }
            for (int o = outside; o < windows; o++) average_pool_at(plane, to, columns, o, r0, r1, divisor);
        }
    }
}

INLINE void average_pool_backward_planes(
    index_t begin, index_t end, GLOBAL const float *dy, GLOBAL float *dx, const int *rows, const int *columns,
    int divisor, int accumulate) {
    const int height = rows[POOL_LENGTH], width = columns[POOL_LENGTH], windows = columns[POOL_WINDOWS];
    const int halves = pool_halves(rows) && pool_halves(columns);
    for (index_t p = begin; p < end; p++) {
        GLOBAL const float *from = dy + p * rows[POOL_WINDOWS] * windows;
        GLOBAL float *plane = dx + p * height * width;
        // Halves cover everything but an odd last row and column.
        if (!accumulate && !(halves && height % 2 == 0 && width % 2 == 0)) fill_range(0, height * width, plane, 0.0f);
        for (int row = 0; row < rows[POOL_WINDOWS]; row++, from += windows) {
            if (halves) {
                GLOBAL float *to = plane + 2 * row * width;
                for (int o = 0; o < windows; o += LANES) {
                    const int n = windows - o < LANES ? windows - o : LANES;
                    const real v = (n == LANES ? LOAD(from + o) : load_part(from + o, n, 0.0f)) * SPLAT(0.25f);
                    pool_join(to + 2 * o, n, v, v, accumulate);
                    pool_join(to + width + 2 * o, n, v, v, accumulate);
                }
                continue;
            }
            const int r0 = pool_begin(rows, row), r1 = pool_end(rows, row);
            for (int o = 0; o < windows; o++) {
                const int c0 = pool_begin(columns, o), c1 = pool_end(columns, o);
                const float v = from[o] / (float)(divisor ? divisor : (r1 - r0) * (c1 - c0));
                for (int r = r0; r < r1; r++) {
                    for (int c = c0; c < c1; c++) plane[r * width + c] += v;
                }
            }
        }
    }
}

INLINE void max_pool_at(
    GLOBAL const float *x, GLOBAL float *y, GLOBAL int *indices, const int *columns, int o, int r0, int r1) {
    const int width = columns[POOL_LENGTH], c0 = pool_begin(columns, o), c1 = pool_end(columns, o);
    int where = r0 * width + c0;
    float best = x[where];
    for (int r = r0; r < r1; r++) {
        for (int c = c0; c < c1; c++) {
            const float v = x[r * width + c];
            if (v > best || v != v) {
                best = v;
                where = r * width + c;
            }
        }
    }
    y[o] = best;
    indices[o] = where;
}

INLINE void pool_better(real *best, mask_t *where, real v, mask_t at) {
    const mask_t better = (v > *best) | (v != v);
    *best = SELECT(*best, v, better);
    *where = SELECT_INT(*where, at, better);
}

// The n windows that begin at x, which is element `at` of its plane. As above.
INLINE void max_pool_strip(
    GLOBAL const float *x, GLOBAL float *y, GLOBAL int *indices, int at, int lines, int width, int n, const int side,
    const int stride) {
    mask_t ids = LANE_IDS * (mask_t)(stride) + (mask_t)(at), where = ids;
    real best = SPLAT(-INFINITY);  // where nothing is larger, the first element wins
    for (int r = 0; r < lines; r++, x += width, ids += (mask_t)(width)) {
        int k = 0;
        for (; stride == 2 && k + 1 < side; k += 2) {
            real even, odd;
            pool_split(x + k, n, &even, &odd);
            pool_better(&best, &where, even, ids + (mask_t)(k));
            pool_better(&best, &where, odd, ids + (mask_t)(k + 1));
        }
        for (; k < side; k++) pool_better(&best, &where, pool_lanes(x + k, n, stride), ids + (mask_t)(k));
    }
    pool_store(y, best, n);
    pool_store_int(indices, where, n);
}

INLINE void max_pool_planes(
    index_t begin, index_t end, GLOBAL const float *x, GLOBAL float *y, GLOBAL int *indices, const int *rows,
    const int *columns) {
    const int width = columns[POOL_LENGTH], windows = columns[POOL_WINDOWS], stride = columns[POOL_STRIDE];
    const int side = columns[POOL_KERNEL];
    int inside, outside;
    pool_inside(columns, &inside, &outside);
    for (index_t p = begin; p < end; p++) {
        GLOBAL const float *plane = x + p * rows[POOL_LENGTH] * width;
        for (int row = 0; row < rows[POOL_WINDOWS]; row++) {
            const int r0 = pool_begin(rows, row), r1 = pool_end(rows, row);
            const index_t at = (p * rows[POOL_WINDOWS] + row) * windows;
            for (int o = 0; o < inside; o++) max_pool_at(plane, y + at, indices + at, columns, o, r0, r1);
            for (int o = inside; o < outside; o += LANES) {
                const int n = outside - o < LANES ? outside - o : LANES;
                const int first = r0 * width + o * stride - columns[POOL_PADDING];
                GLOBAL const float *from = plane + first;
                GLOBAL float *to = y + at + o;
                GLOBAL int *winners = indices + at + o;
                if (stride == 2 && side == 2) {
                    max_pool_strip(from, to, winners, first, r1 - r0, width, n, 2, 2);
                } else if (stride == 2 && side == 3) {
                    max_pool_strip(from, to, winners, first, r1 - r0, width, n, 3, 2);
                } else {
                    max_pool_strip(from, to, winners, first, r1 - r0, width, n, side, stride);
                }
            }
            for (int o = outside; o < windows; o++) max_pool_at(plane, y + at, indices + at, columns, o, r0, r1);
        }
    }
}

INLINE void max_pool_backward_planes(
    index_t begin, index_t end, GLOBAL const float *dy, GLOBAL const int *indices, GLOBAL float *dx, const int *rows,
    const int *columns, int accumulate) {
    const int height = rows[POOL_LENGTH], width = columns[POOL_LENGTH], windows = columns[POOL_WINDOWS];
    const int halves = pool_halves(rows) && pool_halves(columns), elements = height * width;
    const int outputs = rows[POOL_WINDOWS] * windows;
    for (index_t p = begin; p < end; p++) {
        GLOBAL const float *from = dy + p * outputs;
        GLOBAL const int *winners = indices + p * outputs;
        GLOBAL float *plane = dx + p * elements;
        if (!accumulate && !(halves && height % 2 == 0 && width % 2 == 0)) fill_range(0, elements, plane, 0.0f);
        if (halves) {
            for (int row = 0; row < rows[POOL_WINDOWS]; row++) {
                for (int o = 0; o < windows; o += LANES) {
                    const int n = windows - o < LANES ? windows - o : LANES, at = row * windows + o;
                    const int corner = 2 * (row * width + o);
                    const real v = n == LANES ? LOAD(from + at) : load_part(from + at, n, 0.0f), zero = SPLAT(0.0f);
                    const mask_t winner = pool_load_int(winners + at, n) - LANE_IDS * (mask_t)(2) - (mask_t)(corner);
                    pool_join(
                        plane + corner, n, SELECT(zero, v, winner == (mask_t)(0)),
                        SELECT(zero, v, winner == (mask_t)(1)), accumulate);
                    pool_join(
                        plane + corner + width, n, SELECT(zero, v, winner == (mask_t)(width)),
                        SELECT(zero, v, winner == (mask_t)(width + 1)), accumulate);
                }
            }
        } else {
            for (int o = 0; o < outputs; o++) {
                if (winners[o] >= 0 && winners[o] < elements) plane[winners[o]] += from[o];
            }
        }
    }
}

#endif

#ifdef __OPENCL_VERSION__
#define POOL_AXES                                                                                                      \
    int height, int out_height, int kernel_height, int stride_height, int padding_height, int width, int out_width,    \
        int kernel_width, int stride_width, int padding_width
#define POOL_AXIS_ARRAYS                                                                                               \
    const int rows[5] = {height, out_height, kernel_height, stride_height, padding_height};                            \
    const int columns[5] = {width, out_width, kernel_width, stride_width, padding_width};
#define AVERAGE_POOL_ARGUMENTS                                                                                         \
    long items, long items_per_item, __global const float *x, long x_at, __global float *y, long y_at, POOL_AXES,      \
        int divisor
#define AVERAGE_POOL_BACKWARD_ARGUMENTS                                                                                \
    long items, long items_per_item, __global const float *dy, long dy_at, __global float *dx, long dx_at, POOL_AXES,  \
        int divisor, int accumulate
#define MAX_POOL_ARGUMENTS                                                                                             \
    long items, long items_per_item, __global const float *x, long x_at, __global float *y, long y_at,                 \
        __global int *indices, long indices_at, POOL_AXES
#define MAX_POOL_BACKWARD_ARGUMENTS                                                                                    \
    long items, long items_per_item, __global const float *dy, long dy_at, __global const int *indices,                \
        long indices_at, __global float *dx, long dx_at, POOL_AXES, int accumulate
#endif

// Items are planes.
#if defined(VECTOR) && defined(__OPENCL_VERSION__)
#define POOL_RANGE \
    const long begin = get_global_id(0) * items_per_item, end = min(items, begin + items_per_item);
#if WANTED(average_pool)
__kernel void average_pool(AVERAGE_POOL_ARGUMENTS) {
    POOL_RANGE
    POOL_AXIS_ARRAYS
    average_pool_planes(begin, end, x + x_at, y + y_at, rows, columns, divisor);
}
#endif
#if WANTED(average_pool_backward)
__kernel void average_pool_backward(AVERAGE_POOL_BACKWARD_ARGUMENTS) {
    POOL_RANGE
    POOL_AXIS_ARRAYS
    average_pool_backward_planes(begin, end, dy + dy_at, dx + dx_at, rows, columns, divisor, accumulate);
}
#endif
#if WANTED(max_pool)
__kernel void max_pool(MAX_POOL_ARGUMENTS) {
    POOL_RANGE
    POOL_AXIS_ARRAYS
    max_pool_planes(begin, end, x + x_at, y + y_at, indices + indices_at, rows, columns);
}
#endif
#if WANTED(max_pool_backward)
__kernel void max_pool_backward(MAX_POOL_BACKWARD_ARGUMENTS) {
    POOL_RANGE
    POOL_AXIS_ARRAYS
    max_pool_backward_planes(begin, end, dy + dy_at, indices + indices_at, dx + dx_at, rows, columns, accumulate);
}
#endif
#endif

#ifdef SIMT
// Items are elements of y; in the gradients elements of dx.
#define POOL_EACH for (long i = get_global_id(0); i < items; i += get_global_size(0))
// The windows that hold position i: first ... last.
INLINE int pool_first(const int *axis, int i) {
    const int adaptive = i * axis[POOL_WINDOWS] / axis[POOL_LENGTH];
    const int after = i + axis[POOL_PADDING] - axis[POOL_KERNEL] + 1;
    return axis[POOL_KERNEL] == 0 ? adaptive
           : after <= 0           ? 0
                                  : (after + axis[POOL_STRIDE] - 1) / axis[POOL_STRIDE];
}
INLINE int pool_last(const int *axis, int i) {
    if (axis[POOL_KERNEL] == 0) {
        return ((i + 1) * axis[POOL_WINDOWS] + axis[POOL_LENGTH] - 1) / axis[POOL_LENGTH] - 1;
    }
    return min((i + axis[POOL_PADDING]) / axis[POOL_STRIDE], axis[POOL_WINDOWS] - 1);
}

// Output i: its plane and the positions of its window, rows r0 ..< r1 and columns c0 ..< c1.
#define POOL_WINDOW                                                                                                    \
    const long p = i / (out_height * out_width);                                                                       \
    const int o = (int)(i - p * out_height * out_width);                                                               \
    const int r0 = pool_begin(rows, o / out_width), r1 = pool_end(rows, o / out_width);                                \
    const int c0 = pool_begin(columns, o % out_width), c1 = pool_end(columns, o % out_width);                          \
    __global const float *plane = x + x_at + p * height * width;
// Position i: its plane p, its place e there, and the last row and column of windows that hold it.
#define POOL_ELEMENT                                                                                                   \
    const long p = i / (height * width);                                                                               \
    const int e = (int)(i - p * height * width);                                                                       \
    const int last_row = pool_last(rows, e / width), last_column = pool_last(columns, e % width);

#if WANTED(average_pool)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void average_pool(AVERAGE_POOL_ARGUMENTS) {
    POOL_AXIS_ARRAYS
    POOL_EACH {
        POOL_WINDOW
        float sum = 0.0f;
        for (int r = r0; r < r1; r++) {
            for (int c = c0; c < c1; c++) sum += plane[r * width + c];
        }
        y[y_at + i] = sum / (float)(divisor ? divisor : (r1 - r0) * (c1 - c0));
    }
}
#endif
#if WANTED(average_pool_backward)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void average_pool_backward(
    AVERAGE_POOL_BACKWARD_ARGUMENTS) {
    POOL_AXIS_ARRAYS
    POOL_EACH {
        POOL_ELEMENT
        __global const float *from = dy + dy_at + p * out_height * out_width;
        float sum = 0.0f;
        for (int row = pool_first(rows, e / width); row <= last_row; row++) {
            const int reach = pool_end(rows, row) - pool_begin(rows, row);
            for (int o = pool_first(columns, e % width); o <= last_column; o++) {
                const int area = reach * (pool_end(columns, o) - pool_begin(columns, o));
                sum += from[row * out_width + o] / (float)(divisor ? divisor : area);
            }
        }
        dx[dx_at + i] = accumulate ? dx[dx_at + i] + sum : sum;
    }
}
#endif
#if WANTED(max_pool)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void max_pool(MAX_POOL_ARGUMENTS) {
    POOL_AXIS_ARRAYS
    POOL_EACH {
        POOL_WINDOW
        int where = r0 * width + c0;
        float best = plane[where];
        for (int r = r0; r < r1; r++) {
            for (int c = c0; c < c1; c++) {
                const float v = plane[r * width + c];
                if (v > best || v != v) {
                    best = v;
                    where = r * width + c;
                }
            }
        }
        y[y_at + i] = best;
        indices[indices_at + i] = where;
    }
}
#endif
#if WANTED(max_pool_backward)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void max_pool_backward(MAX_POOL_BACKWARD_ARGUMENTS) {
    POOL_AXIS_ARRAYS
    POOL_EACH {
        POOL_ELEMENT
        const long first = p * out_height * out_width;
        float sum = 0.0f;
        for (int row = pool_first(rows, e / width); row <= last_row; row++) {
            for (int o = pool_first(columns, e % width); o <= last_column; o++) {
                const long at = first + row * out_width + o;
                if (indices[indices_at + at] == e) sum += dy[dy_at + at];
            }
        }
        dx[dx_at + i] = accumulate ? dx[dx_at + i] + sum : sum;
    }
}
#endif
#endif
