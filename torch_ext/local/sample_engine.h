#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "tinkex/error.h"
#include "tinkex/outputs.h"
#include "torch_ext/local/adapter.h"
#include "torch_ext/local/base_model.h"
#include "torch_ext/local/linear.h"
#include "torch_ext/local/prefill.h"
#include "torch_ext/local/random.h"
#include "torch_ext/local/sample_plan.h"
#include "torch_ext/local/sampler.h"
#include "torch_ext/local/sequence_cache.h"
#include "torch_ext/local/token_picker.h"

namespace tinkex::torch_ext::local {

/// Samples any number of requests from one model and adapter, decoding up to 64 sequences of all of
/// them together. Requests may come while others are decoded; what a request gets does not depend
/// on those beside it. In order of arrival; a request with more samples than there is room for is
/// carried on as room becomes free.
///
/// Threads: one at a time, which must have called at::init_num_threads() once.
class SampleEngine {
 public:
  /// Gets the response of one request, in step() or add().
  using Done = std::function<void(Result<SampleResponse>)>;

  /// `adapter` may be null: the model itself.
  SampleEngine(std::shared_ptr<const BaseModel> model, std::shared_ptr<const Adapter> adapter);
  /// Drops what is under way, unanswered.
  ~SampleEngine();
  SampleEngine(const SampleEngine&) = delete;
  SampleEngine& operator=(const SampleEngine&) = delete;

  /// A request that cannot be served is answered at once. `cancelled`, which may be empty, is asked
  /// at every step until the request is answered; once it is true, that is with kCancelled.
  void add(SampleRequest request, std::function<bool()> cancelled, Done done);

  /// Whether every request was answered.
  bool idle() const { return requests_.empty(); }

  /// Reads the prompt of one waiting request, or decodes one token of every sequence under way.
  void step();

  /// Answers every request with that error.
  void fail_all(const Error& error);

 private:
  struct Request;
  struct Sequence;

  Status check(const SampleRequest& request) const;
  void drop_cancelled();
  /// The first request that has samples to begin and room for one; null if there is none.
  std::shared_ptr<Request> next_to_begin() const;
  bool has_room(const Request& request) const;
  Status begin(const std::shared_ptr<Request>& request);
  Status decode();
  Status decode_rows(std::size_t begin, std::size_t end, bool side_by_side);
  void draw(Sequence& sequence, const at::Tensor& logprobs) const;
  /// Takes out the sequences that ended and answers the requests that are complete.
  void settle_ended();
  void settle(const std::shared_ptr<Request>& request, Result<SampleResponse> result);

  std::shared_ptr<const BaseModel> model_;
  std::shared_ptr<const Adapter> adapter_;
  AdapterViews views_;
  /// Not answered yet, in order of arrival.
  std::deque<std::shared_ptr<Request>> requests_;
  std::vector<Sequence> sequences_;
  bool begun_last_ = false;  ///< Whether the last step read a prompt.
};

}  // namespace tinkex::torch_ext::local
