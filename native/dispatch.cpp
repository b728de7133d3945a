#include "dispatch.h"

#if defined(_MSC_VER) && defined(_M_X64)
#include <intrin.h>
#elif defined(NEARFIELD_X86)
#include <cpuid.h>
#endif

namespace nearfield {
namespace {

#if defined(NEARFIELD_X86)
#if defined(_MSC_VER)
bool bit(int word, int at) { return (word >> at) & 1; }

// The processor's flags, and the operating system's promise (XCR0) to save the wide registers.
bool runs(bool wide) {
  int leaf[4];
  __cpuid(leaf, 0);
  if (leaf[0] < 7) return false;
  __cpuid(leaf, 1);
  if (!(bit(leaf[2], 12) && bit(leaf[2], 23) && bit(leaf[2], 27) && bit(leaf[2], 29))) return false;
  const unsigned long long saved = _xgetbv(0);
  __cpuidex(leaf, 7, 0);
  if (!wide) return (saved & 6) == 6 && bit(leaf[1], 5);
  return (saved & 0xe6) == 0xe6 && bit(leaf[1], 16) && bit(leaf[1], 17) && bit(leaf[1], 30) &&
         bit(leaf[1], 31) && bit(leaf[2], 11);
}
#else
// Clang's __builtin_cpu_supports does not know this one. That the system saves the registers is asked with AVX2.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

bool runs(bool wide) {
  __builtin_cpu_init();
  const bool narrow = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("popcnt") && has_f16c();
  if (!wide) return narrow;
  return narrow && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
}
#endif
#endif

}  // namespace

const Choice* choices(int* count) {
#if defined(NEARFIELD_X86)
  static const Choice all[] = {{&kernels_base, true}, {&kernels_avx2, runs(false)}, {&kernels_avx512, runs(true)}};
#elif defined(NEARFIELD_ARM)
  static const Choice all[] = {{&kernels_base, true}, {&kernels_neon, true}};
#else
  static const Choice all[] = {{&kernels_base, true}};
#endif
  *count = int(sizeof(all) / sizeof(all[0]));
  return all;
}

}  // namespace nearfield
