#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tinkex::torch_ext {

/// The numbers from 0 to size - 1, shuffled. The same arguments give the same order on every
/// machine and with every standard library, which std::shuffle does not promise; each epoch of a
/// seed has an order of its own.
std::vector<std::size_t> seeded_order(std::size_t size, std::uint64_t seed, std::uint64_t epoch);

}  // namespace tinkex::torch_ext
