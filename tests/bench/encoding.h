#pragma once

// What the benchmarks of encoding share: requests of a batch chunk by chunk, and their floor.

#include <cstddef>
#include <span>
#include <vector>

#include "tinkex/base/byte_buffer.h"
#include "tinkex/datum.h"
#include "tinkex/wire/codec.h"

namespace tinkex::bench {

/// The batch as a client cuts it by the default limits.
std::vector<std::span<const Datum>> default_chunks(std::span<const Datum> data);

/// Encodes the chunks, one after another, into one recycled body. Gives the bytes of all; throws
/// Error.
std::size_t encode_all(const wire::Codec& codec, std::span<const std::span<const Datum>> chunks,
                       ByteBuffer& body);

/// What encoding costs at least: the wire's bytes moved once, from memory of their own (as the
/// tensors are) to one recycled body.
class WireCopy {
 public:
  WireCopy(std::size_t bytes, std::size_t bodies);

  void run();

 private:
  std::size_t body_bytes_;
  std::vector<char> source_;
  std::vector<char> target_;
};

}  // namespace tinkex::bench
