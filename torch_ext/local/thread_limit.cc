#include "torch_ext/local/thread_limit.h"

#include <ATen/Parallel.h>
#include <omp.h>

namespace tinkex::torch_ext::local {
namespace {

/// Floating-point operations of one forward pass: about half a millisecond, and a few.
constexpr double kLaneOperations = 4e7;
constexpr double kThreadOperations = 4e8;
/// Of one token, that is, twice the weights: more than the cores' caches hold.
constexpr double kThreadRowOperations = 3e7;

double operations(const ModelConfig& m, std::int64_t tokens) {
  const auto per_layer =
      static_cast<double>(m.hidden_size) *
      static_cast<double>(2 * m.query_size() + 2 * m.key_value_size() + 3 * m.intermediate_size);
  const auto head = static_cast<double>(m.hidden_size) * static_cast<double>(m.vocab_size);
  return 2.0 * static_cast<double>(tokens) *
         (per_layer * static_cast<double>(m.num_hidden_layers) + head);
}

}  // namespace

int available_threads() { return at::get_num_threads(); }

bool worth_lanes(const ModelConfig& model, std::int64_t tokens) {
  return operations(model, tokens) >= kLaneOperations;
}

bool worth_threads(const ModelConfig& model, std::int64_t tokens) {
  return operations(model, tokens) >= kThreadOperations;
}

bool worth_threads_per_row(const ModelConfig& model) {
  return operations(model, 1) >= kThreadRowOperations;
}

// Not at::set_num_threads: that would also become the default of every other thread.
SingleThread::SingleThread(bool active) : before_(at::get_num_threads()) {
  if (active && before_ > 1) omp_set_num_threads(1);
}

SingleThread::~SingleThread() { omp_set_num_threads(before_); }

}  // namespace tinkex::torch_ext::local
