#include "torch_ext/explanation.h"

#include <sstream>

namespace tinkex::torch_ext {

std::size_t Explanation::requests() const {
  std::size_t sum = 0;
  for (const ExplainedPass& pass : passes) sum += pass.plan.chunks.size();
  return sum;
}

std::size_t Explanation::bytes() const {
  std::size_t sum = 0;
  for (const ExplainedPass& pass : passes) sum += pass.plan.bytes();
  return sum;
}

std::string Explanation::text() const {
  std::ostringstream out;
  out << passes.size() << (passes.size() == 1 ? " pass, " : " passes, ") << requests()
      << (requests() == 1 ? " request, " : " requests, ") << "about " << bytes() << " bytes\n";
  for (const ExplainedPass& pass : passes) {
    out << pass.call << "\n";
    for (const BatchChunk& chunk : pass.plan.chunks) {
      out << "  sequences " << chunk.begin << " to " << chunk.end - 1 << ": " << chunk.numbers
          << " numbers, about " << chunk.bytes << " bytes\n";
    }
  }
  return out.str();
}

}  // namespace tinkex::torch_ext
