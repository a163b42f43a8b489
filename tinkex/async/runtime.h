#pragma once

#include <atomic>
#include <memory>

#include "tinkex/async/timer_service.h"
#include "tinkex/base/buffer_pool.h"
#include "tinkex/base/random.h"
#include "tinkex/clock.h"
#include "tinkex/executor.h"
#include "tinkex/transport.h"

namespace tinkex::internal {

/// What every state machine of one service runs on. The pointers are constant after construction;
/// each object behind them synchronises itself.
struct Runtime {
  std::shared_ptr<Clock> clock;
  std::shared_ptr<Executor> executor;
  std::shared_ptr<Transport> transport;
  std::shared_ptr<TimerService> timers;
  std::shared_ptr<BufferPool> buffers;
  /// Random part of back-off pauses.
  std::shared_ptr<RandomSource> random;
  /// Set before the transport shuts down; a state machine that wakes up then gives up.
  std::atomic<bool> closed{false};
};

}  // namespace tinkex::internal
