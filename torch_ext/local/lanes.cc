#include "torch_ext/local/lanes.h"

#include <c10/core/InferenceMode.h>

#include <atomic>
#include <system_error>
#include <thread>
#include <vector>

#include "torch_ext/local/guard.h"
#include "torch_ext/local/thread_limit.h"

namespace tinkex::torch_ext::local {

Status run_lanes(std::size_t lanes, bool threads_for_one, std::size_t pieces,
                 const std::function<Status(std::size_t piece, std::size_t lane)>& body) {
  std::vector<Status> statuses(pieces, ok_status());
  std::atomic<std::size_t> next = 0;
  const auto run = [&](std::size_t lane) {
    const c10::InferenceMode inference;
    const SingleThread single(lanes > 1 || !threads_for_one);
    for (std::size_t piece = next++; piece < pieces; piece = next++) {
      statuses[piece] = guarded([&] { return body(piece, lane); });
      // All before it have begun and will end: if another one is the first to fail, it is of those.
      if (!statuses[piece]) next = pieces;
    }
  };
  {
    std::vector<std::jthread> threads;
    try {
      for (std::size_t lane = 1; lane < lanes; ++lane) threads.emplace_back(run, lane);
    } catch (const std::system_error&) {  // The lanes that there are take all pieces.
    }
    run(0);
  }
  for (const Status& status : statuses) {
    if (!status) return status;
  }
  return ok_status();
}

}  // namespace tinkex::torch_ext::local
