#include "torch_ext/local/registry.h"

#include "torch_ext/local/random_id.h"

namespace tinkex::torch_ext::local {
namespace {

/// Samples are unordered and repeated soon or never; older records are forgotten.
constexpr std::size_t kMaxRecords = 65'536;

/// Adds to a list that keeps nothing alive.
template <class T>
void watch(const std::shared_ptr<T>& object, std::vector<std::weak_ptr<T>>& list) {
  std::erase_if(list, [](const auto& watched) { return watched.expired(); });
  list.push_back(object);
}

template <class T>
void cancel(const std::vector<std::weak_ptr<T>>& list) {
  for (const auto& watched : list) {
    if (const auto object = watched.lock()) object->cancelled.store(true);
  }
}

}  // namespace

std::string SamplingSession::request_id_of(std::int64_t seq_id, const BodyDigest& digest,
                                           const std::function<std::string()>& fresh,
                                           bool& repeated) {
  internal::MutexLock lock(mutex_);
  const auto found = records_.find(seq_id);
  repeated = found != records_.end() && found->second.digest == digest;
  if (repeated) return found->second.request_id;
  std::string id = fresh();
  if (records_.size() >= kMaxRecords) records_.erase(records_.begin());
  records_.insert_or_assign(seq_id, Record{digest, id});
  return id;
}

std::string Registry::open_session() {
  std::string id = "session-" + random_id();
  internal::MutexLock lock(mutex_);
  sessions_.try_emplace(id);
  return id;
}

Registry::SessionState Registry::session_state(std::string_view id) const {
  internal::MutexLock lock(mutex_);
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return SessionState::kUnknown;
  return found->second.finished ? SessionState::kFinished : SessionState::kOpen;
}

Registry::Ended Registry::finish_session(const std::string& id) {
  Ended ended;
  internal::MutexLock lock(mutex_);
  const auto session = sessions_.find(id);
  if (session == sessions_.end()) return ended;
  session->second.finished = true;
  session->second.creations.clear();
  for (auto model = models_.begin(); model != models_.end();) {
    if (model->second->session_id != id) {
      ++model;
      continue;
    }
    ended.models.push_back(std::move(model->second));
    model = models_.erase(model);
  }
  for (auto sampler = samplers_.begin(); sampler != samplers_.end();) {
    const auto current = sampler++;
    if ((*current)->session_id != id) continue;
    sampler_index_.erase((*current)->id);
    ended.samplers.push_back(std::move(*current));
    samplers_.erase(current);
  }
  return ended;
}

std::pair<Registry::CreationState, Registry::Creation> Registry::begin_creation(
    Kind kind, const std::string& session_id, std::int64_t number, const BodyDigest& digest,
    const std::function<Creation()>& fresh) {
  internal::MutexLock lock(mutex_);
  const auto session = sessions_.find(session_id);
  if (session == sessions_.end() || session->second.finished) {
    return {CreationState::kNoSession, {}};
  }
  auto& creations = session->second.creations;
  const auto found = creations.find({kind, number});
  if (found == creations.end()) {
    Creation creation = fresh();
    creation.digest = digest;
    creations.emplace(std::pair(kind, number), creation);
    return {CreationState::kNew, std::move(creation)};
  }
  const bool same = found->second.digest == digest;
  return {same ? CreationState::kRepeated : CreationState::kConflict, found->second};
}

void Registry::forget_creation(Kind kind, const std::string& session_id, std::int64_t number) {
  internal::MutexLock lock(mutex_);
  const auto session = sessions_.find(session_id);
  if (session != sessions_.end()) session->second.creations.erase({kind, number});
}

bool Registry::is_open_locked(const std::string& session_id) const {
  const auto session = sessions_.find(session_id);
  return session_id.empty() || (session != sessions_.end() && !session->second.finished);
}

bool Registry::add_model(std::shared_ptr<Model> model) {
  internal::MutexLock lock(mutex_);
  if (!is_open_locked(model->session_id)) return false;
  watch(model, watched_models_);
  model->cancelled.store(cancelled_);
  models_.insert_or_assign(model->id, std::move(model));
  return true;
}

std::shared_ptr<Model> Registry::find_model(std::string_view id) const {
  internal::MutexLock lock(mutex_);
  const auto found = models_.find(id);
  return found == models_.end() ? nullptr : found->second;
}

std::shared_ptr<Model> Registry::remove_model(std::string_view id) {
  internal::MutexLock lock(mutex_);
  const auto found = models_.find(id);
  if (found == models_.end()) return nullptr;
  std::shared_ptr<Model> model = std::move(found->second);
  models_.erase(found);
  return model;
}

std::vector<std::shared_ptr<Model>> Registry::models() const {
  internal::MutexLock lock(mutex_);
  std::vector<std::shared_ptr<Model>> models;
  for (const auto& [id, model] : models_) models.push_back(model);
  return models;
}

std::size_t Registry::model_count() const {
  internal::MutexLock lock(mutex_);
  return models_.size();
}

bool Registry::add_sampler(std::shared_ptr<SamplingSession> sampler,
                           std::optional<std::int64_t> number) {
  std::shared_ptr<SamplingSession> dropped;
  internal::MutexLock lock(mutex_);
  if (!is_open_locked(sampler->session_id)) return false;
  sampler->cancelled.store(cancelled_);
  const std::string base =
      sampler->session_id + ":sample:" + (number ? std::to_string(*number) : random_id());
  sampler->id = base;
  for (int suffix = 1; sampler_index_.contains(sampler->id); ++suffix) {
    sampler->id = base + "-" + std::to_string(suffix);
  }
  if (samplers_.size() >= max_sampling_sessions_) {
    dropped = std::move(samplers_.back());
    sampler_index_.erase(dropped->id);
    samplers_.pop_back();
  }
  samplers_.push_front(std::move(sampler));
  sampler_index_.emplace(samplers_.front()->id, samplers_.begin());
  lock.unlock();  // `dropped` may be the last owner of much memory.
  return true;
}

std::shared_ptr<SamplingSession> Registry::find_sampler(std::string_view id) {
  internal::MutexLock lock(mutex_);
  const auto found = sampler_index_.find(id);
  if (found == sampler_index_.end()) return nullptr;
  samplers_.splice(samplers_.begin(), samplers_, found->second);
  return *found->second;
}

void Registry::remove_sampler(std::string_view id) {
  std::shared_ptr<SamplingSession> removed;
  internal::MutexLock lock(mutex_);
  const auto found = sampler_index_.find(id);
  if (found == sampler_index_.end()) return;
  removed = std::move(*found->second);
  samplers_.erase(found->second);
  sampler_index_.erase(found);
  lock.unlock();
}

void Registry::watch_sampler(const std::shared_ptr<SamplingSession>& sampler) {
  internal::MutexLock lock(mutex_);
  watch(sampler, watched_samplers_);
  sampler->cancelled.store(cancelled_);
}

void Registry::cancel_all() {
  internal::MutexLock lock(mutex_);
  cancelled_ = true;
  cancel(watched_models_);
  cancel(watched_samplers_);
  for (const auto& sampler : samplers_) sampler->cancelled.store(true);
}

}  // namespace tinkex::torch_ext::local
