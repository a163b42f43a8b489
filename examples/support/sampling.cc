#include "examples/support/sampling.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <utility>

#include "examples/support/batch.h"
#include "examples/support/interrupt.h"
#include "examples/support/progress.h"
#include "tinkex/future.h"
#include "tinkex/outputs.h"

namespace sft {
namespace {

using tinkex::Future;

/// Waits for samples, and shows how many there are. False, and they are called off, if the program
/// is to stop before that.
bool wait_for_all(std::vector<Future<tinkex::SampleResponse>>& pending, SamplingDisplay& display) {
  const auto is_there = [](const auto& future) {
    return future.wait_for(std::chrono::milliseconds(0));
  };
  for (const auto& future : pending) {
    while (!future.wait_for(std::chrono::milliseconds(50))) {
      if (stop_signal() != 0) {
        for (auto& each : pending) each.cancel();
        return false;
      }
      display.show(static_cast<std::size_t>(std::ranges::count_if(pending, is_there)));
    }
  }
  return true;
}

}  // namespace

std::optional<std::vector<std::string>> sample(tinkex::TrainingClient& trainer, const Task& task,
                                               const tinkex::Tokenizer& tokenizer) {
  SamplingDisplay display(task.prompts().size());
  tinkex::SamplingClient sampler = trainer.save_weights_and_get_sampling_client().get().value();
  const tinkex::SamplingParams greedy = {.max_tokens = task.answer_tokens(), .temperature = 0};
  std::vector<Future<tinkex::SampleResponse>> pending;
  for (const Prompt& prompt : task.prompts()) {
    const auto tokens = tinkex::ModelInput::from_tokens(prompt_tokens(prompt, tokenizer));
    pending.push_back(sampler.sample(tokens, 1, greedy));
  }
  if (!wait_for_all(pending, display)) return std::nullopt;
  std::vector<std::string> texts;
  texts.reserve(pending.size());
  for (Future<tinkex::SampleResponse>& future : pending) {
    texts.push_back(answer_of(std::move(future).get().value(), tokenizer).value());
  }
  return texts;
}

}  // namespace sft
