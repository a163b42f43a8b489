#include "torch_ext/local/embedded_backend.h"

#include <utility>

#include "torch_ext/local/in_process_transport.h"
#include "torch_ext/local/router.h"

namespace tinkex::torch_ext::local {

Result<std::shared_ptr<Transport>> start_embedded_backend(BackendOptions options) {
  auto backend = Backend::create(std::move(options));
  if (!backend) return backend.error();
  return std::shared_ptr<Transport>(std::make_shared<InProcessTransport>(*std::move(backend)));
}

}  // namespace tinkex::torch_ext::local
