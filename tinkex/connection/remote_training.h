#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tinkex/connection.h"
#include "tinkex/connection/saved_names.h"
#include "tinkex/connection/service_context.h"
#include "tinkex/training/chunker.h"
#include "tinkex/training/strand.h"
#include "tinkex/validate.h"

namespace tinkex::internal {

/// The default TrainingConnection: validate, encode, queue on the strand, poll side by side,
/// combine. Read forward_backward from top to bottom for the way of a batch.
class RemoteTraining final : public TrainingConnection,
                             public std::enable_shared_from_this<RemoteTraining> {
 public:
  static std::shared_ptr<RemoteTraining> create(std::shared_ptr<ServiceContext> service,
                                                ModelInfo info);

  const ModelInfo& info() const override { return info_; }
  Future<ForwardBackwardOutput> forward_backward(std::span<const Datum> data, std::string loss_fn,
                                                 LossConfig config, bool forward_only,
                                                 const CallOptions& call) override;
  Future<ForwardBackwardOutput> forward_backward_custom(std::span<const Datum> data,
                                                        CustomLoss loss,
                                                        const CallOptions& call) override;
  Future<OptimStepResponse> optim_step(const AdamParams& params, const CallOptions& call) override;
  Future<SaveWeightsResponse> save_state(std::string name, bool overwrite,
                                         const CallOptions& call) override;
  Future<LoadWeightsResponse> load_state(std::string path, bool with_optimizer,
                                         const CallOptions& call) override;
  /// As a step of a call whose deadline, if it has one, is armed already and began earlier. Tells
  /// `last_word`, which may be null.
  Future<LoadWeightsResponse> load_state_as_step(const std::string& path, bool with_optimizer,
                                                 LastWordPtr last_word);
  Future<SaveWeightsForSamplerResponse> save_weights_for_sampler(std::string name,
                                                                 const CallOptions& call) override;
  Future<SamplingClient> save_weights_and_get_sampling_client(const CallOptions& call) override;
  Future<Unit> unload(const CallOptions& call) override;

 private:
  using OutputCell = ResultCell<ForwardBackwardOutput>;
  struct CustomCall;
  struct SaveAs {
    std::string_view kind;  ///< As SavedNames::add takes it.
    std::string name;
  };

  RemoteTraining(std::shared_ptr<ServiceContext> service, ModelInfo info);

  std::vector<ChunkRange> chunks_of(std::span<const Datum> data) const;
  ValidationOptions validation() const;

  /// A batch's place in the order: once its chunks are accepted, their combined result settles
  /// `cell`. `input` is read before it returns.
  SubmissionSpec batch_spec(const wire::ForwardBackwardInput& input, const wire::Codec& codec,
                            std::vector<ChunkRange> chunks, const std::shared_ptr<OutputCell>& cell,
                            LastWordPtr last_word) const;

  template <class T>
  Future<T> submit_one(std::string_view path, std::string_view request_type,
                       std::shared_ptr<ByteBuffer> body,
                       std::function<Result<T>(std::string_view)> parse, const CallOptions* call,
                       std::optional<SaveAs> save_as = std::nullopt,
                       LastWordPtr last_word = nullptr);
  Future<LoadWeightsResponse> submit_load(const std::string& path, bool with_optimizer,
                                          const CallOptions* call, LastWordPtr last_word);

  /// A place in the order, which cancelling `cell`, or the call's deadline, gives up. A null
  /// `call`, here and above: it is a step of one whose deadline is armed already, and which has a
  /// last word then.
  template <class T>
  std::shared_ptr<Strand::Submission> open(SubmissionSpec spec,
                                           const std::shared_ptr<ResultCell<T>>& cell,
                                           const CallOptions* call,
                                           const std::optional<SaveAs>& save_as = std::nullopt);
  std::shared_ptr<Strand::Submission> open_save(SubmissionSpec spec, const SaveAs& save_as);

  /// What cancelling a future means until the results are awaited: not to send the rest.
  std::function<void()> aborter(const std::shared_ptr<Strand::Submission>& submission) const;

  void start_custom(std::shared_ptr<CustomCall> custom, const CallOptions& call);
  void second_pass(CustomCall& custom, Result<ForwardBackwardOutput> forward);
  void give_up(CustomCall& custom, Error error);

  /// Makes bodies of a forward of one datum of the batch: an operation that changes nothing. Null
  /// where it could not go to the same endpoint.
  static std::function<std::shared_ptr<ByteBuffer>()> filler_for(wire::ForwardBackwardInput input,
                                                                 const wire::Codec& codec);

  void encode_chunks(const std::shared_ptr<Strand::Submission>& submission,
                     const wire::ForwardBackwardInput& input, const wire::Codec& codec,
                     std::span<const ChunkRange> chunks);

  const std::shared_ptr<ServiceContext> service_;
  const ModelInfo info_;
  const std::shared_ptr<Strand> strand_;
  Mutex save_order_;  ///< Held from the look at saved_names_ until the save has its place.
  SavedNames saved_names_;
};

}  // namespace tinkex::internal
