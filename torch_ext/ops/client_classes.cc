#include "torch_ext/ops/client_classes.h"

#include <tuple>

#include "torch_ext/connect.h"
#include "torch_ext/error_bridge.h"
#include "torch_ext/ops/reaper.h"
#include "torch_ext/ops/remote_op.h"
#include "torch_ext/ops/sampling_ops.h"
#include "torch_ext/ops/training_ops.h"

namespace tinkex::torch_ext {
namespace {

using torch::arg;

/// What a pickled Service remembers: embedded, base URL, folder of the embedded backend.
using ServiceState = std::tuple<bool, std::string, std::string>;

ServiceState settings_of(const ServicePtr& service) {
  const Connection& connection = service->connection();
  return {connection.embedded, connection.embedded ? "" : connection.service.options().base_url,
          connection.data_dir};
}

ServicePtr service_from(ServiceState state) {
  auto& [embedded, base_url, data_dir] = state;
  ConnectOptions options;
  options.where = embedded ? Backend::kEmbedded : Backend::kServer;
  options.client.base_url = base_url;
  options.embedded.data_dir = data_dir;
  return c10::make_intrusive<ScriptService>(value_or_throw(connect(std::move(options))));
}

/// getstate and setstate of a class that cannot leave its session.
template <class Client>
std::string refuse_to_save(const c10::intrusive_ptr<Client>&) {
  throw_error(invalid_argument(
      "a client belongs to a live session and cannot be pickled or saved in a module. Save the "
      "model with save_state or save_weights_for_sampler, keep the path, and make a client from it "
      "after loading"));
}
template <class Client>
c10::intrusive_ptr<Client> refuse_to_load(const std::string&) {
  throw_error(invalid_argument("a client cannot be unpickled; make one from a Service"));
}

}  // namespace

void register_service_class(torch::Library& library) {
  library.class_<ScriptService>("Service")
      .def(torch::init(&connect_service), "",
           {arg("base_url") = "", arg("api_key") = "", arg("data_dir") = ""})
      .def("session_id", [](const ServicePtr& self) { return self->client().session_id(); })
      .def("description", [](const ServicePtr& self) { return self->connection().description; })
      .def("embedded", [](const ServicePtr& self) { return self->connection().embedded; })
      .def("supported_models", &supported_models)
      .def("create_lora_training_client", &create_lora_training_client, "",
           {arg("base_model"), arg("rank") = 32, arg("seed") = arg::none(),
            arg("train_attn") = true, arg("train_mlp") = true, arg("train_unembed") = true})
      .def("create_training_client_from_state", &create_training_client_from_state, "",
           {arg("path"), arg("with_optimizer") = true})
      .def("create_sampling_client", &create_sampling_client, "",
           {arg("base_model") = arg::none(), arg("model_path") = arg::none()})
      .def("close", [](const ServicePtr& self) { self->client().close(); })
      .def_pickle([](const ServicePtr& self) { return settings_of(self); },
                  [](ServiceState state) { return service_from(std::move(state)); });
}

void register_training_client_class(torch::Library& library) {
  const std::initializer_list<arg> batch = {arg("tokens"), arg("loss_fn_inputs"),
                                            arg("loss_fn") = "cross_entropy",
                                            arg("loss_fn_config") = arg::none()};
  const std::initializer_list<arg> adam = {
      arg("learning_rate") = 1e-4, arg("beta1") = 0.9,        arg("beta2") = 0.95,
      arg("eps") = 1e-12,          arg("weight_decay") = 0.0, arg("grad_clip_norm") = 0.0};
  library.class_<ScriptTrainingClient>("TrainingClient")
      .def("model_id", [](const TrainingPtr& self) { return self->client().model_id(); })
      .def("forward", &RemoteOp<&start_forward>::blocking, "", batch)
      .def("forward_async", &RemoteOp<&start_forward>::async, "", batch)
      .def("forward_backward", &RemoteOp<&start_forward_backward>::blocking, "", batch)
      .def("forward_backward_async", &RemoteOp<&start_forward_backward>::async, "", batch)
      .def("optim_step", &RemoteOp<&start_optim_step>::blocking, "", adam)
      .def("optim_step_async", &RemoteOp<&start_optim_step>::async, "", adam)
      .def("save_state", &RemoteOp<&start_save_state>::blocking, "",
           {arg("name"), arg("overwrite") = false})
      .def("load_state", &RemoteOp<&start_load_state>::blocking, "",
           {arg("path"), arg("with_optimizer") = true})
      .def("save_weights_for_sampler", &RemoteOp<&start_save_weights_for_sampler>::blocking, "",
           {arg("name")})
      .def("save_weights_and_get_sampling_client",
           &RemoteOp<&start_save_weights_and_get_sampling_client>::blocking)
      .def_pickle([](const TrainingPtr& self) { return refuse_to_save(self); },
                  [](std::string state) { return refuse_to_load<ScriptTrainingClient>(state); });
}

void register_sampling_client_class(torch::Library& library) {
  const std::initializer_list<arg> prompt = {arg("prompt"),
                                             arg("num_samples") = 1,
                                             arg("max_tokens") = arg::none(),
                                             arg("seed") = arg::none(),
                                             arg("temperature") = 1.0,
                                             arg("top_k") = -1,
                                             arg("top_p") = 1.0,
                                             arg("stop_tokens") = arg::none(),
                                             arg("stop") = arg::none()};
  library.class_<ScriptSamplingClient>("SamplingClient")
      .def("session_id", [](const SamplingPtr& self) { return self->client().session_id(); })
      .def("sample", &RemoteOp<&start_sample>::blocking, "", prompt)
      .def("sample_async", &RemoteOp<&start_sample>::async, "", prompt)
      .def("compute_logprobs", &RemoteOp<&start_compute_logprobs>::blocking, "", {arg("prompt")})
      .def("compute_logprobs_async", &RemoteOp<&start_compute_logprobs>::async, "", {arg("prompt")})
      .def("close", [](const SamplingPtr& self) { self->client().close(); })
      .def_pickle([](const SamplingPtr& self) { return refuse_to_save(self); },
                  [](std::string state) { return refuse_to_load<ScriptSamplingClient>(state); });
}

ScriptService::ScriptService(Connection connection)
    : connection_(std::make_shared<Connection>(std::move(connection))) {
  prepare_to_drop();
}

ScriptService::~ScriptService() { drop_later(std::move(connection_)); }

ServiceClient& ScriptService::client() { return connection_->service; }

ScriptTrainingClient::ScriptTrainingClient(TrainingClient client, std::shared_ptr<const void> lease)
    : client_(std::move(client)), lease_(std::move(lease)) {
  prepare_to_drop();
}

ScriptTrainingClient::~ScriptTrainingClient() {
  drop_later(std::make_pair(std::move(lease_), std::move(client_)));
}

ScriptSamplingClient::ScriptSamplingClient(SamplingClient client, std::shared_ptr<const void> lease)
    : client_(std::move(client)), lease_(std::move(lease)) {
  prepare_to_drop();
}

ScriptSamplingClient::~ScriptSamplingClient() {
  drop_later(std::make_pair(std::move(lease_), std::move(client_)));
}

ServicePtr connect_service(const std::string& base_url, const std::string& api_key,
                           const std::string& data_dir) {
  ConnectOptions options;
  options.client.base_url = base_url;
  options.client.api_key = api_key;
  options.embedded.data_dir = data_dir;
  return c10::make_intrusive<ScriptService>(value_or_throw(connect(std::move(options))));
}

TrainingPtr create_lora_training_client(const ServicePtr& service, const std::string& base_model,
                                        std::int64_t rank, Optional<std::int64_t> seed,
                                        bool train_attn, bool train_mlp, bool train_unembed) {
  LoraConfig config;
  config.rank = rank;
  if (seed) config.seed = *seed;
  config.train_attn = train_attn;
  config.train_mlp = train_mlp;
  config.train_unembed = train_unembed;
  TrainingClient client =
      value_or_throw(service->client().create_lora_training_client(base_model, config).get());
  return c10::make_intrusive<ScriptTrainingClient>(std::move(client), service->lease());
}

TrainingPtr create_training_client_from_state(const ServicePtr& service, const std::string& path,
                                              bool with_optimizer) {
  TrainingClient client = value_or_throw(
      service->client().create_training_client_from_state(path, with_optimizer).get());
  return c10::make_intrusive<ScriptTrainingClient>(std::move(client), service->lease());
}

SamplingPtr create_sampling_client(const ServicePtr& service, Optional<std::string> base_model,
                                   Optional<std::string> model_path) {
  SamplingClient client =
      value_or_throw(service->client().create_sampling_client(base_model, model_path).get());
  return c10::make_intrusive<ScriptSamplingClient>(std::move(client), service->lease());
}

c10::List<std::string> supported_models(const ServicePtr& service) {
  c10::List<std::string> names;
  for (const SupportedModel& model :
       value_or_throw(service->client().get_supported_models().get())) {
    names.push_back(model.model_name);
  }
  return names;
}

void register_service_kernels(torch::Library& library) {
  library.impl("connect", TORCH_FN(connect_service));
  library.impl("create_lora_training_client", TORCH_FN(create_lora_training_client));
  library.impl("create_training_client_from_state", TORCH_FN(create_training_client_from_state));
  library.impl("create_sampling_client", TORCH_FN(create_sampling_client));
  library.impl("supported_models", TORCH_FN(supported_models));
}

}  // namespace tinkex::torch_ext
