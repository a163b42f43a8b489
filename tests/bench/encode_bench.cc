// Speed of the encoders as ratios: protobuf against memcpy of the same bytes in the same run, the
// checks before against protobuf, and JSON in numbers per second.

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <span>
#include <utility>
#include <vector>

#include "tests/bench/encoding.h"
#include "tests/bench/measurement.h"
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

// Each round times both, so that a noisy moment meets both; ratios are medians over the rounds.
void bench_protobuf(const std::vector<Datum>& data) {
  const auto chunks = bench::default_chunks(data);
  ByteBuffer body;
  const std::size_t bytes = bench::encode_all(wire::proto_codec(), chunks, body);
  bench::WireCopy copy(bytes, chunks.size());
  std::vector<double> encode_times, copy_times;
  for (int round = 0; round < kRounds; ++round) {
    copy_times.push_back(bench::seconds([&] { copy.run(); }));
    encode_times.push_back(
        bench::seconds([&] { bench::encode_all(wire::proto_codec(), chunks, body); }));
  }
  const double megabytes = static_cast<double>(bytes) / 1e6;
  std::printf("protobuf, %zu x %zu tokens, targets, weights: %.1f MB in %zu bodies\n", kDatums,
              kTokens, megabytes, chunks.size());
  std::printf("  encode  %7.2f ms  %6.2f GB/s\n", bench::median(encode_times) * 1e3,
              megabytes / 1e3 / bench::median(encode_times));
  std::printf("  memcpy  %7.2f ms  %6.2f GB/s\n", bench::median(copy_times) * 1e3,
              megabytes / 1e3 / bench::median(copy_times));
  std::printf("  ratio   %.2f of memcpy (goal: at least 0.50; from tensors: //tests/bench:ops)\n",
              bench::median_ratio(copy_times, encode_times));
}

// What every call checks before it encodes, against the encoding.
void bench_validation(const std::vector<Datum>& data) {
  const auto chunks = bench::default_chunks(data);
  ByteBuffer body;
  std::vector<double> check_times, encode_times;
  for (int round = 0; round < kRounds; ++round) {
    check_times.push_back(bench::seconds([&] {
      if (!validate(data, loss::kCrossEntropy, {}, {.vocabulary_size = 150'000}).ok()) std::exit(1);
    }));
    encode_times.push_back(
        bench::seconds([&] { bench::encode_all(wire::proto_codec(), chunks, body); }));
  }
  std::printf("checks    %7.2f ms  %.2f of the encoding as protobuf\n",
              bench::median(check_times) * 1e3, bench::median_ratio(check_times, encode_times));
}

void bench_json(const char* name, const TensorData& tensor, double goal) {
  const std::vector<Datum> data{{ModelInput(), {{"values", tensor}}}};
  const std::span<const Datum> chunks[] = {data};
  ByteBuffer body;
  bench::encode_all(wire::json_codec(), chunks, body);
  std::vector<double> encode_times, decode_times;
  for (int round = 0; round < kRounds; ++round) {
    encode_times.push_back(
        bench::seconds([&] { bench::encode_all(wire::json_codec(), chunks, body); }));
    decode_times.push_back(bench::seconds([&] {
      if (!wire::json_codec().decode_request(body.view(), false)) std::exit(1);
    }));
  }
  const double millions = static_cast<double>(tensor.size()) / 1e6;
  std::printf("JSON %-7s  encode %6.1f M/s (goal: at least %.0f)  decode %6.1f M/s\n", name,
              millions / bench::median(encode_times), goal, millions / bench::median(decode_times));
}

}  // namespace

int main() try {
  const std::vector<Datum> data = make_data();
  bench_protobuf(data);
  bench_validation(data);
  bench_json("int64", data[0].loss_fn_inputs[0].second, 80);
  bench_json("float32", data[0].loss_fn_inputs[1].second, 25);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
