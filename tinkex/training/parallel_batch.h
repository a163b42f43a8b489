#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tinkex/base/byte_buffer.h"
#include "tinkex/base/mutex.h"
#include "tinkex/error.h"
#include "tinkex/retry/retry_loop.h"
#include "tinkex/training/accepted.h"

namespace tinkex::internal {

/// Sends the chunks of one batch side by side: all but the first as they come, and the first when
/// those are accepted (the API's protocol, 6.2). It is for servers that run operations by their
/// sequence ids: nothing of the batch runs before its first chunk has arrived, and then all of it.
///
/// No gap. The batch has a range of sequence ids. When a chunk fails, or the batch is aborted, no
/// further chunk is sent; ids behind the last one that the server has, or may have, are given back,
/// and those before it are used up by fillers, operations that change nothing. A server that waits
/// for every id can so go on. A filler that cannot be sent either leaves its id to the owner, who
/// must close it before anything else is sent.
///
/// Races. All state is under the mutex; sending and callbacks run without it. The owner is told
/// once, when nothing is on the wire any more.
class ParallelBatch : public std::enable_shared_from_this<ParallelBatch> {
 public:
  using Done = std::function<void(Result<Accepted>)>;
  using MakeBody = std::function<std::shared_ptr<ByteBuffer>()>;
  /// Begins to send a body, which it makes at once, under an id. The loop is what aborting the
  /// batch withdraws; `done` runs later. Null: it could not begin, and `done` was told so inside.
  using Send = std::function<std::shared_ptr<RetryLoop>(const MakeBody& body, std::int64_t seq_id,
                                                        Done done)>;

  struct Outcome {
    std::vector<Accepted> accepted;  ///< In the order of the chunks.
    std::optional<Error> error;
    std::int64_t next_seq_id = 0;
    std::vector<std::int64_t> open_ids;  ///< Below `next_seq_id`; still to be closed.
  };
  struct Plan {
    std::size_t total = 0;
    std::int64_t first_seq_id = 1;
    Send send;
    MakeBody filler;
    /// A body is off the wire.
    std::function<void(std::size_t bytes)> release;
    std::function<void(Outcome)> finished;
  };

  explicit ParallelBatch(Plan plan);

  /// The next chunk of the batch. Ignored once the batch has failed.
  void add(std::shared_ptr<ByteBuffer> body) TINKEX_EXCLUDES(mutex_);
  void abort(Error error) TINKEX_EXCLUDES(mutex_);
  /// Ids of the chunks that the server has accepted so far, in the order of the chunks.
  std::vector<std::string> accepted_ids() const TINKEX_EXCLUDES(mutex_);
  /// Whether it can do nothing before another chunk is added.
  bool is_starving() const TINKEX_EXCLUDES(mutex_);

 private:
  enum class Phase { kSending, kFilling, kFinished };

  void send_chunk(std::size_t index, std::shared_ptr<ByteBuffer> body);
  void on_chunk(std::size_t index, std::size_t bytes, Result<Accepted> reply);
  /// Does what follows, now that something has come or gone.
  void step() TINKEX_EXCLUDES(mutex_);
  void fill_next() TINKEX_EXCLUDES(mutex_);
  void on_filler(std::int64_t seq_id, const Result<Accepted>& reply);
  void begin_filling() TINKEX_REQUIRES(mutex_);
  void finish() TINKEX_EXCLUDES(mutex_);

  const Plan plan_;

  mutable Mutex mutex_;
  Phase phase_ TINKEX_GUARDED_BY(mutex_) = Phase::kSending;
  std::size_t added_ TINKEX_GUARDED_BY(mutex_) = 0;
  std::size_t on_wire_ TINKEX_GUARDED_BY(mutex_) = 0;
  std::shared_ptr<ByteBuffer> first_ TINKEX_GUARDED_BY(mutex_);  // held back
  std::vector<std::optional<Accepted>> accepted_ TINKEX_GUARDED_BY(mutex_);
  std::vector<std::string> ids_ TINKEX_GUARDED_BY(mutex_);  // of accepted chunks, else empty
  std::vector<bool> doubtful_ TINKEX_GUARDED_BY(mutex_);    // the server may have it
  std::vector<std::weak_ptr<RetryLoop>> loops_ TINKEX_GUARDED_BY(mutex_);
  std::optional<Error> error_ TINKEX_GUARDED_BY(mutex_);
  std::vector<std::int64_t> gaps_ TINKEX_GUARDED_BY(mutex_);  // the next one last
  std::vector<std::int64_t> open_ids_ TINKEX_GUARDED_BY(mutex_);
  std::int64_t next_seq_id_ TINKEX_GUARDED_BY(mutex_);
};

}  // namespace tinkex::internal
