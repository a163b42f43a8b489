#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tinkex/base/mutex.h"
#include "tinkex/mocks/scripted_server.h"
#include "tinkex/options.h"
#include "tinkex/wire/codec.h"

namespace tinkex::testing {

/// One training operation as the server saw it.
struct Operation {
  std::string path;
  std::int64_t seq_id = 0;
  std::size_t examples = 0;
  std::vector<std::int64_t> first_tokens;  ///< First prompt token of each example.
  mocks::LoggedRequest request;
};

/// A scripted server that speaks the happy path of the API. Results can be checked: an example's
/// `logprobs` is its own first token. Faults are scripted over it: script() on `server()` for a
/// path goes first, and `hold(id)` keeps a future's result back.
class TinkerServer {
 public:
  TinkerServer();

  mocks::ScriptedServer& server() noexcept { return server_; }
  static std::string path(std::string_view endpoint) { return "/api/v1/" + std::string(endpoint); }
  /// Options for a client of this server, with short pauses.
  ClientOptions options() const;

  /// Scripts replies for an endpoint, used before the happy path.
  void script(std::string_view endpoint, std::vector<mocks::Reply> replies) {
    server_.script("POST", path(endpoint), std::move(replies));
  }
  /// The reply of the next polls for `request_id`, each used once, before the result.
  void script_poll(const std::string& request_id, std::vector<mocks::Reply> replies);

  /// forward_backward, forward and optim_step requests in the order of arrival, decoded.
  std::vector<Operation> operations() const;
  std::size_t polls(const std::string& request_id) const;

 private:
  mocks::Reply submit(const mocks::LoggedRequest& request, const std::string& prefix);
  mocks::Reply poll(const mocks::LoggedRequest& request);
  Operation decode(const mocks::LoggedRequest& request) const;

  mutable internal::Mutex mutex_;
  std::map<std::string, mocks::Reply> results_ TINKEX_GUARDED_BY(mutex_);
  std::map<std::string, std::vector<mocks::Reply>> scripted_polls_ TINKEX_GUARDED_BY(mutex_);
  std::map<std::string, std::size_t> polls_ TINKEX_GUARDED_BY(mutex_);
  int samples_ TINKEX_GUARDED_BY(mutex_) = 0;
  mocks::ScriptedServer server_;  // last: its thread calls the members above
};

}  // namespace tinkex::testing
