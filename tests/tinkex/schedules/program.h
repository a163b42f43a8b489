#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/tinkex/schedules/faults.h"
#include "tinkex/options.h"

namespace tinkex::testing {

/// Models and samplers of a program: `model-1`, `model-2`; `sampler-1`, `sampler-2`.
inline constexpr int kClients = 2;
/// Examples in a chunk, so that small batches have several.
inline constexpr std::size_t kChunkExamples = 4;

/// One call of a program. Its number is in everything that it sends, so that a server's log tells
/// which request belongs to which call.
struct Call {
  int number = 0;  ///< From 1; the index of the call, plus 1.
  CallKind kind{};
  int thread = 0;
  int client = 0;  ///< From 0: which model or sampler.
  std::size_t examples = 0;
  std::optional<std::chrono::milliseconds> deadline{};
  std::vector<RequestPlan> requests;

  /// Number of the first example of a batch, of the first token of a prompt.
  std::int64_t first() const { return number * std::int64_t{1000}; }
  double learning_rate() const { return number * 0.001; }
  std::string name() const { return "w" + std::to_string(number); }
  /// Model, or sampling session.
  std::string owner() const;
  std::string text() const;
  /// How the call must fail, whichever request does first; empty: it must succeed.
  std::vector<ErrorCode> fatal(bool parallel) const;
};

/// One thing that a thread of a program does.
struct Action {
  enum class Kind { kCall, kCancel, kDrop, kWait, kClose };
  Kind kind{};
  int call = 0;  ///< Index of the call.
};

struct Program {
  std::uint64_t seed = 0;
  std::vector<Call> calls;
  std::vector<std::vector<Action>> threads;
  /// Calls without faults, for when all threads are done: the clients are still usable.
  std::vector<int> afterwards;
  WireFormat format{};
  std::size_t max_polls = 1024;
  std::size_t max_queued_bytes = std::size_t{64} << 20;
  int sample_attempts = 1;
  /// The chunks of a batch leave side by side.
  bool parallel = false;
  int attempts = 16;

  /// Which request of which call a request to `endpoint` is.
  struct Place {
    int call = 0;
    std::size_t request = 0;
    /// It is none of the call's own: it uses up the id of one that failed (ParallelBatch).
    bool filler = false;
    friend bool operator==(const Place&, const Place&) = default;
  };
  std::optional<Place> find(const mocks::Operation& operation) const;
  /// What the server does with it; fillers meet refusals too.
  mocks::OperationPlan server_plan(const mocks::Operation& operation) const;
  const RequestPlan& plan(const Place& place) const {
    return calls[static_cast<std::size_t>(place.call)].requests[place.request];
  }
};

/// What differs between the two kinds of schedules.
struct ProgramLimits {
  FaultLimits faults;
  int threads = 3;
  int longest_deadline = 20'000;  ///< In ms.
  int calls_per_thread = 6;
};

Program make_program(std::uint64_t seed, const ProgramLimits& limits);

/// The seeds from `first` on, or the one that the environment names in TINKEX_SCHEDULE_SEED.
std::vector<std::uint64_t> seeds(std::uint64_t first, std::uint64_t count);

}  // namespace tinkex::testing
