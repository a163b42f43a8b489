#include <cmath>
#include <limits>

#include "tests/tinkex/wire/wire_values.h"

namespace tinkex::wire {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

class CodecTest : public testing::TestWithParam<WireFormat> {
 protected:
  const Codec& codec() const { return codec_for(GetParam()); }
  bool is_json() const { return GetParam() == WireFormat::kJson; }
};

// Spec F3.
TEST_P(CodecTest, RequestKeepsEveryField) {
  RequestValues values;
  values.loss_fn = "ppo";
  values.config = {{"clip_low_threshold", 0.9}, {"beta", -1e-300}};
  values.data.push_back(text_datum(
      {5, 6, 7}, {{"target_tokens", TensorData::from(std::vector<std::int64_t>{6, 7, -100})},
                  {"weights", TensorData::from(std::vector<float>{0.5f, 1.0f, 0.1f})}}));
  const ForwardBackwardRequest request = round_trip(codec(), values, 41);
  EXPECT_EQ(request.model_id, "model-1");
  EXPECT_EQ(request.seq_id, 41);
  EXPECT_EQ(request.loss_fn, "ppo");
  EXPECT_EQ(request.loss_fn_config, values.config);
  EXPECT_FALSE(request.forward_only);
  ASSERT_EQ(request.data.size(), 1u);
  EXPECT_EQ(request.data[0].model_input.text_tokens(), (std::vector<std::int64_t>{5, 6, 7}));
  ASSERT_EQ(request.data[0].loss_fn_inputs.size(), 2u);
  for (const auto& [name, tensor] : values.data[0].loss_fn_inputs) {
    expect_same(*find(request.data[0].loss_fn_inputs, name), tensor);
  }
}

TEST_P(CodecTest, ForwardOnlyArrives) {
  RequestValues values;
  values.forward_only = true;
  values.data.push_back(text_datum({1}));
  EXPECT_TRUE(round_trip(codec(), values).forward_only);
}

TEST_P(CodecTest, TextValuedConfigurationArrivesBesideNumbers) {
  RequestValues values;
  values.config = {{"loss_id", std::string("l\"\xc3\xa9-1")}, {"beta", 0.25}};
  EXPECT_EQ(round_trip(codec(), values).loss_fn_config, values.config);
}

TEST_P(CodecTest, TokensOfEveryIntegerTypeArrive) {
  const std::int64_t wide[] = {0, 1, 2147483647};
  const std::int32_t int32[] = {0, 7, 2147483647};
  const std::int16_t int16[] = {0, 7, 32767};
  const std::int8_t int8[] = {0, 7, 127};
  const std::uint8_t uint8[] = {0, 7, 255};
  const std::vector<TensorData> inputs = {
      TensorData::view(wide, DType::kInt64, {3}), TensorData::view(int32, DType::kInt32, {3}),
      TensorData::view(int16, DType::kInt16, {3}), TensorData::view(int8, DType::kInt8, {3}),
      TensorData::view(uint8, DType::kUInt8, {3})};
  for (const TensorData& tokens : inputs) {
    RequestValues values;
    values.data.push_back({ModelInput::from_tokens(tokens), {}});
    EXPECT_EQ(round_trip(codec(), values).data[0].model_input.text_tokens(), tokens.to_ints())
        << to_string(tokens.dtype());
  }
}

TEST_P(CodecTest, LossInputsOfEveryTypeAreWidened) {
  const float float32[] = {0.1f, -3.4e38f, 1e-45f};
  const double float64[] = {0.1, 1e300, -2.0};
  const std::uint16_t bfloat16[] = {0x3f80, 0xc040, 0x0001};
  const std::uint16_t float16[] = {0x3c00, 0xc200, 0x0001};
  const std::int64_t int64[] = {-9007199254740993, 0, 9223372036854775807};
  const std::int32_t int32[] = {-2147483647, 0, 5};
  const std::int16_t int16[] = {-32768, 0, 5};
  const std::int8_t int8[] = {-128, 0, 5};
  const std::uint8_t bytes[] = {255, 0, 1};
  const std::pair<const void*, DType> kinds[] = {
      {float32, DType::kFloat32}, {float64, DType::kFloat64}, {bfloat16, DType::kBFloat16},
      {float16, DType::kFloat16}, {int64, DType::kInt64},     {int32, DType::kInt32},
      {int16, DType::kInt16},     {int8, DType::kInt8},       {bytes, DType::kUInt8},
      {bytes, DType::kBool}};
  for (const auto& [data, dtype] : kinds) {
    const TensorData input = TensorData::view(data, dtype, {3});
    RequestValues values;
    values.data.push_back(text_datum({1}, {{"extra", input}}));
    const ForwardBackwardRequest request = round_trip(codec(), values);
    const TensorData& tensor = *find(request.data[0].loss_fn_inputs, "extra");
    SCOPED_TRACE(to_string(dtype));
    if (is_floating_point(dtype)) {
      std::vector<float> expected = input.to_floats();
      // JSON has no infinities: they travel as null.
      for (float& value : expected) value = is_json() && std::isinf(value) ? kNaN : value;
      expect_same(tensor, TensorData::from(expected));
    } else {
      expect_same(tensor, TensorData::from(input.to_ints()));
    }
  }
}

TEST_P(CodecTest, InputsWithATypeByTheApisRulesTakeIt) {
  for (const char* name : {"weights", "advantages", "logprobs", "clip_low_threshold",
                           "clip_high_threshold", "sequence_ratio_mask"}) {
    RequestValues values;
    values.data.push_back(
        text_datum({1, 2}, {{name, TensorData::from(std::vector<std::int64_t>{0, 1})}}));
    expect_same(*find(round_trip(codec(), values).data[0].loss_fn_inputs, name),
                TensorData::from(std::vector<float>{0.0f, 1.0f}));
  }
}

TEST_P(CodecTest, ShapesArrive) {
  for (const std::vector<std::int64_t>& shape : std::vector<std::vector<std::int64_t>>{
           {6}, {2, 3}, {1, 2, 3}, {0}, {0, 3}, {3, 0}, {1, 1, 1, 6}}) {
    std::size_t count = 1;
    for (const std::int64_t extent : shape) count *= static_cast<std::size_t>(extent);
    RequestValues values;
    const TensorData tensor = TensorData::from(std::vector<float>(count, 0.5f), shape);
    values.data.push_back(text_datum({1}, {{"weights", tensor}}));
    expect_same(*find(round_trip(codec(), values).data[0].loss_fn_inputs, "weights"), tensor);
  }
}

TEST_P(CodecTest, SparseInputsStaySparse) {
  const auto sparse = [](TensorData entries) {
    return TensorData::sparse_csr(std::move(entries), {0, 1, 1, 3}, {2, 0, 3}, {3, 4}).value();
  };
  const TensorData weights = sparse(TensorData::from(std::vector<float>{0.5f, 1.5f, -1.0f}));
  const TensorData targets = sparse(TensorData::from(std::vector<std::int64_t>{7, 8, 9}));
  RequestValues values;
  values.data.push_back(text_datum({1, 2, 3}, {{"target_tokens", targets}, {"weights", weights}}));
  const ForwardBackwardRequest request = round_trip(codec(), values);
  expect_same(*find(request.data[0].loss_fn_inputs, "target_tokens"), targets);
  expect_same(*find(request.data[0].loss_fn_inputs, "weights"), weights);
}

TEST_P(CodecTest, EmptySparseInputArrives) {
  const TensorData empty =
      TensorData::sparse_csr(TensorData::from(std::vector<float>{}), {0, 0, 0}, {}, {2, 5}).value();
  RequestValues values;
  values.data.push_back(text_datum({1}, {{"weights", empty}}));
  expect_same(*find(round_trip(codec(), values).data[0].loss_fn_inputs, "weights"), empty);
}

TEST_P(CodecTest, ImagesKeepTheirPlaceBetweenTexts) {
  std::string pixels;
  for (int i = 0; i < 256; ++i) pixels += static_cast<char>(i);
  RequestValues values;
  values.data.push_back(text_datum({1}));
  auto& chunks = values.data[0].model_input.chunks;
  chunks.emplace_back(ImageChunk{pixels, "png", 64});
  chunks.emplace_back(EncodedTextChunk{TensorData::from(std::vector<std::int32_t>{2, 3})});
  chunks.emplace_back(ImageChunk{"", "jpeg", std::nullopt});
  const ForwardBackwardRequest request = round_trip(codec(), values);
  const auto& decoded = request.data[0].model_input.chunks;
  ASSERT_EQ(decoded.size(), 4u);
  const auto& image = std::get<ImageChunk>(decoded[1]);
  EXPECT_EQ(image.data, pixels);
  EXPECT_EQ(image.format, "png");
  EXPECT_EQ(image.expected_tokens, 64);
  EXPECT_EQ(std::get<EncodedTextChunk>(decoded[2]).tokens.size(), 2u);
  EXPECT_EQ(std::get<ImageChunk>(decoded[3]).expected_tokens, std::nullopt);
}

TEST_P(CodecTest, EmptyPiecesAreKept) {
  RequestValues values;
  values.data.push_back({});
  values.data.push_back(text_datum({}));
  values.data.push_back(text_datum({1}, {{"weights", TensorData()}}));
  const ForwardBackwardRequest request = round_trip(codec(), values);
  ASSERT_EQ(request.data.size(), 3u);
  EXPECT_TRUE(request.data[0].model_input.chunks.empty());
  ASSERT_EQ(request.data[1].model_input.chunks.size(), 1u);
  EXPECT_EQ(request.data[1].model_input.length(), 0u);
  expect_same(*find(request.data[2].loss_fn_inputs, "weights"), TensorData());
}

TEST_P(CodecTest, SequenceIdsAreExact) {
  const std::int64_t largest = is_json() ? 9007199254740993 : 2147483647;
  for (const std::int64_t id : {std::int64_t{1}, std::int64_t{127}, std::int64_t{128}, largest}) {
    EXPECT_EQ(round_trip(codec(), {}, id).seq_id, id);
  }
}

TEST_P(CodecTest, RecycledBufferHoldsOnlyTheNewBody) {
  RequestValues large;
  large.data.assign(3, text_datum(std::vector<std::int64_t>(1000, 7)));
  RequestValues small;
  small.data.push_back(text_datum({1}));
  ByteBuffer body;
  ASSERT_TRUE(codec().encode_request(large.input(), body));
  const char* memory = body.data();
  ASSERT_TRUE(codec().encode_request(small.input(), body));
  codec().append_seq_id(1, body);
  EXPECT_EQ(body.data(), memory);
  EXPECT_EQ(body.view(), *encode(codec(), small));
}

TEST_P(CodecTest, TokenOutOfRangeIsNamedWithDatumAndPosition) {
  for (const std::int64_t bad : {std::int64_t{-1}, std::int64_t{1} << 31, std::int64_t{1} << 40}) {
    for (const std::size_t position : {std::size_t{0}, std::size_t{200}, std::size_t{299}}) {
      std::vector<std::int64_t> tokens(300, 5);
      tokens[position] = bad;
      RequestValues values;
      values.data.push_back(text_datum({1}));
      values.data.push_back(text_datum(tokens));
      ByteBuffer body;
      const Status status = codec().encode_request(values.input(), body);
      ASSERT_FALSE(status);
      EXPECT_EQ(status.error().code(), ErrorCode::kInvalidArgument);
      EXPECT_EQ(status.error().message(),
                "data[1].model_input.chunks[0]: token " + std::to_string(bad) + " at position " +
                    std::to_string(position) +
                    " is outside [0, 2^31); pass ids of the model's own tokenizer");
      EXPECT_EQ(body.size(), 0u);
    }
  }
}

TEST_P(CodecTest, ValuesThatCannotBeEncodedAreNamed) {
  const TensorData floats = TensorData::from(std::vector<float>{1.0f, 2.0f});
  const TensorData matrix = TensorData::from(std::vector<std::int64_t>{1, 2}, {1, 2});
  const TensorData deep =
      TensorData::from(std::vector<float>{1.0f}, std::vector<std::int64_t>(17, 1));
  struct Case {
    Datum datum;
    std::string_view expected;
  };
  const Case cases[] = {
      {text_datum({1, 2}, {{"target_tokens", floats}}),
       "data[1].loss_fn_inputs['target_tokens'] is float32, expected integers"},
      {{ModelInput::from_tokens(floats), {}}, "data[1].model_input.chunks[0]: tokens are float32"},
      {{ModelInput::from_tokens(matrix), {}}, "tokens have shape [1, 2], expected one dense"},
      {text_datum({1}, {{"weights", deep}}), "data[1].loss_fn_inputs['weights'] has 17 dimensions"},
      {text_datum({1}, {{"w", floats}, {"w", floats}}), "data[1].loss_fn_inputs holds 'w' twice"},
      {text_datum({1}, {{"\xff", floats}}), "is not valid UTF-8: '?'"},
      {{ModelInput({ImageChunk{"x", "png", -5}}), {}}, "expected_tokens is -5"},
  };
  for (const Case& test : cases) {
    RequestValues values;
    values.data = {text_datum({1}), test.datum};
    const Result<std::string> body = encode(codec(), values);
    ASSERT_FALSE(body) << test.expected;
    EXPECT_EQ(body.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(body.error().message().find(test.expected), std::string::npos)
        << body.error().message();
  }
}

TEST_P(CodecTest, BadTextIsRefusedWhereverItStands) {
  const std::string bad = "\xc0\x80";
  std::vector<RequestValues> all(4);
  all[0].model_id = bad;
  all[1].loss_fn = bad;
  all[2].config = {{bad, 1.0}};
  all[3].config = {{"k", bad}};
  for (const RequestValues& values : all) {
    const Result<std::string> body = encode(codec(), values);
    ASSERT_FALSE(body);
    EXPECT_EQ(body.error().code(), ErrorCode::kInvalidArgument);
  }
}

INSTANTIATE_TEST_SUITE_P(BothFormats, CodecTest,
                         testing::Values(WireFormat::kJson, WireFormat::kProtobuf),
                         [](const auto& info) {
                           return info.param == WireFormat::kJson ? "Json" : "Protobuf";
                         });

TEST(CodecChoiceTest, ContentTypeDecides) {
  for (const char* type :
       {"application/x-protobuf", "application/protobuf", "Application/X-Protobuf; charset=binary",
        "application/json, application/x-protobuf"}) {
    EXPECT_EQ(codec_for_content_type(type).format(), WireFormat::kProtobuf) << type;
  }
  for (const char* type : {"", "application/json", "text/plain", "*/*"}) {
    EXPECT_EQ(codec_for_content_type(type).format(), WireFormat::kJson) << type;
  }
}

TEST(CodecChoiceTest, PathsFollowTheFormat) {
  EXPECT_EQ(json_codec().path(false), "forward_backward");
  EXPECT_EQ(json_codec().path(true), "forward");
  EXPECT_EQ(proto_codec().path(true), "forward_backward");
  EXPECT_EQ(json_codec().content_type(), "application/json");
  EXPECT_EQ(proto_codec().content_type(), "application/x-protobuf");
}

// Spec F3.
TEST(JsonRequestTest, MatchesTheApisText) {
  RequestValues values;
  values.model_id = "m1";
  values.loss_fn = "ppo";
  values.config = {{"clip_low_threshold", 0.9}};
  values.data.push_back(text_datum(
      {5, 6, 7}, {{"target_tokens", TensorData::from(std::vector<std::int64_t>{6, 7, 8})},
                  {"logprobs", TensorData::from(std::vector<float>{-0.1f, kNaN, kInfinity})}}));
  EXPECT_EQ(
      *encode(json_codec(), values, 3),
      R"({"model_id":"m1","forward_backward_input":{"loss_fn":"ppo",)"
      R"("loss_fn_config":{"clip_low_threshold":0.9},)"
      R"("data":[{"model_input":{"chunks":[{"type":"encoded_text","tokens":[5,6,7]}]},)"
      R"("loss_fn_inputs":{"target_tokens":{"data":[6,7,8],"dtype":"int64","shape":[3]},)"
      R"("logprobs":{"data":[-0.1,null,null],"dtype":"float32","shape":[3]}}}]},"seq_id":3})");
}

TEST(JsonRequestTest, ForwardHasAKeyOfItsOwn) {
  RequestValues values;
  values.forward_only = true;
  const Result<std::string> body = encode(json_codec(), values);
  EXPECT_NE(body->find("\"forward_input\":{"), std::string::npos);
  EXPECT_FALSE(json_codec().decode_request(*body, false));
}

TEST(JsonRequestTest, PointerToAnImageArrives) {
  RequestValues values;
  values.data.push_back({ModelInput({ImageAssetPointerChunk{"https://x/y.png", "png", 3}}), {}});
  const ForwardBackwardRequest request = round_trip(json_codec(), values);
  const auto& chunk = std::get<ImageAssetPointerChunk>(request.data[0].model_input.chunks[0]);
  EXPECT_EQ(chunk.location, "https://x/y.png");
  EXPECT_EQ(chunk.format, "png");
  EXPECT_EQ(chunk.expected_tokens, 3);
}

TEST(JsonRequestTest, NonFiniteConfigurationIsRefused) {
  RequestValues values;
  values.config = {{"beta", std::nan("")}};
  const Result<std::string> body = encode(json_codec(), values);
  ASSERT_FALSE(body);
  EXPECT_NE(body.error().message().find("loss_fn_config['beta'] is nan"), std::string::npos);
}

TEST(ProtoRequestTest, PointerToAnImageIsRefusedWithTheRemedy) {
  RequestValues values;
  values.data.push_back({ModelInput({ImageAssetPointerChunk{"https://x/y.png", "png", 3}}), {}});
  const Result<std::string> body = encode(proto_codec(), values);
  ASSERT_FALSE(body);
  EXPECT_EQ(body.error().message(),
            "data[0].model_input.chunks[0]: an image_asset_pointer cannot be sent as protobuf; "
            "pass the image's bytes, or choose WireFormat::kJson");
}

TEST(ProtoRequestTest, MatchesTheDocumentedBytes) {
  RequestValues values;
  values.model_id = "m";
  values.loss_fn = "ppo";
  values.data.push_back(text_datum({7}));
  // The id is appended, so it is the last field here and the second in the protocol's example.
  EXPECT_EQ(*encode(proto_codec(), values, 1),
            from_hex("0a016d 1a0a 0a08 0a06 0a04 07000000 2203 70706f 1001"));
  const Result<ForwardBackwardRequest> request = proto_codec().decode_request(
      from_hex("0a016d 1001 1a0a 0a08 0a06 0a04 07000000 2203 70706f"), false);
  ASSERT_TRUE(request) << request.error().what();
  EXPECT_EQ(request->model_id, "m");
  EXPECT_EQ(request->seq_id, 1);
  EXPECT_EQ(request->loss_fn, "ppo");
  EXPECT_EQ(request->data[0].model_input.text_tokens(), std::vector<std::int64_t>{7});
}

TEST(ProtoRequestTest, NewerConfigurationMapTravelsOnlyWithTexts) {
  RequestValues numbers;
  numbers.config = {{"b", 1.0}};
  const std::string old_map = from_hex("2a0c 0a0162 11000000000000f03f");
  const std::string body = *encode(proto_codec(), numbers);
  EXPECT_NE(body.find(old_map), std::string::npos);
  EXPECT_EQ(body.find('\x3a'), std::string::npos);

  RequestValues mixed = numbers;
  mixed.config["id"] = std::string("x");
  const std::string both = *encode(proto_codec(), mixed);
  EXPECT_NE(both.find(old_map), std::string::npos);
  EXPECT_NE(both.find(from_hex("3a0e 0a0162 1209 09000000000000f03f")), std::string::npos);
  EXPECT_NE(both.find(from_hex("3a09 0a026964 1203 120178")), std::string::npos);
}

}  // namespace
}  // namespace tinkex::wire
