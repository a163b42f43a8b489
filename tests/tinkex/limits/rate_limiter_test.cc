#include "tinkex/limits/rate_limiter.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tinkex/limits/rate_limiter_registry.h"

namespace tinkex {
namespace {

using internal::LimiterKey;
using internal::normalised_origin;
using internal::RateLimiter;
using std::chrono::milliseconds;

constexpr Clock::time_point at(std::int64_t ms) { return Clock::time_point(milliseconds(ms)); }

class HandClock final : public Clock {
 public:
  time_point now() const noexcept override { return at(now_ms.load()); }
  std::atomic<std::int64_t> now_ms{1'000};
};

TEST(RateLimiterTest, IsOpenUntilSomethingSetsIt) {
  RateLimiter limiter;
  EXPECT_EQ(limiter.until(), Clock::time_point::min());
  EXPECT_TRUE(limiter.is_open(at(0)));
  EXPECT_TRUE(limiter.is_open(Clock::time_point::min()));
}

// Spec S10.
TEST(RateLimiterTest, S10_AShorterWindowNeverShortensALongerOne) {
  RateLimiter limiter;
  limiter.extend_by(at(1000), milliseconds(120));
  EXPECT_EQ(limiter.until(), at(1120));
  limiter.extend_by(at(1010), milliseconds(20));
  EXPECT_EQ(limiter.until(), at(1120));
  limiter.extend_until(at(1200));
  EXPECT_EQ(limiter.until(), at(1200));
  EXPECT_FALSE(limiter.is_open(at(1199)));
  EXPECT_TRUE(limiter.is_open(at(1200)));
}

TEST(RateLimiterTest, UselessDelaysChangeNothingAndHugeOnesSaturate) {
  RateLimiter limiter;
  limiter.extend_by(at(1000), milliseconds(0));
  limiter.extend_by(at(1000), milliseconds(-5));
  EXPECT_EQ(limiter.until(), Clock::time_point::min());
  limiter.extend_by(at(1000), milliseconds::max());
  EXPECT_EQ(limiter.until(), Clock::time_point::max());
}

// Spec S10.
TEST(RateLimiterTest, S10_ConcurrentExtensionsKeepTheLatestEnd) {
  RateLimiter limiter;
  std::atomic<bool> shrank{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&limiter, &shrank, t] {
      Clock::time_point seen = limiter.until();
      for (int i = 0; i < 2'000; ++i) {
        limiter.extend_until(at((i * 37 + t * 1009) % 10'007));
        const Clock::time_point now = limiter.until();
        if (now < seen) shrank = true;
        seen = now;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  int latest = 0;
  for (int t = 0; t < 8; ++t) {
    for (int i = 0; i < 2'000; ++i) latest = std::max(latest, (i * 37 + t * 1009) % 10'007);
  }
  EXPECT_EQ(limiter.until(), at(latest));
  EXPECT_FALSE(shrank);
}

// The threads draw from one counter, so each is nearly always the one that moves the end, and an
// update that is lost shows at once.
// Spec S10.
TEST(RateLimiterTest, S10_NoConcurrentExtensionIsLost) {
  constexpr int kThreads = 4;
  constexpr int kSteps = 5'000'000;
  RateLimiter limiter;
  std::atomic<int> drawn{0};
  std::atomic<int> lost{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      Clock::time_point mine = Clock::time_point::min();
      for (int step = drawn++; step < kSteps; step = drawn++) {
        if (limiter.until() < mine) ++lost;
        mine = at(step);
        limiter.extend_until(mine);
      }
      if (limiter.until() < mine) ++lost;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(lost, 0);
  EXPECT_EQ(limiter.until(), at(kSteps - 1));
}

struct OriginCase {
  const char* url;
  const char* origin;
};

class OriginTest : public testing::TestWithParam<OriginCase> {};

// Spec S4, C6.
TEST_P(OriginTest, S4_C6_SpellingsOfOneServerAgree) {
  EXPECT_EQ(normalised_origin(GetParam().url), GetParam().origin);
}

INSTANTIATE_TEST_SUITE_P(
    Urls, OriginTest,
    testing::Values(
        OriginCase{"https://h", "https://h"}, OriginCase{"https://H:443/x", "https://h"},
        OriginCase{"HTTPS://h/", "https://h"}, OriginCase{"https://h?q=1", "https://h"},
        OriginCase{"https://h#f", "https://h"}, OriginCase{"https://h:/x", "https://h"},
        OriginCase{"https://h.", "https://h"}, OriginCase{"https://h.:443", "https://h"},
        OriginCase{"https://user:pw@h:443/a@b", "https://h"},
        OriginCase{"https://a@b@h/", "https://h"}, OriginCase{"  https://h \n", "https://h"},
        OriginCase{"https://h:00443", "https://h"}, OriginCase{"http://h:80/a/b", "http://h"},
        OriginCase{"http://h:443", "http://h:443"}, OriginCase{"https://h:80", "https://h:80"},
        OriginCase{"http://127.0.0.1:8080/p", "http://127.0.0.1:8080"},
        OriginCase{"http://[::1]:80/", "http://[::1]"},
        OriginCase{"http://[0:0:0:0:0:0:0:1]:8080", "http://[::1]:8080"},
        OriginCase{"http://[2001:DB8::000a]", "http://[2001:db8::a]"},
        OriginCase{"http://[fe80::1%25eth0]:80", "http://[fe80::1%25eth0]"},
        // Nothing that a server answers to, but it must neither crash nor meet a real one.
        OriginCase{"", ""}, OriginCase{"not a url", "not a url"}, OriginCase{"http://", "http://"},
        OriginCase{"http://[::1", "http://[::1"}, OriginCase{"http://[zz]:1", "http://[zz]:1"},
        OriginCase{"http://user@", "http://"}, OriginCase{"://", "://"}));

// Spec C6.
TEST(LimiterKeyTest, C6_NeverPrintsTheCredential) {
  const LimiterKey key("https://u:tml-in-url@Host/x", "tml-very-secret");
  std::ostringstream stream;
  stream << key;
  EXPECT_EQ(stream.str(), "https://host with key ***");
  EXPECT_EQ(testing::PrintToString(key), "https://host with key ***");
}

// Spec H13.
// Spec X7.
TEST(RateLimiterRegistryTest, X7_SameServerAndKeyShareOneLimiter) {
  RateLimiterRegistry registry;
  const auto limiter = registry.get(LimiterKey("https://H:443/x", "k"));
  EXPECT_EQ(limiter, registry.get(LimiterKey("https://h", "k")));
  EXPECT_EQ(registry.size(), 1U);
}

// Spec X7.
TEST(RateLimiterRegistryTest, X7_OtherServerOrKeyHasItsOwnLimiter) {
  RateLimiterRegistry registry;
  const std::set<std::shared_ptr<RateLimiter>> limiters{
      registry.get(LimiterKey("https://h", "k")),      registry.get(LimiterKey("http://h", "k")),
      registry.get(LimiterKey("https://h:8443", "k")), registry.get(LimiterKey("https://h2", "k")),
      registry.get(LimiterKey("https://h", "k2")),     registry.get(LimiterKey("https://h", "")),
  };
  EXPECT_EQ(limiters.size(), 6U);
}

// Spec S4, C7.
TEST(RateLimiterRegistryTest, S4_C7_SixtyFourThreadsGetOneObject) {
  RateLimiterRegistry registry;
  std::atomic<bool> go{false};
  std::vector<std::shared_ptr<RateLimiter>> got(64);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < got.size(); ++t) {
    threads.emplace_back([&registry, &go, &got, t] {
      while (!go) std::this_thread::yield();
      const std::string url = t % 2 == 0 ? "https://H:443/x" : "https://h";
      got[t] = registry.get(LimiterKey(url, "key"));
    });
  }
  go = true;
  for (std::thread& thread : threads) thread.join();
  for (const auto& limiter : got) EXPECT_EQ(limiter, got.front());
  EXPECT_EQ(registry.size(), 1U);
}

// Spec S4.
TEST(RateLimiterRegistryTest, S4_ManyAbandonedKeysAreForgotten) {
  RateLimiterRegistry registry;
  for (int i = 0; i < 50'000; ++i) {
    ASSERT_NE(registry.get(LimiterKey("https://h", "key" + std::to_string(i))), nullptr);
  }
  EXPECT_LE(registry.size(), 16U * 65U);
}

// Spec S4.
TEST(RateLimiterRegistryTest, S4_ManyKeysInUseStayTheSameObjects) {
  RateLimiterRegistry registry;
  std::vector<std::shared_ptr<RateLimiter>> held;
  const auto key = [](int i) { return LimiterKey("https://h", "key" + std::to_string(i)); };
  for (int i = 0; i < 5'000; ++i) held.push_back(registry.get(key(i)));
  EXPECT_EQ(registry.size(), held.size());
  for (int i = 0; i < 5'000; ++i) EXPECT_EQ(registry.get(key(i)), held[i]);
}

// Spec S10.
TEST(RateLimiterRegistryTest, S10_AnOpenWindowOutlivesTheClientsThatSetIt) {
  auto clock = std::make_shared<HandClock>();
  RateLimiterRegistry registry(clock);
  const LimiterKey limited("https://h", "limited");
  const auto churn = [&registry](const std::string& name) {
    for (int i = 0; i < 5'000; ++i) {
      ASSERT_NE(registry.get(LimiterKey("https://h", name + std::to_string(i))), nullptr);
    }
  };
  registry.get(limited)->extend_by(clock->now(), milliseconds(500));
  churn("a");
  EXPECT_EQ(registry.get(limited)->until(), at(1500));
  clock->now_ms = 1500;
  churn("b");
  EXPECT_EQ(registry.get(limited)->until(), Clock::time_point::min()) << "it was made anew";
}

TEST(RateLimiterRegistryTest, ProcessWideIsOneObject) {
  ASSERT_NE(RateLimiterRegistry::process_wide(), nullptr);
  EXPECT_EQ(RateLimiterRegistry::process_wide(), RateLimiterRegistry::process_wide());
}

}  // namespace
}  // namespace tinkex
