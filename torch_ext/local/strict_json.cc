#include "torch_ext/local/strict_json.h"

#include <cstddef>
#include <set>
#include <string>
#include <vector>

namespace tinkex::torch_ext::local {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxDepth = 32;

/// Stops at the first thing that is refused.
class Checker final : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return enter(); }
  bool end_object() override { return leave(); }
  bool start_array(std::size_t) override { return enter(); }
  bool end_array() override { return leave(); }
  bool key(string_t& name) override { return keys_.back().insert(name).second; }
  bool parse_error(std::size_t, const std::string&, const Json::exception&) override {
    return false;
  }

 private:
  bool enter() {
    keys_.emplace_back();
    return keys_.size() <= kMaxDepth;
  }
  bool leave() {
    keys_.pop_back();
    return true;
  }

  std::vector<std::set<std::string>> keys_;  ///< Of the objects and arrays that are open.
};

}  // namespace

Json parse_strict_json(std::string_view text) {
  Checker checker;
  if (!Json::sax_parse(text.begin(), text.end(), &checker)) return {Json::value_t::discarded};
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

}  // namespace tinkex::torch_ext::local
