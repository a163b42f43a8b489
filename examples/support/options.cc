#include "examples/support/options.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <system_error>

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
    "Exit codes: 0 done, 1 failure, 2 wrong arguments, 130 stopped by Ctrl-C (143: SIGTERM,\n"
    "129: SIGHUP) and saved.";

/// A number as a whole, or nothing.
template <class T>
std::optional<T> parse_number(const std::string& text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// An integer from `least` on, in decimal: for CLI11, which reads the text afterwards, a zero at
/// the front would make it octal. CLI11 shows the text that it returns after the option's name.
CLI::Validator whole_number(std::int64_t least, const char* advice,
                            std::int64_t most = std::numeric_limits<std::int32_t>::max()) {
  return CLI::Validator(
      [=](std::string& text) -> std::string {
        const auto value = parse_number<std::int64_t>(text);
        if (value && *value >= least && *value <= most) {
          text = std::to_string(*value);
          return "";
        }
        return "'" + text + "' is not a whole number from " + std::to_string(least) + " to " +
               std::to_string(most) + "; " + advice;
      },
      "");
}

CLI::Validator positive_number() {
  return CLI::Validator(
      [](std::string& text) -> std::string {
        const auto value = parse_number<double>(text);
        if (value && std::isfinite(*value) && *value > 0) return "";
        return "'" + text + "' is not a positive number; give one such as 0.005 or 1e-4";
      },
      "");
}

CLI::Validator not_empty() {
  return CLI::Validator(
      [](std::string& text) -> std::string {
        return text.empty() ? "is empty; give a value or leave the option out" : "";
      },
      "");
}

void add_training_options(CLI::App& app, Options& options) {
  app.add_option(
         "--data", options.data,
         "examples: .jsonl with text, prompt/completion or messages, or plain .txt; messages are\n"
         "written by the model's chat template where it has one, and the assistant's learned")
      ->check(not_empty());
  app.add_option("--steps", options.steps,
                 "optimizer steps in all (default 60, for tinkex/ models 1000)")
      ->transform(whole_number(1, "give at least one step"));
  app.add_option("--batch-size", options.batch_size,
                 "examples a step (default 8, for tinkex/ models 64)")
      ->transform(whole_number(1, "a batch needs at least one example"));
  app.add_option("--learning-rate", options.learning_rate,
                 "its peak (default 0.0005, for tinkex/ models 0.005)")
      ->check(positive_number());
  app.add_option("--rank", options.rank, "rank of the LoRA adapters (default 32)")
      ->transform(whole_number(1, "adapters need a rank of at least 1"));
  app.add_option("--base-model", options.base_model,
                 "model to adapt: a name, or a folder of Hugging Face's or a GGUF file\n"
                 "(default SmolLM2 if it was fetched, else tinkex/tiny)")
      ->check(not_empty());
  app.add_option("--dtype", options.dtype,
                 "how this process holds the weights of a model from files: float32 (default), or\n"
                 "bfloat16 in half the memory; --merge writes them so, too")
      ->check(CLI::IsMember({"float32", "bfloat16"}));
  app.add_option("--seed", options.seed, "same seed, same losses (default 1)")
      ->transform(whole_number(0, "seeds are not negative"));
}

void add_other_options(CLI::App& app, Options& options) {
  app.add_option("--threads", options.threads, "threads of the arithmetic (default: all cores)")
      ->transform(whole_number(0, "0 leaves the choice to LibTorch", 1024));
  auto* out = app.add_option("--out", options.out,
                             "folder for results (default: sft-out, or the next that is free)");
  auto* resume = app.add_option("--resume", options.resume, "folder of a run to go on with");
  out->check(not_empty())->excludes(resume);
  resume->check(not_empty());
  app.add_option("--stop-after", options.stop_after,
                 "stop and save after so many further steps, as Ctrl-C would; --resume goes on")
      ->transform(whole_number(1, "leave it out to train to the end"));
  app.add_option(
         "--save-every", options.save_every,
         "save after so many steps, too (default: ten times in a run, and at least 5 steps\n"
         "apart); a run that fails goes on from there by --resume")
      ->transform(whole_number(2, "a step is known to be good once the next one is done"));
  app.add_flag(
      "--merge", options.merge,
      "at the end, write the trained model to FOLDER/merged, for transformers and others;\n"
      "its weights are float32, or what --dtype says");
  app.add_option("--base-url", options.base_url, "server (default: TINKER_BASE_URL)")
      ->check(not_empty());
  app.add_option("--tokenizer", options.tokenizer,
                 "a tokenizer.json, or a model that has one (default: the model's own); 'bytes' "
                 "sends bytes as token ids whatever the model")
      ->check(CLI::Validator(
          [](std::string& text) -> std::string {
            std::error_code missing;
            if (text == kBytes || std::filesystem::exists(text, missing)) return "";
            return "'" + text + "' is not there; give a tokenizer.json, a model or bytes";
          },
          ""));
}

/// CLI11's words, as one sentence.
std::string sentence_of(const CLI::ParseError& error) {
  std::string text = error.what();
  while (!text.empty() && text.back() == '\n') text.pop_back();
  for (std::size_t at; (at = text.find('\n')) != std::string::npos;) text.replace(at, 1, " ");
  return text;
}

}  // namespace

ParsedOptions parse_options(int argc, const char* const* argv) {
  Options options;
  CLI::App app{kAbout, "sft"};
  app.footer(kExamples);
  add_training_options(app, options);
  add_other_options(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return {std::nullopt, app.exit(error)};
    std::fprintf(stderr, "sft: %s (sft --help lists the options)\n", sentence_of(error).c_str());
    return {std::nullopt, kUsageError};
  }
  if (options.resume && (options.rank || options.base_model || options.dtype || options.seed)) {
    std::fprintf(stderr,
                 "sft: --rank, --base-model, --dtype and --seed belong to the run in %s; leave "
                 "them out with "
                 "--resume\n",
                 options.resume->c_str());
    return {std::nullopt, kUsageError};
  }
  return {std::move(options), 0};
}

int exit_code_of(const tinkex::Error& error) {
  const bool callers_fault = error.code() == tinkex::ErrorCode::kInvalidArgument ||
                             error.category() == tinkex::ErrorCategory::kUser;
  return callers_fault ? kUsageError : kFailure;
}

void enter_callers_directory() {
  const char* directory = std::getenv("BUILD_WORKING_DIRECTORY");  // NOLINT(*-mt-unsafe)
  std::error_code ignored;  // The directory may be gone; absolute paths still work.
  if (directory != nullptr) std::filesystem::current_path(directory, ignored);
}

}  // namespace sft
