#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tests/tinkex/schedules/dice.h"
#include "tinkex/error.h"
#include "tinkex/mocks/tinker_operations.h"

namespace tinkex::testing {

enum class CallKind { kForwardBackward, kForward, kOptimStep, kSave, kSaveForSampler, kSample };

/// Whether calls of this kind carry examples, in chunks.
constexpr bool is_batch(CallKind kind) {
  return kind == CallKind::kForwardBackward || kind == CallKind::kForward;
}

/// What a schedule may contain.
struct FaultLimits {
  /// Attempts of one submission before the client gives up; 1 for samples without a retry policy.
  int max_attempts = 16;
  /// Whether long silences and attempts that find no server may happen. They need a virtual clock.
  bool virtual_time = false;
  /// Longest pause that a server asks for, in ms.
  int longest_pause = 3'000;
  /// Most answers to polls that are no result.
  int max_poll_faults = 4;
};

/// How one request of a call is to go: one chunk of a batch, or the only one of another call.
struct RequestPlan {
  /// Attempts that find no server, before any other.
  int unreachable = 0;
  mocks::OperationPlan server;
  /// For each refusal of `server`: the client cannot know whether the request was taken.
  std::vector<bool> unknown_after{};
  /// How the call must fail because of this request; nothing: it must not.
  std::optional<ErrorCode> fatal{};
  /// The failure is that of the submission: nothing more of the batch leaves.
  bool fatal_at_submission = false;
  /// After this failure nobody can know whether the server took the request, so that its sequence
  /// id may stay unused.
  bool outcome_unknown = false;
  /// The accepted submission's answer names no future.
  bool no_id = false;
  /// For traces.
  std::string text{};
};

/// A random plan with faults that a client survives and, once in a while, one that it does not.
RequestPlan random_plan(Dice& dice, CallKind kind, const FaultLimits& limits);

}  // namespace tinkex::testing
