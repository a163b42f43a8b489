#include "tinkex/tokenizers/streaming_decoder.h"

#include <utility>

#include "tinkex/tokenizers/bpe_tokenizer.h"
#include "tinkex/tokenizers/utf8.h"

namespace tinkex::tokenizers {

std::string StreamingDecoder::push(std::int64_t token) {
  if (skip_special_tokens_ && tokenizer_->is_special(token)) return {};
  held_ += tokenizer_->bytes_of(token);
  const std::size_t ready = held_.size() - incomplete_tail(held_);
  std::string text = lossy_utf8(std::string_view(held_).substr(0, ready));
  held_.erase(0, ready);
  return text;
}

std::string StreamingDecoder::finish() { return lossy_utf8(std::exchange(held_, {})); }

}  // namespace tinkex::tokenizers
