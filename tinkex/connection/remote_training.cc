#include "tinkex/connection/remote_training.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "tinkex/api/messages.h"
#include "tinkex/base/call_stop.h"
#include "tinkex/batch_plan.h"
#include "tinkex/connection/batch_request.h"
#include "tinkex/connection/call.h"
#include "tinkex/connection/deadline.h"
#include "tinkex/connection/remote_sampling.h"
#include "tinkex/connection/result_poll.h"
#include "tinkex/connection/send_errors.h"
#include "tinkex/training/combine.h"
#include "tinkex/validate.h"

namespace tinkex::internal {
namespace {

Result<ForwardBackwardOutput> decode_output(const std::string& what, const HttpResponse& reply) {
  auto output =
      wire::codec_for_content_type(reply.header("content-type")).decode_output(reply.body);
  if (!output.ok()) return std::move(output).error().with_context(what);
  return output;
}

/// Starts to poll for an accepted request; a result that came with the acceptance needs no poll.
template <class T>
Future<T> result_of(const std::shared_ptr<const ServiceContext>& service, const Accepted& accepted,
                    const ResultSpec<T>& spec) {
  auto cell = std::make_shared<ResultCell<T>>(service->runtime->executor);
  if (accepted.immediate) {
    const auto decode = [&spec, &accepted] { return spec.decode(*accepted.immediate); };
    cell->set(invoke_guarded<T>(decode));
  } else {
    poll_into(service, accepted.request_id, spec, cell);
  }
  return Future<T>(std::move(cell));
}

/// The same for each chunk of a batch. A server numbers the datums of each anew, so an error says
/// which they are.
template <class T>
std::vector<Future<T>> results_of(const std::shared_ptr<const ServiceContext>& service,
                                  const std::vector<Accepted>& accepted, ResultSpec<T> spec,
                                  std::span<const ChunkRange> chunks) {
  const std::string call = spec.what;
  std::vector<Future<T>> results;
  results.reserve(accepted.size());
  for (std::size_t i = 0; i < accepted.size(); ++i) {
    if (i < chunks.size() && chunks.size() > 1) {
      spec.what = call + " of datums " + std::to_string(chunks[i].begin) + " to " +
                  std::to_string(chunks[i].end - 1) + " (there 0 to " +
                  std::to_string(chunks[i].size() - 1) + ")";
    }
    results.push_back(result_of(service, accepted[i], spec));
  }
  return results;
}

std::size_t estimated_bytes(std::span<const Datum> data) {
  std::size_t bytes = 0;
  for (const Datum& datum : data) bytes += wire::estimate_bytes(datum);
  return bytes;
}

/// The place in the order of a call of one request, which settles `cell` with its result.
template <class T>
SubmissionSpec single_spec(const std::shared_ptr<ServiceContext>& service, ResultSpec<T> result,
                           const std::shared_ptr<ResultCell<T>>& cell) {
  SubmissionSpec spec;
  spec.what = result.what;
  spec.last_word = result.last_word;
  spec.prepare = [http = service->request(result.what)](std::int64_t seq_id,
                                                        std::shared_ptr<ByteBuffer> open_body,
                                                        RetryableRequest& request) {
    api::append_seq_id(seq_id, *open_body);
    request.http = http;
    request.http.body = std::move(open_body);
  };
  spec.done = [service, cell, result = std::move(result)](std::vector<Accepted> accepted,
                                                          std::optional<Error> error) {
    settle_guarded(*cell, [&] {
      if (error) {
        cell->set(*std::move(error));
        // Cancelled while it was on the wire: its result is fetched all the same, for nobody.
        for (const Accepted& one : accepted) (void)result_of(service, one, result);
      } else {
        pass_on(result_of(service, accepted.front(), result).cell(), cell);
      }
    });
  };
  return spec;
}

}  // namespace

std::shared_ptr<RemoteTraining> RemoteTraining::create(std::shared_ptr<ServiceContext> service,
                                                       ModelInfo info) {
  std::shared_ptr<RemoteTraining> training(new RemoteTraining(std::move(service), std::move(info)));
  training->service_->watch(training->strand_);
  return training;
}

RemoteTraining::RemoteTraining(std::shared_ptr<ServiceContext> service, ModelInfo info)
    : service_(std::move(service)),
      info_(std::move(info)),
      strand_(std::make_shared<Strand>(service_->runtime, service_->options.retry,
                                       service_->options.max_queued_bytes, service_->limiter)) {}

std::vector<ChunkRange> RemoteTraining::chunks_of(std::span<const Datum> data) const {
  std::vector<ChunkRange> ranges;
  for (const BatchChunk& chunk : plan_batch(data, service_->options.chunk_limits).chunks) {
    ranges.push_back({chunk.begin, chunk.end});
  }
  return ranges;
}

ValidationOptions RemoteTraining::validation() const {
  return {.wire_format = service_->options.wire_format.value_or(service_->wire.format())};
}

Future<ForwardBackwardOutput> RemoteTraining::forward_backward(std::span<const Datum> data,
                                                               std::string loss_fn,
                                                               LossConfig config, bool forward_only,
                                                               const CallOptions& call) {
  if (Status here = service_->check_process(); !here.ok()) {
    return Future<ForwardBackwardOutput>::ready_with(std::move(here).error());
  }
  auto cell = std::make_shared<OutputCell>(service_->runtime->executor);
  Future<ForwardBackwardOutput> future(cell);
  // Until it returns nobody has a future to cancel. The error is made when no chunk can leave any
  // more that has not left.
  const auto encoding = std::make_shared<std::atomic<bool>>(false);
  const CallStop::Part stoppable([cell, encoding] {
    cell->end_with(
        [encoding] { return cancelled_by_caller().with_not_accepted(!encoding->load()); });
  });
  if (Status valid = validate(data, loss_fn, config, validation()); !valid.ok()) {
    cell->set(std::move(valid).error());
    return future;
  }
  if (cell->is_over()) return future;
  const std::vector<ChunkRange> chunks = chunks_of(data);
  const wire::Codec& codec = service_->codec();
  const wire::ForwardBackwardInput input{.model_id = info_.model_id,
                                         .data = data,
                                         .loss_fn = loss_fn,
                                         .loss_fn_config = config,
                                         .forward_only = forward_only};
  const auto submission =
      open(batch_spec(input, codec, chunks, cell, last_word_for(*service_, call)), cell, &call);
  *encoding = true;
  encode_chunks(submission, input, codec, chunks);
  return future;
}

SubmissionSpec RemoteTraining::batch_spec(const wire::ForwardBackwardInput& input,
                                          const wire::Codec& codec, std::vector<ChunkRange> chunks,
                                          const std::shared_ptr<OutputCell>& cell,
                                          LastWordPtr last_word) const {
  using Output = ForwardBackwardOutput;
  SubmissionSpec spec;
  spec.what = input.forward_only ? "forward" : "forward_backward";
  spec.total_chunks = chunks.size();
  spec.last_word = std::move(last_word);
  if (service_->options.parallel_chunks && chunks.size() > 1)
    spec.filler = filler_for(input, codec);
  spec.prepare = [batch = BatchRequest(service_, codec, input.forward_only)](
                     std::int64_t seq_id, std::shared_ptr<ByteBuffer> body,
                     RetryableRequest& request) {
    batch.prepare(seq_id, std::move(body), request);
  };
  const ResultSpec<Output> results{
      .what = spec.what,
      .request_type = input.forward_only ? "Forward" : "ForwardBackward",
      .may_be_binary = true,
      .decode = [what =
                     spec.what](const HttpResponse& reply) { return decode_output(what, reply); },
      .last_word = spec.last_word};
  spec.done = [service = service_, cell, results, chunks](std::vector<Accepted> accepted,
                                                          std::optional<Error> error) {
    settle_guarded(*cell, [&] {
      const bool failed = error.has_value();
      if (failed) cell->set(partial_send_error(*std::move(error), accepted, chunks.size()));
      // After a failed send the accepted chunks are still polled to their end, for nobody.
      auto polled = results_of(service, accepted, results, chunks);
      if (failed) return;
      auto combined = when_all(std::move(polled), OnFailure::kStopAtFirst)
                          .then([chunks](Result<std::vector<Output>> outputs) -> Result<Output> {
                            if (!outputs.ok()) return std::move(outputs).error();
                            return combine_forward_backward_results(*std::move(outputs), chunks);
                          });
      pass_on(combined.cell(), cell);
    });
  };
  return spec;
}

std::function<void()> RemoteTraining::aborter(
    const std::shared_ptr<Strand::Submission>& submission) const {
  return [weak_strand = std::weak_ptr<Strand>(strand_),
          weak_submission = std::weak_ptr<Strand::Submission>(submission)] {
    const auto strand = weak_strand.lock();
    const auto queued = weak_submission.lock();
    if (strand && queued) {
      strand->abort(queued, cancelled_by_caller());
    }
  };
}

/// Of two threads that save under one name, the one that is certain must be sent first.
std::shared_ptr<Strand::Submission> RemoteTraining::open_save(SubmissionSpec spec,
                                                              const SaveAs& save_as) {
  const MutexLock lock(save_order_);
  spec.done_before = saved_names_.add(info_.model_id, save_as.kind, save_as.name);
  return strand_->open(std::move(spec));
}

template <class T>
std::shared_ptr<Strand::Submission> RemoteTraining::open(SubmissionSpec spec,
                                                         const std::shared_ptr<ResultCell<T>>& cell,
                                                         const CallOptions* call,
                                                         const std::optional<SaveAs>& save_as) {
  const std::string what = spec.what;
  // Side by side, the number of accepted chunks does not tell which one comes next.
  const std::size_t total = spec.filler ? 1 : spec.total_chunks;
  const LastWordPtr last_word = spec.last_word;
  auto submission = save_as ? open_save(std::move(spec), *save_as) : strand_->open(std::move(spec));
  // Stopped before there was anything to abort.
  if (!cell->on_cancel(aborter(submission))) strand_->abort(submission, cancelled_by_caller());
  if (call == nullptr) return submission;
  arm_deadline(*service_, cell, *call, what, last_word,
               [strand = strand_, submission, total](Error error) {
                 return progress_error(std::move(error), strand->accepted_ids(submission), total);
               });
  return submission;
}

std::function<std::shared_ptr<ByteBuffer>()> RemoteTraining::filler_for(
    wire::ForwardBackwardInput input, const wire::Codec& codec) {
  if (codec.path(true) != codec.path(false)) return nullptr;  // it would go to another endpoint
  const auto smallest = std::ranges::min_element(input.data, {}, wire::count_numbers);
  input.data = std::span<const Datum>(&*smallest, 1);
  input.forward_only = true;
  auto encoded = std::make_shared<ByteBuffer>();
  const auto encode = [&] { return codec.encode_request(input, *encoded); };
  if (!invoke_guarded<Unit>(encode).ok()) return nullptr;  // the chunk with that datum tells why
  return [encoded = std::shared_ptr<const ByteBuffer>(std::move(encoded))] {
    auto body = std::make_shared<ByteBuffer>();
    body->append(encoded->view());
    return body;
  };
}

void RemoteTraining::encode_chunks(const std::shared_ptr<Strand::Submission>& submission,
                                   const wire::ForwardBackwardInput& input,
                                   const wire::Codec& codec, std::span<const ChunkRange> chunks) {
  for (const ChunkRange& chunk : chunks) {
    const std::span<const Datum> part = input.data.subspan(chunk.begin, chunk.size());
    std::shared_ptr<ByteBuffer> body;
    const wire::ForwardBackwardInput request{.model_id = input.model_id,
                                             .data = part,
                                             .loss_fn = input.loss_fn,
                                             .loss_fn_config = input.loss_fn_config,
                                             .forward_only = input.forward_only};
    const auto encode = [&] {
      body = service_->runtime->buffers->acquire(estimated_bytes(part));
      return codec.encode_request(request, *body);
    };
    if (Status encoded = invoke_guarded<Unit>(encode); !encoded.ok()) {
      return strand_->abort(submission, std::move(encoded).error());
    }
    if (!strand_->add(submission, std::move(body))) return;
  }
}

template <class T>
Future<T> RemoteTraining::submit_one(std::string_view path, std::string_view request_type,
                                     std::shared_ptr<ByteBuffer> body,
                                     std::function<Result<T>(std::string_view)> parse,
                                     const CallOptions* call, std::optional<SaveAs> save_as,
                                     LastWordPtr last_word) {
  if (Status here = service_->check_process(); !here.ok()) {
    return Future<T>::ready_with(std::move(here).error());
  }
  auto cell = std::make_shared<ResultCell<T>>(service_->runtime->executor);
  Future<T> future(cell);
  if (call != nullptr) last_word = last_word_for(*service_, *call);
  ResultSpec<T> result{
      .what = std::string(path),
      .request_type = std::string(request_type),
      .may_be_binary = false,
      .decode = [parse = std::move(parse)](const HttpResponse& reply) { return parse(reply.body); },
      .last_word = std::move(last_word)};
  SubmissionSpec spec = single_spec(service_, std::move(result), cell);
  strand_->add(open(std::move(spec), cell, call, save_as), std::move(body));
  return future;
}

Future<OptimStepResponse> RemoteTraining::optim_step(const AdamParams& params,
                                                     const CallOptions& call) {
  if (Status valid = validate(params); !valid.ok()) {
    return Future<OptimStepResponse>::ready_with(std::move(valid).error(),
                                                 service_->runtime->executor);
  }
  return submit_one<OptimStepResponse>("optim_step", "OptimStep",
                                       api::optim_step_request(info_.model_id, params),
                                       api::parse_optim_step, &call);
}

Future<SaveWeightsResponse> RemoteTraining::save_state(std::string name, bool overwrite,
                                                       const CallOptions& call) {
  if (Status valid = validate_checkpoint_name(name); !valid.ok()) {
    return Future<SaveWeightsResponse>::ready_with(std::move(valid).error(),
                                                   service_->runtime->executor);
  }
  return submit_one<SaveWeightsResponse>("save_weights", "SaveWeights",
                                         api::save_weights_request(info_.model_id, name, overwrite),
                                         api::parse_save_weights, &call, SaveAs{"weights", name});
}

Future<LoadWeightsResponse> RemoteTraining::load_state(std::string path, bool with_optimizer,
                                                       const CallOptions& call) {
  return submit_load(path, with_optimizer, &call, nullptr);
}

Future<LoadWeightsResponse> RemoteTraining::load_state_as_step(const std::string& path,
                                                               bool with_optimizer,
                                                               LastWordPtr last_word) {
  return submit_load(path, with_optimizer, nullptr, std::move(last_word));
}

Future<LoadWeightsResponse> RemoteTraining::submit_load(const std::string& path,
                                                        bool with_optimizer,
                                                        const CallOptions* call,
                                                        LastWordPtr last_word) {
  if (Status valid = validate_checkpoint_path(path, CheckpointKind::kTraining); !valid.ok()) {
    return Future<LoadWeightsResponse>::ready_with(std::move(valid).error(),
                                                   service_->runtime->executor);
  }
  return submit_one<LoadWeightsResponse>(
      "load_weights", "LoadWeights",
      api::load_weights_request(info_.model_id, path, with_optimizer), api::parse_load_weights,
      call, std::nullopt, std::move(last_word));
}

Future<SaveWeightsForSamplerResponse> RemoteTraining::save_weights_for_sampler(
    std::string name, const CallOptions& call) {
  if (Status valid = validate_checkpoint_name(name); !valid.ok()) {
    return Future<SaveWeightsForSamplerResponse>::ready_with(std::move(valid).error(),
                                                             service_->runtime->executor);
  }
  return submit_one<SaveWeightsForSamplerResponse>(
      "save_weights_for_sampler", "SaveWeightsForSampler",
      api::save_weights_for_sampler_request(info_.model_id, name, 0),
      api::parse_save_weights_for_sampler, &call, SaveAs{"sampler_weights", name});
}

Future<SamplingClient> RemoteTraining::save_weights_and_get_sampling_client(
    const CallOptions& call) {
  const std::int64_t number = service_->next_sampling_session_seq_id.fetch_add(1);
  return submit_one<SaveWeightsForSamplerResponse>(
             "save_weights_for_sampler", "SaveWeightsForSampler",
             api::save_weights_for_sampler_request(info_.model_id, "", number),
             api::parse_save_weights_for_sampler, &call)
      .then([service =
                 service_](Result<SaveWeightsForSamplerResponse> saved) -> Result<SamplingClient> {
        if (!saved.ok()) return std::move(saved).error();
        if (!saved->sampling_session_id) {
          return Error(ErrorCode::kDecode,
                       "save_weights_for_sampler: the reply names no sampling session");
        }
        return make_sampling_client(service, *std::move(saved->sampling_session_id));
      });
}

Future<Unit> RemoteTraining::unload(const CallOptions& call) {
  if (Status here = service_->check_process(); !here.ok()) {
    return Future<Unit>::ready_with(std::move(here).error());
  }
  const LastWordPtr last_word = last_word_for(*service_, call);
  Call<Unit> request{
      .what = "unload_model",
      .http = service_->request("unload_model"),
      .decode = [](const HttpResponse& reply) { return api::parse_unload(reply.body); },
      .last_word = last_word,
      .gone_means_done = true};
  request.http.body = api::unload_request(info_.model_id);
  return with_deadline(*service_, send_call_and_poll(service_, std::move(request), "UnloadModel"),
                       call, "unload_model", last_word);
}

}  // namespace tinkex::internal
