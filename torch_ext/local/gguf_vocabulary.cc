#include "torch_ext/local/gguf_vocabulary.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "tinkex/base/text.h"
#include "torch_ext/local/first_error.h"

namespace tinkex::torch_ext::local {
namespace {

using tokenizers::GgufVocabulary;

class VocabularyReader {
 public:
  explicit VocabularyReader(const GgufFile& file) : file_(file) {}

  Result<GgufVocabulary> read() {
    GgufVocabulary vocabulary;
    vocabulary.model = first_.take(file_.text("tokenizer.ggml.model"));
    // First: other kinds lack the fields of this one.
    if (!first_ && vocabulary.model != "gpt2") {
      return file_.error("the tokenizer model " + internal::quoted(vocabulary.model) +
                         " is not supported; only gpt2, byte-level BPE, is");
    }
    if (file_.contains("tokenizer.ggml.pre")) {
      vocabulary.pre = first_.take(file_.text("tokenizer.ggml.pre"));
    }
    vocabulary.tokens = texts("tokenizer.ggml.tokens");
    vocabulary.merges = texts("tokenizer.ggml.merges");
    for (const std::int64_t type : first_.take(file_.integers("tokenizer.ggml.token_type"))) {
      vocabulary.token_types.push_back(static_cast<std::int32_t>(type));
    }
    vocabulary.add_bos = flag("tokenizer.ggml.add_bos_token");
    vocabulary.add_eos = flag("tokenizer.ggml.add_eos_token");
    vocabulary.bos_token = integer("tokenizer.ggml.bos_token_id");
    vocabulary.eos_token = integer("tokenizer.ggml.eos_token_id");
    if (first_) return *first_;
    return vocabulary;
  }

 private:
  std::vector<std::string> texts(std::string_view key) {
    const auto found = first_.take(file_.texts(key));
    return {found.begin(), found.end()};
  }
  std::optional<bool> flag(std::string_view key) {
    if (!file_.contains(key)) return std::nullopt;
    return first_.take(file_.flag(key));
  }
  std::optional<std::int64_t> integer(std::string_view key) {
    if (!file_.contains(key)) return std::nullopt;
    return first_.take(file_.integer(key));
  }

  const GgufFile& file_;
  FirstError first_;
};

}  // namespace

Result<GgufVocabulary> gguf_vocabulary(const GgufFile& file) {
  return VocabularyReader(file).read();
}

Result<std::vector<std::int64_t>> gguf_ends(const GgufFile& file) {
  std::vector<std::int64_t> ends;
  for (const char* name : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
    if (!file.contains(name)) continue;
    const Result<std::int64_t> token = file.integer(name);
    if (!token) return token.error();
    if (std::find(ends.begin(), ends.end(), *token) == ends.end()) ends.push_back(*token);
  }
  return ends;
}

}  // namespace tinkex::torch_ext::local
