#include "install/render.h"

#include <algorithm>
#include <tuple>

#include "install/embedded.h"
#include "install/render_parts.h"

namespace isthmus::install {
namespace {

using kubeapi::StringAt;

void Append(std::vector<Json>& to, std::vector<Json> more) {
  for (Json& object : more) to.push_back(std::move(object));
}

/// Rank of a kind in `manifest generate`: what others need comes first.
int Rank(const std::string& kind) {
  if (kind == "CustomResourceDefinition") return 0;
  if (kind == "ServiceAccount" || kind == "ClusterRole") return 1;
  if (kind == "ClusterRoleBinding") return 2;
  if (kind == "ValidatingWebhookConfiguration") return 3;
  if (kind == "ConfigMap") return 4;
  if (kind == "HorizontalPodAutoscaler") return 6;
  if (kind == "Service") return 7;
  return 5;
}

base::Result<Component> RenderGateways(const Installation& installation, bool ingress) {
  Component component;
  component.id = ingress ? "IngressGateways" : "EgressGateways";
  component.title = ingress ? "Ingress gateways" : "Egress gateways";
  component.icon = ingress ? "🛬" : "🛫";
  const char* key = ingress ? "ingressGateways" : "egressGateways";
  const Json* list = kubeapi::Find(installation.spec, {"components", key});
  if (list == nullptr || !list->is_array()) return component;
  for (const Json& gateway : *list) {
    if (!kubeapi::BoolAt(gateway, {"enabled"}, true)) continue;
    ASSIGN_OR_RETURN(std::vector<Json> objects, RenderGateway(installation, gateway, ingress),
                     std::string("spec.components.") + key);
    Append(component.objects, std::move(objects));
  }
  if (ingress && !component.objects.empty() && ExpandsMesh(installation))
    Append(component.objects, RenderExpansion(installation));
  return component;
}

base::Result<Component> RenderPilot(const Installation& installation) {
  Component component{"Pilot", "Istiod", "🧠", {}};
  bool local =
      installation.Enabled("pilot") && (!installation.remote() || installation.local_injector());
  // A control plane that runs elsewhere may keep its configuration here.
  const bool keeps = kubeapi::BoolAt(installation.values, {"global", "configCluster"});
  if (local || keeps) Append(component.objects, RenderIstiodAccess(installation));
  if (local || keeps) Append(component.objects, RenderConfigMaps(installation));
  if (kubeapi::BoolAt(installation.values, {"global", "enableReaderRBAC"}, true)) {
    std::vector<Json> reader =
        ReaderAccess(installation.ns, installation.revision, installation.remote());
    reader.erase(reader.begin());  // The account itself belongs to Base.
    Append(component.objects, std::move(reader));
  }
  if (installation.remote()) Append(component.objects, RenderRemoteDiscovery(installation));
  if (local) {
    ASSIGN_OR_RETURN(std::vector<Json> istiod, RenderIstiod(installation), "spec.components.pilot");
    Append(component.objects, std::move(istiod));
  }
  Append(component.objects, RenderWebhooks(installation));
  return component;
}

void LabelComponent(const Installation& installation, Component& component) {
  for (Json& object : component.objects) {
    Json& labels = object["metadata"]["labels"];
    labels["operator.istio.io/component"] = component.id;
    labels["install.operator.istio.io/owning-resource"] = installation.owner_name;
    labels["istio.io/rev"] = installation.revision.empty() ? "default" : installation.revision;
  }
}

}  // namespace

Json NewObject(const Installation& installation, std::string_view api_version,
               std::string_view kind, std::string_view name, bool namespaced) {
  Json object = {{"apiVersion", api_version},
                 {"kind", kind},
                 {"metadata", {{"name", name}, {"labels", {{"release", "istio"}}}}}};
  if (namespaced) object["metadata"]["namespace"] = installation.ns;
  return object;
}

std::string Suffix(const Installation& installation) {
  return installation.revision.empty() ? "" : "-" + installation.revision;
}

Json RbacRules(std::string_view key) {
  auto all = kubeapi::ParseYaml(EmbeddedFile("rbac.yaml"));
  return all.ok() && all->contains(key) ? (*all)[std::string(key)] : Json::array();
}

std::string ImageName(const Installation& installation, std::string_view image,
                      const Json* component) {
  std::string hub = StringAt(installation.values, {"global", "hub"});
  std::string tag = StringAt(installation.values, {"global", "tag"});
  std::string variant = StringAt(installation.values, {"global", "variant"});
  if (component != nullptr) {
    if (std::string own = StringAt(*component, {"hub"}); !own.empty()) hub = own;
    if (std::string own = StringAt(*component, {"tag"}); !own.empty()) tag = own;
  }
  if (image.find('/') != std::string_view::npos) return std::string(image);
  return hub + "/" + std::string(image) + ":" + tag + (variant.empty() ? "" : "-" + variant);
}

Json Env(std::string_view name, std::string_view value) {
  return {{"name", name}, {"value", value}};
}

Json FieldEnv(std::string_view name, std::string_view path) {
  return {{"name", name},
          {"valueFrom", {{"fieldRef", {{"apiVersion", "v1"}, {"fieldPath", path}}}}}};
}

std::string Text(const Json& value) {
  return value.is_string() ? value.get<std::string>() : kubeapi::ToJson(value);
}

Json Role(Json object, Json rules) {
  object["rules"] = std::move(rules);
  return object;
}

Json Binding(Json object, std::string_view role_kind, std::string_view role,
             std::string_view account, const std::string& ns) {
  object["roleRef"] = {
      {"apiGroup", "rbac.authorization.k8s.io"}, {"kind", role_kind}, {"name", role}};
  object["subjects"] = {{{"kind", "ServiceAccount"}, {"name", account}, {"namespace", ns}}};
  return object;
}

std::vector<Json> ReaderAccess(const std::string& ns, const std::string& revision, bool of_remote) {
  Installation bare;
  bare.ns = ns;
  bare.revision = revision;
  const std::string account = "istio-reader-service-account";
  const std::string role = "istio-reader-clusterrole" + Suffix(bare) + "-" + ns;
  const std::string standby = "istio-reader-standby" + Suffix(bare);
  Json rules = RbacRules("reader");
  for (const Json& rule : RbacRules("readerStandby")) rules.push_back(rule);
  if (of_remote)
    for (const Json& rule : RbacRules("readerOfRemote")) rules.push_back(rule);
  constexpr std::string_view kRbac = "rbac.authorization.k8s.io/v1";
  std::vector<Json> objects = {
      NewObject(bare, "v1", "ServiceAccount", account, true),
      Role(NewObject(bare, kRbac, "ClusterRole", role, false), std::move(rules)),
      Binding(NewObject(bare, kRbac, "ClusterRoleBinding", role, false), "ClusterRole", role,
              account, ns),
      Role(NewObject(bare, kRbac, "Role", standby, true), RbacRules("readerStandbyLocal")),
      Binding(NewObject(bare, kRbac, "RoleBinding", standby, true), "Role", standby, account, ns)};
  for (Json& object : objects) object["metadata"]["labels"]["app"] = "istio-reader";
  return objects;
}

base::Result<std::vector<Component>> Render(const Installation& installation) {
  std::vector<Component> components;
  if (installation.Enabled("base")) {
    Component base{"Base", "Istio core", "⛵️", RenderDefinitions(installation)};
    base.objects.push_back(ReaderAccess(installation.ns, installation.revision, false)[0]);
    components.push_back(std::move(base));
  }
  if (installation.Enabled("pilot") || installation.remote()) {
    ASSIGN_OR_RETURN(Component pilot, RenderPilot(installation), "");
    if (installation.remote() && !installation.local_injector()) pilot.title = "Istiod remote";
    components.push_back(std::move(pilot));
  }
  for (bool ingress : {true, false}) {
    ASSIGN_OR_RETURN(Component gateways, RenderGateways(installation, ingress), "");
    if (!gateways.objects.empty()) components.push_back(std::move(gateways));
  }
  for (Component& component : components) LabelComponent(installation, component);
  return components;
}

std::vector<Json> ManifestOrder(const std::vector<Component>& components) {
  std::vector<Json> all;
  for (const Component& component : components)
    for (const Json& object : component.objects) all.push_back(object);
  auto key = [](const Json& object) {
    std::string kind = StringAt(object, {"kind"});
    std::string group = StringAt(object, {"apiVersion"});
    group = group.find('/') == std::string::npos ? "" : group.substr(0, group.find('/'));
    return std::make_tuple(Rank(kind), group, kind, StringAt(object, {"metadata", "name"}));
  };
  std::stable_sort(all.begin(), all.end(),
                   [&](const Json& a, const Json& b) { return key(a) < key(b); });
  return all;
}

}  // namespace isthmus::install
