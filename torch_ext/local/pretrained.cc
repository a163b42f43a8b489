#include "torch_ext/local/pretrained.h"

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "torch_ext/local/file_io.h"
#include "torch_ext/local/folder_config.h"
#include "torch_ext/local/folder_weights.h"
#include "torch_ext/local/gguf_model.h"
#include "torch_ext/local/gguf_vocabulary.h"
#include "torch_ext/local/guard.h"
#include "torch_ext/local/memory.h"
#include "torch_ext/local/model_tokenizer.h"

namespace tinkex::torch_ext::local {
namespace {

namespace fs = std::filesystem;
using ModelResult = Result<std::shared_ptr<const BaseModel>>;

constexpr char kTokenizerFile[] = "tokenizer.json";

/// What loading asks for beside the path.
struct Request {
  at::ScalarType dtype;
  std::stop_token stop;
};

/// Refuses a model that does not fit, before the system ends the process for it.
Status check_memory(const fs::path& path, const ModelConfig& config, at::ScalarType dtype,
                    std::uint64_t largest_read) {
  const auto available = available_memory();
  if (!available) return ok_status();
  const double needed = memory_to_load(config, c10::elementSize(dtype), largest_read);
  if (needed <= static_cast<double>(*available)) return ok_status();
  const auto mebibytes = [](double bytes) { return std::to_string(std::llround(bytes / 1048576)); };
  return file_error(path, "to load it takes " + mebibytes(needed) + " MiB as " +
                              std::string(c10::toString(dtype)) + ", but only " +
                              mebibytes(static_cast<double>(*available)) +
                              " MiB of memory are free; use a smaller model");
}

/// Of weights that fit the configuration and the memory.
template <class Weights>
ModelResult assemble(const fs::path& path, const Weights& weights, const ModelConfig& config,
                     std::shared_ptr<const Tokenizer> tokenizer, const Request& request) {
  std::optional<Error> problem;
  const auto source = [&](const std::string& name) -> at::Tensor {
    if (!problem && request.stop.stop_requested()) {
      problem = Error(ErrorCode::kCancelled, path.string() + ": loading was called off");
    }
    if (problem) return {};
    Result<at::Tensor> tensor = weights.read(name);
    if (tensor) return *std::move(tensor);
    problem = std::move(tensor).error();
    return {};
  };
  auto model = BaseModel::from_tensors(config, source, request.dtype, std::move(tokenizer));
  if (problem) return *std::move(problem);
  if (model) return model;
  if (model.error().code() == ErrorCode::kInternal) {  // no memory: the file is not to blame
    return Error(model.error()).with_context(path.string());
  }
  return file_error(path, model.error().message());
}

ModelResult load_gguf(const fs::path& path, const Request& request) {
  const Result<GgufModel> gguf = GgufModel::open(path);
  if (!gguf) return gguf.error();
  const ModelConfig& config = gguf->config();
  Status fits = check_memory(path, config, request.dtype, gguf->largest_read());
  if (!fits) return fits.error();
  TokenizerResult tokenizer =
      gguf_tokenizer(*gguf->file(), {config.eos_token_ids, config.vocab_size});
  if (!tokenizer) return tokenizer.error();
  return assemble(path, *gguf, config, *std::move(tokenizer), request);
}

/// A folder that lacks a part of a model is told what makes one, with every part that it lacks.
Status check_parts(const fs::path& folder) {
  std::error_code problem;
  std::string missing;
  Status looked = ok_status();
  const auto is_there = [&](const char* name) {
    const fs::file_type type = fs::status(folder / name, problem).type();
    if (type == fs::file_type::none) {
      looked = io_error(folder / name, "cannot look at", problem.value());
    }
    return type != fs::file_type::none && type != fs::file_type::not_found;
  };
  const auto need = [&](const char* name, const char* or_else = nullptr) {
    if (is_there(name) || (or_else != nullptr && is_there(or_else))) return;
    missing += (missing.empty() ? "" : ", ") + std::string(name);
  };
  need("config.json");
  need("model.safetensors", "model.safetensors.index.json");
  need(kTokenizerFile);
  if (missing.empty()) return ok_status();
  if (!looked) return looked;  // What is there is not known.
  std::string remedy = "name such a folder or a .gguf file";
  for (fs::directory_iterator entry(folder, problem), end; !problem && entry != end;
       entry.increment(problem)) {
    if (entry->path().extension() == ".gguf") remedy = "name " + entry->path().string();
  }
  return file_error(folder,
                    "is no folder of a model, it lacks " + missing +
                        "; expected config.json, *.safetensors and tokenizer.json, as Hugging "
                        "Face's transformers writes them, or a GGUF file: " +
                        remedy);
}

ModelResult load_folder(const fs::path& path, const Request& request) {
  if (Status whole = check_parts(path); !whole) return whole.error();
  const Result<ModelConfig> config = folder_config(path);
  if (!config) return config.error();
  const Result<FolderWeights> weights = FolderWeights::open(path);
  if (!weights) return weights.error();
  Status fits = check_memory(path, *config, request.dtype, weights->largest_read());
  if (!fits) return fits.error();
  TokenizerResult tokenizer =
      json_tokenizer(path / kTokenizerFile, {config->eos_token_ids, config->vocab_size});
  if (!tokenizer) return tokenizer.error();
  if (Status known = weights->check(*config); !known) return known.error();
  return assemble(path, *weights, *config, *std::move(tokenizer), request);
}

TokenizerResult tokenizer_of_folder(const fs::path& path) {
  Result<FolderTokens> tokens = folder_tokens(path);
  if (!tokens) return tokens.error();
  return json_tokenizer(path / kTokenizerFile, {std::move(tokens->ends), tokens->vocab_size});
}

TokenizerResult tokenizer_of_gguf(const fs::path& path) {
  const auto file = GgufFile::open(path);
  if (!file) return file.error();
  Result<std::vector<std::int64_t>> ends = gguf_ends(**file);
  if (!ends) return ends.error();
  return gguf_tokenizer(**file, {*std::move(ends), std::nullopt});
}

}  // namespace

ModelResult load_pretrained(const fs::path& path, at::ScalarType dtype,
                            const std::stop_token& stop) {
  return guarded(
      [&] {
        std::error_code problem;
        const Request request{dtype, stop};
        return fs::is_directory(path, problem) ? load_folder(path, request)
                                               : load_gguf(path, request);
      },
      kNoMemoryForModel);
}

TokenizerResult load_tokenizer(const fs::path& path) {
  return guarded(
      [&] {
        std::error_code problem;
        if (fs::is_directory(path, problem)) return tokenizer_of_folder(path);
        if (path.extension() == ".json") return json_tokenizer(path, {});
        return tokenizer_of_gguf(path);
      },
      kNoMemoryForModel);
}

}  // namespace tinkex::torch_ext::local
