#pragma once

#include <filesystem>

namespace tinkex::bench {

/// What the loop is run on.
struct LoopOptions {
  std::filesystem::path model;  ///< A pretrained model; empty: tinkex/tiny.
  int examples = 128;           ///< As many as one request holds.
  int tokens = 32;              ///< Of each example.
  int rounds = 31;
};

/// Compares a loop of RemoteModel on the embedded backend in this process with the same steps on
/// the engine itself, by turns, and prints both. Throws Error, also if the two learn differently.
void bench_loop(const LoopOptions& options);

}  // namespace tinkex::bench
