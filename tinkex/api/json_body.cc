#include "tinkex/api/json_body.h"

namespace tinkex::api {
namespace {

constexpr int kMaxDepth = 64;

}  // namespace

Result<ReplyJson> parse_object(std::string_view body, std::string_view what) {
  const auto bounded = [](int depth, ReplyJson::parse_event_t event, ReplyJson&) {
    const bool opens = event == ReplyJson::parse_event_t::object_start ||
                       event == ReplyJson::parse_event_t::array_start;
    return !opens || depth <= kMaxDepth;
  };
  ReplyJson json = ReplyJson::parse(body, bounded, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    return Error(ErrorCode::kDecode, std::string(what) + ": the reply is not a JSON object");
  }
  return json;
}

Result<std::string> string_member(const ReplyJson& object, const char* key, std::string_view what) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) {
    return Error(ErrorCode::kDecode, std::string(what) + ": the reply has no text \"" + key + "\"");
  }
  return found->get<std::string>();
}

}  // namespace tinkex::api
