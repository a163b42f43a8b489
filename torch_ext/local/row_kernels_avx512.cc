#include "torch_ext/local/row_kernels.h"

#if defined(__AVX512F__) && defined(__AVX512BW__)

#define TINKEX_VECTOR_BYTES 64
#define TINKEX_TILE_OUTS 4
#define TINKEX_PANEL_ROWS 12
#define TINKEX_KERNELS_NAME "avx512"
#include "torch_ext/local/row_kernels_inl.h"

namespace tinkex::torch_ext::local {

const RowKernels* avx512_row_kernels() { return &kKernels; }

}  // namespace tinkex::torch_ext::local

#else

namespace tinkex::torch_ext::local {

const RowKernels* avx512_row_kernels() { return nullptr; }

}  // namespace tinkex::torch_ext::local

#endif
