#define LOOM_PORTABLE
#include "simd_portable.hpp"
#include "kernels.inl"

namespace loom {
const Kernels* kernels_portable() {
  static const Kernels k = table("portable");
  return &k;
}
}  // namespace loom
