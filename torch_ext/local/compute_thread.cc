#include "torch_ext/local/compute_thread.h"

#include <utility>

namespace tinkex::torch_ext::local {
namespace {

/// One task that runs out of memory must not end the process and everyone else's work.
void run(const ComputeThread::Task& task) noexcept {
  try {
    task();
  } catch (...) {
    // Whoever waits for the task has been told, or is when the task's last copy goes.
  }
}

}  // namespace

ComputeThread::ComputeThread(Task on_start) {
  thread_ = std::thread([this, start = std::move(on_start)] {
    run(start);
    loop();
  });
}

ComputeThread::~ComputeThread() { stop(); }

bool ComputeThread::post(std::string_view lane, Task task) {
  internal::MutexLock lock(mutex_);
  if (stopped_) return false;
  std::deque<Task>& tasks = lanes_[std::string(lane)];
  tasks.push_back(std::move(task));
  if (tasks.size() == 1) turns_.emplace_back(lane);
  changed_.notify_one();
  return true;
}

void ComputeThread::stop() noexcept {
  decltype(lanes_) dropped;
  {
    internal::MutexLock lock(mutex_);
    stopped_ = true;
    turns_.clear();
    dropped.swap(lanes_);
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

bool ComputeThread::next(Task& task) {
  internal::MutexLock lock(mutex_);
  while (!stopped_ && turns_.empty()) changed_.wait(mutex_);
  if (stopped_) return false;
  std::string lane = std::move(turns_.front());
  turns_.pop_front();
  const auto found = lanes_.find(lane);
  task = std::move(found->second.front());
  found->second.pop_front();
  if (found->second.empty()) {
    lanes_.erase(found);
  } else {
    turns_.push_back(std::move(lane));
  }
  return true;
}

void ComputeThread::loop() {
  for (Task task; next(task); task = nullptr) run(task);
}

}  // namespace tinkex::torch_ext::local
