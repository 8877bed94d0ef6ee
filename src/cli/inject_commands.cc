#include <fmt/format.h>

#include "base/files.h"
#include "cli/command.h"
#include "cli/documents.h"
#include "config/mesh.h"
#include "inject/inject.h"
#include "kubeapi/meta.h"

namespace isthmus::cli {
namespace {

using base::Code;
using base::Error;
using base::Result;
using kubeapi::Find;
using kubeapi::StringAt;

struct InjectOptions {
  std::string file;
  std::string output;
  std::string config_file, mesh_file, values_file;
  std::string mesh_map = "istio";
  std::string webhook = "istio-sidecar-injector";
  std::string revision;
};

/// The text of a key of a ConfigMap of the control plane, or of a file when one is given.
Result<std::string> Setting(Session& session, const std::string& file, const std::string& map,
                            const std::string& key) {
  if (!file.empty()) return session.ReadInput(file);
  ASSIGN_OR_RETURN(const Json found, session.Get(kConfigMaps, session.globals.istio_ns, map),
                   "reading " + map);
  const Json* value = Find(found, {"data", key});
  if (value == nullptr || !value->is_string())
    return Error(Code::kFailedPrecondition, "config map {}/{} has no key \"{}\"",
                 session.globals.istio_ns, map, key);
  return value->get<std::string>();
}

struct Injector {
  inject::InjectorConfig config;
  inject::MeshSettings mesh;
};

Result<Injector> Load(Session& session, const InjectOptions& options) {
  const std::string suffix =
      options.revision.empty() || options.revision == "default" ? "" : "-" + options.revision;
  ASSIGN_OR_RETURN(
      const std::string config,
      Setting(session, options.config_file, "istio-sidecar-injector" + suffix, "config"),
      "injection templates");
  ASSIGN_OR_RETURN(
      const std::string values,
      Setting(session, options.values_file, "istio-sidecar-injector" + suffix, "values"),
      "injection values");
  ASSIGN_OR_RETURN(const std::string mesh,
                   Setting(session, options.mesh_file, options.mesh_map + suffix, "mesh"), "mesh");
  Injector injector;
  ASSIGN_OR_RETURN(injector.config, inject::InjectorConfig::Parse(config, values),
                   "injection templates");
  ASSIGN_OR_RETURN(const auto parsed, config::ReadMeshConfig(mesh, session.globals.istio_ns),
                   "mesh");
  injector.mesh = inject::MeshSettings::From(*parsed);
  return injector;
}

/// The pod template of a workload, or the pod itself; null for other kinds.
Json* PodTemplate(Json& object) {
  const std::string kind = kubeapi::KindOf(object);
  if (kind == "Pod") return &object;
  if (kind == "CronJob")
    return kubeapi::FindMutable(object, {"spec", "jobTemplate", "spec", "template"});
  for (const char* with :
       {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "ReplicationController"})
    if (kind == with) return kubeapi::FindMutable(object, {"spec", "template"});
  return nullptr;
}

/// A workload with its proxy; other objects as they are.
Result<Json> InjectObject(Json object, const Injector& injector, const std::string& default_ns) {
  Json* pod = PodTemplate(object);
  if (pod == nullptr || !pod->is_object()) return object;
  std::string ns = kubeapi::NamespaceOf(object);
  if (ns.empty()) ns = default_ns;
  // The webhook sees pods that carry their owner's name; a template does not yet.
  const bool is_template = pod != &object;
  Json given = *pod;
  const bool named = Find(given, {"metadata", "name"}) != nullptr;
  if (is_template) {
    if (!named) kubeapi::Ensure(given, {"metadata", "name"}) = kubeapi::NameOf(object);
    given["metadata"]["ownerReferences"] =
        Json::array({{{"apiVersion", kubeapi::ApiVersionOf(object)},
                      {"kind", kubeapi::KindOf(object)},
                      {"name", kubeapi::NameOf(object)},
                      {"uid", ""},
                      {"controller", true}}});
  }
  auto outcome = inject::Inject(given, ns, injector.config, injector.mesh, inject::Params());
  if (!outcome.ok()) return outcome.status().In(kubeapi::Describe(object));
  if (!outcome->injected) return object;
  if (is_template) {
    kubeapi::Erase(outcome->pod, {"metadata", "ownerReferences"});
    if (!named) kubeapi::Erase(outcome->pod, {"metadata", "name"});
    kubeapi::Erase(outcome->pod, {"kind"});
    kubeapi::Erase(outcome->pod, {"apiVersion"});
  }
  *pod = std::move(outcome->pod);
  return object;
}

int RunInject(Session& session, const InjectOptions& options) {
  if (options.file.empty())
    return session.Fail(Error(Code::kInvalidArgument, "give a file with -f, or \"-\""));
  auto text = session.ReadInput(options.file);
  if (!text.ok()) return session.Fail(text.status());
  auto documents = ReadDocuments(*text, options.file);
  if (!documents.ok()) return session.Fail(documents.status());
  auto injector = Load(session, options);
  if (!injector.ok()) return session.Fail(injector.status());
  auto ns = session.default_namespace();
  const std::string default_ns = ns.ok() ? *ns : "default";
  std::string out;
  for (Document& document : *documents) {
    auto injected = InjectObject(std::move(document.object), *injector, default_ns);
    if (!injected.ok()) return session.Fail(injected.status());
    out += kubeapi::ToYaml(*injected) + "---\n";
  }
  if (options.output.empty()) {
    session.Out(out);
    return 0;
  }
  const base::Status written = base::WriteFile(options.output, out);
  return written.ok() ? 0 : session.Fail(written);
}

}  // namespace

void AddInjectCommands(Commands& commands) {
  auto options = std::make_shared<InjectOptions>();
  CLI::App* command =
      AddCommand(&commands.root, "kube-inject", "Adds the proxy to the workloads of a file",
                 "  % kube-inject -f deployment.yaml | kubectl apply -f -\n");
  command->add_option("-f,--filename", options->file, "File with Kubernetes objects, or \"-\"");
  command->add_option("-o,--output", options->output,
                      "File to write to instead of standard output");
  command->add_option("--injectConfigFile", options->config_file,
                      "Templates from a file instead of the cluster");
  command->add_option("--meshConfigFile", options->mesh_file, "Mesh configuration from a file");
  command->add_option("--valuesFile", options->values_file, "Injection values from a file");
  command->add_option("--meshConfigMapName", options->mesh_map, "Config map of the mesh")
      ->capture_default_str();
  command->add_option("--webhookConfig", options->webhook, "Name of the injection webhook")
      ->capture_default_str();
  command->add_option("-r,--revision", options->revision, "Revision of the control plane");
  OnChosen(command, commands, [options](Session& session) { return RunInject(session, *options); });
}

}  // namespace isthmus::cli
