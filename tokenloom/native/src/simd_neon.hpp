// 16 lanes as Arm's Advanced SIMD: four registers, with the dot product of Armv8.2. See kernels.inl.
#pragma once
#include <arm_neon.h>
#include <cstdint>

namespace {
struct V {
  struct F { float32x4_t v[4]; };
  struct I { int32x4_t v[4]; };
  template <class T, class Op> static T each(Op op) {
    T r;
    for (int i = 0; i < 4; i++) r.v[i] = op(i);
    return r;
  }
  static F zero() { return set1(0); }
  static F set1(float x) { return each<F>([&](int) { return vdupq_n_f32(x); }); }
  static F load(const float* p) { return each<F>([&](int i) { return vld1q_f32(p + 4 * i); }); }
  static void store(float* p, F x) {
    for (int i = 0; i < 4; i++) vst1q_f32(p + 4 * i, x.v[i]);
  }
  static F add(F a, F b) { return each<F>([&](int i) { return vaddq_f32(a.v[i], b.v[i]); }); }
  static F sub(F a, F b) { return each<F>([&](int i) { return vsubq_f32(a.v[i], b.v[i]); }); }
  static F mul(F a, F b) { return each<F>([&](int i) { return vmulq_f32(a.v[i], b.v[i]); }); }
  static F div(F a, F b) { return each<F>([&](int i) { return vdivq_f32(a.v[i], b.v[i]); }); }
  static F fma(F a, F b, F c) { return each<F>([&](int i) { return vfmaq_f32(c.v[i], a.v[i], b.v[i]); }); }
  static F max(F a, F b) { return each<F>([&](int i) { return vmaxq_f32(a.v[i], b.v[i]); }); }
  static F min(F a, F b) { return each<F>([&](int i) { return vminq_f32(a.v[i], b.v[i]); }); }
  static F abs(F a) { return each<F>([&](int i) { return vabsq_f32(a.v[i]); }); }
  static F load_half(const uint16_t* p) {
    return each<F>([&](int i) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i))); });
  }
  static void store_half(uint16_t* p, F x) {
    for (int i = 0; i < 4; i++) vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(x.v[i])));
  }
  static F load_bf16(const uint16_t* p) {
    return each<F>([&](int i) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16)); });
  }
  static I to_int(F x) { return each<I>([&](int i) { return vcvtnq_s32_f32(x.v[i]); }); }
  static F to_float(I x) { return each<F>([&](int i) { return vcvtq_f32_s32(x.v[i]); }); }
  static F exp2i(I n) {
    return each<F>([&](int i) { return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n.v[i], vdupq_n_s32(127)), 23)); });
  }
  static void store_i8(int8_t* p, I x) {
    int16x8_t a = vcombine_s16(vmovn_s32(x.v[0]), vmovn_s32(x.v[1])), b = vcombine_s16(vmovn_s32(x.v[2]), vmovn_s32(x.v[3]));
    vst1q_s8(p, vcombine_s8(vmovn_s16(a), vmovn_s16(b)));
  }
  static int sum_int(I x) {
    return vaddvq_s32(vaddq_s32(vaddq_s32(x.v[0], x.v[1]), vaddq_s32(x.v[2], x.v[3])));
  }
  static float reduce(F x) {
    float32x4_t a = vaddq_f32(vaddq_f32(x.v[0], x.v[2]), vaddq_f32(x.v[1], x.v[3]));
    float32x2_t b = vadd_f32(vget_low_f32(a), vget_high_f32(a));
    return vget_lane_f32(b, 0) + vget_lane_f32(b, 1);
  }
  static float reduce_max(F x) {
    return vmaxvq_f32(vmaxq_f32(vmaxq_f32(x.v[0], x.v[1]), vmaxq_f32(x.v[2], x.v[3])));
  }
  static F keep(F x, int from, int to, float other) {
    float v[16];
    store(v, x);
    for (int i = 0; i < 16; i++)
      if (i < from || i >= to) v[i] = other;
    return load(v);
  }
  static float half(uint16_t h) {
    return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(h))), 0);
  }
};
}  // namespace
