#include "torch_ext/ops/service_ops.h"

#include <utility>
#include <vector>

#include "torch_ext/connect.h"
#include "torch_ext/error_bridge.h"
#include "torch_ext/ops/connect_ops.h"
#include "torch_ext/ops/python_exit.h"
#include "torch_ext/ops/remote_op.h"

namespace tinkex::torch_ext {
namespace {

std::vector<SupportedModel> models_of(const ServicePtr& service) {
  const WaitPass pass;
  return value_or_throw(service->client().get_supported_models().get());
}

/// The client with what it needs of its service.
Future<LeasedTrainer> leased(Future<TrainingClient> client, const ServicePtr& service) {
  const ChunkLimits limits = service->client().options().chunk_limits;
  return unless_refused(std::move(client))
      .then(
          [lease = service->lease(), limits](Result<TrainingClient> made) -> Result<LeasedTrainer> {
            if (!made) return std::move(made).error();
            return LeasedTrainer{*std::move(made), lease, limits};
          });
}
Future<LeasedSampler> leased(Future<SamplingClient> client, const ServicePtr& service) {
  return unless_refused(std::move(client))
      .then([lease = service->lease()](Result<SamplingClient> made) -> Result<LeasedSampler> {
        if (!made) return std::move(made).error();
        return LeasedSampler{*std::move(made), lease};
      });
}

}  // namespace

ServicePtr connect_service(const std::string& base_url, const std::string& api_key,
                           const std::string& data_dir,
                           const Optional<c10::List<std::string>>& base_models) {
  leave_python_at_its_exit();
  const WaitPass pass;
  return c10::make_intrusive<ScriptService>(
      value_or_throw(connect(to_connect_options(base_url, api_key, data_dir, base_models))));
}

c10::List<std::string> supported_models(const ServicePtr& service) {
  c10::List<std::string> names;
  for (const SupportedModel& model : models_of(service)) names.push_back(model.model_name);
  return names;
}

c10::Dict<std::string, std::int64_t> context_lengths(const ServicePtr& service) {
  c10::Dict<std::string, std::int64_t> lengths;
  for (const SupportedModel& model : models_of(service)) {
    if (model.max_context_length) lengths.insert(model.model_name, *model.max_context_length);
  }
  return lengths;
}

Future<LeasedTrainer> start_create_lora_training_client(
    const ServicePtr& service, const std::string& base_model, std::int64_t rank,
    Optional<std::int64_t> seed, bool train_attn, bool train_mlp, bool train_unembed) {
  LoraConfig config;
  config.rank = rank;
  if (seed) config.seed = *seed;
  config.train_attn = train_attn;
  config.train_mlp = train_mlp;
  config.train_unembed = train_unembed;
  return leased(service->client().create_lora_training_client(base_model, config), service);
}

Future<LeasedTrainer> start_create_training_client_from_state(const ServicePtr& service,
                                                              const std::string& path,
                                                              bool with_optimizer) {
  return leased(service->client().create_training_client_from_state(path, with_optimizer), service);
}

Future<LeasedSampler> start_create_sampling_client(const ServicePtr& service,
                                                   const Optional<std::string>& base_model,
                                                   const Optional<std::string>& model_path) {
  std::optional<std::string> model;
  std::optional<std::string> path;
  if (base_model) model = *base_model;
  if (model_path) path = *model_path;
  return leased(service->client().create_sampling_client(model, path), service);
}

Future<Unit> start_delete_checkpoint(const ServicePtr& service, const std::string& path) {
  return unless_refused(service->client().delete_checkpoint(path));
}

void register_service_kernels(torch::Library& library) {
  library.impl("connect", TORCH_FN(connect_service));
  library.impl("supported_models", TORCH_FN(supported_models));
  library.impl("context_lengths", TORCH_FN(context_lengths));
  register_forms<&start_create_lora_training_client>(library, "create_lora_training_client");
  register_forms<&start_create_training_client_from_state>(library,
                                                           "create_training_client_from_state");
  register_forms<&start_create_sampling_client>(library, "create_sampling_client");
  register_forms<&start_delete_checkpoint>(library, "delete_checkpoint");
}

}  // namespace tinkex::torch_ext
