// Moving and converting elements: fill, strided copy, transposition, number formats.

// ---- number formats: bits to bits, with integer arithmetic only, so that no device's subnormal mode matters. bfloat16's: prelude.clh
#if defined(VECTOR) || defined(SIMT)

// IEEE half (1-5-10) to float, exact.
INLINE mask_t float_bits_from_f16(mask_t h) {
    mask_t magnitude = h & 0x7fff, sign = (h & 0x8000) << 16;
    mask_t normal = (magnitude << 13) + (112 << 23);  // exponent bias 15 -> 127
    mask_t special = (magnitude << 13) + (224 << 23);  // exponent 31 -> 255
    mask_t subnormal = AS_INT(TO_REAL(magnitude) * SPLAT(5.9604644775390625e-8f));  // · 2^-24: a normal float, or 0
    mask_t y = SELECT_INT(normal, special, magnitude >= (mask_t)0x7c00);
    return sign | SELECT_INT(y, subnormal, magnitude < (mask_t)0x0400);
}

// 8-bit 1-4-3, bias 7, no infinities, NaN = 0x7f (the "fn" variant) to float, exact.
INLINE mask_t float_bits_from_f8_e4m3(mask_t b) {
    mask_t magnitude = b & 0x7f, sign = (b & 0x80) << 24;
    mask_t normal = (magnitude << 20) + (120 << 23);
    mask_t subnormal = AS_INT(TO_REAL(magnitude) * SPLAT(0.001953125f));  // · 2^-9
    mask_t y = SELECT_INT(normal, (mask_t)0x7fc00000, magnitude == (mask_t)0x7f);
    return sign | SELECT_INT(y, subnormal, magnitude < (mask_t)0x08);
}

// 8-bit 1-5-2 to float, exact: the upper byte of a half.
INLINE mask_t float_bits_from_f8_e5m2(mask_t b) { return float_bits_from_f16(b << 8); }

// float to IEEE half, round to nearest even; overflow gives infinity, NaN a quiet NaN.
INLINE mask_t f16_from_float_bits(mask_t f) {
    mask_t magnitude = f & 0x7fffffff, sign = (f >> 16) & 0x8000;
    mask_t y = (magnitude - (112 << 23) + 0xfff + ((magnitude >> 13) & 1)) >> 13;
    // Below 2^-14 adding 0.5 moves the bits of weight 2^-24 and more to the end of the mantissa, rounded to nearest
    // even.
    mask_t subnormal = AS_INT(AS_REAL(magnitude) + SPLAT(0.5f)) - 0x3f000000;
    y = SELECT_INT(y, subnormal, magnitude < (mask_t)0x38800000);
    y = SELECT_INT(y, (mask_t)0x7c00, magnitude >= (mask_t)0x477ff000);  // 65520 and more round to infinity
    return sign | SELECT_INT(y, (mask_t)0x7e00, magnitude > (mask_t)0x7f800000);
}

// name, stored type, load, bits to bits
#define FOR_EACH_WIDENING(DO)                               \
    DO(f16, ushort, LOAD_USHORT, float_bits_from_f16)       \
    DO(bf16, ushort, LOAD_USHORT, float_bits_from_bf16)     \
    DO(f8_e4m3, uchar, LOAD_UCHAR, float_bits_from_f8_e4m3) \
    DO(f8_e5m2, uchar, LOAD_UCHAR, float_bits_from_f8_e5m2)
#define FOR_EACH_NARROWING(DO) \
    DO(f16, f16_from_float_bits) \
    DO(bf16, bf16_from_float_bits)

#endif

// ---- row bodies -----------------------------------------------------------------------------------------------------
#ifdef VECTOR

// y[k · y_stride] = (accumulate ? … : 0) + x[k · x_stride], k < n: the innermost dimension of a strided copy
INLINE void copy_line(GLOBAL const float *x, index_t x_stride, GLOBAL float *y, index_t y_stride, index_t n,
                      int accumulate) {
    index_t k = 0;
    if (y_stride == 1 && (x_stride == 1 || x_stride == 0)) {
        real first = SPLAT(x[0]);
        for (; k + LANES <= n; k += LANES) {
            real v = first;
            if (x_stride == 1) v = LOAD(x + k);
            if (accumulate) v += LOAD(y + k);
            STORE(y + k, v);
        }
        int rest = (int)(n - k);
        if (rest > 0) {
            real v = first;
            if (x_stride == 1) v = load_part(x + k, rest, 0.0f);
            if (accumulate) v += load_part(y + k, rest, 0.0f);
            store_part(y + k, v, rest);
        }
    } else if (accumulate) {
        for (; k < n; k++) y[k * y_stride] += x[k * x_stride];
    } else {
        for (; k < n; k++) y[k * y_stride] = x[k * x_stride];
    }
}

// The same of numbers of 16 bits, whatever they mean.
INLINE void copy_line_16(GLOBAL const ushort *x, index_t x_stride, GLOBAL ushort *y, index_t y_stride, index_t n) {
    if (x_stride == 1 && y_stride == 1) {
        for (index_t k = 0; k < n; k++) y[k] = x[k];
    } else {
        for (index_t k = 0; k < n; k++) y[k * y_stride] = x[k * x_stride];
    }
}

// Element [i0 … i5] of y = that of x, over the index space sizes[6] (last fastest); the range counts elements of that
// space. LINE copies `line` elements of the innermost dimension.
#define STRIDED_COPY(LINE)                                                                  \
    if (begin < end) {                                                                      \
        index_t at[6], rest = begin;                                                        \
        for (int d = 5; d >= 0; d--) {                                                      \
            at[d] = rest % sizes[d];                                                        \
            rest /= sizes[d];                                                               \
            x += at[d] * x_strides[d];                                                      \
            y += at[d] * y_strides[d];                                                      \
        }                                                                                   \
        for (index_t i = begin; i < end;) {                                                 \
            index_t line = sizes[5] - at[5];                                                \
            if (line > end - i) line = end - i;                                             \
            LINE;                                                                           \
            i += line;                                                                      \
            /* On to the next line: counted, not divided, because lines of images are short. */ \
            x -= at[5] * x_strides[5];                                                      \
            y -= at[5] * y_strides[5];                                                      \
            at[5] = 0;                                                                      \
            for (int d = 4, carry = 1; d >= 0 && carry; d--) {                              \
                at[d]++;                                                                    \
                x += x_strides[d];                                                          \
                y += y_strides[d];                                                          \
                carry = at[d] == sizes[d];                                                  \
                if (carry) {                                                                \
                    x -= sizes[d] * x_strides[d];                                           \
                    y -= sizes[d] * y_strides[d];                                           \
                    at[d] = 0;                                                              \
                }                                                                           \
            }                                                                               \
        }                                                                                   \
    }
INLINE void strided_copy_range(index_t begin, index_t end, GLOBAL const float *x, GLOBAL float *y, const index_t *sizes,
                               const index_t *x_strides, const index_t *y_strides, int accumulate) {
    STRIDED_COPY(copy_line(x, x_strides[5], y, y_strides[5], line, accumulate))
}
INLINE void strided_copy_16_range(index_t begin, index_t end, GLOBAL const ushort *x, GLOBAL ushort *y,
                                  const index_t *sizes, const index_t *x_strides, const index_t *y_strides) {
    STRIDED_COPY(copy_line_16(x, x_strides[5], y, y_strides[5], line))
}

// The 16 x 16 block at x, transposed to y. Interleaving row i with row i + 8 four times is the transposition.
INLINE void transpose_block(GLOBAL const float *x, index_t x_pitch, GLOBAL float *y, index_t y_pitch, int accumulate) {
    real r[16], s[16];
#pragma unroll
    for (int i = 0; i < 16; i++) r[i] = LOAD(x + i * x_pitch);
#define INTERLEAVE(to, from)                    \
    _Pragma("unroll") for (int i = 0; i < 8; i++) { \
        to[2 * i].even = from[i].lo;            \
        to[2 * i].odd = from[i + 8].lo;         \
        to[2 * i + 1].even = from[i].hi;        \
        to[2 * i + 1].odd = from[i + 8].hi;     \
    }
    INTERLEAVE(s, r)
    INTERLEAVE(r, s)
    INTERLEAVE(s, r)
    INTERLEAVE(r, s)
#pragma unroll
    for (int i = 0; i < 16; i++) {
        real v = r[i];
        if (accumulate) v += LOAD(y + i * y_pitch);
        STORE(y + i * y_pitch, v);
    }
}

// y[b][column][row] = (accumulate ? … : 0) + x[b][row][column] for `batches` matrices x [rows, columns]. The range
// counts tiles of 32 x 32 elements: batches · ceil(rows / 32) · ceil(columns / 32).
INLINE void transpose_tiles(index_t begin, index_t end, GLOBAL const float *x, index_t x_pitch, index_t x_batch,
                            GLOBAL float *y, index_t y_pitch, index_t y_batch, index_t rows, index_t columns,
                            int accumulate) {
    index_t across = (columns + 31) / 32, down = (rows + 31) / 32;
    for (index_t tile = begin; tile < end; tile++) {
        index_t r0 = tile % down * 32, c0 = tile / down % across * 32, b = tile / across / down;
        index_t r1 = r0 + 32 < rows ? r0 + 32 : rows, c1 = c0 + 32 < columns ? c0 + 32 : columns;
        GLOBAL const float *in = x + b * x_batch;
        GLOBAL float *out = y + b * y_batch;
        for (index_t r = r0; r < r1; r += 16) {
            for (index_t c = c0; c < c1; c += 16) {
                if (r + 16 <= r1 && c + 16 <= c1) {
                    transpose_block(in + r * x_pitch + c, x_pitch, out + c * y_pitch + r, y_pitch, accumulate);
                    continue;
                }
                for (index_t j = c; j < c + 16 && j < c1; j++) {
                    for (index_t i = r; i < r + 16 && i < r1; i++) {
                        float v = in[i * x_pitch + j];
                        out[j * y_pitch + i] = accumulate ? out[j * y_pitch + i] + v : v;
                    }
                }
            }
        }
    }
}

#define WIDENING_ROWS(name, type, load, convert)                                                                   \
    INLINE void f32_from_##name##_range(index_t begin, index_t end, GLOBAL const type *x, GLOBAL float *y) {       \
        index_t i = begin;                                                                                         \
        for (; i + LANES <= end; i += LANES) STORE(y + i, AS_REAL(convert(load(x + i))));                          \
        if (i < end) {                                                                                             \
            type t[16];                                                                                            \
            for (int k = 0; k < 16; k++) t[k] = k < end - i ? x[i + k] : (type)0;                                  \
            store_part(y + i, AS_REAL(convert(load(t))), (int)(end - i));                                          \
        }                                                                                                          \
    }
FOR_EACH_WIDENING(WIDENING_ROWS)

#define NARROWING_ROWS(name, convert)                                                                              \
    INLINE void name##_from_f32_range(index_t begin, index_t end, GLOBAL const float *x, GLOBAL ushort *y) {       \
        index_t i = begin;                                                                                         \
        for (; i + LANES <= end; i += LANES) STORE_USHORT(y + i, convert(AS_INT(LOAD(x + i))));                    \
        if (i < end) {                                                                                             \
            ushort t[16];                                                                                          \
            STORE_USHORT(t, convert(AS_INT(load_part(x + i, (int)(end - i), 0.0f))));                              \
            for (int k = 0; k < end - i; k++) y[i + k] = t[k];                                                     \
        }                                                                                                          \
    }
FOR_EACH_NARROWING(NARROWING_ROWS)

#endif  // VECTOR

// ---- OpenCL kernels -------------------------------------------------------------------------------------------------
#ifdef __OPENCL_VERSION__

#define SIZES_AND_STRIDES                                                                                          \
    long n0, long n1, long n2, long n3, long n4, long n5, long x0, long x1, long x2, long x3, long x4, long x5,    \
        long y0, long y1, long y2, long y3, long y4, long y5

#ifdef VECTOR

#define ITEM_RANGE                                        \
    long begin = (long)get_global_id(0) * count_per_item; \
    long end = min(count, begin + count_per_item);

#if WANTED(fill)
__kernel void fill(long count, long count_per_item, __global float *y, long y_at, float value) {
    ITEM_RANGE
    fill_range(begin, end, y + y_at, value);
}
#endif

#if WANTED(strided_copy)
__kernel void strided_copy(long count, long count_per_item, __global const float *x, long x_at, __global float *y,
                           long y_at, SIZES_AND_STRIDES, int accumulate) {
    ITEM_RANGE
    long sizes[6] = {n0, n1, n2, n3, n4, n5};
    long x_strides[6] = {x0, x1, x2, x3, x4, x5}, y_strides[6] = {y0, y1, y2, y3, y4, y5};
    strided_copy_range(begin, end, x + x_at, y + y_at, sizes, x_strides, y_strides, accumulate);
}
#endif

#if WANTED(strided_copy_16)
__kernel void strided_copy_16(long count, long count_per_item, __global const ushort *x, long x_at, __global ushort *y,
                              long y_at, SIZES_AND_STRIDES) {
    ITEM_RANGE
    long sizes[6] = {n0, n1, n2, n3, n4, n5};
    long x_strides[6] = {x0, x1, x2, x3, x4, x5}, y_strides[6] = {y0, y1, y2, y3, y4, y5};
    strided_copy_16_range(begin, end, x + x_at, y + y_at, sizes, x_strides, y_strides);
}
#endif

// Counts tiles. simt: one work-group of 256 per tile, global = 256 · tiles; vector: tiles split over work-items.
#if WANTED(transpose)
__kernel void transpose(long count, long count_per_item, __global const float *x, long x_at, __global float *y,
                        long y_at, long rows, long columns, long x_pitch, long x_batch, long y_pitch, long y_batch,
                        int accumulate) {
    ITEM_RANGE
    transpose_tiles(begin, end, x + x_at, x_pitch, x_batch, y + y_at, y_pitch, y_batch, rows, columns, accumulate);
}
#endif

#define WIDENING_KERNEL(name, type, convert)                                                                        \
    __kernel void f32_from_##name(long count, long count_per_item, __global const type *x, long x_at,               \
                                  __global float *y, long y_at) {                                                   \
        ITEM_RANGE                                                                                                  \
        f32_from_##name##_range(begin, end, x + x_at, y + y_at);                                                    \
    }
#define NARROWING_KERNEL(name, convert)                                                                             \
    __kernel void name##_from_f32(long count, long count_per_item, __global const float *x, long x_at,              \
                                  __global ushort *y, long y_at) {                                                  \
        ITEM_RANGE                                                                                                  \
        name##_from_f32_range(begin, end, x + x_at, y + y_at);                                                      \
    }

#endif  // VECTOR

#ifdef SIMT

#define FOR_EACH_ELEMENT for (long i = get_global_id(0); i < count; i += get_global_size(0))
#define WORK_GROUP __attribute__((reqd_work_group_size(256, 1, 1)))

#if WANTED(fill)
__kernel WORK_GROUP void fill(long count, long count_per_item, __global float *y, long y_at, float value) {
    const long whole = (y_at & 3) == 0 ? count / 4 : 0;
    __global float4 *to = (__global float4 *)(y + y_at);
    for (long q = get_global_id(0); q < whole; q += get_global_size(0)) to[q] = (float4)(value);
    for (long i = 4 * whole + get_global_id(0); i < count; i += get_global_size(0)) y[y_at + i] = value;
}
#endif

// The position in one dimension is split off; dimensions of size 1 cost no division, and most others one of 32 bits.
#define SPLIT(n, xs, ys)                                                     \
    if (n > 1) {                                                             \
        long r_ = count <= 0x7fffffff ? (long)((uint)rest / (uint)n) : rest / n; \
        long at_ = rest - r_ * n;       \
        from += at_ * xs;               \
        to += at_ * ys;                 \
        rest = r_;                      \
    }
#define SPLIT_ALL                          \
    long rest = i, from = x_at, to = y_at; \
    SPLIT(n5, x5, y5)                      \
    SPLIT(n4, x4, y4)                      \
    SPLIT(n3, x3, y3)                      \
    SPLIT(n2, x2, y2)                      \
    SPLIT(n1, x1, y1)                      \
    SPLIT(n0, x0, y0)
#if WANTED(strided_copy)
__kernel WORK_GROUP void strided_copy(long count, long count_per_item, __global const float *x, long x_at,
                                      __global float *y, long y_at, SIZES_AND_STRIDES, int accumulate) {
    const long start = get_global_id(0), step = get_global_size(0);
    if (n5 == count && x5 == 1 && y5 == 1 && ((x_at | y_at) & 3) == 0) {
        // Without gaps: two loads of 16 bytes in flight for each work-item.
        __global const float4 *from = (__global const float4 *)(x + x_at);
        __global float4 *to = (__global float4 *)(y + y_at);
        const long quads = count / 4;
        long q = start;
        for (; q + step < quads; q += 2 * step) {
            float4 a = from[q], b = from[q + step];
            if (accumulate) a += to[q], b += to[q + step];
            to[q] = a;
            to[q + step] = b;
        }
        if (q < quads) to[q] = accumulate ? to[q] + from[q] : from[q];
        const long i = 4 * quads + start;
        if (i < count) y[y_at + i] = accumulate ? y[y_at + i] + x[x_at + i] : x[x_at + i];
    } else if (x5 == 1 && y5 == 1 && ((n5 | x_at | y_at | x0 | x1 | x2 | x3 | x4 | y0 | y1 | y2 | y3 | y4) & 3) == 0) {
        // Lines of whole float4, each on 16 bytes.
        for (long i = 4 * start; i < count; i += 4 * step) {
            SPLIT_ALL
            const float4 v = *(__global const float4 *)(x + from);
            __global float4 *out = (__global float4 *)(y + to);
            *out = accumulate ? *out + v : v;
        }
    } else {
        FOR_EACH_ELEMENT {
            SPLIT_ALL
            y[to] = accumulate ? y[to] + x[from] : x[from];
        }
    }
}
#endif
#if WANTED(strided_copy_16)
__kernel WORK_GROUP void strided_copy_16(long count, long count_per_item, __global const ushort *x, long x_at,
                                         __global ushort *y, long y_at, SIZES_AND_STRIDES) {
    FOR_EACH_ELEMENT {
        SPLIT_ALL
        y[to] = x[from];
    }
}
#endif

// Counts tiles. simt: one work-group of 256 per tile, global = 256 · tiles; vector: tiles split over work-items.
#if WANTED(transpose)
__kernel WORK_GROUP void transpose(long count, long count_per_item, __global const float *x, long x_at,
                                   __global float *y, long y_at, long rows, long columns, long x_pitch, long x_batch,
                                   long y_pitch, long y_batch, int accumulate) {
    __local float tile[32 * 33];  // 33: a column lies in 32 different banks
    long across = (columns + 31) / 32, down = (rows + 31) / 32, t = get_group_id(0);
    long r0 = t / across % down * 32, c0 = t % across * 32, b = t / across / down;
    int lane = get_local_id(0) & 31, line = get_local_id(0) >> 5;
    x += x_at + b * x_batch;
    y += y_at + b * y_batch;
    for (int k = line; k < 32; k += 8)
        if (r0 + k < rows && c0 + lane < columns) tile[k * 33 + lane] = x[(r0 + k) * x_pitch + c0 + lane];
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int k = line; k < 32; k += 8)
        if (c0 + k < columns && r0 + lane < rows) {
            long at = (c0 + k) * y_pitch + r0 + lane;
            y[at] = (accumulate ? y[at] : 0.0f) + tile[lane * 33 + k];
        }
}
#endif

#define WIDENING_KERNEL(name, type, convert)                                                                       \
    __kernel WORK_GROUP void f32_from_##name(long count, long count_per_item, __global const type *x, long x_at,   \
                                             __global float *y, long y_at) {                                       \
        FOR_EACH_ELEMENT y[y_at + i] = AS_REAL(convert((int)x[x_at + i]));                                         \
    }
#define NARROWING_KERNEL(name, convert)                                                                            \
    __kernel WORK_GROUP void name##_from_f32(long count, long count_per_item, __global const float *x, long x_at,  \
                                             __global ushort *y, long y_at) {                                      \
        FOR_EACH_ELEMENT y[y_at + i] = (ushort)convert(AS_INT(x[x_at + i]));                                       \
    }

#endif  // SIMT

#if WANTED(f32_from_f16)
WIDENING_KERNEL(f16, ushort, float_bits_from_f16)
#endif
#if WANTED(f32_from_bf16)
WIDENING_KERNEL(bf16, ushort, float_bits_from_bf16)
#endif
#if WANTED(f32_from_f8_e4m3)
WIDENING_KERNEL(f8_e4m3, uchar, float_bits_from_f8_e4m3)
#endif
#if WANTED(f32_from_f8_e5m2)
WIDENING_KERNEL(f8_e5m2, uchar, float_bits_from_f8_e5m2)
#endif
#if WANTED(f16_from_f32)
NARROWING_KERNEL(f16, f16_from_float_bits)
#endif
#if WANTED(bf16_from_f32)
NARROWING_KERNEL(bf16, bf16_from_float_bits)
#endif

#endif  // __OPENCL_VERSION__
