// Batches of pictures: picked from a table of bytes, cropped, flipped, normalised; and mixed with one another.
//
//   gather_images  y [rows, channels, height, width], from table, bytes [images, channels, height, width], by ids [rows]
//   mix_images     y [rows, channels, height, width]: x, and in a box weight · x + (1 - weight) · pool[partners[row]]
//   mix_targets    y [rows, classes]: weight at labels[row] + (1 - weight) at others[row], else 0
//
// gather_images: for image id, of pass `epoch` over the data, four words are drawn by Philox (dropout.cl says how):
//     counter = (samples[row], epoch, low(stream), high(stream))    key = (low(seed), high(seed))
// so that they depend on nothing but the seed, the pass and samples[row], the image's number in the whole dataset: its id,
// where the table is the whole dataset. From them
//     down = high(word 0 · (2 · padding + 1)) - padding,  right = the same of word 1       -padding … padding
//     flip = word 2 < threshold,  threshold = round(p · 2^32)
// (high: the upper 32 of 64 bits; the last value of 2p + 1 is rarer by less than one part in 2^32 / (2p + 1)). Then
//     y[row, c, i, j] = values[c, pixel(c, i + down, (flip ? width - 1 - j : j) + right)]
// with pixel = 0 outside the picture: the random crop of a picture padded with zeros, then the random flip. values
// [channels, 256] is what each byte becomes, (byte / 255 - mean[c]) / deviation[c]: looked up, not computed, so that
// every device gives the host's bits. An id outside [0, images) reads nothing: its picture becomes NaN.

#if defined(VECTOR) || defined(SIMT)

// dropout.cl's Philox 4x32-10 for one counter, given and returned in w.
INLINE void augment_philox(uint w[4], uint k0, uint k1) {
    for (int round = 0; round < 10; round++) {
        const ulong a = (ulong)w[0] * 0xd2511f53u, b = (ulong)w[2] * 0xcd9e8d57u;
        const uint c0 = (uint)(b >> 32) ^ w[1] ^ k0, c2 = (uint)(a >> 32) ^ w[3] ^ k1;
        w[0] = c0, w[1] = (uint)b, w[2] = c2, w[3] = (uint)a;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
}

// down, right and flip of one image.
INLINE void augment_choose(int choice[3], int sample, uint epoch, ulong seed, ulong stream, int padding,
                           index_t threshold) {
    choice[0] = choice[1] = choice[2] = 0;
    if (padding > 0 || threshold > 0) {
        uint w[4] = {(uint)sample, epoch, (uint)stream, (uint)(stream >> 32)};
        augment_philox(w, (uint)seed, (uint)(seed >> 32));
        const ulong places = 2 * (ulong)padding + 1;
        choice[0] = (int)(w[0] * places >> 32) - padding;
        choice[1] = (int)(w[1] * places >> 32) - padding;
        choice[2] = (index_t)w[2] < threshold;
    }
}

#endif

// ---- row bodies -----------------------------------------------------------------------------------------------------
#ifdef VECTOR

INLINE void augment_copy(GLOBAL const float *from, GLOBAL float *to, int n) {
    int i = 0;
    for (; i + LANES <= n; i += LANES) STORE(to + i, LOAD(from + i));
    if (i < n) store_part(to + i, load_part(from + i, n - i, 0.0f), n - i);
}

// The range counts planes: rows · channels.
INLINE void gather_images_planes(
    index_t begin, index_t end, GLOBAL const uchar *table, GLOBAL const int *ids, GLOBAL const int *samples,
    GLOBAL const float *values, GLOBAL float *y, int images, int channels, int height, int width, index_t seed,
    index_t stream, int epoch, int padding, index_t threshold) {
    const index_t size = (index_t)height * width;
    for (index_t p = begin; p < end; p++) {
        const int id = ids[p / channels], channel = (int)(p % channels), known = id >= 0 && id < images;
        GLOBAL const float *value = values + channel * 256;
        GLOBAL const uchar *plane = table + ((known ? id : 0) * (index_t)channels + channel) * size;
        const float outside = known ? value[0] : NAN;
        int choice[3];
        augment_choose(
            choice, samples[p / channels], (uint)epoch, (ulong)seed, (ulong)stream, padding, threshold);
        const int right = choice[1], flip = choice[2];
        // Columns x0 … x1 - 1 of the crop lie in the picture.
        int x0 = right < 0 ? -right : 0, x1 = right > 0 ? width - right : width;
        x0 = x0 < width ? x0 : width;
        x1 = x1 > x0 ? x1 : x0;
        const int left = flip ? width - x1 : x0, stop = flip ? width - x0 : x1;
        const int start = flip ? x1 - 1 + right : x0 + right, step = flip ? -1 : 1;
        for (int i = 0; i < height; i++) {
            const int line = i + choice[0];
            GLOBAL float *to = y + p * size + (index_t)i * width;
            if (known && line >= 0 && line < height) {
                GLOBAL const uchar *from = plane + (index_t)line * width;
                fill_range(0, left, to, outside);
                for (int j = left, at = start; j < stop; j++, at += step) to[j] = value[from[at]];
                fill_range(stop, width, to, outside);
            } else {
                fill_range(0, width, to, outside);
            }
        }
    }
}

// The range counts pictures of `channels` planes; the box is lines top … bottom - 1, columns left … right - 1.
INLINE void mix_images_rows(
    index_t begin, index_t end, GLOBAL const float *x, GLOBAL const float *pool, GLOBAL const int *partners,
    GLOBAL float *y, int pool_rows, int channels, int height, int width, int top, int bottom, int left, int right,
    float weight) {
    const index_t size = (index_t)height * width * channels;
    const float rest = 1.0f - weight;
    for (index_t r = begin; r < end; r++) {
        const int partner = partners[r], known = partner >= 0 && partner < pool_rows;
        for (index_t line = 0; line < (index_t)channels * height; line++) {
            const int i = (int)(line % height), inside = i >= top && i < bottom;
            const int x0 = inside ? left : width, x1 = inside ? right : width;
            GLOBAL const float *own = x + r * size + line * width;
            GLOBAL const float *other = pool + (known ? partner : 0) * size + line * width;
            GLOBAL float *to = y + r * size + line * width;
            augment_copy(own, to, x0);
            if (!known) {
                fill_range(x0, x1, to, NAN);
            } else if (weight == 0.0f) {
                augment_copy(other + x0, to + x0, x1 - x0);
            } else {
                int j = x0;
                for (; j + LANES <= x1; j += LANES)
                    STORE(to + j, SPLAT(weight) * LOAD(own + j) + SPLAT(rest) * LOAD(other + j));
                const int part = x1 - j;
                if (part > 0) {
                    const real a = load_part(own + j, part, 0.0f), b = load_part(other + j, part, 0.0f);
                    store_part(to + j, SPLAT(weight) * a + SPLAT(rest) * b, part);
                }
            }
            augment_copy(own + x1, to + x1, width - x1);
        }
    }
}

INLINE void mix_targets_rows(
    index_t begin, index_t end, GLOBAL const int *labels, GLOBAL const int *others, GLOBAL float *y, index_t y_pitch,
    int classes, float weight) {
    for (index_t r = begin; r < end; r++) {
        GLOBAL float *to = y + r * y_pitch;
        const int label = labels[r], other = others[r];
        fill_range(0, classes, to, 0.0f);
        if (label >= 0 && label < classes) to[label] = weight;
        if (other >= 0 && other < classes) to[other] += 1.0f - weight;
    }
}

#endif  // VECTOR

#ifdef __OPENCL_VERSION__

#define GATHER_IMAGES_ARGUMENTS                                                                                        \
    long planes, long planes_per_item, __global const uchar *table, long table_at, __global const int *ids,            \
        long ids_at, __global const int *samples, long samples_at, __global const float *values, long values_at,       \
        __global float *y, long y_at, int images, int channels, int height, int width, long seed, long stream,         \
        int epoch, int padding, long threshold
#define MIX_IMAGES_ARGUMENTS                                                                                           \
    long rows, long rows_per_item, __global const float *x, long x_at, __global const float *pool, long pool_at,       \
        __global const int *partners, long partners_at, __global float *y, long y_at, int pool_rows, int channels,     \
        int height, int width, int top, int bottom, int left, int right, float weight
#define MIX_TARGETS_ARGUMENTS                                                                                          \
    long rows, long rows_per_item, __global const int *labels, long labels_at, __global const int *others,             \
        long others_at, __global float *y, long y_at, long y_pitch, int classes, float weight

#ifdef VECTOR
#if WANTED(gather_images)
__kernel void gather_images(GATHER_IMAGES_ARGUMENTS) {
    const long begin = get_global_id(0) * planes_per_item, end = min(planes, begin + planes_per_item);
    gather_images_planes(
        begin, end, table + table_at, ids + ids_at, samples + samples_at, values + values_at, y + y_at, images,
        channels, height, width, seed, stream, epoch, padding, threshold);
}
#endif
#if WANTED(mix_images)
__kernel void mix_images(MIX_IMAGES_ARGUMENTS) {
    const long begin = get_global_id(0) * rows_per_item, end = min(rows, begin + rows_per_item);
    mix_images_rows(
        begin, end, x + x_at, pool + pool_at, partners + partners_at, y + y_at, pool_rows, channels, height, width, top,
        bottom, left, right, weight);
}
#endif
#if WANTED(mix_targets)
__kernel void mix_targets(MIX_TARGETS_ARGUMENTS) {
    const long begin = get_global_id(0) * rows_per_item, end = min(rows, begin + rows_per_item);
    mix_targets_rows(begin, end, labels + labels_at, others + others_at, y + y_at, y_pitch, classes, weight);
}
#endif
#endif

#ifdef SIMT
// One group a plane; its work-items make the same choice.
#if WANTED(gather_images)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void gather_images(GATHER_IMAGES_ARGUMENTS) {
    const long p = get_group_id(0), size = (long)height * width;
    const int id = ids[ids_at + p / channels], channel = (int)(p % channels), known = id >= 0 && id < images;
    int choice[3];
    augment_choose(
        choice, samples[samples_at + p / channels], (uint)epoch, (ulong)seed, (ulong)stream, padding, threshold);
    values += values_at + channel * 256;
    table += table_at + ((known ? id : 0) * (long)channels + channel) * size;
    y += y_at + p * size;
    for (long k = get_local_id(0); k < size; k += GROUP) {
        const int i = (int)(k / width) + choice[0], j = (int)(k % width);
        const int at = (choice[2] ? width - 1 - j : j) + choice[1];
        const int inside = known && i >= 0 && i < height && at >= 0 && at < width;
        const float value = values[inside ? table[(long)i * width + at] : 0];
        y[k] = known ? value : NAN;
    }
}
#endif
#if WANTED(mix_images)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void mix_images(MIX_IMAGES_ARGUMENTS) {
    const long r = get_group_id(0), size = (long)height * width * channels;
    const int partner = partners[partners_at + r], known = partner >= 0 && partner < pool_rows;
    x += x_at + r * size;
    pool += pool_at + (known ? partner : 0) * size;
    y += y_at + r * size;
    for (long k = get_local_id(0); k < size; k += GROUP) {
        const int i = (int)(k / width % height), j = (int)(k % width);
        float value = x[k];
        if (i >= top && i < bottom && j >= left && j < right) {
            const float other = pool[k];
            value = !known ? NAN : weight == 0.0f ? other : weight * value + (1.0f - weight) * other;
        }
        y[k] = value;
    }
}
#endif
#if WANTED(mix_targets)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void mix_targets(MIX_TARGETS_ARGUMENTS) {
    const long r = get_group_id(0);
    const int label = labels[labels_at + r], other = others[others_at + r];
    y += y_at + r * y_pitch;
    for (int i = (int)get_local_id(0); i < classes; i += GROUP) {
        const float own = i == label ? weight : 0.0f;
        y[i] = i == other ? own + (1.0f - weight) : own;
    }
}
#endif
#endif

#endif  // __OPENCL_VERSION__
