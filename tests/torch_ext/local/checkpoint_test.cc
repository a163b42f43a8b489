#include "torch_ext/local/checkpoint.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdio.h>  // NOLINT(modernize-deprecated-headers): RENAME_EXCHANGE is of POSIX
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/torch_ext/local/engine_testing.h"
#include "torch_ext/local/file_io.h"
#include "torch_ext/local/safetensors.h"

namespace {

/// Called once, before the next exchange of two folders.
std::function<void()> before_exchange;

}  // namespace

/// In place of libc's, to let something happen between two renames of one commit.
extern "C" int renameat2(int from_dir, const char* from, int to_dir, const char* to,
                         unsigned flags) noexcept {
  if (flags == RENAME_EXCHANGE && before_exchange) std::exchange(before_exchange, nullptr)();
  return static_cast<int>(::syscall(SYS_renameat2, from_dir, from, to_dir, to, flags));
}

namespace tinkex::torch_ext::local::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class TemporaryDirectory : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "tinkex-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
  }
  void TearDown() override { fs::remove_all(root_); }

  std::vector<std::string> entries() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(root_)) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }
  void write_bytes(const std::string& name, const std::string& bytes) const {
    std::ofstream(root_ / name, std::ios::binary) << bytes;
  }

  fs::path root_;
};

std::string file_of(const std::string& header, const std::string& data,
                    std::uint64_t announced = UINT64_MAX) {
  const std::uint64_t length = announced == UINT64_MAX ? header.size() : announced;
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + data;
}

using SafetensorsTest = TemporaryDirectory;

TEST_F(SafetensorsTest, EveryTypeComesBackBitwise) {
  const std::vector<std::pair<std::string, at::Tensor>> tensors{
      {"f32", at::arange(6, at::ScalarType::Float).view({2, 3})},
      {"f64", at::arange(3, at::ScalarType::Double) / 7},
      {"bf16", at::arange(5, at::ScalarType::Float).to(at::ScalarType::BFloat16)},
      {"f16", at::arange(5, at::ScalarType::Float).to(at::ScalarType::Half)},
      {"i64", at::arange(4, at::ScalarType::Long)},
      {"scalar", at::ones({}, at::ScalarType::Float)},
      {"empty", at::empty({0, 3}, at::ScalarType::Float)},
      {"transposed", at::arange(6, at::ScalarType::Float).view({2, 3}).t()},
  };
  ASSERT_TRUE(write_safetensors(root_ / "t.safetensors", tensors, {{"step", "7"}}));
  const SafetensorsFile file = SafetensorsFile::open(root_ / "t.safetensors").value();
  EXPECT_EQ(file.metadata().at("step"), "7");
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.names().size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor read = file.read(name).value();
    EXPECT_EQ(read.scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(bit_equal(read, tensor)) << name;
  }
  const auto missing = file.read("other");
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().message(), HasSubstr("'other' is missing"));
}

TEST_F(SafetensorsTest, DataBeginsAtAMultipleOfEight) {
  ASSERT_TRUE(write_safetensors(root_ / "t", {{"x", at::ones({1}, at::ScalarType::Float)}}, {}));
  std::ifstream in(root_ / "t", std::ios::binary);
  std::uint64_t length = 1;
  in.read(reinterpret_cast<char*>(&length), 8);
  EXPECT_EQ(length % 8, 0U);
}

TEST_F(SafetensorsTest, MalformedFilesAreRefused) {
  const std::string good = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  const auto entry = [](const std::string& dtype, const std::string& shape, const std::string& at) {
    return R"({"a":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + at + "}}";
  };
  const std::vector<std::pair<const char*, std::string>> bad{
      {"empty file", ""},
      {"short length", "\x01\x02"},
      {"header beyond the end", file_of(good, "1234", 1000)},
      {"huge header", file_of(good, "1234", UINT64_MAX - 1)},
      {"no brace", file_of(" " + good, "1234")},
      {"not JSON", file_of("{\"a\":", "1234")},
      {"list", file_of("[1]", "")},
      {"name twice",
       file_of(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)" +
                   std::string(R"("a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})"),
               "")},
      {"unknown type", file_of(entry("\"F9\"", "[1]", "[0,4]"), "1234")},
      {"type is a number", file_of(entry("4", "[1]", "[0,4]"), "1234")},
      {"negative extent", file_of(entry("\"F32\"", "[-1]", "[0,4]"), "1234")},
      {"fractional extent", file_of(entry("\"F32\"", "[1.5]", "[0,4]"), "1234")},
      {"overflowing product",
       file_of(entry("\"F32\"", "[4611686018427387904,4611686018427387904]", "[0,4]"), "1234")},
      {"product wraps to the size",
       file_of(entry("\"F32\"", "[4611686018427387905,4]", "[0,16]"), std::string(16, 'x'))},
      {"shape is no list", file_of(entry("\"F32\"", "1", "[0,4]"), "1234")},
      {"one offset", file_of(entry("\"F32\"", "[1]", "[0]"), "1234")},
      {"offsets reversed", file_of(entry("\"F32\"", "[1]", "[4,0]"), "1234")},
      {"offset beyond the end", file_of(entry("\"F32\"", "[2]", "[0,8]"), "1234")},
      {"wrong size", file_of(entry("\"F32\"", "[2]", "[0,4]"), "1234")},
      {"hole at the start", file_of(entry("\"F32\"", "[1]", "[4,8]"), "12345678")},
      {"bytes left over", file_of(good, "12345678")},
      {"overlap", file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                          R"("b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
                          "1234")},
      {"missing field", file_of(R"({"a":{"dtype":"F32","shape":[1]}})", "1234")},
      {"metadata of a number", file_of(R"({"__metadata__":{"a":1}})", "")},
      {"deep nesting", file_of("{\"a\":" + std::string(100000, '['), "")},
  };
  for (const auto& [what, bytes] : bad) {
    write_bytes("bad", bytes);
    const auto file = SafetensorsFile::open(root_ / "bad");
    ASSERT_FALSE(file) << what;
    EXPECT_EQ(file.error().code(), ErrorCode::kIo) << what;
    EXPECT_THAT(file.error().message(), HasSubstr((root_ / "bad").string())) << what;
  }
  write_bytes("good", file_of(good, "1234"));
  EXPECT_TRUE(SafetensorsFile::open(root_ / "good"));
}

TEST_F(SafetensorsTest, FullDiskIsReportedWithItsCause) {
  const Status status =
      write_safetensors("/dev/full", {{"x", at::ones({1000}, at::ScalarType::Float)}}, {});
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), ErrorCode::kIo);
  EXPECT_THAT(status.error().message(), HasSubstr("/dev/full': No space left on device"));
}

using ReadableFileTest = TemporaryDirectory;

TEST_F(ReadableFileTest, APipeIsNamedInsteadOfWaitedFor) {
  const fs::path path = root_ / "config.json";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const Result<std::string> text = read_file(path, 10);
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().code(), ErrorCode::kIo);
  EXPECT_THAT(text.error().message(), HasSubstr("this is no regular file: '" + path.string()));
}

using AtomicDirectoryTest = TemporaryDirectory;

TEST_F(AtomicDirectoryTest, NothingIsVisibleBeforeCommitNorLeftWithoutIt) {
  {
    AtomicDirectory directory = AtomicDirectory::create(root_ / "a").value();
    ASSERT_TRUE(write_file(directory.path() / "f", "1"));
    EXPECT_FALSE(fs::exists(root_ / "a"));
  }
  EXPECT_TRUE(entries().empty());
}

TEST_F(AtomicDirectoryTest, CommitReplacesOnlyWhenTold) {
  const auto write = [&](const char* text, bool overwrite) {
    AtomicDirectory directory = AtomicDirectory::create(root_ / "a").value();
    EXPECT_TRUE(write_file(directory.path() / "f", text));
    return directory.commit(overwrite);
  };
  EXPECT_TRUE(write("1", false));
  const Status refused = write("2", false);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("already is something"));
  EXPECT_EQ(read_file(root_ / "a" / "f", 10).value(), "1");
  EXPECT_TRUE(write("3", true));
  EXPECT_EQ(read_file(root_ / "a" / "f", 10).value(), "3");
  EXPECT_EQ(entries(), std::vector<std::string>{"a"});
}

TEST_F(AtomicDirectoryTest, WhatIsDeletedWhileItIsOverwrittenIsReplacedAllTheSame) {
  AtomicDirectory directory = AtomicDirectory::create(root_ / "a").value();
  ASSERT_TRUE(write_file(directory.path() / "f", "new"));
  fs::create_directories(root_ / "a");
  before_exchange = [&] { fs::remove_all(root_ / "a"); };
  const Status committed = directory.commit(true);
  EXPECT_TRUE(committed) << committed.error().what();
  EXPECT_FALSE(before_exchange) << "it was not called";
  EXPECT_EQ(read_file(root_ / "a" / "f", 10).value(), "new");
  EXPECT_EQ(entries(), std::vector<std::string>{"a"});
}

class CheckpointTest : public TemporaryDirectory {
 protected:
  void step(TrainingRun& run) const {
    run.forward_backward(data_, "cross_entropy", {}, false).value();
    AdamParams params;
    params.learning_rate = 1e-2;
    run.optim_step(params).value();
  }
  std::unique_ptr<TrainingRun> start(std::int64_t rank_value = 4) const {
    return TrainingRun::create(model_, rank(rank_value)).value();
  }
  std::string load_error(TrainingRun& run, const fs::path& dir, bool with_optimizer = true) const {
    const at::Tensor before = run.snapshot()->flat().clone();
    const Status status = run.load(dir, with_optimizer);
    EXPECT_TRUE(bit_equal(run.snapshot()->flat(), before));
    return status ? "accepted" : status.error().message();
  }

  std::shared_ptr<const BaseModel> model_ = small_model(at::ScalarType::Float);
  std::vector<Datum> data_ = cross_entropy_batch(model_->config().vocab_size, 80);
};

TEST_F(CheckpointTest, ContinuedRunEqualsTheUninterruptedOneBitwise) {
  const auto whole = start();
  for (int i = 0; i < 3; ++i) step(*whole);
  ASSERT_TRUE(whole->save(root_ / "c"));
  const auto resumed = start();
  step(*resumed);  // Anything; load must replace it.
  resumed->forward_backward(data_, "cross_entropy", {}, false).value();
  ASSERT_TRUE(resumed->load(root_ / "c", true));
  EXPECT_FALSE(resumed->has_gradients());
  EXPECT_EQ(resumed->step(), 3);
  for (int i = 0; i < 3; ++i) {
    step(*whole);
    step(*resumed);
  }
  EXPECT_TRUE(bit_equal(whole->snapshot()->flat(), resumed->snapshot()->flat()));
}

TEST_F(CheckpointTest, LoadingWithoutOptimizerStartsItAnew) {
  const auto run = start();
  step(*run);
  ASSERT_TRUE(run->save(root_ / "c"));
  const auto other = start();
  ASSERT_TRUE(other->load(root_ / "c", false));
  EXPECT_EQ(other->step(), 0);
  EXPECT_TRUE(bit_equal(run->snapshot()->flat(), other->snapshot()->flat()));
}

TEST_F(CheckpointTest, RunThatNeverStepsCanBeSavedAndContinued) {
  const auto run = start();
  ASSERT_TRUE(run->save(root_ / "c"));
  const auto other = start();
  ASSERT_TRUE(other->load(root_ / "c", true));
  step(*run);
  step(*other);
  EXPECT_TRUE(bit_equal(run->snapshot()->flat(), other->snapshot()->flat()));
}

TEST_F(CheckpointTest, ExportedAdapterGivesTheSameLogprobsBitwise) {
  const auto run = start();
  step(*run);
  ASSERT_TRUE(
      write_checkpoint(root_ / "s", *model_, *run->snapshot(), run->lora_config(), nullptr, false));
  const auto adapter = read_adapter(root_ / "s", *model_).value();
  EXPECT_EQ(pass(*model_, *adapter, data_).logprobs,
            pass(*model_, *run->snapshot(), data_).logprobs);
  EXPECT_FALSE(fs::exists(root_ / "s" / "optimizer.safetensors"));
  EXPECT_THAT(load_error(*start(), root_ / "s"), HasSubstr("no optimizer state"));
}

TEST_F(CheckpointTest, FilesAreThoseThatPeftReads) {
  const auto run = start();
  ASSERT_TRUE(run->save(root_ / "c"));
  const auto config = nlohmann::json::parse(std::ifstream(root_ / "c" / "adapter_config.json"));
  EXPECT_EQ(config["peft_type"], "LORA");
  EXPECT_EQ(config["r"], 4);
  EXPECT_EQ(config["lora_alpha"], 32);
  EXPECT_EQ(config["target_modules"].size(), 8U);
  const SafetensorsFile file =
      SafetensorsFile::open(root_ / "c" / "adapter_model.safetensors").value();
  EXPECT_EQ(file.names().size(), 2U * (2 * 7 + 1));
  EXPECT_EQ(
      file.read("base_model.model.model.layers.1.mlp.down_proj.lora_A.weight").value().sizes(),
      at::IntArrayRef({4, 36}));
  EXPECT_EQ(file.read("base_model.model.lm_head.lora_B.weight").value().sizes(),
            at::IntArrayRef({50, 4}));
}

TEST_F(CheckpointTest, InfoTellsWhatTheCheckpointIs) {
  const auto run = start();
  step(*run);
  ASSERT_TRUE(run->save(root_ / "c"));
  const CheckpointInfo info = read_checkpoint_info(root_ / "c").value();
  EXPECT_EQ(info.base_model, "test/small");
  EXPECT_EQ(info.lora.rank, 4);
  EXPECT_EQ(info.lora.seed, run->lora_config().seed);
  EXPECT_TRUE(info.has_optimizer);
  EXPECT_EQ(info.step, 1);
  EXPECT_GT(info.size_bytes, 3 * 4 * run->trainable_parameters());
}

TEST_F(CheckpointTest, OtherRankBaseOrFlagsAreRefusedWithBothValues) {
  ASSERT_TRUE(start()->save(root_ / "c"));
  EXPECT_THAT(load_error(*start(8), root_ / "c"), HasSubstr("rank 4 but this run has rank 8"));
  LoraConfig flags = rank(4);
  flags.train_mlp = false;
  const auto partial = TrainingRun::create(model_, flags).value();
  EXPECT_THAT(load_error(*partial, root_ / "c"),
              HasSubstr("trains attn mlp unembed but this run trains attn unembed"));
  const auto base =
      model_of(small_config(), random_weights(small_config(), 99), at::ScalarType::Float);
  const auto other = TrainingRun::create(base, rank(4)).value();
  EXPECT_THAT(load_error(*other, root_ / "c"), HasSubstr("weights have changed"));
}

TEST_F(CheckpointTest, DamageIsNoticed) {
  ASSERT_TRUE(start()->save(root_ / "c"));
  const auto flip = [&](const char* name) {
    std::fstream file(root_ / "c" / name, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(-3, std::ios::end);
    const char byte = static_cast<char>(file.get() ^ 1);
    file.seekp(-3, std::ios::end);
    file.put(byte);
  };
  flip("optimizer.safetensors");
  EXPECT_THAT(load_error(*start(), root_ / "c"), HasSubstr("optimizer.safetensors' is damaged"));
  flip("adapter_model.safetensors");
  EXPECT_THAT(load_error(*start(), root_ / "c"), HasSubstr("digest differs"));
  write_bytes("c/metadata.json", "{\"format_version\": 1}");
  EXPECT_THAT(load_error(*start(), root_ / "c"), HasSubstr("metadata.json' is damaged"));
  EXPECT_THAT(load_error(*start(), root_ / "none"), HasSubstr("there is no checkpoint"));
}

TEST_F(CheckpointTest, FailedSaveLeavesTheOldCheckpointAndNothingElse) {
  const auto run = start();
  ASSERT_TRUE(run->save(root_ / "c"));
  const std::string before = read_file(root_ / "c" / "metadata.json", 1 << 20).value();
  const Status again = run->save(root_ / "c");
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code(), ErrorCode::kIo);
  // A parent that is a file: not even root can make a directory in it.
  write_bytes("file", "");
  const Status blocked = run->save(root_ / "file" / "c");
  ASSERT_FALSE(blocked);
  EXPECT_EQ(blocked.error().code(), ErrorCode::kIo);
  EXPECT_THAT(blocked.error().message(), HasSubstr((root_ / "file").string()));
  EXPECT_EQ(read_file(root_ / "c" / "metadata.json", 1 << 20).value(), before);
  EXPECT_EQ(entries().size(), 2U);
}

TEST_F(CheckpointTest, OverwritingReplacesTheWholeCheckpoint) {
  const auto run = start();
  ASSERT_TRUE(run->save(root_ / "c"));
  step(*run);
  ASSERT_TRUE(run->save(root_ / "c", /*overwrite=*/true));
  EXPECT_EQ(read_checkpoint_info(root_ / "c").value().step, 1);
  EXPECT_EQ(entries(), std::vector<std::string>{"c"});
}

}  // namespace
}  // namespace tinkex::torch_ext::local::testing
