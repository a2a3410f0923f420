// Which instruction set this machine has. LOOM_ISA=portable|avx2|avxvnni|avx512|neon asks for one in particular.
#include <cstdlib>
#include <cstring>

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "kernels.hpp"
#include "dispatch.hpp"

namespace loom {
namespace {
struct Choice {
  const char* name;
  const Kernels* (*get)();
  bool here;
};

int choices(Choice* out) {
  int n = 0;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vnni");
  unsigned a = 0, b = 0, c = 0, d = 0;
  bool avxvnni = false;
  if (avx2) {
    __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(1));
    avxvnni = (a >> 4) & 1;
  }
  out[n++] = {"avx512", kernels_avx512, avx512};
  out[n++] = {"avxvnni", kernels_avxvnni, avx2 && avxvnni};
  out[n++] = {"avx2", kernels_avx2, avx2};
#elif defined(__aarch64__)
#if defined(__linux__)
  const unsigned long has = getauxval(AT_HWCAP);
  const bool dot = (has & HWCAP_ASIMDDP) && (has & HWCAP_ASIMDHP);
#else
  const bool dot = true;  // every Mac with an Arm processor
#endif
  out[n++] = {"neon", kernels_neon, dot};
#endif
  out[n++] = {"portable", kernels_portable, true};
  return n;
}
}  // namespace

const Kernels* kernels_named(const char* name) {
  Choice all[4];
  const int n = choices(all);
  for (int i = 0; i < n; i++)
    if (!std::strcmp(all[i].name, name)) return all[i].here ? all[i].get() : nullptr;
  return nullptr;
}

const Kernels* kernels_best() {
  if (const char* asked = std::getenv("LOOM_ISA"); asked && *asked) return kernels_named(asked);
  Choice all[4];
  const int n = choices(all);
  for (int i = 0; i < n; i++)
    if (all[i].here) return all[i].get();
  return nullptr;
}

size_t row_bytes(int type, int cols) {
  if (cols <= 0) return 0;
  const size_t n = (size_t)cols;
  switch (type) {
    case F32: return cols % 32 ? 0 : n * 4;
    case F16: case BF16: return cols % 32 ? 0 : n * 2;
    case Q4_0: return cols % 32 ? 0 : n / 32 * 18;
    case Q4_1: return cols % 32 ? 0 : n / 32 * 20;
    case Q5_0: return cols % 32 ? 0 : n / 32 * 22;
    case Q5_1: return cols % 32 ? 0 : n / 32 * 24;
    case Q8_0: return cols % 32 ? 0 : n / 32 * 34;
    case Q4_K: return cols % 256 ? 0 : n / 256 * 144;
    case Q5_K: return cols % 256 ? 0 : n / 256 * 176;
    case Q6_K: return cols % 256 ? 0 : n / 256 * 210;
    default: return 0;
  }
}
}  // namespace loom
