#include "examples/support/data.h"

namespace sft {

tinkex::Result<std::string> fit_whole(const std::string& what, std::int64_t longest,
                                      std::int64_t context_length) {
  if (context_length >= longest) return std::string();
  return tinkex::invalid_argument("the model reads only " + std::to_string(context_length) +
                                  " tokens, but " + what + " needs " + std::to_string(longest) +
                                  "; give shorter texts of your own by --data, or choose another "
                                  "--base-model");
}

}  // namespace sft
