// The kernels, written once over a 16-lane vector type V (simd_*.hpp) and compiled once per instruction set.
//
// Products with blocks of weights are in products.inl, over the lanes of lanes_*.hpp.
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels.hpp"

#ifdef LOOM_PORTABLE  // lanes are loops there: unrolled and inlined as well, they take a compiler minutes
#define LOOM_INLINE inline
#define LOOM_UNROLL
#else
#define LOOM_INLINE inline __attribute__((always_inline))
#define LOOM_UNROLL _Pragma("GCC unroll 16")
#endif

namespace {
using namespace loom;
using F = V::F;
using I = V::I;

inline uint16_t u16(const uint8_t* p) {
  uint16_t x;
  std::memcpy(&x, p, 2);
  return x;
}

// A superblock, or the `n` columns that are left of a row (a multiple of 32; the rest of u is zero).
struct Super {
  alignas(64) uint8_t u[256];
  alignas(64) float d[16];
  alignas(64) float m[16];
  void fill(int g32, float scale, float offset) {
    d[2 * g32] = d[2 * g32 + 1] = scale;
    m[2 * g32] = m[2 * g32 + 1] = offset;
  }
};

template <int TYPE> struct Block;

template <> struct Block<Q4_0> {
  static constexpr int cols = 32, bytes = 18;
  static void decode(const uint8_t* p, int n, Super& s) {
    for (int g = 0; g < n / 32; g++, p += bytes) {
      float d = V::half(u16(p));
      for (int i = 0; i < 16; i++) s.u[g * 32 + i] = p[2 + i] & 15, s.u[g * 32 + 16 + i] = p[2 + i] >> 4;
      s.fill(g, d, -8 * d);
    }
  }
};

template <> struct Block<Q4_1> {
  static constexpr int cols = 32, bytes = 20;
  static void decode(const uint8_t* p, int n, Super& s) {
    for (int g = 0; g < n / 32; g++, p += bytes) {
      for (int i = 0; i < 16; i++) s.u[g * 32 + i] = p[4 + i] & 15, s.u[g * 32 + 16 + i] = p[4 + i] >> 4;
      s.fill(g, V::half(u16(p)), V::half(u16(p + 2)));
    }
  }
};

inline void five_bits(const uint8_t* high, const uint8_t* low, uint8_t* u) {
  uint32_t h;
  std::memcpy(&h, high, 4);
  for (int i = 0; i < 16; i++) {
    u[i] = (uint8_t)((low[i] & 15) | (((h >> i) & 1) << 4));
    u[i + 16] = (uint8_t)((low[i] >> 4) | (((h >> (i + 16)) & 1) << 4));
  }
}

template <> struct Block<Q5_0> {
  static constexpr int cols = 32, bytes = 22;
  static void decode(const uint8_t* p, int n, Super& s) {
    for (int g = 0; g < n / 32; g++, p += bytes) {
      float d = V::half(u16(p));
      five_bits(p + 2, p + 6, s.u + g * 32);
      s.fill(g, d, -16 * d);
    }
  }
};

template <> struct Block<Q5_1> {
  static constexpr int cols = 32, bytes = 24;
  static void decode(const uint8_t* p, int n, Super& s) {
    for (int g = 0; g < n / 32; g++, p += bytes) {
      five_bits(p + 4, p + 8, s.u + g * 32);
      s.fill(g, V::half(u16(p)), V::half(u16(p + 2)));
    }
  }
};

template <> struct Block<Q8_0> {
  static constexpr int cols = 32, bytes = 34;
  static void decode(const uint8_t* p, int n, Super& s) {
    for (int g = 0; g < n / 32; g++, p += bytes) {
      float d = V::half(u16(p));
      for (int i = 0; i < 32; i++) s.u[g * 32 + i] = p[2 + i] ^ 0x80;
      s.fill(g, d, -128 * d);
    }
  }
};

// The 6-bit scales and offsets of Q4_K and Q5_K: eight each in twelve bytes.
inline void scale_min(const uint8_t* p, int i, int& scale, int& offset) {
  if (i < 4) {
    scale = p[i] & 63;
    offset = p[i + 4] & 63;
  } else {
    scale = (p[i + 4] & 15) | ((p[i - 4] >> 6) << 4);
    offset = (p[i + 4] >> 4) | ((p[i] >> 6) << 4);
  }
}

template <> struct Block<Q4_K> {
  static constexpr int cols = 256, bytes = 144;
  static void decode(const uint8_t* p, int, Super& s) {
    float d = V::half(u16(p)), dmin = V::half(u16(p + 2));
    for (int g = 0; g < 8; g++) {
      int sc, mn;
      scale_min(p + 4, g, sc, mn);
      s.fill(g, d * (float)sc, -(dmin * (float)mn));
      const uint8_t* q = p + 16 + (g / 2) * 32;
      for (int i = 0; i < 32; i++) s.u[g * 32 + i] = (g & 1) ? q[i] >> 4 : q[i] & 15;
    }
  }
};

template <> struct Block<Q5_K> {
  static constexpr int cols = 256, bytes = 176;
  static void decode(const uint8_t* p, int, Super& s) {
    float d = V::half(u16(p)), dmin = V::half(u16(p + 2));
    const uint8_t* high = p + 16;
    for (int g = 0; g < 8; g++) {
      int sc, mn;
      scale_min(p + 4, g, sc, mn);
      s.fill(g, d * (float)sc, -(dmin * (float)mn));
      const uint8_t* q = p + 48 + (g / 2) * 32;
      for (int i = 0; i < 32; i++)
        s.u[g * 32 + i] = (uint8_t)(((g & 1) ? q[i] >> 4 : q[i] & 15) | (((high[i] >> g) & 1) << 4));
    }
  }
};

template <> struct Block<Q6_K> {
  static constexpr int cols = 256, bytes = 210;
  static void decode(const uint8_t* p, int, Super& s) {
    const int8_t* sc = (const int8_t*)(p + 192);
    float d = V::half(u16(p + 208));
    for (int h = 0; h < 2; h++) {
      const uint8_t *low = p + h * 64, *high = p + 128 + h * 32;
      uint8_t* u = s.u + h * 128;
      for (int i = 0; i < 32; i++) {
        u[i] = (uint8_t)((low[i] & 15) | ((high[i] & 3) << 4));
        u[i + 32] = (uint8_t)((low[i + 32] & 15) | (((high[i] >> 2) & 3) << 4));
        u[i + 64] = (uint8_t)((low[i] >> 4) | (((high[i] >> 4) & 3) << 4));
        u[i + 96] = (uint8_t)((low[i + 32] >> 4) | ((high[i] >> 6) << 4));
      }
    }
    for (int g = 0; g < 16; g++) {
      s.d[g] = d * (float)sc[g];
      s.m[g] = -32 * s.d[g];
    }
  }
};

// Weights that are floats: no rounding of activations either. Lane l takes columns 16 k + l in order.
template <int TYPE, int R>
void float_rows(const Matrix& w, int n0, int n1, const Acts& x, int r0, float* y, size_t ld) {
  for (int n = n0; n < n1; n++) {
    const uint8_t* p = w.data + (size_t)n * w.row_bytes;
    F acc[R];
    LOOM_UNROLL
    for (int r = 0; r < R; r++) acc[r] = V::zero();
    for (int k = 0; k < w.cols; k += 16) {
      F v;
      if constexpr (TYPE == F32) v = V::load((const float*)p + k);
      else if constexpr (TYPE == F16) v = V::load_half((const uint16_t*)p + k);
      else v = V::load_bf16((const uint16_t*)p + k);
      LOOM_UNROLL
      for (int r = 0; r < R; r++) acc[r] = V::fma(v, V::load(x.x + (size_t)(r0 + r) * x.cols + k), acc[r]);
    }
    for (int r = 0; r < R; r++) y[(size_t)(r0 + r) * ld + n] = V::reduce(acc[r]) + (w.bias ? w.bias[n] : 0.0f);
  }
}

// Weight rows in tiles that stay in the first cache while all activation rows pass.
template <int TYPE> void float_product(const Matrix& w, int n0, int n1, const Acts& x, int r0, int r1, float* y, size_t ld) {
  const int tile = r1 - r0 <= 8 ? n1 - n0 : 32;
  for (int a = n0; a < n1; a += tile) {
    const int b = a + tile < n1 ? a + tile : n1;
    int r = r0;
    for (; r + 8 <= r1; r += 8) float_rows<TYPE, 8>(w, a, b, x, r, y, ld);
    for (; r + 2 <= r1; r += 2) float_rows<TYPE, 2>(w, a, b, x, r, y, ld);
    if (r < r1) float_rows<TYPE, 1>(w, a, b, x, r, y, ld);
  }
}
}  // namespace

#include "products.inl"

namespace {
// The bounds are for what damaged weights lead to: infinities and worse, which no integer holds.
inline I int8(F x) { return V::to_int(V::min(V::max(x, V::set1(-127.0f)), V::set1(127.0f))); }

void quantise(const Acts& a, int row, int c0, int c1) {
  const float* x = a.x + (size_t)row * a.cols;
  int8_t* q = a.q + (size_t)row * a.stride;
  float *scale = a.scale + (size_t)row * a.stride16, *sum = a.sum + (size_t)row * a.stride16;
  for (int c = c0; c < c1; c += 32) {
    F lo = V::load(x + c), hi = V::load(x + c + 16);
    float top = V::reduce_max(V::max(V::abs(lo), V::abs(hi)));
    float d = top / 127.0f, inverse = top > 1e-35f ? 127.0f / top : 0.0f;  // below, 127 / top might not be finite
    I ql = int8(V::mul(lo, V::set1(inverse))), qh = int8(V::mul(hi, V::set1(inverse)));
    V::store_i8(q + c, ql);
    V::store_i8(q + c + 16, qh);
    int g = c / 16;
    scale[g] = scale[g + 1] = d;
    sum[g] = sum[g + 1] = d * (float)(V::sum_int(ql) + V::sum_int(qh));
  }
}

void rmsnorm(const float* x, const float* w, float* y, int n, float eps) {
  F s = V::zero();
  for (int i = 0; i < n; i += 16) {
    F v = V::load(x + i);
    s = V::fma(v, v, s);
  }
  float r = 1.0f / std::sqrt(V::reduce(s) / (float)n + eps);
  for (int i = 0; i < n; i += 16) V::store(y + i, V::mul(V::mul(V::load(x + i), V::set1(r)), V::load(w + i)));
}

// e^x to about one unit in the last place: 2^n * e^r with |r| <= ln 2 / 2 (Cody and Waite's reduction, a Taylor
// polynomial of degree 7).
inline F exponential(F x) {
  x = V::min(V::max(x, V::set1(-87.0f)), V::set1(88.0f));
  I n = V::to_int(V::mul(x, V::set1(1.44269504f)));
  F k = V::to_float(n);
  F r = V::fma(k, V::set1(-0.693359375f), x);
  r = V::fma(k, V::set1(2.12194440e-4f), r);
  F p = V::set1(1.0f / 5040);
  p = V::fma(p, r, V::set1(1.0f / 720));
  p = V::fma(p, r, V::set1(1.0f / 120));
  p = V::fma(p, r, V::set1(1.0f / 24));
  p = V::fma(p, r, V::set1(1.0f / 6));
  p = V::fma(p, r, V::set1(0.5f));
  p = V::fma(p, r, V::set1(1.0f));
  p = V::fma(p, r, V::set1(1.0f));
  return V::mul(p, V::exp2i(n));
}

void silu_mul(const float* gate, const float* up, float* y, int n) {
  const F one = V::set1(1.0f);
  for (int i = 0; i < n; i += 16) {
    F g = V::load(gate + i);
    F e = exponential(V::sub(V::zero(), g));
    V::store(y + i, V::mul(V::div(g, V::add(one, e)), V::load(up + i)));
  }
}

void add(float* x, const float* y, int n) {
  for (int i = 0; i < n; i += 16) V::store(x + i, V::add(V::load(x + i), V::load(y + i)));
}

template <int TYPE> void dequantise_row(const Matrix& w, const uint8_t* p, float* y) {
  constexpr size_t step = (size_t)Block<TYPE>::bytes * (256 / Block<TYPE>::cols);
  for (int c = 0; c < w.cols; c += 256, p += step) {
    Super s;
    int n = w.cols - c < 256 ? w.cols - c : 256;
    Block<TYPE>::decode(p, n, s);
    for (int i = 0; i < n; i++) y[c + i] = s.d[i / 16] * (float)s.u[i] + s.m[i / 16];
  }
}

void dequantise(const Matrix& w, int row, float* y) {
  const uint8_t* p = w.data + (size_t)row * w.row_bytes;
  switch (w.type) {
    case Q4_0: return dequantise_row<Q4_0>(w, p, y);
    case Q4_1: return dequantise_row<Q4_1>(w, p, y);
    case Q5_0: return dequantise_row<Q5_0>(w, p, y);
    case Q5_1: return dequantise_row<Q5_1>(w, p, y);
    case Q8_0: return dequantise_row<Q8_0>(w, p, y);
    case Q4_K: return dequantise_row<Q4_K>(w, p, y);
    case Q5_K: return dequantise_row<Q5_K>(w, p, y);
    case Q6_K: return dequantise_row<Q6_K>(w, p, y);
    case F16:
      for (int i = 0; i < w.cols; i += 16) V::store(y + i, V::load_half((const uint16_t*)p + i));
      return;
    case BF16:
      for (int i = 0; i < w.cols; i += 16) V::store(y + i, V::load_bf16((const uint16_t*)p + i));
      return;
    default: std::memcpy(y, p, (size_t)w.cols * 4);
  }
}

void store_half(const float* x, uint16_t* y, int n) {
  for (int i = 0; i < n; i += 16) V::store_half(y + i, V::load(x + i));
}

template <int H>
void attend_heads(const float* q, const uint16_t* k, const uint16_t* v, int E, int begin, int end, float scale,
                  float* scores, size_t ld, float* out) {
  const int b0 = begin / 16, b1 = (end + 15) / 16;
  F top[H];
  for (int h = 0; h < H; h++) top[h] = V::set1(-INFINITY);
  for (int b = b0; b < b1; b++) {
    F s[H];
    for (int h = 0; h < H; h++) s[h] = V::zero();
    const uint16_t* kb = k + (size_t)b * E * 16;
    for (int e = 0; e < E; e++) {
      F kv = V::load_half(kb + e * 16);
      for (int h = 0; h < H; h++) s[h] = V::fma(V::set1(q[h * E + e]), kv, s[h]);
    }
    const int from = begin > b * 16 ? begin - b * 16 : 0, to = end < b * 16 + 16 ? end - b * 16 : 16;
    for (int h = 0; h < H; h++) {
      F t = V::mul(s[h], V::set1(scale));
      if (from > 0 || to < 16) t = V::keep(t, from, to, -INFINITY);
      top[h] = V::max(top[h], t);
      V::store(scores + h * ld + b * 16, t);
    }
  }
  float inverse[H];
  for (int h = 0; h < H; h++) {
    const F peak = V::set1(V::reduce_max(top[h]));
    F total = V::zero();
    for (int b = b0; b < b1; b++) {
      const int from = begin > b * 16 ? begin - b * 16 : 0, to = end < b * 16 + 16 ? end - b * 16 : 16;
      F p = exponential(V::sub(V::load(scores + h * ld + b * 16), peak));
      if (from > 0 || to < 16) p = V::keep(p, from, to, 0.0f);
      total = V::add(total, p);
      V::store(scores + h * ld + b * 16, p);
    }
    inverse[h] = 1.0f / V::reduce(total);
  }
  for (int e = 0; e < E; e += 64) {
    const int parts = E - e < 64 ? (E - e) / 16 : 4;
    F acc[H][4];
    for (int h = 0; h < H; h++)
      for (int i = 0; i < 4; i++) acc[h][i] = V::zero();
    if (parts == 4) {
      for (int p = begin; p < end; p++) {
        const uint16_t* vp = v + (size_t)p * E + e;
        F v0 = V::load_half(vp), v1 = V::load_half(vp + 16), v2 = V::load_half(vp + 32), v3 = V::load_half(vp + 48);
        for (int h = 0; h < H; h++) {
          F w = V::set1(scores[h * ld + p]);
          acc[h][0] = V::fma(w, v0, acc[h][0]);
          acc[h][1] = V::fma(w, v1, acc[h][1]);
          acc[h][2] = V::fma(w, v2, acc[h][2]);
          acc[h][3] = V::fma(w, v3, acc[h][3]);
        }
      }
    } else {
      for (int p = begin; p < end; p++)
        for (int h = 0; h < H; h++)
          for (int i = 0; i < parts; i++)
            acc[h][i] = V::fma(V::set1(scores[h * ld + p]), V::load_half(v + (size_t)p * E + e + 16 * i), acc[h][i]);
    }
    for (int h = 0; h < H; h++)
      for (int i = 0; i < parts; i++) V::store(out + h * E + e + 16 * i, V::mul(acc[h][i], V::set1(inverse[h])));
  }
}

void attend(const float* q, int heads, const uint16_t* k, const uint16_t* v, int E, int begin, int end, float scale,
            float* scores, size_t ld, float* out) {
  switch (heads) {
    case 1: return attend_heads<1>(q, k, v, E, begin, end, scale, scores, ld, out);
    case 2: return attend_heads<2>(q, k, v, E, begin, end, scale, scores, ld, out);
    case 3: return attend_heads<3>(q, k, v, E, begin, end, scale, scores, ld, out);
    default: return attend_heads<4>(q, k, v, E, begin, end, scale, scores, ld, out);
  }
}

void dense(const float* a, const float* x, float* y, int rows, int cols) {
  for (int j = 0; j < rows; j++) {
    F acc = V::zero();
    for (int k = 0; k < cols; k += 16) acc = V::fma(V::load(a + (size_t)j * cols + k), V::load(x + k), acc);
    y[j] = V::reduce(acc);
  }
}

void expand(const float* b, int cols, const float* low, int rank, int n0, int n1, float* y) {
  for (int n = n0; n < n1; n += 16) {
    F acc = V::zero();
    for (int j = 0; j < rank; j++) acc = V::fma(V::load(b + (size_t)j * cols + n), V::set1(low[j]), acc);
    V::store(y + n, V::add(V::load(y + n), acc));
  }
}

constexpr Kernels table(const char* name) {
  return Kernels{name, matmul, quantise, rmsnorm, silu_mul, add, dequantise, store_half, attend, dense, expand};
}
}  // namespace
