#include "cli/lab_program.h"

#include <cstdlib>
#include <filesystem>
#include <optional>

#include "base/process.h"

namespace isthmus::cli {
namespace {

base::ChildStream Inherited() { return {base::ChildStream::Kind::kInherit, -1, nullptr}; }

}  // namespace

base::Result<int> RunLab(base::Loop& loop, std::vector<std::string> arguments) {
  std::error_code ignored;
  const std::filesystem::path beside =
      std::filesystem::path(base::ProgramFile()).parent_path() / "isthmus-lab";
  base::ProcessOptions options;
  options.argv = {std::filesystem::exists(beside, ignored) ? beside.string() : "isthmus-lab"};
  options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
  options.in = Inherited();
  options.out = Inherited();
  options.err = Inherited();
  std::optional<base::ExitStatus> ended;
  ASSIGN_OR_RETURN(auto process,
                   base::Process::Start(loop, std::move(options),
                                        [&](base::ExitStatus status) { ended = status; }),
                   "starting isthmus-lab (it is built together with this program)");
  // A lab shell lasts as long as its user wants.
  loop.RunUntil([&] { return ended.has_value(); }, std::chrono::hours(24 * 365));
  if (!ended.has_value())
    return base::Error(base::Code::kDeadlineExceeded, "isthmus-lab did not end");
  return ended->signal != 0 ? 128 + ended->signal : ended->code;
}

std::string LabKubeconfig() {
  const char* folder = std::getenv("ISTHMUS_LAB_DIR");
  return (folder != nullptr && *folder != 0 ? std::string(folder) : "/var/lib/isthmus/lab") +
         "/kubeconfig";
}

}  // namespace isthmus::cli
