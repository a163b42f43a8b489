#include "tinkex/wire/proto_codec.h"

#include <protozero/exception.hpp>

#include "tinkex/wire/boundary.h"
#include "tinkex/wire/proto_schema.h"
#include "tinkex/wire/proto_writer.h"

namespace tinkex::wire {
namespace {

/// Runs `decode()`. What protozero throws is said of the bytes: a field that ends behind the end.
template <class Decode>
auto decode_message(const Decode& decode) noexcept {
  return decode_guarded([&decode] {
    try {
      return decode();
    } catch (const protozero::exception&) {
      fail_decode("its bytes are damaged, or break off: a part was lost on the way, or never sent");
    }
  });
}

class ProtoCodec final : public Codec {
 public:
  WireFormat format() const noexcept override { return WireFormat::kProtobuf; }
  std::string_view content_type() const noexcept override { return "application/x-protobuf"; }
  std::string_view path(bool /*forward_only*/) const noexcept override {
    return "forward_backward";
  }

  Status encode_request(const ForwardBackwardInput& input, ByteBuffer& body) const override {
    return encode_guarded(body, [&] { proto::encode_request(input, body); });
  }

  // Fields may come in any order, so the id can be the last.
  void append_seq_id(std::int64_t seq_id, ByteBuffer& body) const override {
    const auto value = static_cast<std::uint64_t>(seq_id);
    proto::Writer writer(body.extend(proto::integer_field_size(value)));
    writer.integer(proto::request::kSeqId, value);
  }

  Result<ForwardBackwardRequest> decode_request(std::string_view body,
                                                bool forward_only) const override {
    return decode_message([&] {
      ForwardBackwardRequest request = proto::decode_request(body);
      request.forward_only = request.forward_only || forward_only;
      return request;
    });
  }

  Status encode_output(const ForwardBackwardOutput& output, ByteBuffer& body) const override {
    return encode_guarded(body, [&] { proto::encode_output(output, body); });
  }
  Result<ForwardBackwardOutput> decode_output(std::string_view body) const override {
    return decode_message([&] { return proto::decode_output(body); });
  }

  Status encode_sample_response(const SampleResponse& response, ByteBuffer& body) const override {
    return encode_guarded(body, [&] { proto::encode_sample_response(response, body); });
  }
  Result<SampleResponse> decode_sample_response(std::string_view body) const override {
    return decode_message([&] { return proto::decode_sample_response(body); });
  }
};

}  // namespace

const Codec& proto_codec() noexcept {
  static const ProtoCodec codec;
  return codec;
}

}  // namespace tinkex::wire
