#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "torch_ext/local/json_fields.h"
#include "torch_ext/local/sampler.h"

namespace tinkex::torch_ext::local {

/// The body of asample.
struct SampleCall {
  /// Absent: the request names its weights itself.
  std::optional<std::string> sampling_session_id;
  std::optional<std::int64_t> seq_id;
  SampleRequest request;

  /// What is wrong is left in `in`. Fields that this backend cannot honour are refused.
  static SampleCall read(JsonFields& in);
};

/// Id of the i-th sequence of a request.
std::string sample_sequence_id(const std::string& request_id, std::size_t i);

}  // namespace tinkex::torch_ext::local
