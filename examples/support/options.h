#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tinkex/error.h"
#include "torch_ext/programs/dtypes.h"

namespace sft {

/// The --tokenizer that is no file.
inline constexpr char kBytes[] = "bytes";

using tinkex::torch_ext::programs::kBfloat16;
using tinkex::torch_ext::programs::kDtypes;
using tinkex::torch_ext::programs::kFloat32;

/// The most examples of a step: all of them are in memory at once.
inline constexpr std::int64_t kLargestBatch = 65536;

/// The command line. What is absent takes its default, or with --resume the value of the run.
struct Options {
  std::optional<std::string> data;
  std::optional<std::int64_t> steps;
  std::optional<std::int64_t> batch_size;
  std::optional<double> learning_rate;
  std::optional<std::int64_t> rank;
  std::optional<std::string> base_model;
  std::optional<std::string> dtype;
  std::optional<std::int64_t> seed;
  std::optional<std::string> base_url;
  std::optional<std::string> tokenizer;
  std::optional<std::string> out;
  std::optional<std::string> resume;
  int threads = 0;
  std::int64_t stop_after = 0;  ///< 0: the steps of the run.
  std::int64_t save_every = 0;  ///< Steps; 0: a share of the run.
  bool merge = false;           ///< Whether to write the trained model at the end.
};

/// Options, or the exit code of a program that is done already (--help, or a usage error, which
/// has been reported on standard error).
struct ParsedOptions {
  std::optional<Options> options;
  int exit_code = 0;
};
ParsedOptions parse_options(int argc, const char* const* argv);

inline constexpr int kFailure = 1;
inline constexpr int kUsageError = 2;

/// kUsageError if the caller's arguments are to blame, else kFailure.
int exit_code_of(const tinkex::Error& error);

}  // namespace sft
