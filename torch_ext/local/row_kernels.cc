#include "torch_ext/local/row_kernels.h"

namespace tinkex::torch_ext::local {
namespace {

const RowKernels& choose() {
#if defined(__x86_64__)
  const RowKernels* avx512 = avx512_row_kernels();
  if (avx512 != nullptr && __builtin_cpu_supports("avx512f") &&
      __builtin_cpu_supports("avx512bw")) {
    return *avx512;
  }
  const RowKernels* avx2 = avx2_row_kernels();
  if (avx2 != nullptr && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return *avx2;
  }
#endif
  return *baseline_row_kernels();
}

}  // namespace

const RowKernels& row_kernels() {
  static const RowKernels& chosen = choose();
  return chosen;
}

}  // namespace tinkex::torch_ext::local
