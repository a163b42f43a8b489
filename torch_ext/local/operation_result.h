#pragma once

#include <string>
#include <variant>

#include "tinkex/error.h"
#include "tinkex/outputs.h"

namespace tinkex::torch_ext::local {

/// What an operation produced: a JSON text ready to send, or a value whose encoding the poll picks.
using OperationOutput = std::variant<std::string, ForwardBackwardOutput, SampleResponse>;
/// The error's category tells the client whose fault it is: see `category_of`.
using OperationResult = Result<OperationOutput>;

/// `user` for input that was refused, `server` for everything else, unless the error says itself.
inline ErrorCategory category_of(const Error& error) {
  if (error.category() != ErrorCategory::kUnknown) return error.category();
  return error.code() == ErrorCode::kInvalidArgument ? ErrorCategory::kUser
                                                     : ErrorCategory::kServer;
}

}  // namespace tinkex::torch_ext::local
