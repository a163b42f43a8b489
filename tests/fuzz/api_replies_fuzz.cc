#include <chrono>
#include <optional>

#include "tests/fuzz/properties.h"
#include "tinkex/api/messages.h"

namespace {

using namespace tinkex;

template <class Parse>
void check(std::string_view body, Parse parse) {
  (void)fuzz::decode_within_bounds(body.size(), [&] { return parse(body); });
}

void check_models(std::string_view body) {
  const auto models =
      fuzz::decode_within_bounds(body.size(), [&] { return api::parse_supported_models(body); });
  if (!models.ok()) return;
  for (const SupportedModel& model : *models) {
    TINKEX_FUZZ_CHECK(!model.model_name.empty());
    TINKEX_FUZZ_CHECK(!model.max_context_length || *model.max_context_length > 0);
  }
}

void check_sampler_weights(std::string_view body) {
  const auto saved = fuzz::decode_within_bounds(
      body.size(), [&] { return api::parse_save_weights_for_sampler(body); });
  TINKEX_FUZZ_CHECK(!saved.ok() || saved->path || saved->sampling_session_id);
}

void check_config(std::string_view body) {
  const api::ServerConfig config = api::parse_client_config(body);
  TINKEX_FUZZ_CHECK(config.max_chunk_examples != std::size_t{0});
  TINKEX_FUZZ_CHECK(config.max_chunk_bytes != std::size_t{0});
  TINKEX_FUZZ_CHECK(config.max_result_bytes != std::size_t{0});
  const std::optional<api::DynamicConfig> dynamic = api::parse_dynamic_config(body);
  TINKEX_FUZZ_CHECK(!dynamic || dynamic->refresh_interval.count() > 0);
  TINKEX_FUZZ_CHECK(!dynamic || dynamic->refresh_interval <= std::chrono::hours(24));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view body = fuzz::text_of(data, size);
  check_config(body);
  check_models(body);
  check_sampler_weights(body);
  check(body, api::parse_session_id);
  check(body, api::parse_model_id);
  check(body, api::parse_model_info);
  check(body, api::parse_optim_step);
  check(body, api::parse_save_weights);
  check(body, api::parse_load_weights);
  check(body, api::parse_weights_info);
  check(body, api::parse_sampling_session_id);
  check(body, api::parse_sample_accepted);
  check(body, api::parse_request_id);
  // The id of a submission is what poll requests repeat; no id means that the reply is the result.
  const auto accepted = api::parse_sample_accepted(body);
  if (accepted.ok()) TINKEX_FUZZ_CHECK(api::parse_request_id(body).value() == accepted->request_id);
  return 0;
}
