// Google's own protobuf as a second reader and writer of the same bytes.

#include <algorithm>
#include <limits>
#include <random>

#include "tests/tinkex/wire/tinker_public.pb.h"
#include "tests/tinkex/wire/wire_values.h"

namespace tinkex::wire {
namespace {

namespace pb = tinker_public;

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

std::string bytes_of(const TensorData& tensor) {
  return {reinterpret_cast<const char*>(tensor.data()), tensor.size_bytes()};
}

void expect_shape(const google::protobuf::RepeatedField<std::int64_t>& actual,
                  const std::vector<std::int64_t>& expected) {
  EXPECT_EQ(std::vector<std::int64_t>(actual.begin(), actual.end()), expected);
}

pb::ForwardBackwardRequest parse_request(const RequestValues& values, std::int64_t seq_id) {
  const Result<std::string> body = encode(proto_codec(), values, seq_id);
  pb::ForwardBackwardRequest request;
  EXPECT_TRUE(body && request.ParseFromString(*body));
  return request;
}

TEST(LibprotobufReadsTest, RequestWithEveryField) {
  RequestValues values;
  values.forward_only = true;
  values.loss_fn = "ppo";
  values.config = {{"clip", 0.25}, {"id", std::string("text")}};
  const TensorData targets = TensorData::from(std::vector<std::int64_t>{6, 7, -100, 8}, {2, 2});
  const TensorData weights =
      TensorData::sparse_csr(TensorData::from(std::vector<float>{0.5f, 2.0f}), {0, 1, 2}, {2, 0},
                             {2, 3})
          .value();
  values.data.push_back(
      text_datum({5, 2147483647}, {{"target_tokens", targets}, {"weights", weights}}));
  values.data[0].model_input.chunks.emplace_back(ImageChunk{std::string("\0\xff", 2), "png", 0});
  values.data.push_back(text_datum({}));

  const pb::ForwardBackwardRequest request = parse_request(values, 2147483647);
  EXPECT_EQ(request.model_id(), "model-1");
  EXPECT_EQ(request.seq_id(), 2147483647);
  EXPECT_EQ(request.loss_fn(), "ppo");
  EXPECT_TRUE(request.forward_only());
  EXPECT_EQ(request.loss_fn_config().size(), 1u);
  EXPECT_EQ(request.loss_fn_config().at("clip"), 0.25);
  EXPECT_EQ(request.loss_fn_config_v2().at("clip").number(), 0.25);
  EXPECT_EQ(request.loss_fn_config_v2().at("id").text(), "text");
  ASSERT_EQ(request.data_size(), 2);
  const pb::Datum& datum = request.data(0);
  ASSERT_EQ(datum.model_input_size(), 2);
  EXPECT_EQ(datum.model_input(0).encoded_text().tokens(),
            bytes_of(std::vector<std::int32_t>{5, 2147483647}));
  EXPECT_EQ(datum.model_input(1).image().data(), std::string("\0\xff", 2));
  EXPECT_EQ(datum.model_input(1).image().format(), "png");
  EXPECT_TRUE(datum.model_input(1).image().has_expected_tokens());
  const pb::Tensor& dense = datum.loss_fn_inputs().at("target_tokens");
  EXPECT_EQ(dense.dtype(), pb::DTYPE_INT64);
  EXPECT_EQ(dense.dense(), bytes_of(targets));
  expect_shape(dense.shape(), {2, 2});
  const pb::Tensor& sparse = datum.loss_fn_inputs().at("weights");
  EXPECT_EQ(sparse.dtype(), pb::DTYPE_FLOAT32);
  EXPECT_EQ(sparse.sparse_csr().values(), bytes_of(weights));
  EXPECT_EQ(sparse.sparse_csr().crow_indices(), bytes_of(std::vector<std::int64_t>{0, 1, 2}));
  EXPECT_EQ(sparse.sparse_csr().col_indices(), bytes_of(std::vector<std::int64_t>{2, 0}));
  expect_shape(sparse.shape(), {2, 3});
  EXPECT_EQ(request.data(1).model_input(0).chunk_case(), pb::Chunk::kEncodedText);
}

TEST(LibprotobufReadsTest, OutputInRecordsOfOneShapeEach) {
  ForwardBackwardOutput output;
  output.loss_fn_output_type = "cross_entropy";
  output.metrics = {{"loss:sum", -1.5}};
  const auto datum = [](std::vector<float> values, std::vector<std::int64_t> shape) {
    return NamedTensors{{"logprobs", TensorData::from(std::move(values), shape)}};
  };
  output.loss_fn_outputs = {datum({1, 2, 3}, {3}), datum({4}, {1}), datum({5, 6}, {1, 2})};
  ByteBuffer body;
  ASSERT_TRUE(proto_codec().encode_output(output, body));
  pb::ForwardBackwardOutput parsed;
  ASSERT_TRUE(parsed.ParseFromArray(body.data(), static_cast<int>(body.size())));
  EXPECT_EQ(parsed.loss_fn_output_type(), "cross_entropy");
  EXPECT_EQ(parsed.metrics().at("loss:sum"), -1.5);
  ASSERT_EQ(parsed.loss_fn_outputs_size(), 2);
  EXPECT_EQ(parsed.loss_fn_outputs(0).num_datums(), 2);
  const pb::BatchedTensor& first = parsed.loss_fn_outputs(0).fields().at("logprobs");
  EXPECT_EQ(first.data(), bytes_of(std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(first.offsets(), bytes_of(std::vector<std::int64_t>{0, 12, 16}));
  EXPECT_EQ(first.dtype(), pb::DTYPE_FLOAT32);
  EXPECT_EQ(first.trailing_shape_size(), 0);
  expect_shape(parsed.loss_fn_outputs(1).fields().at("logprobs").trailing_shape(), {2});
}

TEST(LibprotobufReadsTest, SampleWithEveryField) {
  SampleResponse response;
  response.sequences = {{{1, 2}, {-0.5f, -1.0f}, StopReason::kLength, ""},
                        {{3}, {}, StopReason::kStop, ""}};
  response.prompt_logprobs = {std::numeric_limits<float>::quiet_NaN(), -1.0f};
  response.topk_prompt_logprobs = {{}, {{7, -0.5f}, {8, -1.5f}}, {{9, -0.25f}}};
  response.prompt_cache_hit_tokens = 5;
  ByteBuffer body;
  ASSERT_TRUE(proto_codec().encode_sample_response(response, body));
  pb::SampleResponse parsed;
  ASSERT_TRUE(parsed.ParseFromArray(body.data(), static_cast<int>(body.size())));
  ASSERT_EQ(parsed.sequences_size(), 2);
  EXPECT_EQ(parsed.sequences(0).stop_reason(), pb::STOP_REASON_LENGTH);
  EXPECT_EQ(parsed.sequences(0).tokens(), bytes_of(response.sequences[0].tokens));
  EXPECT_EQ(parsed.sequences(0).logprobs(), bytes_of(response.sequences[0].logprobs));
  EXPECT_EQ(parsed.sequences(1).stop_reason(), pb::STOP_REASON_STOP);
  EXPECT_FALSE(parsed.sequences(1).has_logprobs());
  EXPECT_EQ(parsed.prompt_logprobs(), bytes_of(response.prompt_logprobs));
  EXPECT_EQ(parsed.prompt_cache_hit_tokens(), 5);
  const pb::TopkLogprobs& table = parsed.topk_prompt_logprobs();
  EXPECT_EQ(table.k(), 2u);
  EXPECT_EQ(table.length(), 3u);
  EXPECT_EQ(table.token_ids(), bytes_of(std::vector<std::int32_t>{0, 0, 7, 8, 9, 0}));
  EXPECT_EQ(table.logprobs(),
            bytes_of(std::vector<float>{-99999.0f, -99999.0f, -0.5f, -1.5f, -0.25f, -99999.0f}));
}

TEST(LibprotobufWritesTest, RequestIsReadWithNewFieldsSkipped) {
  pb::ForwardBackwardRequest request;
  request.set_model_id("m");
  request.set_seq_id(9);
  request.set_loss_fn("dro");
  request.set_forward_only(true);
  (*request.mutable_loss_fn_config())["beta"] = 1.0;
  (*request.mutable_loss_fn_config_v2())["beta"].set_number(2.0);
  (*request.mutable_loss_fn_config_v2())["id"].set_text("x");
  pb::Datum& datum = *request.add_data();
  datum.add_model_input()->mutable_encoded_text()->set_tokens(
      bytes_of(std::vector<std::int32_t>{1, 2}));
  pb::ImageChunk& image = *datum.add_model_input()->mutable_image();
  image.set_data("abc");
  image.mutable_override_dimensions()->set_width(3);
  datum.add_model_input_spans()->mutable_sampled_tokens()->set_sequence_id("s");
  pb::Tensor& half = (*datum.mutable_loss_fn_inputs())["weights"];
  half.set_dense(bytes_of(std::vector<std::uint16_t>{0x3f80, 0xc040}));
  half.set_dtype(pb::DTYPE_BFLOAT16);
  pb::Tensor& narrow = (*datum.mutable_loss_fn_inputs())["target_tokens"];
  narrow.set_dense(bytes_of(std::vector<std::int32_t>{3, -4}));
  narrow.set_dtype(pb::DTYPE_INT32);
  narrow.add_shape(2);
  narrow.add_shape(1);

  const auto decoded = proto_codec().decode_request(request.SerializeAsString(), false);
  ASSERT_TRUE(decoded) << decoded.error().what();
  EXPECT_EQ(decoded->model_id, "m");
  EXPECT_EQ(decoded->seq_id, 9);
  EXPECT_EQ(decoded->loss_fn, "dro");
  EXPECT_TRUE(decoded->forward_only);
  EXPECT_EQ(decoded->loss_fn_config, (LossConfig{{"beta", 2.0}, {"id", std::string("x")}}));
  const Datum& first = decoded->data.at(0);
  EXPECT_EQ(first.model_input.text_tokens(), (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(std::get<ImageChunk>(first.model_input.chunks.at(1)).data, "abc");
  expect_same(*find(first.loss_fn_inputs, "weights"),
              TensorData::from(std::vector<float>{1.0f, -3.0f}));
  expect_same(*find(first.loss_fn_inputs, "target_tokens"),
              TensorData::from(std::vector<std::int64_t>{3, -4}, {2, 1}));
}

TEST(LibprotobufWritesTest, SeveralRecordsAreJoinedInOrder) {
  pb::ForwardBackwardOutput output;
  output.set_loss_fn_output_type("tinker:ArrayRecord");
  const auto add = [&output](const std::vector<float>& values, std::int64_t trailing) {
    pb::ArrayRecord& record = *output.add_loss_fn_outputs();
    record.set_type_tag("tag");
    record.set_num_datums(1);
    pb::BatchedTensor& tensor = (*record.mutable_fields())["logprobs"];
    tensor.set_data(bytes_of(values));
    tensor.set_offsets(
        bytes_of(std::vector<std::int64_t>{0, static_cast<std::int64_t>(values.size() * 4)}));
    tensor.set_dtype(pb::DTYPE_FLOAT32);
    if (trailing > 0) tensor.add_trailing_shape(trailing);
  };
  add({1, 2}, 0);
  add({3, 4, 5, 6}, 2);
  const auto decoded = proto_codec().decode_output(output.SerializeAsString());
  ASSERT_TRUE(decoded) << decoded.error().what();
  EXPECT_EQ(decoded->loss_fn_output_type, "ArrayRecord");
  ASSERT_EQ(decoded->loss_fn_outputs.size(), 2u);
  expect_same(*find(decoded->loss_fn_outputs[0], "logprobs"),
              TensorData::from(std::vector<float>{1, 2}));
  expect_same(*find(decoded->loss_fn_outputs[1], "logprobs"),
              TensorData::from(std::vector<float>{3, 4, 5, 6}, {2, 2}));
}

TEST(LibprotobufWritesTest, SampleIsRead) {
  pb::SampleResponse response;
  pb::SampledSequence& sequence = *response.add_sequences();
  sequence.set_tokens(bytes_of(std::vector<std::int32_t>{4, 5}));
  sequence.set_logprobs(bytes_of(std::vector<float>{-1.0f, -2.0f}));
  sequence.mutable_topk_sampled_logprobs()->set_k(1);
  response.set_prompt_logprobs("");
  response.mutable_topk_prompt_logprobs()->set_length(3);
  response.mutable_target_prompt_logprobs()->set_dense("abcd");
  response.set_prompt_cache_hit_tokens(1);
  const auto decoded = proto_codec().decode_sample_response(response.SerializeAsString());
  ASSERT_TRUE(decoded) << decoded.error().what();
  EXPECT_EQ(decoded->sequences.at(0).tokens, (std::vector<std::int32_t>{4, 5}));
  EXPECT_EQ(decoded->sequences.at(0).logprobs, (std::vector<float>{-1.0f, -2.0f}));
  EXPECT_EQ(decoded->sequences.at(0).stop_reason, StopReason::kStop);
  EXPECT_TRUE(decoded->prompt_logprobs.empty());
  EXPECT_TRUE(decoded->topk_prompt_logprobs.empty());
  EXPECT_EQ(decoded->prompt_cache_hit_tokens, 1);
}

// Arbitrary requests: libprotobuf must read and write again what we wrote, and we must read that.
RequestValues random_request(std::mt19937& random) {
  const auto below = [&random](int limit) {
    return static_cast<int>(random() % static_cast<unsigned>(limit));
  };
  RequestValues values;
  values.forward_only = below(2) == 0;
  for (int i = below(4); i > 0; --i)
    values.config[std::string(static_cast<std::size_t>(i) * 40, 'k')] = below(100) / 7.0;
  for (int i = below(5); i > 0; --i) {
    Datum datum;
    for (int j = below(3); j > 0; --j) {
      std::vector<std::int64_t> tokens(static_cast<std::size_t>(below(400)));
      for (auto& token : tokens) token = static_cast<std::int64_t>(random() >> 1);
      datum.model_input.chunks.emplace_back(EncodedTextChunk{TensorData::from(std::move(tokens))});
    }
    for (int j = below(4); j > 0; --j) {
      const int rows = below(20);
      std::vector<float> floats(static_cast<std::size_t>(rows) * 3);
      for (auto& value : floats) value = static_cast<float>(below(1000)) / 3.0f;
      datum.loss_fn_inputs.emplace_back("input" + std::to_string(j),
                                        TensorData::from(std::move(floats), {rows, 3}));
    }
    values.data.push_back(std::move(datum));
  }
  return values;
}

TEST(LibprotobufBothWaysTest, AnyRequestSurvivesTheDetour) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    const RequestValues values = random_request(random);
    const pb::ForwardBackwardRequest parsed = parse_request(values, round + 1);
    const auto decoded = proto_codec().decode_request(parsed.SerializeAsString(), false);
    ASSERT_TRUE(decoded) << decoded.error().what();
    EXPECT_EQ(decoded->seq_id, round + 1);
    EXPECT_EQ(decoded->forward_only, values.forward_only);
    EXPECT_EQ(decoded->loss_fn_config, values.config);
    ASSERT_EQ(decoded->data.size(), values.data.size());
    for (std::size_t i = 0; i < values.data.size(); ++i) {
      const Datum& expected = values.data[i];
      const Datum& actual = decoded->data[i];
      EXPECT_EQ(actual.model_input.chunks.size(), expected.model_input.chunks.size());
      EXPECT_EQ(actual.model_input.text_tokens(), expected.model_input.text_tokens());
      ASSERT_EQ(actual.loss_fn_inputs.size(), expected.loss_fn_inputs.size());
      for (const auto& [name, tensor] : expected.loss_fn_inputs) {
        expect_same(*find(actual.loss_fn_inputs, name), tensor);
      }
    }
  }
}

}  // namespace
}  // namespace tinkex::wire
