#pragma once

#include <exception>
#include <new>
#include <string>
#include <utility>

#include "tinkex/base/byte_buffer.h"
#include "tinkex/error.h"

namespace tinkex::wire {

/// Inside this folder the encoders and decoders report by throwing an Error, which keeps code that
/// walks nested messages readable. These two functions are the only exits: every codec method goes
/// through one of them, so nothing ever leaves as an exception.

/// Runs `decode()`, which returns the value.
template <class Decode>
auto decode_guarded(Decode&& decode) noexcept -> Result<decltype(decode())> {
  try {
    return std::forward<Decode>(decode)();
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return Error(ErrorCode::kInternal, "out of memory while decoding");
  } catch (const std::exception&) {  // of protozero: a field that ends behind the end
    return Error(ErrorCode::kDecode,
                 "its bytes are damaged, or break off: a part was lost on the way, or never sent; "
                 "call again");
  }
}

/// Empties `body`, then runs `encode()`, which fills it. On failure `body` is empty.
template <class Encode>
Status encode_guarded(ByteBuffer& body, Encode&& encode) noexcept {
  body.clear();
  Status status = decode_guarded([&] {
    std::forward<Encode>(encode)();
    return Unit{};
  });
  if (!status) body.clear();
  return status;
}

/// Throws kDecode.
[[noreturn]] inline void fail_decode(std::string message) {
  throw Error(ErrorCode::kDecode, std::move(message));
}

}  // namespace tinkex::wire
