#include "tinkex/future.h"

#include <new>
#include <string>

namespace tinkex {

void run_on(Executor* executor, Executor::Task task) noexcept {
  // The task is shared so that it survives a post that refuses it.
  try {
    auto shared = std::make_shared<Executor::Task>(std::move(task));
    if (executor != nullptr && executor->post([shared] { (*shared)(); })) return;
    (*shared)();
  } catch (...) {
    // Tasks given to run_on settle a cell and do not throw; only an allocation can fail here, and
    // then the promise that the task owns settles its future as abandoned.
  }
}

namespace internal {

Error error_from_current_exception(std::string_view thrower) noexcept {
  try {
    throw;
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return Error(ErrorCode::kInternal, "out of memory");
  } catch (const std::exception& exception) {
    const std::string by = thrower.empty() ? "" : std::string(thrower) + " threw: ";
    return Error(ErrorCode::kInternal, by + exception.what());
  } catch (...) {
    return Error(ErrorCode::kInternal,
                 thrower.empty()
                     ? "an exception of unknown type"
                     : std::string(thrower) + " threw something that is no std::exception");
  }
}

}  // namespace internal
}  // namespace tinkex
