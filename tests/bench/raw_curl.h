#pragma once

#include <curl/curl.h>

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tinkex/transport.h"

namespace tinkex::bench {

/// URL and headers that many requests share.
struct RawEndpoint {
  std::string url;
  curl_slist* headers = nullptr;

  /// Takes them from a request as tinkex would send it.
  explicit RawEndpoint(const HttpRequest& request);
  RawEndpoint(const RawEndpoint&) = delete;
  RawEndpoint& operator=(const RawEndpoint&) = delete;
  ~RawEndpoint() { curl_slist_free_all(headers); }
};

struct RawRequest {
  const RawEndpoint* endpoint = nullptr;
  std::string_view body;
  std::size_t index = 0;  ///< The caller's.
};

/// The floor: one multi handle on the calling thread, as many easy handles as connections, each
/// with its options set once. It reads a reply into memory and does nothing else with it: no
/// timeouts, no retries, no parsing.
class RawCurl {
 public:
  /// Gets each reply; may push further requests. Throw to stop.
  using OnReply = std::function<void(const RawRequest&, std::string_view body)>;

  explicit RawCurl(std::size_t connections);
  RawCurl(const RawCurl&) = delete;
  RawCurl& operator=(const RawCurl&) = delete;
  ~RawCurl();

  void push(const RawRequest& request) { queue_.push_back(request); }
  /// Sends what was pushed, oldest first, until nothing is left.
  void run(const OnReply& on_reply);

 private:
  struct Slot {
    CURL* easy = nullptr;
    std::string reply;
    RawRequest request;
  };

  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* slot);
  /// Whether there was something to start.
  bool start_waiting();
  void finish(CURL* easy, CURLcode code, const OnReply& on_reply);

  CURLM* const multi_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> idle_;
  std::deque<RawRequest> queue_;
};

}  // namespace tinkex::bench
