#pragma once

#include <CLI/CLI.hpp>

#include <functional>
#include <string>
#include <vector>

#include "cli/session.h"

namespace isthmus::cli {

/// What a parsed command line will do: set by the command that was chosen, run after parsing. Gives
/// the exit code.
using Action = std::function<int(Session&)>;

/// What the registration functions share. Lives as long as the parse.
struct Commands {
  CLI::App& root;
  Action& action;
};

/// Adds a command with its help text. `example` is shown under the options, with "%" standing for
/// the program's name.
CLI::App* AddCommand(CLI::App* parent, const std::string& name, const std::string& what,
                     const std::string& example, const std::vector<std::string>& aliases = {});
/// Adds a group of commands; called without one it prints its help.
CLI::App* AddGroup(CLI::App* parent, const std::string& name, const std::string& what,
                   const std::vector<std::string>& aliases = {});
/// Runs `make()` when the command was chosen; what it captures must outlive the parse.
void OnChosen(CLI::App* command, Commands& commands, Action action);

/// A repeatable option of one value each.
CLI::Option* AddList(CLI::App* command, const std::string& flags, std::vector<std::string>& values,
                     const std::string& what);
/// -o/--output with the forms a command knows.
CLI::Option* AddOutput(CLI::App* command, std::string& output,
                       const std::vector<std::string>& forms);

/// Prints JSON or YAML; `output` is one of the two.
std::string Print(const Json& value, const std::string& output, int indent = 2);

// One function for each file of commands. `group` is the root or "experimental".
void AddInstallCommands(Commands& commands);
void AddUninstallCommand(Commands& commands, CLI::App* group);
void AddProfileCommands(Commands& commands);
void AddRemoteCommands(Commands& commands, CLI::App* group);
/// trust-bundle: what meshes must know to believe each other.
void AddTrustCommands(Commands& commands, CLI::App* group);
void AddStatusCommands(Commands& commands, CLI::App* group);
void AddProxyConfigCommands(Commands& commands);
void AddVersionCommand(Commands& commands, CLI::App* group);
void AddAnalyzeCommand(Commands& commands, CLI::App* group);
void AddValidateCommand(Commands& commands);
void AddInjectCommands(Commands& commands);
void AddDashboardCommands(Commands& commands);
/// Names of old releases that are no commands any more, in all groups; after the others.
void AddRemovedCommands(Commands& commands);
/// port-forward, and the dashboards that are reached by it; after AddDashboardCommands.
void AddForwardCommands(Commands& commands);
void AddTagCommands(Commands& commands, CLI::App* group);
/// check-inject and injector list.
void AddInjectionCheckCommands(Commands& commands, CLI::App* group);
/// internal-debug, envoy-stats, authz check.
void AddInspectCommands(Commands& commands, CLI::App* group);
void AddDescribeCommands(Commands& commands, CLI::App* group);
void AddPrecheckCommand(Commands& commands, CLI::App* group);
void AddBugReportCommand(Commands& commands);
void AddCompletionCommand(Commands& commands);
void AddExplainCommand(Commands& commands);
/// up, plan, verify, down: what works from a Topology file.
void AddTopologyCommands(Commands& commands);
/// `lab`: hands everything behind it to the program isthmus-lab.
void AddLabCommand(Commands& commands);
int RunLabCommand(Session& session, std::vector<std::string> arguments);

}  // namespace isthmus::cli
