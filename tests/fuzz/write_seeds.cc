// Writes first inputs for the fuzzers: bodies of the project's own encoders, and replies as servers
// send them. `bazel run //tests/fuzz:write_seeds -- "$PWD/tests/fuzz/corpus"`.

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "tests/fuzz/chat_template_seeds.h"
#include "tests/fuzz/tokenizer_seeds.h"
#include "tests/torch_ext/local/gguf_writer.h"
#include "tinkex/wire/codec.h"

namespace tinkex::fuzz {
namespace {

using wire::Codec;

class Corpus {
 public:
  explicit Corpus(std::filesystem::path root) : root_(std::move(root)) {}

  void add(const std::string& target, const std::string& name, std::string_view bytes) const {
    std::filesystem::create_directories(root_ / target);
    std::ofstream(root_ / target / name, std::ios::binary) << bytes;
  }
  void add(const std::string& target, const std::string& name, const Status& status,
           const ByteBuffer& body) const {
    if (status.ok()) return add(target, name, body.view());
    std::cerr << target << "/" << name << ": " << status.error().what() << "\n";
  }

 private:
  const std::filesystem::path root_;
};

Datum text_datum(std::vector<std::int64_t> tokens, NamedTensors inputs) {
  return {ModelInput::from_tokens(std::move(tokens)), std::move(inputs)};
}

Datum sparse_datum() {
  auto targets = TensorData::sparse_csr(TensorData::from(std::vector<std::int64_t>{5, 6, 7}),
                                        {0, 1, 3}, {1, 0, 2}, {2, 3});
  return text_datum({1, 2}, {{"target_tokens", *std::move(targets)},
                             {"weights", TensorData::from(std::vector<float>(6, 0.5f), {2, 3})}});
}

Datum image_datum() {
  Datum datum;
  datum.model_input.chunks.emplace_back(EncodedTextChunk{TensorData::from(std::vector{1, 2})});
  datum.model_input.chunks.emplace_back(ImageChunk{std::string("\x89PNG\r\n\0", 7), "png", 3});
  datum.model_input.chunks.emplace_back(ImageChunk{"x", "jpeg", std::nullopt});
  return datum;
}

void add_requests(const Corpus& corpus, const Codec& codec, const std::string& target) {
  const auto add = [&](const std::string& name, const std::vector<Datum>& data,
                       const LossConfig& config, bool forward_only, std::int64_t seq_id) {
    ByteBuffer body;
    const wire::ForwardBackwardInput input{"model-1", data, "ppo", config, forward_only};
    const Status status = codec.encode_request(input, body);
    if (status.ok()) codec.append_seq_id(seq_id, body);
    corpus.add(target, name, status, body);
  };
  const Datum text = text_datum(
      {1, 2, 3}, {{"target_tokens", TensorData::from(std::vector<std::int64_t>{2, 3, 4})},
                  {"weights", TensorData::from(std::vector{1.0f, -0.0f, 0.25f})}});
  add("seed-empty", {}, {}, false, 0);
  add("seed-text", {text}, {}, false, 1);
  add("seed-forward", {text, text}, {{"clip", 0.2}}, true, (std::int64_t{1} << 53) + 1);
  add("seed-config", {}, {{"clip", 0.2}, {"mode", std::string("token")}}, false, 7);
  add("seed-sparse", {sparse_datum()}, {}, false, 2);
  add("seed-image", {image_datum()}, {}, false, 3);
  if (codec.format() != WireFormat::kJson) return;
  Datum pointer;
  pointer.model_input.chunks.emplace_back(ImageAssetPointerChunk{"s3://a", "png", 4});
  add("seed-pointer", {pointer}, {}, false, 4);
}

void add_results(const Corpus& corpus, const Codec& codec, const std::string& target) {
  ByteBuffer body;
  ForwardBackwardOutput output;
  output.loss_fn_output_type = "ArrayRecord";
  corpus.add(target, "seed-empty", codec.encode_output(output, body), body);
  for (const std::int64_t length : {3, 2, 0}) {
    output.loss_fn_outputs.push_back(
        {{"logprobs", TensorData::from(std::vector<float>(std::size_t(length), -0.5f))},
         {"ids",
          TensorData::from(std::vector<std::int64_t>(std::size_t(2 * length), 9), {length, 2})}});
  }
  output.metrics = {{"loss:sum", 1.5}, {"clock:unique", NAN}};
  corpus.add(target, "seed-output", codec.encode_output(output, body), body);

  SampleResponse samples;
  samples.sequences.push_back({{1, 2, 3}, {-0.1f, -0.2f, -0.3f}, StopReason::kStop, ""});
  samples.sequences.push_back({{4}, {}, StopReason::kLength, ""});
  corpus.add(target, "seed-sample", codec.encode_sample_response(samples, body), body);
  samples.prompt_logprobs = {NAN, -1.0f};
  samples.topk_prompt_logprobs = {{}, {{7, -0.5f}, {8, -1.5f}}};
  samples.prompt_cache_hit_tokens = 2;
  corpus.add(target, "seed-prompt", codec.encode_sample_response(samples, body), body);
}

const std::vector<std::string> kApiReplies = {
    R"({"session_id":"s-1","info_message":"hi"})",
    R"({"fwdbwd_max_chunk_len":128,"fwdbwd_max_chunk_bytes_count":5000000})",
    R"({"supported_models":[{"model_name":"a/b","max_context_length":32768},{"model_id":"c"},"d"]})",
    R"({"model_id":"m-1","status":"complete"})",
    R"({"model_id":"m","model_data":{"model_name":"a","tokenizer_id":"t","arch":"q"},"is_lora":true,"lora_rank":32.0})",
    R"({"metrics":{"grad_norm":0.5,"skipped":"x"}})",
    R"({"path":"tinker://m/weights/x"})",
    R"({"path":null,"sampling_session_id":"p-1"})",
    R"({"base_model":"a","lora_rank":8,"train_unembed":false,"train_mlp":true,"train_attn":true})",
    R"({"request_id":"r-1","sample_sequence_ids":["a",1,"b"]})",
};

const std::vector<std::string> kPollReplies = {
    "200\n\n{\"type\":\"try_again\",\"queue_state\":\"paused_capacity\"}",
    "200\n\n{\"status\":\"pending\",\"retry_after_ms\":250}",
    "200\n\n{\"status\":\"complete_metadata\",\"response_payload_size\":9}",
    "200\n\n{\"error\":\"bad\",\"category\":\"user\"}",
    "200\n\n{\"error\":{\"message\":\"x\",\"category\":\"server\"}}",
    "200\ncontent-type:application/x-protobuf\n\n\n\x04",
    "200\n\n{\"loss_fn_outputs\":[]}",
    "402\n\n{\"detail\":\"no credit\"}",
    "408\n\n{\"queue_state\":\"active\"}",
    "410\n\ngone",
    "422\n\n{\"detail\":[{\"loc\":[\"body\",\"data\",0],\"msg\":\"field required\"}]}",
    "429\nretry-after-ms:1500\nx-should-retry:false\n\n{\"retry_after_ms\":5}",
    "429\nretry-after:Sun, 06 Nov 2094 08:49:37 GMT\n\n",
    "503\nretry-after:2.5\n\n<html>tml-0123456789abcdef</html>",
    "500\nx-should-retry:true\n\n{\"error\":{\"message\":\"boom\"}}",
};

// Two bytes, how many follow the header, and the header.
const std::vector<std::string> kSafetensors = {
    std::string("\0\4", 2) + R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
    std::string("\0\6", 2) + R"({"__metadata__":{"format":"pt"},)" +
        R"("a":{"dtype":"BF16","shape":[2],"data_offsets":[2,6]},)" +
        R"("b":{"dtype":"U8","shape":[1,2],"data_offsets":[0,2]}})",
    std::string("\0\0", 2) + R"({"a":{"dtype":"BOOL","shape":[0],"data_offsets":[0,0]}})",
    std::string("\0\0", 2) + R"({"a":1,"a":2})",
    std::string("\0\0", 2) + "{}",
    std::string("\1\0", 2) + R"({"a":{"dtype":"F64","shape":[4,8],"data_offsets":[0,256]}})",
    std::string("\0\4", 2) + R"({"a":{"dtype":"F9","shape":[1],"data_offsets":[0,4]}})",
    std::string("\0\4", 2) + R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})",
    std::string("\0\x10", 2) +
        R"({"a":{"dtype":"F32","shape":[4611686018427387905,4],"data_offsets":[0,16]}})",
    std::string("\0\0", 2) + R"({"__metadata__":{"a":1}})",
    std::string("\0\0", 2) +
        R"({"a":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]})",
};

const std::vector<std::string> kSessionReplies = {
    R"(0{"cursor":3,"completions":[{"state":"finished","request_id":"a"}]})",
    R"(0{"cursor":3,"completions":[{"request_id":"c","response_payload_uncompressed_size":9}]})",
    R"(0{"cursor":18446744073709551615,"completions":null})",
    R"(0[])",
    R"(1{"detail":"no such call"})",
    std::string("3\0"
                R"(0{"completions":[{"request_id":"b"},{"request_id":"a"}]})",
                56),
    std::string("4\0"
                "4\0"
                "0{}",
                7),
    std::string("0{}\0"
                "0{}\0"
                "0{}",
                11),
    "2",
    "5",
    "",
};

const std::vector<std::string> kHttpReplies = {
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    "HTTP/1.1 100 Continue\r\nX: y\r\n\r\nHTTP/1.1 429 Too Many\r\nRetry-After: 3\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-A: b\r\n\r\n",
    "HTTP/1.0 503 Busy\r\nretry-after-ms: 10\r\nx-should-retry: true\r\n\r\nno",
    "HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n{",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}",
    "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/other\r\n\r\n",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 200\r\nA:\r\nB : c\r\n  folded\r\nno colon\r\n\r\n",
    std::string("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 22\r\n\r\n"
                "\x1f\x8b\x08\0\0\0\0\0\0\xff\xab\xae\x05\0\x43\xbf\xa6\xa3\x02\0\0\0",
                85),
    "SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP/2 200\r\n\r\n{}",
    "",
};

std::string chunk_of(int outputs, const std::vector<std::pair<std::string, double>>& metrics) {
  std::string bytes(1, static_cast<char>(outputs));
  for (const auto& [name, value] : metrics) {
    bytes.append(name).push_back('\0');
    char word[sizeof(value)];
    std::memcpy(word, &value, sizeof(value));
    bytes.append(word, sizeof(word));
  }
  bytes.push_back('\0');
  return bytes;
}

void add_metrics(const Corpus& corpus) {
  int number = 0;
  for (const char* reduction :
       {"mean", "sum", "min", "max", "slack", "unique", "hash_unordered", "hash2", "other", ""}) {
    const std::string name = std::string("a:") + reduction;
    const double value = std::ldexp(-1.5, number);
    corpus.add("metrics", "seed-" + std::to_string(number++),
               chunk_of(2, {{name, 3.0}, {"b:c:" + std::string(reduction), value}}) +
                   chunk_of(1, {{name, NAN}}) + chunk_of(0, {{name, 1e300}, {name + "_1", 2.0}}));
  }
}

void add_gguf(const Corpus& corpus) {
  using namespace torch_ext::local::testing;  // NOLINT(google-build-using-namespace)
  using torch_ext::local::GgufKind;
  const auto add = [&](const std::string& name, const GgufWriter& file) {
    corpus.add("gguf", "seed-" + name, file.bytes());
  };
  add("empty", GgufWriter());
  add("llama", tiny_llama());
  add("bias", tiny_llama().counting_tensor("blk.0.attn_q.bias", {8}));
  add("divisors", tiny_llama().counting_tensor("rope_freqs.weight", {2}));
  add("untied", tiny_llama().counting_tensor("output.weight", {5, 8}));
  add("types", GgufWriter()
                   .counting_tensor("a", {2, 3})
                   .tensor("b", {4}, 1, std::string(8, '\x3C'))
                   .tensor("c", {2, 32}, 2, std::string(36, '\x11'))
                   .tensor("d", {32}, 3, std::string(20, '\x22'))
                   .tensor("e", {32}, 8, std::string(34, '\x33'))
                   .tensor("f", {2}, 30, "abcd")
                   .tensor("g", {256}, 14, std::string(210, '\x44')));
  add("scalar", GgufWriter().tensor("s", {}, 0, raw(1.0F)));
  GgufWriter aligned;
  aligned.alignment = 8;
  add("aligned",
      aligned.uint32("general.alignment", 8).counting_tensor("a", {1}).counting_tensor("b", {1}));
  add("numbers", GgufWriter()
                     .value("a", GgufKind::kUint8, "x")
                     .value("b", GgufKind::kInt16, raw(std::int16_t{-2}))
                     .value("c", GgufKind::kBool, "\x01")
                     .value("d", GgufKind::kUint64, raw(~std::uint64_t{0}))
                     .value("e", GgufKind::kFloat64, raw(0.5))
                     .value("f", GgufKind::kInt8, "y"));
  add("arrays", GgufWriter()
                    .texts("tokenizer.ggml.tokens", {"a", "", "b c"})
                    .array("i", GgufKind::kInt32, 2, raw(std::vector<std::int32_t>{1, -1}))
                    .array("f", GgufKind::kFloat32, 1, raw(0.25F))
                    .array("n", GgufKind::kArray, 1, raw(std::uint32_t{0}) + raw(~0ULL)));
  add("nested", GgufWriter().array("n", GgufKind::kArray, 1,
                                   raw(std::uint32_t{8}) + raw(1ULL) + raw_text("x")));
  add("qwen", GgufWriter()
                  .text("general.architecture", "qwen3")
                  .text("qwen3.rope.scaling.type", "none")
                  .uint32("qwen3.block_count", 1));
}

void write_all(const Corpus& corpus) {
  add_requests(corpus, wire::proto_codec(), "proto_request");
  add_requests(corpus, wire::json_codec(), "json_request");
  add_results(corpus, wire::proto_codec(), "proto_results");
  add_results(corpus, wire::json_codec(), "json_results");
  add_metrics(corpus);
  add_gguf(corpus);
  const auto add_texts = [&corpus](const std::string& target,
                                   const std::vector<std::string>& texts) {
    for (std::size_t i = 0; i < texts.size(); ++i) {
      corpus.add(target, "seed-" + std::to_string(i), texts[i]);
    }
  };
  add_texts("api_replies", kApiReplies);
  add_texts("chat_template", chat_template_seeds());
  add_texts("poll_reply", kPollReplies);
  add_texts("http_response", kHttpReplies);
  add_texts("session_poll", kSessionReplies);
  add_texts("safetensors", kSafetensors);
  add_texts("tokenizer_gguf", tokenizer_gguf_seeds());
  add_texts("tokenizer_json", tokenizer_json_seeds());
  add_texts("tokenizer_pattern", tokenizer_pattern_seeds());
  add_texts("tokenizer_text", tokenizer_text_seeds());
}

}  // namespace
}  // namespace tinkex::fuzz

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: write_seeds CORPUS_FOLDER\n";
    return 2;
  }
  tinkex::fuzz::write_all(tinkex::fuzz::Corpus(argv[1]));
  return 0;
}
