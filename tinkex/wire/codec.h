#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tinkex/base/byte_buffer.h"
#include "tinkex/datum.h"
#include "tinkex/error.h"
#include "tinkex/options.h"
#include "tinkex/outputs.h"
#include "tinkex/params.h"

namespace tinkex::wire {

/// What a client puts into a forward_backward or forward request, except its place in the order.
struct ForwardBackwardInput {
  std::string_view model_id;
  std::span<const Datum> data;
  std::string_view loss_fn;
  const LossConfig& loss_fn_config;
  bool forward_only = false;
};

/// A decoded request, as a server sees it. Owns its arrays.
struct ForwardBackwardRequest {
  std::string model_id;
  std::int64_t seq_id = 0;  ///< 0: the client sent none.
  std::vector<Datum> data;
  std::string loss_fn;
  LossConfig loss_fn_config;
  bool forward_only = false;
};

/// The two encodings of forward_backward and sample, in both directions. Pure functions on values:
/// no socket, no clock; thread-safe. Malformed input gives kDecode, values that cannot be encoded
/// give kInvalidArgument with the datum index and the field.
class Codec {
 public:
  virtual ~Codec() = default;

  virtual WireFormat format() const noexcept = 0;
  virtual std::string_view content_type() const noexcept = 0;
  /// Endpoint below `/api/v1/`: JSON has one of its own for forward.
  virtual std::string_view path(bool forward_only) const noexcept = 0;

  /// Replaces `body` by the request without its seq_id. Tokens are narrowed to int32, integer
  /// inputs widened to int64, all else becomes float32 or int64, straight from the tensors' memory.
  virtual Status encode_request(const ForwardBackwardInput& input, ByteBuffer& body) const = 0;
  /// Completes a body made by encode_request. Called when the send starts, so that an id is never
  /// taken for a request that was not sent.
  virtual void append_seq_id(std::int64_t seq_id, ByteBuffer& body) const = 0;
  /// `forward_only`: whether the request came to the forward endpoint (JSON).
  virtual Result<ForwardBackwardRequest> decode_request(std::string_view body,
                                                        bool forward_only) const = 0;

  virtual Status encode_output(const ForwardBackwardOutput& output, ByteBuffer& body) const = 0;
  virtual Result<ForwardBackwardOutput> decode_output(std::string_view body) const = 0;

  virtual Status encode_sample_response(const SampleResponse& response, ByteBuffer& body) const = 0;
  virtual Result<SampleResponse> decode_sample_response(std::string_view body) const = 0;
};

const Codec& json_codec() noexcept;
const Codec& proto_codec() noexcept;
const Codec& codec_for(WireFormat format) noexcept;
/// By a Content-Type or Accept header: protobuf if it names one, else JSON.
const Codec& codec_for_content_type(std::string_view content_type) noexcept;

/// Appends the JSON form of `input` (asample is JSON on every server). kInvalidArgument for a token
/// outside [0, 2^31) or text that is not UTF-8.
Status append_model_input_json(const ModelInput& input, ByteBuffer& body);

/// Bytes that the datum's arrays take on the wire by the API's own rule (protocol: 7.1): 4 per text
/// token, raw bytes per image, 4 per float32 and 8 per int64 element, 8 per sparse index.
std::size_t estimate_bytes(const Datum& datum);
/// How many numbers a datum counts as: tokens (an image its expected tokens, or its bytes) plus the
/// elements of every loss input.
std::size_t count_numbers(const Datum& datum);

}  // namespace tinkex::wire
