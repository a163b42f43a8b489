#include "tinkex/connection/create_training.h"

#include <utility>

#include "tinkex/api/messages.h"
#include "tinkex/connection/call.h"
#include "tinkex/connection/remote_training.h"

namespace tinkex::internal {
namespace {

using ServicePtr = std::shared_ptr<ServiceContext>;
using Training = std::shared_ptr<RemoteTraining>;

template <class T>
Future<T> failed(const ServicePtr& service, Error error) {
  return Future<T>::ready_with(std::move(error), service->runtime->executor);
}

HttpRequest post(const ServicePtr& service, std::string_view path, api::Body body) {
  HttpRequest request = service->request(path);
  request.body = std::move(body);
  return request;
}

Result<TrainingClient> client_of(Result<Training> training) {
  if (!training.ok()) return std::move(training).error();
  return TrainingClient(*std::move(training));
}

/// Asks for the model's description and makes its connection; the model exists already.
Future<Training> training_for(const ServicePtr& service, std::string model_id,
                              const LastWordPtr& last_word) {
  Call<ModelInfo> call{
      .what = "get_info",
      .http = post(service, "get_info", api::get_info_request(model_id)),
      .decode = [](const HttpResponse& reply) { return api::parse_model_info(reply.body); },
      .last_word = last_word};
  return send_call(ServicePtr(service), std::move(call))
      .then([service, model_id](Result<ModelInfo> info) -> Result<Training> {
        if (!info.ok()) return std::move(info).error();
        info->model_id = model_id;
        return RemoteTraining::create(service, *std::move(info));
      });
}

Future<Training> create_numbered(const ServicePtr& service, std::int64_t number,
                                 std::string_view base_model, const LoraConfig& config,
                                 const LastWordPtr& last_word) {
  Call<std::string> call{
      .what = "create_model",
      .http = post(service, "create_model",
                   api::create_model_request(service->session_id, number, base_model, config)),
      .decode = [](const HttpResponse& reply) { return api::parse_model_id(reply.body); },
      .last_word = last_word};
  return send_call_and_poll(ServicePtr(service), std::move(call), "CreateModel")
      .then([service, last_word](Result<std::string> model_id) -> Future<Training> {
        if (!model_id.ok()) return failed<Training>(service, std::move(model_id).error());
        return training_for(service, *std::move(model_id), last_word);
      });
}

/// What a model is to be made from, and the call that asks for it.
struct Checkpoint {
  std::string path;
  bool with_optimizer;
  CallOptions call;
  LastWordPtr last_word;
};

/// A fresh model's first step: takes over a checkpoint.
Future<Training> load_into(Result<Training> created, const Checkpoint& from) {
  if (!created.ok()) return Future<Training>::ready_with(std::move(created));
  Training training = *std::move(created);
  return training->load_state_as_step(from.path, from.with_optimizer, from.last_word)
      .then([training](Result<LoadWeightsResponse> loaded) -> Result<Training> {
        if (!loaded.ok()) return std::move(loaded).error();
        return training;
      });
}

/// Asks for the checkpoint's shape, creates a model of it, loads the weights.
Future<TrainingClient> in_two_steps(const ServicePtr& service, std::int64_t number,
                                    const Checkpoint& from) {
  Call<api::WeightsInfo> call{
      .what = "weights_info",
      .http = post(service, "weights_info", api::weights_info_request(from.path)),
      .decode = [](const HttpResponse& reply) { return api::parse_weights_info(reply.body); },
      .last_word = from.last_word};
  return send_call(ServicePtr(service), std::move(call))
      .then([service, number,
             last_word = from.last_word](Result<api::WeightsInfo> info) -> Future<Training> {
        if (!info.ok()) return failed<Training>(service, std::move(info).error());
        return create_numbered(service, number, info->base_model, info->lora, last_word);
      })
      .then([from](Result<Training> created) { return load_into(std::move(created), from); })
      .then([service](Result<Training> loaded) {
        if (loaded.ok()) service->load_form.store(LoadForm::kTwoSteps);
        return client_of(std::move(loaded));
      });
}

/// The new model's id.
Future<std::string> in_one_step(const ServicePtr& service, std::int64_t number,
                                const Checkpoint& from) {
  // Where the reply does not name the model, its id follows from the session and the number.
  Call<std::string> call{
      .what = "load_weights",
      .http = post(
          service, "load_weights",
          api::load_new_model_request(service->session_id, number, from.path, from.with_optimizer)),
      .decode = [derived = service->session_id + ":train:" + std::to_string(number)](
                    const HttpResponse& reply) -> Result<std::string> {
        Result<LoadWeightsResponse> loaded = api::parse_load_weights(reply.body);
        if (!loaded.ok()) return std::move(loaded).error();
        return loaded->model_id.empty() ? derived : loaded->model_id;
      },
      .last_word = from.last_word};
  return send_call_and_poll(ServicePtr(service), std::move(call), "LoadWeights");
}

/// Whether the submission was refused in a way in which a server refuses a form that it does not
/// know. An error with a request id came later: then the server knew what to do.
bool may_not_know_the_form(const Error& error) {
  const int status = error.http_status();
  return error.request_id().empty() && (status == 400 || status == 404 || status == 422);
}

}  // namespace

Future<TrainingClient> create_training(const ServicePtr& service, std::string_view base_model,
                                       const LoraConfig& config, const LastWordPtr& last_word) {
  return create_numbered(service, service->next_model_seq_id.fetch_add(1), base_model, config,
                         last_word)
      .then(client_of);
}

Future<TrainingClient> create_training_from(const ServicePtr& service, std::string path,
                                            bool with_optimizer, const CallOptions& call,
                                            const LastWordPtr& last_word) {
  const Checkpoint from{std::move(path), with_optimizer, call, last_word};
  const std::int64_t number = service->next_model_seq_id.fetch_add(1);
  if (service->load_form.load() == LoadForm::kTwoSteps) return in_two_steps(service, number, from);
  return in_one_step(service, number, from)
      .then([service, number, from](Result<std::string> model_id) -> Future<TrainingClient> {
        if (model_id.ok()) {
          service->load_form.store(LoadForm::kOneStep);
          return training_for(service, *std::move(model_id), from.last_word).then(client_of);
        }
        const Error& error = model_id.error();
        if (!may_not_know_the_form(error) || service->load_form.load() == LoadForm::kOneStep) {
          return failed<TrainingClient>(service, std::move(model_id).error());
        }
        // After a lost reply the number may have been taken.
        return in_two_steps(
            service, error.not_accepted() ? number : service->next_model_seq_id.fetch_add(1), from);
      });
}

}  // namespace tinkex::internal
