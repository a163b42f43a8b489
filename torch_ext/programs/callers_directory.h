#pragma once

namespace tinkex::torch_ext::programs {

/// `bazel run` starts programs elsewhere: makes relative paths mean what they mean in the shell. If
/// that directory cannot be entered, says so on standard error, in the name of `program`; absolute
/// paths still work.
void enter_callers_directory(const char* program);

}  // namespace tinkex::torch_ext::programs
