#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tinkex::bench {

/// The result of a sample of `tokens` tokens, in protobuf.
std::string sample_result(std::size_t tokens);

/// The result of a forward_backward over `datums` datums of `tokens` targets each, in protobuf.
std::string forward_backward_result(std::size_t datums, std::size_t tokens);

/// How many datums a protobuf forward_backward request holds, or 0 if it is none.
std::size_t count_datums(std::string_view request);

}  // namespace tinkex::bench
