#include "tinkex/wire/proto_writer.h"

#include <limits>
#include <string>

#include "tinkex/error.h"
#include "tinkex/wire/proto_schema.h"

namespace tinkex::wire::proto {

char* begin_message(std::size_t size, ByteBuffer& body) {
  constexpr std::size_t kLargest = std::numeric_limits<std::int32_t>::max();
  constexpr std::size_t kRoomForSeqId = 16;
  if (size > kLargest - kRoomForSeqId) {
    throw invalid_argument("the message would take " + std::to_string(size) +
                           " bytes, protobuf allows 2 GiB; send fewer or shorter datums at a time");
  }
  body.clear();
  body.reserve(size + kRoomForSeqId);
  return body.extend(size);
}

std::uint64_t dtype_code(DType wire) noexcept {
  return static_cast<std::uint64_t>(wire == DType::kFloat32 ? dtype::kFloat32 : dtype::kInt64);
}

}  // namespace tinkex::wire::proto
