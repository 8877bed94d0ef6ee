#include "base/clock.h"

#include <gtest/gtest.h>

namespace isthmus::base {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;

Time At(int64_t unix_seconds) { return Time(seconds(unix_seconds)); }

TEST(ClockTest, FormatsSecondsInUtc) {
  EXPECT_EQ(FormatTime(At(0)), "1970-01-01T00:00:00Z");
  EXPECT_EQ(FormatTime(At(1795269360)), "2026-11-21T13:56:00Z");
  EXPECT_EQ(FormatTime(At(-1)), "1969-12-31T23:59:59Z");
  EXPECT_EQ(FormatTime(At(951782400)), "2000-02-29T00:00:00Z");
  EXPECT_EQ(FormatTime(At(10) + nanoseconds(999999999)), "1970-01-01T00:00:10Z");
}

TEST(ClockTest, ParsesWhatItFormats) {
  for (const int64_t second :
       {int64_t{0}, int64_t{1795269360}, int64_t{-86401}, int64_t{4102444799}}) {
    const auto parsed = ParseTime(FormatTime(At(second)));
    ASSERT_TRUE(parsed.ok()) << second;
    EXPECT_EQ(parsed.value(), At(second));
  }
}

TEST(ClockTest, ParsesFractionsAndOffsets) {
  EXPECT_EQ(ParseTime("1970-01-01T00:00:01.5Z").value(), At(1) + nanoseconds(500000000));
  EXPECT_EQ(ParseTime("1970-01-01T00:00:01.1234567899Z").value(), At(1) + nanoseconds(123456789));
  EXPECT_EQ(ParseTime("1970-01-01T02:30:00+02:30").value(), At(0));
  EXPECT_EQ(ParseTime("1969-12-31T23:00:00-01:00").value(), At(0));
}

TEST(ClockTest, RefusesWhatIsNoTime) {
  for (const char* text : {"", "now", "1970-01-01", "1970-01-01T00:00:00", "1970-13-01T00:00:00Z",
                           "1970-02-30T00:00:00Z", "1970-01-01T24:00:00Z", "1970-01-01T00:00:00.Z",
                           "1970-01-01T00:00:00Zx", "1970-01-01T00:00:00+1", "19700101T000000Z",
                           "1970-00-10T00:00:00Z", "9999-01-01T00:00:00Z"}) {
    EXPECT_FALSE(ParseTime(text).ok()) << text;
  }
}

TEST(ClockTest, ManualClockStandsStill) {
  ManualClock clock(At(100));
  EXPECT_EQ(clock.Now(), At(100));
  clock.Advance(seconds(50));
  EXPECT_EQ(clock.Now(), At(150));
}

}  // namespace
}  // namespace isthmus::base
