#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tinkex/wire/codec.h"

/// Values and comparisons that the tests of this folder share.
namespace tinkex::wire {

inline std::string from_hex(std::string_view hex) {
  std::string bytes;
  std::string digits;
  for (const char c : hex) {
    if (c == ' ') continue;
    digits += c;
    if (digits.size() < 2) continue;
    bytes += static_cast<char>(std::stoi(digits, nullptr, 16));
    digits.clear();
  }
  return bytes;
}

/// Everything a request holds, alive as long as the object.
struct RequestValues {
  std::string model_id = "model-1";
  std::vector<Datum> data;
  std::string loss_fn = "cross_entropy";
  LossConfig config;
  bool forward_only = false;

  ForwardBackwardInput input() const { return {model_id, data, loss_fn, config, forward_only}; }
};

inline Datum text_datum(std::vector<std::int64_t> tokens, NamedTensors inputs = {}) {
  return {ModelInput::from_tokens(std::move(tokens)), std::move(inputs)};
}

/// The body with a seq_id, or the error.
inline Result<std::string> encode(const Codec& codec, const RequestValues& values,
                                  std::int64_t seq_id = 1) {
  ByteBuffer body;
  const Status status = codec.encode_request(values.input(), body);
  if (!status) return status.error();
  codec.append_seq_id(seq_id, body);
  return std::string(body.view());
}

/// Encodes and decodes again; the test fails if either does.
inline ForwardBackwardRequest round_trip(const Codec& codec, const RequestValues& values,
                                         std::int64_t seq_id = 1) {
  const Result<std::string> body = encode(codec, values, seq_id);
  if (!body) {
    ADD_FAILURE() << body.error().what();
    return {};
  }
  Result<ForwardBackwardRequest> request = codec.decode_request(*body, values.forward_only);
  if (!request) {
    ADD_FAILURE() << request.error().what();
    return {};
  }
  return std::move(request).value();
}

/// Equal type, shape, bytes and row structure; NaN equals NaN.
inline void expect_same(const TensorData& actual, const TensorData& expected) {
  EXPECT_EQ(actual.dtype(), expected.dtype());
  EXPECT_EQ(actual.shape(), expected.shape());
  ASSERT_EQ(actual.size(), expected.size());
  if (expected.size() > 0) {
    EXPECT_EQ(std::memcmp(actual.data(), expected.data(), expected.size_bytes()), 0);
  }
  EXPECT_EQ(actual.is_sparse(), expected.is_sparse());
  EXPECT_TRUE(std::equal(actual.crow_indices().begin(), actual.crow_indices().end(),
                         expected.crow_indices().begin(), expected.crow_indices().end()));
  EXPECT_TRUE(std::equal(actual.col_indices().begin(), actual.col_indices().end(),
                         expected.col_indices().begin(), expected.col_indices().end()));
}

}  // namespace tinkex::wire
