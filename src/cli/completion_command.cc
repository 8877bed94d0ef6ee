#include <fmt/format.h>

#include "base/strings.h"
#include "cli/command.h"

namespace isthmus::cli {
namespace {

/// A line of a case for each command of the tree: "istioctl x tag) words='set list ...' ;;".
void AddCases(const CLI::App* app, const std::string& path, std::string& cases) {
  std::vector<std::string> words;
  for (const CLI::App* sub : app->get_subcommands([](const CLI::App*) { return true; })) {
    if (sub->get_group().empty()) continue;
    words.push_back(sub->get_name());
    for (const std::string& name : {sub->get_name()}) AddCases(sub, path + " " + name, cases);
    for (const std::string& alias : sub->get_aliases()) AddCases(sub, path + " " + alias, cases);
  }
  for (const CLI::Option* option : app->get_options())
    if (!option->get_group().empty())
      for (const std::string& name : option->get_lnames()) words.push_back("--" + name);
  cases += fmt::format("    \"{}\") words=\"{}\" ;;\n", path, base::Join(words, " "));
}

std::string BashScript(const CLI::App& root) {
  std::string cases;
  AddCases(&root, "", cases);
  const std::string& name = root.get_name();
  return fmt::format(
      "# completion of {0}; use it with: source <({0} completion bash)\n"
      "_{0}() {{\n"
      "  local path=\"\" word words=\"\" i\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    word=\"${{COMP_WORDS[i]}}\"\n"
      "    [[ $word == -* ]] || path=\"$path $word\"\n"
      "  done\n"
      "  case \"$path\" in\n{1}  esac\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"${{COMP_WORDS[COMP_CWORD]}}\"))\n"
      "}}\n"
      "complete -F _{0} {0}\n",
      name, cases);
}

int RunCompletion(Session& session, const CLI::App& root, const std::string& shell) {
  if (shell == "bash") {
    session.Out(BashScript(root));
  } else if (shell == "zsh") {
    session.Out("autoload -U +X bashcompinit && bashcompinit\n" + BashScript(root));
  } else {
    return session.Fail(base::Error(base::Code::kUnimplemented,
                                    "completion for {} is not made; bash and zsh have it", shell));
  }
  return 0;
}

}  // namespace

void AddCompletionCommand(Commands& commands) {
  auto shell = std::make_shared<std::string>();
  CLI::App* command =
      AddCommand(&commands.root, "completion", "Prints a script that completes commands in a shell",
                 "  source <(% completion bash)\n");
  command->add_option("shell", *shell, "bash or zsh")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish", "powershell"}));
  command->add_flag("--no-descriptions")->group("");
  OnChosen(command, commands, [shell, root = &commands.root](Session& session) {
    return RunCompletion(session, *root, *shell);
  });
}

}  // namespace isthmus::cli
