#include "torch_ext/local/checkpoint.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>
#include <vector>

#include "torch_ext/backend_errors.h"
#include "torch_ext/local/digest.h"
#include "torch_ext/local/file_io.h"
#include "torch_ext/local/guard.h"
#include "torch_ext/local/safetensors.h"

namespace tinkex::torch_ext::local {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::json;
using NamedList = std::vector<std::pair<std::string, at::Tensor>>;

constexpr char kOptimizerFile[] = "optimizer.safetensors";
constexpr char kMetadataFile[] = "metadata.json";
constexpr char kCompleteFile[] = "checkpoint_complete";
constexpr std::uint64_t kLargestMetadata = std::uint64_t{1} << 20;
constexpr int kFormatVersion = 1;

/// Appends the matrices of `flat` under their names and `suffix`.
void append(NamedList& list, const LoraLayout& layout, const at::Tensor& flat,
            const std::string& suffix) {
  for (const LoraMatrix& matrix : layout.matrices()) {
    list.emplace_back(
        matrix.name + suffix,
        flat.narrow(0, matrix.offset, matrix.rows * matrix.cols).view({matrix.rows, matrix.cols}));
  }
}

/// What PEFT needs to load the adapter.
Json adapter_config(const BaseModel& model, const LoraLayout& layout) {
  return {{"peft_type", "LORA"},
          {"task_type", "CAUSAL_LM"},
          {"base_model_name_or_path", model.config().name},
          {"r", layout.config().rank},
          {"lora_alpha", static_cast<std::int64_t>(kLoraAlpha)},
          {"target_modules", layout.target_modules()},
          {"lora_dropout", 0.0},
          {"bias", "none"},
          {"fan_in_fan_out", false},
          {"inference_mode", true},
          {"init_lora_weights", true},
          {"modules_to_save", nullptr},
          {"rank_pattern", Json::object()},
          {"alpha_pattern", Json::object()},
          {"use_rslora", false},
          {"use_dora", false}};
}

Json metadata_of(const BaseModel& model, const LoraConfig& lora, const OptimizerState* optimizer) {
  Json json{{"format_version", kFormatVersion},
            {"base_model", model.config().name},
            {"base_digest", model.digest()},
            {"rank", lora.rank},
            {"lora_alpha", kLoraAlpha},
            {"train_attn", lora.train_attn},
            {"train_mlp", lora.train_mlp},
            {"train_unembed", lora.train_unembed},
            {"has_optimizer", optimizer != nullptr},
            {"step", optimizer != nullptr ? optimizer->step : 0}};
  if (lora.seed) json["seed"] = *lora.seed;
  return json;
}

/// Size and digest of each file written so far, so that damage is noticed when it is read.
Result<Json> file_table(const fs::path& dir) {
  Json table = Json::object();
  std::error_code problem;
  for (const auto& entry : fs::directory_iterator(dir, problem)) {
    const Result<std::uint64_t> hash = hash_file(entry.path());
    if (!hash) return hash.error();
    table[entry.path().filename().string()] = {
        {"size", static_cast<std::uint64_t>(fs::file_size(entry.path(), problem))},
        {"xxh64", to_hex(*hash)}};
  }
  if (problem) return io_error(dir, "cannot list", problem.value());
  return table;
}

Status write_optimizer(const fs::path& dir, const LoraLayout& layout, const OptimizerState& state,
                       at::ScalarType dtype) {
  const bool fresh = !state.exp_avg.defined();
  const at::Tensor zeros = fresh ? at::zeros({layout.size()}, dtype) : at::Tensor();
  NamedList list;
  append(list, layout, fresh ? zeros : state.exp_avg, ".exp_avg");
  append(list, layout, fresh ? zeros : state.exp_avg_sq, ".exp_avg_sq");
  return write_safetensors(dir / kOptimizerFile, list, {{"step", std::to_string(state.step)}});
}

Status write_files(const fs::path& dir, const BaseModel& model, const Adapter& adapter,
                   const LoraConfig& lora, const OptimizerState* optimizer) {
  NamedList list;
  append(list, adapter.layout(), adapter.flat(), "");
  Status status = write_safetensors(dir / kAdapterFile, list, {});
  if (!status) return status;
  status = write_file(dir / kAdapterConfigFile, adapter_config(model, adapter.layout()).dump(2));
  if (!status) return status;
  if (optimizer != nullptr) {
    status = write_optimizer(dir, adapter.layout(), *optimizer, adapter.flat().scalar_type());
    if (!status) return status;
  }
  Json metadata = metadata_of(model, lora, optimizer);
  Result<Json> files = file_table(dir);
  if (!files) return files.error();
  metadata["files"] = std::move(*files);
  status = write_file(dir / kMetadataFile, metadata.dump(2));
  return status ? write_file(dir / kCompleteFile, "") : status;
}

Error damaged(const fs::path& path, const std::string& what) {
  return Error(ErrorCode::kIo, "the checkpoint file '" + path.string() + "' is damaged: " + what);
}

Result<Json> read_metadata(const fs::path& dir) {
  std::error_code problem;
  if (!fs::is_directory(dir, problem)) {
    return io_error(dir, "there is no checkpoint at", 0);
  }
  const Result<std::string> text = read_file(dir / kMetadataFile, kLargestMetadata);
  if (!text) return text.error();
  Json json = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return damaged(dir / kMetadataFile, "it is not a JSON object");
  if (json.value("format_version", Json()) != Json(kFormatVersion)) {
    return damaged(dir / kMetadataFile, "its format version is not known here");
  }
  return json;
}

/// Compares a file with what the metadata recorded.
Status verify(const fs::path& dir, const Json& metadata, const char* file) {
  const Json& record = metadata.at("files").at(file);
  const Result<std::uint64_t> hash = hash_file(dir / file);
  if (!hash) return hash.error();
  if (record.at("xxh64").get<std::string>() == to_hex(*hash)) return ok_status();
  return damaged(dir / file, "its digest differs from the one recorded when it was saved");
}

CheckpointInfo info_of(const Json& json) {
  CheckpointInfo info;
  info.base_model = json.at("base_model").get<std::string>();
  info.base_digest = json.at("base_digest").get<std::string>();
  info.lora.rank = json.at("rank").get<std::int64_t>();
  if (json.contains("seed")) info.lora.seed = json.at("seed").get<std::int64_t>();
  info.lora.train_attn = json.at("train_attn").get<bool>();
  info.lora.train_mlp = json.at("train_mlp").get<bool>();
  info.lora.train_unembed = json.at("train_unembed").get<bool>();
  info.has_optimizer = json.at("has_optimizer").get<bool>();
  info.step = json.at("step").get<std::int64_t>();
  for (const auto& [name, file] : json.at("files").items()) {
    info.size_bytes += file.at("size").get<std::int64_t>();
  }
  return info;
}

/// Fills one flat vector from the matrices that a file holds under their names and `suffix`.
Result<at::Tensor> read_flat(const SafetensorsFile& file, const LoraLayout& layout,
                             const std::string& suffix, at::ScalarType dtype) {
  at::Tensor flat = at::empty({layout.size()}, dtype);
  for (const LoraMatrix& matrix : layout.matrices()) {
    const Result<at::Tensor> tensor = file.read(matrix.name + suffix);
    if (!tensor) return tensor.error();
    if (tensor->sizes() != at::IntArrayRef({matrix.rows, matrix.cols})) {
      return file_error(file.path(), "tensor '" + matrix.name + suffix +
                                         "' has another shape than " + std::to_string(matrix.rows) +
                                         " x " + std::to_string(matrix.cols));
    }
    flat.narrow(0, matrix.offset, matrix.rows * matrix.cols).copy_(tensor->reshape({-1}));
  }
  return flat;
}

/// Runs `body`, which reads JSON fields, and reports a missing or wrong one as damage.
template <class Body>
auto reading(const fs::path& dir, Body&& body) -> decltype(body()) {
  return guarded([&]() -> decltype(body()) {
    try {
      return body();
    } catch (const Json::exception& problem) {
      return damaged(dir / kMetadataFile, problem.what());
    }
  });
}

Status same_base(const CheckpointInfo& info, const std::string& name, const std::string& digest) {
  if (info.base_digest == digest) return ok_status();
  const bool same_name = info.base_model == name;
  return invalid_argument(
             std::string(kOtherBaseModel) + " '" + info.base_model + "' (digest " +
             info.base_digest + "), not to '" + name + "' (digest " + digest + ")" +
             (same_name ? "; that model's weights have changed since" : "; use its base model"))
      .with_category(ErrorCategory::kUser);
}

}  // namespace

Status write_checkpoint(const fs::path& dir, const BaseModel& model, const Adapter& adapter,
                        const LoraConfig& lora, const OptimizerState* optimizer, bool overwrite) {
  return guarded([&]() -> Status {
    std::error_code problem;
    if (!overwrite && fs::exists(dir, problem)) {
      return io_error(dir, "there already is a checkpoint at", 0);
    }
    Result<AtomicDirectory> target = AtomicDirectory::create(dir);
    if (!target) return target.error();
    const Status written = write_files(target->path(), model, adapter, lora, optimizer);
    return written ? target->commit(overwrite) : written;
  });
}

Result<CheckpointInfo> read_checkpoint_info(const fs::path& dir) {
  return reading(dir, [&]() -> Result<CheckpointInfo> {
    const Result<Json> metadata = read_metadata(dir);
    if (!metadata) return metadata.error();
    return info_of(*metadata);
  });
}

Unrecorded look_for_record(const fs::path& dir) {
  std::error_code problem;
  if (!fs::exists(dir / kAdapterConfigFile, problem)) return Unrecorded::kNo;
  if (fs::status(dir / kMetadataFile, problem).type() != fs::file_type::not_found) {
    return Unrecorded::kNo;
  }
  return fs::exists(dir / kCompleteFile, problem) ? Unrecorded::kComplete : Unrecorded::kForeign;
}

Result<SafetensorsFile> open_adapter_file(const fs::path& dir) {
  return reading(dir, [&]() -> Result<SafetensorsFile> {
    const Result<Json> metadata = read_metadata(dir);
    if (!metadata) return metadata.error();
    if (const Status whole = verify(dir, *metadata, kAdapterFile); !whole) return whole.error();
    return SafetensorsFile::open(dir / kAdapterFile);
  });
}

Result<std::shared_ptr<const Adapter>> read_adapter(const fs::path& dir, const ModelConfig& config,
                                                    const std::string& digest,
                                                    at::ScalarType dtype) {
  const Result<CheckpointInfo> info = read_checkpoint_info(dir);
  if (!info) return info.error();
  if (const Status same = same_base(*info, config.name, digest); !same) return same.error();
  return guarded([&]() -> Result<std::shared_ptr<const Adapter>> {
    const auto layout = LoraLayout::create(config, info->lora);
    if (!layout) return layout.error();
    const Result<SafetensorsFile> file = open_adapter_file(dir);
    if (!file) return file.error();
    Result<at::Tensor> flat = read_flat(*file, **layout, "", dtype);
    if (!flat) return flat.error();
    return Adapter::from_flat(*layout, std::move(*flat));
  });
}

Result<std::shared_ptr<const Adapter>> read_adapter(const fs::path& dir, const BaseModel& model) {
  return read_adapter(dir, model.config(), model.digest(), model.compute_dtype());
}

Result<OptimizerState> read_optimizer(const fs::path& dir, const LoraLayout& layout,
                                      at::ScalarType dtype) {
  return reading(dir, [&]() -> Result<OptimizerState> {
    const Result<Json> metadata = read_metadata(dir);
    if (!metadata) return metadata.error();
    const CheckpointInfo info = info_of(*metadata);
    if (!info.has_optimizer) {
      return invalid_argument("the checkpoint '" + dir.string() +
                              "' was saved for sampling and has no optimizer state; load it "
                              "without the optimizer, or load one that save_state made")
          .with_category(ErrorCategory::kUser);
    }
    const Status status = verify(dir, *metadata, kOptimizerFile);
    if (!status) return status.error();
    const Result<SafetensorsFile> file = SafetensorsFile::open(dir / kOptimizerFile);
    if (!file) return file.error();
    Result<at::Tensor> exp_avg = read_flat(*file, layout, ".exp_avg", dtype);
    if (!exp_avg) return exp_avg.error();
    Result<at::Tensor> exp_avg_sq = read_flat(*file, layout, ".exp_avg_sq", dtype);
    if (!exp_avg_sq) return exp_avg_sq.error();
    return OptimizerState{std::move(*exp_avg), std::move(*exp_avg_sq), info.step};
  });
}

}  // namespace tinkex::torch_ext::local
