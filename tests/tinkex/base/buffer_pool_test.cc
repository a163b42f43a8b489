#include "tinkex/base/buffer_pool.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace tinkex::internal {
namespace {

TEST(BufferPoolTest, ReturnedBufferComesBackEmptyWithItsMemory) {
  auto pool = BufferPool::create();
  auto buffer = pool->acquire(1000);
  buffer->append("hello");
  const char* memory = buffer->data();
  buffer.reset();
  EXPECT_EQ(pool->retained_bytes(), 1000U);

  buffer = pool->acquire();
  EXPECT_EQ(buffer->size(), 0U);
  EXPECT_EQ(buffer->data(), memory);
  EXPECT_EQ(pool->retained_bytes(), 0U);
}

TEST(BufferPoolTest, BuffersInUseAreDistinct) {
  auto pool = BufferPool::create();
  auto a = pool->acquire(10);
  auto b = pool->acquire(10);
  EXPECT_NE(a.get(), b.get());
  EXPECT_NE(a->data(), b->data());
}

TEST(BufferPoolTest, PrefersABufferThatIsLargeEnough) {
  auto pool = BufferPool::create();
  auto large = pool->acquire(1000);
  auto small = pool->acquire(10);
  const char* large_memory = large->data();
  large.reset();
  small.reset();  // the youngest, but too small
  EXPECT_EQ(pool->acquire(500)->data(), large_memory);
}

TEST(BufferPoolTest, KeepsAtMostItsLimitAndDropsTheOldest) {
  auto pool = BufferPool::create(250);
  auto oldest = pool->acquire(100);
  auto middle = pool->acquire(100);
  auto youngest = pool->acquire(100);
  oldest.reset();
  middle.reset();
  EXPECT_EQ(pool->retained_bytes(), 200U);
  youngest.reset();
  EXPECT_EQ(pool->retained_bytes(), 200U);
  pool->acquire(251).reset();
  EXPECT_EQ(pool->retained_bytes(), 200U) << "a buffer above the limit must not be kept";
}

TEST(BufferPoolTest, BufferOutlivesThePool) {
  auto pool = BufferPool::create();
  auto buffer = pool->acquire(16);
  pool.reset();
  buffer->append("still here");
  EXPECT_EQ(buffer->view(), "still here");
}

TEST(BufferPoolTest, SharedByThreadsNoBufferIsHandedOutTwice) {
  auto pool = BufferPool::create(4096);
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&pool, t] {
      const std::string mine(64, static_cast<char>('a' + t));
      for (int i = 0; i < 500; ++i) {
        auto buffer = pool->acquire(static_cast<std::size_t>(64 + i % 512));
        buffer->append(mine);
        ASSERT_EQ(buffer->view(), mine);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(pool->retained_bytes(), 4096U);
}

}  // namespace
}  // namespace tinkex::internal
