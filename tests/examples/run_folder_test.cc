#include "examples/support/run_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "examples/support/files.h"
#include "examples/support/metrics_log.h"

namespace sft {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

fs::path fresh(const char* name) {
  const fs::path path = fs::path(::testing::TempDir()) / "run_folder_test" / name;
  fs::remove_all(path);
  return path;
}

std::string error_of(const Options& options) {
  const auto run = RunFolder::open(options);
  return run.ok() ? std::string() : run.error().message();
}

Options out(const fs::path& path) {
  Options options;
  options.out = path.string();
  return options;
}

Options resume(const fs::path& path) {
  Options options;
  options.resume = path.string();
  return options;
}

/// A server that runs may be on.
constexpr char kServer[] = "http://127.0.0.1:9";

void make_run(const fs::path& path, std::int64_t step, const std::string& base_url = "") {
  Options options;
  options.out = path.string();
  options.steps = 10;
  options.batch_size = 64;
  options.rank = 4;
  options.learning_rate = 0.1 + 0.2;
  options.data = "/somewhere/x.txt";
  if (!base_url.empty()) options.base_url = base_url;
  ASSERT_TRUE((*RunFolder::open(options))->save(step, "tinker://run/weights/step").ok());
}

/// A run with a checkpoint that is superseded, on-the-way-2, and one that is recorded.
void make_run_on_its_way(const fs::path& path, const std::string& base_url) {
  make_run(path, 1, base_url);
  const auto run = RunFolder::open(resume(path)).value();
  ASSERT_TRUE(run->save(2, "tinker://run/weights/on-the-way-2").ok());
  ASSERT_TRUE(run->save(4, "tinker://run/weights/on-the-way-4").ok());
}

TEST(RunFolderTest, ResumedRunHasTheWholePlan) {
  const fs::path path = fresh("whole");
  make_run(path, 4);
  const auto run = RunFolder::open(resume(path));
  ASSERT_TRUE(run.ok()) << run.error().what();
  EXPECT_TRUE((*run)->resumed());
  EXPECT_EQ((*run)->step(), 4);
  EXPECT_EQ((*run)->checkpoint(), "tinker://run/weights/step");
  EXPECT_EQ((*run)->plan.steps, 10);
  EXPECT_EQ((*run)->plan.rank, 4);
  EXPECT_EQ((*run)->plan.data, "/somewhere/x.txt");
  EXPECT_EQ((*run)->plan.learning_rate, 0.1 + 0.2);  // To the last digit.
}

TEST(RunFolderTest, WhatWasSavedOnTheWayIsSupersededByTheNextRecord) {
  const fs::path path = fresh("superseded");
  make_run(path, 1);  // Not saved on the way: it stays.
  {
    const auto run = RunFolder::open(resume(path)).value();
    ASSERT_TRUE(run->save(2, "tinker://run/weights/on-the-way-2").ok());
    EXPECT_THAT(run->superseded(), IsEmpty());
    ASSERT_TRUE(run->save(2, "tinker://run/weights/on-the-way-2").ok());
    EXPECT_THAT(run->superseded(), IsEmpty());  // It is the one that is recorded.
    ASSERT_TRUE(run->save(4, "tinker://run/weights/on-the-way-4").ok());
    EXPECT_THAT(run->superseded(), ElementsAre("tinker://run/weights/on-the-way-2"));
  }  // Ended before that was deleted.
  const auto run = RunFolder::open(resume(path)).value();
  EXPECT_THAT(run->superseded(), ElementsAre("tinker://run/weights/on-the-way-2"));
  ASSERT_TRUE(run->save(5, "tinker://run/weights/step-5").ok());
  EXPECT_THAT(run->superseded(), ElementsAre("tinker://run/weights/on-the-way-2",
                                             "tinker://run/weights/on-the-way-4"));
  run->forget_superseded("tinker://run/weights/on-the-way-2");
  ASSERT_TRUE(run->save(6, "tinker://run/weights/step-6").ok());
  EXPECT_THAT(run->superseded(), ElementsAre("tinker://run/weights/on-the-way-4"));
}

/// What `state.json` lists.
std::string recorded(const fs::path& path) { return read_text(path / "state.json").value(); }

TEST(RunFolderTest, WhatIsSavedAndNotYetRecordedIsSupersededUntilItIs) {
  const fs::path path = fresh("expected");
  make_run_on_its_way(path, kServer);
  const auto superseded = [&] { return RunFolder::open(resume(path)).value()->superseded(); };
  {
    const auto run = RunFolder::open(resume(path)).value();
    ASSERT_TRUE(run->expect("tinker://run/weights/on-the-way-6").ok());
    EXPECT_EQ(run->unrecorded(), "tinker://run/weights/on-the-way-6");
  }  // Killed.
  EXPECT_THAT(superseded(), ElementsAre("tinker://run/weights/on-the-way-2",
                                        "tinker://run/weights/on-the-way-6"));
  EXPECT_EQ(RunFolder::open(resume(path)).value()->step(), 4);
  {
    const auto run = RunFolder::open(resume(path)).value();
    ASSERT_TRUE(run->expect("tinker://run/weights/on-the-way-6").ok());
    ASSERT_TRUE(run->save(6, "tinker://run/weights/on-the-way-6").ok());
    EXPECT_EQ(run->unrecorded(), "");
  }
  EXPECT_THAT(superseded(), ElementsAre("tinker://run/weights/on-the-way-2",
                                        "tinker://run/weights/on-the-way-4"));
}

TEST(RunFolderTest, ARecordThatFailsMayBeThereAndSoItsCheckpointIsNotSuperseded) {
  const fs::path path = fresh("undurable");
  make_run_on_its_way(path, kServer);
  const auto run = RunFolder::open(resume(path)).value();
  ASSERT_TRUE(run->expect("tinker://run/weights/on-the-way-6").ok());
  fs::create_directories(path / "state.json.part");  // The record cannot be written.
  ASSERT_FALSE(run->save(6, "tinker://run/weights/on-the-way-6").ok());
  EXPECT_THAT(run->superseded(), ElementsAre("tinker://run/weights/on-the-way-2"));
  EXPECT_EQ(run->unrecorded(), "");
}

TEST(RunFolderTest, ACopyThatHasRecordedNothingStaysACopy) {
  const fs::path path = fresh("lender");
  make_run_on_its_way(path, kServer);
  const fs::path other = fresh("borrower");
  fs::copy(path, other, fs::copy_options::recursive);
  ASSERT_TRUE(RunFolder::open(resume(other)).value()->expect("tinker://copy/weights/x-6").ok());
  EXPECT_THAT(recorded(other), HasSubstr("x-6"));
  const auto copy = RunFolder::open(resume(other)).value();
  ASSERT_TRUE(copy->save(8, "tinker://copy/weights/on-the-way-8").ok());
  EXPECT_THAT(copy->superseded(), IsEmpty());
}

TEST(RunFolderTest, ACopyOfARunSupersedesNothingOfTheRunsOwn) {
  const fs::path path = fresh("original");
  make_run_on_its_way(path, kServer);
  EXPECT_THAT(RunFolder::open(resume(path)).value()->left_behind(), IsEmpty());
  const fs::path other = fresh("copy");
  fs::copy(path, other, fs::copy_options::recursive);
  const auto copy = RunFolder::open(resume(other)).value();
  EXPECT_THAT(copy->left_behind(), ElementsAre("tinker://run/weights/on-the-way-2",
                                               "tinker://run/weights/on-the-way-4"));
  ASSERT_TRUE(copy->save(6, "tinker://copy/weights/on-the-way-6").ok());
  EXPECT_THAT(copy->superseded(), IsEmpty());
  ASSERT_TRUE(copy->save(8, "tinker://copy/weights/on-the-way-8").ok());
  EXPECT_THAT(copy->superseded(), ElementsAre("tinker://copy/weights/on-the-way-6"));
}

TEST(RunFolderTest, AFolderThatTookThePlaceOfARunsIsACopy) {
  const fs::path path = fresh("replaced");
  make_run_on_its_way(path, kServer);
  const fs::path other = fresh("kept");
  fs::rename(path, other);
  fs::copy(other, path, fs::copy_options::recursive);  // As on another machine, of the same path.
  const auto copy = RunFolder::open(resume(path)).value();
  ASSERT_TRUE(copy->save(6, "tinker://copy/weights/on-the-way-6").ok());
  EXPECT_THAT(copy->superseded(), IsEmpty());
  const auto moved = RunFolder::open(resume(other)).value();
  ASSERT_TRUE(moved->save(6, "tinker://run/weights/on-the-way-6").ok());
  EXPECT_THAT(moved->superseded(), ElementsAre("tinker://run/weights/on-the-way-2",
                                               "tinker://run/weights/on-the-way-4"));
}

TEST(RunFolderTest, TheEmbeddedBackendsCheckpointsAreThoseOfTheFolderWhereverItCameFrom) {
  const fs::path path = fresh("embedded");
  make_run_on_its_way(path, "");
  const fs::path other = fresh("elsewhere");
  fs::copy(path, other, fs::copy_options::recursive);
  const auto copy = RunFolder::open(resume(other)).value();
  EXPECT_THAT(copy->superseded(), ElementsAre("tinker://run/weights/on-the-way-2"));
  ASSERT_TRUE(copy->save(6, "tinker://copy/weights/on-the-way-6").ok());
  EXPECT_THAT(copy->superseded(), ElementsAre("tinker://run/weights/on-the-way-2",
                                              "tinker://run/weights/on-the-way-4"));
}

TEST(RunFolderTest, ARecordThatDoesNotTellItsFolderMayBeACopys) {
  const fs::path path = fresh("of_old");
  for (const char* folder : {"\"folder\": \"b1946ac92492d234\"", "\"other\": 0"}) {
    fs::remove_all(path);
    make_run_on_its_way(path, kServer);
    std::string text = read_text(path / "state.json").value();
    const std::size_t at = text.find("\"folder\"");
    ASSERT_NE(at, std::string::npos);
    std::ofstream(path / "state.json")
        << text.replace(at, text.find_first_of(",\n", at) - at, folder);
    const auto run = RunFolder::open(resume(path));
    ASSERT_TRUE(run.ok()) << run.error().what();
    EXPECT_THAT((*run)->superseded(), IsEmpty());
  }
}

TEST(RunFolderTest, TheNewestCheckpointIsNeverSuperseded) {
  const fs::path path = fresh("again");
  make_run_on_its_way(path, kServer);
  const auto run = RunFolder::open(resume(path)).value();
  ASSERT_TRUE(run->save(2, "tinker://run/weights/on-the-way-2").ok());
  EXPECT_THAT(run->superseded(), ElementsAre("tinker://run/weights/on-the-way-4"));
}

TEST(RunFolderTest, OptionsOfTheResumeWin) {
  const fs::path path = fresh("win");
  make_run(path, 4);
  Options options = resume(path);
  options.steps = 30;
  const auto run = RunFolder::open(options);
  ASSERT_TRUE(run.ok());
  EXPECT_EQ((*run)->plan.steps, 30);
}

TEST(RunFolderTest, WhatCannotBeResumedIsRefusedWithTheRemedy) {
  EXPECT_THAT(error_of(resume(fresh("none"))), HasSubstr("no saved run"));
  const fs::path done = fresh("done");
  make_run(done, 10);
  EXPECT_THAT(error_of(resume(done)), HasSubstr("give --steps above 10"));
  Options elsewhere = resume(done);
  elsewhere.base_url = "http://localhost:1";
  EXPECT_THAT(error_of(elsewhere), HasSubstr("leave out --base-url"));
}

TEST(RunFolderTest, ARunThatIsDoneIsOpenedToBeMergedOnly) {
  const fs::path done = fresh("merge");
  make_run(done, 10);
  Options merge = resume(done);
  merge.merge = true;
  {
    const auto run = RunFolder::open(merge);
    ASSERT_TRUE(run.ok()) << run.error().what();
    EXPECT_TRUE((*run)->done());
  }
  merge.steps = 9;
  EXPECT_THAT(error_of(merge), HasSubstr("give --steps above 10"));
  merge.steps = 11;
  const auto run = RunFolder::open(merge);
  ASSERT_TRUE(run.ok()) << run.error().what();
  EXPECT_FALSE((*run)->done());
}

TEST(RunFolderTest, DamagedStateIsNamed) {
  const fs::path path = fresh("damaged");
  fs::create_directories(path);
  for (const char* text :
       {"", "{", "[]", "{\"format\": 1}", "{\"format\": 9}", "{\"format\": 1, \"step\": \"x\"}"}) {
    std::ofstream(path / "state.json") << text;
    EXPECT_THAT(error_of(resume(path)), HasSubstr("state.json")) << text;
  }
  std::ofstream(path / "state.json") << "{\"format\": 1, \"st";
  EXPECT_THAT(error_of(resume(path)),
              EndsWith("state.json is damaged; restore it, or start anew with --out"));
}

TEST(RunFolderTest, NumbersThatNoRunHasAreDamage) {
  const fs::path path = fresh("numbers");
  make_run(path, 4);
  const std::string good = read_text(path / "state.json").value();
  const std::vector<std::pair<std::string, std::vector<const char*>>> cases = {
      {"\"step\": 4", {"-5", "1.5", "1e300", "3000000000", "18446744073709551615", "true", "[]"}},
      {"\"steps\": 10", {"0", "-1", "1e300", "9223372036854775807"}},
      {"\"batch_size\": 64", {"0", "-64", "3000000000", "null"}},
      {"\"dtype\": \"float32\"", {"\"float16\"", "\"\"", "16", "null"}},
      {"\"data_digest\": \"\"", {"16", "null"}},
      {"\"rank\": 4", {"0", "-4"}},
      {"\"seed\": 1", {"-1"}},
      {"\"learning_rate\": 0.30000000000000004", {"0", "-0.1", "null", "\"x\"", "[]", "1e999"}}};
  for (const auto& [field, values] : cases) {
    const std::string key = field.substr(0, field.find(' ') + 1);
    for (const char* value : values) {
      std::string text = good;
      ASSERT_NE(text.find(field), std::string::npos) << field;
      std::ofstream(path / "state.json")
          << text.replace(text.find(field), field.size(), key + value);
      EXPECT_THAT(error_of(resume(path)),
                  EndsWith("state.json is damaged; restore it, or start anew with --out"))
          << key << value;
    }
  }
}

TEST(RunFolderTest, ABatchThatIsTooLargeByNowIsNoDamage) {
  const fs::path path = fresh("large");
  make_run(path, 4);
  std::string text = read_text(path / "state.json").value();
  const std::string field = "\"batch_size\": 64";
  ASSERT_NE(text.find(field), std::string::npos);
  std::ofstream(path / "state.json")
      << text.replace(text.find(field), field.size(), "\"batch_size\": 65537");
  EXPECT_THAT(error_of(resume(path)),
              EndsWith("state.json has batch_size 65537, at most 65536 is held in memory; start "
                       "anew with --out"));
}

TEST(RunFolderTest, ARunIsNeverOverwritten) {
  const fs::path path = fresh("taken");
  make_run(path, 4);
  EXPECT_THAT(error_of(out(path)), HasSubstr("holds a run already"));
}

TEST(RunFolderTest, TwoRunsNeverShareAFolder) {
  const fs::path path = fresh("shared");
  {
    const auto first = RunFolder::open(out(path)).value();
    first->plan.steps = 10;
    first->plan.batch_size = 8;
    first->plan.learning_rate = 0.1;
    EXPECT_THAT(error_of(out(path)), EndsWith("is in use by another run; choose another --out"));
    EXPECT_THAT(error_of(resume(path)), HasSubstr("is in use by another run"));
    ASSERT_TRUE(first->save(1, "tinker://run/weights/step").ok());
  }
  const auto next = RunFolder::open(resume(path));
  ASSERT_TRUE(next.ok()) << next.error().what();
  EXPECT_THAT(error_of(resume(path)), HasSubstr("is in use by another run"));
}

TEST(RunFolderTest, NothingRemainsOfTheLock) {
  const fs::path path = fresh("lock");
  make_run(path, 4);
  EXPECT_THAT(error_of(out(path)), HasSubstr("holds a run already"));
  EXPECT_FALSE(fs::exists(path / ".lock"));
}

TEST(RunFolderTest, ARunThatEndedUnsavedIsCalledThat) {
  const fs::path path = fresh("unsaved");
  fs::create_directories(path);
  std::ofstream(path / "metrics.jsonl") << "{\"step\": 1}\n";
  EXPECT_THAT(error_of(out(path)), HasSubstr("a run that ended unsaved; remove the folder"));
  EXPECT_THAT(error_of(resume(path)), HasSubstr("a run that ended unsaved; remove the folder"));
  EXPECT_TRUE(fs::exists(path / "metrics.jsonl"));
}

TEST(RunFolderTest, NamesThatCannotBeUsedAreRefusedInWords) {
  const std::string name(300, 'x');
  EXPECT_THAT(error_of(out(fresh("long") / name)), EndsWith("choose a shorter name"));
  EXPECT_THAT(error_of(resume(fresh("long") / name)), HasSubstr("holds no saved run"));
  Options options = out(fresh("bytes"));
  options.data = "\xff.txt";
  EXPECT_THAT(error_of(options), HasSubstr("the name is not UTF-8"));
}

TEST(RunFolderTest, NamesAreNotTakenForFilesOfThatName) {
  const fs::path place = fresh("names");
  fs::create_directories(place / "owner/model");
  std::ofstream(place / "bytes") << "x";
  const fs::path before = fs::current_path();
  fs::current_path(place);
  Options options = out(fresh("named"));
  options.base_model = "owner/model";
  options.tokenizer = "bytes";
  const auto run = RunFolder::open(options);
  fs::current_path(before);
  ASSERT_TRUE(run.ok()) << run.error().what();
  EXPECT_EQ((*run)->plan.base_model, "owner/model");
  EXPECT_EQ((*run)->plan.tokenizer, "bytes");
}

TEST(RunFolderTest, AFolderInWhichNothingWasSavedGoesAgain) {
  const fs::path path = fresh("unused");
  const Options options = out(path);
  {
    const auto run = RunFolder::open(options).value();
    EXPECT_TRUE(fs::exists(path));
  }
  EXPECT_FALSE(fs::exists(path));
  fs::create_directories(path);
  { const auto run = RunFolder::open(options).value(); }
  EXPECT_TRUE(fs::exists(path));  // It was the caller's.
}

TEST(RunFolderTest, WhatAnInterruptedStartHasLeftIsUsedAgain) {
  const fs::path place = fresh("interrupted");
  fs::create_directories(place / "sft-out/backend");
  for (const char* lock : {"sft-out/.lock", "sft-out/backend/.lock"}) std::ofstream(place / lock);
  fs::create_directories(place / "sft-out-2/backend/a-checkpoint");
  fs::create_directories(place / "sft-out-3");  // of the user's own, perhaps another disk's
  const fs::path before = fs::current_path();
  fs::current_path(place);
  const auto run = RunFolder::open({});
  const auto other = RunFolder::open({});  // The first is in use by now.
  fs::current_path(before);
  ASSERT_TRUE(run.ok()) << run.error().what();
  EXPECT_EQ((*run)->path(), place / "sft-out");
  ASSERT_TRUE(other.ok()) << other.error().what();
  EXPECT_EQ((*other)->path(), place / "sft-out-4");
}

TEST(RunFolderTest, DataOfTheResumeAreNotComparedWithThoseBefore) {
  const fs::path path = fresh("data");
  {
    Options options = out(path);
    options.data = "/somewhere/x.txt";
    const auto run = RunFolder::open(options).value();
    run->plan.steps = 10;
    run->plan.batch_size = 8;
    run->plan.learning_rate = 0.1;
    run->plan.data_digest = "0123";
    ASSERT_TRUE(run->save(1, "tinker://run/weights/step").ok());
  }
  Options options = resume(path);
  EXPECT_EQ(RunFolder::open(options).value()->plan.data_digest, "0123");
  options.data = "/somewhere/x.txt";
  EXPECT_EQ(RunFolder::open(options).value()->plan.data_digest, "0123");
  options.data = "/somewhere/y.txt";
  EXPECT_EQ(RunFolder::open(options).value()->plan.data_digest, "");
}

TEST(FilesTest, AFailedWriteLeavesTheOldFile) {
  const fs::path path = fresh("files");
  fs::create_directories(path);
  ASSERT_TRUE(write_file(path / "a", "old").ok());
  fs::create_directories(path / "a.part");  // The draft cannot be opened.
  const auto failed = write_file(path / "a", "new");
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code(), tinkex::ErrorCode::kIo);
  EXPECT_THAT(failed.error().message(), HasSubstr("cannot write"));
  EXPECT_EQ(read_text(path / "a").value(), "old");
}

TEST(FilesTest, WhatCannotBeReadIsNamed) {
  const fs::path path = fresh("unreadable");
  fs::create_directories(path / "state.json");
  EXPECT_EQ(read_text(path / "state.json").error().message(),
            "cannot read " + (path / "state.json").string() + ": Is a directory");
  EXPECT_THAT(error_of(resume(path)), HasSubstr("state.json: Is a directory"));
}

TEST(MetricsLogTest, ResumingDropsTheStepsAfterTheCheckpoint) {
  const fs::path path = fresh("log");
  fs::create_directories(path);
  {
    const auto log = MetricsLog::open(path / "m", 0).value();
    for (std::int64_t step = 1; step <= 4; ++step) {
      ASSERT_TRUE(log->append({step, 0.1 * double(step), 1e-3, 8, 0.5}).ok());
    }
  }
  std::ofstream(path / "m", std::ios::app) << "{\"step\": 5, \"lo";  // As after a crash.
  const auto log = MetricsLog::open(path / "m", 3).value();
  ASSERT_EQ(log->losses().size(), 3u);
  ASSERT_TRUE(log->append({4, 0.5, 1e-3, 8, 0.5}).ok());
  const std::string text = read_text(path / "m").value();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4);
  EXPECT_THAT(text, HasSubstr("\"loss\":0.5,"));
  EXPECT_EQ(text.find("\"lo\""), std::string::npos);
}

TEST(MetricsLogTest, SecondsGoOnWhereTheLogEnds) {
  const fs::path path = fresh("seconds");
  fs::create_directories(path);
  ASSERT_TRUE(MetricsLog::open(path / "m", 0).value()->append({1, 1, 0, 0, 2.5}).ok());
  ASSERT_TRUE(MetricsLog::open(path / "m", 1).value()->append({2, 1, 0, 0, 0.25}).ok());
  EXPECT_THAT(read_text(path / "m").value(), HasSubstr("\"seconds\":2.75,\"step\":2"));
  std::ofstream(path / "old") << "{\"step\": 1, \"loss\": 1}\n";  // Of a stranger's hand.
  ASSERT_TRUE(MetricsLog::open(path / "old", 1).value()->append({2, 1, 0, 0, 0.25}).ok());
  EXPECT_THAT(read_text(path / "old").value(), HasSubstr("\"seconds\":0.25"));
}

TEST(MetricsLogTest, LossesKeepEveryDigit) {
  const fs::path path = fresh("digits");
  fs::create_directories(path);
  const double loss = 1.0 / 3.0;
  ASSERT_TRUE(MetricsLog::open(path / "m", 0).value()->append({1, loss, 0, 0, 0}).ok());
  EXPECT_EQ(MetricsLog::open(path / "m", 1).value()->losses().front().loss, loss);
}

}  // namespace
}  // namespace sft
