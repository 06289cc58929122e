// Cross entropy of logits [rows, classes] and its gradient in one launch, with the conventions of PyTorch:
//
//   target int32 [rows]              loss = f · ((1-e) w_y (L - x_y) + e/C Σ_c w_c (L - x_c)),  L = ln Σ e^x
//   target probabilities [rows, C]   loss = f · Σ_c w_c t_c (L - x_c),  t = (1-e) target + e/C
//
// with y the row's label, w the class weights (1 without has_class_weight), e the label smoothing, f = row_weight ·
// scale. gradient [rows, classes] = d(Σ loss) / d logits; it may be the logits' own buffer: a row is read before it is
// overwritten. write_gradient: 0 no, 1 overwrite, 2 add (not in place).
//
// A row with row_weight 0 or with label == ignore_index gives loss 0 and a zero gradient, whatever its logits hold.
// Another label outside [0, classes) gives loss NaN, a finite gradient, and no access outside the row. A soft target of
// 0 counts nothing even where the logit is -inf.
//
// token_weights turns labels into the row weights of a mean over valid rows: 1 / Σ w_y for rows that count, else 0.

#define TOKEN_WEIGHT_BLOCK 1024

#ifdef VECTOR

INLINE void cross_entropy_rows(
    index_t begin, index_t end, GLOBAL const float *logits, index_t logits_pitch, GLOBAL const int *target,
    GLOBAL const float *class_weight, GLOBAL const float *row_weight, GLOBAL float *loss, GLOBAL float *gradient,
    index_t gradient_pitch, int classes, int has_class_weight, int has_row_weight, int ignore_index, int write_gradient,
    float label_smoothing, float scale) {
    const float lowest = -127.0f / LOG2E, spread = label_smoothing / (float)classes;
    const int whole = classes / LANES * LANES, part = classes - whole;
    for (index_t r = begin; r < end; r++) {
        GLOBAL const float *x = logits + r * logits_pitch;
        GLOBAL float *g = gradient + r * gradient_pitch;
        const int label = target[r];
        const float factor = label == ignore_index ? 0.0f : (has_row_weight ? row_weight[r] : 1.0f) * scale;
        if (factor == 0.0f) {
            loss[r] = 0.0f;
            if (write_gradient == 1) fill_range(0, classes, g, 0.0f);
            continue;
        }
        const int known = label >= 0 && label < classes;
        const float label_weight = has_class_weight && known ? class_weight[label] : 1.0f;
        const float label_logit = known ? x[label] : 0.0f;
        float sum;
        const float top = softmax_statistics(x, classes, 1.0f, LOG2E, &sum);
        const float log_sum = S_LOG(sum);
        float value = (1.0f - label_smoothing) * label_weight * (log_sum - (label_logit - top));
        float weights = 0.0f;  // Σ w: what the smoothed part weighs
        if (label_smoothing != 0.0f) {
            real differences = SPLAT(0.0f), total = SPLAT(0.0f);
            for (int i = 0; i < whole; i += LANES) {
                real w = has_class_weight ? LOAD(class_weight + i) : SPLAT(1.0f);
                differences = V_FMA(w, LOAD(x + i) - SPLAT(top), differences);
                total += w;
            }
            if (part) {
                real w = SELECT(SPLAT(0.0f), SPLAT(1.0f), LANE_IDS < (mask_t)(part));
                if (has_class_weight) w = load_part(class_weight + whole, part, 0.0f);
                differences = V_FMA(w, load_part(x + whole, part, top) - SPLAT(top), differences);
                total += w;
            }
            weights = lane_sum(total);
            value += spread * (weights * log_sum - lane_sum(differences));
        }
        loss[r] = known ? factor * value : NAN;
        if (write_gradient) {
            const int add = write_gradient == 2;
            const float amount = factor * ((1.0f - label_smoothing) * label_weight + spread * weights) / sum;
            const float smooth = factor * spread;
            for (int i = 0; i < whole; i += LANES) {
                real w = has_class_weight && smooth != 0.0f ? LOAD(class_weight + i) : SPLAT(1.0f);
                real v = v_exp2_scaled(LOAD(x + i) - SPLAT(top), LOG2E, lowest) * SPLAT(amount) - SPLAT(smooth) * w;
                STORE(g + i, add ? LOAD(g + i) + v : v);
            }
            if (part) {
                real w = SPLAT(1.0f);
                if (has_class_weight) w = load_part(class_weight + whole, part, 0.0f);
                real d = load_part(x + whole, part, top) - SPLAT(top);
                real v = v_exp2_scaled(d, LOG2E, lowest) * SPLAT(amount) - SPLAT(smooth) * w;
                if (add) v += load_part(g + whole, part, 0.0f);
                store_part(g + whole, v, part);
            }
            if (known) g[label] -= factor * (1.0f - label_smoothing) * label_weight;
        }
    }
}

// One vector's weighted target w t and its share of Σ w t (x - max).
INLINE real cross_entropy_soft_target(real t, real w, float label_smoothing, float spread) {
    return w * V_FMA(t, SPLAT(1.0f - label_smoothing), SPLAT(spread));
}

INLINE void cross_entropy_soft_rows(
    index_t begin, index_t end, GLOBAL const float *logits, index_t logits_pitch, GLOBAL const float *target,
    index_t target_pitch, GLOBAL const float *class_weight, GLOBAL const float *row_weight, GLOBAL float *loss,
    GLOBAL float *gradient, index_t gradient_pitch, int classes, int has_class_weight, int has_row_weight,
    int write_gradient, float label_smoothing, float scale) {
    const float lowest = -127.0f / LOG2E, spread = label_smoothing / (float)classes;
    const int whole = classes / LANES * LANES, part = classes - whole;
    for (index_t r = begin; r < end; r++) {
        GLOBAL const float *x = logits + r * logits_pitch;
        GLOBAL const float *t = target + r * target_pitch;
        GLOBAL float *g = gradient + r * gradient_pitch;
        const float factor = (has_row_weight ? row_weight[r] : 1.0f) * scale;
        if (factor == 0.0f) {
            loss[r] = 0.0f;
            if (write_gradient == 1) fill_range(0, classes, g, 0.0f);
            continue;
        }
        float sum;
        const float top = softmax_statistics(x, classes, 1.0f, LOG2E, &sum);
        const float log_sum = S_LOG(sum);
        real products = SPLAT(0.0f), total = SPLAT(0.0f);
        for (int i = 0; i < whole; i += LANES) {
            real w = has_class_weight ? LOAD(class_weight + i) : SPLAT(1.0f);
            real wt = cross_entropy_soft_target(LOAD(t + i), w, label_smoothing, spread);
            products += SELECT(wt * (LOAD(x + i) - SPLAT(top)), SPLAT(0.0f), wt == SPLAT(0.0f));
            total += wt;
        }
        real wt_part = SPLAT(0.0f);
        if (part) {
            real w = SELECT(SPLAT(0.0f), SPLAT(1.0f), LANE_IDS < (mask_t)(part));
            if (has_class_weight) w = load_part(class_weight + whole, part, 0.0f);
            wt_part = cross_entropy_soft_target(load_part(t + whole, part, 0.0f), w, label_smoothing, spread);
            real d = load_part(x + whole, part, top) - SPLAT(top);
            products += SELECT(wt_part * d, SPLAT(0.0f), wt_part == SPLAT(0.0f));
            total += wt_part;
        }
        const float weights = lane_sum(total);
        loss[r] = factor * (weights * log_sum - lane_sum(products));
        if (write_gradient) {
            const int add = write_gradient == 2;
            const float amount = factor * weights / sum;
            for (int i = 0; i < whole; i += LANES) {
                real w = has_class_weight ? LOAD(class_weight + i) : SPLAT(1.0f);
                real wt = cross_entropy_soft_target(LOAD(t + i), w, label_smoothing, spread);
                real v = v_exp2_scaled(LOAD(x + i) - SPLAT(top), LOG2E, lowest) * SPLAT(amount) - SPLAT(factor) * wt;
                STORE(g + i, add ? LOAD(g + i) + v : v);
            }
            if (part) {
                real d = load_part(x + whole, part, top) - SPLAT(top);
                real v = v_exp2_scaled(d, LOG2E, lowest) * SPLAT(amount) - SPLAT(factor) * wt_part;
                if (add) v += load_part(g + whole, part, 0.0f);
                store_part(g + whole, v, part);
            }
        }
    }
}

// Sums of w_y over the valid labels of each block of 1024 rows: partials [ceil(rows / 1024)].
INLINE void token_weight_sums_blocks(
    index_t begin, index_t end, GLOBAL const int *labels, GLOBAL const float *class_weight, GLOBAL float *partials,
    index_t rows, int classes, int has_class_weight, int ignore_index) {
    for (index_t b = begin; b < end; b++) {
        const index_t first = b * TOKEN_WEIGHT_BLOCK;
        const index_t last = rows - first < TOKEN_WEIGHT_BLOCK ? rows : first + TOKEN_WEIGHT_BLOCK;
        float sum = 0.0f, strip = 0.0f;  // in strips of 32, so that rounding does not grow with the block
        for (index_t r = first; r < last; r++) {
            const int label = labels[r];
            if (label != ignore_index) {
                strip += !has_class_weight ? 1.0f : label >= 0 && label < classes ? class_weight[label] : 0.0f;
            }
            if ((r & 31) == 31 || r + 1 == last) {
                sum += strip;
                strip = 0.0f;
            }
        }
        partials[b] = sum;
    }
}

// row_weight = 1 / Σ partials for labels other than ignore_index, else 0. No valid label at all: everything is 0.
INLINE void token_weights_rows(
    index_t begin, index_t end, GLOBAL const int *labels, GLOBAL const float *partials, GLOBAL float *row_weight,
    int blocks, int ignore_index) {
    float sum = 0.0f;
    for (int b = 0; b < blocks; b++) sum += partials[b];
    const float weight = sum > 0.0f ? 1.0f / sum : 0.0f;
    for (index_t r = begin; r < end; r++) row_weight[r] = labels[r] == ignore_index ? 0.0f : weight;
}

#endif

#if defined(VECTOR) && defined(__OPENCL_VERSION__)

#if WANTED(cross_entropy)
__kernel void cross_entropy(
    long rows, long rows_per_item, __global const float *logits, long logits_at, __global const int *target,
    long target_at, __global const float *class_weight, long class_weight_at, __global const float *row_weight,
    long row_weight_at, __global float *loss, long loss_at, __global float *gradient, long gradient_at,
    long logits_pitch, long gradient_pitch, int classes, int has_class_weight, int has_row_weight, int ignore_index,
    int write_gradient, float label_smoothing, float scale) {
    const long begin = get_global_id(0) * rows_per_item, end = min(rows, begin + rows_per_item);
    cross_entropy_rows(
        begin, end, logits + logits_at, logits_pitch, target + target_at, class_weight + class_weight_at,
        row_weight + row_weight_at, loss + loss_at, gradient + gradient_at, gradient_pitch, classes, has_class_weight,
        has_row_weight, ignore_index, write_gradient, label_smoothing, scale);
}
#endif
#if WANTED(cross_entropy_soft)
__kernel void cross_entropy_soft(
    long rows, long rows_per_item, __global const float *logits, long logits_at, __global const float *target,
    long target_at, __global const float *class_weight, long class_weight_at, __global const float *row_weight,
    long row_weight_at, __global float *loss, long loss_at, __global float *gradient, long gradient_at,
    long logits_pitch, long target_pitch, long gradient_pitch, int classes, int has_class_weight, int has_row_weight,
    int write_gradient, float label_smoothing, float scale) {
    const long begin = get_global_id(0) * rows_per_item, end = min(rows, begin + rows_per_item);
    cross_entropy_soft_rows(
        begin, end, logits + logits_at, logits_pitch, target + target_at, target_pitch, class_weight + class_weight_at,
        row_weight + row_weight_at, loss + loss_at, gradient + gradient_at, gradient_pitch, classes, has_class_weight,
        has_row_weight, write_gradient, label_smoothing, scale);
}
#endif
// vector: one work-item per blocks_per_item blocks of 1024 rows. simt: global = blocks · 256, local = 256.
#if WANTED(token_weight_sums)
__kernel void token_weight_sums(
    long blocks, long blocks_per_item, __global const int *labels, long labels_at, __global const float *class_weight,
    long class_weight_at, __global float *partials, long partials_at, long rows, int classes, int has_class_weight,
    int ignore_index) {
    const long begin = get_global_id(0) * blocks_per_item, end = min(blocks, begin + blocks_per_item);
    token_weight_sums_blocks(
        begin, end, labels + labels_at, class_weight + class_weight_at, partials + partials_at, rows, classes,
        has_class_weight, ignore_index);
}
#endif
// simt: grid-stride, local = 256.
#if WANTED(token_weights)
__kernel void token_weights(
    long rows, long rows_per_item, __global const int *labels, long labels_at, __global const float *partials,
    long partials_at, __global float *row_weight, long row_weight_at, int blocks, int ignore_index) {
    const long begin = get_global_id(0) * rows_per_item, end = min(rows, begin + rows_per_item);
    token_weights_rows(
        begin, end, labels + labels_at, partials + partials_at, row_weight + row_weight_at, blocks, ignore_index);
}
#endif

#endif

#ifdef SIMT

// simt: rows_per_item is the size of a team (see math.clh), global a multiple of 256, local = 256.
#define CROSS_ENTROPY_TEAM const int team = (int)rows_per_item, lane = (int)get_local_id(0) & (team - 1);
#define CROSS_ENTROPY_ALIGNED(more)                                                                  \
    (((logits_at | logits_pitch | (has_class_weight ? class_weight_at : 0) | (more)) & 3) == 0       \
     && (!write_gradient || ((gradient_at | gradient_pitch) & 3) == 0))

#if WANTED(cross_entropy)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void cross_entropy(
    long rows, long rows_per_item, __global const float *logits, long logits_at, __global const int *target,
    long target_at, __global const float *class_weight, long class_weight_at, __global const float *row_weight,
    long row_weight_at, __global float *loss, long loss_at, __global float *gradient, long gradient_at,
    long logits_pitch, long gradient_pitch, int classes, int has_class_weight, int has_row_weight, int ignore_index,
    int write_gradient, float label_smoothing, float scale) {
    __local float scratch[2 * GROUP];
    const int aligned = CROSS_ENTROPY_ALIGNED(0);
    const float spread = label_smoothing / (float)classes;
    CROSS_ENTROPY_TEAM
    class_weight += class_weight_at;
    FOR_EACH_TEAM_TURN(rows, team) {
        const long r = turn + get_local_id(0) / team;
        const int here = r < rows ? classes : 0;
        __global const float *x = logits + logits_at + r * logits_pitch;
        __global float *g = gradient + gradient_at + r * gradient_pitch;
        const int label = here ? target[target_at + r] : ignore_index;
        float factor = 0.0f;
        if (label != ignore_index) factor = (has_row_weight ? row_weight[row_weight_at + r] : 1.0f) * scale;
        const int read = factor == 0.0f ? 0 : here;  // a row without weight is not looked at
        const int quads = aligned ? read / 4 : 0, share = team_share(quads, lane, team);
        const int known = label >= 0 && label < classes && read;
        const float label_weight = has_class_weight && known ? class_weight[label] : 1.0f;
        // The work-item that will overwrite the label's logit (the gradient may be in place) is the one that reads it.
        const int owner = known ? team_owner(label, quads, team) : 0;
        const float label_logit = known && lane == owner ? x[label] : 0.0f;
        float sum;
        const float top = softmax_statistics_team(x, read, quads, lane, team, 1.0f, LOG2E, scratch, &sum);
        const float log_sum = S_LOG(sum);
        float smooth[2] = {0.0f, 0.0f};  // Σ w (x - max), Σ w
        if (label_smoothing != 0.0f) {
            for (int k = 0; k < share; k++) {
                const int q = lane + k * team;
                const float4 w = has_class_weight ? QUAD_OF(class_weight, q) : (float4)(1.0f);
                smooth[0] += quad_sum(w * (QUAD_OF(x, q) - top));
                smooth[1] += quad_sum(w);
            }
            for (int i = 4 * quads + lane; i < read; i += team) {
                const float w = has_class_weight ? class_weight[i] : 1.0f;
                smooth[0] = fma(w, x[i] - top, smooth[0]);
                smooth[1] += w;
            }
            team_sums(2, smooth, team, scratch);
        }
        if (lane == owner && here) {
            const float hard = (1.0f - label_smoothing) * label_weight * (log_sum - (label_logit - top));
            float value = known ? factor * hard : NAN;
            if (label_smoothing != 0.0f) value += factor * spread * (smooth[1] * log_sum - smooth[0]);
            loss[loss_at + r] = read ? value : 0.0f;
        }
        if (write_gradient && read) {
            const int add = write_gradient == 2;
            const float amount = factor * ((1.0f - label_smoothing) * label_weight + spread * smooth[1]) / sum;
            const float spread_factor = factor * spread;
            for (int i = 4 * quads + lane; i < read; i += team) {
                const float w = has_class_weight ? class_weight[i] : 1.0f;
                const float v = v_exp2_scaled(x[i] - top, LOG2E, -127.0f / LOG2E) * amount - spread_factor * w;
                g[i] = add ? g[i] + v : v;
            }
#define CROSS_ENTROPY_LOAD(q) \
    ((quad_pair){QUAD_OF(x, q), has_class_weight ? QUAD_OF(class_weight, q) : (float4)(1.0f)})
#define CROSS_ENTROPY_USE(q, v)                                                           \
    {                                                                                     \
        const float4 e = exp2_scaled_quad(v.first - top, LOG2E, -127.0f / LOG2E);         \
        put_quad(g, q, e * amount - spread_factor * v.second, add);                       \
    }
            TEAM_QUADS_BACKWARDS(quad_pair, CROSS_ENTROPY_LOAD, CROSS_ENTROPY_USE)
            if (known && lane == owner) g[label] -= factor * (1.0f - label_smoothing) * label_weight;
        } else if (write_gradient == 1) {
            for (int i = lane; i < here; i += team) g[i] = 0.0f;
        }
    }
}
#endif
#if WANTED(cross_entropy_soft)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void cross_entropy_soft(
    long rows, long rows_per_item, __global const float *logits, long logits_at, __global const float *target,
    long target_at, __global const float *class_weight, long class_weight_at, __global const float *row_weight,
    long row_weight_at, __global float *loss, long loss_at, __global float *gradient, long gradient_at,
    long logits_pitch, long target_pitch, long gradient_pitch, int classes, int has_class_weight, int has_row_weight,
    int write_gradient, float label_smoothing, float scale) {
    __local float scratch[2 * GROUP];
    const int aligned = CROSS_ENTROPY_ALIGNED(target_at | target_pitch);
    const float spread = label_smoothing / (float)classes;
    CROSS_ENTROPY_TEAM
    class_weight += class_weight_at;
    FOR_EACH_TEAM_TURN(rows, team) {
        const long r = turn + get_local_id(0) / team;
        const int here = r < rows ? classes : 0;
        __global const float *x = logits + logits_at + r * logits_pitch;
        __global const float *t = target + target_at + r * target_pitch;
        __global float *g = gradient + gradient_at + r * gradient_pitch;
        const float factor = here ? (has_row_weight ? row_weight[row_weight_at + r] : 1.0f) * scale : 0.0f;
        const int read = factor == 0.0f ? 0 : here;
        const int quads = aligned ? read / 4 : 0, share = team_share(quads, lane, team);
        float sum;
        const float top = softmax_statistics_team(x, read, quads, lane, team, 1.0f, LOG2E, scratch, &sum);
#define SOFT_TARGET(t, w) ((w) * fma((t), 1.0f - label_smoothing, spread))
#define SOFT_TARGET_QUAD(q)                                              \
    ((has_class_weight ? QUAD_OF(class_weight, q) : (float4)(1.0f))      \
     * fma(QUAD_OF(t, q), (float4)(1.0f - label_smoothing), (float4)(spread)))
        float sums[2] = {0.0f, 0.0f};  // Σ w t (x - max), Σ w t
        for (int k = 0; k < share; k++) {
            const int q = lane + k * team;
            const float4 wt = SOFT_TARGET_QUAD(q), d = QUAD_OF(x, q) - top;
            sums[0] += quad_sum(select(wt * d, (float4)(0.0f), wt == 0.0f));  // 0 counts nothing, even beside -inf
            sums[1] += quad_sum(wt);
        }
        for (int i = 4 * quads + lane; i < read; i += team) {
            const float wt = SOFT_TARGET(t[i], has_class_weight ? class_weight[i] : 1.0f);
            sums[0] += wt == 0.0f ? 0.0f : wt * (x[i] - top);
            sums[1] += wt;
        }
        team_sums(2, sums, team, scratch);
        if (lane == 0 && here) loss[loss_at + r] = read ? factor * (sums[1] * S_LOG(sum) - sums[0]) : 0.0f;
        if (write_gradient && read) {
            const int add = write_gradient == 2;
            const float amount = factor * sums[1] / sum;
            for (int i = 4 * quads + lane; i < read; i += team) {
                const float wt = SOFT_TARGET(t[i], has_class_weight ? class_weight[i] : 1.0f);
                const float v = v_exp2_scaled(x[i] - top, LOG2E, -127.0f / LOG2E) * amount - factor * wt;
                g[i] = add ? g[i] + v : v;
            }
#define SOFT_LOAD(q) ((quad_pair){QUAD_OF(x, q), SOFT_TARGET_QUAD(q)})
#define SOFT_USE(q, v)                                                                \
    {                                                                                 \
        const float4 e = exp2_scaled_quad(v.first - top, LOG2E, -127.0f / LOG2E);     \
        put_quad(g, q, e * amount - factor * v.second, add);                          \
    }
            TEAM_QUADS_BACKWARDS(quad_pair, SOFT_LOAD, SOFT_USE)
        } else if (write_gradient == 1) {
            for (int i = lane; i < here; i += team) g[i] = 0.0f;
        }
    }
}
#endif
#if WANTED(token_weight_sums)
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void token_weight_sums(
    long blocks, long blocks_per_item, __global const int *labels, long labels_at, __global const float *class_weight,
    long class_weight_at, __global float *partials, long partials_at, long rows, int classes, int has_class_weight,
    int ignore_index) {
    __local float scratch[GROUP];
    labels += labels_at;
    class_weight += class_weight_at;
    const long first = get_group_id(0) * TOKEN_WEIGHT_BLOCK, last = min(rows, first + TOKEN_WEIGHT_BLOCK);
    float sum = 0.0f;
    for (long r = first + get_local_id(0); r < last; r += GROUP) {
        const int label = labels[r];
        const int known = label >= 0 && label < classes;
        if (label != ignore_index) sum += !has_class_weight ? 1.0f : known ? class_weight[label] : 0.0f;
    }
    sum = group_sum(sum, scratch);
    if (get_local_id(0) == 0) partials[partials_at + get_group_id(0)] = sum;
}
#endif
#if WANTED(token_weights)
__kernel void token_weights(
    long rows, long rows_per_item, __global const int *labels, long labels_at, __global const float *partials,
    long partials_at, __global float *row_weight, long row_weight_at, int blocks, int ignore_index) {
    float sum = 0.0f;
    for (int b = 0; b < blocks; b++) sum += partials[partials_at + b];
    const float weight = sum > 0.0f ? 1.0f / sum : 0.0f;
    for (long r = get_global_id(0); r < rows; r += get_global_size(0)) {
        row_weight[row_weight_at + r] = labels[labels_at + r] == ignore_index ? 0.0f : weight;
    }
}
#endif

#endif
