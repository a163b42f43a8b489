#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tinkex/base/mutex.h"
#include "torch_ext/local/sampler.h"

namespace tinkex::torch_ext::local {

/// Samples of one session on their way from the threads that receive requests to the compute
/// thread. Thread-safe.
///
/// Races. Whoever puts the first sample into an inbox that is not served must have it served;
/// everyone after relies on that. Serving ends only in rest(), which looks once more under the same
/// lock, so no sample is left behind.
class SampleInbox {
 public:
  struct Sample {
    std::string request_id;
    SampleRequest request;
    std::shared_ptr<const std::atomic<bool>> given_up;  ///< See FutureStore::give_up; may be null.
  };

  /// True if the caller must start serving.
  bool put(Sample sample) TINKEX_EXCLUDES(mutex_) {
    internal::MutexLock lock(mutex_);
    samples_.push_back(std::move(sample));
    return !std::exchange(served_, true);
  }
  /// What came since the last call. While serving.
  std::vector<Sample> take() TINKEX_EXCLUDES(mutex_) {
    internal::MutexLock lock(mutex_);
    return std::exchange(samples_, {});
  }
  /// Ends serving; false, and it goes on, if something came meanwhile.
  bool rest() TINKEX_EXCLUDES(mutex_) {
    internal::MutexLock lock(mutex_);
    served_ = !samples_.empty();
    return !served_;
  }

 private:
  internal::Mutex mutex_;
  std::vector<Sample> samples_ TINKEX_GUARDED_BY(mutex_);
  bool served_ TINKEX_GUARDED_BY(mutex_) = false;
};

}  // namespace tinkex::torch_ext::local
