#include "cli/cli.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "base/log.h"
#include "base/strings.h"
#include "cli/command.h"

namespace isthmus::cli {
namespace {

constexpr int kUsageError = 64;

/// "-f=x" is the same as "-f x"; nothing after "--" is touched.
std::vector<std::string> Normalize(const std::vector<std::string>& arguments) {
  std::vector<std::string> out;
  bool flags = true;
  for (const std::string& argument : arguments) {
    if (argument == "--") flags = false;
    if (flags && argument.size() >= 3 && argument[0] == '-' && argument[1] != '-' &&
        argument[2] == '=') {
      out.push_back(argument.substr(0, 2));
      out.push_back(argument.substr(3));
    } else {
      out.push_back(argument);
    }
  }
  return out;
}

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

/// The last command that the line names.
CLI::App* Deepest(CLI::App* app) {
  while (!app->get_subcommands().empty()) app = app->get_subcommands().back();
  return app;
}

std::string PathOf(const CLI::App* app) {
  std::string path = app->get_name();
  for (const CLI::App* at = app->get_parent(); at != nullptr; at = at->get_parent())
    path = at->get_name() + " " + path;
  return path;
}

/// Help that names the whole command in its usage line.
std::string HelpOf(CLI::App* app) {
  return app->help(app->get_parent() == nullptr ? std::string() : PathOf(app->get_parent()));
}

/// The message for words that belong to no command, with names that look like them.
std::string UnknownCommand(CLI::App& app, const std::string& word, const std::string& program) {
  std::string text = fmt::format("Error: unknown command \"{}\" for \"{}\"\n", word, PathOf(&app));
  std::string close;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; }))
    if (EditDistance(word, sub->get_name()) <= 2 || base::HasPrefix(sub->get_name(), word))
      close += fmt::format("\t{}\n", sub->get_name());
  if (!close.empty()) text += "\nDid you mean this?\n" + close + "\n";
  return text + fmt::format("Run '{} --help' for usage.\n",
                            app.get_parent() == nullptr ? program : PathOf(&app));
}

void AddGlobals(CLI::App& root, Globals& globals) {
  root.add_option("-c,--kubeconfig", globals.kubeconfig, "Kubernetes configuration file")
      ->group("Global options");
  root.add_option("--context", globals.context, "Name of the kubeconfig context to use")
      ->group("Global options");
  root.add_option("-n,--namespace", globals.ns, "Namespace to work in")->group("Global options");
  root.add_option("-i,--istioNamespace", globals.istio_ns, "Namespace of the control plane")
      ->group("Global options")
      ->capture_default_str();
  root.add_option("--as", globals.as_user, "User to act as")->group("Global options");
  root.add_option("--as-group", globals.as_groups, "Group to act as (repeat for several)")
      ->group("Global options")
      ->allow_extra_args(false);
  root.add_option("--as-uid", globals.as_uid, "UID to act as")->group("Global options");
  root.add_option("--kubeclient-timeout", globals.kubeclient_timeout,
                  "Time limit of one request to the API server")
      ->group("Global options")
      ->capture_default_str();
  root.add_option("--vklog", globals.vklog, "Verbosity of the API client (no effect)")
      ->group("Global options");
}

/// Istio's logging flags. Levels are taken to heart; targets and rotation are accepted.
struct LogFlags {
  std::string level, target, caller, stacktrace, rotate, age, backups, size;
  bool json = false;

  void Add(CLI::App& root) {
    root.add_option("--log_output_level", level,
                    "Level of log lines, such as debug or default:debug")
        ->group("");
    root.add_option("--log_target", target)->group("");
    root.add_option("--log_caller", caller)->group("");
    root.add_option("--log_stacktrace_level", stacktrace)->group("");
    root.add_option("--log_rotate", rotate)->group("");
    root.add_option("--log_rotate_max_age", age)->group("");
    root.add_option("--log_rotate_max_backups", backups)->group("");
    root.add_option("--log_rotate_max_size", size)->group("");
    root.add_flag("--log_as_json", json)->group("");
  }

  void Apply() const {
    base::SetLogJson(json);
    base::SetLogLevel(base::LogLevel::kWarn);
    for (const std::string& part : base::SplitList(level)) {
      const auto [scope, rest] = base::Cut(part, ":");
      const std::string_view word = rest.empty() ? scope : rest;
      if (word == "debug")
        base::SetLogLevel(base::LogLevel::kDebug);
      else if (word == "info")
        base::SetLogLevel(base::LogLevel::kInfo);
      else if (word == "error" || word == "fatal")
        base::SetLogLevel(base::LogLevel::kError);
      else if (word == "none")
        base::SetLogLevel(base::LogLevel::kNone);
    }
  }
};

}  // namespace

CLI::App* AddCommand(CLI::App* parent, const std::string& name, const std::string& what,
                     const std::string& example, const std::vector<std::string>& aliases) {
  CLI::App* command = parent->add_subcommand(name, what);
  for (const std::string& alias : aliases) command->alias(alias);
  command->fallthrough();
  const CLI::App* root = parent;
  while (root->get_parent() != nullptr) root = root->get_parent();
  if (!example.empty())
    command->footer("\nExamples:\n" + base::ReplaceAll(example, "%", root->get_name()));
  return command;
}

CLI::App* AddGroup(CLI::App* parent, const std::string& name, const std::string& what,
                   const std::vector<std::string>& aliases) {
  CLI::App* group = AddCommand(parent, name, what, "", aliases);
  group->require_subcommand(0, 1);
  return group;
}

void OnChosen(CLI::App* command, Commands& commands, Action action) {
  command->callback([&commands, action = std::move(action)] { commands.action = action; });
}

CLI::Option* AddList(CLI::App* command, const std::string& flags, std::vector<std::string>& values,
                     const std::string& what) {
  return command->add_option(flags, values, what)->allow_extra_args(false);
}

CLI::Option* AddOutput(CLI::App* command, std::string& output,
                       const std::vector<std::string>& forms) {
  return command
      ->add_option("-o,--output", output, "Form of the output: " + base::Join(forms, ", "))
      ->check(CLI::IsMember(forms))
      ->capture_default_str();
}

std::string Print(const Json& value, const std::string& output, int indent) {
  return output == "yaml" ? kubeapi::ToYaml(value) : kubeapi::ToJson(value, indent) + "\n";
}

int Run(const std::string& program, std::vector<std::string> arguments, Io io) {
  Session session(program, std::move(io));
  if (const char* ns = std::getenv("ISTIOCTL_ISTIONAMESPACE"); ns != nullptr)
    session.globals.istio_ns = ns;
  CLI::App root("Configures, installs and examines a service mesh over many clusters.", program);
  root.require_subcommand(0, 1);
  root.set_help_all_flag();
  AddGlobals(root, session.globals);
  LogFlags log_flags;
  log_flags.Add(root);
  Action action;
  Commands commands{root, action};
  // The topology commands are ours; istioctl has none of them.
  if (session.program() != "istioctl") {
    AddTopologyCommands(commands);
    AddLabCommand(commands);
  }
  AddInstallCommands(commands);
  AddProfileCommands(commands);
  AddStatusCommands(commands, &root);
  AddProxyConfigCommands(commands);
  AddRemoteCommands(commands, &root);
  AddVersionCommand(commands, &root);
  AddAnalyzeCommand(commands, &root);
  AddValidateCommand(commands);
  AddInjectCommands(commands);
  AddDashboardCommands(commands);
  AddForwardCommands(commands);
  AddTagCommands(commands, &root);
  AddExplainCommand(commands);
  AddBugReportCommand(commands);
  AddCompletionCommand(commands);
  CLI::App* experimental =
      AddGroup(&root, "experimental", "Commands that may still change", {"x", "exp"});
  AddRemoteCommands(commands, experimental);
  AddStatusCommands(commands, experimental);
  AddVersionCommand(commands, experimental);
  AddUninstallCommand(commands, experimental);
  AddAnalyzeCommand(commands, experimental);
  AddTagCommands(commands, experimental);
  AddInjectionCheckCommands(commands, experimental);
  AddInspectCommands(commands, experimental);
  AddDescribeCommands(commands, experimental);
  AddPrecheckCommand(commands, experimental);
  AddTrustCommands(commands, experimental);
  AddRemovedCommands(commands);

  // What stands behind `lab` is another program's business, flags and all.
  if (!arguments.empty() && arguments[0] == "lab" && program != "istioctl")
    return RunLabCommand(session, {arguments.begin() + 1, arguments.end()});

  std::vector<std::string> words = Normalize(arguments);
  if (!words.empty() && words[0] == "help") {
    words.erase(words.begin());
    words.push_back("--help");
  }
  std::reverse(words.begin(), words.end());
  try {
    root.parse(words);
  } catch (const CLI::CallForHelp&) {
    session.Out(HelpOf(Deepest(&root)));
    return 0;
  } catch (const CLI::ExtrasError&) {
    CLI::App* app = Deepest(&root);
    std::vector<std::string> extras = root.remaining(true);
    const auto word = std::find_if(extras.begin(), extras.end(),
                                   [](const std::string& w) { return !w.starts_with("-"); });
    const bool is_group = !app->get_subcommands([](const CLI::App*) { return true; }).empty();
    if (word == extras.end() || !is_group) {
      session.Err(
          word == extras.end()
              ? fmt::format("Error: unknown flag: {}\n", extras.empty() ? "" : extras.front())
              : fmt::format("Error: unexpected argument \"{}\" for \"{}\"\n", *word, PathOf(app)));
      return kUsageError;
    }
    session.Err(UnknownCommand(*app, *word, program));
    return kUsageError;
  } catch (const CLI::ParseError& error) {
    session.Err(fmt::format("Error: {}\n", error.what()));
    return kUsageError;
  }
  log_flags.Apply();
  if (!action) {
    session.Out(HelpOf(Deepest(&root)));
    return 0;
  }
  return action(session);
}

}  // namespace isthmus::cli
