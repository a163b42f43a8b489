// The snippets of docs/embedded_backend.md, as a test: a trained adapter for other programs, and an
// adapter of another program to go on with.

#include "torch_ext/adapter.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "torch_ext/connect.h"
#include "torch_ext/merge.h"

namespace {

using tinkex::torch_ext::Connection;

const std::filesystem::path kBase = "tests/torch_ext/local/testdata/models/qwen3";

Connection backend_with(const std::filesystem::path& model) {
  if (!std::filesystem::exists(model)) {
    throw tinkex::invalid_argument(model.string() +
                                   " is not there; start this with ./bazelw run "
                                   "//examples:adapter_example, which provides it");
  }
  tinkex::torch_ext::ConnectOptions options;
  options.where = tinkex::torch_ext::Backend::kEmbedded;
  options.embedded.base_models = {model};
  return tinkex::torch_ext::connect(std::move(options)).value();
}

std::vector<tinkex::Datum> batch() {
  tinkex::Datum datum;
  datum.model_input = tinkex::ModelInput::from_tokens({1, 2, 3});
  datum.loss_fn_inputs = {
      {"target_tokens", tinkex::TensorData::from(std::vector<std::int64_t>{2, 3, 4})}};
  return {datum};
}

double loss_of(tinkex::TrainingClient& model) {
  auto pass = model.forward(batch(), tinkex::loss::kCrossEntropy);
  return pass.get().value().metrics.at("loss:sum");
}

class AdapterExample : public testing::Test {
 protected:
  AdapterExample() {
    std::filesystem::remove_all(merged);
    for (int step = 0; step < 3; ++step) {
      model.forward_backward(batch(), tinkex::loss::kCrossEntropy).get().value();
      model.optim_step({.learning_rate = 1e-2}).get().value();
    }
  }

  const std::filesystem::path merged = std::filesystem::path(testing::TempDir()) / "qwen3-merged";
  Connection connection = backend_with(kBase);
  tinkex::TrainingClient model =
      connection.service.create_lora_training_client("qwen3", {.rank = 4, .seed = 1}).get().value();
};

TEST_F(AdapterExample, AMergedModelIsTheAdaptedOne) {
  const std::filesystem::path base = kBase;

  const std::string saved = model.save_state("final").get().value().path;
  const auto folder = tinkex::torch_ext::checkpoint_folder(connection, saved).value();
  tinkex::torch_ext::merge_adapter(base, folder, merged).value();

  Connection other = backend_with(merged);
  auto plain = other.service.create_lora_training_client("qwen3-merged", {.rank = 1, .seed = 1})
                   .get()
                   .value();
  EXPECT_NEAR(loss_of(plain), loss_of(model), 1e-4);
}

TEST_F(AdapterExample, TheMatricesAreTensors) {
  const std::string saved = model.save_state("final").get().value().path;
  const auto folder = tinkex::torch_ext::checkpoint_folder(connection, saved).value();
  double norm = 0;

  const auto adapter = tinkex::torch_ext::load_adapter(folder).value();
  for (const auto& entry : adapter.tensors) {
    const std::string& name = entry.key();  // base_model.model....lora_A.weight
    const at::Tensor& matrix = entry.value();
    if (name.ends_with("lora_B.weight")) norm += matrix.square().sum().item<double>();
  }

  EXPECT_GT(norm, 0);
  EXPECT_EQ(adapter.lora.rank, 4);
}

TEST_F(AdapterExample, AnAdapterOfAnotherProgramIsGoneOnWith) {
  const std::string saved = model.save_state("final").get().value().path;
  const auto folder = tinkex::torch_ext::checkpoint_folder(connection, saved).value();

  const auto path = tinkex::torch_ext::import_adapter(connection, folder, "mine", "qwen3").value();
  auto imported = connection.service.create_training_client_from_state(path).get().value();

  EXPECT_EQ(loss_of(imported), loss_of(model));
}

}  // namespace
