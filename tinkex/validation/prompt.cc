#include "tinkex/validation/prompt.h"

#include <string>
#include <variant>

#include "tinkex/base/shape.h"
#include "tinkex/base/text.h"
#include "tinkex/validation/tensor_scan.h"

namespace tinkex::internal {
namespace {

/// Checks one chunk of a prompt.
struct ChunkCheck {
  Place place;
  Problems& problems;

  void operator()(const EncodedTextChunk& text) const {
    const TensorData& tokens = text.tokens;
    if (tokens.shape().size() != 1 || tokens.is_sparse() || !is_readable(tokens)) {
      problems.add(place, "a dense 1-D array of tokens",
                   (tokens.is_sparse() ? "sparse, shape " : "shape ") + shape_text(tokens.shape()),
                   "give each sequence a datum or prompt of its own");
      return;
    }
    if (tokens.size() == 0) return;  // an empty chunk beside others is harmless
    if (!holds_integers(tokens)) {
      problems.add(place, "integer token ids", to_string(tokens.dtype()),
                   "convert the tokens to int64 or int32");
      return;
    }
    if (const auto bad = find_not_a_token(tokens)) {
      problems.add(place, "token ids in [0, 2147483648)",
                   element_text(tokens, *bad) + " at position " + std::to_string(*bad),
                   "encode the text with the model's own tokenizer");
    }
  }

  void operator()(const ImageChunk& image) const {
    if (image.data.empty()) {
      problems.add(place, "the bytes of an image file", "none", "fill ImageChunk::data");
    }
    check_image(image.format, image.expected_tokens);
  }

  void operator()(const ImageAssetPointerChunk& image) const {
    if (image.location.empty()) {
      problems.add(place, "the location of an image", "an empty text", "fill in `location`");
    }
    check_image(image.format, image.expected_tokens);
  }

  void check_image(const std::string& format, std::optional<std::int32_t> tokens) const {
    if (format != "png" && format != "jpeg") {
      problems.add(place, "image format 'png' or 'jpeg'", quoted(format), "convert the image");
    }
    if (tokens && *tokens < 0) {
      problems.add(place, "expected_tokens of 0 or more", std::to_string(*tokens),
                   "leave it out if it is not known");
    }
  }
};

}  // namespace

void check_prompt(const ModelInput& prompt, std::optional<std::size_t> datum, Problems& problems) {
  if (prompt.length() == std::size_t{0}) {
    problems.add({datum, "model_input"}, "at least one token", "none",
                 "leave such examples out of the batch");
  }
  for (std::size_t i = 0; i < prompt.chunks.size(); ++i) {
    const std::string field =
        prompt.chunks.size() == 1 ? "model_input" : "model_input chunk " + std::to_string(i);
    std::visit(ChunkCheck{{datum, field}, problems}, prompt.chunks[i]);
  }
}

Status validate_prompt(const ModelInput& prompt) {
  Problems problems;
  check_prompt(prompt, std::nullopt, problems);
  return problems.status();
}

}  // namespace tinkex::internal
