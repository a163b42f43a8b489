#include <variant>

#include "tinkex/wire/codec.h"
#include "tinkex/wire/input_rules.h"

namespace tinkex::wire {
namespace {

constexpr std::size_t kBytesPerToken = 4;
constexpr std::size_t kBytesPerIndex = 8;

struct ChunkBytes {
  std::size_t operator()(const EncodedTextChunk& text) const {
    return kBytesPerToken * text.tokens.size();
  }
  std::size_t operator()(const ImageChunk& image) const { return image.data.size(); }
  std::size_t operator()(const ImageAssetPointerChunk& image) const {
    return image.location.size();
  }
};

struct ChunkNumbers {
  std::size_t operator()(const EncodedTextChunk& text) const { return text.tokens.size(); }
  std::size_t operator()(const ImageChunk& image) const {
    return count(image.expected_tokens, image.data.size());
  }
  std::size_t operator()(const ImageAssetPointerChunk& image) const {
    return count(image.expected_tokens, image.location.size());
  }

 private:
  static std::size_t count(std::optional<std::int32_t> expected_tokens, std::size_t bytes) {
    return expected_tokens && *expected_tokens >= 0 ? static_cast<std::size_t>(*expected_tokens)
                                                    : bytes;
  }
};

}  // namespace

std::size_t estimate_bytes(const Datum& datum) {
  std::size_t bytes = 0;
  for (const ModelInputChunk& chunk : datum.model_input.chunks) {
    bytes += std::visit(ChunkBytes{}, chunk);
  }
  for (const auto& [name, tensor] : datum.loss_fn_inputs) {
    bytes += tensor.size() * size_of(wire_dtype(name, tensor));
    bytes += kBytesPerIndex * (tensor.crow_indices().size() + tensor.col_indices().size());
  }
  return bytes;
}

std::size_t count_numbers(const Datum& datum) {
  std::size_t numbers = 0;
  for (const ModelInputChunk& chunk : datum.model_input.chunks) {
    numbers += std::visit(ChunkNumbers{}, chunk);
  }
  for (const auto& [name, tensor] : datum.loss_fn_inputs) numbers += tensor.size();
  return numbers;
}

}  // namespace tinkex::wire
