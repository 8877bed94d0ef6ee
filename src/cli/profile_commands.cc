#include <fmt/format.h>

#include "cli/command.h"
#include "install/operator.h"
#include "kubeapi/patch.h"

namespace isthmus::cli {
namespace {

using base::Code;
using base::Error;
using base::Result;
using kubeapi::Find;

struct DumpOptions {
  std::string name;
  std::vector<std::string> files;
  std::string path;
  std::string output = "yaml";
};

/// The merged IstioOperator of a profile or of files, as an object.
Result<Json> Merged(Session& session, const std::string& name,
                    const std::vector<std::string>& files) {
  install::OperatorInput input;
  for (const std::string& file : files) {
    ASSIGN_OR_RETURN(std::string text, session.ReadInput(file), "reading the installation");
    input.files.push_back({file, std::move(text)});
  }
  if (!name.empty())
    input.sets.push_back("profile=" + name);
  else if (input.files.empty())
    input.sets.push_back("profile=default");
  ASSIGN_OR_RETURN(const install::Installation installation, install::ResolveInstallation(input),
                   "profile");
  return Json({{"apiVersion", "install.istio.io/v1alpha1"},
               {"kind", "IstioOperator"},
               {"spec", installation.spec}});
}

/// "components.pilot.enabled=true", strings in quotes.
void PrintFlags(const Json& value, const std::string& path, std::string& out) {
  if (value.is_object()) {
    for (const auto& [key, child] : value.items())
      PrintFlags(child, path.empty() ? key : path + "." + key, out);
  } else if (value.is_array()) {
    for (size_t i = 0; i < value.size(); ++i)
      PrintFlags(value[i], fmt::format("{}[{}]", path, i), out);
  } else {
    out += fmt::format("{}={}\n", path, kubeapi::ToJson(value));
  }
}

int RunDump(Session& session, const DumpOptions& options) {
  if (!options.name.empty() && !options.files.empty())
    return session.Fail(Error(Code::kInvalidArgument, "give a profile's name or -f, not both"));
  auto merged = Merged(session, options.name, options.files);
  if (!merged.ok()) return session.Fail(merged.status());
  Json value = *merged;
  if (!options.path.empty()) {
    const Json* at = &value["spec"];
    std::string_view rest = options.path;
    while (at != nullptr && !rest.empty()) {
      const size_t dot = rest.find('.');
      at = Find(*at, {rest.substr(0, dot)});
      rest = dot == rest.npos ? std::string_view() : rest.substr(dot + 1);
    }
    if (at == nullptr)
      return session.Fail(Error(Code::kNotFound, "there is nothing at \"{}\"", options.path));
    value = Json(*at);
  }
  if (options.output == "flags") {
    std::string text;
    PrintFlags(options.path.empty() ? value["spec"] : value, options.path, text);
    session.Out(text);
  } else {
    session.Out(Print(value, options.output));
  }
  return 0;
}

int RunDiff(Session& session, const std::vector<std::string>& names) {
  std::vector<Json> specs;
  for (const std::string& name : names) {
    const bool file = name.find('.') != name.npos || name.find('/') != name.npos;
    auto merged = Merged(session, file ? "" : name,
                         file ? std::vector<std::string>{name} : std::vector<std::string>());
    if (!merged.ok()) return session.Fail(merged.status());
    Json spec = (*merged)["spec"];
    spec.erase("profile");
    specs.push_back(std::move(spec));
  }
  const Json patch = kubeapi::DiffJsonPatch(specs[0], specs[1]);
  if (patch.empty()) {
    session.Out("Profiles are identical\n");
    return 0;
  }
  session.Out(fmt::format("The difference between profiles, from {} to {}:\n", names[0], names[1]));
  for (const Json& operation : patch) {
    const std::string op = kubeapi::StringAt(operation, {"op"});
    const Json* value = Find(operation, {"value"});
    session.Out(fmt::format("{} {}{}\n",
                            op == "remove" ? "-"
                            : op == "add"  ? "+"
                                           : "~",
                            kubeapi::StringAt(operation, {"path"}),
                            value == nullptr ? "" : ": " + kubeapi::ToJson(*value)));
  }
  return 1;
}

}  // namespace

void AddProfileCommands(Commands& commands) {
  CLI::App* profile = AddGroup(&commands.root, "profile", "Profiles to install");
  auto list_output = std::make_shared<std::string>("table");
  CLI::App* list = AddCommand(profile, "list", "Lists the profiles", "  % profile list\n");
  AddOutput(list, *list_output, {"table", "json", "yaml"});
  OnChosen(list, commands, [list_output](Session& session) {
    if (*list_output != "table") {
      session.Out(Print(Json(install::ProfileNames()), *list_output));
      return 0;
    }
    session.Out("Istio configuration profiles:\n");
    for (const std::string& name : install::ProfileNames())
      session.Out(fmt::format("    {}\n", name));
    return 0;
  });
  auto dump_options = std::make_shared<DumpOptions>();
  CLI::App* dump =
      AddCommand(profile, "dump", "Prints a profile with everything merged",
                 "  % profile dump demo\n  % profile dump -p components.pilot default\n");
  dump->add_option("name", dump_options->name, "Profile; default when absent");
  AddList(dump, "-f,--filename", dump_options->files, "File with an IstioOperator (repeat)")
      ->delimiter(',');
  dump->add_option("-p,--config-path", dump_options->path,
                   "Only what is below this path, as in components.pilot");
  AddOutput(dump, dump_options->output, {"yaml", "json", "flags"});
  OnChosen(dump, commands,
           [dump_options](Session& session) { return RunDump(session, *dump_options); });
  auto names = std::make_shared<std::vector<std::string>>();
  CLI::App* diff =
      AddCommand(profile, "diff", "Compares two profiles; exit code 1 when they differ",
                 "  % profile diff default demo\n");
  diff->add_option("profiles", *names, "Two profiles or files")->required()->expected(2);
  OnChosen(diff, commands, [names](Session& session) { return RunDiff(session, *names); });
}

}  // namespace isthmus::cli
