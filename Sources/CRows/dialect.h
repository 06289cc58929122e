// The words of kernels/prelude.clh in C: with them the row bodies of kernels/*.cl compile for the CPU backend too, so
// both CPU paths run one text. Vectors never cross a function that is not inlined (their calling convention depends
// on the target attribute), hence always_inline everywhere.
#ifndef RETORT_DIALECT_H
#define RETORT_DIALECT_H

#include <math.h>
#include <stddef.h>
#include <string.h>

// As in the prelude: what is to be fused is written fma.
#pragma STDC FP_CONTRACT OFF

#define VECTOR 1
#define CROWS 1
#define GLOBAL
#define INLINE static inline __attribute__((always_inline, unused))
typedef ptrdiff_t index_t;

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef float real __attribute__((ext_vector_type(16)));
typedef int mask_t __attribute__((ext_vector_type(16)));
typedef real float16;
typedef mask_t int16;
typedef float real8 __attribute__((ext_vector_type(8)));
typedef float real4 __attribute__((ext_vector_type(4)));
typedef float real2 __attribute__((ext_vector_type(2)));
// Loads and stores are element-aligned: rows begin anywhere.
typedef float real_unaligned __attribute__((ext_vector_type(16), aligned(4)));
typedef int mask_unaligned __attribute__((ext_vector_type(16), aligned(4)));

typedef uint bits_t __attribute__((ext_vector_type(16)));  // unsigned lanes
typedef ulong wide_bits __attribute__((ext_vector_type(16)));
typedef ushort ushort_lanes __attribute__((ext_vector_type(16)));
typedef ushort ushort_unaligned __attribute__((ext_vector_type(16), aligned(2)));
typedef uchar uchar_unaligned __attribute__((ext_vector_type(16), aligned(1)));

#define LANES 16
#define MAKE_REAL(...) ((real){__VA_ARGS__})
#define LOAD(p) ((real)(*(const real_unaligned *)(p)))
#define STORE(p, v) (*(real_unaligned *)(p) = (v))
#define LOAD_INT(p) ((mask_t)(*(const mask_unaligned *)(p)))
#define STORE_INT(p, v) (*(mask_unaligned *)(p) = (v))
// 16 narrow unsigned integers, widened; the store keeps the low bits.
#define LOAD_USHORT(p) __builtin_convertvector(*(const ushort_unaligned *)(p), mask_t)
#define LOAD_UCHAR(p) __builtin_convertvector(*(const uchar_unaligned *)(p), mask_t)
#define STORE_USHORT(p, v) (*(ushort_unaligned *)(p) = __builtin_convertvector((v), ushort_lanes))
#define PREFETCH(p) __builtin_prefetch(p)
#define AS_BITS(v) __builtin_bit_cast(bits_t, (v))
#define BITS_AS_INT(v) __builtin_bit_cast(mask_t, (v))
#define WIDEN(v) __builtin_convertvector((bits_t)(v), wide_bits)
#define MUL_HIGH(a, b) __builtin_convertvector((WIDEN(a) * WIDEN(b)) >> 32, bits_t)
#define AS_INT(v) __builtin_bit_cast(mask_t, (v))
#define AS_REAL(v) __builtin_bit_cast(real, (v))
// Masks are comparisons: all bits of a lane, or none. `?:` on vectors lets the compiler see minima, maxima and masked
// instructions.
#define SELECT(no, yes, mask) ((mask) ? (real)(yes) : (real)(no))
#define SELECT_INT(no, yes, mask) ((mask) ? (mask_t)(yes) : (mask_t)(no))
#define LANE_ALL(mask) (__builtin_reduce_and((mask_t)(mask)) != 0)
#define TO_INT(v) __builtin_convertvector((v), mask_t)
#define TO_REAL(v) __builtin_convertvector((v), real)
#define LANE_IDS ((mask_t){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})

#define SPLAT(x) ((real)(x))
#define FLOAT_OF_BITS(u) __builtin_bit_cast(float, (uint)(u))
#define BITS_OF_FLOAT(f) __builtin_bit_cast(uint, (float)(f))
#define V_MAX(a, b) __builtin_elementwise_max((real)(a), (real)(b))
#define V_MIN(a, b) __builtin_elementwise_min((real)(a), (real)(b))
#define V_ABS(a) __builtin_elementwise_abs(a)
#define V_SQRT(a) __builtin_elementwise_sqrt(a)
#if defined(__x86_64__) && !defined(CROWS_LEVEL)
// SSE2 has neither fused multiply-add nor rounding: the library calls that clang would emit for each lane cost 20 ns.
// Two roundings instead of one; adding and subtracting 1.5 · 2^23 rounds what is small enough to have a fraction.
#define V_FMA(a, b, c) ((real)(a) * (real)(b) + (real)(c))
#define S_FMA(a, b, c) ((float)(a) * (float)(b) + (float)(c))
INLINE real round_lanes(real a) {
    return SELECT(a, (a + SPLAT(12582912.0f)) - SPLAT(12582912.0f), V_ABS(a) < SPLAT(4194304.0f));
}
INLINE real floor_lanes(real a) {
    real r = round_lanes(a);
    return r - SELECT(SPLAT(0.0f), SPLAT(1.0f), r > a);
}
#define V_RINT(a) round_lanes(a)
#define V_FLOOR(a) floor_lanes(a)
#else
#define V_FMA(a, b, c) __builtin_elementwise_fma((real)(a), (real)(b), (real)(c))
#define S_FMA(a, b, c) fmaf((a), (b), (c))
#define V_RINT(a) __builtin_elementwise_rint(a)
#define V_FLOOR(a) __builtin_elementwise_floor(a)
#endif
#define S_EXP(a) expf(a)
#define S_LOG(a) logf(a)
#define S_LOG1P(a) log1pf(a)
#define S_SQRT(a) __builtin_elementwise_sqrt((float)(a))
#define S_MAX(a, b) fmaxf((a), (b))
#define S_MIN(a, b) fminf((a), (b))

INLINE float lane_sum(real v) {
    real8 a = v.lo + v.hi;
    real4 b = a.lo + a.hi;
    real2 c = b.lo + b.hi;
    return c.x + c.y;
}
INLINE float lane_max(real v) {
    real8 a = __builtin_elementwise_max(v.lo, v.hi);
    real4 b = __builtin_elementwise_max(a.lo, a.hi);
    real2 c = __builtin_elementwise_max(b.lo, b.hi);
    return c.x > c.y ? c.x : c.y;
}
INLINE real8 even_lanes(real v) { return v.even; }
INLINE real8 odd_lanes(real v) { return v.odd; }
// p · 2^n for whole n in [-126, 128]; n = -126 gives 0, so that nothing subnormal comes about. NaN stays NaN.
INLINE real v_scale(real p, real n) {
#if CROWS_LEVEL >= 4
    __mmask16 kept = _mm512_cmp_ps_mask((__m512)n, (__m512)SPLAT(-126.0f), _CMP_NEQ_UQ);
    return (real)_mm512_maskz_scalef_ps(kept, (__m512)p, (__m512)n);
#else
    return (p + p) * AS_REAL((TO_INT(n) + 126) << 23);
#endif
}
// The first `n` lanes (1…15) of a row's tail. With AVX a masked instruction; memcpy of unknown length would be a call.
#if CROWS_LEVEL >= 4
INLINE real load_part(const float *p, int n, float fill) {
    return (real)_mm512_mask_loadu_ps((__m512)SPLAT(fill), (__mmask16)((1u << n) - 1), p);
}
INLINE void store_part(float *p, real v, int n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v); }
#elif CROWS_LEVEL == 3
INLINE real load_part(const float *p, int n, float fill) {
    mask_t wanted = LANE_IDS < (mask_t)n;
    real t;
    t.lo = (real8)_mm256_maskload_ps(p, (__m256i)wanted.lo);
    t.hi = (real8)_mm256_maskload_ps(p + 8, (__m256i)wanted.hi);
    return SELECT(SPLAT(fill), t, wanted);
}
// Pieces of 8, 4, 2 and 1: AMD's masked AVX2 stores take a dozen cycles and more, and rows of a kind take one path.
INLINE void store_part(float *p, real v, int n) {
    real8 rest = v.lo;
    if (n & 8) {
        memcpy(p, &rest, sizeof rest);
        rest = v.hi;
        p += 8;
    }
    real4 four = rest.lo;
    if (n & 4) {
        memcpy(p, &four, sizeof four);
        four = rest.hi;
        p += 4;
    }
    real2 two = four.lo;
    if (n & 2) {
        memcpy(p, &two, sizeof two);
        two = four.hi;
        p += 2;
    }
    if (n & 1) *p = two.x;
}
#else
INLINE real load_part(const float *p, int n, float fill) {
    real t = SPLAT(fill);
    memcpy(&t, p, (size_t)n * sizeof(float));
    return t;
}
INLINE void store_part(float *p, real v, int n) { memcpy(p, &v, (size_t)n * sizeof(float)); }
#endif

#endif
