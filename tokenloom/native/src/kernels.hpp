// What the step asks of an instruction set: a table of functions, one table per set, chosen at run time.
//
// Every table gives the same bits. Floats are handled in vectors of 16 lanes whatever the machine's width, each lane's
// additions in one fixed order, and lanes are summed by one fixed tree (i with i+8, then i+4, i+2, i+1). So a row's
// result depends neither on the batch, nor on the threads, nor on the instruction set.
#pragma once
#include <cstddef>
#include <cstdint>

namespace loom {

// ggml's numbers for the block types that are run as they are in the file.
enum Type : int32_t {
  F32 = 0, F16 = 1, Q4_0 = 2, Q4_1 = 3, Q5_0 = 6, Q5_1 = 7, Q8_0 = 8, Q4_K = 12, Q5_K = 13, Q6_K = 14, BF16 = 30,
};

// Weights (rows, cols) as blocks, row after row, in place.
struct Matrix {
  const uint8_t* data = nullptr;
  int32_t type = 0, rows = 0, cols = 0;
  size_t row_bytes = 0;
  const float* bias = nullptr;  // (rows) or null
};

// Activations of R rows: the float values, and int8 in blocks of 32 with what the products need beside them.
//   value = q * scale;  sum = scale * (sum of q over the block); both stand twice, once for each half of a block
struct Acts {
  const float* x;        // (R, cols)
  int8_t* q;             // (R, stride) stride = cols rounded up to 64, zero filled
  float* scale;          // (R, stride16) two a block, rounded up to whole vectors of 16
  float* sum;            // (R, stride16)
  int32_t cols, stride, stride16;
};

struct Kernels {
  const char* name;
  // y (R rows of `ld` floats): y[r*ld + n] = sum_k w[n][k] x[r][k] + bias[n] for n in [n0, n1).
  void (*matmul)(const Matrix& w, int n0, int n1, const Acts& x, int r0, int r1, float* y, size_t ld);
  void (*quantise)(const Acts& a, int row, int c0, int c1);              // columns [c0, c1), multiples of 32
  void (*rmsnorm)(const float* x, const float* w, float* y, int n, float eps);
  void (*silu_mul)(const float* gate, const float* up, float* y, int n);  // y = silu(gate) * up
  void (*add)(float* x, const float* y, int n);
  void (*dequantise)(const Matrix& w, int row, float* y);
  void (*store_half)(const float* x, uint16_t* y, int n);
  // Attention of `heads` (1..4) query heads that share one kv head, for one position.
  //   q (heads, E); k (S/16, E, 16) halves; v (S, E) halves; positions [begin, end); scores (heads, S) scratch
  void (*attend)(const float* q, int heads, const uint16_t* k, const uint16_t* v, int E, int begin, int end,
                 float scale, float* scores, size_t ld_scores, float* out);
  // Low-rank adapters: y[j] = sum_k a[j][k] x[k] for a (rows, cols), then y[n] += sum_j b[j][n] low[j] for b (rank,
  // cols) and n in [n0, n1), multiples of 16.
  void (*dense)(const float* a, const float* x, float* y, int rows, int cols);
  void (*expand)(const float* b, int cols, const float* low, int rank, int n0, int n1, float* y);
};

const Kernels* kernels_portable();
const Kernels* kernels_avx2();      // AVX2 + FMA + F16C
const Kernels* kernels_avxvnni();   // the same with AVX-VNNI
const Kernels* kernels_avx512();    // AVX-512 F/BW/VL/DQ + VNNI
const Kernels* kernels_neon();      // Armv8.2 dot product + half precision

size_t row_bytes(int type, int cols);  // 0 when the type is not run or cols does not fit its blocks

}  // namespace loom
