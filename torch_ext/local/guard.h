#pragma once

#include <c10/util/Exception.h>

#include <exception>
#include <new>
#include <utility>

#include "tinkex/error.h"

namespace tinkex::torch_ext::local {

/// What is said where memory runs out while a model is loaded.
inline constexpr char kNoMemoryForModel[] =
    "not enough memory to read the model's files; use a smaller model, or check that they are "
    "whole";

/// Runs `body`, which returns a Result, and turns what it throws into an Error, so that no
/// exception leaves the engine. `out_of_memory` is what is said where memory runs out.
template <class Body>
auto guarded(Body&& body, const char* out_of_memory =
                              "not enough memory for this request; send fewer or "
                              "shorter sequences at once") -> decltype(body()) {
  try {
    return std::forward<Body>(body)();
  } catch (const Error& error) {
    return error;
  } catch (const c10::Error& error) {
    return Error(ErrorCode::kInternal, error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    return Error(ErrorCode::kInternal, out_of_memory);
  } catch (const std::exception& error) {
    return Error(ErrorCode::kInternal, error.what());
  } catch (...) {
    return Error(ErrorCode::kInternal, "something was thrown that is no std::exception");
  }
}

}  // namespace tinkex::torch_ext::local
