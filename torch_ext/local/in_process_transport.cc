#include "torch_ext/local/in_process_transport.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <system_error>
#include <thread>
#include <utility>
#include <variant>

namespace tinkex::torch_ext::local {
namespace {

using TimePoint = std::chrono::steady_clock::time_point;

/// What the loop is told to do, as a node of a lock-free stack.
struct Command {
  struct Send {
    HttpRequest request;
    Transport::Callback callback;
  };
  struct Cancel {};
  struct Shutdown {};

  Transport::RequestId id = 0;
  std::variant<Send, Reply, Cancel, Shutdown> what;
  Command* next = nullptr;
};

/// Many threads push, one takes everything at once. Closing it is final and atomic with the last
/// take, so that no command is lost in between.
class CommandStack {
 public:
  ~CommandStack() { free(take_all()); }

  /// Null if pushed (it belongs to the stack now); otherwise, closed, the command back.
  std::unique_ptr<Command> push(std::unique_ptr<Command> command) noexcept {
    Command* top = top_.load(std::memory_order_relaxed);
    do {
      if (top == &closed_) return command;
      command->next = top;
    } while (!top_.compare_exchange_weak(top, command.get(), std::memory_order_release,
                                         std::memory_order_relaxed));
    command.release();
    return nullptr;
  }

  /// The oldest first.
  Command* take_all() noexcept {
    return reverse(top_.exchange(nullptr, std::memory_order_acquire));
  }
  Command* close() noexcept { return reverse(top_.exchange(&closed_, std::memory_order_acquire)); }

 private:
  Command* reverse(Command* top) noexcept {
    Command* first = nullptr;
    while (top != nullptr && top != &closed_) {
      Command* const next = top->next;
      top->next = first;
      first = top;
      top = next;
    }
    return first;
  }
  static void free(Command* command) noexcept {
    while (command != nullptr) delete std::exchange(command, command->next);
  }

  std::atomic<Command*> top_{nullptr};
  Command closed_;
};

std::string_view target_of(std::string_view url) {
  const std::size_t scheme = url.find("://");
  const std::size_t path = url.find('/', scheme == url.npos ? 0 : scheme + 3);
  return path == url.npos ? std::string_view("/") : url.substr(path);
}

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

std::string_view header_of(const HttpRequest& request, std::string_view name) {
  for (const auto& [key, value] : request.headers) {
    if (equals_ignoring_case(key, name)) return value;
  }
  return {};
}

Result<HttpResponse> response_from(Reply reply, std::uint64_t max_bytes) {
  if (reply.body.size() > max_bytes) {
    return Error(ErrorCode::kDecode, "the reply has " + std::to_string(reply.body.size()) +
                                         " bytes; at most " + std::to_string(max_bytes) +
                                         " are accepted");
  }
  HttpResponse response;
  response.status = reply.status;
  response.headers = std::move(reply.headers);
  response.headers.emplace_back("content-type", std::move(reply.content_type));
  response.headers.emplace_back("content-length", std::to_string(reply.body.size()));
  response.body = std::move(reply.body);
  return response;
}

}  // namespace

/// Everything but the atomics belongs to the loop's thread.
class InProcessTransport::Loop : public std::enable_shared_from_this<Loop> {
 public:
  explicit Loop(std::shared_ptr<Backend> backend)
      : backend_(std::move(backend)), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (wake_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
  }
  ~Loop() { ::close(wake_); }

  void start() {
    thread_ = std::thread([self = shared_from_this()] { self->run(); });
  }

  RequestId send(HttpRequest request, Callback callback) noexcept {
    const RequestId id = last_id_.fetch_add(1, std::memory_order_relaxed) + 1;
    auto refused = tell(id, Command::Send{std::move(request), std::move(callback)});
    if (refused) {
      std::get<Command::Send>(refused->what)
          .callback(Error(ErrorCode::kClosed, "the embedded backend was shut down")
                        .with_not_accepted(true));
    }
    return id;
  }

  void cancel(RequestId id) noexcept { tell(id, Command::Cancel{}); }

  void shutdown() noexcept {
    tell(0, Command::Shutdown{});
    std::call_once(joined_, [this] { thread_.join(); });
    backend_->shutdown();
  }

 private:
  struct Exchange {
    Callback callback;
    std::uint64_t max_bytes = 0;
    TimePoint deadline;
  };

  template <class What>
  std::unique_ptr<Command> tell(RequestId id, What what) noexcept {
    auto command = std::make_unique<Command>();
    command->id = id;
    command->what = std::move(what);
    auto refused = commands_.push(std::move(command));
    const std::uint64_t one = 1;
    // A full counter fails, which is as good: the loop has been woken and has not looked yet.
    if (!refused) [[maybe_unused]]
      const ssize_t written = ::write(wake_, &one, sizeof(one));
    return refused;
  }

  void run() {
    while (!stopping_) {
      wait();
      work_off(commands_.take_all());
      expire();
    }
    work_off(commands_.close());
    while (!exchanges_.empty()) {
      finish(exchanges_.begin()->first,
             Error(ErrorCode::kClosed, "the embedded backend was shut down"));
    }
  }

  void wait() {
    int timeout = -1;
    if (!deadlines_.empty()) {
      const auto left = deadlines_.begin()->first - std::chrono::steady_clock::now();
      const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(left).count();
      timeout = static_cast<int>(std::clamp<std::int64_t>(milliseconds, 0, 60'000));
    }
    pollfd wake{wake_, POLLIN, 0};
    ::poll(&wake, 1, timeout);
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t cleared = ::read(wake_, &count, sizeof(count));
  }

  void work_off(Command* first) {
    while (first != nullptr) {
      const std::unique_ptr<Command> command(first);
      first = first->next;
      perform(*command);
    }
  }

  void perform(Command& command) {
    if (auto* send = std::get_if<Command::Send>(&command.what)) {
      begin(command.id, *send);
    } else if (auto* reply = std::get_if<Reply>(&command.what)) {
      const auto found = exchanges_.find(command.id);
      if (found == exchanges_.end()) return;
      finish(command.id, response_from(std::move(*reply), found->second.max_bytes));
    } else if (std::holds_alternative<Command::Cancel>(command.what)) {
      finish(command.id, Error(ErrorCode::kCancelled, "the request was cancelled"));
    } else {
      stopping_ = true;
    }
  }

  void begin(RequestId id, Command::Send& send) {
    const TimePoint deadline = std::chrono::steady_clock::now() + send.request.timeout;
    exchanges_.emplace(
        id, Exchange{std::move(send.callback), send.request.max_response_bytes, deadline});
    deadlines_.emplace(deadline, id);
    if (stopping_) return;
    const HttpRequest& request = send.request;
    backend_->handle(
        {request.method, target_of(request.url),
         [&request](std::string_view name) { return header_of(request, name); },
         request.body ? request.body->view() : std::string_view()},
        [self = shared_from_this(), id](Reply reply) { self->tell(id, std::move(reply)); });
  }

  void finish(RequestId id, Result<HttpResponse> result) {
    const auto found = exchanges_.find(id);
    if (found == exchanges_.end()) return;  // Over already, by a reply, a timeout or a cancel.
    const Callback callback = std::move(found->second.callback);
    deadlines_.erase({found->second.deadline, id});
    exchanges_.erase(found);
    callback(std::move(result));
  }

  void expire() {
    const TimePoint now = std::chrono::steady_clock::now();
    while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
      finish(deadlines_.begin()->second,
             Error(ErrorCode::kTimeout, "the embedded backend did not answer in time"));
    }
  }

  const std::shared_ptr<Backend> backend_;
  const int wake_;
  CommandStack commands_;
  std::atomic<RequestId> last_id_{0};
  std::map<RequestId, Exchange> exchanges_;
  std::set<std::pair<TimePoint, RequestId>> deadlines_;
  bool stopping_ = false;
  std::once_flag joined_;
  std::thread thread_;
};

InProcessTransport::InProcessTransport(std::shared_ptr<Backend> backend)
    : loop_(std::make_shared<Loop>(std::move(backend))) {
  loop_->start();
}

InProcessTransport::~InProcessTransport() { shutdown(); }

Transport::RequestId InProcessTransport::send(HttpRequest request, Callback callback) noexcept {
  return loop_->send(std::move(request), std::move(callback));
}

void InProcessTransport::cancel(RequestId id) noexcept { loop_->cancel(id); }

void InProcessTransport::shutdown() noexcept { loop_->shutdown(); }

}  // namespace tinkex::torch_ext::local
