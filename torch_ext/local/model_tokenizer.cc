#include "torch_ext/local/model_tokenizer.h"

#include <nlohmann/json.hpp>
#include <string>
#include <system_error>
#include <utility>

#include "tinkex/base/text.h"
#include "tinkex/tokenizers/bpe_tokenizer.h"
#include "torch_ext/local/file_io.h"
#include "torch_ext/local/gguf_vocabulary.h"
#include "torch_ext/local/json_file.h"

namespace tinkex::torch_ext::local {
namespace {

namespace fs = std::filesystem;
using tokenizers::BpeTokenizer;

/// Reading one takes 20 times its size in memory.
constexpr std::uint64_t kLargestTokenizer = std::uint64_t{64} << 20;
constexpr std::uint64_t kLargestConfig = std::uint64_t{16} << 20;

/// The tokenizer, if it fits.
TokenizerResult framed(Result<BpeTokenizer> tokenizer, const TokenizerFrame& frame,
                       const fs::path& file) {
  if (!tokenizer) return file_error(file, tokenizer.error().message());
  if (frame.vocab_size && tokenizer->vocab_size() > *frame.vocab_size) {
    return file_error(file, "the tokenizer has " + std::to_string(tokenizer->vocab_size()) +
                                " tokens, the model only " + std::to_string(*frame.vocab_size));
  }
  if (!frame.ends.empty()) {
    if (Status set = tokenizer->set_eos_token(frame.ends.front()); !set) {
      return file_error(file, set.error().message());
    }
  }
  return TokenizerResult(std::make_shared<BpeTokenizer>(*std::move(tokenizer)));
}

/// Takes the end of a text from a tokenizer_config.json, where it is a token's text, or an object
/// that has it.
Status take_end(const fs::path& file, BpeTokenizer& tokenizer) {
  std::error_code missing;
  if (!fs::exists(file, missing)) return ok_status();
  const Result<nlohmann::json> json = read_json_object(file, kLargestConfig);
  if (!json) return json.error();
  auto end = json->find("eos_token");
  if (end == json->end() || end->is_null()) return ok_status();
  const nlohmann::json token = end->is_object() ? end->value("content", nlohmann::json()) : *end;
  if (!token.is_string()) return file_error(file, "eos_token is no text");
  const auto text = token.get<std::string>();
  const std::optional<std::int64_t> id = tokenizer.token_to_id(text);
  if (!id) {
    return file_error(file, "eos_token " + internal::quoted(text) + " is not in tokenizer.json");
  }
  return tokenizer.set_eos_token(*id);
}

}  // namespace

TokenizerResult json_tokenizer(const fs::path& file, const TokenizerFrame& frame) {
  const Result<std::string> json = read_file(file, kLargestTokenizer);
  if (!json) return json.error();
  Result<BpeTokenizer> tokenizer = BpeTokenizer::from_json(*json);
  if (tokenizer && frame.ends.empty()) {
    const fs::path config = file.parent_path() / "tokenizer_config.json";
    if (Status taken = take_end(config, *tokenizer); !taken) return taken.error();
  }
  return framed(std::move(tokenizer), frame, file);
}

TokenizerResult gguf_tokenizer(const GgufFile& file, const TokenizerFrame& frame) {
  Result<tokenizers::GgufVocabulary> vocabulary = gguf_vocabulary(file);
  if (!vocabulary) return vocabulary.error();
  return framed(BpeTokenizer::from_gguf(*std::move(vocabulary)), frame, file.path());
}

}  // namespace tinkex::torch_ext::local
