#include "tinkex/async/session_poll.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "tinkex/base/bounded_json.h"
#include "tinkex/retry/backoff.h"
#include "tinkex/retry/classify.h"

namespace tinkex::internal {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

constexpr milliseconds kFirstPause{1'000};
constexpr milliseconds kLongestPause{30'000};
constexpr milliseconds kBillingRecheck{5'000};
constexpr milliseconds kReportTimeout{5'000};
// An answer faster than this that settles nothing was not held by the server.
constexpr milliseconds kQuickAnswer{50};
constexpr milliseconds kQuickBackoff{10};
constexpr int kMostRefusals = 3;
// Of futures that nobody has asked for yet: the replies to their submissions are on the way, or
// they were given up.
constexpr std::size_t kMostEarly = 65'536;
// A future with a longer id is asked for on its own, so that what is remembered stays small.
constexpr std::size_t kLongestId = 256;
constexpr int kMaxDepth = 16;
constexpr char kAskingFailed[] = "asking for the session's results failed: ";

bool is_transient(int status) {
  return status == 408 || status == 409 || status == 429 || status >= 500;
}

}  // namespace

/// What one poll told.
struct SessionPoll::Report {
  std::int64_t cursor = 0;
  std::map<std::string, std::uint64_t> settled;

  static std::optional<Report> read(const std::string& body, std::int64_t cursor) {
    const json object = parse_bounded(body, kMaxDepth);
    if (!object.is_object()) return std::nullopt;
    Report report;
    const auto next = object.find("cursor");
    report.cursor =
        next != object.end() && next->is_number_integer() ? next->get<std::int64_t>() : cursor;
    const auto list = object.find("completions");
    if (list == object.end() || !list->is_array()) return report;
    for (const json& entry : *list) {
      if (!entry.is_object()) continue;
      const auto id = entry.find("request_id");
      if (id == entry.end() || !id->is_string()) continue;
      if (id->get_ref<const std::string&>().size() > kLongestId) continue;
      const auto bytes = entry.find("response_payload_uncompressed_size");
      const bool known = bytes != entry.end() && bytes->is_number_unsigned();
      report.settled.emplace(id->get<std::string>(), known ? bytes->get<std::uint64_t>() : 0);
    }
    return report;
  }
};

std::optional<std::uint64_t> SessionPoll::size_if_known(const std::string& request_id) {
  if (const auto early = early_.find(request_id); early != early_.end()) {
    const std::uint64_t bytes = early->second;
    early_.erase(early);  // its place in the order is skipped later
    return bytes;
  }
  if (refused_ || request_id.size() > kLongestId || waiting_.contains(request_id)) return 0;
  return std::nullopt;
}

void SessionPoll::wait_for(const std::string& request_id, const void* owner, Ready ready,
                           const LastWordPtr& last_word) {
  MutexLock lock(mutex_);
  if (const auto bytes = size_if_known(request_id)) {
    lock.unlock();
    return ready(*bytes);
  }
  if (trouble_ && last_word) last_word->set(this, trouble_);
  waiting_.emplace(request_id, Waiter{owner, std::move(ready), last_word, runtime().clock->now()});
  lock.unlock();
  start_if_idle();
}

void SessionPoll::forget(const std::string& request_id, const void* owner) {
  Waiter dropped;  // destroyed outside the lock
  MutexLock lock(mutex_);
  const auto found = waiting_.find(request_id);
  if (found == waiting_.end() || found->second.owner != owner) return;
  dropped = std::move(found->second);
  waiting_.erase(found);
}

void SessionPoll::retrieved(const std::string& request_id) {
  {
    MutexLock lock(mutex_);
    if (refused_) return;
    retrieved_.insert(request_id);
  }
  start_if_idle();
}

void SessionPoll::start_if_idle() {
  {
    MutexLock lock(mutex_);
    if (active_ || refused_ || (waiting_.empty() && retrieved_.empty())) return;
    active_ = true;
  }
  poll();
}

std::shared_ptr<const ByteBuffer> SessionPoll::next_body() {
  json body{{"target",
             {{"type", "sampling_session"},
              {"sampling_session_id", target_.sampling_session_id},
              {"cloned_sampler_id", 0}}},
            {"prev_cursor", cursor_},
            {"retrieved_request_ids", retrieved_}};
  if (waiting_.empty()) body["timeout"] = 0.0;
  reported_ = retrieved_;
  auto buffer = std::make_shared<ByteBuffer>();
  buffer->append(body.dump(-1, ' ', false, json::error_handler_t::replace));
  return buffer;
}

void SessionPoll::poll() {
  if (stopped()) return give_up();
  release_patient();
  target_.polls->enter([self = self()] { self->send(); });
}

void SessionPoll::send() {
  HttpRequest request = target_.http;
  bool idle = false;
  {
    MutexLock lock(mutex_);
    idle = waiting_.empty() && retrieved_.empty();
    only_reports_ = waiting_.empty();
    if (idle) {
      forget_troubles();
      active_ = false;
    } else {
      request.body = next_body();
    }
  }
  if (idle) return target_.polls->leave();
  if (only_reports_) request.timeout = kReportTimeout;
  sent_ = runtime().clock->now();
  exchange(std::move(request), [self = self()](Result<HttpResponse> reply) {
    self->target_.polls->leave();
    self->on_reply(std::move(reply));
  });
}

void SessionPoll::forget_troubles() {
  silent_since_.reset();
  paused_since_.reset();
  failing_since_.reset();
  failures_ = 0;
  refusals_ = 0;
  quick_answers_ = 0;
  trouble_.reset();
}

void SessionPoll::tell_trouble(const std::string& trouble) {
  MutexLock lock(mutex_);
  if (trouble.empty() && !trouble_) return;
  trouble_ = trouble.empty() ? nullptr : std::make_shared<const std::string>(trouble);
  for (auto& [id, waiter] : waiting_) {
    if (!waiter.last_word) continue;
    trouble_ ? waiter.last_word->set(this, trouble_) : waiter.last_word->clear(this);
  }
}

void SessionPoll::release_patient() {
  const Clock::time_point begun = runtime().clock->now() - target_.max_wait;
  std::vector<Ready> released;
  {
    MutexLock lock(mutex_);
    for (auto entry = waiting_.begin(); entry != waiting_.end();) {
      const auto next = std::next(entry);
      if (entry->second.since < begun) {
        take_back(entry->second.last_word, this);
        released.push_back(std::move(entry->second.ready));
        waiting_.erase(entry);
      }
      entry = next;
    }
  }
  for (const Ready& ready : released) ready(0);
}

void SessionPoll::remember_early(const std::string& request_id, std::uint64_t bytes) {
  if (!early_.emplace(request_id, bytes).second) return;
  early_order_.push_back(request_id);
  while (early_order_.size() > kMostEarly) {
    early_.erase(early_order_.front());
    early_order_.pop_front();
  }
}

bool SessionPoll::lasts_too_long(std::optional<Clock::time_point>& begin, Clock::duration most) {
  const Clock::time_point now = runtime().clock->now();
  if (!begin) begin = now;
  return now - *begin > most;
}

void SessionPoll::on_no_answer(const Error& error) {
  if (!error.retryable()) return give_up();
  const bool held = error.code() == ErrorCode::kTimeout && !error.not_accepted();
  if (!held) return on_failure(error);
  tell_trouble({});
  if (lasts_too_long(silent_since_, target_.max_silence)) return give_up();
  continue_after({});
}

void SessionPoll::on_reply(Result<HttpResponse> result) {
  const int status = result.ok() ? result->status : 0;
  if (only_reports_ && (status < 200 || status >= 300)) {
    // Nobody waits for its answer, and a report that is lost costs the server some memory.
    MutexLock lock(mutex_);
    for (const std::string& id : reported_) retrieved_.erase(id);
    reported_.clear();
  }
  if (!result.ok()) return on_no_answer(result.error());
  silent_since_.reset();
  if (status != 402) paused_since_.reset();
  if (status >= 200 && status < 300) return on_report(*result);
  const Error error = error_from_response(*result, "retrieve_futures", secrets_of(target_.http));
  if (status == 429 && target_.limiter) {
    target_.limiter->extend_by(runtime().clock->now(),
                               std::min(error.retry_after().value_or(kFirstPause), kLongestPause));
  }
  if (status == 402) {
    if (lasts_too_long(paused_since_, target_.max_silence)) return give_up();
    tell_trouble(error.message());
    return continue_after(kBillingRecheck);
  }
  if (is_transient(status)) return on_failure(error);
  if (status != 400 || ++refusals_ >= kMostRefusals) return give_up();
  tell_trouble(kAskingFailed + error.message());
  continue_after(kFirstPause);
}

void SessionPoll::on_report(const HttpResponse& response) {
  std::optional<Report> report = Report::read(response.body, cursor_);
  if (!report) {
    return on_failure(Error(ErrorCode::kDecode, "retrieve_futures: the reply is no JSON object"));
  }
  tell_trouble({});
  failures_ = 0;
  refusals_ = 0;
  failing_since_.reset();
  cursor_ = std::max(cursor_, report->cursor);
  std::vector<std::pair<Ready, std::uint64_t>> ready;
  {
    MutexLock lock(mutex_);
    for (const std::string& id : reported_) retrieved_.erase(id);
    for (auto& [id, bytes] : report->settled) {
      if (auto found = waiting_.find(id); found != waiting_.end()) {
        ready.emplace_back(std::move(found->second.ready), bytes);
        waiting_.erase(found);
      } else {
        remember_early(id, bytes);
      }
    }
  }
  for (auto& [tell, bytes] : ready) tell(bytes);
  // A server that tells of nothing that anybody waits for must not be asked in a hot loop, whatever
  // its cursor does.
  if (!ready.empty() || runtime().clock->now() - sent_ >= kQuickAnswer) {
    quick_answers_ = 0;
    return continue_after({});
  }
  continue_after(backoff_delay(quick_answers_++, kQuickBackoff, kFirstPause, *runtime().random));
}

void SessionPoll::on_failure(const Error& error) {
  const Clock::time_point now = runtime().clock->now();
  if (!failing_since_) failing_since_ = now;
  milliseconds delay = backoff_delay(failures_++, kFirstPause, kLongestPause, *runtime().random);
  if (error.retry_after()) {
    delay = std::clamp(*error.retry_after(), delay, kLongestPause * 2);
  }
  const auto failing = std::chrono::duration_cast<milliseconds>(now - *failing_since_);
  if (failing + delay > target_.max_failing) return give_up();
  tell_trouble(kAskingFailed + error.message());
  continue_after(delay);
}

void SessionPoll::continue_after(Clock::duration delay) {
  if (delay <= Clock::duration::zero()) return poll();
  pause_until(runtime().clock->now() + delay, [self = self()] { self->poll(); });
}

void SessionPoll::give_up() {
  tell_trouble({});
  std::map<std::string, Waiter> left;
  {
    MutexLock lock(mutex_);
    refused_ = true;
    active_ = false;
    left.swap(waiting_);
    early_.clear();
    early_order_.clear();
    retrieved_.clear();
  }
  for (auto& [id, waiter] : left) waiter.ready(0);
}

}  // namespace tinkex::internal
