// Four weight rows side by side, one a lane, as Arm's Advanced SIMD with the dot product of Armv8.2.
#pragma once
#include <arm_neon.h>
#include <cstddef>
#include <cstdint>

namespace {
struct L {
  static constexpr int W = 4;
  using F = float32x4_t;
  using I = int32x4_t;
  using U = uint32x4_t;
  static F zero() { return vdupq_n_f32(0); }
  static F set1(float x) { return vdupq_n_f32(x); }
  static F mul(F a, F b) { return vmulq_f32(a, b); }
  static F add(F a, F b) { return vaddq_f32(a, b); }
  static F fma(F a, F b, F c) { return vfmaq_f32(c, a, b); }
  static F neg(F a) { return vnegq_f32(a); }
  static void store(float* p, F x) { vst1q_f32(p, x); }
  static F load(const float* p) { return vld1q_f32(p); }
  static void keep(void* p, U x) { vst1q_u32((uint32_t*)p, x); }
  static U kept(const void* p) { return vld1q_u32((const uint32_t*)p); }
  static I none() { return vdupq_n_s32(0); }
  static F to_float(I x) { return vcvtq_f32_s32(x); }
  static F low_half(U x) { return vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32(x))); }
  static F high_half(U x) { return low_half(shr(x, 16)); }
  static U shr(U x, int n) { return vshlq_u32(x, vdupq_n_s32(-n)); }
  static U shl(U x, int n) { return vshlq_u32(x, vdupq_n_s32(n)); }
  static I sar(U x, int n) { return vshlq_s32(vreinterpretq_s32_u32(x), vdupq_n_s32(-n)); }
  static U band(U x, uint32_t m) { return vandq_u32(x, vdupq_n_u32(m)); }
  static U bxor(U x, uint32_t m) { return veorq_u32(x, vdupq_n_u32(m)); }
  static U bor(U a, U b) { return vorrq_u32(a, b); }
  static U times(U x, uint32_t m) { return vmulq_n_u32(x, m); }
  static I sub(I a, I b) { return vsubq_s32(a, b); }
  static I plus(I a, I b) { return vaddq_s32(a, b); }
  // The instruction multiplies signed bytes: where u may exceed 127, u - 128 goes in and 128 times the sum is added.
  template <bool WIDE> static I dot(I acc, U u, const int8_t* x) {
    const int8x16_t s = vreinterpretq_s8_s32(vld1q_dup_s32((const int32_t*)x));
    if (!WIDE) return vdotq_s32(acc, vreinterpretq_s8_u32(u), s);
    const I sum = vdotq_s32(vdupq_n_s32(0), vdupq_n_s8(1), s);
    acc = vaddq_s32(acc, vshlq_n_s32(sum, 7));
    return vdotq_s32(acc, vreinterpretq_s8_u32(bxor(u, 0x80808080)), s);
  }
  static void load4(const uint8_t* const* p, size_t at, U* out) {
    uint32x4_t a[4];
    for (int k = 0; k < 4; k++) a[k] = vreinterpretq_u32_u8(vld1q_u8(p[k] + at));
    const uint32x4x2_t b = vtrnq_u32(a[0], a[1]), c = vtrnq_u32(a[2], a[3]);
    out[0] = vcombine_u32(vget_low_u32(b.val[0]), vget_low_u32(c.val[0]));
    out[1] = vcombine_u32(vget_low_u32(b.val[1]), vget_low_u32(c.val[1]));
    out[2] = vcombine_u32(vget_high_u32(b.val[0]), vget_high_u32(c.val[0]));
    out[3] = vcombine_u32(vget_high_u32(b.val[1]), vget_high_u32(c.val[1]));
  }
};
}  // namespace
