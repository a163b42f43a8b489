#include "torch_ext/local/checkpoint_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tinkex/validate.h"
#include "torch_ext/local/file_io.h"

namespace tinkex::torch_ext::local {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CheckpointTreeTest : public ::testing::Test {
 protected:
  CheckpointTreeTest()
      : root_(fs::path(::testing::TempDir()) /
              ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    fs::remove_all(root_);
  }
  ~CheckpointTreeTest() override { fs::remove_all(root_); }

  std::unique_ptr<CheckpointTree> open() {
    auto tree = CheckpointTree::open(root_);
    EXPECT_TRUE(tree) << tree.error().what();
    return tree ? *std::move(tree) : nullptr;
  }

  const fs::path root_;
};

TEST(IoErrorTest, OnlyWhereSomethingIsSavedIsItToBeSavedAgain) {
  EXPECT_EQ(io_error("data", "cannot make the data directory", ENOSPC).message(),
            "cannot make the data directory 'data': No space left on device; free some space and "
            "try again");
  const Status full = write_file("/dev/full", "x");
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().message(),
            "cannot write '/dev/full': No space left on device; free some space and save again, "
            "nothing was left behind");
}

TEST(CheckpointPathTest, TextRoundTrips) {
  for (const char* text : {"tinker://s:train:0/weights/000010",
                           "tinker://session-0a:train:12/sampler_weights/final.v-2_x"}) {
    const auto path = CheckpointPath::parse(text);
    ASSERT_TRUE(path) << text;
    EXPECT_EQ(path->text(), text);
  }
}

TEST(CheckpointPathTest, OtherShapesAndEscapesAreRefused) {
  for (const char* text :
       {"", "tinker://", "weights/x", "http://r/weights/x", "tinker://r/x", "tinker://r/weights/",
        "tinker:///weights/x", "tinker://r/other/x", "tinker://r/weights/x/y",
        "tinker://../weights/x", "tinker://r/weights/..", "tinker://r/weights/.hidden",
        "tinker://.r/weights/x", "tinker://r/weights/a b", "tinker://r%2f/weights/x"}) {
    const auto path = CheckpointPath::parse(text);
    ASSERT_FALSE(path) << text;
    EXPECT_THAT(path.error().message(), HasSubstr("tinker://<run>/weights/<name>"));
  }
}

TEST(CheckpointPathTest, NamesAreThoseThatAClientMaySaveUnder) {
  for (const std::string& name :
       {std::string("final"), std::string("v1.0_a-b"), std::string(128, 'x'), std::string(),
        std::string(129, 'x'), std::string("."), std::string(".."), std::string(".hidden"),
        std::string("a/b"), std::string("a:b"), std::string("a\0b", 3), std::string("\xc3\xa4")}) {
    EXPECT_EQ(CheckpointPath::parse("tinker://r/weights/" + name).ok(),
              validate_checkpoint_name(name).ok())
        << name;
  }
}

TEST_F(CheckpointTreeTest, ListsWhatIsOnDiskAndNothingElse) {
  const auto tree = open();
  for (const char* folder : {"r:train:0/weights/a", "r:train:0/sampler_weights/b",
                             "r:train:0/weights/.a.partial", "empty/weights", "stray"}) {
    fs::create_directories(root_ / folder);
  }
  std::ofstream(root_ / "r:train:0/weights/file") << "x";
  fs::create_directory_symlink("/", root_ / "r:train:0/weights/link");
  std::vector<std::string> texts;
  for (const auto& item : tree->list("r:train:0")) texts.push_back(item.path.text());
  EXPECT_THAT(texts, ::testing::UnorderedElementsAre("tinker://r:train:0/weights/a",
                                                     "tinker://r:train:0/sampler_weights/b"));
  EXPECT_THAT(tree->runs(), ElementsAre("r:train:0"));
  EXPECT_TRUE(tree->list("../" + root_.filename().string()).empty());
}

TEST_F(CheckpointTreeTest, FindNamesTheNeighboursOfWhatIsMissing) {
  const auto tree = open();
  fs::create_directories(root_ / "r/weights/step-1");
  const auto there = CheckpointPath::parse("tinker://r/weights/step-1");
  EXPECT_TRUE(tree->find(*there));
  const auto missing = tree->find(*CheckpointPath::parse("tinker://r/weights/step-2"));
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().message(), HasSubstr("the run has tinker://r/weights/step-1"));
}

TEST_F(CheckpointTreeTest, SecondBackendIsKeptOutUntilTheFirstIsGone) {
  auto tree = open();
  const auto second = CheckpointTree::open(root_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), ErrorCode::kIo);
  EXPECT_THAT(second.error().message(), HasSubstr("in use by another backend of this process"));
  const auto told = [this](const std::string& holder) {
    std::ofstream(root_ / ".lock") << holder;
    return CheckpointTree::open(root_).error().message();
  };
  EXPECT_THAT(told("1\n"), HasSubstr("in use by another backend (process 1); stop that one"));
  const std::string own = std::to_string(::getpid());
  EXPECT_THAT(told(own + " 0123456789abcdef\n"), HasSubstr("(process " + own + "); stop that one"))
      << "it may be one of another container";
  EXPECT_THAT(told("\x1b[2J"), HasSubstr("in use by another backend; stop that one"));
  tree.reset();
  EXPECT_TRUE(CheckpointTree::open(root_));
}

TEST_F(CheckpointTreeTest, RemainsOfAnInterruptedSaveAreRemovedAtStart) {
  const auto save = AtomicDirectory::create(root_ / "r/weights/a").value();
  fs::create_directories(root_ / "r/weights/b");
  const auto tree = open();
  EXPECT_FALSE(fs::exists(save.path()));
  EXPECT_TRUE(fs::exists(root_ / "r/weights/b"));
}

TEST_F(CheckpointTreeTest, FoldersOfOthersStayWhateverTheirNames) {
  const std::string id(16, 'a');
  std::vector<fs::path> others = {root_ / ".git/weights" / (".tmp-" + id),
                                  root_ / "r/logs" / (".tmp-" + id)};
  for (const std::string& name : {std::string(".git"), std::string(".tmp-"), ".tmp-" + id + "a",
                                  ".tmp-z" + id.substr(1), "tmp-" + id, std::string(".deleted-"),
                                  std::string(".deleted-1a"), std::string(".deleted")}) {
    others.push_back(root_ / "r/weights" / name);
    others.push_back(root_ / "r/sampler_weights" / name);
  }
  for (const fs::path& other : others) fs::create_directories(other);
  open();
  for (const fs::path& other : others) EXPECT_TRUE(fs::exists(other)) << other;
}

TEST_F(CheckpointTreeTest, WhatIsSetAsideIsGoneAtOnceAndItsSpaceWhenItIsDiscarded) {
  const auto tree = open();
  fs::create_directories(root_ / "r/weights/a/parts");
  const auto path = CheckpointPath::parse("tinker://r/weights/a").value();
  const auto doomed = tree->set_aside(path).value();
  ASSERT_TRUE(doomed);
  EXPECT_FALSE(fs::exists(root_ / "r/weights/a"));
  EXPECT_TRUE(fs::exists(*doomed / "parts"));
  EXPECT_TRUE(tree->list("r").empty());
  EXPECT_FALSE(tree->set_aside(path).value()) << "there is none any more";
  EXPECT_TRUE(CheckpointTree::discard(*doomed));
  EXPECT_TRUE(fs::is_empty(root_ / "r/weights"));
}

TEST_F(CheckpointTreeTest, WhatWasSetAsideAndNotDiscardedGoesWithTheTree) {
  auto tree = open();
  fs::create_directories(root_ / "r/weights/a/parts");
  fs::create_directories(root_ / "r/weights/b");
  ASSERT_TRUE(tree->set_aside(CheckpointPath::parse("tinker://r/weights/a").value()).value());
  tree.reset();
  EXPECT_EQ(std::distance(fs::directory_iterator(root_ / "r/weights"), {}), 1);
  EXPECT_TRUE(fs::exists(root_ / "r/weights/b"));
}

TEST_F(CheckpointTreeTest, WhatCannotBeLookedAtIsNotTakenForMissing) {
  const auto tree = open();
  fs::create_directory_symlink("r", root_ / "r");  // As a missing permission, but for root as well.
  const auto path = CheckpointPath::parse("tinker://r/weights/a").value();
  const auto found = tree->find(path);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code(), ErrorCode::kIo);
  EXPECT_THAT(found.error().message(), HasSubstr("cannot look at"));
  const auto doomed = tree->set_aside(path);
  ASSERT_FALSE(doomed);
  EXPECT_THAT(doomed.error().message(), HasSubstr((root_ / "r/weights/a").string()));
  const Status left = CheckpointTree::discard(tree->directory(path));
  ASSERT_FALSE(left) << "what stays is told";
  EXPECT_THAT(left.error().message(), HasSubstr("cannot free the space of"));
}

TEST_F(CheckpointTreeTest, DirectoryThatCannotBeMadeIsNamed) {
  std::ofstream(root_) << "a file";
  const auto tree = CheckpointTree::open(root_);
  ASSERT_FALSE(tree);
  EXPECT_THAT(tree.error().message(), HasSubstr(root_.string()));
}

TEST(TemporaryCheckpointTreeTest, IsRemovedAtTheEndWithWhatIsInIt) {
  fs::path root;
  {
    const auto tree = CheckpointTree::open({});
    ASSERT_TRUE(tree);
    root = (*tree)->root();
    const auto path = CheckpointPath::parse("tinker://r/weights/a");
    ASSERT_TRUE((*tree)->make_parent(*path));
    EXPECT_TRUE(fs::exists(root / "r/weights"));
  }
  EXPECT_FALSE(fs::exists(root));
}

}  // namespace
}  // namespace tinkex::torch_ext::local
