#pragma once

// The clients as classes of scripts and of Python: torch.classes.tinkex.{Service, TrainingClient,
// SamplingClient}. A C++ program that links the ops gets a client out of an IValue with
// `value.toCustomClass<ScriptTrainingClient>()->client()`.
//
// Lifetime. A client made from a service keeps the service open, and so does each call until it is
// settled (remote_op.h): a script may drop the Service and go on with the client, and drop both and
// wait for the result. Destructors neither join nor wait (see reaper.h); close() does.
//
// Pickling. A Service keeps its address and folder, never the key, and connects anew when it is
// loaded, with the key of the environment. Clients belong to a live session and refuse.

#include <torch/custom_class.h>

#include <memory>
#include <string>
#include <utility>

#include "tinkex/base/process_mark.h"
#include "tinkex/options.h"
#include "tinkex/sampling_client.h"
#include "tinkex/service_client.h"
#include "tinkex/training_client.h"
#include "torch_ext/remote/gradient_ledger.h"
#include "torch_ext/torch_prelude.h"

namespace tinkex::torch_ext {

struct Connection;

/// A connection to a server, or to the embedded backend.
class ScriptService final : public torch::CustomClassHolder {
 public:
  explicit ScriptService(Connection connection);
  ~ScriptService() override;

  const Connection& connection() const { return *connection_; }
  ServiceClient& client();
  /// What clients and calls hold to keep the service open. May be dropped on any thread.
  std::shared_ptr<const void> lease() const;

 private:
  const internal::ProcessMark process_;
  std::shared_ptr<Connection> connection_;
};

/// A model in training.
class ScriptTrainingClient final : public torch::CustomClassHolder {
 public:
  /// `lease` is kept as long as the client; it may be null. `limits` are those of the service.
  ScriptTrainingClient(TrainingClient client, std::shared_ptr<const void> lease,
                       ChunkLimits limits = {});
  ~ScriptTrainingClient() override;

  TrainingClient& client() { return client_; }
  /// What keeps the service open. May be dropped on any thread.
  const std::shared_ptr<const void>& lease() const { return lease_; }
  const ChunkLimits& limits() const { return limits_; }
  /// For remote_model_ops.h.
  const std::shared_ptr<remote::GradientLedger>& ledger() const { return ledger_; }

 private:
  const internal::ProcessMark process_;
  TrainingClient client_;
  std::shared_ptr<const void> lease_;
  ChunkLimits limits_;
  std::shared_ptr<remote::GradientLedger> ledger_ = std::make_shared<remote::GradientLedger>();
};

/// A snapshot of a model to sample from.
class ScriptSamplingClient final : public torch::CustomClassHolder {
 public:
  ScriptSamplingClient(SamplingClient client, std::shared_ptr<const void> lease);
  ~ScriptSamplingClient() override;

  SamplingClient& client() { return client_; }
  /// As that of a ScriptTrainingClient.
  const std::shared_ptr<const void>& lease() const { return lease_; }

 private:
  const internal::ProcessMark process_;
  SamplingClient client_;
  std::shared_ptr<const void> lease_;
};

using ServicePtr = c10::intrusive_ptr<ScriptService>;
using TrainingPtr = c10::intrusive_ptr<ScriptTrainingClient>;
using SamplingPtr = c10::intrusive_ptr<ScriptSamplingClient>;

/// Called by library.cc, in the order that it states.
void register_service_class(torch::Library& library);
void register_training_client_class(torch::Library& library);
void register_sampling_client_class(torch::Library& library);

/// Lets torch.compile and torch.export hold a SamplingClient in their graphs. An op calls it, for
/// who has registered a stand-in of the class, as the Python package does: without one PyTorch
/// would fail where it now breaks its graph.
void make_traceable();

}  // namespace tinkex::torch_ext
