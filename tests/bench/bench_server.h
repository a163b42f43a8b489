#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/bench/epoll_server.h"

namespace tinkex::bench {

struct BenchServerOptions {
  /// From the submission of a sample until its result is there.
  std::chrono::milliseconds sample_delay{0};
  /// A poll whose result is not there is held so long, and then answered 408.
  std::chrono::milliseconds hold{20'000};
  std::size_t sampled_tokens = 32;
  /// Targets of each datum that a forward_backward brings; its result has a logprob for each.
  std::size_t target_tokens = 1'024;
};

/// Speaks the training API with no model behind it, as fast as it can: a request costs it little
/// more than HTTP. The results are made beforehand, in protobuf. An id of a future says all that a
/// poll needs, so that nothing is looked up; it is 25 characters long and comes first in the reply.
///
/// Beside the API it answers /bench/counts (requests and most connections since the last reset),
/// /bench/heartbeats (steady-clock nanoseconds of create_session and of the heartbeats) and
/// /bench/reset.
class BenchServer {
 public:
  explicit BenchServer(const BenchServerOptions& options);

  std::string base_url() const;
  /// Until `end_fd` has something to read, or is closed by its other end.
  void serve(int end_fd) { server_.serve(end_fd); }

 private:
  struct FutureId;
  using Text = std::shared_ptr<const std::string>;

  EpollServer::Answer handle(const EpollRequest& request);
  EpollServer::Answer poll(std::string_view body);
  EpollReply serve_api(std::string_view endpoint, std::string_view body);
  EpollReply serve_books(std::string_view what);
  EpollReply submitted(char kind, std::chrono::milliseconds delay, std::uint32_t number) const;
  EpollReply result(const FutureId& id);
  void count(std::string_view endpoint);

  const BenchServerOptions options_;
  const Text sample_;
  std::map<std::string, std::size_t, std::less<>> counts_;
  std::vector<std::int64_t> heartbeats_;
  std::map<std::uint32_t, Text> batches_;
  std::uint32_t samples_ = 0;
  EpollServer server_;
};

}  // namespace tinkex::bench
