#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tinkex/error.h"
#include "tinkex/params.h"
#include "tinkex/tokenizer.h"
#include "torch_ext/local/config.h"

namespace tinkex::torch_ext::local {

/// What ends a sequence. Immutable; each sequence brings its own tail.
class StopRules {
 public:
  /// `stop` of valid SamplingParams. A token beyond the vocabulary is refused.
  static Result<StopRules> create(const std::optional<std::vector<SamplingParams::Stop>>& stop,
                                  const ModelConfig& model);

  /// Whether `token` ends the sequence whose last bytes are `tail`; updates the tail. Texts are
  /// matched by bytes, so that a match may begin and end inside a token.
  bool stops(std::int64_t token, const Tokenizer& tokenizer, std::string& tail) const;

 private:
  std::vector<std::int64_t> tokens_;
  std::vector<std::string> texts_;
  std::size_t longest_ = 0;
};

}  // namespace tinkex::torch_ext::local
