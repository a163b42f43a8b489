#include "examples/support/announce.h"

#include <cstdio>
#include <cstdlib>
#include <optional>

#include "examples/support/counted.h"
#include "examples/support/interrupt.h"
#include "examples/support/server_name.h"
#include "torch_ext/local/lora_layout.h"

namespace sft {
namespace {

namespace local = tinkex::torch_ext::local;

/// How many parameters the adapters have, for the models that come with tinkex.
std::optional<std::int64_t> adapter_size(const std::string& model, std::int64_t rank) {
  const auto config = local::built_in_config(model);
  if (!config) return std::nullopt;
  const auto layout = local::LoraLayout::create(*config, {.rank = rank});
  if (!layout) return std::nullopt;
  return (*layout)->size();
}

std::string with_commas(std::int64_t number) {
  std::string text = std::to_string(number);
  for (std::size_t at = text.size(); at > 3; at -= 3) text.insert(at - 3, ",");
  return text;
}

/// `tinkex/tiny, LoRA rank 32, 123,456 parameters trained`. The count is known for the models that
/// come with tinkex.
std::string describe_model(const tinkex::ModelInfo& info, std::int64_t rank) {
  std::string text = info.model_name + ", LoRA rank " + std::to_string(rank);
  if (const auto size = adapter_size(info.model_name, rank)) {
    text += ", " + with_commas(*size) + " parameters trained";
  }
  return text;
}

/// Quoted for a shell where it needs to be.
std::string quoted(const std::string& text) {
  constexpr char kPlain[] =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:=@%";
  if (text.find_first_not_of(kPlain) == std::string::npos) return text;
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

std::string resume_command(const RunFolder& run) {
  const bool by_bazel = std::getenv("BUILD_WORKING_DIRECTORY") != nullptr;  // NOLINT(*-mt-unsafe)
  return (by_bazel ? "./bazelw run //examples:sft -- --resume " : "sft --resume ") +
         quoted(run.path().string());
}

}  // namespace

void say_where(const tinkex::torch_ext::ConnectOptions& where, const Options& options,
               const Plan& plan) {
  if (tinkex::torch_ext::choose_backend(where) == tinkex::torch_ext::Backend::kServer) {
    std::printf("Opening a model on %s ...\n", server_name(where.client.base_url).c_str());
  } else if (!where.embedded.base_models.empty()) {
    std::printf("Loading %s ...\n", plan.base_model.c_str());
  } else if (!options.base_model && !options.resume) {
    std::printf(
        "SmolLM2 was not fetched, so a small built-in model is trained instead.\n"
        "`./bazelw run //examples:sft` fetches it; --base-model names any other model.\n\n");
  }
  std::fflush(stdout);
}

void greet(const tinkex::torch_ext::Connection& connection, const tinkex::TrainingClient& trainer,
           const Task& task, const RunFolder& run, const std::vector<std::string>& notes) {
  const Plan& plan = run.plan;
  const bool by_default = connection.embedded && !run.resumed();
  std::printf("Backend: %s%s\n", connection.description.c_str(),
              by_default ? " (neither a URL nor an API key was given)" : "");
  std::printf("Model:   %s\n", describe_model(trainer.info(), plan.rank).c_str());
  std::printf("Data:    %s\n", task.description().c_str());
  for (const std::string& note : notes) {
    if (!note.empty()) std::printf("         %s\n", note.c_str());
  }
  std::printf("Run:     %s of %s, learning rate %g, seed %lld\n",
              counted(plan.steps, "step").c_str(), counted(plan.batch_size, "example").c_str(),
              plan.learning_rate, static_cast<long long>(plan.seed));
  if (run.resumed()) {
    std::printf("         going on after step %lld from %s\n", static_cast<long long>(run.step()),
                run.checkpoint().c_str());
  }
  for (const std::string& checkpoint : run.left_behind()) {
    std::printf("         %s is not deleted: the run's folder was copied, or came from elsewhere\n",
                checkpoint.c_str());
  }
  std::printf("Folder:  %s\n\n", run.path().c_str());
  std::fflush(stdout);
}

void say_unchecked(const RunFolder& run, std::int64_t step, const std::string& why) {
  std::fflush(stdout);
  const std::string stays = run.saved() ? ", so " + run.checkpoint() + " stays, too" : "";
  std::fprintf(stderr, "sft: whether step %lld has ruined the model is not known%s: %s\n",
               static_cast<long long>(step), stays.c_str(), why.c_str());
}

void say_what_is_saved(const RunFolder& run, bool merge) {
  if (!run.saved()) return;
  std::fflush(stdout);
  const auto step = static_cast<long long>(run.step());
  const std::string command = resume_command(run) + (merge ? " --merge" : "");
  if (!run.done()) {
    std::fprintf(stderr, "sft: step %lld is saved; go on from it: %s\n", step, command.c_str());
  } else if (merge) {
    std::fprintf(stderr, "sft: step %lld, the last, is saved; merge it: %s\n", step,
                 command.c_str());
  } else {
    std::fprintf(stderr, "sft: step %lld, the last, is saved in %s\n", step, run.path().c_str());
  }
}

void say_how_to_go_on(const RunFolder& run, const Ending& ending) {
  const auto step = static_cast<long long>(run.step());
  if (ending.signal != 0) {
    std::printf("\nStopped by %s after step %lld; everything is saved.\n",
                name_of_signal(ending.signal), step);
  }
  std::printf("\nMetrics:    %s\n", run.file("metrics.jsonl").c_str());
  std::printf("Loss curve: %s\n", run.file("loss.svg").c_str());
  std::printf("Checkpoint: %s", run.checkpoint().c_str());
  if (run.plan.base_url.empty()) std::printf("\n            in %s", run.file("backend").c_str());
  if (run.checkpoint_goes()) {
    std::printf("\n            which goes when this run goes on");
  }
  std::printf("\nGo on:      %s", resume_command(run).c_str());
  if (run.done()) std::printf(" --steps %lld", 2 * step);
  std::printf("%s\n", !run.done() && ending.merge ? " --merge" : "");
  if (run.done() && ending.mergeable) {
    std::printf("Merge:      %s --merge\n", resume_command(run).c_str());
  }
  std::fflush(stdout);
}

}  // namespace sft
