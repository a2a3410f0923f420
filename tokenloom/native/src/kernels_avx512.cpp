#include "lanes_avx512.hpp"
#include "simd_avx512.hpp"
#include "kernels.inl"

namespace loom {
const Kernels* kernels_avx512() {
  static const Kernels k = table("avx512");
  return &k;
}
}  // namespace loom
