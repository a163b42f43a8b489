#pragma once

// A connection that remembers what a remote model asks, and what its tests share.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/torch_ext/fake_connections.h"
#include "torch_ext/remote_adamw.h"
#include "torch_ext/remote_model.h"

namespace tinkex::torch_ext {

/// Gives target t the log-probability -t / 8 and remembers what it was asked.
class Server : public TrainingConnection {
 public:
  std::vector<std::string> calls;
  std::vector<SeenDatum> trained;  ///< Of the last forward_backward.
  AdamParams adam;
  std::optional<Error> failure;     ///< Of the next forward_backward, optim_step or load_state.
  std::function<void()> meanwhile;  ///< Called by the next call, before it has its place here.
  bool throws = false;              ///< Whether the next one throws what is no Error.
  bool later = false;               ///< Whether those answer when answer_all() is called.

  const ModelInfo& info() const override { return info_; }

  Future<ForwardBackwardOutput> forward_backward(std::span<const Datum> data, std::string loss_fn,
                                                 LossConfig, bool forward,
                                                 const CallOptions&) override {
    note((forward ? "forward " : "train ") + loss_fn + " " + std::to_string(data.size()));
    if (!forward) trained.clear();
    ForwardBackwardOutput output;
    double loss = 0;
    for (const Datum& datum : data) {
      const TensorData& targets = *find(datum.loss_fn_inputs, "target_tokens");
      std::vector<float> values = targets.to_floats();
      for (float& value : values) loss += value = -value / 8;
      output.loss_fn_outputs.push_back(
          {{"logprobs", TensorData::from(std::move(values), targets.shape())}});
      if (forward) continue;
      SeenDatum seen{datum.model_input.text_tokens(), {}};
      for (const auto& [name, tensor] : datum.loss_fn_inputs) {
        seen.inputs[name] = tensor.to_floats();
      }
      trained.push_back(std::move(seen));
    }
    output.metrics["loss:sum"] = -loss;
    if (forward) return Future<ForwardBackwardOutput>::ready_with(std::move(output));
    return answer<ForwardBackwardOutput>(std::move(output));
  }

  Future<OptimStepResponse> optim_step(const AdamParams& params, const CallOptions&) override {
    note("step");
    adam = params;
    return answer<OptimStepResponse>(OptimStepResponse{{{"grad_norm", 2.5}}});
  }

  Future<ForwardBackwardOutput> forward_backward_custom(std::span<const Datum>, CustomLoss,
                                                        const CallOptions&) override {
    return unused<ForwardBackwardOutput>();
  }
  Future<SaveWeightsResponse> save_state(std::string, bool, const CallOptions&) override {
    return unused<SaveWeightsResponse>();
  }
  Future<LoadWeightsResponse> load_state(std::string path, bool, const CallOptions&) override {
    note("load " + path);
    return answer<LoadWeightsResponse>(LoadWeightsResponse{path, "model-1"});
  }
  Future<SaveWeightsForSamplerResponse> save_weights_for_sampler(std::string,
                                                                 const CallOptions&) override {
    return unused<SaveWeightsForSamplerResponse>();
  }
  Future<SamplingClient> save_weights_and_get_sampling_client(const CallOptions&) override {
    return unused<SamplingClient>();
  }

  /// Of those that answer later: where they are settled.
  std::shared_ptr<Executor> executor;

  /// How many of those there were; for another thread than the one that makes them.
  std::size_t sent() const { return sent_; }

  void answer_all() {
    later = false;
    for (const auto& each : std::exchange(waiting_, {})) each();
  }

 private:
  void note(std::string call) {
    if (meanwhile) std::exchange(meanwhile, nullptr)();
    calls.push_back(std::move(call));
  }
  template <class T>
  Future<T> answer(Result<T> result) {
    if (std::exchange(throws, false)) throw std::runtime_error("a defect");
    if (failure) result = *std::exchange(failure, std::nullopt);
    if (!later) {
      ++sent_;
      return Future<T>::ready_with(std::move(result));
    }
    auto promise = std::make_shared<Promise<T>>(executor);
    waiting_.emplace_back([promise, result] { promise->set(result); });
    ++sent_;
    return promise->future();
  }
  template <class T>
  static Future<T> unused() {
    return Future<T>::ready_with(Error(ErrorCode::kInternal, "not a call of a remote model"));
  }

  std::vector<std::function<void()>> waiting_;
  std::atomic<std::size_t> sent_{0};  ///< Passes that train, steps and loads.
  ModelInfo info_{"model-1", "base", "", "", true, 32};
};

inline Error refusal() { return Error(ErrorCode::kHttpStatus, "too many").with_not_accepted(true); }

inline at::Tensor ints(std::vector<std::int64_t> values) { return torch::tensor(values); }

class RemoteModelTest : public testing::Test {
 protected:
  explicit RemoteModelTest(bool pipelined = false) : model_(TrainingClient(server_), pipelined) {}

  at::Tensor logprobs() { return model_->forward_list({ints({1, 2})}, {ints({3, 4})}).front(); }

  /// The message of what `call` throws.
  template <class Call>
  static std::string thrown_by(Call call) {
    try {
      call();
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("tinkex: ["));
      return error.message();
    } catch (const std::exception& other) {
      return std::string("not an Error: ") + other.what();
    }
    return "nothing";
  }

  std::shared_ptr<Server> server_ = std::make_shared<Server>();
  RemoteModel model_;
  RemoteAdamW optimizer_{model_, torch::optim::AdamWOptions(1e-4)};
};

}  // namespace tinkex::torch_ext
