#include "examples/support/setup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "examples/support/announce.h"
#include "examples/support/batch.h"
#include "examples/support/checkup.h"
#include "examples/support/merge.h"
#include "examples/support/pig_latin.h"
#include "examples/support/superseded.h"
#include "tinkex/mocks/tinker_script.h"
#include "torch_ext/backend_errors.h"

namespace sft {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const fs::path kModels = "tests/torch_ext/local/testdata/models";

/// Bytes, with nothing before a text.
class BareTokenizer final : public tinkex::Tokenizer {
 public:
  std::vector<std::int64_t> encode(std::string_view text) const override {
    return {text.begin(), text.end()};
  }
  std::string decode(std::span<const std::int64_t> tokens) const override {
    return {tokens.begin(), tokens.end()};
  }
  std::vector<std::int64_t> begin_of_text() const override { return {}; }
  std::int64_t eos_token() const override { return 0; }
  std::int64_t vocab_size() const override { return 256; }
};

double sum_of_weights(const Batch& batch) {
  double sum = 0;
  for (const at::Tensor& weights : batch.weights) sum += weights.sum().item<double>();
  return sum;
}

TEST(BatchTest, WeightsSumToOneWhateverComesBeforeAText) {
  const std::vector<Example> examples = {
      {.parts = {{"plain text", true}}, .ended = false},
      {.parts = {{"prompt", false}, {"answer", true}}},
  };
  EXPECT_NEAR(sum_of_weights(make_batch(examples, BareTokenizer())), 1, 1e-6);
  EXPECT_NEAR(sum_of_weights(make_batch(examples, tinkex::ByteTokenizer())), 1, 1e-6);
}

TEST(BatchTest, ATextOfOneTokenFollowsAnEnd) {
  const Batch batch = make_batch({{.parts = {{"x", true}}, .ended = false}}, BareTokenizer());
  ASSERT_EQ(batch.tokens.size(), 1u);
  ASSERT_EQ(batch.tokens[0].numel(), 1);
  EXPECT_EQ(batch.tokens[0].item<std::int64_t>(), 0);
  EXPECT_EQ(batch.targets[0].item<std::int64_t>(), 'x');
  EXPECT_EQ(batch.token_count(), 1);
  EXPECT_NEAR(sum_of_weights(batch), 1, 1e-6);
}

TEST(BatchTest, ATextOfNoTokenIsLeftOut) {
  const std::vector<Example> examples = {{.parts = {{"", true}}, .ended = false},
                                         {.parts = {{"xy", true}}, .ended = false}};
  EXPECT_EQ(make_batch(examples, BareTokenizer()).tokens.size(), 1u);
}

class SetupTest : public ::testing::Test {
 protected:
  SetupTest() { options_.out = (root_ / "run").string(); }

  /// A folder with a tokenizer and nothing else.
  fs::path bare_tokenizer() const {
    fs::remove_all(root_ / "bare");
    fs::create_directories(root_ / "bare");
    fs::copy_file(kModels / "qwen3/tokenizer.json", root_ / "bare/tokenizer.json");
    return root_ / "bare";
  }

  const fs::path root_ = fs::path(::testing::TempDir()) /
                         ::testing::UnitTest::GetInstance()->current_test_info()->name();
  Options options_;
};

TEST_F(SetupTest, ATokenizerWithoutAnEndOfTextIsRefusedWhereverItComesFrom) {
  tinkex::ModelInfo info;
  Plan plan;
  plan.tokenizer = (bare_tokenizer() / "tokenizer.json").string();
  const auto named = open_tokenizer(info, plan);
  ASSERT_FALSE(named);
  EXPECT_THAT(named.error().message(), HasSubstr("does not tell which token ends a text"));
  info.tokenizer_id = bare_tokenizer().string();
  const auto own = open_tokenizer(info, Plan());
  ASSERT_FALSE(own);
  EXPECT_THAT(own.error().message(), HasSubstr("does not tell which token ends a text"));
}

TEST_F(SetupTest, OnlyTheEmbeddedBackendTakesABaseModelForAPath) {
  options_.base_model = (kModels / "qwen3").string();
  const auto run = RunFolder::open(options_).value();
  run->plan.base_url = "http://127.0.0.1:9";
  EXPECT_TRUE(connect_options(*run, options_)->embedded.base_models.empty());
  EXPECT_EQ(run->plan.base_model, *options_.base_model);
  run->plan.base_url.clear();
  ASSERT_EQ(connect_options(*run, options_)->embedded.base_models.size(), 1u);
  EXPECT_EQ(run->plan.base_model, fs::absolute(kModels / "qwen3").string());
}

TEST_F(SetupTest, WhoHasAKeyIsToldToUnsetItToTrainHere) {
  options_.base_model = (kModels / "qwen3").string();
  const auto run = RunFolder::open(options_).value();
  run->plan.base_model = *options_.base_model;
  tinkex::torch_ext::ConnectOptions where;
  where.where = tinkex::torch_ext::Backend::kEmbedded;  // In the server's place.
  auto connection = tinkex::torch_ext::connect(where).value();
  run->plan.base_url = "http://127.0.0.1:9";
  ::setenv("TINKER_API_KEY", "tml-key", 1);
  EXPECT_EQ(tinkex::torch_ext::choose_backend({}), tinkex::torch_ext::Backend::kServer);
  const auto found = find_model(connection.service, *run);
  ::unsetenv("TINKER_API_KEY");
  ASSERT_FALSE(found.ok());
  EXPECT_THAT(found.error().message(),
              HasSubstr("unset TINKER_BASE_URL and TINKER_API_KEY, and leave --base-url out"));
}

TEST_F(SetupTest, AModelThatIsNotThereIsNotCalledBuiltIn) {
  const auto run = RunFolder::open(options_).value();
  options_.dtype = kBfloat16;
  for (const char* model : {"/no/such.gguf", "tinkex/none"}) {
    run->plan.base_model = model;
    const auto refused = connect_options(*run, options_);
    ASSERT_FALSE(refused.ok());
    EXPECT_THAT(refused.error().message(),
                HasSubstr(std::string(model) + " is no file or folder; give the path of one"));
    tinkex::torch_ext::ConnectOptions where;
    where.where = tinkex::torch_ext::Backend::kEmbedded;
    EXPECT_THAT(check_merge(*run, where).error().message(),
                HasSubstr("--base-model " + std::string(model) + " is no file or folder; give"));
  }
}

TEST_F(SetupTest, WhereACheckpointGoesThatIsSaid) {
  const auto run = RunFolder::open(options_).value();
  run->plan.steps = 9;
  const auto said = [&](const std::string& name, const std::string& base_url) {
    run->plan.base_url = base_url;
    EXPECT_TRUE(run->save(4, "tinker://run/weights/" + name).ok());
    ::testing::internal::CaptureStdout();
    say_how_to_go_on(*run, {});
    return ::testing::internal::GetCapturedStdout();
  };
  const std::string goes = "            which goes when this run goes on\nGo on: ";
  EXPECT_THAT(said("on-the-way-4", "http://h"), HasSubstr("on-the-way-4\n" + goes));
  EXPECT_THAT(said("on-the-way-4", ""), HasSubstr("/backend\n" + goes));
  EXPECT_THAT(said("step-4", "http://h"), ::testing::Not(HasSubstr("goes when")));
}

TEST_F(SetupTest, WhatARunLeavesBehindIsSaidWhereItTellsWhatItGoesOnFrom) {
  tinkex::mocks::TinkerScript tinker;
  tinkex::torch_ext::ConnectOptions where;
  where.client = tinker.options();
  auto connection = tinkex::torch_ext::connect(where).value();
  const auto trainer = connection.service.create_lora_training_client("scripted").get().value();
  fs::remove_all(root_);
  {
    const auto run = RunFolder::open(options_).value();
    run->plan.steps = 9;
    run->plan.batch_size = 1;
    run->plan.learning_rate = 0.1;
    run->plan.base_url = tinker.base_url();
    ASSERT_TRUE(run->save(4, "tinker://run/weights/on-the-way-4").ok());
  }
  const auto said = [&](const fs::path& folder) {
    Options options;
    options.resume = folder.string();
    const auto run = RunFolder::open(options).value();
    ::testing::internal::CaptureStdout();
    greet(connection, trainer, *pig_latin_task(1), *run, {});
    return ::testing::internal::GetCapturedStdout();
  };
  fs::copy(root_ / "run", root_ / "copy", fs::copy_options::recursive);
  const std::string stays = "tinker://run/weights/on-the-way-4 is not deleted: ";
  EXPECT_THAT(said(root_ / "copy"), HasSubstr(stays));
  EXPECT_THAT(said(root_ / "run"), ::testing::Not(HasSubstr(stays)));
}

TEST(CheckupTest, ALossOfZeroAloneTellsNothing) {
  tinkex::ForwardBackwardOutput output;
  output.loss_fn_outputs.emplace_back();
  const std::vector<tinkex::Datum> data(1);
  const auto health = [&](double loss) {
    output.metrics = {{"loss:sum", loss}};
    return examine(output, data, false).health;
  };
  EXPECT_EQ(health(0), Health::kUnknown);
  EXPECT_EQ(health(0.5), Health::kSound);
}

TEST_F(SetupTest, AModelThatCannotBeMadeAsAskedNamesTheOptions) {
  Plan plan;
  plan.base_model = "small";
  const tinkex::Error wrong = tinkex::invalid_argument("LoRA rank is 32, expected 1 to 16");
  EXPECT_EQ(about_new_model(wrong, plan, true).message(),
            "--rank 32 for --base-model small: LoRA rank is 32, expected 1 to 16");
  const tinkex::Error gone(tinkex::ErrorCode::kConnection, "gone");
  for (const bool given : {true, false}) {
    EXPECT_EQ(about_new_model(gone, plan, given).message(), "gone");
  }
}

TEST_F(SetupTest, ADefaultRankIsNotBlamedOnTheCaller) {
  Plan plan;
  plan.base_model = "small";
  const tinkex::Error large =
      about_new_model(tinkex::invalid_argument("LoRA rank is 32, expected 1 to 16"), plan, false);
  EXPECT_EQ(large.message(),
            "--base-model small with the default --rank of 32: LoRA rank is 32, expected 1 to 16; "
            "if the rank is the reason, pass a smaller one");
  EXPECT_EQ(exit_code_of(large), kUsageError);
}

TEST_F(SetupTest, SupersededCheckpointsGoAndTheRecordedOneStays) {
  options_.steps = 9;
  options_.batch_size = 1;
  const auto run = RunFolder::open(options_).value();
  run->plan.base_model = "tinkex/nano";
  auto connection = tinkex::torch_ext::connect(connect_options(*run, options_).value()).value();
  auto& service = connection.service;
  auto model = service.create_lora_training_client("tinkex/nano", {.rank = 2}).get().value();
  for (const int step : {2, 4}) {
    const std::string name = kOnTheWay + std::to_string(step);
    ASSERT_TRUE(run->save(step, model.save_state(name).get().value().path).ok());
  }
  const fs::path weights = run->file("backend") / model.model_id() / "weights";
  ::testing::internal::CaptureStderr();
  SupersededCheckpoints superseded(service, *run);
  superseded.remove();
  EXPECT_FALSE(fs::exists(weights / "on-the-way-2"));
  EXPECT_TRUE(fs::exists(weights / "on-the-way-4"));
  EXPECT_TRUE(run->superseded().empty());
  fs::remove_all(weights / "on-the-way-4");  // As if the server did not know it, or the call.
  ASSERT_TRUE(run->save(5, model.save_state("step-5").get().value().path).ok());
  superseded.remove();
  EXPECT_TRUE(run->superseded().empty());
  EXPECT_TRUE(fs::exists(weights / "step-5"));
  for (const char* name : {"on-the-way-6", "on-the-way-7", "step-7"}) {
    ASSERT_TRUE(run->save(7, std::string("tinker://gone/weights/") + name).ok());
  }
  service.close();
  superseded.remove();
  EXPECT_EQ(run->superseded().size(), 2u);  // Nobody has answered: a later process asks.
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

TEST_F(SetupTest, AModelThatHasChangedIsNotCalledADamagedCheckpoint) {
  const auto run = RunFolder::open(options_).value();
  run->plan.base_model = "/models/big.gguf";
  const auto about = [&](const std::string& what) {
    return about_checkpoint(tinkex::invalid_argument(what), *run).message();
  };
  const std::string other = tinkex::torch_ext::kOtherBaseModel + std::string(" 'big'");
  EXPECT_EQ(about(other),
            "cannot go on with /models/big.gguf (restore that model as it was when the run began, "
            "or start anew with --out): " +
                other);
  EXPECT_THAT(about("damaged"), HasSubstr("backend (restore that folder, or start anew"));
}

TEST_F(SetupTest, ACheckpointThatTheServerKeepsStandsInTheWayOfNoOther) {
  tinkex::mocks::TinkerScript tinker;
  auto service = tinkex::ServiceClient::connect(tinker.options()).value();
  const auto run = RunFolder::open(options_).value();
  for (const char* path : {"no path/on-the-way-1", "tinker://run/weights/on-the-way-2",
                           "tinker://run/weights/on-the-way-3", "tinker://run/weights/step-4"}) {
    ASSERT_TRUE(run->save(4, path).ok());
  }
  const auto answer = [&](int status) {
    tinker.server().handle("DELETE", "/", [status](const tinkex::mocks::LoggedRequest& request) {
      const bool kept = request.target.ends_with("-2");
      return tinkex::mocks::Reply::json("{}", kept ? status : 200);
    });
  };
  answer(503);
  SupersededCheckpoints(service, *run).remove();
  EXPECT_EQ(run->superseded().size(), 3u);  // Nobody has answered.
  answer(403);
  SupersededCheckpoints(service, *run).remove();
  EXPECT_THAT(run->superseded(),
              ::testing::ElementsAre("no path/on-the-way-1", "tinker://run/weights/on-the-way-2"));
}

TEST_F(SetupTest, DataThatHaveChangedAreSpokenOfOnce) {
  const auto resumed = [&](const std::string& data) {
    std::ofstream(root_ / "data.txt") << data;
    const auto run = RunFolder::open(options_).value();
    run->plan.steps = 9;
    run->plan.batch_size = 1;
    run->plan.learning_rate = 0.1;
    run->plan.data = (root_ / "data.txt").string();
    std::string said = about_data(*run, *open_task(run->plan).value());
    EXPECT_TRUE(run->save(1, "tinker://run/weights/step").ok());
    options_.resume = std::exchange(options_.out, std::nullopt).value_or(*options_.resume);
    return said;
  };
  fs::create_directories(root_);
  fs::remove_all(root_ / "run");
  EXPECT_EQ(resumed("some text"), "");
  EXPECT_EQ(resumed("some text"), "");
  EXPECT_EQ(resumed("another text"),
            "its examples are not those of the run until now: the file was changed since");
  EXPECT_EQ(resumed("another text"), "");
}

TEST_F(SetupTest, ARunThatFailsSaysWhatCanBeDoneWithWhatIsSaved) {
  const auto run = RunFolder::open(options_).value();
  const auto said = [&](bool merge) {
    ::testing::internal::CaptureStderr();
    say_what_is_saved(*run, merge);
    return ::testing::internal::GetCapturedStderr();
  };
  const std::string command = "sft --resume " + run->path().string();
  EXPECT_EQ(said(true), "");
  run->plan.steps = 2;
  ASSERT_TRUE(run->save(1, "tinker://run/weights/step").ok());
  EXPECT_EQ(said(false), "sft: step 1 is saved; go on from it: " + command + "\n");
  EXPECT_EQ(said(true), "sft: step 1 is saved; go on from it: " + command + " --merge\n");
  ASSERT_TRUE(run->save(2, "tinker://run/weights/step").ok());
  EXPECT_EQ(said(false), "sft: step 2, the last, is saved in " + run->path().string() + "\n");
  EXPECT_EQ(said(true), "sft: step 2, the last, is saved; merge it: " + command + " --merge\n");
}

TEST(BatchTest, AServerThatGivesNoAnswerIsToldSo) {
  const auto answer = answer_of({}, BareTokenizer());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code(), tinkex::ErrorCode::kDecode);
  EXPECT_THAT(answer.error().message(), HasSubstr("has 0 sequences, expected 1"));
  tinkex::SampleResponse response;
  response.sequences.emplace_back().tokens = {'o', 'k'};
  EXPECT_EQ(answer_of(response, BareTokenizer()).value(), "ok");
}

TEST_F(SetupTest, WhatFailsInThisProcessIsNotBlamedOnAServer) {
  const tinkex::Error scarce(tinkex::ErrorCode::kInternal, "big.gguf: not enough memory");
  tinkex::torch_ext::ConnectOptions where;
  where.where = tinkex::torch_ext::Backend::kEmbedded;
  EXPECT_EQ(about_server(scarce, where).message(), scarce.message());
  where.where = tinkex::torch_ext::Backend::kServer;
  EXPECT_THAT(about_server(scarce, where).message(),
              HasSubstr("cannot train on the hosted service (see --base-url"));
}

TEST_F(SetupTest, ALinkedFolderIsFoundByTheNameOfTheLink) {
  fs::create_directories(root_);
  const fs::path link = root_ / "linked";
  fs::remove(link);
  fs::create_directory_symlink(fs::absolute(kModels / "qwen3"), link);
  options_.base_model = link.string() + "/";
  const auto run = RunFolder::open(options_).value();
  auto connection = tinkex::torch_ext::connect(connect_options(*run, options_).value()).value();
  const KnownModel model = find_model(connection.service, *run).value();
  EXPECT_EQ(model.name, "linked");
  EXPECT_GT(model.context_length, 0);
}

}  // namespace
}  // namespace sft
