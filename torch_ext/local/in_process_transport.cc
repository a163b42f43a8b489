#include "torch_ext/local/in_process_transport.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

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
#include <vector>

#include "tinkex/base/text.h"
#include "tinkex/http/command_queue.h"

namespace tinkex::torch_ext::local {
namespace {

using TimePoint = std::chrono::steady_clock::time_point;

/// What the loop is told to do.
struct Command {
  struct Send {
    HttpRequest request;
    Transport::Callback callback;
  };
  struct Cancel {};
  struct Shutdown {};

  Transport::RequestId id = 0;
  std::variant<Send, Reply, Cancel, Shutdown> what;
};

using Commands = internal::CommandQueue<Command>;

std::string_view target_of(std::string_view url) {
  const std::size_t scheme = url.find("://");
  const std::size_t path = url.find('/', scheme == std::string_view::npos ? 0 : scheme + 3);
  return path == std::string_view::npos ? std::string_view("/") : url.substr(path);
}

std::string_view header_of(const HttpRequest& request, std::string_view name) {
  for (const auto& [key, value] : request.headers) {
    if (internal::equals_ignoring_case(key, name)) return value;
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
    Command command{id, Command::Send{std::move(request), std::move(callback)}};
    if (!tell(command)) {
      std::get<Command::Send>(command.what)
          .callback(Error(ErrorCode::kClosed, "the embedded backend was shut down")
                        .with_not_accepted(true));
    }
    return id;
  }

  void cancel(RequestId id) noexcept {
    Command command{id, Command::Cancel{}};
    tell(command);
  }

  void shutdown() noexcept {
    Command command{0, Command::Shutdown{}};
    tell(command);
    // A callback may drop the last reference; the loop then ends by itself.
    const bool own_thread = std::this_thread::get_id() == thread_.get_id();
    std::call_once(joined_, [&] { own_thread ? thread_.detach() : thread_.join(); });
    backend_->shutdown();
  }

 private:
  struct Exchange {
    Callback callback;
    std::uint64_t max_bytes = 0;
    TimePoint deadline;
  };

  /// False, with the command left as it was, after the end.
  bool tell(Command& command) noexcept {
    const Commands::Pushed pushed = commands_.push(command);
    if (pushed == Commands::Pushed::kFirst) {
      const std::uint64_t one = 1;
      [[maybe_unused]] const ssize_t written = ::write(wake_, &one, sizeof(one));
    }
    return pushed != Commands::Pushed::kClosed;
  }

  void run() {
    while (!stopping_) {
      wait();
      work_off(commands_.take());
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

  void work_off(std::vector<Command> commands) {
    for (Command& command : commands) {
      try {
        perform(command);
      } catch (...) {
        fail(command);
      }
    }
  }

  /// There was no memory to begin an exchange or to convert its reply: its caller is told.
  void fail(Command& command) noexcept {
    try {
      const Error error(ErrorCode::kInternal, "the embedded backend could not handle the request");
      if (auto* send = std::get_if<Command::Send>(&command.what); send && send->callback) {
        exchanges_.erase(command.id);
        call(send->callback, error);
      } else {
        finish(command.id, error);
      }
    } catch (...) {
      // Not even for that: the exchange's deadline has to tell.
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
    Exchange& exchange = exchanges_[id];
    deadlines_.emplace(deadline, id);
    // The callback moves last: until then fail() has it.
    exchange = {std::move(send.callback), send.request.max_response_bytes, deadline};
    if (stopping_) return;
    const HttpRequest& request = send.request;
    backend_->handle({request.method, target_of(request.url),
                      [&request](std::string_view name) { return header_of(request, name); },
                      request.body ? request.body->view() : std::string_view()},
                     [self = shared_from_this(), id](Reply reply) {
                       Command command{id, std::move(reply)};
                       self->tell(command);
                     });
  }

  void finish(RequestId id, Result<HttpResponse> result) noexcept {
    const auto found = exchanges_.find(id);
    if (found == exchanges_.end()) return;  // Over already, by a reply, a timeout or a cancel.
    const Callback callback = std::move(found->second.callback);
    deadlines_.erase({found->second.deadline, id});
    exchanges_.erase(found);
    call(callback, std::move(result));
  }

  static void call(const Callback& callback, Result<HttpResponse> result) noexcept {
    try {
      callback(std::move(result));
    } catch (...) {
      // It has failed for its owner; the other exchanges go on.
    }
  }

  void expire() {
    const TimePoint now = std::chrono::steady_clock::now();
    while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
      finish(deadlines_.begin()->second,
             Error(ErrorCode::kTimeout, "the embedded backend did not answer in time")
                 .with_retryable(true));  // as of any server: the process may have been stopped
    }
  }

  const std::shared_ptr<Backend> backend_;
  const int wake_;
  Commands commands_;
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
