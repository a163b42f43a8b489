#include "tests/tinkex/schedules/verdict.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "tinkex/mocks/tinker_script.h"

namespace tinkex::testing {
namespace {

using Place = Program::Place;
using mocks::LoggedRequest;
using mocks::Operation;

std::string endpoint_of(const LoggedRequest& request) {
  return request.target.substr(mocks::TinkerScript::path("").size());
}

/// The facts, sorted by call, model and sequence id, and what is wrong with them.
class Judge {
 public:
  explicit Judge(const Evidence& evidence) : evidence_(evidence), program_(evidence.program) {
    placed_.resize(program_.calls.size());
    for (const Operation& operation : evidence.operations) place(operation);
    for (const LoggedRequest& request : evidence.log) read(request);
  }

  std::vector<std::string> verdict() {
    if (evidence_.endless) blame("the client never comes to rest");
    for (std::size_t i = 0; i < program_.calls.size(); ++i) {
      if (!evidence_.outcomes[i].issued) continue;
      check_outcome(i);
      check_deadline(i);
      check_carried_out(i);
      check_partial_send(i);
      check_polls(i);
    }
    for (auto& [owner, operations] : by_owner_) {
      if (owner.starts_with("sampler-")) continue;
      if (program_.parallel) run_by_ids(operations);
      check_order(operations);
      check_sequence_ids(owner, operations);
    }
    for (const auto& [owner, arrivals] : arrivals_) {
      if (owner.starts_with("sampler-")) {
        check_samples(arrivals);
      } else {
        check_one_at_a_time(arrivals);
      }
      check_repeats(arrivals);
    }
    return std::move(wrong_);
  }

 private:
  /// A submission as it arrived.
  struct Arrival {
    const LoggedRequest* request = nullptr;
    Place place;
    std::int64_t seq_id = 0;
    std::string body;
  };
  struct Done {
    const Operation* operation = nullptr;
    Place place;
  };

  const Call& call_at(int index) const { return program_.calls[static_cast<std::size_t>(index)]; }
  const Outcome& outcome_at(int index) const {
    return evidence_.outcomes[static_cast<std::size_t>(index)];
  }
  void blame(const std::string& what) { wrong_.push_back(what); }
  void blame(int call, const std::string& what) { blame(call_at(call).text() + ": " + what); }

  void place(const Operation& operation) {
    const auto place = program_.find(operation);
    if (!place) return blame("an operation that belongs to no call: " + operation.kind);
    by_owner_[operation.owner].push_back({&operation, *place});
    if (!place->filler)
      placed_[static_cast<std::size_t>(place->call)].push_back({&operation, *place});
    if (operation.owner != call_at(place->call).owner()) blame(place->call, "on another client");
  }

  void read(const LoggedRequest& request) {
    const std::string endpoint = endpoint_of(request);
    const auto& known = mocks::kOperationEndpoints;
    const bool submits = std::find(known.begin(), known.end(), endpoint) != known.end();
    if (!submits || endpoint == "create_model") return;
    const auto operation = mocks::read_operation(endpoint, request);
    if (!operation.ok()) return blame(endpoint + ": " + operation.error().message());
    const auto place = program_.find(*operation);
    if (!place) return blame("a request that belongs to no call: " + endpoint);
    arrivals_[operation->owner].push_back({&request, *place, operation->seq_id, request.body});
    if (place->filler && !program_.parallel) blame(place->call, "a filler");
  }

  void check_outcome(std::size_t index) {
    const Outcome& outcome = evidence_.outcomes[index];
    const int call = static_cast<int>(index);
    if (outcome.dropped) return;
    if (!outcome.settled) return blame(call, "its future never settles");
    if (!outcome.wrong.empty()) return blame(call, "a wrong result: " + outcome.wrong);
    const std::vector<ErrorCode> fatal = call_at(call).fatal(program_.parallel);
    if (!outcome.error) {
      if (!fatal.empty()) blame(call, "it succeeds against its plan");
      return;
    }
    const ErrorCode code = outcome.error->code();
    const bool planned = std::find(fatal.begin(), fatal.end(), code) != fatal.end();
    const bool told = (outcome.cancelled && code == ErrorCode::kCancelled) ||
                      (call_at(call).deadline && code == ErrorCode::kDeadlineExceeded) ||
                      (evidence_.closed && code == ErrorCode::kClosed);
    if (!planned && !told) blame(call, std::string("it fails: ") + outcome.error->what());
  }

  void check_deadline(std::size_t index) {
    const int call = static_cast<int>(index);
    const Outcome& outcome = evidence_.outcomes[index];
    const auto& deadline = call_at(call).deadline;
    if (!deadline || !outcome.took) return;
    if (evidence_.punctual && *outcome.took > *deadline) blame(call, "it settles too late");
    const bool missed = outcome.error && outcome.error->code() == ErrorCode::kDeadlineExceeded;
    if (missed && *outcome.took < *deadline) blame(call, "its deadline has not passed yet");
  }

  /// Nobody lost interest in it, and nothing keeps it from succeeding.
  bool unhindered(int call) const {
    const Outcome& outcome = outcome_at(call);
    return !outcome.cancelled && !call_at(call).deadline && !evidence_.closed &&
           evidence_.at_rest && call_at(call).fatal(program_.parallel).empty();
  }

  /// What must be carried out is carried out, and nothing twice.
  void check_carried_out(std::size_t index) {
    const int call = static_cast<int>(index);
    const Outcome& outcome = evidence_.outcomes[index];
    std::map<std::size_t, int> times;
    for (const Done& done : placed_[index]) ++times[done.place.request];
    for (const auto& [request, count] : times) {
      if (count > 1) blame(call, "request " + std::to_string(request) + " is carried out twice");
    }
    const bool succeeded = outcome.settled && !outcome.error;
    const std::size_t wanted = call_at(call).requests.size();
    if ((succeeded || unhindered(call)) && times.size() != wanted) {
      blame(call, std::to_string(times.size()) + " of " + std::to_string(wanted) +
                      " requests are carried out");
    }
  }

  /// A batch of which a chunk could not be sent tells which ones were accepted.
  void check_partial_send(std::size_t index) {
    const int number = static_cast<int>(index);
    const Call& call = call_at(number);
    const Outcome& outcome = evidence_.outcomes[index];
    if (!outcome.error || outcome.cancelled || call.requests.size() < 2) return;
    const std::vector<std::string>& told = outcome.error->accepted_request_ids();
    const auto failing = std::find_if(call.requests.begin(), call.requests.end(),
                                      [](const auto& plan) { return plan.fatal_at_submission; });
    const auto at = static_cast<std::size_t>(failing - call.requests.begin());
    const ErrorCode code = outcome.error->code();
    const bool ended = code == ErrorCode::kClosed || code == ErrorCode::kDeadlineExceeded;
    if (ended || failing == call.requests.end()) {
      return check_ids(number, told, told.size(), /*all=*/false);
    }
    const bool named =
        program_.parallel ? is_fatal(call, outcome.error->chunk()) : outcome.error->chunk() == at;
    if (!named || outcome.error->total_chunks() != call.requests.size()) {
      blame(number, "the error does not name chunk " + std::to_string(at));
    }
    if (program_.parallel) return check_ids(number, told, call.requests.size(), /*all=*/true);
    check_ids(number, told, at, /*all=*/true);
    for (const Done& done : placed_[index]) {
      if (done.place.request > at) blame(number, "a chunk was sent after the one that failed");
    }
  }

  static bool is_fatal(const Call& call, std::optional<std::size_t> chunk) {
    return chunk && *chunk < call.requests.size() && call.requests[*chunk].fatal_at_submission;
  }

  /// Whether `told` are ids of the call's first `count` requests, in order; of `all`, or of some.
  void check_ids(int call, const std::vector<std::string>& told, std::size_t count, bool all) {
    std::vector<std::string> known;
    std::vector<Done> accepted = placed_[static_cast<std::size_t>(call)];
    run_by_ids(accepted);
    for (const Done& done : accepted) {
      const bool has_id = !program_.plan(done.place).no_id;
      if (has_id && (!all || done.place.request < count)) {
        known.push_back(done.operation->request_id);
      }
    }
    auto next = known.begin();  // those of `told` are some of the known ones, in order
    bool right = true;
    for (const std::string& id : told) {
      next = std::find(next, known.end(), id);
      right = right && next != known.end();
      if (next != known.end()) ++next;
    }
    if (all) right = told == known;
    if (!right) blame(call, "the error lists other ids than those that were accepted");
  }

  /// No hot loop; and what was accepted before a failure is asked for to its end.
  void check_polls(std::size_t index) {
    const int call = static_cast<int>(index);
    const Outcome& outcome = evidence_.outcomes[index];
    for (const Done& done : placed_[index]) {
      const RequestPlan& plan = program_.plan(done.place);
      // The result may itself have to be asked for twice.
      const auto planned = static_cast<int>(plan.server.polls.size()) + 1;
      if (done.operation->polls > planned + 1) {
        blame(call, std::to_string(done.operation->polls) + " polls where " +
                        std::to_string(planned) + " are enough");
      }
      const bool refused = outcome.error && outcome.error->total_chunks() > 0;
      const bool wanted = !evidence_.closed && !outcome.cancelled && !call_at(call).deadline;
      const bool to_the_end =
          evidence_.at_rest && wanted && refused && !plan.server.immediate && !plan.fatal;
      if (to_the_end && done.operation->polls < planned) {
        blame(call, "an accepted chunk of the failed batch is not asked for to its end");
      }
    }
  }

  /// What a server does that is sent chunks side by side.
  static void run_by_ids(std::vector<Done>& operations) {
    std::stable_sort(operations.begin(), operations.end(), [](const Done& a, const Done& b) {
      return a.operation->seq_id < b.operation->seq_id;
    });
  }

  /// The operations of one model come in the order of the calls, each batch in one piece.
  void check_order(const std::vector<Done>& operations) {
    std::map<int, Place> last;  // of each thread
    std::optional<Place> previous;
    for (const Done& done : operations) {
      const Place& place = done.place;
      if (place.filler) continue;
      const int lane = evidence_.one_order ? 0 : call_at(place.call).thread;
      const auto [before, first] = last.emplace(lane, place);
      if (!first && position(place) <= position(before->second)) {
        blame(place.call, "carried out after a later call, or its chunks not in order");
      }
      before->second = place;
      if (place.request > 0 && !follows(previous, place)) {
        blame(place.call,
              "chunk " + std::to_string(place.request) + " does not follow the one before");
      }
      previous = place;
    }
  }

  /// Of a batch that failed some chunks may be missing, but nothing else is between them.
  bool follows(const std::optional<Place>& previous, const Place& place) const {
    if (program_.parallel && !outcome_at(place.call).settled) return true;  // nothing is known
    if (program_.parallel && outcome_at(place.call).error) {
      const auto& chunks = placed_[static_cast<std::size_t>(place.call)];
      const bool is_first = std::none_of(chunks.begin(), chunks.end(), [&](const Done& other) {
        return other.place.request < place.request;
      });
      return is_first || (previous && previous->call == place.call);
    }
    return previous == Place{place.call, place.request - 1};
  }

  std::pair<int, std::size_t> position(const Place& place) const {
    return {outcome_at(place.call).order, place.request};
  }

  /// 1, 2, 3, ... without a gap, except where nobody can know whether the server took the request.
  void check_sequence_ids(const std::string& owner, const std::vector<Done>& operations) {
    std::int64_t next = 1;
    for (const Done& done : operations) {
      const std::int64_t id = done.operation->seq_id;
      if (id < next) blame(done.place.call, "sequence id " + std::to_string(id) + " comes late");
      for (; next < id; ++next) {
        if (!may_be_missing(owner, next)) {
          blame(owner + ": nothing is carried out under sequence id " + std::to_string(next));
        }
      }
      next = id + 1;
    }
  }

  bool may_be_missing(const std::string& owner, std::int64_t seq_id) const {
    // A batch that was on its way side by side when the service closed stays as it was.
    if (program_.parallel && evidence_.closed) return true;
    for (const Arrival& arrival : arrivals_.at(owner)) {
      const RequestPlan& plan = program_.plan(arrival.place);
      if (arrival.seq_id == seq_id && plan.fatal_at_submission && plan.outcome_unknown) return true;
    }
    return false;
  }

  /// A send begins after the answer to the one before.
  void check_one_at_a_time(const std::vector<Arrival>& arrivals) {
    for (std::size_t i = 1; i < arrivals.size(); ++i) {
      for (std::size_t j = program_.parallel ? 0 : i - 1; j < i; ++j) {
        const bool side_by_side =
            program_.parallel && is_batch(call_at(arrivals[i].place.call).kind);
        if (side_by_side && arrivals[i].place.call == arrivals[j].place.call) continue;
        const std::uint64_t answered = arrivals[j].request->replied.order;
        if (answered == 0 || arrivals[i].request->began.order < answered) {
          blame(arrivals[i].place.call, "its send begins before the answer to the one before");
        }
      }
    }
  }

  /// One request, one id, the same bytes; and an id changes hands only if its request was refused.
  void check_repeats(const std::vector<Arrival>& arrivals) {
    std::map<std::int64_t, const Arrival*> by_id;
    std::map<std::int64_t, std::size_t> attempts;  // of the request that has the id now
    std::map<std::pair<int, std::size_t>, std::int64_t> ids;
    for (const Arrival& arrival : arrivals) {
      if (arrival.place.filler) continue;  // it may take the id of a request that the server has
      const auto [id, first] =
          ids.emplace(std::pair(arrival.place.call, arrival.place.request), arrival.seq_id);
      if (!first && id->second != arrival.seq_id) {
        blame(arrival.place.call, "one request travels under two sequence ids");
      }
      const auto [known, added] = by_id.emplace(arrival.seq_id, &arrival);
      std::size_t& count = attempts[arrival.seq_id];
      if (added) {
        ++count;
        continue;
      }
      const Arrival& before = *known->second;
      if (before.place == arrival.place) {
        if (before.body != arrival.body) blame(arrival.place.call, "a repeat has other bytes");
      } else {
        if (!surely_refused(before.place, count)) {
          blame(arrival.place.call, "it takes over an id that the server may have taken");
        }
        count = 0;
      }
      ++count;
      known->second = &arrival;
    }
  }

  /// The request was refused for certain each time it arrived.
  bool surely_refused(const Place& place, std::size_t arrivals) const {
    const std::vector<bool>& unknown = program_.plan(place).unknown_after;
    const auto seen =
        unknown.begin() + static_cast<std::ptrdiff_t>(std::min(arrivals, unknown.size()));
    return arrivals <= unknown.size() && std::find(unknown.begin(), seen, true) == seen;
  }

  /// Sequence ids of samples are those of the calls, each used for one; none is repeated silently.
  void check_samples(const std::vector<Arrival>& arrivals) {
    std::map<std::pair<int, std::size_t>, int> submissions;
    for (const Arrival& arrival : arrivals) {
      const int count = ++submissions[{arrival.place.call, arrival.place.request}];
      if (count > program_.sample_attempts) blame(arrival.place.call, "a silent retry");
      if (arrival.seq_id < 1) blame(arrival.place.call, "a sample without a sequence id");
    }
  }

  const Evidence& evidence_;
  const Program& program_;
  std::vector<std::vector<Done>> placed_;  // by call
  std::map<std::string, std::vector<Done>> by_owner_;
  std::map<std::string, std::vector<Arrival>> arrivals_;
  std::vector<std::string> wrong_;
};

}  // namespace

std::vector<std::string> judge(const Evidence& evidence) { return Judge(evidence).verdict(); }

std::string report(std::uint64_t seed, const std::vector<std::string>& wrong,
                   const std::string& story) {
  const std::string number = std::to_string(seed);
  std::string text =
      "seed " + number + " (alone: --test_env=TINKEX_SCHEDULE_SEED=" + number + ")\n";
  for (const std::string& line : wrong) text += "  " + line + "\n";
  return text + story;
}

}  // namespace tinkex::testing
