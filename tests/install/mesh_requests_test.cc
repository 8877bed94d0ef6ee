#include "install/mesh_requests.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace isthmus::install {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TopologyRequest Request(int count) {
  TopologyRequest request;
  request.count = count;
  request.answers = {"v1", "v2"};
  request.share_min = 35;
  request.share_max = 65;
  return request;
}

std::vector<std::string> Judge(std::string_view lines, int count) {
  return JudgeAnswers(CountAnswers(lines, {"v1", "v2"}), Request(count));
}

TEST(AnswersTest, EvenSharesAreRight) {
  EXPECT_THAT(Judge("200 Hello v1\n200 Hello v2\n", 2), IsEmpty());
}

TEST(AnswersTest, AFailureIsToldWithItsText) {
  EXPECT_THAT(Judge("200 v1\n200 v2\n503 upstream connect error\n200 v1\n200 v2\n", 5),
              ElementsAre(HasSubstr("503 upstream connect error")));
}

TEST(AnswersTest, MissingAnswersAreCounted) {
  EXPECT_THAT(Judge("200 v1\n200 v2\n", 3), ElementsAre(HasSubstr("2 answers came to 3")));
}

TEST(AnswersTest, OneSidedAnswersAreWrong) {
  EXPECT_THAT(Judge("200 v1\n200 v1\n", 2),
              ElementsAre(HasSubstr("\"v1\" answered 100"), HasSubstr("\"v2\" never")));
}

TEST(AnswersTest, NothingAtAllIsWrong) { EXPECT_FALSE(Judge("", 2).empty()); }

}  // namespace
}  // namespace isthmus::install
