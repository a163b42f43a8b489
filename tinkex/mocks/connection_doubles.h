#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "tinkex/connection.h"

namespace tinkex::mocks {

/// Stands in for a server in tests of training code, without any network: derive from it, override
/// the calls that the code under test makes, and hand it to a client:
///
/// ```
/// tinkex::TrainingClient model(std::make_shared<MyDouble>());
/// ```
/// A call that is not overridden fails with kInternal and says so. A result that is there at once
/// is `Future<T>::ready_with(value)`; one that comes later is the future of a `Promise<T>`.
class TrainingDouble : public TrainingConnection {
 public:
  TrainingDouble() {
    info_.model_id = "double";
    info_.model_name = "double";
  }
  explicit TrainingDouble(ModelInfo info) : info_(std::move(info)) {}

  const ModelInfo& info() const override { return info_; }
  Future<ForwardBackwardOutput> forward_backward(std::span<const Datum>, std::string, LossConfig,
                                                 bool forward_only, const CallOptions&) override {
    return unexpected<ForwardBackwardOutput>(forward_only ? "forward" : "forward_backward");
  }
  Future<ForwardBackwardOutput> forward_backward_custom(std::span<const Datum>, CustomLoss,
                                                        const CallOptions&) override {
    return unexpected<ForwardBackwardOutput>("forward_backward_custom");
  }
  Future<OptimStepResponse> optim_step(const AdamParams&, const CallOptions&) override {
    return unexpected<OptimStepResponse>("optim_step");
  }
  Future<SaveWeightsResponse> save_state(std::string, bool, const CallOptions&) override {
    return unexpected<SaveWeightsResponse>("save_state");
  }
  Future<LoadWeightsResponse> load_state(std::string, bool, const CallOptions&) override {
    return unexpected<LoadWeightsResponse>("load_state");
  }
  Future<SaveWeightsForSamplerResponse> save_weights_for_sampler(std::string,
                                                                 const CallOptions&) override {
    return unexpected<SaveWeightsForSamplerResponse>("save_weights_for_sampler");
  }
  Future<SamplingClient> save_weights_and_get_sampling_client(const CallOptions&) override {
    return unexpected<SamplingClient>("save_weights_and_get_sampling_client");
  }
  Future<Unit> unload(const CallOptions&) override { return unexpected<Unit>("unload"); }

 private:
  template <class T>
  static Future<T> unexpected(const char* call) {
    return Future<T>::ready_with(
        Error(ErrorCode::kInternal, std::string("the test's double does not answer ") + call));
  }

  ModelInfo info_;
};

/// The same for code that samples. close() does nothing.
class SamplingDouble : public SamplingConnection {
 public:
  explicit SamplingDouble(std::string session_id = "double") : session_id_(std::move(session_id)) {}

  const std::string& session_id() const override { return session_id_; }
  Future<SampleResponse> sample(const ModelInput&, std::int64_t, const SamplingParams&,
                                const SampleOptions&, const CallOptions&) override {
    return Future<SampleResponse>::ready_with(
        Error(ErrorCode::kInternal, "the test's double does not answer sample"));
  }
  void close() override {}

 private:
  const std::string session_id_;
};

}  // namespace tinkex::mocks
