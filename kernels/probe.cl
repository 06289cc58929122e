// Asks a device whether it runs a kernel family at all: out[i] = 3 · (255 − i) + 1, reached through what the family is built on.

#if defined(VECTOR) && defined(__OPENCL_VERSION__)
// 16 work-items of one 16-lane fused multiply-add each.
__kernel void probe(__global float *out) {
    int first = (int)get_global_id(0) * 16;
    float16 i = convert_float16(LANE_IDS + first);
    vstore16(fma(255.0f - i, (float16)(3.0f), (float16)(1.0f)), 0, out + first);
}
#endif

#ifdef SIMT
// One work-group of 256 that reverses its items through local memory across a barrier.
__kernel __attribute__((reqd_work_group_size(256, 1, 1))) void probe(__global float *out) {
    __local float shared[256];
    int i = get_local_id(0);
    shared[i] = (float)i;
    barrier(CLK_LOCAL_MEM_FENCE);
    out[i] = fma(shared[255 - i], 3.0f, 1.0f);
}
#endif
