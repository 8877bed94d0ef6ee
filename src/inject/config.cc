#include "inject/config.h"

#include <google/protobuf/util/json_util.h>

#include "base/strings.h"
#include "config/mesh.h"
#include "istio/mesh/v1alpha1/config.pb.h"
#include "istio/mesh/v1alpha1/proxy.pb.h"

namespace isthmus::inject {
namespace {

using base::Code;
using base::Error;
using kubeapi::Find;
using kubeapi::ItemsAt;
using kubeapi::StringAt;

std::string ScalarText(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_integer() || value.is_boolean()) return kubeapi::ToJson(value);
  return "";
}

base::Result<std::vector<kubeapi::LabelSelector>> Selectors(const Json& config,
                                                            std::string_view key) {
  std::vector<kubeapi::LabelSelector> selectors;
  for (const Json& item : ItemsAt(config, {key})) {
    // An empty selector would match everything; Istio ignores it.
    if (!item.is_object() || item.empty()) continue;
    ASSIGN_OR_RETURN(auto selector, kubeapi::LabelSelector::FromObject(item), key);
    if (!selector.empty()) selectors.push_back(std::move(selector));
  }
  return selectors;
}

Json MessageToJson(const google::protobuf::Message& message) {
  std::string text;
  if (!google::protobuf::util::MessageToJsonString(message, &text).ok()) return Json::object();
  auto json = kubeapi::ParseJson(text);
  return json.ok() ? *json : Json::object();
}

Params FromOldForm(std::string_view rest) {
  Params params;
  constexpr std::string_view kMark = ":ENV:";
  for (size_t at = rest.find(kMark); at != rest.npos;) {
    const size_t begin = at + kMark.size();
    at = rest.find(kMark, begin);
    const std::string_view pair = rest.substr(begin, at == rest.npos ? at : at - begin);
    const size_t equals = pair.find('=');
    if (equals == pair.npos || equals == 0) continue;
    params.env[std::string(pair.substr(0, equals))] = pair.substr(equals + 1);
  }
  return params;
}

}  // namespace

base::Result<InjectorConfig> InjectorConfig::Parse(std::string_view config,
                                                   std::string_view values) {
  InjectorConfig out;
  ASSIGN_OR_RETURN(const Json yaml, kubeapi::ParseYaml(config),
                   "injector configuration, key config");
  ASSIGN_OR_RETURN(out.values, kubeapi::ParseYaml(values), "injector configuration, key values");
  if (!out.values.is_object() || !(yaml.is_object() || yaml.is_null()))
    return Error(Code::kInvalidArgument,
                 "injector configuration: keys config and values must hold objects");
  if (std::string policy = StringAt(yaml, {"policy"}); !policy.empty())
    out.policy = std::move(policy);
  ASSIGN_OR_RETURN(out.always, Selectors(yaml, "alwaysInjectSelector"), "injector configuration");
  ASSIGN_OR_RETURN(out.never, Selectors(yaml, "neverInjectSelector"), "injector configuration");
  if (const Json* annotations = Find(yaml, {"injectedAnnotations"});
      annotations && annotations->is_object())
    for (const auto& [key, value] : annotations->items())
      out.injected_annotations[key] = ScalarText(value);
  const auto& templates = ItemsAt(yaml, {"defaultTemplates"});
  if (!templates.empty()) out.default_templates.clear();
  for (const Json& name : templates) out.default_templates.push_back(ScalarText(name));
  if (const Json* aliases = Find(yaml, {"aliases"}); aliases && aliases->is_object())
    for (const auto& [key, value] : aliases->items())
      for (const Json& name : ItemsAt(value)) out.aliases[key].push_back(ScalarText(name));
  return out;
}

std::string InjectorConfig::Text(std::initializer_list<std::string_view> path,
                                 std::string_view fallback) const {
  const Json* found = Find(values, path);
  const std::string text = found == nullptr ? "" : ScalarText(*found);
  return text.empty() ? std::string(fallback) : text;
}

bool InjectorConfig::Flag(std::initializer_list<std::string_view> path, bool fallback) const {
  const std::string text = Text(path);
  if (text == "true") return true;
  if (text == "false") return false;
  return fallback;
}

std::string InjectorConfig::revision() const {
  std::string revision = Text({"revision"});
  return revision == "default" ? "" : revision;
}

const Json& ProxyConfigDefaults() {
  static const Json kDefaults = MessageToJson(config::DefaultMeshConfig()->default_config());
  return kDefaults;
}

MeshSettings MeshSettings::Default() {
  MeshSettings settings;
  settings.default_config = ProxyConfigDefaults();
  return settings;
}

MeshSettings MeshSettings::From(const istio::mesh::v1alpha1::MeshConfig& mesh) {
  MeshSettings settings;
  settings.default_config = MessageToJson(mesh.default_config());
  if (!mesh.trust_domain().empty()) settings.trust_domain = mesh.trust_domain();
  if (mesh.has_enable_prometheus_merge())
    settings.prometheus_merge = mesh.enable_prometheus_merge().value();
  const Json all = MessageToJson(mesh);
  const Json* inbound = Find(all, {"inboundTrafficPolicy", "mode"});
  settings.inbound_localhost = inbound != nullptr && *inbound == "LOCALHOST";
  return settings;
}

Params Params::FromPath(std::string_view path) {
  path = path.substr(0, path.find('?'));
  constexpr std::string_view kRoot = "/inject";
  if (path.starts_with(kRoot)) path.remove_prefix(kRoot.size());
  while (path.ends_with('/')) path.remove_suffix(1);
  if (path.starts_with('/')) path.remove_prefix(1);
  if (path.find(":ENV:") != path.npos) return FromOldForm(path);
  Params params;
  while (!path.empty()) {
    const size_t slash = path.find('/');
    if (slash == path.npos) break;  // A key without a value.
    const std::string_view key = path.substr(0, slash);
    path.remove_prefix(slash + 1);
    const size_t end = path.find('/');
    const std::string value = base::ReplaceAll(path.substr(0, end), "--slash--", "/");
    path = end == path.npos ? std::string_view() : path.substr(end + 1);
    if (key == "cluster") {
      params.cluster = value;
    } else if (key == "net") {
      params.network = value;
    } else if (!key.empty()) {
      params.env[base::ToUpper(key)] = value;
    }
  }
  return params;
}

base::Result<Json> EffectiveProxyConfig(const Json& mesh_default, std::string_view annotation) {
  if (annotation.empty()) return mesh_default;
  constexpr std::string_view kWhere = "annotation proxy.istio.io/config";
  istio::mesh::v1alpha1::ProxyConfig message;
  const auto parsed =
      google::protobuf::util::JsonStringToMessage(kubeapi::ToJson(mesh_default), &message);
  if (!parsed.ok())
    return Error(Code::kInternal, "the mesh's defaultConfig: {}", std::string(parsed.message()));
  RETURN_IF_ERROR(config::MergeProxyConfig(annotation, message), kWhere);
  return MessageToJson(message);
}

}  // namespace isthmus::inject
