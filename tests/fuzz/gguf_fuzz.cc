#include <span>
#include <string>
#include <vector>

#include "tests/fuzz/properties.h"
#include "torch_ext/local/gguf.h"
#include "torch_ext/local/gguf_config.h"
#include "torch_ext/local/gguf_vocabulary.h"
#include "torch_ext/local/gguf_weights.h"

namespace {

using namespace tinkex;
using namespace tinkex::torch_ext::local;

template <class T>
void check(const Result<T>& result) {
  if (!result.ok()) fuzz::check_error(result.error(), {ErrorCode::kIo});
}

/// Asks for every value as every type.
void check_metadata(const GgufFile& file) {
  for (const std::string& key : file.keys()) {
    TINKEX_FUZZ_CHECK(file.contains(key));
    check(file.flag(key));
    check(file.integer(key));
    check(file.number(key));
    check(file.text(key));
    check(file.integers(key));
    check(file.numbers(key));
    check(file.texts(key));
  }
}

/// Element counts are bounded by the file: at most 32 of them take 18 bytes.
void check_tensors(const GgufFile& file, std::size_t size) {
  std::size_t elements = 0;
  for (const GgufTensor& tensor : file.tensors()) {
    TINKEX_FUZZ_CHECK(file.find(tensor.name) == &tensor);
    elements +=
        static_cast<std::size_t>(tensor.size) / static_cast<std::size_t>(tensor.type->block_bytes);
    std::vector<float> numbers(static_cast<std::size_t>(tensor.elements()));
    const Status status = file.widen(tensor, numbers);
    check(status);
    TINKEX_FUZZ_CHECK(status.ok() == (tensor.type->widen != nullptr));
  }
  TINKEX_FUZZ_CHECK(elements <= size);
}

void check_model(const GgufFile& file) {
  const Result<ModelConfig> config = gguf_config(file);
  check(config);
  if (!config.ok()) return;
  TINKEX_FUZZ_CHECK(validate(*config).ok());
  const Result<std::vector<GgufWeight>> weights = gguf_weights(file, *config);
  check(weights);
  if (!weights.ok()) return;
  for (const GgufWeight& weight : *weights) {
    std::vector<float> numbers(static_cast<std::size_t>(weight.tensor->elements()));
    TINKEX_FUZZ_CHECK(widen(file, weight, numbers).ok());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::AllocationMeter meter;
  const auto file = GgufFile::parse("fuzz.gguf", std::as_bytes(std::span(data, size)), nullptr);
  check(file);
  if (file.ok()) {
    check_metadata(**file);
    check_tensors(**file, size);
    check(gguf_vocabulary(**file));
    check_model(**file);
  }
  TINKEX_FUZZ_CHECK(meter.peak() <= fuzz::allowed_memory(size));
  return 0;
}
