#include "install/operator.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/version.h"
#include "install/embedded.h"

namespace isthmus::install {
namespace {

using base::Code;
using base::Error;
using kubeapi::StringAt;

constexpr std::string_view kProfiles[] = {"default", "demo",    "empty", "external",
                                          "minimal", "preview", "remote"};

/// Fields of `spec` and of its components; an empty map takes any key.
Json KnownSpec() {
  const Json k8s = {
      {"affinity", Json::object()},
      {"env", nullptr},
      {"hpaSpec", Json::object()},
      {"imagePullPolicy", nullptr},
      {"nodeSelector", Json::object()},
      {"overlays", nullptr},
      {"podAnnotations", Json::object()},
      {"podDisruptionBudget", Json::object()},
      {"priorityClassName", nullptr},
      {"readinessProbe", Json::object()},
      {"replicaCount", nullptr},
      {"resources", Json::object()},
      {"securityContext", Json::object()},
      {"service", Json::object()},
      {"serviceAnnotations", Json::object()},
      {"strategy", Json::object()},
      {"tolerations", nullptr},
      {"volumes", nullptr},
      {"volumeMounts", nullptr},
  };
  const Json component = {{"enabled", nullptr},
                          {"namespace", nullptr},
                          {"hub", nullptr},
                          {"tag", nullptr},
                          {"k8s", k8s}};
  return {{"profile", nullptr},
          {"hub", nullptr},
          {"tag", nullptr},
          {"revision", nullptr},
          {"namespace", nullptr},
          {"installPackagePath", nullptr},
          {"compatibilityVersion", nullptr},
          {"unvalidatedValues", Json::object()},
          {"meshConfig", Json::object()},
          {"addonComponents", Json::object()},
          {"autoInjection", Json::object()},
          {"components",
           {{"base", component},
            {"pilot", component},
            {"cni", component},
            {"ztunnel", component},
            {"istiodRemote", component},
            {"ingressGateways", nullptr},
            {"egressGateways", nullptr}}},
          {"values", Json::object()}};
}

base::Result<Json> DefaultValues() {
  ASSIGN_OR_RETURN(Json values, kubeapi::ParseYaml(EmbeddedFile("values.yaml")), "built-in values");
  return values;
}

base::Result<Json> ProfileSpec(const std::string& name) {
  std::string_view text = EmbeddedFile("profiles/" + name + ".yaml");
  if (text.empty())
    return Error(Code::kNotFound, "there is no profile {}; there are {}", name,
                 fmt::join(kProfiles, ", "));
  ASSIGN_OR_RETURN(Json document, kubeapi::ParseYaml(text), "built-in profile " + name);
  return document.value("spec", Json::object());
}

struct UserTree {
  Json spec = Json::object();
  std::string name;
  std::string ns;
};

base::Status CheckEnvelope(const Json& document, const std::string& file) {
  if (!document.is_object())
    return Error(Code::kInvalidArgument, "{}: it holds no object; an IstioOperator is expected",
                 file);
  std::string kind = StringAt(document, {"kind"});
  std::string version = StringAt(document, {"apiVersion"});
  if (kind != "IstioOperator" && kind != "IstioControlPlane")
    return Error(Code::kInvalidArgument, "{}: kind is {}, an IstioOperator is expected", file,
                 kind.empty() ? "missing" : kind);
  if (!version.starts_with("install.istio.io/"))
    return Error(Code::kInvalidArgument,
                 "{}: apiVersion is \"{}\", install.istio.io/v1alpha1 is expected", file, version);
  for (const auto& [key, value] : document.items())
    if (key != "apiVersion" && key != "kind" && key != "metadata" && key != "spec" &&
        key != "status")
      return Error(Code::kInvalidArgument,
                   "{}: unknown field {}; fields of an installation go below spec", file, key);
  return {};
}

base::Result<UserTree> ReadUserTree(const OperatorInput& input) {
  UserTree tree;
  for (const InputFile& file : input.files) {
    ASSIGN_OR_RETURN(std::vector<Json> documents, kubeapi::ParseYamlStream(file.text), file.name);
    if (documents.size() > 1)
      return Error(Code::kInvalidArgument,
                   "{}: it holds {} documents; one IstioOperator a file is expected", file.name,
                   documents.size());
    if (documents.empty()) return Error(Code::kInvalidArgument, "{}: it is empty", file.name);
    RETURN_IF_ERROR(CheckEnvelope(documents[0], file.name), "reading install files");
    std::string name = StringAt(documents[0], {"metadata", "name"});
    std::string ns = StringAt(documents[0], {"metadata", "namespace"});
    if (!name.empty()) tree.name = name;
    if (!ns.empty()) tree.ns = ns;
    if (const Json* spec = kubeapi::Find(documents[0], {"spec"});
        spec != nullptr && !spec->is_null()) {
      if (!spec->is_object())
        return Error(Code::kInvalidArgument, "{}: spec is not a map", file.name);
      Overlay(tree.spec, *spec);
    }
  }
  for (const std::string& set : input.sets)
    RETURN_IF_ERROR(ApplySet(tree.spec, set), "reading flags");
  if (!input.revision.empty())
    tree.spec["revision"] = input.revision == "default" ? "" : input.revision;
  return tree;
}

base::Status CheckUnknown(const Json& spec, const Json& values, bool force,
                          std::vector<std::string>& warnings) {
  std::vector<std::string> unknown;
  FindUnknownKeys(spec, KnownSpec(), "spec", unknown);
  if (const Json* given = kubeapi::Find(spec, {"values"}))
    FindUnknownKeys(*given, values, "spec.values", unknown);
  // A gateway may be named anything, and old releases took values for it under its own name.
  std::erase_if(unknown,
                [](const std::string& path) { return path.starts_with("spec.values.gateways."); });
  if (unknown.empty()) return {};
  std::string text =
      fmt::format("unknown field{} {}", unknown.size() > 1 ? "s" : "", fmt::join(unknown, ", "));
  if (!force)
    return Error(Code::kInvalidArgument, "{}; correct the name, or use --force to go on without",
                 text);
  warnings.push_back(text);
  return {};
}

void CopyIntoValues(const Json& spec, Json& values) {
  for (const char* key : {"hub", "tag"})
    if (std::string text = StringAt(spec, {key}); !text.empty()) values["global"][key] = text;
  if (std::string revision = StringAt(spec, {"revision"}); !revision.empty())
    values["revision"] = revision;
  if (const Json* mesh = kubeapi::Find(spec, {"meshConfig"})) Overlay(values["meshConfig"], *mesh);
  if (const Json* user = kubeapi::Find(spec, {"values"})) Overlay(values, *user);
  if (const Json* more = kubeapi::Find(spec, {"unvalidatedValues"})) Overlay(values, *more);
  // Release 1.4 had the access log among the proxy's values.
  if (std::string log = StringAt(values, {"global", "proxy", "accessLogFile"});
      !log.empty() && StringAt(values, {"meshConfig", "accessLogFile"}).empty())
    values["meshConfig"]["accessLogFile"] = log;
  if (StringAt(values, {"global", "tag"}).empty())
    values["global"]["tag"] = std::string(base::kVersion);
}

/// What old releases spelled otherwise, or no longer do, said in words.
void NoteOldFields(const Json& values, std::vector<std::string>& warnings) {
  struct Old {
    std::initializer_list<std::string_view> path;
    std::string_view now;
  };
  const Old olds[] = {
      {{"global", "remotePolicyAddress"}, "has no effect: there is no Mixer any more"},
      {{"global", "remoteTelemetryAddress"}, "has no effect: there is no Mixer any more"},
      {{"global", "controlPlaneSecurityEnabled"},
       "has no effect: the control plane is always secured"},
  };
  for (const Old& old : olds) {
    const Json* value = kubeapi::Find(values, old.path);
    if (value != nullptr && !value->is_null() && *value != "")
      warnings.push_back(fmt::format("values.{} {}", fmt::join(old.path, "."), old.now));
  }
  if (const Json* mtls = kubeapi::Find(values, {"global", "mtls"});
      mtls != nullptr && !mtls->empty())
    warnings.push_back(
        "values.global.mtls has no effect: mTLS is automatic; require it with a "
        "PeerAuthentication");
}

/// A remote that installs an istiod of its own is today's local injector (seed form: profile demo
/// and remotePilotAddress).
void DeriveRemote(Installation& installation) {
  Json& values = installation.values;
  bool address = !StringAt(values, {"global", "remotePilotAddress"}).empty();
  const Json* enabled = kubeapi::Find(values, {"istiodRemote", "enabled"});
  if (address && (enabled == nullptr || enabled->is_null()) && installation.Enabled("pilot")) {
    values["istiodRemote"]["enabled"] = true;
    values["istiodRemote"]["enabledLocalInjectorIstiod"] = true;
  }
  if (installation.remote() && StringAt(values, {"istiodRemote", "injectionPath"}).empty()) {
    std::string cluster = StringAt(values, {"global", "multiCluster", "clusterName"});
    std::string network = StringAt(values, {"global", "network"});
    std::string path = "/inject";
    if (!installation.local_injector()) {
      if (!cluster.empty()) path += "/cluster/" + cluster;
      if (!network.empty()) path += "/net/" + network;
    }
    values["istiodRemote"]["injectionPath"] = path;
  }
}

/// Releases up to 1.14 took profile remote for default and installed an istiod for certificates and
/// injection; since then a remote without one says by which path the primary injects.
bool OldRemoteForm(const Json& spec) {
  const Json* remote = kubeapi::Find(spec, {"values", "istiodRemote"});
  return StringAt(spec, {"profile"}) == "remote" && (remote == nullptr || remote->empty()) &&
         !StringAt(spec, {"values", "global", "remotePilotAddress"}).empty() &&
         !StringAt(spec, {"values", "global", "multiCluster", "clusterName"}).empty();
}

constexpr std::string_view kOldRemoteNote =
    "profile remote without values.istiodRemote.injectionPath: an istiod is installed for "
    "certificates and injection, as releases up to 1.14 did; for a remote without istiod set "
    "injectionPath to /inject/cluster/CLUSTER/net/NETWORK";

}  // namespace

bool Installation::Enabled(std::string_view component) const {
  return kubeapi::BoolAt(spec, {"components", component, "enabled"});
}

bool Installation::remote() const { return kubeapi::BoolAt(values, {"istiodRemote", "enabled"}); }

bool Installation::local_injector() const {
  return remote() && kubeapi::BoolAt(values, {"istiodRemote", "enabledLocalInjectorIstiod"});
}

namespace {

/// What the user wrote, for messages.
std::string NameOfInput(const OperatorInput& input) {
  if (input.files.empty()) return "--set";
  std::string name;
  for (const InputFile& file : input.files) name += (name.empty() ? "" : ", ") + file.name;
  return input.sets.empty() ? name : name + " and --set";
}

}  // namespace

base::Result<Installation> ResolveInstallation(const OperatorInput& input) {
  Installation result;
  ASSIGN_OR_RETURN(UserTree user, ReadUserTree(input), "");
  ASSIGN_OR_RETURN(Json values, DefaultValues(), "");
  RETURN_IF_ERROR(CheckUnknown(user.spec, values, input.force, result.warnings),
                  NameOfInput(input));

  result.profile = StringAt(user.spec, {"profile"});
  if (result.profile.empty()) result.profile = "default";
  ASSIGN_OR_RETURN(result.spec, ProfileSpec("default"), "");
  if (OldRemoteForm(user.spec)) {
    result.warnings.emplace_back(kOldRemoteNote);
  } else if (result.profile != "default") {
    ASSIGN_OR_RETURN(Json profile, ProfileSpec(result.profile), "spec.profile");
    Overlay(result.spec, profile);
  }
  Overlay(result.spec, user.spec);
  result.values = std::move(values);
  CopyIntoValues(result.spec, result.values);
  NoteOldFields(result.values, result.warnings);

  result.revision = StringAt(result.spec, {"revision"});
  result.ns = StringAt(result.values, {"global", "istioNamespace"});
  if (std::string ns = StringAt(result.spec, {"namespace"}); !ns.empty()) result.ns = ns;
  result.named = !user.name.empty();
  result.owner_name = result.named ? user.name : "unknown";
  if (const Json* mesh = kubeapi::Find(result.values, {"meshConfig"})) result.mesh_config = *mesh;
  DeriveRemote(result);
  return result;
}

std::vector<std::string> ProfileNames() { return {std::begin(kProfiles), std::end(kProfiles)}; }

base::Result<std::string> ProfileYaml(std::string_view name) {
  OperatorInput input;
  input.sets.push_back(fmt::format("profile={}", name));
  ASSIGN_OR_RETURN(Installation installation, ResolveInstallation(input), "");
  Json spec = installation.spec;
  spec["profile"] = name;
  spec["values"] = installation.values;
  return kubeapi::ToYaml(
      {{"apiVersion", "install.istio.io/v1alpha1"}, {"kind", "IstioOperator"}, {"spec", spec}});
}

}  // namespace isthmus::install
