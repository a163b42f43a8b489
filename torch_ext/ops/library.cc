// Every op and every class that the library registers. The schemas are an interface:
// tests/golden/op_schemas.txt holds them as PyTorch prints them.
//
// A call of a training or sampling client has three forms: `X` blocks, `X_async` gives a handle
// with wait(), wait_for(), done(), state() and cancel(), `X_future` gives a Future for
// torch.jit.wait and torch.futures.

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <deque>
#include <string>
#include <vector>

#include "torch_ext/ops/call_stop_class.h"
#include "torch_ext/ops/client_classes.h"
#include "torch_ext/ops/connect_ops.h"
#include "torch_ext/ops/future_handle.h"
#include "torch_ext/ops/python_exit.h"
#include "torch_ext/ops/remote_model_ops.h"
#include "torch_ext/ops/remote_op.h"
#include "torch_ext/ops/sampling_ops.h"
#include "torch_ext/ops/service_ops.h"
#include "torch_ext/ops/tensor_ops.h"
#include "torch_ext/ops/training_ops.h"
#include "torch_ext/torch_prelude.h"

#define CLASS(name) "__torch__.torch.classes.tinkex." name
#define SERVICE CLASS("Service")
#define TRAINING CLASS("TrainingClient")
#define SAMPLING CLASS("SamplingClient")

#define CONNECT "(str base_url=\"\", str api_key=\"\", str data_dir=\"\", str[]? base_models=None)"

#define BATCH                                                      \
  "(" TRAINING                                                     \
  " client, Tensor[] tokens, Dict(str, Tensor[]) loss_fn_inputs, " \
  "str loss_fn=\"cross_entropy\", Dict(str, float)? loss_fn_config=None)"
#define BATCH_RESULT "(Dict(str, Tensor[]) outputs, Dict(str, Tensor) metrics)"

#define RAGGED                                                                 \
  "(" TRAINING                                                                 \
  " client, Tensor tokens, Tensor offsets, Dict(str, Tensor) loss_fn_inputs, " \
  "str loss_fn=\"cross_entropy\", Dict(str, float)? loss_fn_config=None)"
#define RAGGED_RESULT \
  "(Dict(str, Tensor) values, Dict(str, Tensor) offsets, Dict(str, Tensor) metrics)"
#define RAGGED_FUTURE "Future((Dict(str, Tensor), Dict(str, Tensor), Dict(str, Tensor)))"

#define ADAM                                                               \
  "(" TRAINING                                                             \
  " client, float learning_rate=1e-4, float beta1=0.9, float beta2=0.95, " \
  "float eps=1e-12, float weight_decay=0.0, float grad_clip_norm=0.0)"

#define PROMPT                                                             \
  "(" SAMPLING                                                             \
  " client, Tensor prompt, int num_samples=1, int? max_tokens=None, "      \
  "int? seed=None, float temperature=1.0, int top_k=-1, float top_p=1.0, " \
  "int[]? stop_tokens=None, str[]? stop=None)"

#define ANCHORED TRAINING " client, Tensor anchor"

#define PROMPTS                                                             \
  "(" SAMPLING                                                              \
  " client, Tensor[] prompts, int num_samples=1, int? max_tokens=None, "    \
  "int? seed=None, float temperature=1.0, int top_k=-1, float top_p=1.0, "  \
  "int[]? stop_tokens=None, str[]? stop=None, bool prompt_logprobs=False, " \
  "int topk_prompt_logprobs=0)"

#define ADAPTER                                             \
  "(" SERVICE                                               \
  " service, str base_model, int rank=32, int? seed=None, " \
  "bool train_attn=True, bool train_mlp=True, bool train_unembed=True)"
#define FROM_STATE "(" SERVICE " service, str path, bool with_optimizer=True)"
#define SAMPLED_MODEL "(" SERVICE " service, str? base_model=None, str? model_path=None)"
#define CHECKPOINT "(" SERVICE " service, str path)"
#define SAVE "(" TRAINING " client, str name, bool overwrite=False)"
#define LOAD "(" TRAINING " client, str path, bool with_optimizer=True)"
#define SAVE_SAMPLER "(" TRAINING " client, str name)"
#define SNAPSHOT "(" TRAINING " client)"
#define LOGPROBS "(" SAMPLING " client, Tensor prompt)"
#define LOGPROBS_RAGGED "(" SAMPLING " client, Tensor[] prompts)"

namespace tinkex::torch_ext {
namespace {

// Ops with an effect on a server. TorchScript must neither drop, merge nor reorder them, even where
// their results are not used or their arguments are constants: hence "conservative" below.
constexpr const char* kRemoteOps[] = {
    // Making clients.
    "connect" CONNECT " -> " SERVICE,
    "connect_async" CONNECT " -> " CLASS("PendingService"),
    "connect_future" CONNECT " -> Future(" SERVICE ")",
    "connect_embedded(str data_dir=\"\", str[]? base_models=None) -> " SERVICE,
    "supported_models(" SERVICE " service) -> str[]",
    "context_lengths(" SERVICE " service) -> Dict(str, int)",
    "create_lora_training_client" ADAPTER " -> " TRAINING,
    "create_lora_training_client_async" ADAPTER " -> " CLASS("PendingTrainingClient"),
    "create_lora_training_client_future" ADAPTER " -> Future(" TRAINING ")",
    "create_training_client_from_state" FROM_STATE " -> " TRAINING,
    "create_training_client_from_state_async" FROM_STATE " -> " CLASS("PendingTrainingClient"),
    "create_training_client_from_state_future" FROM_STATE " -> Future(" TRAINING ")",
    "create_sampling_client" SAMPLED_MODEL " -> " SAMPLING,
    "create_sampling_client_async" SAMPLED_MODEL " -> " CLASS("PendingSamplingClient"),
    "create_sampling_client_future" SAMPLED_MODEL " -> Future(" SAMPLING ")",

    // Training.
    "forward" BATCH " -> " BATCH_RESULT,
    "forward_async" BATCH " -> " CLASS("PendingForwardBackward"),
    "forward_future" BATCH " -> Future((Dict(str, Tensor[]), Dict(str, Tensor)))",
    "forward_backward" BATCH " -> " BATCH_RESULT,
    "forward_backward_async" BATCH " -> " CLASS("PendingForwardBackward"),
    "forward_backward_future" BATCH " -> Future((Dict(str, Tensor[]), Dict(str, Tensor)))",
    "forward_ragged" RAGGED " -> " RAGGED_RESULT,
    "forward_ragged_async" RAGGED " -> " CLASS("PendingForwardBackwardRagged"),
    "forward_ragged_future" RAGGED " -> " RAGGED_FUTURE,
    "forward_backward_ragged" RAGGED " -> " RAGGED_RESULT,
    "forward_backward_ragged_async" RAGGED " -> " CLASS("PendingForwardBackwardRagged"),
    "forward_backward_ragged_future" RAGGED " -> " RAGGED_FUTURE,
    "optim_step" ADAM " -> Dict(str, Tensor)",
    "optim_step_async" ADAM " -> " CLASS("PendingOptimStep"),
    "optim_step_future" ADAM " -> Future(Dict(str, Tensor))",

    // Checkpoints: each gives a `tinker://` path.
    "save_state" SAVE " -> str",
    "save_state_async" SAVE " -> " CLASS("PendingPath"),
    "save_state_future" SAVE " -> Future(str)",
    "load_state" LOAD " -> str",
    "load_state_async" LOAD " -> " CLASS("PendingPath"),
    "load_state_future" LOAD " -> Future(str)",
    "save_weights_for_sampler" SAVE_SAMPLER " -> str",
    "save_weights_for_sampler_async" SAVE_SAMPLER " -> " CLASS("PendingPath"),
    "save_weights_for_sampler_future" SAVE_SAMPLER " -> Future(str)",
    "unload" SNAPSHOT " -> ()",
    "unload_async" SNAPSHOT " -> " CLASS("PendingNone"),
    "unload_future" SNAPSHOT " -> Future(NoneType)",
    "delete_checkpoint" CHECKPOINT " -> ()",
    "delete_checkpoint_async" CHECKPOINT " -> " CLASS("PendingNone"),
    "delete_checkpoint_future" CHECKPOINT " -> Future(NoneType)",
    "save_weights_and_get_sampling_client" SNAPSHOT " -> " SAMPLING,
    "save_weights_and_get_sampling_client_async" SNAPSHOT " -> " CLASS("PendingSamplingClient"),
    "save_weights_and_get_sampling_client_future" SNAPSHOT " -> Future(" SAMPLING ")",

    // A differentiable model: `anchor` is the parameter that stands for it.
    "logprobs(" ANCHORED ", Tensor tokens, Tensor targets, bool pipelined=False) -> Tensor",
    "logprobs_list(" ANCHORED
    ", Tensor[] tokens, Tensor[] targets, bool pipelined=False) -> Tensor[]",
    "loss(" ANCHORED
    ", Tensor[] tokens, Dict(str, Tensor[]) loss_fn_inputs, str loss_fn=\"cross_entropy\", "
    "Dict(str, float)? loss_fn_config=None) -> Tensor",
    "step(" ANCHORED
    ", float lr=1e-3, float beta1=0.9, float beta2=0.999, float eps=1e-8, "
    "float weight_decay=1e-2, float grad_clip_norm=0.0, bool pipelined=False) -> Dict(str, Tensor)",
    "synchronize(" ANCHORED ") -> ()",
    "accept_server_gradient(" ANCHORED ") -> ()",
    "metrics(" ANCHORED ") -> Dict(str, Tensor)",
    "explain(" ANCHORED ", Tensor tokens, Tensor targets) -> str",
    "explain_list(" ANCHORED ", Tensor[] tokens, Tensor[] targets) -> str",
    "explain_loss(" ANCHORED
    ", Tensor[] tokens, Dict(str, Tensor[]) loss_fn_inputs, str loss_fn=\"cross_entropy\") -> str",

    // Sampling.
    "sample" PROMPT " -> (Tensor[] tokens, Tensor[] logprobs, str[] stop_reasons)",
    "sample_async" PROMPT " -> " CLASS("PendingSample"),
    "sample_future" PROMPT " -> Future((Tensor[], Tensor[], str[]))",
    "sample_ragged" PROMPTS " -> Dict(str, Tensor)",
    "sample_ragged_async" PROMPTS " -> " CLASS("PendingSampleRagged"),
    "sample_ragged_future" PROMPTS " -> Future(Dict(str, Tensor))",
    "compute_logprobs" LOGPROBS " -> Tensor",
    "compute_logprobs_async" LOGPROBS " -> " CLASS("PendingLogprobs"),
    "compute_logprobs_future" LOGPROBS " -> Future(Tensor)",
    "compute_logprobs_ragged" LOGPROBS_RAGGED " -> (Tensor values, Tensor offsets)",
    "compute_logprobs_ragged_async" LOGPROBS_RAGGED " -> " CLASS("PendingLogprobsRagged"),
    "compute_logprobs_ragged_future" LOGPROBS_RAGGED " -> Future((Tensor, Tensor))",

    // For the Python package: _tracing.py and _remote_model.py in torch_ext/python/tinkex_torch.
    "make_traceable() -> ()",
    "tell_again(" TRAINING " client, str failure) -> ()",
    // Once Python begins to exit; registered as its exit handler by the first op that connects.
    "stop_callbacks() -> ()",
};

// Pure functions: the byte tokenizer, and forms of sequences of different lengths.
constexpr const char* kTensorOps[] = {
    "encode_text(str text, *, Device? device=None) -> Tensor",
    "decode_text(Tensor tokens, *, bool replace=True) -> str",
    "to_lists(Tensor(a -> *) values, Tensor offsets) -> Tensor(a)[]",
    "from_lists(Tensor[] tensors) -> (Tensor values, Tensor offsets)",
    "offsets_of(Tensor[] tensors) -> Tensor",
    "unpad(Tensor(a -> *) padded, Tensor lengths) -> Tensor(a)[]",
};

void define(torch::Library& library) {
  // A class comes after those that its methods return.
  register_pending_classes(library);
  register_sampling_client_class(library);
  register_pending_sampling_client_class(library);
  register_training_client_class(library);
  register_pending_training_client_class(library);
  register_service_class(library);
  register_pending_service_class(library);
  register_call_stop_class(library);
  for (const char* schema : kRemoteOps) {
    library.def(torch::schema(schema, c10::AliasAnalysisKind::CONSERVATIVE));
  }
  for (const char* schema : kTensorOps) library.def(schema);
}

void implement_for_every_device(torch::Library& library) {
  register_service_kernels(library);
  register_connect_kernels(library);
  register_training_kernels(library);
  register_sampling_kernels(library);
  register_tensor_kernels(library);
  register_remote_model_kernels(library);
  library.impl("make_traceable", TORCH_FN(make_traceable));
  library.impl("stop_callbacks", TORCH_FN(leave_python));
}

/// Ops that take tensors other than a remote model's anchor, and send what is in them.
const std::vector<std::string>& data_ops() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all{"logprobs", "logprobs_list", "loss",
                                 "explain",  "explain_list",  "explain_loss"};
    for (const std::string call :
         {"forward", "forward_backward", "forward_ragged", "forward_backward_ragged", "sample",
          "sample_ragged", "compute_logprobs", "compute_logprobs_ragged"}) {
      for (const char* form : {"", "_async", "_future"}) all.push_back(call + form);
    }
    return all;
  }();
  return names;
}

// Where LibTorch would say that it lacks a kernel, or that it contradicts itself.
void refuse_nested_tensors(torch::Library& library) {
  for (const std::string& op : data_ops()) refuse_nested(library, op);
}
void refuse_batched_tensors(torch::Library& library) {
  for (const std::string& op : data_ops()) refuse_batched(library, op);
}
// LibTorch does not get as far as that if there is a Dict among the arguments.
void refuse_transforms(torch::Library& library) {
  for (const std::string& op : data_ops()) {
    if (op.starts_with("forward") || op.ends_with("loss")) refuse_batched(library, op);
  }
}

void implement_for_tracers(torch::Library& library) {
  register_training_meta_kernels(library);
  register_sampling_meta_kernels(library);
  register_tensor_meta_kernels(library);
  register_remote_model_meta_kernels(library);
}

/// What TORCH_LIBRARY does, but that macro ends the process where a second copy of the library is
/// loaded into it. A second copy of this one registers nothing: the first one stays in use.
///
/// The kernels' own types name the classes, so they are registered after them, in this order.
class Registration {
 public:
  Registration() {
    if (c10::Dispatcher::singleton().findSchema({"tinkex::connect", ""})) {
      TORCH_WARN(
          "tinkex: a second copy of the library was loaded into this process and is not used: the "
          "ops and classes of the copy that was loaded first stay in force. Load one file only, "
          "and none into a program that has the library linked in.");
      return;
    }
    open(torch::Library::DEF, {}, define);
    // This key serves every device, and an empty list of tensors, which no backend's key stands
    // for.
    open(torch::Library::IMPL, c10::DispatchKey::CompositeExplicitAutograd,
         implement_for_every_device);
    open(torch::Library::IMPL, c10::DispatchKey::Autograd, register_remote_model_autograd_kernels);
    open(torch::Library::IMPL, c10::DispatchKey::Meta, implement_for_tracers);
    for (const auto key : {c10::DispatchKey::NestedTensorCPU, c10::DispatchKey::NestedTensorCUDA,
                           c10::DispatchKey::AutogradNestedTensor}) {
      open(torch::Library::IMPL, key, refuse_nested_tensors);
    }
    open(torch::Library::IMPL, c10::DispatchKey::FuncTorchBatched, refuse_batched_tensors);
    open(torch::Library::IMPL, c10::DispatchKey::FuncTorchDynamicLayerFrontMode, refuse_transforms);
    open(torch::Library::IMPL, c10::DispatchKey::CompositeImplicitAutograd,
         register_composite_kernels);
  }

 private:
  void open(torch::Library::Kind kind, Optional<c10::DispatchKey> key,
            void (*fill)(torch::Library&)) {
    fill(libraries_.emplace_back(kind, "tinkex", key, __FILE__, __LINE__));
  }

  std::deque<torch::Library> libraries_;
};

const Registration registration;

}  // namespace

}  // namespace tinkex::torch_ext

/// The number of the interface that the shared object offers to loaders; raised by changes to a
/// schema that are not additions, with INTERFACE of the Python package, which compares the two. The
/// only symbol of ours that it exports.
extern "C" __attribute__((visibility("default"))) int tinkex_abi_version() { return 2; }
