#include <fmt/format.h>

#include <array>

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
    Removed{"", "authn", "use \"x describe pod POD\" and \"proxy-config cluster POD\""},
    Removed{"", "register", "use a WorkloadEntry"},
    Removed{"", "deregister", "delete the WorkloadEntry"},
    Removed{"", "convert-ingress", "write a Gateway and a VirtualService"},
    Removed{"", "admin",
            "levels of the control plane's log are set by its flag --log_output_level"},
    Removed{"", "istiod",
            "levels of the control plane's log are set by its flag --log_output_level"},
    Removed{"", "waypoint", "there is no ambient mode; proxies are sidecars"},
    Removed{"", "ztunnel-config", "there is no ambient mode; use \"proxy-config\""},
    Removed{"manifest", "diff", "use \"manifest generate\" twice and diff"},
    Removed{"manifest", "migrate", "write the settings under spec.values of an IstioOperator"},
    Removed{"manifest", "versions", "use \"version\""},
    Removed{"manifest", "translate", "use \"manifest generate\""},
    Removed{
        "experimental", "add-to-mesh",
        "use \"kubectl label namespace NS istio-injection=enabled\" and restart the workload, or "
        "\"kube-inject\""},
    Removed{"experimental", "remove-from-mesh",
            "use \"kubectl label namespace NS istio-injection-\" and restart the workload"},
    Removed{"experimental", "kube-uninject", "apply the workload's own file again"},
    Removed{"experimental", "post-install", "\"install\" does all of it"},
    Removed{"experimental", "multicluster", "use \"create-remote-secret --name CLUSTER\""},
    Removed{"experimental", "revision", "use \"tag list\" and \"proxy-status\""},
    Removed{"experimental", "wait",
            "use \"proxy-status\": SYNCED means that a proxy has the newest state"},
    Removed{"experimental", "metrics", "use \"x envoy-stats POD -o prom\""},
    Removed{"experimental", "istiod",
            "levels of the control plane's log are set by its flag --log_output_level"},
    Removed{"experimental", "config", "flags have no file; see \"options\""},
    Removed{"experimental", "workload",
            "write a WorkloadGroup; machines outside of clusters cannot join yet"},
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
    // Whatever followed it then, flags too, is no reason for another error.
    command->fallthrough(false)->allow_extras();
    OnChosen(command, commands, [removed](Session& session) {
      session.Err(
          fmt::format("Error: \"{}\" is not supported: {}\n", removed.name, removed.instead));
      return 1;
    });
  }
  CLI::App* options_command = AddCommand(&commands.root, "options",
                                         "Lists the flags that all commands take", "  % options\n");
  OnChosen(options_command, commands, [root = &commands.root](Session& session) {
    session.Out(root->help());
    return 0;
  });
}

}  // namespace isthmus::cli
