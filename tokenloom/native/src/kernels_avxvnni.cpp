#define LOOM_AVXVNNI
#include "lanes_avx2.hpp"
#include "simd_avx2.hpp"
#include "kernels.inl"

namespace loom {
const Kernels* kernels_avxvnni() {
  static const Kernels k = table("avxvnni");
  return &k;
}
}  // namespace loom
