#include <algorithm>
#include <bit>
#include <cmath>
#include <variant>
#include <vector>

#include "tests/fuzz/properties.h"

namespace tinkex::fuzz {
namespace {

using wire::Codec;

/// Equality as far as an encoding keeps values: JSON writes every number that is not finite as
/// null.
class Sameness {
 public:
  explicit Sameness(const Codec& codec) : exact_(codec.format() == WireFormat::kProtobuf) {}

  template <class Float>
  bool number(Float a, Float b) const {
    using Bits = std::conditional_t<sizeof(Float) == 4, std::uint32_t, std::uint64_t>;
    if (std::bit_cast<Bits>(a) == std::bit_cast<Bits>(b)) return true;
    return !exact_ && !std::isfinite(a) && !std::isfinite(b);
  }
  template <class Float>
  bool numbers(std::span<const Float> a, std::span<const Float> b) const {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [this](Float x, Float y) { return number(x, y); });
  }
  bool floats(const std::vector<float>& a, const std::vector<float>& b) const {
    return numbers(std::span<const float>(a), std::span<const float>(b));
  }

  bool tensor(const TensorData& a, const TensorData& b) const {
    if (a.shape() != b.shape() || a.is_sparse() != b.is_sparse() ||
        !std::equal(a.crow_indices().begin(), a.crow_indices().end(), b.crow_indices().begin(),
                    b.crow_indices().end()) ||
        !std::equal(a.col_indices().begin(), a.col_indices().end(), b.col_indices().begin(),
                    b.col_indices().end())) {
      return false;
    }
    if (is_floating_point(b.dtype())) return floats(a.to_floats(), b.to_floats());
    return !is_floating_point(a.dtype()) && a.to_ints() == b.to_ints();
  }
  bool tensors(const NamedTensors& a, const NamedTensors& b) const {
    return a.size() == b.size() && std::all_of(a.begin(), a.end(), [&](const auto& entry) {
             const auto same_name = [&](const auto& other) { return other.first == entry.first; };
             const auto found = std::find_if(b.begin(), b.end(), same_name);
             return found != b.end() && tensor(entry.second, found->second);
           });
  }

  bool chunk(const ModelInputChunk& a, const ModelInputChunk& b) const {
    if (a.index() != b.index()) return false;
    if (const auto* text = std::get_if<EncodedTextChunk>(&a)) {
      return tensor(text->tokens, std::get<EncodedTextChunk>(b).tokens);
    }
    if (const auto* image = std::get_if<ImageChunk>(&a)) {
      const auto& other = std::get<ImageChunk>(b);
      return image->data == other.data && image->format == other.format &&
             image->expected_tokens == other.expected_tokens;
    }
    const auto& pointer = std::get<ImageAssetPointerChunk>(a);
    const auto& other = std::get<ImageAssetPointerChunk>(b);
    return pointer.location == other.location && pointer.format == other.format &&
           pointer.expected_tokens == other.expected_tokens;
  }
  bool datum(const Datum& a, const Datum& b) const {
    const auto& x = a.model_input.chunks;
    const auto& y = b.model_input.chunks;
    return std::equal(x.begin(), x.end(), y.begin(), y.end(),
                      [this](const auto& p, const auto& q) { return chunk(p, q); }) &&
           tensors(a.loss_fn_inputs, b.loss_fn_inputs);
  }
  bool config(const LossConfig& a, const LossConfig& b) const {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [this](const auto& x, const auto& y) {
      if (x.first != y.first || x.second.index() != y.second.index()) return false;
      const auto* real = std::get_if<double>(&x.second);
      return real != nullptr ? number(*real, std::get<double>(y.second)) : x.second == y.second;
    });
  }
  bool request(const wire::ForwardBackwardRequest& a, const wire::ForwardBackwardRequest& b) const {
    return a.model_id == b.model_id && a.seq_id == b.seq_id && a.loss_fn == b.loss_fn &&
           a.forward_only == b.forward_only && config(a.loss_fn_config, b.loss_fn_config) &&
           std::equal(a.data.begin(), a.data.end(), b.data.begin(), b.data.end(),
                      [this](const Datum& x, const Datum& y) { return datum(x, y); });
  }

  bool output(const ForwardBackwardOutput& a, const ForwardBackwardOutput& b) const {
    return a.loss_fn_output_type == b.loss_fn_output_type &&
           std::equal(a.loss_fn_outputs.begin(), a.loss_fn_outputs.end(), b.loss_fn_outputs.begin(),
                      b.loss_fn_outputs.end(),
                      [this](const auto& x, const auto& y) { return tensors(x, y); }) &&
           std::equal(a.metrics.begin(), a.metrics.end(), b.metrics.begin(), b.metrics.end(),
                      [this](const auto& x, const auto& y) {
                        return x.first == y.first && number(x.second, y.second);
                      });
  }
  bool sequence(const SampledSequence& a, const SampledSequence& b) const {
    return a.tokens == b.tokens && floats(a.logprobs, b.logprobs) && a.stop_reason == b.stop_reason;
  }
  bool candidates(const std::vector<TokenLogprob>& a, const std::vector<TokenLogprob>& b) const {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [this](const auto& x, const auto& y) {
      return x.first == y.first && number(x.second, y.second);
    });
  }
  bool samples(const SampleResponse& a, const SampleResponse& b) const {
    return std::equal(a.sequences.begin(), a.sequences.end(), b.sequences.begin(),
                      b.sequences.end(),
                      [this](const auto& x, const auto& y) { return sequence(x, y); }) &&
           floats(a.prompt_logprobs, b.prompt_logprobs) &&
           std::equal(a.topk_prompt_logprobs.begin(), a.topk_prompt_logprobs.end(),
                      b.topk_prompt_logprobs.begin(), b.topk_prompt_logprobs.end(),
                      [this](const auto& x, const auto& y) { return candidates(x, y); }) &&
           a.prompt_cache_hit_tokens == b.prompt_cache_hit_tokens;
  }

 private:
  const bool exact_;
};

/// Not every decoded value can be encoded: readers are more generous than writers.
bool encoded(const Status& status) {
  if (!status.ok()) check_error(status.error(), {ErrorCode::kInvalidArgument});
  return status.ok();
}

}  // namespace

void check_request(const Codec& codec, std::string_view body, bool forward_only) {
  const auto request =
      decode_within_bounds(body.size(), [&] { return codec.decode_request(body, forward_only); });
  if (!request.ok()) return;
  ByteBuffer bytes;
  const wire::ForwardBackwardInput input{request->model_id, request->data, request->loss_fn,
                                         request->loss_fn_config, request->forward_only};
  if (!encoded(codec.encode_request(input, bytes))) return;
  codec.append_seq_id(request->seq_id, bytes);
  const auto again = codec.decode_request(bytes.view(), forward_only);
  TINKEX_FUZZ_CHECK(again.ok());
  TINKEX_FUZZ_CHECK(Sameness(codec).request(*request, *again));
}

void check_results(const Codec& codec, std::string_view body) {
  ByteBuffer bytes;
  const auto output = decode_within_bounds(body.size(), [&] { return codec.decode_output(body); });
  if (output.ok() && encoded(codec.encode_output(*output, bytes))) {
    const auto again = codec.decode_output(bytes.view());
    TINKEX_FUZZ_CHECK(again.ok());
    TINKEX_FUZZ_CHECK(Sameness(codec).output(*output, *again));
  }
  const auto samples =
      decode_within_bounds(body.size(), [&] { return codec.decode_sample_response(body); });
  if (samples.ok() && encoded(codec.encode_sample_response(*samples, bytes))) {
    const auto again = codec.decode_sample_response(bytes.view());
    TINKEX_FUZZ_CHECK(again.ok());
    TINKEX_FUZZ_CHECK(Sameness(codec).samples(*samples, *again));
  }
}

}  // namespace tinkex::fuzz
