// Two-dimensional convolution (cross-correlation) of images [n, channels, height, width], and its gradients.
//
// Forward and input gradient are one operation, a gather: for each group of channels
//
//     target[image][output][target_y + target_step_y · j][target_x + target_step_x · i]
//         = Σ_{channel, a, b} weight(output, channel, a, b)
//           · source[image][channel][first_y + step_y · j + tap_step_y · a][first_x + step_x · i + tap_step_x · b]
//
// over rows j, columns i and taps (a, b); a source element outside the image is 0.
//   forward          source x, target y: step = stride, tap_step = dilation, first = -padding.
//   input gradient   source dy, target dx: one gather for each residue of the input position by the stride. It has step
//                    1, a negative tap_step, and only the taps whose products reach that residue, so nothing is
//                    multiplied by the zeros that a "transposed convolution" would insert. Where a channel has few taps
//                    (depthwise) the vector family makes one pass over neighbouring results, from dy `spread` apart: its
//                    depthwise part interleaves the residues, on small maps planes hold the zeros between.
// The weight gradient is a sum over images and pixels, cut into pieces that depend on the shape alone and are added in
// order.
//
// All sizes travel as one list of ints, named here once; Swift's ConvProblem fills it in the same order.
#define CONV_FIELDS(DO)                                                                                                \
    /* what is computed; channels and outputs are those of one group */                                                \
    DO(images) DO(groups) DO(channels) DO(outputs) DO(source_height) DO(source_width)                                  \
    DO(target_height) DO(target_width) DO(rows) DO(columns)                                                            \
    DO(first_y) DO(first_x) DO(step_y) DO(step_x) DO(taps_y) DO(taps_x) DO(tap_step_y) DO(tap_step_x)                  \
    DO(target_y) DO(target_x) DO(target_step_y) DO(target_step_x) DO(spread_y) DO(spread_x)                            \
    /* weight(output, channel, a, b) = weight[first + group · … + output · … + channel · … + a · … + b · …] */         \
    DO(weight_first) DO(weight_group) DO(weight_output) DO(weight_channel) DO(weight_y) DO(weight_x)                   \
    DO(has_bias) DO(relu) DO(accumulate)                                                                               \
    /* how the vector family cuts it up; explained below */                                                            \
    DO(block_images) DO(strip_rows) DO(phases_y) DO(phases_x) DO(shift_y) DO(shift_x) DO(pitch) DO(image_rows)         \
    DO(plane) DO(in_place) DO(parts) DO(weight_rows) DO(block_groups) DO(block_channels) DO(chunks)

#define CONV_MEMBER(name) int name;
typedef struct {
    CONV_FIELDS(CONV_MEMBER)
} ConvGeometry;

#ifdef VECTOR

// ---------------------------------------------------------------------------------------------------------------------
// Vector family
//
// A worker copies the source of some images (or of a strip of rows of one) into planes of its own, with the zeros of
// the padding around them. A step above 1 splits each channel into phases, the planes of every step-th row and column,
// so that all elements a tap meets are neighbours. Then each of the `depth` = channels · taps products of an output
// is a read at a fixed distance from the output's own place, and vectors of neighbouring outputs need no address
// arithmetic but one addition. Rows of a plane lie `pitch` apart and images `image_rows` rows: padding at the end of one
// is that at the start of the next.
//
// The inner loop keeps CONV_ROWS outputs × CONV_VECTORS vectors of CONV_LANES neighbouring pixels in registers and runs
// through all of depth; weights are packed in the order in which it reads them. Where a vector goes is a "spot": those
// inside a row of outputs are stored whole, the others lane by lane, skipping the places between rows.
// ---------------------------------------------------------------------------------------------------------------------

// 24 of 32 registers hold sums with AVX-512, 12 of 16 with AVX2 or four-lane units.
#ifndef CONV_LANES
#if defined(__OPENCL_VERSION__) || CROWS_LEVEL >= 4
#define CONV_LANES 16
#else
#define CONV_LANES 8
#endif
#endif
#if CONV_LANES == 16
#define CONV_ROWS 8
#else
#define CONV_ROWS 4
#endif
#define CONV_SHORT_ROWS 4
#define CONV_VECTORS 3
#define CONV_LONG_VECTORS 8  // of one output alone
#if CONV_LANES == 16
#define CONV_TAPS 6  // of four outputs in a weight gradient
#else
#define CONV_TAPS 3
#endif
#define CONV_LONG_TAPS 9

#ifdef __OPENCL_VERSION__
#define CONV_STORE_HALF(p, v) vstore8((v), 0, (p))
#define CONV_LOAD_HALF(p) vload8(0, (p))
#define CONV_STORE_QUARTER(p, v) vstore4((v), 0, (p))
#define CONV_LOAD_QUARTER(p) vload4(0, (p))
typedef float8 conv_8;
// By way of memory, as even_lanes.
INLINE float4 conv_even(float8 v) {
    float t[8];
    vstore8(v, 0, t);
    return (float4)(t[0], t[2], t[4], t[6]);
}
INLINE float4 conv_odd(float8 v) {
    float t[8];
    vstore8(v, 0, t);
    return (float4)(t[1], t[3], t[5], t[7]);
}
INLINE real interleave_lanes(float8 a, float8 b) {
    return MAKE_REAL(a.s0, b.s0, a.s1, b.s1, a.s2, b.s2, a.s3, b.s3, a.s4, b.s4, a.s5, b.s5, a.s6, b.s6, a.s7, b.s7);
}
#else
typedef float conv_half __attribute__((ext_vector_type(8), aligned(4)));
typedef float conv_quarter __attribute__((ext_vector_type(4), aligned(4)));
#define CONV_STORE_HALF(p, v) (*(conv_half *)(p) = (v))
#define CONV_LOAD_HALF(p) ((real8)(*(const conv_half *)(p)))
#define CONV_STORE_QUARTER(p, v) (*(conv_quarter *)(p) = (v))
#define CONV_LOAD_QUARTER(p) ((real4)(*(const conv_quarter *)(p)))
typedef real8 conv_8;
INLINE real4 conv_even(real8 v) { return v.even; }
INLINE real4 conv_odd(real8 v) { return v.odd; }
INLINE real interleave_lanes(real8 a, real8 b) {
    return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
}
#endif
#if CONV_LANES == 16
typedef real conv_t;
#define CONV_LOAD(p) LOAD(p)
#define CONV_STORE(p, v) STORE(p, v)
#define CONV_SUM(v) lane_sum(v)
#elif defined(__OPENCL_VERSION__)
typedef float8 conv_t;
#define CONV_LOAD(p) vload8(0, (p))
#define CONV_STORE(p, v) vstore8((v), 0, (p))
#else
typedef real8 conv_t;
#define CONV_LOAD(p) ((conv_t)(*(const conv_half *)(p)))
#define CONV_STORE(p, v) (*(conv_half *)(p) = (v))
#endif
#if CONV_LANES == 8
INLINE float conv_lane_sum(conv_t v) {
    float t[8];
    CONV_STORE(t, v);
    return ((t[0] + t[4]) + (t[2] + t[6])) + ((t[1] + t[5]) + (t[3] + t[7]));
}
#define CONV_SUM(v) conv_lane_sum(v)
// All lanes twice. Not one shuffle: oclgrind does not know those that make longer vectors.
#ifdef __OPENCL_VERSION__
#define CONV_WIDE(v)                                                                                                   \
    MAKE_REAL(v.s0, v.s1, v.s2, v.s3, v.s4, v.s5, v.s6, v.s7, v.s0, v.s1, v.s2, v.s3, v.s4, v.s5, v.s6, v.s7)
#else
#define CONV_WIDE(v) __builtin_shufflevector((v), (v), 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7)
#endif
#endif

#ifdef __OPENCL_VERSION__
#define CONV_FMA(a, b, c) fma((conv_t)(a), (conv_t)(b), (conv_t)(c))
#elif defined(__x86_64__) && !defined(CROWS_LEVEL)
#define CONV_FMA(a, b, c) ((conv_t)(a) * (conv_t)(b) + (conv_t)(c))
#else
#define CONV_FMA(a, b, c) __builtin_elementwise_fma((conv_t)(a), (conv_t)(b), (conv_t)(c))
#endif

// Functions of their own: PoCL compiles a kernel three times over, with all it inlines.
#define CONV_SEPARATE static __attribute__((noinline))
#define CONV_UNROLL _Pragma("unroll")

// A spot: plane offset of the first lane, image of the block, output row and column, place in a target channel, whether
// all lanes are neighbours there.
#define CONV_SPOT 6

// Height of the panel of outputs that begins where `remaining` are left.
INLINE int conv_panel(int remaining) {
    if (remaining > CONV_ROWS - CONV_SHORT_ROWS && remaining >= 3) return CONV_ROWS;
    return remaining >= 3 ? CONV_SHORT_ROWS : 1;
}

// Rows of all panels together: packed weights of a group are conv_padded(outputs) · depth floats.
INLINE int conv_padded(int outputs) {
    int rows = 0;
    while (rows < outputs) rows += conv_panel(outputs - rows);
    return rows;
}

INLINE int conv_least(int a, int b) { return a < b ? a : b; }
INLINE int conv_most(int a, int b) { return a > b ? a : b; }
// Distance of tap a from the first source element that any tap meets.
INLINE int conv_reach(int a, int taps, int step) { return step < 0 ? (taps - 1 - a) * -step : a * step; }
INLINE int conv_depth(const ConvGeometry *g) { return g->channels * g->taps_y * g->taps_x; }

// offsets[k] = distance in the planes from an output's spot to what its product k reads.
INLINE void conv_offsets_all(const int *geometry, GLOBAL int *offsets) {
    const ConvGeometry *g = (const ConvGeometry *)geometry;
    for (int c = 0, k = 0; c < g->channels; c++)
        for (int a = 0; a < g->taps_y; a++)
            for (int b = 0; b < g->taps_x; b++, k++) {
                const int y = conv_reach(a, g->taps_y, g->tap_step_y), x = conv_reach(b, g->taps_x, g->tap_step_x);
                // Tap t of a positive step is in phase t mod phases; a step of 1 has one phase.
                const int phase = (c * g->phases_y + a % g->phases_y) * g->phases_x + b % g->phases_x;
                offsets[k] = phase * g->plane + y / g->step_y * g->pitch + x / g->step_x;
            }
}

INLINE int conv_panels(int outputs) {
    int panels = 0;
    for (int row = 0; row < outputs; row += conv_panel(outputs - row)) panels++;
    return panels;
}

#define CONV_PACK(HEIGHT)                                                                                              \
    for (int c = 0; c < g->channels; c++) {                                                                            \
        GLOBAL const float *of_channel = from + (index_t)c * g->weight_channel;                                        \
        for (int a = 0; a < g->taps_y; a++)                                                                            \
            for (int b = 0; b < g->taps_x; b++, to += HEIGHT)                                                          \
                CONV_UNROLL for (int r = 0; r < HEIGHT; r++)                                                           \
                    to[r] = of_channel[place[r] + a * g->weight_y + b * g->weight_x];                                  \
    }

// Packs the weights of panels [begin, end), counted through all groups: packed[k][row of the panel], panel after panel.
INLINE void conv_pack_panels(index_t begin, index_t end, const int *geometry, GLOBAL const float *weight,
                             GLOBAL float *packed, GLOBAL int *offsets) {
    const ConvGeometry *g = (const ConvGeometry *)geometry;
    const int depth = conv_depth(g), padded = conv_padded(g->outputs), panels = conv_panels(g->outputs);
    if (begin == 0) conv_offsets_all(geometry, offsets);
    for (index_t item = begin; item < end; item++) {
        const index_t group = item / panels;
        int start = 0;
        for (int panel = 0; panel < item % panels; panel++) start += conv_panel(g->outputs - start);
        GLOBAL float *to = packed + (group * padded + start) * depth;
        GLOBAL const float *from = weight + g->weight_first + group * g->weight_group;
        // Rows behind the last output repeat it; nobody stores what comes of them.
        index_t place[CONV_ROWS];
        for (int r = 0; r < CONV_ROWS; r++)
            place[r] = (index_t)conv_least(start + r, g->outputs - 1) * g->weight_output;
        const int height = conv_panel(g->outputs - start);
        if (height == CONV_ROWS) {
            CONV_PACK(CONV_ROWS)
        } else if (height == CONV_SHORT_ROWS) {
            CONV_PACK(CONV_SHORT_ROWS)
        } else {
            CONV_PACK(1)
        }
    }
}

// Exactly n elements, in pieces that overlap.
INLINE void conv_copy_line(GLOBAL const float *from, int n, GLOBAL float *to) {
    if (n >= LANES) {
        for (int i = 0; i + LANES < n; i += LANES) STORE(to + i, LOAD(from + i));
        STORE(to + n - LANES, LOAD(from + n - LANES));
    } else if (n >= 8) {
        CONV_STORE_HALF(to, CONV_LOAD_HALF(from));
        CONV_STORE_HALF(to + n - 8, CONV_LOAD_HALF(from + n - 8));
    } else if (n >= 4) {
        CONV_STORE_QUARTER(to, CONV_LOAD_QUARTER(from));
        CONV_STORE_QUARTER(to + n - 4, CONV_LOAD_QUARTER(from + n - 4));
    } else {
        for (int i = 0; i < n; i++) to[i] = from[i];
    }
}

// even[i] = from[2 i] and odd[i] = from[2 i + 1] of n elements, in pieces that overlap.
INLINE void conv_split_line(GLOBAL const float *from, int n, GLOBAL float *even, GLOBAL float *odd) {
    const int pairs = n / 2;
    if (pairs >= 8) {
        for (int i = 0; i < pairs; i += 8) {
            const int at = conv_least(i, pairs - 8);
            const real v = LOAD(from + 2 * at);
            CONV_STORE_HALF(even + at, even_lanes(v));
            CONV_STORE_HALF(odd + at, odd_lanes(v));
        }
    } else if (pairs >= 4) {
        for (int i = 0; i < pairs; i += 4) {
            const int at = conv_least(i, pairs - 4);
            const conv_8 v = CONV_LOAD_HALF(from + 2 * at);
            CONV_STORE_QUARTER(even + at, conv_even(v));
            CONV_STORE_QUARTER(odd + at, conv_odd(v));
        }
    } else {
        for (int i = 0; i < pairs; i++) even[i] = from[2 * i], odd[i] = from[2 * i + 1];
    }
    if (n % 2) even[pairs] = from[n - 1];
}

// to[i] = row[column + 2 i] for i < n; reads nothing outside the row of `width` elements.
INLINE void conv_copy_second(GLOBAL const float *row, int width, int column, int n, GLOBAL float *to) {
    int i = 0;
    for (; i + 8 <= n && column + 2 * i + 16 <= width; i += 8) {
        real v = LOAD(row + column + 2 * i);
        CONV_STORE_HALF(to + i, even_lanes(v));
    }
    if (i == n) return;
    // What is left begins one element earlier, where the row ends with it.
    if (n >= 8 && column + 2 * (n - 8) > 0) {
        real v = LOAD(row + column + 2 * (n - 8) - 1);
        CONV_STORE_HALF(to + n - 8, odd_lanes(v));
        return;
    }
    if (n >= 4 && n < 8 && column > 0) {
        CONV_STORE_QUARTER(to, conv_odd(CONV_LOAD_HALF(row + column - 1)));
        CONV_STORE_QUARTER(to + n - 4, conv_odd(CONV_LOAD_HALF(row + column + 2 * (n - 4) - 1)));
        return;
    }
    if (n > 4 && n < 8) {
        CONV_STORE_QUARTER(to, conv_even(CONV_LOAD_HALF(row)));
        CONV_STORE_QUARTER(to + n - 4, conv_odd(CONV_LOAD_HALF(row + 2 * (n - 4) - 1)));
        return;
    }
    for (; i < n; i++) to[i] = row[column + 2 * i];
}

// First and last + 1 of the elements start + step · i, i < count, that lie in [0, size).
INLINE int conv_first(int start, int step, int count) {
    return conv_least(count, start < 0 ? (-start + step - 1) / step : 0);
}
INLINE int conv_last(int start, int step, int count, int size) {
    return conv_most(conv_first(start, step, count),
                     conv_least(count, start < size ? (size - start + step - 1) / step : 0));
}

// Planes of channels [0, channels) at `source` (the first of them, of the block's first image) for `rows` rows of
// outputs that begin with output row `row0`. Only what lies inside the image is written: the rest is zero and stays so
// from block to block, once the planes of `clear` channels were cleared.
CONV_SEPARATE void conv_copy_planes(const ConvGeometry *g, GLOBAL const float *source, int channels, int images,
                                    int row0, int rows, int clear, GLOBAL float *planes) {
    const index_t channel_stride = (index_t)g->source_height * g->source_width;
    const index_t image_stride = channel_stride * g->channels * g->groups;
    // First source row and column that any tap meets.
    const int top = g->first_y + g->step_y * row0 - (g->tap_step_y < 0 ? (g->taps_y - 1) * -g->tap_step_y : 0);
    const int left = g->first_x - (g->tap_step_x < 0 ? (g->taps_x - 1) * -g->tap_step_x : 0);
    const int reach_y = g->tap_step_y < 0 ? 0 : g->tap_step_y, reach_x = g->tap_step_x < 0 ? 0 : g->tap_step_x;
    if (clear) {
        // With what the last vectors read behind the last plane.
        const index_t count = (index_t)clear * g->phases_y * g->phases_x * g->plane + CONV_LANES;
        for (index_t i = 0; i < count; i += CONV_LANES) CONV_STORE(planes + i, (conv_t)(0.0f));
    }
    // Two phases along x are copied together: even and odd elements of the source, whichever is which.
    const int together = g->phases_x == 2 && g->step_x == 2;
    for (int phase_y = 0; phase_y < g->phases_y; phase_y++)
        for (int phase_x = 0; phase_x < (together ? 1 : g->phases_x); phase_x++) {
            const int y0 = top + phase_y * reach_y % g->step_y, x0 = left + phase_x * reach_x % g->step_x;
            // Either the step or the spread is 1. A spread source has elements at its multiples only.
            const int height = (g->source_height - 1) * g->spread_y + 1, width = (g->source_width - 1) * g->spread_x + 1;
            int first_x = conv_first(x0, g->step_x, g->pitch), first_y = conv_first(y0, g->step_y, rows + g->shift_y);
            const int last_x = conv_last(x0, g->step_x, g->pitch, width);
            const int last_y = conv_last(y0, g->step_y, rows + g->shift_y, height);
            while ((x0 + g->step_x * first_x) % g->spread_x) first_x++;
            while ((y0 + g->step_y * first_y) % g->spread_y) first_y++;
            const int count_x = (last_x - first_x + g->spread_x - 1) / g->spread_x;
            const int count_y = (last_y - first_y + g->spread_y - 1) / g->spread_y;
            const index_t start = (index_t)((y0 + g->step_y * first_y) / g->spread_y) * g->source_width;
            const int column = (x0 + g->step_x * first_x) / g->spread_x;
            const int row_step = g->step_y * g->source_width, pitch = g->spread_y * g->pitch;
            const int begin = conv_most(0, -left);
            const int count_both = conv_most(0, conv_least(width, left + 2 * g->pitch) - begin - left);
            // Nothing lies between rows, there or here.
            const int is_whole = g->step_x == 1 && g->spread_x == 1 && count_x == pitch && row_step == pitch;
            for (int c = 0; c < channels; c++) {
                GLOBAL float *plane = planes + (index_t)((c * g->phases_y + phase_y) * g->phases_x + phase_x) * g->plane;
                for (int image = 0; image < images; image++) {
                    GLOBAL const float *from = source + image * image_stride + c * channel_stride + start;
                    GLOBAL float *to = plane + (image * g->image_rows + first_y) * g->pitch + first_x;
                    if (together) {
                        to += begin / 2 - first_x;
                        GLOBAL float *second = begin % 2 ? to + 1 : to + g->plane;
                        if (begin % 2) to += g->plane;
                        for (int u = 0; u < count_y; u++, from += row_step, to += pitch, second += pitch)
                            conv_split_line(from + begin + left, count_both, to, second);
                        continue;
                    }
                    if (is_whole) {
                        conv_copy_line(from, count_y * pitch, to);
                        continue;
                    }
                    if (g->step_x == 1 && g->spread_x == 1) {
                        for (int u = 0; u < count_y; u++, from += row_step, to += pitch)
                            conv_copy_line(from + column, count_x, to);
                    } else if (g->step_x == 2 && g->spread_x == 1) {
                        for (int u = 0; u < count_y; u++, from += row_step, to += pitch)
                            conv_copy_second(from, g->source_width, column, count_x, to);
                    } else {
                        for (int u = 0; u < count_y; u++, from += row_step, to += pitch)
                            for (int i = 0; i < count_x; i++)
                                to[(index_t)g->spread_x * i] = from[column + (index_t)g->step_x * i];
                    }
                }
            }
        }
}

// Lists the spots of `rows` rows of outputs of `images` images: each begins at the first pixel that the one before left
// over. Returns how many there are.
CONV_SEPARATE int conv_list_spots(const ConvGeometry *g, int images, int row0, int rows, GLOBAL int *spots) {
    // Where rows follow upon each other without a gap, in planes and target, all of an image's pixels are neighbours.
    const int dense = g->pitch == g->columns && g->target_width == g->columns && g->target_step_y == 1;
    int count = 0, image = 0, row = 0, column = 0;
    while (image < images) {
        GLOBAL int *spot = spots + count * CONV_SPOT;
        spot[0] = (image * g->image_rows + row) * g->pitch + column;
        spot[1] = image;
        spot[2] = row;
        spot[3] = column;
        spot[4] = (g->target_y + (row0 + row) * g->target_step_y) * g->target_width + g->target_x +
                  column * g->target_step_x;
        const int rest = dense ? (rows - row) * g->columns - column : g->columns - column;
        spot[5] = rest >= CONV_LANES && g->target_step_x == 1;
        count++;
        column += CONV_LANES;
        while (column >= g->pitch) column -= g->pitch, row++;
        while (row >= g->image_rows) row -= g->image_rows, image++;
        if (column >= g->columns) column = 0, row++;
        if (row >= rows) row = column = 0, image++;
    }
    return count;
}

// The lanes of a spot run by run: BODY sees lanes [lane, lane + run), the pixels (image, row, column …).
#define CONV_RUNS(g, spot, images, rows, BODY)                                                                         \
    {                                                                                                                  \
        int image = (spot)[1], row = (spot)[2], column = (spot)[3];                                                    \
        for (int lane = 0; lane < CONV_LANES && image < images;) {                                                     \
            int run = conv_least(CONV_LANES - lane, (column < g->columns ? g->columns : g->pitch) - column);           \
            if (row < rows && column < g->columns) BODY;                                                               \
            lane += run;                                                                                               \
            column += run;                                                                                             \
            if (column == g->pitch) {                                                                                  \
                column = 0;                                                                                            \
                if (++row == g->image_rows) row = 0, image++;                                                          \
            }                                                                                                          \
        }                                                                                                              \
    }

// What the tiles of one block write to.
typedef struct {
    const ConvGeometry *g;
    GLOBAL float *target;  // output 0 of the group, first image of the block
    index_t channel_stride, image_stride;
    int images, row0, rows;
} ConvTarget;

// Stores lanes[row][lane] of `outputs` neighbouring outputs; `to` is the first of them, of the block's first image.
CONV_SEPARATE void conv_scatter(const ConvTarget *t, GLOBAL const int *spot, const float *lanes, int outputs,
                                GLOBAL float *to) {
    const ConvGeometry *g = t->g;
    const int step = g->target_step_x;
    CONV_RUNS(g, spot, t->images, t->rows, {
        GLOBAL float *p = to + image * t->image_stride +
                          (index_t)(g->target_y + (t->row0 + row) * g->target_step_y) * g->target_width + g->target_x +
                          column * step;
        const float *from = lanes + lane;
        for (int r = 0; r < outputs; r++, p += t->channel_stride, from += CONV_LANES) {
            if (g->accumulate) {
                for (int i = 0; i < run; i++) p[i * step] += from[i];
            } else if (run == CONV_LANES) {
                CONV_UNROLL for (int i = 0; i < CONV_LANES; i++) p[i * step] = from[i];
            } else {
                for (int i = 0; i < run; i++) p[i * step] = from[i];
            }
        }
    })
}

INLINE conv_t conv_activated(const ConvGeometry *g, conv_t sum, float bias) {
    sum += (conv_t)(bias);
    // In this order a maximum of one instruction, and NaN stays NaN.
    return g->relu ? (sum < (conv_t)(0.0f) ? (conv_t)(0.0f) : sum) : sum;
}

// Outputs [output, output + rows) at `count` (1…VECTORS) spots; ROWS outputs are computed. A macro, because the sums
// stay in registers only when all loops over them unroll.
#define CONV_DEFINE_TILE(NAME, ROWS, VECTORS)                                                                          \
    CONV_SEPARATE void NAME(const ConvTarget *t, int depth, GLOBAL const int *offsets, GLOBAL const float *planes,     \
                            GLOBAL const int *spots, int count, GLOBAL const float *weights,                           \
                            GLOBAL const float *bias, int output, int rows) {                                          \
        conv_t sum[ROWS][VECTORS];                                                                                     \
        GLOBAL const float *from[VECTORS];                                                                             \
        CONV_UNROLL for (int r = 0; r < ROWS; r++)                                                                     \
            CONV_UNROLL for (int v = 0; v < VECTORS; v++) sum[r][v] = (conv_t)(0.0f);                                  \
        CONV_UNROLL for (int v = 0; v < VECTORS; v++)                                                                  \
            from[v] = planes + spots[(v < count ? v : 0) * CONV_SPOT];                                                 \
        for (int k = 0; k < depth; k++) {                                                                              \
            const index_t at = offsets[k];                                                                             \
            conv_t in[VECTORS];                                                                                        \
            CONV_UNROLL for (int v = 0; v < VECTORS; v++) in[v] = CONV_LOAD(from[v] + at);                             \
            CONV_UNROLL for (int r = 0; r < ROWS; r++) {                                                               \
                const conv_t w = (conv_t)(weights[r]);                                                                 \
                CONV_UNROLL for (int v = 0; v < VECTORS; v++) sum[r][v] = CONV_FMA(w, in[v], sum[r][v]);               \
            }                                                                                                          \
            weights += ROWS;                                                                                           \
        }                                                                                                              \
        float b[ROWS];                                                                                                 \
        GLOBAL float *to = t->target + output * t->channel_stride;                                                     \
        CONV_UNROLL for (int r = 0; r < ROWS; r++) b[r] = t->g->has_bias && r < rows ? bias[output + r] : 0.0f;        \
        CONV_UNROLL for (int v = 0; v < VECTORS; v++) if (v < count) {                                                 \
            GLOBAL const int *spot = spots + v * CONV_SPOT;                                                            \
            GLOBAL float *p = to + spot[1] * t->image_stride + spot[4];                                                \
            if (spot[5] && !t->g->accumulate) {                                                                        \
                CONV_UNROLL for (int r = 0; r < ROWS; r++) if (r < rows)                                               \
                    CONV_STORE(p + r * t->channel_stride, conv_activated(t->g, sum[r][v], b[r]));                      \
            } else {                                                                                                   \
                float lanes[ROWS * CONV_LANES];                                                                        \
                CONV_UNROLL for (int r = 0; r < ROWS; r++)                                                             \
                    CONV_STORE(lanes + r * CONV_LANES, conv_activated(t->g, sum[r][v], b[r]));                         \
                conv_scatter(t, spot, lanes, rows, to);                                                                \
            }                                                                                                          \
        }                                                                                                              \
    }

CONV_DEFINE_TILE(conv_tile_3, CONV_ROWS, 3)
CONV_DEFINE_TILE(conv_tile_2, CONV_ROWS, 2)
CONV_DEFINE_TILE(conv_tile_1, CONV_ROWS, 1)
#if CONV_ROWS != CONV_SHORT_ROWS
CONV_DEFINE_TILE(conv_short_3, CONV_SHORT_ROWS, 3)
CONV_DEFINE_TILE(conv_short_1, CONV_SHORT_ROWS, 1)
#endif
CONV_DEFINE_TILE(conv_long_tile, 1, CONV_LONG_VECTORS)

// Outputs [begin, end) of a group, which begin at a panel, at all spots.
INLINE void conv_multiply(const ConvTarget *t, int depth, GLOBAL const int *offsets, GLOBAL const float *planes,
                          GLOBAL const int *spots, int count, GLOBAL const float *packed, GLOBAL const float *bias,
                          int begin, int end) {
    // Weights that stay in the second-level cache while all spots pass by.
    const int singles = t->g->outputs % CONV_ROWS < 3 ? t->g->outputs % CONV_ROWS : 0;
    for (int first = begin, last; first < end; first = last) {
        // The one or two outputs that panels leave over take more vectors at a time.
        const int alone = first >= t->g->outputs - singles;
        const int most = alone ? CONV_LONG_VECTORS : CONV_VECTORS;
        last = conv_least(alone ? end : conv_least(end, t->g->outputs - singles), first + t->g->weight_rows);
        for (int s = 0; s < count; s += most) {
            const int vectors = conv_least(most, count - s);
            for (int row = first; row < last;) {
                const int height = conv_panel(t->g->outputs - row), rows = conv_least(height, t->g->outputs - row);
                GLOBAL const float *weights = packed + (index_t)row * depth;
#define CONV_TILE_ARGUMENTS(from, n)                                                                                   \
    t, depth, offsets, planes, spots + (from) * CONV_SPOT, n, weights, bias, row, rows
                if (height == 1) {
                    conv_long_tile(CONV_TILE_ARGUMENTS(s, vectors));
#if CONV_ROWS != CONV_SHORT_ROWS
                } else if (height == CONV_SHORT_ROWS) {
                    if (vectors == 1) {
                        conv_short_1(CONV_TILE_ARGUMENTS(s, 1));
                    } else {
                        conv_short_3(CONV_TILE_ARGUMENTS(s, vectors));
                    }
#endif
                } else if (vectors == 3) {
                    conv_tile_3(CONV_TILE_ARGUMENTS(s, 3));
                } else if (vectors == 2) {
                    conv_tile_2(CONV_TILE_ARGUMENTS(s, 2));
                } else {
                    conv_tile_1(CONV_TILE_ARGUMENTS(s, 1));
                }
                row += height;
            }
        }
    }
}

// Workers [begin, end) of `workers`, each with `slot` floats of its own: planes, then spots. The work is cut into units:
// a block of images, a strip of rows, a part of the outputs (whole groups when there are several).
INLINE void conv_gather_workers(index_t begin, index_t end, index_t workers, const int *geometry,
                                GLOBAL const float *source, GLOBAL const float *packed, GLOBAL const int *offsets,
                                GLOBAL const float *bias, GLOBAL float *target, GLOBAL float *slots, index_t slot,
                                index_t spots_at) {
    const ConvGeometry *g = (const ConvGeometry *)geometry;
    const int depth = conv_depth(g), padded = conv_padded(g->outputs);
    const int blocks = (g->images + g->block_images - 1) / g->block_images;
    const int strips = (g->rows + g->strip_rows - 1) / g->strip_rows;
    const index_t units = (index_t)blocks * strips * g->parts;
    const index_t source_channel = (index_t)g->source_height * g->source_width;
    const index_t target_channel = (index_t)g->target_height * g->target_width;
    for (index_t worker = begin; worker < end; worker++) {
        GLOBAL float *planes = slots + worker * slot;
        GLOBAL int *spots = (GLOBAL int *)(planes + spots_at);
        index_t layout_of_planes = -1;
        for (index_t unit = units * worker / workers; unit < units * (worker + 1) / workers; unit++) {
            const int part = (int)(unit % g->parts), strip = (int)(unit / g->parts % strips);
            const int image0 = (int)(unit / g->parts / strips) * g->block_images;
            ConvTarget t;
            t.g = g;
            t.images = conv_least(g->block_images, g->images - image0);
            t.row0 = strip * g->strip_rows;
            t.rows = conv_least(g->strip_rows, g->rows - t.row0);
            t.channel_stride = target_channel;
            t.image_stride = target_channel * g->outputs * g->groups;
            const int count = conv_list_spots(g, t.images, t.row0, t.rows, spots);
            // Planes with the same zeros as before need not be cleared.
            const index_t layout = (index_t)strip * (g->block_images + 1) + t.images;
            int group0 = 0, group1 = 1, first = 0, last = g->outputs;
            if (g->groups > 1) {
                group0 = (int)((index_t)g->groups * part / g->parts);
                group1 = (int)((index_t)g->groups * (part + 1) / g->parts);
            } else {
                const int panels = (g->outputs + CONV_ROWS - 1) / CONV_ROWS;
                first = (int)((index_t)panels * part / g->parts) * CONV_ROWS;
                last = conv_least(last, (int)((index_t)panels * (part + 1) / g->parts) * CONV_ROWS);
            }
            const int planes_of_group = g->channels * g->phases_y * g->phases_x;
            for (int start = group0; start < group1; start += g->block_groups) {
                const int stop = conv_least(group1, start + g->block_groups);
                GLOBAL const float *from =
                    source + ((index_t)image0 * g->groups + start) * g->channels * source_channel;
                if (!g->in_place) {
                    conv_copy_planes(g, from, (stop - start) * g->channels, t.images, t.row0, t.rows,
                                     layout == layout_of_planes ? 0 : g->block_groups * g->channels, planes);
                    layout_of_planes = layout;
                }
                for (int group = start; group < stop; group++) {
                    GLOBAL const float *in =
                        g->in_place ? from + (index_t)(group - start) * g->channels * source_channel
                                    : planes + (index_t)(group - start) * planes_of_group * g->plane;
                    t.target = target + ((index_t)image0 * g->groups + group) * g->outputs * target_channel;
                    conv_multiply(&t, depth, offsets, in, spots, count, packed + (index_t)group * padded * depth,
                                  bias + group * g->outputs, first, last);
                }
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Weight gradient: dweight[o][k] = Σ over spots of dy[o] · planes[offsets[k]], with a forward geometry. dy is copied too,
// spot after spot, with zeros in lanes that are no pixel. Blocks and strips are dealt out to `chunks`; each chunk's sums
// [outputs of all groups][depth + 1], the last one Σ dy, are added in order by conv_weight_sum.
// ---------------------------------------------------------------------------------------------------------------------

#define CONV_DEFINE_DOT(NAME, ROWS, TAPS)                                                                              \
    CONV_SEPARATE void NAME(int count, GLOBAL const int *spots, GLOBAL const float *planes,                            \
                            GLOBAL const int *offsets, int base, int taps, GLOBAL const float *dy, int dy_pitch,       \
                            int rows, GLOBAL float *to, int to_pitch, int add) {                                       \
        conv_t sum[ROWS][TAPS];                                                                                        \
        GLOBAL const float *from[TAPS];                                                                                \
        GLOBAL const float *down[ROWS];                                                                                \
        CONV_UNROLL for (int r = 0; r < ROWS; r++)                                                                     \
            CONV_UNROLL for (int k = 0; k < TAPS; k++) sum[r][k] = (conv_t)(0.0f);                                     \
        CONV_UNROLL for (int k = 0; k < TAPS; k++) from[k] = planes + (offsets[k < taps ? k : 0] - base);              \
        CONV_UNROLL for (int r = 0; r < ROWS; r++) down[r] = dy + (index_t)(r < rows ? r : 0) * dy_pitch;              \
        for (int s = 0; s < count; s++) {                                                                              \
            const index_t at = spots[s * CONV_SPOT], place = (index_t)s * CONV_LANES;                                  \
            conv_t in[TAPS];                                                                                           \
            CONV_UNROLL for (int k = 0; k < TAPS; k++) in[k] = CONV_LOAD(from[k] + at);                                \
            CONV_UNROLL for (int r = 0; r < ROWS; r++) {                                                               \
                const conv_t d = CONV_LOAD(down[r] + place);                                                           \
                CONV_UNROLL for (int k = 0; k < TAPS; k++) sum[r][k] = CONV_FMA(d, in[k], sum[r][k]);                  \
            }                                                                                                          \
        }                                                                                                              \
        CONV_UNROLL for (int r = 0; r < ROWS; r++)                                                                     \
            CONV_UNROLL for (int k = 0; k < TAPS; k++) if (r < rows && k < taps) {                                     \
                const float v = CONV_SUM(sum[r][k]);                                                                   \
                to[(index_t)r * to_pitch + k] = add ? to[(index_t)r * to_pitch + k] + v : v;                           \
            }                                                                                                          \
    }

CONV_DEFINE_DOT(conv_dot, 4, CONV_TAPS)
CONV_DEFINE_DOT(conv_dot_long, 1, CONV_LONG_TAPS)

// dy of outputs [0, outputs) at `from`, spot after spot.
CONV_SEPARATE void conv_copy_lanes(const ConvGeometry *g, GLOBAL const float *from, index_t channel_stride,
                                   index_t image_stride, int outputs, int images, int row0, int rows,
                                   GLOBAL const int *spots, int count, GLOBAL float *to) {
    for (int o = 0; o < outputs; o++, from += channel_stride)
        for (int s = 0; s < count; s++, to += CONV_LANES) {
            GLOBAL const int *spot = spots + s * CONV_SPOT;
            if (spot[5]) {
                CONV_STORE(to, CONV_LOAD(from + spot[1] * image_stride + spot[4]));
            } else {
                CONV_STORE(to, (conv_t)(0.0f));
                CONV_RUNS(g, spot, images, rows, {
                    GLOBAL const float *p =
                        from + image * image_stride + (index_t)(row0 + row) * g->target_width + column;
                    for (int i = 0; i < run; i++) to[lane + i] = p[i];
                })
            }
        }
}

// Products of outputs [first, last) of a group, whose dy is at `lanes`, with channels [channel0, channel0 + channels).
INLINE void conv_sum_products(const ConvGeometry *g, int count, GLOBAL const int *spots, GLOBAL const float *planes,
                              GLOBAL const int *offsets, int channel0, int channels, GLOBAL const float *lanes,
                              int dy_pitch, int first, int last, GLOBAL float *sums, int add) {
    const int taps = g->taps_y * g->taps_x, pitch = g->channels * taps + 1;
    const int base = channel0 * g->phases_y * g->phases_x * g->plane, stop = (channel0 + channels) * taps;
    for (int o = first; o < last;) {
        const int rest = last - o, height = rest < 3 ? 1 : 4, step = height == 1 ? CONV_LONG_TAPS : CONV_TAPS;
        GLOBAL const float *d = lanes + (index_t)(o - first) * dy_pitch;
        for (int k = channel0 * taps; k < stop; k += step) {
            GLOBAL float *to = sums + (index_t)o * pitch + k;
            const int some = conv_least(step, stop - k);
            if (height == 1) {
                conv_dot_long(count, spots, planes, offsets + k, base, some, d, dy_pitch, 1, to, pitch, add);
            } else {
                conv_dot(count, spots, planes, offsets + k, base, some, d, dy_pitch, conv_least(4, rest), to, pitch,
                         add);
            }
        }
        o += height;
    }
}

// Workers [begin, end) of `workers`; a slot holds planes of block_channels channels, spots, and dy of a part's outputs.
INLINE void conv_weight_workers(index_t begin, index_t end, index_t workers, const int *geometry,
                                GLOBAL const float *source, GLOBAL const float *dy, GLOBAL const int *offsets,
                                GLOBAL float *partials, GLOBAL float *slots, index_t slot, index_t spots_at,
                                index_t lanes_at) {
    const ConvGeometry *g = (const ConvGeometry *)geometry;
    const int depth = conv_depth(g), phases = g->phases_y * g->phases_x;
    const int strips = (g->rows + g->strip_rows - 1) / g->strip_rows;
    const index_t blocks = (index_t)((g->images + g->block_images - 1) / g->block_images) * strips;
    const index_t units = (index_t)g->chunks * g->parts;
    const index_t source_channel = (index_t)g->source_height * g->source_width;
    const index_t target_channel = (index_t)g->target_height * g->target_width;
    const index_t target_image = target_channel * g->outputs * g->groups;
    for (index_t worker = begin; worker < end; worker++) {
        GLOBAL float *planes = slots + worker * slot;
        GLOBAL int *spots = (GLOBAL int *)(planes + spots_at);
        index_t layout_of_planes = -1;
        GLOBAL float *lanes = planes + lanes_at;
        for (index_t unit = units * worker / workers; unit < units * (worker + 1) / workers; unit++) {
            const int chunk = (int)(unit / g->parts), part = (int)(unit % g->parts);
            int group0 = 0, group1 = 1, first = 0, last = g->outputs;
            if (g->groups > 1) {
                group0 = (int)((index_t)g->groups * part / g->parts);
                group1 = (int)((index_t)g->groups * (part + 1) / g->parts);
            } else {
                const int panels = (g->outputs + 3) / 4;
                first = (int)((index_t)panels * part / g->parts) * 4;
                last = conv_least(last, (int)((index_t)panels * (part + 1) / g->parts) * 4);
            }
            const index_t block0 = blocks * chunk / g->chunks, block1 = blocks * (chunk + 1) / g->chunks;
            for (index_t block = block0; block < block1; block++) {
                const int image0 = (int)(block / strips) * g->block_images;
                const int row0 = (int)(block % strips) * g->strip_rows;
                const int images = conv_least(g->block_images, g->images - image0);
                const int rows = conv_least(g->strip_rows, g->rows - row0);
                const int count = conv_list_spots(g, images, row0, rows, spots), add = block > block0;
                const int dy_pitch = count * CONV_LANES;
                const index_t layout = block % strips * (g->block_images + 1) + images;
                for (int start = group0; start < group1; start += g->block_groups) {
                    const int stop = conv_least(group1, start + g->block_groups);
                    GLOBAL const float *from =
                        source + ((index_t)image0 * g->groups + start) * g->channels * source_channel;
                    // All outputs of several groups, or a part's of one.
                    const index_t output0 = (index_t)start * g->outputs + first;
                    const int outputs = (stop - start) * (last - first);
                    conv_copy_lanes(g, dy + ((index_t)image0 * g->groups * g->outputs + output0) * target_channel,
                                    target_channel, target_image, outputs, images, row0, rows, spots, count, lanes);
                    // Channels in blocks, unless planes of several groups fit.
                    for (int c = 0; c < g->channels; c += g->block_channels) {
                        const int channels = conv_least(g->block_channels, g->channels - c);
                        if (!g->in_place)
                            conv_copy_planes(g, from + c * source_channel, (stop - start) * channels, images, row0,
                                             rows, layout == layout_of_planes ? 0 : g->block_groups * g->block_channels,
                                             planes);
                        layout_of_planes = layout;
                        for (int group = start; group < stop; group++) {
                            GLOBAL const float *in =
                                g->in_place
                                    ? from + ((index_t)(group - start) * g->channels + c) * source_channel
                                    : planes + (index_t)(group - start) * channels * phases * g->plane;
                            GLOBAL float *sums =
                                partials + ((index_t)chunk * g->groups + group) * g->outputs * (depth + 1);
                            conv_sum_products(g, count, spots, in, offsets, c, channels,
                                              lanes + (index_t)(group - start) * g->outputs * dy_pitch, dy_pitch, first,
                                              last, sums, add);
                        }
                    }
                    if (g->has_bias)
                        for (int o = 0; o < outputs; o++) {
                            conv_t sum = (conv_t)(0.0f);
                            for (int s = 0; s < count; s++)
                                sum += CONV_LOAD(lanes + ((index_t)o * count + s) * CONV_LANES);
                            GLOBAL float *to = partials +
                                               ((index_t)chunk * g->groups * g->outputs + output0 + o) * (depth + 1) +
                                               depth;
                            *to = add ? *to + CONV_SUM(sum) : CONV_SUM(sum);
                        }
                }
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Depthwise: groups of one channel, or of one output. Their few products do not pay for phases, spots and packed weights.
// A worker copies one plane (or a strip of its rows), each row with the zeros of the padding at both ends, and goes
// through it row by row. A step of 2 along x parts a row of the copy, its even elements before its odd ones; along y it is
// a step over rows. A spread source is copied without the zeros between its elements: results of each residue of their
// place by the spread meet taps of their own, and those of both residues along x are interleaved.
// ---------------------------------------------------------------------------------------------------------------------

#define CONV_FEW_VECTORS 4
// Floats behind a copy that vectors may read, and clearing may write to.
#define CONV_SLACK 32

INLINE int conv_floor(int a, int b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

// The source element that a copy begins with: the first that any tap of output 0 meets.
INLINE int conv_start(int first, int taps, int tap_step, int spread) {
    return conv_floor(first + conv_least(0, (taps - 1) * tap_step), spread);
}

// Elements of the source from there to the last one that `count` outputs meet.
INLINE int conv_span(int count, int first, int step, int taps, int tap_step, int spread) {
    const int last = first + (count - 1) * step + conv_most(0, (taps - 1) * tap_step);
    return conv_floor(last, spread) - conv_start(first, taps, tap_step, spread) + 1;
}

// The taps that results of one residue meet: distances in the copy, and places of their weights. Returns how many.
CONV_SEPARATE int conv_list_taps(const ConvGeometry *g, int residue_y, int residue_x, GLOBAL int *offsets,
                                 GLOBAL int *places) {
    const int top = conv_start(g->first_y, g->taps_y, g->tap_step_y, g->spread_y) * g->spread_y;
    const int left = conv_start(g->first_x, g->taps_x, g->tap_step_x, g->spread_x) * g->spread_x;
    int count = 0;
    for (int c = 0; c < g->channels; c++)
        for (int a = 0; a < g->taps_y; a++)
            for (int b = 0; b < g->taps_x; b++) {
                const int y = g->first_y + residue_y + a * g->tap_step_y - top;
                const int x = g->first_x + residue_x + b * g->tap_step_x - left, column = x / g->spread_x;
                if (y % g->spread_y || x % g->spread_x) continue;
                offsets[count] = c * g->plane + y / g->spread_y * g->pitch + column / g->step_x +
                                 column % g->step_x * (g->pitch / g->step_x);
                places[count++] = c * g->weight_channel + a * g->weight_y + b * g->weight_x;
            }
    return count;
}

INLINE void conv_clear(GLOBAL float *to, index_t count) {
    for (index_t i = 0; i < count; i += LANES) STORE(to + i, SPLAT(0.0f));
}

// What a copy holds of a channel: source elements [column, column + width) of a row go to `at`. The strip of output row 0
// begins with row `top`; a whole strip copies `whole` rows, the last one `last`.
typedef struct {
    int top, whole, last, column, width, at;
} ConvStrip;

INLINE ConvStrip conv_strip(const ConvGeometry *g) {
    const int left = conv_start(g->first_x, g->taps_x, g->tap_step_x, g->spread_x);
    const int columns = conv_span(g->columns, g->first_x, g->step_x, g->taps_x, g->tap_step_x, g->spread_x);
    const int rest = (g->rows - 1) % g->strip_rows + 1;
    ConvStrip s;
    s.top = conv_start(g->first_y, g->taps_y, g->tap_step_y, g->spread_y);
    s.whole = conv_span(g->strip_rows, g->first_y, g->step_y, g->taps_y, g->tap_step_y, g->spread_y);
    s.last = conv_span(rest, g->first_y, g->step_y, g->taps_y, g->tap_step_y, g->spread_y);
    s.column = conv_most(0, left);
    s.width = conv_most(0, conv_least(g->source_width, left + columns) - s.column);
    s.at = s.column - left;
    return s;
}

// Copies what a strip of outputs meets in a channel, `count` rows of the source from `first`.
CONV_SEPARATE void conv_copy_strip(const ConvGeometry *g, const ConvStrip *s, GLOBAL const float *channel, int first,
                                   int count, GLOBAL float *copy) {
    const int width = s->width, pitch = g->pitch, source_width = g->source_width, height = g->source_height;
    GLOBAL const float *from = channel + (index_t)first * source_width + s->column;
    if (g->step_x == 1) {
        for (int row = first; row < first + count; row++, from += source_width, copy += pitch) {
            if (row < 0 || row >= height) {
                conv_clear(copy, pitch);
            } else {
                conv_copy_line(from, width, copy + s->at);
            }
        }
    } else {
        const int second = pitch / 2;
        const int even = s->at % 2 * second + s->at / 2, odd = (s->at + 1) % 2 * second + (s->at + 1) / 2;
        for (int row = first; row < first + count; row++, from += source_width, copy += pitch) {
            if (row < 0 || row >= height) {
                conv_clear(copy, pitch);
            } else {
                conv_split_line(from, width, copy + even, copy + odd);
            }
        }
    }
}

// Stores the first n lanes. Whatever lies before `end` comes later and may be overwritten.
INLINE void conv_store_lanes(int accumulate, real v, int n, GLOBAL float *p, GLOBAL float *end) {
    if (n >= LANES) {
        if (accumulate) v += LOAD(p);
        STORE(p, v);
    } else if (accumulate) {
        store_part(p, v + load_part(p, n, 0.0f), n);
    } else if (end - p >= LANES) {
        STORE(p, v);
    } else {
        store_part(p, v, n);
    }
}
#if CONV_LANES == 16
#define CONV_STORE_LANES conv_store_lanes
#else
INLINE void conv_store_half(int accumulate, conv_t v, int n, GLOBAL float *p, GLOBAL float *end) {
    if (n >= CONV_LANES) {
        if (accumulate) v += CONV_LOAD(p);
        CONV_STORE(p, v);
    } else if (!accumulate && end - p >= CONV_LANES) {
        CONV_STORE(p, v);
    } else {
        conv_store_lanes(accumulate, CONV_WIDE(v), n, p, p);
    }
}
#define CONV_STORE_LANES conv_store_half
#endif

// `rows` rows of outputs, `row_step` apart in the copy and `target_row` in the target: vectors follow each other from row
// to row.
#define CONV_DEFINE_ROWS(NAME, VECTORS)                                                                                \
    CONV_SEPARATE void NAME(const ConvGeometry *g, int taps, GLOBAL const int *offsets, GLOBAL const float *weights,   \
                            GLOBAL const float *copy, int row_step, int rows, float bias, GLOBAL float *target,        \
                            int target_row, GLOBAL float *end) {                                                       \
        const int columns = g->columns;                                                                                \
        GLOBAL const float *line = copy;                                                                               \
        int column = 0, to_column = 0;                                                                                 \
        for (int row = 0, to_row = 0; row < rows;) {                                                                   \
            conv_t sum[VECTORS];                                                                                       \
            GLOBAL const float *from[VECTORS];                                                                         \
            CONV_UNROLL for (int v = 0; v < VECTORS; v++) {                                                            \
                from[v] = row < rows ? line + column : copy;                                                           \
                sum[v] = (conv_t)(0.0f);                                                                               \
                column += CONV_LANES;                                                                                  \
                if (column >= columns) column = 0, row++, line += row_step;                                            \
            }                                                                                                          \
            for (int k = 0; k < taps; k++) {                                                                           \
                const index_t at = offsets[k];                                                                         \
                const conv_t w = (conv_t)(weights[k]);                                                                 \
                CONV_UNROLL for (int v = 0; v < VECTORS; v++) sum[v] = CONV_FMA(w, CONV_LOAD(from[v] + at), sum[v]);   \
            }                                                                                                          \
            CONV_UNROLL for (int v = 0; v < VECTORS; v++) {                                                            \
                if (to_row < rows)                                                                                     \
                    CONV_STORE_LANES(g->accumulate, conv_activated(g, sum[v], bias), columns - to_column,              \
                                     target + to_column, end);                                                         \
                to_column += CONV_LANES;                                                                               \
                if (to_column >= columns) to_column = 0, to_row++, target += target_row;                               \
            }                                                                                                          \
        }                                                                                                              \
    }
CONV_DEFINE_ROWS(conv_rows_8, 8)
CONV_DEFINE_ROWS(conv_rows_4, 4)

// The same where the spread along x is 2: `even` taps for results in even columns, then `odd` ones for the others.
CONV_SEPARATE void conv_row_pairs(const ConvGeometry *g, int even, int odd, GLOBAL const int *offsets,
                                  GLOBAL const float *weights, GLOBAL const float *copy, int row_step, int rows,
                                  GLOBAL float *target, int target_row) {
    const int columns = g->columns;
    GLOBAL const float *line = copy;
    int column = 0, to_column = 0;
    for (int row = 0, to_row = 0; row < rows;) {
        conv_t sum[2][CONV_FEW_VECTORS];
        GLOBAL const float *from[CONV_FEW_VECTORS];
        CONV_UNROLL for (int v = 0; v < CONV_FEW_VECTORS; v++) {
            from[v] = row < rows ? line + column / 2 : copy;
            sum[0][v] = sum[1][v] = (conv_t)(0.0f);
            column += 2 * CONV_LANES;
            if (column >= columns) column = 0, row++, line += row_step;
        }
        for (int k = 0; k < even; k++) {
            const index_t at = offsets[k];
            const conv_t w = (conv_t)(weights[k]);
            CONV_UNROLL for (int v = 0; v < CONV_FEW_VECTORS; v++)
                sum[0][v] = CONV_FMA(w, CONV_LOAD(from[v] + at), sum[0][v]);
        }
        for (int k = even; k < even + odd; k++) {
            const index_t at = offsets[k];
            const conv_t w = (conv_t)(weights[k]);
            CONV_UNROLL for (int v = 0; v < CONV_FEW_VECTORS; v++)
                sum[1][v] = CONV_FMA(w, CONV_LOAD(from[v] + at), sum[1][v]);
        }
        CONV_UNROLL for (int v = 0; v < CONV_FEW_VECTORS; v++) {
            if (to_row < rows) {
                GLOBAL float *p = target + to_column;
                const int n = columns - to_column;
                float even_lane[CONV_LANES], odd_lane[CONV_LANES];
                CONV_STORE(even_lane, sum[0][v]);
                CONV_STORE(odd_lane, sum[1][v]);
                CONV_UNROLL for (int i = 0; i < CONV_LANES; i += 8) if (2 * i < n)
                    conv_store_lanes(g->accumulate,
                                     interleave_lanes(CONV_LOAD_HALF(even_lane + i), CONV_LOAD_HALF(odd_lane + i)),
                                     n - 2 * i, p + 2 * i, p + 2 * i);
            }
            to_column += 2 * CONV_LANES;
            if (to_column >= columns) to_column = 0, to_row++, target += target_row;
        }
    }
}

// Workers [begin, end) of `workers`; a slot holds copies of a group's channels, then at lists_at two lists of ints and one
// of weights. The units are strips of the planes of all groups of all images.
INLINE void conv_depthwise_workers(index_t begin, index_t end, index_t workers, const int *geometry,
                                   GLOBAL const float *source, GLOBAL const float *weight, GLOBAL const float *bias,
                                   GLOBAL float *target, GLOBAL float *slots, index_t slot, index_t lists_at) {
    const ConvGeometry *g = (const ConvGeometry *)geometry;
    const int depth = conv_depth(g), strips = (g->rows + g->strip_rows - 1) / g->strip_rows;
    const index_t units = (index_t)g->images * g->groups * strips;
    const index_t source_channel = (index_t)g->source_height * g->source_width;
    const index_t target_channel = (index_t)g->target_height * g->target_width;
    const int row_step = g->spread_y == 1 ? g->step_y * g->pitch : g->pitch;
    const int target_row = g->spread_y * g->target_width, vectors = (g->columns + CONV_LANES - 1) / CONV_LANES;
    const ConvStrip s = conv_strip(g);
    for (index_t worker = begin; worker < end; worker++) {
        GLOBAL float *copy = slots + worker * slot, *weights = copy + lists_at + 2 * depth;
        GLOBAL int *offsets = (GLOBAL int *)(copy + lists_at), *places = offsets + depth;
        conv_clear(copy, (index_t)g->channels * g->plane + CONV_SLACK);
        int counts[2][2] = {{0, 0}, {0, 0}}, taps = 0;
        for (int y = 0; y < g->spread_y; y++)
            for (int x = 0; x < g->spread_x; x++) {
                counts[y][x] = conv_list_taps(g, y, x, offsets + taps, places + taps);
                taps += counts[y][x];
            }
        const index_t unit0 = units * worker / workers, unit1 = units * (worker + 1) / workers;
        index_t at = unit0 / strips;
        int strip = (int)(unit0 % strips), group = (int)(at % g->groups);
        for (index_t unit = unit0; unit < unit1; unit++) {
            const int row0 = strip * g->strip_rows, rows = conv_least(g->strip_rows, g->rows - row0);
            const int first = s.top + (g->spread_y == 1 ? row0 * g->step_y : row0 / g->spread_y);
            const int copied = strip == strips - 1 ? s.last : s.whole;
            for (int c = 0; c < g->channels; c++)
                conv_copy_strip(g, &s, source + (at * g->channels + c) * source_channel, first, copied,
                                copy + c * g->plane);
            for (int o = 0; o < g->outputs; o++) {
                GLOBAL const float *w =
                    weight + g->weight_first + (index_t)group * g->weight_group + (index_t)o * g->weight_output;
                for (int k = 0; k < taps; k++) weights[k] = w[places[k]];
                const float b = g->has_bias ? bias[group * g->outputs + o] : 0.0f;
                GLOBAL float *plane = target + (at * g->outputs + o) * target_channel;
                for (int y = 0, list = 0; y < g->spread_y; y++) {
                    GLOBAL float *to = plane + (index_t)(row0 + y) * g->target_width;
                    const int count = g->spread_y == 1 ? rows : (rows - y + g->spread_y - 1) / g->spread_y;
                    if (g->spread_x == 2) {
                        conv_row_pairs(g, counts[y][0], counts[y][1], offsets + list, weights + list, copy, row_step,
                                       count, to, target_row);
                    } else {
                        // Rows of another residue may lie between these already.
                        GLOBAL float *stop = g->spread_y == 1 ? to + (index_t)rows * g->target_width : to;
#define CONV_ROWS_ARGUMENTS                                                                                            \
    g, counts[y][0], offsets + list, weights + list, copy, row_step, count, b, to, target_row, stop
                        if (count * vectors <= 4) {
                            conv_rows_4(CONV_ROWS_ARGUMENTS);
                        } else {
                            conv_rows_8(CONV_ROWS_ARGUMENTS);
                        }
                    }
                    list += counts[y][0] + counts[y][1];
                }
            }
            if (++strip == strips) {
                strip = 0, at++;
                if (++group == g->groups) group = 0;
            }
        }
    }
}

// sums[k] += Σ over vectors of dy · copy[offsets[k]], lane by lane, for at most CONV_LONG_TAPS taps.
CONV_SEPARATE void conv_add_products(int taps, GLOBAL const int *offsets, GLOBAL const float *copy, int row_step,
                                     GLOBAL const float *dy, int dy_row, int rows, int columns, GLOBAL float *sums) {
    conv_t sum[CONV_LONG_TAPS];
    GLOBAL const float *from[CONV_LONG_TAPS];
    CONV_UNROLL for (int k = 0; k < CONV_LONG_TAPS; k++) {
        sum[k] = CONV_LOAD(sums + (k < taps ? k : 0) * CONV_LANES);
        from[k] = copy + offsets[k < taps ? k : 0];
    }
    for (int row = 0; row < rows; row++, dy += dy_row) {
        const index_t at = (index_t)row * row_step;
        for (int column = 0; column < columns; column += CONV_LANES) {
            const conv_t d = CONV_LOAD(dy + column);
            CONV_UNROLL for (int k = 0; k < CONV_LONG_TAPS; k++)
                sum[k] = CONV_FMA(d, CONV_LOAD(from[k] + at + column), sum[k]);
        }
    }
    CONV_UNROLL for (int k = 0; k < CONV_LONG_TAPS; k++) if (k < taps) CONV_STORE(sums + k * CONV_LANES, sum[k]);
}

// The weight gradient of groups of one channel, with the forward geometry; partials as of conv_weight_workers. A slot
// holds the copy of a channel, at lists_at two lists of ints, and at lanes_at dy of a strip, whose rows are whole vectors,
// and vectors of sums for block_groups groups: [outputs][depth + 1].
INLINE void conv_depthwise_weight_workers(index_t begin, index_t end, index_t workers, const int *geometry,
                                          GLOBAL const float *source, GLOBAL const float *dy, GLOBAL float *partials,
                                          GLOBAL float *slots, index_t slot, index_t lists_at, index_t lanes_at) {
    const ConvGeometry *g = (const ConvGeometry *)geometry;
    const int depth = conv_depth(g), strips = (g->rows + g->strip_rows - 1) / g->strip_rows;
    const index_t blocks = (index_t)g->images * strips, units = (index_t)g->chunks * g->parts;
    const index_t source_channel = (index_t)g->source_height * g->source_width;
    const index_t target_channel = (index_t)g->target_height * g->target_width;
    const int vectors = (g->columns + CONV_LANES - 1) / CONV_LANES, row_step = g->step_y * g->pitch;
    const int whole = g->columns % CONV_LANES == 0;
    const index_t sums_of_output = (index_t)(depth + 1) * CONV_LANES;
    const ConvStrip s = conv_strip(g);
    for (index_t worker = begin; worker < end; worker++) {
        GLOBAL float *copy = slots + worker * slot, *lanes = copy + lanes_at;
        GLOBAL float *sums = lanes + (index_t)g->strip_rows * vectors * CONV_LANES;
        GLOBAL int *offsets = (GLOBAL int *)(copy + lists_at);
        conv_clear(copy, g->plane + CONV_SLACK);
        conv_clear(lanes, (index_t)g->strip_rows * vectors * CONV_LANES);
        conv_list_taps(g, 0, 0, offsets, offsets + depth);
        for (index_t unit = units * worker / workers; unit < units * (worker + 1) / workers; unit++) {
            const int chunk = (int)(unit / g->parts), part = (int)(unit % g->parts);
            const int group0 = (int)((index_t)g->groups * part / g->parts);
            const int group1 = (int)((index_t)g->groups * (part + 1) / g->parts);
            const index_t block0 = blocks * chunk / g->chunks, block1 = blocks * (chunk + 1) / g->chunks;
            for (int start = group0; start < group1; start += g->block_groups) {
                const int stop = conv_least(group1, start + g->block_groups);
                conv_clear(sums, (stop - start) * g->outputs * sums_of_output);
                for (index_t block = block0; block < block1; block++) {
                    const int row0 = (int)(block % strips) * g->strip_rows;
                    const int rows = conv_least(g->strip_rows, g->rows - row0);
                    const int copied = row0 + g->strip_rows >= g->rows ? s.last : s.whole;
                    for (int group = start; group < stop; group++) {
                        const index_t at = block / strips * g->groups + group;
                        conv_copy_strip(g, &s, source + at * source_channel, s.top + row0 * g->step_y, copied, copy);
                        for (int o = 0; o < g->outputs; o++) {
                            GLOBAL float *to = sums + ((group - start) * g->outputs + o) * sums_of_output;
                            GLOBAL const float *down =
                                dy + (at * g->outputs + o) * target_channel + (index_t)row0 * g->columns;
                            if (!whole) {
                                for (int r = 0; r < rows; r++)
                                    conv_copy_line(down + (index_t)r * g->columns, g->columns,
                                                   lanes + (index_t)r * vectors * CONV_LANES);
                                down = lanes;
                            }
                            for (int k = 0; k < depth; k += CONV_LONG_TAPS)
                                conv_add_products(conv_least(CONV_LONG_TAPS, depth - k), offsets + k, copy, row_step,
                                                  down, vectors * CONV_LANES, rows, g->columns, to + k * CONV_LANES);
                            if (g->has_bias) {
                                to += depth * CONV_LANES;
                                conv_t sum = CONV_LOAD(to);
                                for (int i = 0; i < rows * vectors; i++) sum += CONV_LOAD(down + i * CONV_LANES);
                                CONV_STORE(to, sum);
                            }
                        }
                    }
                }
                GLOBAL float *to =
                    partials + ((index_t)chunk * g->groups + start) * g->outputs * (index_t)(depth + 1);
                for (int i = 0; i < (stop - start) * g->outputs * (depth + 1); i++)
                    to[i] = CONV_SUM(CONV_LOAD(sums + (index_t)i * CONV_LANES));
            }
        }
    }
}

// dweight[o][k] = Σ_chunks partials, in order, for outputs [begin, end) of all groups; dbias likewise. Each is written
// only when wanted.
INLINE void conv_weight_sum_rows(index_t begin, index_t end, GLOBAL const float *partials, int chunks, index_t outputs,
                                 int depth, GLOBAL float *dweight, index_t pitch, int weight_accumulate,
                                 GLOBAL float *dbias, int want_bias, int bias_accumulate) {
    const index_t chunk_stride = outputs * (depth + 1);
    for (index_t o = begin; o < end; o++) {
        GLOBAL const float *from = partials + o * (depth + 1);
        GLOBAL float *to = dweight + o * pitch;
        for (int k = 0; k < depth; k += LANES) {
            const int part = depth - k < LANES ? depth - k : 0;
            real sum = SPLAT(0.0f);
            for (int chunk = 0; chunk < chunks; chunk++) {
                GLOBAL const float *p = from + chunk * chunk_stride + k;
                sum += part ? load_part(p, part, 0.0f) : LOAD(p);
            }
            if (weight_accumulate) sum += part ? load_part(to + k, part, 0.0f) : LOAD(to + k);
            if (part) {
                store_part(to + k, sum, part);
            } else {
                STORE(to + k, sum);
            }
        }
        if (want_bias) {
            float sum = 0.0f;
            for (int chunk = 0; chunk < chunks; chunk++) sum += from[chunk * chunk_stride + depth];
            dbias[o] = bias_accumulate ? dbias[o] + sum : sum;
        }
    }
}

#endif  // VECTOR

#ifdef __OPENCL_VERSION__
#define CONV_ARGUMENT(name) , int name
#define CONV_ARGUMENTS CONV_FIELDS(CONV_ARGUMENT)
#define CONV_SET(name) g.name = name;
#define CONV_GEOMETRY                                                                                                  \
    ConvGeometry g;                                                                                                    \
    CONV_FIELDS(CONV_SET)
#define CONV_WEIGHT_SUM_ARGUMENTS                                                                                      \
    __global const float *partials, long partials_at, int chunks, long outputs, int depth, __global float *dweight,    \
        long dweight_at, long pitch, int weight_accumulate, __global float *dbias, long dbias_at, int want_bias,       \
        int bias_accumulate
#endif

#if defined(VECTOR) && defined(__OPENCL_VERSION__)
// Launched over rows: the panels of all groups. `offsets` are ints.
#if WANTED(conv_pack)
__kernel void conv_pack(long panels, long panels_per_item, __global const float *weight, long weight_at,
                        __global float *packed, long packed_at, __global int *offsets,
                        long offsets_at CONV_ARGUMENTS) {
    CONV_GEOMETRY
    const long begin = get_global_id(0) * panels_per_item, end = min(panels, begin + panels_per_item);
    conv_pack_panels(begin, end, (const int *)&g, weight + weight_at, packed + packed_at, offsets + offsets_at);
}
#endif
// One work-item.
#if WANTED(conv_offsets)
__kernel void conv_offsets(__global int *offsets, long offsets_at CONV_ARGUMENTS) {
    CONV_GEOMETRY
    conv_offsets_all((const int *)&g, offsets + offsets_at);
}
#endif
// A work-item for each worker.
#if WANTED(conv_gather)
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void conv_gather(
    __global const float *source, long source_at, __global const float *packed, long packed_at,
    __global const int *offsets, long offsets_at, __global const float *bias, long bias_at, __global float *target,
    long target_at, __global float *slots, long slots_at, long slot, long spots_at CONV_ARGUMENTS) {
    CONV_GEOMETRY
    const long worker = get_global_id(0);
    conv_gather_workers(worker, worker + 1, get_global_size(0), (const int *)&g, source + source_at, packed + packed_at,
                        offsets + offsets_at, bias + bias_at, target + target_at, slots + slots_at, slot, spots_at);
}
#endif
#if WANTED(conv_weight)
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void conv_weight(
    __global const float *source, long source_at, __global const float *dy, long dy_at, __global const int *offsets,
    long offsets_at, __global float *partials, long partials_at, __global float *slots, long slots_at, long slot,
    long spots_at, long lanes_at CONV_ARGUMENTS) {
    CONV_GEOMETRY
    const long worker = get_global_id(0);
    conv_weight_workers(worker, worker + 1, get_global_size(0), (const int *)&g, source + source_at, dy + dy_at,
                        offsets + offsets_at, partials + partials_at, slots + slots_at, slot, spots_at, lanes_at);
}
#endif
// A work-item for each worker.
#if WANTED(conv_depthwise)
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void conv_depthwise(
    __global const float *source, long source_at, __global const float *weight, long weight_at,
    __global const float *bias, long bias_at, __global float *target, long target_at, __global float *slots,
    long slots_at, long slot, long lists_at CONV_ARGUMENTS) {
    CONV_GEOMETRY
    const long worker = get_global_id(0);
    conv_depthwise_workers(worker, worker + 1, get_global_size(0), (const int *)&g, source + source_at,
                           weight + weight_at, bias + bias_at, target + target_at, slots + slots_at, slot, lists_at);
}
#endif
#if WANTED(conv_depthwise_weight)
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void conv_depthwise_weight(
    __global const float *source, long source_at, __global const float *dy, long dy_at, __global float *partials,
    long partials_at, __global float *slots, long slots_at, long slot, long lists_at, long lanes_at CONV_ARGUMENTS) {
    CONV_GEOMETRY
    const long worker = get_global_id(0);
    conv_depthwise_weight_workers(worker, worker + 1, get_global_size(0), (const int *)&g, source + source_at,
                                  dy + dy_at, partials + partials_at, slots + slots_at, slot, lists_at, lanes_at);
}
#endif
// Launched over rows: the outputs of all groups.
#if WANTED(conv_weight_sum)
__kernel void conv_weight_sum(long rows_of_weights, long rows_per_item, CONV_WEIGHT_SUM_ARGUMENTS) {
    const long begin = get_global_id(0) * rows_per_item, end = min(rows_of_weights, begin + rows_per_item);
    conv_weight_sum_rows(begin, end, partials + partials_at, chunks, outputs, depth, dweight + dweight_at, pitch,
                         weight_accumulate, dbias + dbias_at, want_bias, bias_accumulate);
}
#endif
#endif

#ifdef SIMT

// ---------------------------------------------------------------------------------------------------------------------
// SIMT family: implicit matrix products. A work-group of 256 shares a BM × BN tile of outputs × pixels (gather) or outputs
// × products (weight gradient) in local memory, BK steps deep; addresses of the convolution are computed as its elements
// are fetched. Each work-item owns 4 × 4 results. -DBM, -DBN: 64 × 64, 32 × 128 or 16 × 256, after the number of outputs.
// ---------------------------------------------------------------------------------------------------------------------

#ifndef BM
#define BM 64
#define BN 64
#endif
#define BK 16
#define CONV_ITEMS_N (BN / 4)
#define FETCHES_M (BM * BK / GROUP)
#define FETCHES_N (BN * BK / GROUP)
#define LD_M (BM + 4)
#define LD_N (BN + 4)

// n / d for n < 2^31 as a product (Granlund and Montgomery 1994): multiplier = ceil(2^(31 + shift) / d) with
// shift = ceil(log2 d).
static uint divide(uint n, uint multiplier, int shift) { return (uint)(((ulong)n * multiplier) >> (31 + shift)); }

// One step of the product: left[kk][outputs] and right[kk][pixels or products] from local memory.
#define CONV_STEP(left, right, sum)                                                                                    \
    _Pragma("unroll") for (int kk = 0; kk < BK; kk++) {                                                                \
        const float4 a = *(__local const float4 *)(left + kk * LD_M + item / CONV_ITEMS_N * 4);                        \
        const float4 b = *(__local const float4 *)(right + kk * LD_N + item % CONV_ITEMS_N * 4);                       \
        sum[0] = fma((float4)(a.x), b, sum[0]);                                                                        \
        sum[1] = fma((float4)(a.y), b, sum[1]);                                                                        \
        sum[2] = fma((float4)(a.z), b, sum[2]);                                                                        \
        sum[3] = fma((float4)(a.w), b, sum[3]);                                                                        \
    }

static void conv_store(const ConvGeometry *g, __global float *p, float v, float bias) {
    v += bias;
    if (g->relu) v = v < 0.0f ? 0.0f : v;  // NaN stays NaN
    *p = g->accumulate ? *p + v : v;
}

// Launch: ceil(pixels / BN) · ceil(outputs / BM) · groups work-groups.
#if WANTED(conv_gather)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void conv_gather(
    __global const float *restrict source, long source_at, __global const float *restrict weight, long weight_at,
    __global const float *bias, long bias_at, __global float *target, long target_at, int taps_multiplier,
    int taps_shift, int columns_multiplier, int columns_shift CONV_ARGUMENTS) {
    __local float left[BK * LD_M] __attribute__((aligned(16)));
    __local float right[BK * LD_N] __attribute__((aligned(16)));
    CONV_GEOMETRY
    const int item = (int)get_local_id(0), taps = taps_y * taps_x, depth = channels * taps;
    const uint pixels_of_image = (uint)rows * columns, pixels = (uint)images * pixels_of_image;
    const uint tiles_n = (pixels + BN - 1) / BN, tiles_m = (outputs + BM - 1) / BM;
    const uint tile = get_group_id(0), group = tile / (tiles_n * tiles_m);
    const int output0 = (int)(tile % tiles_m) * BM;
    const uint pixel0 = tile / tiles_m % tiles_n * BN;
    const long source_channel = (long)source_height * source_width;
    const long target_channel = (long)target_height * target_width;
    weight += weight_at + weight_first + (long)group * weight_group;

    // The pixel this item fetches for, and the output and product of its first weight.
    const uint pixel = pixel0 + item % BN;
    const int valid = pixel < pixels;
    const uint image = valid ? pixel / pixels_of_image : 0, in_image = valid ? pixel % pixels_of_image : 0;
    const int y0 = first_y + (int)(in_image / columns) * step_y, x0 = first_x + (int)(in_image % columns) * step_x;
    source += source_at + ((long)image * groups + group) * channels * source_channel;

    float4 sum[4];
    for (int i = 0; i < 4; i++) sum[i] = 0.0f;
    float fetched_m[FETCHES_M], fetched_n[FETCHES_N];
    for (int k0 = 0; k0 < depth; k0 += BK) {
        const int km = k0 + item % BK;
        const int cm = divide(km, taps_multiplier, taps_shift), rm = km - cm * taps;
        const int am = divide(rm, columns_multiplier, columns_shift), bm = rm - am * taps_x;
        __global const float *w = weight + (long)cm * weight_channel + am * weight_y + bm * weight_x;
#pragma unroll
        for (int f = 0; f < FETCHES_M; f++) {
            const int o = output0 + item / BK + f * (GROUP / BK);
            fetched_m[f] = o < outputs && km < depth ? w[(long)o * weight_output] : 0.0f;
        }
#pragma unroll
        for (int f = 0; f < FETCHES_N; f++) {
            const int k = k0 + item / BN + f * (GROUP / BN);
            const int c = divide(k, taps_multiplier, taps_shift), r = k - c * taps;
            const int a = divide(r, columns_multiplier, columns_shift), b = r - a * taps_x;
            const int y = y0 + a * tap_step_y, x = x0 + b * tap_step_x;
            const int inside = valid && k < depth && y >= 0 && y < source_height && x >= 0 && x < source_width;
            fetched_n[f] = inside ? source[c * source_channel + (long)y * source_width + x] : 0.0f;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
        for (int f = 0; f < FETCHES_M; f++) left[item % BK * LD_M + item / BK + f * (GROUP / BK)] = fetched_m[f];
#pragma unroll
        for (int f = 0; f < FETCHES_N; f++) right[(item / BN + f * (GROUP / BN)) * LD_N + item % BN] = fetched_n[f];
        barrier(CLK_LOCAL_MEM_FENCE);
        CONV_STEP(left, right, sum)
    }

    target += target_at;
    for (int j = 0; j < 4; j++) {
        const uint p = pixel0 + item % CONV_ITEMS_N * 4 + j;
        if (p < pixels) {
            const uint z = p / pixels_of_image, rest = p % pixels_of_image;
            __global float *to = target + ((long)z * groups + group) * outputs * target_channel +
                                 (long)(target_y + (int)(rest / columns) * target_step_y) * target_width + target_x +
                                 (int)(rest % columns) * target_step_x;
            for (int i = 0; i < 4; i++) {
                const int o = output0 + item / CONV_ITEMS_N * 4 + i;
                const float v = j == 0 ? sum[i].x : j == 1 ? sum[i].y : j == 2 ? sum[i].z : sum[i].w;
                if (o < outputs)
                    conv_store(&g, to + o * target_channel, v,
                               has_bias ? bias[bias_at + (long)group * outputs + o] : 0.0f);
            }
        }
    }
}
#endif

// Few products for each output (depthwise): a work-item for each output element, grid-stride.
#if WANTED(conv_direct)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void conv_direct(
    __global const float *restrict source, long source_at, __global const float *restrict weight, long weight_at,
    __global const float *bias, long bias_at, __global float *target, long target_at CONV_ARGUMENTS) {
    CONV_GEOMETRY
    const long source_channel = (long)source_height * source_width;
    const long target_channel = (long)target_height * target_width;
    const long count = (long)images * groups * outputs * rows * columns;
    for (long at = get_global_id(0); at < count; at += get_global_size(0)) {
        const int i = (int)(at % columns), j = (int)(at / columns % rows);
        const long plane_of_target = at / columns / rows, image_group = plane_of_target / outputs;
        const int o = (int)(plane_of_target % outputs), group_index = (int)(image_group % groups);
        __global const float *from = source + source_at + image_group * channels * source_channel;
        __global const float *w =
            weight + weight_at + weight_first + (long)group_index * weight_group + (long)o * weight_output;
        const int y0 = first_y + j * step_y, x0 = first_x + i * step_x;
        float sum = 0.0f;
        for (int c = 0; c < channels; c++)
            for (int a = 0; a < taps_y; a++) {
                const int y = y0 + a * tap_step_y;
                if (y < 0 || y >= source_height) continue;
                for (int b = 0; b < taps_x; b++) {
                    const int x = x0 + b * tap_step_x;
                    if (x < 0 || x >= source_width) continue;
                    sum = fma(w[(long)c * weight_channel + a * weight_y + b * weight_x],
                              from[c * source_channel + (long)y * source_width + x], sum);
                }
            }
        conv_store(&g,
                   target + target_at + plane_of_target * target_channel +
                       (long)(target_y + j * target_step_y) * target_width + target_x + i * target_step_x,
                   sum, has_bias ? bias[bias_at + (long)group_index * outputs + o] : 0.0f);
    }
}
#endif

// Partial sums of dweight, [chunks][outputs of all groups][depth + 1]; the last column belongs to conv_bias. A chunk is a
// share of the pixels of all images, in whole steps. Launch: ceil(depth / BN) · ceil(outputs / BM) · groups · chunks
// work-groups.
#if WANTED(conv_weight)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void conv_weight(
    __global const float *restrict source, long source_at, __global const float *restrict dy, long dy_at,
    __global float *partials, long partials_at CONV_ARGUMENTS) {
    __local float left[BK * LD_M] __attribute__((aligned(16)));
    __local float right[BK * LD_N] __attribute__((aligned(16)));
    const int item = (int)get_local_id(0), taps = taps_y * taps_x, depth = channels * taps;
    const uint pixels_of_image = (uint)rows * columns, pixels = (uint)images * pixels_of_image;
    const uint tiles_n = (depth + BN - 1) / BN, tiles_m = (outputs + BM - 1) / BM;
    const uint tile = get_group_id(0), plane_of_tiles = tile / (tiles_n * tiles_m);
    const int output0 = (int)(tile % tiles_m) * BM, k0 = (int)(tile / tiles_m % tiles_n) * BN;
    const int group = (int)(plane_of_tiles % groups), chunk = (int)(plane_of_tiles / groups);
    const uint steps = (pixels + BK - 1) / BK;
    const uint pixel_begin = (uint)((ulong)steps * chunk / chunks) * BK;
    const uint pixel_end = min((uint)((ulong)steps * (chunk + 1) / chunks) * BK, pixels);
    const long source_channel = (long)source_height * source_width;
    const long target_channel = (long)target_height * target_width;
    source += source_at + (long)group * channels * source_channel;
    dy += dy_at + (long)group * outputs * target_channel;

    // The products this item fetches for: relative place of their source elements.
    long place[FETCHES_N];
    int tap_y[FETCHES_N], tap_x[FETCHES_N];
#pragma unroll
    for (int f = 0; f < FETCHES_N; f++) {
        const int k = k0 + item / BK + f * (GROUP / BK), c = k / taps, r = k % taps;
        tap_y[f] = r / taps_x * tap_step_y;
        tap_x[f] = r % taps_x * tap_step_x;
        place[f] = c * source_channel + (long)tap_y[f] * source_width + tap_x[f];
    }

    float4 sum[4];
    for (int i = 0; i < 4; i++) sum[i] = 0.0f;
    float fetched_m[FETCHES_M], fetched_n[FETCHES_N];
    for (uint p0 = pixel_begin; p0 < pixel_end; p0 += BK) {
        const uint pixel = p0 + item % BK;
        const int valid = pixel < pixel_end;
        const uint image = valid ? pixel / pixels_of_image : 0, in_image = valid ? pixel % pixels_of_image : 0;
        const int y0 = first_y + (int)(in_image / columns) * step_y, x0 = first_x + (int)(in_image % columns) * step_x;
        __global const float *down = dy + (long)image * groups * outputs * target_channel + in_image;
        // Only used where inside.
        const long from = (long)image * groups * channels * source_channel + (long)y0 * source_width + x0;
#pragma unroll
        for (int f = 0; f < FETCHES_M; f++) {
            const int o = output0 + item / BK + f * (GROUP / BK);
            fetched_m[f] = o < outputs && valid ? down[o * target_channel] : 0.0f;
        }
#pragma unroll
        for (int f = 0; f < FETCHES_N; f++) {
            const int k = k0 + item / BK + f * (GROUP / BK), y = y0 + tap_y[f], x = x0 + tap_x[f];
            const int inside = valid && k < depth && y >= 0 && y < source_height && x >= 0 && x < source_width;
            fetched_n[f] = inside ? source[from + place[f]] : 0.0f;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
        for (int f = 0; f < FETCHES_M; f++) left[item % BK * LD_M + item / BK + f * (GROUP / BK)] = fetched_m[f];
#pragma unroll
        for (int f = 0; f < FETCHES_N; f++) right[item % BK * LD_N + item / BK + f * (GROUP / BK)] = fetched_n[f];
        barrier(CLK_LOCAL_MEM_FENCE);
        CONV_STEP(left, right, sum)
    }

    partials += partials_at + (((long)chunk * groups + group) * outputs) * (depth + 1);
    for (int i = 0; i < 4; i++) {
        const int o = output0 + item / CONV_ITEMS_N * 4 + i, k = k0 + item % CONV_ITEMS_N * 4;
        __global float *to = partials + (long)o * (depth + 1) + k;
        if (o < outputs && k < depth) to[0] = sum[i].x;
        if (o < outputs && k + 1 < depth) to[1] = sum[i].y;
        if (o < outputs && k + 2 < depth) to[2] = sum[i].z;
        if (o < outputs && k + 3 < depth) to[3] = sum[i].w;
    }
}
#endif

// The same sums for few products per output (depthwise): a work-group for each output of all groups, nine products at a
// time, and chunk. Launch: ceil(depth / 9) · outputs · groups · chunks work-groups.
#define DIRECT_TAPS 9
#if WANTED(conv_weight_direct)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void conv_weight_direct(
    __global const float *restrict source, long source_at, __global const float *restrict dy, long dy_at,
    __global float *partials, long partials_at CONV_ARGUMENTS) {
    __local float scratch[GROUP];
    const int taps = taps_y * taps_x, depth = channels * taps, pieces = (depth + DIRECT_TAPS - 1) / DIRECT_TAPS;
    const uint id = get_group_id(0), all_outputs = (uint)groups * outputs;
    const int k0 = (int)(id % pieces) * DIRECT_TAPS, chunk = (int)(id / pieces / all_outputs);
    const uint output = id / pieces % all_outputs, group = output / outputs;
    const uint pixels_of_image = (uint)rows * columns, pixels = (uint)images * pixels_of_image;
    const uint pixel_begin = (uint)((ulong)pixels * chunk / chunks);
    const uint pixel_end = (uint)((ulong)pixels * (chunk + 1) / chunks);
    const long source_channel = (long)source_height * source_width;
    const long target_channel = (long)target_height * target_width;
    source += source_at + (long)group * channels * source_channel;
    dy += dy_at + (long)output * target_channel;
    float sum[DIRECT_TAPS];
#pragma unroll
    for (int t = 0; t < DIRECT_TAPS; t++) sum[t] = 0.0f;
    for (uint pixel = pixel_begin + get_local_id(0); pixel < pixel_end; pixel += GROUP) {
        const uint image = pixel / pixels_of_image, in_image = pixel % pixels_of_image;
        const int y0 = first_y + (int)(in_image / columns) * step_y, x0 = first_x + (int)(in_image % columns) * step_x;
        const float d = dy[(long)image * all_outputs * target_channel + in_image];
        __global const float *from = source + (long)image * groups * channels * source_channel;
#pragma unroll
        for (int t = 0; t < DIRECT_TAPS; t++) {
            const int k = k0 + t, c = k / taps, r = k % taps;
            const int y = y0 + r / taps_x * tap_step_y, x = x0 + r % taps_x * tap_step_x;
            const int inside = k < depth && y >= 0 && y < source_height && x >= 0 && x < source_width;
            sum[t] = fma(d, inside ? from[c * source_channel + (long)y * source_width + x] : 0.0f, sum[t]);
        }
    }
    for (int t = 0; t < DIRECT_TAPS; t++) {
        const float total = group_sum(sum[t], scratch);
        if (get_local_id(0) == 0 && k0 + t < depth)
            partials[partials_at + ((long)chunk * all_outputs + output) * (depth + 1) + k0 + t] = total;
    }
}
#endif

// The last column of the partial sums: Σ dy over a chunk's images. Launch: outputs of all groups · chunks work-groups.
#if WANTED(conv_bias)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void conv_bias(
    __global const float *dy, long dy_at, __global float *partials, long partials_at CONV_ARGUMENTS) {
    __local float scratch[GROUP];
    const long all_outputs = (long)groups * outputs, depth = (long)channels * taps_y * taps_x;
    const long output = get_group_id(0) % all_outputs, chunk = get_group_id(0) / all_outputs;
    const long target_channel = (long)target_height * target_width;
    const long begin = (long)images * chunk / chunks * target_channel;
    const long end = (long)images * (chunk + 1) / chunks * target_channel;
    float sum = 0.0f;
    for (long at = begin + get_local_id(0); at < end; at += GROUP)
        sum += dy[dy_at + (at / target_channel * all_outputs + output) * target_channel + at % target_channel];
    const float total = group_sum(sum, scratch);
    if (get_local_id(0) == 0) partials[partials_at + (chunk * all_outputs + output) * (depth + 1) + depth] = total;
}
#endif

// Elementwise over the elements of [outputs of all groups][depth + 1].
#if WANTED(conv_weight_sum)
__kernel void conv_weight_sum(long count, long count_per_item, CONV_WEIGHT_SUM_ARGUMENTS) {
    for (long at = get_global_id(0); at < count; at += get_global_size(0)) {
        const long o = at / (depth + 1);
        const int k = (int)(at % (depth + 1));
        float sum = 0.0f;
        for (int chunk = 0; chunk < chunks; chunk++)
            if (k < depth || want_bias) sum += partials[partials_at + chunk * count + at];
        if (k < depth) {
            __global float *to = dweight + dweight_at + o * pitch + k;
            *to = weight_accumulate ? *to + sum : sum;
        } else if (want_bias) {
            dbias[dbias_at + o] = bias_accumulate ? dbias[dbias_at + o] + sum : sum;
        }
    }
}
#endif
#endif  // SIMT
