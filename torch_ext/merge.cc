#include "torch_ext/merge.h"

#include "torch_ext/local/merge.h"
#include "torch_ext/local/weight_type.h"

namespace tinkex::torch_ext {

Status merge_adapter(const std::filesystem::path& base_model,
                     const std::filesystem::path& checkpoint, const std::filesystem::path& out,
                     local::WeightType weight_type) {
  return local::merge_adapter(base_model, checkpoint, out, local::scalar_type(weight_type));
}

}  // namespace tinkex::torch_ext
