// The two ceilings of a device, measured, not looked up.
//
//   roof_copy   y[i] = x[i]: bytes read and written per second
//   roof_fma    chains of fused multiply-adds that stay in registers: 2 · 16 · LANES · steps operations per item
//   roof_mma    the same of tensor cores' products of 16 × 8 × 16 in bf16: 8 · 4096 · steps operations per warp of 32 items

// Sixteen chains hide the latency of one; they start apart, or the compiler would merge them.
#define FOR_EACH_CHAIN(DO) \
    DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11) DO(12) DO(13) DO(14) DO(15)
#define CHAIN_START(k) real c##k = SPLAT(0.01f * (k + 1));
#define CHAIN_STEP(k) c##k = V_FMA(c##k, factor, half_one);
#define CHAIN_ADD(k) sum += c##k;

#if defined(VECTOR) || defined(SIMT)
INLINE real roof_chains(index_t steps, float rate) {
    const real factor = SPLAT(rate), half_one = SPLAT(0.5f);
    FOR_EACH_CHAIN(CHAIN_START)
    for (index_t s = 0; s < steps; s++) {
        FOR_EACH_CHAIN(CHAIN_STEP)
    }
    real sum = SPLAT(0.0f);
    FOR_EACH_CHAIN(CHAIN_ADD)
    return sum;
}
#endif

#ifdef VECTOR

INLINE void roof_copy_range(index_t begin, index_t end, GLOBAL const float *x, GLOBAL float *y) {
    index_t i = begin;
    for (; i + LANES <= end; i += LANES) STORE(y + i, LOAD(x + i));
    for (; i < end; i++) y[i] = x[i];
}

INLINE void roof_fma_range(index_t begin, index_t end, GLOBAL float *y, index_t steps, float rate) {
    for (index_t i = begin; i < end; i++) y[i] = lane_sum(roof_chains(steps, rate));
}

#endif

#ifdef __OPENCL_VERSION__
#define ROOF_COPY_ARGUMENTS long count, long count_per_item, __global const float *x, long x_at, __global float *y, long y_at
#define ROOF_FMA_ARGUMENTS long count, long count_per_item, __global float *y, long y_at, long steps, float rate
#endif

#if defined(VECTOR) && defined(__OPENCL_VERSION__)
#if WANTED(roof_copy)
__kernel void roof_copy(ROOF_COPY_ARGUMENTS) {
    long begin = (long)get_global_id(0) * count_per_item;
    roof_copy_range(begin, min(count, begin + count_per_item), x + x_at, y + y_at);
}
#endif
#if WANTED(roof_fma)
__kernel void roof_fma(ROOF_FMA_ARGUMENTS) {
    long begin = (long)get_global_id(0) * count_per_item;
    roof_fma_range(begin, min(count, begin + count_per_item), y + y_at, steps, rate);
}
#endif
#endif

#ifdef SIMT
#if WANTED(roof_copy)
__kernel __attribute__((reqd_work_group_size(256, 1, 1))) void roof_copy(ROOF_COPY_ARGUMENTS) {
    // Each group copies 16 KiB at a time, four loads of 16 bytes in flight for each work-item.
    const long block = 16 * 256;
    const long whole = ((x_at | y_at) & 3) == 0 ? count / block * block : 0;
    const int l = (int)get_local_id(0);
    for (long at = get_group_id(0) * block; at < whole; at += get_num_groups(0) * block) {
        __global const float4 *from = (__global const float4 *)(x + x_at + at);
        __global float4 *to = (__global float4 *)(y + y_at + at);
        const float4 a = from[l], b = from[l + 256], c = from[l + 512], d = from[l + 768];
        to[l] = a;
        to[l + 256] = b;
        to[l + 512] = c;
        to[l + 768] = d;
    }
    for (long i = whole + get_global_id(0); i < count; i += get_global_size(0)) y[y_at + i] = x[x_at + i];
}
#endif
#if WANTED(roof_fma)
__kernel __attribute__((reqd_work_group_size(256, 1, 1))) void roof_fma(ROOF_FMA_ARGUMENTS) {
    for (long i = get_global_id(0); i < count; i += get_global_size(0)) y[y_at + i] = roof_chains(steps, rate);
}
#endif
#if defined(NVPTX) && WANTED(roof_mma)
__kernel __attribute__((reqd_work_group_size(256, 1, 1))) void roof_mma(ROOF_FMA_ARGUMENTS) {
    // Numbers of 1 to 2, none of them round: what is multiplied changes what the card draws and how fast it runs.
    const uint a = ((uint)get_global_id(0) & 0x7F) | 0x3FAA3F95u, b = a ^ 0x00110009u;
    float4 sum[8];
#pragma unroll
    for (int chain = 0; chain < 8; chain++) sum[chain] = rate;
    for (index_t s = 0; s < steps; s++) {
#pragma unroll
        for (int chain = 0; chain < 8; chain++)
            __asm__ volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                             "{%0, %1, %2, %3}, {%4, %5, %4, %5}, {%5, %4}, {%0, %1, %2, %3};"
                             : "+f"(sum[chain].x), "+f"(sum[chain].y), "+f"(sum[chain].z), "+f"(sum[chain].w)
                             : "r"(a), "r"(b));
    }
    float4 total = 0.0f;
#pragma unroll
    for (int chain = 0; chain < 8; chain++) total += sum[chain];
    y[y_at + get_global_id(0)] = total.x + total.y + total.z + total.w;
}
#endif
#endif
