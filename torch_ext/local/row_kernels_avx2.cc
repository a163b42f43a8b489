#include "torch_ext/local/row_kernels.h"

#if defined(__AVX2__) && defined(__FMA__)

#define TINKEX_VECTOR_BYTES 32
#define TINKEX_TILE_OUTS 2
#define TINKEX_PANEL_ROWS 6
#define TINKEX_KERNELS_NAME "avx2"
#include "torch_ext/local/row_kernels_inl.h"

namespace tinkex::torch_ext::local {

const RowKernels* avx2_row_kernels() { return &kKernels; }

}  // namespace tinkex::torch_ext::local

#else

namespace tinkex::torch_ext::local {

const RowKernels* avx2_row_kernels() { return nullptr; }

}  // namespace tinkex::torch_ext::local

#endif
