#include "tinkex/base/host.h"

#include <gtest/gtest.h>

namespace tinkex::internal {
namespace {

TEST(HostTest, OnlyNamesAndAddressesOfThisMachineAreLoopback) {
  for (const char* host : {"localhost", "api.localhost", "127.0.0.1", "127.1.2.3", "[::1]",
                           "[0:0:0:0:0:0:0:1]", "LOCALHOST", "localhost.", "Api.LocalHost."}) {
    EXPECT_TRUE(is_loopback_host(host)) << host;
  }
  for (const char* host : {"", "localhost.example.org", "127.0.0.1.example.org", "127.example.org",
                           "1270.0.0.1", "127.0.0.1.5", "127.0.0.256", "127.1", "[::2]", "::1", "[",
                           "[]", "[127.0.0.1]", "notlocalhost"}) {
    EXPECT_FALSE(is_loopback_host(host)) << host;
  }
}

TEST(HostTest, OnlyWholeAddressesAreLoopbackAddresses) {
  for (const char* address : {"127.0.0.1", "127.255.255.254", "::1"}) {
    EXPECT_TRUE(is_loopback_address(address)) << address;
  }
  for (const std::string& address :
       {std::string("localhost"), std::string("127.example.org"), std::string("128.0.0.1"),
        std::string("::"), std::string("[::1]"), std::string("127.0.0.1\0x", 11)}) {
    EXPECT_FALSE(is_loopback_address(address)) << address;
  }
}

}  // namespace
}  // namespace tinkex::internal
