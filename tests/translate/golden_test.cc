#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/translate/envoy_check.h"
#include "tests/translate/test_world.h"
#include "translate/translator.h"

namespace isthmus::translate {
namespace {

namespace fs = std::filesystem;
const fs::path kGoldens = fs::path(ISTHMUS_SOURCE_DIR) / "tests/translate/golden";

std::string ReadFile(const fs::path& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<std::string> Scenarios() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kGoldens)) {
    if (entry.is_directory()) names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// The lines around the first difference: a whole golden is too long to read.
std::string FirstDifference(const std::string& want, const std::string& got) {
  std::istringstream a(want), b(got);
  std::string line_a, line_b;
  for (int number = 1;; ++number) {
    const bool more_a = static_cast<bool>(std::getline(a, line_a));
    const bool more_b = static_cast<bool>(std::getline(b, line_b));
    if (!more_a && !more_b) return "";
    if (!more_a || !more_b || line_a != line_b) {
      return "line " + std::to_string(number) + "\n  golden: " + (more_a ? line_a : "<end>") +
             "\n  now:    " + (more_b ? line_b : "<end>");
    }
  }
}

class GoldenTest : public testing::TestWithParam<std::string> {};

TEST_P(GoldenTest, MatchesAndEnvoyTakesIt) {
  const fs::path folder = kGoldens / GetParam();
  const TestWorld world = ParseWorld(ReadFile(folder / "world.yaml"));
  ASSERT_FALSE(world.proxies.empty());
  Translator translator;
  translator.Update(world.snapshot, model::ChangeSet{.everything = true});
  for (const auto& [name, proxy] : world.proxies) {
    SCOPED_TRACE(GetParam() + "/" + name);
    const auto view = translator.ViewFor(proxy);
    ASSERT_NE(view, nullptr);
    const kubeapi::Json json = ViewToJson(*view);
    const std::string got = json.dump(1) + "\n";
    const fs::path golden = folder / (name + ".json");
    if (std::getenv("ISTHMUS_REWRITE_GOLDENS") != nullptr) std::ofstream(golden) << got;
    EXPECT_EQ(FirstDifference(ReadFile(golden), got), "")
        << "ISTHMUS_REWRITE_GOLDENS=1 writes the goldens anew; review the difference before you "
           "commit it";
    EXPECT_EQ(EnvoyComplaint(json), "");
  }
}

INSTANTIATE_TEST_SUITE_P(All, GoldenTest, testing::ValuesIn(Scenarios()), [](const auto& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace isthmus::translate
