#include "torch_ext/ops/client_classes.h"

#include <c10/util/Exception.h>

#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "torch_ext/connect.h"
#include "torch_ext/error_bridge.h"
#include "torch_ext/ops/connect_ops.h"
#include "torch_ext/ops/python_exit.h"
#include "torch_ext/ops/python_lock.h"
#include "torch_ext/ops/reaper.h"
#include "torch_ext/ops/remote_op.h"
#include "torch_ext/ops/sampling_ops.h"
#include "torch_ext/ops/service_ops.h"
#include "torch_ext/ops/training_ops.h"

namespace tinkex::torch_ext {
namespace {

using torch::arg;

/// What a pickled Service remembers: embedded, base URL, folder and models of the embedded backend.
using ServiceState = std::tuple<bool, std::string, std::string, c10::List<std::string>>;

ServiceState settings_of(const ServicePtr& service) {
  const Connection& connection = service->connection();
  c10::List<std::string> models;
  for (const auto& path : connection.base_models) models.push_back(path.string());
  return {connection.embedded, connection.embedded ? "" : connection.service.options().base_url,
          connection.data_dir, std::move(models)};
}

ServicePtr service_from(ServiceState state) {
  auto& [embedded, base_url, data_dir, base_models] = state;
  leave_python_at_its_exit();
  ConnectOptions options = to_connect_options(base_url, "", data_dir, base_models);
  options.where = embedded ? Backend::kEmbedded : Backend::kServer;
  // Who unpickles a Service by itself holds Python's lock, as nobody does who calls an op. Released
  // before the pass, which may hold this thread back for good.
  const WithoutPythonLock released;
  const WaitPass pass;
  return c10::make_intrusive<ScriptService>(value_or_throw(connect(std::move(options))));
}

/// getstate and setstate of a class that cannot leave its session. TypeError is what Python says of
/// such objects, and what PyTorch's compiler expects of them.
template <class Client>
std::string refuse_to_save(const c10::intrusive_ptr<Client>&) {
  const Error error = invalid_argument(
      "a client belongs to a live session and cannot be pickled or saved in a module. Save the "
      "model with save_state or save_weights_for_sampler, keep the path, and make a client from it "
      "after loading");
  throw c10::TypeError(error.what(), {});
}
template <class Client>
c10::intrusive_ptr<Client> refuse_to_load(const std::string&) {
  throw_error(invalid_argument("a client cannot be unpickled; make one from a Service"));
}

// What the arguments of methods are called, and what they are if they are left out. Functions: the
// classes are registered while static variables of other files may not be there yet.
using Arguments = std::initializer_list<arg>;

const Arguments& adapter_arguments() {
  static const Arguments list = {arg("base_model"),         arg("rank") = 32,
                                 arg("seed") = arg::none(), arg("train_attn") = true,
                                 arg("train_mlp") = true,   arg("train_unembed") = true};
  return list;
}

const Arguments& path_arguments() {
  static const Arguments list = {arg("path"), arg("with_optimizer") = true};
  return list;
}

const Arguments& sampled_model_arguments() {
  static const Arguments list = {arg("base_model") = arg::none(), arg("model_path") = arg::none()};
  return list;
}

const Arguments& batch_arguments() {
  static const Arguments list = {arg("tokens"), arg("loss_fn_inputs"),
                                 arg("loss_fn") = "cross_entropy",
                                 arg("loss_fn_config") = arg::none()};
  return list;
}

const Arguments& ragged_arguments() {
  static const Arguments list = {arg("tokens"), arg("offsets"), arg("loss_fn_inputs"),
                                 arg("loss_fn") = "cross_entropy",
                                 arg("loss_fn_config") = arg::none()};
  return list;
}

const Arguments& adam_arguments() {
  static const Arguments list = {arg("learning_rate") = 1e-4, arg("beta1") = 0.9,
                                 arg("beta2") = 0.95,         arg("eps") = 1e-12,
                                 arg("weight_decay") = 0.0,   arg("grad_clip_norm") = 0.0};
  return list;
}

const Arguments& prompt_arguments() {
  static const Arguments list = {arg("prompt"),
                                 arg("num_samples") = 1,
                                 arg("max_tokens") = arg::none(),
                                 arg("seed") = arg::none(),
                                 arg("temperature") = 1.0,
                                 arg("top_k") = -1,
                                 arg("top_p") = 1.0,
                                 arg("stop_tokens") = arg::none(),
                                 arg("stop") = arg::none()};
  return list;
}

const Arguments& prompts_arguments() {
  static const Arguments list = {arg("prompts"),
                                 arg("num_samples") = 1,
                                 arg("max_tokens") = arg::none(),
                                 arg("seed") = arg::none(),
                                 arg("temperature") = 1.0,
                                 arg("top_k") = -1,
                                 arg("top_p") = 1.0,
                                 arg("stop_tokens") = arg::none(),
                                 arg("stop") = arg::none(),
                                 arg("prompt_logprobs") = false,
                                 arg("topk_prompt_logprobs") = 0};
  return list;
}

using SamplingClass = torch::class_<ScriptSamplingClient>;

/// For make_traceable(), which adds a method to the class.
std::optional<SamplingClass>& sampling_class() {
  static std::optional<SamplingClass> registered;
  return registered;
}

c10::Dict<std::string, std::string> model_info(const TrainingPtr& client) {
  const ModelInfo& info = client->client().info();
  c10::Dict<std::string, std::string> texts;
  texts.insert("model_id", info.model_id);
  texts.insert("model_name", info.model_name);
  texts.insert("tokenizer_id", info.tokenizer_id);
  texts.insert("arch", info.arch);
  if (info.lora_rank) texts.insert("lora_rank", std::to_string(*info.lora_rank));
  return texts;
}

}  // namespace

void register_service_class(torch::Library& library) {
  using Create = RemoteOp<&start_create_lora_training_client>;
  using Restore = RemoteOp<&start_create_training_client_from_state>;
  using Sample = RemoteOp<&start_create_sampling_client>;
  using Delete = RemoteOp<&start_delete_checkpoint>;
  library.class_<ScriptService>("Service")
      .def(torch::init(&connect_service), "",
           {arg("base_url") = "", arg("api_key") = "", arg("data_dir") = "",
            arg("base_models") = arg::none()})
      .def("session_id", [](const ServicePtr& self) { return self->client().session_id(); })
      .def("description", [](const ServicePtr& self) { return self->connection().description; })
      .def("embedded", [](const ServicePtr& self) { return self->connection().embedded; })
      .def("supported_models", &supported_models)
      .def("context_lengths", &context_lengths)
      .def("create_lora_training_client", &Create::blocking, "", adapter_arguments())
      .def("create_lora_training_client_async", &Create::async, "", adapter_arguments())
      .def("create_training_client_from_state", &Restore::blocking, "", path_arguments())
      .def("create_training_client_from_state_async", &Restore::async, "", path_arguments())
      .def("create_sampling_client", &Sample::blocking, "", sampled_model_arguments())
      .def("create_sampling_client_async", &Sample::async, "", sampled_model_arguments())
      .def("delete_checkpoint", &Delete::blocking, "", {arg("path")})
      .def("delete_checkpoint_async", &Delete::async, "", {arg("path")})
      .def("close",
           [](const ServicePtr& self) {
             const WaitPass pass;
             self->client().close();
           })
      .def_pickle([](const ServicePtr& self) { return settings_of(self); },
                  [](ServiceState state) { return service_from(std::move(state)); });
}

void register_training_client_class(torch::Library& library) {
  using Forward = RemoteOp<&start_forward>;
  using Train = RemoteOp<&start_forward_backward>;
  using ForwardRagged = RemoteOp<&start_forward_ragged>;
  using TrainRagged = RemoteOp<&start_forward_backward_ragged>;
  using Step = RemoteOp<&start_optim_step>;
  using SaveSampler = RemoteOp<&start_save_weights_for_sampler>;
  using Snapshot = RemoteOp<&start_save_weights_and_get_sampling_client>;
  library.class_<ScriptTrainingClient>("TrainingClient")
      .def("model_id", [](const TrainingPtr& self) { return self->client().model_id(); })
      .def("info", &model_info)
      .def("forward", &Forward::blocking, "", batch_arguments())
      .def("forward_async", &Forward::async, "", batch_arguments())
      .def("forward_ragged", &ForwardRagged::blocking, "", ragged_arguments())
      .def("forward_ragged_async", &ForwardRagged::async, "", ragged_arguments())
      .def("forward_backward", &Train::blocking, "", batch_arguments())
      .def("forward_backward_async", &Train::async, "", batch_arguments())
      .def("forward_backward_ragged", &TrainRagged::blocking, "", ragged_arguments())
      .def("forward_backward_ragged_async", &TrainRagged::async, "", ragged_arguments())
      .def("optim_step", &Step::blocking, "", adam_arguments())
      .def("optim_step_async", &Step::async, "", adam_arguments())
      .def("save_state", &RemoteOp<&start_save_state>::blocking, "",
           {arg("name"), arg("overwrite") = false})
      .def("save_state_async", &RemoteOp<&start_save_state>::async, "",
           {arg("name"), arg("overwrite") = false})
      .def("load_state", &RemoteOp<&start_load_state>::blocking, "", path_arguments())
      .def("load_state_async", &RemoteOp<&start_load_state>::async, "", path_arguments())
      .def("save_weights_for_sampler", &SaveSampler::blocking, "", {arg("name")})
      .def("save_weights_for_sampler_async", &SaveSampler::async, "", {arg("name")})
      .def("unload", &RemoteOp<&start_unload>::blocking)
      .def("unload_async", &RemoteOp<&start_unload>::async)
      .def("save_weights_and_get_sampling_client", &Snapshot::blocking)
      .def("save_weights_and_get_sampling_client_async", &Snapshot::async)
      .def_pickle([](const TrainingPtr& self) { return refuse_to_save(self); },
                  [](std::string state) { return refuse_to_load<ScriptTrainingClient>(state); });
}

void register_sampling_client_class(torch::Library& library) {
  using Sample = RemoteOp<&start_sample>;
  using SampleRagged = RemoteOp<&start_sample_ragged>;
  using Logprobs = RemoteOp<&start_compute_logprobs>;
  using LogprobsRagged = RemoteOp<&start_compute_logprobs_ragged>;
  sampling_class() = library.class_<ScriptSamplingClient>("SamplingClient");
  sampling_class()
      ->def("session_id", [](const SamplingPtr& self) { return self->client().session_id(); })
      .def("sample", &Sample::blocking, "", prompt_arguments())
      .def("sample_async", &Sample::async, "", prompt_arguments())
      .def("sample_ragged", &SampleRagged::blocking, "", prompts_arguments())
      .def("sample_ragged_async", &SampleRagged::async, "", prompts_arguments())
      .def("compute_logprobs", &Logprobs::blocking, "", {arg("prompt")})
      .def("compute_logprobs_async", &Logprobs::async, "", {arg("prompt")})
      .def("compute_logprobs_ragged", &LogprobsRagged::blocking, "", {arg("prompts")})
      .def("compute_logprobs_ragged_async", &LogprobsRagged::async, "", {arg("prompts")})
      .def("close", [](const SamplingPtr& self) { self->client().close(); })
      .def_pickle([](const SamplingPtr& self) { return refuse_to_save(self); },
                  [](std::string state) { return refuse_to_load<ScriptSamplingClient>(state); });
}

void make_traceable() {
  static const bool done = [] {
    // Nothing of a client's is a part of a graph: one client may take the place of another.
    sampling_class()->def("__obj_flatten__", [](const SamplingPtr&) {
      return std::make_tuple(std::make_tuple(std::string("kind"), std::string("SamplingClient")));
    });
    return true;
  }();
  (void)done;
}

ScriptService::ScriptService(Connection connection)
    : connection_(std::make_shared<Connection>(std::move(connection))) {
  prepare_to_drop();
  close_at_exit(connection_);
}

ScriptService::~ScriptService() { drop_later(std::move(connection_), process_); }

ServiceClient& ScriptService::client() { return connection_->service; }

std::shared_ptr<const void> ScriptService::lease() const {
  return dropped_later(connection_, process_);
}

ScriptTrainingClient::ScriptTrainingClient(TrainingClient client, std::shared_ptr<const void> lease,
                                           ChunkLimits limits)
    : client_(std::move(client)),
      lease_(dropped_later(std::move(lease), process_)),
      limits_(limits) {
  prepare_to_drop();
}

ScriptTrainingClient::~ScriptTrainingClient() {
  drop_later(std::make_pair(std::move(lease_), std::move(client_)), process_);
}

ScriptSamplingClient::ScriptSamplingClient(SamplingClient client, std::shared_ptr<const void> lease)
    : client_(std::move(client)), lease_(dropped_later(std::move(lease), process_)) {
  prepare_to_drop();
}

ScriptSamplingClient::~ScriptSamplingClient() {
  drop_later(std::make_pair(std::move(lease_), std::move(client_)), process_);
}

}  // namespace tinkex::torch_ext
