#pragma once

#include <memory>
#include <string>
#include <vector>

#include "examples/support/data.h"

namespace sft {

/// Learns from the examples of a file, all of them once in each epoch, in an order drawn from the
/// seed. A tenth of them, 32 at most, is held out for the prompts if there are ten or more.
std::unique_ptr<Task> file_task(std::string name, std::vector<Example> examples, std::int64_t seed);

}  // namespace sft
