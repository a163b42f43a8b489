#include "torch_ext/local/folder_weights.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "tinkex/base/text.h"
#include "torch_ext/local/json_file.h"
#include "torch_ext/local/model_weights.h"

namespace tinkex::torch_ext::local {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr char kSingle[] = "model.safetensors";
constexpr char kList[] = "model.safetensors.index.json";
constexpr std::uint64_t kLargestList = std::uint64_t{64} << 20;
constexpr std::size_t kMostFiles = 4096;

/// Tensor to file, as the list tells.
Result<std::map<std::string, std::string>> read_list(const fs::path& path) {
  const Result<Json> json = read_json_object(path, kLargestList);
  if (!json) return json.error();
  const auto found = json->find("weight_map");
  if (found == json->end() || !found->is_object() || found->empty()) {
    return file_error(path, "it has no list of tensors (weight_map)");
  }
  std::map<std::string, std::string> files;
  for (const auto& [tensor, file] : found->items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    // A list must not lead out of its folder.
    if (name.empty() || fs::path(name).filename() != fs::path(name) || name == "..") {
      return file_error(path,
                        "tensor " + internal::quoted(tensor) + " is not in a file of this folder");
    }
    files.emplace(tensor, name);
  }
  return files;
}

/// Integers are codes of a quantised model, which mean something else than their numbers.
bool is_weight_type(const std::string& dtype) {
  return dtype == "F32" || dtype == "F16" || dtype == "BF16" || dtype == "F64";
}

/// Whether a tensor may go unread: it repeats what is elsewhere.
bool is_redundant(const std::string& name, const ModelConfig& config) {
  return name.ends_with("rotary_emb.inv_freq") ||
         (config.tie_word_embeddings && name == "lm_head.weight");
}

/// Whether there is a tensor of the layer that this one is of.
template <class Tensors>
bool has_layer_of(const std::string& name, const Tensors& tensors) {
  const std::size_t number = std::string("model.layers.").size();
  const std::string layer = name.substr(0, name.find('.', std::min(number, name.size())) + 1);
  const auto first = tensors.lower_bound(layer);
  return first != tensors.end() && first->first.starts_with(layer);
}

/// The fields of config.json that tensors do not fit, each once.
class DoubtfulFields {
 public:
  void add(std::string_view field) {
    if (field.empty() || std::ranges::find(fields_, field) != fields_.end()) return;
    fields_.push_back(field);
  }
  void add(const std::vector<std::string_view>& fields) {
    for (const std::string_view field : fields) add(field);
  }
  /// "; is config.json right about hidden_size, head_dim?", or "".
  std::string question() const {
    std::string text;
    for (const std::string_view field : fields_) {
      text += (text.empty() ? "; is config.json right about " : ", ") + std::string(field);
    }
    return text.empty() ? text : text + "?";
  }

 private:
  std::vector<std::string_view> fields_;
};

}  // namespace

Result<FolderWeights> FolderWeights::open(const fs::path& folder) {
  FolderWeights weights;
  weights.folder_ = folder;
  std::error_code problem;
  if (!fs::exists(folder / kList, problem)) {
    if (Status added = weights.add(folder / kSingle); !added) return added.error();
    return weights;
  }
  const auto list = read_list(folder / kList);
  if (!list) return list.error();
  std::set<std::string> names;
  for (const auto& [tensor, file] : *list) names.insert(file);
  if (names.size() > kMostFiles) return file_error(folder / kList, "it lists more than 4096 files");
  for (const std::string& name : names) {
    if (Status added = weights.add(folder / name); !added) return added.error();
  }
  for (const auto& [tensor, file] : *list) {
    const auto found = weights.file_of_.find(tensor);
    if (found != weights.file_of_.end() &&
        weights.files_[found->second].path().filename() == file) {
      continue;
    }
    return file_error(folder / file, "tensor " + internal::quoted(tensor) + " is missing, which " +
                                         kList + " says is there");
  }
  return weights;
}

Status FolderWeights::add(const fs::path& path) {
  Result<SafetensorsFile> file = SafetensorsFile::open(path);
  if (!file) return file.error();
  for (const std::string& name : file->names()) {
    if (!file_of_.emplace(name, files_.size()).second) {
      return file_error(path, "tensor " + internal::quoted(name) + " is in another file too");
    }
  }
  files_.push_back(*std::move(file));
  return ok_status();
}

Status FolderWeights::check(const ModelConfig& config) const {
  // Whoever lists the tensors of the layers need not fear the number.
  if (config.num_hidden_layers > static_cast<std::int64_t>(file_of_.size())) {
    return file_error(folder_, "it has " + std::to_string(file_of_.size()) + " tensors for " +
                                   std::to_string(config.num_hidden_layers) +
                                   " layers (num_hidden_layers in config.json)");
  }
  const WeightShapes expected = expected_weights(config);
  TensorProblems problems;
  DoubtfulFields fields;
  for (const auto& [name, shape] : expected) {
    const SafetensorsEntry* entry = find(name);
    if (entry == nullptr) {
      problems.add(name, "is missing");
      fields.add(field_of_presence(name, has_layer_of(name, file_of_)));
    } else if (!is_weight_type(entry->dtype)) {
      problems.add(name, "has type " + entry->dtype + ", expected F32, F16, BF16 or F64");
    } else if (problems.add_wrong_shape(name, entry->shape, shape)) {
      fields.add(fields_of_shape(name, entry->shape, shape));
    }
  }
  for (const auto& [name, file] : file_of_) {
    // One that nothing asks for would change the model's answers if it were used.
    if (expected.count(name) == 0 && !is_redundant(name, config)) {
      problems.add(name, "is not expected in this model");
      fields.add(field_of_presence(name, has_layer_of(name, expected)));
    }
  }
  if (problems.empty()) return ok_status();
  return file_error(folder_, problems.text() + fields.question());
}

std::uint64_t FolderWeights::largest_read() const {
  std::uint64_t largest = 0;
  for (const auto& [name, file] : file_of_) largest = std::max(largest, find(name)->size);
  return largest;
}

const SafetensorsEntry* FolderWeights::find(const std::string& name) const {
  const auto found = file_of_.find(name);
  return found == file_of_.end() ? nullptr : files_[found->second].find(name);
}

Result<at::Tensor> FolderWeights::read(const std::string& name) const {
  const auto found = file_of_.find(name);
  if (found == file_of_.end()) {
    return file_error(folder_, "tensor " + internal::quoted(name) + " is missing");
  }
  return files_[found->second].read(name);
}

}  // namespace tinkex::torch_ext::local
