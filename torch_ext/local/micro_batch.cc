#include "torch_ext/local/micro_batch.h"

#include <algorithm>
#include <numeric>

namespace tinkex::torch_ext::local {

std::vector<MicroBatch> plan_micro_batches(std::span<const std::int64_t> lengths,
                                           std::int64_t token_budget) {
  std::vector<std::size_t> order(lengths.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return lengths[a] < lengths[b]; });
  std::vector<MicroBatch> batches;
  for (const std::size_t datum : order) {
    const std::int64_t length = lengths[datum];  // The longest so far.
    const bool fits =
        !batches.empty() &&
        length * static_cast<std::int64_t>(batches.back().datums.size() + 1) <= token_budget;
    if (!fits) batches.emplace_back();
    batches.back().datums.push_back(datum);
    batches.back().length = length;
  }
  return batches;
}

}  // namespace tinkex::torch_ext::local
