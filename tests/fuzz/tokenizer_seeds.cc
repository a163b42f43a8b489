#include "tests/fuzz/tokenizer_seeds.h"

namespace tinkex::fuzz {
namespace {

const std::string kZero(1, '\0');

/// A tokenizer of a few letters, with further members of the whole and of the model.
std::string small(const std::string& more, const std::string& model = "",
                  const std::string& steps = R"({"type":"ByteLevel","add_prefix_space":false})") {
  return R"({"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"Ġ":3,"1":4,"Ì":5,"ģ":6,"abab":7},)"
         R"("merges":["a b",["ab","ab"]])" +
         model + R"(},"pre_tokenizer":)" + steps + R"(,"decoder":{"type":"ByteLevel"})" + more +
         "}" + kZero + "ab ab1 abab \xcc\x81<s> a<t>b\xff";
}

std::string added(const std::string& flags) {
  return R"(,"added_tokens":[{"id":8,"content":"<s>",)" + flags +
         R"(},{"id":9,"content":"<t>","special":true}])";
}

}  // namespace

std::vector<std::string> tokenizer_gguf_seeds() {
  const std::string text = kZero + "ab ab1 abab <s> a<t>b caf\xc3\xa9 e\xcc\x81\xff";
  std::vector<std::string> seeds = {
      "0 ",
      "1 1ab\nma b\n3<s>\n4<t>\n5[PAD]",
      "2&1ab\n1abab\nma b\nmab ab\n3<s>",
      "3\x3f"
      "4e\xcc\x81\n1\xc3\x83\xc2\xa9\nm\xc3\x83 \xc2\xa9\n3<s>",
      "0\x31"
      "3<s>\n4  \n4a<",
      "1?4\xa9",
      "3 4\xc3",
      "2 1\xff\n1a\xff\nma \xff",
      "0 mab",
      "0 ma c",
      "1 6x",
      "1 1a",
      "3+",
  };
  for (std::string& seed : seeds) seed += text;
  return seeds;
}

std::vector<std::string> tokenizer_json_seeds() {
  return {
      small(""),
      small(R"(,"version":"1.0","truncation":null,"padding":null)", R"(,"ignore_merges":true)"),
      small("", R"(,"unk_token":"ab","fuse_unk":true,"dropout":null)"),
      small(R"(,"normalizer":{"type":"NFC"})" + added(R"("normalized":true)")),
      small(added(R"("lstrip":true,"rstrip":true,"normalized":false)")),
      small(added(R"("single_word":true,"special":true,"normalized":false)")),
      small("", "",
            R"({"type":"Sequence","pretokenizers":[{"type":"Digits"},{"type":"ByteLevel"}]})"),
      small(
          "", "",
          R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"\\p{L}{1,3}|(?i:'s)| ?\\S+"},)"
          R"("behavior":"Isolated","invert":false},{"type":"ByteLevel","use_regex":false}]})"),
      small("", "",
            R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"String":" "},)"
            R"("behavior":"MergedWithNext","invert":true},{"type":"ByteLevel"}]})"),
      small(
          R"(,"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"s"}},)"
          R"({"Sequence":{"id":"A"}}],"pair":[],"special_tokens":{"s":{"ids":[1]}}})"),
      R"({"model":{"vocab":{"a":4294967296},"merges":[]}})",
      R"({"model":{"vocab":{"a":0,"a":1},"merges":[["a"]]}})",
      "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
      "{",
  };
}

std::vector<std::string> tokenizer_pattern_seeds() {
  const std::string text = kZero + "It's 12345 \xc3\xa9t\xc3\xa9,\r\n\n  (THEY'LL) \xe5\xad\x97!?";
  std::vector<std::string> seeds = {
      R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+)",
      R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t)?)",
      R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+)",
      "[一-龥぀-ゟ゠-ヿ]+",
      R"((?<=\s)\S|(?<!a)b|(?=c)d|(?>e+)f)",
      R"(a*?b+?c??d++e*+f?+g{2,3}h{4,}?)",
      R"(\x{e9}\x41\u5b57\.\-\n\r\t\f\v)",
      R"(\w+|\W|\d|\D|\P{L})",
      "(?:a+)+[bc]",
      "b*",
      "(((",
      "[a-",
  };
  for (std::string& seed : seeds) seed += text;
  return seeds;
}

std::vector<std::string> tokenizer_text_seeds() {
  return {
      "The cat aaaa abab    the th\xc3\xa9",
      "<|s|><|e|> <|s|>",
      "'s 'S 'll \xc5\xbf",
      "12345 \xd9\xa3\xef\xbc\x93\xc2\xb2",
      "e\xcc\x81\xcc\xa3 A\xcc\x8a \xe2\x84\xab",
      "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8",
      " \t\r\n\n   \xe3\x80\x80\xc2\x85\xe1\xa0\x8e",
      "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7 \xf0\x9f\x87\xa9\xf0\x9f\x87\xaa",
      "\xff\xc3(\xe2\x82\xf0\x9f\x98",
      "\xed\xa0\x80\xf4\x90\x80\x80",
      "\xf0\x91\xa4\xb5\xf0\x91\xa4\xb0\xe1\xb7\xba\xcc\xa3",
      "",
  };
}

}  // namespace tinkex::fuzz
