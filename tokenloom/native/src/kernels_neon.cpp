#include "lanes_neon.hpp"
#include "simd_neon.hpp"
#include "kernels.inl"

namespace loom {
const Kernels* kernels_neon() {
  static const Kernels k = table("neon");
  return &k;
}
}  // namespace loom
