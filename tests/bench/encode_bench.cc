// Speed of the encoders as ratios: protobuf against memcpy of the same bytes in the same run, the
// checks before against protobuf, and JSON in numbers per second.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "tinkex/validate.h"
#include "tinkex/wire/codec.h"

namespace {

using namespace tinkex;

constexpr std::size_t kDatums = 128;
constexpr std::size_t kTokens = 32'768;
constexpr int kRounds = 15;

std::vector<Datum> make_data() {
  std::vector<Datum> data;
  for (std::size_t i = 0; i < kDatums; ++i) {
    std::vector<std::int64_t> tokens(kTokens);
    std::vector<float> weights(kTokens);
    for (std::size_t j = 0; j < kTokens; ++j) {
      tokens[j] = static_cast<std::int64_t>((i * kTokens + j) * 7919 % 150'000);
      weights[j] = static_cast<float>(tokens[j] % 1000) / 997.0f;
    }
    std::vector<std::int64_t> targets(tokens.begin() + 1, tokens.end());
    targets.push_back(1);
    data.push_back({ModelInput::from_tokens(std::move(tokens)),
                    {{"target_tokens", TensorData::from(std::move(targets))},
                     {"weights", TensorData::from(std::move(weights))}}});
  }
  return data;
}

// Index ranges by the default limits, as the client's chunker cuts them.
std::vector<std::span<const Datum>> make_chunks(const std::vector<Datum>& data) {
  const ChunkLimits limits;
  std::vector<std::span<const Datum>> chunks;
  std::size_t begin = 0;
  std::size_t numbers = 0;
  for (std::size_t i = 0; i < data.size(); ++i) {
    const std::size_t more = wire::count_numbers(data[i]);
    if (i > begin && (numbers + more > limits.max_numbers || i - begin == limits.max_examples)) {
      chunks.push_back(std::span(data).subspan(begin, i - begin));
      begin = i;
      numbers = 0;
    }
    numbers += more;
  }
  chunks.push_back(std::span(data).subspan(begin));
  return chunks;
}

double seconds(auto&& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::size_t encode_all(const wire::Codec& codec, std::span<const std::span<const Datum>> chunks,
                       ByteBuffer& body) {
  const LossConfig config;
  std::size_t bytes = 0;
  for (const std::span<const Datum> chunk : chunks) {
    const Status status =
        codec.encode_request({"model:train:0", chunk, loss::kCrossEntropy, config}, body);
    if (!status) {
      std::fprintf(stderr, "%s\n", status.error().what());
      std::exit(1);
    }
    codec.append_seq_id(1, body);
    bytes += body.size();
  }
  return bytes;
}

// What encoding costs at least: the wire's bytes moved once, from memory of their own (as the
// tensors are) to one recycled body.
struct Copy {
  std::vector<char> source;
  std::vector<char> target;

  void run(std::size_t body_bytes) {
    for (std::size_t at = 0; at < source.size(); at += body_bytes) {
      const std::size_t count = std::min(body_bytes, source.size() - at);
      std::memcpy(target.data(), source.data() + at, count);
      asm volatile("" : : "r"(target.data()) : "memory");
    }
  }
};

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

// Each round times both, so that a noisy moment meets both; ratios are medians over the rounds.
void bench_protobuf(const std::vector<Datum>& data) {
  const auto chunks = make_chunks(data);
  ByteBuffer body;
  const std::size_t bytes = encode_all(wire::proto_codec(), chunks, body);
  const std::size_t body_bytes = bytes / chunks.size() + 1;
  Copy copy{std::vector<char>(bytes, 'x'), std::vector<char>(body_bytes)};
  std::vector<double> encode_times, copy_times, ratios;
  for (int round = 0; round < kRounds; ++round) {
    copy_times.push_back(seconds([&] { copy.run(body_bytes); }));
    encode_times.push_back(seconds([&] { encode_all(wire::proto_codec(), chunks, body); }));
    ratios.push_back(copy_times.back() / encode_times.back());
  }
  const double megabytes = static_cast<double>(bytes) / 1e6;
  std::printf("protobuf, %zu x %zu tokens, targets, weights: %.1f MB in %zu bodies\n", kDatums,
              kTokens, megabytes, chunks.size());
  std::printf("  encode  %7.2f ms  %6.2f GB/s\n", median(encode_times) * 1e3,
              megabytes / 1e3 / median(encode_times));
  std::printf("  memcpy  %7.2f ms  %6.2f GB/s\n", median(copy_times) * 1e3,
              megabytes / 1e3 / median(copy_times));
  std::printf("  ratio   %.2f of memcpy (goal: at least 0.50)\n", median(ratios));
}

// What every call checks before it encodes, against the encoding.
void bench_validation(const std::vector<Datum>& data) {
  const auto chunks = make_chunks(data);
  ByteBuffer body;
  std::vector<double> check_times, ratios;
  for (int round = 0; round < kRounds; ++round) {
    check_times.push_back(seconds([&] {
      if (!validate(data, loss::kCrossEntropy, {}, {.vocabulary_size = 150'000}).ok()) std::exit(1);
    }));
    ratios.push_back(check_times.back() /
                     seconds([&] { encode_all(wire::proto_codec(), chunks, body); }));
  }
  std::printf("checks    %7.2f ms  %.2f of the encoding as protobuf\n", median(check_times) * 1e3,
              median(ratios));
}

void bench_json(const char* name, const TensorData& tensor) {
  const std::vector<Datum> data{{ModelInput(), {{"values", tensor}}}};
  const std::span<const Datum> chunks[] = {data};
  ByteBuffer body;
  encode_all(wire::json_codec(), chunks, body);
  std::vector<double> encode_times, decode_times;
  for (int round = 0; round < kRounds; ++round) {
    encode_times.push_back(seconds([&] { encode_all(wire::json_codec(), chunks, body); }));
    decode_times.push_back(seconds([&] {
      if (!wire::json_codec().decode_request(body.view(), false)) std::exit(1);
    }));
  }
  const double millions = static_cast<double>(tensor.size()) / 1e6;
  std::printf("JSON %-7s  encode %6.1f M/s  decode %6.1f M/s\n", name,
              millions / median(encode_times), millions / median(decode_times));
}

}  // namespace

int main() {
  const std::vector<Datum> data = make_data();
  bench_protobuf(data);
  bench_validation(data);
  bench_json("int64", data[0].loss_fn_inputs[0].second);
  bench_json("float32", data[0].loss_fn_inputs[1].second);
  return 0;
}
