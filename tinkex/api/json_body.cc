#include "tinkex/api/json_body.h"

#include "tinkex/base/bounded_json.h"

namespace tinkex::api {
namespace {

constexpr int kMaxDepth = 64;

}  // namespace

Result<ReplyJson> parse_object(std::string_view body, std::string_view what) {
  auto json = internal::parse_bounded<ReplyJson>(body, kMaxDepth);
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
