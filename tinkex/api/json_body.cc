#include "tinkex/api/json_body.h"

namespace tinkex::api {
namespace {

constexpr int kMaxDepth = 64;

}  // namespace

Result<Json> parse_object(std::string_view body, std::string_view what) {
  const auto bounded = [](int depth, Json::parse_event_t event, Json&) {
    const bool opens =
        event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
    return !opens || depth <= kMaxDepth;
  };
  Json json = Json::parse(body, bounded, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    return Error(ErrorCode::kDecode, std::string(what) + ": the reply is not a JSON object");
  }
  return json;
}

Result<std::string> string_member(const Json& object, const char* key, std::string_view what) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) {
    return Error(ErrorCode::kDecode, std::string(what) + ": the reply has no text \"" + key + "\"");
  }
  return found->get<std::string>();
}

}  // namespace tinkex::api
