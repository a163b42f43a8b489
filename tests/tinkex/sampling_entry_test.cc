#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <type_traits>

#include "tinkex/connection/service_context.h"
#include "tinkex/limits/rate_limiter.h"
#include "tinkex/options.h"
#include "tinkex/params.h"
#include "tinkex/sampling/sampling_registry.h"

namespace tinkex::internal {
namespace {

/// Whether what is told per call could replace the credential or the server.
template <class Options>
constexpr bool overrides_the_server() {
  return requires(Options options) { options.api_key; }
  || requires(Options options) { options.base_url; };
}

// Spec S9, C5: without its configuration an entry does not compile, and no call can change it.
TEST(SamplingEntryTest, S9_C5_ConfigurationIsRequiredAndNoCallReplacesTheServer) {
  using Service = std::shared_ptr<const ServiceContext>;
  using Limiter = std::shared_ptr<RateLimiter>;
  static_assert(std::is_constructible_v<SamplingEntry, std::string, Service, Limiter>);
  static_assert(!std::is_default_constructible_v<SamplingEntry>);
  static_assert(!std::is_constructible_v<SamplingEntry, std::string>);
  static_assert(!std::is_constructible_v<SamplingEntry, std::string, Limiter>);
  static_assert(overrides_the_server<ClientOptions>());
  static_assert(!overrides_the_server<SampleOptions>());
  static_assert(!overrides_the_server<CallOptions>());
}

// Spec X5, S3.
TEST(SamplingEntryTest, X5_S3_ARegisteredEntryKeepsAllThatASampleNeeds) {
  const auto service = std::make_shared<ServiceContext>();
  service->options.base_url = "http://127.0.0.1:1";
  const auto limiter = std::make_shared<RateLimiter>();
  SamplingRegistry registry;
  const auto handle =
      registry.publish(std::make_shared<const SamplingEntry>("session-7", service, limiter));
  ASSERT_TRUE(handle.ok());
  const auto entry = registry.acquire(*handle);
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->session_id, "session-7");
  EXPECT_EQ(entry->service, service);
  EXPECT_EQ(entry->service->options.base_url, "http://127.0.0.1:1");
  EXPECT_EQ(entry->limiter, limiter);
  EXPECT_EQ(entry->counter.fetch_add(1), 0u);
  EXPECT_EQ(entry->counter.load(), 1u) << "it alone may change";
}

}  // namespace
}  // namespace tinkex::internal
