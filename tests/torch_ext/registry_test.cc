// What is registered, compared with the golden list of schemas.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/runtime/operator.h>
#include <torch/custom_class.h>

#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace tinkex::torch_ext {
namespace {

constexpr char kGolden[] = "tests/golden/op_schemas.txt";
const char* const kClasses[] = {"Service",
                                "TrainingClient",
                                "SamplingClient",
                                "PendingForwardBackward",
                                "PendingOptimStep",
                                "PendingSample",
                                "PendingLogprobs",
                                "PendingPath",
                                "PendingSamplingClient",
                                "PendingService",
                                "PendingTrainingClient",
                                "PendingForwardBackwardRagged",
                                "PendingSampleRagged",
                                "PendingLogprobsRagged",
                                "CallStop"};
/// Without an effect on a server.
const std::set<std::string> kPureOps = {"tinkex::encode_text", "tinkex::decode_text",
                                        "tinkex::to_lists",    "tinkex::from_lists",
                                        "tinkex::offsets_of",  "tinkex::unpad"};

template <class T>
std::string printed(const T& value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

std::set<std::string> registered_schemas() {
  std::set<std::string> schemas;
  for (const auto& op : torch::jit::getAllOperators()) {
    if (op->schema().name().rfind("tinkex::", 0) == 0) schemas.insert(printed(op->schema()));
  }
  for (const std::string name : kClasses) {
    const auto type = torch::getCustomClass("__torch__.torch.classes.tinkex." + name);
    if (!type) continue;
    for (const auto* method : type->methods()) {
      schemas.insert(name + "." + printed(method->getSchema()));
    }
  }
  return schemas;
}

std::set<std::string> golden_schemas() {
  std::ifstream file(kGolden);
  std::set<std::string> schemas;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line[0] != '#') schemas.insert(line);
  }
  return schemas;
}

TEST(RegistryTest, SchemasOfOpsAndClassesAreTheGoldenOnes) {
  const std::set<std::string> registered = registered_schemas();
  const std::set<std::string> golden = golden_schemas();
  std::string all;
  for (const std::string& schema : registered) all += schema + "\n";
  EXPECT_EQ(registered, golden) << "If the change is meant, put this into " << kGolden << ":\n"
                                << all;
}

TEST(RegistryTest, EveryGoldenOpIsInTheOperatorRegistryOfTorchScript) {
  int found = 0;
  for (const std::string& line : golden_schemas()) {
    if (line.rfind("tinkex::", 0) != 0) continue;
    const std::string name = line.substr(0, line.find('('));
    const auto operators = torch::jit::getAllOperatorsFor(c10::Symbol::fromQualString(name));
    EXPECT_EQ(operators.size(), 1u) << name;
    ++found;
  }
  EXPECT_GE(found, 65);
}

TEST(RegistryTest, TorchScriptMayNeitherDropNorMergeRemoteOps) {
  for (const auto& op : torch::jit::getAllOperators()) {
    const std::string name = op->schema().name();
    if (name.rfind("tinkex::", 0) != 0 || kPureOps.contains(name)) continue;
    EXPECT_EQ(op->aliasAnalysisKind(), c10::AliasAnalysisKind::CONSERVATIVE) << name;
  }
}

}  // namespace
}  // namespace tinkex::torch_ext
