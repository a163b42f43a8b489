#include "examples/support/server_name.h"

#include <gtest/gtest.h>

namespace sft {
namespace {

TEST(ServerNameTest, SchemeHostAndPortRemain) {
  EXPECT_EQ(origin_of("http://127.0.0.1:8080"), "http://127.0.0.1:8080");
  EXPECT_EQ(origin_of("https://host.example/services/prefix"), "https://host.example");
  EXPECT_EQ(origin_of("http://[::1]:80/"), "http://[::1]:80");
  EXPECT_EQ(origin_of("HTTPS://host/x"), "https://host");
  EXPECT_EQ(server_name("https://host/"), "https://host");
}

TEST(ServerNameTest, WhatMayBeSecretIsLeftOut) {
  for (const char* url :
       {"http://me:secret@host:1/", "http://host:1/?key=secret", "http://host:1#secret",
        "http://me:se/cret@secret@host:1", "http://secret@host:1/secret"}) {
    EXPECT_EQ(origin_of(url), "http://host:1") << url;
  }
}

TEST(ServerNameTest, TheNameIsOneShortLine) {
  EXPECT_EQ(origin_of("http://a\nb\x1b"), "http://a\\nb?");
  EXPECT_EQ(origin_of("nonsense"), "nonsense");
  EXPECT_LT(origin_of("http://" + std::string(5000, 'x')).size(), 300u);
}

}  // namespace
}  // namespace sft
