#include "torch_ext/local/merge.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "torch_ext/local/adapter.h"
#include "torch_ext/local/base_model.h"
#include "torch_ext/local/checkpoint.h"
#include "torch_ext/local/file_io.h"
#include "torch_ext/local/folder_config.h"
#include "torch_ext/local/folder_weights.h"
#include "torch_ext/local/gguf_model.h"
#include "torch_ext/local/guard.h"
#include "torch_ext/local/json_file.h"
#include "torch_ext/local/model_files.h"
#include "torch_ext/local/model_weights.h"
#include "torch_ext/local/safetensors.h"

namespace tinkex::torch_ext::local {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::uint64_t kLargestConfig = std::uint64_t{16} << 20;
constexpr char kEmbedding[] = "model.embed_tokens.weight";
constexpr char kUnembed[] = "lm_head.weight";

/// The model that is merged into: its weights stay in its files.
struct Base {
  fs::path path;
  ModelConfig config;
  Json json;  ///< Its config.json.
  std::function<Result<at::Tensor>(const std::string& name)> read;
  std::function<Status(const fs::path& folder)> write_tokenizer;
};

Result<Base> open_folder(const fs::path& path) {
  Result<ModelConfig> config = folder_config(path);
  if (!config) return config.error();
  Result<Json> json = read_json_object(path / "config.json", kLargestConfig);
  if (!json) return json.error();
  Result<FolderWeights> opened = FolderWeights::open(path);
  if (!opened) return opened.error();
  if (const Status known = opened->check(*config); !known) return known.error();
  auto weights = std::make_shared<const FolderWeights>(*std::move(opened));
  return Base{.path = path,
              .config = *std::move(config),
              .json = *std::move(json),
              .read = [weights](const std::string& name) { return weights->read(name); },
              .write_tokenizer = [path](const fs::path& to) { return copy_tokenizer(path, to); }};
}

Result<Base> open_gguf(const fs::path& path) {
  Result<GgufModel> opened = GgufModel::open(path);
  if (!opened) return opened.error();
  Result<Json> json = config_json(opened->config());
  if (!json) return file_error(path, json.error().message());
  auto model = std::make_shared<const GgufModel>(*std::move(opened));
  return Base{.path = path,
              .config = model->config(),
              .json = *std::move(json),
              .read = [model](const std::string& name) { return model->read(name); },
              .write_tokenizer =
                  [model](const fs::path& to) { return write_tokenizer(*model->file(), to); }};
}

/// Of the base as a backend holds it in `dtype`.
Result<std::string> digest_of(const Base& base, at::ScalarType dtype) {
  std::optional<Error> problem;
  const auto source = [&](const std::string& name) -> at::Tensor {
    if (problem) return {};
    Result<at::Tensor> tensor = base.read(name);
    if (tensor) return *std::move(tensor);
    problem = std::move(tensor).error();
    return {};
  };
  Result<std::string> digest = BaseModel::digest_of(base.config, source, dtype);
  if (problem) return *std::move(problem);
  return digest;
}

/// The adapter of a checkpoint that belongs to the base, whichever way the run held its weights.
Result<std::shared_ptr<const Adapter>> adapter_for(const Base& base, const fs::path& checkpoint) {
  const Result<CheckpointInfo> info = read_checkpoint_info(checkpoint);
  if (!info) return info.error();
  Result<std::string> digest = digest_of(base, at::ScalarType::Float);
  if (!digest) return digest.error();
  if (*digest != info->base_digest) {
    const Result<std::string> narrow = digest_of(base, at::ScalarType::BFloat16);
    if (!narrow) return narrow.error();
    if (*narrow == info->base_digest) digest = narrow;
  }
  return read_adapter(checkpoint, base.config, *digest, at::ScalarType::Float);
}

/// The model that is written.
class MergedModel {
 public:
  MergedModel(const Base& base, const Adapter& adapter, at::ScalarType dtype)
      : base_(base), adapter_(adapter), dtype_(dtype), config_(base.config) {
    // An unembedding that was adapted is no longer the embedding.
    if (adapter.layout().unembed().present()) config_.tie_word_embeddings = false;
  }

  Status write_config(const fs::path& folder) const {
    Json json = base_.json;
    const char* type = dtype_ == at::ScalarType::BFloat16 ? "bfloat16" : "float32";
    // `dtype` since transformers 5, which reads the older name too.
    if (json.contains("dtype")) json["dtype"] = type;
    if (json.contains("torch_dtype") || !json.contains("dtype")) json["torch_dtype"] = type;
    if (config_.tie_word_embeddings != base_.config.tie_word_embeddings) {
      json["tie_word_embeddings"] = config_.tie_word_embeddings;
    }
    return write_file(folder / "config.json", json.dump(2) + "\n");
  }

  Status write_weights(const fs::path& folder) const {
    std::vector<SafetensorsWriter::Entry> entries;
    for (auto& [name, shape] : expected_weights(config_)) entries.push_back({name, dtype_, shape});
    auto writer = SafetensorsWriter::create(folder / "model.safetensors", entries, {});
    if (!writer) return writer.error();
    for (const SafetensorsWriter::Entry& entry : entries) {
      const Result<at::Tensor> weight = merged(entry.name);
      if (!weight) return weight.error();
      if (Status written = writer->write(*weight); !written) return written;
    }
    return writer->finish();
  }

 private:
  /// Computed in float32 and rounded once.
  Result<at::Tensor> merged(const std::string& name) const {
    const bool tied = base_.config.tie_word_embeddings && name == kUnembed;
    Result<at::Tensor> read = base_.read(tied ? kEmbedding : name);
    if (!read) return read;
    at::Tensor weight = read->to(at::ScalarType::Float);
    *read = at::Tensor();
    constexpr std::string_view kEnd = ".weight";
    if (name.ends_with(kEnd)) {
      add_adapter("base_model.model." + name.substr(0, name.size() - kEnd.size()), weight);
    }
    return weight.to(dtype_);
  }

  /// In place: a product of its own would be as large as the weight.
  void add_adapter(const std::string& module, at::Tensor& weight) const {
    const at::Tensor a = adapter_.matrix(module + ".lora_A.weight");
    if (!a.defined()) return;
    const at::Tensor b = adapter_.matrix(module + ".lora_B.weight");
    weight.addmm_(b, a, /*beta=*/1, /*alpha=*/adapter_.layout().scale());
  }

  const Base& base_;
  const Adapter& adapter_;
  const at::ScalarType dtype_;
  ModelConfig config_;
};

Status write_merged(const Base& base, const Adapter& adapter, const fs::path& out,
                    at::ScalarType dtype) {
  Result<AtomicDirectory> target = AtomicDirectory::create(out);
  if (!target) return target.error();
  const MergedModel merged(base, adapter, dtype);
  Status status = merged.write_config(target->path());
  if (status) status = base.write_tokenizer(target->path());
  if (status) status = merged.write_weights(target->path());
  return status ? target->commit(/*overwrite=*/false) : status;
}

}  // namespace

Status merge_adapter(const fs::path& base_model, const fs::path& checkpoint, const fs::path& out,
                     at::ScalarType dtype) {
  return guarded(
      [&]() -> Status {
        std::error_code problem;
        if (fs::exists(fs::symlink_status(out, problem))) {
          return io_error(out, "choose another folder for the merged model; there already is", 0);
        }
        const Result<Base> base =
            fs::is_directory(base_model, problem) ? open_folder(base_model) : open_gguf(base_model);
        if (!base) return base.error();
        const auto adapter = adapter_for(*base, checkpoint);
        if (!adapter) return adapter.error();
        return write_merged(*base, **adapter, out, dtype);
      },
      "not enough memory to merge; it takes room for the largest tensor twice and a layer");
}

}  // namespace tinkex::torch_ext::local
