// Runs every kept input through the entry function of its fuzzer. The process ends where a property
// does not hold; what it printed last is the file.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/fuzz/properties.h"

namespace {

std::filesystem::path folder;

std::vector<std::filesystem::path> kept_inputs() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

TEST(CorpusTest, EveryKeptInputIsHandled) {
  const auto files = kept_inputs();
  EXPECT_GE(files.size(), 10u) << "of " << folder;
  for (const auto& file : files) {
    std::cout << file.filename().string() << std::endl;
    std::ifstream stream(file, std::ios::binary);
    const std::string bytes(std::istreambuf_iterator<char>(stream), {});
    EXPECT_LE(bytes.size(), 4'096u) << "the corpus is kept small";
    EXPECT_EQ(
        LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()),
        0);
  }
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  folder = argc > 1 ? argv[1] : ".";
  return RUN_ALL_TESTS();
}
