#include <gtest/gtest.h>

#include <algorithm>

#include "base/duration.h"
#include "base/encoding.h"
#include "base/strings.h"

namespace isthmus::base {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using Views = std::vector<std::string_view>;

TEST(StringsTest, SplitsAndJoins) {
  EXPECT_EQ(Split("", ','), Views{""});
  EXPECT_EQ(Split("a,,b,", ','), (Views{"a", "", "b", ""}));
  EXPECT_EQ(SplitList(" a, ,b ,"), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(Join(Views{"a", "b"}, ", "), "a, b");
  EXPECT_EQ(Join(std::vector<std::string>{}, ","), "");
  EXPECT_EQ(Cut("k=a=b", "=").second, "a=b");
  EXPECT_EQ(Cut("k", "=").first, "k");
  EXPECT_EQ(Cut("k", "=").second, "");
}

TEST(StringsTest, TrimsAndConsumes) {
  EXPECT_EQ(Trim(" \t a b\r\n"), "a b");
  EXPECT_EQ(Trim(" \n"), "");
  std::string_view text = "prefix-rest.yaml";
  EXPECT_TRUE(ConsumePrefix(text, "prefix-"));
  EXPECT_FALSE(ConsumePrefix(text, "prefix-"));
  EXPECT_TRUE(ConsumeSuffix(text, ".yaml"));
  EXPECT_EQ(text, "rest");
  EXPECT_EQ(ToLower("AbC-1"), "abc-1");
  EXPECT_EQ(ToUpper("AbC-1"), "ABC-1");
  EXPECT_TRUE(EqualsIgnoreCase("Content-Type", "content-type"));
  EXPECT_FALSE(EqualsIgnoreCase("a", "ab"));
  EXPECT_EQ(ReplaceAll("a.b.c", ".", "::"), "a::b::c");
  EXPECT_EQ(ReplaceAll("abc", "", "x"), "abc");
}

TEST(StringsTest, ParsesWholeNumbersOnly) {
  EXPECT_EQ(ParseInt("-42").value(), -42);
  EXPECT_EQ(ParseInt("9223372036854775807").value(), 9223372036854775807);
  for (const char* text : {"", "1.5", " 1", "1 ", "+1", "0x1", "9223372036854775808"}) {
    EXPECT_FALSE(ParseInt(text).ok()) << text;
  }
}

TEST(DurationTest, ParsesGoForm) {
  EXPECT_EQ(ParseDuration("1h30m").value(), minutes(90));
  EXPECT_EQ(ParseDuration("1.5s").value(), milliseconds(1500));
  EXPECT_EQ(ParseDuration("-250ms").value(), milliseconds(-250));
  EXPECT_EQ(ParseDuration("0").value(), nanoseconds(0));
  EXPECT_EQ(ParseDuration(".5m").value(), seconds(30));
  EXPECT_EQ(ParseDuration("10\xC2\xB5s").value(), nanoseconds(10000));
  EXPECT_EQ(ParseDuration("2160h0m0s").value(), hours(2160));
  for (const char* text : {"", "1", "h", "1d", "1h 30m", "-", ".s", "1e3s", "3000000h", "1..5s",
                           "99999999999999999999s"}) {
    EXPECT_FALSE(ParseDuration(text).ok()) << text;
  }
}

TEST(DurationTest, PrintsAsGoDoes) {
  EXPECT_EQ(FormatDuration(minutes(90)), "1h30m0s");
  EXPECT_EQ(FormatDuration(seconds(0)), "0s");
  EXPECT_EQ(FormatDuration(milliseconds(1500)), "1.5s");
  EXPECT_EQ(FormatDuration(milliseconds(-250)), "-250ms");
  EXPECT_EQ(FormatDuration(nanoseconds(1500)), "1.5\xC2\xB5s");
  EXPECT_EQ(FormatDuration(nanoseconds(7)), "7ns");
  EXPECT_EQ(FormatDuration(seconds(60)), "1m0s");
  for (const int64_t ns : {1LL, 999999999LL, 3600000000001LL, 9223372036854775807LL}) {
    EXPECT_EQ(ParseDuration(FormatDuration(nanoseconds(ns))).value(), nanoseconds(ns)) << ns;
  }
}

TEST(EncodingTest, Base64KnownAnswers) {
  EXPECT_EQ(Base64Encode(""), "");
  EXPECT_EQ(Base64Encode("f"), "Zg==");
  EXPECT_EQ(Base64Encode("fo"), "Zm8=");
  EXPECT_EQ(Base64Encode("foo"), "Zm9v");
  EXPECT_EQ(Base64Encode("\xfb\xff\xfe"), "+//+");
  EXPECT_EQ(Base64UrlEncode("\xfb\xff\xfe"), "-__-");
  EXPECT_EQ(Base64UrlEncode("f"), "Zg");
}

TEST(EncodingTest, Base64DecodesBothAlphabetsAndLineBreaks) {
  for (const char* text : {"Zm9vYg==", "Zm9vYg", "Zm9v\nYg==\n"}) {
    EXPECT_EQ(Base64Decode(text).value(), "foob") << text;
  }
  EXPECT_EQ(Base64Decode("-__-").value(), "\xfb\xff\xfe");
  for (const char* text : {"Z", "Zg=", "Zg===", "Z g=", "Zg==Zg==", "Zm9v=", "\xff\xff"}) {
    EXPECT_FALSE(Base64Decode(text).ok()) << text;
  }
  std::string all;
  for (int i = 0; i < 256; ++i) {
    all += static_cast<char>(i);
    EXPECT_EQ(Base64Decode(Base64Encode(all)).value(), all);
    EXPECT_EQ(Base64Decode(Base64UrlEncode(all)).value(), all);
    EXPECT_EQ(HexDecode(HexEncode(all)).value(), all);
  }
}

TEST(EncodingTest, Hex) {
  EXPECT_EQ(HexEncode("\x01\xab"), "01ab");
  EXPECT_EQ(HexDecode("01AB").value(), "\x01\xab");
  EXPECT_FALSE(HexDecode("0").ok());
  EXPECT_FALSE(HexDecode("0g").ok());
}

TEST(EncodingTest, HashIsStableAndSensitive) {
  // Written down elsewhere, so these numbers may never change.
  EXPECT_EQ(Hash64(""), Hash64("", 0));
  EXPECT_NE(Hash64("a"), Hash64("b"));
  EXPECT_NE(Hash64("a"), Hash64("a", 1));
  EXPECT_NE(Hash64(std::string_view("\0", 1)), Hash64(std::string_view("\0\0", 2)));
  std::vector<uint64_t> seen;
  std::string text;
  for (int i = 0; i < 200; ++i) {
    seen.push_back(Hash64(text));
    text += 'x';
  }
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(std::unique(seen.begin(), seen.end()), seen.end());
  EXPECT_EQ(Hash64("isthmus"), 1730865125634450534u);
}

}  // namespace
}  // namespace isthmus::base
