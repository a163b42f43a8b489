#include "tinkex/chat_template.h"

#include <ctime>
#include <limits>
#include <utility>
#include <vector>

#include "tinkex/base/text.h"
#include "tinkex/tokenizers/jinja/evaluator.h"
#include "tinkex/tokenizers/jinja/json_text.h"
#include "tinkex/tokenizers/jinja/parser.h"

namespace tinkex {
namespace {

using Json = nlohmann::ordered_json;
using jinja::Function;
using jinja::Run;
using jinja::Scope;
using jinja::Value;

/// Steps of a rendering, see Run::spend: some, and more for longer messages.
constexpr std::size_t kSteps = std::size_t{1} << 20;
constexpr std::size_t kStepsPerByte = 16;

std::chrono::local_seconds local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm time{};
  localtime_r(&now, &time);
  return std::chrono::local_seconds(std::chrono::seconds(now + time.tm_gmtoff));
}

Status check_messages(const Json& messages) {
  if (!messages.is_array()) {
    return invalid_argument("messages: expected an array of objects with role and content");
  }
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].is_object()) continue;
    return invalid_argument("messages[" + std::to_string(i) +
                            "]: expected an object with role and content, not " +
                            messages[i].type_name());
  }
  return ok_status();
}

/// As transformers passes them on.
Value messages_of(Run& input, const Json& messages) {
  std::vector<Value> found;
  for (const Json& message : messages) {
    std::vector<std::pair<Value, Value>> members;
    for (const auto& [name, value] : message.items()) {
      if (value.is_null()) continue;
      members.emplace_back(jinja::from_json(input, name), jinja::from_json(input, value));
    }
    found.push_back(Value::dict(input, std::move(members), /*unique=*/true));
  }
  return Value::list(input, std::move(found));
}

void add_functions(Scope& scope) {
  scope.set("raise_exception", Value::function(Function::kRaiseException));
  scope.set("strftime_now", Value::function(Function::kStrftimeNow));
  scope.set("namespace", Value::function(Function::kNamespace));
  scope.set("dict", Value::function(Function::kDict));
  scope.set("range", Value::function(Function::kRange));
}

}  // namespace

struct ChatTemplate::Program {
  jinja::Body body;
  std::string bos;
  std::string eos;
};

Result<ChatTemplate> ChatTemplate::parse(std::string_view text, const std::string& bos,
                                         const std::string& eos) {
  if (text.size() > kLongestText) {
    return invalid_argument("chat template: it has " + std::to_string(text.size()) +
                            " bytes, and may have " + std::to_string(kLongestText));
  }
  for (const std::string_view each : {text, std::string_view(bos), std::string_view(eos)}) {
    if (!internal::is_utf8(each)) return invalid_argument("chat template: it is not UTF-8");
  }
  Result<jinja::Body> body = jinja::parse(text);
  if (!body) return invalid_argument("chat template, " + body.error().message());
  return ChatTemplate(std::make_shared<const Program>(Program{*std::move(body), bos, eos}));
}

Result<std::string> ChatTemplate::render(const Json& messages, const ChatInputs& inputs) const {
  if (Status checked = check_messages(messages); !checked) return checked.error();
  if (!inputs.variables.is_object()) return invalid_argument("variables: expected an object");
  Scope scope;
  add_functions(scope);
  if (!program_->bos.empty()) scope.set("bos_token", Value::text(program_->bos));
  if (!program_->eos.empty()) scope.set("eos_token", Value::text(program_->eos));
  scope.set("tools", Value::none());
  scope.set("documents", Value::none());
  scope.set("add_generation_prompt", Value::boolean(inputs.add_generation_prompt));

  constexpr std::size_t kAll = std::numeric_limits<std::size_t>::max();
  Run input(kAll, /*line=*/0);
  scope.set("messages", messages_of(input, messages));
  for (const auto& [name, value] : inputs.variables.items()) {
    scope.set(name, jinja::from_json(input, value));
  }
  if (!input.ok()) return invalid_argument(input.error());

  Run run(kSteps + kStepsPerByte * (kAll - input.left()), /*line=*/1);
  scope.push();  // What the template sets hides its inputs.
  std::string text;
  jinja::render(run, program_->body, scope, inputs.now.value_or(local_time()), text);
  if (!run.ok()) return invalid_argument("chat template, " + run.error());
  return text;
}

}  // namespace tinkex
