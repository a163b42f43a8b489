#pragma once

#include <cstdint>

/// Field numbers and values of package tinker_public (proto3). All are below 16, so that every
/// tag takes one byte.
namespace tinkex::wire::proto {

/// A map entry: nested message with a key and a value.
namespace entry {
inline constexpr std::uint32_t kKey = 1;
inline constexpr std::uint32_t kValue = 2;
}  // namespace entry

namespace request {
inline constexpr std::uint32_t kModelId = 1;
inline constexpr std::uint32_t kSeqId = 2;
inline constexpr std::uint32_t kData = 3;
inline constexpr std::uint32_t kLossFn = 4;
inline constexpr std::uint32_t kLossFnConfig = 5;  ///< map<string, double>
inline constexpr std::uint32_t kForwardOnly = 6;
inline constexpr std::uint32_t kLossFnConfigV2 = 7;  ///< map<string, LossConfigValue>
}  // namespace request

namespace config_value {
inline constexpr std::uint32_t kNumber = 1;
inline constexpr std::uint32_t kText = 2;
}  // namespace config_value

namespace datum {
inline constexpr std::uint32_t kModelInput = 1;
inline constexpr std::uint32_t kLossFnInputs = 2;  ///< map<string, Tensor>
}  // namespace datum

namespace chunk {
inline constexpr std::uint32_t kEncodedText = 1;
inline constexpr std::uint32_t kImage = 2;
inline constexpr std::uint32_t kDmel = 3;
}  // namespace chunk

namespace encoded_text {
inline constexpr std::uint32_t kTokens = 1;  ///< int32
}  // namespace encoded_text

namespace image {
inline constexpr std::uint32_t kData = 1;
inline constexpr std::uint32_t kFormat = 2;
inline constexpr std::uint32_t kExpectedTokens = 3;
}  // namespace image

namespace tensor {
inline constexpr std::uint32_t kDense = 1;
inline constexpr std::uint32_t kSparseCsr = 2;
inline constexpr std::uint32_t kDType = 3;
inline constexpr std::uint32_t kShape = 4;
}  // namespace tensor

namespace sparse_csr {
inline constexpr std::uint32_t kValues = 1;
inline constexpr std::uint32_t kCrowIndices = 2;  ///< int64
inline constexpr std::uint32_t kColIndices = 3;   ///< int64
}  // namespace sparse_csr

namespace output {
inline constexpr std::uint32_t kLossFnOutputType = 1;
inline constexpr std::uint32_t kLossFnOutputs = 2;  ///< ArrayRecord
inline constexpr std::uint32_t kMetrics = 3;        ///< map<string, double>
}  // namespace output

namespace array_record {
inline constexpr std::uint32_t kFields = 2;  ///< map<string, BatchedTensor>
inline constexpr std::uint32_t kNumDatums = 3;
}  // namespace array_record

namespace batched_tensor {
inline constexpr std::uint32_t kData = 1;
inline constexpr std::uint32_t kOffsets = 2;  ///< int64, in bytes
inline constexpr std::uint32_t kDType = 3;
inline constexpr std::uint32_t kTrailingShape = 4;
}  // namespace batched_tensor

namespace sample {
inline constexpr std::uint32_t kSequences = 1;
inline constexpr std::uint32_t kPromptLogprobs = 2;
inline constexpr std::uint32_t kTopkPromptLogprobs = 3;
inline constexpr std::uint32_t kPromptCacheHitTokens = 4;
}  // namespace sample

namespace sequence {
inline constexpr std::uint32_t kStopReason = 1;
inline constexpr std::uint32_t kTokens = 2;    ///< int32
inline constexpr std::uint32_t kLogprobs = 3;  ///< float32
}  // namespace sequence

namespace topk {
inline constexpr std::uint32_t kTokenIds = 1;  ///< int32
inline constexpr std::uint32_t kLogprobs = 2;  ///< float32
inline constexpr std::uint32_t kK = 3;
inline constexpr std::uint32_t kLength = 4;
/// Cells beyond the candidates of a position hold this pair.
inline constexpr std::int32_t kPaddingToken = 0;
inline constexpr float kPaddingLogprob = -99999.0f;
}  // namespace topk

namespace dtype {
inline constexpr std::int32_t kFloat32 = 1;
inline constexpr std::int32_t kInt64 = 2;
inline constexpr std::int32_t kInt32 = 3;
inline constexpr std::int32_t kBFloat16 = 4;
}  // namespace dtype

namespace stop_reason {
inline constexpr std::int32_t kStop = 0;
inline constexpr std::int32_t kLength = 1;
}  // namespace stop_reason

}  // namespace tinkex::wire::proto
