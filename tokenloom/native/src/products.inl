// Products of block matrices with int8 activations: W weight rows side by side, one a lane (lanes_*.hpp).
//
// Every block type is unpacked to unsigned bytes u with a scale d and an offset m per 32 columns, w = d * u + m:
//   y = sum over blocks of 32, in order: y = fma(u . q, d * scale, y); y = fma(m, sum, y)
// where q, scale and sum are the activations' block (kernels.hpp) and u . q is exact in integers. Q6_K has its scale
// per 16 columns and signed values, u - 32: y = fma((u - 32) . q, d * scale, y) per 16.
// One output is one chain of operations, whatever its neighbours: so its bits depend on nothing else.
// Source of the layout: the block formats of ggml; one dot-product instruction takes four columns of W rows.

namespace {

// What one block of 32 columns is unpacked to, for W rows.
struct Unpacked {
  L::U u[8];  // columns 4j .. 4j+3
  L::F d, m;
  L::F d2;    // Q6_K: of the second 16 columns
};

LOOM_INLINE void nibbles(const L::U* x, L::U* u) {
  LOOM_UNROLL
  for (int j = 0; j < 4; j++) {
    u[j] = L::band(x[j], 0x0F0F0F0F);
    u[j + 4] = L::band(L::shr(x[j], 4), 0x0F0F0F0F);
  }
}

// Bit i of `bits` becomes bit 4 of byte i.
LOOM_INLINE void fifth_bits(L::U bits, L::U* u) {
  LOOM_UNROLL
  for (int j = 0; j < 8; j++) {
    const L::U four = L::band(L::shr(bits, 4 * j), 15);
    u[j] = L::bor(u[j], L::shl(L::band(L::times(four, 0x00204081), 0x01010101), 4));
  }
}

template <int TYPE> struct Unpack;  // get(p, g, out): block g of 32 columns of the rows at p

template <> struct Unpack<Q4_0> {
  static LOOM_INLINE void get(const uint8_t* const* p, int g, Unpacked& o) {
    L::U h[4], q[4];
    L::load4(p, 18 * (size_t)g, h);
    L::load4(p, 18 * (size_t)g + 2, q);
    nibbles(q, o.u);
    o.d = L::low_half(h[0]);
    o.m = L::mul(o.d, L::set1(-8));
  }
};
template <> struct Unpack<Q4_1> {
  static LOOM_INLINE void get(const uint8_t* const* p, int g, Unpacked& o) {
    L::U h[4], q[4];
    L::load4(p, 20 * (size_t)g, h);
    L::load4(p, 20 * (size_t)g + 4, q);
    nibbles(q, o.u);
    o.d = L::low_half(h[0]);
    o.m = L::high_half(h[0]);
  }
};
template <> struct Unpack<Q5_0> {
  static LOOM_INLINE void get(const uint8_t* const* p, int g, Unpacked& o) {
    L::U h[4], q[4];
    L::load4(p, 22 * (size_t)g, h);
    L::load4(p, 22 * (size_t)g + 6, q);
    nibbles(q, o.u);
    fifth_bits(L::bor(L::shr(h[0], 16), L::shl(h[1], 16)), o.u);
    o.d = L::low_half(h[0]);
    o.m = L::mul(o.d, L::set1(-16));
  }
};
template <> struct Unpack<Q5_1> {
  static LOOM_INLINE void get(const uint8_t* const* p, int g, Unpacked& o) {
    L::U h[4], q[4];
    L::load4(p, 24 * (size_t)g, h);
    L::load4(p, 24 * (size_t)g + 8, q);
    nibbles(q, o.u);
    fifth_bits(h[1], o.u);
    o.d = L::low_half(h[0]);
    o.m = L::high_half(h[0]);
  }
};
template <> struct Unpack<Q8_0> {
  static LOOM_INLINE void get(const uint8_t* const* p, int g, Unpacked& o) {
    L::U h[4];
    L::load4(p, 34 * (size_t)g, h);
    L::load4(p, 34 * (size_t)g + 2, o.u);
    L::load4(p, 34 * (size_t)g + 18, o.u + 4);
    LOOM_UNROLL
    for (int j = 0; j < 8; j++) o.u[j] = L::bxor(o.u[j], 0x80808080);
    o.d = L::low_half(h[0]);
    o.m = L::mul(o.d, L::set1(-128));
  }
};

// The 6-bit scale and offset of sub-block g (0..7) of Q4_K and Q5_K; h holds the first 16 bytes of the block.
LOOM_INLINE void scale_offset(const L::U* h, int g, Unpacked& o) {
  const int b = 8 * (g & 3);
  L::U scale, offset;
  if (g < 4) {
    scale = L::band(L::shr(h[1], b), 63);
    offset = L::band(L::shr(h[2], b), 63);
  } else {
    scale = L::bor(L::band(L::shr(h[3], b), 15), L::shl(L::band(L::shr(h[1], b + 6), 3), 4));
    offset = L::bor(L::band(L::shr(h[3], b + 4), 15), L::shl(L::band(L::shr(h[2], b + 6), 3), 4));
  }
  o.d = L::mul(L::low_half(h[0]), L::to_float((L::I)scale));
  o.m = L::neg(L::mul(L::high_half(h[0]), L::to_float((L::I)offset)));
}

template <int BYTES, int QUANTS> LOOM_INLINE void k_nibbles(const uint8_t* const* p, int g, Unpacked& o) {
  const size_t at = (size_t)(g / 8) * BYTES + QUANTS + 32 * (size_t)(g % 8 / 2);
  L::load4(p, at, o.u);
  L::load4(p, at + 16, o.u + 4);
  LOOM_UNROLL
  for (int j = 0; j < 8; j++) o.u[j] = L::band(L::shr(o.u[j], 4 * (g & 1)), 0x0F0F0F0F);
}

template <> struct Unpack<Q4_K> {
  static LOOM_INLINE void get(const uint8_t* const* p, int g, Unpacked& o) {
    L::U h[4];
    L::load4(p, (size_t)(g / 8) * 144, h);
    k_nibbles<144, 16>(p, g, o);
    scale_offset(h, g % 8, o);
  }
};
template <> struct Unpack<Q5_K> {
  static LOOM_INLINE void get(const uint8_t* const* p, int g, Unpacked& o) {
    L::U h[4], x[8];
    L::load4(p, (size_t)(g / 8) * 176, h);
    L::load4(p, (size_t)(g / 8) * 176 + 16, x);
    L::load4(p, (size_t)(g / 8) * 176 + 32, x + 4);
    k_nibbles<176, 48>(p, g, o);
    LOOM_UNROLL
    for (int j = 0; j < 8; j++) o.u[j] = L::bor(o.u[j], L::shl(L::band(L::shr(x[j], g % 8), 0x01010101), 4));
    scale_offset(h, g % 8, o);
  }
};
template <> struct Unpack<Q6_K> {
  static LOOM_INLINE void get(const uint8_t* const* p, int g, Unpacked& o) {
    const size_t block = (size_t)(g / 8) * 210;
    const int half = g % 8 / 4, quarter = g % 4;
    L::U x[8], s[4], h[4];
    L::load4(p, block + 64 * half + 32 * (quarter & 1), o.u);
    L::load4(p, block + 64 * half + 32 * (quarter & 1) + 16, o.u + 4);
    L::load4(p, block + 128 + 32 * half, x);
    L::load4(p, block + 128 + 32 * half + 16, x + 4);
    L::load4(p, block + 192, s);
    L::load4(p, block + 194, h);
    LOOM_UNROLL
    for (int j = 0; j < 8; j++)
      o.u[j] = L::bor(L::band(L::shr(o.u[j], 4 * (quarter >> 1)), 0x0F0F0F0F),
                      L::shl(L::band(L::shr(x[j], 2 * quarter), 0x03030303), 4));
    const int first = half * 8 + quarter * 2;  // of the sixteen scales, signed bytes
    const L::U word = s[first / 4];
    const L::F d = L::high_half(h[3]);
    o.d = L::mul(d, L::to_float((L::I)L::sar(L::shl(word, 24 - 8 * (first % 4)), 24)));
    o.d2 = L::mul(d, L::to_float((L::I)L::sar(L::shl(word, 16 - 8 * (first % 4)), 24)));
  }
};

template <int TYPE> constexpr int block_bytes() {
  return TYPE == Q4_0 ? 18 : TYPE == Q4_1 ? 20 : TYPE == Q5_0 ? 22 : TYPE == Q5_1 ? 24 : 34;
}

// One block of one activation row, added to the W outputs.
template <int TYPE> LOOM_INLINE L::F step32(L::F acc, const Unpacked& w, const int8_t* q, float scale, float sum) {
  constexpr bool WIDE = TYPE == Q8_0;
  if constexpr (TYPE == Q6_K) {
    const L::U ones = L::bxor(L::band(w.u[0], 0), 0x01010101);
    LOOM_UNROLL
    for (int half = 0; half < 2; half++) {
      L::I z = L::none(), c = L::none();
      LOOM_UNROLL
      for (int j = 0; j < 4; j++) {
        z = L::template dot<false>(z, w.u[4 * half + j], q + 16 * half + 4 * j);
        c = L::template dot<false>(c, ones, q + 16 * half + 4 * j);
      }
      z = L::sub(z, (L::I)L::shl((L::U)c, 5));
      acc = L::fma(L::to_float(z), L::mul(half ? w.d2 : w.d, L::set1(scale)), acc);
    }
    return acc;
  } else {
    L::I a = L::none(), b = L::none();
    LOOM_UNROLL
    for (int j = 0; j < 4; j++) {
      a = L::template dot<WIDE>(a, w.u[j], q + 4 * j);
      b = L::template dot<WIDE>(b, w.u[4 + j], q + 16 + 4 * j);
    }
    acc = L::fma(L::to_float(L::plus(a, b)), L::mul(w.d, L::set1(scale)), acc);
    return L::fma(w.m, L::set1(sum), acc);
  }
}

// W rows from n on (the last ones again where fewer are left), R activation rows.
template <int TYPE, int R>
LOOM_INLINE void step32_rows(L::F* acc, const Unpacked& w, const Acts& x, int r0, int g) {
  const int8_t* q = x.q + (size_t)r0 * x.stride + 32 * (size_t)g;
  const float *scale = x.scale + (size_t)r0 * x.stride16 + 2 * g, *sum = x.sum + (size_t)r0 * x.stride16 + 2 * g;
  LOOM_UNROLL
  for (int r = 0; r < R; r++)
    acc[r] = step32<TYPE>(acc[r], w, q + (size_t)r * x.stride, scale[(size_t)r * x.stride16], sum[(size_t)r * x.stride16]);
}

template <int R>
LOOM_INLINE void put(const L::F* acc, const Matrix& w, int n, int count, int r0, float* y, size_t ld) {
  float bias[L::W] = {}, out[L::W];
  if (w.bias) std::memcpy(bias, w.bias + n, sizeof(float) * count);
  const L::F more = L::load(bias);
  LOOM_UNROLL
  for (int r = 0; r < R; r++) {
    float* to = y + (size_t)(r0 + r) * ld + n;
    if (count == L::W) {
      L::store(to, L::add(acc[r], more));
    } else {
      L::store(out, L::add(acc[r], more));
      std::memcpy(to, out, sizeof(float) * count);
    }
  }
}

constexpr int AHEAD = 2;

// Straight from the blocks: few activation rows.
template <int TYPE, int R>
void from_blocks(const Matrix& w, const uint8_t* const* p, int n, int count, const Acts& x, int r0, float* y, size_t ld) {
  L::F acc[R];
  LOOM_UNROLL
  for (int r = 0; r < R; r++) acc[r] = L::zero();
  Unpacked one;
  // W rows are read side by side, which no hardware prefetcher follows: the bytes some tiles ahead are asked for here.
  const int blocks = w.cols / 32;
  const size_t tile = L::W * w.row_bytes;
  const uint8_t* ahead = p[0] + AHEAD * tile;
  const size_t each = (tile / 64 + blocks) / blocks * 64;
  for (int g = 0; g < blocks; g++) {
    for (size_t i = 0; i < each; i += 64) __builtin_prefetch(ahead + g * each + i);
    Unpack<TYPE>::get(p, g, one);
    step32_rows<TYPE, R>(acc, one, x, r0, g);
  }
  put<R>(acc, w, n, count, r0, y, ld);
}

// From blocks unpacked before: many activation rows pass over them while they lie in the first cache.
template <int TYPE, int R>
void from_unpacked(const Matrix& w, const Unpacked* blocks, int n, int count, const Acts& x, int r0, float* y, size_t ld) {
  L::F acc[R];
  LOOM_UNROLL
  for (int r = 0; r < R; r++) acc[r] = L::zero();
  for (int g = 0; g < w.cols / 32; g++) {
    const Unpacked one = blocks[g];
    step32_rows<TYPE, R>(acc, one, x, r0, g);
  }
  put<R>(acc, w, n, count, r0, y, ld);
}

template <int TYPE> void block_product(const Matrix& w, int n0, int n1, const Acts& x, int r0, int r1, float* y, size_t ld) {
  static thread_local std::vector<Unpacked> blocks;
  const bool many = r1 - r0 > 16;
  if (many && blocks.size() < (size_t)w.cols / 32) blocks.resize(w.cols / 32);
  for (int n = n0; n < n1; n += L::W) {
    const int count = n1 - n < L::W ? n1 - n : L::W;
    const uint8_t* p[L::W];
    for (int i = 0; i < L::W; i++) p[i] = w.data + (size_t)(i < count ? n + i : n) * w.row_bytes;
    int r = r0;
    if (many) {
      for (int g = 0; g < w.cols / 32; g++) Unpack<TYPE>::get(p, g, blocks[g]);
      for (; r + 16 <= r1; r += 16) from_unpacked<TYPE, 16>(w, blocks.data(), n, count, x, r, y, ld);
      for (; r < r1; r += 4) {
        if (r + 4 <= r1) from_unpacked<TYPE, 4>(w, blocks.data(), n, count, x, r, y, ld);
        else for (; r < r1; r++) from_unpacked<TYPE, 1>(w, blocks.data(), n, count, x, r, y, ld);
      }
      continue;
    }
    for (; r + 16 <= r1; r += 16) from_blocks<TYPE, 16>(w, p, n, count, x, r, y, ld);
    if (r + 8 <= r1) from_blocks<TYPE, 8>(w, p, n, count, x, r, y, ld), r += 8;
    if (r + 4 <= r1) from_blocks<TYPE, 4>(w, p, n, count, x, r, y, ld), r += 4;
    if (r + 2 <= r1) from_blocks<TYPE, 2>(w, p, n, count, x, r, y, ld), r += 2;
    if (r < r1) from_blocks<TYPE, 1>(w, p, n, count, x, r, y, ld);
  }
}

void matmul(const Matrix& w, int n0, int n1, const Acts& x, int r0, int r1, float* y, size_t ld) {
  switch (w.type) {
    case Q4_0: return block_product<Q4_0>(w, n0, n1, x, r0, r1, y, ld);
    case Q4_1: return block_product<Q4_1>(w, n0, n1, x, r0, r1, y, ld);
    case Q5_0: return block_product<Q5_0>(w, n0, n1, x, r0, r1, y, ld);
    case Q5_1: return block_product<Q5_1>(w, n0, n1, x, r0, r1, y, ld);
    case Q8_0: return block_product<Q8_0>(w, n0, n1, x, r0, r1, y, ld);
    case Q4_K: return block_product<Q4_K>(w, n0, n1, x, r0, r1, y, ld);
    case Q5_K: return block_product<Q5_K>(w, n0, n1, x, r0, r1, y, ld);
    case Q6_K: return block_product<Q6_K>(w, n0, n1, x, r0, r1, y, ld);
    case F16: return float_product<F16>(w, n0, n1, x, r0, r1, y, ld);
    case BF16: return float_product<BF16>(w, n0, n1, x, r0, r1, y, ld);
    default: return float_product<F32>(w, n0, n1, x, r0, r1, y, ld);
  }
}
}  // namespace
