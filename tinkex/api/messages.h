#pragma once

// The small JSON messages of the API, as pure functions: typed request to body, reply to typed
// value. Endpoint names are those below `/api/v1/`. Facts: the API's protocol, sections 2.2 to 2.6.
// The large messages (forward_backward, results of samples) are in tinkex/wire.
//
// Encoders give the body of a request; those that take part in a model's order leave it open for
// the sequence id, which `append_seq_id` writes when the send starts. Parsers answer kDecode for a
// reply that lacks what the caller needs, and ignore fields that they do not know.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tinkex/base/byte_buffer.h"
#include "tinkex/error.h"
#include "tinkex/model_input.h"
#include "tinkex/options.h"
#include "tinkex/outputs.h"
#include "tinkex/params.h"
#include "tinkex/transport.h"

namespace tinkex::api {

using Body = std::shared_ptr<ByteBuffer>;

/// Writes the sequence id into a JSON body that an encoder below left open, and closes it.
void append_seq_id(std::int64_t seq_id, ByteBuffer& body);

Body cancel_future_request(std::string_view request_id);

/// The future's id in the reply of a submission; empty if the reply is something else. An id that
/// is too long, or has control characters, is an error.
Result<std::string> parse_request_id(std::string_view body);

// Service.

Body client_config_request();
/// What POST client/config may change. Absent: the server says nothing.
struct ServerConfig {
  std::optional<std::size_t> max_chunk_examples;
  std::optional<std::size_t> max_chunk_bytes;
  std::optional<std::size_t> max_result_bytes;
  bool parallel_chunks = false;
  bool retrieve_futures = false;
};
ServerConfig parse_client_config(std::string_view body);
/// What POST client/dynamic_config, which takes the same request, may change while a session runs.
struct DynamicConfig {
  std::chrono::milliseconds refresh_interval{300'000};
  bool sample_cancel_enabled = false;
};
/// Absent if it is none, as the page of a proxy.
std::optional<DynamicConfig> parse_dynamic_config(std::string_view body);

Body create_session_request(const ClientOptions& options);
Result<std::string> parse_session_id(std::string_view body);
Body session_request(std::string_view session_id, std::string_view type);
Body finish_session_request();
Result<std::vector<SupportedModel>> parse_supported_models(std::string_view body);

// Models.

Body create_model_request(std::string_view session_id, std::int64_t model_seq_id,
                          std::string_view base_model, const LoraConfig& config);
/// The model id of a create_model or load_weights result.
Result<std::string> parse_model_id(std::string_view body);
/// Makes a model from a checkpoint in one step, which older servers do not know.
Body load_new_model_request(std::string_view session_id, std::int64_t model_seq_id,
                            std::string_view path, bool with_optimizer);
Body get_info_request(std::string_view model_id);
Result<ModelInfo> parse_model_info(std::string_view body);

// Training; all of these are open for the sequence id.

/// `training_runs/<run>/checkpoints/<folder>/<name>`, percent-encoded, of a path that
/// validate_checkpoint_path takes; without the folder where hatchery made it, and with the folder
/// of samplers where the path has none.
std::string checkpoint_resource(std::string_view path);

Body unload_request(std::string_view model_id);
/// Servers differ in what they say beside that it is done; it may be nothing.
Status parse_unload(std::string_view body);

Body optim_step_request(std::string_view model_id, const AdamParams& params);
Result<OptimStepResponse> parse_optim_step(std::string_view body);
Body save_weights_request(std::string_view model_id, std::string_view name, bool overwrite);
Result<SaveWeightsResponse> parse_save_weights(std::string_view body);
Body load_weights_request(std::string_view model_id, std::string_view path, bool with_optimizer);
Result<LoadWeightsResponse> parse_load_weights(std::string_view body);
/// Named when `name` is not empty, else ephemeral with this number of a sampling session.
Body save_weights_for_sampler_request(std::string_view model_id, std::string_view name,
                                      std::int64_t sampling_session_seq_id);
Result<SaveWeightsForSamplerResponse> parse_save_weights_for_sampler(std::string_view body);

Body weights_info_request(std::string_view path);
/// What create_model needs to make a model of the same shape as a checkpoint.
struct WeightsInfo {
  std::string base_model;
  LoraConfig lora;
};
Result<WeightsInfo> parse_weights_info(std::string_view body);

// Sampling.

Body create_sampling_session_request(std::string_view session_id, std::int64_t seq_id,
                                     const std::optional<std::string>& base_model,
                                     const std::optional<std::string>& model_path);
Result<std::string> parse_sampling_session_id(std::string_view body);

struct SampleSubmission {
  std::string_view sampling_session_id;
  std::uint64_t seq_id = 0;
  const ModelInput& prompt;
  std::int64_t num_samples = 1;
  const SamplingParams& params;
  const SampleOptions& options;
};
/// Fails with kInvalidArgument for a prompt that cannot be encoded.
Result<Body> asample_request(const SampleSubmission& sample);

/// A submission's reply: the id of the future, and ids of the sequences if the server gives any.
struct SampleAccepted {
  std::string request_id;
  std::vector<std::string> sequence_ids;
};
Result<SampleAccepted> parse_sample_accepted(std::string_view body);

}  // namespace tinkex::api
