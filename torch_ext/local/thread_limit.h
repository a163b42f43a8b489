#pragma once

// How many threads a piece of work gets. All settings are those of the calling thread: a program
// that embeds the engine keeps its own.

#include <cstdint>

#include "torch_ext/local/config.h"

namespace tinkex::torch_ext::local {

/// Threads that ATen may use on this thread.
int available_threads();

/// Whether a forward pass of that many tokens, all of it together, is worth a second thread that
/// takes half of it. The answer depends on the work alone, so that results stay reproducible.
bool worth_lanes(const ModelConfig& model, std::int64_t tokens);

/// Whether it is worth a second thread inside every operation. Waking one, and spinning until it is
/// done, costs more than it saves on small operations, many times more on a busy machine.
bool worth_threads(const ModelConfig& model, std::int64_t tokens);

/// The same for decoding, where every operation reads a whole matrix for a few rows.
bool worth_threads_per_row(const ModelConfig& model);

/// Keeps the arithmetic of the calling thread on that thread while in scope.
class SingleThread {
 public:
  /// `active` false changes nothing.
  explicit SingleThread(bool active = true);
  SingleThread(const SingleThread&) = delete;
  SingleThread& operator=(const SingleThread&) = delete;
  ~SingleThread();

 private:
  int before_;
};

}  // namespace tinkex::torch_ext::local
