#include "tests/tinkex/schedules/virtual_world.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "tinkex/base/text.h"

namespace tinkex::testing {
namespace {

using mocks::Fault;
using mocks::LoggedRequest;
using mocks::Reply;
using std::chrono::milliseconds;

constexpr int kLongestWay = 20;  // ms from one end of the wire to the other
constexpr std::size_t kMostSteps = 2'000'000;
constexpr std::size_t kMostLines = 2'000;

LoggedRequest logged(const HttpRequest& request) {
  LoggedRequest seen;
  seen.method = request.method;
  seen.target = request.url.substr(request.url.find("/api/"));
  for (const auto& [name, value] : request.headers) {
    seen.headers.emplace_back(internal::lower_case(name), value);
  }
  if (request.body) seen.body = std::string(request.body->view());
  return seen;
}

/// What the client's side of the wire makes of a reply.
Result<HttpResponse> received(Reply reply) {
  const auto broken = [](const char* how) {
    return Error(ErrorCode::kConnection, how).with_retryable(true);
  };
  if (reply.fault == Fault::kStall && reply.fault_after == 0) {
    return Error(ErrorCode::kTimeout, "nothing came").with_retryable(true);
  }
  if (reply.fault == Fault::kStall) return broken("nothing more came");
  if (reply.fault != Fault::kNone) return broken("the connection broke");
  if (reply.raw) return broken("that is not HTTP");
  return HttpResponse{reply.status, std::move(reply.headers), std::move(reply.body)};
}

milliseconds time_to_send(const Reply& reply, milliseconds timeout) {
  if (reply.fault == Fault::kStall) return timeout;
  if (reply.drip_bytes == 0) return reply.delay;
  const auto pieces = static_cast<int>(reply.body.size() / reply.drip_bytes) + 1;
  return reply.delay + pieces * reply.drip_interval;
}

std::string text_of(const Reply& reply) {
  if (reply.fault != Fault::kNone || reply.raw) return "a fault";
  return std::to_string(reply.status) + " " + internal::printable(reply.body, 60);
}

}  // namespace

/// Runs its tasks one at a time, in any order.
class VirtualWorld::RandomExecutor final : public Executor {
 public:
  bool post(Task task) noexcept override {
    tasks_.push_back(std::move(task));
    return true;
  }
  bool is_worker_thread() const noexcept override { return running_; }

  bool empty() const { return tasks_.empty(); }
  void run_one(Dice& dice) {
    std::swap(tasks_[dice.index(tasks_.size())], tasks_.back());
    const Task task = std::move(tasks_.back());
    tasks_.pop_back();
    running_ = true;
    task();
    running_ = false;
  }

 private:
  std::vector<Task> tasks_;
  bool running_ = false;
};

class VirtualWorld::Timers final : public internal::TimerService {
 public:
  explicit Timers(VirtualWorld& world) : world_(world) {}

  TimerId schedule(Clock::time_point when, Callback callback) noexcept override {
    if (world_.closed()) {
      callback();
      return 0;
    }
    const TimerId id = ++last_id_;
    waiting_[id] = callback;
    const auto fire = [this, id] {
      const auto found = waiting_.find(id);
      if (found == waiting_.end()) return;
      const Callback due = std::move(found->second);
      waiting_.erase(found);
      due();
    };
    events_[id] = world_.schedule(std::max(when, world_.clock_->now()), fire);
    return id;
  }
  void cancel(TimerId id) noexcept override {
    if (waiting_.erase(id) > 0) world_.cancel(events_[id]);
  }
  void wake_all() {
    const auto waiting = std::exchange(waiting_, {});
    for (const auto& [id, callback] : waiting) {
      world_.cancel(events_[id]);
      callback();
    }
  }

 private:
  VirtualWorld& world_;
  TimerId last_id_ = 0;
  std::map<TimerId, Callback> waiting_;
  std::map<TimerId, EventId> events_;
};

/// Messages between the client and the server, each on its way for a random time.
class VirtualWorld::Wire final : public Transport {
 public:
  explicit Wire(VirtualWorld& world) : world_(world) {}

  RequestId send(HttpRequest request, Callback callback) noexcept override {
    const RequestId id = ++last_id_;
    if (world_.closed()) {
      callback(Error(ErrorCode::kClosed, "closed"));
      return id;
    }
    open_[id] = std::move(callback);
    const auto when = world_.clock_->now() + world_.random_pause(kLongestWay);
    leaving_[id] = world_.schedule(when, [this, id, request = std::move(request)] {
      leaving_.erase(id);
      arrive(id, request);
    });
    return id;
  }
  void withdraw(RequestId id) noexcept override {
    // Either its last byte has left already, or it has not.
    if (leaving_.find(id) == leaving_.end() || world_.dice_.once_in(2)) return;
    world_.cancel(leaving_.extract(id).mapped());
    world_.tell("  an upload is broken off");
    world_.after({}, [this, id] {
      settle(id, Error(ErrorCode::kCancelled, "withdrawn").with_not_accepted(true));
    });
  }
  void cancel(RequestId id) noexcept override {
    // What is on its way arrives all the same.
    world_.after({}, [this, id] { settle(id, Error(ErrorCode::kCancelled, "cancelled")); });
  }
  void shutdown() noexcept override {
    while (!open_.empty()) settle(open_.begin()->first, Error(ErrorCode::kClosed, "closed"));
  }

 private:
  void arrive(RequestId id, const HttpRequest& request) {
    LoggedRequest seen = logged(request);
    seen.index = world_.log_.size();
    const std::unique_ptr<Reply> reply = world_.server_(seen);
    if (!reply) {
      world_.tell("  no server for " + seen.target);
      return settle(id, Error(ErrorCode::kConnection, "connection refused")
                            .with_retryable(true)
                            .with_not_accepted(true));
    }
    const std::size_t index = seen.index;
    seen.began = seen.arrived = world_.moment();
    world_.tell("  server " + seen.target + " -> " + text_of(*reply));
    world_.log_.push_back(std::move(seen));
    const auto way = time_to_send(*reply, request.timeout) + world_.random_pause(kLongestWay);
    world_.after(way, [this, id, index, reply = *reply] {
      world_.log_[index].replied = world_.moment();
      settle(id, received(reply));
    });
  }

  void settle(RequestId id, Result<HttpResponse> result) {
    const auto found = open_.find(id);
    if (found == open_.end()) return;
    const Callback callback = std::move(found->second);
    open_.erase(found);
    callback(std::move(result));
  }

  VirtualWorld& world_;
  RequestId last_id_ = 0;
  std::map<RequestId, Callback> open_;
  std::map<RequestId, EventId> leaving_;
};

VirtualWorld::VirtualWorld(std::uint64_t seed, Server server)
    : dice_(seed),
      server_(std::move(server)),
      executor_(std::make_shared<RandomExecutor>()),
      timers_(std::make_shared<Timers>(*this)),
      wire_(std::make_shared<Wire>(*this)),
      runtime_(std::make_shared<internal::Runtime>()) {
  runtime_->clock = clock_;
  runtime_->executor = executor_;
  runtime_->transport = wire_;
  runtime_->timers = timers_;
  runtime_->buffers = internal::BufferPool::create();
  runtime_->random = std::make_shared<internal::RandomSource>(dice_.seed());
}

VirtualWorld::~VirtualWorld() {
  close();
  (void)run_until_rest();
}

void VirtualWorld::after(Clock::duration delay, std::function<void()> what) {
  (void)schedule(clock_->now() + delay, std::move(what));
}

Clock::duration VirtualWorld::random_pause(int longest_ms) {
  return std::chrono::microseconds(dice_.between(0, longest_ms * 1'000));
}

VirtualWorld::EventId VirtualWorld::schedule(Clock::time_point when, std::function<void()> what) {
  const EventId id = dice_.seed();
  events_.emplace(std::pair(when, id), std::move(what));
  when_[id] = when;
  return id;
}

void VirtualWorld::cancel(EventId id) {
  const auto found = when_.find(id);
  if (found == when_.end()) return;
  events_.erase({found->second, id});
  when_.erase(found);
}

mocks::Moment VirtualWorld::moment() { return {++last_order_, clock_->now()}; }

bool VirtualWorld::step() {
  const bool due = !events_.empty() && events_.begin()->first.first <= clock_->now();
  // Now and then the executor is slow, and something else happens first.
  const bool slow = !events_.empty() && (due ? dice_.once_in(2) : !punctual_ && dice_.once_in(20));
  if (!executor_->empty() && !slow) {
    executor_->run_one(dice_);
    return true;
  }
  if (events_.empty()) return false;
  auto node = events_.extract(events_.begin());
  const auto [when, id] = node.key();
  when_.erase(id);
  clock_->set(std::max(when, clock_->now()));
  node.mapped()();
  return true;
}

bool VirtualWorld::run_until_rest() {
  for (std::size_t steps = 0; steps < kMostSteps; ++steps) {
    if (!step()) return true;
  }
  tell("there is no end to it");
  return false;
}

void VirtualWorld::close() {
  if (closed()) return;
  tell("the service is closed");
  runtime_->closed = true;
  wire_->shutdown();
  timers_->wake_all();
}

void VirtualWorld::tell(const std::string& text) {
  if (story_.size() >= kMostLines) return;
  char time[32];
  const std::chrono::duration<double> passed = clock_->now() - began_;
  std::snprintf(time, sizeof time, "%10.6f s  ", passed.count());
  story_.push_back(time + text);
}

std::string VirtualWorld::story() const {
  std::string all;
  for (const std::string& line : story_) all += line + "\n";
  return all;
}

}  // namespace tinkex::testing
