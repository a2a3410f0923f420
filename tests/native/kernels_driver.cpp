// Runs every kernel of one instruction set on fixed inputs and prints the bits of what comes out, a line a kernel.
// Every buffer is of the exact size its kernel may read, on the heap, so that the address sanitizer sees a byte too
// far. Given the name of an instruction set; ends with 77 where the machine has it not.
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "dispatch.hpp"
#include "kernels.hpp"

using namespace loom;

namespace {
uint64_t seed = 1;
uint32_t next() {  // a linear congruential generator (Knuth, MMIX): the same numbers on every machine
  seed = seed * 6364136223846793005ull + 1442695040888963407ull;
  return (uint32_t)(seed >> 32);
}
float real() { return (float)(int32_t)next() * 4.6566129e-10f; }  // -1 .. 1
uint16_t half() { return (uint16_t)((next() & 0x83FF) | (5 + next() % 10) << 10); }

template <class T> std::unique_ptr<T[]> exact(size_t n) { return std::unique_ptr<T[]>(new T[n]()); }
std::unique_ptr<float[]> reals(size_t n, float scale = 1) {
  auto out = exact<float>(n);
  for (size_t i = 0; i < n; i++) out[i] = scale * real();
  return out;
}

void print(const char* what, int type, int cols, int rows, const void* data, size_t bytes) {
  uint64_t sum = 14695981039346656037ull;  // FNV-1a
  for (size_t i = 0; i < bytes; i++) sum = (sum ^ ((const uint8_t*)data)[i]) * 1099511628211ull;
  std::printf("%s type %d cols %d rows %d: %016llx\n", what, type, cols, rows, (unsigned long long)sum);
}

// The activations of a step, as large as the step makes them.
struct Rows {
  int n, cols, stride, stride16;
  std::unique_ptr<float[]> x, scale, sum;
  std::unique_ptr<int8_t[]> q;
  Rows(int n, int cols, float size) : n(n), cols(cols), stride((cols + 63) / 64 * 64), stride16((stride / 16 + 15) / 16 * 16) {
    x = reals((size_t)n * cols, size);
    scale = exact<float>((size_t)n * stride16), sum = exact<float>((size_t)n * stride16);
    q = exact<int8_t>((size_t)n * stride);
  }
  Acts acts() { return {x.get(), q.get(), scale.get(), sum.get(), cols, stride, stride16}; }
};

std::unique_ptr<uint8_t[]> blocks(int type, int rows, size_t bytes) {
  auto out = exact<uint8_t>(rows * bytes);
  const struct { int type, size, at[2]; } scales[] = {
      {F16, 2, {0, -1}}, {BF16, 2, {-1, -1}}, {Q4_0, 18, {0, -1}}, {Q4_1, 20, {0, 2}}, {Q5_0, 22, {0, -1}},
      {Q5_1, 24, {0, 2}}, {Q8_0, 34, {0, -1}}, {Q4_K, 144, {0, 2}}, {Q5_K, 176, {0, 2}}, {Q6_K, 210, {208, -1}}};
  for (size_t i = 0; i < rows * bytes; i++) out[i] = (uint8_t)next();
  for (const auto& s : scales)
    for (size_t i = 0; s.type == type && i < rows * bytes; i += s.size)
      for (int at : s.at)
        if (const uint16_t h = half(); at >= 0) std::memcpy(&out[i + at], &h, 2);
  if (type == BF16 || type == F32)
    for (size_t i = 0; i < rows * bytes; i += type == F32 ? 4 : 2) {
      const float x = real();
      std::memcpy(&out[i], (const uint8_t*)&x + (type == F32 ? 0 : 2), type == F32 ? 4 : 2);
    }
  return out;
}

void products(const Kernels* k) {
  for (int type : {F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K})
    for (int cols : {32, 96, 160, 224, 256, 288, 576, 1536})
      for (int n : {1, 2, 5, 16, 31}) {
        const size_t bytes = row_bytes(type, cols);
        if (!bytes) continue;
        const int rows = 5;
        auto data = blocks(type, rows, bytes);
        auto bias = reals(rows);
        Matrix w{data.get(), type, rows, cols, bytes, n % 2 ? bias.get() : nullptr};
        Rows in(n, cols, n == 5 ? 1e-37f : 3.0f);
        for (int i = 0; i < n; i++) k->quantise(in.acts(), i, 0, cols);
        print("scales", type, cols, n, in.scale.get(), (size_t)n * in.stride16 * 4);
        print("sums", type, cols, n, in.sum.get(), (size_t)n * in.stride16 * 4);
        print("quantised", type, cols, n, in.q.get(), (size_t)n * in.stride);
        auto y = exact<float>((size_t)n * rows);
        k->matmul(w, 0, 2, in.acts(), 0, n, y.get(), rows);
        k->matmul(w, 2, rows, in.acts(), 0, n, y.get(), rows);
        print("matmul", type, cols, n, y.get(), (size_t)n * rows * 4);
        auto row = exact<float>(cols);
        k->dequantise(w, rows - 1, row.get());
        print("dequantise", type, cols, n, row.get(), (size_t)cols * 4);
      }
}

void vectors(const Kernels* k) {
  for (int n : {16, 64, 576}) {
    auto x = reals(n, 20), w = reals(n), y = exact<float>(n);
    k->rmsnorm(x.get(), w.get(), y.get(), n, 1e-5f);
    print("rmsnorm", 0, n, 1, y.get(), n * 4);
    x[0] = 1e30f, x[1] = -1e30f, x[2] = -100, x[3] = 0, x[4] = -0.0f, x[5] = 87.5f, x[6] = -88.5f;
    k->silu_mul(x.get(), w.get(), y.get(), n);
    print("silu_mul", 0, n, 1, y.get(), n * 4);
    k->add(y.get(), w.get(), n);
    print("add", 0, n, 1, y.get(), n * 4);
    // Halves: ties, the largest, the first too large, subnormals and what lies below them.
    const float edges[] = {65504, 65519.99f, 65520, 1e9f, 2.98023e-8f, 2.9802322e-8f, 5.9604645e-8f, 6.1035156e-5f,
                           6.0975552e-5f, 1.00048828125f, 1.00146484375f, -0.0f, 1e-30f};
    std::memcpy(x.get(), edges, sizeof edges < n * 4u ? sizeof edges : n * 4u);
    auto h = exact<uint16_t>(n);
    k->store_half(x.get(), h.get(), n);
    print("store_half", 0, n, 1, h.get(), n * 2);
    for (int rank : {1, 3, 8}) {
      auto a = reals((size_t)rank * n), low = exact<float>(rank);
      k->dense(a.get(), w.get(), low.get(), rank, n);
      print("dense", 0, n, rank, low.get(), rank * 4);
      k->expand(a.get(), n, low.get(), rank, 0, n, y.get());
      print("expand", 0, n, rank, y.get(), n * 4);
    }
  }
}

void attention(const Kernels* k) {
  for (int E : {16, 64, 80, 128})
    for (int heads = 1; heads <= 4; heads++)
      for (int end : {1, 15, 16, 17, 70})
        for (int begin : {0, end / 2, end - 1}) {
          const int whole = (end + 15) / 16 * 16;
          auto q = reals((size_t)heads * E);
          auto keys = exact<uint16_t>((size_t)whole * E), values = exact<uint16_t>((size_t)end * E);
          for (int i = 0; i < whole * E; i++) keys[i] = half();
          for (int i = 0; i < end * E; i++) values[i] = half();
          // What lies behind the last position in its block of keys is anything at all, even not a number.
          for (int p = end; p < whole; p++)
            for (int e = 0; e < E; e++) keys[(size_t)(p / 16 * E + e) * 16 + p % 16] = 0x7E00;
          auto scores = exact<float>((size_t)heads * whole), out = exact<float>((size_t)heads * E);
          k->attend(q.get(), heads, keys.get(), values.get(), E, begin, end, 0.125f, scores.get(), whole, out.get());
          print("attend", heads, E, end * 100 + begin, out.get(), (size_t)heads * E * 4);
        }
}
}  // namespace

int main(int argc, char** argv) {
  const Kernels* k = argc > 1 ? kernels_named(argv[1]) : nullptr;
  if (!k) return 77;
  products(k);
  vectors(k);
  attention(k);
  return 0;
}
