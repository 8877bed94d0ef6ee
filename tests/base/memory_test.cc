#include "base/memory.h"

#include <gtest/gtest.h>

#include <string>

#include "base/files.h"
#include "base/strings.h"

namespace isthmus::base {
namespace {

int64_t StatusKilobytes(std::string_view field) {
  const std::string status = ReadFile("/proc/self/status").value();
  for (const std::string_view line : Split(status, '\n'))
    if (line.starts_with(field))
      return std::stoll(std::string(Trim(line.substr(line.find(':') + 1))));
  return 0;
}

TEST(Memory, PagesOfTheProgramAreReleasedAndComeBack) {
  const int64_t before = StatusKilobytes("RssFile");
  ReleaseMemory();
  const int64_t after = StatusKilobytes("RssFile");
  // Whatever runs this test has more of its libraries mapped than reading one file needs.
  EXPECT_LT(after, before);
  EXPECT_GT(after, 0);
}

TEST(Memory, TheKeeperGivesBackWhatTheStartLeft) {
  Loop loop;
  MemoryKeeper keeper(loop);
  const int64_t before = StatusKilobytes("RssFile");
  keeper.Started();
  EXPECT_TRUE(
      loop.RunUntil([&] { return StatusKilobytes("RssFile") < before; }, std::chrono::seconds(10)));
}

}  // namespace
}  // namespace isthmus::base
