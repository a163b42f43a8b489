#pragma once

#include <string>
#include <vector>

#include "tests/tinkex/schedules/player.h"
#include "tests/tinkex/schedules/program.h"
#include "tinkex/mocks/scripted_server.h"
#include "tinkex/mocks/tinker_operations.h"

namespace tinkex::testing {

/// What a run of a program has left behind.
struct Evidence {
  const Program& program;
  /// What the server has carried out, in order; of the program's models and samplers.
  std::vector<mocks::Operation> operations;
  /// What has reached the server, in order.
  std::vector<mocks::LoggedRequest> log;
  std::vector<Outcome> outcomes;
  /// The service was closed in the middle.
  bool closed = false;
  /// Outcome::order is the order of all calls; else only of those of each thread.
  bool one_order = false;
  /// Nothing was under way any more when the evidence was collected.
  bool at_rest = false;
  /// No task waited while time passed, so that a deadline is kept to the moment.
  bool punctual = false;
  /// There was no end to what the client did.
  bool endless = false;
};

/// Everything in which the run was not as it must be, in words; nothing: all is well.
std::vector<std::string> judge(const Evidence& evidence);

/// A failure to read: the seed, how to run it alone, what is wrong, and the story of the run.
std::string report(std::uint64_t seed, const std::vector<std::string>& wrong,
                   const std::string& story);

}  // namespace tinkex::testing
