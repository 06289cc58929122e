// Moving and converting elements.

#ifdef VECTOR

INLINE void fill_range(index_t begin, index_t end, GLOBAL float *y, float value) {
    real v = SPLAT(value);
    index_t i = begin;
    for (; i + LANES <= end; i += LANES) STORE(y + i, v);
    if (i < end) store_part(y + i, v, (int)(end - i));
}

#endif
