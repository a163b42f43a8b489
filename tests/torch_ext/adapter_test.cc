// Adapters to and from an embedded backend, by files.

#include "torch_ext/adapter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "torch_ext/local/local_server.h"

namespace tinkex::torch_ext {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

class AdapterTest : public testing::Test {
 protected:
  AdapterTest() { fs::remove_all(root_); }
  ~AdapterTest() override { fs::remove_all(root_); }

  static Connection embedded(const fs::path& data_dir = {}) {
    ConnectOptions options;
    options.where = Backend::kEmbedded;
    options.embedded.data_dir = data_dir;
    return connect(std::move(options)).value();
  }
  static Datum example() {
    Datum datum;
    datum.model_input = ModelInput::from_tokens({1, 2, 3});
    datum.loss_fn_inputs = {
        {"target_tokens", TensorData::from(std::vector<std::int64_t>{2, 3, 4})}};
    return datum;
  }
  /// The loss of the example; with a step afterwards, so that adapters are not empty.
  static double loss(TrainingClient& client) {
    const Datum datum = example();
    auto pass = client.forward_backward({&datum, 1}, loss::kCrossEntropy);
    client.optim_step({.learning_rate = 0.05}).get().value();
    return pass.get().value().metrics.at("loss:sum");
  }
  /// A checkpoint of a few steps.
  static std::string trained(Connection& connection) {
    auto client =
        connection.service.create_lora_training_client("tinkex/nano", {.rank = 4, .seed = 1})
            .get()
            .value();
    for (int step = 0; step < 3; ++step) loss(client);
    return client.save_state("trained").get().value().path;
  }
  static double loss_from(Connection& connection, const std::string& path,
                          bool with_optimizer = false) {
    auto client =
        connection.service.create_training_client_from_state(path, with_optimizer).get().value();
    return loss(client);
  }

  const fs::path root_ = fs::path(testing::TempDir()) / "adapter-test";
};

TEST_F(AdapterTest, ACheckpointsTensorsAndSettingsAreRead) {
  Connection connection = embedded();
  const fs::path folder = checkpoint_folder(connection, trained(connection)).value();
  const AdapterState adapter = load_adapter(folder).value();
  EXPECT_EQ(adapter.base_model, "tinkex/nano");
  EXPECT_EQ(adapter.lora.rank, 4);
  EXPECT_EQ(adapter.lora.seed, 1);
  EXPECT_EQ(adapter.alpha, 32);
  EXPECT_EQ(adapter.tensors.size(), 2u * (2 * 7 + 1));
  const at::Tensor b =
      adapter.tensors.at("base_model.model.model.layers.1.mlp.down_proj.lora_B.weight");
  EXPECT_EQ(b.sizes(), (at::IntArrayRef{32, 4}));
  EXPECT_EQ(b.scalar_type(), at::ScalarType::Float);
  EXPECT_GT(b.abs().max().item<float>(), 0);
}

TEST_F(AdapterTest, AnAdapterTravelsFromOneBackendToAnother) {
  Connection first = embedded(root_ / "first");
  const std::string path = trained(first);
  const fs::path folder = checkpoint_folder(first, path).value();
  EXPECT_EQ(folder, root_ / "first" / path.substr(std::string("tinker://").size()));
  Connection second = embedded(root_ / "second");
  const Result<std::string> imported = import_adapter(second, folder, "mine");
  ASSERT_TRUE(imported.ok()) << imported.error().what();
  EXPECT_EQ(*imported, "tinker://imported/weights/mine");
  EXPECT_EQ(loss_from(second, *imported), loss_from(first, path));
  // Its optimizer is new, whether it is asked for or not.
  EXPECT_EQ(loss_from(second, *imported, true), loss_from(first, path));
}

TEST_F(AdapterTest, TheBaseModelIsTheOneThatIsNamed) {
  Connection connection = embedded();
  const fs::path folder = checkpoint_folder(connection, trained(connection)).value();
  const fs::path copy = root_ / "copy";
  fs::create_directories(copy);
  fs::copy_file(folder / "adapter_model.safetensors", copy / "adapter_model.safetensors");
  json config = json::parse(std::ifstream(folder / "adapter_config.json"));
  config["base_model_name_or_path"] = "somebody/nano-7.5B";
  std::ofstream(copy / "adapter_config.json") << config;
  EXPECT_THAT(import_adapter(connection, copy, "a").error().message(),
              AllOf(HasSubstr("base_model_name_or_path"), HasSubstr("'somebody/nano-7.5B'"),
                    HasSubstr("this server has")));
  EXPECT_EQ(import_adapter(connection, copy, "a", "tinkex/nano").value(),
            "tinker://imported/weights/a");
  EXPECT_THAT(import_adapter(connection, folder, "b", "tinkex/tiny").error().message(),
              AllOf(HasSubstr("adapter_model.safetensors"), HasSubstr("has shape")));
  EXPECT_THAT(import_adapter(connection, folder, "b", "other").error().message(),
              HasSubstr("unknown base model 'other'"));
}

TEST_F(AdapterTest, AFolderOfPeftsIsToBeImported) {
  Connection connection = embedded();
  const fs::path copy = root_ / "peft";
  fs::create_directories(root_);
  fs::copy(checkpoint_folder(connection, trained(connection)).value(), copy);
  fs::remove(copy / "metadata.json");
  EXPECT_THAT(load_adapter(copy).error().message(),
              AllOf(HasSubstr("is a checkpoint that lost its metadata.json, or another server's"),
                    HasSubstr("import_adapter(connection, folder, name) makes one of it")));
  fs::remove(copy / "checkpoint_complete");
  const auto refused = load_adapter(copy);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kIo);
  EXPECT_THAT(refused.error().message(),
              AllOf(HasSubstr("'" + copy.string() + "': is an adapter that PEFT saved"),
                    HasSubstr("import_adapter(connection, folder, name) makes one of it")));
  const std::string path = import_adapter(connection, copy, "mine").value();
  EXPECT_TRUE(load_adapter(checkpoint_folder(connection, path).value()).ok());
  fs::remove(copy / "adapter_config.json");
  EXPECT_THAT(load_adapter(copy).error().message(), HasSubstr("metadata.json"));
}

TEST_F(AdapterTest, WhatIsRefusedLeavesNothing) {
  Connection connection = embedded(root_ / "data");
  const fs::path folder = checkpoint_folder(connection, trained(connection)).value();
  EXPECT_THAT(import_adapter(connection, root_ / "none", "a").error().message(),
              HasSubstr("adapter_config.json"));
  EXPECT_EQ(import_adapter(connection, folder, "../a").error().code(), ErrorCode::kInvalidArgument);
  EXPECT_FALSE(import_adapter(connection, folder, "a", "tinkex/tiny").ok());
  EXPECT_FALSE(fs::exists(root_ / "data/imported"));
  ASSERT_TRUE(import_adapter(connection, folder, "a").ok());
  EXPECT_THAT(import_adapter(connection, folder, "a").error().message(),
              HasSubstr("tinker://imported/weights/a exists already; choose another name"));
}

TEST_F(AdapterTest, PathsThatNameNoCheckpointAreRefused) {
  Connection connection = embedded();
  EXPECT_THAT(checkpoint_folder(connection, "elsewhere").error().message(),
              HasSubstr("must be tinker://"));
  EXPECT_THAT(checkpoint_folder(connection, "tinker://run/weights/a").error().message(),
              HasSubstr("there is no checkpoint tinker://run/weights/a"));
}

TEST_F(AdapterTest, AServersAdaptersAreNotOnThisMachine) {
  const auto server = local::LocalServer::start({}).value();
  ConnectOptions options;
  options.client.base_url = server->base_url();
  options.client.api_key = "tml-any";
  const Connection connection = connect(std::move(options)).value();
  EXPECT_THAT(checkpoint_folder(connection, "tinker://run/weights/a").error().message(),
              HasSubstr("connect to the embedded backend"));
  EXPECT_EQ(import_adapter(connection, ".", "a").error().code(), ErrorCode::kInvalidArgument);
}

TEST_F(AdapterTest, ABackendThatHasEndedIsNamed) {
  Connection connection = embedded();
  connection.backend.reset();
  EXPECT_EQ(checkpoint_folder(connection, "tinker://run/weights/a").error().code(),
            ErrorCode::kClosed);
}

}  // namespace
}  // namespace tinkex::torch_ext
