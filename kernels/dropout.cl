// Dropout with counter-based random numbers: a mask is never stored, it is computed again in the backward pass.
//
//     y[i] = (accumulate ? y[i] : 0) + (keep(first + i) ? scale · x[i] : 0)
//
// keep(e) for the global element index e (64 bits):
//     block   = e / 4
//     counter = (low(block), high(block), low(stream), high(stream))    key = (low(seed), high(seed))
//     keep(e) = philox4x32_10(counter, key)[e mod 4] >= threshold,      0 <= threshold <= 2^32      (math.clh)
// low and high are the halves of 64 bits. The host computes threshold = round(p · 2^32) and scale = 1 / (1 - p) in
// double; p = 1 is threshold 2^32 (nothing is kept) with scale 0. The comparison is of integers: every backend has
// the same mask. The backward pass is the same kernel with dy for x and dx for y. In the forward both are activations: fp32,
// or bfloat16 with X_BF16.

#ifdef VECTOR

#ifndef AGAIN
// The words of 64 consecutive elements, the first of which is `element`, a multiple of 64. Sixteen blocks in the lanes;
// 16 blocks from a multiple of 16 never carry into the high half of the block number.
INLINE void dropout_words(ulong element, ulong seed, ulong stream, bits_t words[4]) {
    ulong block = element / 4;
    bits_t c0 = (bits_t)(uint)block + AS_BITS(LANE_IDS);
    bits_t c1 = (bits_t)(uint)(block >> 32), c2 = (bits_t)(uint)stream, c3 = (bits_t)(uint)(stream >> 32);
    philox4x32_10(&c0, &c1, &c2, &c3, (uint)seed, (uint)(seed >> 32));
    // Element order: c0[0] c1[0] c2[0] c3[0] c0[1] …
    bits_t a, b, c, d;
    a.even = c0.lo, a.odd = c2.lo, b.even = c0.hi, b.odd = c2.hi;  // c0[0] c2[0] c0[1] c2[1] …
    c.even = c1.lo, c.odd = c3.lo, d.even = c1.hi, d.odd = c3.hi;
    words[0].even = a.lo, words[0].odd = c.lo, words[1].even = a.hi, words[1].odd = c.hi;
    words[2].even = b.lo, words[2].odd = d.lo, words[3].even = b.hi, words[3].odd = d.hi;
}
#endif

INLINE void X_NAME(dropout_range)(index_t begin, index_t end, GLOBAL const X_ELEMENT *x, GLOBAL X_ELEMENT *y,
                                  index_t seed, index_t stream, index_t first, index_t threshold, int accumulate,
                                  float scale) {
    // Unsigned w >= t as signed (w ^ 2^31) >= (t ^ 2^31); threshold 2^32 keeps nothing.
    int limit = (int)((uint)threshold ^ 0x80000000u);
    mask_t nothing = (mask_t)(threshold >> 32 != 0 ? -1 : 0);
    for (index_t i = begin; i < end;) {
        ulong element = (ulong)first + (ulong)i;
        int offset = (int)(element % 64);  // of element i in its 64
        bits_t words[4];
        dropout_words(element - offset, (ulong)seed, (ulong)stream, words);
        index_t n = end - i < 64 - offset ? end - i : 64 - offset;
        if (n == 64) {
#pragma unroll
            for (int q = 0; q < 4; q++) {
                mask_t keep = BITS_AS_INT(words[q] ^ 0x80000000u) >= (mask_t)limit;
                keep = SELECT_INT(keep, (mask_t)0, nothing);
                real v = SELECT(SPLAT(0.0f), LOAD_X(x + i + q * 16) * SPLAT(scale), keep);
                if (accumulate) v += LOAD_X(y + i + q * 16);
                STORE_X(y + i + q * 16, v);
            }
        } else {
            int w[64];
            for (int q = 0; q < 4; q++) STORE_INT(w + q * 16, BITS_AS_INT(words[q] ^ 0x80000000u));
            for (int k = 0; k < n; k++) {
                float v = threshold >> 32 == 0 && w[offset + k] >= limit ? READ_X(x + i + k) * scale : 0.0f;
                WRITE_X(y + i + k, accumulate ? READ_X(y + i + k) + v : v);
            }
        }
        i += n;
    }
}

#endif  // VECTOR

#ifdef __OPENCL_VERSION__

#define DROPOUT_ARGUMENTS                                                                                          \
    long count, long count_per_item, __global const X_ELEMENT *x, long x_at, __global X_ELEMENT *y, long y_at,     \
        long seed, long stream, long first, long threshold, int accumulate, float scale

#if WANTED(dropout)
#ifdef VECTOR
__kernel void dropout(DROPOUT_ARGUMENTS) {
    long begin = (long)get_global_id(0) * count_per_item;
    long end = min(count, begin + count_per_item);
    X_NAME(dropout_range)(begin, end, x + x_at, y + y_at, seed, stream, first, threshold, accumulate, scale);
}
#endif
#ifdef SIMT
// One work-item makes the four words of a block and writes up to four elements.
__kernel __attribute__((reqd_work_group_size(256, 1, 1))) void dropout(DROPOUT_ARGUMENTS) {
    ulong low = (ulong)first / 4, high = ((ulong)first + (ulong)count + 3) / 4;
    for (ulong block = low + get_global_id(0); block < high; block += get_global_size(0)) {
        uint w[4] = {(uint)block, (uint)(block >> 32), (uint)stream, (uint)((ulong)stream >> 32)};
        philox4x32_10(&w[0], &w[1], &w[2], &w[3], (uint)seed, (uint)((ulong)seed >> 32));
        for (int k = 0; k < 4; k++) {
            long i = (long)(block * 4 + k - (ulong)first);
            if (i >= 0 && i < count) {
                float v = (long)w[k] >= threshold ? READ_X(x + x_at + i) * scale : 0.0f;
                WRITE_X(y + y_at + i, (accumulate ? READ_X(y + y_at + i) : 0.0f) + v);
            }
        }
    }
}
#endif
#endif

#endif  // __OPENCL_VERSION__
