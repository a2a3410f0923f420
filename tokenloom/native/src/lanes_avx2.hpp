// Eight weight rows side by side, one a lane, as AVX2; with AVX-VNNI the dot product is one instruction.
#pragma once
#include <immintrin.h>
#include <cstdint>
#include <cstring>

namespace {
struct L {
  static constexpr int W = 8;
  using F = __m256;
  using I = __m256i;
  using U = __m256i;
  static F zero() { return _mm256_setzero_ps(); }
  static F set1(float x) { return _mm256_set1_ps(x); }
  static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  static F add(F a, F b) { return _mm256_add_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static F neg(F a) { return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f)); }
  static void store(float* p, F x) { _mm256_storeu_ps(p, x); }
  static F load(const float* p) { return _mm256_loadu_ps(p); }
  static void keep(void* p, U x) { _mm256_storeu_si256((__m256i*)p, x); }
  static U kept(const void* p) { return _mm256_loadu_si256((const __m256i*)p); }
  static I none() { return _mm256_setzero_si256(); }
  static F to_float(I x) { return _mm256_cvtepi32_ps(x); }
  static __m128i packed(U x) {  // the low 16 bits of each lane
    const U v = _mm256_packus_epi32(band(x, 0xFFFF), _mm256_setzero_si256());
    return _mm256_castsi256_si128(_mm256_permute4x64_epi64(v, 0x08));
  }
  static F low_half(U x) { return _mm256_cvtph_ps(packed(x)); }
  static F high_half(U x) { return _mm256_cvtph_ps(packed(shr(x, 16))); }
  static U shr(U x, int n) { return _mm256_srli_epi32(x, n); }
  static U shl(U x, int n) { return _mm256_slli_epi32(x, n); }
  static U sar(U x, int n) { return _mm256_srai_epi32(x, n); }
  static U band(U x, uint32_t m) { return _mm256_and_si256(x, _mm256_set1_epi32((int)m)); }
  static U bxor(U x, uint32_t m) { return _mm256_xor_si256(x, _mm256_set1_epi32((int)m)); }
  static U bor(U a, U b) { return _mm256_or_si256(a, b); }
  static U times(U x, uint32_t m) { return _mm256_mullo_epi32(x, _mm256_set1_epi32((int)m)); }
  static I sub(I a, I b) { return _mm256_sub_epi32(a, b); }
  static I plus(I a, I b) { return _mm256_add_epi32(a, b); }
  template <bool WIDE> static I dot(I acc, U u, const int8_t* x) {
    int32_t four;
    std::memcpy(&four, x, 4);
    const U s = _mm256_set1_epi32(four);
#ifdef LOOM_AVXVNNI
    return _mm256_dpbusd_avx_epi32(acc, u, s);
#else
    // maddubs saturates at 16 bits: bytes above 127 go in two parts, the low seven bits and the high one.
    const U ones = _mm256_set1_epi16(1);
    if (!WIDE) return plus(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(u, s), ones));
    const U low = band(u, 0x7F7F7F7F), high = band(_mm256_srli_epi16(u, 7), 0x01010101);
    acc = plus(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(low, s), ones));
    return plus(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(high, s), _mm256_set1_epi16(128)));
#endif
  }
  static void load4(const uint8_t* const* p, size_t at, U* out) {
    __m256i a[4];
    for (int k = 0; k < 4; k++)
      a[k] = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i*)(p[k] + at))),
                                     _mm_loadu_si128((const __m128i*)(p[4 + k] + at)), 1);
    const __m256i b0 = _mm256_unpacklo_epi32(a[0], a[1]), b1 = _mm256_unpackhi_epi32(a[0], a[1]);
    const __m256i b2 = _mm256_unpacklo_epi32(a[2], a[3]), b3 = _mm256_unpackhi_epi32(a[2], a[3]);
    out[0] = _mm256_unpacklo_epi64(b0, b2);
    out[1] = _mm256_unpackhi_epi64(b0, b2);
    out[2] = _mm256_unpacklo_epi64(b1, b3);
    out[3] = _mm256_unpackhi_epi64(b1, b3);
  }
};
}  // namespace
