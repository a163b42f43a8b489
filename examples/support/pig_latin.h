#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "examples/support/data.h"

namespace sft {

class Dice;

/// English to Pig Latin: the consonants before the first vowel move to the end, then "ay" follows.
/// A word that begins with a vowel gets "way". After the first letter, y is a vowel.
///
///   string -> ingstray     apple -> appleway     yellow -> ellowyay     try -> ytray
std::string pig_latin(std::string_view word);

/// Real words that the model never sees in training.
const std::vector<std::string>& held_out_words();

/// A made-up word that sounds English: 3 to 9 letters, never one of the held-out words.
std::string made_up_word(Dice& dice);

/// Learns the rule from made-up words, and is asked about real ones.
std::unique_ptr<Task> pig_latin_task(std::int64_t seed);

}  // namespace sft
