#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tinkex/mocks/scripted_server.h"
#include "tinkex/mocks/tinker_operations.h"
#include "tinkex/options.h"

namespace tinkex::mocks {

/// A ScriptedServer that speaks the training API, without any model behind it, for tests of
/// clients. Thread-safe.
///
/// Results are plausible and tell operations apart. A token's logprob is the token negated: of the
/// targets in forward and forward_backward, whose `loss:sum` is what follows from them and the
/// weights; of the tokens of a sample; and, if prompt_logprobs or topk_prompt_logprobs ask for
/// them, of its prompt, undefined at the first token (there is no top-k table). A sample repeats
/// its prompt; it ends with kLength if max_tokens cuts that or is just reached, else with kStop. A
/// model is called `model-1`, `model-2`, ... and get_info tells the base model and the rank it was
/// created with.
///
/// Repeats of a submission, recognised by owner and seq_id, get the first answer again. The
/// endpoints without a future can be overridden with `server().script("POST", path(...), ...)`.
class TinkerScript {
 public:
  using ResultFn = mocks::ResultFn;

  TinkerScript();

  ScriptedServer& server() noexcept { return server_; }
  const ScriptedServer& server() const noexcept { return server_; }
  std::string base_url() const { return server_.base_url(); }
  /// Path of an endpoint, for the server's log and its routes: `optim_step` is
  /// `/api/v1/optim_step`.
  static std::string path(std::string_view endpoint);
  /// Options for a client of this server, with pauses short enough for a test: a refused submission
  /// is sent again after 5 ms, and eight times in all.
  ClientOptions options() const;

  /// Plans the next operation of this kind that has no plan yet.
  void plan(std::string kind, OperationPlan plan);
  /// Plans every operation that plan() has no plan for, when it is first submitted. Runs on the
  /// server's thread; it must return quickly and not call this object.
  void plan_each(PlanFn plan);
  /// Plans the next operations of this kind, one per number, whose results are to be answered in
  /// this order: `{2, 0, 1}` gives the third one's first. Every number below its size comes once.
  void reorder(const std::string& kind, const std::vector<std::size_t>& order);
  /// Replaces how results of this kind are computed.
  void set_result(std::string kind, ResultFn result);

  /// What was accepted so far, in that order; of one kind, or all.
  std::vector<Operation> operations(std::string_view kind = {}) const;

  /// Answers to a poll: not yet, with a pause before the next poll if one is given; and failed.
  static Reply try_again(std::string queue_state = "active",
                         std::optional<std::chrono::milliseconds> retry_after = std::nullopt);
  static Reply failed(std::string error, std::string category);

 private:
  void add_service_routes();
  void add_operation_routes();

  const std::shared_ptr<TinkerOperations> state_;
  // Last: its thread uses the state until it is gone.
  ScriptedServer server_;
};

}  // namespace tinkex::mocks
