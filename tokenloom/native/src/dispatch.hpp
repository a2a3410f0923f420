#pragma once
#include "kernels.hpp"

namespace loom {
const Kernels* kernels_named(const char* name);  // null when this machine has it not
const Kernels* kernels_best();                   // null only when LOOM_ISA asks for what is not here
}  // namespace loom
