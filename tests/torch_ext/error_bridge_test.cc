#include "torch_ext/error_bridge.h"

#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace tinkex::torch_ext {
namespace {

TEST(ErrorBridgeTest, InvalidArgumentBecomesAValueError) {
  try {
    throw_error(invalid_argument("rank is 0"));
    FAIL() << "nothing was thrown";
  } catch (const c10::ValueError& error) {
    const std::string expected = "tinkex: [invalid_argument] rank is 0";
    // LibTorch 1.13 ends the text in a newline.
    EXPECT_THAT(error.what(),
                testing::AnyOf(testing::StrEq(expected), testing::StrEq(expected + "\n")));
  }
}

TEST(ErrorBridgeTest, OtherCodesBecomePlainErrorsWithTheirDetails) {
  const Error failure =
      Error(ErrorCode::kRequestFailed, "out of memory").with_http_status(500).with_request_id("r7");
  try {
    throw_error(failure);
    FAIL() << "nothing was thrown";
  } catch (const c10::ValueError&) {
    FAIL() << "a failed request is not the caller's value";
  } catch (const c10::Error& error) {
    EXPECT_EQ(std::string(error.what_without_backtrace()), failure.what());
    EXPECT_EQ(std::string(error.what()).rfind("tinkex: [request_failed] out of memory", 0), 0u);
  }
}

TEST(ErrorBridgeTest, ValueOrThrowGivesTheValue) {
  EXPECT_EQ(value_or_throw(Result<int>(3)), 3);
  EXPECT_THROW(value_or_throw(Result<int>(Error(ErrorCode::kClosed, "closed"))), c10::Error);
}

}  // namespace
}  // namespace tinkex::torch_ext
