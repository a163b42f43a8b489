#include "tinkex/training/chunker.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <limits>
#include <utility>
#include <vector>

namespace tinkex::internal {
namespace {

constexpr std::size_t kHuge = std::numeric_limits<std::size_t>::max();

std::vector<std::size_t> lengths(const std::vector<ChunkRange>& chunks) {
  std::vector<std::size_t> out;
  for (const ChunkRange& chunk : chunks) out.push_back(chunk.size());
  return out;
}

std::vector<std::size_t> lengths_of_numbers(const std::vector<std::size_t>& numbers,
                                            const ChunkLimits& limits = {}) {
  std::vector<DatumSize> sizes;
  for (const std::size_t n : numbers) sizes.push_back({.numbers = n, .bytes = 4 * n});
  return lengths(chunk_sizes(sizes, limits));
}

using Lengths = std::vector<std::size_t>;

// Spec T4.
TEST(ChunkerTest, T4_CutsAfter128Examples) {
  const auto chunked = [](std::size_t count) { return lengths_of_numbers(Lengths(count, 1)); };
  EXPECT_EQ(chunked(0), (Lengths{}));
  EXPECT_EQ(chunked(1), (Lengths{1}));
  EXPECT_EQ(chunked(127), (Lengths{127}));
  EXPECT_EQ(chunked(128), (Lengths{128}));
  EXPECT_EQ(chunked(129), (Lengths{128, 1}));
  EXPECT_EQ(chunked(256), (Lengths{128, 128}));
  EXPECT_EQ(chunked(257), (Lengths{128, 128, 1}));
}

// Spec T5.
TEST(ChunkerTest, T5_ExactlyTheNumberCapStaysTogether) {
  EXPECT_EQ(lengths_of_numbers({250'000, 250'000}), (Lengths{2}));
  EXPECT_EQ(lengths_of_numbers({250'000, 250'001}), (Lengths{1, 1}));
  EXPECT_EQ(lengths_of_numbers({500'000}), (Lengths{1}));
  EXPECT_EQ(lengths_of_numbers({500'000, 0, 1}), (Lengths{2, 1}));
}

// Spec T5.
TEST(ChunkerTest, T5_Trap1_OversizeDatumTravelsAloneWithoutAnEmptyChunk) {
  EXPECT_EQ(lengths_of_numbers({500'001}), (Lengths{1}));
  EXPECT_EQ(lengths_of_numbers({500'001, 1, 1}), (Lengths{1, 2}));
  EXPECT_EQ(lengths_of_numbers({1, 600'000, 1}), (Lengths{1, 1, 1}));
  EXPECT_EQ(lengths_of_numbers({600'000, 600'000}), (Lengths{1, 1}));
}

// Spec T5.
TEST(ChunkerTest, T5_ByteCapCutsWhenItIsHitFirst) {
  EXPECT_EQ(lengths_of_numbers({10, 10, 10, 10, 10}, {.max_bytes = 80}), (Lengths{2, 2, 1}));
  EXPECT_EQ(lengths_of_numbers({10, 10, 10}, {.max_numbers = 20, .max_bytes = kHuge}),
            (Lengths{2, 1}));
}

TEST(ChunkerTest, ZeroLimitsSendEveryDatumAlone) {
  EXPECT_EQ(lengths_of_numbers({1, 1, 1}, {.max_examples = 0}), (Lengths{1, 1, 1}));
  EXPECT_EQ(lengths_of_numbers({1, 1, 1}, {.max_numbers = 0}), (Lengths{1, 1, 1}));
}

TEST(ChunkerTest, SizesNearTheEndOfTheirTypeDoNotWrap) {
  EXPECT_EQ(lengths_of_numbers({kHuge, kHuge, 1}), (Lengths{1, 1, 1}));
  EXPECT_EQ(lengths_of_numbers({kHuge - 1, 1, 1}, {.max_numbers = kHuge}), (Lengths{2, 1}));
}

std::vector<DatumSize> any_sizes() {
  return *rc::gen::container<std::vector<DatumSize>>(rc::gen::build<DatumSize>(
      rc::gen::set(&DatumSize::numbers, rc::gen::inRange<std::size_t>(0, 40)),
      rc::gen::set(&DatumSize::bytes, rc::gen::inRange<std::size_t>(0, 200))));
}

ChunkLimits any_limits() {
  ChunkLimits limits;
  limits.max_examples = *rc::gen::inRange<std::size_t>(0, 8);
  limits.max_numbers = *rc::gen::inRange<std::size_t>(0, 60);
  if (*rc::gen::arbitrary<bool>()) limits.max_bytes = *rc::gen::inRange<std::size_t>(0, 300);
  return limits;
}

bool within(const std::vector<DatumSize>& sizes, ChunkRange chunk, const ChunkLimits& limits) {
  DatumSize total;
  for (std::size_t i = chunk.begin; i < chunk.end; ++i) {
    total.numbers += sizes[i].numbers;
    total.bytes += sizes[i].bytes;
  }
  return chunk.size() <= limits.max_examples && total.numbers <= limits.max_numbers &&
         total.bytes <= limits.max_bytes.value_or(kHuge);
}

// Spec T5.
TEST(ChunkerTest, T5_Property_ChunksTileTheBatchObeyTheLimitsAndAreAsLongAsPossible) {
  ASSERT_TRUE(rc::check([] {
    const std::vector<DatumSize> sizes = any_sizes();
    const ChunkLimits limits = any_limits();
    const std::vector<ChunkRange> chunks = chunk_sizes(sizes, limits);
    std::size_t next = 0;
    for (const ChunkRange& chunk : chunks) {
      RC_ASSERT(chunk.begin == next);
      RC_ASSERT(chunk.size() > 0U);
      const bool alone_or_within = chunk.size() == 1 || within(sizes, chunk, limits);
      RC_ASSERT(alone_or_within);
      // Not inside RC_ASSERT, which evaluates both sides of ||.
      const bool could_not_be_longer =
          chunk.end == sizes.size() || !within(sizes, {chunk.begin, chunk.end + 1}, limits);
      RC_ASSERT(could_not_be_longer);
      next = chunk.end;
    }
    RC_ASSERT(next == sizes.size());
  }));
}

}  // namespace
}  // namespace tinkex::internal
