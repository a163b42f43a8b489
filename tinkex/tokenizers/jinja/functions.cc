// What templates may call by name.

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <string_view>

#include "tinkex/base/text.h"
#include "tinkex/tokenizers/jinja/evaluator.h"

namespace tinkex::jinja {
namespace {

constexpr std::int64_t kLongestRange = 100'000;

Value refused(Run& run, const Arguments& arguments) {
  const auto bound = arguments.bind(run, "raise_exception", {"message"}, 1);
  if (!run.ok()) return {};
  return run.fail("the template refuses the messages: " + to_text(run, *bound[0]));
}

/// Of `{...}` if it is given, and `name=value`.
std::vector<std::pair<Value, Value>> members(Run& run, const Arguments& arguments) {
  std::vector<std::pair<Value, Value>> items;
  if (!arguments.plain.empty()) {
    const DictData* dict = arguments.plain[0].dict();
    if (dict == nullptr || arguments.plain.size() > 1) {
      run.fail("namespace and dict take names with values, or a dict");
      return {};
    }
    if (!run.spend(dict->items.size())) return {};
    items = dict->items;
  }
  for (const auto& [name, value] : arguments.named) items.emplace_back(Value::text(name), value);
  return items;
}

Value new_namespace(Run& run, const Arguments& arguments) {
  auto space = std::make_shared<NamespaceData>();
  for (auto& [name, value] : members(run, arguments)) {
    if (!run.spend(1)) return {};
    if (name.text() == nullptr || name.text()->starts_with('_') || !value.may_be_stored()) {
      return run.fail("a namespace has names without an underscore before them, and no namespaces");
    }
    if (!run.spend_text(name.text()->size()) ||
        !run.spend_names(space->items.size(), *name.text())) {
      return {};
    }
    space->set(*name.text(), std::move(value));
  }
  return Value::space(std::move(space));
}

Value range(Run& run, const Arguments& arguments) {
  const auto bound = arguments.bind(run, "range", {"start", "stop", "step"}, 1);
  const std::int64_t first = integer_of(run, bound[0], 0);
  const std::int64_t start = bound[1] ? first : 0;
  const std::int64_t stop = bound[1] ? integer_of(run, bound[1], 0) : first;
  const std::int64_t step = integer_of(run, bound[2], 1);
  if (step == 0) return run.fail("the step of a range is 0");
  std::vector<Value> items;
  for (std::int64_t at = start; run.ok() && (step > 0 ? at < stop : at > stop);) {
    if (static_cast<std::int64_t>(items.size()) == kLongestRange) {
      return run.fail("a range has more than 100000 numbers");
    }
    items.push_back(Value::integer(at));
    if (!run.spend(1) || __builtin_add_overflow(at, step, &at)) break;
  }
  return Value::list(run, std::move(items));
}

std::tm calendar(std::chrono::local_seconds now) {
  const auto day = std::chrono::floor<std::chrono::days>(now);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(now - day);
  const auto new_year = std::chrono::local_days(date.year() / std::chrono::January / 1);
  std::tm out{};
  out.tm_year = static_cast<int>(date.year()) - 1900;
  out.tm_mon = static_cast<int>(static_cast<unsigned>(date.month())) - 1;
  out.tm_mday = static_cast<int>(static_cast<unsigned>(date.day()));
  out.tm_hour = static_cast<int>(time.hours().count());
  out.tm_min = static_cast<int>(time.minutes().count());
  out.tm_sec = static_cast<int>(time.seconds().count());
  out.tm_wday = static_cast<int>(std::chrono::weekday(day).c_encoding());
  out.tm_yday = static_cast<int>((day - new_year).count());
  out.tm_isdst = -1;
  return out;
}

}  // namespace

Value Evaluator::strftime_now(const Arguments& arguments) {
  // Each is short, and means the same to every C library.
  constexpr std::string_view kConversions = "aAbBcdDeFHIjmMnpRStTuUwWxXyY%";
  constexpr std::size_t kLongestFormat = 200;
  const auto bound = arguments.bind(run_, "strftime_now", {"format"}, 1);
  if (!run_.ok()) return {};
  const std::string format = to_text(run_, *bound[0]);
  if (format.size() > kLongestFormat) return run_.fail("the format of a date is too long");
  const std::tm time = calendar(now_);
  std::string out;
  for (std::size_t at = 0; at < format.size(); ++at) {
    if (format[at] != '%') {
      out += format[at];
      continue;
    }
    if (++at == format.size() || kConversions.find(format[at]) == std::string_view::npos) {
      return run_.fail("no % of a date's format: " + internal::quoted(format, 40));
    }
    const char conversion[] = {'%', format[at], '\0'};
    char text[128];
    out.append(text, std::strftime(text, sizeof(text), conversion, &time));
  }
  return Value::text(std::move(out));
}

Value Evaluator::call_function(Function function, const Arguments& arguments) {
  switch (function) {
    case Function::kRaiseException: return refused(run_, arguments);
    case Function::kStrftimeNow: return strftime_now(arguments);
    case Function::kNamespace: return new_namespace(run_, arguments);
    case Function::kDict: {
      auto items = members(run_, arguments);
      return run_.ok() ? Value::dict(run_, std::move(items)) : Value();
    }
    case Function::kRange: return range(run_, arguments);
  }
  return {};
}

}  // namespace tinkex::jinja
