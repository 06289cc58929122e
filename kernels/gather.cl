// Rows picked by index, and the gradient of that.
//
//   gather_rows   y [count, columns]: y[i, :] = w[ids[i], :], w [table_rows, columns]  (embedding, batches of samples)
//   gather_rows_<stored>_<as>  the same of a table in bfloat16 or fp32, into either: `bf16_f32`, `bf16_bf16`
//   gather_ints   y [count]: y[i] = x[ids[i]], x int32 [table_rows]                     (batches of labels)
//   scatter_rows  dw[distinct[d], :] (+)= Σ_j dy[order[j], :] over j in starts[d] ..< starts[d + 1]
//
// An id outside [0, table_rows) reads nothing: the row becomes NaN, the integer -1 (the host checks ids beforehand).
//
// scatter_rows is the deterministic scatter-add. The host prepares, from ids [count]:
//   order     [count]     the positions 0 ..< count sorted by ids[position], stable
//   distinct  [d]         the ids that occur, ascending
//   starts    [d + 1]     where each one's positions begin in `order`; starts[d] = count
// One item sums one distinct id's rows over a strip of columns, in the order given: 64 rows at a time, then the blocks.
// Only rows of dw that occur in `distinct` are touched: without accumulate the host clears dw first (or knows it is
// clear). The row padding_id gets no gradient: it is written as 0, or left alone with accumulate. padding_id = -1:
// none.

#define GATHER_STRIP 256  // columns of an item of scatter_rows

#ifdef VECTOR

#define DEFINE_GATHER_ROWS(NAME, W, LOAD_W, LOAD_PART_W, Y, STORE_Y, STORE_PART_Y)                                     \
    INLINE void NAME##_rows(                                                                                           \
        index_t begin, index_t end, GLOBAL const W *w, index_t w_pitch, GLOBAL const int *ids, GLOBAL Y *y,            \
        index_t y_pitch, int columns, int table_rows) {                                                                \
        const int whole = columns / LANES * LANES, part = columns - whole;                                             \
        for (index_t r = begin; r < end; r++) {                                                                        \
            const int id = ids[r], known = id >= 0 && id < table_rows;                                                 \
            GLOBAL const W *from = w + (known ? id : 0) * w_pitch;                                                     \
            GLOBAL Y *to = y + r * y_pitch;                                                                            \
            if (known) {                                                                                               \
                for (int i = 0; i < whole; i += LANES) STORE_Y(to + i, LOAD_W(from + i));                              \
                if (part) STORE_PART_Y(to + whole, LOAD_PART_W(from + whole, part, 0.0f), part);                       \
            } else {                                                                                                   \
                for (int i = 0; i < whole; i += LANES) STORE_Y(to + i, SPLAT(NAN));                                    \
                if (part) STORE_PART_Y(to + whole, SPLAT(NAN), part);                                                  \
            }                                                                                                          \
        }                                                                                                              \
    }
DEFINE_GATHER_ROWS(gather_rows, float, LOAD, load_part, float, STORE, store_part)
DEFINE_GATHER_ROWS(gather_rows_bf16_f32, ushort, LOAD_BF16, load_part_bf16, float, STORE, store_part)
DEFINE_GATHER_ROWS(gather_rows_bf16_bf16, ushort, LOAD_BF16, load_part_bf16, ushort, STORE_BF16, store_part_bf16)

INLINE void gather_ints_range(
    index_t begin, index_t end, GLOBAL const int *x, GLOBAL const int *ids, GLOBAL int *y, int table_rows) {
    for (index_t i = begin; i < end; i++) {
        const int id = ids[i];
        y[i] = id >= 0 && id < table_rows ? x[id] : -1;
    }
}

// Items are (distinct id, strip) with strips = ceil(columns / 256).
INLINE void scatter_rows_items(
    index_t begin, index_t end, GLOBAL const float *dy, index_t dy_pitch, GLOBAL const int *order,
    GLOBAL const int *distinct, GLOBAL const int *starts, GLOBAL float *dw, index_t dw_pitch, int columns,
    int table_rows, int padding_id, int accumulate) {
    const int strips = (columns + GATHER_STRIP - 1) / GATHER_STRIP;
    for (index_t item = begin; item < end; item++) {
        const index_t d = item / strips;
        const int id = distinct[d], c0 = (int)(item % strips) * GATHER_STRIP;
        const int c1 = columns - c0 < GATHER_STRIP ? columns : c0 + GATHER_STRIP;
        const int padding = id == padding_id, first = starts[d], last = padding ? first : starts[d + 1];
        const int known = id >= 0 && id < table_rows && !(padding && accumulate);
        GLOBAL float *to = dw + (known ? id : 0) * dw_pitch;
        for (int i = known ? c0 : c1; i < c1; i += LANES) {
            const int part = c1 - i < LANES ? c1 - i : 0;
            real total = SPLAT(0.0f);
            for (int block = first; block < last; block += 64) {
                const int stop = last - block < 64 ? last : block + 64;
                real sum = SPLAT(0.0f);
                for (int j = block; j < stop; j++) {
                    GLOBAL const float *from = dy + order[j] * dy_pitch + i;
                    sum += part ? load_part(from, part, 0.0f) : LOAD(from);
                }
                total += sum;
            }
            if (part) {
                store_part(to + i, accumulate ? load_part(to + i, part, 0.0f) + total : total, part);
            } else {
                STORE(to + i, accumulate ? LOAD(to + i) + total : total);
            }
        }
    }
}

#endif

#ifdef __OPENCL_VERSION__
#define GATHER_ROWS_ARGUMENTS(W, Y)                                                                                    \
    long rows, long rows_per_item, __global const W *w, long w_at, __global const int *ids, long ids_at,               \
        __global Y *y, long y_at, long w_pitch, long y_pitch, int columns, int table_rows
#define GATHER_INTS_ARGUMENTS                                                                                          \
    long count, long count_per_item, __global const int *x, long x_at, __global const int *ids, long ids_at,           \
        __global int *y, long y_at, int table_rows
#define SCATTER_ROWS_ARGUMENTS                                                                                         \
    long items, long items_per_item, __global const float *dy, long dy_at, __global const int *order, long order_at,   \
        __global const int *distinct, long distinct_at, __global const int *starts, long starts_at,                    \
        __global float *dw, long dw_at, long dy_pitch, long dw_pitch, int columns, int table_rows, int padding_id,     \
        int accumulate
#endif

#if defined(VECTOR) && defined(__OPENCL_VERSION__)
#define GATHER_ROWS_KERNEL(NAME, W, Y)                                                                                 \
    __kernel void NAME(GATHER_ROWS_ARGUMENTS(W, Y)) {                                                                  \
        const long begin = get_global_id(0) * rows_per_item, end = min(rows, begin + rows_per_item);                   \
        NAME##_rows(begin, end, w + w_at, w_pitch, ids + ids_at, y + y_at, y_pitch, columns, table_rows);              \
    }
#if WANTED(gather_ints)
__kernel void gather_ints(GATHER_INTS_ARGUMENTS) {
    const long begin = get_global_id(0) * count_per_item, end = min(count, begin + count_per_item);
    gather_ints_range(begin, end, x + x_at, ids + ids_at, y + y_at, table_rows);
}
#endif
// vector: items = distinct ids · ceil(columns / 256). simt: one group of 256 per item, global = items · 256: the same
// items.
#if WANTED(scatter_rows)
__kernel void scatter_rows(SCATTER_ROWS_ARGUMENTS) {
    const long begin = get_global_id(0) * items_per_item, end = min(items, begin + items_per_item);
    scatter_rows_items(
        begin, end, dy + dy_at, dy_pitch, order + order_at, distinct + distinct_at, starts + starts_at, dw + dw_at,
        dw_pitch, columns, table_rows, padding_id, accumulate);
}
#endif
#endif

#ifdef SIMT
#define READ_float(v) (v)
#define READ_ushort(v) float_of_bf16(v)
#define MADE_float(v) (v)
#define MADE_ushort(v) bf16_of_float(v)
#define GATHER_ROWS_KERNEL(NAME, W, Y)                                                                                 \
    __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void NAME(GATHER_ROWS_ARGUMENTS(W, Y)) {               \
        const long r = get_group_id(0);                                                                                \
        const int id = ids[ids_at + r], known = id >= 0 && id < table_rows;                                            \
        w += w_at + (known ? id : 0) * w_pitch;                                                                        \
        y += y_at + r * y_pitch;                                                                                       \
        for (int i = (int)get_local_id(0); i < columns; i += GROUP)                                                    \
            y[i] = MADE_##Y(known ? READ_##W(w[i]) : NAN);                                                             \
    }
#if WANTED(gather_ints)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void gather_ints(GATHER_INTS_ARGUMENTS) {
    for (long i = get_global_id(0); i < count; i += get_global_size(0)) {
        const int id = ids[ids_at + i];
        y[y_at + i] = id >= 0 && id < table_rows ? x[x_at + id] : -1;
    }
}
#endif
#if WANTED(scatter_rows)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void scatter_rows(SCATTER_ROWS_ARGUMENTS) {
    const int strips = (columns + GATHER_STRIP - 1) / GATHER_STRIP;
    const long d = get_group_id(0) / strips;
    const int i = (int)(get_group_id(0) % strips) * GATHER_STRIP + (int)get_local_id(0);
    const int id = distinct[distinct_at + d];
    const int padding = id == padding_id, first = starts[starts_at + d];
    const int last = padding ? first : starts[starts_at + d + 1];
    if (i < columns && id >= 0 && id < table_rows && !(padding && accumulate)) {
        float total = 0.0f;
        for (int block = first; block < last; block += 64) {
            const int stop = min(last, block + 64);
            float sum = 0.0f;
            for (int j = block; j < stop; j++) sum += dy[dy_at + order[order_at + j] * dy_pitch + i];
            total += sum;
        }
        dw += dw_at + id * dw_pitch + i;
        *dw = accumulate ? *dw + total : total;
    }
}
#endif
#endif

#ifdef __OPENCL_VERSION__
#if WANTED(gather_rows)
GATHER_ROWS_KERNEL(gather_rows, float, float)
#endif
#if WANTED(gather_rows_bf16_f32)
GATHER_ROWS_KERNEL(gather_rows_bf16_f32, ushort, float)
#endif
#if WANTED(gather_rows_bf16_bf16)
GATHER_ROWS_KERNEL(gather_rows_bf16_bf16, ushort, ushort)
#endif
#endif
