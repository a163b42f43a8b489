#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace tinkex::torch_ext::local {

/// Datums that go through the model together, each padded at its end to `length`.
struct MicroBatch {
  std::vector<std::size_t> datums;
  std::int64_t length = 0;
};

/// Groups sequences of the given lengths, shortest first, so that no group has more than
/// `token_budget` positions with padding (a longer sequence goes alone). Depends on the lengths
/// alone; equal lengths keep their order.
std::vector<MicroBatch> plan_micro_batches(std::span<const std::int64_t> lengths,
                                           std::int64_t token_budget);

}  // namespace tinkex::torch_ext::local
