#define LOOM_PORTABLE
#include "lanes_portable.hpp"
#include "simd_portable.hpp"
#include "kernels.inl"

namespace loom {
const Kernels* kernels_portable() {
  static const Kernels k = table("portable");
  return &k;
}
}  // namespace loom
