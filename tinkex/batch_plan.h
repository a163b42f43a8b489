#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "tinkex/datum.h"
#include "tinkex/options.h"

namespace tinkex {

/// A part of a batch that travels in one request: datums [begin, end).
struct BatchChunk {
  std::size_t begin = 0;
  std::size_t end = 0;
  std::size_t numbers = 0;  ///< Prompt tokens and elements of loss inputs, as limits count them.
  std::size_t bytes = 0;    ///< Estimated, on the wire.
};

/// How a batch would be cut.
struct BatchPlan {
  std::vector<BatchChunk> chunks;

  std::size_t numbers() const;
  std::size_t bytes() const;
};

/// The chunks in which forward and forward_backward send such a batch; `limits` are those of
/// ServiceClient::options(). Pure; sends nothing, checks nothing.
BatchPlan plan_batch(std::span<const Datum> data, const ChunkLimits& limits);

}  // namespace tinkex
