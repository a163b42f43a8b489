#pragma once

#include <string_view>

#include "tinkex/wire/codec.h"

/// JSON bodies. The encoders add to an empty `body`; all functions report by throwing (see
/// boundary.h).
namespace tinkex::wire::json {

/// Leaves the outermost object open: a seq_id, or nothing, and `}` are still to come.
void encode_request(const ForwardBackwardInput& input, ByteBuffer& body);
ForwardBackwardRequest decode_request(std::string_view body, bool forward_only);

/// Appends `{"chunks":[...]}`.
void append_model_input(const ModelInput& input, ByteBuffer& body);

void encode_output(const ForwardBackwardOutput& output, ByteBuffer& body);
ForwardBackwardOutput decode_output(std::string_view body);

void encode_sample_response(const SampleResponse& response, ByteBuffer& body);
SampleResponse decode_sample_response(std::string_view body);

/// Where the request's data stands in its object.
constexpr const char* input_key(bool forward_only) noexcept {
  return forward_only ? "forward_input" : "forward_backward_input";
}

}  // namespace tinkex::wire::json
