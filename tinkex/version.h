#pragma once

namespace tinkex {

/// Version of this library.
inline constexpr char kVersion[] = "0.1.0";
/// Version of the official SDK whose protocol this library speaks; servers ask for it.
inline constexpr char kSdkVersion[] = "0.38.0";
inline constexpr char kUserAgent[] = "tinkex/0.1.0 (C++)";

}  // namespace tinkex
