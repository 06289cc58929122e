// The text of every file in this folder, embedded at compile time. One line per file; a test holds the list equal to the folder.
#include "CKernels.h"

#pragma clang diagnostic ignored "-Wc23-extensions"

static const char prelude_clh[] = {
#embed "prelude.clh" suffix(, )
    0};
static const char math_clh[] = {
#embed "math.clh" suffix(, )
    0};
static const char attention_cl[] = {
#embed "attention.cl" suffix(, )
    0};
static const char augment_cl[] = {
#embed "augment.cl" suffix(, )
    0};
static const char conv_cl[] = {
#embed "conv.cl" suffix(, )
    0};
static const char batchnorm_cl[] = {
#embed "batchnorm.cl" suffix(, )
    0};
static const char copy_cl[] = {
#embed "copy.cl" suffix(, )
    0};
static const char cross_entropy_cl[] = {
#embed "cross_entropy.cl" suffix(, )
    0};
static const char divergence_cl[] = {
#embed "divergence.cl" suffix(, )
    0};
static const char dropout_cl[] = {
#embed "dropout.cl" suffix(, )
    0};
static const char elementwise_cl[] = {
#embed "elementwise.cl" suffix(, )
    0};
static const char gather_cl[] = {
#embed "gather.cl" suffix(, )
    0};
static const char gemm_cl[] = {
#embed "gemm.cl" suffix(, )
    0};
static const char gemv_cl[] = {
#embed "gemv.cl" suffix(, )
    0};
static const char layernorm_cl[] = {
#embed "layernorm.cl" suffix(, )
    0};
static const char optimizer_cl[] = {
#embed "optimizer.cl" suffix(, )
    0};
static const char pool_cl[] = {
#embed "pool.cl" suffix(, )
    0};
static const char probe_cl[] = {
#embed "probe.cl" suffix(, )
    0};
static const char reduce_cl[] = {
#embed "reduce.cl" suffix(, )
    0};
static const char resize_cl[] = {
#embed "resize.cl" suffix(, )
    0};
static const char rmsnorm_cl[] = {
#embed "rmsnorm.cl" suffix(, )
    0};
static const char roof_cl[] = {
#embed "roof.cl" suffix(, )
    0};
static const char rope_cl[] = {
#embed "rope.cl" suffix(, )
    0};
static const char sampling_cl[] = {
#embed "sampling.cl" suffix(, )
    0};
static const char softmax_cl[] = {
#embed "softmax.cl" suffix(, )
    0};
static const char sparse_divergence_cl[] = {
#embed "sparse_divergence.cl" suffix(, )
    0};
static const char topk_cl[] = {
#embed "topk.cl" suffix(, )
    0};

static const ckernels_source sources[] = {
    {"prelude.clh", prelude_clh, sizeof prelude_clh - 1},
    {"math.clh", math_clh, sizeof math_clh - 1},
    {"attention.cl", attention_cl, sizeof attention_cl - 1},
    {"augment.cl", augment_cl, sizeof augment_cl - 1},
    {"conv.cl", conv_cl, sizeof conv_cl - 1},
    {"batchnorm.cl", batchnorm_cl, sizeof batchnorm_cl - 1},
    {"copy.cl", copy_cl, sizeof copy_cl - 1},
    {"cross_entropy.cl", cross_entropy_cl, sizeof cross_entropy_cl - 1},
    {"divergence.cl", divergence_cl, sizeof divergence_cl - 1},
    {"dropout.cl", dropout_cl, sizeof dropout_cl - 1},
    {"elementwise.cl", elementwise_cl, sizeof elementwise_cl - 1},
    {"gather.cl", gather_cl, sizeof gather_cl - 1},
    {"gemm.cl", gemm_cl, sizeof gemm_cl - 1},
    {"gemv.cl", gemv_cl, sizeof gemv_cl - 1},
    {"layernorm.cl", layernorm_cl, sizeof layernorm_cl - 1},
    {"optimizer.cl", optimizer_cl, sizeof optimizer_cl - 1},
    {"pool.cl", pool_cl, sizeof pool_cl - 1},
    {"probe.cl", probe_cl, sizeof probe_cl - 1},
    {"reduce.cl", reduce_cl, sizeof reduce_cl - 1},
    {"resize.cl", resize_cl, sizeof resize_cl - 1},
    {"rmsnorm.cl", rmsnorm_cl, sizeof rmsnorm_cl - 1},
    {"roof.cl", roof_cl, sizeof roof_cl - 1},
    {"rope.cl", rope_cl, sizeof rope_cl - 1},
    {"sampling.cl", sampling_cl, sizeof sampling_cl - 1},
    {"softmax.cl", softmax_cl, sizeof softmax_cl - 1},
    {"sparse_divergence.cl", sparse_divergence_cl, sizeof sparse_divergence_cl - 1},
    {"topk.cl", topk_cl, sizeof topk_cl - 1},
};

const ckernels_source *ckernels_sources(void) { return sources; }
size_t ckernels_source_count(void) { return sizeof sources / sizeof sources[0]; }
