#include "tinkex/training/parallel_batch.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace tinkex::internal {

ParallelBatch::ParallelBatch(Plan plan)
    : plan_(std::move(plan)),
      accepted_(plan_.total),
      ids_(plan_.total),
      doubtful_(plan_.total, false),
      next_seq_id_(plan_.first_seq_id + static_cast<std::int64_t>(plan_.total)) {}

void ParallelBatch::add(std::shared_ptr<ByteBuffer> body) {
  MutexLock lock(mutex_);
  const std::size_t index = added_++;
  if (error_) {
    lock.unlock();
    return plan_.release(body->size());
  }
  if (index == 0) {
    first_ = std::move(body);
    lock.unlock();
  } else {
    ++on_wire_;
    lock.unlock();
    send_chunk(index, std::move(body));
  }
  step();
}

void ParallelBatch::abort(Error error) {
  std::vector<std::weak_ptr<RetryLoop>> loops;
  {
    MutexLock lock(mutex_);
    if (phase_ != Phase::kSending) return;
    if (!error_) error_ = std::move(error);
    loops = loops_;
  }
  for (const auto& weak : loops) {
    if (const auto loop = weak.lock()) loop->withdraw();
  }
  step();
}

bool ParallelBatch::is_starving() const {
  MutexLock lock(mutex_);
  return phase_ == Phase::kSending && on_wire_ == 0 && added_ < plan_.total;
}

std::vector<std::string> ParallelBatch::accepted_ids() const {
  MutexLock lock(mutex_);
  std::vector<std::string> accepted;
  std::ranges::copy_if(ids_, std::back_inserter(accepted),
                       [](const std::string& id) { return !id.empty(); });
  return accepted;
}

void ParallelBatch::send_chunk(std::size_t index, std::shared_ptr<ByteBuffer> body) {
  const std::size_t bytes = body->size();
  auto loop = plan_.send([&body] { return std::move(body); },
                         plan_.first_seq_id + static_cast<std::int64_t>(index),
                         [self = shared_from_this(), index, bytes](Result<Accepted> reply) {
                           self->on_chunk(index, bytes, std::move(reply));
                         });
  if (!loop) return;
  bool unwanted = false;
  {
    MutexLock lock(mutex_);
    loops_.push_back(loop);
    unwanted = error_.has_value();
  }
  if (unwanted) loop->withdraw();
}

void ParallelBatch::on_chunk(std::size_t index, std::size_t bytes, Result<Accepted> reply) {
  {
    MutexLock lock(mutex_);
    --on_wire_;
    if (reply.ok()) {
      ids_[index] = reply->request_id;
      accepted_[index] = *std::move(reply);
    } else {
      doubtful_[index] = !reply.error().not_accepted();
      if (!error_) error_ = std::move(reply).error().with_chunk(index, plan_.total);
    }
  }
  plan_.release(bytes);  // wakes a caller, who looks at what was set above
  step();
}

void ParallelBatch::step() {
  std::shared_ptr<ByteBuffer> first;
  bool over = false;
  {
    MutexLock lock(mutex_);
    if (on_wire_ > 0 || phase_ != Phase::kSending) return;
    if (error_) {
      begin_filling();
    } else if (added_ < plan_.total) {
      return;
    } else if (first_) {
      first = std::move(first_);
      ++on_wire_;
    } else {
      phase_ = Phase::kFinished;
      over = true;
    }
  }
  if (first) return send_chunk(0, std::move(first));
  over ? finish() : fill_next();
}

void ParallelBatch::begin_filling() {
  phase_ = Phase::kFilling;
  std::size_t used = plan_.total;  // how many ids, from the first, the server may have seen
  while (used > 0 && !accepted_[used - 1] && !doubtful_[used - 1]) --used;
  next_seq_id_ = plan_.first_seq_id + static_cast<std::int64_t>(used);
  for (std::size_t i = used; i > 0; --i) {
    if (!accepted_[i - 1]) gaps_.push_back(plan_.first_seq_id + static_cast<std::int64_t>(i - 1));
  }
}

void ParallelBatch::fill_next() {
  std::int64_t seq_id = 0;
  std::shared_ptr<ByteBuffer> unsent;
  {
    MutexLock lock(mutex_);
    unsent = std::move(first_);
    if (gaps_.empty() || !open_ids_.empty()) {
      // A server that refused one filler will refuse the others; the owner tries again later.
      open_ids_.insert(open_ids_.end(), gaps_.rbegin(), gaps_.rend());
      gaps_.clear();
      phase_ = Phase::kFinished;
    } else {
      seq_id = gaps_.back();
      gaps_.pop_back();
    }
  }
  if (unsent) plan_.release(unsent->size());
  if (seq_id == 0) return finish();
  (void)plan_.send(plan_.filler, seq_id,
                   [self = shared_from_this(), seq_id](const Result<Accepted>& reply) {
                     self->on_filler(seq_id, reply);
                   });
}

void ParallelBatch::on_filler(std::int64_t seq_id, const Result<Accepted>& reply) {
  // 409: the server has an operation of that id after all.
  const bool closed = reply.ok() || reply.error().http_status() == 409;
  if (!closed) {
    MutexLock lock(mutex_);
    open_ids_.push_back(seq_id);
  }
  fill_next();
}

void ParallelBatch::finish() {
  Outcome outcome;
  {
    MutexLock lock(mutex_);
    for (auto& one : accepted_) {
      if (one) outcome.accepted.push_back(*std::move(one));
    }
    outcome.error = std::move(error_);
    outcome.next_seq_id = next_seq_id_;
    outcome.open_ids = std::move(open_ids_);
  }
  plan_.finished(std::move(outcome));
}

}  // namespace tinkex::internal
