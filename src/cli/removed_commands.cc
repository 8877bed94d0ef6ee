#include <fmt/format.h>

#include <array>
#include <memory>

#include "cli/command.h"

namespace isthmus::cli {
namespace {

struct Removed {
  std::string_view group;  ///< Empty: at the root.
  std::string_view name;
  std::string_view instead;
};

// Commands of old releases: a name that users still type, and what to type now.
constexpr std::array kRemoved = {
    Removed{"", "operator", "the in-cluster operator is gone; use \"install -f FILE\""},
    Removed{"", "verify-install",
            "use \"install\" again, which waits until everything is ready, or \"analyze\""},
    Removed{"", "authn", "use \"proxy-config cluster\" and \"proxy-config secret\""},
    Removed{"", "register", "use a WorkloadEntry"},
    Removed{"", "deregister", "delete the WorkloadEntry"},
    Removed{"", "convert-ingress", "write a Gateway and a VirtualService"},
    Removed{"experimental", "multicluster", "use \"create-remote-secret --name CLUSTER\""},
    Removed{"experimental", "post-install", "the control plane keeps its webhooks by itself"},
    Removed{"experimental", "add-to-mesh", "use \"kube-inject -f FILE\""},
    Removed{"experimental", "remove-from-mesh",
            "label the pods sidecar.istio.io/inject=false and restart them"},
    Removed{"manifest", "diff", "use \"manifest generate\" twice and diff"},
    Removed{"manifest", "migrate", "write the settings under spec.values of an IstioOperator"},
    Removed{"manifest", "versions", "use \"version\""},
};

}  // namespace

void AddRemovedCommands(Commands& commands) {
  for (const Removed& removed : kRemoved) {
    CLI::App* parent = removed.group.empty()
                           ? &commands.root
                           : commands.root.get_subcommand(std::string(removed.group));
    CLI::App* command =
        AddCommand(parent, std::string(removed.name), std::string(removed.instead), "");
    command->group("");
    // Whatever followed it then is no reason for another error.
    auto words = std::make_shared<std::vector<std::string>>();
    command->add_option("words", *words)->expected(0, -1);
    OnChosen(command, commands, [removed, words](Session& session) {
      session.Err(
          fmt::format("Error: \"{}\" is not supported: {}\n", removed.name, removed.instead));
      return 1;
    });
  }
  CLI::App* options_command =
      AddCommand(&commands.root, "options", "Lists the flags that all commands take", "");
  OnChosen(options_command, commands, [root = &commands.root](Session& session) {
    session.Out(root->help());
    return 0;
  });
}

}  // namespace isthmus::cli
