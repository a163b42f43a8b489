#pragma once

// Connections that remember what they are asked and answer what the test prepared.

#include <functional>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tinkex/connection.h"

namespace tinkex::torch_ext {

/// A copy of one datum's numbers: what a connection encodes before it returns.
struct SeenDatum {
  std::vector<std::int64_t> tokens;
  std::map<std::string, std::vector<float>> inputs;
};

class FakeTraining final : public TrainingConnection {
 public:
  /// The answer to forward and forward_backward; unsettled while `hold` is set.
  Result<ForwardBackwardOutput> output = ForwardBackwardOutput{};
  Result<SamplingClient> sampler = Error(ErrorCode::kInternal, "no sampler was prepared");
  bool hold = false;
  /// Called with the data in place of filling `seen`, if it is set.
  std::function<void(std::span<const Datum>)> look;

  int calls = 0;
  std::vector<SeenDatum> seen;
  std::string loss_fn;
  LossConfig config;
  bool forward_only = false;
  AdamParams adam;
  std::string saved_name;
  Promise<ForwardBackwardOutput> held;

  const ModelInfo& info() const override { return info_; }

  Future<ForwardBackwardOutput> forward_backward(std::span<const Datum> data, std::string loss,
                                                 LossConfig settings, bool forward,
                                                 const CallOptions&) override {
    ++calls;
    if (look) {
      look(data);
    } else {
      remember(data);
    }
    loss_fn = std::move(loss);
    config = std::move(settings);
    forward_only = forward;
    if (hold) return held.future();
    return Future<ForwardBackwardOutput>::ready_with(output);
  }

  Future<ForwardBackwardOutput> forward_backward_custom(std::span<const Datum>, CustomLoss,
                                                        const CallOptions&) override {
    ++calls;
    return Future<ForwardBackwardOutput>::ready_with(
        Error(ErrorCode::kInternal, "no op calls forward_backward_custom"));
  }

  Future<OptimStepResponse> optim_step(const AdamParams& params, const CallOptions&) override {
    ++calls;
    adam = params;
    return Future<OptimStepResponse>::ready_with(OptimStepResponse{{{"grad_norm", 2.5}}});
  }

  Future<SaveWeightsResponse> save_state(std::string name, bool, const CallOptions&) override {
    ++calls;
    return Future<SaveWeightsResponse>::ready_with(
        SaveWeightsResponse{"tinker://run/weights/" + name});
  }

  Future<LoadWeightsResponse> load_state(std::string path, bool, const CallOptions&) override {
    ++calls;
    return Future<LoadWeightsResponse>::ready_with(LoadWeightsResponse{path, "model-1"});
  }

  Future<SaveWeightsForSamplerResponse> save_weights_for_sampler(std::string name,
                                                                 const CallOptions&) override {
    ++calls;
    SaveWeightsForSamplerResponse saved;
    if (name != "nameless") saved.path = "tinker://run/sampler_weights/" + name;
    return Future<SaveWeightsForSamplerResponse>::ready_with(saved);
  }

  Future<SamplingClient> save_weights_and_get_sampling_client(const CallOptions&) override {
    ++calls;
    return Future<SamplingClient>::ready_with(sampler);
  }

 private:
  void remember(std::span<const Datum> data) {
    seen.clear();
    for (const Datum& datum : data) {
      SeenDatum copy{datum.model_input.text_tokens(), {}};
      for (const auto& [name, tensor] : datum.loss_fn_inputs) {
        copy.inputs[name] = tensor.to_floats();
      }
      seen.push_back(std::move(copy));
    }
  }

  ModelInfo info_{"model-1", "base", "", "", true, 32};
};

class FakeSampling final : public SamplingConnection {
 public:
  SampleResponse response;
  int calls = 0;
  bool closed = false;
  std::vector<std::int64_t> prompt;
  std::int64_t num_samples = 0;
  SamplingParams params;
  SampleOptions options;

  const std::string& session_id() const override { return session_id_; }

  Future<SampleResponse> sample(const ModelInput& input, std::int64_t count,
                                const SamplingParams& settings, const SampleOptions& asked,
                                const CallOptions&) override {
    ++calls;
    prompt = input.text_tokens();
    num_samples = count;
    params = settings;
    options = asked;
    return Future<SampleResponse>::ready_with(response);
  }

  void close() override { closed = true; }

 private:
  std::string session_id_ = "sampling-1";
};

}  // namespace tinkex::torch_ext
