#include "torch_ext/local/model_shelf.h"

#include <cstddef>
#include <system_error>
#include <utility>

#include "tinkex/base/text.h"
#include "tinkex/tokenizer.h"
#include "torch_ext/local/pretrained.h"

namespace tinkex::torch_ext::local {

Result<std::unique_ptr<ModelShelf>> ModelShelf::load(std::span<const std::filesystem::path> paths,
                                                     at::ScalarType dtype,
                                                     const std::stop_token& stop) {
  auto shelf = std::make_unique<ModelShelf>();
  for (const std::filesystem::path& path : paths) {
    auto model = load_pretrained(path, dtype, stop);
    if (!model) return model.error();
    const std::string& name = (*model)->config().name;
    if (shelf->find(name) != nullptr) {
      return invalid_argument("two models are called " + internal::quoted(name) +
                              "; rename a folder or file");
    }
    std::error_code problem;  // Without a current directory the path stays as it is.
    const std::filesystem::path place = std::filesystem::absolute(path, problem).lexically_normal();
    shelf->loaded_.push_back(
        {path.string(), problem ? path.string() : place.string(), *std::move(model)});
  }
  return shelf;
}

const ModelShelf::Loaded* ModelShelf::find(const std::string& name) const {
  for (const Loaded& each : loaded_) {
    if (name == each.model->config().name || name == each.path) return &each;
  }
  return nullptr;
}

std::vector<std::string> ModelShelf::memory_lines() const {
  std::vector<std::string> lines;
  for (const Loaded& each : loaded_) {
    const BaseModel& model = *each.model;
    const auto bytes =
        static_cast<std::size_t>(model.parameter_count()) * at::elementSize(model.dtype());
    lines.push_back(model.config().name + ": " + std::to_string(bytes >> 20) + " MiB of weights, " +
                    (model.why_not_huge().empty() ? "in huge pages where the system has them"
                                                  : "not in huge pages: " + model.why_not_huge()));
  }
  return lines;
}

std::vector<std::string> ModelShelf::names() const {
  std::vector<std::string> names;
  names.reserve(loaded_.size());
  for (const Loaded& each : loaded_) names.push_back(each.model->config().name);
  for (std::string& name : built_in_model_names()) names.push_back(std::move(name));
  return names;
}

Result<ModelConfig> ModelShelf::config(const std::string& name) const {
  if (const Loaded* loaded = find(name)) return loaded->model->config();
  auto config = built_in_config(name);
  if (config) return config;
  std::string known;
  for (const std::string& each : names()) {
    known += (known.empty() ? "'" : ", '") + internal::printable(each, 200) + "'";
  }
  return invalid_argument("unknown base model " + internal::quoted(name, 200) +
                          "; this server has " + known);
}

Result<std::shared_ptr<const BaseModel>> ModelShelf::model(const std::string& name) {
  if (const Loaded* loaded = find(name)) return loaded->model;
  if (const auto known = config(name); !known) return known.error();
  internal::MutexLock lock(mutex_);
  const auto found = built_in_.find(name);
  if (found != built_in_.end()) return found->second;
  auto model = built_in_model(name);
  if (model) built_in_.emplace(name, *model);
  return model;
}

std::string ModelShelf::tokenizer_id(const std::string& name) const {
  const Loaded* loaded = find(name);
  return loaded != nullptr ? loaded->place : ByteTokenizer::kId;
}

}  // namespace tinkex::torch_ext::local
