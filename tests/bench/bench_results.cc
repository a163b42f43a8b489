#include "tests/bench/bench_results.h"

#include <protozero/pbf_reader.hpp>
#include <stdexcept>
#include <utility>
#include <vector>

#include "tinkex/wire/codec.h"

namespace tinkex::bench {
namespace {

constexpr protozero::pbf_tag_type kDataField = 3;  // ForwardBackwardRequest.data

std::string text_of(const ByteBuffer& body, const Status& status) {
  if (!status.ok()) throw std::runtime_error(status.error().what());
  return std::string(body.view());
}

}  // namespace

std::string sample_result(std::size_t tokens) {
  SampledSequence sequence;
  for (std::size_t i = 0; i < tokens; ++i) {
    sequence.tokens.push_back(static_cast<std::int32_t>(1'000 + i));
    sequence.logprobs.push_back(-0.5f);
  }
  SampleResponse response;
  response.sequences.push_back(std::move(sequence));
  ByteBuffer body;
  const Status encoded = wire::proto_codec().encode_sample_response(response, body);
  return text_of(body, encoded);
}

std::string forward_backward_result(std::size_t datums, std::size_t tokens) {
  ForwardBackwardOutput output;
  output.loss_fn_output_type = "ArrayRecord";
  output.metrics = {{"loss:sum", 1.0}};
  for (std::size_t i = 0; i < datums; ++i) {
    output.loss_fn_outputs.push_back(
        {{"logprobs", TensorData::from(std::vector<float>(tokens, -0.5f))}});
  }
  ByteBuffer body;
  const Status encoded = wire::proto_codec().encode_output(output, body);
  return text_of(body, encoded);
}

std::size_t count_datums(std::string_view request) {
  std::size_t count = 0;
  try {
    protozero::pbf_reader fields(request.data(), request.size());
    while (fields.next()) {
      if (fields.tag() == kDataField) ++count;
      fields.skip();
    }
  } catch (const protozero::exception&) {
    return 0;
  }
  return count;
}

}  // namespace tinkex::bench
