// Models and what trains them.

#include <utility>

#include "tinkex/wire/codec.h"
#include "torch_ext/local/api.h"
#include "torch_ext/local/config.h"
#include "torch_ext/local/json_fields.h"
#include "torch_ext/local/model_calls.h"
#include "torch_ext/local/service.h"

namespace tinkex::torch_ext::local {
namespace {

using nlohmann::json;

LoraConfig read_lora(JsonFields& in) {
  LoraConfig lora;
  const json* value = in.object("lora_config");
  if (value == nullptr) return lora;
  JsonFields fields(*value, "lora_config");
  lora.rank = fields.optional_integer("rank").value_or(lora.rank);
  lora.seed = fields.optional_integer("seed");
  lora.train_attn = fields.boolean("train_attn", true);
  lora.train_mlp = fields.boolean("train_mlp", true);
  lora.train_unembed = fields.boolean("train_unembed", true);
  in.refuse_as(fields);
  return lora;
}

void check_optimizer(JsonFields& in) {
  const json* value = in.object("optimizer_config");
  if (value == nullptr) return;
  JsonFields fields(*value, "optimizer_config");
  const std::string type = fields.optional_string("type").value_or("adamw");
  if (type != "adamw") fields.refuse("type", "'" + type + "' is not offered; use adamw");
  in.refuse_as(fields);
}

Reply create_model(Service& service, const Call& call) {
  JsonFields in(call.body);
  NewModel wanted;
  wanted.session_id = in.string("session_id");
  wanted.number = in.integer("model_seq_id");
  wanted.user_metadata = in.string_map("user_metadata");
  const std::string asked = in.string("base_model");
  const LoraConfig lora = read_lora(in);
  check_optimizer(in);
  if (!in.ok()) return unprocessable(in.error());
  const auto config = service.models().config(asked);
  if (!config) return error_reply(404, "base_model: " + config.error().message());
  if (service.registry().model_count() >= service.options().max_models) {
    return error_reply(400,
                       std::to_string(service.options().max_models) +
                           " models are loaded, which is the limit; call unload() of a training "
                           "client, or close a service");
  }
  wanted.result = {{"type", "create_model"}};
  wanted.make = [&service, base_model = config->name,
                 lora]() -> Result<std::unique_ptr<TrainingRun>> {
    auto base = service.models().model(base_model);
    if (!base) return base.error();
    return TrainingRun::create(*std::move(base), lora);
  };
  return create(service, call, std::move(wanted));
}

Reply describe(const Service& service, const Model& model) {
  if (!model.ready.load(std::memory_order_acquire)) return unknown_model(model.id);
  const auto config = service.models().config(model.base_model);
  const json data = {{"arch", config ? config->family : ""},
                     {"model_name", model.base_model},
                     {"tokenizer_id", service.models().tokenizer_id(model.base_model)}};
  return json_reply({{"type", "get_info"},
                     {"model_id", model.id},
                     {"model_data", data},
                     {"model_name", model.base_model},
                     {"is_lora", true},
                     {"lora_rank", model.lora.rank},
                     {"optimizer_config", {{"type", "adamw"}}}});
}

void get_info(Service& service, const Call& call, const Responder& respond) {
  JsonFields in(call.body);
  const std::string id = in.string("model_id");
  if (!in.ok()) return respond(unprocessable(in.error()));
  const std::shared_ptr<Model> model = service.registry().find_model(id);
  if (model == nullptr) return respond(unknown_model(id));
  if (model->ready.load(std::memory_order_acquire)) return respond(describe(service, *model));
  // Behind its creation, which is the first in the lane.
  const bool waits = service.compute().post(model->id, [&service, model, respond] {
    respond_with(respond, [&] { return describe(service, *model); });
  });
  if (!waits) respond(error_reply(503, "the server is shutting down"));
}

Reply unload_model(Service& service, const Call& call) {
  JsonFields in(call.body);
  const std::string id = in.string("model_id");
  if (!in.ok()) return unprocessable(in.error());
  const std::shared_ptr<Model> model = service.registry().remove_model(id);
  if (model == nullptr) return unknown_model(id);
  Operation unload;
  unload.kind = OperationKind::kUnload;
  unload.run = [model]() -> OperationResult {
    model->run.reset();
    return OperationOutput(dump({{"model_id", model->id}, {"type", "unload_model"}}));
  };
  const Error reason = Error(ErrorCode::kClosed, "model " + id + " was unloaded")
                           .with_category(ErrorCategory::kUser);
  const Admission admission = model->queue->close(std::move(unload), reason);
  return json_reply({{"request_id", admission.request_id}, {"model_id", id}});
}

OperationKind kind_of(bool forward_only) {
  return forward_only ? OperationKind::kForward : OperationKind::kForwardBackward;
}

/// A malformed body: if it still says whose turn it is, that turn is not waited for.
Reply refuse_body(Service& service, const Call& call, bool forward_only, const Error& error) {
  JsonFields in(call.body);
  const ModelCall target = ModelCall::read(in);
  if (!in.ok()) return unprocessable(error.message());
  return refuse(service, target, kind_of(forward_only), error.message());
}

Reply forward_or_backward(Service& service, const Call& call, bool forward_endpoint) {
  if (!call.content_encoding.empty() && call.content_encoding != "identity") {
    return error_reply(415, "content-encoding '" + std::string(call.content_encoding) +
                                "' is not supported; send the body uncompressed");
  }
  const wire::Codec& codec = wire::codec_for_content_type(call.content_type);
  auto decoded = codec.decode_request(call.body, forward_endpoint);
  if (!decoded) return refuse_body(service, call, forward_endpoint, decoded.error());
  auto request = std::make_shared<wire::ForwardBackwardRequest>(*std::move(decoded));
  const ModelCall target{request->model_id, request->seq_id};
  if (const auto complaint = ModelCall::complaint_about(target.seq_id)) {
    return unprocessable("seq_id: " + *complaint);
  }
  return submit(service, target, kind_of(request->forward_only), call,
                [request, &service](Model& model, TrainingRun& run) -> OperationResult {
                  auto output = run.forward_backward(request->data, request->loss_fn,
                                                     request->loss_fn_config, request->forward_only,
                                                     &model.cancelled, service.options().losses);
                  if (!output) return output.error();
                  return OperationOutput(*std::move(output));
                });
}

Reply forward_backward(Service& service, const Call& call) {
  return forward_or_backward(service, call, false);
}

Reply forward(Service& service, const Call& call) {
  return forward_or_backward(service, call, true);
}

AdamParams read_adam(JsonFields& in) {
  AdamParams adam;
  if (in.value("optimizer_params") != nullptr) {
    in.refuse("optimizer_params", "only Adam is offered; send adam_params");
  }
  const json* value = in.object("adam_params");
  if (value == nullptr) return adam;
  JsonFields fields(*value, "adam_params");
  adam.learning_rate = fields.number("learning_rate", adam.learning_rate);
  adam.beta1 = fields.number("beta1", adam.beta1);
  adam.beta2 = fields.number("beta2", adam.beta2);
  adam.eps = fields.number("eps", adam.eps);
  adam.weight_decay = fields.number("weight_decay", adam.weight_decay);
  adam.grad_clip_norm = fields.number("grad_clip_norm", adam.grad_clip_norm);
  in.refuse_as(fields);
  return adam;
}

Reply optim_step(Service& service, const Call& call) {
  JsonFields in(call.body);
  const ModelCall target = ModelCall::read(in);
  const AdamParams adam = read_adam(in);
  if (!in.ok()) return refuse(service, target, OperationKind::kOptimStep, in.error());
  return submit(
      service, target, OperationKind::kOptimStep, call,
      [adam](Model&, TrainingRun& run) -> OperationResult {
        const auto stepped = run.optim_step(adam);
        if (!stepped) return stepped.error();
        return OperationOutput(dump({{"metrics", stepped->metrics}, {"type", "optim_step"}}));
      });
}

}  // namespace

std::vector<Route> training_routes() {
  return {
      {"POST", "create_model", immediate(create_model)},
      {"POST", "get_info", get_info},
      {"POST", "unload_model", immediate(unload_model)},
      {"POST", "forward_backward", immediate(forward_backward)},
      {"POST", "forward", immediate(forward)},
      {"POST", "optim_step", immediate(optim_step)},
  };
}

}  // namespace tinkex::torch_ext::local
