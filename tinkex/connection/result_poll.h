#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "tinkex/async/poll_loop.h"
#include "tinkex/connection/cancel_future.h"
#include "tinkex/connection/service_context.h"
#include "tinkex/future.h"

namespace tinkex::internal {

/// How the result of one operation is asked for and read.
template <class T>
struct ResultSpec {
  std::string what;          ///< Named in errors.
  std::string request_type;  ///< X-Tinker-Request-Type: "OptimStep".
  bool may_be_binary = false;
  bool cancellable = false;  ///< The server may be told that nobody waits any more.
  std::function<Result<T>(const HttpResponse&)> decode;
  LastWordPtr last_word = nullptr;  ///< Of the call. May be null.
};

/// The poll request of `spec`, without id and iteration.
HttpRequest poll_request(const ServiceContext& service, const std::string& request_type,
                         bool may_be_binary);

/// Polls for `request_id` and settles `cell` with the decoded result. Cancelling the cell stops the
/// poll. The decoder runs on the executor; whatever it throws becomes the error.
template <class T>
void poll_into(const std::shared_ptr<const ServiceContext>& service, const std::string& request_id,
               const ResultSpec<T>& spec, const std::shared_ptr<ResultCell<T>>& cell,
               std::uint64_t announced_bytes = 0) {
  PollTarget target;
  target.request_id = request_id;
  target.announced_bytes = announced_bytes;
  target.result_bytes = service->result_bytes;
  target.http = poll_request(*service, spec.request_type, spec.may_be_binary);
  target.what = spec.what;
  target.limiter = service->limiter;
  target.last_word = spec.last_word;
  target.max_failing = service->options.max_poll_failing;
  auto loop =
      PollLoop::start(service->runtime, service->polls, std::move(target),
                      [cell, request_id, decode = spec.decode,
                       transport = service->runtime->transport](Result<HttpResponse> reply) {
                        if (!reply.ok()) {
                          cell->set(std::move(reply).error());
                          return;
                        }
                        const auto decode_reply = [&decode, &reply] { return decode(*reply); };
                        Result<T> result = invoke_guarded<T>(decode_reply);
                        transport->recycle(std::move(reply->body));
                        // By its id the server's operators find what could not be read.
                        if (!result.ok() && result.error().code() == ErrorCode::kDecode) {
                          result = std::move(result).error().with_request_id(request_id);
                        }
                        cell->set(std::move(result));
                      });
  const bool pending = cell->on_cancel(
      [weak = std::weak_ptr<PollLoop>(loop), service, request_id, tell = spec.cancellable] {
        if (auto poll = weak.lock()) poll->cancel();
        if (tell) tell_cancelled(service, request_id);
      });
  if (pending) return;
  loop->cancel();
  // It was cancelled before the hook was there, or the result came as fast.
  if (spec.cancellable && cell->was_ended()) tell_cancelled(service, request_id);
}

}  // namespace tinkex::internal
