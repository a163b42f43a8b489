#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/fuzz/properties.h"
#include "tinkex/training/combine.h"
#include "tinkex/training/metrics_reduction.h"

namespace {

using namespace tinkex;

/// A chunk is a number of outputs and metrics, each a name, its end, and a double; an empty name
/// ends the chunk.
std::vector<ForwardBackwardOutput> read_chunks(fuzz::ByteSource& bytes) {
  std::vector<ForwardBackwardOutput> chunks;
  while (!bytes.empty() && chunks.size() < 16) {
    ForwardBackwardOutput& chunk = chunks.emplace_back();
    chunk.loss_fn_outputs.resize(bytes.number<std::uint8_t>() % 8);
    for (std::string_view name = bytes.until('\0'); !name.empty(); name = bytes.until('\0')) {
      chunk.metrics[std::string(name)] = bytes.number<double>();
    }
  }
  return chunks;
}

std::vector<internal::ChunkRange> ranges_of(const std::vector<ForwardBackwardOutput>& chunks) {
  std::vector<internal::ChunkRange> ranges;
  std::size_t begin = 0;
  for (const ForwardBackwardOutput& chunk : chunks) {
    ranges.push_back({begin, begin + chunk.loss_fn_outputs.size()});
    begin = ranges.back().end;
  }
  return ranges;
}

bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

/// What does not depend on the order of the chunks.
bool is_symmetric(std::string_view name) {
  return name.ends_with(":min") || name.ends_with(":max") || name.ends_with(":hash2") ||
         name.ends_with(":hash_unordered");
}

void check_extremes(const std::vector<ForwardBackwardOutput>& chunks, const std::string& name,
                    double reduced) {
  const bool smallest = name.ends_with(":min");
  if (!smallest && !name.ends_with(":max")) return;
  bool is_one = false;
  for (const ForwardBackwardOutput& chunk : chunks) {
    const auto found = chunk.metrics.find(name);
    if (found == chunk.metrics.end()) continue;
    is_one = is_one || same(found->second, reduced);
    TINKEX_FUZZ_CHECK(std::isnan(reduced) ||
                      (smallest ? reduced <= found->second : reduced >= found->second));
  }
  TINKEX_FUZZ_CHECK(is_one);
}

void check_combined(const std::vector<ForwardBackwardOutput>& chunks,
                    const ForwardBackwardOutput& all, const ForwardBackwardOutput& backwards) {
  std::size_t outputs = 0;
  std::size_t metrics = 0;
  for (const ForwardBackwardOutput& chunk : chunks) {
    outputs += chunk.loss_fn_outputs.size();
    metrics += chunk.metrics.size();
    for (const auto& [name, value] : chunk.metrics) {
      const auto found = all.metrics.find(name);
      TINKEX_FUZZ_CHECK(found != all.metrics.end());
      check_extremes(chunks, name, found->second);
      if (is_symmetric(name)) TINKEX_FUZZ_CHECK(same(found->second, backwards.metrics.at(name)));
      const bool plain = !name.ends_with(":hash2") && !name.ends_with(":hash_unordered") &&
                         !name.ends_with(":slack");
      if (chunks.size() == 1 && plain) TINKEX_FUZZ_CHECK(same(found->second, value));
    }
  }
  TINKEX_FUZZ_CHECK(all.loss_fn_outputs.size() == outputs);
  TINKEX_FUZZ_CHECK(all.metrics.size() <= metrics);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::ByteSource bytes(data, size);
  const std::vector<ForwardBackwardOutput> chunks = read_chunks(bytes);
  if (chunks.empty()) return 0;
  auto ranges = ranges_of(chunks);
  std::vector<ForwardBackwardOutput> reversed(chunks.rbegin(), chunks.rend());
  const auto reversed_ranges = ranges_of(reversed);
  auto copy = chunks;

  const auto all = fuzz::decode_within_bounds(
      size, [&] { return internal::combine_forward_backward_results(std::move(copy), ranges); });
  const auto backwards =
      internal::combine_forward_backward_results(std::move(reversed), reversed_ranges);
  TINKEX_FUZZ_CHECK(all.ok() && backwards.ok());
  check_combined(chunks, *all, *backwards);

  ++ranges.back().end;  // a result for a datum is missing
  const auto short_of_one = internal::combine_forward_backward_results(chunks, ranges);
  TINKEX_FUZZ_CHECK(!short_of_one.ok());
  fuzz::check_error(short_of_one.error(), {ErrorCode::kDecode});
  return 0;
}
