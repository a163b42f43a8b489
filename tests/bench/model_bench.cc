// The engine beside transformers and PEFT, and beside what the machine can do. The program starts
// itself as the workers, so that each has its threads and its memory to itself.

#include <ATen/Parallel.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/bench/child_process.h"
#include "tests/bench/measurement.h"
#include "tests/bench/model_worker.h"

namespace {

using namespace tinkex::bench;

struct Options {
  std::string model;
  std::vector<int> threads{1, 2};
  int rounds = 3;
  ModelWork work;
  std::string eager_python;
  std::string eager_worker = "tests/bench/eager_worker.py";
  std::string worker;  ///< The dtype, where the program is a worker.
};

/// The figures of a worker by what was measured, one a round.
using Figures = std::map<std::string, std::vector<double>>;

struct Competitor {
  std::unique_ptr<ChildProcess> process;
  std::vector<std::string> measured;
  Figures figures;

  nlohmann::json ask(const std::string& what) const {
    process->write_line(what);
    return nlohmann::json::parse(process->read_line());
  }
  double median_of(const std::string& what) const { return median(figures.at(what)); }
};

Competitor start(std::vector<std::string> command, const Options& options,
                 std::vector<std::string> measured) {
  const ModelWork& work = options.work;
  const auto add = [&command](const char* name, const std::string& value) {
    command.emplace_back(name);
    command.push_back(value);
  };
  add("--model", options.model);
  add("--sequences", std::to_string(work.sequences));
  add("--length", std::to_string(work.length));
  add("--decoded", std::to_string(work.decoded));
  add("--rank", std::to_string(work.rank));
  Competitor competitor{std::make_unique<ChildProcess>(command), std::move(measured), {}};
  competitor.process->read_line();
  return competitor;
}

void row(const char* what, double value) { std::printf("  %-52s %10.1f\n", what, value); }

void goal(const char* what, double value, double limit, bool at_least) {
  const bool met = at_least ? value >= limit : value <= limit;
  std::printf("  goal: %-46s %10.2f, at %s %g: %s\n", what, value, at_least ? "least" : "most",
              limit, met ? "met" : "NOT MET");
}

class Contest {
 public:
  explicit Contest(const Options& options) : options_(options) {
    const std::string self = std::filesystem::read_symlink("/proc/self/exe");
    named_.emplace("float32", start({self, "--worker", "float32"}, options,
                                    {"train", "decode", "decode16", "read", "gemm"}));
    named_.emplace("bfloat16",
                   start({self, "--worker", "bfloat16"}, options, {"decode", "decode16", "read"}));
    if (options.eager_python.empty()) return;
    named_.emplace(
        "eager", start({options.eager_python, options.eager_worker}, options, {"train", "decode"}));
  }

  void run() {
    for (const auto& [name, each] : named_) {  // warms up
      for (const std::string& what : each.measured) {
        if (what == "read" && name == "float32") memory_ = each.ask("memory");
        (void)each.ask(what);
      }
    }
    for (int round = 0; round < options_.rounds; ++round) {
      for (const char* what : {"train", "decode", "decode16", "read", "gemm"}) measure(what);
    }
    report();
  }

 private:
  /// By turns, so that what the machine does besides hits all.
  void measure(const std::string& what) {
    for (auto& [name, each] : named_) {
      if (std::ranges::find(each.measured, what) == each.measured.end()) continue;
      each.figures[what].push_back(each.ask(what).get<double>());
    }
  }

  void report() const {
    const Competitor& ours = named_.at("float32");
    const Competitor& half = named_.at("bfloat16");
    const auto eager = named_.find("eager");
    const auto tokens = static_cast<double>(options_.work.sequences * options_.work.length);
    row("training, tokens/s", tokens / ours.median_of("train"));
    row("decode of one sequence, tokens/s", 1 / ours.median_of("decode"));
    row("the same on a bfloat16 base", 1 / half.median_of("decode"));
    row("decode of sixteen, tokens/s", 16 / ours.median_of("decode16"));
    row("the same on a bfloat16 base", 16 / half.median_of("decode16"));
    if (eager != named_.end()) {
      row("eager: training, tokens/s", tokens / eager->second.median_of("train"));
      row("eager: decode of one sequence, tokens/s", 1 / eager->second.median_of("decode"));
    }
    report_goals(ours, half, eager == named_.end() ? nullptr : &eager->second);
    std::fflush(stdout);
  }

  void report_goals(const Competitor& ours, const Competitor& half, const Competitor* eager) const {
    const Figures& f = ours.figures;
    if (eager != nullptr) {
      const Figures& e = eager->figures;
      goal("training against eager", median_ratio(e.at("train"), f.at("train")), 1.1, true);
      goal("decode against eager", median_ratio(e.at("decode"), f.at("decode")), 1.7, true);
      goal("decode on bfloat16 against float32 eager",
           median_ratio(e.at("decode"), half.figures.at("decode")), 3.5, true);
    }
    goal("decode against a plain read of the weights", median_ratio(f.at("read"), f.at("decode")),
         0.7, true);
    std::printf("  bfloat16: decode against a plain read %.2f\n",
                median_ratio(half.figures.at("read"), half.figures.at("decode")));
    const double weights = memory_.at("weights_mib");
    report_sixteen(f, weights);
    goal("MiB of the process beyond the weights", memory_.at("peak_mib").get<double>() - weights,
         1024, false);
  }

  /// Three times one sequence, or 55 % of what large products reach, whichever is less.
  static void report_sixteen(const Figures& f, double weights_mib) {
    const double parameters = weights_mib * (1 << 20) / 4;
    std::vector<double> operations;
    for (const double seconds : f.at("decode16")) {
      operations.push_back(2 * 16 * parameters / seconds);
    }
    const double of_peak = median_ratio(operations, f.at("gemm"));
    const double of_one = 16 * median_ratio(f.at("decode"), f.at("decode16"));
    std::printf("  sixteen sequences: %.2f times one, %.0f %% of the GEMM peak\n", of_one,
                100 * of_peak);
    const bool by_peak = of_one < 3 && of_peak >= 0.55;
    goal(by_peak ? "sixteen sequences against the GEMM peak" : "sixteen sequences against one",
         by_peak ? of_peak : of_one, by_peak ? 0.55 : 3, true);
  }

  const Options& options_;
  std::map<std::string, Competitor> named_;
  nlohmann::json memory_;  ///< Of the float32 worker, after training and decoding.
};

void add_options(CLI::App& app, Options& options) {
  const auto number = [&app](const char* name, auto& value, const char* text) {
    app.add_option(name, value, text)->check(CLI::PositiveNumber)->capture_default_str();
  };
  app.add_option("--model", options.model, "a folder of Hugging Face's or a GGUF file")->required();
  app.add_option("--threads", options.threads, "one contest for each of these (default: 1,2)")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  number("--rounds", options.rounds, "how often each is measured; figures are medians");
  number("--sequences", options.work.sequences, "sequences of a training batch");
  number("--length", options.work.length, "tokens of each of them");
  number("--decoded", options.work.decoded, "tokens to sample");
  number("--rank", options.work.rank, "rank of the LoRA adapters, on all matrices");
  app.add_option(
      "--eager-python", options.eager_python,
      "Python of an environment with torch, transformers, peft and gguf; without it eager "
      "is left out");
  app.add_option("--eager-worker", options.eager_worker, "the script that drives them")
      ->capture_default_str();
  app.add_option("--worker", options.worker)->group("");
}

int run(const Options& options) {
  if (!options.worker.empty()) {
    at::init_num_threads();
    ModelWorker worker(options.model, options.worker, options.work);
    serve_model(worker);
    return 0;
  }
  if (options.eager_python.empty()) {
    std::printf("Eager is left out: --eager-python names no Python that has transformers.\n");
  }
  for (const int threads : options.threads) {
    std::printf("%d thread%s, %d rounds, medians\n", threads, threads == 1 ? "" : "s",
                options.rounds);
    std::fflush(stdout);
    for (const char* name : {"OMP_NUM_THREADS", "MKL_NUM_THREADS"}) {
      ::setenv(name, std::to_string(threads).c_str(), 1);  // NOLINT(*-mt-unsafe): no thread yet
    }
    Contest(options).run();
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{
      "Measures training and sampling of a pretrained model beside transformers and PEFT, and "
      "beside a plain read of the weights. docs/benchmarks.md explains it."};
  add_options(app, options);
  CLI11_PARSE(app, argc, argv);
  try {
    return run(options);
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
