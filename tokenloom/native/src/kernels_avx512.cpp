#include "simd_avx512.hpp"
#define LOOM_FAST_BLOCKS "avx512_blocks.hpp"
#include "kernels.inl"

namespace loom {
const Kernels* kernels_avx512() {
  static const Kernels k = table("avx512");
  return &k;
}
}  // namespace loom
