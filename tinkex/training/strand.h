#pragma once

// The queue of one model's submissions, of which one request at a time is on the wire, except for
// the chunks of a batch that are sent side by side.
//
// Order. open() takes a place; the chunks of a batch follow as they are encoded. The head of the
// queue sends its chunks one after another, each after the reply to the one before, and leaves the
// queue when its last chunk was accepted or one failed. Only then does the next one start.
//
// Send mutex. `on_wire_` is the client's send mutex: whoever sets it owns the wire until the reply,
// and hands it on from there. It is held by a chain of short steps and never by a thread.
//
// Sequence ids. An id is taken when a send starts and put into the body then; a repeat sends the
// same bytes. It is given back only when the server certainly did not take the request: it never
// left, or it was refused outright. Otherwise a server that executes by id would wait for ever for
// the missing one.
//
// Side by side. A batch that asks for it (`filler`) has the wire for itself while it sends its
// chunks as ParallelBatch says. An id that it could not close is closed before anything else is
// sent.
//
// Cancelling. abort() ends a submission: what has not left never leaves, and an upload that has not
// left in full is broken off. What the server may have taken is finished, because only its reply
// tells whether it did, and with that what becomes of its sequence id.
//
// Budget. Encoded bodies that the server has not accepted yet are counted. add() waits while they
// exceed the limit, except for the head of the queue when it has nothing to send: so the head
// always makes progress, and with it everything behind it. On an executor thread add() never waits.
//
// Races. All fields are under `mutex_`; sending, callbacks and waiting callers run without it. The
// wire is a baton: pump() takes it under the lock, and only the holder's reply returns it.

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tinkex/async/last_word.h"
#include "tinkex/async/runtime.h"
#include "tinkex/base/mutex.h"
#include "tinkex/error.h"
#include "tinkex/limits/rate_limiter.h"
#include "tinkex/retry/retry_loop.h"
#include "tinkex/training/accepted.h"
#include "tinkex/training/parallel_batch.h"
#include "tinkex/transport.h"

namespace tinkex::internal {

/// What a submission needs beside its bodies.
struct SubmissionSpec {
  std::string what;
  std::size_t total_chunks = 1;
  /// Completes the request of one chunk when its send starts: its body with the sequence id, URL,
  /// headers and timeouts, and another form if there is one. The rest is set already.
  std::function<void(std::int64_t seq_id, std::shared_ptr<ByteBuffer> body,
                     RetryableRequest& request)>
      prepare;
  /// Makes the body of an operation that changes nothing. If it is there, the chunks are sent side
  /// by side, see ParallelBatch.
  std::function<std::shared_ptr<ByteBuffer>()> filler = nullptr;
  /// RetryableRequest::done_before.
  std::optional<DoneBefore> done_before = std::nullopt;
  /// RetryableRequest::last_word.
  LastWordPtr last_word = nullptr;
  /// Runs on the executor, once: all chunks accepted, or the error that stopped the batch, with
  /// what was accepted before.
  std::function<void(std::vector<Accepted> accepted, std::optional<Error> error)> done;
};

class Strand : public std::enable_shared_from_this<Strand> {
 public:
  class Submission;

  /// Every 429 extends the window of `limiter`, which may be null.
  Strand(std::shared_ptr<Runtime> runtime, RetryOptions retry, std::size_t max_queued_bytes,
         std::shared_ptr<RateLimiter> limiter);

  /// Takes the next place in the order.
  std::shared_ptr<Submission> open(SubmissionSpec spec) TINKEX_EXCLUDES(mutex_);

  /// Takes the next two places, so that nothing comes between them.
  std::pair<std::shared_ptr<Submission>, std::shared_ptr<Submission>> open_together(
      SubmissionSpec first, SubmissionSpec second) TINKEX_EXCLUDES(mutex_);

  /// Adds the next chunk of a submission; may wait for the budget. False once the submission has
  /// failed, when encoding the rest would be in vain.
  bool add(const std::shared_ptr<Submission>& submission, std::shared_ptr<ByteBuffer> body)
      TINKEX_EXCLUDES(mutex_);

  /// Ends a submission whose remaining chunks cannot be made, or are no longer wanted. Nothing
  /// happens if its `done` is on its way already.
  void abort(const std::shared_ptr<Submission>& submission, Error error) TINKEX_EXCLUDES(mutex_);

  /// Ids of the chunks that the server has accepted so far.
  std::vector<std::string> accepted_ids(const std::shared_ptr<Submission>& submission) const
      TINKEX_EXCLUDES(mutex_);

  /// After the runtime was marked closed: wakes callers that wait for the budget, and ends
  /// submissions that wait for their own chunks, whoever makes them.
  void wake() TINKEX_EXCLUDES(mutex_);

 private:
  using Done = ParallelBatch::Done;
  /// An id that a failed batch left open, and what closes it.
  struct OpenId {
    std::int64_t seq_id;
    std::shared_ptr<Submission> of;
  };

  void pump() TINKEX_EXCLUDES(mutex_);
  bool head_can_send() const TINKEX_REQUIRES(mutex_);
  std::shared_ptr<RetryLoop> make_loop(const SubmissionSpec& spec, std::shared_ptr<ByteBuffer> body,
                                       std::int64_t seq_id) const;
  static void start(RetryLoop& loop, std::string what, Done done);
  /// Both. Null: `done` was told that it could not be.
  std::shared_ptr<RetryLoop> exchange(const SubmissionSpec& spec,
                                      const ParallelBatch::MakeBody& body, std::int64_t seq_id,
                                      const Done& done);
  void send(const std::shared_ptr<Submission>& head, std::shared_ptr<ByteBuffer> body,
            std::int64_t seq_id);
  /// Makes `loop` the one that abort() withdraws; true if the head was aborted meanwhile.
  bool begin_sending(const Submission& head, const std::shared_ptr<RetryLoop>& loop)
      TINKEX_EXCLUDES(mutex_);
  /// The end of a send: the wire is free again.
  void on_reply(const std::shared_ptr<Submission>& head, std::size_t bytes, Result<Accepted> reply)
      TINKEX_EXCLUDES(mutex_);
  void send_parallel(const std::shared_ptr<Submission>& head, std::int64_t first_seq_id)
      TINKEX_EXCLUDES(mutex_);
  void on_parallel_end(const std::shared_ptr<Submission>& head, ParallelBatch::Outcome outcome)
      TINKEX_EXCLUDES(mutex_);
  void close_id(const OpenId& open);
  void on_closed(const OpenId& open, Result<Accepted> reply) TINKEX_EXCLUDES(mutex_);
  void release(std::size_t bytes) TINKEX_EXCLUDES(mutex_);
  void drop_waiting(Submission& submission) TINKEX_REQUIRES(mutex_);
  bool must_wait(const Submission& submission, std::size_t bytes) const TINKEX_REQUIRES(mutex_);

  const std::shared_ptr<Runtime> runtime_;
  const RetryOptions retry_;
  const std::size_t max_queued_bytes_;
  const std::shared_ptr<RateLimiter> limiter_;

  mutable Mutex mutex_;
  CondVar room_;
  std::deque<std::shared_ptr<Submission>> queue_ TINKEX_GUARDED_BY(mutex_);
  std::size_t queued_bytes_ TINKEX_GUARDED_BY(mutex_) = 0;
  std::int64_t next_seq_id_ TINKEX_GUARDED_BY(mutex_) = 1;  // 0 means "none" on the wire
  bool on_wire_ TINKEX_GUARDED_BY(mutex_) = false;
  std::weak_ptr<RetryLoop> sending_ TINKEX_GUARDED_BY(mutex_);  // what is on the wire
  std::deque<OpenId> open_ids_ TINKEX_GUARDED_BY(mutex_);
};

}  // namespace tinkex::internal
