#include "tests/tinkex/schedules/player.h"

#include <algorithm>
#include <utility>

#include "tests/support/scripted_service.h"

namespace tinkex::testing {
namespace {

/// A future, and how to tell whether its value belongs to the call.
template <class T>
class PendingOf final : public Player::Pending {
 public:
  using Check = std::function<std::string(const Result<T>&)>;

  PendingOf(Future<T> future, Check check) : future_(std::move(future)), check_(std::move(check)) {}

  bool ready() const override { return future_.ready(); }
  void when_ready(std::function<void(const std::string& how)> what) override {
    future_.cell()->on_ready([what = std::move(what)](auto& settled) {
      what(settled.result().ok() ? "succeeds" : settled.result().error().what());
    });
  }
  bool wait(std::chrono::milliseconds patience) const override {
    return future_.wait_for(patience);
  }
  void cancel() override { future_.cancel(); }
  void look(Outcome& outcome) override {
    outcome.settled = true;
    const Result<T>& result = future_.get();
    if (result.ok()) {
      outcome.wrong = check_(result);
    } else {
      outcome.error = result.error();
    }
  }

 private:
  Future<T> future_;
  const Check check_;
};

template <class T, class Check>
std::unique_ptr<Player::Pending> pending(Future<T> future, Check check) {
  return std::make_unique<PendingOf<T>>(std::move(future), std::move(check));
}

std::string expect_path(const std::string& path, const std::string& expected) {
  return path == expected ? "" : "path '" + path + "' instead of '" + expected + "'";
}

std::vector<std::int64_t> prompt_of(const Call& call) { return {call.first(), 1, 2}; }

std::string check_sample(const Call& call, const SampleResponse& response) {
  const std::vector<std::int64_t> prompt = prompt_of(call);
  if (response.sequences.size() != 1) return "another number of sequences";
  const auto& tokens = response.sequences.front().tokens;
  const bool same = std::equal(tokens.begin(), tokens.end(), prompt.begin(), prompt.end());
  return same ? "" : "the tokens of another prompt";
}

}  // namespace

Player::Player(const Program& program, Clients clients)
    : program_(program),
      clients_(std::move(clients)),
      pending_(program.calls.size()),
      outcomes_(program.calls.size()) {}

std::unique_ptr<Player::Pending> Player::issue(const Call& call) {
  const auto client = static_cast<std::size_t>(call.client);
  const CallOptions options{.deadline = call.deadline};
  if (call.kind == CallKind::kSample) {
    return pending(clients_.samplers[client].sample(ModelInput::from_tokens(prompt_of(call)), 1, {},
                                                    {}, options),
                   [call](const auto& result) { return check_sample(call, *result); });
  }
  TrainingClient& model = clients_.models[client];
  if (is_batch(call.kind)) {
    const std::vector<Datum> data = batch(call.examples, call.first());
    auto future = call.kind == CallKind::kForward
                      ? model.forward(data, loss::kCrossEntropy, {}, options)
                      : model.forward_backward(data, loss::kCrossEntropy, {}, options);
    return pending(std::move(future), [call](const Result<ForwardBackwardOutput>& output) {
      const auto answers = answers_batch(output, call.examples, call.first());
      return answers ? std::string() : std::string(answers.message());
    });
  }
  const std::string owner = call.owner();
  if (call.kind == CallKind::kOptimStep) {
    return pending(model.optim_step({.learning_rate = call.learning_rate()}, options),
                   [call](const Result<OptimStepResponse>& step) {
                     const auto rate = step->metrics.find("learning_rate");
                     const bool right =
                         rate != step->metrics.end() && rate->second == call.learning_rate();
                     return std::string(right ? "" : "the metrics of another step");
                   });
  }
  if (call.kind == CallKind::kSave) {
    return pending(model.save_state(call.name(), false, options), [call, owner](const auto& saved) {
      return expect_path(saved->path, "tinker://" + owner + "/weights/" + call.name());
    });
  }
  return pending(model.save_weights_for_sampler(call.name(), options),
                 [call, owner](const auto& saved) {
                   return expect_path(saved->path.value_or(""),
                                      "tinker://" + owner + "/sampler_weights/" + call.name());
                 });
}

void Player::call(int index) {
  const auto i = static_cast<std::size_t>(index);
  outcomes_[i].issued = true;
  outcomes_[i].order = ++last_order_;
  pending_[i] = issue(program_.calls[i]);
}

void Player::cancel(int index) {
  const auto i = static_cast<std::size_t>(index);
  outcomes_[i].cancelled = true;
  pending_[i]->cancel();
}

void Player::drop(int index) {
  const auto i = static_cast<std::size_t>(index);
  outcomes_[i].dropped = true;
  pending_[i].reset();
}

void Player::when_ready(int index, std::function<void(const std::string& how)> what) {
  pending_[static_cast<std::size_t>(index)]->when_ready(std::move(what));
}

bool Player::wait(int index, std::chrono::milliseconds patience) const {
  return pending_[static_cast<std::size_t>(index)]->wait(patience);
}

void Player::took(int index, Clock::duration time) {
  outcomes_[static_cast<std::size_t>(index)].took = time;
}

std::vector<Outcome> Player::outcomes() {
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    if (pending_[i] && pending_[i]->ready()) pending_[i]->look(outcomes_[i]);
  }
  return outcomes_;
}

}  // namespace tinkex::testing
