#include "tinkex/connection.h"

namespace tinkex {

Future<Unit> TrainingConnection::unload(const CallOptions& /*call*/) {
  return Future<Unit>::ready_with(
      invalid_argument("unload: this connection has none; override TrainingConnection::unload"));
}

}  // namespace tinkex
