#include "tinkex/validation/prompt.h"

#include <string>
#include <variant>

#include "tinkex/base/shape.h"
#include "tinkex/base/text.h"

namespace tinkex::internal {
namespace {

std::string_view signature_of(std::string_view format) {
  return format == "png" ? "\x89PNG" : "\xff\xd8\xff";
}

/// The first bytes of a file, as "69 56 42 4f".
std::string first_bytes(std::string_view data) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const char c : data.substr(0, 4)) {
    const auto byte = static_cast<unsigned char>(c);
    if (!text.empty()) text += ' ';
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

/// Checks one chunk of a prompt.
struct ChunkCheck {
  Place place;
  const PromptRules& rules;
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
    if (const auto bad = find_not_a_token(tokens, rules.token_limit)) {
      problems.add(place, rules.expected_tokens(),
                   element_text(tokens, *bad) + " at position " + std::to_string(*bad),
                   "encode the text with the model's own tokenizer");
    }
  }

  void operator()(const ImageChunk& image) const {
    const bool known_format = check_image(image.format, image.expected_tokens);
    if (image.data.empty()) {
      problems.add(place, "the bytes of an image file", "none", "fill ImageChunk::data");
    } else if (known_format && !image.data.starts_with(signature_of(image.format))) {
      problems.add(place, "the bytes of a " + image.format + " file",
                   "data that begins with the bytes " + first_bytes(image.data),
                   "give the file's bytes as they are, not base64, and their own format");
    }
  }

  void operator()(const ImageAssetPointerChunk& image) const {
    if (!rules.image_pointers) {
      problems.add(place, "an image with its data", "an ImageAssetPointerChunk",
                   "protobuf has no form for it: pass an ImageChunk, or set "
                   "ClientOptions::wire_format to kJson");
    }
    if (image.location.empty() || !is_utf8(image.location)) {
      problems.add(place, "the location of an image, in UTF-8",
                   image.location.empty() ? "an empty text" : quoted(image.location),
                   "fill in `location`");
    }
    check_image(image.format, image.expected_tokens);
  }

  /// Whether the format is known.
  bool check_image(const std::string& format, std::optional<std::int32_t> tokens) const {
    if (tokens && *tokens < 0) {
      problems.add(place, "expected_tokens of 0 or more", std::to_string(*tokens),
                   "leave it out if it is not known");
    }
    if (format == "png" || format == "jpeg") return true;
    problems.add(place, "image format 'png' or 'jpeg'", quoted(format), "convert the image");
    return false;
  }
};

}  // namespace

std::string PromptRules::expected_tokens() const {
  return "token ids in [0, " + std::to_string(token_limit) + ")";
}

PromptRules prompt_rules(const ValidationOptions& options, Problems& problems) {
  PromptRules rules;
  rules.image_pointers = options.wire_format != WireFormat::kProtobuf;
  if (!options.vocabulary_size) return rules;
  if (*options.vocabulary_size >= 1 && *options.vocabulary_size <= kTokenLimit) {
    rules.token_limit = *options.vocabulary_size;
  } else {
    problems.add({std::nullopt, "vocabulary_size"},
                 "the number of tokens, in [1, " + std::to_string(kTokenLimit) + "]",
                 std::to_string(*options.vocabulary_size), "leave it out if it is not known");
  }
  return rules;
}

void check_prompt(const ModelInput& prompt, const Place& place, const PromptRules& rules,
                  Problems& problems) {
  if (prompt.length() == std::size_t{0}) {
    problems.add(place, "at least one token", "none",
                 place.datum ? "leave such examples out of the batch"
                             : "begin with the model's start token where there is no text");
  }
  const std::string name(place.field);
  for (std::size_t i = 0; i < prompt.chunks.size(); ++i) {
    const std::string field =
        prompt.chunks.size() == 1 ? name : name + " chunk " + std::to_string(i);
    std::visit(ChunkCheck{{place.datum, field}, rules, problems}, prompt.chunks[i]);
  }
}

}  // namespace tinkex::internal
