// Distillation loss and its gradient in one go, for one row of student logits s and teacher logits t (`classes` values
// each):
//
//   P = softmax(t / T), Q = softmax(s / T)
//   loss = row_weight · scale · (soft_scale · D(P, Q) + hard_scale · CE),  CE = -ln softmax(s)[label]  (T = 1)
//
// The caller folds what it wants into the factors: Hinton's loss is soft_scale = alpha · T², hard_scale = 1 - alpha,
// scale = 1 / rows (or a row_weight that averages over valid tokens). `blend` is the beta or lambda of a kind.
//
//   forward_kl        KL(P || Q) = Σ P (ln P - ln Q)                                       [Hinton et al. 2015]
//   forward_ce        -Σ P ln Q: without the teacher's entropy
//   reverse_kl        KL(Q || P)                                                            [MiniLLM]
//   jsd               b KL(P || M) + (1-b) KL(Q || M), M = b P + (1-b) Q (0 at b = 0 and b = 1)              [GKD]
//   jsd_continuous    (1-b) KL(P || M) + b KL(Q || M), same M: tends to KL(P || Q) at b = 0 and KL(Q || P) at b = 1
//   skew_kl           KL(P || l P + (1-l) Q)                                                [DistiLLM]
//   skew_ce           -Σ P ln(l P + (1-l) Q)
//   skew_reverse_kl   KL(Q || (1-l) P + l Q)                                                [DistiLLM]
//   tvd               ½ Σ |P - Q|
//   symmetric         (1-l) · forward_ce + l · reverse_kl
//
// GKD's special cases b = 0: KL(P || Q) and b = 1: KL(Q || P) are the caller's choice of kernel. So should be the ends
// of the other mixtures (jsd_continuous 0 and 1, skew with l = 0): they work here too, but a logarithm of a probability
// below 2^-126 counts as -87.3 in mixtures, while forward_kl and reverse_kl take logarithms from the logits.
//
// Outputs: loss [rows]; divergence [rows] = soft_part · D, soft_part chosen by the caller (T² for Hinton's convention,
// else 1); cross_entropy [rows] = CE, 0 without a label; all three are 0 where row_weight is 0. gradient [rows,
// classes] = d(Σ loss) / d s, may be the student's buffer itself: a row is read completely before it is overwritten.
// write_gradient: 0 no, 1 overwrite, 2 add (not in place).
//
// A row with row_weight 0 gives loss 0 and a zero gradient even when its logits hold NaN. A label equal to ignore_index
// has no hard part (whether its soft part counts is row_weight's business); another label outside [0, classes) gives
// loss NaN. -inf logits are masked classes: 0 · ln 0 = 0. KL is +inf only where the first distribution has mass and the
// second none.
//
// Two passes over a row (three for kinds with a mixture, and for a small KL, whose third is a part of the gradient's where exponentials are
// kept): running maxima, sums and inner products by chunks that stay in the first-level cache; then the gradient.
// On CPUs the forward kinds keep their exponentials for the second pass:
// `kept` holds them, [1, classes] for each worker, or [2, classes] with labels and T != 1: they stay in its second-level
// cache. Differences to the maximum are taken before any scaling, so logits of
// 1e4 are exact.

#define DIVERGENCE_FORWARD_KL 0
#define DIVERGENCE_FORWARD_CE 1
#define DIVERGENCE_REVERSE_KL 2
#define DIVERGENCE_JSD 3
#define DIVERGENCE_JSD_CONTINUOUS 4
#define DIVERGENCE_SKEW_KL 5
#define DIVERGENCE_SKEW_CE 6
#define DIVERGENCE_SKEW_REVERSE_KL 7
#define DIVERGENCE_TVD 8
#define DIVERGENCE_SYMMETRIC 9

// Kinds whose value needs both distributions normalised first. `kind` is a constant wherever this is called.
#define DIVERGENCE_MIXES(kind) ((kind) >= DIVERGENCE_JSD && (kind) <= DIVERGENCE_TVD)

// Kinds whose value contains ln of the quotient of both sums.
#define DIVERGENCE_COMPARES(kind) \
    ((kind) == DIVERGENCE_FORWARD_KL || (kind) == DIVERGENCE_REVERSE_KL || (kind) == DIVERGENCE_SYMMETRIC)

// Nats below which KL, the difference of what both distributions have in common, has lost digits: it is then added up once more, in terms
// that are all positive.
#define DIVERGENCE_SMALL 0.0625f
// A probability that adds nothing which matters, whatever logarithm it meets.
#define DIVERGENCE_NEGLIGIBLE 1e-20f
#define DIVERGENCE_REFINES(kind) ((kind) == DIVERGENCE_FORWARD_KL || (kind) == DIVERGENCE_REVERSE_KL)

#define DIVERGENCE_LOWEST_1 (-127.0f / LOG2E)

// Running sums of one row, relative to the maxima so far: d = logit - maximum.
typedef struct {
    real student;   // Σ e^(ds / T)
    real teacher;   // Σ e^(dt / T)
    real hard;      // Σ e^ds, only when T != 1
    real forward;   // Σ e^(dt / T) (dt - ds), or without dt for cross-entropy forms
    real reverse;   // Σ e^(ds / T) (ds - dt), only for reverse kinds
    real excess;    // Σ e^(ds / T) - e^(dt / T), only for KL
} divergence_sums;

// Adds one vector.
INLINE void divergence_add(
    const int kind, int separate_hard, real ds, real dt, float rate, float lowest, divergence_sums *sums) {
    real es = v_exp2_scaled(ds, rate, lowest);
    real et = v_exp2_scaled(dt, rate, lowest);
    sums->student += es;
    sums->teacher += et;
    if (DIVERGENCE_COMPARES(kind)) sums->excess += es - et;
    if (separate_hard) sums->hard += v_exp2_scaled(ds, LOG2E, DIVERGENCE_LOWEST_1);
    // A probability of exactly 0 contributes nothing, whatever the other logarithm is (0 · inf).
    if (kind == DIVERGENCE_FORWARD_KL) {
        sums->forward += SELECT(et * (dt - ds), SPLAT(0.0f), et == SPLAT(0.0f));
    }
    if (kind == DIVERGENCE_FORWARD_CE || kind == DIVERGENCE_SYMMETRIC) {
        sums->forward += SELECT(et * -ds, SPLAT(0.0f), et == SPLAT(0.0f));
    }
    if (kind == DIVERGENCE_REVERSE_KL || kind == DIVERGENCE_SYMMETRIC) {
        sums->reverse += SELECT(es * (ds - dt), SPLAT(0.0f), es == SPLAT(0.0f));
    }
}

// Moves sums to new maxima, `student_step` and `teacher_step` >= 0 above the old ones.
INLINE void divergence_rescale(
    const int kind, float student_step, float teacher_step, float inverse_temperature, divergence_sums *sums) {
    float student_factor = S_EXP(-student_step * inverse_temperature);
    float teacher_factor = S_EXP(-teacher_step * inverse_temperature);
    // Σ e (d' …) with d' = d - step, before the common factor.
    const float forward_step = kind == DIVERGENCE_FORWARD_KL ? teacher_step - student_step : -student_step;
    sums->forward = (sums->forward - sums->teacher * SPLAT(forward_step)) * SPLAT(teacher_factor);
    sums->reverse = (sums->reverse - sums->student * SPLAT(student_step - teacher_step)) * SPLAT(student_factor);
    sums->excess = sums->excess * SPLAT(student_factor) + sums->teacher * SPLAT(student_factor - teacher_factor);
    sums->student = sums->student * SPLAT(student_factor);
    sums->teacher = sums->teacher * SPLAT(teacher_factor);
    sums->hard = sums->hard * SPLAT(S_EXP(-student_step));
}

// A mixture kind's contribution to the value, and h, where d D / d ln-odds = q (h - Σ q h). Every h is 0 at p = q: the
// mixture is written so that it is then exactly p, and constants are subtracted (they cancel in the gradient).
// A mixture of 0 is replaced by the smallest normal number, which only ever meets p = q = 0.
INLINE real divergence_mixture(const int kind, real p, real q, float blend, real *h) {
    const real tiny = SPLAT(1.17549435e-38f), one = SPLAT(1.0f), b = SPLAT(blend), c = SPLAT(1.0f - blend);
    if (kind == DIVERGENCE_TVD) {
        real zero = SPLAT(0.0f);
        real s = SELECT(zero, SPLAT(0.5f), p < q);
        *h = SELECT(s, SPLAT(-0.5f), q < p);
        return SPLAT(0.5f) * V_ABS(p - q);
    }
    real m = kind == DIVERGENCE_SKEW_REVERSE_KL ? V_FMA(b, q - p, p) : V_FMA(b, p - q, q);
    m = SELECT(m, tiny, m < tiny);
    if (kind == DIVERGENCE_JSD) {
        real log_q = v_log_positive(q / m);
        *h = c * log_q;
        return V_FMA(b * p, v_log_positive(p / m), c * q * log_q);
    }
    if (kind == DIVERGENCE_JSD_CONTINUOUS) {
        real log_q = v_log_positive(q / m);
        *h = b * log_q - c * (V_FMA(b, q - p, p) / m - one);
        return V_FMA(c * p, v_log_positive(p / m), b * q * log_q);
    }
    if (kind == DIVERGENCE_SKEW_KL) {
        real ratio = p / m;
        *h = c * (one - ratio);
        return p * v_log_positive(ratio);
    }
    if (kind == DIVERGENCE_SKEW_CE) {
        *h = c * (one - p / m);
        return -p * v_log_positive(m);
    }
    real ratio = q / m;  // DIVERGENCE_SKEW_REVERSE_KL
    real log_q = v_log_positive(ratio);
    *h = log_q - b * (ratio - one);
    return q * log_q;
}

// The scalars of a row that the gradient pass needs.
typedef struct {
    float student_max, teacher_max;
    float student_inverse, teacher_inverse;  // 1 / Σ e^(ds / T), 1 / Σ e^(dt / T)
    float ratio;                             // Σ e^(ds / T) / Σ e^(dt / T)
    float log_ratio;                         // its logarithm
    float mean;                              // Σ q h of mixture kinds, or KL(Q || P) of the reverse kind, in nats
    float soft, hard;                        // factors of the two parts of the gradient
    int separate_hard;                       // T != 1: the hard part needs exponentials of its own
    float hard_inverse;                      // 1 / Σ e^ds
} divergence_row;

// One vector of the gradient (without the -1 at the label).
INLINE real divergence_gradient(
    const int kind, real s, real t, float rate, float lowest, float inverse_temperature, float blend,
    divergence_row row) {
    real ds = s - SPLAT(row.student_max), dt = t - SPLAT(row.teacher_max);
    real es = v_exp2_scaled(ds, rate, lowest);
    real g;
    if (DIVERGENCE_MIXES(kind)) {
        real h, q = es * SPLAT(row.student_inverse);
        real p = v_exp2_scaled(dt, rate, lowest) * SPLAT(row.teacher_inverse);
        (void)divergence_mixture(kind, p, q, blend, &h);
        g = q * (h - SPLAT(row.mean)) * SPLAT(row.soft);
    } else {
        g = SPLAT(0.0f);
        if (kind != DIVERGENCE_REVERSE_KL) {
            // (q - p), written so that equal rows give exactly 0 with or without a fused multiply-add.
            g = V_FMA(v_exp2_scaled(dt, rate, lowest), SPLAT(-row.ratio), es) * SPLAT(row.student_inverse);
        }
        if (kind == DIVERGENCE_REVERSE_KL || kind == DIVERGENCE_SYMMETRIC) {
            // q (ln q - ln p - KL(Q || P))
            real q = es * SPLAT(row.student_inverse);
            real delta = V_FMA(ds - dt, SPLAT(inverse_temperature), SPLAT(-row.log_ratio)) - SPLAT(row.mean);
            real r = SELECT(q * delta, SPLAT(0.0f), q == SPLAT(0.0f));
            g = kind == DIVERGENCE_SYMMETRIC ? SPLAT(1.0f - blend) * g + SPLAT(blend) * r : r;
        }
        g = g * SPLAT(row.soft);
    }
    if (row.hard != 0.0f) {
        real e1 = row.separate_hard ? v_exp2_scaled(ds, LOG2E, DIVERGENCE_LOWEST_1) : es;
        g = V_FMA(e1, SPLAT(row.hard * row.hard_inverse), g);
    }
    return g;
}

// Σ e^(ds / T) / Σ e^(dt / T). OpenCL's division may err by 2.5 units in the last place; equal rows must give 1.
INLINE float divergence_ratio(float student_sum, float teacher_sum) {
    return student_sum == teacher_sum ? 1.0f : student_sum / teacher_sum;
}

// ln(Σ e^(ds / T) / Σ e^(dt / T)); `excess` is their difference, more exact than the quotient when they are close.
INLINE float divergence_log_ratio(float ratio, float excess, float teacher_inverse) {
    const float part = excess * teacher_inverse;
    return part > -0.5f && part < 0.5f ? S_LOG1P(part) : S_LOG(ratio);
}

// What a class adds to KL(A || B) when that is written without anything to cancel, as Σ a and Σ b are both 1: a (x - 1) + b, never negative,
// with x = ln(a / b). Like this for a and b far apart; where they are close its parts cancel, and a series takes its place.
INLINE real divergence_term_far(real x, real a, real b) {
    return SELECT(a * (x - SPLAT(1.0f)), SPLAT(0.0f), a == SPLAT(0.0f)) + b;
}

// The term from logits. Where |x| < 1 it is a (x - 1 + e^-x): x² times a polynomial, and b is not needed.
INLINE real divergence_term_of_logits(
    const int kind, real s, real t, float rate, float lowest, float inverse_temperature, divergence_row row) {
    const int forward = kind == DIVERGENCE_FORWARD_KL;
    // (s - t) - (their maxima's difference), with what the differences lose (Knuth's two-sum): one model's logits may lie far above the other's.
    const real d = s - t, back = d - s, lost = (s - (d - back)) - (t + back);
    const float step = row.student_max - row.teacher_max, step_back = step - row.student_max;
    const float step_lost = (row.student_max - (step - step_back)) - (row.teacher_max + step_back);
    const real log_quotient =
        V_FMA((d - SPLAT(step)) + (lost - SPLAT(step_lost)), SPLAT(inverse_temperature), SPLAT(-row.log_ratio));
    const real x = forward ? -log_quotient : log_quotient;
    const real ds = s - SPLAT(row.student_max), dt = t - SPLAT(row.teacher_max);
    const real a = forward ? v_exp2_scaled(dt, rate, lowest) * SPLAT(row.teacher_inverse)
                           : v_exp2_scaled(ds, rate, lowest) * SPLAT(row.student_inverse);
    real sum = SPLAT(-2.81265466e-6f);
    sum = V_FMA(sum, x, SPLAT(2.53586441e-5f));
    sum = V_FMA(sum, x, SPLAT(-1.9836986e-4f));
    sum = V_FMA(sum, x, SPLAT(1.38853944e-3f));
    sum = V_FMA(sum, x, SPLAT(-8.33334494e-3f));
    sum = V_FMA(sum, x, SPLAT(4.1666735e-2f));
    sum = V_FMA(sum, x, SPLAT(-1.66666672e-1f));
    sum = V_FMA(sum, x, SPLAT(0.5f));
    const real term = a * (sum * x * x);
    const mask_t near = V_ABS(x) < SPLAT(1.0f);
    if (LANE_ALL(near)) return term;
    const real b = forward ? v_exp2_scaled(ds, rate, lowest) * SPLAT(row.student_inverse)
                           : v_exp2_scaled(dt, rate, lowest) * SPLAT(row.teacher_inverse);
    return SELECT(divergence_term_far(x, a, b), term, near);
}

// The value in nats of kinds without a mixture; row->mean = KL(Q || P) of the reverse kinds.
INLINE float divergence_value(
    const int kind, float forward, float reverse, float inverse_temperature, float blend, float student_sum,
    divergence_row *row) {
    float value = 0.0f;
    if (kind == DIVERGENCE_FORWARD_KL) value = forward * inverse_temperature * row->teacher_inverse + row->log_ratio;
    if (kind == DIVERGENCE_FORWARD_CE || kind == DIVERGENCE_SYMMETRIC) {
        value = forward * inverse_temperature * row->teacher_inverse + S_LOG(student_sum);
    }
    if (kind == DIVERGENCE_REVERSE_KL || kind == DIVERGENCE_SYMMETRIC) {
        row->mean = reverse * inverse_temperature * row->student_inverse - row->log_ratio;
        value = kind == DIVERGENCE_SYMMETRIC ? (1.0f - blend) * value + blend * row->mean : row->mean;
    }
    return value;
}

#ifdef VECTOR

// Classes at a time: 8 KiB of each row stay in the first-level cache between maxima and sums. A row has at most
// DIVERGENCE_CHUNKS chunks; with more classes chunks are longer.
#define DIVERGENCE_CHUNK 2048
#define DIVERGENCE_CHUNKS 128

// Kinds whose gradient follows from e^(ds / T) and e^(dt / T) alone.
#define DIVERGENCE_KEEPS(kind) ((kind) == DIVERGENCE_FORWARD_KL || (kind) == DIVERGENCE_FORWARD_CE)

// The term of KL(A || B), see divergence_term_far, from probabilities alone. With z = (b - a) / (a + b), ln(b / a) = 2 artanh z: where |z| < 1/2
// the term is z² (a + b) - a z³ (2/3 + 2/5 z² + …). `lost` becomes the largest a whose b is too small for a number: nothing says how far apart
// such two are.
INLINE real divergence_term_of_probabilities(real a, real b, real *lost) {
    const real tiny = SPLAT(1.17549435e-38f);
    const real sum = V_MAX(a + b, tiny), z = (b - a) / sum, v = z * z;
    real series = SPLAT(3.1627509e-1f);
    series = V_FMA(series, v, SPLAT(1.29100069e-1f));
    series = V_FMA(series, v, SPLAT(2.29564503e-1f));
    series = V_FMA(series, v, SPLAT(2.8526485e-1f));
    series = V_FMA(series, v, SPLAT(4.0000993e-1f));
    series = V_FMA(series, v, SPLAT(6.66666627e-1f));
    const real term = v * (sum - a * z * series);
    const mask_t near = v < SPLAT(0.25f);
    if (LANE_ALL(near)) return term;
    *lost = V_MAX(*lost, SELECT(SPLAT(0.0f), a, b < tiny));
    return SELECT(divergence_term_far(v_log_positive(a / V_MAX(b, tiny)), a, b), term, near);
}

// Sums of a chunk of such a kind. e^(dt / T) goes to `kept`, e^ds (where the hard part needs it) to `kept_hard`, and
// e^(ds / T) to the gradient, which may be the student's row. A loop for each exponential: the sums and constants of
// one fill the registers of AVX2. Meanwhile the next chunk is on its way from memory.
INLINE void divergence_keep(
    const int kind, int separate_hard, GLOBAL const float *s, GLOBAL const float *t, GLOBAL float *gradient,
    GLOBAL float *kept, GLOBAL float *kept_hard, int count, int ahead, float s_max, float t_max, float rate,
    float lowest, divergence_sums *sums) {
    real teacher = SPLAT(0.0f);
    for (int i = 0; i < count; i += LANES) {
        const real et = v_exp2_scaled(LOAD(t + i) - SPLAT(t_max), rate, lowest);
        STORE(kept + i, et);
        PREFETCH(t + i + ahead);
        teacher += et;
    }
    sums->teacher = teacher;
    if (separate_hard) {
        real hard = SPLAT(0.0f);
        for (int i = 0; i < count; i += LANES) {
            const real e = v_exp2_scaled(LOAD(s + i) - SPLAT(s_max), LOG2E, DIVERGENCE_LOWEST_1);
            STORE(kept_hard + i, e);
            hard += e;
        }
        sums->hard = hard;
    }
    real forward = SPLAT(0.0f), student = SPLAT(0.0f), excess = SPLAT(0.0f);
    for (int i = 0; i < count; i += LANES) {
        const real ds = LOAD(s + i) - SPLAT(s_max), et = LOAD(kept + i);
        const real es = v_exp2_scaled(ds, rate, lowest);
        PREFETCH(s + i + ahead);
        STORE(gradient + i, es);
        // What a probability of 0 meets does not count, whatever it is (0 · inf).
        const real d = kind == DIVERGENCE_FORWARD_KL ? LOAD(t + i) - SPLAT(t_max) - ds : -ds;
        forward += SELECT(et * d, SPLAT(0.0f), et == SPLAT(0.0f));
        student += es;
        if (DIVERGENCE_COMPARES(kind)) excess += es - et;
    }
    sums->forward = forward;
    sums->student = student;
    sums->excess = excess;
}

INLINE void divergence_rows(
    const int kind, index_t begin, index_t end, GLOBAL const float *student, index_t student_pitch,
    GLOBAL const float *teacher, index_t teacher_pitch, GLOBAL const int *labels, GLOBAL const float *row_weight,
    GLOBAL float *loss, GLOBAL float *divergence, GLOBAL float *cross_entropy, GLOBAL float *gradient,
    GLOBAL float *kept, index_t gradient_pitch, int classes, int has_labels, int ignore_index, int has_row_weight,
    int write_gradient, float temperature, float blend, float soft_scale, float hard_scale, float soft_part,
    float scale) {
    const float inverse_temperature = 1.0f / temperature;
    const float rate = LOG2E * inverse_temperature, lowest = -127.0f / rate;
    const int whole = classes / LANES * LANES, part = classes - whole;
    const int even = ((classes + DIVERGENCE_CHUNKS - 1) / DIVERGENCE_CHUNKS + LANES - 1) / LANES * LANES;
    const int chunk = even > DIVERGENCE_CHUNK ? even : DIVERGENCE_CHUNK;
    // The running maxima each chunk was summed with.
    float student_maxima[DIVERGENCE_CHUNKS], teacher_maxima[DIVERGENCE_CHUNKS];
    for (index_t r = begin; r < end; r++) {
        GLOBAL const float *s = student + r * student_pitch;
        GLOBAL const float *t = teacher + r * teacher_pitch;
        GLOBAL float *g = gradient + r * gradient_pitch;
        const float weight = has_row_weight ? row_weight[r] : 1.0f;
        if (weight == 0.0f) {
            loss[r] = 0.0f;
            divergence[r] = 0.0f;
            cross_entropy[r] = 0.0f;
            if (write_gradient == 1) {
                for (int i = 0; i < whole; i += LANES) STORE(g + i, SPLAT(0.0f));
                if (part) store_part(g + whole, SPLAT(0.0f), part);
            }
            continue;
        }
        const int label = has_labels ? labels[r] : ignore_index;
        const int labelled = has_labels && label != ignore_index;
        const int label_ok = labelled && label >= 0 && label < classes;
        const float label_logit = label_ok ? s[label] : 0.0f;

        divergence_row row;
        row.student_max = row.teacher_max = LOWEST;
        row.separate_hard = labelled && temperature != 1.0f;
        divergence_sums total = {SPLAT(0.0f), SPLAT(0.0f), SPLAT(0.0f), SPLAT(0.0f), SPLAT(0.0f), SPLAT(0.0f)};
        const real s_part = part ? load_part(s + whole, part, -INFINITY) : SPLAT(-INFINITY);
        const real t_part = part ? load_part(t + whole, part, -INFINITY) : SPLAT(-INFINITY);
        const int keep = DIVERGENCE_KEEPS(kind) && write_gradient == 1;
        for (int start = 0; start < classes; start += chunk) {
            const int stop = whole - start < chunk ? whole : start + chunk;
            const int last = classes - start <= chunk && part;
            real s0 = SPLAT(LOWEST), s1 = s0, t0 = s0, t1 = s0;
            int i = start;
            for (; i + 2 * LANES <= stop; i += 2 * LANES) {
                s0 = v_larger(s0, LOAD(s + i));
                t0 = v_larger(t0, LOAD(t + i));
                s1 = v_larger(s1, LOAD(s + i + LANES));
                t1 = v_larger(t1, LOAD(t + i + LANES));
            }
            if (i < stop) {
                s0 = v_larger(s0, LOAD(s + i));
                t0 = v_larger(t0, LOAD(t + i));
            }
            if (last) {
                s1 = v_larger(s1, s_part);
                t1 = v_larger(t1, t_part);
            }
            const float s_max = S_MAX(row.student_max, lane_max(v_larger(s0, s1)));
            const float t_max = S_MAX(row.teacher_max, lane_max(v_larger(t0, t1)));
            if (start > 0 && (s_max > row.student_max || t_max > row.teacher_max)) {
                divergence_rescale(
                    kind, s_max - row.student_max, t_max - row.teacher_max, inverse_temperature, &total);
            }
            row.student_max = s_max;
            row.teacher_max = t_max;
            student_maxima[start / chunk] = s_max;
            teacher_maxima[start / chunk] = t_max;
            divergence_sums sums = {SPLAT(0.0f), SPLAT(0.0f), SPLAT(0.0f), SPLAT(0.0f), SPLAT(0.0f), SPLAT(0.0f)};
            if (keep) {
                divergence_keep(
                    kind, row.separate_hard, s + start, t + start, g + start, kept + start, kept + classes + start,
                    stop - start, chunk, s_max, t_max, rate, lowest, &sums);
            } else {
                for (i = start; i < stop; i += LANES) {
                    const real ds = LOAD(s + i) - SPLAT(s_max), dt = LOAD(t + i) - SPLAT(t_max);
                    divergence_add(kind, row.separate_hard, ds, dt, rate, lowest, &sums);
                }
            }
            if (last) {
                divergence_add(
                    kind, row.separate_hard, s_part - SPLAT(s_max), t_part - SPLAT(t_max), rate, lowest, &sums);
            }
            // Chunk by chunk: rounding grows with a chunk's length plus the number of chunks, not with the row's
            // length.
            total.student += sums.student;
            total.teacher += sums.teacher;
            total.hard += sums.hard;
            total.forward += sums.forward;
            total.reverse += sums.reverse;
            total.excess += sums.excess;
        }
        const float student_sum = lane_sum(total.student), teacher_sum = lane_sum(total.teacher);
        const float hard_sum = row.separate_hard ? lane_sum(total.hard) : student_sum;
        row.student_inverse = 1.0f / student_sum;
        row.teacher_inverse = 1.0f / teacher_sum;
        row.hard_inverse = 1.0f / hard_sum;
        row.ratio = divergence_ratio(student_sum, teacher_sum);
        row.log_ratio = divergence_log_ratio(row.ratio, lane_sum(total.excess), row.teacher_inverse);
        row.mean = 0.0f;
        float value;
        int refines = 0;
        if (DIVERGENCE_MIXES(kind)) {
            real values = SPLAT(0.0f), means = SPLAT(0.0f), h;
            for (int start = 0; start < whole; start += DIVERGENCE_CHUNK) {
                const int stop = whole - start < DIVERGENCE_CHUNK ? whole : start + DIVERGENCE_CHUNK;
                real chunk_values = SPLAT(0.0f), chunk_means = SPLAT(0.0f);
                for (int i = start; i < stop; i += LANES) {
                    const real ds = LOAD(s + i) - SPLAT(row.student_max), dt = LOAD(t + i) - SPLAT(row.teacher_max);
                    real q = v_exp2_scaled(ds, rate, lowest) * SPLAT(row.student_inverse);
                    real p = v_exp2_scaled(dt, rate, lowest) * SPLAT(row.teacher_inverse);
                    chunk_values += divergence_mixture(kind, p, q, blend, &h);
                    chunk_means = V_FMA(q, h, chunk_means);
                }
                values += chunk_values;
                means += chunk_means;
            }
            if (part) {
                real q = v_exp2_scaled(s_part - SPLAT(row.student_max), rate, lowest) * SPLAT(row.student_inverse);
                real p = v_exp2_scaled(t_part - SPLAT(row.teacher_max), rate, lowest) * SPLAT(row.teacher_inverse);
                values += divergence_mixture(kind, p, q, blend, &h);
                means = V_FMA(q, h, means);
            }
            // (tail lanes beyond the row hold p = q = 0 and add nothing)
            value = lane_sum(values);
            row.mean = lane_sum(means);
        } else {
            value = divergence_value(
                kind, lane_sum(total.forward), lane_sum(total.reverse), inverse_temperature, blend, student_sum, &row);
            refines = DIVERGENCE_REFINES(kind) && value < DIVERGENCE_SMALL;
        }
        real terms = SPLAT(0.0f), lost = SPLAT(0.0f);
        if (refines) {
            // Where exponentials are kept the student's row may be gone: the gradient's pass adds those up.
            for (int start = 0; start < whole && !keep; start += chunk) {
                const int stop = whole - start < chunk ? whole : start + chunk;
                real sum = SPLAT(0.0f);
                for (int i = start; i < stop; i += LANES) {
                    sum += divergence_term_of_logits(
                        kind, LOAD(s + i), LOAD(t + i), rate, lowest, inverse_temperature, row);
                }
                terms += sum;
            }
            if (part) terms += divergence_term_of_logits(kind, s_part, t_part, rate, lowest, inverse_temperature, row);
            if (kind == DIVERGENCE_REVERSE_KL) row.mean = lane_sum(terms);
        }
        const float total_weight = weight * scale;
        row.soft = total_weight * soft_scale * inverse_temperature;
        row.hard = labelled ? total_weight * hard_scale : 0.0f;
        if (write_gradient) {
            // Backwards: what was kept last is the likeliest to be in the cache.
            for (int start = (whole - 1) / chunk * chunk; keep && whole > 0 && start >= 0; start -= chunk) {
                const int stop = whole - start < chunk ? whole : start + chunk;
                const float s_step = student_maxima[start / chunk] - row.student_max;
                const float s_factor = s_step != 0.0f ? S_EXP(s_step * inverse_temperature) : 1.0f;
                const float t_step = teacher_maxima[start / chunk] - row.teacher_max;
                const float t_factor = t_step != 0.0f ? S_EXP(t_step * inverse_temperature) : 1.0f;
                if (refines) {
                    const real to_p = SPLAT(row.teacher_inverse * t_factor);
                    const real to_q = SPLAT(row.student_inverse * s_factor);
                    real sum = SPLAT(0.0f);
                    for (int i = start; i < stop; i += LANES) {
                        sum += divergence_term_of_probabilities(LOAD(kept + i) * to_p, LOAD(g + i) * to_q, &lost);
                    }
                    terms += sum;
                }
                // Equal rows give exactly 0: the factors are then equal, and products and difference are rounded apart.
                float soft = row.soft * row.student_inverse * s_factor, hard = 0.0f;
                if (row.separate_hard) {
                    hard = row.hard * row.hard_inverse * (s_step != 0.0f ? S_EXP(s_step) : 1.0f);
                } else {
                    soft = (row.soft * row.student_inverse + row.hard * row.hard_inverse) * s_factor;
                }
                const real a = SPLAT(soft), b = SPLAT(row.soft * row.teacher_inverse * t_factor), c = SPLAT(hard);
                if (hard != 0.0f) {
                    for (int i = start; i < stop; i += LANES) {
                        const real v = LOAD(g + i) * a - LOAD(kept + i) * b;
                        STORE(g + i, V_FMA(LOAD(kept + classes + i), c, v));
                    }
                } else {
                    for (int i = start; i < stop; i += LANES) STORE(g + i, LOAD(g + i) * a - LOAD(kept + i) * b);
                }
            }
            for (int i = keep ? whole : 0; i < whole; i += LANES) {
                real v = divergence_gradient(
                    kind, LOAD(s + i), LOAD(t + i), rate, lowest, inverse_temperature, blend, row);
                STORE(g + i, write_gradient == 2 ? LOAD(g + i) + v : v);
            }
            if (part) {
                real v = divergence_gradient(kind, s_part, t_part, rate, lowest, inverse_temperature, blend, row);
                if (write_gradient == 2) v += load_part(g + whole, part, 0.0f);
                store_part(g + whole, v, part);
            }
            if (label_ok) g[label] -= row.hard;
        }
        // A class that counts and whose logarithm is lost: the first value has it.
        if (refines && lane_max(lost) < DIVERGENCE_NEGLIGIBLE) value = lane_sum(terms);
        float hard = 0.0f;
        if (labelled) hard = label_ok ? S_LOG(hard_sum) - (label_logit - row.student_max) : NAN;
        loss[r] = total_weight * (soft_scale * value + (hard_scale != 0.0f ? hard_scale * hard : 0.0f));
        divergence[r] = soft_part * value;
        cross_entropy[r] = hard;
    }
}

#define DIVERGENCE_ARGUMENTS                                                                                           \
    GLOBAL const float *student, index_t student_pitch, GLOBAL const float *teacher, index_t teacher_pitch,            \
        GLOBAL const int *labels, GLOBAL const float *row_weight, GLOBAL float *loss, GLOBAL float *divergence,        \
        GLOBAL float *cross_entropy, GLOBAL float *gradient, GLOBAL float *kept, index_t gradient_pitch, int classes,  \
        int has_labels, int ignore_index, int has_row_weight, int write_gradient, float temperature, float blend,      \
        float soft_scale, float hard_scale, float soft_part, float scale
#define DIVERGENCE_PASS                                                                                                \
    begin, end, student, student_pitch, teacher, teacher_pitch, labels, row_weight, loss, divergence, cross_entropy,   \
        gradient, kept, gradient_pitch, classes, has_labels, ignore_index, has_row_weight, write_gradient,             \
        temperature, blend, soft_scale, hard_scale, soft_part, scale

#define DIVERGENCE_ROWS(name, kind)                                                    \
    INLINE void name##_rows(index_t begin, index_t end, DIVERGENCE_ARGUMENTS) {        \
        divergence_rows(kind, DIVERGENCE_PASS);                                        \
    }
DIVERGENCE_ROWS(divergence_forward_kl, DIVERGENCE_FORWARD_KL)
DIVERGENCE_ROWS(divergence_forward_ce, DIVERGENCE_FORWARD_CE)
DIVERGENCE_ROWS(divergence_reverse_kl, DIVERGENCE_REVERSE_KL)
DIVERGENCE_ROWS(divergence_jsd, DIVERGENCE_JSD)
DIVERGENCE_ROWS(divergence_jsd_continuous, DIVERGENCE_JSD_CONTINUOUS)
DIVERGENCE_ROWS(divergence_skew_kl, DIVERGENCE_SKEW_KL)
DIVERGENCE_ROWS(divergence_skew_ce, DIVERGENCE_SKEW_CE)
DIVERGENCE_ROWS(divergence_skew_reverse_kl, DIVERGENCE_SKEW_REVERSE_KL)
DIVERGENCE_ROWS(divergence_tvd, DIVERGENCE_TVD)
DIVERGENCE_ROWS(divergence_symmetric, DIVERGENCE_SYMMETRIC)

#endif

#ifdef __OPENCL_VERSION__
#define DIVERGENCE_KERNEL_ARGUMENTS                                                                                    \
    long rows, long rows_per_item, __global const float *student, long student_at, __global const float *teacher,      \
        long teacher_at, __global const int *labels, long labels_at, __global const float *row_weight,                 \
        long row_weight_at, __global float *loss, long loss_at, __global float *divergence, long divergence_at,        \
        __global float *cross_entropy, long cross_entropy_at, __global float *gradient, long gradient_at,              \
        __global float *kept, long kept_at, long student_pitch, long teacher_pitch, long gradient_pitch,               \
        long kept_pitch, int classes, int has_labels, int ignore_index, int has_row_weight, int write_gradient,        \
        float temperature, float blend, float soft_scale, float hard_scale, float soft_part, float scale
#define DIVERGENCE_OFFSETS          \
    student += student_at;          \
    teacher += teacher_at;          \
    labels += labels_at;            \
    row_weight += row_weight_at;    \
    loss += loss_at;                \
    divergence += divergence_at;    \
    cross_entropy += cross_entropy_at; \
    gradient += gradient_at;
#endif

#if defined(VECTOR) && defined(__OPENCL_VERSION__)
#define DIVERGENCE_KERNEL(name)                                           \
    __kernel void name(DIVERGENCE_KERNEL_ARGUMENTS) {                     \
        DIVERGENCE_OFFSETS                                                \
        kept += kept_at + (long)get_global_id(0) * kept_pitch;            \
        const long begin = get_global_id(0) * rows_per_item;              \
        const long end = min(rows, begin + rows_per_item);                \
        name##_rows(DIVERGENCE_PASS);                                     \
    }
#if WANTED(divergence_forward_kl)
DIVERGENCE_KERNEL(divergence_forward_kl)
#endif
#if WANTED(divergence_forward_ce)
DIVERGENCE_KERNEL(divergence_forward_ce)
#endif
#if WANTED(divergence_reverse_kl)
DIVERGENCE_KERNEL(divergence_reverse_kl)
#endif
#if WANTED(divergence_jsd)
DIVERGENCE_KERNEL(divergence_jsd)
#endif
#if WANTED(divergence_jsd_continuous)
DIVERGENCE_KERNEL(divergence_jsd_continuous)
#endif
#if WANTED(divergence_skew_kl)
DIVERGENCE_KERNEL(divergence_skew_kl)
#endif
#if WANTED(divergence_skew_ce)
DIVERGENCE_KERNEL(divergence_skew_ce)
#endif
#if WANTED(divergence_skew_reverse_kl)
DIVERGENCE_KERNEL(divergence_skew_reverse_kl)
#endif
#if WANTED(divergence_tvd)
DIVERGENCE_KERNEL(divergence_tvd)
#endif
#if WANTED(divergence_symmetric)
DIVERGENCE_KERNEL(divergence_symmetric)
#endif
#endif

#ifdef SIMT

// A team of work-items per row (see math.clh). Every work-item keeps its own running maxima and sums over its quads; they
// are brought to the row's maxima and added up in local memory, and a second (third) pass writes the gradient.

// Moves a work-item's sums to maxima that are not below s and t.
INLINE void divergence_raise(
    const int kind, float s, float t, float inverse_temperature, divergence_row *row, divergence_sums *sums) {
    if (s > row->student_max || t > row->teacher_max) {
        const float s_max = fmax(s, row->student_max), t_max = fmax(t, row->teacher_max);
        divergence_rescale(kind, s_max - row->student_max, t_max - row->teacher_max, inverse_temperature, sums);
        row->student_max = s_max;
        row->teacher_max = t_max;
    }
}

INLINE void divergence_add_quad(
    const int kind, float4 s, float4 t, float rate, float lowest, divergence_row row, divergence_sums *sums) {
    const float4 ds = s - row.student_max, dt = t - row.teacher_max;
    divergence_add(kind, row.separate_hard, ds.x, dt.x, rate, lowest, sums);
    divergence_add(kind, row.separate_hard, ds.y, dt.y, rate, lowest, sums);
    divergence_add(kind, row.separate_hard, ds.z, dt.z, rate, lowest, sums);
    divergence_add(kind, row.separate_hard, ds.w, dt.w, rate, lowest, sums);
}

// One class's share of a mixture's value and of Σ q h.
INLINE void divergence_mix(
    const int kind, float s, float t, float rate, float lowest, float blend, divergence_row row, float *value,
    float *mean) {
    float h;
    const float q = v_exp2_scaled(s - row.student_max, rate, lowest) * row.student_inverse;
    const float p = v_exp2_scaled(t - row.teacher_max, rate, lowest) * row.teacher_inverse;
    *value += divergence_mixture(kind, p, q, blend, &h);
    *mean = fma(q, h, *mean);
}

INLINE float4 divergence_gradient_quad(
    const int kind, float4 s, float4 t, float rate, float lowest, float inverse_temperature, float blend,
    divergence_row row) {
    return (float4)(divergence_gradient(kind, s.x, t.x, rate, lowest, inverse_temperature, blend, row),
                    divergence_gradient(kind, s.y, t.y, rate, lowest, inverse_temperature, blend, row),
                    divergence_gradient(kind, s.z, t.z, rate, lowest, inverse_temperature, blend, row),
                    divergence_gradient(kind, s.w, t.w, rate, lowest, inverse_temperature, blend, row));
}

#define DIVERGENCE_SCRATCH 6  // floats of scratch for each work-item

// `classes` is 0 for a team without a row: its work-items come along for the barriers.
void divergence_team(
    const int kind, long r, int lane, int team, int aligned, __local float *scratch, __global const float *student,
    __global const float *teacher, __global const int *labels, __global const float *row_weight, __global float *loss,
    __global float *divergence, __global float *cross_entropy, __global float *gradient, int classes, int has_labels,
    int ignore_index, int has_row_weight, int write_gradient, float temperature, float blend, float soft_scale,
    float hard_scale, float soft_part, float scale) {
    const float inverse_temperature = 1.0f / temperature;
    const float rate = LOG2E * inverse_temperature, lowest = -127.0f / rate;
    const float weight = has_row_weight && classes ? row_weight[r] : 1.0f;
    const int read = weight == 0.0f ? 0 : classes;  // a row without weight is not looked at
    const int label = has_labels && classes ? labels[r] : ignore_index;
    const int labelled = has_labels && label != ignore_index && read;
    const int label_ok = labelled && label >= 0 && label < classes;
    const int quads = aligned ? classes / 4 : 0, share = team_share(read ? quads : 0, lane, team);
    // The work-item that will overwrite the label's logit (the gradient may be in place) is the one that reads it.
    const int owner = label_ok ? team_owner(label, quads, team) : 0;
    const float label_logit = label_ok && lane == owner ? student[label] : 0.0f;

    divergence_row row;
    row.student_max = row.teacher_max = LOWEST;
    row.separate_hard = labelled && temperature != 1.0f;
    divergence_sums sums = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    int k = 0;
    for (; k + 4 <= share; k += 4) {
        const int q0 = lane + k * team, q1 = q0 + team, q2 = q1 + team, q3 = q2 + team;
        const float4 s0 = QUAD_OF(student, q0), s1 = QUAD_OF(student, q1), s2 = QUAD_OF(student, q2);
        const float4 s3 = QUAD_OF(student, q3), t0 = QUAD_OF(teacher, q0), t1 = QUAD_OF(teacher, q1);
        const float4 t2 = QUAD_OF(teacher, q2), t3 = QUAD_OF(teacher, q3);
        const float s = quad_max(fmax(fmax(s0, s1), fmax(s2, s3))), t = quad_max(fmax(fmax(t0, t1), fmax(t2, t3)));
        divergence_raise(kind, s, t, inverse_temperature, &row, &sums);
        divergence_add_quad(kind, s0, t0, rate, lowest, row, &sums);
        divergence_add_quad(kind, s1, t1, rate, lowest, row, &sums);
        divergence_add_quad(kind, s2, t2, rate, lowest, row, &sums);
        divergence_add_quad(kind, s3, t3, rate, lowest, row, &sums);
    }
    for (; k < share; k++) {
        const float4 s = QUAD_OF(student, lane + k * team), t = QUAD_OF(teacher, lane + k * team);
        divergence_raise(kind, quad_max(s), quad_max(t), inverse_temperature, &row, &sums);
        divergence_add_quad(kind, s, t, rate, lowest, row, &sums);
    }
    for (int i = 4 * quads + lane; i < read; i += team) {
        const float s = student[i], t = teacher[i];
        divergence_raise(kind, s, t, inverse_temperature, &row, &sums);
        divergence_add(kind, row.separate_hard, s - row.student_max, t - row.teacher_max, rate, lowest, &sums);
    }
    float maxima[2] = {row.student_max, row.teacher_max};
    team_maxima(2, maxima, team, scratch);
    divergence_rescale(
        kind, maxima[0] - row.student_max, maxima[1] - row.teacher_max, inverse_temperature, &sums);
    row.student_max = maxima[0];
    row.teacher_max = maxima[1];
    float totals[6] = {sums.student, sums.teacher, sums.hard, sums.excess, sums.forward, sums.reverse};
    team_sums(6, totals, team, scratch);
    const float student_sum = totals[0], teacher_sum = totals[1];
    const float hard_sum = row.separate_hard ? totals[2] : student_sum;
    row.student_inverse = 1.0f / student_sum;
    row.teacher_inverse = 1.0f / teacher_sum;
    row.hard_inverse = 1.0f / hard_sum;
    row.ratio = divergence_ratio(student_sum, teacher_sum);
    row.log_ratio = divergence_log_ratio(row.ratio, totals[3], row.teacher_inverse);
    row.mean = 0.0f;
    float value = 0.0f;
    if (DIVERGENCE_MIXES(kind)) {
        float parts[2] = {0.0f, 0.0f};
        for (k = 0; k < share; k++) {
            const float4 s = QUAD_OF(student, lane + k * team), t = QUAD_OF(teacher, lane + k * team);
            divergence_mix(kind, s.x, t.x, rate, lowest, blend, row, parts, parts + 1);
            divergence_mix(kind, s.y, t.y, rate, lowest, blend, row, parts, parts + 1);
            divergence_mix(kind, s.z, t.z, rate, lowest, blend, row, parts, parts + 1);
            divergence_mix(kind, s.w, t.w, rate, lowest, blend, row, parts, parts + 1);
        }
        for (int i = 4 * quads + lane; i < read; i += team) {
            divergence_mix(kind, student[i], teacher[i], rate, lowest, blend, row, parts, parts + 1);
        }
        team_sums(2, parts, team, scratch);
        value = parts[0];
        row.mean = parts[1];
    } else {
        value = divergence_value(kind, totals[4], totals[5], inverse_temperature, blend, student_sum, &row);
        if (DIVERGENCE_REFINES(kind)) {
            const int refines = value < DIVERGENCE_SMALL;
            float terms = 0.0f;
            for (k = 0; refines && k < share; k++) {
                const float4 s = QUAD_OF(student, lane + k * team), t = QUAD_OF(teacher, lane + k * team);
                terms += divergence_term_of_logits(kind, s.x, t.x, rate, lowest, inverse_temperature, row);
                terms += divergence_term_of_logits(kind, s.y, t.y, rate, lowest, inverse_temperature, row);
                terms += divergence_term_of_logits(kind, s.z, t.z, rate, lowest, inverse_temperature, row);
                terms += divergence_term_of_logits(kind, s.w, t.w, rate, lowest, inverse_temperature, row);
            }
            for (int i = 4 * quads + lane; refines && i < read; i += team) {
                terms += divergence_term_of_logits(
                    kind, student[i], teacher[i], rate, lowest, inverse_temperature, row);
            }
            // Rows of one work-group meet here, whether they refine or not.
            team_sums(1, &terms, team, scratch);
            if (refines) value = terms;
            if (refines && kind == DIVERGENCE_REVERSE_KL) row.mean = terms;
        }
    }
    const float total_weight = weight * scale;
    row.soft = total_weight * soft_scale * inverse_temperature;
    row.hard = labelled ? total_weight * hard_scale : 0.0f;
    if (write_gradient && read) {
        const int add = write_gradient == 2;
        for (int i = 4 * quads + lane; i < classes; i += team) {
            const float v =
                divergence_gradient(kind, student[i], teacher[i], rate, lowest, inverse_temperature, blend, row);
            gradient[i] = add ? gradient[i] + v : v;
        }
#define DIVERGENCE_LOAD(q) ((quad_pair){QUAD_OF(student, q), QUAD_OF(teacher, q)})
#define DIVERGENCE_USE(q, v)                                                                                     \
    {                                                                                                            \
        const float4 g = divergence_gradient_quad(                                                               \
            kind, v.first, v.second, rate, lowest, inverse_temperature, blend, row);                             \
        put_quad(gradient, q, g, add);                                                                           \
    }
        TEAM_QUADS_BACKWARDS(quad_pair, DIVERGENCE_LOAD, DIVERGENCE_USE)
        if (label_ok && lane == owner) gradient[label] -= row.hard;
    } else if (write_gradient == 1) {
        for (int i = lane; i < classes; i += team) gradient[i] = 0.0f;
    }
    if (lane == owner && classes) {
        float hard = 0.0f;
        if (labelled) hard = label_ok ? S_LOG(hard_sum) - (label_logit - row.student_max) : NAN;
        const float sum = total_weight * (soft_scale * value + (hard_scale != 0.0f ? hard_scale * hard : 0.0f));
        loss[r] = read ? sum : 0.0f;
        divergence[r] = read ? soft_part * value : 0.0f;
        cross_entropy[r] = hard;
    }
}

// simt: rows_per_item is the size of a team, global a multiple of 256, local = 256; vector: one work-item per
// rows_per_item rows.
#define DIVERGENCE_KERNEL(name, kind)                                                                                  \
    __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void name(DIVERGENCE_KERNEL_ARGUMENTS) {               \
        __local float scratch[DIVERGENCE_SCRATCH * GROUP];                                                             \
        const int team = (int)rows_per_item, lane = (int)get_local_id(0) & (team - 1);                                 \
        const int aligned = ((student_at | teacher_at | student_pitch | teacher_pitch) & 3) == 0                       \
            && (!write_gradient || ((gradient_at | gradient_pitch) & 3) == 0);                                         \
        DIVERGENCE_OFFSETS                                                                                             \
        FOR_EACH_TEAM_TURN(rows, team) {                                                                               \
            const long r = turn + get_local_id(0) / team;                                                              \
            divergence_team(                                                                                           \
                kind, r, lane, team, aligned, scratch, student + r * student_pitch, teacher + r * teacher_pitch,       \
                labels, row_weight, loss, divergence, cross_entropy, gradient + r * gradient_pitch,                    \
                r < rows ? classes : 0, has_labels, ignore_index, has_row_weight, write_gradient, temperature, blend,  \
                soft_scale, hard_scale, soft_part, scale);                                                             \
        }                                                                                                              \
    }
#if WANTED(divergence_forward_kl)
DIVERGENCE_KERNEL(divergence_forward_kl, DIVERGENCE_FORWARD_KL)
#endif
#if WANTED(divergence_forward_ce)
DIVERGENCE_KERNEL(divergence_forward_ce, DIVERGENCE_FORWARD_CE)
#endif
#if WANTED(divergence_reverse_kl)
DIVERGENCE_KERNEL(divergence_reverse_kl, DIVERGENCE_REVERSE_KL)
#endif
#if WANTED(divergence_jsd)
DIVERGENCE_KERNEL(divergence_jsd, DIVERGENCE_JSD)
#endif
#if WANTED(divergence_jsd_continuous)
DIVERGENCE_KERNEL(divergence_jsd_continuous, DIVERGENCE_JSD_CONTINUOUS)
#endif
#if WANTED(divergence_skew_kl)
DIVERGENCE_KERNEL(divergence_skew_kl, DIVERGENCE_SKEW_KL)
#endif
#if WANTED(divergence_skew_ce)
DIVERGENCE_KERNEL(divergence_skew_ce, DIVERGENCE_SKEW_CE)
#endif
#if WANTED(divergence_skew_reverse_kl)
DIVERGENCE_KERNEL(divergence_skew_reverse_kl, DIVERGENCE_SKEW_REVERSE_KL)
#endif
#if WANTED(divergence_tvd)
DIVERGENCE_KERNEL(divergence_tvd, DIVERGENCE_TVD)
#endif
#if WANTED(divergence_symmetric)
DIVERGENCE_KERNEL(divergence_symmetric, DIVERGENCE_SYMMETRIC)
#endif
#endif
