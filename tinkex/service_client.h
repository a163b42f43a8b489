#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tinkex/future.h"
#include "tinkex/options.h"
#include "tinkex/outputs.h"
#include "tinkex/params.h"
#include "tinkex/sampling_client.h"
#include "tinkex/training_client.h"

namespace tinkex {

namespace internal {
class ServiceCore;
}

/// Entry point: one session on a server, from which the other clients are made.
///
/// Threads: thread-safe. Owns one I/O thread (libcurl and timers) and one executor (a oneTBB arena
/// and its threads). Clients made from it share them and keep working until the ServiceClient is
/// closed.
/// Ownership: a cheap handle; copies are the same session.
class ServiceClient {
 public:
  /// Resolves the options, asks the server for its configuration and opens a session. Blocks for
  /// those two or three requests; fails with a readable error when the server cannot be used. A
  /// server that answers with Retry-After, as one does that loads its models, is waited for, up to
  /// `retry.max_elapsed` for each request.
  static Result<ServiceClient> connect(ClientOptions options = {});

  const std::string& session_id() const;
  /// The configuration in force: defaults, environment and server limits applied. The API key in
  /// it is the caller's own; do not print it.
  const ClientOptions& options() const;

  Future<std::vector<SupportedModel>> get_supported_models(const CallOptions& call = {});

  /// Creates a model with fresh adapters and a client for it.
  Future<TrainingClient> create_lora_training_client(std::string base_model, LoraConfig config = {},
                                                     const CallOptions& call = {});
  /// Creates a model from a training checkpoint; `with_optimizer` restores the moments too.
  Future<TrainingClient> create_training_client_from_state(std::string path,
                                                           bool with_optimizer = true,
                                                           const CallOptions& call = {});

  /// Opens a sampling session on a base model or on a `tinker://` path; give exactly one.
  Future<SamplingClient> create_sampling_client(std::optional<std::string> base_model,
                                                std::optional<std::string> model_path,
                                                const CallOptions& call = {});

  /// Deletes a checkpoint, of a training or a sampling kind, of any session. What was made from it
  /// stays. Not ordered with the calls of a model: wait for the futures of those that save or load
  /// it first, and for this one before its path is saved to again, as a repeat may come late.
  /// Errors: kInvalidArgument for what is no such path; with http_status() 404 where the server has
  /// no such checkpoint, or does not offer this. A 404 to a repeat, after a reply that was lost or
  /// a 5xx, counts as success: the checkpoint is gone.
  Future<Unit> delete_checkpoint(std::string path, const CallOptions& call = {});

  /// Settles everything pending with kClosed, stops the heartbeat and joins the I/O thread; waits
  /// for running tasks for `close_timeout` at most. Idempotent. The destructor of the last handle
  /// does the same.
  void close();

 private:
  explicit ServiceClient(std::shared_ptr<internal::ServiceCore> core) : core_(std::move(core)) {}

  std::shared_ptr<internal::ServiceCore> core_;
};

}  // namespace tinkex
