// Values as text: what `str` and `repr` of Python give.

#include <charconv>
#include <cmath>
#include <cstdlib>

#include "tinkex/tokenizers/jinja/text.h"
#include "tinkex/tokenizers/jinja/value.h"

namespace tinkex::jinja {
namespace {

std::string joined(Run& run, const ListData& list) {
  std::string out(1, list.tuple ? '(' : '[');
  for (std::size_t i = 0; i < list.items.size() && run.ok(); ++i) {
    if (i > 0) out += ", ";
    out += repr(run, list.items[i]);
  }
  if (list.tuple && list.items.size() == 1) out += ',';
  run.spend_text(out.size());
  return out += list.tuple ? ')' : ']';
}

std::string joined(Run& run, const DictData& dict) {
  std::string out = "{";
  for (std::size_t i = 0; i < dict.items.size() && run.ok(); ++i) {
    if (i > 0) out += ", ";
    out += repr(run, dict.items[i].first) + ": " + repr(run, dict.items[i].second);
  }
  run.spend_text(out.size());
  return out += '}';
}

}  // namespace

std::string real_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char digits[64];
  auto end = std::to_chars(digits, digits + sizeof(digits), value, std::chars_format::scientific);
  std::string scientific(digits, end.ptr);
  const int exponent = std::atoi(scientific.c_str() + scientific.find('e') + 1);
  if (exponent < -4 || exponent >= 16) return scientific;
  end = std::to_chars(digits, digits + sizeof(digits), value, std::chars_format::fixed);
  std::string fixed(digits, end.ptr);
  return fixed.find('.') == std::string::npos ? fixed + ".0" : fixed;
}

std::string to_text(Run& run, const Value& value) {
  if (value.is_undefined()) return "";
  if (const std::string* text = value.text()) {
    return run.spend_text(text->size()) ? *text : "";
  }
  return repr(run, value);
}

std::string repr(Run& run, const Value& value) {
  if (!run.spend(1)) return "";
  if (value.is_undefined()) return "Undefined";
  if (value.is_none()) return "None";
  if (const bool* flag = value.boolean()) return *flag ? "True" : "False";
  if (const auto whole = value.whole()) return std::to_string(*whole);
  if (const double* real = value.real()) return real_text(*real);
  if (const std::string* text = value.text()) {
    run.spend(text->size());
    return run.ok() ? quote(*text) : "";
  }
  if (const ListData* list = value.list()) return joined(run, *list);
  if (const DictData* dict = value.dict()) return joined(run, *dict);
  run.fail("a " + value.type_name() + " is no text");
  return "";
}

}  // namespace tinkex::jinja
