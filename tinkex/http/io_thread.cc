#include "tinkex/http/io_thread.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

namespace tinkex::internal {
namespace {

constexpr int kLongestPollMs = 60'000;
constexpr std::size_t kMaxIdleHandles = 256;
constexpr std::size_t kMaxConnections = 2048;

bool init_curl() {
  static const bool ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  return ready;
}

std::size_t connections_of_this_process() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY) {
    return kMaxConnections;
  }
  return std::clamp<std::size_t>(files.rlim_cur / 2, 4, kMaxConnections);
}

thread_local const IoThread* this_io_thread = nullptr;

Error closed_error() {
  return Error(ErrorCode::kClosed, "the connection to the server was closed by this program");
}

}  // namespace

Result<std::shared_ptr<IoThread>> IoThread::start(std::shared_ptr<Clock> clock,
                                                  CurlSettings settings) {
  if (!init_curl()) return Error(ErrorCode::kInternal, "libcurl could not be initialised");
  std::shared_ptr<IoThread> io(new IoThread(std::move(clock), std::move(settings)),
                               &IoThread::release);
  io->multi_.reset(curl_multi_init());
  if (!io->multi_) return Error(ErrorCode::kInternal, "libcurl could not make a multi handle");
  // One more than the window lets through, for what is urgent.
  const auto connections = static_cast<long>(io->max_connections()) + 1;
  curl_multi_setopt(io->multi_.get(), CURLMOPT_MAX_TOTAL_CONNECTIONS, connections);
  // Kept open for reuse; libcurl's default follows the number of transfers.
  curl_multi_setopt(io->multi_.get(), CURLMOPT_MAXCONNECTS, connections);
  try {
    MutexLock lock(io->join_mutex_);
    // The raw pointer is safe: release() joins the thread or leaves the object to it.
    io->thread_ = std::thread([self = io.get()] {
      self->run();
      if (self->orphaned_) delete self;
    });
  } catch (const std::exception& exception) {
    return Error(ErrorCode::kIo,
                 std::string("the I/O thread could not start: ") + exception.what());
  }
  return io;
}

IoThread::IoThread(std::shared_ptr<Clock> clock, CurlSettings settings)
    : clock_(std::move(clock)),
      settings_(std::move(settings)),
      max_connections_(connections_of_this_process()),
      window_(max_connections_) {}

IoThread::~IoThread() {
  MutexLock lock(join_mutex_);
  if (thread_.joinable()) thread_.detach();  // only when it is the thread that deletes
}

void IoThread::release(IoThread* io) noexcept {
  io->shutdown();
  if (this_io_thread == io) {
    io->orphaned_ = true;
  } else {
    delete io;
  }
}

void IoThread::shutdown() noexcept {
  if (!stopped_.exchange(true)) push({.kind = Command::Kind::kStop});
  if (this_io_thread == this) return;
  MutexLock lock(join_mutex_);
  if (thread_.joinable()) thread_.join();
}

Transport::RequestId IoThread::send(HttpRequest request, Transport::Callback callback) noexcept {
  const std::uint64_t id = next_id_.fetch_add(1, std::memory_order_relaxed);
  push({.kind = Command::Kind::kSend,
        .id = id,
        .request = std::move(request),
        .on_reply = std::move(callback)});
  return id;
}

TimerService::TimerId IoThread::schedule(Clock::time_point when,
                                         TimerService::Callback callback) noexcept {
  const std::uint64_t id = next_id_.fetch_add(1, std::memory_order_relaxed);
  push({.kind = Command::Kind::kSchedule, .id = id, .when = when, .on_time = std::move(callback)});
  return id;
}

void IoThread::cancel(std::uint64_t id) noexcept {
  push({.kind = Command::Kind::kCancel, .id = id});
}

void IoThread::withdraw(Transport::RequestId id) noexcept {
  push({.kind = Command::Kind::kWithdraw, .id = id});
}

void IoThread::recycle(std::string body) noexcept { reply_memory_.give_back(std::move(body)); }

void IoThread::push(Command command) noexcept {
  using Pushed = CommandQueue<Command>::Pushed;
  try {
    switch (commands_.push(command)) {
      case Pushed::kFirst: curl_multi_wakeup(multi_.get()); return;
      case Pushed::kBehindOthers: return;
      case Pushed::kClosed: break;
    }
  } catch (...) {
    // Out of memory before the command was taken over: it is refused like one that came too late.
  }
  refuse(command);
}

void IoThread::refuse(Command& command) noexcept {
  if (command.kind == Command::Kind::kSend) call_back(command, closed_error());
  try {
    if (command.kind == Command::Kind::kSchedule && command.on_time) command.on_time();
  } catch (...) {
    // Callbacks only hand over.
  }
}

void IoThread::call_back(Command& send, Error error) noexcept {
  try {
    // An empty callback has been handed on already.
    if (send.on_reply) send.on_reply(std::move(error));
  } catch (...) {
    // Callbacks only hand over.
  }
}

void IoThread::run() noexcept {
  this_io_thread = this;
  try {
    while (obey(commands_.take())) {
      fire_due(clock_->now());
      start_waiting();
      int running = 0;
      curl_multi_perform(multi_.get(), &running);
      finish_completed();
      if (can_start()) continue;
      curl_multi_poll(multi_.get(), nullptr, 0, poll_timeout_ms(), nullptr);
    }
  } catch (...) {
    // Out of memory: end every exchange instead of the process.
  }
  end_everything();
}

bool IoThread::obey(std::vector<Command> commands) {
  bool go_on = true;
  for (Command& command : commands) {
    try {
      obey_one(command);
    } catch (...) {
      refuse(command);  // Out of memory: this one fails, the others go on.
    }
    if (command.kind == Command::Kind::kStop) go_on = false;
  }
  return go_on;
}

void IoThread::obey_one(Command& command) {
  switch (command.kind) {
    case Command::Kind::kNone:
    case Command::Kind::kStop: return;
    case Command::Kind::kSend:
      if (command.request.urgent) return begin(command, std::chrono::steady_clock::now());
      waiting_.emplace(command.id, std::move(command));
      return;
    case Command::Kind::kSchedule:
      return timers_.add(command.id, command.when, std::move(command.on_time));
    case Command::Kind::kCancel: timers_.cancel(command.id); return cancel_transfer(command.id);
    case Command::Kind::kWithdraw: return withdraw_transfer(command.id);
  }
}

void IoThread::cancel_transfer(std::uint64_t id) {
  if (const auto running = transfers_.find(id); running != transfers_.end()) {
    return finish_transfer(running, Error(ErrorCode::kCancelled, "the request was cancelled"));
  }
  withdraw_transfer(id);
}

void IoThread::withdraw_transfer(std::uint64_t id) {
  const auto withdrawn = [] {
    return Error(ErrorCode::kCancelled, "the request was withdrawn").with_not_accepted(true);
  };
  const auto running = transfers_.find(id);
  if (running != transfers_.end() && !running->second.transfer->body_has_left()) {
    finish_transfer(running, withdrawn());
  } else if (const auto waiting = waiting_.extract(id)) {
    call_back(waiting.mapped(), withdrawn());
  }
}

bool IoThread::can_start() {
  return !waiting_.empty() && window_.is_open(std::chrono::steady_clock::now());
}

void IoThread::start_waiting() {
  if (waiting_.empty()) return;
  const auto now = std::chrono::steady_clock::now();
  while (!waiting_.empty() && window_.is_open(now)) {
    auto oldest = waiting_.extract(waiting_.begin());
    try {
      begin(oldest.mapped(), now);
    } catch (...) {
      refuse(oldest.mapped());  // Out of memory: this one fails, the others go on.
    }
  }
}

void IoThread::begin(Command& command, StartWindow::TimePoint now) {
  CurlEasy easy;
  if (idle_handles_.empty()) {
    easy.reset(curl_easy_init());
  } else {
    easy = std::move(idle_handles_.back());
    idle_handles_.pop_back();
  }
  auto transfer =
      std::make_unique<CurlTransfer>(command.id, std::move(easy), std::move(command.request),
                                     std::move(command.on_reply), reply_memory_);
  if (Status ready = transfer->prepare(settings_); !ready.ok()) {
    return transfer->finish(Error(std::move(ready).error()).with_not_accepted(true));
  }
  if (curl_multi_add_handle(multi_.get(), transfer->handle()) != CURLM_OK) {
    return transfer->finish(
        Error(ErrorCode::kInternal, "libcurl refused the request").with_not_accepted(true));
  }
  Running& running = transfers_[command.id];
  running.transfer = std::move(transfer);
  running.ticket = window_.start(now);
}

void IoThread::finish_completed() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;
    CurlTransfer* transfer = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
    finish_transfer(transfers_.find(transfer->id()), transfer->outcome(code));
  }
}

void IoThread::finish_transfer(Transfers::iterator entry, Result<HttpResponse> result) {
  const std::unique_ptr<CurlTransfer> transfer = std::move(entry->second.transfer);
  window_.end(entry->second.ticket);
  transfers_.erase(entry);
  curl_multi_remove_handle(multi_.get(), transfer->handle());
  if (idle_handles_.size() < kMaxIdleHandles) idle_handles_.push_back(transfer->reclaim());
  transfer->finish(std::move(result));
}

void IoThread::fire_due(Clock::time_point now) noexcept {
  for (const TimerService::Callback& callback : timers_.take_due(now)) {
    try {
      callback();
    } catch (...) {
      // Callbacks only hand over.
    }
  }
}

int IoThread::poll_timeout_ms() const {
  using std::chrono::ceil;
  using std::chrono::milliseconds;
  std::int64_t wait = kLongestPollMs;
  if (const auto timer = timers_.next_deadline()) {
    wait = std::min<std::int64_t>(wait, ceil<milliseconds>(*timer - clock_->now()).count());
  }
  if (const auto opens = window_.opens_at(); opens && !waiting_.empty()) {
    const auto left = *opens - std::chrono::steady_clock::now();
    wait = std::min<std::int64_t>(wait, ceil<milliseconds>(left).count());
  }
  return static_cast<int>(std::max<std::int64_t>(wait, 0));
}

void IoThread::end_everything() noexcept {
  std::vector<Command> late = commands_.close();
  while (!transfers_.empty()) finish_transfer(transfers_.begin(), closed_error());
  for (auto& [id, command] : waiting_) refuse(command);
  waiting_.clear();
  fire_due(Clock::time_point::max());
  for (Command& command : late) refuse(command);
  idle_handles_.clear();
}

}  // namespace tinkex::internal
