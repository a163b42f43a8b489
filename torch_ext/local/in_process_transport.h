#pragma once

#include <memory>

#include "tinkex/transport.h"
#include "torch_ext/local/router.h"

namespace tinkex::torch_ext::local {

/// A Transport that hands requests to a backend in the same process, without a socket.
///
/// One thread of its own takes requests, calls the backend and runs the callbacks, so that send()
/// neither blocks nor takes a lock. Shutting it down shuts the backend down too.
class InProcessTransport final : public Transport {
 public:
  explicit InProcessTransport(std::shared_ptr<Backend> backend);
  /// Shuts down.
  ~InProcessTransport() override;

  RequestId send(HttpRequest request, Callback callback) noexcept override;
  void cancel(RequestId id) noexcept override;
  void shutdown() noexcept override;

 private:
  class Loop;

  const std::shared_ptr<Loop> loop_;
};

}  // namespace tinkex::torch_ext::local
