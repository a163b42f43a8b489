#include "tinkex/api/json_body.h"

#include <algorithm>

#include "tinkex/base/bounded_json.h"
#include "tinkex/base/json_problem.h"

namespace tinkex::api {
namespace {

constexpr int kMaxDepth = 64;
constexpr std::size_t kLongestId = 1'024;

}  // namespace

Result<ReplyJson> parse_object(std::string_view body, std::string_view what) {
  auto json = internal::parse_bounded<ReplyJson>(body, kMaxDepth);
  if (!json.is_object()) {
    const std::string why = json.is_discarded() ? ": " + internal::json_problem(body) : "";
    return Error(ErrorCode::kDecode, std::string(what) + ": the reply is not a JSON object" + why);
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

Result<std::string> request_id_of(const ReplyJson& object, std::string_view what) {
  Result<std::string> id = string_member(object, "request_id", what);
  if (!id.ok()) return id;
  const auto is_control = [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; };
  if (id->empty() || id->size() > kLongestId || std::any_of(id->begin(), id->end(), is_control)) {
    return Error(ErrorCode::kDecode,
                 std::string(what) + ": the server gave a request_id of " +
                     std::to_string(id->size()) + " bytes that is of no use (1 to " +
                     std::to_string(kLongestId) + " bytes without control characters are)");
  }
  return id;
}

}  // namespace tinkex::api
