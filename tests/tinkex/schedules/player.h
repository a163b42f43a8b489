#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/tinkex/schedules/program.h"
#include "tinkex/sampling_client.h"
#include "tinkex/training_client.h"

namespace tinkex::testing {

/// What became of one call.
struct Outcome {
  bool issued = false;
  int order = 0;           ///< Of the calls that were made, from 1; of one thread at least.
  bool dropped = false;    ///< Its future was dropped; nothing more is known.
  bool cancelled = false;  ///< Its future was cancelled before it was looked at.
  bool settled = false;
  std::optional<Clock::duration> took{};  ///< From the call to the result, where it was measured.
  std::optional<Error> error{};
  /// How its result differs from what belongs to its input; empty: not at all.
  std::string wrong{};
};

/// Makes the calls of a program and keeps their futures. Thread-safe as long as no two threads
/// speak of the same call.
class Player {
 public:
  struct Clients {
    std::vector<TrainingClient> models;
    std::vector<SamplingClient> samplers;
  };

  Player(const Program& program, Clients clients);

  void call(int index);
  void cancel(int index);
  void drop(int index);
  /// Runs `what` once the future is settled, on whatever thread settles it.
  void when_ready(int index, std::function<void(const std::string& how)> what);
  /// Waits at most that long; looks at nothing.
  bool wait(int index, std::chrono::milliseconds patience) const;

  /// Looks at every future that is there and has not been dropped.
  std::vector<Outcome> outcomes();
  void took(int index, Clock::duration time);

  /// One future of any type.
  struct Pending {
    virtual ~Pending() = default;
    virtual bool ready() const = 0;
    virtual void when_ready(std::function<void(const std::string& how)> what) = 0;
    virtual bool wait(std::chrono::milliseconds patience) const = 0;
    virtual void cancel() = 0;
    /// Needs ready().
    virtual void look(Outcome& outcome) = 0;
  };

 private:
  std::unique_ptr<Pending> issue(const Call& call);

  const Program& program_;
  Clients clients_;
  std::vector<std::unique_ptr<Pending>> pending_;
  std::vector<Outcome> outcomes_;
  std::atomic<int> last_order_{0};
};

}  // namespace tinkex::testing
