#pragma once

#include <ATen/Parallel.h>

#include <cstdint>

#include "torch_ext/local/config.h"

namespace tinkex::torch_ext::local {

/// Keeps small work on the calling thread while in scope. Waking a second thread, and spinning
/// until it is done, costs more than it saves there, many times more on a busy machine. The choice
/// depends on the work alone, so that results stay reproducible.
class ThreadLimit {
 public:
  /// `tokens` go through a model of this shape together.
  ThreadLimit(const ModelConfig& model, std::int64_t tokens) : before_(at::get_num_threads()) {
    if (before_ > 1 && operations(model, tokens) < kParallelOperations) at::set_num_threads(1);
  }
  ThreadLimit(const ThreadLimit&) = delete;
  ThreadLimit& operator=(const ThreadLimit&) = delete;
  ~ThreadLimit() {
    if (at::get_num_threads() != before_) at::set_num_threads(before_);
  }

 private:
  /// Floating-point operations of one forward pass that are worth a second thread.
  static constexpr double kParallelOperations = 4e7;

  static double operations(const ModelConfig& m, std::int64_t tokens) {
    const auto layer =
        static_cast<double>(m.hidden_size) *
        static_cast<double>(2 * m.query_size() + 2 * m.key_value_size() + 3 * m.intermediate_size);
    const auto head = static_cast<double>(m.hidden_size) * static_cast<double>(m.vocab_size);
    return 2.0 * static_cast<double>(tokens) *
           (layer * static_cast<double>(m.num_hidden_layers) + head);
  }

  int before_;
};

}  // namespace tinkex::torch_ext::local
