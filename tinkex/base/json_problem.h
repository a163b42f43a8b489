#pragma once

#include <span>
#include <string>
#include <string_view>

namespace tinkex::internal {

/// What keeps a stranger's text from being JSON, for the end of an error: "it breaks off after 12
/// bytes". A short line without control characters, keys of this API and `secrets`, whatever the
/// text is. Of text that is JSON, but was not taken, it says that it nests too deeply.
std::string json_problem(std::string_view text, std::span<const std::string_view> secrets = {});

}  // namespace tinkex::internal
