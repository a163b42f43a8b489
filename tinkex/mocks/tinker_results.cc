#include "tinkex/mocks/tinker_results.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

namespace tinkex::mocks {
namespace {

using Json = nlohmann::json;

Reply encoded(const wire::Codec& codec, const Status& status, const ByteBuffer& body) {
  if (!status.ok()) return Reply::json(Json{{"detail", status.error().message()}}.dump(), 500);
  return Reply::with_type(std::string(codec.content_type()), std::string(body.view()));
}

/// The targets negated, in their shape; `loss` grows by what they and the weights come to.
TensorData logprobs_of(const Datum& datum, double& loss) {
  const TensorData* targets = find(datum.loss_fn_inputs, "target_tokens");
  if (targets == nullptr) return TensorData::from(std::vector<float>{});
  std::vector<float> logprobs = targets->to_floats();
  for (float& value : logprobs) value = -value;
  const TensorData* weights = find(datum.loss_fn_inputs, "weights");
  const std::vector<float> factors =
      weights ? weights->to_floats() : std::vector<float>(logprobs.size(), 1.0f);
  if (factors.size() == logprobs.size()) {
    loss -= std::inner_product(logprobs.begin(), logprobs.end(), factors.begin(), 0.0);
  }
  return TensorData::from(std::move(logprobs), targets->shape());
}

Reply batch_result(const Operation& operation, std::string_view accept) {
  ForwardBackwardOutput output;
  output.loss_fn_output_type = "ArrayRecord";
  double loss = 0;
  for (const Datum& datum : operation.batch->data) {
    output.loss_fn_outputs.push_back({{"logprobs", logprobs_of(datum, loss)}});
  }
  output.metrics["loss:sum"] = loss;
  const wire::Codec& codec = wire::codec_for_content_type(accept);
  ByteBuffer body;
  const Status status = codec.encode_output(output, body);
  return encoded(codec, status, body);
}

std::vector<std::int32_t> prompt_tokens(const Json& request) {
  std::vector<std::int32_t> prompt;
  for (const Json& chunk : request.at("prompt").at("chunks")) {
    const auto tokens = chunk.value("tokens", std::vector<std::int32_t>{});
    prompt.insert(prompt.end(), tokens.begin(), tokens.end());
  }
  return prompt;
}

std::vector<float> negated(const std::vector<std::int32_t>& tokens) {
  std::vector<float> logprobs;
  logprobs.reserve(tokens.size());
  for (const std::int32_t token : tokens) logprobs.push_back(-static_cast<float>(token));
  return logprobs;
}

SampledSequence sequence_of(const Json& request, std::vector<std::int32_t> tokens) {
  SampledSequence sequence;
  sequence.stop_reason = StopReason::kStop;
  const std::size_t most = request.at("sampling_params").value("max_tokens", tokens.size() + 1);
  if (most <= tokens.size()) {
    tokens.resize(most);
    sequence.stop_reason = StopReason::kLength;
  }
  sequence.logprobs = negated(tokens);
  sequence.tokens = std::move(tokens);
  return sequence;
}

/// Servers bound it as well; a test that asks for more had better hear of it than wait.
constexpr std::size_t kMostSamples = 4'096;

Reply sample_result(const Operation& operation, std::string_view accept) {
  const Json request = Json::parse(operation.body);
  const std::size_t samples = request.value("num_samples", std::size_t{1});
  if (samples > kMostSamples) {
    return Reply::json(Json{
        {"error", "num_samples: at most " + std::to_string(kMostSamples)},
        {"category",
         "user"}}.dump());
  }
  const std::vector<std::int32_t> prompt = prompt_tokens(request);
  SampleResponse response;
  response.sequences.assign(samples, sequence_of(request, prompt));
  if (request.value("prompt_logprobs", false) || request.value("topk_prompt_logprobs", 0) > 0) {
    response.prompt_logprobs = negated(prompt);
    if (!prompt.empty()) {
      response.prompt_logprobs.front() = std::numeric_limits<float>::quiet_NaN();
    }
  }
  const wire::Codec& codec = wire::codec_for_content_type(accept);
  ByteBuffer body;
  const Status status = codec.encode_sample_response(response, body);
  return encoded(codec, status, body);
}

Json checkpoint_result(const Operation& operation, const std::string& folder) {
  const Json request = Json::parse(operation.body);
  const std::string path = request.value("path", std::string());
  Json result{{"type", operation.kind}};
  if (path.empty()) {
    result["path"] = nullptr;
    result["sampling_session_id"] = "sampler-of-" + operation.request_id;
  } else {
    result["path"] = "tinker://" + operation.owner + "/" + folder + "/" + path;
  }
  return result;
}

Json small_result(const Operation& operation) {
  const Json request = Json::parse(operation.body);
  if (operation.kind == "optim_step") {
    const double rate = request.at("adam_params").at("learning_rate");
    return {{"type", "optim_step"}, {"metrics", {{"learning_rate", rate}}}};
  }
  if (operation.kind == "save_weights") return checkpoint_result(operation, "weights");
  if (operation.kind == "save_weights_for_sampler") {
    return checkpoint_result(operation, "sampler_weights");
  }
  Json result{{"type", operation.kind}, {"model_id", operation.owner}};
  if (operation.kind == "load_weights") result["path"] = request.at("path");
  return result;
}

}  // namespace

Reply default_result(const Operation& operation, std::string_view accept) {
  if (operation.batch) return batch_result(operation, accept);
  if (operation.kind == "asample") return sample_result(operation, accept);
  return Reply::json(small_result(operation).dump());
}

}  // namespace tinkex::mocks
