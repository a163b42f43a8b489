#include "torch_ext/local/weight_arena.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace tinkex::torch_ext::local {
namespace {

std::uintptr_t place_of(const at::Tensor& tensor) {
  return reinterpret_cast<std::uintptr_t>(tensor.const_data_ptr());
}

TEST(WeightArenaTest, TensorsLieApartAndAlignedAndOutliveIt) {
  std::vector<at::Tensor> tensors;
  {
    WeightArena arena;
    for (const std::int64_t rows : {1, 3, 500, 20'000, 7}) {
      tensors.push_back(arena.empty({rows, 257}, at::ScalarType::Float));
      tensors.push_back(arena.empty({rows}, at::ScalarType::BFloat16));
    }
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_EQ(place_of(tensors[i]) % 64, 0U);
    EXPECT_TRUE(tensors[i].is_contiguous());
    tensors[i].fill_(static_cast<double>(i + 1));
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_TRUE(tensors[i].eq(static_cast<double>(i + 1)).all().item<bool>()) << i;
  }
}

TEST(WeightArenaTest, LargeTensorsBeginAtAHugePage) {
  WeightArena arena;
  (void)arena.empty({100}, at::ScalarType::Float);
  EXPECT_EQ(place_of(arena.empty({1'000, 10'000}, at::ScalarType::Float)) % (2U << 20), 0U);
}

TEST(WeightArenaTest, TheReasonWhyThereAreNoHugePagesIsTold) {
  EXPECT_EQ(why_not_huge("always [madvise] never\n"), "");
  EXPECT_EQ(why_not_huge("[always] madvise never\n"), "");
  EXPECT_EQ(why_not_huge("always madvise [never]\n"),
            "/sys/kernel/mm/transparent_hugepage/enabled is never");
  EXPECT_EQ(why_not_huge(""),
            "this system has none (no /sys/kernel/mm/transparent_hugepage/enabled)");
}

}  // namespace
}  // namespace tinkex::torch_ext::local
