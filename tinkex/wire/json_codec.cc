#include "tinkex/wire/json_codec.h"

#include <string>

#include "tinkex/wire/boundary.h"

namespace tinkex::wire {
namespace {

class JsonCodec final : public Codec {
 public:
  WireFormat format() const noexcept override { return WireFormat::kJson; }
  std::string_view content_type() const noexcept override { return "application/json"; }
  std::string_view path(bool forward_only) const noexcept override {
    return forward_only ? "forward" : "forward_backward";
  }

  Status encode_request(const ForwardBackwardInput& input, ByteBuffer& body) const override {
    return encode_guarded(body, [&] { json::encode_request(input, body); });
  }

  void append_seq_id(std::int64_t seq_id, ByteBuffer& body) const override {
    body.append(",\"seq_id\":" + std::to_string(seq_id) + "}");
  }

  Result<ForwardBackwardRequest> decode_request(std::string_view body,
                                                bool forward_only) const override {
    return decode_guarded([&] { return json::decode_request(body, forward_only); });
  }

  Status encode_output(const ForwardBackwardOutput& output, ByteBuffer& body) const override {
    return encode_guarded(body, [&] { json::encode_output(output, body); });
  }
  Result<ForwardBackwardOutput> decode_output(std::string_view body) const override {
    return decode_guarded([&] { return json::decode_output(body); });
  }

  Status encode_sample_response(const SampleResponse& response, ByteBuffer& body) const override {
    return encode_guarded(body, [&] { json::encode_sample_response(response, body); });
  }
  Result<SampleResponse> decode_sample_response(std::string_view body) const override {
    return decode_guarded([&] { return json::decode_sample_response(body); });
  }
};

}  // namespace

const Codec& json_codec() noexcept {
  static const JsonCodec codec;
  return codec;
}

}  // namespace tinkex::wire
