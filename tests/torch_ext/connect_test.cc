#include "torch_ext/connect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <string>

#include "torch_ext/local/local_server.h"
#include "torch_ext/ops/client_classes.h"
#include "torch_ext/ops/connect_ops.h"
#include "torch_ext/ops/service_ops.h"

namespace tinkex::torch_ext {
namespace {

using testing::HasSubstr;
using testing::Not;

/// Nothing in the environment names a server, before and after.
class ConnectTest : public testing::Test {
 protected:
  ConnectTest() { clear(); }
  ~ConnectTest() override { clear(); }

  static void clear() {
    ::unsetenv("TINKER_BASE_URL");
    ::unsetenv("TINKER_API_KEY");
  }
  static std::string temporary_folder(const std::string& name) {
    return testing::TempDir() + "/" + name;
  }
};

TEST_F(ConnectTest, OnlyAProgramThatIsToldNothingTrainsInItsOwnProcess) {
  EXPECT_EQ(choose_backend({}), Backend::kEmbedded);
  ConnectOptions url;
  url.client.base_url = "http://localhost:1";
  EXPECT_EQ(choose_backend(url), Backend::kServer);
  ConnectOptions key;
  key.client.api_key = "tml-x";
  EXPECT_EQ(choose_backend(key), Backend::kServer);
}

TEST_F(ConnectTest, EnvironmentThatNamesAServerIsHeeded) {
  ::setenv("TINKER_API_KEY", "tml-x", 1);
  EXPECT_EQ(choose_backend({}), Backend::kServer);
  ::setenv("TINKER_API_KEY", "", 1);
  EXPECT_EQ(choose_backend({}), Backend::kEmbedded);
  ::setenv("TINKER_BASE_URL", "http://localhost:1", 1);
  EXPECT_EQ(choose_backend({}), Backend::kServer);
  EXPECT_EQ(choose_backend({.client = {}, .embedded = {}, .where = Backend::kEmbedded}),
            Backend::kEmbedded);
}

TEST_F(ConnectTest, EmbeddedBackendSaysWhatItIsAndOffersAModel) {
  Connection connection = connect().value();
  EXPECT_TRUE(connection.embedded);
  EXPECT_THAT(connection.description, HasSubstr("embedded"));
  EXPECT_FALSE(connection.service.get_supported_models().get().value().empty());
}

TEST_F(ConnectTest, EachEmbeddedBackendHasABackOffOfItsOwn) {
  const Connection first = connect().value();
  const Connection second = connect().value();
  EXPECT_NE(first.service.options().rate_limiters, nullptr);
  EXPECT_NE(first.service.options().rate_limiters, second.service.options().rate_limiters);
}

TEST_F(ConnectTest, ExplicitEmbeddedBackendIgnoresAServersKey) {
  ::setenv("TINKER_API_KEY", "tml-for-a-server", 1);
  ConnectOptions options;
  options.where = Backend::kEmbedded;
  Connection connection = connect(std::move(options)).value();
  EXPECT_TRUE(connection.embedded);
  EXPECT_THAT(std::string(connection.service.options().api_key.reveal()),
              Not(HasSubstr("for-a-server")));
}

TEST_F(ConnectTest, CheckpointsOfADataFolderOutliveTheService) {
  ConnectOptions options;
  options.embedded.data_dir = temporary_folder("checkpoints");
  std::string path;
  {
    Connection first = connect(options).value();
    const std::string model = first.service.get_supported_models().get().value()[0].model_name;
    TrainingClient client =
        first.service.create_lora_training_client(model, {.rank = 4, .seed = 1}).get().value();
    path = client.save_state("kept").get().value().path;
    first.service.close();
  }
  Connection second = connect(options).value();
  EXPECT_TRUE(second.service.create_training_client_from_state(path).get().ok());
}

TEST_F(ConnectTest, UnusableDataFolderIsAnIoErrorThatNamesIt) {
  ConnectOptions options;
  options.embedded.data_dir = "/proc/no-such-folder";
  const Result<Connection> connection = connect(std::move(options));
  ASSERT_FALSE(connection.ok());
  EXPECT_EQ(connection.error().code(), ErrorCode::kIo);
  EXPECT_THAT(connection.error().message(), HasSubstr("/proc/no-such-folder"));
}

TEST_F(ConnectTest, PickledServiceKeepsTheModelsFromFilesThatItHas) {
  const std::string model = "tests/torch_ext/local/testdata/models/llama";
  const c10::IValue service(connect_embedded("", c10::List<std::string>({model})));
  const auto call = [&service](const std::string& method) {
    return service.toObject()->type()->getMethod(method)({service});
  };
  const c10::IValue state = call("__getstate__");
  const c10::IValue models = state.toTupleRef().elements().at(3);
  ASSERT_EQ(models.toListRef().size(), 1u);
  EXPECT_EQ(models.toListRef()[0].toStringRef(), model);
  call("close");
}

TEST_F(ConnectTest, PickledServiceKeepsItsAddressAndNeverItsKey) {
  local::LocalServerOptions options;
  options.backend.api_key = "tml-very-secret";
  const auto server = local::LocalServer::start(std::move(options)).value();
  const c10::IValue service(connect_service(server->base_url(), "tml-very-secret", "", {}));
  const auto call = [&service](const std::string& method) {
    return service.toObject()->type()->getMethod(method)({service});
  };
  EXPECT_THAT(call("description").toStringRef(), HasSubstr(server->base_url()));
  EXPECT_FALSE(call("embedded").toBool());
  const c10::IValue state = call("__getstate__");
  const auto& fields = state.toTupleRef().elements();
  EXPECT_FALSE(fields[0].toBool());
  EXPECT_EQ(fields[1].toStringRef(), server->base_url());
  for (const c10::IValue& field : fields) {
    if (!field.isString()) continue;
    EXPECT_THAT(field.toStringRef(), Not(HasSubstr("secret")));
  }
  call("close");
}

}  // namespace
}  // namespace tinkex::torch_ext
