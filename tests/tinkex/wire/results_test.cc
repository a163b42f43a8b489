#include <cmath>
#include <limits>

#include "tests/tinkex/wire/wire_values.h"

namespace tinkex::wire {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

class ResultsTest : public testing::TestWithParam<WireFormat> {
 protected:
  const Codec& codec() const { return codec_for(GetParam()); }

  ForwardBackwardOutput round_trip(const ForwardBackwardOutput& output) const {
    ByteBuffer body;
    const Status status = codec().encode_output(output, body);
    EXPECT_TRUE(status) << status.error().what();
    Result<ForwardBackwardOutput> decoded = codec().decode_output(body.view());
    EXPECT_TRUE(decoded) << decoded.error().what();
    return std::move(decoded).value();
  }

  SampleResponse round_trip(const SampleResponse& response) const {
    ByteBuffer body;
    const Status status = codec().encode_sample_response(response, body);
    EXPECT_TRUE(status) << status.error().what();
    Result<SampleResponse> decoded = codec().decode_sample_response(body.view());
    EXPECT_TRUE(decoded) << decoded.error().what();
    return std::move(decoded).value();
  }
};

NamedTensors logprobs(std::vector<float> values, std::vector<std::int64_t> shape = {}) {
  return {{"logprobs", TensorData::from(std::move(values), shape)}};
}

void expect_same_floats(const std::vector<float>& actual, const std::vector<float>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    EXPECT_TRUE(actual[i] == expected[i] || (std::isnan(actual[i]) && std::isnan(expected[i])))
        << i << ": " << actual[i] << " instead of " << expected[i];
  }
}

TEST_P(ResultsTest, OutputsKeepOrderShapesAndMetrics) {
  ForwardBackwardOutput output;
  output.loss_fn_output_type = "cross_entropy";
  output.metrics = {{"loss:sum", 1.25}, {"tokens:sum", 1e15}};
  // The third differs in trailing shape, the fourth in type: protobuf needs a record for each.
  output.loss_fn_outputs = {logprobs({-1.0f, -2.0f}),
                            logprobs({}),
                            logprobs({1, 2, 3, 4, 5, 6}, {3, 2}),
                            {{"logprobs", TensorData::from(std::vector<std::int64_t>{9})}},
                            logprobs({-3.0f})};
  const ForwardBackwardOutput decoded = round_trip(output);
  EXPECT_EQ(decoded.loss_fn_output_type, output.loss_fn_output_type);
  EXPECT_EQ(decoded.metrics, output.metrics);
  ASSERT_EQ(decoded.loss_fn_outputs.size(), output.loss_fn_outputs.size());
  for (std::size_t i = 0; i < output.loss_fn_outputs.size(); ++i) {
    SCOPED_TRACE(i);
    ASSERT_EQ(decoded.loss_fn_outputs[i].size(), 1u);
    expect_same(decoded.loss_fn_outputs[i][0].second, output.loss_fn_outputs[i][0].second);
  }
}

TEST_P(ResultsTest, SeveralFieldsStayTogether) {
  ForwardBackwardOutput output;
  output.loss_fn_output_type = "x";
  output.loss_fn_outputs = {{{"logprobs", TensorData::from(std::vector<float>{1.0f})},
                             {"ids", TensorData::from(std::vector<std::int64_t>{1, 2})}},
                            {{"ids", TensorData::from(std::vector<std::int64_t>{3})},
                             {"logprobs", TensorData::from(std::vector<float>{2.0f, 4.0f})}}};
  const ForwardBackwardOutput decoded = round_trip(output);
  ASSERT_EQ(decoded.loss_fn_outputs.size(), 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    for (const auto& [name, tensor] : output.loss_fn_outputs[i]) {
      expect_same(*find(decoded.loss_fn_outputs[i], name), tensor);
    }
  }
}

TEST_P(ResultsTest, DatumsWithoutFieldsAreCounted) {
  ForwardBackwardOutput output;
  output.loss_fn_output_type = "x";
  output.loss_fn_outputs.resize(3);
  EXPECT_EQ(round_trip(output).loss_fn_outputs.size(), 3u);
}

TEST_P(ResultsTest, MetricThatIsNoNumberStaysOne) {
  ForwardBackwardOutput output;
  output.metrics = {{"loss:sum", std::nan("")}};
  EXPECT_TRUE(std::isnan(round_trip(output).metrics.at("loss:sum")));
}

TEST_P(ResultsTest, NegativeZeroStaysNegative) {
  ForwardBackwardOutput output;
  output.loss_fn_output_type = "x";
  output.metrics = {{"loss:sum", -0.0}};
  output.loss_fn_outputs = {logprobs({-0.0f, 1.0f})};
  const ForwardBackwardOutput decoded = round_trip(output);
  EXPECT_TRUE(std::signbit(decoded.metrics.at("loss:sum")));
  EXPECT_TRUE(std::signbit(decoded.loss_fn_outputs[0][0].second.to_floats()[0]));
}

TEST_P(ResultsTest, OutputsWithDifferentNamesAreRefused) {
  ForwardBackwardOutput output;
  output.loss_fn_outputs = {logprobs({1.0f}), {}};
  ByteBuffer body;
  const Status status = codec().encode_output(output, body);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(status.error().message(),
            "loss_fn_outputs[1] holds other names than loss_fn_outputs[0]; every datum must have "
            "the same outputs");
}

// Spec F4.
TEST_P(ResultsTest, SampleKeepsEverything) {
  SampleResponse response;
  response.sequences = {{{1, 2, 2147483647}, {-0.1f, -1e-30f, 0.0f}, StopReason::kStop, ""},
                        {{4}, {}, StopReason::kLength, ""},
                        {{}, {}, StopReason::kStop, ""}};
  response.prompt_logprobs = {kNaN, -0.5f, -0.1f};
  response.topk_prompt_logprobs = {{}, {{7, -0.1f}, {0, -99999.0f + 1}}, {{9, -0.2f}}};
  response.prompt_cache_hit_tokens = 2;
  const SampleResponse decoded = round_trip(response);
  ASSERT_EQ(decoded.sequences.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(decoded.sequences[i].tokens, response.sequences[i].tokens);
    EXPECT_EQ(decoded.sequences[i].logprobs, response.sequences[i].logprobs);
    EXPECT_EQ(decoded.sequences[i].stop_reason, response.sequences[i].stop_reason);
  }
  expect_same_floats(decoded.prompt_logprobs, response.prompt_logprobs);
  EXPECT_EQ(decoded.topk_prompt_logprobs, response.topk_prompt_logprobs);
  EXPECT_EQ(decoded.prompt_cache_hit_tokens, 2);
}

TEST_P(ResultsTest, SampleWithoutExtrasHasNone) {
  const SampleResponse decoded = round_trip(SampleResponse{});
  EXPECT_TRUE(decoded.sequences.empty());
  EXPECT_TRUE(decoded.prompt_logprobs.empty());
  EXPECT_TRUE(decoded.topk_prompt_logprobs.empty());
}

TEST_P(ResultsTest, TopkOfNothingButUndefinedPositionsKeepsItsLength) {
  SampleResponse response;
  response.topk_prompt_logprobs.resize(4);
  EXPECT_EQ(round_trip(response).topk_prompt_logprobs, response.topk_prompt_logprobs);
}

TEST_P(ResultsTest, SequenceWithTooFewLogprobsIsRefused) {
  SampleResponse response;
  response.sequences = {{{1, 2}, {0.0f}, StopReason::kStop, ""}};
  ByteBuffer body;
  const Status status = codec().encode_sample_response(response, body);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message(),
            "sequences[0] has 2 tokens but 1 logprobs; expected one per token, or none");
}

INSTANTIATE_TEST_SUITE_P(BothFormats, ResultsTest,
                         testing::Values(WireFormat::kJson, WireFormat::kProtobuf),
                         [](const auto& info) {
                           return info.param == WireFormat::kJson ? "Json" : "Protobuf";
                         });

TEST(ProtoOutputTest, RecordOfBfloat16IsWidenedAndCountedByItsOffsets) {
  // BatchedTensor: data 1.0, -3.0 | 0.5 as bfloat16; offsets 0, 4, 6; dtype 4. No num_datums.
  const std::string tensor =
      from_hex("0a06 803f 40c0 003f 1218 0000000000000000 0400000000000000 0600000000000000 1804");
  const std::string field = from_hex("0a016c") + '\x12' + static_cast<char>(tensor.size()) + tensor;
  const std::string record = '\x12' + std::string(1, static_cast<char>(field.size())) + field;
  const std::string body =
      from_hex("0a03 613a62") + '\x12' + static_cast<char>(record.size()) + record;
  const Result<ForwardBackwardOutput> output = proto_codec().decode_output(body);
  ASSERT_TRUE(output) << output.error().what();
  EXPECT_EQ(output->loss_fn_output_type, "b");
  ASSERT_EQ(output->loss_fn_outputs.size(), 2u);
  expect_same(*find(output->loss_fn_outputs[0], "l"),
              TensorData::from(std::vector<float>{1.0f, -3.0f}));
  expect_same(*find(output->loss_fn_outputs[1], "l"), TensorData::from(std::vector<float>{0.5f}));
}

TEST(ProtoOutputTest, RecordOfInt32WithTrailingShapeIsWidened) {
  const std::string tensor = from_hex(
      "0a10 01000000 02000000 fdffffff 04000000 1210 0000000000000000 1000000000000000 1803 "
      "220102");
  const std::string field = from_hex("0a016c") + '\x12' + static_cast<char>(tensor.size()) + tensor;
  const std::string record =
      '\x12' + std::string(1, static_cast<char>(field.size())) + field + from_hex("1801");
  const std::string body = '\x12' + std::string(1, static_cast<char>(record.size())) + record;
  const Result<ForwardBackwardOutput> output = proto_codec().decode_output(body);
  ASSERT_TRUE(output) << output.error().what();
  ASSERT_EQ(output->loss_fn_outputs.size(), 1u);
  expect_same(*find(output->loss_fn_outputs[0], "l"),
              TensorData::from(std::vector<std::int64_t>{1, 2, -3, 4}, {2, 2}));
}

TEST(ProtoOutputTest, TypeOfAnEmptyResultHasADefault) {
  EXPECT_EQ(proto_codec().decode_output("")->loss_fn_output_type, "ArrayRecord");
  EXPECT_EQ(proto_codec().decode_output(from_hex("1200"))->loss_fn_output_type, "ArrayRecord")
      << "of one record without datums";
}

TEST(ProtoOutputTest, SlicesOutliveTheBodyAndTheResult) {
  ForwardBackwardOutput output;
  output.loss_fn_outputs = {logprobs({1.0f, 2.0f}), logprobs({3.0f})};
  TensorData kept;
  {
    ByteBuffer body;
    ASSERT_TRUE(proto_codec().encode_output(output, body));
    kept = proto_codec().decode_output(body.view())->loss_fn_outputs[1][0].second;
  }
  EXPECT_EQ(kept.to_floats(), std::vector<float>{3.0f});
}

TEST(ProtoSampleTest, PaddingOfCandidateTableIsTrimmed) {
  // k 2, length 2: row 0 is padding, row 1 is {7: -1.0, padding}. -99999.0f is 0xc7c34f80.
  const std::string table = from_hex(
      "0a10 00000000 00000000 07000000 00000000"
      "1210 804fc3c7 804fc3c7 000080bf 804fc3c7 1802 2002");
  const std::string body = '\x1a' + std::string(1, static_cast<char>(table.size())) + table;
  const Result<SampleResponse> response = proto_codec().decode_sample_response(body);
  ASSERT_TRUE(response) << response.error().what();
  EXPECT_EQ(response->topk_prompt_logprobs,
            (std::vector<std::vector<TokenLogprob>>{{}, {{7, -1.0f}}}));
}

// Spec F4.
TEST(JsonSampleTest, MatchesTheApisText) {
  SampleResponse response;
  response.sequences = {{{5, 6}, {-0.25f, -1.5f}, StopReason::kLength, ""}};
  response.prompt_logprobs = {kNaN, -0.5f};
  response.topk_prompt_logprobs = {{}, {{7, -0.1f}}};
  ByteBuffer body;
  ASSERT_TRUE(json_codec().encode_sample_response(response, body));
  EXPECT_EQ(body.view(),
            R"({"type":"sample","sequences":[{"tokens":[5,6],"logprobs":[-0.25,-1.5],)"
            R"("stop_reason":"length"}],"prompt_logprobs":[null,-0.5],)"
            R"("topk_prompt_logprobs":[null,[[7,-0.1]]],"prompt_cache_hit_tokens":0})");
}

TEST(JsonSampleTest, IntegersAndFloatsAreInterchangeable) {
  const Result<SampleResponse> response = json_codec().decode_sample_response(
      R"({"sequences":[{"tokens":[5.0],"logprobs":[-1],"stop_reason":"stop"}],"prompt_logprobs":null,)"
      R"("unknown":[{}],"prompt_cache_hit_tokens":3.0})");
  ASSERT_TRUE(response) << response.error().what();
  EXPECT_EQ(response->sequences[0].tokens, std::vector<std::int32_t>{5});
  EXPECT_EQ(response->sequences[0].logprobs, std::vector<float>{-1.0f});
  EXPECT_EQ(response->prompt_cache_hit_tokens, 3);
}

}  // namespace
}  // namespace tinkex::wire
