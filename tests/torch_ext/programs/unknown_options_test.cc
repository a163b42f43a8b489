#include "torch_ext/programs/unknown_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace tinkex::torch_ext::programs {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

/// What is said of a command line for a program with --api-key, --port and the flag --verbose.
std::vector<std::string> about(std::vector<const char*> arguments) {
  std::string key;
  int port = 0;
  bool verbose = false;
  CLI::App app;
  app.allow_extras();
  app.add_option("--api-key", key);
  app.add_option("--port", port);
  app.add_flag("--verbose", verbose);
  arguments.insert(arguments.begin(), "program");
  const int argc = static_cast<int>(arguments.size());
  app.parse(argc, arguments.data());
  return about_unknown(app, argc, arguments.data());
}

TEST(UnknownOptionsTest, ANameIsShownWithTheOneThatWasPerhapsMeant) {
  EXPECT_THAT(about({"--prot", "80", "--api_key=x", "--zzz"}),
              ElementsAre("--prot: there is no such option; did you mean --port?",
                          "--api_key: there is no such option; did you mean --api-key?",
                          "--zzz: there is no such option"));
}

TEST(UnknownOptionsTest, AWordAloneIsToldByItsPlaceAndLength) {
  EXPECT_THAT(about({"--port", "80", "tml-KEY"}),
              ElementsAre("argument 3 (length 7) belongs to no option"));
  EXPECT_THAT(about({"--api-key", "KEY", "KEY", "more"}),
              ElementsAre("argument 3 (length 3) belongs to no option",
                          "argument 4 (length 4) belongs to no option"));
}

TEST(UnknownOptionsTest, NoValueIsShownWhateverItBeginsWith) {
  for (const char* value : {"KEY", "-KEY", "--KEY", "-", "--key9", "--KEY=x", "-k=KEY"}) {
    EXPECT_THAT(about({"--apikey", value, "--verbose"}),
                ElementsAre("--apikey: there is no such option; did you mean --api-key?"))
        << value;
    EXPECT_THAT(about({value}), Each(AllOf(HasSubstr("argument 1 ("), Not(HasSubstr("KEY")),
                                           Not(HasSubstr("key9")))));
  }
}

TEST(UnknownOptionsTest, ALetterIsNoSecret) {
  EXPECT_THAT(about({"-p", "80", "-V"}),
              ElementsAre("-p: there is no such option", "-V: there is no such option"));
  EXPECT_THAT(about({"--zzz", "-p"}),
              ElementsAre("--zzz: there is no such option", "-p: there is no such option"));
  EXPECT_THAT(about({"-9"}), ElementsAre("argument 1 (length 2): there is no such option"));
}

TEST(UnknownOptionsTest, OnlyTheNextWordIsTheValueOfAnOption) {
  EXPECT_THAT(
      about({"--stop", "--verbose", "left"}),
      ElementsAre("--stop: there is no such option", "argument 3 (length 4) belongs to no option"));
  EXPECT_THAT(about({"--zzz", "--yyy", "80"}),
              ElementsAre("--zzz: there is no such option", "--yyy: there is no such option"));
}

TEST(UnknownOptionsTest, AMisspeltNameThatIsNotShownIsRecognisedAllTheSame) {
  EXPECT_THAT(
      about({"--Api-Key=KEY"}),
      ElementsAre("argument 1 (length 13): there is no such option; did you mean --api-key?"));
}

}  // namespace
}  // namespace tinkex::torch_ext::programs
