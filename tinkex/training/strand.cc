#include "tinkex/training/strand.h"

#include <utility>

#include "tinkex/api/messages.h"
#include "tinkex/future.h"

namespace tinkex::internal {
namespace {

Result<Accepted> read_acceptance(Result<HttpResponse> reply) {
  if (!reply.ok()) return std::move(reply).error();
  Accepted accepted{.request_id = api::parse_request_id(reply->body), .immediate = std::nullopt};
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
  bool left = false;  // the queue; from then on its `done` alone touches it

  bool finished() const { return error || accepted.size() == spec.total_chunks; }
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

bool Strand::must_wait(const Submission& submission, std::size_t bytes) const {
  if (queued_bytes_ == 0 || queued_bytes_ + bytes <= max_queued_bytes_) return false;
  const bool starving_head =
      !queue_.empty() && queue_.front().get() == &submission && submission.waiting.empty();
  return !starving_head;
}

bool Strand::add(const std::shared_ptr<Submission>& submission, std::shared_ptr<ByteBuffer> body) {
  const bool may_wait = !runtime_->executor->is_worker_thread();
  {
    MutexLock lock(mutex_);
    while (may_wait && !submission->left && !submission->error && !runtime_->closed.load() &&
           must_wait(*submission, body->size())) {
      room_.wait(mutex_);
    }
    if (submission->left || submission->error) return false;
    queued_bytes_ += body->size();
    submission->waiting.push_back(std::move(body));
  }
  pump();
  return true;
}

void Strand::abort(const std::shared_ptr<Submission>& submission, Error error) {
  std::shared_ptr<RetryLoop> sending;
  {
    MutexLock lock(mutex_);
    if (submission->left || submission->error) return;
    submission->error = std::move(error);
    drop_waiting(*submission);
    if (on_wire_ && queue_.front() == submission) sending = sending_.lock();
  }
  if (sending) sending->withdraw();
  pump();
}

std::vector<std::string> Strand::accepted_ids(const std::shared_ptr<Submission>& submission) const {
  MutexLock lock(mutex_);
  return submission->accepted_ids;
}

void Strand::wake() {
  MutexLock lock(mutex_);
  room_.notify_all();
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
      body = std::move(head->waiting.front());
      head->waiting.pop_front();
      seq_id = next_seq_id_++;
      room_.notify_all();  // the head may now be without a chunk to send
    }
  }
  for (const auto& submission : finished) {
    run_on(runtime_->executor.get(), [submission] {
      submission->spec.done(std::move(submission->accepted), std::move(submission->error));
    });
  }
  if (head) send(head, std::move(body), seq_id);
}

void Strand::send(const std::shared_ptr<Submission>& head, std::shared_ptr<ByteBuffer> body,
                  std::int64_t seq_id) {
  const std::size_t counted = body->size();  // as add() counted it, before the id
  try {
    head->spec.append_seq_id(seq_id, *body);
    RetryableRequest request;
    request.http = head->spec.http;
    request.http.body = std::move(body);
    request.retry = retry_;
    request.what = head->spec.what;
    request.limiter = limiter_;
    request.reply_if_done_before = head->spec.reply_if_done_before;
    const auto loop = std::make_shared<RetryLoop>(runtime_, std::move(request));
    if (begin_sending(*head, loop)) loop->withdraw();
    loop->start([self = shared_from_this(), head, counted](Result<HttpResponse> reply) {
      const auto read = [&reply] { return read_acceptance(std::move(reply)); };
      self->on_reply(head, counted, invoke_guarded<Accepted>(read));
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
      if (!head->error) head->error = std::move(reply).error();
      drop_waiting(*head);
    }
    room_.notify_all();
  }
  pump();
}

}  // namespace tinkex::internal
