#include "torch_ext/local/stop_rules.h"

#include <algorithm>
#include <span>
#include <utility>

#include "torch_ext/local/refusal.h"

namespace tinkex::torch_ext::local {
Result<StopRules> StopRules::create(const std::optional<std::vector<SamplingParams::Stop>>& stop,
                                    const ModelConfig& model) {
  StopRules rules;
  // An empty list switches every stop off; anything else keeps the model's own.
  if (!stop || !stop->empty()) rules.tokens_ = model.eos_token_ids;
  if (!stop) return rules;
  for (const SamplingParams::Stop& each : *stop) {
    if (const auto* token = std::get_if<std::int64_t>(&each)) {
      if (*token < 0 || *token >= model.vocab_size) {
        return refuse("stop: token " + std::to_string(*token) + " is outside the vocabulary of " +
                      std::to_string(model.vocab_size) + " tokens of '" + model.name + "'");
      }
      rules.tokens_.push_back(*token);
      continue;
    }
    const std::string& text = std::get<std::string>(each);
    rules.longest_ = std::max(rules.longest_, text.size());
    rules.texts_.push_back(text);
  }
  return rules;
}

bool StopRules::stops(std::int64_t token, const Tokenizer& tokenizer, std::string& tail) const {
  if (std::find(tokens_.begin(), tokens_.end(), token) != tokens_.end()) return true;
  if (texts_.empty()) return false;
  tail += tokenizer.decode(std::span(&token, 1));
  for (const std::string& text : texts_) {
    if (tail.find(text) != std::string::npos) return true;
  }
  // A match that the next token completes can reach back this far.
  if (tail.size() >= longest_) tail.erase(0, tail.size() - (longest_ - 1));
  return false;
}

}  // namespace tinkex::torch_ext::local
