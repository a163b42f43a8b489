#include "tinkex/connection/cancel_future.h"

#include <utility>

#include "tinkex/api/messages.h"
#include "tinkex/retry/retry_loop.h"

namespace tinkex::internal {
namespace {

constexpr std::chrono::milliseconds kCancelTimeout{30'000};
// Against a lost connection or a busy server; all within that time, as others wait to be told of.
constexpr int kMostAttempts = 3;

}  // namespace

void tell_cancelled(const std::shared_ptr<const ServiceContext>& service,
                    const std::string& request_id) {
  if (!service->cancel_enabled.load() || service->runtime->closed.load()) return;
  RetryableRequest request;
  request.http = service->request("cancel_future");
  request.http.timeout = kCancelTimeout;
  request.http.body = api::cancel_future_request(request_id);
  request.retry.max_attempts = kMostAttempts;
  request.retry.max_elapsed = kCancelTimeout;
  request.what = "cancel_future";
  request.limiter = service->limiter;
  auto loop = std::make_shared<RetryLoop>(service->runtime, std::move(request));
  service->cancels->enter([service, loop] {
    loop->start([service](const Result<HttpResponse>&) { service->cancels->leave(); });
  });
}

}  // namespace tinkex::internal
