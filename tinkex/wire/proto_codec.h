#pragma once

#include <string_view>

#include "tinkex/wire/codec.h"

/// Protobuf bytes of package tinker_public. The encoders replace the content of `body`; all
/// functions report by throwing (see boundary.h).
namespace tinkex::wire::proto {

void encode_request(const ForwardBackwardInput& input, ByteBuffer& body);
ForwardBackwardRequest decode_request(std::string_view body);

void encode_output(const ForwardBackwardOutput& output, ByteBuffer& body);
ForwardBackwardOutput decode_output(std::string_view body);

void encode_sample_response(const SampleResponse& response, ByteBuffer& body);
SampleResponse decode_sample_response(std::string_view body);

}  // namespace tinkex::wire::proto
