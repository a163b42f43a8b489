#include "torch_ext/merge.h"

#include "torch_ext/local/file_io.h"
#include "torch_ext/local/merge.h"
#include "torch_ext/local/weight_type.h"

namespace tinkex::torch_ext {

Status merge_adapter(const std::filesystem::path& base_model,
                     const std::filesystem::path& checkpoint, const std::filesystem::path& out,
                     local::WeightType weight_type) {
  return local::merge_adapter(base_model, checkpoint, out, local::scalar_type(weight_type));
}

bool is_unfinished_merge(std::string_view name) {
  return local::AtomicDirectory::is_temporary_name(name);
}

}  // namespace tinkex::torch_ext
