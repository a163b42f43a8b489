#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tinkex/outputs.h"

namespace tinkex::internal {

/// The metrics of one chunk, and how many loss outputs the chunk had: its weight.
struct ChunkMetrics {
  const Metrics* metrics = nullptr;
  std::size_t num_outputs = 0;
};

/// Reduces the metrics of a batch's chunks to one set. What follows the last colon of a name says
/// how:
///
/// | suffix           | result                                                                    |
/// |------------------|---------------------------------------------------------------------------|
/// | `mean`           | mean weighted by the number of loss outputs                               |
/// | `sum`            | sum                                                                       |
/// | `min`, `max`     | smallest, largest; NaN if any value is NaN                                |
/// | `slack`          | largest minus the weighted mean                                           |
/// | `unique`         | every value: under the name, then under `name_1`, `name_2`, ...           |
/// | `hash_unordered` | hash_unordered() of the values                                            |
/// | `hash2`          | hash2() of the values                                                     |
/// | other, or none   | as `mean`                                                                 |
///
/// A name that some chunks lack is reduced over those that have it. If all weights are 0 the mean
/// is the plain one. The mean of a single chunk is its value, unchanged. Numbers of `unique` that
/// another metric's name has taken are skipped. A name or value sent by a server never makes this
/// fail.
Metrics reduce_metrics(std::span<const ChunkMetrics> chunks);

/// CPython's (3.8 and later, 64 bits) hash of the tuple of the values, truncated to integers and
/// sorted. NaN and infinities, which Python cannot truncate, count as 0.
std::int64_t hash_unordered(std::span<const double> values);

/// The values, truncated to integers, added modulo 2^64. NaN and infinities count as 0.
std::uint64_t hash2(std::span<const double> values) noexcept;

}  // namespace tinkex::internal
