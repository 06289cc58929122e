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

// The unary functions; those with a parameter p: leaky_relu (slope), elu (alpha), smooth_l1 (beta), clamp_min (bound).
#define CROWS_FOR_EACH_FUNCTION(DO) \
    DO(exp) DO(log) DO(sqrt) DO(rsqrt) DO(square) DO(abs) DO(neg) DO(reciprocal) DO(relu) DO(leaky_relu) DO(elu) \
    DO(relu6) DO(hardswish) DO(sigmoid) DO(tanh) DO(silu) DO(quick_gelu) DO(gelu_erf) DO(gelu_tanh) DO(softplus) \
    DO(logsigmoid) DO(smooth_l1) DO(clamp_min)

/// loss [rows] = row_weight · scale · (soft_scale · D(P, Q) + hard_scale · CE), divergence [rows] = soft_part · D,
/// cross_entropy [rows] = CE, gradient [rows, classes] = d(Σ loss) / d student (may be student itself), with
/// P = softmax(teacher / temperature), Q = softmax(student / temperature), CE = -ln softmax(student)[label].
/// `blend` is the beta or lambda of the kind. write_gradient: 0 no, 1 overwrite, 2 add.
typedef void (*crows_divergence)(ptrdiff_t begin, ptrdiff_t end, const float *student, ptrdiff_t student_pitch,
                                 const float *teacher, ptrdiff_t teacher_pitch, const int *labels,
                                 const float *row_weight, float *loss, float *divergence, float *cross_entropy,
                                 float *gradient, ptrdiff_t gradient_pitch, int classes, int has_labels,
                                 int ignore_index, int has_row_weight, int write_gradient, float temperature,
                                 float blend, float soft_scale, float hard_scale, float soft_part, float scale);

typedef struct {
    // ---- copy.cl: moving and converting elements --------------------------------------------------------------------

    /// y[i] = value for i in [begin, end).
    void (*fill_range)(ptrdiff_t begin, ptrdiff_t end, float *y, float value);

    /// y[i0 … i5] = (accumulate ? y : 0) + x[i0 … i5] over the index space sizes[6], last dimension fastest; strides in
    /// elements, any sign; [begin, end) counts elements of the index space.
    void (*strided_copy_range)(ptrdiff_t begin, ptrdiff_t end, const float *x, float *y, const ptrdiff_t *sizes,
                               const ptrdiff_t *x_strides, const ptrdiff_t *y_strides, int accumulate);

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

// ---- elementwise.cl -------------------------------------------------------------------------------------------------
#define CROWS_DECLARE(fn) crows_unary unary_##fn##_range; crows_unary_backward unary_##fn##_backward_range;
    CROWS_FOR_EACH_FUNCTION(CROWS_DECLARE)
#undef CROWS_DECLARE

    /// silu(gate) · up and gelu_tanh(gate) · up.
    crows_gated swiglu_range, geglu_tanh_range;
    crows_gated_backward swiglu_backward_range, geglu_tanh_backward_range;

    /// y = (accumulate ? y : 0) + a·x + b, ranges as for crows_unary.
    void (*affine_range)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, float *y, ptrdiff_t y_pitch,
                         ptrdiff_t columns, int accumulate, float a, float b);

    /// y[i] = a·x[i] + b·y[i]; y is not read when b = 0.
    void (*axpby_range)(ptrdiff_t begin, ptrdiff_t end, const float *x, float *y, float a, float b);

    crows_binary binary_add_range, binary_sub_range, binary_mul_range, binary_div_range;

    /// db = (accumulate ? db : 0) - dy·a / b²: the derivative of a / b by b before the sum over broadcast dimensions.
    /// a and b as for crows_binary, dy and db contiguous.
    void (*binary_div_backward_b_range)(ptrdiff_t begin, ptrdiff_t end, const float *a, const float *b, const float *dy,
                                        float *db, const ptrdiff_t *sizes, const ptrdiff_t *a_strides,
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

    // ---- softmax.cl: softmax over rows ------------------------------------------------------------------------------

    /// y = softmax(x / temperature) for rows of x [rows, columns]; -inf gives 0. y may be x.
    void (*softmax_forward_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, float *y,
                                 ptrdiff_t y_pitch, int columns, float temperature);

    /// y = ln softmax(x / temperature). y may be x.
    void (*log_softmax_forward_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, float *y,
                                     ptrdiff_t y_pitch, int columns, float temperature);

    /// dx = (accumulate ? dx : 0) + y (dy - Σ dy y) / temperature, y the forward's result [rows, columns]. dx may be
    /// dy.
    void (*softmax_backward_rows)(ptrdiff_t begin, ptrdiff_t end, const float *y, ptrdiff_t y_pitch,
                                  const float *dy, ptrdiff_t dy_pitch, float *dx, ptrdiff_t dx_pitch, int columns,
                                  int accumulate, float temperature);

    /// dx = (accumulate ? dx : 0) + (dy - e^y Σ dy) / temperature, y the forward's result. dx may be dy.
    void (*log_softmax_backward_rows)(ptrdiff_t begin, ptrdiff_t end, const float *y, ptrdiff_t y_pitch,
                                      const float *dy, ptrdiff_t dy_pitch, float *dx, ptrdiff_t dx_pitch,
                                      int columns, int accumulate, float temperature);

    // ---- cross_entropy.cl: cross entropy with its gradient, token weights -------------------------------------------

    /// loss [rows] and gradient [rows, classes] for int32 targets, as PyTorch with class weights, ignore_index and
    /// label smoothing, times row_weight · scale. write_gradient: 0 no, 1 overwrite, 2 add. gradient may be logits.
    void (*cross_entropy_rows)(ptrdiff_t begin, ptrdiff_t end, const float *logits, ptrdiff_t logits_pitch,
                               const int *target, const float *class_weight, const float *row_weight, float *loss,
                               float *gradient, ptrdiff_t gradient_pitch, int classes, int has_class_weight,
                               int has_row_weight, int ignore_index, int write_gradient, float label_smoothing,
                               float scale);

    /// The same for target probabilities [rows, classes].
    void (*cross_entropy_soft_rows)(ptrdiff_t begin, ptrdiff_t end, const float *logits, ptrdiff_t logits_pitch,
                                    const float *target, ptrdiff_t target_pitch, const float *class_weight,
                                    const float *row_weight, float *loss, float *gradient, ptrdiff_t gradient_pitch,
                                    int classes, int has_class_weight, int has_row_weight, int write_gradient,
                                    float label_smoothing, float scale);

    /// partials [ceil(rows / 1024)] = Σ of class weights (or 1) over the labels of a block that are not ignore_index.
    void (*token_weight_sums_blocks)(ptrdiff_t begin, ptrdiff_t end, const int *labels, const float *class_weight,
                                     float *partials, ptrdiff_t rows, int classes, int has_class_weight,
                                     int ignore_index);

    /// row_weight [rows] = 1 / Σ partials for labels that are not ignore_index, else 0. Every call adds up all the
    /// partials.
    void (*token_weights_rows)(ptrdiff_t begin, ptrdiff_t end, const int *labels, const float *partials,
                               float *row_weight, int blocks, int ignore_index);

    // ---- divergence.cl: distillation losses with their gradients ----------------------------------------------------

    /// See crows_divergence and kernels/divergence.cl for each kind's formula.
    crows_divergence divergence_forward_kl_rows;
    crows_divergence divergence_forward_ce_rows;
    crows_divergence divergence_reverse_kl_rows;
    crows_divergence divergence_jsd_rows;
    crows_divergence divergence_jsd_continuous_rows;
    crows_divergence divergence_skew_kl_rows;
    crows_divergence divergence_skew_ce_rows;
    crows_divergence divergence_skew_reverse_kl_rows;
    crows_divergence divergence_tvd_rows;
    crows_divergence divergence_symmetric_rows;

    // ---- layernorm.cl: layer normalisation --------------------------------------------------------------------------

    /// y = (x - mean) · rstd · weight + bias for rows of x [rows, columns]; saves mean and rstd [rows].
    void (*layernorm_forward_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch,
                                   const float *weight, const float *bias, float *y, ptrdiff_t y_pitch, float *mean,
                                   float *rstd, int columns, int has_weight, int has_bias, float epsilon);

    /// dx = (accumulate ? dx : 0) + the gradient of layernorm_forward_rows with respect to x.
    void (*layernorm_backward_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch,
                                    const float *weight, const float *mean, const float *rstd, const float *dy,
                                    ptrdiff_t dy_pitch, float *dx, ptrdiff_t dx_pitch, int columns, int has_weight,
                                    int accumulate);

    /// partials [ceil(rows / 64), 2, columns]: Σ dy · n and Σ dy over blocks of 64 rows.
    void (*layernorm_partials_blocks)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch,
                                      const float *mean, const float *rstd, const float *dy, ptrdiff_t dy_pitch,
                                      float *partials, ptrdiff_t rows, int columns);

    /// dweight and dbias [columns] from the partials, for columns [begin, end).
    void (*layernorm_sums_range)(ptrdiff_t begin, ptrdiff_t end, const float *partials, float *dweight,
                                 float *dbias, int blocks, int columns, int want_weight, int want_bias,
                                 int accumulate);

    // ---- reduce.cl: reductions over [outer, n, inner] ---------------------------------------------------------------

    /// y [rows] = (accumulate ? y : 0) + scale · Σ x over rows of x [rows, n].
    void (*sum_rows_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, float *y, ptrdiff_t n,
                          int accumulate, float scale);

    /// partials [rows, blocks] = Σ over blocks of 4096 elements, blocks = ceil(n / 4096); items are rows · blocks.
    void (*sum_row_blocks_items)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch,
                                 float *partials, ptrdiff_t n, ptrdiff_t blocks);

    /// y [outer, blocks, inner] = (accumulate ? y : 0) + scale · Σ over blocks of block_rows rows of x [outer, n,
    /// inner]; items are outer · ceil(n / block_rows) · ceil(inner / 1024).
    void (*sum_columns_items)(ptrdiff_t begin, ptrdiff_t end, const float *x, float *y, ptrdiff_t n,
                              ptrdiff_t inner, ptrdiff_t block_rows, int accumulate, float scale);

    /// y [rows] = Σ (x - mean)² / (n - correction), and mean [rows].
    void (*variance_rows_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, float *y,
                               float *mean, ptrdiff_t n, float correction);

    /// The same over the middle of x [outer, n, inner]; items (here and in *_columns_items below) are outer ·
    /// ceil(inner / 64).
    void (*variance_columns_items)(ptrdiff_t begin, ptrdiff_t end, const float *x, float *y, float *mean,
                                   ptrdiff_t n, ptrdiff_t inner, float correction);

    /// y [rows] = the largest (smallest) element, index [rows] = its first position. NaN wins.
    void (*extreme_rows_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, float *y,
                              int *index, ptrdiff_t n, int smallest);

    /// The same over the middle of x [outer, n, inner].
    void (*extreme_columns_items)(ptrdiff_t begin, ptrdiff_t end, const float *x, float *y, int *index,
                                  ptrdiff_t n, ptrdiff_t inner, int smallest);

    /// y [rows] = ln Σ e^x.
    void (*logsumexp_rows_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, float *y,
                                int n);

    /// The same over the middle of x [outer, n, inner].
    void (*logsumexp_columns_items)(ptrdiff_t begin, ptrdiff_t end, const float *x, float *y, ptrdiff_t n,
                                    ptrdiff_t inner);

    /// y = (accumulate ? y : 0) + running sums along rows, from the end when reverse.
    void (*cumsum_rows_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, float *y,
                             ptrdiff_t y_pitch, ptrdiff_t n, int reverse, int accumulate);

    /// The same along the middle of x [outer, n, inner].
    void (*cumsum_columns_items)(ptrdiff_t begin, ptrdiff_t end, const float *x, float *y, ptrdiff_t n,
                                 ptrdiff_t inner, int reverse, int accumulate);

    /// dx [outer, n, inner] from dy [outer, inner]: kind 0 scale · dy, 1 scale · dy · e^(x - statistic), 2 scale · dy ·
    /// (x - statistic). Rows are outer · n of length inner, or outer of length n when inner is 1.
    void (*reduce_backward_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch,
                                 const float *statistic, const float *dy, float *dx, ptrdiff_t dx_pitch,
                                 ptrdiff_t n, ptrdiff_t inner, int kind, int accumulate, float scale);

    /// dx = (accumulate ? dx : 0) + dy where the saved index is, rows as for reduce_backward_rows.
    void (*extreme_backward_rows)(ptrdiff_t begin, ptrdiff_t end, const int *index, const float *dy, float *dx,
                                  ptrdiff_t dx_pitch, ptrdiff_t n, ptrdiff_t inner, int accumulate);

    // ---- topk.cl: selection and sorting -----------------------------------------------------------------------------

    /// The k largest of each row in descending order, values and indices [rows, k]; the lower index first among equals.
    void (*topk_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, float *values,
                      int *indices, int columns, int k);

    /// Rows sorted in descending order, stable, with indices; the work buffers are [rows, columns] too.
    void (*sort_descending_rows)(ptrdiff_t begin, ptrdiff_t end, const float *x, ptrdiff_t x_pitch, float *values,
                                 int *indices, float *work_values, int *work_indices, int columns);

    /// dx [rows, columns] = (accumulate ? dx : 0) + dy [rows, k] at the saved indices.
    void (*topk_backward_rows)(ptrdiff_t begin, ptrdiff_t end, const float *dy, const int *indices, float *dx,
                               ptrdiff_t dx_pitch, int columns, int k, int accumulate);

    // ---- gather.cl: rows picked by index ----------------------------------------------------------------------------

    /// y[i, :] = w[ids[i], :], w [table_rows, columns]; NaN for an id outside the table.
    void (*gather_rows_rows)(ptrdiff_t begin, ptrdiff_t end, const float *w, ptrdiff_t w_pitch, const int *ids,
                             float *y, ptrdiff_t y_pitch, int columns, int table_rows);

    /// y[i] = x[ids[i]]; -1 for an id outside [0, table_rows).
    void (*gather_ints_range)(ptrdiff_t begin, ptrdiff_t end, const int *x, const int *ids, int *y,
                              int table_rows);

    /// dw[distinct[d], :] = (accumulate ? dw : 0) + Σ dy[order[j], :], j in starts[d] ..< starts[d + 1], in order;
    /// items are distinct ids · ceil(columns / 256). The row padding_id gets 0.
    void (*scatter_rows_items)(ptrdiff_t begin, ptrdiff_t end, const float *dy, ptrdiff_t dy_pitch,
                               const int *order, const int *distinct, const int *starts, float *dw,
                               ptrdiff_t dw_pitch, int columns, int table_rows, int padding_id, int accumulate);
} crows_table;

/// The fastest table this machine can run. RETORT_CPU_LEVEL=base|v3|v4 lowers the choice (read once).
const crows_table *crows(void);

/// What `crows()` chose: "base", "v3" (AVX2 + FMA) or "v4" (AVX-512).
const char *crows_level(void);

/// The entries unary_<name>_range and unary_<name>_backward_range of the chosen table; NULL for an unknown name.
crows_unary crows_unary_named(const char *name);
crows_unary_backward crows_unary_backward_named(const char *name);

#endif
