#pragma once

#include <string>
#include <string_view>

namespace tinkex::internal {

/// What keeps a stranger's text from being JSON, for the end of an error: "it breaks off after 12
/// bytes". A short line that quotes nothing of the text: debug pages and proxies repeat the
/// request's headers, and who decodes a reply does not know what of it is a key. Of text that is
/// JSON, but was not taken, it says that it nests too deeply.
std::string json_problem(std::string_view text);

}  // namespace tinkex::internal
