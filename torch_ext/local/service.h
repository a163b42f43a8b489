#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "tinkex/async/timer_service.h"
#include "tinkex/clock.h"
#include "torch_ext/local/api.h"
#include "torch_ext/local/backend_options.h"
#include "torch_ext/local/checkpoint_tree.h"
#include "torch_ext/local/compute_thread.h"
#include "torch_ext/local/future_store.h"
#include "torch_ext/local/model_shelf.h"
#include "torch_ext/local/registry.h"

namespace tinkex::torch_ext::local {

/// Everything that the handlers share. Thread-safe; what only the compute thread may touch says so.
class Service {
 public:
  static Result<std::shared_ptr<Service>> create(BackendOptions options);

  /// Ends the running operation and fails everything that waits. A batch ends after its
  /// micro-batch, a sample after its token; what is shorter (a step, a save, a load, the rest of a
  /// deletion) is waited for. Idempotent.
  void shutdown() noexcept;

  const BackendOptions& options() const noexcept { return options_; }
  Registry& registry() noexcept { return registry_; }
  Clock& clock() noexcept { return *clock_; }
  FutureStore& futures() noexcept { return *futures_; }
  ComputeThread& compute() noexcept { return *compute_; }
  const CheckpointTree& checkpoints() const noexcept { return *checkpoints_; }

  /// A model of the registry with its queue, not yet created. Null if the session has ended.
  std::shared_ptr<Model> add_model(std::string id, std::string session_id,
                                   std::map<std::string, std::string> user_metadata);
  /// Lets go of what a session had; its operations fail.
  void finish_session(const std::string& session_id);

  ModelShelf& models() const noexcept { return *models_; }
  /// Fills `model` and `adapter` of a session from its `model_path` or `base_model`. Compute thread
  /// only.
  Status load_sampler(SamplingSession& sampler);

  /// Counts a sample that waits; false if there are too many.
  bool admit_sample() noexcept;
  void finish_sample() noexcept { waiting_samples_.fetch_sub(1); }

  /// With `verbose`: one line on standard error.
  void log(const std::string& line) const;

 private:
  Service(BackendOptions options, std::unique_ptr<CheckpointTree> checkpoints,
          std::unique_ptr<ModelShelf> models);

  const BackendOptions options_;
  const std::unique_ptr<CheckpointTree> checkpoints_;
  const std::unique_ptr<ModelShelf> models_;
  Registry registry_;
  const std::shared_ptr<Clock> clock_;
  const std::shared_ptr<internal::TimerService> timers_;
  const std::shared_ptr<FutureStore> futures_;
  std::atomic<std::size_t> waiting_samples_{0};
  /// Last: its tasks use everything above.
  const std::shared_ptr<ComputeThread> compute_;
};

/// Seconds since 1970, for `last_request` and checkpoints.
std::int64_t unix_seconds();
/// `2026-01-31T12:00:00Z`.
std::string iso_time(std::int64_t seconds);

}  // namespace tinkex::torch_ext::local
