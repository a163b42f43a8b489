// What is registered, compared with the golden list of schemas.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/runtime/operator.h>
#include <torch/custom_class.h>

#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tinkex/params.h"

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
                                "PendingNone",
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

/// "name=default" of each argument but the first, which is the object itself.
std::vector<std::string> settings_of(const c10::FunctionSchema& schema) {
  std::vector<std::string> settings;
  for (std::size_t i = 1; i < schema.arguments().size(); ++i) {
    settings.push_back(printed(schema.arguments()[i]));
  }
  return settings;
}

TEST(RegistryTest, MethodsHaveTheArgumentsAndDefaultsOfTheOpsOfTheirName) {
  int compared = 0;
  for (const std::string name : {"Service", "TrainingClient", "SamplingClient"}) {
    for (const auto* method :
         torch::getCustomClass("__torch__.torch.classes.tinkex." + name)->methods()) {
      const auto ops =
          torch::jit::getAllOperatorsFor(c10::Symbol::fromQualString("tinkex::" + method->name()));
      if (ops.empty()) continue;
      EXPECT_EQ(settings_of(method->getSchema()), settings_of(ops[0]->schema())) << method->name();
      ++compared;
    }
  }
  EXPECT_GE(compared, 35);
}

TEST(RegistryTest, OptimStepHasTheDefaultsOfAdamParams) {
  const auto op = torch::jit::getAllOperatorsFor(c10::Symbol::fromQualString("tinkex::optim_step"));
  std::map<std::string, double> defaults;
  for (const auto& argument : op.at(0)->schema().arguments()) {
    if (argument.default_value()) defaults[argument.name()] = argument.default_value()->toDouble();
  }
  const AdamParams params;
  EXPECT_THAT(
      defaults,
      ::testing::UnorderedElementsAre(
          ::testing::Pair("learning_rate", params.learning_rate),
          ::testing::Pair("beta1", params.beta1), ::testing::Pair("beta2", params.beta2),
          ::testing::Pair("eps", params.eps), ::testing::Pair("weight_decay", params.weight_decay),
          ::testing::Pair("grad_clip_norm", params.grad_clip_norm)));
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
