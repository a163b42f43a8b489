#include "tests/tinkex/schedules/faults.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <utility>

#include "tinkex/mocks/tinker_script.h"

namespace tinkex::testing {
namespace {

using mocks::Fault;
using mocks::Reply;
using mocks::TinkerScript;
using std::chrono::milliseconds;

/// An answer, and what the client may conclude from it.
struct Answer {
  std::string text;
  Reply reply;
  bool outcome_unknown = true;
};

constexpr std::size_t kAnnounced = 400;  // bytes of a body that is cut

std::string pause_text(Dice& dice, const FaultLimits& limits) {
  return std::to_string(dice.between(1, limits.longest_pause));
}

/// A 429 in one of its spellings.
Answer too_many(Dice& dice, const FaultLimits& limits) {
  Reply reply = Reply::json(R"({"detail":"slow down"})", 429);
  switch (dice.between(0, 3)) {
    case 0: reply.headers.emplace_back("retry-after-ms", pause_text(dice, limits)); break;
    case 1: reply.headers.emplace_back("retry-after", limits.virtual_time ? "2" : "0.005"); break;
    case 2:
      reply.headers.emplace_back("retry-after", "nonsense");
      reply.headers.emplace_back("retry-after-ms", "5");
      break;
    default: reply.body = R"({"detail":"slow down","retry_after_ms":7})"; break;
  }
  return {"429", std::move(reply), false};
}

/// The connection breaks, in one of the ways in which it can.
Answer broken(Dice& dice, const FaultLimits& limits) {
  const std::size_t sent = static_cast<std::size_t>(dice.between(0, 300));
  switch (dice.between(0, limits.virtual_time ? 6 : 5)) {
    case 0: return {"reset without answer", Reply::hang_up(Fault::kReset)};
    case 1: return {"close without answer", Reply::hang_up()};
    case 2: return {"body cut by reset", Reply::broken(Fault::kReset, kAnnounced, sent)};
    case 3: return {"body cut by close", Reply::broken(Fault::kClose, kAnnounced, sent)};
    case 4: return {"half close", Reply::broken(Fault::kHalfClose, kAnnounced, sent)};
    case 5: return {"not HTTP", Reply::garbage("\x01\x02 not HTTP\r\n\r\n")};
    default: return {"stall", Reply::broken(Fault::kStall, kAnnounced, sent)};
  }
}

/// A refusal that a submission is repeated after; `conflict`: also when it is a 409.
Answer soft_refusal(Dice& dice, const FaultLimits& limits, bool conflict) {
  switch (dice.between(0, conflict ? 7 : 6)) {
    case 0: return {"408", Reply::json("{}", 408)};
    case 1: return too_many(dice, limits);
    case 2: return {"500", Reply::with_type("text/html", "<h1>Internal Server Error</h1>", 500)};
    case 3:
      return {"503",
              Reply::json("{}", 503).with_header("retry-after-ms", pause_text(dice, limits))};
    case 4:
      return {"400 but repeat", Reply::json("{}", 400).with_header("x-should-retry", "true"),
              false};
    case 5:
    case 6: return broken(dice, limits);
    default: return {"409", Reply::json(R"({"detail":"in progress"})", 409)};
  }
}

/// A refusal for good; `conflict`: a 409 would be one.
Answer hard_refusal(Dice& dice, bool conflict) {
  switch (dice.between(0, conflict ? 6 : 5)) {
    case 0: return {"400", Reply::json(R"({"detail":"no"})", 400), false};
    case 1: return {"403", Reply::json(R"({"detail":"no"})", 403), false};
    case 2: return {"404", Reply::json(R"({"detail":"no"})", 404), false};
    case 3: return {"413", Reply::json(R"({"detail":"no"})", 413), false};
    case 4: return {"503 for good", Reply::json("{}", 503).with_header("x-should-retry", "false")};
    case 5: return {"500 of the user", Reply::json(R"({"category":"user"})", 500)};
    default: return {"409 at first", Reply::json(R"({"detail":"no"})", 409)};
  }
}

/// An answer to a poll after which the client must ask again.
Answer soft_poll(Dice& dice, const FaultLimits& limits) {
  const auto pause = milliseconds(dice.between(0, limits.longest_pause));
  switch (dice.between(0, limits.virtual_time ? 8 : 5)) {
    case 0: return {"try again", TinkerScript::try_again()};
    case 1: return {"try again after a pause", TinkerScript::try_again("paused_capacity", pause)};
    case 2: return {"408", Reply::json("{}", 408)};
    case 3: return {"pending", Reply::json(R"({"status":"pending","request_id":"x"})")};
    case 4: return broken(dice, limits);
    case 5: return {"503", Reply::json("{}", 503).with_header("retry-after-ms", "3")};
    case 6: return too_many(dice, limits);
    case 7: return {"402", Reply::json(R"({"detail":"pay"})", 402)};
    default: return {"408 try again", Reply::json(R"({"type":"try_again"})", 408)};
  }
}

/// How an operation ends without a result, and with which code its call then fails.
std::pair<Answer, ErrorCode> bad_end(Dice& dice, CallKind kind) {
  const std::string cut("\x0a\x7f\x01\x02", 4);  // a field that is longer than what follows
  switch (dice.between(0, is_batch(kind) ? 9 : 8)) {
    case 0:
      return {{"failed: user", TinkerScript::failed("no", "user")}, ErrorCode::kRequestFailed};
    case 1:
      return {{"failed: server", TinkerScript::failed("no", "server")}, ErrorCode::kRequestFailed};
    case 2: return {{"410", Reply::json(R"({"detail":"gone"})", 410)}, ErrorCode::kHttpStatus};
    case 3: return {{"404", Reply::json(R"({"detail":"no"})", 404)}, ErrorCode::kHttpStatus};
    case 4: return {{"bad JSON", Reply::json(R"({"metrics":{"loss)")}, ErrorCode::kDecode};
    case 5: return {{"truncated protobuf", Reply::protobuf(cut)}, ErrorCode::kDecode};
    case 6: return {{"HTML", Reply::with_type("text/html", "<html>oops")}, ErrorCode::kDecode};
    case 7: return {{"protobuf called JSON", Reply::json(cut)}, ErrorCode::kDecode};
    case 8:
      return {{"only the size, again and again", Reply::json(R"({"status":"complete_metadata"})")},
              ErrorCode::kDecode};
    default:
      return {{"no outputs", Reply::json(R"({"loss_fn_outputs":[],"metrics":{}})")},
              ErrorCode::kDecode};
  }
}

class Planner {
 public:
  Planner(Dice& dice, CallKind kind, const FaultLimits& limits)
      : dice_(dice), kind_(kind), limits_(limits) {}

  RequestPlan make() {
    if (dice_.once_in(3)) {
      submission();
    } else if (kind_ != CallKind::kSample && dice_.once_in(8)) {
      immediate();
    }
    if (!plan_.fatal && !plan_.server.immediate) polls();
    if (dice_.once_in(3)) plan_.server.submit_delay = milliseconds(dice_.between(0, 40));
    if (dice_.once_in(3)) plan_.server.result_delay = milliseconds(dice_.between(0, 60));
    return std::move(plan_);
  }

 private:
  void note(const std::string& text) { plan_.text += (plan_.text.empty() ? "" : ", ") + text; }

  bool is_save() const { return kind_ == CallKind::kSave || kind_ == CallKind::kSaveForSampler; }

  void fail_submission(ErrorCode code) {
    plan_.fatal = code;
    plan_.fatal_at_submission = true;
  }

  void submission() {
    const bool repeats = limits_.max_attempts > 1;
    const int soft = repeats ? dice_.between(0, std::min(3, limits_.max_attempts - 2)) : 0;
    if (limits_.virtual_time && repeats && dice_.once_in(6)) {
      plan_.unreachable = dice_.once_in(6) ? limits_.max_attempts : dice_.between(1, 2);
      note("unreachable x " + std::to_string(plan_.unreachable));
      if (plan_.unreachable == limits_.max_attempts) return fail_submission(ErrorCode::kConnection);
    }
    for (int i = 0; i < soft; ++i) {
      // To a save a 409 says that it is done, which an honest server says only when it is.
      refuse(soft_refusal(dice_, limits_, plan_.outcome_unknown && !is_save()));
    }
    switch (dice_.between(0, 9)) {
      case 0:
        refuse(hard_refusal(dice_, !plan_.outcome_unknown));
        return fail_submission(ErrorCode::kHttpStatus);
      case 1: return exhaust();
      case 2: return unreadable();
      case 3:
      case 4:
      case 5: return lose();
      default: return;
    }
  }

  void refuse(Answer answer) {
    note("refused: " + answer.text);
    plan_.outcome_unknown = plan_.outcome_unknown || answer.outcome_unknown;
    if (dice_.once_in(4)) answer.reply.delay = milliseconds(dice_.between(1, 30));
    plan_.server.refusals.push_back(std::move(answer.reply));
    plan_.unknown_after.push_back(answer.outcome_unknown);
  }

  /// As many refusals as there are attempts.
  void exhaust() {
    while (static_cast<int>(plan_.server.refusals.size()) < limits_.max_attempts) {
      refuse(dice_.once_in(2) ? Answer{"503", Reply::json("{}", 503)} : too_many(dice_, limits_));
    }
    fail_submission(ErrorCode::kHttpStatus);
  }

  /// Carried out, and the answer names no future.
  void unreadable() {
    note("accepted with bad JSON");
    plan_.server.lost = {Reply::json(R"({"request_id":)")};
    plan_.fatal = ErrorCode::kDecode;
    plan_.no_id = true;
  }

  /// Carried out, and the client hears of it only when it repeats the request.
  void lose() {
    if (limits_.max_attempts == 1) return;
    Answer answer =
        dice_.once_in(3) ? Answer{"500", Reply::json("{}", 500)} : broken(dice_, limits_);
    note("accepted, answer lost: " + answer.text);
    plan_.server.lost = {std::move(answer.reply)};
    if (is_save() && dice_.once_in(2)) {
      note("then 409");
      plan_.server.lost.push_back(Reply::json(R"({"detail":"exists"})", 409));
      plan_.server.immediate = true;  // the 409 is the end: there will be no poll
    }
  }

  void immediate() {
    note("result at once");
    plan_.no_id = true;
    plan_.server.immediate = true;
  }

  void polls() {
    bool metadata = false;
    const int faults = dice_.once_in(3) ? dice_.between(1, limits_.max_poll_faults) : 0;
    for (int i = 0; i < faults; ++i) {
      if (!metadata && dice_.once_in(8)) {
        metadata = true;
        ask_again({"only the size", Reply::json(R"({"status":"complete_metadata"})")});
      } else {
        ask_again(soft_poll(dice_, limits_));
      }
    }
    if (!dice_.once_in(14)) return;
    auto [answer, code] = bad_end(dice_, kind_);
    note("ends with: " + answer.text);
    plan_.server.result = std::move(answer.reply);
    plan_.fatal = code;
  }

  void ask_again(Answer answer) {
    note("poll: " + answer.text);
    if (dice_.once_in(4)) {
      answer.reply.drip_bytes = 16;
      answer.reply.drip_interval = milliseconds(1);
    }
    plan_.server.polls.push_back(std::move(answer.reply));
  }

  Dice& dice_;
  const CallKind kind_;
  const FaultLimits limits_;
  RequestPlan plan_;
};

}  // namespace

RequestPlan random_plan(Dice& dice, CallKind kind, const FaultLimits& limits) {
  return Planner(dice, kind, limits).make();
}

}  // namespace tinkex::testing
