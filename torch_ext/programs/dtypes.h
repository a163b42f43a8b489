#pragma once

#include <array>

namespace tinkex::torch_ext::programs {

/// The values of --dtype: how the embedded backend may hold the weights of a model from files.
inline constexpr char kFloat32[] = "float32";
inline constexpr char kBfloat16[] = "bfloat16";
inline constexpr std::array kDtypes{kFloat32, kBfloat16};

}  // namespace tinkex::torch_ext::programs
