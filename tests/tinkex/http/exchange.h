#pragma once

#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "tinkex/transport.h"

namespace tinkex::http {

inline std::shared_ptr<const ByteBuffer> bytes(std::string_view text) {
  auto buffer = std::make_shared<ByteBuffer>();
  buffer->append(text);
  return buffer;
}

inline HttpRequest post(std::string url, std::string_view body, HttpHeaders headers = {}) {
  HttpRequest request;
  request.url = std::move(url);
  request.headers = std::move(headers);
  request.body = bytes(body);
  return request;
}

/// Sends and gives what the callback will get.
inline std::future<Result<HttpResponse>> start(Transport& transport, HttpRequest request,
                                               Transport::RequestId* id = nullptr) {
  const auto promise = std::make_shared<std::promise<Result<HttpResponse>>>();
  auto future = promise->get_future();
  const auto sent = transport.send(std::move(request), [promise](Result<HttpResponse> result) {
    promise->set_value(std::move(result));
  });
  if (id != nullptr) *id = sent;
  return future;
}

/// Sends and waits.
inline Result<HttpResponse> fetch(Transport& transport, HttpRequest request) {
  return start(transport, std::move(request)).get();
}

}  // namespace tinkex::http
