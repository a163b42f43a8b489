#pragma once

namespace tinkex::torch_ext {

// Parts of messages of the embedded backend by which a program can tell one failure from the next,
// for where the code and the category say no more than whose fault it is.

/// An optim_step without a gradient. It has changed nothing.
inline constexpr char kNoGradients[] = "optim_step: no gradients accumulated";

/// An optim_step behind a forward_backward that failed. It has dropped the gradient and changed
/// nothing else.
inline constexpr char kStepEnded[] = "this optim_step has ended that step";

/// A checkpoint that is whole, but of another base model.
inline constexpr char kOtherBaseModel[] = "the checkpoint belongs to base model";

}  // namespace tinkex::torch_ext
