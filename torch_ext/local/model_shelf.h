#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "tinkex/base/mutex.h"
#include "tinkex/error.h"
#include "torch_ext/local/base_model.h"
#include "torch_ext/local/config.h"

namespace tinkex::torch_ext::local {

/// The base models of a backend: those that it was given files for, and the built-in ones, whose
/// weights are made on first use. Thread-safe.
class ModelShelf {
 public:
  /// Loads every file, see load_pretrained(). Two models of one name are an error, of code
  /// kInvalidArgument; what a file lacks is kIo.
  static Result<std::unique_ptr<ModelShelf>> load(std::span<const std::filesystem::path> paths,
                                                  at::ScalarType dtype,
                                                  const std::stop_token& stop);

  /// A line for each model from a file: how much memory its matrices take, and of which kind.
  std::vector<std::string> memory_lines() const;

  /// In the order in which they are offered: those from files first.
  std::vector<std::string> names() const;
  /// By name, or by path as it was given. An unknown one is refused with the list of known ones.
  Result<ModelConfig> config(const std::string& name) const;
  Result<std::shared_ptr<const BaseModel>> model(const std::string& name) TINKEX_EXCLUDES(mutex_);
  /// What clients call its tokenizer: that of bytes, or the absolute path of the model.
  std::string tokenizer_id(const std::string& name) const;

 private:
  struct Loaded {
    std::string path;   ///< As it was given.
    std::string place;  ///< The same from everywhere.
    std::shared_ptr<const BaseModel> model;
  };

  const Loaded* find(const std::string& name) const;

  std::vector<Loaded> loaded_;
  internal::Mutex mutex_;
  std::map<std::string, std::shared_ptr<const BaseModel>> built_in_ TINKEX_GUARDED_BY(mutex_);
};

}  // namespace tinkex::torch_ext::local
