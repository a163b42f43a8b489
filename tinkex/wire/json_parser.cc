#include "tinkex/wire/json_parser.h"

#include <charconv>
#include <cstring>
#include <limits>
#include <string>
#include <system_error>
#include <utility>

#include "tinkex/base/json_problem.h"
#include "tinkex/wire/boundary.h"

namespace tinkex::wire::json {
namespace {

// Subtypes of the binary values.
constexpr std::uint64_t kIntegers = 1;
constexpr std::uint64_t kReals = 2;

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Reads one flat array of numbers. from_chars takes forms that JSON forbids (01, 1., inf), so the
/// grammar is checked here.
class NumberArray {
 public:
  /// The end of the array that begins at `begin`, or null if it holds anything else, nothing but
  /// nulls (which may stand for absent lists), or breaks off.
  const char* read(const char* begin, const char* end) {
    integers_.clear();
    reals_.clear();
    all_integers_ = true;
    any_number_ = false;
    at_ = begin + 1;
    end_ = end;
    skip_space();
    if (at_ != end_ && *at_ == ']') return at_ + 1;
    while (read_element()) {
      skip_space();
      if (at_ == end_) return nullptr;
      if (*at_ == ']') return any_number_ ? at_ + 1 : nullptr;
      if (*at_ != ',') return nullptr;
      ++at_;
      skip_space();
    }
    return nullptr;
  }

  Json::binary_t packed() const {
    return all_integers_ ? pack(integers_, kIntegers) : pack(reals_, kReals);
  }

 private:
  template <class T>
  static Json::binary_t pack(const std::vector<T>& values, std::uint64_t subtype) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(values.data());
    return {std::vector<std::uint8_t>(bytes, bytes + values.size() * sizeof(T)), subtype};
  }

  void skip_space() {
    while (at_ != end_ && is_space(*at_)) ++at_;
  }

  bool read_element() {
    if (end_ - at_ >= 4 && std::memcmp(at_, "null", 4) == 0) {
      at_ += 4;
      add_real(std::numeric_limits<double>::quiet_NaN());
      return true;
    }
    any_number_ = true;
    const char* const begin = at_;
    bool integer = true;
    if (!skip_number(integer)) return false;
    if (integer && all_integers_) {
      std::int64_t value = 0;
      if (std::from_chars(begin, at_, value).ec == std::errc()) {
        integers_.push_back(value);
        return true;
      }
    }
    double value = 0.0;
    if (std::from_chars(begin, at_, value).ec != std::errc()) return false;
    add_real(value);
    return true;
  }

  void add_real(double value) {
    if (all_integers_) reals_.assign(integers_.begin(), integers_.end());
    all_integers_ = false;
    reals_.push_back(value);
  }

  bool skip_digits() {
    const char* const begin = at_;
    while (at_ != end_ && is_digit(*at_)) ++at_;
    return at_ != begin;
  }

  bool skip_number(bool& integer) {
    if (at_ != end_ && *at_ == '-') ++at_;
    const bool leading_zero = at_ != end_ && *at_ == '0';
    const char* const digits = at_;
    if (!skip_digits() || (leading_zero && at_ - digits > 1)) return false;
    if (at_ != end_ && *at_ == '.') {
      integer = false;
      ++at_;
      if (!skip_digits()) return false;
    }
    if (at_ != end_ && (*at_ == 'e' || *at_ == 'E')) {
      integer = false;
      ++at_;
      if (at_ != end_ && (*at_ == '+' || *at_ == '-')) ++at_;
      return skip_digits();
    }
    return true;
  }

  const char* at_ = nullptr;
  const char* end_ = nullptr;
  bool all_integers_ = true;
  bool any_number_ = false;
  std::vector<std::int64_t> integers_;  // scratch, kept for the next array
  std::vector<double> reals_;
};

/// The text with each flat array replaced by `[]`, and these arrays in order. As the empty ones are
/// among them, every empty array of the envelope stands for one.
struct Split {
  std::string envelope;
  std::vector<Json::binary_t> arrays;
};

// The position after the string that begins at `at`.
const char* skip_string(const char* at, const char* end) {
  for (++at; at != end; ++at) {
    if (*at == '"') return at + 1;
    if (*at == '\\' && at + 1 != end) ++at;
  }
  return end;
}

void count_bracket(char c, std::size_t& depth) {
  if (c == '[' || c == '{') {
    if (++depth > kMaxDepth) {
      fail_decode("JSON nested deeper than " + std::to_string(kMaxDepth) + " levels");
    }
  } else if ((c == ']' || c == '}') && depth > 0) {
    --depth;
  }
}

Split split(std::string_view text) {
  Split parts;
  NumberArray numbers;
  std::size_t depth = 0;
  const char* at = text.data();
  const char* const end = at + text.size();
  const char* copied = at;
  while (at != end) {
    if (*at == '"') {
      at = skip_string(at, end);
      continue;
    }
    count_bracket(*at, depth);
    const char* const after = *at == '[' ? numbers.read(at, end) : nullptr;
    if (after == nullptr) {
      ++at;
      continue;
    }
    --depth;
    parts.envelope.append(copied, at).append("[]");
    parts.arrays.push_back(numbers.packed());
    at = copied = after;
  }
  parts.envelope.append(copied, end);
  return parts;
}

/// Builds the tree and puts the packed arrays in.
class TreeBuilder final : public nlohmann::json_sax<Json> {
 public:
  explicit TreeBuilder(std::vector<Json::binary_t> arrays) : arrays_(std::move(arrays)) {}

  Json take_root() { return std::move(root_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t& /*text*/) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t& /*value*/) override { return false; }
  bool start_object(std::size_t /*size*/) override { return open(Json::object()); }
  bool key(string_t& name) override {
    slot_ = &(*open_.back())[name];
    return true;
  }
  bool end_object() override { return close(); }
  bool start_array(std::size_t /*size*/) override { return open(Json::array()); }
  bool end_array() override {
    if (open_.back()->empty()) *open_.back() = std::move(arrays_.at(next_array_++));
    return close();
  }
  bool parse_error(std::size_t /*position*/, const std::string& /*token*/,
                   const nlohmann::detail::exception& /*error*/) override {
    return false;
  }

 private:
  Json* place(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (open_.back()->is_array()) return &open_.back()->emplace_back(std::move(value));
    *slot_ = std::move(value);
    return slot_;
  }
  bool add(Json value) {
    place(std::move(value));
    return true;
  }
  bool open(Json container) {
    open_.push_back(place(std::move(container)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  std::vector<Json::binary_t> arrays_;
  std::size_t next_array_ = 0;
  Json root_;
  std::vector<Json*> open_;
  Json* slot_ = nullptr;  // value of the object's latest key
};

// The envelope's positions are not the text's, so the text itself is read for the message.
[[noreturn]] void fail_syntax(std::string_view text) {
  fail_decode("not valid JSON: " + internal::json_problem(text));
}

template <class T>
std::vector<T> copy_packed(const Json& value) {
  const Json::binary_t& bytes = value.get_binary();
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  return values;
}

}  // namespace

Json parse(std::string_view text) {
  Split parts = split(text);
  TreeBuilder builder(std::move(parts.arrays));
  if (!Json::sax_parse(parts.envelope, &builder)) fail_syntax(text);
  return builder.take_root();
}

bool is_packed(const Json& value) noexcept { return value.is_binary(); }

bool is_packed_integers(const Json& value) noexcept {
  return value.is_binary() && value.get_binary().subtype() == kIntegers;
}

std::size_t packed_count(const Json& value) noexcept {
  return value.get_binary().size() / sizeof(double);
}

std::vector<std::int64_t> unpack_integers(const Json& value) {
  return copy_packed<std::int64_t>(value);
}

std::vector<double> unpack_reals(const Json& value) {
  if (!is_packed_integers(value)) return copy_packed<double>(value);
  const std::vector<std::int64_t> integers = unpack_integers(value);
  return {integers.begin(), integers.end()};
}

}  // namespace tinkex::wire::json
