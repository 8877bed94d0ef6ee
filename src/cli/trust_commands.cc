// Exchange of trust between meshes: the roots of one go into meshConfig.caCertificates of the
// other.
#include <fmt/format.h>

#include <algorithm>

#include "cli/command.h"
#include "install/cluster_access.h"
#include "kubeapi/meta.h"
#include "pki/trust_bundle.h"

namespace isthmus::cli {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using install::ClusterAccess;
using kubeapi::ItemsAt;
using kubeapi::StringAt;

constexpr char kRoots[] = "caCertificates";
constexpr char kDomains[] = "trustDomains";

struct TrustOptions {
  std::string file = "-";
  std::string with;
  std::string revision;
};

/// A mesh as its control plane's cluster describes it.
struct Mesh {
  std::string config_map;
  Json config;
  std::string trust_domain;
};

Result<Mesh> ReadMesh(ClusterAccess& access, const Session& session, const TrustOptions& options) {
  Mesh mesh;
  const std::string& revision = options.revision;
  mesh.config_map = revision.empty() || revision == "default" ? "istio" : "istio-" + revision;
  ASSIGN_OR_RETURN(const Json map,
                   access.Get(kConfigMaps, session.globals.istio_ns, mesh.config_map),
                   "mesh configuration");
  ASSIGN_OR_RETURN(mesh.config, kubeapi::ParseYaml(StringAt(map, {"data", "mesh"})),
                   "ConfigMap " + mesh.config_map + ", key mesh");
  if (mesh.config.is_null()) mesh.config = Json::object();
  mesh.trust_domain = StringAt(mesh.config, {"trustDomain"});
  if (mesh.trust_domain.empty()) mesh.trust_domain = "cluster.local";
  return mesh;
}

/// What the other mesh has to believe, as a piece of its mesh configuration.
Result<Json> ExportBundle(ClusterAccess& access, const Session& session,
                          const TrustOptions& options) {
  ASSIGN_OR_RETURN(const Mesh mesh, ReadMesh(access, session, options), "");
  ASSIGN_OR_RETURN(const Json map,
                   access.Get(kConfigMaps, session.globals.istio_ns, "istio-ca-root-cert"),
                   "roots of the mesh");
  const std::string pem = StringAt(map, {"data", "root-cert.pem"});
  RETURN_IF_ERROR(pki::TrustBundle::FromPem(pem).status(),
                  "ConfigMap istio-ca-root-cert, key root-cert.pem");
  return Json{{kRoots, {{{"pem", pem}, {kDomains, {mesh.trust_domain}}}}}};
}

Status CheckBundle(const Json& bundle, const Mesh& mesh) {
  if (ItemsAt(bundle, {kRoots}).empty())
    return Error(Code::kInvalidArgument,
                 "the bundle has no list \"{}\"; make one with \"x trust-bundle export\"", kRoots);
  for (const Json& entry : ItemsAt(bundle, {kRoots})) {
    RETURN_IF_ERROR(pki::TrustBundle::FromPem(StringAt(entry, {"pem"})).status(), "bundle");
    const auto& domains = ItemsAt(entry, {kDomains});
    if (domains.empty())
      return Error(Code::kInvalidArgument,
                   "the bundle names no {}: its CA could make any identity of this mesh", kDomains);
    for (const Json& domain : domains)
      if (domain == mesh.trust_domain)
        return Error(Code::kFailedPrecondition,
                     "both meshes have the trust domain {}, so their identities cannot be told "
                     "apart; install one of them with another meshConfig.trustDomain",
                     mesh.trust_domain);
  }
  return {};
}

/// Takes the bundle's entries in place of those that the mesh had for the same trust domains.
Status ImportBundle(ClusterAccess& access, Session& session, const TrustOptions& options,
                    const Json& bundle) {
  ASSIGN_OR_RETURN(Mesh mesh, ReadMesh(access, session, options), "");
  RETURN_IF_ERROR(CheckBundle(bundle, mesh), "");
  Json entries = Json::array();
  const auto& fresh = ItemsAt(bundle, {kRoots});
  for (const Json& old : ItemsAt(mesh.config, {kRoots}))
    if (std::none_of(fresh.begin(), fresh.end(), [&](const Json& entry) {
          return ItemsAt(entry, {kDomains}) == ItemsAt(old, {kDomains});
        }))
      entries.push_back(old);
  for (const Json& entry : fresh) {
    entries.push_back({{"pem", entry["pem"]}, {kDomains, entry[kDomains]}});
    for (const Json& domain : entry[kDomains])
      session.Out(fmt::format("{} believes {}\n", mesh.trust_domain,
                              domain.is_string() ? domain.get<std::string>() : domain.dump()));
  }
  mesh.config[kRoots] = std::move(entries);
  const Json patch = {{"data", {{"mesh", kubeapi::ToYaml(mesh.config)}}}};
  return access
      .Patch(kConfigMaps, session.globals.istio_ns, mesh.config_map, kubeclient::PatchType::kMerge,
             patch)
      .status();
}

int RunExport(Session& session, const TrustOptions& options) {
  auto client = session.client();
  if (!client.ok()) return session.Fail(client.status());
  ClusterAccess access(session.loop(), **client);
  auto bundle = ExportBundle(access, session, options);
  if (!bundle.ok()) return session.Fail(bundle.status());
  session.Out(Print(*bundle, "yaml"));
  return 0;
}

int RunImport(Session& session, const TrustOptions& options) {
  auto text = session.ReadInput(options.file);
  if (!text.ok()) return session.Fail(text.status());
  auto bundle = kubeapi::ParseYaml(*text);
  if (!bundle.ok()) return session.Fail(bundle.status().In(options.file));
  auto client = session.client();
  if (!client.ok()) return session.Fail(client.status());
  ClusterAccess access(session.loop(), **client);
  const Status status = ImportBundle(access, session, options, *bundle);
  return status.ok() ? 0 : session.Fail(status);
}

Status Exchange(Session& session, const TrustOptions& options) {
  ASSIGN_OR_RETURN(kubeclient::Client * here, session.client(), "");
  ASSIGN_OR_RETURN(const auto there, session.Connect(options.with), "context " + options.with);
  ClusterAccess ours(session.loop(), *here), theirs(session.loop(), *there);
  ASSIGN_OR_RETURN(const Json our_bundle, ExportBundle(ours, session, options), "");
  ASSIGN_OR_RETURN(const Json their_bundle, ExportBundle(theirs, session, options), options.with);
  // Nothing is written unless both sides can take it.
  ASSIGN_OR_RETURN(const Mesh our_mesh, ReadMesh(ours, session, options), "");
  RETURN_IF_ERROR(CheckBundle(their_bundle, our_mesh), "");
  RETURN_IF_ERROR(ImportBundle(ours, session, options, their_bundle), "");
  return ImportBundle(theirs, session, options, our_bundle).In(options.with);
}

}  // namespace

void AddTrustCommands(Commands& commands, CLI::App* group) {
  auto options = std::make_shared<TrustOptions>();
  CLI::App* bundle = AddGroup(
      group, "trust-bundle", "Lets meshes with roots of their own believe each other's identities");
  const auto add = [&](const char* name, const char* what, const char* example) {
    CLI::App* command = AddCommand(bundle, name, what, example);
    command->add_option("-r,--revision", options->revision, "Control plane revision");
    return command;
  };
  CLI::App* command =
      add("export", "Prints the roots of this mesh, as a piece of another's mesh configuration",
          "  % trust-bundle export --context=west > west.yaml\n");
  OnChosen(command, commands, [options](Session& s) { return RunExport(s, *options); });
  command = add("import", "Takes another mesh's roots into this one's mesh configuration",
                "  % trust-bundle import --context=east -f west.yaml\n");
  command->add_option("-f,--filename", options->file, "What export printed; - for standard input")
      ->capture_default_str();
  OnChosen(command, commands, [options](Session& s) { return RunImport(s, *options); });
  command = add("exchange", "Does both for two meshes, in both directions",
                "  % trust-bundle exchange --context=east --with=west\n");
  command->add_option("--with", options->with, "Context of the other mesh")->required();
  OnChosen(command, commands, [options](Session& session) {
    const Status status = Exchange(session, *options);
    return status.ok() ? 0 : session.Fail(status);
  });
}

}  // namespace isthmus::cli
