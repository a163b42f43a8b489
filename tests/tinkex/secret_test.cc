#include "tinkex/secret.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <new>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

namespace {

constexpr std::size_t kWatchedSize = 4099;  // a size that nothing else here allocates
char* watched = nullptr;
bool watched_was_wiped = false;

}  // namespace

// Looks into the watched block at the moment it is freed.
void* operator new[](std::size_t size) {
  void* block = std::malloc(size);
  if (block == nullptr) throw std::bad_alloc();
  if (size == kWatchedSize) watched = static_cast<char*>(block);
  return block;
}

void operator delete[](void* block) noexcept {
  if (block != nullptr && block == watched) {
    watched_was_wiped = true;
    for (std::size_t i = 0; i < kWatchedSize; ++i) watched_was_wiped &= watched[i] == 0;
    watched = nullptr;
  }
  std::free(block);
}

void operator delete[](void* block, std::size_t) noexcept { operator delete[](block); }

namespace tinkex {
namespace {

std::string printed(const Secret& secret) {
  std::ostringstream stream;
  stream << secret;
  return stream.str();
}

TEST(SecretTest, PrintsAsStars) {
  EXPECT_EQ(printed(Secret("tml-abcdef")), "***");
  EXPECT_EQ(printed(Secret()), "(none)");
  EXPECT_EQ(testing::PrintToString(Secret("tml-abcdef")), "***");
}

TEST(SecretTest, MemoryIsWipedBeforeItIsFreed) {
  watched_was_wiped = false;
  {
    Secret secret(std::string(kWatchedSize, 'k'));
    ASSERT_NE(watched, nullptr);
    ASSERT_EQ(watched[7], 'k');
  }
  EXPECT_EQ(watched, nullptr);
  EXPECT_TRUE(watched_was_wiped);
}

TEST(SecretTest, AssignmentWipesWhatItReplaces) {
  watched_was_wiped = false;
  Secret secret(std::string(kWatchedSize, 'k'));
  secret = Secret("other");
  EXPECT_TRUE(watched_was_wiped);
  EXPECT_EQ(secret.reveal(), "other");
}

TEST(SecretTest, CopiesAreEqualAndIndependent) {
  Secret a("tml-1");
  Secret b = a;
  EXPECT_EQ(a, b);
  a = Secret("tml-2");
  EXPECT_EQ(b.reveal(), "tml-1");
  EXPECT_FALSE(a == b);
  EXPECT_FALSE(a == Secret("tml-22"));
  EXPECT_EQ(Secret(), Secret(""));
}

TEST(SecretTest, MovedFromIsEmpty) {
  Secret a("x");
  const Secret b = std::move(a);
  EXPECT_TRUE(a.empty());  // NOLINT(bugprone-use-after-move): the promise under test
  EXPECT_EQ(b.reveal(), "x");
}

}  // namespace
}  // namespace tinkex
