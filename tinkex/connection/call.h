#pragma once

#include <algorithm>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "tinkex/api/messages.h"
#include "tinkex/connection/result_poll.h"
#include "tinkex/connection/service_context.h"
#include "tinkex/future.h"
#include "tinkex/retry/retry_loop.h"

namespace tinkex::internal {

/// A request outside every model's order: set-up calls and reads.
template <class T>
struct Call {
  std::string what;
  HttpRequest http;
  /// Reads the reply of a call that is answered at once.
  std::function<Result<T>(const HttpResponse&)> decode;
  /// Lowers ClientOptions::retry where somebody waits for the answer, but not for a server that
  /// itself says when to ask again.
  int most_attempts = std::numeric_limits<int>::max();
  LastWordPtr last_word = nullptr;  ///< Of a call with a deadline.
  /// Of what makes something go: a 404 after an attempt of unknown outcome is the success of that
  /// attempt, and is decoded as an empty reply.
  bool gone_means_done = false;
};

/// Sends `call`, repeated as ClientOptions::retry says, and gives the decoded reply.
template <class T>
Future<T> send_call(const std::shared_ptr<const ServiceContext>& service, Call<T> call) {
  RetryableRequest request;
  request.http = std::move(call.http);
  request.retry = service->options.retry;
  request.most_attempts_unasked = call.most_attempts;
  request.what = call.what;
  request.limiter = service->limiter;
  request.last_word = call.last_word;
  if (call.gone_means_done) {
    request.done_before = DoneBefore{
        .status = 404,
        .reply = "",
        .doubt =
            "an attempt got no answer, and this one may be a proxy's: ask again whether it is "
            "gone"};
  }
  auto loop = std::make_shared<RetryLoop>(service->runtime, std::move(request));
  auto cell = std::make_shared<ResultCell<T>>(service->runtime->executor,
                                              [weak = std::weak_ptr<RetryLoop>(loop)] {
                                                if (auto running = weak.lock()) running->cancel();
                                              });
  loop->start([cell, decode = std::move(call.decode)](Result<HttpResponse> reply) {
    if (!reply.ok()) {
      cell->set(std::move(reply).error());
      return;
    }
    const auto decode_reply = [&decode, &reply] { return decode(*reply); };
    cell->set(invoke_guarded<T>(decode_reply));
  });
  return Future<T>(std::move(cell));
}

/// Sends `call`, whose reply names a future, and gives the future's result. A reply that is the
/// result already is read by the same decoder.
template <class T>
Future<T> send_call_and_poll(const std::shared_ptr<const ServiceContext>& service, Call<T> call,
                             std::string request_type) {
  ResultSpec<T> spec{.what = call.what,
                     .request_type = std::move(request_type),
                     .may_be_binary = false,
                     .decode = call.decode,
                     .last_word = call.last_word};
  Call<HttpResponse> submit{
      .what = std::move(call.what),
      .http = std::move(call.http),
      .decode = [](const HttpResponse& reply) -> Result<HttpResponse> { return reply; },
      .most_attempts = call.most_attempts,
      .last_word = std::move(call.last_word),
      .gone_means_done = call.gone_means_done};
  return send_call(service, std::move(submit))
      .then([service, spec](Result<HttpResponse> reply) -> Future<T> {
        auto cell = std::make_shared<ResultCell<T>>(service->runtime->executor);
        if (!reply.ok()) {
          cell->set(std::move(reply).error());
        } else if (const auto id = api::parse_request_id(reply->body); !id.ok()) {
          cell->set(Error(id.error()).with_context(spec.what));
        } else if (!id->empty()) {
          poll_into(service, *id, spec, cell);
        } else {
          cell->set(spec.decode(*reply));
        }
        return Future<T>(std::move(cell));
      });
}

}  // namespace tinkex::internal
