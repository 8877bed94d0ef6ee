// isthmus-lab: the programs that make up a local cluster, one sub-command each.
#include <cstdio>
#include <cstring>

#include "lab/apiserver/run.h"
#include "lab/controllers/run.h"

namespace {

struct Command {
  const char* name;
  int (*run)(int argc, char** argv);
  const char* help;
};

constexpr Command kCommands[] = {
    {"apiserver", isthmus::lab::apiserver::Run, "the Kubernetes API server of a cluster"},
    {"controllers", isthmus::lab::controllers::Run, "the controllers of a cluster"},
};

}  // namespace

int main(int argc, char** argv) {
  for (const Command& command : kCommands)
    if (argc > 1 && std::strcmp(argv[1], command.name) == 0) return command.run(argc - 1, argv + 1);
  std::fputs("usage: isthmus-lab <command> [options]\n\n", stderr);
  for (const Command& command : kCommands) std::fprintf(stderr, "  %-12s %s\n", command.name, command.help);
  return 2;
}
