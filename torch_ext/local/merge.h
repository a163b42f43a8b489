#pragma once

#include <c10/core/ScalarType.h>

#include <filesystem>

#include "tinkex/error.h"

namespace tinkex::torch_ext::local {

/// See torch_ext/merge.h; `dtype` is float32 or bfloat16, that of the weights that are written.
Status merge_adapter(const std::filesystem::path& base_model,
                     const std::filesystem::path& checkpoint, const std::filesystem::path& out,
                     at::ScalarType dtype);

}  // namespace tinkex::torch_ext::local
