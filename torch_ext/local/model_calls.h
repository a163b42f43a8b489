#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "torch_ext/local/api.h"
#include "torch_ext/local/json_fields.h"
#include "torch_ext/local/service.h"

namespace tinkex::torch_ext::local {

/// The model a request is for and its place in that model's order.
struct ModelCall {
  std::string model_id;
  std::int64_t seq_id = 0;

  /// The largest seq_id; ids are counted on from what is taken.
  static constexpr std::int64_t kMaxSeqId = std::int64_t{1} << 62;

  /// Nothing if a sequence id may be used.
  static std::optional<std::string> complaint_about(std::int64_t seq_id);
  /// Reads `model_id` and `seq_id`; what is wrong with them is left in `in`.
  static ModelCall read(JsonFields& in);
};

Reply unknown_model(const std::string& id);

/// What the operation does with its model, on the compute thread. The run exists.
using RunStep = std::function<OperationResult(Model&, TrainingRun&)>;

/// Puts an operation into the model's queue and answers with its request id.
Reply submit(Service& service, const ModelCall& target, OperationKind kind, const Call& call,
             RunStep step);
/// Answers 422, and lets operations with larger seq_ids pass.
Reply refuse(Service& service, const ModelCall& target, OperationKind kind,
             const std::string& text);

/// A model in the making.
struct NewModel {
  std::string session_id;
  std::int64_t number = 0;  ///< model_seq_id
  std::map<std::string, std::string> user_metadata;
  /// Compute thread.
  std::function<Result<std::unique_ptr<TrainingRun>>()> make;
  /// The result's JSON, without the model id.
  nlohmann::json result;
};
/// Queues the creation and answers with the request id and the model id.
Reply create(Service& service, const Call& call, NewModel wanted);

}  // namespace tinkex::torch_ext::local
