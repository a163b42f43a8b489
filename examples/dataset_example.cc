// Trains on a file of JSON lines through torch::data::DataLoader, and goes on where it stopped:
//
//   ./bazelw run //examples:dataset_example -- notes.jsonl run [STEPS]
//
// trains for STEPS steps, or to the end of two epochs, and saves them in the folder `run`; the same
// command again goes on from there, and says so where nothing is left to do. docs/data.md explains
// it.

#include <torch/serialize.h>
#include <torch/types.h>

#include <charconv>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>

#include "tinkex/tokenizer.h"
#include "torch_ext/connect.h"
#include "torch_ext/data.h"
#include "torch_ext/programs/callers_directory.h"
#include "torch_ext/seeded_sampler.h"

namespace {

using namespace tinkex::torch_ext;  // NOLINT(google-build-using-namespace): what this example
                                    // shows.

constexpr std::size_t kBatchSize = 4;
constexpr std::uint64_t kEpochs = 2;

/// The model and how far it came, in one file: whenever the program is killed, both are of the same
/// step. (After a power failure the newest file may be damaged: nothing here waits for the disk.)
/// Gives the model's checkpoint.
std::string save(tinkex::TrainingClient& model, const SeededSampler& done,
                 const std::string& file) {
  const std::string name = std::to_string(done.epoch()) + "-" + std::to_string(done.index());
  std::string path = model.save_state(name).get().value().path;
  torch::serialize::OutputArchive archive;
  archive.write("checkpoint", c10::IValue(path));
  done.save(archive);
  archive.save_to(file + ".new");
  std::filesystem::rename(file + ".new", file);
  return path;
}

/// Gives the model's checkpoint, and tells the sampler what is done.
std::string load(SeededSampler& done, const std::string& file) {
  torch::serialize::InputArchive archive;
  archive.load_from(file);
  c10::IValue path;
  archive.read("checkpoint", path);
  done.load(archive);
  return path.toStringRef();
}

void say_finished(const std::filesystem::path& folder, const std::string& checkpoint,
                  const Connection& connection) {
  std::cout << "finished: " << kEpochs << " epochs are done\n"
            << "checkpoint " << checkpoint << "\n";
  if (connection.embedded) std::cout << "        in " << connection.data_dir << "\n";
  std::cout << "to start again, name another folder, or remove " << folder.string() << "\n";
}

void train(const std::string& data, const std::filesystem::path& folder, long steps) {
  const tinkex::ByteTokenizer tokenizer;
  auto dataset = TokenDataset::from_jsonl(data, tokenizer, {.max_tokens = 128}).value();
  SeededSampler done(*dataset.size(), /*seed=*/7);

  std::filesystem::create_directories(folder);  // Only now: bad data leaves nothing behind.
  ConnectOptions where;
  where.embedded.data_dir = folder / "backend";
  auto connection = connect(where).value();
  auto& service = connection.service;
  const std::string file = folder / "progress.pt";
  const bool resumed = std::filesystem::exists(file);
  const std::string checkpoint = resumed ? load(done, file) : "";
  if (done.epoch() == kEpochs) return say_finished(folder, checkpoint, connection);
  if (resumed) std::cout << "going on from " << file << "\n";
  auto model = resumed ? service.create_training_client_from_state(checkpoint).get().value()
                       : service.create_lora_training_client("tinkex/tiny", {.rank = 8, .seed = 1})
                             .get()
                             .value();

  auto loader = torch::data::make_data_loader(
      dataset.map(Collate()), done,
      torch::data::DataLoaderOptions().batch_size(kBatchSize).workers(2));
  for (; done.epoch() < kEpochs; done.next_epoch()) {
    for (TokenBatch& batch : *loader) {
      auto pass = model.forward_backward(batch.datums().value(), tinkex::loss::kCrossEntropy);
      auto update = model.optim_step({.learning_rate = 4e-3});
      const double loss = pass.get().value().metrics.at("loss:sum");
      update.get().value();
      done.advance(batch.size());
      std::printf("epoch %llu, %zu of %zu examples: loss %.17g\n",
                  static_cast<unsigned long long>(done.epoch()), done.index(), done.size(), loss);
      if (--steps == 0) {
        save(model, done, file);
        return;
      }
    }
  }
  say_finished(folder, save(model, done, file), connection);
}

/// A number from 1 on, or nothing.
std::optional<long> parse_steps(std::string_view text) {
  long steps = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), steps);
  if (error != std::errc() || end != text.data() + text.size() || steps < 1) return std::nullopt;
  return steps;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3 && argc != 4) {
    const bool asked = argc == 2 && std::string_view(argv[1]) == "--help";
    (asked ? std::cout : std::cerr) << "usage: dataset_example FILE.jsonl FOLDER [STEPS]\n";
    return asked ? 0 : 2;
  }
  const std::optional<long> steps = argc == 4 ? parse_steps(argv[3]) : 0;
  if (!steps) {
    std::cerr << "STEPS is '" << argv[3] << "', expected a whole number from 1 on\n";
    return 2;
  }
  programs::enter_callers_directory("dataset_example");
  train(argv[1], argv[2], *steps);
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
