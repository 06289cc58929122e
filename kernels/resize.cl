// Resizing planes: x [planes, height, width] to y [planes, out_height, out_width], and the gradients of that.
//
//   bilinear  output o lies at s = (o + 1/2) length / outputs - 1/2, at least 0 (centres of pixels; align_corners = false),
//             between positions floor(s) and the next, if there is one; rows and columns independently
//   nearest   output o is position floor(o · (length / outputs)), in fp32 as PyTorch computes it
//
// The gradient of an element is a sum over the outputs that used it. Sizes are such that 4 · length · outputs fits 32
// bits.

#if defined(VECTOR) || defined(SIMT)

// Where output o lies: a position and how far it is to the next, exact but for the last division.
INLINE int resize_position(int o, int length, int outputs, float *part) {
    const int twice = (2 * o + 1) * length - outputs, unit = 2 * outputs, at = twice <= 0 ? 0 : twice / unit;
    *part = twice <= 0 || at >= length - 1 ? 0.0f : (float)(twice - at * unit) / (float)unit;
    return at < length ? at : length - 1;
}
INLINE int nearest_position(int o, int length, float scale) {
    const int at = (int)((float)o * scale);
    return at < length ? at : length - 1;
}
// The first output whose position is i or more; outputs if there is none. `scale` is rounded: a guess, then steps.
INLINE int nearest_first(int i, int length, int outputs, float scale) {
    int o = (int)((float)i / scale);
    o = o < outputs ? o : outputs;
    while (o > 0 && nearest_position(o - 1, length, scale) >= i) o--;
    while (o < outputs && nearest_position(o, length, scale) < i) o++;
    return o;
}

#endif

#ifdef VECTOR

INLINE void bilinear_planes(
    index_t begin, index_t end, GLOBAL const float *x, GLOBAL float *y, int height, int width, int out_height,
    int out_width) {
    for (index_t p = begin; p < end; p++) {
        GLOBAL const float *from = x + p * height * width;
        GLOBAL float *to = y + p * out_height * out_width;
        // Strips of columns, so that the places of 16 columns are computed once for all rows.
        for (int c0 = 0; c0 < out_width; c0 += LANES) {
            const int n = out_width - c0 < LANES ? out_width - c0 : LANES;
            int left[16], right[16];
            float parts[16];
            for (int k = 0; k < LANES; k++) {
                left[k] = resize_position(k < n ? c0 + k : c0, width, out_width, &parts[k]);
                right[k] = left[k] + 1 < width ? left[k] + 1 : left[k];
            }
            const real part = LOAD(parts);
            for (int o = 0; o < out_height; o++) {
                float below, a[16], b[16], c[16], d[16];
                const int r = resize_position(o, height, out_height, &below);
                GLOBAL const float *upper = from + r * width;
                GLOBAL const float *lower = r + 1 < height ? upper + width : upper;
                for (int k = 0; k < LANES; k++) {
                    a[k] = upper[left[k]];
                    b[k] = upper[right[k]];
                    c[k] = lower[left[k]];
                    d[k] = lower[right[k]];
                }
                const real other = SPLAT(1.0f) - part;
                const real v = (LOAD(a) * other + LOAD(b) * part) * SPLAT(1.0f - below)
                               + (LOAD(c) * other + LOAD(d) * part) * SPLAT(below);
                if (n == LANES) {
                    STORE(to + o * out_width + c0, v);
                } else {
                    store_part(to + o * out_width + c0, v, n);
                }
            }
        }
    }
}

// A work-item owns the plane and hands every output's gradient to the four positions it was made of.
INLINE void bilinear_backward_planes(
    index_t begin, index_t end, GLOBAL const float *dy, GLOBAL float *dx, int height, int width, int out_height,
    int out_width, int accumulate) {
    for (index_t p = begin; p < end; p++) {
        GLOBAL const float *from = dy + p * out_height * out_width;
        GLOBAL float *to = dx + p * height * width;
        if (!accumulate) fill_range(0, height * width, to, 0.0f);
        for (int c0 = 0; c0 < out_width; c0 += LANES) {
            const int n = out_width - c0 < LANES ? out_width - c0 : LANES;
            int left[16], right[16];
            float parts[16];
            for (int k = 0; k < n; k++) {
                left[k] = resize_position(c0 + k, width, out_width, &parts[k]);
                right[k] = left[k] + 1 < width ? left[k] + 1 : left[k];
            }
            for (int o = 0; o < out_height; o++) {
                float below;
                const int r = resize_position(o, height, out_height, &below);
                GLOBAL float *upper = to + r * width;
                GLOBAL float *lower = r + 1 < height ? upper + width : upper;
                for (int k = 0; k < n; k++) {
                    const float g = from[o * out_width + c0 + k], beside = g * parts[k], own = g - beside;
                    upper[left[k]] += own * (1.0f - below);
                    upper[right[k]] += beside * (1.0f - below);
                    lower[left[k]] += own * below;
                    lower[right[k]] += beside * below;
                }
            }
        }
    }
}

INLINE void nearest_planes(
    index_t begin, index_t end, GLOBAL const float *x, GLOBAL float *y, int height, int width, int out_height,
    int out_width, float scale_height, float scale_width) {
    for (index_t p = begin; p < end; p++) {
        for (int o = 0; o < out_height; o++) {
            GLOBAL const float *from = x + (p * height + nearest_position(o, height, scale_height)) * width;
            GLOBAL float *to = y + (p * out_height + o) * out_width;
            for (int c = 0; c < out_width; c++) to[c] = from[nearest_position(c, width, scale_width)];
        }
    }
}

INLINE void nearest_backward_planes(
    index_t begin, index_t end, GLOBAL const float *dy, GLOBAL float *dx, int height, int width, int out_height,
    int out_width, float scale_height, float scale_width, int accumulate) {
    for (index_t p = begin; p < end; p++) {
        GLOBAL const float *from = dy + p * out_height * out_width;
        GLOBAL float *to = dx + p * height * width;
        int r0 = 0;
        for (int i = 0; i < height; i++) {
            const int r1 = nearest_first(i + 1, height, out_height, scale_height);
            int c0 = 0;
            for (int j = 0; j < width; j++) {
                const int c1 = nearest_first(j + 1, width, out_width, scale_width);
                float sum = 0.0f;
                for (int r = r0; r < r1; r++) {
                    for (int c = c0; c < c1; c++) sum += from[r * out_width + c];
                }
                to[i * width + j] = accumulate ? to[i * width + j] + sum : sum;
                c0 = c1;
            }
            r0 = r1;
        }
    }
}

#endif

#ifdef __OPENCL_VERSION__
#define RESIZE_SIZES int height, int width, int out_height, int out_width
#define RESIZE_ARGUMENTS \
    long items, long items_per_item, __global const float *x, long x_at, __global float *y, long y_at, RESIZE_SIZES
#define RESIZE_BACKWARD_ARGUMENTS \
    long items, long items_per_item, __global const float *dy, long dy_at, __global float *dx, long dx_at, RESIZE_SIZES
#endif

// Items are planes.
#if defined(VECTOR) && defined(__OPENCL_VERSION__)
#define RESIZE_RANGE \
    const long begin = get_global_id(0) * items_per_item, end = min(items, begin + items_per_item);
#if WANTED(bilinear)
__kernel void bilinear(RESIZE_ARGUMENTS) {
    RESIZE_RANGE
    bilinear_planes(begin, end, x + x_at, y + y_at, height, width, out_height, out_width);
}
#endif
#if WANTED(bilinear_backward)
__kernel void bilinear_backward(RESIZE_BACKWARD_ARGUMENTS, int accumulate) {
    RESIZE_RANGE
    bilinear_backward_planes(
        begin, end, dy + dy_at, dx + dx_at, height, width, out_height, out_width, accumulate);
}
#endif
#if WANTED(nearest)
__kernel void nearest(RESIZE_ARGUMENTS, float scale_height, float scale_width) {
    RESIZE_RANGE
    nearest_planes(
        begin, end, x + x_at, y + y_at, height, width, out_height, out_width, scale_height, scale_width);
}
#endif
#if WANTED(nearest_backward)
__kernel void nearest_backward(RESIZE_BACKWARD_ARGUMENTS, float scale_height, float scale_width, int accumulate) {
    RESIZE_RANGE
    nearest_backward_planes(
        begin, end, dy + dy_at, dx + dx_at, height, width, out_height, out_width, scale_height, scale_width,
        accumulate);
}
#endif
#endif

#ifdef SIMT
// Weight of position i in output o.
INLINE float resize_weight(int o, int i, int length, int outputs) {
    float part;
    const int at = resize_position(o, length, outputs, &part);
    return at == i ? 1.0f - part : at + 1 == i ? part : 0.0f;
}
// Outputs first ... last hold all that use position i: those between the neighbours of i.
INLINE int resize_first(int i, int length, int outputs) {
    const int twice = (2 * i - 1) * outputs - length;
    return twice <= 0 ? 0 : twice / (2 * length);
}
INLINE int resize_last(int i, int length, int outputs) {
    const int last = ((2 * i + 3) * outputs - length) / (2 * length) + 1;
    return i >= length - 1 || last >= outputs ? outputs - 1 : last;
}

// Items are elements of y; in the gradients elements of dx.
#define RESIZE_GROUP __attribute__((reqd_work_group_size(GROUP, 1, 1)))
#define RESIZE_EACH(h, w)                                                        \
    for (long item = get_global_id(0); item < items; item += get_global_size(0)) { \
        const long p = item / ((h) * (w));                                       \
        const int e = (int)(item - p * (h) * (w)), i = e / (w), j = e % (w);
#if WANTED(bilinear)
__kernel RESIZE_GROUP void bilinear(RESIZE_ARGUMENTS) {
    RESIZE_EACH(out_height, out_width)
        float below, beside;
        const int r = resize_position(i, height, out_height, &below), c = resize_position(j, width, out_width, &beside);
        const int next = c + 1 < width ? 1 : 0;
        __global const float *upper = x + x_at + (p * height + r) * width + c;
        __global const float *lower = r + 1 < height ? upper + width : upper;
        y[y_at + item] = (upper[0] * (1.0f - beside) + upper[next] * beside) * (1.0f - below)
                         + (lower[0] * (1.0f - beside) + lower[next] * beside) * below;
    }
}
#endif
#if WANTED(bilinear_backward)
__kernel RESIZE_GROUP void bilinear_backward(RESIZE_BACKWARD_ARGUMENTS, int accumulate) {
    RESIZE_EACH(height, width)
        const int r1 = resize_last(i, height, out_height), c1 = resize_last(j, width, out_width);
        __global const float *from = dy + dy_at + p * out_height * out_width;
        float sum = 0.0f;
        for (int r = resize_first(i, height, out_height); r <= r1; r++) {
            float line = 0.0f;
            for (int c = resize_first(j, width, out_width); c <= c1; c++) {
                line += from[r * out_width + c] * resize_weight(c, j, width, out_width);
            }
            sum += line * resize_weight(r, i, height, out_height);
        }
        dx[dx_at + item] = accumulate ? dx[dx_at + item] + sum : sum;
    }
}
#endif
#if WANTED(nearest)
__kernel RESIZE_GROUP void nearest(RESIZE_ARGUMENTS, float scale_height, float scale_width) {
    RESIZE_EACH(out_height, out_width)
        const int r = nearest_position(i, height, scale_height), c = nearest_position(j, width, scale_width);
        y[y_at + item] = x[x_at + (p * height + r) * width + c];
    }
}
#endif
#if WANTED(nearest_backward)
__kernel RESIZE_GROUP void nearest_backward(
    RESIZE_BACKWARD_ARGUMENTS, float scale_height, float scale_width, int accumulate) {
    RESIZE_EACH(height, width)
        const int r1 = nearest_first(i + 1, height, out_height, scale_height);
        const int c1 = nearest_first(j + 1, width, out_width, scale_width);
        __global const float *from = dy + dy_at + p * out_height * out_width;
        float sum = 0.0f;
        for (int r = nearest_first(i, height, out_height, scale_height); r < r1; r++) {
            for (int c = nearest_first(j, width, out_width, scale_width); c < c1; c++) sum += from[r * out_width + c];
        }
        dx[dx_at + item] = accumulate ? dx[dx_at + item] + sum : sum;
    }
}
#endif
#endif
