#include <fmt/format.h>

#include <map>
#include <set>

#include "base/strings.h"
#include "base/version.h"
#include "cli/command.h"
#include "cli/pods.h"
#include "kubeapi/meta.h"

namespace isthmus::cli {
namespace {

using kubeapi::StringAt;

struct VersionOptions {
  bool is_short = true;
  bool remote = true;
  std::string output;
  std::string revision;
};

/// "1.30.0-<git revision>-<status>", or a JSON object.
std::string ControlPlaneVersion(const std::string& body) {
  if (const auto json = kubeapi::ParseJson(body); json.ok() && json->is_object()) {
    const std::string version = StringAt(*json, {"clientVersion", "version"});
    return version.empty() ? StringAt(*json, {"version"}) : version;
  }
  const std::vector<std::string_view> parts = base::Split(base::Trim(body), '-');
  // Versions may have dashes themselves; the last two parts are revision and status.
  if (parts.size() <= 2) return std::string(parts[0]);
  return base::Join(std::vector<std::string_view>(parts.begin(), parts.end() - 2), "-");
}

struct MeshVersions {
  std::vector<std::pair<std::string, std::string>> control_planes;  ///< Pod and version.
  std::vector<Json> proxies;
  bool proxies_known = false;
};

MeshVersions AskMesh(Session& session, const VersionOptions& options) {
  MeshVersions mesh;
  auto versions = AskIstiods(session, options.revision, "/version");
  if (!versions.ok()) {
    session.Err(
        fmt::format("Istio is not present in the cluster: {}\n", versions.status().message()));
    return mesh;
  }
  for (const IstiodAnswer& answer : *versions)
    mesh.control_planes.emplace_back(answer.pod, ControlPlaneVersion(answer.body));
  auto statuses = AskIstiods(session, options.revision, "/debug/syncz");
  if (!statuses.ok()) return mesh;
  mesh.proxies_known = true;
  for (const IstiodAnswer& answer : *statuses)
    if (const auto list = kubeapi::ParseJson(answer.body); list.ok())
      for (const Json& proxy : kubeapi::ItemsAt(*list)) mesh.proxies.push_back(proxy);
  return mesh;
}

std::string ProxyVersion(const Json& proxy) {
  std::string version = StringAt(proxy, {"istio_version"});
  return version.empty() ? StringAt(proxy, {"proxy_version"}) : version;
}

Json ClientVersion() {
  return {{"version", std::string(base::kVersion)},
          {"revision", "unknown"},
          {"golang_version", ""},
          {"status", "Clean"},
          {"tag", std::string(base::kVersion)}};
}

int RunVersion(Session& session, const VersionOptions& options) {
  const MeshVersions mesh = options.remote ? AskMesh(session, options) : MeshVersions();
  if (!options.output.empty()) {
    Json out = {{"clientVersion", ClientVersion()}};
    for (const auto& [pod, version] : mesh.control_planes)
      out["meshVersion"].push_back(
          {{"Component", "pilot"}, {"Info", {{"version", version}}}, {"Pod", pod}});
    for (const Json& proxy : mesh.proxies)
      out["dataPlaneVersion"].push_back(
          {{"ID", StringAt(proxy, {"proxy"})},
           {"IstioVersion", ProxyVersion(proxy)},
           {"Type", StringAt(proxy, {"proxy_type"}) == "router" ? "gateway" : "sidecar"}});
    session.Out(Print(out, options.output));
    return 0;
  }
  if (!options.is_short) {
    session.Out(fmt::format("client version: {}\n", kubeapi::ToJson(ClientVersion())));
  } else {
    session.Out(fmt::format("client version: {}\n", base::kVersion));
  }
  std::set<std::string> versions;
  for (const auto& [pod, version] : mesh.control_planes) versions.insert(version);
  if (versions.size() == 1)
    session.Out(fmt::format("control plane version: {}\n", *versions.begin()));
  else
    for (const auto& [pod, version] : mesh.control_planes)
      session.Out(fmt::format("pilot version: {}\n", version));
  if (!mesh.proxies_known) return 0;
  std::map<std::string, int> counts;
  for (const Json& proxy : mesh.proxies) ++counts[ProxyVersion(proxy)];
  std::vector<std::string> parts;
  for (const auto& [version, count] : counts)
    parts.push_back(fmt::format("{} ({} {})", version, count, count == 1 ? "proxy" : "proxies"));
  session.Out(
      fmt::format("data plane version: {}\n", parts.empty() ? "none" : base::Join(parts, ", ")));
  return 0;
}

}  // namespace

void AddVersionCommand(Commands& commands, CLI::App* group) {
  auto options = std::make_shared<VersionOptions>();
  CLI::App* command = AddCommand(
      group, "version", "Prints the versions of this program, the control plane and the proxies",
      "  % version\n  % version --remote=false\n");
  command->add_flag("-s,--short,!--no-short", options->is_short, "Only the versions")
      ->default_str("true");
  command->add_flag("--remote", options->remote, "Asks the cluster, too")->default_str("true");
  command->add_option("-o,--output", options->output, "Form of the output: json, yaml")
      ->check(CLI::IsMember({"json", "yaml"}));
  command->add_option("-r,--revision", options->revision, "Revision of the control plane");
  OnChosen(command, commands,
           [options](Session& session) { return RunVersion(session, *options); });
}

}  // namespace isthmus::cli
