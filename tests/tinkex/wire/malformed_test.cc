#include <functional>

#include "tests/tinkex/wire/wire_values.h"

namespace tinkex::wire {
namespace {

// Bodies with every message and field, to be damaged.

RequestValues rich_request(bool forward_only) {
  RequestValues values;
  values.forward_only = forward_only;
  values.config = {{"beta", 0.5}, {"id", std::string("text")}};
  values.data.push_back(text_datum(
      {1, 2, 300},
      {{"target_tokens", TensorData::from(std::vector<std::int64_t>{1, 2, 3, 4}, {2, 2})},
       {"weights", TensorData::sparse_csr(TensorData::from(std::vector<float>{1, 2}), {0, 1, 2},
                                          {0, 1}, {2, 2})
                       .value()}}));
  values.data[0].model_input.chunks.emplace_back(ImageChunk{"bytes", "png", 4});
  return values;
}

std::string rich_output(const Codec& codec) {
  ForwardBackwardOutput output;
  output.loss_fn_output_type = "a";
  output.metrics = {{"loss:sum", 1.0}};
  output.loss_fn_outputs = {
      {{"logprobs", TensorData::from(std::vector<float>{1, 2, 3, 4}, {2, 2})}},
      {{"logprobs", TensorData::from(std::vector<float>{5, 6}, {1, 2})}},
      {{"logprobs", TensorData::from(std::vector<std::int64_t>{5})}}};
  ByteBuffer body;
  EXPECT_TRUE(codec.encode_output(output, body));
  return std::string(body.view());
}

std::string rich_sample(const Codec& codec) {
  SampleResponse response;
  response.sequences = {{{1, 2}, {-1.0f, -2.0f}, StopReason::kLength, ""}};
  response.prompt_logprobs = {0.5f, 1.0f};
  response.topk_prompt_logprobs = {{}, {{1, -1.0f}, {2, -2.0f}}};
  response.prompt_cache_hit_tokens = 1;
  ByteBuffer body;
  EXPECT_TRUE(codec.encode_sample_response(response, body));
  return std::string(body.view());
}

using Decode = std::function<std::optional<Error>(std::string_view)>;

template <class T>
std::optional<Error> error_of(const Result<T>& result) {
  return result ? std::nullopt : std::optional<Error>(result.error());
}

struct Target {
  std::string body;
  Decode decode;
};

std::vector<Target> targets(const Codec& codec) {
  std::vector<Target> all;
  for (const bool forward_only : {false, true}) {
    all.push_back({*encode(codec, rich_request(forward_only)), [&codec, forward_only](auto body) {
                     return error_of(codec.decode_request(body, forward_only));
                   }});
  }
  all.push_back(
      {rich_output(codec), [&codec](auto b) { return error_of(codec.decode_output(b)); }});
  all.push_back({rich_sample(codec),
                 [&codec](auto body) { return error_of(codec.decode_sample_response(body)); }});
  return all;
}

// A copy of exactly that size on the heap, so that the address sanitizer sees one byte beyond.
std::optional<Error> decode_exact(const Target& target, std::string_view body) {
  const std::unique_ptr<char[]> copy(new char[body.size()]);
  std::copy(body.begin(), body.end(), copy.get());
  return target.decode({copy.get(), body.size()});
}

class MalformedTest : public testing::TestWithParam<WireFormat> {
 protected:
  const Codec& codec() const { return codec_for(GetParam()); }
};

TEST_P(MalformedTest, BodyCutAtEveryByteIsAnErrorOrAValue) {
  for (const Target& target : targets(codec())) {
    EXPECT_FALSE(decode_exact(target, target.body));
    for (std::size_t length = 0; length < target.body.size(); ++length) {
      const auto error = decode_exact(target, std::string_view(target.body).substr(0, length));
      if (error) {
        EXPECT_EQ(error->code(), ErrorCode::kDecode) << length;
        EXPECT_FALSE(error->message().empty());
      } else {
        EXPECT_EQ(GetParam(), WireFormat::kProtobuf) << "JSON cut at " << length << " was accepted";
      }
    }
  }
}

TEST_P(MalformedTest, BodyWithAnyByteChangedIsAnErrorOrAValue) {
  for (const Target& target : targets(codec())) {
    for (std::size_t at = 0; at < target.body.size(); ++at) {
      for (const int change : {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff}) {
        std::string body = target.body;
        body[at] = static_cast<char>(body[at] ^ change);
        const auto error = decode_exact(target, body);
        EXPECT_TRUE(!error || error->code() == ErrorCode::kDecode) << error->what();
      }
    }
  }
}

TEST_P(MalformedTest, NoiseIsAnErrorOrAValue) {
  std::uint64_t state = 12345;
  const auto next = [&state] {  // xorshift64
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
  };
  for (int round = 0; round < 3000; ++round) {
    std::string body(next() % 64, '\0');
    for (char& byte : body) byte = static_cast<char>(next() >> 32);
    for (const Target& target : targets(codec())) decode_exact(target, body);
  }
}

INSTANTIATE_TEST_SUITE_P(BothFormats, MalformedTest,
                         testing::Values(WireFormat::kJson, WireFormat::kProtobuf),
                         [](const auto& info) {
                           return info.param == WireFormat::kJson ? "Json" : "Protobuf";
                         });

// Pieces of hand-made protobuf.

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}
std::string nested(int field, const std::string& content) {
  return varint(static_cast<std::uint64_t>(field) << 3 | 2) + varint(content.size()) + content;
}
std::string number(int field, std::uint64_t value) {
  return varint(static_cast<std::uint64_t>(field) << 3) + varint(value);
}
std::string int64s(std::initializer_list<std::int64_t> values) {
  return std::string(reinterpret_cast<const char*>(values.begin()),
                     values.size() * sizeof(std::int64_t));
}
std::string packed(int field, std::initializer_list<std::int64_t> values) {
  std::string content;
  for (const std::int64_t value : values) content += varint(static_cast<std::uint64_t>(value));
  return nested(field, content);
}

std::string request_with_tensor(const std::string& tensor) {
  return nested(3, nested(2, nested(1, "w") + nested(2, tensor)));
}

std::string output_with_column(const std::string& column, const std::string& record_tail = "") {
  return nested(2, nested(2, nested(1, "l") + nested(2, column)) + record_tail);
}

struct Case {
  const char* name;
  std::string body;
  std::string_view expected;
};

void expect_refused(const Case& test, const std::optional<Error>& error) {
  SCOPED_TRACE(test.name);
  ASSERT_TRUE(error) << "was accepted";
  EXPECT_EQ(error->code(), ErrorCode::kDecode);
  EXPECT_NE(error->message().find(test.expected), std::string::npos) << error->message();
}

TEST(MalformedProtoTest, TensorsThatDoNotAddUpAreRefused) {
  const std::string one_float(4, '\0');
  const std::string float32 = number(3, 1);
  constexpr std::int64_t kLarge = std::int64_t{1} << 32;
  const Case cases[] = {
      {"no values", float32, "neither dense nor sparse"},
      {"no dtype", nested(1, one_float), "unknown dtype code 0"},
      {"unknown dtype", nested(1, one_float) + number(3, 99), "unknown dtype code 99"},
      {"half a float", nested(1, "abc") + float32, "3 bytes are no whole number of 4-byte"},
      {"shape too large", nested(1, one_float) + float32 + packed(4, {2}),
       "data[0].loss_fn_inputs['w']: shape [2] has 2 elements but the data holds 1"},
      {"shape overflows", nested(1, "") + float32 + packed(4, {kLarge, kLarge}),
       "impossible shape"},
      {"negative extent", nested(1, one_float) + float32 + packed(4, {-1}),
       "impossible shape [-1]"},
      {"negative twice", nested(1, one_float) + float32 + packed(4, {-1, -1}), "impossible shape"},
      {"17 dimensions", nested(1, one_float) + float32 + nested(4, std::string(17, '\1')),
       "more than 16 dimensions"},
      {"sparse without shape", nested(2, nested(1, one_float)) + float32, "shape of 2 dimensions"},
      {"sparse rows missing", nested(2, nested(1, one_float)) + float32 + packed(4, {1, 1}),
       "with 0 crow_indices, expected rows + 1"},
      {"sparse rows huge", nested(2, nested(1, one_float)) + float32 + packed(4, {INT64_MAX, 1}),
       "expected rows + 1"},
      {"sparse column outside",
       nested(2, nested(1, one_float) + nested(2, int64s({0, 1})) + nested(3, int64s({1}))) +
           float32 + packed(4, {1, 1}),
       "column 1 is outside [0, 1)"},
      {"sparse rows decrease",
       nested(2, nested(1, one_float) + nested(2, int64s({0, 2, 1})) + nested(3, int64s({0}))) +
           float32 + packed(4, {2, 1}),
       "crow_indices must not decrease"},
  };
  for (const Case& test : cases) {
    const auto request = proto_codec().decode_request(request_with_tensor(test.body), false);
    expect_refused(test, error_of(request));
  }
}

TEST(MalformedProtoTest, OutputsThatDoNotAddUpAreRefused) {
  const std::string data = nested(1, std::string(8, '\0'));
  const std::string float32 = number(3, 1);
  const auto offsets = [](std::initializer_list<std::int64_t> values) {
    return nested(2, int64s(values));
  };
  const Case cases[] = {
      {"first not 0", output_with_column(data + offsets({4, 8}) + float32), "begin with 0"},
      {"decreasing", output_with_column(data + offsets({0, 8, 4}) + float32), "offset 4 at 2"},
      {"negative", output_with_column(data + offsets({0, -4}) + float32), "offset -4 at 1"},
      {"outside", output_with_column(data + offsets({0, 12}) + float32), "within the 8 bytes"},
      {"far outside", output_with_column(data + offsets({0, INT64_MAX}) + float32), "within the 8"},
      {"inside an element", output_with_column(data + offsets({0, 6}) + float32), "multiples of 4"},
      {"half an offset", output_with_column(data + nested(2, "abcd") + float32), "8-byte elements"},
      {"unknown dtype", output_with_column(data + offsets({0, 8})), "unknown dtype code 0"},
      {"trailing shape does not divide",
       output_with_column(data + offsets({0, 8}) + float32 + packed(4, {3})),
       "2 elements cannot have trailing_shape [3]"},
      {"trailing shape 0", output_with_column(data + offsets({0, 8}) + float32 + packed(4, {0})),
       "cannot have trailing_shape [0]"},
      {"trailing shape overflows",
       output_with_column(data + offsets({0, 8}) + float32 +
                          packed(4, {std::int64_t{1} << 40, std::int64_t{1} << 40})),
       "impossible trailing_shape"},
      {"more datums than offsets",
       output_with_column(data + offsets({0, 8}) + float32, number(3, 1'000'000'000'000)),
       "num_datums is 1000000000000 but field 'l' has 2 offsets"},
      {"datums without offsets", output_with_column(data + float32, number(3, 1)), "0 offsets"},
      {"negative count", output_with_column(data + float32, number(3, ~std::uint64_t{0})),
       "num_datums is negative"},
      {"claim without data", nested(2, number(3, INT64_MAX)), "datums without any field"},
      {"claims without data", nested(2, number(3, 60'000)) + nested(2, number(3, 60'000)),
       "datums without any field"},
  };
  for (const Case& test : cases) {
    expect_refused(test, error_of(proto_codec().decode_output(test.body)));
  }
}

TEST(MalformedProtoTest, SamplesThatDoNotAddUpAreRefused) {
  const Case cases[] = {
      {"unknown stop", nested(1, number(1, 7)), "unknown stop_reason code 7"},
      {"half a token", nested(1, nested(2, "abc")), "sequence.tokens: 3 bytes"},
      {"logprobs missing",
       nested(1, nested(2, std::string(8, '\0')) + nested(3, std::string(4, '\0'))),
       "2 tokens but 1 logprobs"},
      {"table smaller than claimed",
       nested(3, nested(1, std::string(4, '\0')) + nested(2, std::string(4, '\0')) +
                     number(3, 0xffff'ffff) + number(4, 0xffff'ffff)),
       "4294967295 rows of 4294967295"},
      {"half a logprob", nested(2, "abcde"), "prompt_logprobs: 5 bytes"},
  };
  for (const Case& test : cases) {
    expect_refused(test, error_of(proto_codec().decode_sample_response(test.body)));
  }
}

TEST(MalformedProtoTest, ChunksThatMeanNothingAreRefused) {
  const std::string negative = "\xff\xff\xff\xff";
  const Case cases[] = {
      {"no chunk kind", nested(3, nested(1, "")), "chunks[0]: neither text nor image"},
      {"dmel", nested(3, nested(1, nested(3, ""))), "dmel input is not supported"},
      {"half a token", nested(3, nested(1, nested(1, nested(1, "abcde")))), "5 bytes"},
      {"negative token", nested(3, nested(1, nested(1, nested(1, negative)))),
       "token -1 at position 0 is negative"},
      {"text that is none", nested(1, "\xff"), "not valid UTF-8"},
      {"length beyond the end",
       "\x0a\x7f"
       "a",
       "its bytes are damaged"},
      {"varint without end", std::string(11, '\xff'), "its bytes are damaged"},
      {"group", "\x0b\x0c", "its bytes are damaged"},
  };
  for (const Case& test : cases) {
    expect_refused(test, error_of(proto_codec().decode_request(test.body, false)));
  }
}

// The gradient of the batch may be summed by then.
TEST(MalformedProtoTest, DamagedBytesAreSaidToBeThatWithoutAdviceToCallAgain) {
  EXPECT_EQ(proto_codec().decode_output("\x0a\x7f").error().message(),
            "its bytes are damaged, or break off: a part was lost on the way, or never sent");
}

TEST(MalformedProtoTest, UnknownFieldsAreSkippedAndTheLastOfEqualKeysCounts) {
  const auto tensor = [](char value) {
    return nested(1, "w") + nested(2, nested(1, std::string(4, value)) + number(3, 1));
  };
  const std::string body = nested(3, nested(2, tensor('\0')) + nested(2, tensor('\1')) +
                                         nested(3, "span") + number(9, 1)) +
                           nested(15, "new") + number(1, 5) + nested(2, "not a number");
  const Result<ForwardBackwardRequest> request = proto_codec().decode_request(body, false);
  ASSERT_TRUE(request) << request.error().what();
  EXPECT_EQ(request->model_id, "");
  EXPECT_EQ(request->seq_id, 0);
  ASSERT_EQ(request->data[0].loss_fn_inputs.size(), 1u);
  EXPECT_NE(request->data[0].loss_fn_inputs[0].second.to_floats()[0], 0.0f);
}

TEST(MalformedProtoTest, HostOfNamesIsRefused) {
  std::string datum;
  for (int i = 0; i < 300; ++i) {
    datum += nested(2, nested(1, std::to_string(i)) + nested(2, nested(1, "") + number(3, 1)));
  }
  const auto request = proto_codec().decode_request(nested(3, datum), false);
  ASSERT_FALSE(request);
  EXPECT_NE(request.error().message().find("more than 256 named tensors"), std::string::npos);
}

TEST(MalformedProtoTest, ANameThatWouldBeCopiedForEveryDatumIsRefusedWhenItIsLong) {
  const auto output = proto_codec().decode_output(
      nested(2, nested(2, nested(1, std::string(257, 'n')) + nested(2, number(3, 1)))));
  ASSERT_FALSE(output);
  EXPECT_NE(output.error().message().find("longer than 256 bytes"), std::string::npos);
}

TEST(MalformedJsonTest, RequestsThatMeanNothingAreRefusedWithThePlace) {
  const auto datum = [](const std::string& tensor) {
    return R"({"model_id":"m","forward_backward_input":{"loss_fn":"x","data":[{"model_input":)"
           R"({"chunks":[]},"loss_fn_inputs":{"w":)" +
           tensor + "}}]}}";
  };
  const auto chunk = [](const std::string& content) {
    return R"({"model_id":"m","forward_backward_input":{"loss_fn":"x","data":[{"model_input":)"
           R"({"chunks":[)" +
           content + "]}}]}}";
  };
  const Case cases[] = {
      {"no JSON", "<html>", "not valid JSON"},
      {"empty", "", "not valid JSON"},
      {"array", "[]", "the body: expected an object, got array"},
      {"no input", R"({"model_id":"m"})", "key 'forward_backward_input' is missing"},
      {"input null", R"({"model_id":"m","forward_backward_input":null})", "is missing"},
      {"id number", R"({"model_id":5,"forward_backward_input":{}})", "model_id: expected a string"},
      {"no dtype", datum(R"({"data":[1]})"), "data[0].loss_fn_inputs['w']: key 'dtype' is missing"},
      {"other dtype", datum(R"({"data":[1],"dtype":"int8"})"), "unknown dtype 'int8'"},
      {"null in ints", datum(R"({"data":[1,null],"dtype":"int64"})"),
       "data[0].loss_fn_inputs['w'].data[1]: expected an integer, got null"},
      {"fraction in ints", datum(R"({"data":[1.5],"dtype":"int64"})"), "1.5 is no 64-bit integer"},
      {"beyond int64", datum(R"({"data":[9223372036854775808],"dtype":"int64"})"), "no 64-bit"},
      {"text in floats", datum(R"({"data":["1"],"dtype":"float32"})"),
       "expected a number, got string"},
      {"NaN", datum(R"({"data":[NaN],"dtype":"float32"})"), "not valid JSON: it has NaN"},
      {"overflow", datum(R"({"data":[1e999],"dtype":"float32"})"), "too large"},
      {"shape", datum(R"({"data":[1],"dtype":"float32","shape":[2]})"), "has 2 elements but"},
      {"negative", datum(R"({"data":[1],"dtype":"float32","shape":[-1,-1]})"), "impossible shape"},
      {"half sparse",
       datum(R"({"data":[1],"dtype":"float32","shape":[1,1],"sparse_crow_indices":[0,1]})"),
       "must come together"},
      {"token", chunk(R"({"type":"encoded_text","tokens":[5,2147483648]})"),
       "data[0].model_input.chunks[0].tokens[1]: 2147483648 is outside [0, 2^31)"},
      {"negative token", chunk(R"({"type":"encoded_text","tokens":[-1]})"), "outside [0, 2^31)"},
      {"chunk type", chunk(R"({"type":"dmel","dmel":""})"), "unknown chunk type 'dmel'"},
      {"base64", chunk(R"({"type":"image","format":"png","data":"a"})"), "not valid base64"},
      {"UTF-8", "{\"model_id\":\"\xff\"}", "not valid JSON"},
  };
  for (const Case& test : cases) {
    expect_refused(test, error_of(json_codec().decode_request(test.body, false)));
  }
}

TEST(MalformedJsonTest, DeepNestingIsRefusedBeforeItIsBuilt) {
  const std::string deep = R"({"a":)" + std::string(10'000'000, '[');
  const auto output = json_codec().decode_output(deep);
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().message(), "JSON nested deeper than 64 levels");
}

TEST(MalformedJsonTest, BracketsInTextsAreNoNesting) {
  const std::string text(200, '[');
  const auto output = json_codec().decode_output(R"({"loss_fn_output_type":"\"\\)" + text +
                                                 R"(","loss_fn_outputs":[]})");
  ASSERT_TRUE(output) << output.error().what();
  EXPECT_EQ(output->loss_fn_output_type, "\"\\" + text);
}

TEST(MalformedJsonTest, ErrorIsShortHoweverLongTheBody) {
  const auto output = json_codec().decode_output("{\"" + std::string(1 << 20, 'x') + "\xff");
  ASSERT_FALSE(output);
  EXPECT_LT(output.error().message().size(), 300u);
  EXPECT_EQ(output.error().message().find('\xff'), std::string::npos) << "not UTF-8";
}

}  // namespace
}  // namespace tinkex::wire
