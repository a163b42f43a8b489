#include "torch_ext/local/lanes.h"

#include <c10/core/InferenceMode.h>

#include <thread>
#include <vector>

#include "torch_ext/local/guard.h"
#include "torch_ext/local/thread_limit.h"

namespace tinkex::torch_ext::local {

Status run_lanes(std::size_t count, bool threads_for_one,
                 const std::function<Status(std::size_t)>& body) {
  std::vector<Status> statuses(count, ok_status());
  const auto run = [&](std::size_t lane) {
    statuses[lane] = guarded([&]() -> Status {
      const c10::InferenceMode inference;
      const SingleThread single(count > 1 || !threads_for_one);
      return body(lane);
    });
  };
  {
    std::vector<std::jthread> threads;
    for (std::size_t lane = 1; lane < count; ++lane) threads.emplace_back(run, lane);
    run(0);
  }
  for (const Status& status : statuses) {
    if (!status) return status;
  }
  return ok_status();
}

}  // namespace tinkex::torch_ext::local
