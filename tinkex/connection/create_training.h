#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tinkex/async/last_word.h"
#include "tinkex/connection/service_context.h"
#include "tinkex/future.h"
#include "tinkex/options.h"
#include "tinkex/params.h"
#include "tinkex/training_client.h"

namespace tinkex::internal {

/// Makes a model with fresh adapters, and the client for it. The arguments are valid.
/// `last_word`, of a call with a deadline, may be null.
Future<TrainingClient> create_training(const std::shared_ptr<ServiceContext>& service,
                                       std::string_view base_model, const LoraConfig& config,
                                       const LastWordPtr& last_word);

/// Makes a model with the shape and weights of a checkpoint, and the client for it.
///
/// Newer servers do it in one step, older ones refuse that with 400, 404 or 422 and need two. The
/// first call asks for one step and goes on in two when it is refused. What worked is remembered
/// for the service; a call that fails in both forms decides nothing, because then the checkpoint
/// may be at fault, and gives the error of the older form, which names the step that failed. Every
/// step is part of `call`: none has a deadline of its own, and all tell `last_word`.
Future<TrainingClient> create_training_from(const std::shared_ptr<ServiceContext>& service,
                                            std::string path, bool with_optimizer,
                                            const CallOptions& call, const LastWordPtr& last_word);

}  // namespace tinkex::internal
