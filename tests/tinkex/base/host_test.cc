#include "tinkex/base/host.h"

#include <gtest/gtest.h>

namespace tinkex::internal {
namespace {

TEST(HostTest, OnlyNamesAndAddressesOfThisMachineAreLoopback) {
  for (const char* host : {"localhost", "api.localhost", "127.0.0.1", "127.1.2.3", "[::1]"}) {
    EXPECT_TRUE(is_loopback_host(host)) << host;
  }
  for (const char* host : {"", "localhost.example.org", "127.0.0.1.example.org", "127.example.org",
                           "1270.0.0.1", "[::2]", "::1", "notlocalhost"}) {
    EXPECT_FALSE(is_loopback_host(host)) << host;
  }
}

}  // namespace
}  // namespace tinkex::internal
