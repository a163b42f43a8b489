#pragma once

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "tinkex/error.h"

namespace tinkex {

/// What a conversation is written with, beside its messages.
struct ChatInputs {
  /// Whether the text ends where the assistant is to begin.
  bool add_generation_prompt = false;
  /// Further variables that the template may read, as an object: `tools`, `documents`,
  /// `enable_thinking`. They win over those that a template always has.
  nlohmann::ordered_json variables = nlohmann::ordered_json::object();
  /// What the template's function strftime_now shows; nullopt: the time and the zone of this
  /// machine.
  std::optional<std::chrono::local_seconds> now = std::nullopt;
};

/// How a model wants a conversation to be written: a text of Jinja that comes with its files.
/// Gives what Hugging Face's `apply_chat_template` gives. Immutable and thread-safe; copies share.
///
/// It knows the part of Jinja that the templates of Llama 2 to 3.3, Qwen2 to Qwen3 and SmolLM2 use,
/// and more: if, for, set, break, continue; operators, slices and methods of Python's texts; the
/// common filters and tests. Macros, inheritance and imports are not among it.
///
/// Templates are code of strangers. They reach nothing but the messages, and a rendering takes no
/// more than about a second and 64 MiB, above what grows with the messages.
class ChatTemplate {
 public:
  static constexpr std::size_t kLongestText = std::size_t{256} << 10;  ///< Bytes.

  /// `bos` and `eos` are the texts of the tokens that begin and end a text, the template's
  /// `bos_token` and `eos_token`; an empty one is undefined there.
  /// Errors, with the line, are kInvalidArgument: a text that is no UTF-8, that is too long or
  /// nested too deeply, or a statement that is not known.
  static Result<ChatTemplate> parse(std::string_view text, const std::string& bos,
                                    const std::string& eos);

  /// The conversation as a text, in which special tokens are written out: what begins a text is
  /// there if the model wants it, so that Tokenizer::begin_of_text is not to be put before it.
  ///
  /// `messages` is an array of objects such as `{"role": "user", "content": "Hi"}`; members that
  /// are null count as absent. Bytes that are no UTF-8 become U+FFFD.
  /// Errors, with the line, are kInvalidArgument: messages that are none, or that the template
  /// refuses; what the template uses and is not known here; a limit that is reached.
  Result<std::string> render(const nlohmann::ordered_json& messages,
                             const ChatInputs& inputs = {}) const;

 private:
  struct Program;

  explicit ChatTemplate(std::shared_ptr<const Program> program) : program_(std::move(program)) {}

  std::shared_ptr<const Program> program_;
};

}  // namespace tinkex
