#include "torch_ext/local/peft_adapter.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/isfinite.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <utility>

#include "tinkex/base/text.h"
#include "torch_ext/local/checkpoint.h"
#include "torch_ext/local/guard.h"
#include "torch_ext/local/json_fields.h"
#include "torch_ext/local/json_file.h"
#include "torch_ext/local/model_weights.h"
#include "torch_ext/local/safetensors.h"

namespace tinkex::torch_ext::local {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::uint64_t kLargestConfig = std::uint64_t{16} << 20;

/// Fields that are read, and those that change nothing about a trained adapter. What it adapts is
/// told by its tensors.
constexpr std::string_view kKnownFields[] = {
    "peft_type",         "r",
    "lora_alpha",        "bias",
    "init_lora_weights", "base_model_name_or_path",
    "task_type",         "auto_mapping",
    "peft_version",      "revision",
    "inference_mode",    "target_modules",
    "exclude_modules",   "lora_dropout",
    "layers_pattern",    "layers_to_transform",
    "megatron_core",     "qalora_group_size",
    "eva_config",        "runtime_config",
};

/// Ways to begin that leave the base model's weights as they are.
constexpr std::string_view kHarmlessStarts[] = {"gaussian", "eva", "orthogonal"};

/// Absent, null, false or empty.
bool is_unset(const Json& value) {
  return value.is_null() || value == false || (value.is_structured() && value.empty());
}

void check_start(JsonFields& fields) {
  const Json* start = fields.value("init_lora_weights");
  if (start == nullptr || start->is_boolean()) return;
  const bool harmless =
      start->is_string() &&
      std::ranges::find(kHarmlessStarts, start->get<std::string>()) != std::end(kHarmlessStarts);
  if (harmless) return;
  fields.refuse("init_lora_weights", "is " + internal::printable(dump(*start), 60) +
                                         ", which changes the base model's weights; convert the "
                                         "adapter to plain LoRA when you save it");
}

PeftConfig read_fields(const Json& json, JsonFields& fields) {
  PeftConfig config;
  if (const std::string type = fields.string("peft_type"); fields.ok() && type != "LORA") {
    fields.refuse("peft_type", "is " + internal::quoted(type) + ", expected LORA");
  }
  config.base_model = fields.optional_string("base_model_name_or_path").value_or("");
  config.rank = fields.integer("r");
  const double alpha = fields.number("lora_alpha", 0);
  if (alpha != kLoraAlpha) {
    fields.refuse("lora_alpha", "is " + internal::number_text(alpha) + ", but here it is always " +
                                    internal::number_text(kLoraAlpha) +
                                    "; train with that, or scale every lora_B by " +
                                    internal::number_text(alpha) + " / " +
                                    internal::number_text(kLoraAlpha) + " and write " +
                                    internal::number_text(kLoraAlpha) + " here");
  }
  if (const auto bias = fields.optional_string("bias"); bias && *bias != "none") {
    fields.refuse("bias", "is " + internal::quoted(*bias) + ", expected none");
  }
  check_start(fields);
  for (const auto& [name, value] : json.items()) {
    if (is_unset(value) || std::ranges::find(kKnownFields, name) != std::end(kKnownFields))
      continue;
    fields.refuse(internal::printable(name, 60),
                  "is " + internal::printable(dump(value), 60) +
                      ", which the embedded backend does not compute; leave it unset");
  }
  return config;
}

/// As the engine calls it; archives of the hosted service call the unembedding by another name.
std::string engine_name(const std::string& name) {
  constexpr std::string_view kHosted = "base_model.model.model.unembed_tokens.";
  if (!name.starts_with(kHosted)) return name;
  return "base_model.model.lm_head." + name.substr(kHosted.size());
}

/// The weight of the base that PEFT repeats under that name; undefined if it is none.
at::Tensor repeated(const std::string& name, const BaseModel& model) {
  for (const char* base : {".weight", ".base_layer.weight"}) {
    if (name == std::string("base_model.model.model.embed_tokens") + base) return model.embedding();
    if (name == std::string("base_model.model.lm_head") + base) return model.unembed();
  }
  return {};
}

/// Reads an adapter file for one model.
class Reader {
 public:
  Reader(const SafetensorsFile& file, const BaseModel& model) : file_(file), model_(model) {
    for (const std::string& name : file.names()) stored_.emplace(engine_name(name), name);
  }

  Result<std::shared_ptr<const Adapter>> read(std::int64_t rank) {
    const LoraConfig lora{.rank = rank,
                          .train_attn = adapts(".self_attn."),
                          .train_mlp = adapts(".mlp."),
                          .train_unembed = adapts("lm_head.")};
    if (!lora.train_attn && !lora.train_mlp && !lora.train_unembed) {
      return file_error(file_.path(), "it has no LoRA matrices (lora_A, lora_B)");
    }
    const auto layout = LoraLayout::create(model_.config(), lora);
    if (!layout) return Error(layout.error()).with_context(file_.path().string());
    check_matrices(**layout);
    if (const Status rest = check_rest(**layout); !rest) return rest.error();
    if (!problems_.empty()) return file_error(file_.path(), problems_.text());
    at::Tensor flat = at::empty({(*layout)->size()}, model_.compute_dtype());
    for (const LoraMatrix& matrix : (*layout)->matrices()) {
      const Result<at::Tensor> tensor = file_.read(stored_.at(matrix.name));
      if (!tensor) return tensor.error();
      if (!at::isfinite(*tensor).all().item<bool>()) {
        return file_error(file_.path(),
                          "tensor '" + matrix.name + "' has numbers that are not finite");
      }
      flat.narrow(0, matrix.offset, matrix.rows * matrix.cols).copy_(tensor->reshape({-1}));
    }
    return Adapter::from_flat(*layout, std::move(flat));
  }

 private:
  bool adapts(std::string_view part) const {
    return std::ranges::any_of(stored_, [&](const auto& each) {
      return each.first.find(part) != std::string::npos &&
             each.first.find(".lora_") != std::string::npos;
    });
  }

  void check_matrices(const LoraLayout& layout) {
    for (const LoraMatrix& matrix : layout.matrices()) {
      const auto found = stored_.find(matrix.name);
      if (found == stored_.end()) {
        problems_.add(matrix.name, "is missing");
        continue;
      }
      const SafetensorsEntry& entry = *file_.find(found->second);
      if (problems_.add_wrong_shape(found->second, entry.shape, {matrix.rows, matrix.cols})) {
        continue;
      }
      if (entry.dtype.find('F') == std::string::npos) {
        problems_.add(found->second, "has type " + entry.dtype + ", expected F32, F16 or BF16");
      }
    }
  }

  /// What is no matrix of the layout.
  Status check_rest(const LoraLayout& layout) {
    std::set<std::string_view> matrices;
    for (const LoraMatrix& matrix : layout.matrices()) matrices.insert(matrix.name);
    for (const auto& [name, stored] : stored_) {
      if (matrices.count(name) > 0) continue;
      const at::Tensor base = repeated(name, model_);
      if (!base.defined()) {
        problems_.add(stored, "is not expected");
        continue;
      }
      const Result<at::Tensor> tensor = file_.read(stored);
      if (!tensor) return tensor.error();
      if (tensor->sizes() == base.sizes() && at::equal(tensor->to(base.scalar_type()), base)) {
        continue;
      }
      problems_.add(stored,
                    "differs from the base model's; leave it out by "
                    "save_pretrained(..., save_embedding_layers=False) if it was not "
                    "trained");
    }
    return ok_status();
  }

  const SafetensorsFile& file_;
  const BaseModel& model_;
  std::map<std::string, std::string> stored_;  ///< By the engine's name.
  TensorProblems problems_;
};

}  // namespace

Result<PeftConfig> read_peft_config(const fs::path& folder) {
  const fs::path file = folder / kAdapterConfigFile;
  const Result<Json> json = read_json_object(file, kLargestConfig);
  if (!json) return json.error();
  JsonFields fields(*json, "");
  PeftConfig config = read_fields(*json, fields);
  if (!fields.ok()) return file_error(file, fields.error());
  return config;
}

Result<std::shared_ptr<const Adapter>> read_peft_adapter(const fs::path& folder,
                                                         const PeftConfig& config,
                                                         const BaseModel& model) {
  return guarded(
      [&]() -> Result<std::shared_ptr<const Adapter>> {
        const Result<SafetensorsFile> file = SafetensorsFile::open(folder / kAdapterFile);
        if (!file) return file.error();
        return Reader(*file, model).read(config.rank);
      },
      "not enough memory to read an adapter; check that its file is whole");
}

}  // namespace tinkex::torch_ext::local
