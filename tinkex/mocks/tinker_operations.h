#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "tinkex/base/mutex.h"
#include "tinkex/mocks/scripted_server.h"
#include "tinkex/wire/codec.h"

namespace tinkex::mocks {

/// One operation that a TinkerScript has accepted.
struct Operation {
  /// Its endpoint, `forward_backward` for example; `forward` also when it came as a
  /// forward_backward with forward_only.
  std::string kind;
  std::string request_id;
  std::string owner;          ///< Model, or sampling session.
  std::int64_t seq_id = 0;    ///< 0: none was sent.
  std::size_t log_index = 0;  ///< Of the accepted request in the server's log.
  int submissions = 1;        ///< How often it was submitted, repeats included.
  int polls = 0;              ///< How often its result was asked for.
  std::string body;           ///< As submitted.
  /// What a forward or forward_backward carries; null for the other kinds.
  std::shared_ptr<const wire::ForwardBackwardRequest> batch;

  std::size_t examples() const noexcept { return batch ? batch->data.size() : 0; }
};

/// How one operation is to go. The default: accepted at once, its result ready at once.
struct OperationPlan {
  /// Answers to its first submissions, which then are not accepted.
  std::vector<Reply> refusals{};
  /// Answers to its first accepted submissions, instead of the id of its future: the operation is
  /// carried out, and the client does not hear of it.
  std::vector<Reply> lost{};
  /// Before the submission's answer.
  std::chrono::milliseconds submit_delay{0};
  std::shared_ptr<Gate> submit_gate{};
  /// Answers to its first polls, instead of the result.
  std::vector<Reply> polls{};
  /// Holds every poll after those.
  std::shared_ptr<Gate> result_gate{};
  std::chrono::milliseconds result_delay{0};
  /// Opened when the result has been sent.
  std::shared_ptr<Gate> result_opens{};
  /// The result; default: what the TinkerScript computes.
  std::optional<Reply> result{};
  /// The result is the answer to the submission; there is no future.
  bool immediate = false;
};

/// Computes the result of an operation for a poll with this Accept header.
using ResultFn = std::function<Reply(const Operation&, std::string_view accept)>;
/// Plans an operation when it is submitted for the first time.
using PlanFn = std::function<OperationPlan(const Operation&)>;

/// The endpoints that take operations.
inline constexpr std::array<std::string_view, 8> kOperationEndpoints{
    "create_model", "forward_backward",         "forward",      "optim_step",
    "save_weights", "save_weights_for_sampler", "load_weights", "asample"};

/// The operation that a request to one of them asks for, as yet without a request id; a model that
/// is to be created has no name yet. kDecode if the request makes no sense.
Result<Operation> read_operation(const std::string& endpoint, const LoggedRequest& request);

/// What a TinkerScript answers, without the socket: the operations and their plans. Thread-safe.
class TinkerOperations {
 public:
  /// Answers the submission of an operation to `endpoint`, `optim_step` for example.
  Reply submit(const std::string& endpoint, const LoggedRequest& request);
  /// Answers retrieve_future.
  Reply poll(const LoggedRequest& request);
  Reply create_sampling_session();
  Reply get_info(const LoggedRequest& request) const;

  void plan(std::string kind, OperationPlan plan);
  void plan_each(PlanFn plan);
  void set_result(std::string kind, ResultFn result);
  std::vector<Operation> operations(std::string_view kind) const;

 private:
  /// Repeats are recognised by it; a submission without a sequence id never is one.
  using Key = std::tuple<std::string, std::int64_t>;
  struct Entry {
    Operation operation;
    OperationPlan plan;
    bool accepted = false;
  };

  std::shared_ptr<Entry> entry_for(Operation operation) TINKEX_REQUIRES(mutex_);
  OperationPlan plan_for(const Operation& operation) TINKEX_REQUIRES(mutex_);
  void accept(const std::shared_ptr<Entry>& entry) TINKEX_REQUIRES(mutex_);
  std::string future_json(const Operation& operation) const;
  ResultFn result_fn(const std::string& kind) const TINKEX_REQUIRES(mutex_);

  mutable internal::Mutex mutex_;
  std::map<std::string, std::deque<OperationPlan>> plans_ TINKEX_GUARDED_BY(mutex_);
  PlanFn plan_each_ TINKEX_GUARDED_BY(mutex_);
  std::map<std::string, ResultFn> results_ TINKEX_GUARDED_BY(mutex_);
  std::map<Key, std::shared_ptr<Entry>> by_key_ TINKEX_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<Entry>> accepted_ TINKEX_GUARDED_BY(mutex_);
  int models_ TINKEX_GUARDED_BY(mutex_) = 0;
  int samplers_ TINKEX_GUARDED_BY(mutex_) = 0;
};

}  // namespace tinkex::mocks
