#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tinkex/async/tbb_executor.h"
#include "tinkex/base/mutex.h"
#include "tinkex/connection/service_context.h"
#include "tinkex/session/config_refresh.h"
#include "tinkex/session/heartbeat.h"

namespace tinkex::internal {

class IoThread;

/// Owns what a service runs on, opens its session and ends it.
///
/// Shutdown, in this order: mark the runtime closed; stop the I/O thread, which ends every exchange
/// and wakes every timer, so that each state machine settles with kClosed; wake callers that wait
/// for a byte budget; let the executor finish its tasks.
class ServiceCore {
 public:
  static Result<std::shared_ptr<ServiceCore>> connect(ClientOptions options);
  ~ServiceCore();

  const std::shared_ptr<ServiceContext>& context() const noexcept { return context_; }
  void close() TINKEX_EXCLUDES(mutex_);

 private:
  ServiceCore() = default;
  bool in_forked_child() const;
  /// Leaves everything undestroyed: ending it would join threads that a child of fork has not got.
  void give_up();
  /// What everything runs on; nothing is sent yet.
  Status start_runtime(ClientOptions options);
  Status open_session();
  void start_heartbeat();
  /// Best effort: a server that does not know the call, or is gone, changes nothing.
  void tell_finished();
  /// Follows client/dynamic_config, from now on.
  void start_config_refresh();
  void apply_server_config(std::string_view body);

  std::shared_ptr<ServiceContext> context_;
  std::shared_ptr<IoThread> io_;
  std::shared_ptr<TbbExecutor> own_executor_;  // null when the caller brought one
  std::shared_ptr<Heartbeat> heartbeat_;
  std::shared_ptr<ConfigRefresh> config_refresh_;

  Mutex mutex_;
  bool closed_ TINKEX_GUARDED_BY(mutex_) = false;
};

}  // namespace tinkex::internal
