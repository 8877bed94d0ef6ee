#include "kubeapi/list_rules.h"

#include <fmt/format.h>

#include <array>

namespace isthmus::kubeapi {
namespace {

struct BuiltInRule {
  std::string_view suffix;
  ListRule::Type type;
  std::string_view key1 = {};
  std::string_view key2 = {};
};

using enum ListRule::Type;

// Only what Kubernetes declares as merged; lists that are not here (args, rules, tolerations ...)
// are atomic.
constexpr std::array kBuiltIn = {
    BuiltInRule{"metadata.ownerReferences", kMap, "uid"},
    BuiltInRule{"metadata.finalizers", kSet},
    BuiltInRule{"status.conditions", kMap, "type"},
    BuiltInRule{"status.addresses", kMap, "type"},
    BuiltInRule{"status.podIPs", kMap, "ip"},
    BuiltInRule{"status.hostIPs", kMap, "ip"},
    BuiltInRule{"spec.taints", kMap, "key", "effect"},
    BuiltInRule{"spec.podCIDRs", kSet},
    BuiltInRule{"spec.finalizers", kSet},
    BuiltInRule{"containers", kMap, "name"},
    BuiltInRule{"initContainers", kMap, "name"},
    BuiltInRule{"ephemeralContainers", kMap, "name"},
    BuiltInRule{"containers.ports", kMap, "containerPort", "protocol"},
    BuiltInRule{"initContainers.ports", kMap, "containerPort", "protocol"},
    BuiltInRule{"containers.env", kMap, "name"},
    BuiltInRule{"initContainers.env", kMap, "name"},
    BuiltInRule{"ephemeralContainers.env", kMap, "name"},
    BuiltInRule{"containers.volumeMounts", kMap, "mountPath"},
    BuiltInRule{"initContainers.volumeMounts", kMap, "mountPath"},
    BuiltInRule{"ephemeralContainers.volumeMounts", kMap, "mountPath"},
    BuiltInRule{"containers.volumeDevices", kMap, "devicePath"},
    BuiltInRule{"initContainers.volumeDevices", kMap, "devicePath"},
    BuiltInRule{"spec.volumes", kMap, "name"},
    BuiltInRule{"spec.imagePullSecrets", kMap, "name"},
    BuiltInRule{"^imagePullSecrets", kMap, "name"},
    BuiltInRule{"^secrets", kMap, "name"},
    BuiltInRule{"spec.hostAliases", kMap, "ip"},
    BuiltInRule{"spec.topologySpreadConstraints", kMap, "topologyKey", "whenUnsatisfiable"},
    BuiltInRule{"spec.schedulingGates", kMap, "name"},
    BuiltInRule{"spec.resourceClaims", kMap, "name"},
    BuiltInRule{"^spec.ports", kMap, "port", "protocol"},
    BuiltInRule{"^webhooks", kMap, "name"},
};

constexpr std::array<std::string_view, 14> kAtomicMaps = {
    "selector",     "labelSelector",  "fieldRef",          "resourceFieldRef", "configMapKeyRef",
    "secretKeyRef", "scaleTargetRef", "namespaceSelector", "objectSelector",   "roleRef",
    "targetRef",    "claimRef",       "secretRef",         "podSelector"};

void ReadSchema(const Json& schema, const std::string& path, ListRules& rules, int depth) {
  if (depth > kMaxDepth) return;
  const std::string list_type = StringAt(schema, {"x-kubernetes-list-type"});
  if (list_type == "map") {
    ListRule rule{ListRule::Type::kMap, {}, {}};
    for (const Json& key : ItemsAt(schema, {"x-kubernetes-list-map-keys"})) {
      if (!key.is_string()) continue;
      rule.keys.push_back(key.get<std::string>());
      const std::string fallback =
          StringAt(schema, {"items", "properties", rule.keys.back(), "default"});
      if (!fallback.empty()) rule.key_defaults[rule.keys.back()] = fallback;
    }
    if (!rule.keys.empty()) rules.Add("^" + path, std::move(rule));
  } else if (list_type == "set") {
    rules.Add("^" + path, {ListRule::Type::kSet, {}, {}});
  }
  if (StringAt(schema, {"x-kubernetes-map-type"}) == "atomic") rules.AddAtomicMap("^" + path);
  if (const Json* properties = Find(schema, {"properties"});
      properties != nullptr && properties->is_object())
    for (const auto& [name, property] : properties->items())
      ReadSchema(property, path.empty() ? name : path + "." + name, rules, depth + 1);
  if (const Json* items = Find(schema, {"items"}); items != nullptr && items->is_object())
    ReadSchema(*items, path, rules, depth + 1);
}

/// Looks `path` up whole, then by ever shorter suffixes.
template <typename Map>
typename Map::const_iterator LookUp(const Map& map, std::string_view path) {
  if (auto it = map.find("^" + std::string(path)); it != map.end()) return it;
  while (true) {
    if (auto it = map.find(path); it != map.end()) return it;
    const size_t dot = path.find('.');
    if (dot == path.npos) return map.end();
    path.remove_prefix(dot + 1);
  }
}

}  // namespace

FieldPath AppendField(std::string_view path, std::string_view field) {
  return path.empty() ? FieldPath(field) : fmt::format("{}.{}", path, field);
}

const ListRules& ListRules::BuiltIn() {
  static const ListRules* rules = [] {
    auto* made = new ListRules;
    for (const BuiltInRule& row : kBuiltIn) {
      ListRule rule{row.type, {}, {}};
      if (!row.key1.empty()) rule.keys.emplace_back(row.key1);
      if (!row.key2.empty()) rule.keys.emplace_back(row.key2);
      if (row.key2 == "protocol") rule.key_defaults["protocol"] = "TCP";
      made->Add(row.suffix, std::move(rule));
    }
    for (const std::string_view suffix : kAtomicMaps) made->AddAtomicMap(suffix);
    return made;
  }();
  return *rules;
}

ListRules ListRules::FromSchema(const Json& schema) {
  ListRules rules;
  rules.Add("metadata.ownerReferences", {ListRule::Type::kMap, {"uid"}, {}});
  rules.Add("metadata.finalizers", {ListRule::Type::kSet, {}, {}});
  ReadSchema(schema, "", rules, 0);
  return rules;
}

void ListRules::Add(std::string_view suffix, ListRule rule) {
  lists_[std::string(suffix)] = std::move(rule);
}
void ListRules::AddAtomicMap(std::string_view suffix) { atomic_maps_[std::string(suffix)] = true; }

const ListRule& ListRules::For(std::string_view path) const {
  static const ListRule kAtomicRule;
  const auto it = LookUp(lists_, path);
  return it == lists_.end() ? kAtomicRule : it->second;
}

bool ListRules::IsAtomicMap(std::string_view path) const {
  return LookUp(atomic_maps_, path) != atomic_maps_.end();
}

}  // namespace isthmus::kubeapi
