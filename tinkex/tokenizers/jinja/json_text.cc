#include "tinkex/tokenizers/jinja/json_text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>

#include "tinkex/tokenizers/jinja/text.h"
#include "tinkex/tokenizers/utf8.h"

namespace tinkex::jinja {
namespace {

using Json = nlohmann::ordered_json;

/// Its texts are those of the arguments, which may be long.
struct Style {
  bool ascii = false;
  bool sorted = false;
  std::optional<std::string_view> indent;
  std::string_view between_items = ", ";
  std::string_view after_key = ": ";
};

using Member = std::pair<Value, Value>;

constexpr std::size_t kWidestIndent = 64;
constexpr std::array<char, kWidestIndent> kSpaces = [] {
  std::array<char, kWidestIndent> spaces{};
  spaces.fill(' ');
  return spaces;
}();
constexpr int kDeepestInput = 60;  ///< Less than a value may be: a template adds to it.

template <class Key>
void sort_by(std::vector<Member>& items, const Key& key) {
  std::stable_sort(items.begin(), items.end(),
                   [&](const Member& a, const Member& b) { return key(a) < key(b); });
}

/// In the order of the keys as Python has it, which compares no texts with numbers. What compares
/// must not spend: an order that changes halfway makes the sort leave its bounds.
std::vector<Member> sorted(Run& run, std::vector<Member> items) {
  const auto all_are = [&](const auto& fits) {
    return std::all_of(items.begin(), items.end(),
                       [&](const Member& item) { return fits(item.first); });
  };
  if (items.size() < 2) return items;
  if (all_are([](const Value& key) { return key.text() != nullptr; })) {
    sort_by(items, [](const Member& item) { return std::string_view(*item.first.text()); });
  } else if (all_are([](const Value& key) { return key.number() && !std::isnan(*key.number()); })) {
    sort_by(items, [](const Member& item) { return *item.first.number(); });
  } else {
    run.fail("the keys of a dict have no order");
  }
  return items;
}

class JsonWriter {
 public:
  JsonWriter(Run& run, const Style& style) : run_(run), style_(style) {}

  void write(const Value& value) {
    if (!run_.spend(2)) return;
    if (value.text() != nullptr) return string(*value.text());
    if (value.list() != nullptr) return list(value.list()->items);
    if (value.dict() != nullptr) return dict(value.dict()->items);
    add(scalar(value));
  }
  std::string take() && { return std::move(out_); }

 private:
  void add(std::string_view text) {
    if (run_.spend_text(text.size())) out_ += text;
  }

  std::string scalar(const Value& value) {
    if (value.is_none()) return "null";
    if (const bool* flag = value.boolean()) return *flag ? "true" : "false";
    if (const auto whole = value.whole()) return std::to_string(*whole);
    if (const double* real = value.real()) {
      if (std::isnan(*real)) return "NaN";
      return std::isinf(*real) ? (*real < 0 ? "-Infinity" : "Infinity") : real_text(*real);
    }
    run_.fail(value.is_undefined() ? value.why_undefined() : "no JSON of a " + value.type_name());
    return "";
  }

  void line() {
    if (!style_.indent) return;
    add("\n");
    for (int i = 0; i < level_; ++i) add(*style_.indent);
  }

  template <class Items, class Write>
  void container(const char* brackets, const Items& items, const Write& write_one) {
    add({brackets, 1});
    ++level_;
    for (std::size_t i = 0; i < items.size() && run_.ok(); ++i) {
      if (i > 0) add(style_.between_items);
      line();
      write_one(items[i]);
    }
    --level_;
    if (!items.empty()) line();
    add({brackets + 1, 1});
  }

  void list(const std::vector<Value>& items) {
    container("[]", items, [&](const Value& item) { write(item); });
  }

  void dict(const std::vector<Member>& items) {
    if (!style_.sorted) return members(items);
    if (run_.spend(items.size() * 16)) members(sorted(run_, items));
  }

  void members(const std::vector<Member>& items) {
    container("{}", items, [&](const Member& item) {
      string(item.first.text() != nullptr ? *item.first.text() : scalar(item.first));
      add(style_.after_key);
      write(item.second);
    });
  }

  void string(std::string_view text) {
    if (!run_.spend(text.size())) return;
    out_ += '"';
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t begin = at;
      const char32_t code_point = tokenizers::next_code_point(text, at);
      if (code_point == '"' || code_point == '\\' || code_point < 0x20) {
        escape(code_point);
      } else if (style_.ascii && code_point > 0x7E) {
        code_units(code_point);
      } else {
        out_ += text.substr(begin, at - begin);
      }
    }
    out_ += '"';
  }

  void escape(char32_t code_point) {
    constexpr std::string_view kNamed = "\"\\\b\f\n\r\t";
    const std::size_t at = kNamed.find(static_cast<char>(code_point));
    if (at == std::string_view::npos) return code_units(code_point);
    out_ += '\\';
    out_ += "\"\\bfnrt"[at];
  }

  void code_units(char32_t code_point) {
    if (code_point == 0x7F) {
      out_ += '\x7F';
      return;
    }
    if (code_point >= 0x10000) {
      code_units(0xD800 + ((code_point - 0x10000) >> 10));
      code_point = 0xDC00 + ((code_point - 0x10000) & 0x3FF);
    }
    char unit[8];
    std::snprintf(unit, sizeof(unit), "\\u%04x", static_cast<unsigned>(code_point));
    out_ += unit;
  }

  Run& run_;
  const Style style_;
  int level_ = 0;
  std::string out_;
};

void take_indent(Run& run, const Value& value, Style& style) {
  if (value.is_none()) return;
  if (value.text() != nullptr) {
    style.indent = *value.text();
  } else {
    constexpr auto kWidest = static_cast<std::int64_t>(kWidestIndent);
    const std::int64_t width = integer_of(run, value, 0);
    if (width > kWidest) run.fail("the indent of tojson is above 64");
    style.indent = std::string_view(
        kSpaces.data(), static_cast<std::size_t>(std::clamp<std::int64_t>(width, 0, kWidest)));
  }
  style.between_items = ",";
}

void take_separators(Run& run, const Value& value, Style& style) {
  if (value.is_none()) return;
  const ListData* list = value.list();
  if (list == nullptr || list->items.size() != 2 || list->items[0].text() == nullptr ||
      list->items[1].text() == nullptr) {
    run.fail("the separators of tojson are not two texts");
    return;
  }
  style.between_items = *list->items[0].text();
  style.after_key = *list->items[1].text();
}

Value text_from(Run& run, const std::string& text) {
  run.spend(text.size());
  return Value::text(tokenizers::lossy_utf8(text));
}

Value from_json(Run& run, const Json& json, int level) {
  run.spend(16);
  if (level > kDeepestInput) return run.fail("the messages are nested too deeply");
  if (json.is_object()) {
    std::vector<std::pair<Value, Value>> items;
    for (const auto& [key, value] : json.items()) {
      items.emplace_back(text_from(run, key), from_json(run, value, level + 1));
    }
    return Value::dict(run, std::move(items), /*unique=*/true);
  }
  if (json.is_array()) {
    std::vector<Value> items;
    for (const Json& value : json) items.push_back(from_json(run, value, level + 1));
    return Value::list(run, std::move(items));
  }
  if (json.is_string()) return text_from(run, json.get_ref<const std::string&>());
  if (json.is_boolean()) return Value::boolean(json.get<bool>());
  if (json.is_number_float()) return Value::real(json.get<double>());
  if (!json.is_number()) return Value::none();
  if (json.is_number_unsigned() &&
      json.get<std::uint64_t>() > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
    return run.fail("a number does not fit into 64 bits");
  }
  return Value::integer(json.get<std::int64_t>());
}

}  // namespace

Value to_json(Run& run, const Value& value, const Arguments& arguments) {
  const auto bound =
      arguments.bind(run, "tojson", {"ensure_ascii", "indent", "separators", "sort_keys"});
  Style style;
  style.ascii = bound[0] && bound[0]->is_true();
  style.sorted = bound[3] && bound[3]->is_true();
  if (bound[1]) take_indent(run, *bound[1], style);
  if (bound[2]) take_separators(run, *bound[2], style);
  if (!run.ok()) return {};
  JsonWriter writer(run, style);
  writer.write(value);
  return run.ok() ? Value::text(std::move(writer).take()) : Value();
}

Value from_json(Run& run, const Json& json) { return from_json(run, json, 1); }

}  // namespace tinkex::jinja
