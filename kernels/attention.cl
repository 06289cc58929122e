// Scaled dot-product attention (Vaswani et al. 2017) that never holds queries x keys: tiles of scores, a softmax that is
// corrected as larger scores turn up (Milakov & Gimelshein 2018; Dao et al. 2022), and a backward pass that computes the
// tiles again from the log-sum-exp of each row.
//
//   s = scale q·k     p = e^(s - L)     L = ln Σ e^s over the keys that the query sees     y = Σ p v
//   dv = Σ p dy       dp = dy·v         ds = p (dp - Δ), Δ = dy·y                          dq = scale Σ ds k   dk = scale Σ ds q
//
// q, y, dy, dq [batch, queries, heads, width]; k, v, dk, dv [batch, keys, groups, width], each with strides of its own,
// the last 1; heads = groups · share, and head h uses group h / share: keys are never repeated in memory. L [batch,
// queries, heads] dense. A query sees the keys [first, last) of spans [batch or 1, queries, 2], or all when there are no
// spans. A query that sees nothing answers 0, has L = +inf, and no gradient.
//
// q and y, and k and v, are stored in fp32 or bfloat16 (q_bf16, kv_bf16, y_bf16: 1); all else, gradients among it, is
// fp32, and so is all arithmetic: numbers are widened on their way in, a tile at a time, and answers are rounded once.
//
// With dropout, what is multiplied with v is not p but m p / (1 - probability), m 1 where the probability is kept and 0 where
// it is dropped; L is of all of them. Then dp is m / (1 - probability) times what it was, Δ = dy·y still, and dv = Σ m p /
// (1 - probability) dy. Nothing is stored: m is drawn where it is needed, as dropout.cl draws for a dense tensor [samples,
// heads, queries, keys] of probabilities, whose first number here is `drop_first`. Such a number decides by itself, whatever
// tile it is met in: the composed attention drops the same.
//
// With a soft cap c (Gemma 2: arXiv:2408.00118) s = c tanh(scale q·k / c), and dq and dk have another factor, 1 - (s / c)². A
// tile of products is bent as soon as it is there, to what times scale is s; what follows does not know the difference, but
// for that factor.
//
// The rows that share a group's keys, share · queries of them, count query by query: row r is head r % share of query
// r / share, so a block of rows sees nearly the same keys.
//
// Sizes and strides travel as one list, named here once; Swift's AttentionShape fills it in the same order. Strides of
// batch, token and head: x_row, x_token, x_head.
#define ATTENTION_STRIDES(DO, x) DO(x##_row) DO(x##_token) DO(x##_head)
#define ATTENTION_FIELDS(DO)                                                                                           \
    DO(batch) DO(queries) DO(keys) DO(heads) DO(groups) DO(width) DO(has_spans) DO(span_row)                           \
    ATTENTION_STRIDES(DO, q) ATTENTION_STRIDES(DO, k) ATTENTION_STRIDES(DO, v) ATTENTION_STRIDES(DO, y)                \
    ATTENTION_STRIDES(DO, dy) ATTENTION_STRIDES(DO, dq) ATTENTION_STRIDES(DO, dk) ATTENTION_STRIDES(DO, dv)            \
    /* pieces of the keys that are attended to apart, and how far apart their answers lie */                           \
    DO(splits) DO(y_split)                                                                                             \
    /* parts of the rows whose dk and dv are summed apart, and how far apart those lie */                              \
    DO(chunks) DO(dk_chunk) DO(dv_chunk)                                                                               \
    /* 0: not wanted, 1: written, 2: added to */                                                                       \
    DO(dq_mode) DO(dk_mode) DO(dv_mode)                                                                                \
    /* 1: stored in bfloat16 */                                                                                        \
    DO(q_bf16) DO(kv_bf16) DO(y_bf16)                                                                                  \
    /* dropout: 1, and dropout.cl's numbers; drop_scale is the bits of 1 / (1 - probability) */                        \
    DO(drops) DO(drop_seed) DO(drop_stream) DO(drop_first) DO(drop_threshold) DO(drop_scale)                           \
    /* the bits of c; 0 without a cap */                                                                               \
    DO(cap)

#define ATTENTION_MEMBER(name) index_t name;
typedef struct {
    ATTENTION_FIELDS(ATTENTION_MEMBER)
} AttentionShape;

// OpenCL's kernels are built for dropout or without it, and for a cap or without one; C's ask.
#ifdef CROWS
#define ATTENTION_DROPOUT 1
#define ATTENTION_CAP 1
#endif
#ifndef ATTENTION_DROPOUT
#define ATTENTION_DROPOUT 0
#endif
#ifndef ATTENTION_CAP
#define ATTENTION_CAP 0
#endif

// Number `at` of x, in fp32 or bfloat16.
#define ATTENTION_AT(x, bf16, at)                                                                                      \
    ((bf16) ? (GLOBAL const void *)((GLOBAL const ushort *)(x) + (at))                                                 \
            : (GLOBAL const void *)((GLOBAL const float *)(x) + (at)))

#ifdef VECTOR

// ---------------------------------------------------------------------------------------------------------------------
// Vector family
//
// Rows lie in the lanes: a tile of scores is [keys][rows], so that maxima, sums and corrections of the softmax are
// additions of whole vectors. Products need one operand as vectors of neighbours and take the other number by number,
// from where it lies: keys and values are never packed, but for a tile of bfloat16, which is widened first. Only a
// block's queries are, once, as [width][rows] (backward: and dy, and both as rows), and answers turned back at the end.
//
//   scores [keys][rows]  = k · qᵀ        answer [width][rows] += vᵀ · scores
//   dp     [keys][rows]  = v · dyᵀ       dv [keys][width] += p · dy,   dk [keys][width] += ds · q
//                                        dqᵀ [width][rows] += kᵀ · ds
//
// A worker takes every workers-th block. Backward, a worker computes a group of a batch row by itself, or one of its
// `chunks`, which take turns at the blocks and have dk and dv of their own: nothing is added to by two.
// ---------------------------------------------------------------------------------------------------------------------

// 24 of 32 registers hold sums with AVX-512, 12 of 16 with AVX2 or four-lane units.
#ifndef ATTENTION_LANES
#if defined(__OPENCL_VERSION__) || CROWS_LEVEL >= 4
#define ATTENTION_LANES 16
#else
#define ATTENTION_LANES 8
#endif
#endif
#if ATTENTION_LANES == 16
typedef real attention_t;
#define ATTENTION_LOAD(p) LOAD(p)
#define ATTENTION_STORE(p, v) STORE(p, v)
#define ATTENTION_TALL 8
#elif defined(__OPENCL_VERSION__)
typedef float8 attention_t;
#define ATTENTION_LOAD(p) vload8(0, (p))
#define ATTENTION_STORE(p, v) vstore8((v), 0, (p))
#define ATTENTION_TALL 4
#else
typedef real8 attention_t;
typedef float attention_unaligned __attribute__((ext_vector_type(8), aligned(4)));
#define ATTENTION_LOAD(p) ((attention_t)(*(const attention_unaligned *)(p)))
#define ATTENTION_STORE(p, v) (*(attention_unaligned *)(p) = (v))
#define ATTENTION_TALL 4
#endif
#ifdef __OPENCL_VERSION__
#define ATTENTION_FMA(a, b, c) fma((attention_t)(a), (attention_t)(b), (attention_t)(c))
#elif defined(__x86_64__) && !defined(CROWS_LEVEL)
#define ATTENTION_FMA(a, b, c) ((attention_t)(a) * (attention_t)(b) + (attention_t)(c))
#else
#define ATTENTION_FMA(a, b, c) __builtin_elementwise_fma((attention_t)(a), (attention_t)(b), (attention_t)(c))
#endif

// Rows of a block and keys of a tile at most.
#ifndef ATTENTION_BLOCK
#define ATTENTION_BLOCK 96
#endif
#ifndef ATTENTION_TILE
#define ATTENTION_TILE 64
#endif

// Functions of their own: PoCL compiles a kernel three times over, with all it inlines.
#define ATTENTION_SEPARATE static __attribute__((noinline))
#define ATTENTION_UNROLL _Pragma("unroll")

INLINE index_t attention_least(index_t a, index_t b) { return a < b ? a : b; }
INLINE index_t attention_most(index_t a, index_t b) { return a > b ? a : b; }
// Floats of a row with its padding: whole vectors.
INLINE int attention_padded(index_t width) { return (int)((width + LANES - 1) / LANES * LANES); }

// c[i][vector] (+)= Σ_s a[i · a_row + s · a_step] · b[s][vector] for i < ROWS.
#define ATTENTION_DEFINE_PANEL(ROWS, VECTORS)                                                                          \
    ATTENTION_SEPARATE void attention_panel_##ROWS##x##VECTORS(int depth, GLOBAL const float *a, index_t a_row,        \
                                                               index_t a_step, GLOBAL const float *b, int b_pitch,     \
                                                               GLOBAL float *c, index_t c_pitch, int add) {            \
        attention_t sum[ROWS][VECTORS];                                                                                \
        ATTENTION_UNROLL for (int i = 0; i < ROWS; i++)                                                                \
            ATTENTION_UNROLL for (int v = 0; v < VECTORS; v++)                                                         \
                sum[i][v] = add ? ATTENTION_LOAD(c + i * c_pitch + v * ATTENTION_LANES) : (attention_t)(0.0f);         \
        for (int s = 0; s < depth; s++) {                                                                              \
            attention_t right[VECTORS];                                                                                \
            ATTENTION_UNROLL for (int v = 0; v < VECTORS; v++)                                                         \
                right[v] = ATTENTION_LOAD(b + v * ATTENTION_LANES);                                                    \
            ATTENTION_UNROLL for (int i = 0; i < ROWS; i++) {                                                          \
                const attention_t left = (attention_t)(a[i * a_row]);                                                  \
                ATTENTION_UNROLL for (int v = 0; v < VECTORS; v++)                                                     \
                    sum[i][v] = ATTENTION_FMA(left, right[v], sum[i][v]);                                              \
            }                                                                                                          \
            a += a_step;                                                                                               \
            b += b_pitch;                                                                                              \
        }                                                                                                              \
        ATTENTION_UNROLL for (int i = 0; i < ROWS; i++)                                                                \
            ATTENTION_UNROLL for (int v = 0; v < VECTORS; v++)                                                         \
                ATTENTION_STORE(c + i * c_pitch + v * ATTENTION_LANES, sum[i][v]);                                     \
    }
ATTENTION_DEFINE_PANEL(1, 1)
ATTENTION_DEFINE_PANEL(1, 2)
ATTENTION_DEFINE_PANEL(1, 3)
ATTENTION_DEFINE_PANEL(4, 1)
ATTENTION_DEFINE_PANEL(4, 2)
ATTENTION_DEFINE_PANEL(4, 3)
#if ATTENTION_TALL == 8
ATTENTION_DEFINE_PANEL(8, 1)
ATTENTION_DEFINE_PANEL(8, 2)
ATTENTION_DEFINE_PANEL(8, 3)
#endif

// c[rows][lanes] (+)= a[rows][depth] · b[depth][lanes].
ATTENTION_SEPARATE void attention_product(int rows, int depth, int lanes, GLOBAL const float *a, index_t a_row,
                                          index_t a_step, GLOBAL const float *b, int b_pitch, GLOBAL float *c,
                                          index_t c_pitch, int add) {
    const int vectors = lanes / ATTENTION_LANES;
    for (int j = 0; j < vectors;) {
        // Threes and twos; one alone leaves the multipliers waiting.
        const int rest = vectors - j, wide = rest == 1 ? 1 : rest == 2 || rest == 4 ? 2 : 3;
        for (int i = 0; i < rows;) {
#define ATTENTION_ARGUMENTS                                                                                            \
    depth, a + i * a_row, a_row, a_step, b + j * ATTENTION_LANES, b_pitch, c + i * c_pitch + j * ATTENTION_LANES,      \
        c_pitch, add
#define ATTENTION_PANELS(ROWS)                                                                                         \
    if (wide == 3) {                                                                                                   \
        attention_panel_##ROWS##x3(ATTENTION_ARGUMENTS);                                                               \
    } else if (wide == 2) {                                                                                            \
        attention_panel_##ROWS##x2(ATTENTION_ARGUMENTS);                                                               \
    } else {                                                                                                           \
        attention_panel_##ROWS##x1(ATTENTION_ARGUMENTS);                                                               \
    }                                                                                                                  \
    i += ROWS;
#if ATTENTION_TALL == 8
            if (rows - i >= 8) {
                ATTENTION_PANELS(8)
                continue;
            }
#endif
            if (rows - i >= 4) {
                ATTENTION_PANELS(4)
                continue;
            }
            ATTENTION_PANELS(1)
        }
        j += wide;
    }
}

// Rows [row0, row0 + count) of a group's x in bfloat16, as to[count][padded].
ATTENTION_SEPARATE void attention_widen(GLOBAL const ushort *x, index_t token, index_t head, int share, index_t row0,
                                        int count, int width, GLOBAL float *to) {
    const int padded = attention_padded(width);
    for (int i = 0; i < count; i++) {
        const index_t r = row0 + i;
        GLOBAL const ushort *from = x + r / share * token + r % share * head;
        for (int d = 0; d < width; d += LANES) {
            const int part = width - d < LANES ? width - d : 0;
            STORE(to + i * padded + d, part ? load_part_bf16(from + d, part, 0.0f) : LOAD_BF16(from + d));
        }
    }
}

// Keys or values [key, key + count) where products can read them: where they lie, or widened to[count][padded].
typedef struct {
    GLOBAL const float *x;
    index_t token;
} AttentionTile;
INLINE AttentionTile attention_tile(GLOBAL const void *x, index_t bf16, index_t token, int key, int count, int width,
                                    GLOBAL float *to) {
    AttentionTile tile;
    tile.x = to;
    tile.token = attention_padded(width);
    if (bf16) {
        attention_widen((GLOBAL const ushort *)x, token, 0, 1, key, count, width, to);
    } else {
        tile.x = (GLOBAL const float *)x + key * token;
        tile.token = token;
    }
    return tile;
}

// Rows [row0, row0 + count) of a group's x, as across[width][lanes] and, where wanted, as copy[lanes][padded]; 0 in the
// lanes and columns behind them.
ATTENTION_SEPARATE void attention_load_rows(GLOBAL const float *x, index_t token, index_t head, int share, index_t row0,
                                            int count, int lanes, int width, GLOBAL float *across, GLOBAL float *copy) {
    const int padded = attention_padded(width);
    for (int lane0 = 0; lane0 < lanes; lane0 += LANES) {
        index_t place[LANES];
        for (int i = 0; i < LANES; i++) {
            const index_t r = row0 + (lane0 + i < count ? lane0 + i : 0);
            place[i] = r / share * token + r % share * head;
        }
        for (int d = 0; d < width; d += LANES) {
            const int part = width - d < LANES ? width - d : 0;
            real row[LANES];
            ATTENTION_UNROLL for (int i = 0; i < LANES; i++) {
                row[i] = part ? load_part(x + place[i] + d, part, 0.0f) : LOAD(x + place[i] + d);
                if (lane0 + i >= count) row[i] = SPLAT(0.0f);
            }
            if (copy) {
                ATTENTION_UNROLL for (int i = 0; i < LANES; i++) STORE(copy + (lane0 + i) * padded + d, row[i]);
            }
            TRANSPOSE_16(row)
            ATTENTION_UNROLL for (int i = 0; i < LANES; i++) STORE(across + (d + i) * lanes + lane0, row[i]);
        }
    }
}

// The same of q, which may be bfloat16; `space` [count][padded] is for that.
INLINE void attention_load_queries(const AttentionShape *g, GLOBAL const void *q, index_t b, index_t group,
                                   index_t row0, int count, int lanes, GLOBAL float *across, GLOBAL float *copy,
                                   GLOBAL float *space) {
    const int share = (int)(g->heads / g->groups), width = (int)g->width, padded = attention_padded(width);
    GLOBAL const void *x = ATTENTION_AT(q, g->q_bf16, b * g->q_row + group * share * g->q_head);
    if (g->q_bf16) {
        attention_widen((GLOBAL const ushort *)x, g->q_token, g->q_head, share, row0, count, width, space);
        attention_load_rows(space, padded, 0, 1, 0, count, lanes, width, across, copy);
    } else {
        attention_load_rows(
            (GLOBAL const float *)x, g->q_token, g->q_head, share, row0, count, lanes, width, across, copy);
    }
}

// Rows [row0, row0 + count) of a group's y = (add ? y : 0) + across[width][lanes] · factor[lanes], turned back. bfloat16
// is not added to.
ATTENTION_SEPARATE void attention_store_rows(GLOBAL const float *across, GLOBAL const float *factor, GLOBAL void *y,
                                             index_t bf16, index_t token, index_t head, int share, index_t row0,
                                             int count, int lanes, int width, int add) {
    for (int lane0 = 0; lane0 < count; lane0 += LANES) {
        const real scaled = LOAD(factor + lane0);
        const int here = count - lane0 < LANES ? count - lane0 : LANES;
        for (int d = 0; d < width; d += LANES) {
            const int part = width - d < LANES ? width - d : 0;
            real row[LANES];
            ATTENTION_UNROLL for (int i = 0; i < LANES; i++)
                row[i] = LOAD(across + (d + i) * lanes + lane0) * scaled;
            TRANSPOSE_16(row)
            float turned[LANES * LANES];
            ATTENTION_UNROLL for (int i = 0; i < LANES; i++) STORE(turned + i * LANES, row[i]);
            for (int i = 0; i < here; i++) {
                const index_t r = row0 + lane0 + i, place = r / share * token + r % share * head + d;
                GLOBAL float *to = (GLOBAL float *)y + place;
                real v = LOAD(turned + i * LANES);
                if (bf16) {
                    GLOBAL ushort *narrow = (GLOBAL ushort *)y + place;
                    if (part) {
                        store_part_bf16(narrow, v, part);
                    } else {
                        STORE_BF16(narrow, v);
                    }
                } else if (part) {
                    if (add) v += load_part(to, part, 0.0f);
                    store_part(to, v, part);
                } else {
                    if (add) v += LOAD(to);
                    STORE(to, v);
                }
            }
        }
    }
}

// What the rows of a block see: keys [first, last) by lane, and all of them together.
typedef struct {
    int first[ATTENTION_BLOCK], last[ATTENTION_BLOCK];
    int begin, end;            // keys that some row sees lie in here
    int all_begin, all_end;    // keys that every row sees
} AttentionSight;

// Of the keys [from, to) only. Lanes behind the last row see what it sees.
ATTENTION_SEPARATE void attention_look(const AttentionShape *g, GLOBAL const int *spans, index_t b, index_t row0,
                                       int count, int lanes, int from, int to, AttentionSight *sight) {
    const int share = (int)(g->heads / g->groups);
    int begin = to, end = from, all_begin = from, all_end = to;
    for (int lane = 0; lane < lanes; lane++) {
        int first = from, last = to;
        if (g->has_spans) {
            const index_t query = (row0 + attention_least(lane, count - 1)) / share;
            GLOBAL const int *span = spans + b * g->span_row + 2 * query;
            first = (int)attention_most(from, span[0]);
            last = (int)attention_least(to, span[1]);
            if (first >= last) first = to, last = from;
        }
        sight->first[lane] = first;
        sight->last[lane] = last;
        begin = (int)attention_least(begin, first);
        end = (int)attention_most(end, last);
        all_begin = (int)attention_most(all_begin, first);
        all_end = (int)attention_least(all_end, last);
    }
    sight->begin = begin;
    sight->end = end;
    sight->all_begin = all_begin;
    sight->all_end = all_end;
}

// Whether any row sees one of the keys [key, key + count).
INLINE int attention_any(const AttentionSight *sight, int lanes, int key, int count) {
    int any = 0;
    for (int lane = 0; lane < lanes; lane++) any |= sight->first[lane] < key + count & sight->last[lane] > key;
    return any;
}

// Lanes of whose rows key `key` is seen.
INLINE mask_t attention_seen(mask_t first, mask_t last, int key) {
    return ((mask_t)(key) >= first) & ((mask_t)(key) < last);
}

#define ATTENTION_CAPS(g) (ATTENTION_CAP && (g)->cap)

// What is, times scale, cap · tanh(scale · score / cap).
INLINE real attention_bent(real score, float scale, float cap) {
    return v_tanh(score * SPLAT(scale / cap)) * SPLAT(cap / scale);
}

// `count` scores, whole vectors of them.
ATTENTION_SEPARATE void attention_bend(GLOBAL float *scores, int count, float scale, float cap) {
    for (int i = 0; i < count; i += LANES) STORE(scores + i, attention_bent(LOAD(scores + i), scale, cap));
}

// Scores [count][lanes] of keys from `key` on become e^(scale (score - top)); top, the largest so far, and total, the sum
// of all exponentials relative to it, move on. correction: what sums relative to the old top are to be multiplied by.
ATTENTION_SEPARATE void attention_soften(GLOBAL float *scores, int lanes, int key, int count,
                                         const AttentionSight *sight, float rate, GLOBAL float *top,
                                         GLOBAL float *total, GLOBAL float *correction) {
    const float lowest = -127.0f / rate;
    const int whole = key >= sight->all_begin && key + count <= sight->all_end;
    for (int lane = 0; lane < lanes; lane += LANES) {
        GLOBAL float *s = scores + lane;
        const real before = LOAD(top + lane);
        real m0 = before, m1 = before;
        int j = 0;
        if (whole) {
            for (; j + 2 <= count; j += 2) {
                m0 = v_larger(m0, LOAD(s + j * lanes));
                m1 = v_larger(m1, LOAD(s + (j + 1) * lanes));
            }
            if (j < count) m0 = v_larger(m0, LOAD(s + j * lanes));
        } else {
            const mask_t first = LOAD_INT(sight->first + lane), last = LOAD_INT(sight->last + lane);
            for (; j < count; j++) {
                const real v =
                    SELECT(SPLAT(-INFINITY), LOAD(s + j * lanes), attention_seen(first, last, key + j));
                STORE(s + j * lanes, v);
                m0 = v_larger(m0, v);
            }
        }
        const real now = v_larger(m0, m1);
        real s0 = SPLAT(0.0f), s1 = s0;
        for (j = 0; j + 2 <= count; j += 2) {
            const real p = v_exp2_scaled(LOAD(s + j * lanes) - now, rate, lowest);
            const real q = v_exp2_scaled(LOAD(s + (j + 1) * lanes) - now, rate, lowest);
            STORE(s + j * lanes, p);
            STORE(s + (j + 1) * lanes, q);
            s0 += p;
            s1 += q;
        }
        if (j < count) {
            const real p = v_exp2_scaled(LOAD(s + j * lanes) - now, rate, lowest);
            STORE(s + j * lanes, p);
            s0 += p;
        }
        const real moved = v_exp2_scaled(before - now, rate, lowest);
        STORE(correction + lane, moved);
        STORE(top + lane, now);
        STORE(total + lane, V_FMA(LOAD(total + lane), moved, s0 + s1));
    }
}

#define ATTENTION_DROPS(g) (ATTENTION_DROPOUT && (g)->drops)

// Which probabilities of a block's rows are kept, by lane: the number of its first one, and bits of 64 keys of a tile.
typedef struct {
    ulong first[ATTENTION_BLOCK];
    int low[ATTENTION_BLOCK], high[ATTENTION_BLOCK];
} AttentionKept;

// Lanes behind the last row draw what it draws.
ATTENTION_SEPARATE void attention_number_rows(const AttentionShape *g, index_t b, index_t group, index_t row0,
                                              int count, int lanes, AttentionKept *kept) {
    const int share = (int)(g->heads / g->groups);
    for (int lane = 0; lane < lanes; lane++) {
        const index_t r = row0 + attention_least(lane, count - 1), head = group * share + r % share;
        kept->first[lane] =
            (ulong)g->drop_first + (ulong)(((b * g->heads + head) * g->queries + r / share) * g->keys);
    }
}

// Draws for `count` <= 64 keys from `key` on. A block of four numbers lies in the lanes: the rows of a block, 16 at a time.
ATTENTION_SEPARATE void attention_draw(const AttentionShape *g, int lanes, int key, int count, AttentionKept *kept) {
    const uint k0 = (uint)(ulong)g->drop_seed, k1 = (uint)((ulong)g->drop_seed >> 32);
    const uint s0 = (uint)(ulong)g->drop_stream, s1 = (uint)((ulong)g->drop_stream >> 32);
    const bits_t limit = (bits_t)(uint)g->drop_threshold;
    for (int lane = 0; lane < lanes; lane += LANES) {
        int lows[LANES], highs[LANES], skips[LANES], drawn[3 * LANES], most = 0;
        for (int i = 0; i < LANES; i++) {
            const ulong number = kept->first[lane + i] + (ulong)key;
            lows[i] = (int)(uint)(number / 4);
            highs[i] = (int)(uint)(number / 4 >> 32);
            skips[i] = (int)(number % 4);
            most |= skips[i];
        }
        // Where no row begins inside of a block, the first 16 blocks are all.
        const int blocks = (count + most + 3) / 4;
        const bits_t low = AS_BITS(LOAD_INT(lows)), high = AS_BITS(LOAD_INT(highs));
        for (int part = 0; part < 3; part++) {
            bits_t bits = (bits_t)(0u);
            for (int n = 8 * part; n < blocks && n < 8 * part + 8; n++) {
                bits_t w0 = low + (bits_t)((uint)n);
                bits_t w1 = high - AS_BITS(w0 < low), w2 = (bits_t)(s0), w3 = (bits_t)(s1);
                philox4x32_10(&w0, &w1, &w2, &w3, k0, k1);
                bits_t four = (AS_BITS(w0 >= limit) & (bits_t)(1u)) | (AS_BITS(w1 >= limit) & (bits_t)(2u));
                four |= (AS_BITS(w2 >= limit) & (bits_t)(4u)) | (AS_BITS(w3 >= limit) & (bits_t)(8u));
                bits |= four << (bits_t)((uint)(4 * (n - 8 * part)));
            }
            STORE_INT(drawn + part * LANES, BITS_AS_INT(bits));
        }
        const bits_t skip = AS_BITS(LOAD_INT(skips)), rest = (bits_t)(31u) - skip, one = (bits_t)(1u);
        const bits_t d0 = AS_BITS(LOAD_INT(drawn)), d1 = AS_BITS(LOAD_INT(drawn + LANES));
        const bits_t d2 = AS_BITS(LOAD_INT(drawn + 2 * LANES));
        STORE_INT(kept->low + lane, BITS_AS_INT((d0 >> skip) | ((d1 << one) << rest)));
        STORE_INT(kept->high + lane, BITS_AS_INT((d1 >> skip) | ((d2 << one) << rest)));
    }
}

// Numbers [count][lanes] of the keys that were drawn for: 0 where dropped, else times `factor`.
ATTENTION_SEPARATE void attention_drop(GLOBAL float *numbers, int lanes, int count, const AttentionKept *kept,
                                       float factor) {
    for (int lane = 0; lane < lanes; lane += LANES)
        for (int upper = 0; upper < 2; upper++) {
            const mask_t bits = upper ? LOAD_INT(kept->high + lane) : LOAD_INT(kept->low + lane);
            for (int j = 0; j < 32 && 32 * upper + j < count; j++) {
                GLOBAL float *at = numbers + (32 * upper + j) * lanes + lane;
                const mask_t keep = (bits & (mask_t)((int)(1u << j))) != (mask_t)(0);
                STORE(at, SELECT(SPLAT(0.0f), LOAD(at) * SPLAT(factor), keep));
            }
        }
}

// The answers of rows [row0, row0 + count) of a group to the keys [from, to). `slot`: (2 padded + TILE + 3) · BLOCK floats,
// and TILE · padded for keys and values in bfloat16.
ATTENTION_SEPARATE void attention_forward_block(const AttentionShape *g, index_t b, index_t group, index_t row0,
                                                int count, int from, int to, GLOBAL const void *q,
                                                GLOBAL const void *k, GLOBAL const void *v, GLOBAL const int *spans,
                                                GLOBAL void *y, GLOBAL float *lse, float scale, GLOBAL float *slot) {
    const int share = (int)(g->heads / g->groups), width = (int)g->width, padded = attention_padded(width);
    const int lanes = (count + LANES - 1) / LANES * LANES;
    const float rate = LOG2E * scale;
    GLOBAL float *queries = slot, *answers = queries + padded * lanes, *scores = answers + padded * lanes;
    GLOBAL float *top = scores + ATTENTION_TILE * lanes, *total = top + lanes, *correction = total + lanes;
    GLOBAL float *tile_rows = correction + lanes;
    AttentionSight sight;
    attention_look(g, spans, b, row0, count, lanes, from, to, &sight);
    AttentionKept kept;
    if (ATTENTION_DROPS(g)) attention_number_rows(g, b, group, row0, count, lanes, &kept);
    attention_load_queries(g, q, b, group, row0, count, lanes, queries, 0, answers);
    fill_range(0, lanes, top, LOWEST);
    fill_range(0, lanes, total, 0.0f);
    fill_range(0, padded * lanes, answers, 0.0f);
    k = ATTENTION_AT(k, g->kv_bf16, b * g->k_row + group * g->k_head);
    v = ATTENTION_AT(v, g->kv_bf16, b * g->v_row + group * g->v_head);
    for (int key = sight.begin; key < sight.end; key += ATTENTION_TILE) {
        const int tile = (int)attention_least(ATTENTION_TILE, sight.end - key);
        if (!attention_any(&sight, lanes, key, tile)) continue;
        const AttentionTile kt = attention_tile(k, g->kv_bf16, g->k_token, key, tile, width, tile_rows);
        attention_product(tile, width, lanes, kt.x, kt.token, 1, queries, lanes, scores, lanes, 0);
        if (ATTENTION_CAPS(g)) attention_bend(scores, tile * lanes, scale, FLOAT_OF_BITS(g->cap));
        attention_soften(scores, lanes, key, tile, &sight, rate, top, total, correction);
        if (ATTENTION_DROPS(g)) {
            attention_draw(g, lanes, key, tile, &kept);
            attention_drop(scores, lanes, tile, &kept, FLOAT_OF_BITS(g->drop_scale));
        }
        if (key > sight.begin) {
            for (int d = 0; d < width; d++)
                for (int lane = 0; lane < lanes; lane += LANES) {
                    GLOBAL float *at = answers + d * lanes + lane;
                    STORE(at, LOAD(at) * LOAD(correction + lane));
                }
        }
        const AttentionTile vt = attention_tile(v, g->kv_bf16, g->v_token, key, tile, width, tile_rows);
        attention_product(width, tile, lanes, vt.x, 1, vt.token, scores, lanes, answers, lanes, 1);
    }
    for (int lane = 0; lane < lanes; lane += LANES) {
        const real sum = LOAD(total + lane);
        const mask_t none = sum == SPLAT(0.0f);
        const real l = V_FMA(LOAD(top + lane), SPLAT(scale), v_log(sum));
        STORE(top + lane, SELECT(l, SPLAT(INFINITY), none));
        STORE(total + lane, SELECT(SPLAT(1.0f) / sum, SPLAT(0.0f), none));
    }
    for (int lane = 0; lane < count; lane++) {
        const index_t r = row0 + lane;
        lse[(b * g->queries + r / share) * g->heads + group * share + r % share] = top[lane];
    }
    y = (GLOBAL void *)ATTENTION_AT(y, g->y_bf16, b * g->y_row + group * share * g->y_head);
    attention_store_rows(
        answers, total, y, g->y_bf16, g->y_token, g->y_head, share, row0, count, lanes, width, 0);
}

// Rows that are so few that lanes of rows would lie idle: the one token that a decoder reads. Lanes lie along the width, then along the keys.
#define ATTENTION_FEW 4

// Scores [16] of keys [0, count) of k with one query [padded], -inf behind them.
INLINE real attention_few_scores(int count, int width, GLOBAL const float *k, index_t token,
                                 GLOBAL const float *query) {
    real sum[LANES];
    ATTENTION_UNROLL for (int j = 0; j < LANES; j++) sum[j] = SPLAT(0.0f);
    if (count == LANES && width % LANES == 0) {
        for (int d = 0; d < width; d += LANES) {
            const real q = LOAD(query + d);
            ATTENTION_UNROLL for (int j = 0; j < LANES; j++) sum[j] = V_FMA(q, LOAD(k + j * token + d), sum[j]);
        }
    } else {
        for (int d = 0; d < width; d += LANES) {
            const int part = width - d < LANES ? width - d : 0;
            const real q = LOAD(query + d);
            ATTENTION_UNROLL for (int j = 0; j < LANES; j++) {
                if (j < count) {
                    GLOBAL const float *at = k + j * token + d;
                    sum[j] = V_FMA(q, part ? load_part(at, part, 0.0f) : LOAD(at), sum[j]);
                }
            }
        }
    }
    TRANSPOSE_16(sum)
    ATTENTION_UNROLL for (int step = 1; step < LANES; step *= 2)
        ATTENTION_UNROLL for (int j = 0; j < LANES; j += 2 * step) sum[j] += sum[j + step];
    return SELECT(SPLAT(-INFINITY), sum[0], LANE_IDS < (mask_t)(count));
}

// answers[rows][padded] = answers · correction[row] + Σ over keys [0, count) of p[row][key] · v[key].
INLINE void attention_few_answers(const int rows, int count, int width, GLOBAL const float *v, index_t token,
                                  GLOBAL const float *p, GLOBAL const float *correction, GLOBAL float *answers) {
    const int padded = attention_padded(width);
    for (int d = 0; d < width; d += LANES) {
        const int part = width - d < LANES ? width - d : 0;
        real even[ATTENTION_FEW], odd[ATTENTION_FEW];
        ATTENTION_UNROLL for (int r = 0; r < rows; r++) {
            even[r] = LOAD(answers + r * padded + d) * SPLAT(correction[r]);
            odd[r] = SPLAT(0.0f);
        }
        int j = 0;
        for (; !part && j + 2 <= count; j += 2) {
            const real v0 = LOAD(v + j * token + d), v1 = LOAD(v + (j + 1) * token + d);
            ATTENTION_UNROLL for (int r = 0; r < rows; r++) {
                even[r] = V_FMA(SPLAT(p[r * ATTENTION_TILE + j]), v0, even[r]);
                odd[r] = V_FMA(SPLAT(p[r * ATTENTION_TILE + j + 1]), v1, odd[r]);
            }
        }
        for (; j < count; j++) {
            const real v0 = part ? load_part(v + j * token + d, part, 0.0f) : LOAD(v + j * token + d);
            ATTENTION_UNROLL for (int r = 0; r < rows; r++)
                even[r] = V_FMA(SPLAT(p[r * ATTENTION_TILE + j]), v0, even[r]);
        }
        ATTENTION_UNROLL for (int r = 0; r < rows; r++) STORE(answers + r * padded + d, even[r] + odd[r]);
    }
}

// attention_drop of one row, whose keys lie in the lanes.
INLINE void attention_few_drop(GLOBAL float *p, int count, int low, int high, float factor) {
    for (int j = 0; j < count; j += LANES) {
        const mask_t bits = (mask_t)(j < 32 ? low : high), bit = (mask_t)(1) << (LANE_IDS + (mask_t)(j % 32));
        STORE(p + j, SELECT(SPLAT(0.0f), LOAD(p + j) * SPLAT(factor), (bits & bit) != (mask_t)(0)));
    }
}

// attention_forward_block of at most ATTENTION_FEW rows.
ATTENTION_SEPARATE void attention_forward_few(const AttentionShape *g, index_t b, index_t group, index_t row0,
                                              int count, int from, int to, GLOBAL const void *q, GLOBAL const void *k,
                                              GLOBAL const void *v, GLOBAL const int *spans, GLOBAL void *y,
                                              GLOBAL float *lse, float scale, GLOBAL float *slot) {
    const int share = (int)(g->heads / g->groups), width = (int)g->width, padded = attention_padded(width);
    const float rate = LOG2E * scale, lowest = -127.0f / rate;
    GLOBAL float *queries = slot, *answers = queries + ATTENTION_FEW * padded;
    GLOBAL float *scores = answers + ATTENTION_FEW * padded, *correction = scores + ATTENTION_FEW * ATTENTION_TILE;
    GLOBAL float *tile_rows = correction + LANES;
    int first[ATTENTION_FEW], last[ATTENTION_FEW], begin = to, end = from;
    float top[ATTENTION_FEW];
    real total[ATTENTION_FEW];
    GLOBAL const void *x = ATTENTION_AT(q, g->q_bf16, b * g->q_row + group * share * g->q_head);
    for (int r = 0; r < count; r++) {
        const index_t query = (row0 + r) / share, place = query * g->q_token + (row0 + r) % share * g->q_head;
        first[r] = from;
        last[r] = to;
        if (g->has_spans) {
            GLOBAL const int *span = spans + b * g->span_row + 2 * query;
            first[r] = (int)attention_most(from, span[0]);
            last[r] = (int)attention_least(to, span[1]);
        }
        if (first[r] < last[r]) {
            begin = (int)attention_least(begin, first[r]);
            end = (int)attention_most(end, last[r]);
        }
        top[r] = LOWEST;
        total[r] = SPLAT(0.0f);
        for (int d = 0; d < width; d += LANES) {
            const int part = width - d < LANES ? width - d : 0;
            real value;
            if (g->q_bf16) {
                GLOBAL const ushort *at = (GLOBAL const ushort *)x + place + d;
                value = part ? load_part_bf16(at, part, 0.0f) : LOAD_BF16(at);
            } else {
                GLOBAL const float *at = (GLOBAL const float *)x + place + d;
                value = part ? load_part(at, part, 0.0f) : LOAD(at);
            }
            STORE(queries + r * padded + d, value);
            STORE(answers + r * padded + d, SPLAT(0.0f));
        }
    }
    AttentionKept kept;
    if (ATTENTION_DROPS(g)) attention_number_rows(g, b, group, row0, count, LANES, &kept);
    k = ATTENTION_AT(k, g->kv_bf16, b * g->k_row + group * g->k_head);
    v = ATTENTION_AT(v, g->kv_bf16, b * g->v_row + group * g->v_head);
    for (int key = begin; key < end; key += ATTENTION_TILE) {
        const int tile = (int)attention_least(ATTENTION_TILE, end - key);
        int any = 0;
        for (int r = 0; r < count; r++) any |= first[r] < key + tile & last[r] > key;
        if (!any) continue;
        const AttentionTile kt = attention_tile(k, g->kv_bf16, g->k_token, key, tile, width, tile_rows);
        for (int r = 0; r < count; r++) {
            GLOBAL float *s = scores + r * ATTENTION_TILE;
            real most = SPLAT(top[r]);
            for (int j = 0; j < tile; j += LANES) {
                const int here = tile - j < LANES ? tile - j : LANES;
                real value = attention_few_scores(here, width, kt.x + j * kt.token, kt.token, queries + r * padded);
                if (ATTENTION_CAPS(g)) value = attention_bent(value, scale, FLOAT_OF_BITS(g->cap));
                const mask_t at = LANE_IDS + (mask_t)(key + j);
                value = SELECT(SPLAT(-INFINITY), value, (at >= (mask_t)(first[r])) & (at < (mask_t)(last[r])));
                STORE(s + j, value);
                most = v_larger(most, value);
            }
            const float now = lane_max(most), moved = S_EXP((top[r] - now) * scale);
            real sum = SPLAT(0.0f);
            for (int j = 0; j < tile; j += LANES) {
                const real p = v_exp2_scaled(LOAD(s + j) - SPLAT(now), rate, lowest);
                STORE(s + j, p);
                sum += p;
            }
            total[r] = V_FMA(total[r], SPLAT(moved), sum);
            correction[r] = moved;
            top[r] = now;
        }
        if (ATTENTION_DROPS(g)) {
            attention_draw(g, LANES, key, tile, &kept);
            for (int r = 0; r < count; r++)
                attention_few_drop(
                    scores + r * ATTENTION_TILE, tile, kept.low[r], kept.high[r], FLOAT_OF_BITS(g->drop_scale));
        }
        const AttentionTile vt = attention_tile(v, g->kv_bf16, g->v_token, key, tile, width, tile_rows);
        if (count == 1) attention_few_answers(1, tile, width, vt.x, vt.token, scores, correction, answers);
        if (count == 2) attention_few_answers(2, tile, width, vt.x, vt.token, scores, correction, answers);
        if (count == 3) attention_few_answers(3, tile, width, vt.x, vt.token, scores, correction, answers);
        if (count == 4) attention_few_answers(4, tile, width, vt.x, vt.token, scores, correction, answers);
    }
    y = (GLOBAL void *)ATTENTION_AT(y, g->y_bf16, b * g->y_row + group * share * g->y_head);
    for (int r = 0; r < count; r++) {
        const index_t row = row0 + r, place = row / share * g->y_token + row % share * g->y_head;
        const float sum = lane_sum(total[r]);
        const real factor = SPLAT(sum == 0.0f ? 0.0f : 1.0f / sum);
        for (int d = 0; d < width; d += LANES) {
            const int part = width - d < LANES ? width - d : 0;
            const real value = LOAD(answers + r * padded + d) * factor;
            if (g->y_bf16) {
                GLOBAL ushort *narrow = (GLOBAL ushort *)y + place + d;
                if (part) {
                    store_part_bf16(narrow, value, part);
                } else {
                    STORE_BF16(narrow, value);
                }
            } else {
                GLOBAL float *wide = (GLOBAL float *)y + place + d;
                if (part) {
                    store_part(wide, value, part);
                } else {
                    STORE(wide, value);
                }
            }
        }
        lse[(b * g->queries + row / share) * g->heads + group * share + row % share] =
            sum == 0.0f ? INFINITY : top[r] * scale + S_LOG(sum);
    }
}

// The shares of workers [begin, end) of `workers`; each has `slot` floats at slots.
INLINE void attention_forward_workers(index_t begin, index_t end, index_t workers, const index_t *shape,
                                      GLOBAL const void *q, GLOBAL const void *k, GLOBAL const void *v,
                                      GLOBAL const int *spans, GLOBAL void *y, GLOBAL float *lse, float scale,
                                      GLOBAL float *slots, index_t slot) {
    const AttentionShape *g = (const AttentionShape *)shape;
    const index_t units = g->batch * g->groups, rows = g->queries * (g->heads / g->groups);
    const index_t blocks = (rows + ATTENTION_BLOCK - 1) / ATTENTION_BLOCK, items = units * g->splits * blocks;
    for (index_t worker = begin; worker < end; worker++) {
        // Causal blocks grow towards the end: the largest come first.
        for (index_t item = worker; item < items; item += workers) {
            const index_t unit = item % units, split = item / units % g->splits;
            const index_t row0 = (blocks - 1 - item / units / g->splits) * ATTENTION_BLOCK;
            const int count = (int)attention_least(ATTENTION_BLOCK, rows - row0);
            const int from = (int)(g->keys * split / g->splits), to = (int)(g->keys * (split + 1) / g->splits);
            GLOBAL void *answer = (GLOBAL void *)ATTENTION_AT(y, g->y_bf16, split * g->y_split);
            GLOBAL float *sums = lse + split * g->batch * g->queries * g->heads;
            if (count <= ATTENTION_FEW) {
                attention_forward_few(g, unit / g->groups, unit % g->groups, row0, count, from, to, q, k, v, spans,
                                      answer, sums, scale, slots + worker * slot);
            } else {
                attention_forward_block(g, unit / g->groups, unit % g->groups, row0, count, from, to, q, k, v, spans,
                                        answer, sums, scale, slots + worker * slot);
            }
        }
    }
}

// y and L of rows [begin, end) of all [batch, queries, heads] from those of `splits` pieces of the keys, dense: each
// counts as e^(its L).
INLINE void attention_combine_rows(index_t begin, index_t end, const index_t *shape, GLOBAL const float *parts,
                                   GLOBAL const float *part_lse, GLOBAL void *y, GLOBAL float *lse) {
    const AttentionShape *g = (const AttentionShape *)shape;
    const index_t rows = g->batch * g->queries * g->heads;
    for (index_t r = begin; r < end; r++) {
        const index_t place = r / g->heads / g->queries * g->y_row + r / g->heads % g->queries * g->y_token +
                              r % g->heads * g->y_head;
        GLOBAL float *to = (GLOBAL float *)y + place;
        GLOBAL ushort *narrow = (GLOBAL ushort *)y + place;
        float top = LOWEST, total = 0.0f;
        for (index_t s = 0; s < g->splits; s++) {
            const float l = part_lse[s * rows + r];
            if (l > top && l < INFINITY) top = l;
        }
        for (index_t s = 0; s < g->splits; s++) {
            const float l = part_lse[s * rows + r];
            if (l != INFINITY) total += S_EXP(l - top);
        }
        const float inverse = total == 0.0f ? 0.0f : 1.0f / total;
        lse[r] = total == 0.0f ? INFINITY : top + S_LOG(total);
        for (index_t d = 0; d < g->width; d += LANES) {
            const int part = g->width - d < LANES ? (int)(g->width - d) : 0;
            real sum = SPLAT(0.0f);
            for (index_t s = 0; s < g->splits; s++) {
                const float l = part_lse[s * rows + r];
                if (l == INFINITY) continue;
                GLOBAL const float *from = parts + s * g->y_split + r * g->width + d;
                const real v = part ? load_part(from, part, 0.0f) : LOAD(from);
                sum = V_FMA(v, SPLAT(S_EXP(l - top) * inverse), sum);
            }
            if (g->y_bf16) {
                if (part) {
                    store_part_bf16(narrow + d, sum, part);
                } else {
                    STORE_BF16(narrow + d, sum);
                }
            } else if (part) {
                store_part(to + d, sum, part);
            } else {
                STORE(to + d, sum);
            }
        }
    }
}

// to[rows][width] += a[rows][depth] · b[depth][padded]: in place where rows are whole vectors, else by way of `tile`.
ATTENTION_SEPARATE void attention_add_rows(int rows, int depth, int width, GLOBAL const float *a, index_t a_row,
                                           GLOBAL const float *b, GLOBAL float *to, index_t pitch,
                                           GLOBAL float *tile) {
    const int padded = attention_padded(width), whole = width / LANES * LANES, part = width - whole;
    if (part == 0) {
        attention_product(rows, depth, padded, a, a_row, 1, b, padded, to, pitch, 1);
        return;
    }
    attention_product(rows, depth, padded, a, a_row, 1, b, padded, tile, padded, 0);
    for (int i = 0; i < rows; i++) {
        GLOBAL float *row = to + i * pitch;
        for (int d = 0; d < whole; d += LANES) STORE(row + d, LOAD(row + d) + LOAD(tile + i * padded + d));
        store_part(row + whole, load_part(row + whole, part, 0.0f) + LOAD(tile + i * padded + whole), part);
    }
}

// scores become p, slopes (dp so far) become scale · ds; with a cap, what comes before the bend.
INLINE void attention_harden_tile(const int caps, GLOBAL float *scores, GLOBAL float *slopes, int lanes, int key,
                                  int count, const AttentionSight *sight, float scale, float cap,
                                  GLOBAL const float *lse, GLOBAL const float *delta) {
    const float rate = LOG2E * scale, lowest = -127.0f / rate;
    const int whole = key >= sight->all_begin && key + count <= sight->all_end;
    for (int lane = 0; lane < lanes; lane += LANES) {
        const real top = LOAD(lse + lane), mean = LOAD(delta + lane);
        const mask_t first = LOAD_INT(sight->first + lane), last = LOAD_INT(sight->last + lane);
        for (int j = 0; j < count; j++) {
            GLOBAL float *s = scores + j * lanes + lane, *d = slopes + j * lanes + lane;
            const real score = LOAD(s);
            real p = v_exp2_scaled(score - top, rate, lowest);
            if (!whole) p = SELECT(SPLAT(0.0f), p, attention_seen(first, last, key + j));
            STORE(s, p);
            real slope = p * (LOAD(d) - mean) * SPLAT(scale);
            if (caps) {
                const real t = score * SPLAT(scale / cap);
                slope *= V_FMA(-t, t, SPLAT(1.0f));
            }
            STORE(d, slope);
        }
    }
}
ATTENTION_SEPARATE void attention_harden(const AttentionShape *g, GLOBAL float *scores, GLOBAL float *slopes, int lanes,
                                         int key, int count, const AttentionSight *sight, float scale,
                                         GLOBAL const float *lse, GLOBAL const float *delta) {
    if (ATTENTION_CAPS(g)) {
        attention_harden_tile(1, scores, slopes, lanes, key, count, sight, scale, FLOAT_OF_BITS(g->cap), lse, delta);
    } else {
        attention_harden_tile(0, scores, slopes, lanes, key, count, sight, scale, 1.0f, lse, delta);
    }
}

typedef struct {
    GLOBAL const void *q, *k, *v, *y;
    GLOBAL const float *lse, *dy;
    GLOBAL const int *spans;
    GLOBAL float *dq, *dk, *dv;
} AttentionGradients;

// The part of rows [row0, row0 + count) of a group in its gradients; dk and dv are added to. `slot`:
// (5 padded + 2 TILE + 3) · BLOCK + TILE · padded floats, and as many again as the last for keys in bfloat16.
ATTENTION_SEPARATE void attention_backward_block(const AttentionShape *g, const AttentionGradients *o, index_t b,
                                                 index_t group, index_t row0, int count, float scale,
                                                 GLOBAL float *slot) {
    const int share = (int)(g->heads / g->groups), width = (int)g->width, padded = attention_padded(width);
    const int lanes = (count + LANES - 1) / LANES * LANES, area = padded * lanes;
    GLOBAL float *queries = slot, *query_rows = queries + area, *slants = query_rows + area, *slant_rows = slants + area;
    GLOBAL float *turned = slant_rows + area, *scores = turned + area, *slopes = scores + ATTENTION_TILE * lanes;
    GLOBAL float *lse = slopes + ATTENTION_TILE * lanes, *delta = lse + lanes, *ones = delta + lanes;
    GLOBAL float *tile_rows = ones + lanes, *key_rows = tile_rows + ATTENTION_TILE * padded;
    AttentionSight sight;
    attention_look(g, o->spans, b, row0, count, lanes, 0, (int)g->keys, &sight);
    AttentionKept kept;
    if (ATTENTION_DROPS(g)) attention_number_rows(g, b, group, row0, count, lanes, &kept);
    attention_load_queries(g, o->q, b, group, row0, count, lanes, queries, query_rows, turned);
    attention_load_rows(o->dy + b * g->dy_row + group * share * g->dy_head, g->dy_token, g->dy_head, share, row0, count,
                        lanes, width, slants, slant_rows);
    fill_range(0, lanes, lse, INFINITY);
    fill_range(0, lanes, delta, 0.0f);
    fill_range(0, lanes, ones, 1.0f);
    fill_range(0, area, turned, 0.0f);
    for (int lane = 0; lane < count; lane++) {
        const index_t r = row0 + lane, query = r / share, head = group * share + r % share;
        const index_t place = b * g->y_row + query * g->y_token + head * g->y_head;
        GLOBAL const float *y = (GLOBAL const float *)o->y + place;
        GLOBAL const ushort *narrow = (GLOBAL const ushort *)o->y + place;
        GLOBAL const float *dy = slant_rows + lane * padded;
        real sum = SPLAT(0.0f);
        for (int d = 0; d < width; d += LANES) {
            const int part = width - d < LANES ? width - d : 0;
            real v;
            if (g->y_bf16) {
                v = part ? load_part_bf16(narrow + d, part, 0.0f) : LOAD_BF16(narrow + d);
            } else {
                v = part ? load_part(y + d, part, 0.0f) : LOAD(y + d);
            }
            sum = V_FMA(v, LOAD(dy + d), sum);
        }
        delta[lane] = lane_sum(sum);
        lse[lane] = o->lse[(b * g->queries + query) * g->heads + head] / scale;
    }
    GLOBAL const void *k = ATTENTION_AT(o->k, g->kv_bf16, b * g->k_row + group * g->k_head);
    GLOBAL const void *v = ATTENTION_AT(o->v, g->kv_bf16, b * g->v_row + group * g->v_head);
    for (int key = sight.begin; key < sight.end; key += ATTENTION_TILE) {
        const int tile = (int)attention_least(ATTENTION_TILE, sight.end - key);
        if (!attention_any(&sight, lanes, key, tile)) continue;
        // Values are done with before the gradients want the memory of their tile.
        const AttentionTile kt = attention_tile(k, g->kv_bf16, g->k_token, key, tile, width, key_rows);
        const AttentionTile vt = attention_tile(v, g->kv_bf16, g->v_token, key, tile, width, tile_rows);
        attention_product(tile, width, lanes, kt.x, kt.token, 1, queries, lanes, scores, lanes, 0);
        if (ATTENTION_CAPS(g)) attention_bend(scores, tile * lanes, scale, FLOAT_OF_BITS(g->cap));
        attention_product(tile, width, lanes, vt.x, vt.token, 1, slants, lanes, slopes, lanes, 0);
        if (ATTENTION_DROPS(g)) {
            attention_draw(g, lanes, key, tile, &kept);
            attention_drop(slopes, lanes, tile, &kept, FLOAT_OF_BITS(g->drop_scale));
        }
        attention_harden(g, scores, slopes, lanes, key, tile, &sight, scale, lse, delta);
        if (ATTENTION_DROPS(g) && g->dv_mode)
            attention_drop(scores, lanes, tile, &kept, FLOAT_OF_BITS(g->drop_scale));
        if (g->dv_mode)
            attention_add_rows(tile, count, width, scores, lanes, slant_rows, o->dv + key * g->dv_token, g->dv_token,
                               tile_rows);
        if (g->dk_mode)
            attention_add_rows(tile, count, width, slopes, lanes, query_rows, o->dk + key * g->dk_token, g->dk_token,
                               tile_rows);
        if (g->dq_mode)
            attention_product(width, tile, lanes, kt.x, 1, kt.token, slopes, lanes, turned, lanes, 1);
    }
    if (g->dq_mode)
        attention_store_rows(turned, ones, o->dq + b * g->dq_row + group * share * g->dq_head, 0, g->dq_token,
                             g->dq_head, share, row0, count, lanes, width, g->dq_mode == 2);
}

// The shares of workers [begin, end) of `workers`; each has `slot` floats at slots. Gradients not wanted are not touched.
INLINE void attention_backward_workers(index_t begin, index_t end, index_t workers, const index_t *shape,
                                       GLOBAL const void *q, GLOBAL const void *k, GLOBAL const void *v,
                                       GLOBAL const int *spans, GLOBAL const void *y, GLOBAL const float *lse,
                                       GLOBAL const float *dy, GLOBAL float *dq, GLOBAL float *dk, GLOBAL float *dv,
                                       float scale, GLOBAL float *slots, index_t slot) {
    const AttentionShape *g = (const AttentionShape *)shape;
    const index_t units = g->batch * g->groups, rows = g->queries * (g->heads / g->groups);
    const index_t blocks = (rows + ATTENTION_BLOCK - 1) / ATTENTION_BLOCK;
    for (index_t worker = begin; worker < end; worker++) {
        for (index_t item = worker; item < units * g->chunks; item += workers) {
            const index_t unit = item % units, chunk = item / units, b = unit / g->groups, group = unit % g->groups;
            AttentionGradients o;
            o.q = q;
            o.k = k;
            o.v = v;
            o.y = y;
            o.lse = lse;
            o.dy = dy;
            o.spans = spans;
            o.dq = dq;
            o.dk = dk + chunk * g->dk_chunk + b * g->dk_row + group * g->dk_head;
            o.dv = dv + chunk * g->dv_chunk + b * g->dv_row + group * g->dv_head;
            for (index_t key = 0; key < g->keys; key++) {
                if (g->dk_mode == 1) fill_range(0, g->width, o.dk + key * g->dk_token, 0.0f);
                if (g->dv_mode == 1) fill_range(0, g->width, o.dv + key * g->dv_token, 0.0f);
            }
            for (index_t block = chunk; block < blocks; block += g->chunks) {
                const index_t row0 = block * ATTENTION_BLOCK;
                attention_backward_block(g, &o, b, group, row0, (int)attention_least(ATTENTION_BLOCK, rows - row0),
                                         scale, slots + worker * slot);
            }
        }
    }
}

#endif  // VECTOR

#ifdef __OPENCL_VERSION__
#define ATTENTION_ARGUMENT(name) , long name
#define ATTENTION_SHAPE_ARGUMENTS ATTENTION_FIELDS(ATTENTION_ARGUMENT)
#define ATTENTION_SET(name) shape.name = name;
#define ATTENTION_SHAPE                                                                                                \
    AttentionShape shape;                                                                                              \
    ATTENTION_FIELDS(ATTENTION_SET)
// q, k, v and y are pointers to what they are stored as, whatever is written here.
#define ATTENTION_FORWARD_ARGUMENTS                                                                                    \
    __global const float *q, long q_at, __global const float *k, long k_at, __global const float *v, long v_at,        \
        __global const int *spans, long spans_at, __global float *y, long y_at, __global float *lse, long lse_at,      \
        float scale
#define ATTENTION_BACKWARD_ARGUMENTS                                                                                   \
    __global const float *q, long q_at, __global const float *k, long k_at, __global const float *v, long v_at,        \
        __global const int *spans, long spans_at, __global const float *y, long y_at, __global const float *lse,       \
        long lse_at, __global const float *dy, long dy_at, __global float *dq, long dq_at, __global float *dk,         \
        long dk_at, __global float *dv, long dv_at, float scale
#define ATTENTION_COMBINE_ARGUMENTS                                                                                    \
    __global const float *parts, long parts_at, __global const float *part_lse, long part_lse_at, __global float *y,   \
        long y_at, __global float *lse, long lse_at
#endif

#if defined(VECTOR) && defined(__OPENCL_VERSION__)
// A work-item for each worker.
#if WANTED(attention_forward)
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void attention_forward(
    ATTENTION_FORWARD_ARGUMENTS, __global float *slots, long slots_at, long slot ATTENTION_SHAPE_ARGUMENTS) {
    ATTENTION_SHAPE
    const long worker = get_global_id(0);
    attention_forward_workers(worker, worker + 1, get_global_size(0), (const index_t *)&shape,
                              ATTENTION_AT(q, q_bf16, q_at), ATTENTION_AT(k, kv_bf16, k_at),
                              ATTENTION_AT(v, kv_bf16, v_at), spans + spans_at,
                              (__global void *)ATTENTION_AT(y, y_bf16, y_at), lse + lse_at, scale, slots + slots_at,
                              slot);
}
#endif
#if WANTED(attention_backward)
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void attention_backward(
    ATTENTION_BACKWARD_ARGUMENTS, __global float *slots, long slots_at, long slot ATTENTION_SHAPE_ARGUMENTS) {
    ATTENTION_SHAPE
    const long worker = get_global_id(0);
    attention_backward_workers(worker, worker + 1, get_global_size(0), (const index_t *)&shape,
                               ATTENTION_AT(q, q_bf16, q_at), ATTENTION_AT(k, kv_bf16, k_at),
                               ATTENTION_AT(v, kv_bf16, v_at), spans + spans_at, ATTENTION_AT(y, y_bf16, y_at),
                               lse + lse_at, dy + dy_at, dq + dq_at, dk + dk_at, dv + dv_at, scale, slots + slots_at,
                               slot);
}
#endif
// Launched over rows: [batch, queries, heads].
#if WANTED(attention_combine)
__kernel void attention_combine(long rows, long rows_per_item, ATTENTION_COMBINE_ARGUMENTS ATTENTION_SHAPE_ARGUMENTS) {
    ATTENTION_SHAPE
    const long begin = get_global_id(0) * rows_per_item, end = min(rows, begin + rows_per_item);
    attention_combine_rows(begin, end, (const index_t *)&shape, parts + parts_at, part_lse + part_lse_at,
                           (__global void *)ATTENTION_AT(y, y_bf16, y_at), lse + lse_at);
}
#endif
#endif

#ifdef SIMT

// ---------------------------------------------------------------------------------------------------------------------
// SIMT family
//
// A work-group of 256 holds a tile of 64 x 64 scores, each work-item 4 x 4 of it. Products over the width take it 16
// numbers at a time through local memory; then p (or ds) goes to local memory, and what it is multiplied with follows in
// chunks of rows. Forward and dq have a group for each 64 rows, dk and dv one for each 64 keys: nothing is added to by
// two, and every sum has its order.
//
//   WIDE   64, 128, 192 or 256: the width, rounded up. Sums along the width take WIDE / 16 numbers of each of 4 rows.
//   VEC    1 when all strides and offsets are multiples of 4 elements: a quad is then one load.
//   Q_BF16, KV_BF16, Y_BF16   what the list of sizes says too: known here, they cost fp32 nothing.
//   ATTENTION_DROPOUT         1 with dropout.
//   ATTENTION_CAP             1 with a cap.
//
// Local memory: 17 KiB for p, 8.5 KiB for what is multiplied, 4 KiB for maxima and sums of rows.
// ---------------------------------------------------------------------------------------------------------------------

#ifndef WIDE
#define WIDE 64
#endif
#ifndef VEC
#define VEC 0
#endif
#ifndef Q_BF16
#define Q_BF16 0
#endif
#ifndef KV_BF16
#define KV_BF16 0
#endif
#ifndef Y_BF16
#define Y_BF16 0
#endif
#define ATTENTION_SIDE 64  // rows and keys of a tile
#define ATTENTION_LD 68    // of a row of 64 in local memory: scattered stores then spread over banks
#define ATTENTION_STEP 16  // numbers of the width at a time
#define ATTENTION_QUADS (WIDE / 64)
#if WIDE <= 128
#define ATTENTION_CHUNK 16  // rows at a time of what p is multiplied with
#else
#define ATTENTION_CHUNK 8
#endif
#define ATTENTION_SHARED (2 * ATTENTION_STEP * ATTENTION_LD)  // floats; ATTENTION_CHUNK · WIDE is less
#ifndef ATTENTION_INLINE
#define ATTENTION_INLINE __attribute__((always_inline))
#endif
#define ATTENTION_UNROLL _Pragma("unroll")
#define ATTENTION_UNROLL_4 _Pragma("unroll 4")  // enough to hide a loop's own work

// The first `valid` of four neighbours, zero for the rest.
INLINE float4 attention_quad(__global const float *p, long valid) {
    if (valid >= 4) {
#if VEC
        return *(__global const float4 *)p;
#else
        return vload4(0, p);
#endif
    }
    float4 v = 0.0f;
    if (valid > 0) v.x = p[0];
    if (valid > 1) v.y = p[1];
    if (valid > 2) v.z = p[2];
    return v;
}
INLINE void attention_put(__global float *p, float4 v, long valid, int add) {
    if (valid >= 4) {
        if (add) v += attention_quad(p, 4);
#if VEC
        *(__global float4 *)p = v;
#else
        vstore4(v, 0, p);
#endif
        return;
    }
    if (valid > 0) p[0] = add ? p[0] + v.x : v.x;
    if (valid > 1) p[1] = add ? p[1] + v.y : v.y;
    if (valid > 2) p[2] = add ? p[2] + v.z : v.z;
}
INLINE float4 attention_quad_bf16(__global const ushort *p, long valid) {
    ushort4 v = 0;
    if (valid >= 4) {
#if VEC
        v = *(__global const ushort4 *)p;
#else
        v = vload4(0, p);
#endif
    } else {
        if (valid > 0) v.x = p[0];
        if (valid > 1) v.y = p[1];
        if (valid > 2) v.z = p[2];
    }
    return as_float4(convert_uint4(v) << 16);
}
INLINE void attention_put_bf16(__global ushort *p, float4 v, long valid) {
    const ushort4 narrow =
        (ushort4)(bf16_of_float(v.x), bf16_of_float(v.y), bf16_of_float(v.z), bf16_of_float(v.w));
    if (valid >= 4) {
#if VEC
        *(__global ushort4 *)p = narrow;
#else
        vstore4(narrow, 0, p);
#endif
        return;
    }
    if (valid > 0) p[0] = narrow.x;
    if (valid > 1) p[1] = narrow.y;
    if (valid > 2) p[2] = narrow.z;
}

// Rows of x, fp32 or bfloat16: row r lies at r / share · token + r % share · head. Keys are rows of share 1.
typedef struct {
    __global const void *x;
    long token, head;
    int bf16, share, count;
} AttentionRows;
INLINE AttentionRows attention_rows(__global const void *x, int bf16, long token, long head, int share, int count) {
    AttentionRows rows;
    rows.x = x;
    rows.bf16 = bf16;
    rows.token = token;
    rows.head = head;
    rows.share = share;
    rows.count = count;
    return rows;
}
INLINE long attention_place(int share, long token, long head, int r) { return r / share * token + r % share * head; }
INLINE float4 attention_row_quad(AttentionRows rows, int r, int d, int width) {
    if (r >= rows.count) return 0.0f;
    const long at = attention_place(rows.share, rows.token, rows.head, r) + d;
    if (rows.bf16) return attention_quad_bf16((__global const ushort *)rows.x + at, width - d);
    return attention_quad((__global const float *)rows.x + at, width - d);
}

// sum[i] quad j = Σ_d a[a0 + 4 · item / 16 + i][d] · b[b0 + 4 · (item % 16) + j][d].
ATTENTION_INLINE void attention_scores(AttentionRows a, int a0, AttentionRows b, int b0, int width, float4 *sum,
                                       __local float *shared) {
    const int item = (int)get_local_id(0), row = item / 4, quad = item % 4;
    __local float *left = shared, *right = shared + ATTENTION_STEP * ATTENTION_LD;
    ATTENTION_UNROLL for (int i = 0; i < 4; i++) sum[i] = 0.0f;
    for (int d0 = 0; d0 < width; d0 += ATTENTION_STEP) {
        const float4 u = attention_row_quad(a, a0 + row, d0 + 4 * quad, width);
        const float4 w = attention_row_quad(b, b0 + row, d0 + 4 * quad, width);
        barrier(CLK_LOCAL_MEM_FENCE);
        __local float *to = left + 4 * quad * ATTENTION_LD + row;
        to[0] = u.x;
        to[ATTENTION_LD] = u.y;
        to[2 * ATTENTION_LD] = u.z;
        to[3 * ATTENTION_LD] = u.w;
        to = right + 4 * quad * ATTENTION_LD + row;
        to[0] = w.x;
        to[ATTENTION_LD] = w.y;
        to[2 * ATTENTION_LD] = w.z;
        to[3 * ATTENTION_LD] = w.w;
        barrier(CLK_LOCAL_MEM_FENCE);
        ATTENTION_UNROLL_4 for (int s = 0; s < ATTENTION_STEP; s++) {
            const float4 l = *(__local const float4 *)(left + s * ATTENTION_LD + item / 16 * 4);
            const float4 r = *(__local const float4 *)(right + s * ATTENTION_LD + item % 16 * 4);
            sum[0] = fma((float4)(l.x), r, sum[0]);
            sum[1] = fma((float4)(l.y), r, sum[1]);
            sum[2] = fma((float4)(l.z), r, sum[2]);
            sum[3] = fma((float4)(l.w), r, sum[3]);
        }
    }
}

// The tile of scores to local memory, turned: p[b][a].
ATTENTION_INLINE void attention_keep(const float4 *sum, __local float *p) {
    const int item = (int)get_local_id(0);
    __local float *to = p + item % 16 * 4 * ATTENTION_LD + item / 16 * 4;
    *(__local float4 *)(to) = (float4)(sum[0].x, sum[1].x, sum[2].x, sum[3].x);
    *(__local float4 *)(to + ATTENTION_LD) = (float4)(sum[0].y, sum[1].y, sum[2].y, sum[3].y);
    *(__local float4 *)(to + 2 * ATTENTION_LD) = (float4)(sum[0].z, sum[1].z, sum[2].z, sum[3].z);
    *(__local float4 *)(to + 3 * ATTENTION_LD) = (float4)(sum[0].w, sum[1].w, sum[2].w, sum[3].w);
}

// acc[i][c] += Σ_j p[j][4 · item / 16 + i] · b[b0 + j][64 c + 4 · (item % 16) …] over the 64 rows of a tile.
ATTENTION_INLINE void attention_gather(AttentionRows b, int b0, int width, __local const float *p,
                                       float4 acc[4][ATTENTION_QUADS], __local float *shared) {
    const int item = (int)get_local_id(0);
    for (int j0 = 0; j0 < ATTENTION_SIDE; j0 += ATTENTION_CHUNK) {
        // What is there to multiply ends for all work-items alike.
        if (b0 + j0 >= b.count) break;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int at = item; at < ATTENTION_CHUNK * WIDE / 4; at += GROUP) {
            const int j = at / (WIDE / 4), d = at % (WIDE / 4) * 4;
            *(__local float4 *)(shared + j * WIDE + d) = attention_row_quad(b, b0 + j0 + j, d, width);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        ATTENTION_UNROLL_4 for (int j = 0; j < ATTENTION_CHUNK; j++) {
            const float4 l = *(__local const float4 *)(p + (j0 + j) * ATTENTION_LD + item / 16 * 4);
            ATTENTION_UNROLL for (int c = 0; c < ATTENTION_QUADS; c++) {
                const float4 r = *(__local const float4 *)(shared + j * WIDE + 64 * c + item % 16 * 4);
                acc[0][c] = fma((float4)(l.x), r, acc[0][c]);
                acc[1][c] = fma((float4)(l.y), r, acc[1][c]);
                acc[2][c] = fma((float4)(l.z), r, acc[2][c]);
                acc[3][c] = fma((float4)(l.w), r, acc[3][c]);
            }
        }
    }
}

INLINE void attention_clear(float4 acc[4][ATTENTION_QUADS]) {
    ATTENTION_UNROLL for (int i = 0; i < 4; i++)
        ATTENTION_UNROLL for (int c = 0; c < ATTENTION_QUADS; c++) acc[i][c] = 0.0f;
}

// Four sums to their rows, row0 and those behind it, times `factor`. bfloat16 is not added to.
INLINE void attention_write(float4 acc[4][ATTENTION_QUADS], float4 factor, __global void *y, int bf16, long token,
                            long head, int share, int row0, int count, int width, int add) {
    const int item = (int)get_local_id(0), row = row0 + item / 16 * 4;
    const float factors[4] = {factor.x, factor.y, factor.z, factor.w};
    ATTENTION_UNROLL for (int i = 0; i < 4; i++) {
        if (row + i < count) {
            const long place = attention_place(share, token, head, row + i);
            ATTENTION_UNROLL for (int c = 0; c < ATTENTION_QUADS; c++) {
                const int d = 64 * c + item % 16 * 4;
                if (bf16) {
                    attention_put_bf16((__global ushort *)y + place + d, acc[i][c] * factors[i], width - d);
                } else {
                    attention_put((__global float *)y + place + d, acc[i][c] * factors[i], width - d, add);
                }
            }
        }
    }
}

// What the rows of a tile see, of the keys [from, to): by row, and together. All work-items must call.
typedef struct {
    int begin, end, all_begin, all_end;
} AttentionSight;
ATTENTION_INLINE AttentionSight attention_look(__global const int *spans, int has_spans, int share, int row0, int count,
                                               int from, int to, __local int *first, __local int *last) {
    const int item = (int)get_local_id(0);
    if (item < ATTENTION_SIDE) {
        // Rows behind the last see what it sees.
        __global const int *span = spans + 2 * (min(row0 + item, count - 1) / share);
        int f = from, l = to;
        if (has_spans) {
            f = max(from, span[0]);
            l = min(to, span[1]);
        }
        first[item] = f < l ? f : to;
        last[item] = f < l ? l : from;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    AttentionSight sight;
    sight.begin = sight.all_end = to;
    sight.end = sight.all_begin = from;
    for (int i = 0; i < ATTENTION_SIDE; i++) {
        sight.begin = min(sight.begin, first[i]);
        sight.end = max(sight.end, last[i]);
        sight.all_begin = max(sight.all_begin, first[i]);
        sight.all_end = min(sight.all_end, last[i]);
    }
    return sight;
}

// `other` where key j of four is not in [first, last).
INLINE float4 attention_hide(float4 v, int key, int first, int last, float other) {
    v.x = key >= first && key < last ? v.x : other;
    v.y = key + 1 >= first && key + 1 < last ? v.y : other;
    v.z = key + 2 >= first && key + 2 < last ? v.z : other;
    v.w = key + 3 >= first && key + 3 < last ? v.w : other;
    return v;
}

#if ATTENTION_CAP
// Of four scores, what is, times scale, cap · tanh(scale · score / cap).
INLINE float4 attention_bent(float4 s, float scale, float cap) {
    s *= scale / cap;
    return (float4)(v_tanh(s.x), v_tanh(s.y), v_tanh(s.z), v_tanh(s.w)) * (cap / scale);
}
// How steep the bend is where it gave s: 1 - tanh².
INLINE float4 attention_steepness(float4 s, float scale, float cap) {
    s *= scale / cap;
    return fma(-s, s, (float4)(1.0f));
}
#define ATTENTION_BEND(s)                                                                                              \
    ATTENTION_UNROLL for (int i = 0; i < 4; i++) s[i] = attention_bent(s[i], scale, FLOAT_OF_BITS(cap));
#define ATTENTION_STEEPNESS(s) attention_steepness(s, scale, FLOAT_OF_BITS(cap))
#endif

#if ATTENTION_DROPOUT
// The number of the first probability of row r of a group.
INLINE ulong attention_number(long first, long b, int head0, long heads, long queries, long keys, int share, int r) {
    return (ulong)first + (ulong)(((b * heads + head0 + r % share) * queries + r / share) * keys);
}
INLINE uint attention_draw_block(ulong block, ulong seed, ulong stream, uint threshold) {
    uint w0 = (uint)block, w1 = (uint)(block >> 32), w2 = (uint)stream, w3 = (uint)(stream >> 32);
    philox4x32_10(&w0, &w1, &w2, &w3, (uint)seed, (uint)(seed >> 32));
    return (w0 >= threshold ? 1u : 0u) | (w1 >= threshold ? 2u : 0u) | (w2 >= threshold ? 4u : 0u) |
           (w3 >= threshold ? 8u : 0u);
}
// Bit j: whether number + j is kept, of four: one block of four numbers, or parts of two.
INLINE uint attention_draw(ulong number, ulong seed, ulong stream, uint threshold) {
    const uint skip = (uint)(number % 4);
    uint bits = attention_draw_block(number / 4, seed, stream, threshold);
    if (skip != 0) bits |= attention_draw_block(number / 4 + 1, seed, stream, threshold) << 4;
    return bits >> skip & 15u;
}
INLINE float4 attention_drop(float4 v, uint bits, float factor) {
    return (float4)((bits & 1u) != 0 ? v.x * factor : 0.0f, (bits & 2u) != 0 ? v.y * factor : 0.0f,
                    (bits & 4u) != 0 ? v.z * factor : 0.0f, (bits & 8u) != 0 ? v.w * factor : 0.0f);
}
#define ATTENTION_NUMBER(r) attention_number(drop_first, b, (int)group * share, heads, queries, keys, share, r)
#define ATTENTION_DRAW(number) attention_draw(number, (ulong)drop_seed, (ulong)drop_stream, (uint)drop_threshold)
// Tiles of keys begin where blocks of four do, if rows do.
#define ATTENTION_FIRST_KEY(key) ((key) & ~3)
#else
#define ATTENTION_FIRST_KEY(key) (key)
#endif

#if WANTED(attention_forward)
// Launch: batch · groups · splits · ceil(rows of a group / 64) work-groups.
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void attention_forward(
    ATTENTION_FORWARD_ARGUMENTS ATTENTION_SHAPE_ARGUMENTS) {
    __local float p[ATTENTION_SIDE * ATTENTION_LD] __attribute__((aligned(16)));
    __local float shared[ATTENTION_SHARED] __attribute__((aligned(16)));
    __local float scratch[ATTENTION_SIDE * 16] __attribute__((aligned(16)));
    const int item = (int)get_local_id(0), item_m = item / 16, item_n = item % 16;
    const int share = (int)(heads / groups), rows = (int)queries * share;
    const int blocks = (rows + ATTENTION_SIDE - 1) / ATTENTION_SIDE;
    const int units = (int)(batch * groups), at = (int)get_group_id(0);
    const int unit = at % units, split = at / units % (int)splits;
    // Causal blocks grow towards the end: the largest come first.
    const int row0 = (blocks - 1 - at / units / (int)splits) * ATTENTION_SIDE;
    const long b = unit / (int)groups, group = unit % (int)groups;
    const int from = (int)(keys * split / splits), to = (int)(keys * (split + 1) / splits);
    lse += lse_at + split * batch * queries * heads;
    const AttentionRows of_q = attention_rows(
        ATTENTION_AT(q, Q_BF16, q_at + b * q_row + group * share * q_head), Q_BF16, q_token, q_head, share, rows);
    const AttentionRows of_k = attention_rows(
        ATTENTION_AT(k, KV_BF16, k_at + b * k_row + group * k_head), KV_BF16, k_token, 0, 1, to);
    const AttentionRows of_v = attention_rows(
        ATTENTION_AT(v, KV_BF16, v_at + b * v_row + group * v_head), KV_BF16, v_token, 0, 1, to);
    const float rate = LOG2E * scale, lowest = -127.0f / rate;

    // The scratch memory holds what rows see until they have read it.
    __local int *first = (__local int *)scratch, *last = first + ATTENTION_SIDE;
    const AttentionSight sight = attention_look(
        spans + spans_at + b * span_row, has_spans != 0, share, row0, rows, from, to, first, last);
    int firsts[4], lasts[4];
    float top[4], total[4];
    float4 acc[4][ATTENTION_QUADS];
    attention_clear(acc);
    ATTENTION_UNROLL for (int i = 0; i < 4; i++) {
        firsts[i] = first[4 * item_m + i];
        lasts[i] = last[4 * item_m + i];
        top[i] = LOWEST;
        total[i] = 0.0f;
    }
#if ATTENTION_DROPOUT
    ulong numbers[4];
    ATTENTION_UNROLL for (int i = 0; i < 4; i++) numbers[i] = ATTENTION_NUMBER(row0 + 4 * item_m + i);
#endif
    for (int key = ATTENTION_FIRST_KEY(sight.begin); key < sight.end; key += ATTENTION_SIDE) {
        float4 s[4];
        attention_scores(of_q, row0, of_k, key, (int)width, s, shared);
#if ATTENTION_CAP
        ATTENTION_BEND(s)
#endif
        const int whole = key >= sight.all_begin && key + ATTENTION_SIDE <= sight.all_end;
        ATTENTION_UNROLL for (int i = 0; i < 4; i++) {
            if (!whole) s[i] = attention_hide(s[i], key + 4 * item_n, firsts[i], lasts[i], -INFINITY);
            scratch[(4 * item_m + i) * 16 + item_n] = fmax(fmax(s[i].x, s[i].y), fmax(s[i].z, s[i].w));
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        float moved[4];
        ATTENTION_UNROLL for (int i = 0; i < 4; i++) {
            __local const float4 *of_row = (__local const float4 *)(scratch + (4 * item_m + i) * 16);
            const float4 m = fmax(fmax(of_row[0], of_row[1]), fmax(of_row[2], of_row[3]));
            const float now = fmax(top[i], fmax(fmax(m.x, m.y), fmax(m.z, m.w)));
            moved[i] = v_exp2_scaled(top[i] - now, rate, lowest);
            top[i] = now;
            s[i] = exp2_scaled_quad(s[i] - now, rate, lowest);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        ATTENTION_UNROLL for (int i = 0; i < 4; i++) scratch[(4 * item_m + i) * 16 + item_n] = quad_sum(s[i]);
#if ATTENTION_DROPOUT
        ATTENTION_UNROLL for (int i = 0; i < 4; i++)
            s[i] = attention_drop(
                s[i], ATTENTION_DRAW(numbers[i] + (ulong)(key + 4 * item_n)), FLOAT_OF_BITS(drop_scale));
#endif
        attention_keep(s, p);
        barrier(CLK_LOCAL_MEM_FENCE);
        ATTENTION_UNROLL for (int i = 0; i < 4; i++) {
            __local const float4 *of_row = (__local const float4 *)(scratch + (4 * item_m + i) * 16);
            total[i] = fma(total[i], moved[i], quad_sum((of_row[0] + of_row[1]) + (of_row[2] + of_row[3])));
            ATTENTION_UNROLL for (int c = 0; c < ATTENTION_QUADS; c++) acc[i][c] *= moved[i];
        }
        attention_gather(of_v, key, (int)width, p, acc, shared);
    }
    float inverse[4];
    ATTENTION_UNROLL for (int i = 0; i < 4; i++) {
        inverse[i] = total[i] == 0.0f ? 0.0f : 1.0f / total[i];
        const int r = row0 + 4 * item_m + i;
        if (item_n == 0 && r < rows)
            lse[(b * queries + r / share) * heads + group * share + r % share] =
                total[i] == 0.0f ? INFINITY : fma(top[i], scale, log(total[i]));
    }
    attention_write(
        acc, (float4)(inverse[0], inverse[1], inverse[2], inverse[3]),
        (__global void *)ATTENTION_AT(y, Y_BF16, y_at + split * y_split + b * y_row + group * share * y_head), Y_BF16,
        y_token, y_head, share, row0, rows, (int)width, 0);
}
#endif

#if WANTED(attention_combine)
// A work-item for each number of y: count = batch · queries · heads · width.
__kernel void attention_combine(long count, long unused, ATTENTION_COMBINE_ARGUMENTS ATTENTION_SHAPE_ARGUMENTS) {
    const long rows = batch * queries * heads;
    parts += parts_at;
    part_lse += part_lse_at;
    for (long at = get_global_id(0); at < count; at += get_global_size(0)) {
        const long r = at / width, d = at - r * width, token = r / heads;
        float top = LOWEST, total = 0.0f, sum = 0.0f;
        for (long s = 0; s < splits; s++) {
            const float l = part_lse[s * rows + r];
            if (l > top && l < INFINITY) top = l;
        }
        for (long s = 0; s < splits; s++) {
            const float l = part_lse[s * rows + r];
            if (l != INFINITY) {
                const float e = S_EXP(l - top);
                total += e;
                sum = fma(e, parts[s * y_split + at], sum);
            }
        }
        const long place = y_at + token / queries * y_row + token % queries * y_token + r % heads * y_head + d;
        const float v = total == 0.0f ? 0.0f : sum / total;
        if (Y_BF16) {
            ((__global ushort *)y)[place] = bf16_of_float(v);
        } else {
            y[place] = v;
        }
        if (d == 0) lse[lse_at + r] = total == 0.0f ? INFINITY : top + S_LOG(total);
    }
}
#endif

#if WANTED(attention_delta)
// delta[batch, queries, heads] = dy·y. A work-item for each row: count = batch · queries · heads.
__kernel void attention_delta(long count, long unused, __global const float *y, long y_at, __global const float *dy,
                              long dy_at, __global float *delta, long delta_at ATTENTION_SHAPE_ARGUMENTS) {
    for (long r = get_global_id(0); r < count; r += get_global_size(0)) {
        const long token = r / heads, b = token / queries, query = token - b * queries, head = r % heads;
        const AttentionRows of_y = attention_rows(
            ATTENTION_AT(y, Y_BF16, y_at + b * y_row + query * y_token + head * y_head), Y_BF16, 0, 0, 1, 1);
        __global const float *w = dy + dy_at + b * dy_row + query * dy_token + head * dy_head;
        float4 sum = 0.0f;
        for (int d = 0; d < (int)width; d += 4)
            sum = fma(attention_row_quad(of_y, 0, d, (int)width), attention_quad(w + d, width - d), sum);
        delta[delta_at + r] = quad_sum(sum);
    }
}
#endif

// L / scale and Δ of the rows of a tile; rows behind the last have no share in anything.
ATTENTION_INLINE void attention_statistics(__global const float *lse, __global const float *delta, long base, int heads,
                                           int share, int row0, int rows, float scale, __local float *of_rows) {
    const int item = (int)get_local_id(0), r = row0 + item;
    if (item < ATTENTION_SIDE) {
        const long at = base + (long)(r / share) * heads + r % share;
        of_rows[item] = r < rows ? lse[at] / scale : INFINITY;
        of_rows[ATTENTION_SIDE + item] = r < rows ? delta[at] : 0.0f;
    }
}

#if WANTED(attention_backward_queries)
// dq. Launch: batch · groups · ceil(rows of a group / 64) work-groups.
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void attention_backward_queries(
    ATTENTION_BACKWARD_ARGUMENTS, __global const float *delta, long delta_at ATTENTION_SHAPE_ARGUMENTS) {
    __local float p[ATTENTION_SIDE * ATTENTION_LD] __attribute__((aligned(16)));
    __local float shared[ATTENTION_SHARED] __attribute__((aligned(16)));
    __local int first[ATTENTION_SIDE], last[ATTENTION_SIDE];
    __local float of_rows[2 * ATTENTION_SIDE];
    const int item = (int)get_local_id(0), item_m = item / 16, item_n = item % 16;
    const int share = (int)(heads / groups), rows = (int)queries * share;
    const int blocks = (rows + ATTENTION_SIDE - 1) / ATTENTION_SIDE;
    const int units = (int)(batch * groups), at = (int)get_group_id(0);
    const int unit = at % units, row0 = (blocks - 1 - at / units) * ATTENTION_SIDE;
    const long b = unit / (int)groups, group = unit % (int)groups;
    const AttentionRows of_q = attention_rows(
        ATTENTION_AT(q, Q_BF16, q_at + b * q_row + group * share * q_head), Q_BF16, q_token, q_head, share, rows);
    const AttentionRows of_dy =
        attention_rows(dy + dy_at + b * dy_row + group * share * dy_head, 0, dy_token, dy_head, share, rows);
    const AttentionRows of_k = attention_rows(
        ATTENTION_AT(k, KV_BF16, k_at + b * k_row + group * k_head), KV_BF16, k_token, 0, 1, (int)keys);
    const AttentionRows of_v = attention_rows(
        ATTENTION_AT(v, KV_BF16, v_at + b * v_row + group * v_head), KV_BF16, v_token, 0, 1, (int)keys);
    const float rate = LOG2E * scale, lowest = -127.0f / rate;
    attention_statistics(lse + lse_at, delta + delta_at, b * queries * heads + group * share, (int)heads, share, row0,
                         rows, scale, of_rows);
    const AttentionSight sight = attention_look(
        spans + spans_at + b * span_row, has_spans != 0, share, row0, rows, 0, (int)keys, first, last);
    int firsts[4], lasts[4];
    float tops[4], means[4];
    float4 acc[4][ATTENTION_QUADS];
    attention_clear(acc);
    ATTENTION_UNROLL for (int i = 0; i < 4; i++) {
        firsts[i] = first[4 * item_m + i];
        lasts[i] = last[4 * item_m + i];
        tops[i] = of_rows[4 * item_m + i];
        means[i] = of_rows[ATTENTION_SIDE + 4 * item_m + i];
    }
#if ATTENTION_DROPOUT
    ulong numbers[4];
    ATTENTION_UNROLL for (int i = 0; i < 4; i++) numbers[i] = ATTENTION_NUMBER(row0 + 4 * item_m + i);
#endif
    for (int key = ATTENTION_FIRST_KEY(sight.begin); key < sight.end; key += ATTENTION_SIDE) {
        float4 s[4], ds[4];
        attention_scores(of_q, row0, of_k, key, (int)width, s, shared);
        attention_scores(of_dy, row0, of_v, key, (int)width, ds, shared);
#if ATTENTION_CAP
        ATTENTION_BEND(s)
#endif
        ATTENTION_UNROLL for (int i = 0; i < 4; i++) {
#if ATTENTION_CAP
            const float4 steepness = ATTENTION_STEEPNESS(s[i]);
#endif
            s[i] = exp2_scaled_quad(s[i] - tops[i], rate, lowest);
            s[i] = attention_hide(s[i], key + 4 * item_n, firsts[i], lasts[i], 0.0f);
#if ATTENTION_DROPOUT
            ds[i] = attention_drop(
                ds[i], ATTENTION_DRAW(numbers[i] + (ulong)(key + 4 * item_n)), FLOAT_OF_BITS(drop_scale));
#endif
            ds[i] = s[i] * (ds[i] - means[i]) * scale;
#if ATTENTION_CAP
            ds[i] *= steepness;
#endif
        }
        attention_keep(ds, p);
        attention_gather(of_k, key, (int)width, p, acc, shared);
    }
    attention_write(acc, 1.0f, dq + dq_at + b * dq_row + group * share * dq_head, 0, dq_token, dq_head, share, row0,
                    rows, (int)width, dq_mode == 2);
}
#endif

#if WANTED(attention_backward_keys)
// dk and dv, or those of a chunk of the rows. Launch: batch · groups · chunks · ceil(keys / 64) work-groups.
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void attention_backward_keys(
    ATTENTION_BACKWARD_ARGUMENTS, __global const float *delta, long delta_at ATTENTION_SHAPE_ARGUMENTS) {
    __local float p[ATTENTION_SIDE * ATTENTION_LD] __attribute__((aligned(16)));
    __local float shared[ATTENTION_SHARED] __attribute__((aligned(16)));
    __local int first[ATTENTION_SIDE], last[ATTENTION_SIDE];
    __local float of_rows[2 * ATTENTION_SIDE];
    const int item = (int)get_local_id(0), item_m = item / 16, item_n = item % 16;
    const int share = (int)(heads / groups), rows = (int)queries * share;
    const int blocks = (rows + ATTENTION_SIDE - 1) / ATTENTION_SIDE;
    const int units = (int)(batch * groups), at = (int)get_group_id(0);
    const int unit = at % units, chunk = at / units % (int)chunks, key0 = at / units / (int)chunks * ATTENTION_SIDE;
    const long b = unit / (int)groups, group = unit % (int)groups;
    const AttentionRows of_q = attention_rows(
        ATTENTION_AT(q, Q_BF16, q_at + b * q_row + group * share * q_head), Q_BF16, q_token, q_head, share, rows);
    const AttentionRows of_dy =
        attention_rows(dy + dy_at + b * dy_row + group * share * dy_head, 0, dy_token, dy_head, share, rows);
    const AttentionRows of_k = attention_rows(
        ATTENTION_AT(k, KV_BF16, k_at + b * k_row + group * k_head), KV_BF16, k_token, 0, 1, (int)keys);
    const AttentionRows of_v = attention_rows(
        ATTENTION_AT(v, KV_BF16, v_at + b * v_row + group * v_head), KV_BF16, v_token, 0, 1, (int)keys);
    const float rate = LOG2E * scale, lowest = -127.0f / rate;
    float4 sum_k[4][ATTENTION_QUADS], sum_v[4][ATTENTION_QUADS];
    attention_clear(sum_k);
    attention_clear(sum_v);
    for (int block = chunk; block < blocks; block += (int)chunks) {
        const int row0 = block * ATTENTION_SIDE;
        barrier(CLK_LOCAL_MEM_FENCE);
        attention_statistics(lse + lse_at, delta + delta_at, b * queries * heads + group * share, (int)heads, share,
                             row0, rows, scale, of_rows);
        const AttentionSight sight = attention_look(
            spans + spans_at + b * span_row, has_spans != 0, share, row0, rows, 0, (int)keys, first, last);
        if (key0 < sight.end && key0 + ATTENTION_SIDE > sight.begin) {
            // The tile lies the other way round: keys down, rows across.
            float4 s[4], ds[4];
            attention_scores(of_k, key0, of_q, row0, (int)width, s, shared);
#if ATTENTION_CAP
            float4 steepness[4];
            ATTENTION_BEND(s)
            ATTENTION_UNROLL for (int i = 0; i < 4; i++) steepness[i] = ATTENTION_STEEPNESS(s[i]);
#endif
            const float4 tops = vload4(item_n, of_rows), means = vload4(item_n, of_rows + ATTENTION_SIDE);
            const int4 firsts = vload4(item_n, first), lasts = vload4(item_n, last);
            ATTENTION_UNROLL for (int i = 0; i < 4; i++) {
                const int4 key = key0 + 4 * item_m + i;
                s[i] = exp2_scaled_quad(s[i] - tops, rate, lowest);
                s[i] = select((float4)(0.0f), s[i], (key >= firsts) & (key < lasts));
            }
#if ATTENTION_DROPOUT
            // Four bits of each row, down the keys; the tile wants them across the rows, of each key.
            uint down[4], across[4];
            ATTENTION_UNROLL for (int j = 0; j < 4; j++)
                down[j] = ATTENTION_DRAW(ATTENTION_NUMBER(row0 + 4 * item_n + j) + (ulong)(key0 + 4 * item_m));
            ATTENTION_UNROLL for (int i = 0; i < 4; i++)
                across[i] = (down[0] >> i & 1u) | (down[1] >> i & 1u) << 1 | (down[2] >> i & 1u) << 2 |
                            (down[3] >> i & 1u) << 3;
#endif
            if (dv_mode) {
#if ATTENTION_DROPOUT
                float4 kept[4];
                ATTENTION_UNROLL for (int i = 0; i < 4; i++)
                    kept[i] = attention_drop(s[i], across[i], FLOAT_OF_BITS(drop_scale));
                attention_keep(kept, p);
#else
                attention_keep(s, p);
#endif
                attention_gather(of_dy, row0, (int)width, p, sum_v, shared);
            }
            if (dk_mode) {
                attention_scores(of_v, key0, of_dy, row0, (int)width, ds, shared);
#if ATTENTION_DROPOUT
                ATTENTION_UNROLL for (int i = 0; i < 4; i++)
                    ds[i] = attention_drop(ds[i], across[i], FLOAT_OF_BITS(drop_scale));
#endif
                ATTENTION_UNROLL for (int i = 0; i < 4; i++) ds[i] = s[i] * (ds[i] - means) * scale;
#if ATTENTION_CAP
                ATTENTION_UNROLL for (int i = 0; i < 4; i++) ds[i] *= steepness[i];
#endif
                attention_keep(ds, p);
                attention_gather(of_q, row0, (int)width, p, sum_k, shared);
            }
        }
    }
    if (dk_mode)
        attention_write(sum_k, 1.0f, dk + dk_at + chunk * dk_chunk + b * dk_row + group * dk_head, 0, dk_token, 0, 1,
                        key0, (int)keys, (int)width, dk_mode == 2);
    if (dv_mode)
        attention_write(sum_v, 1.0f, dv + dv_at + chunk * dv_chunk + b * dv_row + group * dv_head, 0, dv_token, 0, 1,
                        key0, (int)keys, (int)width, dv_mode == 2);
}
#endif

#endif
