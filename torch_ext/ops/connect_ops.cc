#include "torch_ext/ops/connect_ops.h"

#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "torch_ext/connect.h"
#include "torch_ext/error_bridge.h"
#include "torch_ext/ops/python_exit.h"
#include "torch_ext/ops/remote_op.h"

namespace tinkex::torch_ext {
namespace {

Result<ServicePtr> make_service(ConnectOptions options) {
  Result<Connection> connection = connect(std::move(options));
  if (!connection) return std::move(connection).error();
  return c10::make_intrusive<ScriptService>(*std::move(connection));
}

}  // namespace

ConnectOptions to_connect_options(const std::string& base_url, const std::string& api_key,
                                  const std::string& data_dir,
                                  const Optional<c10::List<std::string>>& base_models) {
  ConnectOptions options;
  options.client.base_url = base_url;
  options.client.api_key = api_key;
  options.embedded.data_dir = data_dir;
  if (!base_models) return options;
  const std::vector<std::string> paths = base_models->vec();
  options.embedded.base_models.assign(paths.begin(), paths.end());
  return options;
}

Future<ServicePtr> start_connect(const std::string& base_url, const std::string& api_key,
                                 const std::string& data_dir,
                                 const Optional<c10::List<std::string>>& base_models) {
  leave_python_at_its_exit();
  ConnectOptions options = to_connect_options(base_url, api_key, data_dir, base_models);
  const auto cell = std::make_shared<tinkex::internal::ResultCell<ServicePtr>>(nullptr);
  try {
    std::thread thread([cell, options = std::move(options)]() mutable {
      tinkex::internal::settle_guarded(*cell, [&] { cell->set(make_service(std::move(options))); });
    });
    thread.detach();  // nobody may want to wait for it, and it owns all that it uses
  } catch (const std::system_error& problem) {
    cell->set(Error(ErrorCode::kInternal, std::string("connect cannot start the thread that waits "
                                                      "for the server: ") +
                                              problem.what()));
  }
  return Future<ServicePtr>(cell);
}

ServicePtr connect_embedded(const std::string& data_dir,
                            const Optional<c10::List<std::string>>& base_models) {
  leave_python_at_its_exit();
  ConnectOptions options = to_connect_options("", "", data_dir, base_models);
  options.where = Backend::kEmbedded;
  const WaitPass pass;
  return value_or_throw(make_service(std::move(options)));
}

void register_connect_kernels(torch::Library& library) {
  using Connect = RemoteOp<&start_connect>;
  library.impl("connect_async", TORCH_FN(Connect::async));
  library.impl("connect_future", torch::CppFunction::makeFromBoxedFunction<&Connect::future>());
  library.impl("connect_embedded", TORCH_FN(connect_embedded));
}

}  // namespace tinkex::torch_ext
