#include "tinkex/base/json_problem.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace tinkex::internal {
namespace {

using nlohmann::json;

constexpr int kOutOfRange = 406;  // of nlohmann's exceptions

/// Reads for the error alone.
class ProblemFinder final : public nlohmann::json_sax<json> {
 public:
  explicit ProblemFinder(std::string_view text) : text_(text) {}

  std::string problem;

  bool null() override { return true; }
  bool boolean(bool /*value*/) override { return true; }
  bool number_integer(number_integer_t /*value*/) override { return true; }
  bool number_unsigned(number_unsigned_t /*value*/) override { return true; }
  bool number_float(number_float_t /*value*/, const string_t& /*text*/) override { return true; }
  bool string(string_t& /*value*/) override { return true; }
  bool binary(binary_t& /*value*/) override { return true; }
  bool start_object(std::size_t /*size*/) override { return true; }
  bool key(string_t& /*name*/) override { return true; }
  bool end_object() override { return true; }
  bool start_array(std::size_t /*size*/) override { return true; }
  bool end_array() override { return true; }
  /// `position` counts the bytes that were read, the end as one.
  bool parse_error(std::size_t position, const std::string& /*token*/,
                   const nlohmann::detail::exception& error) override {
    if (error.id == kOutOfRange) {
      problem = "the number that ends at byte " + std::to_string(position) + " is too large";
    } else if (position > text_.size()) {
      problem = "it breaks off after " + std::to_string(text_.size()) +
                " bytes; the rest was lost on the way, or never sent";
    } else if (const std::string_view number = no_number_at(position); !number.empty()) {
      problem = "it has " + std::string(number) + " at byte " + std::to_string(position) +
                ", for which JSON has no number: the server must write null";
    } else {
      problem = "it makes no sense at byte " + std::to_string(position);
    }
    return false;
  }

 private:
  /// What some servers write for numbers that JSON lacks. The parser gives up within them.
  std::string_view no_number_at(std::size_t position) const {
    for (std::size_t back = std::min<std::size_t>(position, 2); back >= 1; --back) {
      const std::string_view rest = text_.substr(position - back);
      for (const std::string_view name : {"NaN", "nan", "-Infinity", "Infinity", "-inf", "inf"}) {
        if (rest.substr(0, name.size()) == name) return name;
      }
    }
    return {};
  }

  const std::string_view text_;
};

}  // namespace

std::string json_problem(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return "it is empty";
  if (text[begin] == '<') {
    return "it is a page: something else than the API has answered; check the address, and any "
           "proxy";
  }
  ProblemFinder finder(text);
  json::sax_parse(text.begin(), text.end(), &finder);
  return finder.problem.empty() ? "it nests too deeply" : finder.problem;
}

}  // namespace tinkex::internal
