// Asks a device whether it runs a kernel family at all: out[i] = 3 · (255 − i) + 1, reached through what the family is built on.

#if defined(VECTOR) && defined(__OPENCL_VERSION__)
// 16 work-items of one 16-lane fused multiply-add each.
__kernel void probe(__global float *out) {
    int first = (int)get_global_id(0) * 16;
    float16 i = convert_float16(LANE_IDS + first);
    vstore16(fma(255.0f - i, (float16)(3.0f), (float16)(1.0f)), 0, out + first);
}
#endif

#ifdef NVPTX
// Two warps of a work-group multiply 16 x 16 by 16 x 8 in bf16 on tensor cores: row r of A is (255 - base - 8 r, 1, 1, 0 ...), column c of B
// (3, -3 c, 1, 0 ...). bf16 holds whole numbers up to 256. The results pass through the last of 64 KiB of local memory, which is what
// gemm_matrix takes at most and more than such devices say they have.
#define PROBE_LOCAL (64 * 256)
__kernel __attribute__((reqd_work_group_size(256, 1, 1))) void probe(__global float *out) {
    __local float shared[PROBE_LOCAL];
    const int item = get_local_id(0), lane = item % 32, base = item / 32 * 128;
    const int row = lane / 4, pair = lane % 4;
    for (int i = item; i < PROBE_LOCAL; i += 256)
        shared[i] = 0.0f;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item < 64) {
        const uint one = bf16_of_float(1.0f);
        const uint upper = bf16_of_float((float)(255 - base - 8 * row)), lower = bf16_of_float((float)(191 - base - 8 * row));
        const uint a0 = pair == 0 ? upper | one << 16 : pair == 1 ? one : 0;
        const uint a1 = pair == 0 ? lower | one << 16 : pair == 1 ? one : 0;
        const uint b0 = pair == 0 ? bf16_of_float(3.0f) | (uint)bf16_of_float(-3.0f * row) << 16 : pair == 1 ? one : 0;
        float c0 = 0.0f, c1 = 0.0f, c2 = 0.0f, c3 = 0.0f;
        __asm__ volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                         "{%0, %1, %2, %3}, {%4, %5, %6, %6}, {%7, %6}, {%0, %1, %2, %3};"
                         : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3)
                         : "r"(a0), "r"(a1), "r"(0), "r"(b0));
        __local float *to = shared + PROBE_LOCAL - 256 + base + row * 8 + pair * 2;
        to[0] = c0;
        to[1] = c1;
        to[64] = c2;
        to[65] = c3;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    out[item] = shared[PROBE_LOCAL - 256 + item];
}
#elif defined(SIMT)
// One work-group of 256 that reverses its items through local memory across a barrier.
__kernel __attribute__((reqd_work_group_size(256, 1, 1))) void probe(__global float *out) {
    __local float shared[256];
    int i = get_local_id(0);
    shared[i] = (float)i;
    barrier(CLK_LOCAL_MEM_FENCE);
    out[i] = fma(shared[255 - i], 3.0f, 1.0f);
}
#endif
