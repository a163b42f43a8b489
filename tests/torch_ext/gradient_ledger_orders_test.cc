// What is known of the server's gradient in whatever order calls, their ends and those of another
// thread come, beside the simplest model of a server and of an anchor.

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "torch_ext/backend_errors.h"
#include "torch_ext/remote/gradient_ledger.h"

namespace tinkex::torch_ext::remote {
namespace {

using Ticket = GradientLedger::Ticket;

enum class What {
  kShown,    ///< A graph, by the anchor.
  kAgain,    ///< The same, of a step that was refused, which need not have been shown any more.
  kPass,     ///< Sums the gradient of that graph.
  kCleared,  ///< The anchor, by zero_grad().
  kAsked,    ///< The anchor, by a step, which clears it.
  kStep,
  kLoad,
};

/// In the order in which the server and the anchor see them. The end of a call: 't' taken, 'r'
/// refused, 'u' unknown, 'n' a step that found no gradient, '?' not told yet.
struct Event {
  What what;
  int graph = 0;
  char end = '?';

  bool changes_weights() const {
    return (what == What::kStep || what == What::kLoad) && end != 'r' && end != 'n';
  }
};

/// What is so after all that has happened. A call whose end was not told counts as taken.
struct Model {
  std::set<int> held, shown, asked, void_here;
  bool unknown = false;

  explicit Model(const std::vector<Event>& events) {
    for (const Event& event : events) happen(event);
  }

  std::string next_step() const {
    const auto may_be_stepped = [&](int graph) {
      return shown.contains(graph) || asked.contains(graph);
    };
    if (unknown) return "unknown";
    if (!std::ranges::all_of(held, may_be_stepped)) return "cleared";
    if (std::ranges::any_of(shown, [&](int graph) { return void_here.contains(graph); }))
      return "more";
    return held.empty() ? "nothing" : "step";
  }

 private:
  void happen(const Event& event) {
    if (event.end == 'u') unknown = true;
    if (event.what == What::kShown || event.what == What::kAgain) shown.insert(event.graph);
    if (event.what == What::kAgain) asked.erase(event.graph);
    if (event.what == What::kPass && event.end != 'r') held.insert(event.graph);
    if (event.what == What::kAsked)
      std::ranges::set_intersection(shown, held, std::inserter(asked, asked.end()));
    if (event.what == What::kAsked || event.what == What::kCleared) shown.clear();
    if (event.end == 'n') held.clear();
    if (!event.changes_weights()) return;
    held.clear();
    void_here.insert(shown.begin(), shown.end());
    if (event.what == What::kLoad && event.end == 't') unknown = false;
  }
};

/// Lets things happen to a ledger, and remembers them.
class World {
 public:
  explicit World(std::string story) : story_(std::move(story)) {}

 protected:
  double shown() const { return static_cast<double>(Model(events_).shown.size()); }
  /// What becomes of a step, if there is one, and what it may do.
  std::pair<std::optional<Ticket>, std::string> begin_step() {
    const auto begun = ledger_->begin_step(shown());
    if (begun) return {*begun, *begun ? "step" : "nothing"};
    const std::string& message = begun.error().message();
    if (message.find("unknown what") != std::string::npos) return {std::nullopt, "unknown"};
    const bool cleared = message.find("zero_grad() or") != std::string::npos;
    return {std::nullopt, cleared ? "cleared" : "more"};
  }
  template <class T>
  static Result<T> result(char end) {
    static const Error unknown(ErrorCode::kTimeout, "no answer");
    static const Error refused = Error(ErrorCode::kHttpStatus, "no").with_not_accepted(true);
    static const Error none =
        Error(ErrorCode::kRequestFailed, kNoGradients).with_category(ErrorCategory::kUser);
    if (end == 't') return T{};
    return end == 'r' ? refused : end == 'n' ? none : unknown;
  }

  const std::string story_;
  const std::shared_ptr<GradientLedger> ledger_ = std::make_shared<GradientLedger>();
  std::vector<Event> events_;
};

/// A story of calls of one thread and of their ends: 'b' backward(), 'z' zero_grad(), 's' step(),
/// 'o' a step past the model, 'l' a load; 'f' a backward() that fails once the anchor shows it, 'g'
/// one that is not shown, 'h' one in which a hook steps, 'a' what was cleared by steps that were
/// refused is shown again; the end of a call by its number, "0r".
class Story : World {
 public:
  explicit Story(const std::string& story) : World(story) {
    for (std::size_t i = 0; i < story.size(); ++i) {
      if (std::isdigit(static_cast<unsigned char>(story[i])) != 0) {
        tell(calls_[static_cast<std::size_t>(story[i] - '0')], story[i + 1]);
        ++i;
      } else {
        send(story[i]);
      }
    }
  }

  /// The ends that may be told next.
  std::vector<std::string> untold() const {
    std::vector<std::string> ends;
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      if (events_[calls_[i].event].end != '?') continue;
      const bool step = events_[calls_[i].event].what == What::kStep;
      for (const char end : std::string_view(step ? "trun" : "tru")) {
        ends.push_back(std::to_string(i) + end);
      }
    }
    return ends;
  }

  void expect_what_the_model_says() {
    for (const auto& [steps, event] : graphs_) {
      const bool changed = std::any_of(events_.begin() + event, events_.end(),
                                       [](const Event& each) { return each.changes_weights(); });
      EXPECT_NE(ledger_->check_current(steps).ok(), changed) << story_;
    }
    if (step_as_the_model_says()) return;
    events_.push_back({What::kCleared});
    step_as_the_model_says();
  }

 private:
  struct Call {
    char kind;
    Ticket ticket;
    std::size_t event;
  };

  bool step_as_the_model_says() {
    const std::string verdict = begin_step().second;
    EXPECT_EQ(verdict, Model(events_).next_step()) << story_;
    return verdict == "step" || verdict == "nothing";
  }

  void send(char kind) {
    if (std::string_view("bfgh").find(kind) != std::string_view::npos) return backward(kind);
    if (kind == 'z') return events_.push_back({What::kCleared});
    if (kind == 'a') return show_again();
    if (kind != 's') return change(kind, ledger_->begin_change());
    const auto [ticket, verdict] = begin_step();
    if (verdict == "step" || verdict == "nothing") events_.push_back({What::kAsked});
    if (ticket) change('s', *ticket);
  }
  void backward(char kind) {
    graphs_.emplace_back(ledger_->steps(), events_.size());
    const int graph = static_cast<int>(graphs_.size());
    std::optional<std::int64_t> before;
    if (kind != 'g') {
      before = ledger_->arrive(1);
      events_.push_back({What::kShown, graph});
    }
    if (kind == 'h') send('s');
    const std::int64_t steps = graphs_.back().first;
    if (kind == 'f' || !ledger_->check_known() || !ledger_->check_current(steps)) return;
    const auto call = [] { return Future<ForwardBackwardOutput>::ready_with(refused_later()); };
    const Ticket ticket = ledger_->send_pass(call, {.graphs = 1, .before = before}).second;
    calls_.push_back({'b', ticket, events_.size()});
    events_.push_back({What::kPass, graph});
  }
  void show_again() {
    std::vector<Event> known = events_;
    for (Event& event : known) {
      if (event.what == What::kPass && event.end == 'u') event.end = 'r';  // not known to be held
    }
    const Model now(known);
    std::int64_t again = 0;
    for (const int graph : now.held) {
      if (!now.asked.contains(graph)) continue;
      events_.push_back({What::kAgain, graph});
      ++again;
    }
    EXPECT_EQ(ledger_->show_again(), again) << story_;
  }
  void change(char kind, const Ticket& ticket) {
    (void)ledger_->send_change(
        ticket, [] { return Future<Unit>::ready_with(Unit{}); }, [](auto&&...) {});
    calls_.push_back({kind, ticket, events_.size()});
    events_.push_back({kind == 'l' ? What::kLoad : What::kStep});
  }
  static Error refused_later() { return Error(ErrorCode::kInternal, "nobody asks"); }

  void tell(const Call& call, char end) {
    events_[call.event].end = end;
    const Report caller = Report::kCaller;
    if (call.kind == 'b')
      ledger_->end_pass(call.ticket, result<ForwardBackwardOutput>(end), caller);
    if (call.kind == 's') ledger_->end_step(call.ticket, result<OptimStepResponse>(end), caller);
    if (call.kind == 'o')
      ledger_->end_other_step(call.ticket, result<OptimStepResponse>(end), caller);
    if (call.kind == 'l') ledger_->end_load(call.ticket, result<LoadWeightsResponse>(end), caller);
  }

  std::vector<Call> calls_;
  std::vector<std::pair<std::int64_t, std::ptrdiff_t>>
      graphs_;  ///< Made after how many steps, events.
};

/// All stories of at most so many words, of these calls, that begin like this one.
void expect_what_the_model_says(std::string_view calls, const std::string& begin, int words) {
  Story story(begin);
  const std::vector<std::string> ends = story.untold();
  story.expect_what_the_model_says();
  if (words == 0) return;
  for (const char call : calls) expect_what_the_model_says(calls, begin + call, words - 1);
  for (const std::string& end : ends) expect_what_the_model_says(calls, begin + end, words - 1);
}

TEST(GradientLedgerOrders, WhatIsKnownIsWhatHasHappenedInWhateverOrderTheEndsCome) {
  expect_what_the_model_says("bzslo", "", 6);
}

TEST(GradientLedgerOrders, WhatIsKnownIsWhatHasHappenedAfterPassesThatFailOrAreNotShown) {
  expect_what_the_model_says("bfghzsal", "", 5);
}

/// A story of one thread, while another one makes a step past the model: 'g' forward() and
/// backward(), 'f' a pass without a graph, 'z' zero_grad(), 's' step(). At one point of the story
/// the other thread counts its step; at a later one that gets its place, and its end is told.
class Race : World {
 public:
  Race(const std::string& story, int counted, int placed)
      : World(story + " " + std::to_string(counted) + " " + std::to_string(placed)),
        counted_(counted),
        placed_(placed) {
    for (const char call : story) {
      point();
      if (call == 'g') forward_and_backward();
      if (call == 'f') pass({}, kNoGraph);
      if (call == 'z') events_.push_back({What::kCleared});
      if (call == 's') step();
    }
    length_ = points_;
    while (points_ <= placed_) point();
    step();
    events_.push_back({What::kCleared});
    step();
  }

  /// How many points there were.
  int length() const { return length_; }

 private:
  static constexpr int kNoGraph = 0;

  /// Where the other thread may go on.
  void point() {
    const int here = points_++;
    if (here == counted_) {
      taken_along_ = Model(events_).held;
      other_ = ledger_->begin_change();
    }
    if (here != placed_) return;
    const char end = place(other_, [] {});
    ledger_->end_other_step(other_, result<OptimStepResponse>(end), Report::kCaller);
    taken_along_.clear();
  }

  void forward_and_backward() {
    const std::int64_t steps = ledger_->steps();
    point();
    const auto made = static_cast<std::ptrdiff_t>(events_.size());
    point();
    if (!ledger_->check_current(steps)) return;  // as its node does
    const std::int64_t before = ledger_->arrive(1);
    point();
    const int graph = ++graphs_;
    events_.push_back({What::kShown, graph});
    point();
    if (!ledger_->check_current(steps)) return;
    const std::ptrdiff_t sent = pass({.graphs = 1, .before = before}, graph);
    const bool stale = std::any_of(events_.begin() + made, events_.begin() + sent,
                                   [](const Event& each) { return each.changes_weights(); });
    if (stale) stale_.insert(graph);
  }

  /// Gives its place.
  std::ptrdiff_t pass(const GradientLedger::Pass& pass, int graph) {
    std::ptrdiff_t place = 0;
    const auto call = [&] {
      point();
      place = static_cast<std::ptrdiff_t>(events_.size());
      events_.push_back({What::kPass, graph, 't'});
      point();
      return Future<ForwardBackwardOutput>::ready_with(ForwardBackwardOutput{});
    };
    const Ticket ticket = ledger_->send_pass(call, pass).second;
    point();
    ledger_->end_pass(ticket, ForwardBackwardOutput{}, Report::kCaller);
    return place;
  }

  void step() {
    const auto [ticket, verdict] = begin_step();
    if (verdict == "nothing") expect_that_nothing_is_left();
    if (ticket || verdict == "nothing") events_.push_back({What::kAsked});
    if (!ticket) return;
    const char end = place(*ticket, [this] {
      point();
      expect_that_all_is_wanted();
    });
    ledger_->end_step(*ticket, result<OptimStepResponse>(end), Report::kCaller);
  }

  /// Gives its end.
  template <class Before>
  char place(const Ticket& step, const Before& before) {
    char end = 't';
    const auto call = [&] {
      before();
      if (Model(events_).held.empty()) end = 'n';
      events_.push_back({What::kStep, 0, end});
      return Future<Unit>::ready_with(Unit{});
    };
    (void)ledger_->send_change(step, call, [](auto&&...) {});
    return end;
  }

  /// What the server holds, without what the step of the other thread will apply.
  std::set<int> left_to_this_thread() const {
    std::set<int> held = Model(events_).held;
    for (const int graph : taken_along_) held.erase(graph);
    return held;
  }

  void expect_that_nothing_is_left() const { EXPECT_TRUE(left_to_this_thread().empty()) << story_; }
  void expect_that_all_is_wanted() const {
    const Model now(events_);
    for (const int graph : left_to_this_thread()) {
      EXPECT_TRUE(graph == kNoGraph || now.asked.contains(graph)) << story_ << ": " << graph;
      EXPECT_FALSE(stale_.contains(graph)) << story_ << ": " << graph;
    }
  }

  const int counted_, placed_;
  int points_ = 0, length_ = 0, graphs_ = 0;
  Ticket other_;
  std::set<int> taken_along_, stale_;
};

void expect_that_no_step_goes_wrong(const std::string& story) {
  const int length = Race(story, -1, -1).length();
  for (int placed = 0; placed <= length; ++placed) {
    for (int counted = 0; counted <= placed; ++counted) Race(story, counted, placed);
  }
}

TEST(GradientLedgerOrders, NoStepAppliesWhatIsStaleOrWasClearedWhileAnotherThreadSteps) {
  std::vector<std::string> stories = {""};
  for (std::size_t i = 0; i < stories.size(); ++i) {
    if (!stories[i].empty()) expect_that_no_step_goes_wrong(stories[i]);
    if (stories[i].size() == 4) continue;
    for (const char call : std::string_view("gfzs")) stories.push_back(stories[i] + call);
  }
}

}  // namespace
}  // namespace tinkex::torch_ext::remote
