// Encodes texts for tests/golden/tokenizers/compare.py, which says how to run it.
//   encode_lines TOKENIZER            reads JSON texts, one a line, and writes [ids, text] a line
//   encode_lines TOKENIZER TEXT_FILE  says how long loading and encoding that file take
// TOKENIZER is a tokenizer.json, or the `tokenizer.ggml` fields of a GGUF file as JSON.

#include <algorithm>
#include <ctime>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tinkex/tokenizers/bpe_tokenizer.h"

namespace tinkex::tokenizers {
namespace {

using Json = nlohmann::json;

std::string read(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Result<BpeTokenizer> load(const std::string& text) {
  if (text.find("\"tokenizer.ggml.pre\"") == std::string::npos)
    return BpeTokenizer::from_json(text);
  const Json json = Json::parse(text);
  GgufVocabulary vocabulary;
  vocabulary.pre = json["tokenizer.ggml.pre"];
  vocabulary.tokens = json["tokenizer.ggml.tokens"].get<std::vector<std::string>>();
  vocabulary.merges = json["tokenizer.ggml.merges"].get<std::vector<std::string>>();
  vocabulary.token_types = json["tokenizer.ggml.token_type"].get<std::vector<std::int32_t>>();
  return BpeTokenizer::from_gguf(std::move(vocabulary));
}

/// CPU time of this process: other programs run beside it.
double seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

int encode_lines(const BpeTokenizer& tokenizer) {
  std::string line;
  while (std::getline(std::cin, line)) {
    const auto ids = tokenizer.encode(Json::parse(line).get<std::string>(), {});
    if (!ids) {
      std::cerr << ids.error().what() << "\n";
      return 1;
    }
    std::cout << Json{*ids, tokenizer.decode_text(*ids, /*skip_special_tokens=*/false)} << "\n";
  }
  return 0;
}

int measure(const BpeTokenizer& tokenizer, const std::string& text) {
  double best = 1e9;
  std::size_t count = 0;
  for (int i = 0; i < 5; ++i) {
    const double begin = seconds();
    count = tokenizer.encode(text).size();
    best = std::min(best, seconds() - begin);
  }
  std::cout << text.size() << " bytes, " << count
            << " tokens: " << static_cast<double>(text.size()) / 1e6 / best << " MB/s\n";
  return 0;
}

}  // namespace
}  // namespace tinkex::tokenizers

int main(int argc, char** argv) {
  using namespace tinkex::tokenizers;
  if (argc < 2 || argc > 3) {
    std::cerr << "usage: encode_lines TOKENIZER [TEXT_FILE]\n";
    return 2;
  }
  const std::string file = read(argv[1]);
  const double begin = seconds();
  const auto tokenizer = load(file);
  if (!tokenizer) {
    std::cerr << tokenizer.error().what() << "\n";
    return 1;
  }
  if (argc == 2) return encode_lines(*tokenizer);
  std::cout << tokenizer->vocab_size() << " tokens loaded in " << seconds() - begin << " s\n";
  return measure(*tokenizer, read(argv[2]));
}
