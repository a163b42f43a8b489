#pragma once

// The sampling client.
//
// `sample` reads the client's entry from a slot table without a lock, takes its sequence number
// with one atomic addition, and hands the request to the I/O thread through a lock-free queue; the
// service, its strands and other clients are not asked. A client that was closed answers kClosed at
// once.
//
// Rate limits. A 429, on a submission or on a poll, sets a back-off window shared by every client
// of the same {base URL, API key}. Later samples wait until it has passed (holding no thread), and
// look again when they wake. The window only grows; it expires, success never clears it.
//
// No silent retry. A failed sample is reported, not repeated: exactly one request per sample,
// unless ClientOptions::sample_retry asks for more. (The official SDK retries for up to two hours.)

#include <cstdint>
#include <memory>
#include <string>

#include "tinkex/future.h"
#include "tinkex/model_input.h"
#include "tinkex/options.h"
#include "tinkex/outputs.h"
#include "tinkex/params.h"

namespace tinkex {

class SamplingConnection;

/// Samples from one snapshot of a model. A cheap handle; copies share the session. Thread-safe.
class SamplingClient {
 public:
  /// Users get clients from ServiceClient or TrainingClient; tests pass a connection of their own.
  explicit SamplingClient(std::shared_ptr<SamplingConnection> connection)
      : connection_(std::move(connection)) {}

  const std::string& session_id() const;

  /// Draws `num_samples` continuations of `prompt`.
  Future<SampleResponse> sample(const ModelInput& prompt, std::int64_t num_samples = 1,
                                const SamplingParams& params = {},
                                const SampleOptions& options = {}, const CallOptions& call = {});

  /// Log-probability of every prompt token given those before it; NaN for the first.
  Future<std::vector<float>> compute_logprobs(const ModelInput& prompt,
                                              const CallOptions& call = {});

  /// Ends the session on this side: later samples fail with kClosed, pending ones still settle
  /// with their result. Idempotent; the last handle's destructor does the same.
  void close();

 private:
  std::shared_ptr<SamplingConnection> connection_;
};

}  // namespace tinkex
