// Row kernels of the CPU backend: the row bodies of kernels/*.cl compiled as C, once per instruction set, chosen at
// run time.
//
// Every entry works on a half-open range [begin, end) of rows, elements, blocks or tiles and writes nothing outside
// it, so a caller may split one call over threads. Matrices are row-major; a pitch is the distance in elements
// between two rows. `accumulate` != 0 adds to the output instead of overwriting it. Results do not depend on how a
// range is split.
#ifndef RETORT_CROWS_H
#define RETORT_CROWS_H

#include <stddef.h>

/// y = (accumulate ? y : 0) + f(x; p) for the elements [begin, end) of matrices of `columns` columns, counted row
/// after row. A contiguous tensor is one row: columns = pitch = count.
typedef void (*crows_unary)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, float *y,
                            ptrdiff_t y_pitch, ptrdiff_t columns, int accumulate, float p);

/// dx = (accumulate ? dx : 0) + dy · f'(x; p), ranges as for crows_unary.
typedef void (*crows_unary_backward)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, const float *dy,
                                     ptrdiff_t dy_pitch, float *dx, ptrdiff_t dx_pitch, ptrdiff_t columns,
                                     int accumulate, float p);

/// y = (accumulate ? y : 0) + act(gate) · up, ranges as for crows_unary.
typedef void (*crows_gated)(ptrdiff_t begin, ptrdiff_t end, const float *gate, ptrdiff_t gate_pitch, const float *up,
                            ptrdiff_t up_pitch, float *y, ptrdiff_t y_pitch, ptrdiff_t columns, int accumulate);

/// dgate = (accumulate ? dgate : 0) + dy · up · act'(gate), dup likewise + dy · act(gate).
typedef void (*crows_gated_backward)(ptrdiff_t begin, ptrdiff_t end, const float *gate, ptrdiff_t gate_pitch,
                                     const float *up, ptrdiff_t up_pitch, const float *dy, ptrdiff_t dy_pitch,
                                     float *dgate, ptrdiff_t dgate_pitch, float *dup, ptrdiff_t dup_pitch,
                                     ptrdiff_t columns, int accumulate);

/// y = (accumulate ? y : 0) + a op b over the index space sizes[4], last dimension fastest; [begin, end) counts its
/// elements. y is contiguous; a_strides[4] and b_strides[4] are in elements, 0 where an operand is broadcast.
typedef void (*crows_binary)(ptrdiff_t begin, ptrdiff_t end, const float *a, const float *b, float *y,
                             const ptrdiff_t *sizes, const ptrdiff_t *a_strides, const ptrdiff_t *b_strides,
                             int accumulate);

// The same with activations (everything but gradients) in bfloat16.
typedef void (*crows_unary_bf16)(ptrdiff_t begin, ptrdiff_t end, const unsigned short *x, ptrdiff_t x_pitch,
                                 unsigned short *y, ptrdiff_t y_pitch, ptrdiff_t columns, int accumulate, float p);
typedef void (*crows_unary_backward_bf16)(ptrdiff_t begin, ptrdiff_t end, const unsigned short *x, ptrdiff_t x_pitch,
                                          const float *dy, ptrdiff_t dy_pitch, float *dx, ptrdiff_t dx_pitch,
                                          ptrdiff_t columns, int accumulate, float p);
typedef void (*crows_gated_bf16)(ptrdiff_t begin, ptrdiff_t end, const unsigned short *gate, ptrdiff_t gate_pitch,
                                 const unsigned short *up, ptrdiff_t up_pitch, unsigned short *y, ptrdiff_t y_pitch,
                                 ptrdiff_t columns, int accumulate);
typedef void (*crows_gated_backward_bf16)(ptrdiff_t begin, ptrdiff_t end, const unsigned short *gate,
                                          ptrdiff_t gate_pitch, const unsigned short *up, ptrdiff_t up_pitch,
                                          const float *dy, ptrdiff_t dy_pitch, float *dgate, ptrdiff_t dgate_pitch,
                                          float *dup, ptrdiff_t dup_pitch, ptrdiff_t columns, int accumulate);
typedef void (*crows_binary_bf16)(ptrdiff_t begin, ptrdiff_t end, const unsigned short *a, const unsigned short *b,
                                  unsigned short *y, const ptrdiff_t *sizes, const ptrdiff_t *a_strides,
                                  const ptrdiff_t *b_strides, int accumulate);

// The unary functions; those with a parameter p: leaky_relu (slope), elu (alpha), smooth_l1 (beta), clamp_min (bound).
#define CROWS_FOR_EACH_FUNCTION(DO) \
    DO(exp) DO(log) DO(sqrt) DO(rsqrt) DO(square) DO(abs) DO(neg) DO(reciprocal) DO(relu) DO(leaky_relu) DO(elu) \
    DO(relu6) DO(hardswish) DO(sigmoid) DO(tanh) DO(silu) DO(quick_gelu) DO(gelu_erf) DO(gelu_tanh) DO(softplus) \
    DO(logsigmoid) DO(smooth_l1) DO(clamp_min)

/// Fused divergence of rows [begin, end); formula and arguments in divergence.cl. Absent operands are NULL with their flag 0.
typedef void (*crows_divergence)(ptrdiff_t begin, ptrdiff_t end, const float *student, ptrdiff_t student_pitch,
                                 const float *teacher, ptrdiff_t teacher_pitch, const int *labels,
                                 const float *row_weight, float *loss, float *divergence, float *cross_entropy,
                                 float *gradient, float *kept, ptrdiff_t gradient_pitch, int classes, int has_labels,
                                 int ignore_index, int has_row_weight, int write_gradient, float temperature,
                                 float blend, float soft_scale, float hard_scale, float soft_part, float scale);

#define CROWS_FOR_EACH_DIVERGENCE(DO) \
    DO(forward_kl) DO(forward_ce) DO(reverse_kl) DO(jsd) DO(jsd_continuous) DO(skew_kl) DO(skew_ce) \
    DO(skew_reverse_kl) DO(tvd) DO(symmetric)

/// A product C = alpha · A B (+ C), m × n of k terms, k > 0, and what follows it.
typedef struct {
    ptrdiff_t m, n, k;
    /// A(i, k) = a[i · a_row + k · a_depth], one of both is 1; float, or bfloat16 where `a_narrow`.
    const void *a;
    ptrdiff_t a_row, a_depth;
    /// B(k, j) = b[j · b_column + k · b_depth] likewise.
    const void *b;
    ptrdiff_t b_column, b_depth;
    int a_narrow, b_narrow;
    float *c;
    ptrdiff_t c_pitch;
    float alpha;
    int accumulate;
    /// Whether C is passed through `epilogue_rows` with the operands below, which are not looked at otherwise.
    int has_epilogue, activation;
    const float *bias;
    float *pre;
    ptrdiff_t pre_pitch;
    const float *residual;
    ptrdiff_t residual_pitch;
} crows_gemm;

typedef struct {
    // ---- conv.cl: formulas and the ints of `geometry` there ----------------------------------------------------------

    /// Lanes of a vector of pixels and outputs of a full panel: what the sizes of workspaces depend on.
    int conv_lanes, conv_rows;
    /// Packs the weights of panels [begin, end) of all groups; the call with begin = 0 also fills `offsets`.
    void (*conv_pack_panels)(ptrdiff_t begin, ptrdiff_t end, const int *geometry, const float *weight, float *packed,
                           int *offsets);
    void (*conv_offsets_all)(const int *geometry, int *offsets);
    /// The shares of workers [begin, end) of `workers`; each has `slot` floats at slots, its spots `spots_at` into them.
    void (*conv_gather_workers)(ptrdiff_t begin, ptrdiff_t end, ptrdiff_t workers, const int *geometry,
                                const float *source, const float *packed, const int *offsets, const float *bias,
                                float *target, float *slots, ptrdiff_t slot, ptrdiff_t spots_at);
    /// partials [chunks][outputs of all groups][depth + 1].
    void (*conv_weight_workers)(ptrdiff_t begin, ptrdiff_t end, ptrdiff_t workers, const int *geometry,
                                const float *source, const float *dy, const int *offsets, float *partials, float *slots,
                                ptrdiff_t slot, ptrdiff_t spots_at, ptrdiff_t lanes_at);
    /// Groups of one channel or one output, weights as they lie; lists of taps begin `lists_at` floats into a slot.
    void (*conv_depthwise_workers)(ptrdiff_t begin, ptrdiff_t end, ptrdiff_t workers, const int *geometry,
                                   const float *source, const float *weight, const float *bias, float *target,
                                   float *slots, ptrdiff_t slot, ptrdiff_t lists_at);
    /// Groups of one channel; partials as of conv_weight_workers.
    void (*conv_depthwise_weight_workers)(ptrdiff_t begin, ptrdiff_t end, ptrdiff_t workers, const int *geometry,
                                          const float *source, const float *dy, float *partials, float *slots,
                                          ptrdiff_t slot, ptrdiff_t lists_at, ptrdiff_t lanes_at);
    void (*conv_weight_sum_rows)(ptrdiff_t begin, ptrdiff_t end, const float *partials, int chunks, ptrdiff_t outputs,
                                 int depth, float *dweight, ptrdiff_t pitch, int weight_accumulate, float *dbias,
                                 int want_bias, int bias_accumulate);

    // ---- attention.cl: formulas and the numbers of `shape` there ----------------------------------------------------

    /// The shares of workers [begin, end) of `workers`; each has `slot` floats at slots. spans may be NULL. q, k, v and y are
    /// float or bfloat16, as `shape` says.
    void (*attention_forward_workers)(ptrdiff_t begin, ptrdiff_t end, ptrdiff_t workers, const ptrdiff_t *shape,
                                      const void *q, const void *k, const void *v, const int *spans, void *y,
                                      float *lse, float scale, float *slots, ptrdiff_t slot);
    /// Rows of [batch, queries, heads] from pieces of the keys.
    void (*attention_combine_rows)(ptrdiff_t begin, ptrdiff_t end, const ptrdiff_t *shape, const float *parts,
                                   const float *part_lse, void *y, float *lse);
    /// dq, dk and dv are NULL where shape's modes say that they are not wanted.
    void (*attention_backward_workers)(ptrdiff_t begin, ptrdiff_t end, ptrdiff_t workers, const ptrdiff_t *shape,
                                       const void *q, const void *k, const void *v, const int *spans,
                                       const void *y, const float *lse, const float *dy, float *dq, float *dk,
                                       float *dv, float scale, float *slots, ptrdiff_t slot);

    // ---- copy.cl: moving and converting elements --------------------------------------------------------------------

    /// y[i] = value for i in [begin, end).
    void (*fill_range)(ptrdiff_t begin, ptrdiff_t end, float *y, float value);

    /// y[i0 … i5] = (accumulate ? y : 0) + x[i0 … i5] over the index space sizes[6], last dimension fastest; strides in
    /// elements, any sign; [begin, end) counts elements of the index space.
    void (*strided_copy_range)(ptrdiff_t begin, ptrdiff_t end, const float *x, float *y, const ptrdiff_t *sizes,
                               const ptrdiff_t *x_strides, const ptrdiff_t *y_strides, int accumulate);
    /// The same of numbers of 16 bits, written.
    void (*strided_copy_16_range)(ptrdiff_t begin, ptrdiff_t end, const unsigned short *x, unsigned short *y,
                                  const ptrdiff_t *sizes, const ptrdiff_t *x_strides, const ptrdiff_t *y_strides);

    /// y[b][column][row] = (accumulate ? y : 0) + x[b][row][column]; [begin, end) counts tiles of 32 x 32 elements,
    /// of which there are batches · ceil(rows / 32) · ceil(columns / 32). x_batch and y_batch: elements between two
    /// matrices.
    void (*transpose_tiles)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, ptrdiff_t x_batch,
                            float *y, ptrdiff_t y_pitch, ptrdiff_t y_batch, ptrdiff_t rows, ptrdiff_t columns,
                            int accumulate);

    /// Widening, exact: IEEE half, bfloat16, 8-bit 1-4-3 ("fn": no infinities), 8-bit 1-5-2.
    void (*f32_from_f16_range)(ptrdiff_t begin, ptrdiff_t end, const unsigned short *x, float *y);
    void (*f32_from_bf16_range)(ptrdiff_t begin, ptrdiff_t end, const unsigned short *x, float *y);
    void (*f32_from_f8_e4m3_range)(ptrdiff_t begin, ptrdiff_t end, const unsigned char *x, float *y);
    void (*f32_from_f8_e5m2_range)(ptrdiff_t begin, ptrdiff_t end, const unsigned char *x, float *y);

    /// Narrowing, round to nearest even; overflow gives infinity, NaN stays NaN.
    void (*f16_from_f32_range)(ptrdiff_t begin, ptrdiff_t end, const float *x, unsigned short *y);
    void (*bf16_from_f32_range)(ptrdiff_t begin, ptrdiff_t end, const float *x, unsigned short *y);

    // ---- dropout.cl -------------------------------------------------------------------------------------------------

    /// y[i] = (accumulate ? y[i] : 0) + (keep(first + i) ? scale · x[i] : 0); keep and threshold are defined in
    /// dropout.cl. The pointers are those of element 0, `first` its global index. seed, stream and first are 64-bit
    /// patterns.
    void (*dropout_range)(ptrdiff_t begin, ptrdiff_t end, const float *x, float *y, ptrdiff_t seed, ptrdiff_t stream,
                          ptrdiff_t first, ptrdiff_t threshold, int accumulate, float scale);
    void (*dropout_range_bf16)(ptrdiff_t begin, ptrdiff_t end, const unsigned short *x, unsigned short *y,
                               ptrdiff_t seed, ptrdiff_t stream, ptrdiff_t first, ptrdiff_t threshold, int accumulate,
                               float scale);

// ---- elementwise.cl -------------------------------------------------------------------------------------------------
#define CROWS_DECLARE(fn) crows_unary unary_##fn##_range; crows_unary_backward unary_##fn##_backward_range; \
    crows_unary_bf16 unary_##fn##_range_bf16; crows_unary_backward_bf16 unary_##fn##_backward_range_bf16;
    CROWS_FOR_EACH_FUNCTION(CROWS_DECLARE)
#undef CROWS_DECLARE

    /// silu(gate) · up and gelu_tanh(gate) · up.
    crows_gated swiglu_range, geglu_tanh_range;
    crows_gated_backward swiglu_backward_range, geglu_tanh_backward_range;
    crows_gated_bf16 swiglu_range_bf16, geglu_tanh_range_bf16;
    crows_gated_backward_bf16 swiglu_backward_range_bf16, geglu_tanh_backward_range_bf16;

    /// y = (accumulate ? y : 0) + a·x + b, ranges as for crows_unary.
    void (*affine_range)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, float *y, ptrdiff_t y_pitch,
                         ptrdiff_t columns, int accumulate, float a, float b);
    void (*affine_range_bf16)(ptrdiff_t begin, ptrdiff_t end, const unsigned short *x, ptrdiff_t x_pitch,
                              unsigned short *y, ptrdiff_t y_pitch, ptrdiff_t columns, int accumulate, float a,
                              float b);

    /// y[i] = a·x[i] + b·y[i]; y is not read when b = 0.
    void (*axpby_range)(ptrdiff_t begin, ptrdiff_t end, const float *x, float *y, float a, float b);

    crows_binary binary_add_range, binary_sub_range, binary_mul_range, binary_div_range;
    crows_binary_bf16 binary_add_range_bf16, binary_sub_range_bf16, binary_mul_range_bf16, binary_div_range_bf16;

    /// db = (accumulate ? db : 0) - dy·a / b²: the derivative of a / b by b before the sum over broadcast dimensions.
    /// a and b as for crows_binary, dy and db contiguous.
    void (*binary_div_backward_b_range)(ptrdiff_t begin, ptrdiff_t end, const float *a, const float *b, const float *dy,
                                        float *db, const ptrdiff_t *sizes, const ptrdiff_t *a_strides,
                                        const ptrdiff_t *b_strides, int accumulate);
    void (*binary_div_backward_b_range_bf16)(ptrdiff_t begin, ptrdiff_t end, const unsigned short *a,
                                             const unsigned short *b, const float *dy, float *db,
                                             const ptrdiff_t *sizes, const ptrdiff_t *a_strides,
                                             const ptrdiff_t *b_strides, int accumulate);

    // ---- optimizer.cl: formulas there -------------------------------------------------------------------------------

    /// p -= lr · step(g). m is the momentum buffer, untouched when momentum = 0; `first` != 0: m starts as the
    /// gradient. *clip multiplies g; *skip != 0 leaves everything as it is.
    void (*sgd_range)(ptrdiff_t begin, ptrdiff_t end, float *p, const float *g, float *m, const float *clip,
                      const int *skip, int first, int nesterov, float lr, float momentum, float dampening,
                      float weight_decay);

    /// Adam (decoupled = 0: L2 in the gradient) and AdamW (decoupled = 1). v_max is untouched unless amsgrad.
    /// step_size = lr / (1 - β1^t), sqrt_correction2 = sqrt(1 - β2^t).
    void (*adam_range)(ptrdiff_t begin, ptrdiff_t end, float *p, const float *g, float *m, float *v, float *v_max,
                       const float *clip, const int *skip, int decoupled, int amsgrad, float lr, float weight_decay,
                       float one_minus_beta1, float beta2, float one_minus_beta2, float step_size,
                       float sqrt_correction2, float epsilon);

    /// e = decay · e + one_minus_decay · p.
    void (*ema_range)(ptrdiff_t begin, ptrdiff_t end, float *e, const float *p, float decay, float one_minus_decay);

    /// y = *clip · y.
    void (*scale_by_range)(ptrdiff_t begin, ptrdiff_t end, float *y, const float *clip);

    /// partials[b] = Σ x² over elements [4096·b, min(count, 4096·(b + 1))) for the blocks b in [begin, end).
    void (*sum_squares_partial_blocks)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t count,
                                       float *partials);

    /// norm = sqrt(Σ partials); clip = min(1, max_norm / (norm + 1e-6)), or 1 when max_norm <= 0; skip = norm is not
    /// finite; counter += skip.
    void (*norm_finish_all)(const float *partials, ptrdiff_t count, float *norm, float *clip, int *skip, int *counter,
                            float max_norm);

    // ---- softmax.cl: rows of `columns` logits ------------------------------------------------------------------------

    /// y = softmax(x / temperature), y = log softmax(x / temperature).
    void (*softmax_forward_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, float *y,
                                 ptrdiff_t y_pitch, int columns, float temperature);
    void (*log_softmax_forward_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, float *y,
                                     ptrdiff_t y_pitch, int columns, float temperature);

    /// dx = (accumulate ? dx : 0) + their derivatives, from the output y.
    void (*softmax_backward_rows)(ptrdiff_t begin, ptrdiff_t end, const float *y, ptrdiff_t y_pitch, const float *dy,
                                  ptrdiff_t dy_pitch, float *dx, ptrdiff_t dx_pitch, int columns, int accumulate,
                                  float temperature);
    void (*log_softmax_backward_rows)(ptrdiff_t begin, ptrdiff_t end, const float *y, ptrdiff_t y_pitch,
                                      const float *dy, ptrdiff_t dy_pitch, float *dx, ptrdiff_t dx_pitch, int columns,
                                      int accumulate, float temperature);

    // ---- cross_entropy.cl: formulas there ----------------------------------------------------------------------------

    void (*cross_entropy_rows)(ptrdiff_t begin, ptrdiff_t end, const float *logits, ptrdiff_t logits_pitch,
                               const int *target, const float *class_weight, const float *row_weight, float *loss,
                               float *gradient, ptrdiff_t gradient_pitch, int classes, int has_class_weight,
                               int has_row_weight, int ignore_index, int write_gradient, float label_smoothing,
                               float scale);
    void (*cross_entropy_soft_rows)(ptrdiff_t begin, ptrdiff_t end, const float *logits, ptrdiff_t logits_pitch,
                                    const float *target, ptrdiff_t target_pitch, const float *class_weight,
                                    const float *row_weight, float *loss, float *gradient, ptrdiff_t gradient_pitch,
                                    int classes, int has_class_weight, int has_row_weight, int write_gradient,
                                    float label_smoothing, float scale);

    /// partials[b] = sum of the weights of valid labels among rows [1024·b, 1024·(b + 1)).
    void (*token_weight_sums_blocks)(ptrdiff_t begin, ptrdiff_t end, const int *labels, const float *class_weight,
                                     float *partials, ptrdiff_t rows, int classes, int has_class_weight,
                                     int ignore_index);
    /// row_weight[r] = label r is valid ? 1 / Σ partials : 0.
    void (*token_weights_rows)(ptrdiff_t begin, ptrdiff_t end, const int *labels, const float *partials,
                               float *row_weight, int blocks, int ignore_index);

    // ---- divergence.cl -----------------------------------------------------------------------------------------------

#define CROWS_DECLARE(kind) crows_divergence divergence_##kind##_rows;
    CROWS_FOR_EACH_DIVERGENCE(CROWS_DECLARE)
#undef CROWS_DECLARE

    // ---- reduce.cl: formulas, shapes and splitting there ------------------------------------------------------------

    void (*sum_rows_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, float *y, ptrdiff_t n, int
        accumulate, float scale);
    void (*sum_row_blocks_items)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, float *partials,
        ptrdiff_t n, ptrdiff_t blocks);
    void (*sum_columns_items)(ptrdiff_t begin, ptrdiff_t end, const float *x, float *y, ptrdiff_t n, ptrdiff_t inner,
        ptrdiff_t block_rows, int accumulate, float scale);
    void (*variance_rows_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, float *y, float *mean,
        ptrdiff_t n, float correction);
    void (*variance_columns_items)(ptrdiff_t begin, ptrdiff_t end, const float *x, float *y, float *mean, ptrdiff_t n,
        ptrdiff_t inner, float correction);
    void (*extreme_rows_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, float *y, int *index,
        ptrdiff_t n, int smallest);
    void (*extreme_columns_items)(ptrdiff_t begin, ptrdiff_t end, const float *x, float *y, int *index, ptrdiff_t n,
        ptrdiff_t inner, int smallest);
    void (*logsumexp_rows_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, float *y, int n);
    void (*logsumexp_columns_items)(ptrdiff_t begin, ptrdiff_t end, const float *x, float *y, ptrdiff_t n, ptrdiff_t
        inner);
    void (*cumsum_rows_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, float *y, ptrdiff_t
        y_pitch, ptrdiff_t n, int reverse, int accumulate);
    void (*cumsum_columns_items)(ptrdiff_t begin, ptrdiff_t end, const float *x, float *y, ptrdiff_t n, ptrdiff_t inner,
        int reverse, int accumulate);
    void (*reduce_backward_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, const float
        *statistic, const float *dy, float *dx, ptrdiff_t dx_pitch, ptrdiff_t n, ptrdiff_t inner, int kind, int
        accumulate, float scale);
    void (*extreme_backward_rows)(ptrdiff_t begin, ptrdiff_t end, const int *index, const float *dy, float *dx,
        ptrdiff_t dx_pitch, ptrdiff_t n, ptrdiff_t inner, int accumulate);

    // ---- gemv.cl: the product, its layouts and the bits of `flags` there ---------------------------------------------

    /// Columns [begin, end) of a product of m rows; bias and residual may be NULL where flags do not ask for them.
    void (*gemv_across_columns)(ptrdiff_t begin, ptrdiff_t end, const float *a, ptrdiff_t a_pitch, const float *b,
                                ptrdiff_t b_pitch, const float *bias, const float *residual, ptrdiff_t residual_pitch,
                                float *c, ptrdiff_t c_pitch, int m, int k, float alpha, int flags);
    void (*gemv_along_columns)(ptrdiff_t begin, ptrdiff_t end, const float *a, ptrdiff_t a_pitch, const float *b,
                               ptrdiff_t b_pitch, const float *bias, const float *residual, ptrdiff_t residual_pitch,
                               float *c, ptrdiff_t c_pitch, int m, int k, float alpha, int flags);
    /// The same of a bfloat16 b.
    void (*gemv_across_columns_bf16)(ptrdiff_t begin, ptrdiff_t end, const float *a, ptrdiff_t a_pitch,
                                     const unsigned short *b, ptrdiff_t b_pitch, const float *bias,
                                     const float *residual, ptrdiff_t residual_pitch, float *c, ptrdiff_t c_pitch,
                                     int m, int k, float alpha, int flags);
    void (*gemv_along_columns_bf16)(ptrdiff_t begin, ptrdiff_t end, const float *a, ptrdiff_t a_pitch,
                                    const unsigned short *b, ptrdiff_t b_pitch, const float *bias,
                                    const float *residual, ptrdiff_t residual_pitch, float *c, ptrdiff_t c_pitch,
                                    int m, int k, float alpha, int flags);
    /// Columns [begin, end) of c [m, n]; normed [m, k] is memory of this call alone, norm and bias may be NULL where they are not there.
    void (*normed_product_columns)(ptrdiff_t begin, ptrdiff_t end, const float *a, ptrdiff_t a_pitch, const float *norm,
                                   const float *b, ptrdiff_t b_pitch, const float *bias, float *c, ptrdiff_t c_pitch,
                                   float *normed, ptrdiff_t n, int m, int k, float epsilon, int has_norm, int has_bias,
                                   int gate);
    void (*normed_product_columns_bf16)(ptrdiff_t begin, ptrdiff_t end, const float *a, ptrdiff_t a_pitch,
                                        const float *norm, const unsigned short *b, ptrdiff_t b_pitch,
                                        const float *bias, float *c, ptrdiff_t c_pitch, float *normed, ptrdiff_t n,
                                        int m, int k, float epsilon, int has_norm, int has_bias, int gate);

    // ---- layernorm.cl: formulas there -------------------------------------------------------------------------------

    void (*layernorm_forward_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, const float
        *weight, const float *bias, float *y, ptrdiff_t y_pitch, float *mean, float *rstd, int columns, int
        has_weight, int has_bias, float epsilon);
    void (*layernorm_backward_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, const float
        *weight, const float *mean, const float *rstd, const float *dy, ptrdiff_t dy_pitch, float *dx, ptrdiff_t
        dx_pitch, int columns, int has_weight, int accumulate);
    void (*layernorm_partials_blocks)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, const float
        *mean, const float *rstd, const float *dy, ptrdiff_t dy_pitch, float *partials, ptrdiff_t rows, int
        columns);
    /// The same with x and y in bfloat16.
    void (*layernorm_forward_rows_bf16)(ptrdiff_t begin, ptrdiff_t end, const unsigned short *x, ptrdiff_t x_pitch,
                                        const float *weight, const float *bias, unsigned short *y, ptrdiff_t y_pitch,
                                        float *mean, float *rstd, int columns, int has_weight, int has_bias,
                                        float epsilon);
    void (*layernorm_backward_rows_bf16)(ptrdiff_t begin, ptrdiff_t end, const unsigned short *x, ptrdiff_t x_pitch,
                                         const float *weight, const float *mean, const float *rstd, const float *dy,
                                         ptrdiff_t dy_pitch, float *dx, ptrdiff_t dx_pitch, int columns,
                                         int has_weight, int accumulate);
    void (*layernorm_partials_blocks_bf16)(ptrdiff_t begin, ptrdiff_t end, const unsigned short *x, ptrdiff_t x_pitch,
                                           const float *mean, const float *rstd, const float *dy, ptrdiff_t dy_pitch,
                                           float *partials, ptrdiff_t rows, int columns);
    void (*layernorm_sums_range)(ptrdiff_t begin, ptrdiff_t end, const float *partials, float *dweight, float *dbias,
        int blocks, int columns, int want_weight, int want_bias, int accumulate);

    // ---- rmsnorm.cl, rope.cl: formulas there ------------------------------------------------------------------------

    void (*rmsnorm_forward_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, const float
        *weight, float *y, ptrdiff_t y_pitch, float *rstd, int columns, int has_weight, float epsilon, float offset);
    void (*rmsnorm_backward_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, const float
        *weight, const float *rstd, const float *dy, ptrdiff_t dy_pitch, float *dx, ptrdiff_t dx_pitch, int columns,
        int has_weight, int accumulate, float offset);
    void (*rmsnorm_partials_blocks)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, const float
        *rstd, const float *dy, ptrdiff_t dy_pitch, float *partials, ptrdiff_t rows, int columns);
    /// The same with x and y in bfloat16.
    void (*rmsnorm_forward_rows_bf16)(ptrdiff_t begin, ptrdiff_t end, const unsigned short *x, ptrdiff_t x_pitch,
                                      const float *weight, unsigned short *y, ptrdiff_t y_pitch, float *rstd,
                                      int columns, int has_weight, float epsilon, float offset);
    void (*rmsnorm_backward_rows_bf16)(ptrdiff_t begin, ptrdiff_t end, const unsigned short *x, ptrdiff_t x_pitch,
                                       const float *weight, const float *rstd, const float *dy, ptrdiff_t dy_pitch,
                                       float *dx, ptrdiff_t dx_pitch, int columns, int has_weight, int accumulate,
                                       float offset);
    void (*rmsnorm_partials_blocks_bf16)(ptrdiff_t begin, ptrdiff_t end, const unsigned short *x, ptrdiff_t x_pitch,
                                         const float *rstd, const float *dy, ptrdiff_t dy_pitch, float *partials,
                                         ptrdiff_t rows, int columns);
    void (*rope_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, const int *ids, const float
        *cosines, const float *sines, float *y, ptrdiff_t y_pitch, int heads, int width, int positions, int
        interleaved, float turn, int accumulate);
    void (*rope_rows_bf16)(ptrdiff_t begin, ptrdiff_t end, const unsigned short *x, ptrdiff_t x_pitch, const int *ids,
                           const float *cosines, const float *sines, unsigned short *y, ptrdiff_t y_pitch, int heads,
                           int width, int positions, int interleaved, float turn, int accumulate);
    void (*rope_append_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, const int *ids,
                             const float *cosines, const float *sines, float *queries, ptrdiff_t query_pitch,
                             float *keys, float *values, ptrdiff_t text_pitch, ptrdiff_t token_pitch, int length,
                             int heads, int key_heads, int width, int positions, int interleaved);
    void (*rope_append_rows_bf16)(ptrdiff_t begin, ptrdiff_t end, const unsigned short *x, ptrdiff_t x_pitch,
                                  const int *ids, const float *cosines, const float *sines, unsigned short *queries,
                                  ptrdiff_t query_pitch, unsigned short *keys, unsigned short *values,
                                  ptrdiff_t text_pitch, ptrdiff_t token_pitch, int length, int heads, int key_heads,
                                  int width, int positions, int interleaved);

    // ---- batchnorm.cl: formulas, parts and layouts there --------------------------------------------------------------

    void (*batchnorm_moments_planes_items)(ptrdiff_t begin, ptrdiff_t end, const float *x, float *partials,
        int channels, int inner);
    void (*batchnorm_moments_columns_items)(ptrdiff_t begin, ptrdiff_t end, const float *x, float *partials,
        ptrdiff_t samples, int columns);
    void (*batchnorm_statistics_channels)(ptrdiff_t begin, ptrdiff_t end, const float *partials, float *mean, float
        *rstd, float *running_mean, float *running_variance, ptrdiff_t samples, int channels, int inner, int fold, int
        block, float epsilon, float momentum, int has_running);
    void (*batchnorm_apply_planes_items)(ptrdiff_t begin, ptrdiff_t end, const float *x, const float *mean, const float
        *spread, const float *weight, const float *bias, const float *residual, float *y, int channels, int inner, int
        has_weight, int has_bias, int has_residual, int relu, int from_variance, float epsilon);
    void (*batchnorm_apply_columns_items)(ptrdiff_t begin, ptrdiff_t end, const float *x, const float *mean, const float
        *spread, const float *weight, const float *bias, const float *residual, float *y, ptrdiff_t samples, int
        channels, int inner, int has_weight, int has_bias, int has_residual, int relu, int from_variance, float
        epsilon);
    void (*batchnorm_products_planes_items)(ptrdiff_t begin, ptrdiff_t end, const float *x, const float *y, const float
        *dy, const float *mean, const float *spread, float *partials, int channels, int inner, int relu, int
        from_variance, float epsilon);
    void (*batchnorm_products_columns_items)(ptrdiff_t begin, ptrdiff_t end, const float *x, const float *y, const float
        *dy, const float *mean, const float *spread, float *partials, ptrdiff_t samples, int channels, int inner, int
        relu, int from_variance, float epsilon);
    void (*batchnorm_sums_channels)(ptrdiff_t begin, ptrdiff_t end, const float *partials, float *sums, float *dweight,
        float *dbias, ptrdiff_t blocks, int channels, int fold, int want_weight, int want_bias, int add_weight, int
        add_bias);
    void (*batchnorm_backward_planes_items)(ptrdiff_t begin, ptrdiff_t end, const float *x, const float *y, const float
        *dy, const float *mean, const float *spread, const float *weight, const float *sums, float *dx, float
        *dresidual, ptrdiff_t samples, int channels, int inner, int has_weight, int relu, int training, float epsilon,
        int want_dx, int want_dresidual, int add_dx, int add_dresidual);
    void (*batchnorm_backward_columns_items)(ptrdiff_t begin, ptrdiff_t end, const float *x, const float *y, const float
        *dy, const float *mean, const float *spread, const float *weight, const float *sums, float *dx, float
        *dresidual, ptrdiff_t samples, int channels, int inner, int has_weight, int relu, int training, float epsilon,
        int want_dx, int want_dresidual, int add_dx, int add_dresidual);

    // ---- pool.cl: windows there --------------------------------------------------------------------------------------

    void (*average_pool_planes)(ptrdiff_t begin, ptrdiff_t end, const float *x, float *y, const int *rows, const int
        *columns, int divisor);
    void (*average_pool_backward_planes)(ptrdiff_t begin, ptrdiff_t end, const float *dy, float *dx, const int *rows,
        const int *columns, int divisor, int accumulate);
    void (*max_pool_planes)(ptrdiff_t begin, ptrdiff_t end, const float *x, float *y, int *indices, const int *rows,
        const int *columns);
    void (*max_pool_backward_planes)(ptrdiff_t begin, ptrdiff_t end, const float *dy, const int *indices, float *dx,
        const int *rows, const int *columns, int accumulate);

    // ---- resize.cl: formulas there ----------------------------------------------------------------------------------

    void (*bilinear_planes)(ptrdiff_t begin, ptrdiff_t end, const float *x, float *y, int height, int width, int
        out_height, int out_width);
    void (*bilinear_backward_planes)(ptrdiff_t begin, ptrdiff_t end, const float *dy, float *dx, int height, int width,
        int out_height, int out_width, int accumulate);
    void (*nearest_planes)(ptrdiff_t begin, ptrdiff_t end, const float *x, float *y, int height, int width, int
        out_height, int out_width, float scale_height, float scale_width);
    void (*nearest_backward_planes)(ptrdiff_t begin, ptrdiff_t end, const float *dy, float *dx, int height, int width,
        int out_height, int out_width, float scale_height, float scale_width, int accumulate);

    // ---- sampling.cl: history rows are `seen` ints, y and work are dense ---------------------------------------------

    void (*scale_logits_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, const int *history,
        float *y, int columns, int seen, float penalty, float temperature);
    void (*keep_top_k_rows)(ptrdiff_t begin, ptrdiff_t end, float *y, int columns, int k);
    void (*keep_top_p_rows)(ptrdiff_t begin, ptrdiff_t end, float *y, float *work, int columns, float p);
    void (*keep_min_p_rows)(ptrdiff_t begin, ptrdiff_t end, float *y, int columns, float log_min_p);
    void (*draw_tokens_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, const float *u, int
        *tokens, int columns);

    // ---- sparse_divergence.cl: formula and arguments there; absent operands are NULL with their flag 0 ---------------

    void (*sparse_divergence_rows)(ptrdiff_t begin, ptrdiff_t end, const float *student, ptrdiff_t student_pitch, const int
        *ids, const float *values, const float *tail, const int *labels, const float *row_weight, float *loss, float
        *divergence, float *cross_entropy, float *gradient, ptrdiff_t gradient_pitch, float *kept, int classes, int k, int
        kind, int mode, int has_labels, int ignore_index, int has_row_weight, int write_gradient, float temperature, float
        blend, float soft_scale, float hard_scale, float soft_part, float scale);

    // ---- topk.cl: order of equal values and NaN there ---------------------------------------------------------------

    void (*topk_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, float *values, int *indices,
        int columns, int k);
    /// Of the bits of floats; `work` is the caller's own, of 1024 + 2 · columns numbers.
    void (*sort_descending_rows)(ptrdiff_t begin, ptrdiff_t end, const unsigned int *x, ptrdiff_t x_pitch, unsigned int
        *values, int *indices, unsigned int *work, int columns);
    void (*topk_backward_rows)(ptrdiff_t begin, ptrdiff_t end, const float *dy, const int *indices, float *dx, ptrdiff_t
        dx_pitch, int columns, int k, int accumulate);

    // ---- gather.cl: ids outside the table read nothing --------------------------------------------------------------

    void (*gather_rows_rows)(ptrdiff_t begin, ptrdiff_t end, const float *w, ptrdiff_t w_pitch, const int *ids, float
        *y, ptrdiff_t y_pitch, int columns, int table_rows);
    /// The same of a bfloat16 table, into fp32 or bfloat16.
    void (*gather_rows_bf16_f32_rows)(ptrdiff_t begin, ptrdiff_t end, const unsigned short *w, ptrdiff_t w_pitch,
                                      const int *ids, float *y, ptrdiff_t y_pitch, int columns, int table_rows);
    void (*gather_rows_bf16_bf16_rows)(ptrdiff_t begin, ptrdiff_t end, const unsigned short *w, ptrdiff_t w_pitch,
                                       const int *ids, unsigned short *y, ptrdiff_t y_pitch, int columns,
                                       int table_rows);
    void (*gather_ints_range)(ptrdiff_t begin, ptrdiff_t end, const int *x, const int *ids, int *y, int table_rows);
    void (*scatter_rows_items)(ptrdiff_t begin, ptrdiff_t end, const float *dy, ptrdiff_t dy_pitch, const int *order,
        const int *distinct, const int *starts, float *dw, ptrdiff_t dw_pitch, int columns, int table_rows, int
        padding_id, int accumulate);

    // ---- augment.cl: what is random, and how ------------------------------------------------------------------------

    /// seed and stream are 64-bit patterns, epoch a 32-bit one.
    void (*gather_images_planes)(ptrdiff_t begin, ptrdiff_t end, const unsigned char *table, const int *ids, const int
        *samples, const float *values, float *y, int images, int channels, int height, int width, ptrdiff_t seed,
        ptrdiff_t stream, int epoch, int padding, ptrdiff_t threshold);
    void (*mix_images_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, const float *pool, const int *partners,
        float *y, int pool_rows, int channels, int height, int width, int top, int bottom, int left, int right, float
        weight);
    void (*mix_targets_rows)(ptrdiff_t begin, ptrdiff_t end, const int *labels, const int *others, float *y, ptrdiff_t
        y_pitch, int classes, float weight);

    // ---- roof.cl: the machine's ceilings ------------------------------------------------------------------------------

    void (*roof_copy_range)(ptrdiff_t begin, ptrdiff_t end, const float *x, float *y);
    void (*roof_fma_range)(ptrdiff_t begin, ptrdiff_t end, float *y, ptrdiff_t steps, float rate);

    // ---- epilogue.inc: what follows a product (OpenCL products do this in their own kernels) --------------------------

    /// z = x + bias; pre = z; y = (accumulate ? y : 0) + activation(z) + residual, for rows [begin, end). bias, pre and
    /// residual may be NULL; y may be x. activation: 0 none, 1 ReLU, 2 GELU, 3 GELU (tanh), 4 SiLU, 5 tanh, 6 sigmoid.
    void (*epilogue_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, int columns,
                          const float *bias, float *pre, ptrdiff_t pre_pitch, const float *residual,
                          ptrdiff_t residual_pitch, int activation, float *y, ptrdiff_t y_pitch, int accumulate);

    // ---- gemm.inc: products; NULL where OpenBLAS is to be preferred ---------------------------------------------------

    /// Floats of workspace of each of `workers`.
    ptrdiff_t (*gemm_slot)(ptrdiff_t workers, const crows_gemm *g);
    /// The shares of workers [begin, end) of `workers`; each has `slot` floats at slots.
    void (*gemm_workers)(ptrdiff_t begin, ptrdiff_t end, ptrdiff_t workers, const crows_gemm *g, float *slots,
                         ptrdiff_t slot);
} crows_table;

/// A part of shared work, 0 … parts − 1.
typedef void (*crows_body)(void *context, ptrdiff_t part);
/// Calls `function` for each part, each on a thread of its own, part 0 on the caller's; returns 1 when all are done. 0, and nothing has
/// been called, where the threads are at work for somebody else (or for whoever calls this), or cannot be started.
int crows_share(int parts, crows_body function, void *context);

/// The fastest table this machine can run. RETORT_CPU_LEVEL=base|v3|v4 lowers the choice (read once).
const crows_table *crows(void);

/// What `crows()` chose: "base", "v3" (AVX2 + FMA) or "v4" (AVX-512).
const char *crows_level(void);

/// The entries unary_<name>_range and unary_<name>_backward_range of the chosen table; NULL for an unknown name.
crows_unary crows_unary_named(const char *name);
crows_unary_backward crows_unary_backward_named(const char *name);
/// The same with x and y in bfloat16.
crows_unary_bf16 crows_unary_bf16_named(const char *name);
crows_unary_backward_bf16 crows_unary_backward_bf16_named(const char *name);

#endif
