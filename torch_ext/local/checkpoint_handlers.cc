// Saving, loading and asking about checkpoints; run_handlers.cc lists and deletes them.

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "tinkex/validate.h"
#include "torch_ext/local/api.h"
#include "torch_ext/local/checkpoint.h"
#include "torch_ext/local/checkpoint_tree.h"
#include "torch_ext/local/json_fields.h"
#include "torch_ext/local/model_calls.h"
#include "torch_ext/local/service.h"

namespace tinkex::torch_ext::local {
namespace {

using nlohmann::json;

/// What a save request asks for.
struct SaveCall {
  ModelCall target;
  std::optional<std::string> name;
  std::optional<std::int64_t> sampling_number;
  bool overwrite = false;
};

SaveCall read_save(JsonFields& in) {
  SaveCall save;
  save.target = ModelCall::read(in);
  save.name = in.optional_string("path");
  save.sampling_number = in.optional_integer("sampling_session_seq_id");
  save.overwrite = in.boolean("overwrite", false);
  in.optional_integer("ttl_seconds");  // Accepted; nothing on this machine expires by itself.
  if (!save.name) return save;
  if (const Status checked = validate_checkpoint_name(*save.name); !checked) {
    in.refuse("path", checked.error().message());
  }
  return save;
}

constexpr std::string_view kNumbered = "checkpoint-";

/// The number in a name like `checkpoint-0001`; 0 if it is another.
std::int64_t checkpoint_number(std::string_view name) {
  constexpr std::size_t kMostDigits = 18;
  if (!name.starts_with(kNumbered)) return 0;
  name.remove_prefix(kNumbered.size());
  std::int64_t number = 0;
  const char* const end = name.data() + name.size();
  const auto [rest, problem] = std::from_chars(name.data(), end, number);
  const bool whole = problem == std::errc() && rest == end && name.size() <= kMostDigits;
  return whole && number > 0 ? number : 0;
}

/// `checkpoint-0001` and so on. A name that was deleted is not given again: who deletes it a second
/// time, because a reply was lost or from an old list, must not find another checkpoint there. Of
/// what an earlier process deleted nothing is known.
std::string fresh_name(const CheckpointTree& tree, const Model& model, CheckpointPath path) {
  std::int64_t highest = model.last_checkpoint;
  for (const CheckpointTree::Item& item : tree.list(model.id)) {
    highest = std::max(highest, checkpoint_number(item.path.name));
  }
  while (true) {
    std::string digits = std::to_string(++highest);
    if (digits.size() < 4) digits.insert(0, 4 - digits.size(), '0');
    path.name = std::string(kNumbered) + digits;
    if (!std::filesystem::exists(tree.directory(path))) return path.name;
  }
}

/// Where to save. A name that is taken is the caller's mistake, and final: not a status that
/// clients repeat.
Result<CheckpointPath> place(const CheckpointTree& tree, Model& model, CheckpointKind kind,
                             const SaveCall& save) {
  CheckpointPath path{model.id, kind, save.name.value_or("")};
  if (!save.name) path.name = fresh_name(tree, model, path);
  if (!save.overwrite && std::filesystem::exists(tree.directory(path))) {
    return Error(ErrorCode::kInvalidArgument,
                 path.text() + " exists already; choose another name or set overwrite");
  }
  if (Status made = tree.make_parent(path); !made) return made.error();
  model.last_checkpoint = std::max(model.last_checkpoint, checkpoint_number(path.name));
  return path;
}

OperationResult save_training(const CheckpointTree& tree, Model& model, const TrainingRun& run,
                              const SaveCall& save) {
  const auto path = place(tree, model, CheckpointKind::kTraining, save);
  if (!path) return path.error();
  const Status saved = run.save(tree.directory(*path), save.overwrite);
  if (!saved) return saved.error();
  return OperationOutput(dump({{"path", path->text()}, {"type", "save_weights"}}));
}

OperationResult save_sampler(const CheckpointTree& tree, Model& model, const TrainingRun& run,
                             const SaveCall& save) {
  const auto path = place(tree, model, CheckpointKind::kSampler, save);
  if (!path) return path.error();
  const Status saved = write_checkpoint(tree.directory(*path), run.model(), *run.snapshot(),
                                        run.lora_config(), nullptr, save.overwrite);
  if (!saved) return saved.error();
  return OperationOutput(dump({{"path", path->text()}, {"type", "save_weights_for_sampler"}}));
}

/// A snapshot in memory that can be sampled from at once and is never written.
OperationResult open_snapshot(Service& service, const Model& model, const TrainingRun& run,
                              const std::shared_ptr<const BaseModel>& base, const SaveCall& save) {
  auto sampler = std::make_shared<SamplingSession>();
  sampler->session_id = model.session_id;
  sampler->base_model = model.base_model;
  sampler->model = base;
  sampler->adapter = run.snapshot();
  if (!service.registry().add_sampler(sampler, save.sampling_number)) {
    return Error(ErrorCode::kClosed, "the session was finished")
        .with_category(ErrorCategory::kUser);
  }
  return OperationOutput(dump({{"path", nullptr},
                               {"sampling_session_id", sampler->id},
                               {"type", "save_weights_for_sampler"}}));
}

Reply save_weights(Service& service, const Call& call) {
  JsonFields in(call.body);
  const SaveCall save = read_save(in);
  if (!in.ok()) return refuse(service, save.target, OperationKind::kSave, in.error());
  return submit(service, save.target, OperationKind::kSave, call,
                [&service, save](Model& model, TrainingRun& run) {
                  return save_training(service.checkpoints(), model, run, save);
                });
}

Reply save_weights_for_sampler(Service& service, const Call& call) {
  JsonFields in(call.body);
  const SaveCall save = read_save(in);
  const std::string kind = in.optional_string("kind").value_or("snapshot");
  if (kind != "snapshot") in.refuse("kind", "'" + kind + "' is not offered; use snapshot");
  if (!in.ok()) return refuse(service, save.target, OperationKind::kSave, in.error());
  return submit(service, save.target, OperationKind::kSave, call,
                [&service, save](Model& model, TrainingRun& run) -> OperationResult {
                  if (save.name) return save_sampler(service.checkpoints(), model, run, save);
                  const auto base = service.models().model(model.base_model);
                  if (!base) return base.error();
                  return open_snapshot(service, model, run, *base, save);
                });
}

struct LoadCall {
  CheckpointPath path;
  bool optimizer = true;
};

LoadCall read_load(JsonFields& in) {
  LoadCall load;
  const std::string text = in.string("path");
  load.optimizer = in.boolean("optimizer", true);
  if (!in.ok()) return load;
  auto path = CheckpointPath::parse(text);
  if (path) {
    load.path = *std::move(path);
  } else {
    in.refuse("path", path.error().message());
  }
  return load;
}

Status load_into(const CheckpointTree& tree, TrainingRun& run, const LoadCall& load) {
  const auto directory = tree.find(load.path);
  if (!directory) return directory.error();
  return run.load(*directory, load.optimizer);
}

/// A new run in the shape of the checkpoint, with its weights.
Result<std::unique_ptr<TrainingRun>> run_from(Service& service, const LoadCall& load) {
  const auto directory = service.checkpoints().find(load.path);
  if (!directory) return directory.error();
  const auto info = read_checkpoint_info(*directory);
  if (!info) return info.error();
  auto base = service.models().model(info->base_model);
  if (!base) return base.error();
  auto run = TrainingRun::create(*std::move(base), info->lora);
  if (!run) return run;
  const Status loaded = (*run)->load(*directory, load.optimizer);
  if (!loaded) return loaded.error();
  return run;
}

Reply load_into_new_model(Service& service, const Call& call, JsonFields& in) {
  NewModel wanted;
  wanted.session_id = in.string("session_id");
  wanted.number = in.integer("model_seq_id");
  wanted.user_metadata = in.string_map("user_metadata");
  const LoadCall load = read_load(in);
  if (!in.ok()) return unprocessable(in.error());
  wanted.result = {{"path", load.path.text()}, {"type", "load_weights"}};
  wanted.make = [&service, load] { return run_from(service, load); };
  return create(service, call, std::move(wanted));
}

Reply load_weights(Service& service, const Call& call) {
  JsonFields in(call.body);
  if (in.value("model_id") == nullptr && in.value("session_id") != nullptr) {
    return load_into_new_model(service, call, in);
  }
  const ModelCall target = ModelCall::read(in);
  const LoadCall load = read_load(in);
  if (!in.ok()) return refuse(service, target, OperationKind::kLoad, in.error());
  return submit(
      service, target, OperationKind::kLoad, call,
      [&service, load](Model& model, TrainingRun& run) -> OperationResult {
        const Status loaded = load_into(service.checkpoints(), run, load);
        if (!loaded) return loaded.error();
        return OperationOutput(
            dump({{"path", load.path.text()}, {"model_id", model.id}, {"type", "load_weights"}}));
      });
}

Reply weights_info(Service& service, const Call& call) {
  JsonFields in(call.body);
  const std::string text = in.string("tinker_path");
  if (!in.ok()) return unprocessable(in.error());
  const auto path = CheckpointPath::parse(text);
  if (!path) return unprocessable("tinker_path: " + path.error().message());
  const auto directory = service.checkpoints().find(*path);
  if (!directory) {
    const bool is_missing = directory.error().code() == ErrorCode::kInvalidArgument;
    return lasting_error(is_missing ? 404 : 500, directory.error().message());
  }
  const auto info = read_checkpoint_info(*directory);
  if (!info) return error_reply(400, info.error().message());
  return json_reply({{"type", "weights_info"},
                     {"base_model", info->base_model},
                     {"is_lora", true},
                     {"lora_rank", info->lora.rank},
                     {"train_attn", info->lora.train_attn},
                     {"train_mlp", info->lora.train_mlp},
                     {"train_unembed", info->lora.train_unembed},
                     {"optimizer_config", {{"type", "adamw"}}}});
}

}  // namespace

std::vector<Route> checkpoint_routes() {
  return {
      {"POST", "save_weights", immediate(save_weights)},
      {"POST", "save_weights_for_sampler", immediate(save_weights_for_sampler)},
      {"POST", "load_weights", immediate(load_weights)},
      {"POST", "weights_info", immediate(weights_info)},
  };
}

}  // namespace tinkex::torch_ext::local
