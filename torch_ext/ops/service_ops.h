#pragma once

// Calls on a service, as scripts make them.

#include <ATen/core/Dict.h>
#include <ATen/core/List.h>

#include <cstdint>
#include <string>

#include "tinkex/future.h"
#include "torch_ext/ops/client_classes.h"
#include "torch_ext/ops/results.h"
#include "torch_ext/torch_prelude.h"

namespace tinkex::torch_ext {

/// Blocks and throws on failure. Empty texts are filled from the environment; without a URL and a
/// key the embedded backend is started, with `data_dir` as its folder and the models of
/// `base_models` beside the built-in ones.
ServicePtr connect_service(const std::string& base_url, const std::string& api_key,
                           const std::string& data_dir,
                           const Optional<c10::List<std::string>>& base_models);

/// Both block and throw on failure.
c10::List<std::string> supported_models(const ServicePtr& service);
/// Tokens that a model can read at a time, of those models whose server says it.
c10::Dict<std::string, std::int64_t> context_lengths(const ServicePtr& service);

/// These send, and return without waiting.
Future<LeasedTrainer> start_create_lora_training_client(
    const ServicePtr& service, const std::string& base_model, std::int64_t rank,
    Optional<std::int64_t> seed, bool train_attn, bool train_mlp, bool train_unembed);
Future<LeasedTrainer> start_create_training_client_from_state(const ServicePtr& service,
                                                              const std::string& path,
                                                              bool with_optimizer);
Future<LeasedSampler> start_create_sampling_client(const ServicePtr& service,
                                                   const Optional<std::string>& base_model,
                                                   const Optional<std::string>& model_path);
Future<Unit> start_delete_checkpoint(const ServicePtr& service, const std::string& path);

/// Called by library.cc.
void register_service_kernels(torch::Library& library);

}  // namespace tinkex::torch_ext
