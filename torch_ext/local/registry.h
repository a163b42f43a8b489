#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tinkex/base/mutex.h"
#include "tinkex/params.h"
#include "torch_ext/local/adapter.h"
#include "torch_ext/local/base_model.h"
#include "torch_ext/local/body_digest.h"
#include "torch_ext/local/operation_queue.h"
#include "torch_ext/local/sample_engine.h"
#include "torch_ext/local/sample_inbox.h"
#include "torch_ext/local/training_run.h"

namespace tinkex::torch_ext::local {

/// One model in training.
struct Model {
  std::string id;
  std::string session_id;
  std::map<std::string, std::string> user_metadata;
  std::shared_ptr<OperationQueue> queue;
  /// Seconds since 1970.
  std::atomic<std::int64_t> last_request{0};

  /// Written on the compute thread before `ready`, read by others after it.
  std::string base_model;
  LoraConfig lora;
  std::atomic<bool> ready{false};

  /// Ends the batch that is being computed.
  std::atomic<bool> cancelled{false};

  /// Compute thread only; null before creation, after unloading, and if creation failed.
  std::unique_ptr<TrainingRun> run;
  /// Compute thread only: the highest number of a `checkpoint-0001` that was saved.
  std::int64_t last_checkpoint = 0;
};

/// Weights that never change, to sample from.
struct SamplingSession {
  std::string id;
  std::string session_id;
  std::string base_model;
  std::optional<std::string> model_path;

  /// Written on the compute thread before the session is used. No adapter: the base model itself.
  std::shared_ptr<const BaseModel> model;
  std::shared_ptr<const Adapter> adapter;

  /// Ends the samples that are running.
  std::atomic<bool> cancelled{false};

  SampleInbox inbox;
  /// Compute thread only; null before the first sample.
  std::unique_ptr<SampleEngine> engine;

  /// The request id that a repeat of this sample was given, or `fresh()` which is remembered.
  std::string request_id_of(std::int64_t seq_id, const BodyDigest& digest,
                            const std::function<std::string()>& fresh, bool& repeated);

 private:
  struct Record {
    BodyDigest digest;
    std::string request_id;
  };
  internal::Mutex mutex_;
  std::map<std::int64_t, Record> records_ TINKEX_GUARDED_BY(mutex_);
};

/// Sessions, their models and their sampling sessions. Thread-safe; everything is handed out as
/// shared, so that what is removed lives until its last user is done.
class Registry {
 public:
  explicit Registry(std::size_t max_sampling_sessions)
      : max_sampling_sessions_(max_sampling_sessions) {}

  std::string open_session();
  enum class SessionState { kOpen, kFinished, kUnknown };
  SessionState session_state(std::string_view id) const;
  /// Ends a session and hands over what it had.
  struct Ended {
    std::vector<std::shared_ptr<Model>> models;
    std::vector<std::shared_ptr<SamplingSession>> samplers;
  };
  Ended finish_session(const std::string& id);

  /// What a numbered creation (model or sampling session) of a session led to. A repeat of it gets
  /// the same; another request under the same number is a conflict.
  struct Creation {
    BodyDigest digest;
    /// Of a model.
    std::string request_id;
    /// Gone when it failed or was dropped.
    std::weak_ptr<SamplingSession> sampler;
  };
  enum class Kind { kModel, kSampler };
  enum class CreationState { kNew, kRepeated, kConflict, kNoSession };
  /// `fresh` makes the creation if it is new; it runs under the registry's lock.
  std::pair<CreationState, Creation> begin_creation(Kind kind, const std::string& session_id,
                                                    std::int64_t number, const BodyDigest& digest,
                                                    const std::function<Creation()>& fresh);
  /// It failed; the number may be used again.
  void forget_creation(Kind kind, const std::string& session_id, std::int64_t number);

  /// False, with nothing added, if the session has ended.
  bool add_model(std::shared_ptr<Model> model);
  std::shared_ptr<Model> find_model(std::string_view id) const;
  std::shared_ptr<Model> remove_model(std::string_view id);
  std::vector<std::shared_ptr<Model>> models() const;
  std::size_t model_count() const;

  /// Adds under the id `<session>:sample:<number>`, or with a suffix if that is taken. Above the
  /// limit the one that was not used for longest is dropped. False, with nothing added, if the
  /// session has ended; an empty session id stands for none.
  bool add_sampler(std::shared_ptr<SamplingSession> sampler, std::optional<std::int64_t> number);
  /// Counts as a use.
  std::shared_ptr<SamplingSession> find_sampler(std::string_view id);
  void remove_sampler(std::string_view id);
  /// One that has no id, for cancel_all only.
  void watch_sampler(const std::shared_ptr<SamplingSession>& sampler);
  /// Cancels every model, also those that were removed, and every sampling session: those that are
  /// here and those that come.
  void cancel_all();

 private:
  struct Session {
    bool finished = false;
    std::map<std::pair<Kind, std::int64_t>, Creation> creations;
  };
  using SamplerList = std::list<std::shared_ptr<SamplingSession>>;

  bool is_open_locked(const std::string& session_id) const TINKEX_REQUIRES(mutex_);

  const std::size_t max_sampling_sessions_;
  mutable internal::Mutex mutex_;
  std::map<std::string, Session, std::less<>> sessions_ TINKEX_GUARDED_BY(mutex_);
  std::map<std::string, std::shared_ptr<Model>, std::less<>> models_ TINKEX_GUARDED_BY(mutex_);
  /// The most recently used first.
  SamplerList samplers_ TINKEX_GUARDED_BY(mutex_);
  std::map<std::string, SamplerList::iterator, std::less<>> sampler_index_
      TINKEX_GUARDED_BY(mutex_);
  /// For cancel_all: what is used without being found here.
  std::vector<std::weak_ptr<SamplingSession>> watched_samplers_ TINKEX_GUARDED_BY(mutex_);
  std::vector<std::weak_ptr<Model>> watched_models_ TINKEX_GUARDED_BY(mutex_);
  bool cancelled_ TINKEX_GUARDED_BY(mutex_) = false;
};

}  // namespace tinkex::torch_ext::local
