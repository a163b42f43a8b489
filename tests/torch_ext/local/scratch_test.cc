#include "torch_ext/local/scratch.h"

#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace tinkex::torch_ext::local {
namespace {

constexpr std::int64_t kLarge = 1 << 20;

TEST(ScratchTest, MemoryIsUsedAgainOnceItsTensorIsDropped) {
  ScratchPool pool;
  at::Tensor first = pool.empty({kLarge}, at::ScalarType::Float);
  const void* place = first.const_data_ptr();
  const at::Tensor second = pool.empty({kLarge}, at::ScalarType::Float);
  EXPECT_NE(second.const_data_ptr(), place);
  at::Tensor view = first.narrow(0, 5, 10);
  first.reset();
  const at::Tensor third = pool.empty({kLarge}, at::ScalarType::Float);
  EXPECT_NE(third.const_data_ptr(), place);  // the view has it
  view.reset();
  EXPECT_EQ(pool.empty({kLarge / 2, 2}, at::ScalarType::Float).const_data_ptr(), place);
}

TEST(ScratchTest, ABlockIsNotTakenForMuchLess) {
  ScratchPool pool;
  const void* place = pool.empty({kLarge}, at::ScalarType::Float).const_data_ptr();
  EXPECT_NE(pool.empty({kLarge / 2}, at::ScalarType::Float).const_data_ptr(), place);
  EXPECT_EQ(pool.empty({kLarge - kLarge / 8}, at::ScalarType::Float).const_data_ptr(), place);
}

TEST(ScratchTest, MemoryThatWaitsIsGivenBackWhenItIsTold) {
  ScratchPool pool;
  const at::Tensor kept = pool.empty({kLarge}, at::ScalarType::Float);
  (void)pool.empty({2 * kLarge}, at::ScalarType::Float);
  EXPECT_GE(pool.free_bytes(), 8U * kLarge);
  pool.drop_free();
  EXPECT_EQ(pool.free_bytes(), 0U);
}

TEST(ScratchTest, TensorsOutliveTheirPoolAndAreDroppedOnAnyThread) {
  std::optional<ScratchPool> pool(std::in_place);
  at::Tensor tensor = pool->empty({kLarge}, at::ScalarType::Float);
  pool.reset();
  tensor.fill_(3);
  EXPECT_EQ(tensor.sum().item<float>(), 3.0F * kLarge);
  std::thread([last = std::move(tensor)]() mutable { last.reset(); }).join();
}

TEST(ScratchTest, AScopeIsOneThreadsAloneAndNests) {
  const at::Tensor like = at::empty({1}, at::ScalarType::Float);
  ScratchPool outer;
  ScratchPool inner;
  const void* place = outer.empty({kLarge}, at::ScalarType::Float).const_data_ptr();
  const ScratchScope scope(outer);
  {
    const ScratchScope nested(inner);
    EXPECT_NE(scratch_empty({kLarge}, like).const_data_ptr(), place);
  }
  std::thread([&] { EXPECT_NE(scratch_empty({kLarge}, like).const_data_ptr(), place); }).join();
  const at::Tensor zeros = scratch_zeros({kLarge}, like);
  EXPECT_EQ(zeros.const_data_ptr(), place);
  EXPECT_EQ(zeros.abs().max().item<float>(), 0);
}

}  // namespace
}  // namespace tinkex::torch_ext::local
