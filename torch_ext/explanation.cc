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
    const std::vector<BatchChunk>& chunks = pass.plan.chunks;
    for (std::size_t i = 0; i < chunks.size(); ++i) {
      // How many, not which ones: rows of a batch that are nothing but padding are left out.
      const std::size_t sequences = chunks[i].end - chunks[i].begin;
      out << "  request " << i + 1 << " of " << chunks.size() << ": " << sequences
          << (sequences == 1 ? " sequence, " : " sequences, ") << chunks[i].numbers
          << " numbers, about " << chunks[i].bytes << " bytes\n";
    }
  }
  return out.str();
}

}  // namespace tinkex::torch_ext
