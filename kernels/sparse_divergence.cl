// Distillation loss and its gradient from a teacher of whom only some classes are known: the k likeliest of each row,
// and what all others together weigh. One row of student logits s (`classes` values):
//
//   kept outcome j   P_j ∝ e^(value_j / T), the class id_j;         Q_j = softmax(s / T)[id_j]
//   the rest         P_r ∝ e^tail, all other classes in one bucket; Q_r = Σ softmax(s / T)[i] over them
//   loss = row_weight · scale · (soft_scale · D(P, Q) + hard_scale · CE),  CE = -ln softmax(s)[label]  (T = 1)
//
// D is one of divergence.cl's kinds over these k + 1 outcomes. By the chain rule KL of all classes is that of the
// outcomes plus P_r times KL within the rest: D is never above it, never negative, and 0 where the distributions agree.
// Values are the teacher's log-probabilities or logits at temperature 1, but for a constant; `tail`, against the same
// constant, is ln Σ e^(value_i / T) over the rest, at the loss's own temperature: the caller knows it, or how to guess.
//
// What becomes of the rest (`mode`):
//   0 bucket      as above
//   1 teacher     P is over the kept classes alone, Q over all classes; forward kinds only
//   2 both        P and Q are over the kept classes alone: the others get no soft gradient
//   3 truncated   as 0, but the rest's term is left out: may be negative; forward kinds only
//
// ids [rows, k] ascend in each row and are in [0, classes); those of a row that keeps fewer are `classes` or above, at
// its end. values [rows, k], tail [rows], kept (workspace) [rows, k] are dense. Where every class is kept there is no
// rest. The rest's sum is taken over its own logits, relative to its own maximum: it has all digits, and ln Q_r stays
// finite, however sure the student is.
//
// Outputs, labels, weights, NaN and in-place use as in divergence.cl; write_gradient: 0 no, 1 overwrite.

#define SPARSE_BUCKET 0
#define SPARSE_TEACHER 1
#define SPARSE_BOTH 2
#define SPARSE_TRUNCATED 3

// The numbers of divergence.cl.
#define SPARSE_FORWARD_KL 0
#define SPARSE_FORWARD_CE 1
#define SPARSE_REVERSE_KL 2
#define SPARSE_JSD 3
#define SPARSE_JSD_CONTINUOUS 4
#define SPARSE_SKEW_KL 5
#define SPARSE_SKEW_CE 6
#define SPARSE_SKEW_REVERSE_KL 7
#define SPARSE_TVD 8
#define SPARSE_SYMMETRIC 9

// x · y, and 0 where x is, whatever y.
INLINE float sparse_times(float x, float y) { return x == 0.0f ? 0.0f : x * y; }

// One outcome's share of D, and slope = q ∂share/∂q: dD / d logit = (slope - q Σ slope) / T. p and q with their
// logarithms; b is β or λ.
INLINE float sparse_share(int kind, float p, float lp, float q, float lq, float b, float *slope) {
    const float c = 1.0f - b;
    if (kind == SPARSE_FORWARD_KL || kind == SPARSE_FORWARD_CE || kind == SPARSE_SYMMETRIC) {
        const float forward = sparse_times(p, kind == SPARSE_FORWARD_KL ? lp - lq : -lq);
        *slope = -p;
        if (kind != SPARSE_SYMMETRIC) return forward;
        const float reverse = sparse_times(q, lq - lp);
        *slope = b * reverse - c * p;
        return c * forward + b * reverse;
    }
    if (kind == SPARSE_REVERSE_KL) {
        *slope = sparse_times(q, lq - lp);
        return *slope;
    }
    if (kind == SPARSE_TVD) {
        *slope = q > p ? 0.5f * q : q < p ? -0.5f * q : 0.0f;
        return 0.5f * (p > q ? p - q : q - p);
    }
    // Mixtures, written so that p = q gives exactly that.
    const float m = kind == SPARSE_SKEW_REVERSE_KL ? S_FMA(b, q - p, p) : S_FMA(b, p - q, q);
    *slope = 0.0f;
    if (m <= 0.0f) return 0.0f;
    if (kind == SPARSE_JSD || kind == SPARSE_JSD_CONTINUOUS) {
        const float of_p = kind == SPARSE_JSD ? b : c, of_q = kind == SPARSE_JSD ? c : b;
        const float to_p = sparse_times(p, S_LOG(p / m)), to_q = sparse_times(q, S_LOG(q / m));
        *slope = of_q * (to_q + q - c * q * (q / m)) - of_p * c * p * (q / m);
        return of_p * to_p + of_q * to_q;
    }
    if (kind == SPARSE_SKEW_REVERSE_KL) {
        const float to_q = sparse_times(q, S_LOG(q / m));
        *slope = to_q + q - b * q * (q / m);
        return to_q;
    }
    *slope = -c * p * (q / m);
    return sparse_times(p, kind == SPARSE_SKEW_KL ? S_LOG(p / m) : -S_LOG(m));
}

// What a row's outcomes and gradient need.
typedef struct {
    int kind, mode;
    float blend, inverse_temperature;
    float student_max, student_log;  // ln Σ e^((s - max) / T) over the classes that count
    float teacher_max, teacher_log;  // ln Σ e^(value / T - max) over the outcomes that count
    float tail_max, tail_sum;        // over the rest: maximum, Σ e^((s - maximum) / T)
    float hard_inverse;              // 1 / Σ e^(s - max) over all classes
    float mean;                      // Σ slope
    float soft, hard;                // factors of the two parts of the gradient
} sparse_row;

INLINE float sparse_kept(sparse_row row, float value, float s, float *q, float *slope) {
    const float lp = value * row.inverse_temperature - row.teacher_max - row.teacher_log;
    const float lq = (s - row.student_max) * row.inverse_temperature - row.student_log;
    *q = S_EXP(lq);
    return sparse_share(row.kind, S_EXP(lp), lp, *q, lq, row.blend, slope);
}

// The rest's share; `factor`: what e^((s - tail_max) / T) of its classes is multiplied by in the soft gradient, once the
// mean is known.
INLINE float sparse_tail(sparse_row row, int has_tail, float tail, float *q, float *slope) {
    *q = 0.0f;
    *slope = 0.0f;
    if (!has_tail || row.mode == SPARSE_BOTH) return 0.0f;
    const float lq =
        (row.tail_max - row.student_max) * row.inverse_temperature + S_LOG(row.tail_sum) - row.student_log;
    *q = S_EXP(lq);
    if (row.mode != SPARSE_BUCKET) return 0.0f;
    const float lp = tail - row.teacher_max - row.teacher_log;
    return sparse_share(row.kind, S_EXP(lp), lp, *q, lq, row.blend, slope);
}

// The gradient of a kept class, without the -1 at the label.
INLINE float sparse_kept_gradient(sparse_row row, float value, float s) {
    float q, slope;
    (void)sparse_kept(row, value, s, &q, &slope);
    const float soft = row.soft * (slope - q * row.mean);
    return row.hard != 0.0f ? S_FMA(row.hard * row.hard_inverse, S_EXP(s - row.student_max), soft) : soft;
}

INLINE int sparse_is_class(int id, int classes) { return id >= 0 && id < classes; }

#ifdef VECTOR

#define SPARSE_CHUNK 4096

// Lanes of the row from i on: kept classes become -inf. `at` is the first kept one that is not before i.
INLINE real sparse_rest(real x, int i, GLOBAL const int *ids, int kept, int *at) {
    while (*at < kept && ids[*at] < i + LANES) {
        x = SELECT(x, SPLAT(-INFINITY), LANE_IDS == (mask_t)(ids[*at] - i));
        (*at)++;
    }
    return x;
}

INLINE void sparse_divergence_rows(
    index_t begin, index_t end, GLOBAL const float *student, index_t student_pitch, GLOBAL const int *ids,
    GLOBAL const float *values, GLOBAL const float *tail, GLOBAL const int *labels, GLOBAL const float *row_weight,
    GLOBAL float *loss, GLOBAL float *divergence, GLOBAL float *cross_entropy, GLOBAL float *gradient,
    index_t gradient_pitch, GLOBAL float *kept, int classes, int k, int kind, int mode, int has_labels,
    int ignore_index, int has_row_weight, int write_gradient, float temperature, float blend, float soft_scale,
    float hard_scale, float soft_part, float scale) {
    const float inverse_temperature = 1.0f / temperature;
    const float rate = LOG2E * inverse_temperature, lowest = -127.0f / rate, lowest_1 = -127.0f / LOG2E;
    const int whole = classes / LANES * LANES, part = classes - whole;
    for (index_t r = begin; r < end; r++) {
        GLOBAL const float *s = student + r * student_pitch;
        GLOBAL float *g = gradient + r * gradient_pitch;
        GLOBAL const int *id = ids + r * k;
        GLOBAL const float *value = values + r * k;
        GLOBAL float *fixed = kept + r * k;
        const float weight = has_row_weight ? row_weight[r] : 1.0f;
        if (weight == 0.0f) {
            loss[r] = 0.0f;
            divergence[r] = 0.0f;
            cross_entropy[r] = 0.0f;
            if (write_gradient) {
                for (int i = 0; i < whole; i += LANES) STORE(g + i, SPLAT(0.0f));
                if (part) store_part(g + whole, SPLAT(0.0f), part);
            }
            continue;
        }
        const int label = has_labels ? labels[r] : ignore_index;
        const int labelled = has_labels && label != ignore_index;
        const int label_ok = labelled && sparse_is_class(label, classes);
        const float label_logit = label_ok ? s[label] : 0.0f;
        const int separate_hard = labelled && temperature != 1.0f;
        int count = 0;
        while (count < k && sparse_is_class(id[count], classes)) count++;

        sparse_row row;
        row.kind = kind;
        row.mode = mode;
        row.blend = blend;
        row.inverse_temperature = inverse_temperature;
        row.tail_max = LOWEST;
        row.tail_sum = 0.0f;
        float tail_hard = 0.0f;
        int at = 0;
        for (int start = 0; start < classes; start += SPARSE_CHUNK) {
            const int stop = whole - start < SPARSE_CHUNK ? whole : start + SPARSE_CHUNK;
            const int last = classes - start <= SPARSE_CHUNK && part;
            int ahead = at;
            real top = SPLAT(row.tail_max);
            for (int i = start; i < stop; i += LANES) {
                top = v_larger(top, sparse_rest(LOAD(s + i), i, id, count, &ahead));
            }
            real ending = SPLAT(-INFINITY);
            if (last) {
                ending = sparse_rest(load_part(s + whole, part, -INFINITY), whole, id, count, &ahead);
                top = v_larger(top, ending);
            }
            const float highest = lane_max(top);
            if (highest > row.tail_max) {
                row.tail_sum *= S_EXP((row.tail_max - highest) * inverse_temperature);
                tail_hard *= S_EXP(row.tail_max - highest);
                row.tail_max = highest;
            }
            real sum = SPLAT(0.0f), hard = SPLAT(0.0f);
            for (int i = start; i < stop; i += LANES) {
                const real d = sparse_rest(LOAD(s + i), i, id, count, &at) - SPLAT(highest);
                sum += v_exp2_scaled(d, rate, lowest);
                if (separate_hard) hard += v_exp2_scaled(d, LOG2E, lowest_1);
            }
            if (last) {
                at = ahead;
                sum += v_exp2_scaled(ending - SPLAT(highest), rate, lowest);
                if (separate_hard) hard += v_exp2_scaled(ending - SPLAT(highest), LOG2E, lowest_1);
            }
            row.tail_sum += lane_sum(sum);
            tail_hard += lane_sum(hard);
        }
        const int has_tail = count < classes;
        const int counts_tail = has_tail && (mode == SPARSE_BUCKET || mode == SPARSE_TRUNCATED);

        row.student_max = row.tail_max;
        row.teacher_max = counts_tail ? tail[r] : LOWEST;
        for (int j = 0; j < count; j++) {
            row.student_max = S_MAX(row.student_max, s[id[j]]);
            row.teacher_max = S_MAX(row.teacher_max, value[j] * inverse_temperature);
        }
        float student_sum = 0.0f, hard_sum = 0.0f, teacher_sum = 0.0f;
        for (int j = 0; j < count; j++) {
            student_sum += S_EXP((s[id[j]] - row.student_max) * inverse_temperature);
            if (separate_hard) hard_sum += S_EXP(s[id[j]] - row.student_max);
            teacher_sum += S_EXP(value[j] * inverse_temperature - row.teacher_max);
        }
        const float whole_sum =
            student_sum + sparse_times(row.tail_sum, S_EXP((row.tail_max - row.student_max) * inverse_temperature));
        hard_sum = separate_hard ? hard_sum + sparse_times(tail_hard, S_EXP(row.tail_max - row.student_max)) : whole_sum;
        if (counts_tail) teacher_sum += S_EXP(tail[r] - row.teacher_max);
        row.student_log = S_LOG(mode == SPARSE_BOTH ? student_sum : whole_sum);
        row.teacher_log = S_LOG(teacher_sum);
        row.hard_inverse = 1.0f / hard_sum;

        float q, slope, tail_q, tail_slope;
        float sum = sparse_tail(row, has_tail, tail[r], &tail_q, &tail_slope);
        row.mean = tail_slope;
        for (int j = 0; j < count; j++) {
            sum += sparse_kept(row, value[j], s[id[j]], &q, &slope);
            row.mean += slope;
        }
        const float total_weight = weight * scale;
        row.soft = total_weight * soft_scale * inverse_temperature;
        row.hard = labelled ? total_weight * hard_scale : 0.0f;
        if (write_gradient) {
            for (int j = 0; j < count; j++) fixed[j] = sparse_kept_gradient(row, value[j], s[id[j]]);
            // Of the rest every class has the same factor.
            float factor = row.tail_sum > 0.0f ? row.soft * (tail_slope - tail_q * row.mean) / row.tail_sum : 0.0f;
            float hard = row.hard * row.hard_inverse;
            if (!separate_hard) {
                factor += sparse_times(hard, S_EXP(row.tail_max - row.student_max));
                hard = 0.0f;
            }
            for (int i = 0; i < classes; i += LANES) {
                const real x = i < whole ? LOAD(s + i) : load_part(s + whole, part, 0.0f);
                // Kept classes may lie above the rest's maximum; they are overwritten below.
                const real d = x - SPLAT(row.tail_max);
                real v = v_exp2_scaled(SELECT(d, SPLAT(0.0f), d > SPLAT(0.0f)), rate, lowest) * SPLAT(factor);
                if (hard != 0.0f) {
                    v = V_FMA(SPLAT(hard), v_exp2_scaled(x - SPLAT(row.student_max), LOG2E, lowest_1), v);
                }
                if (i < whole) {
                    STORE(g + i, v);
                } else {
                    store_part(g + whole, v, part);
                }
            }
            for (int j = 0; j < count; j++) g[id[j]] = fixed[j];
            if (label_ok) g[label] -= row.hard;
        }
        float hard = 0.0f;
        if (labelled) hard = label_ok ? S_LOG(hard_sum) - (label_logit - row.student_max) : NAN;
        loss[r] = total_weight * (soft_scale * sum + (hard_scale != 0.0f ? hard_scale * hard : 0.0f));
        divergence[r] = soft_part * sum;
        cross_entropy[r] = hard;
    }
}

#endif

#ifdef __OPENCL_VERSION__
#define SPARSE_DIVERGENCE_ARGUMENTS                                                                                  \
    long rows, long rows_per_item, __global const float *student, long student_at, __global const int *ids,          \
        long ids_at, __global const float *values, long values_at, __global const float *tail, long tail_at,         \
        __global const int *labels, long labels_at, __global const float *row_weight, long row_weight_at,            \
        __global float *loss, long loss_at, __global float *divergence, long divergence_at,                          \
        __global float *cross_entropy, long cross_entropy_at, __global float *gradient, long gradient_at,            \
        __global float *kept, long kept_at, long student_pitch, long gradient_pitch, int classes, int k, int kind,   \
        int mode, int has_labels, int ignore_index, int has_row_weight, int write_gradient, float temperature,       \
        float blend, float soft_scale, float hard_scale, float soft_part, float scale
#endif

#if defined(VECTOR) && defined(__OPENCL_VERSION__)
#if WANTED(sparse_divergence)
__kernel void sparse_divergence(SPARSE_DIVERGENCE_ARGUMENTS) {
    const long begin = get_global_id(0) * rows_per_item, end = min(rows, begin + rows_per_item);
    sparse_divergence_rows(
        begin, end, student + student_at, student_pitch, ids + ids_at, values + values_at, tail + tail_at,
        labels + labels_at, row_weight + row_weight_at, loss + loss_at, divergence + divergence_at,
        cross_entropy + cross_entropy_at, gradient + gradient_at, gradient_pitch, kept + kept_at, classes, k, kind,
        mode, has_labels, ignore_index, has_row_weight, write_gradient, temperature, blend, soft_scale, hard_scale,
        soft_part, scale);
}
#endif
#endif

#ifdef SIMT

#define SPARSE_SCRATCH 6  // floats of scratch for each work-item

// A team of work-items per row (see math.clh), each with every team-th class and kept class. `classes` and k are 0 for a
// team without a row: its work-items come along for the barriers.
void sparse_divergence_team(
    long r, int lane, int team, __local float *scratch, __global const float *student, __global const int *ids,
    __global const float *values, __global const float *tail, __global const int *labels,
    __global const float *row_weight, __global float *loss, __global float *divergence, __global float *cross_entropy,
    __global float *gradient, __global float *kept, int classes, int k, int kind, int mode, int has_labels,
    int ignore_index, int has_row_weight, int write_gradient, float temperature, float blend, float soft_scale,
    float hard_scale, float soft_part, float scale) {
    const float inverse_temperature = 1.0f / temperature;
    const float rate = LOG2E * inverse_temperature, lowest = -127.0f / rate, lowest_1 = -127.0f / LOG2E;
    const float weight = has_row_weight && classes ? row_weight[r] : 1.0f;
    const int read = weight == 0.0f ? 0 : classes;  // a row without weight is not looked at
    const int most = read ? k : 0;
    const int label = has_labels && classes ? labels[r] : ignore_index;
    const int labelled = has_labels && label != ignore_index && read;
    const int label_ok = labelled && sparse_is_class(label, classes);
    const float label_logit = label_ok ? student[label] : 0.0f;
    const float tail_value = read ? tail[r] : 0.0f;
    const int separate_hard = labelled && temperature != 1.0f;

    sparse_row row;
    row.kind = kind;
    row.mode = mode;
    row.blend = blend;
    row.inverse_temperature = inverse_temperature;
    float top = LOWEST, tail_sum = 0.0f, tail_hard = 0.0f;
    int at = 0;
    for (int i = lane; i < read; i += team) {
        while (at < most && ids[at] < i) at++;
        const float x = at < most && ids[at] == i ? -INFINITY : student[i];
        if (x > top) {
            tail_sum *= S_EXP((top - x) * inverse_temperature);
            tail_hard *= S_EXP(top - x);
            top = x;
        }
        tail_sum += v_exp2_scaled(x - top, rate, lowest);
        if (separate_hard) tail_hard += v_exp2_scaled(x - top, LOG2E, lowest_1);
    }
    float maxima[3] = {top, LOWEST, LOWEST};
    for (int j = lane; j < most; j += team) {
        if (sparse_is_class(ids[j], classes)) {
            maxima[1] = fmax(maxima[1], student[ids[j]]);
            maxima[2] = fmax(maxima[2], values[j] * inverse_temperature);
        }
    }
    team_maxima(3, maxima, team, scratch);
    row.tail_max = maxima[0];
    row.student_max = fmax(maxima[0], maxima[1]);
    const int wants_tail = mode == SPARSE_BUCKET || mode == SPARSE_TRUNCATED;
    // Where no class is left for the rest, its value only scales a sum that it is no part of.
    row.teacher_max = wants_tail ? fmax(maxima[2], tail_value) : maxima[2];
    float sums[6] = {
        sparse_times(tail_sum, S_EXP((top - row.tail_max) * inverse_temperature)),
        sparse_times(tail_hard, S_EXP(top - row.tail_max)), 0.0f, 0.0f, 0.0f, 0.0f};
    for (int j = lane; j < most; j += team) {
        if (sparse_is_class(ids[j], classes)) {
            const float d = student[ids[j]] - row.student_max;
            sums[2] += S_EXP(d * inverse_temperature);
            if (separate_hard) sums[3] += S_EXP(d);
            sums[4] += S_EXP(values[j] * inverse_temperature - row.teacher_max);
            sums[5] += 1.0f;
        }
    }
    team_sums(6, sums, team, scratch);
    row.tail_sum = sums[0];
    const int has_tail = (int)sums[5] < read;
    const int counts_tail = has_tail && wants_tail;
    const float whole_sum =
        sums[2] + sparse_times(sums[0], S_EXP((row.tail_max - row.student_max) * inverse_temperature));
    const float hard_sum =
        separate_hard ? sums[3] + sparse_times(sums[1], S_EXP(row.tail_max - row.student_max)) : whole_sum;
    const float teacher_sum = counts_tail ? sums[4] + S_EXP(tail_value - row.teacher_max) : sums[4];
    row.student_log = S_LOG(mode == SPARSE_BOTH ? sums[2] : whole_sum);
    row.teacher_log = S_LOG(teacher_sum);
    row.hard_inverse = 1.0f / hard_sum;

    float q, slope, tail_q, tail_slope;
    const float tail_share = sparse_tail(row, has_tail, tail_value, &tail_q, &tail_slope);
    float shares[2] = {0.0f, 0.0f};
    for (int j = lane; j < most; j += team) {
        if (sparse_is_class(ids[j], classes)) {
            shares[0] += sparse_kept(row, values[j], student[ids[j]], &q, &slope);
            shares[1] += slope;
        }
    }
    team_sums(2, shares, team, scratch);
    const float sum = tail_share + shares[0];
    row.mean = tail_slope + shares[1];
    const float total_weight = weight * scale;
    row.soft = total_weight * soft_scale * inverse_temperature;
    row.hard = labelled ? total_weight * hard_scale : 0.0f;
    for (int j = lane; j < most; j += team) {
        if (write_gradient && sparse_is_class(ids[j], classes)) {
            kept[j] = sparse_kept_gradient(row, values[j], student[ids[j]]) - (ids[j] == label ? row.hard : 0.0f);
        }
    }
    // The gradient may be the student's row: all have read what they need of others' classes.
    barrier(CLK_GLOBAL_MEM_FENCE);
    if (write_gradient) {
        float factor = row.tail_sum > 0.0f ? row.soft * (tail_slope - tail_q * row.mean) / row.tail_sum : 0.0f;
        float hard = row.hard * row.hard_inverse;
        if (!separate_hard) {
            factor += sparse_times(hard, S_EXP(row.tail_max - row.student_max));
            hard = 0.0f;
        }
        for (int i = lane; i < read; i += team) {
            const float x = student[i], d = x - row.tail_max;
            float v = v_exp2_scaled(d > 0.0f ? 0.0f : d, rate, lowest) * factor;
            if (hard != 0.0f) v = fma(hard, v_exp2_scaled(x - row.student_max, LOG2E, lowest_1), v);
            gradient[i] = i == label ? v - row.hard : v;
        }
        for (int i = lane; i < classes - read; i += team) gradient[i] = 0.0f;
    }
    barrier(CLK_GLOBAL_MEM_FENCE);
    for (int j = lane; j < most; j += team) {
        if (write_gradient && sparse_is_class(ids[j], classes)) gradient[ids[j]] = kept[j];
    }
    if (lane == 0 && classes) {
        float hard = 0.0f;
        if (labelled) hard = label_ok ? S_LOG(hard_sum) - (label_logit - row.student_max) : NAN;
        const float value = total_weight * (soft_scale * sum + (hard_scale != 0.0f ? hard_scale * hard : 0.0f));
        loss[r] = read ? value : 0.0f;
        divergence[r] = read ? soft_part * sum : 0.0f;
        cross_entropy[r] = hard;
    }
}

// rows_per_item is the size of a team, global a multiple of 256, local = 256.
#if WANTED(sparse_divergence)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void sparse_divergence(SPARSE_DIVERGENCE_ARGUMENTS) {
    __local float scratch[SPARSE_SCRATCH * GROUP];
    const int team = (int)rows_per_item, lane = (int)get_local_id(0) & (team - 1);
    student += student_at;
    ids += ids_at;
    values += values_at;
    tail += tail_at;
    labels += labels_at;
    row_weight += row_weight_at;
    loss += loss_at;
    divergence += divergence_at;
    cross_entropy += cross_entropy_at;
    gradient += gradient_at;
    kept += kept_at;
    FOR_EACH_TEAM_TURN(rows, team) {
        const long r = turn + get_local_id(0) / team;
        const int here = r < rows;
        sparse_divergence_team(
            r, lane, team, scratch, student + r * student_pitch, ids + r * k, values + r * k, tail, labels, row_weight,
            loss, divergence, cross_entropy, gradient + r * gradient_pitch, kept + r * k, here ? classes : 0,
            here ? k : 0, kind, mode, has_labels, ignore_index, has_row_weight, write_gradient, temperature, blend,
            soft_scale, hard_scale, soft_part, scale);
    }
}
#endif

#endif
