#include "tinkex/wire/codec.h"

#include <algorithm>

#include "tinkex/base/text.h"
#include "tinkex/wire/boundary.h"
#include "tinkex/wire/json_codec.h"

namespace tinkex::wire {
namespace {

bool contains_ignoring_case(std::string_view text, std::string_view lower_case) {
  return internal::lower_case(text).find(lower_case) != std::string::npos;
}

}  // namespace

const Codec& codec_for(WireFormat format) noexcept {
  return format == WireFormat::kProtobuf ? proto_codec() : json_codec();
}

Status append_model_input_json(const ModelInput& input, ByteBuffer& body) {
  return encode_guarded([&] { json::append_model_input(input, body); });
}

const Codec& codec_for_content_type(std::string_view content_type) noexcept {
  const bool is_protobuf = contains_ignoring_case(content_type, "application/x-protobuf") ||
                           contains_ignoring_case(content_type, "application/protobuf");
  return is_protobuf ? proto_codec() : json_codec();
}

}  // namespace tinkex::wire
