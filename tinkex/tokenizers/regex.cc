#include "tinkex/tokenizers/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <new>
#include <utility>

#include "tinkex/base/text.h"
#include "tinkex/tokenizers/regex_translation.h"

namespace tinkex::tokenizers {
namespace {

constexpr std::uint32_t kMaxHeapKib = 64 * 1024;

template <class T>
T* or_bad_alloc(T* pointer) {
  if (pointer == nullptr) throw std::bad_alloc();
  return pointer;
}

Error compile_error(std::string_view pattern, int code) {
  std::array<unsigned char, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return {ErrorCode::kIo, "the pattern " + internal::quoted(pattern, 200) +
                              " cannot be used: " + reinterpret_cast<const char*>(text.data())};
}

struct FreeContext {
  void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
};

}  // namespace

RegexScratch::RegexScratch()
    : data_(or_bad_alloc(pcre2_match_data_create(1, nullptr))),
      context_(pcre2_match_context_create(nullptr)) {
  if (context_ == nullptr) {
    pcre2_match_data_free(data_);
    throw std::bad_alloc();
  }
  pcre2_set_heap_limit(context_, kMaxHeapKib);
  // PCRE2's own limit begins anew at every place of the text and does not see how far a repetition
  // goes: a text of n bytes could take n * n steps, and any number of calls as many each.
  pcre2_set_match_limit(context_, UINT32_MAX);
  pcre2_set_callout(context_, count, &steps_);
}

RegexScratch::~RegexScratch() {
  pcre2_match_context_free(context_);
  pcre2_match_data_free(data_);
}

int RegexScratch::count(pcre2_callout_block* block, void* steps) {
  Steps& count = *static_cast<Steps*>(steps);
  const std::size_t from = std::exchange(count.position, block->current_position);
  const std::size_t taken = 1 + std::max(from, count.position) - std::min(from, count.position);
  const bool enough = taken <= count.left;
  count.left -= enough ? taken : count.left;
  return enough ? 0 : PCRE2_ERROR_CALLOUT;
}

Result<Regex> Regex::from_file_pattern(std::string_view pattern, Steps steps) {
  const Result<std::string> translated = translate_regex(pattern);
  if (!translated) return translated.error();
  return compile(*translated, steps);
}

Result<Regex> Regex::from_literal(std::string_view text) {
  return compile(literal_regex(text), Steps::kCounted);
}

Result<Regex> Regex::compile(std::string_view pattern, Steps steps) {
  const std::unique_ptr<pcre2_compile_context, FreeContext> context(
      or_bad_alloc(pcre2_compile_context_create(nullptr)));
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  const std::uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C |
                                (steps == Steps::kCounted ? PCRE2_AUTO_CALLOUT : 0);
  int code = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                       options, &code, &offset, context.get());
  if (compiled == nullptr) return compile_error(pattern, code);
  std::shared_ptr<const pcre2_code> owner(
      compiled, [](const pcre2_code* each) { pcre2_code_free(const_cast<pcre2_code*>(each)); });
  // Where machine code cannot be made, it is interpreted.
  pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
  return Regex(std::move(owner));
}

Regex::Outcome Regex::find(std::string_view text, std::size_t from, RegexScratch& scratch,
                           Match& match) const {
  scratch.steps_.position = from;
  const auto run = [&](std::uint32_t options) {
    return pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                       PCRE2_NO_UTF_CHECK | options, scratch.data_, scratch.context_);
  };
  int found = run(0);
  // Machine code has a small stack; the interpreter may take kMaxHeapKib.
  if (found == PCRE2_ERROR_JIT_STACKLIMIT) found = run(PCRE2_NO_JIT);
  if (found == PCRE2_ERROR_NOMATCH) return Outcome::kNone;
  if (found < 0) return Outcome::kGaveUp;
  const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(scratch.data_);
  match = {offsets[0], offsets[1]};
  return Outcome::kMatch;
}

}  // namespace tinkex::tokenizers
