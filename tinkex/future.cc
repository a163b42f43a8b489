#include "tinkex/future.h"

#include <new>

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

Error error_from_current_exception() noexcept {
  try {
    throw;
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return Error(ErrorCode::kInternal, "out of memory");
  } catch (const std::exception& exception) {
    return Error(ErrorCode::kInternal, exception.what());
  } catch (...) {
    return Error(ErrorCode::kInternal, "an exception of unknown type");
  }
}

}  // namespace internal
}  // namespace tinkex
