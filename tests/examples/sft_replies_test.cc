// Fine-tuning on servers that do not answer everything, or not at once.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): kill is of POSIX
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "tinkex/mocks/tinker_script.h"

namespace tinkex {
namespace {

namespace fs = std::filesystem;
using mocks::Gate;
using mocks::Operation;
using mocks::OperationPlan;
using mocks::Reply;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Json = nlohmann::json;

constexpr std::size_t kPrompts = 2;
constexpr char kNotKnown[] =
    "sft: whether step 4 has ruined the model is not known, so "
    "tinker://model-1/weights/on-the-way-2 stays, too: ";

std::string read(const fs::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A pass whose logprobs are all the same, and whose metrics are these.
mocks::ResultFn pass_with(const Json& logprob, const Json& metrics) {
  return [=](const Operation& operation, std::string_view) {
    Json outputs = Json::array();
    for (const Datum& datum : operation.batch->data) {
      const std::size_t size = find(datum.loss_fn_inputs, "target_tokens")->size();
      outputs.push_back({{"logprobs",
                          {{"data", std::vector<Json>(size, logprob)},
                           {"dtype", "float32"},
                           {"shape", {size}}}}});
    }
    return Reply::json(
        Json{{"loss_fn_output_type", "array"}, {"loss_fn_outputs", outputs}, {"metrics", metrics}}
            .dump());
  };
}

class SftRepliesTest : public ::testing::Test {
 protected:
  SftRepliesTest() {
    ::signal(SIGXFSZ, SIG_IGN);  // What is too long for a limit fails, in the program too.
    fs::remove_all(root_);
    fs::create_directories(root_);
    std::ofstream(root_ / "pairs.jsonl") << R"({"prompt": "a", "completion": "bc"})"
                                         << "\n"
                                         << R"({"prompt": "d", "completion": "e"})"
                                         << "\n";
  }

  /// Starts the program.
  void start(std::vector<std::string> words) {
    words.insert(words.begin(), "sft");
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, 1, said_.c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                       0644);
    ::posix_spawn_file_actions_adddup2(&actions, 1, 2);
    ASSERT_EQ(::posix_spawn(&pid_, "examples/sft", &actions, nullptr, arguments.data(), environ),
              0);
    ::posix_spawn_file_actions_destroy(&actions);
  }
  void start_new(const std::vector<std::string>& more) {
    std::vector<std::string> words = {"--base-url",   tinker.base_url(),
                                      "--base-model", "scripted",
                                      "--tokenizer",  "bytes",
                                      "--batch-size", "1",
                                      "--data",       (root_ / "pairs.jsonl").string(),
                                      "--out",        folder_.string()};
    words.insert(words.end(), more.begin(), more.end());
    start(std::move(words));
  }
  /// A run that saves every second step, whose pass of that number is answered when `loss` opens.
  void start_held(int pass, const std::shared_ptr<Gate>& loss,
                  const std::vector<std::string>& more = {"--steps", "9"}) {
    const auto passes = std::make_shared<std::atomic<int>>(0);
    tinker.plan_each([=](const Operation& operation) -> OperationPlan {
      const bool held = operation.kind == "forward_backward" && ++*passes == pass;
      return {.result_gate = held ? loss : nullptr};
    });
    std::vector<std::string> words = {"--save-every", "2"};
    words.insert(words.end(), more.begin(), more.end());
    start_new(words);
  }
  /// The exit code of the program, which ends by itself.
  int end() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  static void eventually(const std::function<bool()>& is_so) {
    while (!is_so()) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  /// Returns when the program knows of the signal.
  void send(int signal) {
    ::kill(pid_, signal);
    eventually([this] { return said().find("Stopping") != std::string::npos; });
  }

  std::string said() const { return read(said_); }
  Json state() const { return Json::parse(read(folder_ / "state.json")); }
  static std::vector<std::string> deleted(const mocks::TinkerScript& server) {
    std::vector<std::string> targets;
    for (const auto& request : server.server().log()) {
      if (request.method == "DELETE") targets.push_back(request.target);
    }
    return targets;
  }

  mocks::TinkerScript tinker;
  const fs::path root_ = fs::path(::testing::TempDir()) /
                         ::testing::UnitTest::GetInstance()->current_test_info()->name();
  const fs::path folder_ = root_ / "run";
  const fs::path said_ = root_ / "said.txt";
  pid_t pid_ = -1;
};

TEST_F(SftRepliesTest, AModelThatNobodyCanJudgeIsRecordedAndTheOneBeforeStays) {
  tinker.set_result("forward", [](const Operation&, std::string_view) {
    return mocks::TinkerScript::failed("there is no such call", "user");
  });
  start_new({"--steps", "4", "--save-every", "2"});
  EXPECT_EQ(end(), 0);
  EXPECT_EQ(state().at("step"), 4);
  EXPECT_EQ(state().at("checkpoint"), "tinker://model-1/weights/step-4");
  EXPECT_THAT(state().at("superseded"), ElementsAre("tinker://model-1/weights/on-the-way-2"));
  EXPECT_THAT(deleted(tinker), IsEmpty());
  EXPECT_THAT(said(),
              HasSubstr(kNotKnown + std::string("forward failed: there is no such call\n")));
}

TEST_F(SftRepliesTest, ARunThatIsResumedWithoutAStepDeletesNothing) {
  tinker.set_result("forward", [](const Operation&, std::string_view) {
    return mocks::TinkerScript::failed("broken", "server");
  });
  start_new({"--steps", "4", "--save-every", "2"});
  EXPECT_EQ(end(), 0);
  mocks::TinkerScript later;
  later.plan_each([never = std::make_shared<Gate>()](const Operation& operation) -> OperationPlan {
    return {.result_gate = operation.kind == "asample" ? never : nullptr};
  });
  start({"--resume", folder_.string(), "--steps", "6", "--base-url", later.base_url()});
  eventually([&] { return later.operations("asample").size() == kPrompts; });
  send(SIGTERM);
  EXPECT_EQ(end(), 128 + SIGTERM);
  EXPECT_EQ(state().at("step"), 4);
  EXPECT_THAT(deleted(later), IsEmpty());
}

TEST_F(SftRepliesTest, APassThatTellsNothingLeavesAModelUnjudged) {
  tinker.set_result("forward", [](const Operation&, std::string_view) {
    return Reply::json(
        R"({"loss_fn_output_type":"array","loss_fn_outputs":[{}],"metrics":{"loss:sum":0}})");
  });
  start_new({"--steps", "4", "--save-every", "2"});
  EXPECT_EQ(end(), 0);
  EXPECT_EQ(state().at("step"), 4);
  EXPECT_THAT(deleted(tinker), IsEmpty());
  EXPECT_THAT(said(), HasSubstr(kNotKnown + std::string("the server tells neither a loss nor")));
}

TEST_F(SftRepliesTest, LogprobsAloneShowThatAModelIsSound) {
  tinker.set_result("forward", pass_with(-1.5, Json::object()));
  start_new({"--steps", "4", "--save-every", "2"});
  EXPECT_EQ(end(), 0);
  EXPECT_EQ(state().at("step"), 4);
  EXPECT_THAT(deleted(tinker), ElementsAre(EndsWith("/on-the-way-2")));
  EXPECT_THAT(said(), Not(HasSubstr("is not known")));
}

TEST_F(SftRepliesTest, AModelOfLogprobsOrALossThatAreNoNumbersIsNotRecorded) {
  for (const auto& result :
       {pass_with(nullptr, {{"loss:sum", 0.0}}), pass_with(-1.5, {{"loss:sum", nullptr}})}) {
    fs::remove_all(folder_);
    tinker.set_result("forward", result);
    start_new({"--steps", "4", "--save-every", "2"});
    EXPECT_EQ(end(), 2);
    EXPECT_EQ(state().at("step"), 2);
    EXPECT_THAT(state().at("checkpoint").get<std::string>(), EndsWith("/on-the-way-2"));
    EXPECT_THAT(deleted(tinker), IsEmpty());
    EXPECT_THAT(said(), HasSubstr("step 4 has ruined the model (lower --learning-rate)"));
  }
}

TEST_F(SftRepliesTest, WhatWasSavedAsTheProgramStoppedIsRecordedThoughNobodyCanJudgeIt) {
  const auto first_loss = std::make_shared<Gate>();
  tinker.plan("forward_backward", {.result_gate = first_loss});
  tinker.set_result("forward", [](const Operation&, std::string_view) {
    return mocks::TinkerScript::failed("broken", "server");
  });
  start_new({"--steps", "9", "--save-every", "2"});
  eventually([this] { return tinker.operations("forward_backward").size() == 2; });
  send(SIGINT);
  first_loss->open();
  EXPECT_EQ(end(), 128 + SIGINT);
  EXPECT_EQ(state().at("step"), 2);
  EXPECT_EQ(state().at("checkpoint"), "tinker://model-1/weights/step-2");
  EXPECT_EQ(tinker.operations("save_weights").size(), 2u);
  EXPECT_THAT(said(), Not(HasSubstr("goes when")));
  EXPECT_THAT(said(), HasSubstr("Stopped by Ctrl-C after step 2; everything is saved."));
}

/// The pass of that step, counted from 1, has another result than those of all others.
void set_result_of_step(mocks::TinkerScript& server, std::size_t step,
                        const mocks::ResultFn& result) {
  const auto usual = pass_with(-1.5, {{"loss:sum", 1.5}});
  server.set_result("forward_backward", [&server, step, result, usual](const Operation& operation,
                                                                       std::string_view accept) {
    const auto passes = server.operations("forward_backward");
    const bool is_it = passes.size() >= step && passes[step - 1].request_id == operation.request_id;
    return is_it ? result(operation, accept) : usual(operation, accept);
  });
}

/// The loss of that step is no number.
void spoil(mocks::TinkerScript& server, std::size_t step) {
  set_result_of_step(server, step, pass_with(-1.5, {{"loss:sum", nullptr}}));
}

/// The gradient of that step fails.
void fail(mocks::TinkerScript& server, std::size_t step) {
  set_result_of_step(server, step, [](const Operation&, std::string_view) {
    return mocks::TinkerScript::failed("lost in a restart", "server");
  });
}

TEST_F(SftRepliesTest, WhatAStopLeavesOnAServerStaysWhenTheRunHasGoneOn) {
  start_new({"--steps", "6", "--stop-after", "3"});
  EXPECT_EQ(end(), 0);
  EXPECT_EQ(state().at("checkpoint"), "tinker://model-1/weights/step-3");
  EXPECT_THAT(said(), Not(HasSubstr("goes when")));
  start({"--resume", folder_.string()});
  EXPECT_EQ(end(), 0);
  EXPECT_EQ(state().at("step"), 6);
  EXPECT_THAT(deleted(tinker), Not(::testing::Contains(EndsWith("/step-3"))));
}

TEST_F(SftRepliesTest, ALossThatIsNoNumberIsTheCallersAndWhatWasSavedOfThatModelGoes) {
  spoil(tinker, 2);
  start_new({"--steps", "9", "--save-every", "2"});
  EXPECT_EQ(end(), 2);
  EXPECT_FALSE(fs::exists(folder_ / "state.json"));
  EXPECT_THAT(deleted(tinker), ElementsAre(EndsWith("/on-the-way-2")));
  EXPECT_THAT(said(), HasSubstr("the loss of step 2 is nan; lower --learning-rate"));
}

TEST_F(SftRepliesTest, ARunThatFailsDeletesWhatItHasNotRecordedAndNothingElse) {
  spoil(tinker, 5);
  start_new({"--steps", "9", "--save-every", "2"});
  EXPECT_EQ(end(), 2);
  EXPECT_EQ(state().at("checkpoint"), "tinker://model-1/weights/on-the-way-2");
  EXPECT_THAT(deleted(tinker), ElementsAre(EndsWith("/on-the-way-4")));
  EXPECT_THAT(said(), HasSubstr("sft: step 2 is saved; go on from it"));
}

TEST_F(SftRepliesTest, ARunThatFailsRecordsItsFirstCheckpointWhereNothingCondemnsIt) {
  fail(tinker, 3);
  start_new({"--steps", "9", "--save-every", "2"});
  EXPECT_EQ(end(), 1);
  EXPECT_EQ(state().at("step"), 2);
  EXPECT_EQ(state().at("checkpoint"), "tinker://model-1/weights/on-the-way-2");
  EXPECT_THAT(deleted(tinker), IsEmpty());
  EXPECT_THAT(said(), HasSubstr("sft: step 2 is saved; go on from it"));
}

TEST_F(SftRepliesTest, TheFirstCheckpointOfAStepThatFailedItselfGoes) {
  fail(tinker, 2);
  start_new({"--steps", "9", "--save-every", "2"});
  EXPECT_EQ(end(), 1);
  EXPECT_FALSE(fs::exists(folder_ / "state.json"));
  EXPECT_THAT(deleted(tinker), ElementsAre(EndsWith("/on-the-way-2")));
}

TEST_F(SftRepliesTest, AFirstLossThatIsNoNumberIsNotBlamedOnTheLearningRate) {
  spoil(tinker, 1);
  start_new({"--steps", "9"});
  EXPECT_EQ(end(), 2);
  EXPECT_THAT(said(), HasSubstr("the loss of step 1 is nan, and no update came before"));
}

TEST_F(SftRepliesTest, AFirstLossOfAResumedRunThatIsNoNumberIsNotBlamedOnTheLearningRateEither) {
  start_new({"--steps", "9", "--stop-after", "2"});
  EXPECT_EQ(end(), 0);
  spoil(tinker, 3);
  start({"--resume", folder_.string()});
  EXPECT_EQ(end(), 2);
  EXPECT_THAT(said(), HasSubstr("step 3 is nan; the checkpoint that the run goes on from is"));
}

TEST_F(SftRepliesTest, ALogThatCannotBeWrittenCondemnsNoCheckpoint) {
  const auto loss = std::make_shared<Gate>();
  start_held(2, loss);
  eventually([this] { return !read(folder_ / "metrics.jsonl").empty(); });
  constexpr rlim_t kMost = 16'384;
  const rlimit limit{kMost, kMost};
  ASSERT_EQ(::prlimit(pid_, RLIMIT_FSIZE, &limit, nullptr), 0);
  std::ofstream(folder_ / "metrics.jsonl", std::ios::app) << std::string(kMost, ' ');
  loss->open();
  EXPECT_EQ(end(), 1);
  EXPECT_EQ(state().at("step"), 2);
  EXPECT_THAT(deleted(tinker), IsEmpty());
}

TEST_F(SftRepliesTest, AFirstCheckpointThatCannotBeRecordedStaysAndIsNamed) {
  const auto loss = std::make_shared<Gate>();
  fail(tinker, 3);
  start_held(3, loss);
  eventually([this] { return tinker.operations("forward_backward").size() >= 3; });
  fs::create_directories(folder_ / "state.json" / "in the way");
  loss->open();
  EXPECT_EQ(end(), 1);
  EXPECT_THAT(said(),
              HasSubstr("tinker://model-1/weights/on-the-way-2 is saved, but not recorded"));
  EXPECT_THAT(deleted(tinker), IsEmpty());
}

TEST_F(SftRepliesTest, ARunThatFailsDeletesNoCheckpointThatNothingCondemns) {
  fail(tinker, 5);
  start_new({"--steps", "9", "--save-every", "2"});
  EXPECT_EQ(end(), 1);
  EXPECT_EQ(state().at("step"), 2);
  EXPECT_THAT(state().at("superseded"), ElementsAre("tinker://model-1/weights/on-the-way-4"));
  EXPECT_THAT(deleted(tinker), IsEmpty());
}

TEST_F(SftRepliesTest, ACheckpointThatCannotBeRecordedStaysAndIsNamed) {
  const auto last_loss = std::make_shared<Gate>();
  start_held(4, last_loss, {"--steps", "4"});
  eventually([this] { return fs::exists(folder_ / "state.json"); });
  fs::remove(folder_ / "state.json");
  fs::create_directories(folder_ / "state.json" / "in the way");
  last_loss->open();
  EXPECT_EQ(end(), 1);
  EXPECT_THAT(said(), HasSubstr("tinker://model-1/weights/step-4 is saved, but not recorded"));
  EXPECT_THAT(deleted(tinker), IsEmpty());
}

TEST_F(SftRepliesTest, WhatAKilledRunHasSavedAndNotRecordedGoesWhenItGoesOn) {
  const auto never = std::make_shared<Gate>();
  start_held(5, never);
  const Json noted = {"tinker://model-1/weights/on-the-way-4"};
  eventually([&] {
    const Json now = Json::parse(read(folder_ / "state.json"), nullptr, false);
    return now.is_object() && now.at("superseded") == noted;
  });
  ::kill(pid_, SIGKILL);
  EXPECT_EQ(end(), -1);
  EXPECT_EQ(state().at("checkpoint"), "tinker://model-1/weights/on-the-way-2");
  EXPECT_THAT(deleted(tinker), IsEmpty());
  mocks::TinkerScript later;
  start({"--resume", folder_.string(), "--steps", "3", "--base-url", later.base_url()});
  EXPECT_EQ(end(), 0);
  EXPECT_THAT(deleted(later), ElementsAre(EndsWith("/on-the-way-4"), EndsWith("/on-the-way-2")));
}

// Once it is trained, too: what is left to do is not done, and the exit code tells.
TEST_F(SftRepliesTest, AStopWhileItSamplesEndsTheProgramWithAllSaved) {
  const auto never = std::make_shared<Gate>();
  const auto trained = std::make_shared<std::atomic<bool>>(false);
  tinker.plan_each([=](const Operation& operation) -> OperationPlan {
    if (operation.kind == "optim_step") *trained = true;
    return {.result_gate = operation.kind == "asample" && *trained ? never : nullptr};
  });
  start_new({"--steps", "1"});
  eventually([this] { return tinker.operations("asample").size() == 2 * kPrompts; });
  send(SIGTERM);
  EXPECT_EQ(end(), 128 + SIGTERM);
  EXPECT_EQ(state().at("step"), 1);
  EXPECT_THAT(said(), Not(HasSubstr("\nAfter")));
  EXPECT_THAT(said(), HasSubstr("Stopped by SIGTERM after step 1; everything is saved"));
  EXPECT_THAT(said(), ::testing::ContainsRegex("Go on: .*--steps 2\n"));
}

}  // namespace
}  // namespace tinkex
