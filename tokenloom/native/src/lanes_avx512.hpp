// Sixteen weight rows side by side, one a lane, as AVX-512. See products.inl for what each function means.
#pragma once
#include <immintrin.h>
#include <cstdint>
#include <cstring>

namespace {
struct L {
  static constexpr int W = 16;
  using F = __m512;
  using I = __m512i;
  using U = __m512i;
  static F zero() { return _mm512_setzero_ps(); }
  static F set1(float x) { return _mm512_set1_ps(x); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F neg(F a) { return _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(a), _mm512_set1_epi32((int)0x80000000))); }
  static void store(float* p, F x) { _mm512_storeu_ps(p, x); }
  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static void keep(void* p, U x) { _mm512_storeu_si512(p, x); }
  static U kept(const void* p) { return _mm512_loadu_si512(p); }
  static I none() { return _mm512_setzero_si512(); }
  static F to_float(I x) { return _mm512_cvtepi32_ps(x); }
  static F low_half(U x) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(x)); }
  static F high_half(U x) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(x, 16))); }
  static U shr(U x, int n) { return _mm512_srli_epi32(x, (unsigned)n); }
  static U shl(U x, int n) { return _mm512_slli_epi32(x, (unsigned)n); }
  static U sar(U x, int n) { return _mm512_srai_epi32(x, (unsigned)n); }
  static U band(U x, uint32_t m) { return _mm512_and_si512(x, _mm512_set1_epi32((int)m)); }
  static U bxor(U x, uint32_t m) { return _mm512_xor_si512(x, _mm512_set1_epi32((int)m)); }
  static U bor(U a, U b) { return _mm512_or_si512(a, b); }
  static U times(U x, uint32_t m) { return _mm512_mullo_epi32(x, _mm512_set1_epi32((int)m)); }
  static I sub(I a, I b) { return _mm512_sub_epi32(a, b); }
  static I plus(I a, I b) { return _mm512_add_epi32(a, b); }
  template <bool WIDE> static I dot(I acc, U u, const int8_t* x) {
    int32_t four;
    std::memcpy(&four, x, 4);
    return _mm512_dpbusd_epi32(acc, u, _mm512_set1_epi32(four));
  }
  static void load4(const uint8_t* const* p, size_t at, U* out) {
    __m512i a[4];
    for (int k = 0; k < 4; k++) {
      __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i*)(p[k] + at)));
      v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i*)(p[4 + k] + at)), 1);
      v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i*)(p[8 + k] + at)), 2);
      a[k] = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i*)(p[12 + k] + at)), 3);
    }
    const __m512i b0 = _mm512_unpacklo_epi32(a[0], a[1]), b1 = _mm512_unpackhi_epi32(a[0], a[1]);
    const __m512i b2 = _mm512_unpacklo_epi32(a[2], a[3]), b3 = _mm512_unpackhi_epi32(a[2], a[3]);
    out[0] = _mm512_unpacklo_epi64(b0, b2);
    out[1] = _mm512_unpackhi_epi64(b0, b2);
    out[2] = _mm512_unpacklo_epi64(b1, b3);
    out[3] = _mm512_unpackhi_epi64(b1, b3);
  }
};
}  // namespace
