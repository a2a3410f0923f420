// One weight row at a time in plain C++: for any machine, and the text to read beside the others.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#include "simd_portable.hpp"

namespace {
struct L {
  static constexpr int W = 1;
  using F = float;
  using I = int32_t;
  using U = uint32_t;
  static F zero() { return 0; }
  static F set1(float x) { return x; }
  static F mul(F a, F b) { return a * b; }
  static F add(F a, F b) { return a + b; }
  static F fma(F a, F b, F c) { return std::fma(a, b, c); }
  static F neg(F a) { return -a; }
  static void store(float* p, F x) { *p = x; }
  static F load(const float* p) { return *p; }
  static void keep(void* p, U x) { std::memcpy(p, &x, 4); }
  static U kept(const void* p) {
    U x;
    std::memcpy(&x, p, 4);
    return x;
  }
  static I none() { return 0; }
  static F to_float(I x) { return (float)x; }
  static F low_half(U x) { return V::half((uint16_t)x); }
  static F high_half(U x) { return V::half((uint16_t)(x >> 16)); }
  static U shr(U x, int n) { return x >> n; }
  static U shl(U x, int n) { return x << n; }
  static I sar(U x, int n) { return (int32_t)x >> n; }
  static U band(U x, uint32_t m) { return x & m; }
  static U bxor(U x, uint32_t m) { return x ^ m; }
  static U bor(U a, U b) { return a | b; }
  static U times(U x, uint32_t m) { return x * m; }
  static I sub(I a, I b) { return a - b; }
  static I plus(I a, I b) { return a + b; }
  template <bool WIDE> static I dot(I acc, U u, const int8_t* x) {
    for (int i = 0; i < 4; i++) acc += (int32_t)((u >> (8 * i)) & 255) * x[i];
    return acc;
  }
  static void load4(const uint8_t* const* p, size_t at, U* out) { std::memcpy(out, p[0] + at, 16); }
};
}  // namespace
