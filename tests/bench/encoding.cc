#include "tests/bench/encoding.h"

#include <algorithm>
#include <cstring>

#include "tinkex/batch_plan.h"

namespace tinkex::bench {

std::vector<std::span<const Datum>> default_chunks(std::span<const Datum> data) {
  std::vector<std::span<const Datum>> chunks;
  for (const BatchChunk& chunk : plan_batch(data, ChunkLimits{}).chunks) {
    chunks.push_back(data.subspan(chunk.begin, chunk.end - chunk.begin));
  }
  return chunks;
}

std::size_t encode_all(const wire::Codec& codec, std::span<const std::span<const Datum>> chunks,
                       ByteBuffer& body) {
  const LossConfig config;
  std::size_t bytes = 0;
  for (const std::span<const Datum> chunk : chunks) {
    const Status status =
        codec.encode_request({"model:train:0", chunk, loss::kCrossEntropy, config}, body);
    if (!status) throw status.error();
    codec.append_seq_id(1, body);
    bytes += body.size();
  }
  return bytes;
}

WireCopy::WireCopy(std::size_t bytes, std::size_t bodies)
    : body_bytes_(bytes / bodies + 1), source_(bytes, 'x'), target_(body_bytes_) {}

void WireCopy::run() {
  for (std::size_t at = 0; at < source_.size(); at += body_bytes_) {
    const std::size_t count = std::min(body_bytes_, source_.size() - at);
    std::memcpy(target_.data(), source_.data() + at, count);
    asm volatile("" : : "r"(target_.data()) : "memory");
  }
}

}  // namespace tinkex::bench
