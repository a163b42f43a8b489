#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <utility>

#include "tinkex/base/token_id.h"
#include "torch_ext/data.h"
#include "torch_ext/tensor_convert.h"

namespace tinkex::torch_ext {
namespace {

std::string at_index(const char* name, std::size_t i) {
  return std::string(name) + "[" + std::to_string(i) + "]";
}

/// A vector as a tensor, without a copy.
template <class T>
at::Tensor as_tensor(std::vector<T> values) {
  auto kept = std::make_shared<std::vector<T>>(std::move(values));
  return at::from_blob(
      kept->data(), {static_cast<std::int64_t>(kept->size())}, [kept](void*) {},
      c10::CppTypeToScalarType<T>::value);
}

Status check_counts(std::size_t tokens, std::size_t weights) {
  if (tokens == 0) return invalid_argument("tokens is empty, expected at least one sequence");
  if (weights == 0 || weights == tokens) return ok_status();
  return invalid_argument("weights has " + std::to_string(weights) + " sequences but tokens has " +
                          std::to_string(tokens) + "; give one for each, or none at all");
}

Status check_sequence(std::span<const std::int64_t> tokens, std::span<const float> weights,
                      std::size_t i) {
  if (tokens.size() < 2) {
    return invalid_argument(at_index("tokens", i) + " has " + std::to_string(tokens.size()) +
                            " token ids, expected at least 2: one to read and one to predict");
  }
  for (std::size_t j = 0; j < tokens.size(); ++j) {
    if (internal::is_token_id(tokens[j])) continue;
    return invalid_argument(at_index("tokens", i) + "[" + std::to_string(j) + "] is " +
                            std::to_string(tokens[j]) + ", expected a token id from 0 to " +
                            std::to_string(internal::kTokenLimit - 1));
  }
  if (weights.size() != tokens.size()) {
    return invalid_argument(at_index("weights", i) + " has " + std::to_string(weights.size()) +
                            " elements but " + at_index("tokens", i) + " has " +
                            std::to_string(tokens.size()) + "; give one for each token");
  }
  for (std::size_t j = 0; j < weights.size(); ++j) {
    if (std::isfinite(weights[j])) continue;
    return invalid_argument(at_index("weights", i) + "[" + std::to_string(j) + "] is " +
                            std::to_string(weights[j]) + ", expected a finite number");
  }
  return ok_status();
}

/// A 1-D tensor on the CPU in the dtype of `T`.
template <class T>
std::vector<T> values_of(const at::Tensor& tensor) {
  const at::Tensor dense =
      tensor.to(at::kCPU, c10::CppTypeToScalarType<T>::value).contiguous().resolve_neg();
  const T* data = dense.data_ptr<T>();
  return std::vector<T>(data, data + dense.numel());
}

Result<std::vector<float>> weights_of(const at::Tensor& weights, std::size_t i) {
  if (Status checked = check_no_gradient(weights, {"weights", i}); !checked) {
    return std::move(checked).error();
  }
  const Result<TensorData> data = borrow(weights, {"weights", i});
  if (!data) return data.error();
  if (data->is_sparse() || data->shape().size() != 1) {
    return invalid_argument(at_index("weights", i) + " has " +
                            std::to_string(data->shape().size()) +
                            " dimensions, expected a dense tensor of one");
  }
  return values_of<float>(weights);
}

/// Never null.
ChatTemplateResult template_of(const Tokenizer& tokenizer) {
  ChatTemplateResult chat = tokenizer.chat_template();
  if (!chat || *chat != nullptr) return chat;
  return invalid_argument(
      "field 'messages' needs a chat template, and the tokenizer has none; set "
      "TextOptions::chat_template, load the tokenizer from its model's folder, or give \"prompt\" "
      "and \"completion\"");
}

}  // namespace

/// Collects sequences behind one another.
class TokenDataset::Builder {
 public:
  /// Weights belong to targets, so the first token's is dropped: also where sequences are packed.
  void append(std::span<const std::int64_t> tokens, std::span<const float> weights) {
    const std::size_t first = tokens_.size();
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
    weights_.insert(weights_.end(), weights.begin(), weights.end());
    weights_[first] = 0;
    bounds_.push_back(static_cast<std::int64_t>(tokens_.size()));
  }

  /// At most `max_tokens` of a text; one without anything to learn from is left out.
  void append_text(const TokenizedText& text, std::size_t max_tokens) {
    const bool cut = max_tokens > 0 && text.tokens.size() > max_tokens;
    const std::size_t size = cut ? max_tokens : text.tokens.size();
    const std::span<const float> weights(text.weights.data(), size);
    if (cut) ++cut_;
    if (size < 2 || !teaches(weights)) {
      ++dropped_;
    } else {
      append({text.tokens.data(), size}, weights);
    }
  }

  bool empty() const { return bounds_.size() == 1; }
  bool teaches() const { return teaches(weights_); }

  TokenDataset finish() {
    TokenDataset dataset;
    dataset.tokens_ = as_tensor(std::move(tokens_));
    dataset.weights_ = as_tensor(std::move(weights_));
    dataset.bounds_ = std::make_shared<const Bounds>(std::move(bounds_));
    dataset.cut_ = cut_;
    dataset.dropped_ = dropped_;
    return dataset;
  }

 private:
  static bool teaches(std::span<const float> weights) {
    return std::any_of(weights.begin() + 1, weights.end(), [](float w) { return w != 0; });
  }

  std::vector<std::int64_t> tokens_;
  std::vector<float> weights_;
  Bounds bounds_{0};
  std::size_t cut_ = 0;
  std::size_t dropped_ = 0;
};

Result<TokenDataset> TokenDataset::from_tokens(const std::vector<std::vector<std::int64_t>>& tokens,
                                               const std::vector<std::vector<float>>& weights) {
  if (Status counts = check_counts(tokens.size(), weights.size()); !counts)
    return std::move(counts).error();
  Builder builder;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::vector<float> of_sequence =
        weights.empty() ? std::vector<float>(tokens[i].size(), 1.0F) : weights[i];
    if (Status good = check_sequence(tokens[i], of_sequence, i); !good) {
      return std::move(good).error();
    }
    builder.append(tokens[i], of_sequence);
  }
  if (!builder.teaches()) {
    return invalid_argument(
        "weights are 0 for every token behind the first, expected some that is learned");
  }
  return builder.finish();
}

Result<TokenDataset> TokenDataset::from_tensors(const std::vector<at::Tensor>& tokens,
                                                const std::vector<at::Tensor>& weights) {
  if (Status counts = check_counts(tokens.size(), weights.size()); !counts)
    return std::move(counts).error();
  std::vector<std::vector<std::int64_t>> ids;
  std::vector<std::vector<float>> factors;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (auto good = borrow_prompt(tokens[i], {"tokens", i}); !good) return std::move(good).error();
    ids.push_back(values_of<std::int64_t>(tokens[i]));
    if (weights.empty()) continue;
    Result<std::vector<float>> of_sequence = weights_of(weights[i], i);
    if (!of_sequence) return std::move(of_sequence).error();
    factors.push_back(*std::move(of_sequence));
  }
  return from_tokens(ids, factors);
}

Result<TokenDataset> TokenDataset::from_jsonl(const std::filesystem::path& file,
                                              const Tokenizer& tokenizer,
                                              const TextOptions& options) {
  Builder builder;
  std::shared_ptr<const ChatTemplate> chat = options.chat_template;
  const auto add = [&](const TextExample& example) -> Status {
    const Result<TokenizedText> text = tokenize(example, tokenizer);
    if (!text) return text.error();
    builder.append_text(*text, options.max_tokens);
    return ok_status();
  };
  const auto take = [&](const TextExample& example) -> Status {
    if (example.dialogue.empty()) return add(example);
    if (chat == nullptr) {
      ChatTemplateResult own = template_of(tokenizer);
      if (!own) return std::move(own).error();
      chat = *std::move(own);
    }
    const Result<std::vector<TextExample>> written = write_dialogue(*chat, example.dialogue);
    if (!written) return written.error();
    for (const TextExample& each : *written) {
      if (Status added = add(each); !added) return added;
    }
    return ok_status();
  };
  if (Status read = for_each_example(file, take, options.reading); !read) {
    return std::move(read).error();
  }
  if (builder.empty()) {
    return invalid_argument(file.string() + ": no example has anything to learn from within " +
                            "max_tokens, which is " + std::to_string(options.max_tokens) +
                            "; raise it or shorten the examples");
  }
  return builder.finish();
}

Result<TokenDataset> TokenDataset::packed(std::size_t max_tokens) const {
  if (max_tokens == 0) {
    return invalid_argument(
        "max_tokens is 0, expected at least 1, as there is no packing without a limit");
  }
  const Bounds& bounds = *bounds_;
  Bounds packs{0};
  for (std::size_t i = 0; i + 1 < bounds.size(); ++i) {
    const auto most = static_cast<std::uint64_t>(max_tokens);
    const auto length = static_cast<std::uint64_t>(bounds[i + 1] - bounds[i]);
    if (length > most) {
      return invalid_argument("example " + std::to_string(i) + " has " + std::to_string(length) +
                              " tokens, expected at most max_tokens, which is " +
                              std::to_string(max_tokens) + "; cut it, or pack into longer ones");
    }
    if (static_cast<std::uint64_t>(bounds[i + 1] - packs.back()) > most) packs.push_back(bounds[i]);
  }
  packs.push_back(bounds.back());
  TokenDataset dataset = *this;
  dataset.bounds_ = std::make_shared<const Bounds>(std::move(packs));
  return dataset;
}

TokenExample TokenDataset::get(std::size_t index) {
  const std::size_t count = bounds_->size() - 1;
  if (index >= count) {
    throw invalid_argument("example " + std::to_string(index) + " was asked for, but there are " +
                           std::to_string(count) + "; make the sampler with the dataset's size()");
  }
  const std::int64_t begin = (*bounds_)[index];
  const std::int64_t length = (*bounds_)[index + 1] - begin;
  return {tokens_.narrow(0, begin, length), weights_.narrow(0, begin, length)};
}

Optional<std::size_t> TokenDataset::size() const { return bounds_->size() - 1; }

std::int64_t TokenDataset::token_count() const { return bounds_->back(); }

std::int64_t TokenDataset::longest() const {
  std::int64_t longest = 0;
  for (std::size_t i = 0; i + 1 < bounds_->size(); ++i) {
    longest = std::max(longest, (*bounds_)[i + 1] - (*bounds_)[i]);
  }
  return longest;
}

}  // namespace tinkex::torch_ext
