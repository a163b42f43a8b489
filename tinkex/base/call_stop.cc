#include "tinkex/base/call_stop.h"

#include <utility>

namespace tinkex::internal {
namespace {

std::shared_ptr<CallStop>& announced() {
  thread_local std::shared_ptr<CallStop> stop;
  return stop;
}

}  // namespace

CallStop::Part::Part(std::function<void()> hook) : stop_(announced()) {
  if (stop_ && stop_->begin(hook)) hook();
}

CallStop::Part::~Part() {
  if (stop_) stop_->end();
}

void CallStop::announce(std::shared_ptr<CallStop> stop) { announced() = std::move(stop); }

void CallStop::stop(std::chrono::steady_clock::duration patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  std::vector<std::function<void()>> hooks;
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    hooks.swap(hooks_);
  }
  for (const auto& hook : hooks) hook();
  MutexLock lock(mutex_);
  while (running_ > 0) {
    if (!changed_.wait_until(mutex_, deadline)) return;
  }
}

bool CallStop::begin(const std::function<void()>& hook) {
  MutexLock lock(mutex_);
  if (!stopped_) hooks_.push_back(hook);
  ++running_;
  return stopped_;
}

void CallStop::end() {
  std::function<void()> hook;  // its end may be that of what it owns
  MutexLock lock(mutex_);
  if (!hooks_.empty()) {
    hook.swap(hooks_.back());
    hooks_.pop_back();
  }
  if (--running_ == 0) changed_.notify_all();
}

}  // namespace tinkex::internal
