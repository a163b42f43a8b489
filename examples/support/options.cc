#include "examples/support/options.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <type_traits>
#include <utility>
#include <vector>

#include "examples/support/option_checks.h"
#include "torch_ext/programs/unknown_options.h"

namespace sft {
namespace {

constexpr char kAbout[] =
    "Fine-tunes a language model through the Tinker API: LibTorch tensors become Datums, the model "
    "trains LoRA adapters on them.\n"
    "Without --data the model learns to turn orders into JSON; a small built-in one learns Pig "
    "Latin. Without --base-url, TINKER_BASE_URL or TINKER_API_KEY it trains in this process.";

constexpr char kExamples[] =
    "Examples:\n"
    "  sft                                   train SmolLM2 on orders, some minutes\n"
    "  sft --base-model tinkex/tiny          train a small model on Pig Latin\n"
    "  sft --data poems.txt --steps 300      learn from a text\n"
    "  sft --resume sft-out                  go on from where a run was stopped\n"
    "  sft --merge                           write the trained model for other programs too\n"
    "  sft --resume sft-out --merge          the same of a run that is done\n"
    "  TINKER_BASE_URL=http://127.0.0.1:8080 sft\n"
    "                                        train on a local_server of tinkex\n"
    "  TINKER_API_KEY=... sft --base-model NAME --tokenizer bytes --data pairs.jsonl\n"
    "                                        train on the hosted service, or with TINKER_BASE_URL\n"
    "                                        on any other: NAME is one of its models (a wrong one\n"
    "                                        lists them), whose tokens are other than bytes\n"
    "Exit codes: 0 done, 1 failure, 2 wrong arguments or a --learning-rate that ruins the model,\n"
    "130 stopped by Ctrl-C (143: SIGTERM, 129: SIGHUP) and saved.";

/// Options, each with a check of its value. What the checks find is noted, and not thrown by CLI11:
/// so a command line is told all that is wrong with it at once.
class CommandLine {
 public:
  CommandLine() { app_.allow_extras(); }

  CLI::App& app() { return app_; }
  void complain(std::string what) { complaints_.push_back(std::move(what)); }
  const std::vector<std::string>& complaints() const { return complaints_; }

  template <class T>
  CLI::Option* add(const std::string& name, T& value, const std::string& text, OptionCheck check) {
    constexpr bool is_text = std::is_same_v<T, std::optional<std::string>>;
    return app_.add_option(name, value, text)
        ->transform(CLI::Validator(
            [this, name, check = std::move(check)](std::string& typed) -> std::string {
              const std::string wrong = check(typed);
              if (wrong.empty()) return "";
              complain(name + ": " + wrong);
              if (!is_text) typed = "1";  // CLI11 shall go on to the other options.
              return "";
            },
            ""));
  }

  /// Complains about what is no option. That comes first: a misspelt one may be the reason why the
  /// value of another is wrong.
  void complain_about_the_rest(int argc, const char* const* argv) {
    auto sentences = tinkex::torch_ext::programs::about_unknown(app_, argc, argv);
    complaints_.insert(complaints_.begin(), sentences.begin(), sentences.end());
  }

 private:
  CLI::App app_{kAbout, "sft"};
  std::vector<std::string> complaints_;
};

void add_training_options(CommandLine& line, Options& options) {
  line.add(
      "--data", options.data,
      "examples: .jsonl with text, prompt/completion or messages, or plain .txt; messages are\n"
      "written by the model's chat template where it has one, and the assistant's learned",
      not_empty());
  line.add("--steps", options.steps, "optimizer steps in all (default 60, for tinkex/ models 1000)",
           whole_number(1, "give at least one step"));
  line.add(
      "--batch-size", options.batch_size, "examples a step (default 8, for tinkex/ models 64)",
      whole_number(1, "a batch needs at least one example, and is held in memory", kLargestBatch));
  line.add("--learning-rate", options.learning_rate,
           "its peak (default 0.0005, for tinkex/ models 0.005)", positive_number());
  line.add("--rank", options.rank, "rank of the LoRA adapters (default 32)",
           whole_number(1, "adapters need a rank of at least 1"));
  line.add("--base-model", options.base_model,
           "model to adapt: a name, or a folder of Hugging Face's or a GGUF file\n"
           "(default SmolLM2 if it was fetched, else tinkex/tiny)",
           not_empty());
  line.add("--dtype", options.dtype,
           "how this process holds the weights of a model from files: float32 (default), or\n"
           "bfloat16 in half the memory; --merge writes them so, too",
           one_of({kDtypes.begin(), kDtypes.end()}));
  line.add("--seed", options.seed, "same seed, same losses (default 1)",
           whole_number(0, "seeds are not negative"));
}

void add_other_options(CommandLine& line, Options& options) {
  line.add("--threads", options.threads, "threads of the arithmetic (default: all cores)",
           whole_number(0, "0 leaves the choice to LibTorch", 1024));
  auto* out =
      line.add("--out", options.out,
               "folder for results (default: sft-out, or the next that is free)", not_empty());
  out->excludes(line.add("--resume", options.resume, "folder of a run to go on with", not_empty()));
  line.add("--stop-after", options.stop_after,
           "stop and save after so many further steps, as Ctrl-C would; --resume goes on",
           whole_number(1, "leave it out to train to the end"));
  line.add("--save-every", options.save_every,
           "save after so many steps, too (default: ten times in a run, and at least 5 steps\n"
           "apart); a run that fails goes on from there by --resume",
           whole_number(2, "a step is known to be good once the next one is done"));
  line.app().add_flag(
      "--merge", options.merge,
      "at the end, write the trained model to FOLDER/merged, for transformers and others;\n"
      "its weights are float32, or what --dtype says");
  line.add("--base-url", options.base_url, "server (default: TINKER_BASE_URL)", web_address());
  line.add("--tokenizer", options.tokenizer,
           "a tokenizer.json, or a model that has one (default: the model's own); 'bytes' "
           "sends bytes as token ids whatever the model",
           tokenizer_place());
}

/// CLI11's words, as one sentence.
std::string sentence_of(const CLI::ParseError& error) {
  std::string text = error.what();
  while (!text.empty() && text.back() == '\n') text.pop_back();
  for (std::size_t at; (at = text.find('\n')) != std::string::npos;) text.replace(at, 1, " ");
  return text;
}

/// One complaint a line.
void report(const std::vector<std::string>& complaints) {
  for (const std::string& complaint : complaints) {
    const bool last = &complaint == &complaints.back();
    std::fprintf(stderr, "sft: %s%s\n", complaint.c_str(),
                 last ? " (sft --help lists the options)" : "");
  }
}

}  // namespace

ParsedOptions parse_options(int argc, const char* const* argv) {
  Options options;
  CommandLine line;
  line.app().footer(kExamples);
  add_training_options(line, options);
  add_other_options(line, options);
  try {
    line.app().parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return {std::nullopt, line.app().exit(error)};
    line.complain(sentence_of(error));
  }
  line.complain_about_the_rest(argc, argv);
  if (options.resume && (options.rank || options.base_model || options.dtype || options.seed)) {
    line.complain("--rank, --base-model, --dtype and --seed belong to the run in " +
                  *options.resume + "; leave them out with --resume");
  }
  if (line.complaints().empty()) return {std::move(options), 0};
  report(line.complaints());
  return {std::nullopt, kUsageError};
}

int exit_code_of(const tinkex::Error& error) {
  const bool callers_fault = error.code() == tinkex::ErrorCode::kInvalidArgument ||
                             error.category() == tinkex::ErrorCategory::kUser;
  return callers_fault ? kUsageError : kFailure;
}

}  // namespace sft
