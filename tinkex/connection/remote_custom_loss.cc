#include <memory>
#include <optional>
#include <tuple>
#include <utility>

#include "tinkex/connection/custom_loss.h"
#include "tinkex/connection/deadline.h"
#include "tinkex/connection/remote_training.h"

namespace tinkex::internal {
namespace {

const LossConfig kNoConfig;

Status check_call(std::span<const Datum> data, const CustomLoss& loss,
                  const ValidationOptions& options) {
  if (Status valid = find_custom_loss_problems(data, options).status(); !valid.ok()) return valid;
  if (loss) return ok_status();
  return invalid_argument(
      "loss: expected a function, got an empty one; give one that computes the loss and its "
      "gradients");
}

}  // namespace

// Both passes take their places when the call is made, so nothing of this client can change the
// weights between them. The second place waits at the head of the queue for its chunks, and
// whatever the first pass or the function comes to, it is filled or given up: second_pass() runs
// when the first pass has ended in any way, and what it throws gives the place up too. Its chunks
// are added by the executor, where the budget never waits, so those who wait behind cannot hold
// them up. Closing gives up every place that waits for its chunks, even while the function runs.
//
// Cancelling the result, or its deadline, cancels both passes. A function that is running is left
// to finish; what it gives is dropped.

struct RemoteTraining::CustomCall {
  std::optional<CustomLossBatch> batch;  // until the second pass is encoded
  CustomLoss loss;
  const wire::Codec& codec;
  std::vector<ChunkRange> chunks;
  std::shared_ptr<OutputCell> forward;
  std::shared_ptr<OutputCell> backward;
  std::shared_ptr<OutputCell> result;
  std::shared_ptr<Strand::Submission> first;
  std::shared_ptr<Strand::Submission> second;
  CustomLossOutput output;

  wire::ForwardBackwardInput input(const std::string& model_id, bool forward_only) const {
    return {.model_id = model_id,
            .data = batch->data(),
            .loss_fn = loss::kCrossEntropy,
            .loss_fn_config = kNoConfig,
            .forward_only = forward_only};
  }
};

Future<ForwardBackwardOutput> RemoteTraining::forward_backward_custom(std::span<const Datum> data,
                                                                      CustomLoss loss,
                                                                      const CallOptions& call) {
  if (Status here = service_->check_process(); !here.ok()) {
    return Future<ForwardBackwardOutput>::ready_with(std::move(here).error());
  }
  const auto make_cell = [this] {
    return std::make_shared<OutputCell>(service_->runtime->executor);
  };
  const auto result = make_cell();
  if (Status valid = check_call(data, loss, validation()); !valid.ok()) {
    result->set(std::move(valid).error());
  } else {
    CustomLossBatch batch(data);
    std::vector<ChunkRange> chunks = chunks_of(batch.data());
    start_custom(std::make_shared<CustomCall>(CustomCall{.batch = std::move(batch),
                                                         .loss = std::move(loss),
                                                         .codec = service_->codec(),
                                                         .chunks = std::move(chunks),
                                                         .forward = make_cell(),
                                                         .backward = make_cell(),
                                                         .result = result,
                                                         .first = nullptr,
                                                         .second = nullptr,
                                                         .output = {}}),
                 call);
  }
  return Future<ForwardBackwardOutput>(result);
}

void RemoteTraining::start_custom(std::shared_ptr<CustomCall> custom, const CallOptions& call) {
  using Output = ForwardBackwardOutput;
  const wire::ForwardBackwardInput forward = custom->input(info_.model_id, true);
  const wire::ForwardBackwardInput backward = custom->input(info_.model_id, false);
  const LastWordPtr last_word = last_word_for(*service_, call);
  std::tie(custom->first, custom->second) = strand_->open_together(
      batch_spec(forward, custom->codec, custom->chunks, custom->forward, last_word),
      batch_spec(backward, custom->codec, custom->chunks, custom->backward, last_word));
  custom->forward->on_cancel(aborter(custom->first));
  custom->backward->on_cancel(aborter(custom->second));

  (void)Future<Output>(custom->forward)
      .then([self = shared_from_this(), custom](Result<Output> output) {
        const auto go_on = [&] { self->second_pass(*custom, std::move(output)); };
        if (Status done = invoke_guarded<Unit>(go_on); !done.ok()) {
          self->give_up(*custom, std::move(done).error());
        }
      });
  auto trained =
      Future<Output>(custom->backward).then([custom](Result<Output> output) -> Result<Output> {
        if (!output.ok()) return output;
        return with_custom_loss(*std::move(output), custom->output);
      });
  trained.cell()->on_ready(
      [result = custom->result](OutputCell& cell) { result->set(std::move(cell.result())); });

  custom->result->on_cancel([forward_cell = std::weak_ptr<OutputCell>(custom->forward),
                             backward_cell = std::weak_ptr<OutputCell>(custom->backward)] {
    for (const auto& weak : {backward_cell, forward_cell}) {
      if (const auto cell = weak.lock()) cell->cancel();
    }
  });
  arm_deadline(*service_, custom->result, call, "forward_backward_custom", last_word,
               [strand = strand_, second = custom->second](Error error) {
                 return std::move(error).with_accepted(strand->accepted_ids(second));
               });
  encode_chunks(custom->first, forward, custom->codec, custom->chunks);
}

void RemoteTraining::second_pass(CustomCall& custom, Result<ForwardBackwardOutput> forward) {
  if (!forward.ok()) return give_up(custom, std::move(forward).error());
  if (custom.result->is_over()) return;  // cancelled, and with it the second pass
  auto output = custom.batch->differentiate(custom.loss, *std::move(forward));
  if (!output.ok()) return give_up(custom, std::move(output).error());
  custom.output = *std::move(output);
  encode_chunks(custom.second, custom.input(info_.model_id, false), custom.codec, custom.chunks);
  custom.batch.reset();
  custom.loss = nullptr;
}

void RemoteTraining::give_up(CustomCall& custom, Error error) {
  custom.result->set(error);
  strand_->abort(custom.second, std::move(error));
}

}  // namespace tinkex::internal
