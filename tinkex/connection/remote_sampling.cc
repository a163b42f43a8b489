#include "tinkex/connection/remote_sampling.h"

#include <utility>

#include "tinkex/api/messages.h"
#include "tinkex/async/session_poll.h"
#include "tinkex/connection/deadline.h"
#include "tinkex/connection/result_poll.h"
#include "tinkex/retry/retry_loop.h"
#include "tinkex/validate.h"

namespace tinkex::internal {
namespace {

using Cell = ResultCell<SampleResponse>;

// A server that takes longer to accept a sample will hardly be spared its work by calling it off.
constexpr std::chrono::milliseconds kReplyPatience{10'000};
// Of hundreds of thousands of futures that settled at once.
constexpr std::uint64_t kMostReportBytes = std::uint64_t{64} << 20;

Result<SampleResponse> decode_samples(const HttpResponse& reply,
                                      const std::vector<std::string>& sequence_ids) {
  auto response =
      wire::codec_for_content_type(reply.header("content-type")).decode_sample_response(reply.body);
  if (!response.ok()) return std::move(response).error().with_context("sample");
  const std::size_t named = std::min(sequence_ids.size(), response->sequences.size());
  for (std::size_t i = 0; i < named; ++i) response->sequences[i].sequence_id = sequence_ids[i];
  return response;
}

/// The request that hands a sample in. It waits for the key's back-off, in which all samplers
/// share.
RetryableRequest submission_of(const ServiceContext& service,
                               std::shared_ptr<const ByteBuffer> body,
                               std::shared_ptr<RateLimiter> limiter, LastWordPtr last_word) {
  RetryableRequest request;
  request.http = service.request("asample");
  request.http.headers.emplace_back("X-Tinker-Sampling-Backpressure", "1");
  request.http.body = std::move(body);
  request.retry = service.options.sample_retry;
  request.what = "sample";
  request.limiter = std::move(limiter);
  request.wait_for_limiter = true;
  request.last_word = std::move(last_word);
  request.withdraw_in_doubt = true;
  return request;
}

/// Waits until the session's own poll says that the result is there, then fetches it.
void fetch_when_settled(const std::shared_ptr<const ServiceContext>& service,
                        const std::shared_ptr<SessionPoll>& futures, const std::string& id,
                        const ResultSpec<SampleResponse>& spec, const std::shared_ptr<Cell>& cell) {
  const bool pending = cell->on_cancel([service, futures, id, owner = cell.get()] {
    futures->forget(id, owner);
    tell_cancelled(service, id);
  });
  if (!pending) return tell_cancelled(service, id);
  auto fetch = [service, futures, id, spec, cell](std::uint64_t bytes) {
    if (cell->is_over()) return;
    cell->on_ready([futures, id](Cell&) { futures->retrieved(id); });
    poll_into(service, id, spec, cell, bytes);
  };
  futures->wait_for(id, cell.get(), std::move(fetch), spec.last_word);
  if (cell->is_over()) futures->forget(id, cell.get());  // the hook may have come before the waiter
}

/// Ends a submission that nobody waits for any more. Only the reply to one that is on the wire
/// names what the server can call off, so that is waited for, but not as long as a connection may
/// last.
void let_go(const ServiceContext& service, const std::shared_ptr<RetryLoop>& submission) {
  if (!service.cancel_enabled.load()) return submission->cancel();
  submission->withdraw();
  const Runtime& runtime = *service.runtime;
  runtime.timers->schedule(deadline_after(runtime.clock->now(), kReplyPatience),
                           [weak = std::weak_ptr<RetryLoop>(submission)] {
                             if (const auto loop = weak.lock()) loop->cancel();
                           });
}

void on_submitted(const std::shared_ptr<const ServiceContext>& service,
                  const std::shared_ptr<SessionPoll>& futures, Result<HttpResponse> reply,
                  const std::shared_ptr<Cell>& cell, const LastWordPtr& last_word) {
  if (!reply.ok()) {
    cell->set(std::move(reply).error());
    return;
  }
  Result<api::SampleAccepted> accepted = api::parse_sample_accepted(reply->body);
  if (!accepted.ok()) {
    cell->set(std::move(accepted).error());
    return;
  }
  if (cell->was_ended()) return tell_cancelled(service, accepted->request_id);
  const ResultSpec<SampleResponse> spec{
      .what = "sample",
      .request_type = "Sample",
      .may_be_binary = true,
      .cancellable = true,
      .decode = [ids = std::move(accepted->sequence_ids)](
                    const HttpResponse& result) { return decode_samples(result, ids); },
      .last_word = last_word};
  if (futures) return fetch_when_settled(service, futures, accepted->request_id, spec, cell);
  poll_into(service, accepted->request_id, spec, cell);
}

}  // namespace

RemoteSampling::RemoteSampling(std::shared_ptr<SamplingRegistry> registry, SlotHandle handle,
                               std::string session_id)
    : registry_(std::move(registry)), handle_(handle), session_id_(std::move(session_id)) {}

RemoteSampling::~RemoteSampling() { close(); }

void RemoteSampling::close() { registry_->retire(handle_); }

Future<SampleResponse> RemoteSampling::sample(const ModelInput& prompt, std::int64_t num_samples,
                                              const SamplingParams& params,
                                              const SampleOptions& options,
                                              const CallOptions& call) {
  const auto entry = registry_->acquire(handle_);
  if (!entry) {
    return Future<SampleResponse>::ready_with(
        Error(ErrorCode::kClosed, "sample: this sampling client was closed or never initialised"));
  }
  const std::shared_ptr<const ServiceContext>& service = entry->service;
  if (Status here = service->check_process(); !here.ok()) {
    return Future<SampleResponse>::ready_with(std::move(here).error());
  }
  const auto refuse = [&service](Error error) {
    return Future<SampleResponse>::ready_with(std::move(error), service->runtime->executor);
  };
  Status valid = find_problems(prompt, num_samples, params, options).status();
  if (!valid.ok()) return refuse(std::move(valid).error());
  auto body = api::asample_request({.sampling_session_id = entry->session_id,
                                    .seq_id = entry->counter.fetch_add(1) + 1,
                                    .prompt = prompt,
                                    .num_samples = num_samples,
                                    .params = params,
                                    .options = options});
  if (!body.ok()) return refuse(std::move(body).error());

  // The hook is given at construction and the loop starts last: no lock, and no reply can be
  // earlier.
  const LastWordPtr last_word = last_word_for(*service, call);
  auto submission = std::make_shared<RetryLoop>(
      service->runtime, submission_of(*service, *std::move(body), entry->limiter, last_word));
  auto cell = std::make_shared<Cell>(service->runtime->executor,
                                     [weak = std::weak_ptr<RetryLoop>(submission), service] {
                                       if (const auto loop = weak.lock()) let_go(*service, loop);
                                     });
  arm_deadline(*service, cell, call, "sample", last_word);
  submission->start(
      [service, futures = entry->futures, cell, last_word](Result<HttpResponse> reply) {
        on_submitted(service, futures, std::move(reply), cell, last_word);
      });
  return Future<SampleResponse>(std::move(cell));
}

Result<SamplingClient> make_sampling_client(std::shared_ptr<const ServiceContext> service,
                                            std::string session_id) {
  const std::shared_ptr<SamplingRegistry> registry = service->sampling;
  std::shared_ptr<SessionPoll> futures;
  if (service->retrieve_futures) {
    SessionTarget target;
    target.sampling_session_id = session_id;
    target.http = service->request("retrieve_futures");
    target.http.timeout = service->options.poll_timeout;
    target.http.max_response_bytes = kMostReportBytes;
    target.limiter = service->limiter;
    target.polls = service->polls;
    target.max_failing = service->options.max_poll_failing;
    futures = std::make_shared<SessionPoll>(service->runtime, std::move(target));
  }
  auto entry =
      std::make_shared<const SamplingEntry>(session_id, service, service->limiter, futures);
  const auto handle = registry->publish(std::move(entry));
  if (!handle.ok()) return handle.error();
  return SamplingClient(std::make_shared<RemoteSampling>(registry, *handle, std::move(session_id)));
}

}  // namespace tinkex::internal
