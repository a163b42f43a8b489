#define TINKEX_VECTOR_BYTES 16
#define TINKEX_TILE_OUTS 2
#define TINKEX_PANEL_ROWS 6
#define TINKEX_KERNELS_NAME "baseline"
#include "torch_ext/local/row_kernels_inl.h"

namespace tinkex::torch_ext::local {

const RowKernels* baseline_row_kernels() { return &kKernels; }

}  // namespace tinkex::torch_ext::local
