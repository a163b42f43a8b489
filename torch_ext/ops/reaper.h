#pragma once

#include <memory>
#include <utility>

#include "tinkex/base/process_mark.h"

namespace tinkex::torch_ext {

/// Starts the thread of drop_later, if this process has none. Who makes an object that will be
/// dropped later calls it first. Throws if there is no memory or no thread to be had.
void prepare_to_drop();

/// Drops `object` on a thread of the library's own, soon; does not wait. What that thread drops
/// takes along at once what it gives away itself.
///
/// Why: the destructor of a script class runs wherever the last reference goes, in Python under the
/// interpreter's lock. Dropping the last handle of a service there would join its threads, which
/// may need that lock. So the classes give their handles away here.
///
/// One thread per process, started on first use or by prepare_to_drop. At exit the process waits up
/// to five seconds for what is queued, so that connections are closed in order. An object that a
/// child of fork has from its parent, without the threads that the end of it would join, is given
/// up instead. `made_in` is where it was made.
void drop_later(std::shared_ptr<const void> object, internal::ProcessMark made_in = {}) noexcept;

/// The same for a value.
template <class T>
void drop_later(T value, internal::ProcessMark made_in = {}) noexcept {
  try {
    drop_later(std::shared_ptr<const void>(std::make_shared<T>(std::move(value))), made_in);
  } catch (...) {
    // Out of memory: `value` is dropped here, which may wait, but loses nothing.
  }
}

/// A pointer to `object` whose last copy may be dropped on any thread, one of the service's own
/// included: `object` then goes to drop_later. Null if `object` is.
std::shared_ptr<const void> dropped_later(std::shared_ptr<const void> object,
                                          internal::ProcessMark made_in = {});

/// Waits until everything queued before has been dropped. For tests.
void wait_until_dropped();

}  // namespace tinkex::torch_ext
