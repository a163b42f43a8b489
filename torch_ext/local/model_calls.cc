#include "torch_ext/local/model_calls.h"

#include <utility>

namespace tinkex::torch_ext::local {
namespace {

Reply accepted(const std::string& request_id, const std::string& model_id) {
  return json_reply({{"request_id", request_id}, {"model_id", model_id}});
}

Reply reply_to(const Admission& admission, const std::string& model_id) {
  switch (admission.state) {
    case Admission::State::kAccepted:
    case Admission::State::kRepeated: return accepted(admission.request_id, model_id);
    case Admission::State::kConflict: return error_reply(409, admission.text);
    case Admission::State::kFull: return busy(admission.text);
    case Admission::State::kClosed: break;
  }
  return error_reply(404, admission.text);
}

/// The first operation of a model: makes its run, or lets everything behind it fail.
OperationResult create_run(Service& service, Model& model, const NewModel& wanted) {
  auto run = wanted.make();
  if (!run) {
    service.registry().remove_model(model.id);
    model.queue->abandon(
        Error(run.error()).with_context("model " + model.id + " could not be created"));
    return run.error();
  }
  model.base_model = (*run)->model().config().name;
  model.lora = (*run)->lora_config();
  model.run = *std::move(run);
  model.ready.store(true, std::memory_order_release);
  nlohmann::json result = wanted.result;
  result["model_id"] = model.id;
  return OperationOutput(dump(result));
}

}  // namespace

std::optional<std::string> ModelCall::complaint_about(std::int64_t seq_id) {
  if (seq_id < 0) return "must not be negative";
  if (seq_id > kMaxSeqId) return "must be at most 2^62";
  return std::nullopt;
}

ModelCall ModelCall::read(JsonFields& in) {
  ModelCall target;
  target.model_id = in.string("model_id");
  target.seq_id = in.optional_integer("seq_id").value_or(0);
  if (const auto complaint = complaint_about(target.seq_id)) in.refuse("seq_id", *complaint);
  return target;
}

Reply unknown_model(const std::string& id) {
  return error_reply(404, "model '" + id +
                              "' is unknown to this server; it was unloaded, its session was "
                              "finished, or the server was restarted");
}

Reply submit(Service& service, const ModelCall& target, OperationKind kind, const Call& call,
             RunStep step) {
  const std::shared_ptr<Model> model = service.registry().find_model(target.model_id);
  if (model == nullptr) return unknown_model(target.model_id);
  model->last_request.store(unix_seconds());
  Operation operation;
  operation.kind = kind;
  operation.seq_id = target.seq_id;
  operation.digest = BodyDigest::of(call.body);
  operation.bytes = call.body.size();
  operation.run = [model, step = std::move(step)]() -> OperationResult {
    if (model->run == nullptr) {
      return Error(ErrorCode::kClosed, "model " + model->id + " is no longer loaded")
          .with_category(ErrorCategory::kUser);
    }
    return step(*model, *model->run);
  };
  return reply_to(model->queue->submit(std::move(operation)), model->id);
}

Reply refuse(Service& service, const ModelCall& target, OperationKind kind,
             const std::string& text) {
  const std::shared_ptr<Model> model = service.registry().find_model(target.model_id);
  if (model != nullptr && target.seq_id > 0) model->queue->refuse(target.seq_id, kind);
  return unprocessable(text);
}

Reply create(Service& service, const Call& call, NewModel wanted) {
  Registry& registry = service.registry();
  const std::string model_id = wanted.session_id + ":train:" + std::to_string(wanted.number);
  const auto [state, creation] = registry.begin_creation(
      Registry::Kind::kModel, wanted.session_id, wanted.number, BodyDigest::of(call.body), [&] {
        return Registry::Creation{{}, service.futures().open(wanted.session_id), {}};
      });
  switch (state) {
    case Registry::CreationState::kNew: break;
    case Registry::CreationState::kRepeated: return accepted(creation.request_id, model_id);
    case Registry::CreationState::kConflict:
      return error_reply(409, "model_seq_id " + std::to_string(wanted.number) + " of session " +
                                  wanted.session_id + " was already used by a different request");
    case Registry::CreationState::kNoSession:
      return error_reply(404, "session '" + wanted.session_id + "' is unknown or was finished");
  }
  const auto model = service.add_model(model_id, wanted.session_id, wanted.user_metadata);
  if (model == nullptr) {
    return error_reply(404, "session '" + wanted.session_id + "' was finished");
  }
  Operation operation;
  operation.kind = OperationKind::kCreate;
  operation.request_id = creation.request_id;
  operation.run = [&service, model, wanted = std::move(wanted)] {
    return create_run(service, *model, wanted);
  };
  return reply_to(model->queue->submit(std::move(operation)), model_id);
}

}  // namespace tinkex::torch_ext::local
