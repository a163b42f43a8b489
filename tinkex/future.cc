#include "tinkex/future.h"

#include <memory>
#include <utility>

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

}  // namespace tinkex
