#include "tinkex/connection/service_context.h"

#include "tinkex/connection/result_poll.h"
#include "tinkex/training/strand.h"
#include "tinkex/version.h"

namespace tinkex::internal {
namespace {

constexpr std::uint64_t kMostReplyBytes = std::uint64_t{4} << 20;

}  // namespace

Status ServiceContext::check_process() const {
  if (!process.in_forked_child()) return ok_status();
  return Error(
             ErrorCode::kClosed,
             "this client was made before fork(), and the threads that serve it are in the parent "
             "process; connect a new service in this process, or start processes without fork "
             "(in Python: multiprocessing.set_start_method('spawn'))")
      .with_not_accepted(true);
}

HttpRequest ServiceContext::request(std::string_view path, std::string_view method) const {
  HttpRequest request;
  request.method = method;
  request.url = options.base_url + "/api/v1/" + std::string(path);
  request.headers = {
      {"Accept", "application/json"}, {"User-Agent", kUserAgent}, {"x-sdk-version", kSdkVersion}};
  // Of a body that is empty, too: libcurl would call it a form.
  if (method != "GET") request.headers.emplace_back("Content-Type", "application/json");
  if (!options.api_key.empty()) {
    request.headers.emplace_back("X-API-Key", std::string(options.api_key.reveal()));
  }
  for (const auto& header : options.default_headers) request.headers.push_back(header);
  request.timeout = options.request_timeout;
  request.connect_timeout = options.connect_timeout;
  request.max_response_bytes = kMostReplyBytes;
  return request;
}

void ServiceContext::watch(const std::shared_ptr<Strand>& strand) {
  MutexLock lock(mutex);
  std::erase_if(strands, [](const std::weak_ptr<Strand>& known) { return known.expired(); });
  strands.push_back(strand);
}

void ServiceContext::wake_strands() {
  std::vector<std::weak_ptr<Strand>> waiting;
  {
    MutexLock lock(mutex);
    waiting = strands;
  }
  for (const auto& weak : waiting) {
    if (auto strand = weak.lock()) strand->wake();
  }
}

HttpRequest poll_request(const ServiceContext& service, const std::string& request_type,
                         bool may_be_binary) {
  HttpRequest request = service.request("retrieve_future");
  request.timeout = service.options.poll_timeout;
  request.max_response_bytes = HttpRequest().max_response_bytes;
  request.headers.emplace_back("X-Tinker-Request-Type", request_type);
  if (may_be_binary) request.headers.front().second = service.codec().content_type();
  return request;
}

}  // namespace tinkex::internal
