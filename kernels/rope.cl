// Rotary position embedding (Su et al. 2021): each pair (a, b) of a head's numbers is turned by the angle of its
// position and frequency,
//
//   a' = a cos - b sin, b' = b cos + a sin
//
// x, y [tokens, heads · width] with pitches; cos and sin [positions, width / 2]; the token's row of them is
// ids[token]. A pair is (i, i + width / 2), or (2i, 2i + 1) when interleaved. `turn` is 1, or -1 for the inverse: the
// gradient. A position outside the table gives NaN. x and y are activations: fp32, or bfloat16 with X_BF16.
//
// rope_append takes what one projection made of a token, [queries | keys | values], turns queries and keys, and puts keys and values at
// their place in a cache: text t / length, token t % length, with a pitch for texts and one for tokens.

#ifdef VECTOR

INLINE void X_NAME(rope_rows)(
    index_t begin, index_t end, GLOBAL const X_ELEMENT *x, index_t x_pitch, GLOBAL const int *ids,
    GLOBAL const float *cosines, GLOBAL const float *sines, GLOBAL X_ELEMENT *y, index_t y_pitch, int heads, int width,
    int positions, int interleaved, float turn, int accumulate) {
    const int half_width = width / 2, whole = half_width / LANES * LANES, part = half_width - whole;
    for (index_t t = begin; t < end; t++) {
        const int id = ids[t], known = id >= 0 && id < positions;
        GLOBAL const float *c = cosines + (known ? id : 0) * (index_t)half_width;
        GLOBAL const float *s = sines + (known ? id : 0) * (index_t)half_width;
        const float sign = known ? turn : NAN;
        for (int h = 0; h < heads; h++) {
            GLOBAL const X_ELEMENT *from = x + t * x_pitch + (index_t)h * width;
            GLOBAL X_ELEMENT *to = y + t * y_pitch + (index_t)h * width;
            if (interleaved) {
                for (int i = 0; i < half_width; i++) {
                    const float a = READ_X(from + 2 * i), b = READ_X(from + 2 * i + 1), sine = s[i] * sign;
                    const float u = a * c[i] - b * sine, v = b * c[i] + a * sine;
                    WRITE_X(to + 2 * i, accumulate ? READ_X(to + 2 * i) + u : u);
                    WRITE_X(to + 2 * i + 1, accumulate ? READ_X(to + 2 * i + 1) + v : v);
                }
                continue;
            }
            for (int i = 0; i < whole; i += LANES) {
                const real a = LOAD_X(from + i), b = LOAD_X(from + half_width + i);
                const real cosine = LOAD(c + i), sine = LOAD(s + i) * SPLAT(sign);
                const real u = a * cosine - b * sine, v = b * cosine + a * sine;
                STORE_X(to + i, accumulate ? LOAD_X(to + i) + u : u);
                STORE_X(to + half_width + i, accumulate ? LOAD_X(to + half_width + i) + v : v);
            }
            if (part) {
                const real a = LOAD_PART_X(from + whole, part, 0.0f);
                const real b = LOAD_PART_X(from + half_width + whole, part, 0.0f);
                const real cosine = load_part(c + whole, part, 0.0f);
                const real sine = load_part(s + whole, part, 0.0f) * SPLAT(sign);
                real u = a * cosine - b * sine, v = b * cosine + a * sine;
                if (accumulate) {
                    u += LOAD_PART_X(to + whole, part, 0.0f);
                    v += LOAD_PART_X(to + half_width + whole, part, 0.0f);
                }
                STORE_PART_X(to + whole, u, part);
                STORE_PART_X(to + half_width + whole, v, part);
            }
        }
    }
}

INLINE void X_NAME(rope_append_rows)(
    index_t begin, index_t end, GLOBAL const X_ELEMENT *x, index_t x_pitch, GLOBAL const int *ids,
    GLOBAL const float *cosines, GLOBAL const float *sines, GLOBAL X_ELEMENT *queries, index_t query_pitch,
    GLOBAL X_ELEMENT *keys, GLOBAL X_ELEMENT *values, index_t text_pitch, index_t token_pitch, int length, int heads,
    int key_heads, int width, int positions, int interleaved) {
    for (index_t t = begin; t < end; t++) {
        GLOBAL const X_ELEMENT *from = x + t * x_pitch;
        const index_t place = t / length * text_pitch + t % length * token_pitch;
        X_NAME(rope_rows)(
            0, 1, from, 0, ids + t, cosines, sines, queries + t * query_pitch, 0, heads, width, positions, interleaved,
            1.0f, 0);
        from += (index_t)heads * width;
        const int count = key_heads * width;
        X_NAME(rope_rows)(
            0, 1, from, 0, ids + t, cosines, sines, keys + place, 0, key_heads, width, positions, interleaved, 1.0f, 0);
        for (int i = 0; i < count; i++) values[place + i] = from[count + i];
    }
}

#endif

#ifdef __OPENCL_VERSION__
#define ROPE_APPEND_ARGUMENTS                                                                                          \
    long count, long count_per_item, __global const X_ELEMENT *x, long x_at, __global const int *ids, long ids_at,     \
        __global const float *cosines, long cosines_at, __global const float *sines, long sines_at,                    \
        __global X_ELEMENT *queries, long queries_at, __global X_ELEMENT *keys, long keys_at,                          \
        __global X_ELEMENT *values, long values_at, long x_pitch, long query_pitch, long text_pitch, long token_pitch, \
        int length, int heads, int key_heads, int width, int positions, int interleaved
#define ROPE_ARGUMENTS                                                                                                 \
    long count, long count_per_item, __global const X_ELEMENT *x, long x_at, __global const int *ids, long ids_at,     \
        __global const float *cosines, long cosines_at, __global const float *sines, long sines_at,                    \
        __global X_ELEMENT *y, long y_at, long x_pitch, long y_pitch, int heads, int width, int positions,             \
        int interleaved, float turn, int accumulate
#endif

#if defined(VECTOR) && defined(__OPENCL_VERSION__)
// One work-item for count_per_item tokens.
#if WANTED(rope)
__kernel void rope(ROPE_ARGUMENTS) {
    const long begin = get_global_id(0) * count_per_item, end = min(count, begin + count_per_item);
    X_NAME(rope_rows)(
        begin, end, x + x_at, x_pitch, ids + ids_at, cosines + cosines_at, sines + sines_at, y + y_at, y_pitch, heads,
        width, positions, interleaved, turn, accumulate);
}
#endif
#if WANTED(rope_append)
__kernel void rope_append(ROPE_APPEND_ARGUMENTS) {
    const long begin = get_global_id(0) * count_per_item, end = min(count, begin + count_per_item);
    X_NAME(rope_append_rows)(
        begin, end, x + x_at, x_pitch, ids + ids_at, cosines + cosines_at, sines + sines_at, queries + queries_at,
        query_pitch, keys + keys_at, values + values_at, text_pitch, token_pitch, length, heads, key_heads, width,
        positions, interleaved);
}
#endif
#endif

#ifdef SIMT
// One work-item for a pair: count = tokens · heads · width / 2.
#if WANTED(rope)
__kernel void rope(ROPE_ARGUMENTS) {
    const int half_width = width / 2;
    const long pairs = (long)heads * half_width;
    for (long item = get_global_id(0); item < count; item += get_global_size(0)) {
        const long t = item / pairs;
        const int pair = (int)(item - t * pairs), h = pair / half_width, i = pair - h * half_width;
        const int id = ids[ids_at + t], known = id >= 0 && id < positions;
        const long at = (long)(known ? id : 0) * half_width + i;
        const float cosine = cosines[cosines_at + at], sine = sines[sines_at + at] * (known ? turn : NAN);
        const long first = (long)h * width + (interleaved ? 2 * i : i), step = interleaved ? 1 : half_width;
        __global const X_ELEMENT *from = x + x_at + t * x_pitch + first;
        __global X_ELEMENT *to = y + y_at + t * y_pitch + first;
        const float a = READ_X(from), b = READ_X(from + step);
        const float u = a * cosine - b * sine, v = b * cosine + a * sine;
        WRITE_X(to, accumulate ? READ_X(to) + u : u);
        WRITE_X(to + step, accumulate ? READ_X(to + step) + v : v);
    }
}
#endif
// One work-item for a pair of a query's or a key's numbers, or for two of a value's: count = tokens · (heads + 2 key_heads) · width / 2.
#if WANTED(rope_append)
__kernel void rope_append(ROPE_APPEND_ARGUMENTS) {
    const int half_width = width / 2, turning = heads + key_heads;
    const long pairs = (long)(turning + key_heads) * half_width;
    for (long item = get_global_id(0); item < count; item += get_global_size(0)) {
        const long t = item / pairs;
        const int pair = (int)(item - t * pairs), h = pair / half_width, i = pair - h * half_width;
        const long place = t / length * text_pitch + t % length * token_pitch;
        const long first = interleaved ? 2 * i : i, step = interleaved ? 1 : half_width;
        __global const X_ELEMENT *from = x + x_at + t * x_pitch + (long)h * width + first;
        if (h >= turning) {
            __global X_ELEMENT *to = values + values_at + place + (long)(h - turning) * width + first;
            to[0] = from[0];
            to[step] = from[step];
            continue;
        }
        __global X_ELEMENT *to = h < heads ? queries + queries_at + t * query_pitch + (long)h * width + first
                                           : keys + keys_at + place + (long)(h - heads) * width + first;
        const int id = ids[ids_at + t], known = id >= 0 && id < positions;
        const long at = (long)(known ? id : 0) * half_width + i;
        const float cosine = cosines[cosines_at + at], sine = sines[sines_at + at] * (known ? 1.0f : NAN);
        const float a = READ_X(from), b = READ_X(from + step);
        WRITE_X(to, a * cosine - b * sine);
        WRITE_X(to + step, b * cosine + a * sine);
    }
}
#endif
#endif
