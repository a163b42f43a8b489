#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "tinkex/custom_loss.h"
#include "tinkex/datum.h"
#include "tinkex/future.h"
#include "tinkex/options.h"
#include "tinkex/outputs.h"
#include "tinkex/params.h"
#include "tinkex/sampling_client.h"

namespace tinkex {

/// What a TrainingClient calls. Derive from it to test training code without a server; tinkex/mocks
/// has a scripted HTTP server for tests with one. Order, retries, polling and combining live in the
/// implementation.
class TrainingConnection {
 public:
  virtual ~TrainingConnection() = default;

  virtual const ModelInfo& info() const = 0;
  virtual Future<ForwardBackwardOutput> forward_backward(std::span<const Datum> data,
                                                         std::string loss_fn, LossConfig config,
                                                         bool forward_only,
                                                         const CallOptions& call) = 0;
  virtual Future<ForwardBackwardOutput> forward_backward_custom(std::span<const Datum> data,
                                                                CustomLoss loss,
                                                                const CallOptions& call) = 0;
  virtual Future<OptimStepResponse> optim_step(const AdamParams& params,
                                               const CallOptions& call) = 0;
  virtual Future<SaveWeightsResponse> save_state(std::string name, bool overwrite,
                                                 const CallOptions& call) = 0;
  virtual Future<LoadWeightsResponse> load_state(std::string path, bool with_optimizer,
                                                 const CallOptions& call) = 0;
  virtual Future<SaveWeightsForSamplerResponse> save_weights_for_sampler(
      std::string name, const CallOptions& call) = 0;
  virtual Future<SamplingClient> save_weights_and_get_sampling_client(const CallOptions& call) = 0;
  /// Not overridden, it fails with kInvalidArgument: few connections need it, since a server lets
  /// go of a model by itself when the session ends.
  virtual Future<Unit> unload(const CallOptions& call);
};

/// What a SamplingClient calls.
class SamplingConnection {
 public:
  virtual ~SamplingConnection() = default;

  virtual const std::string& session_id() const = 0;
  virtual Future<SampleResponse> sample(const ModelInput& prompt, std::int64_t num_samples,
                                        const SamplingParams& params, const SampleOptions& options,
                                        const CallOptions& call) = 0;
  virtual void close() = 0;
};

}  // namespace tinkex
