#include "lanes_avx2.hpp"
#include "simd_avx2.hpp"
#include "kernels.inl"

namespace loom {
const Kernels* kernels_avx2() {
  static const Kernels k = table("avx2");
  return &k;
}
}  // namespace loom
