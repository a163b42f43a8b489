#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tinkex/async/poll_gate.h"
#include "tinkex/async/runtime.h"
#include "tinkex/base/mutex.h"
#include "tinkex/base/process_mark.h"
#include "tinkex/connection/wire_choice.h"
#include "tinkex/limits/rate_limiter.h"
#include "tinkex/options.h"
#include "tinkex/sampling/sampling_registry.h"
#include "tinkex/wire/codec.h"

namespace tinkex::internal {

class Strand;

/// How a server makes a model from a checkpoint, as far as its answers have told.
enum class LoadForm {
  kUnknown,
  kOneStep,   ///< By one load_weights that names the session and the model's number.
  kTwoSteps,  ///< By create_model in the checkpoint's shape, and load_weights into it.
};

/// What the connections of one service share. Constant after the session is open, except the
/// counters, what is found out about the server, and the list of strands, which synchronise
/// themselves.
struct ServiceContext {
  ClientOptions options;
  std::shared_ptr<Runtime> runtime;
  std::shared_ptr<PollGate> polls;
  /// Large results that are being fetched, by their bytes.
  std::shared_ptr<PollGate> result_bytes;
  /// cancel_future calls under way.
  std::shared_ptr<PollGate> cancels;
  /// Whether the server wants to know which samples nobody waits for.
  std::atomic<bool> cancel_enabled{false};
  /// Whether the server answers for all futures of a sampling session at once.
  bool retrieve_futures = false;
  /// Of this {base URL, API key}; shared with every client of the process that has the same.
  std::shared_ptr<RateLimiter> limiter;
  std::shared_ptr<SamplingRegistry> sampling;
  std::string session_id;
  std::atomic<std::int64_t> next_model_seq_id{0};
  std::atomic<std::int64_t> next_sampling_session_seq_id{0};

  /// Found out by the first batches, unless the options say it.
  WireChoice wire;
  std::atomic<LoadForm> load_form{LoadForm::kUnknown};

  /// What batches are to be encoded with, and results asked for.
  const wire::Codec& codec() const {
    return wire::codec_for(options.wire_format.value_or(wire.format()));
  }

  /// Success in the process that opened the session. kClosed in a child of fork(), which has none
  /// of the threads that would do the work. Every call asks first; its future then has no executor,
  /// whose threads are missing too.
  Status check_process() const;
  const ProcessMark process;

  /// A request to `/api/v1/<path>` with every header that the API wants, and no body. Its reply may
  /// have at most 4 MiB, which is enough for all but results.
  HttpRequest request(std::string_view path, std::string_view method = "POST") const;

  /// Lets close() wake the callers that wait for this strand's budget.
  void watch(const std::shared_ptr<Strand>& strand) TINKEX_EXCLUDES(mutex);
  void wake_strands() TINKEX_EXCLUDES(mutex);

 private:
  Mutex mutex;
  std::vector<std::weak_ptr<Strand>> strands TINKEX_GUARDED_BY(mutex);
};

}  // namespace tinkex::internal
