// 16 lanes in plain C++: for any machine, and the text to read beside the others. See kernels.inl.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

namespace {
struct V {
  struct F { float v[16]; };
  struct I { int32_t v[16]; };
  template <class T, class Op> static T each(Op op) {
    T r;
    for (int i = 0; i < 16; i++) r.v[i] = op(i);
    return r;
  }
  static F zero() { return set1(0); }
  static F set1(float x) { return each<F>([&](int) { return x; }); }
  static F load(const float* p) { return each<F>([&](int i) { return p[i]; }); }
  static void store(float* p, F x) { std::memcpy(p, x.v, 64); }
  static F add(F a, F b) { return each<F>([&](int i) { return a.v[i] + b.v[i]; }); }
  static F sub(F a, F b) { return each<F>([&](int i) { return a.v[i] - b.v[i]; }); }
  static F mul(F a, F b) { return each<F>([&](int i) { return a.v[i] * b.v[i]; }); }
  static F div(F a, F b) { return each<F>([&](int i) { return a.v[i] / b.v[i]; }); }
  static F fma(F a, F b, F c) { return each<F>([&](int i) { return std::fma(a.v[i], b.v[i], c.v[i]); }); }
  static F max(F a, F b) { return each<F>([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; }); }
  static F min(F a, F b) { return each<F>([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; }); }
  static F abs(F a) { return each<F>([&](int i) { return std::fabs(a.v[i]); }); }
  static float half(uint16_t h) {
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, fraction = h & 1023;
    if (exponent == 0) {  // zero and the subnormal: fraction * 2^-24
      const float x = (float)fraction * 5.9604644775390625e-8f;
      return sign ? -x : x;
    }
    const uint32_t bits = sign | (exponent == 31 ? 0x7F800000u : (exponent + 112) << 23) | (fraction << 13);
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
  }
  static uint16_t to_half(float x) {  // to nearest, ties to even
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    const uint16_t sign = (uint16_t)((bits >> 16) & 0x8000);
    bits &= 0x7FFFFFFF;
    if (bits >= 0x7F800000) return (uint16_t)(sign | (bits > 0x7F800000 ? 0x7E00 : 0x7C00));
    if (bits >= 0x477FF000) return (uint16_t)(sign | 0x7C00);
    if (bits < 0x38800000) {  // subnormal: in steps of 2^-24
      float a;
      std::memcpy(&a, &bits, 4);
      return (uint16_t)(sign | (uint16_t)std::lrintf(a * 16777216.0f));
    }
    const uint32_t rounded = bits + 0xFFF + ((bits >> 13) & 1);
    return (uint16_t)(sign | ((rounded - 0x38000000) >> 13));
  }
  static F load_half(const uint16_t* p) { return each<F>([&](int i) { return half(p[i]); }); }
  static void store_half(uint16_t* p, F x) {
    for (int i = 0; i < 16; i++) p[i] = to_half(x.v[i]);
  }
  static F load_bf16(const uint16_t* p) {
    return each<F>([&](int i) {
      const uint32_t bits = (uint32_t)p[i] << 16;
      float x;
      std::memcpy(&x, &bits, 4);
      return x;
    });
  }
  static I to_int(F x) { return each<I>([&](int i) { return (int32_t)std::lrintf(x.v[i]); }); }
  static F to_float(I x) { return each<F>([&](int i) { return (float)x.v[i]; }); }
  static F exp2i(I n) {
    return each<F>([&](int i) {
      const uint32_t bits = (uint32_t)(n.v[i] + 127) << 23;
      float x;
      std::memcpy(&x, &bits, 4);
      return x;
    });
  }
  static void store_i8(int8_t* p, I x) {
    for (int i = 0; i < 16; i++) p[i] = (int8_t)x.v[i];
  }
  static int sum_int(I x) {
    int s = 0;
    for (int i = 0; i < 16; i++) s += x.v[i];
    return s;
  }
  static float reduce(F x) {
    for (int s = 8; s >= 1; s /= 2)
      for (int i = 0; i < s; i++) x.v[i] += x.v[i + s];
    return x.v[0];
  }
  static float reduce_max(F x) {
    float m = x.v[0];
    for (int i = 1; i < 16; i++) m = x.v[i] > m ? x.v[i] : m;
    return m;
  }
  static F keep(F x, int from, int to, float other) {
    return each<F>([&](int i) { return i < from || i >= to ? other : x.v[i]; });
  }
};
}  // namespace
