#include "torch_ext/local/model_tokenizer.h"

#include <string>
#include <string_view>
#include <utility>

#include "tinkex/base/text.h"
#include "tinkex/chat_template.h"
#include "tinkex/tokenizers/bpe_tokenizer.h"
#include "torch_ext/local/file_io.h"
#include "torch_ext/local/gguf_vocabulary.h"
#include "torch_ext/local/tokenizer_config.h"

namespace tinkex::torch_ext::local {
namespace {

namespace fs = std::filesystem;
using tokenizers::BpeTokenizer;
using tokenizers::GgufVocabulary;

/// Reading one takes 20 times its size in memory.
constexpr std::uint64_t kLargestTokenizer = std::uint64_t{64} << 20;

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

/// Takes the end of a text from a tokenizer_config.json that tells it.
Status take_end(const TokenizerConfig& config, BpeTokenizer& tokenizer) {
  const Result<std::optional<std::string>> text = config.token("eos_token");
  if (!text) return text.error();
  if (!*text) return ok_status();
  const std::optional<std::int64_t> id = tokenizer.token_to_id(**text);
  if (!id) {
    return config.error("eos_token " + internal::quoted(**text) + " is not in tokenizer.json");
  }
  return tokenizer.set_eos_token(*id);
}

/// The template in a GGUF file; null if it has none.
ChatTemplateResult chat_template_of(const GgufFile& file, const GgufVocabulary& vocabulary) {
  constexpr char kKey[] = "tokenizer.chat_template";
  if (!file.contains(kKey)) return std::shared_ptr<const ChatTemplate>();
  const Result<std::string_view> text = file.text(kKey);
  if (!text) return text.error();
  const auto token = [&](const std::optional<std::int64_t>& id) -> std::string {
    const bool there = id && *id >= 0 && static_cast<std::size_t>(*id) < vocabulary.tokens.size();
    return there ? vocabulary.tokens[static_cast<std::size_t>(*id)] : "";
  };
  Result<ChatTemplate> made =
      ChatTemplate::parse(*text, token(vocabulary.bos_token), token(vocabulary.eos_token));
  if (!made) return file.error(made.error().message());
  return ChatTemplateResult(std::make_shared<const ChatTemplate>(*std::move(made)));
}

}  // namespace

TokenizerResult json_tokenizer(const fs::path& file, const TokenizerFrame& frame) {
  const Result<std::string> json = read_file(file, kLargestTokenizer);
  if (!json) return json.error();
  Result<BpeTokenizer> tokenizer = BpeTokenizer::from_json(*json);
  const Result<TokenizerConfig> config = TokenizerConfig::open(file.parent_path());
  if (tokenizer && frame.ends.empty()) {
    Status taken = config ? take_end(*config, *tokenizer) : config.error();
    if (!taken) return taken.error();
  }
  if (tokenizer) {
    tokenizer->set_chat_template(config ? config->chat_template() : config.error());
  }
  return framed(std::move(tokenizer), frame, file);
}

TokenizerResult gguf_tokenizer(const GgufFile& file, const TokenizerFrame& frame) {
  Result<GgufVocabulary> vocabulary = gguf_vocabulary(file);
  if (!vocabulary) return vocabulary.error();
  ChatTemplateResult chat = chat_template_of(file, *vocabulary);
  Result<BpeTokenizer> tokenizer = BpeTokenizer::from_gguf(*std::move(vocabulary));
  if (tokenizer) tokenizer->set_chat_template(std::move(chat));
  return framed(std::move(tokenizer), frame, file.path());
}

}  // namespace tinkex::torch_ext::local
