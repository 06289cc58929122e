// Rows of a table by number, and their gradient. Elements are 4 bytes: float features and int32 labels move alike.
//
//   gather_rows   y[i, :] = table[ids[i], :]                                      table [n, columns], ids [m], y [m, columns]
//   scatter_add   table[ids[k], :] += Σ dy[order[j], :], j in starts[k] ..< starts[k + 1]      (k: distinct ids)
//
// The host sorts the positions by id, so every row of the table is summed by one work-item, in order of position: no atomics, and
// every run gives the same bits.

#ifdef VECTOR

INLINE void gather_rows_rows(index_t begin, index_t end, GLOBAL const float *table, index_t table_pitch,
                             GLOBAL const int *ids, GLOBAL float *y, index_t y_pitch, int columns) {
    for (index_t i = begin; i < end; i++) {
        GLOBAL const float *from = table + ids[i] * table_pitch;
        GLOBAL float *to = y + i * y_pitch;
        int c = 0;
        for (; c + LANES <= columns; c += LANES) STORE_INT((GLOBAL int *)to + c, LOAD_INT((GLOBAL const int *)from + c));
        for (; c < columns; c++) ((GLOBAL int *)to)[c] = ((GLOBAL const int *)from)[c];
    }
}

INLINE void scatter_add_buckets(index_t begin, index_t end, GLOBAL const float *dy, index_t dy_pitch,
                                GLOBAL const int *order, GLOBAL const int *starts, GLOBAL const int *ids,
                                GLOBAL float *table, index_t table_pitch, int columns) {
    for (index_t k = begin; k < end; k++) {
        GLOBAL float *to = table + ids[k] * table_pitch;
        for (int j = starts[k]; j < starts[k + 1]; j++) {
            GLOBAL const float *from = dy + order[j] * dy_pitch;
            int c = 0;
            for (; c + LANES <= columns; c += LANES) STORE(to + c, LOAD(to + c) + LOAD(from + c));
            for (; c < columns; c++) to[c] += from[c];
        }
    }
}

#endif

#if defined(VECTOR) && defined(__OPENCL_VERSION__)

#if WANTED(gather_rows)
__kernel void gather_rows(long rows, long rows_per_item, __global const float *table, long table_at,
                          __global const int *ids, long ids_at, __global float *y, long y_at, long table_pitch,
                          long y_pitch, int columns) {
    long begin = (long)get_global_id(0) * rows_per_item;
    gather_rows_rows(begin, min(rows, begin + rows_per_item), table + table_at, table_pitch, ids + ids_at, y + y_at, y_pitch,
                     columns);
}
#endif

#if WANTED(scatter_add)
__kernel void scatter_add(long buckets, long buckets_per_item, __global const float *dy, long dy_at,
                          __global const int *order, long order_at, __global const int *starts, long starts_at,
                          __global const int *ids, long ids_at, __global float *table, long table_at, long dy_pitch,
                          long table_pitch, int columns) {
    long begin = (long)get_global_id(0) * buckets_per_item;
    scatter_add_buckets(begin, min(buckets, begin + buckets_per_item), dy + dy_at, dy_pitch, order + order_at,
                        starts + starts_at, ids + ids_at, table + table_at, table_pitch, columns);
}
#endif

#endif

#ifdef SIMT

// One group of 256 for each row.
#if WANTED(gather_rows)
__kernel __attribute__((reqd_work_group_size(256, 1, 1))) void gather_rows(
    long rows, long rows_per_item, __global const float *table, long table_at, __global const int *ids, long ids_at,
    __global float *y, long y_at, long table_pitch, long y_pitch, int columns) {
    long i = get_group_id(0);
    // As integers: a label's bits must not pass through float registers that may quiet a NaN.
    __global const int *from = (__global const int *)table + table_at + ids[ids_at + i] * table_pitch;
    __global int *to = (__global int *)y + y_at + i * y_pitch;
    for (int c = get_local_id(0); c < columns; c += 256) to[c] = from[c];
}
#endif

// One group of 256 for each distinct id; a work-item owns columns.
#if WANTED(scatter_add)
__kernel __attribute__((reqd_work_group_size(256, 1, 1))) void scatter_add(
    long buckets, long buckets_per_item, __global const float *dy, long dy_at, __global const int *order, long order_at,
    __global const int *starts, long starts_at, __global const int *ids, long ids_at, __global float *table,
    long table_at, long dy_pitch, long table_pitch, int columns) {
    long k = get_group_id(0);
    int first = starts[starts_at + k], last = starts[starts_at + k + 1];
    __global float *to = table + table_at + ids[ids_at + k] * table_pitch;
    for (int c = get_local_id(0); c < columns; c += 256) {
        float sum = to[c];
        for (int j = first; j < last; j++) sum += dy[dy_at + order[order_at + j] * dy_pitch + c];
        to[c] = sum;
    }
}
#endif

#endif
