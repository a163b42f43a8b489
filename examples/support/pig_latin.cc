#include "examples/support/pig_latin.h"

#include <algorithm>

#include "examples/support/dice.h"
#include "examples/support/words.h"

namespace sft {
namespace {

bool is_vowel(std::string_view word, std::size_t at) {
  constexpr std::string_view kVowels = "aeiou";
  return kVowels.find(word[at]) != std::string_view::npos || (at > 0 && word[at] == 'y');
}

/// The parts of a syllable; the trailing entries without letters let it begin or end with a vowel.
struct Syllables {
  std::vector<std::string> onset = with_empty(
      split("b c d f g h j k l m n p r s t v w y z bl br ch cl cr dr fl fr gl gr kn pl pr qu sc sh "
            "sk sl sm sn sp st str spr sw th thr tr tw wh wr"));
  std::vector<std::string> nucleus = split("a e i o u a e i o u ai ea ee oa oo ou ow y");
  std::vector<std::string> coda = with_empty(
      split("b d f g k l m n p r s t x ck ll ld nd ng nk nt rd rk rm rn rt ss st ch sh th ght"));

  static std::vector<std::string> with_empty(std::vector<std::string> list) {
    list.resize(list.size() + 12);
    return list;
  }
};

Example example_of(const std::string& word) {
  return Example{.parts = {{word + ">", false}, {pig_latin(word), true}}};
}

class PigLatinTask final : public Task {
 public:
  explicit PigLatinTask(std::int64_t seed) : seed_(seed) {
    for (const std::string& word : held_out_words()) {
      prompts_.push_back({word + ">", pig_latin(word)});
    }
  }

  std::string description() const override {
    return "English to Pig Latin: made-up words to learn from, " + std::to_string(prompts_.size()) +
           " real words held out";
  }

  std::vector<Example> batch(std::int64_t step, std::int64_t size) const override {
    Dice dice(seed_, step);
    std::vector<Example> examples;
    for (std::int64_t i = 0; i < size; ++i) examples.push_back(example_of(made_up_word(dice)));
    return examples;
  }

  const std::vector<Prompt>& prompts() const override { return prompts_; }

  /// The longest word, "way" and the end.
  std::int64_t answer_tokens() const override { return 9 + 3 + 1; }

  tinkex::Result<std::string> fit(const tinkex::Tokenizer& /*tokenizer*/,
                                  std::int64_t context_length) override {
    // By bytes; no tokenizer makes more tokens of a word.
    constexpr std::int64_t kLongest = 1 + 9 + 1 + 9 + 3;
    return fit_whole("the Pig Latin task", kLongest, context_length);
  }

 private:
  const std::int64_t seed_;
  std::vector<Prompt> prompts_;
};

}  // namespace

std::string pig_latin(std::string_view word) {
  std::size_t vowel = 0;
  while (vowel < word.size() && !is_vowel(word, vowel)) ++vowel;
  if (vowel == 0) return std::string(word) + "way";
  return std::string(word.substr(vowel)) + std::string(word.substr(0, vowel)) + "ay";
}

const std::vector<std::string>& held_out_words() {
  static const std::vector<std::string> words = split(
      "string apple yellow machine try garden bright ocean school winter question "
      "animal branch captain dress early family glass history island journey kitchen letter "
      "mountain number orange pretty quick river street thunder under village weather young "
      "bridge chance dream every flower ground happy idea jump knock little morning north open "
      "planet quiet round shoulder travel uncle voice window year bread climb drink father "
      "green house");
  return words;
}

std::string made_up_word(Dice& dice) {
  static const Syllables syllables;
  static const std::vector<int> counts = {1, 1, 2, 2, 3};
  const std::vector<std::string>& held_out = held_out_words();
  for (;;) {
    std::string word;
    for (int left = dice.pick(counts); left > 0; --left) {
      word += dice.pick(syllables.onset);
      word += dice.pick(syllables.nucleus);
      word += dice.pick(syllables.coda);
    }
    if (word.size() < 3 || word.size() > 9) continue;
    if (std::find(held_out.begin(), held_out.end(), word) == held_out.end()) return word;
  }
}

std::unique_ptr<Task> pig_latin_task(std::int64_t seed) {
  return std::make_unique<PigLatinTask>(seed);
}

}  // namespace sft
