// isthmus-lab: the programs that make up a local cluster, one sub-command each.
#include <cstdio>
#include <cstring>

#include "lab/apiserver/run.h"
#include "lab/controllers/run.h"
#include "lab/node/helper.h"
#include "lab/node/node.h"
#include "lab/workloads/workloads.h"
#include "lab/world/world.h"

namespace {

struct Command {
  const char* name;
  int (*run)(int argc, char** argv);
  const char* help;
};

using isthmus::lab::world::WorldMain;

constexpr Command kCommands[] = {
    {"up", WorldMain, "starts a lab: up -f TOPOLOGY"},
    {"down", WorldMain, "ends the lab and removes it"},
    {"status", WorldMain, "clusters, nodes and processes of the running lab"},
    {"env", WorldMain, "shell lines that point kubectl at the lab: eval \"$(isthmus-lab env)\""},
    {"shell", WorldMain, "a shell on the first machine of a cluster: shell CLUSTER [-- command]"},
    {"cut", WorldMain, "cuts the link between two clusters: cut A B"},
    {"mend", WorldMain, "mends it"},
    {"open", WorldMain, "lets pods of two clusters reach each other"},
    {"stop", WorldMain, "stops a cluster's API server: stop CLUSTER"},
    {"start", WorldMain, "starts it again"},
    {"node", isthmus::lab::node::NodeMain, "a node of a cluster"},
    {"workload", isthmus::lab::workloads::WorkloadMain, "a sample application"},
    {"apiserver", isthmus::lab::apiserver::Run, "the Kubernetes API server of a cluster"},
    {"controllers", isthmus::lab::controllers::Run, "the controllers of a cluster"},
};

}  // namespace

int main(int argc, char** argv) {
  if (const int code = isthmus::lab::node::HelperMain(argc, argv); code >= 0) return code;
  for (const Command& command : kCommands)
    if (argc > 1 && std::strcmp(argv[1], command.name) == 0) return command.run(argc - 1, argv + 1);
  std::fputs("usage: isthmus-lab <command> [options]\n\n", stderr);
  for (const Command& command : kCommands)
    std::fprintf(stderr, "  %-12s %s\n", command.name, command.help);
  return 2;
}
