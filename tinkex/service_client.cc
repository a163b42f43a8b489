#include "tinkex/service_client.h"

#include <utility>

#include "tinkex/api/messages.h"
#include "tinkex/connection/call.h"
#include "tinkex/connection/create_training.h"
#include "tinkex/connection/deadline.h"
#include "tinkex/connection/remote_sampling.h"
#include "tinkex/session/service_core.h"
#include "tinkex/validate.h"

namespace tinkex {
namespace {

using internal::Call;
using internal::ServiceContext;
using ServicePtr = std::shared_ptr<ServiceContext>;

HttpRequest post(const ServicePtr& service, std::string_view path, api::Body body) {
  HttpRequest request = service->request(path);
  request.body = std::move(body);
  return request;
}

Status check_sampled_model(const std::optional<std::string>& base_model,
                           const std::optional<std::string>& model_path) {
  if (base_model.has_value() == model_path.has_value()) {
    return invalid_argument(
        "create_sampling_client: give exactly one of base_model and model_path");
  }
  return base_model ? validate_base_model(*base_model) : validate_model_path(*model_path);
}

}  // namespace

Result<ServiceClient> ServiceClient::connect(ClientOptions options) {
  auto core = internal::ServiceCore::connect(std::move(options));
  if (!core.ok()) return core.error();
  return ServiceClient(*std::move(core));
}

const std::string& ServiceClient::session_id() const { return core_->context()->session_id; }

const ClientOptions& ServiceClient::options() const { return core_->context()->options; }

Future<std::vector<SupportedModel>> ServiceClient::get_supported_models(const CallOptions& call) {
  const ServicePtr& service = core_->context();
  if (Status here = service->check_process(); !here.ok()) {
    return Future<std::vector<SupportedModel>>::ready_with(here.error());
  }
  Call<std::vector<SupportedModel>> request{
      .what = "get_server_capabilities",
      .http = service->request("get_server_capabilities", "GET"),
      .decode = [](const HttpResponse& reply) { return api::parse_supported_models(reply.body); },
      .last_word = internal::last_word_for(*service, call)};
  const internal::LastWordPtr last_word = request.last_word;
  return internal::with_deadline(*service,
                                 internal::send_call(ServicePtr(service), std::move(request)), call,
                                 "get_server_capabilities", last_word);
}

Future<TrainingClient> ServiceClient::create_lora_training_client(std::string base_model,
                                                                  LoraConfig config,
                                                                  const CallOptions& call) {
  const ServicePtr& service = core_->context();
  if (Status here = service->check_process(); !here.ok()) {
    return Future<TrainingClient>::ready_with(here.error());
  }
  const auto refuse = [&service](Error error) {
    return Future<TrainingClient>::ready_with(std::move(error), service->runtime->executor);
  };
  if (Status valid = validate_base_model(base_model); !valid.ok()) return refuse(valid.error());
  if (Status valid = validate(config); !valid.ok()) return refuse(valid.error());
  const internal::LastWordPtr last_word = internal::last_word_for(*service, call);
  return internal::with_deadline(*service,
                                 internal::create_training(service, base_model, config, last_word),
                                 call, "create_lora_training_client", last_word);
}

Future<TrainingClient> ServiceClient::create_training_client_from_state(std::string path,
                                                                        bool with_optimizer,
                                                                        const CallOptions& call) {
  const ServicePtr& service = core_->context();
  if (Status here = service->check_process(); !here.ok()) {
    return Future<TrainingClient>::ready_with(here.error());
  }
  if (Status valid = validate_checkpoint_path(path, CheckpointKind::kTraining); !valid.ok()) {
    return Future<TrainingClient>::ready_with(valid.error(), service->runtime->executor);
  }
  const internal::LastWordPtr last_word = internal::last_word_for(*service, call);
  return internal::with_deadline(
      *service,
      internal::create_training_from(service, std::move(path), with_optimizer, call, last_word),
      call, "create_training_client_from_state", last_word);
}

Future<SamplingClient> ServiceClient::create_sampling_client(std::optional<std::string> base_model,
                                                             std::optional<std::string> model_path,
                                                             const CallOptions& call) {
  const ServicePtr& service = core_->context();
  if (Status here = service->check_process(); !here.ok()) {
    return Future<SamplingClient>::ready_with(here.error());
  }
  if (Status valid = check_sampled_model(base_model, model_path); !valid.ok()) {
    return Future<SamplingClient>::ready_with(valid.error(), service->runtime->executor);
  }
  const std::int64_t number = service->next_sampling_session_seq_id.fetch_add(1);
  Call<std::string> request{
      .what = "create_sampling_session",
      .http = post(service, "create_sampling_session",
                   api::create_sampling_session_request(service->session_id, number, base_model,
                                                        model_path)),
      .decode = [](const HttpResponse& r) { return api::parse_sampling_session_id(r.body); },
      .last_word = internal::last_word_for(*service, call)};
  const internal::LastWordPtr last_word = request.last_word;
  // Some servers answer with a future; the others at once.
  auto created =
      internal::send_call_and_poll(ServicePtr(service), std::move(request), "CreateSamplingSession")
          .then([service](Result<std::string> session_id) -> Result<SamplingClient> {
            if (!session_id.ok()) return std::move(session_id).error();
            return internal::make_sampling_client(service, *std::move(session_id));
          });
  return internal::with_deadline(*service, std::move(created), call, "create_sampling_client",
                                 last_word);
}

Future<Unit> ServiceClient::delete_checkpoint(std::string path, const CallOptions& call) {
  const ServicePtr& service = core_->context();
  if (Status here = service->check_process(); !here.ok()) {
    return Future<Unit>::ready_with(here.error());
  }
  if (Status valid = validate_checkpoint_path(path); !valid.ok()) {
    return Future<Unit>::ready_with(valid.error(), service->runtime->executor);
  }
  Call<Unit> request{.what = "delete_checkpoint",
                     .http = service->request(api::checkpoint_resource(path), "DELETE"),
                     .decode = [](const HttpResponse&) { return ok_status(); },
                     .last_word = internal::last_word_for(*service, call),
                     .gone_means_done = true};
  const internal::LastWordPtr last_word = request.last_word;
  return internal::with_deadline(*service,
                                 internal::send_call(ServicePtr(service), std::move(request)), call,
                                 "delete_checkpoint", last_word);
}

void ServiceClient::close() { core_->close(); }

}  // namespace tinkex
