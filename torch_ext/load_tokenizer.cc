#include "torch_ext/load_tokenizer.h"

#include "torch_ext/local/pretrained.h"

namespace tinkex::torch_ext {

Result<std::shared_ptr<const Tokenizer>> load_tokenizer(const std::filesystem::path& path) {
  return local::load_tokenizer(path);
}

}  // namespace tinkex::torch_ext
