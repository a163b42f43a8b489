#include "tests/tinkex/schedules/program.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <utility>

namespace tinkex::testing {
namespace {

using Json = nlohmann::json;
using Kind = Action::Kind;

constexpr int kLongestBatch = 14;

const char* name_of(CallKind kind) {
  switch (kind) {
    case CallKind::kForwardBackward: return "forward_backward";
    case CallKind::kForward: return "forward";
    case CallKind::kOptimStep: return "optim_step";
    case CallKind::kSave: return "save_state";
    case CallKind::kSaveForSampler: return "save_weights_for_sampler";
    case CallKind::kSample: return "sample";
  }
  return "?";
}

CallKind random_kind(Dice& dice) {
  using enum CallKind;
  static const std::vector<CallKind> kChoices{
      kForwardBackward, kForwardBackward, kForwardBackward, kForward, kOptimStep, kOptimStep, kSave,
      kSaveForSampler,  kSample,          kSample};
  return dice.one_of(kChoices);
}

class Maker {
 public:
  Maker(std::uint64_t seed, const ProgramLimits& limits) : dice_(seed), limits_(limits) {
    program_.seed = seed;
  }

  Program make() {
    program_.format = dice_.once_in(2) ? WireFormat::kProtobuf : WireFormat::kJson;
    program_.max_polls = dice_.once_in(3) ? static_cast<std::size_t>(dice_.between(1, 3)) : 1024;
    if (!limits_.faults.virtual_time && dice_.once_in(2)) program_.max_queued_bytes = 1'500;
    program_.parallel = program_.format == WireFormat::kProtobuf && dice_.once_in(2);
    program_.attempts = limits_.faults.max_attempts;
    program_.sample_attempts = dice_.once_in(2) ? program_.attempts : 1;
    const int threads = dice_.between(1, limits_.threads);
    for (int thread = 0; thread < threads; ++thread) add_thread(thread);
    if (dice_.once_in(5)) close_somewhere();
    for (int client = 0; client < kClients; ++client) {
      for (const CallKind kind :
           {CallKind::kForwardBackward, CallKind::kOptimStep, CallKind::kSample}) {
        add_afterwards(kind, client);
      }
    }
    return std::move(program_);
  }

 private:
  void add_thread(int thread) {
    std::vector<Action>& script = program_.threads.emplace_back();
    std::vector<int> open;  // calls whose futures this thread still holds
    const int calls = dice_.between(1, limits_.calls_per_thread);
    for (int i = 0; i < calls; ++i) {
      open.push_back(add_call(thread));
      script.push_back({Kind::kCall, open.back()});
      while (!open.empty() && dice_.once_in(3)) {
        const std::size_t which = dice_.index(open.size());
        script.push_back({random_end(), open[which]});
        open.erase(open.begin() + static_cast<std::ptrdiff_t>(which));
      }
    }
    for (const int call : open) script.push_back({Kind::kWait, call});
  }

  Kind random_end() {
    switch (dice_.between(0, 7)) {
      case 0: return Kind::kCancel;
      case 1:
      case 2: return Kind::kDrop;
      default: return Kind::kWait;
    }
  }

  int add_call(int thread) {
    Call call;
    call.number = static_cast<int>(program_.calls.size()) + 1;
    call.thread = thread;
    call.kind = random_kind(dice_);
    call.client = dice_.once_in(4) ? 1 : 0;
    if (dice_.once_in(6)) {
      const int longest = dice_.once_in(2) ? limits_.longest_deadline : 100;
      call.deadline = std::chrono::milliseconds(dice_.between(1, longest));
    }
    FaultLimits faults = limits_.faults;
    std::size_t requests = 1;
    if (is_batch(call.kind)) {
      call.examples = static_cast<std::size_t>(dice_.between(1, kLongestBatch));
      requests = (call.examples + kChunkExamples - 1) / kChunkExamples;
    } else if (call.kind == CallKind::kSample) {
      faults.max_attempts = program_.sample_attempts;
    }
    while (call.requests.size() < requests) {
      call.requests.push_back(random_plan(dice_, call.kind, faults));
    }
    program_.calls.push_back(std::move(call));
    return static_cast<int>(program_.calls.size()) - 1;
  }

  void add_afterwards(CallKind kind, int client) {
    Call call;
    call.number = static_cast<int>(program_.calls.size()) + 1;
    call.thread = static_cast<int>(program_.threads.size());
    call.kind = kind;
    call.client = client;
    if (is_batch(kind)) call.examples = kChunkExamples + 1;
    call.requests.resize(is_batch(kind) ? 2 : 1);
    program_.afterwards.push_back(static_cast<int>(program_.calls.size()));
    program_.calls.push_back(std::move(call));
  }

  void close_somewhere() {
    std::vector<Action>& script = program_.threads[dice_.index(program_.threads.size())];
    const auto where = static_cast<std::ptrdiff_t>(dice_.index(script.size() + 1));
    script.insert(script.begin() + where, {Kind::kClose, 0});
  }

  Dice dice_;
  const ProgramLimits limits_;
  Program program_;
};

/// The number that a call has put into this request; 0 if it is none of a program's.
std::int64_t number_in(const mocks::Operation& operation) {
  if (operation.batch) {
    if (operation.batch->data.empty()) return 0;
    return operation.batch->data.front().model_input.text_tokens().front();
  }
  const Json json = Json::parse(operation.body);
  if (operation.kind == "optim_step") {
    const double rate = json.at("adam_params").at("learning_rate");
    return std::llround(rate * 1000) * 1000;
  }
  if (operation.kind == "asample") return json.at("prompt").at("chunks")[0].at("tokens")[0];
  return std::stoll(json.at("path").get<std::string>().substr(1)) * 1000;
}

}  // namespace

std::string Call::owner() const {
  const char* kind_of_client = kind == CallKind::kSample ? "sampler-" : "model-";
  return kind_of_client + std::to_string(client + 1);
}

std::string Call::text() const {
  std::string text = "#" + std::to_string(number) + " " + name_of(kind);
  if (is_batch(kind)) text += " of " + std::to_string(examples) + " examples";
  if (deadline) text += " within " + std::to_string(deadline->count()) + " ms";
  return text + " on " + owner();
}

std::vector<ErrorCode> Call::fatal(bool parallel) const {
  std::vector<ErrorCode> at_submission;
  std::vector<ErrorCode> later;
  for (const RequestPlan& request : requests) {
    if (!request.fatal) continue;
    (request.fatal_at_submission ? at_submission : later).push_back(*request.fatal);
  }
  // A batch that is not sent whole is not asked for, and one after another only one chunk can fail.
  if (at_submission.empty()) return later;
  if (!parallel) at_submission.resize(1);
  return at_submission;
}

std::optional<Program::Place> Program::find(const mocks::Operation& operation) const {
  const std::int64_t number = number_in(operation);
  const auto call = static_cast<std::size_t>(number / 1000);
  const std::size_t request = static_cast<std::size_t>(number % 1000) / kChunkExamples;
  if (call < 1 || call > calls.size() || request >= calls[call - 1].requests.size()) {
    return std::nullopt;
  }
  const Call& found = calls[call - 1];
  const bool filler = found.requests.size() > 1 && request == 0 && operation.examples() == 1;
  return Place{static_cast<int>(call) - 1, request, filler};
}

mocks::OperationPlan Program::server_plan(const mocks::Operation& operation) const {
  const auto place = find(operation);
  if (!place) return {};
  if (!place->filler) return plan(*place).server;
  const int refused = operation.seq_id % 4 == 0 ? attempts : static_cast<int>(operation.seq_id % 3);
  return {.refusals = std::vector<mocks::Reply>(static_cast<std::size_t>(refused),
                                                mocks::Reply::json("{}", 503))};
}

Program make_program(std::uint64_t seed, const ProgramLimits& limits) {
  return Maker(seed, limits).make();
}

std::vector<std::uint64_t> seeds(std::uint64_t first, std::uint64_t count) {
  if (const char* only = std::getenv("TINKEX_SCHEDULE_SEED")) {
    return {std::strtoull(only, nullptr, 10)};
  }
  std::vector<std::uint64_t> all(count);
  for (std::uint64_t i = 0; i < count; ++i) all[i] = first + i;
  return all;
}

}  // namespace tinkex::testing
