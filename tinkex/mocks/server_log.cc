#include "tinkex/mocks/server_log.h"

#include <algorithm>
#include <utility>

namespace tinkex::mocks {
namespace {

bool matches(const LoggedRequest& request, std::string_view path_prefix) {
  return std::string_view(request.target).substr(0, path_prefix.size()) == path_prefix;
}

}  // namespace

std::string_view LoggedRequest::header(std::string_view name) const noexcept {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return {};
}

Moment ServerLog::now() {
  internal::MutexLock lock(mutex_);
  return now_locked();
}

Moment ServerLog::now_locked() { return {++last_order_, std::chrono::steady_clock::now()}; }

LoggedRequest ServerLog::add(LoggedRequest request) {
  internal::MutexLock lock(mutex_);
  request.index = requests_.size();
  request.arrived = now_locked();
  requests_.push_back(request);
  arrival_.notify_all();
  return request;
}

void ServerLog::replied(std::size_t index) {
  internal::MutexLock lock(mutex_);
  requests_[index].replied = now_locked();
}

void ServerLog::client_left(std::size_t index) {
  internal::MutexLock lock(mutex_);
  requests_[index].client_left = true;
}

std::vector<LoggedRequest> ServerLog::select(std::string_view path_prefix) const {
  internal::MutexLock lock(mutex_);
  std::vector<LoggedRequest> selected;
  std::copy_if(requests_.begin(), requests_.end(), std::back_inserter(selected),
               [&](const LoggedRequest& request) { return matches(request, path_prefix); });
  return selected;
}

std::size_t ServerLog::count(std::string_view path_prefix) const {
  internal::MutexLock lock(mutex_);
  return count_locked(path_prefix);
}

std::size_t ServerLog::count_locked(std::string_view path_prefix) const {
  std::size_t count = 0;
  for (const LoggedRequest& request : requests_) count += matches(request, path_prefix) ? 1 : 0;
  return count;
}

bool ServerLog::wait(std::size_t count, std::chrono::milliseconds timeout,
                     std::string_view path_prefix) const {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  internal::MutexLock lock(mutex_);
  while (count_locked(path_prefix) < count) {
    if (!arrival_.wait_until(mutex_, deadline)) return count_locked(path_prefix) >= count;
  }
  return true;
}

std::size_t max_in_flight(const std::vector<LoggedRequest>& requests) {
  std::vector<std::pair<std::uint64_t, int>> changes;
  for (const LoggedRequest& request : requests) {
    changes.emplace_back(request.arrived.order, 1);
    if (request.replied.order > 0) changes.emplace_back(request.replied.order, -1);
  }
  std::sort(changes.begin(), changes.end());
  int current = 0;
  int most = 0;
  for (const auto& change : changes) most = std::max(most, current += change.second);
  return static_cast<std::size_t>(most);
}

}  // namespace tinkex::mocks
