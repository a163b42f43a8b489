#pragma once

namespace tinkex::torch_ext::programs {

/// `bazel run` starts programs elsewhere: makes relative paths mean what they mean in the shell.
/// False if that directory cannot be entered; absolute paths still work.
bool enter_callers_directory();

}  // namespace tinkex::torch_ext::programs
