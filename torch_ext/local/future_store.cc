#include "torch_ext/local/future_store.h"

#include <charconv>
#include <utility>

#include "torch_ext/local/random_id.h"

namespace tinkex::torch_ext::local {
namespace {

constexpr std::size_t kEntryBytes = 256;

std::size_t bytes_of(const ForwardBackwardOutput& output) {
  std::size_t bytes = 0;
  for (const NamedTensors& tensors : output.loss_fn_outputs) {
    for (const auto& [name, tensor] : tensors) bytes += name.size() + tensor.size_bytes() + 64;
  }
  return bytes;
}

std::size_t bytes_of(const SampleResponse& response) {
  std::size_t bytes = response.prompt_logprobs.size() * sizeof(float);
  for (const SampledSequence& sequence : response.sequences) {
    bytes += sequence.tokens.size() * 8 + sequence.sequence_id.size() + 64;
  }
  for (const auto& candidates : response.topk_prompt_logprobs) {
    bytes += candidates.size() * sizeof(TokenLogprob) + 24;
  }
  return bytes;
}

std::size_t bytes_of(const std::string& text) { return text.size(); }

std::size_t bytes_of(const OperationResult& result) {
  if (!result) return kEntryBytes + result.error().message().size();
  return kEntryBytes + std::visit([](const auto& output) { return bytes_of(output); }, *result);
}

}  // namespace

std::shared_ptr<FutureStore> FutureStore::create(Options options) {
  return std::shared_ptr<FutureStore>(new FutureStore(std::move(options)));
}

FutureStore::FutureStore(Options options)
    : options_(std::move(options)), prefix_("req-" + random_id() + "-") {}

std::string FutureStore::open(std::string session_id) {
  internal::MutexLock lock(mutex_);
  std::string id = prefix_ + std::to_string(++opened_);
  Entry entry{std::move(session_id), closed_, 0, {}};
  entries_.emplace(id, std::move(entry));
  return id;
}

void FutureStore::settle(const std::string& id, OperationResult result) {
  const Result shared = std::make_shared<const OperationResult>(std::move(result));
  std::vector<Entry> evicted;
  internal::MutexLock lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end() || found->second.result != nullptr) return;
  Polls polls = settle_locked(id, found->second, shared);
  evict_locked(evicted);
  lock.unlock();
  deliver(std::move(polls), shared);
}

void FutureStore::give_up(const std::string& id) {
  const internal::MutexLock lock(mutex_);
  const auto found = entries_.find(id);
  if (found != entries_.end()) found->second.given_up->store(true);
}

std::shared_ptr<const std::atomic<bool>> FutureStore::given_up(const std::string& id) const {
  const internal::MutexLock lock(mutex_);
  const auto found = entries_.find(id);
  return found != entries_.end() ? found->second.given_up : nullptr;
}

FutureStore::Polls FutureStore::settle_locked(const std::string& id, Entry& entry, Result result) {
  entry.bytes = bytes_of(*result);
  entry.result = std::move(result);
  result_bytes_ += entry.bytes;
  settled_.push_back(id);
  return std::exchange(entry.polls, {});
}

void FutureStore::evict_locked(std::vector<Entry>& evicted) {
  while (result_bytes_ > options_.max_result_bytes && settled_.size() > 1) {
    const auto found = entries_.find(settled_.front());
    settled_.pop_front();
    if (found == entries_.end()) continue;
    result_bytes_ -= found->second.bytes;
    evicted.push_back(std::move(found->second));
    entries_.erase(found);
  }
}

void FutureStore::poll(const std::string& id, Waiter waiter) {
  internal::MutexLock lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end()) {
    const PollState state = missing_state(id);
    lock.unlock();
    return waiter(state, nullptr);
  }
  if (const Result result = found->second.result) {
    lock.unlock();
    return waiter(PollState::kReady, result);
  }
  const std::uint64_t number = ++last_poll_;
  found->second.polls[number].waiter = std::move(waiter);
  lock.unlock();
  // Outside the lock: a timer service that is shutting down calls back at once.
  const auto timer = options_.timers->schedule(options_.clock->now() + options_.poll_hold,
                                               [weak = weak_from_this(), id, number] {
                                                 if (const auto self = weak.lock())
                                                   self->expire(id, number);
                                               });
  lock.lock();
  const auto entry = entries_.find(id);
  if (entry != entries_.end()) {
    const auto poll = entry->second.polls.find(number);
    if (poll != entry->second.polls.end()) {
      poll->second.timer = timer;
      return;
    }
  }
  lock.unlock();
  options_.timers->cancel(timer);  // The result came in between.
}

FutureStore::PollState FutureStore::missing_state(std::string_view id) const {
  if (!id.starts_with(prefix_)) return PollState::kUnknown;
  id.remove_prefix(prefix_.size());
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), number);
  const bool ours = error == std::errc() && end == id.data() + id.size() && number > 0;
  return ours && number <= opened_ ? PollState::kExpired : PollState::kUnknown;
}

void FutureStore::expire(const std::string& id, std::uint64_t poll) {
  internal::MutexLock lock(mutex_);
  const auto entry = entries_.find(id);
  if (entry == entries_.end()) return;
  const auto found = entry->second.polls.find(poll);
  if (found == entry->second.polls.end()) return;
  const Waiter waiter = std::move(found->second.waiter);
  entry->second.polls.erase(found);
  lock.unlock();
  waiter(PollState::kPending, nullptr);
}

void FutureStore::deliver(Polls polls, const Result& result) {
  for (auto& [number, poll] : polls) {
    if (poll.timer != 0) options_.timers->cancel(poll.timer);
    try {
      poll.waiter(PollState::kReady, result);
    } catch (...) {
      // The others still get theirs.
    }
  }
}

void FutureStore::close_session(const std::string& session_id, const Error& reason) {
  const Result result = std::make_shared<const OperationResult>(reason);
  Polls polls;
  std::vector<Entry> dropped;
  internal::MutexLock lock(mutex_);
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    if (entry->second.session_id != session_id) {
      ++entry;
      continue;
    }
    polls.merge(entry->second.polls);
    result_bytes_ -= entry->second.bytes;
    dropped.push_back(std::move(entry->second));
    entry = entries_.erase(entry);
  }
  std::erase_if(settled_, [&](const std::string& id) { return !entries_.contains(id); });
  lock.unlock();
  deliver(std::move(polls), result);
}

void FutureStore::close(const Error& reason) {
  const Result result = std::make_shared<const OperationResult>(reason);
  Polls polls;
  internal::MutexLock lock(mutex_);
  closed_ = result;
  for (auto& [id, entry] : entries_) {
    if (entry.result == nullptr) polls.merge(settle_locked(id, entry, result));
  }
  lock.unlock();
  deliver(std::move(polls), result);
}

}  // namespace tinkex::torch_ext::local
