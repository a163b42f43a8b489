#include "tinkex/model_input.h"

namespace tinkex {
namespace {

template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

std::optional<std::size_t> image_length(std::optional<std::int32_t> expected_tokens) {
  if (!expected_tokens || *expected_tokens < 0) return std::nullopt;
  return static_cast<std::size_t>(*expected_tokens);
}

}  // namespace

ModelInput ModelInput::from_tokens(TensorData tokens) {
  std::vector<ModelInputChunk> chunks;
  chunks.emplace_back(EncodedTextChunk{std::move(tokens)});
  return ModelInput(std::move(chunks));
}

ModelInput ModelInput::from_tokens(std::vector<std::int64_t> tokens) {
  return from_tokens(TensorData::from(std::move(tokens)));
}

std::optional<std::size_t> ModelInput::length() const {
  std::size_t total = 0;
  for (const ModelInputChunk& chunk : chunks) {
    const std::optional<std::size_t> part = std::visit(
        Overloaded{
            [](const EncodedTextChunk& text) { return std::optional(text.tokens.size()); },
            [](const ImageChunk& image) { return image_length(image.expected_tokens); },
            [](const ImageAssetPointerChunk& image) { return image_length(image.expected_tokens); },
        },
        chunk);
    if (!part) return std::nullopt;
    total += *part;
  }
  return total;
}

std::vector<std::int64_t> ModelInput::text_tokens() const {
  std::vector<std::int64_t> tokens;
  for (const ModelInputChunk& chunk : chunks) {
    if (const auto* text = std::get_if<EncodedTextChunk>(&chunk)) {
      const std::vector<std::int64_t> part = text->tokens.to_ints();
      tokens.insert(tokens.end(), part.begin(), part.end());
    }
  }
  return tokens;
}

}  // namespace tinkex
