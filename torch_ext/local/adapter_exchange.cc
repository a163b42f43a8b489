// Adapters of a backend by files on this machine, rather than by requests.

#include <system_error>
#include <utility>

#include "tinkex/validate.h"
#include "torch_ext/local/checkpoint.h"
#include "torch_ext/local/peft_adapter.h"
#include "torch_ext/local/router.h"
#include "torch_ext/local/service.h"

namespace tinkex::torch_ext::local {
namespace {

namespace fs = std::filesystem;

/// The run that imported checkpoints are said to be of. Runs of the backend have longer names.
constexpr char kImported[] = "imported";

/// The last part of a path, or of a name with its owner before it.
std::string last_part(std::string name) {
  while (name.ends_with('/')) name.pop_back();
  return name.substr(name.rfind('/') + 1);
}

/// The base model that an adapter is for: as the caller says, else as its file does, which may name
/// a folder of another machine, or an owner before the name.
Result<std::shared_ptr<const BaseModel>> base_for(ModelShelf& models, const fs::path& folder,
                                                  const PeftConfig& config,
                                                  const std::string& asked) {
  if (!asked.empty()) return models.model(asked);
  for (const std::string& name : {config.base_model, last_part(config.base_model)}) {
    if (models.config(name).ok()) return models.model(name);
  }
  return models.config(config.base_model)
      .error()
      .with_context((folder / kAdapterConfigFile).string() +
                    ", base_model_name_or_path (name one of the backend's models if it is that)");
}

}  // namespace

Result<fs::path> Backend::checkpoint_folder(std::string_view path) const {
  const Result<CheckpointPath> parsed = CheckpointPath::parse(path);
  if (!parsed) return parsed.error();
  return service_->checkpoints().find(*parsed);
}

Result<std::string> Backend::import_adapter(const fs::path& folder, const std::string& name,
                                            const std::string& base_model) {
  if (const Status valid = validate_checkpoint_name(name); !valid) return valid.error();
  const CheckpointPath path{kImported, CheckpointKind::kTraining, name};
  const CheckpointTree& tree = service_->checkpoints();
  std::error_code problem;
  if (fs::exists(tree.directory(path), problem)) {
    return invalid_argument(path.text() + " exists already; choose another name");
  }
  const Result<PeftConfig> config = read_peft_config(folder);
  if (!config) return config.error();
  const auto base = base_for(service_->models(), folder, *config, base_model);
  if (!base) return base.error();
  const auto adapter = read_peft_adapter(folder, *config, **base);
  if (!adapter) return adapter.error();
  if (const Status made = tree.make_parent(path); !made) return made.error();
  const OptimizerState fresh;
  const Status written = write_checkpoint(tree.directory(path), **base, **adapter,
                                          (*adapter)->layout().config(), &fresh,
                                          /*overwrite=*/false);
  if (!written) return written.error();
  return path.text();
}

}  // namespace tinkex::torch_ext::local
