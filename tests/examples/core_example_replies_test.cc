// The program without LibTorch on servers whose replies lack what it reads.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <string>

#include "tinkex/mocks/tinker_script.h"

namespace tinkex {
namespace {

using mocks::Operation;
using mocks::Reply;
using ::testing::HasSubstr;

class CoreExampleRepliesTest : public ::testing::Test {
 protected:
  /// A server whose model has this tokenizer.
  void serve(const std::string& tokenizer_id = "tinkex/bytes") {
    const std::string info = R"({"model_id":"model-1","model_data":{"model_name":"scripted",)"
                             R"("tokenizer_id":")" +
                             tokenizer_id + R"("}})";
    tinker.server().script("POST", mocks::TinkerScript::path("get_info"), {Reply::json(info)});
    ::setenv("TINKER_BASE_URL", tinker.base_url().c_str(), 1);
  }
  void answer(const std::string& kind, const std::string& body) {
    tinker.set_result(kind,
                      [body](const Operation&, std::string_view) { return Reply::json(body); });
  }
  /// What the program wrote; `exit_code` is how it ended.
  std::string run() {
    FILE* program = ::popen("examples/core_example 2>&1", "r");
    std::string written;
    std::array<char, 4096> part{};
    while (program != nullptr && std::fgets(part.data(), part.size(), program) != nullptr) {
      written += part.data();
    }
    const int status = program == nullptr ? -1 : ::pclose(program);
    exit_code = status != -1 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return written;
  }

  mocks::TinkerScript tinker;
  int exit_code = 0;
};

TEST_F(CoreExampleRepliesTest, AServerThatTellsNoLossIsReportedAsAnError) {
  serve();
  answer("forward_backward",
         R"({"loss_fn_output_type":"array","loss_fn_outputs":[{},{}],"metrics":{}})");
  EXPECT_THAT(run(), HasSubstr("tells no metric loss:sum"));
  EXPECT_EQ(exit_code, 1);
}

TEST_F(CoreExampleRepliesTest, AServerThatGivesNoSequenceIsReportedAsAnError) {
  serve();
  answer("asample", R"({"sequences":[]})");
  EXPECT_THAT(run(), HasSubstr("gave no sequence"));
  EXPECT_EQ(exit_code, 1);
}

TEST_F(CoreExampleRepliesTest, AModelOfAnUnknownTokenizerIsNotFedBytes) {
  serve("");
  EXPECT_THAT(run(), HasSubstr("scripted: expected a model whose tokenizer is tinkex/bytes"));
  EXPECT_EQ(exit_code, 1);
  EXPECT_TRUE(tinker.operations("forward_backward").empty());
}

}  // namespace
}  // namespace tinkex
