#pragma once

#include <ATen/core/ivalue.h>  // First: see torch_prelude.h.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "torch_ext/remote/sequences.h"
#include "torch_ext/remote/training_state.h"

namespace tinkex::torch_ext::remote {

/// Puts `logprobs`, which sequences.logprobs() made, into the graph: backward() sends what the loss
/// makes of them, unless a step or load was sent by then behind the first `steps`, which is what
/// the ledger said before the forward pass was sent. All nodes of one model in one backward pass
/// send one forward_backward together, at the end of the pass, on the thread that ends it: the one
/// that called backward(), unless the pass ends on another device. Whatever fails there is thrown
/// by backward(). If the anchor was frozen meanwhile there is no graph, here and below.
at::Tensor with_remote_gradient(const at::Tensor& logprobs,
                                std::shared_ptr<const Sequences> sequences,
                                std::shared_ptr<TrainingState> state, std::int64_t steps);

/// The same for a loss whose gradient the server has summed already: backward() only notes that it
/// is wanted, and refuses another factor than 1.
at::Tensor with_summed_gradient(const at::Tensor& loss, std::shared_ptr<TrainingState> state,
                                const GradientLedger::Ticket& ticket);

/// Whether results get a graph: gradients are on, and the anchor was not frozen.
bool wants_gradient(const TrainingState& state);

}  // namespace tinkex::torch_ext::remote
