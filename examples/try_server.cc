// Tries what a server of the Tinker API can do, call by call, and prints one line for each.
//
//   TINKER_BASE_URL=http://127.0.0.1:10610 TINKER_API_KEY=tml-... try_server NAME
//
// NAME is one of the server's models; without it, those that it offers are listed. Nothing needs a
// tokenizer: the examples are small token ids. Checkpoints stay on the server, under names that
// begin with try-. Exit codes: 0 everything works, 1 something does not, 2 wrong arguments.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tinkex/service_client.h"
#include "tinkex/training_client.h"

namespace {

using tinkex::Datum;
using tinkex::ForwardBackwardOutput;
using tinkex::ModelInput;
using tinkex::SamplingClient;
using tinkex::TensorData;
using tinkex::TrainingClient;

constexpr std::int64_t kExamples = 10;
constexpr std::int64_t kTokens = 8;
constexpr std::size_t kChunk = 4;  // so that a batch needs three requests
constexpr int kSteps = 4;

std::vector<Datum> make_batch() {
  std::vector<Datum> batch;
  for (std::int64_t example = 0; example < kExamples; ++example) {
    std::vector<std::int64_t> tokens;
    std::vector<std::int64_t> targets;
    for (std::int64_t i = 0; i < kTokens; ++i) {
      tokens.push_back(10 + (example + i) % 50);
      targets.push_back(10 + (example + i + 1) % 50);
    }
    Datum datum;
    datum.model_input = ModelInput::from_tokens(std::move(tokens));
    datum.loss_fn_inputs = {{"target_tokens", TensorData::from(std::move(targets))},
                            {"weights", TensorData::from(std::vector<float>(kTokens, 1.0f))}};
    batch.push_back(std::move(datum));
  }
  return batch;
}

/// What an answer lacks is told like any other error.
void expect(bool good, const std::string& complaint) {
  if (!good) throw tinkex::Error(tinkex::ErrorCode::kDecode, complaint);
}

/// The loss from the logprobs: not every server reports it. Checks the shape of every answer.
double loss_of(const ForwardBackwardOutput& output) {
  expect(output.loss_fn_outputs.size() == static_cast<std::size_t>(kExamples),
         std::to_string(output.loss_fn_outputs.size()) + " outputs for " +
             std::to_string(kExamples) + " examples");
  double loss = 0;
  for (const auto& fields : output.loss_fn_outputs) {
    const TensorData* logprobs = tinkex::find(fields, "logprobs");
    expect(logprobs != nullptr, "an output has no logprobs");
    expect(logprobs->size() == static_cast<std::size_t>(kTokens), "not one logprob per target");
    for (const float value : logprobs->to_floats()) loss -= value;
  }
  return loss;
}

bool near(double a, double b) { return std::abs(a - b) <= 1e-2 * std::max(1.0, std::abs(b)); }

std::string text(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.4f", value);
  return buffer;
}

class Trial {
 public:
  explicit Trial(tinkex::ServiceClient service) : service_(std::move(service)) {}

  bool run(const std::string& model) {
    check("create_lora_training_client", [&] {
      client_ = service_.create_lora_training_client(model, {.rank = 8}).get().value();
      return "model " + client_->model_id();
    });
    if (!client_) return false;
    try_training();
    try_checkpoints();
    try_sampling(model);
    return good_;
  }

 private:
  /// One line: what `body` returns, or the error that it throws.
  void check(const char* what, const std::function<std::string()>& body) {
    try {
      std::printf("ok    %-38s %s\n", what, body().c_str());
    } catch (const std::exception& error) {
      good_ = false;
      std::printf("FAIL  %-38s %s\n", what, error.what());
    }
    std::fflush(stdout);
  }

  double loss(TrainingClient& client) {
    return loss_of(client.forward(batch_, tinkex::loss::kCrossEntropy).get().value());
  }

  void try_training() {
    check("forward, in three chunks", [this] { return "loss " + text(first_ = loss(*client_)); });
    check("forward_backward and optim_step", [this] {
      double before = 0;
      for (int step = 0; step < kSteps; ++step) {
        auto pass = client_->forward_backward(batch_, tinkex::loss::kCrossEntropy);
        auto update = client_->optim_step({.learning_rate = 1e-2});
        const double now = loss_of(pass.get().value());
        if (step == 0) expect(near(now, first_), "its loss is not that of forward: " + text(now));
        before = now;
        update.get().value();
      }
      const double after = loss(*client_);
      expect(after < before && before < first_, "the loss does not fall");
      return "loss " + text(first_) + " to " + text(after) + " in " + std::to_string(kSteps) +
             " steps";
    });
    check("a refused loss, and what follows it", [this] {
      const auto refused = client_->forward_backward(batch_, "no_such_loss").get();
      expect(!refused.ok(), "'no_such_loss' was taken");
      // Some servers fail the step that the batch belongs to, so that no half of it is applied.
      (void)client_->optim_step({.learning_rate = 0}).get();
      loss(*client_);
      return std::string("usable after: ") + refused.error().what();
    });
  }

  void try_checkpoints() {
    std::string path;
    double saved = 0;
    check("save_state", [&] {
      saved = loss(*client_);
      return path = client_->save_state(name_).get().value().path;
    });
    if (path.empty()) return;
    check("load_state", [&] {
      auto pass = client_->forward_backward(batch_, tinkex::loss::kCrossEntropy);
      client_->optim_step({.learning_rate = 1e-2}).get().value();
      loss_of(pass.get().value());
      const double moved = loss(*client_);
      client_->load_state(path).get().value();
      const double loaded = loss(*client_);
      expect(near(loaded, saved) && !near(moved, saved), "the weights are not the saved ones");
      return "loss " + text(moved) + " back to " + text(loaded);
    });
    check("create_training_client_from_state", [&] {
      auto copy = service_.create_training_client_from_state(path).get().value();
      const double loaded = loss(copy);
      expect(near(loaded, saved), "the weights are not the saved ones: " + text(loaded));
      auto pass = copy.forward_backward(batch_, tinkex::loss::kCrossEntropy);
      copy.optim_step({.learning_rate = 1e-2}).get().value();
      loss_of(pass.get().value());
      return "model " + copy.model_id() + ", loss " + text(loaded) + " to " + text(loss(copy));
    });
  }

  std::string try_sampler(SamplingClient sampler) {
    const auto prompt = ModelInput::from_tokens(std::vector<std::int64_t>{10, 11, 12});
    const auto drawn =
        sampler.sample(prompt, 2, {.max_tokens = 4}, {.prompt_logprobs = true}).get().value();
    expect(drawn.sequences.size() == 2, std::to_string(drawn.sequences.size()) + " samples, not 2");
    expect(!drawn.sequences[0].tokens.empty(), "a sample without tokens");
    expect(drawn.prompt_logprobs.size() == 3, "not one logprob per prompt token");
    return "2 samples of " + std::to_string(drawn.sequences[0].tokens.size()) + " tokens, " +
           (drawn.sequences[0].logprobs.empty() ? "without" : "with") + " logprobs";
  }

  void try_sampling(const std::string& model) {
    check("save_weights_for_sampler, sample", [&] {
      const auto saved = client_->save_weights_for_sampler(name_ + "-s").get().value();
      expect(saved.path.has_value(), "no path");
      return try_sampler(service_.create_sampling_client(std::nullopt, saved.path).get().value());
    });
    check("save_weights_and_get_sampling_client", [&] {
      return try_sampler(client_->save_weights_and_get_sampling_client().get().value());
    });
    check("create_sampling_client, base model", [&] {
      return try_sampler(service_.create_sampling_client(model, std::nullopt).get().value());
    });
  }

  tinkex::ServiceClient service_;
  std::optional<TrainingClient> client_;
  const std::vector<Datum> batch_ = make_batch();
  const std::string name_ =
      "try-" + std::to_string(std::chrono::system_clock::now().time_since_epoch().count());
  double first_ = 0;
  bool good_ = true;
};

void list_models(tinkex::ServiceClient& service) {
  const auto models = service.get_supported_models().get().value();
  std::fprintf(stderr, "try_server: name one of the server's models:\n");
  for (const auto& model : models) {
    std::fprintf(stderr, "  %s\n", model.model_name.c_str());
  }
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc > 1 && argv[1][0] == '-') {
    const bool asked = std::string_view(argv[1]) == "--help";
    std::fputs(
        "try_server NAME    tries what the server can do with its model NAME, call by call\n"
        "try_server         lists the server's models\n"
        "TINKER_BASE_URL and TINKER_API_KEY name the server. Checkpoints stay there (try-...).\n"
        "Exit codes: 0 everything works, 1 something does not, 2 wrong arguments\n",
        asked ? stdout : stderr);
    return asked ? 0 : 2;
  }
  tinkex::ClientOptions options;
  options.chunk_limits.max_examples = kChunk;
  options.default_deadline = std::chrono::minutes(3);
  auto service = tinkex::ServiceClient::connect(std::move(options)).value();
  if (argc != 2) {
    list_models(service);
    return 2;
  }
  return Trial(std::move(service)).run(argv[1]) ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "try_server: %s\n", error.what());
  return 1;
}
