#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "torch_ext/local/base_model.h"
#include "torch_ext/local/linear.h"
#include "torch_ext/local/sequence_cache.h"

namespace tinkex::torch_ext::local {

/// A sequence that is being decoded, and its newest token.
struct DecodeRow {
  std::int64_t token = 0;
  SequenceCache* cache = nullptr;
};

/// Reads the newest token of each sequence, which may be of any lengths, into its cache. Returns
/// the logits of the tokens after them, (rows, vocab). A row's logits are the same bits whatever
/// the other rows are and however many threads compute.
at::Tensor decode_step(const BaseModel& model, const AdapterViews& adapter,
                       std::span<const DecodeRow> rows);

}  // namespace tinkex::torch_ext::local
