#include "torch_ext/local/pretrained.h"

#include <cmath>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "tinkex/base/text.h"
#include "tinkex/tokenizers/bpe_tokenizer.h"
#include "torch_ext/local/file_io.h"
#include "torch_ext/local/folder_config.h"
#include "torch_ext/local/folder_weights.h"
#include "torch_ext/local/gguf_model.h"
#include "torch_ext/local/memory.h"

namespace tinkex::torch_ext::local {
namespace {

namespace fs = std::filesystem;
using tokenizers::BpeTokenizer;
using tokenizers::GgufVocabulary;
using TokenizerResult = Result<std::shared_ptr<const Tokenizer>>;
using ModelResult = Result<std::shared_ptr<const BaseModel>>;

constexpr char kTokenizerFile[] = "tokenizer.json";
constexpr std::uint64_t kLargestTokenizer = std::uint64_t{256} << 20;

/// The tokenizer, if it fits the model; it learns from the model what ends a text.
TokenizerResult fitting(Result<BpeTokenizer> tokenizer, const ModelConfig& config,
                        const fs::path& file) {
  if (!tokenizer) return tokenizer.error();
  if (tokenizer->vocab_size() > config.vocab_size) {
    return file_error(file, "the tokenizer has " + std::to_string(tokenizer->vocab_size()) +
                                " tokens, the model only " + std::to_string(config.vocab_size));
  }
  if (!config.eos_token_ids.empty()) {
    if (Status set = tokenizer->set_eos_token(config.eos_token_ids.front()); !set) {
      return file_error(file, set.error().message());
    }
  }
  return std::shared_ptr<const Tokenizer>(std::make_shared<BpeTokenizer>(*std::move(tokenizer)));
}

/// Reads the fields of a GGUF file's tokenizer and remembers the first error.
class VocabularyReader {
 public:
  explicit VocabularyReader(const GgufFile& file) : file_(file) {}

  Result<GgufVocabulary> read() {
    GgufVocabulary vocabulary;
    vocabulary.model = take(file_.text("tokenizer.ggml.model"));
    if (file_.contains("tokenizer.ggml.pre")) {
      vocabulary.pre = take(file_.text("tokenizer.ggml.pre"));
    }
    vocabulary.tokens = texts("tokenizer.ggml.tokens");
    vocabulary.merges = texts("tokenizer.ggml.merges");
    for (const std::int64_t type : take(file_.integers("tokenizer.ggml.token_type"))) {
      vocabulary.token_types.push_back(static_cast<std::int32_t>(type));
    }
    vocabulary.add_bos = flag("tokenizer.ggml.add_bos_token");
    vocabulary.add_eos = flag("tokenizer.ggml.add_eos_token");
    vocabulary.bos_token = integer("tokenizer.ggml.bos_token_id");
    vocabulary.eos_token = integer("tokenizer.ggml.eos_token_id");
    if (problem_) return *std::move(problem_);
    return vocabulary;
  }

 private:
  template <class T>
  T take(Result<T> result) {
    if (result) return *std::move(result);
    if (!problem_) problem_ = std::move(result).error();
    return T{};
  }
  std::vector<std::string> texts(std::string_view key) {
    const auto found = take(file_.texts(key));
    return {found.begin(), found.end()};
  }
  std::optional<bool> flag(std::string_view key) {
    if (!file_.contains(key)) return std::nullopt;
    return take(file_.flag(key));
  }
  std::optional<std::int64_t> integer(std::string_view key) {
    if (!file_.contains(key)) return std::nullopt;
    return take(file_.integer(key));
  }

  const GgufFile& file_;
  std::optional<Error> problem_;
};

/// Refuses a model that does not fit, before the system ends the process for it.
Status check_memory(const fs::path& path, const ModelConfig& config, at::ScalarType dtype) {
  const auto available = available_memory();
  if (!available) return ok_status();
  const double needed = config.parameter_count() * static_cast<double>(c10::elementSize(dtype));
  if (needed <= static_cast<double>(*available)) return ok_status();
  const auto mebibytes = [](double bytes) { return std::to_string(std::llround(bytes / 1048576)); };
  return file_error(path, "its weights need " + mebibytes(needed) + " MiB as " +
                              std::string(c10::toString(dtype)) + ", but only " +
                              mebibytes(static_cast<double>(*available)) +
                              " MiB of memory are free; use a smaller model");
}

/// What happens while the weights are taken.
struct Loading {
  std::optional<Error> problem;  ///< The first weight that could not be read.
  std::set<std::string> asked;
};

template <class Weights>
ModelResult assemble(const fs::path& path, const Weights& weights, const ModelConfig& config,
                     std::shared_ptr<const Tokenizer> tokenizer, at::ScalarType dtype,
                     Loading& loading) {
  if (Status fits = check_memory(path, config, dtype); !fits) return fits.error();
  const auto source = [&](const std::string& name) -> at::Tensor {
    loading.asked.insert(name);
    if (loading.problem || !weights.contains(name)) return {};
    Result<at::Tensor> tensor = weights.read(name);
    if (tensor) return *std::move(tensor);
    loading.problem = std::move(tensor).error();
    return {};
  };
  auto model = BaseModel::from_tensors(config, source, dtype, std::move(tokenizer));
  if (loading.problem) return *std::move(loading.problem);
  if (!model) return file_error(path, model.error().message());
  return model;
}

Result<BpeTokenizer> gguf_tokenizer(const GgufFile& file) {
  Result<GgufVocabulary> vocabulary = VocabularyReader(file).read();
  if (!vocabulary) return vocabulary.error();
  Result<BpeTokenizer> tokenizer = BpeTokenizer::from_gguf(*std::move(vocabulary));
  if (!tokenizer) return file_error(file.path(), tokenizer.error().message());
  return tokenizer;
}

Result<BpeTokenizer> json_tokenizer(const fs::path& file) {
  const Result<std::string> json = read_file(file, kLargestTokenizer);
  if (!json) return json.error();
  Result<BpeTokenizer> tokenizer = BpeTokenizer::from_json(*json);
  if (!tokenizer) return file_error(file, tokenizer.error().message());
  return tokenizer;
}

ModelResult load_gguf(const fs::path& path, at::ScalarType dtype) {
  const Result<GgufModel> gguf = GgufModel::open(path);
  if (!gguf) return gguf.error();
  TokenizerResult tokenizer = fitting(gguf_tokenizer(*gguf->file()), gguf->config(), path);
  if (!tokenizer) return tokenizer.error();
  Loading loading;
  return assemble(path, *gguf, gguf->config(), *std::move(tokenizer), dtype, loading);
}

/// Whether a tensor of a folder may go unread: it repeats what is elsewhere.
bool is_redundant(const std::string& name, const ModelConfig& config) {
  return name.ends_with("rotary_emb.inv_freq") ||
         (config.tie_word_embeddings && name == "lm_head.weight");
}

/// A weight that nothing asks for would change the model's answers if it were used.
Status check_all_known(const fs::path& path, const FolderWeights& weights,
                       const std::set<std::string>& asked, const ModelConfig& config) {
  for (const std::string& name : weights.names()) {
    if (asked.count(name) == 0 && !is_redundant(name, config)) {
      return file_error(path,
                        "tensor " + internal::quoted(name) + " is not expected in this model");
    }
  }
  return ok_status();
}

ModelResult load_folder(const fs::path& path, at::ScalarType dtype) {
  const Result<ModelConfig> config = folder_config(path);
  if (!config) return config.error();
  const Result<FolderWeights> weights = FolderWeights::open(path);
  if (!weights) return weights.error();
  const fs::path file = path / kTokenizerFile;
  TokenizerResult tokenizer = fitting(json_tokenizer(file), *config, file);
  if (!tokenizer) return tokenizer.error();
  Loading loading;
  auto model = assemble(path, *weights, *config, *std::move(tokenizer), dtype, loading);
  if (!model) return model;
  Status all = check_all_known(path, *weights, loading.asked, *config);
  if (!all) return all.error();
  return model;
}

}  // namespace

ModelResult load_pretrained(const fs::path& path, at::ScalarType dtype) {
  std::error_code problem;
  if (fs::is_directory(path, problem)) return load_folder(path, dtype);
  return load_gguf(path, dtype);
}

TokenizerResult load_tokenizer(const fs::path& path) {
  std::error_code problem;
  if (fs::is_directory(path, problem)) {
    const Result<ModelConfig> config = folder_config(path);
    if (!config) return config.error();
    return fitting(json_tokenizer(path / kTokenizerFile), *config, path);
  }
  if (path.extension() == ".json") {
    Result<BpeTokenizer> tokenizer = json_tokenizer(path);
    if (!tokenizer) return tokenizer.error();
    return TokenizerResult(std::make_shared<BpeTokenizer>(*std::move(tokenizer)));
  }
  const Result<GgufModel> gguf = GgufModel::open(path);
  if (!gguf) return gguf.error();
  return fitting(gguf_tokenizer(*gguf->file()), gguf->config(), path);
}

}  // namespace tinkex::torch_ext::local
