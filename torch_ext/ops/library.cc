// Every op and every class that the library registers. The schemas are an interface:
// tests/golden/op_schemas.txt holds them as PyTorch prints them.
//
// A call of a training or sampling client has three forms: `X` blocks, `X_async` gives a handle
// with done(), wait() and cancel(), `X_future` gives a Future for torch.jit.wait and torch.futures.

#include <torch/library.h>

#include "torch_ext/ops/client_classes.h"
#include "torch_ext/ops/connect_ops.h"
#include "torch_ext/ops/future_handle.h"
#include "torch_ext/ops/remote_model_ops.h"
#include "torch_ext/ops/sampling_ops.h"
#include "torch_ext/ops/tensor_ops.h"
#include "torch_ext/ops/training_ops.h"

#define CLASS(name) "__torch__.torch.classes.tinkex." name
#define SERVICE CLASS("Service")
#define TRAINING CLASS("TrainingClient")
#define SAMPLING CLASS("SamplingClient")

#define CONNECT "(str base_url=\"\", str api_key=\"\", str data_dir=\"\")"

#define BATCH                                                      \
  "(" TRAINING                                                     \
  " client, Tensor[] tokens, Dict(str, Tensor[]) loss_fn_inputs, " \
  "str loss_fn=\"cross_entropy\", Dict(str, float)? loss_fn_config=None)"
#define BATCH_RESULT "(Dict(str, Tensor[]) outputs, Dict(str, Tensor) metrics)"

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

#define SAVE "(" TRAINING " client, str name, bool overwrite=False)"
#define LOAD "(" TRAINING " client, str path, bool with_optimizer=True)"
#define SAVE_SAMPLER "(" TRAINING " client, str name)"
#define SNAPSHOT "(" TRAINING " client)"
#define LOGPROBS "(" SAMPLING " client, Tensor prompt)"

namespace tinkex::torch_ext {
namespace {

// Ops with an effect on a server. TorchScript must neither drop, merge nor reorder them, even where
// their results are not used or their arguments are constants: hence "conservative" below.
constexpr const char* kRemoteOps[] = {
    // Making clients.
    "connect" CONNECT " -> " SERVICE,
    "connect_async" CONNECT " -> " CLASS("PendingService"),
    "connect_future" CONNECT " -> Future(" SERVICE ")",
    "connect_embedded(str data_dir=\"\") -> " SERVICE,
    "supported_models(" SERVICE " service) -> str[]",
    "create_lora_training_client(" SERVICE
    " service, str base_model, int rank=32, int? seed=None, bool train_attn=True, "
    "bool train_mlp=True, bool train_unembed=True) -> " TRAINING,
    "create_training_client_from_state(" SERVICE
    " service, str path, bool with_optimizer=True) -> " TRAINING,
    "create_sampling_client(" SERVICE
    " service, str? base_model=None, str? model_path=None) -> " SAMPLING,

    // Training.
    "forward" BATCH " -> " BATCH_RESULT,
    "forward_async" BATCH " -> " CLASS("PendingForwardBackward"),
    "forward_future" BATCH " -> Future((Dict(str, Tensor[]), Dict(str, Tensor)))",
    "forward_backward" BATCH " -> " BATCH_RESULT,
    "forward_backward_async" BATCH " -> " CLASS("PendingForwardBackward"),
    "forward_backward_future" BATCH " -> Future((Dict(str, Tensor[]), Dict(str, Tensor)))",
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

    // Sampling.
    "sample" PROMPT " -> (Tensor[] tokens, Tensor[] logprobs, str[] stop_reasons)",
    "sample_async" PROMPT " -> " CLASS("PendingSample"),
    "sample_future" PROMPT " -> Future((Tensor[], Tensor[], str[]))",
    "compute_logprobs" LOGPROBS " -> Tensor",
    "compute_logprobs_async" LOGPROBS " -> " CLASS("PendingLogprobs"),
    "compute_logprobs_future" LOGPROBS " -> Future(Tensor)",
};

// Pure functions of the byte tokenizer.
constexpr const char* kTensorOps[] = {
    "encode_text(str text) -> Tensor",
    "decode_text(Tensor tokens) -> str",
};

}  // namespace

TORCH_LIBRARY(tinkex, library) {
  // A class comes after those that its methods return.
  register_pending_classes(library);
  register_sampling_client_class(library);
  register_pending_sampling_client_class(library);
  register_training_client_class(library);
  register_service_class(library);
  register_pending_service_class(library);
  for (const char* schema : kRemoteOps) {
    library.def(torch::schema(schema, c10::AliasAnalysisKind::CONSERVATIVE));
  }
  for (const char* schema : kTensorOps) library.def(schema);
}

// The kernels' own types name the classes, so they are registered after them, in this file: the
// order of initialisers in different files is not defined.
//
// This key serves every device, and an empty list of tensors, which no backend's key stands for.
TORCH_LIBRARY_IMPL(tinkex, CompositeExplicitAutograd, library) {
  register_service_kernels(library);
  register_connect_kernels(library);
  register_training_kernels(library);
  register_sampling_kernels(library);
  register_tensor_kernels(library);
  register_remote_model_kernels(library);
}

TORCH_LIBRARY_IMPL(tinkex, Autograd, library) { register_remote_model_autograd_kernels(library); }

TORCH_LIBRARY_IMPL(tinkex, Meta, library) {
  register_training_meta_kernels(library);
  register_sampling_meta_kernels(library);
  register_remote_model_meta_kernels(library);
}

}  // namespace tinkex::torch_ext

/// The number of the interface that the shared object offers to loaders; raised by changes to a
/// schema that are not additions. The only symbol of ours that it exports.
extern "C" __attribute__((visibility("default"))) int tinkex_abi_version() { return 1; }
