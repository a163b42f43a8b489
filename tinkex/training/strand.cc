#include "tinkex/training/strand.h"

#include <utility>

#include "tinkex/api/messages.h"
#include "tinkex/future.h"

namespace tinkex::internal {
namespace {

Result<Accepted> read_acceptance(const std::string& what, Result<HttpResponse> reply) {
  if (!reply.ok()) return std::move(reply).error();
  Result<std::string> id = api::parse_request_id(reply->body);
  if (!id.ok()) return std::move(id).error().with_context(what);
  Accepted accepted{.request_id = *std::move(id), .immediate = std::nullopt};
  if (accepted.request_id.empty()) accepted.immediate = *std::move(reply);
  return accepted;
}

}  // namespace

/// Guarded by the strand's mutex, except `spec`, which is constant.
class Strand::Submission {
 public:
  explicit Submission(SubmissionSpec s) : spec(std::move(s)) {}

  const SubmissionSpec spec;
  std::deque<std::shared_ptr<ByteBuffer>> waiting;
  std::vector<Accepted> accepted;
  std::vector<std::string> accepted_ids;  // stay when `done` has taken the others
  std::optional<Error> error;
  bool left = false;                     // the queue; from then on its `done` alone touches it
  std::shared_ptr<ParallelBatch> group;  // while its chunks go side by side
  bool over = false;                     // and after that

  bool is_parallel() const { return spec.filler && spec.total_chunks > 1; }

  bool finished() const {
    return over || (!group && (error || accepted.size() == spec.total_chunks));
  }
};

Strand::Strand(std::shared_ptr<Runtime> runtime, RetryOptions retry, std::size_t max_queued_bytes,
               std::shared_ptr<RateLimiter> limiter)
    : runtime_(std::move(runtime)),
      retry_(retry),
      max_queued_bytes_(max_queued_bytes),
      limiter_(std::move(limiter)) {}

std::shared_ptr<Strand::Submission> Strand::open(SubmissionSpec spec) {
  auto submission = std::make_shared<Submission>(std::move(spec));
  MutexLock lock(mutex_);
  queue_.push_back(submission);
  return submission;
}

std::pair<std::shared_ptr<Strand::Submission>, std::shared_ptr<Strand::Submission>>
Strand::open_together(SubmissionSpec first, SubmissionSpec second) {
  std::pair both{std::make_shared<Submission>(std::move(first)),
                 std::make_shared<Submission>(std::move(second))};
  MutexLock lock(mutex_);
  queue_.push_back(both.first);
  queue_.push_back(both.second);
  return both;
}

bool Strand::must_wait(const Submission& submission, std::size_t bytes) const {
  if (queued_bytes_ == 0 || queued_bytes_ + bytes <= max_queued_bytes_) return false;
  const bool starving_head = !queue_.empty() && queue_.front().get() == &submission &&
                             submission.waiting.empty() &&
                             (!submission.group || submission.group->is_starving());
  return !starving_head;
}

bool Strand::add(const std::shared_ptr<Submission>& submission, std::shared_ptr<ByteBuffer> body) {
  const bool may_wait = !runtime_->executor->is_worker_thread();
  std::shared_ptr<ParallelBatch> group;
  {
    MutexLock lock(mutex_);
    while (may_wait && !submission->left && !submission->error && !runtime_->closed.load() &&
           must_wait(*submission, body->size())) {
      room_.wait(mutex_);
    }
    if (submission->left || submission->error) return false;
    queued_bytes_ += body->size();
    group = submission->group;
    if (!group) submission->waiting.push_back(std::move(body));
  }
  if (group) {
    group->add(std::move(body));
    return true;
  }
  pump();
  return true;
}

void Strand::abort(const std::shared_ptr<Submission>& submission, Error error) {
  std::shared_ptr<RetryLoop> sending;
  std::shared_ptr<ParallelBatch> group;
  {
    MutexLock lock(mutex_);
    if (submission->left || submission->error) return;
    submission->error = error;
    drop_waiting(*submission);
    group = submission->group;
    if (on_wire_ && queue_.front() == submission) sending = sending_.lock();
  }
  if (group) return group->abort(std::move(error));
  if (sending) sending->withdraw();
  pump();
}

std::vector<std::string> Strand::accepted_ids(const std::shared_ptr<Submission>& submission) const {
  MutexLock lock(mutex_);
  return submission->group ? submission->group->accepted_ids() : submission->accepted_ids;
}

void Strand::wake() {
  {
    MutexLock lock(mutex_);
    for (const auto& submission : queue_) {
      const bool sending = submission->group || (on_wire_ && submission == queue_.front());
      if (sending || submission->finished() || !submission->waiting.empty()) continue;
      submission->error = Error(ErrorCode::kClosed, "the service client was closed");
    }
    room_.notify_all();
  }
  pump();
}

void Strand::drop_waiting(Submission& submission) {
  for (const auto& body : submission.waiting) queued_bytes_ -= body->size();
  submission.waiting.clear();
  room_.notify_all();
}

bool Strand::head_can_send() const {
  return !on_wire_ && !queue_.empty() && !queue_.front()->finished() &&
         !queue_.front()->waiting.empty();
}

void Strand::pump() {
  std::vector<std::shared_ptr<Submission>> finished;
  std::shared_ptr<Submission> head;
  std::shared_ptr<ByteBuffer> body;
  std::optional<OpenId> open;
  std::int64_t seq_id = 0;
  {
    MutexLock lock(mutex_);
    while (!on_wire_ && !queue_.empty() && queue_.front()->finished()) {
      queue_.front()->left = true;
      finished.push_back(std::move(queue_.front()));
      queue_.pop_front();
      room_.notify_all();  // the new head may be one that waits with nothing to send
    }
    if (head_can_send()) {
      on_wire_ = true;
      head = queue_.front();
      if (!open_ids_.empty()) {
        open = open_ids_.front();
      } else {
        seq_id = next_seq_id_++;
        if (!head->is_parallel()) {
          body = std::move(head->waiting.front());
          head->waiting.pop_front();
        }
      }
      room_.notify_all();  // the head may now be without a chunk to send
    }
  }
  for (const auto& submission : finished) {
    run_on(runtime_->executor.get(), [submission] {
      submission->spec.done(std::move(submission->accepted), std::move(submission->error));
    });
  }
  if (open) return close_id(*open);
  if (body) return send(head, std::move(body), seq_id);
  if (head) send_parallel(head, seq_id);
}

std::shared_ptr<RetryLoop> Strand::make_loop(const SubmissionSpec& spec,
                                             std::shared_ptr<ByteBuffer> body,
                                             std::int64_t seq_id) const {
  RetryableRequest request;
  request.retry = retry_;
  request.what = spec.what;
  request.limiter = limiter_;
  request.done_before = spec.done_before;
  request.last_word = spec.last_word;
  spec.prepare(seq_id, std::move(body), request);
  return std::make_shared<RetryLoop>(runtime_, std::move(request));
}

void Strand::start(RetryLoop& loop, std::string what, Done done) {
  loop.start([what = std::move(what), done = std::move(done)](Result<HttpResponse> reply) {
    const auto read = [&] { return read_acceptance(what, std::move(reply)); };
    done(invoke_guarded<Accepted>(read));
  });
}

std::shared_ptr<RetryLoop> Strand::exchange(const SubmissionSpec& spec,
                                            const ParallelBatch::MakeBody& body,
                                            std::int64_t seq_id, const Done& done) {
  try {
    auto loop = make_loop(spec, body(), seq_id);
    start(*loop, spec.what, done);
    return loop;
  } catch (...) {  // out of memory before anything left
    done(error_from_current_exception().with_not_accepted(true));
    return nullptr;
  }
}

void Strand::send(const std::shared_ptr<Submission>& head, std::shared_ptr<ByteBuffer> body,
                  std::int64_t seq_id) {
  const std::size_t counted = body->size();  // as add() counted it, before the id
  try {
    const auto loop = make_loop(head->spec, std::move(body), seq_id);
    if (begin_sending(*head, loop)) loop->withdraw();
    start(*loop, head->spec.what,
          [self = shared_from_this(), head, counted](Result<Accepted> reply) {
            self->on_reply(head, counted, std::move(reply));
          });
  } catch (...) {  // out of memory before anything left
    on_reply(head, counted, error_from_current_exception().with_not_accepted(true));
  }
}

bool Strand::begin_sending(const Submission& head, const std::shared_ptr<RetryLoop>& loop) {
  MutexLock lock(mutex_);
  sending_ = loop;
  return head.error.has_value();
}

void Strand::on_reply(const std::shared_ptr<Submission>& head, std::size_t bytes,
                      Result<Accepted> reply) {
  {
    MutexLock lock(mutex_);
    on_wire_ = false;
    queued_bytes_ -= bytes;
    if (reply.ok()) {
      if (!reply->request_id.empty()) head->accepted_ids.push_back(reply->request_id);
      head->accepted.push_back(*std::move(reply));
    } else {
      if (reply.error().not_accepted()) --next_seq_id_;
      const bool doubtful = !reply.error().not_accepted();
      if (!head->error) head->error = std::move(reply).error();
      // It was given up while its last request was on the wire.
      if (doubtful) head->error = std::move(*head->error).with_not_accepted(false);
      drop_waiting(*head);
    }
    room_.notify_all();
  }
  pump();
}

void Strand::send_parallel(const std::shared_ptr<Submission>& head, std::int64_t first_seq_id) {
  ParallelBatch::Plan plan;
  plan.total = head->spec.total_chunks;
  plan.first_seq_id = first_seq_id;
  plan.send = [self = shared_from_this(), head](const ParallelBatch::MakeBody& body,
                                                std::int64_t seq_id, const Done& done) {
    return self->exchange(head->spec, body, seq_id, done);
  };
  plan.filler = head->spec.filler;
  plan.release = [self = shared_from_this()](std::size_t bytes) { self->release(bytes); };
  plan.finished = [self = shared_from_this(), head](ParallelBatch::Outcome outcome) {
    self->on_parallel_end(head, std::move(outcome));
  };
  const auto group = std::make_shared<ParallelBatch>(std::move(plan));
  // Chunks that are added meanwhile queue behind those that were there, until none is left.
  std::optional<Error> aborted;
  for (bool more = true; more;) {
    std::deque<std::shared_ptr<ByteBuffer>> bodies;
    {
      MutexLock lock(mutex_);
      bodies.swap(head->waiting);
      more = !bodies.empty();
      if (!more && !head->over) head->group = group;
      room_.notify_all();  // the batch may be one that waits with nothing to send
      if (!more) aborted = head->error;
    }
    for (auto& body : bodies) group->add(std::move(body));
  }
  if (aborted) group->abort(*std::move(aborted));
}

void Strand::on_parallel_end(const std::shared_ptr<Submission>& head,
                             ParallelBatch::Outcome outcome) {
  std::shared_ptr<ParallelBatch> group;  // holds the submission, which holds it
  {
    MutexLock lock(mutex_);
    on_wire_ = false;
    group.swap(head->group);
    for (const Accepted& one : outcome.accepted) {
      if (!one.request_id.empty()) head->accepted_ids.push_back(one.request_id);
    }
    head->accepted = std::move(outcome.accepted);
    if (!head->error) head->error = std::move(outcome.error);
    head->over = true;
    next_seq_id_ = outcome.next_seq_id;
    for (const std::int64_t seq_id : outcome.open_ids) open_ids_.push_back({seq_id, head});
    room_.notify_all();
  }
  pump();
}

void Strand::close_id(const OpenId& open) {
  (void)exchange(open.of->spec, open.of->spec.filler, open.seq_id,
                 [self = shared_from_this(), open](Result<Accepted> reply) {
                   self->on_closed(open, std::move(reply));
                 });
}

void Strand::on_closed(const OpenId& open, Result<Accepted> reply) {
  {
    MutexLock lock(mutex_);
    on_wire_ = false;
    if (reply.ok() || reply.error().http_status() == 409) {
      open_ids_.pop_front();
    } else {
      Submission& head = *queue_.front();
      if (!head.error) {
        head.error = std::move(reply).error().with_not_accepted(true).with_context(
            head.spec.what + " was not sent: sequence id " + std::to_string(open.seq_id) +
            ", left open by a batch that failed, could not be closed");
      }
      drop_waiting(head);
    }
    room_.notify_all();
  }
  pump();
}

void Strand::release(std::size_t bytes) {
  MutexLock lock(mutex_);
  queued_bytes_ -= bytes;
  room_.notify_all();
}

}  // namespace tinkex::internal
