#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tinkex/error.h"
#include "tinkex/transport.h"
#include "torch_ext/local/api.h"
#include "torch_ext/local/backend_options.h"

namespace tinkex::torch_ext::local {

/// A request as a front end has it. The views must live until handle() returns.
struct BackendRequest {
  std::string_view method;
  /// Path and query; whatever stands before `/api/v1/` is ignored.
  std::string_view target;
  /// Value of a header by its lower-case name, or empty.
  std::function<std::string_view(std::string_view name)> header;
  std::string_view body;
};

/// The embedded backend: the API without a wire. Two front ends share it, the loopback server and
/// the in-process transport. Thread-safe.
class Backend {
 public:
  /// Errors: kIo if the data directory cannot be used.
  static Result<std::shared_ptr<Backend>> create(BackendOptions options);
  /// Shuts down.
  ~Backend();

  /// Answers by `respond`, exactly once: before it returns, or later from another thread. Never
  /// waits for a model; never throws.
  void handle(const BackendRequest& request, Responder respond) noexcept;

  /// What torch_ext/adapter.h offers. They work on the caller's thread, beside requests.
  Result<std::filesystem::path> checkpoint_folder(std::string_view path) const;
  Result<std::string> import_adapter(const std::filesystem::path& folder, const std::string& name,
                                     const std::string& base_model);

  /// Refuses new work, cuts the running operation short (see Service::shutdown), and answers every
  /// poll. Idempotent. Must not be called from a responder.
  void shutdown() noexcept;

 private:
  explicit Backend(std::shared_ptr<Service> service);

  void dispatch(const BackendRequest& request, const Responder& respond);

  const std::shared_ptr<Service> service_;
  const std::vector<Route> routes_;
  std::atomic<bool> stopped_{false};
};

}  // namespace tinkex::torch_ext::local
