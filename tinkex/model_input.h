#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "tinkex/tensor_data.h"

namespace tinkex {

/// A run of token ids: 1-D, integer, each in [0, 2^31).
struct EncodedTextChunk {
  TensorData tokens;
};

/// An image, as the bytes of a PNG or JPEG file.
struct ImageChunk {
  std::string data;    ///< Raw file bytes, not base64.
  std::string format;  ///< "png" or "jpeg".
  /// How many tokens the image will count as. Advisory: the server counts for itself.
  std::optional<std::int32_t> expected_tokens;
};

/// An image that the server fetches itself. JSON only.
struct ImageAssetPointerChunk {
  std::string location;
  std::string format;
  std::optional<std::int32_t> expected_tokens;
};

using ModelInputChunk = std::variant<EncodedTextChunk, ImageChunk, ImageAssetPointerChunk>;

/// What a model reads: text and images in order.
struct ModelInput {
  std::vector<ModelInputChunk> chunks;

  ModelInput() = default;
  explicit ModelInput(std::vector<ModelInputChunk> parts) : chunks(std::move(parts)) {}

  /// One text chunk.
  static ModelInput from_tokens(TensorData tokens);
  static ModelInput from_tokens(std::vector<std::int64_t> tokens);

  /// Length in tokens; nullopt if an image does not say how many it counts as.
  std::optional<std::size_t> length() const;
  /// All text tokens in order. Images are left out.
  std::vector<std::int64_t> text_tokens() const;
};

}  // namespace tinkex
