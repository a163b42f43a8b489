#include "tinkex/limits/byte_budget.h"

#include <cassert>

namespace tinkex::internal {
namespace {

Error closed_error() {
  return Error(ErrorCode::kClosed, "the client was closed while a batch waited to be queued");
}

}  // namespace

Status ByteBudget::acquire(std::size_t bytes) {
  MutexLock lock(mutex_);
  const std::uint64_t number = next_number_++;
  while (!closed_ && (number != now_serving_ || !fits(bytes))) changed_.wait(mutex_);
  ++now_serving_;
  if (closed_) return closed_error();
  used_ += bytes;
  changed_.notify_all();
  return ok_status();
}

Status ByteBudget::force_acquire(std::size_t bytes) {
  MutexLock lock(mutex_);
  if (closed_) return closed_error();
  used_ += bytes;
  return ok_status();
}

void ByteBudget::release(std::size_t bytes) {
  MutexLock lock(mutex_);
  assert(bytes <= used_);
  used_ -= bytes;
  changed_.notify_all();
}

void ByteBudget::close() {
  MutexLock lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

std::size_t ByteBudget::used() const {
  MutexLock lock(mutex_);
  return used_;
}

std::size_t ByteBudget::waiting() const {
  MutexLock lock(mutex_);
  return static_cast<std::size_t>(next_number_ - now_serving_);
}

bool ByteBudget::fits(std::size_t bytes) const {
  return used_ == 0 || (used_ <= limit_ && bytes <= limit_ - used_);
}

}  // namespace tinkex::internal
