#include "lab/apiserver/discovery.h"

#include <algorithm>

#include "base/strings.h"

namespace isthmus::lab::apiserver {
namespace {

/// How a subresource answers: kind with group and version (empty: the resource's own) and verbs.
struct SubForm {
  const char* name;
  const char* group;
  const char* version;
  const char* kind;  ///< "" for the resource's own.
  const char* verbs;
};

constexpr SubForm kSubForms[] = {
    {"approval", "", "", "", "get patch update"},
    {"attach", "", "v1", "PodAttachOptions", "create get"},
    {"binding", "", "v1", "Binding", "create"},
    {"ephemeralcontainers", "", "", "", "get patch update"},
    {"eviction", "policy", "v1", "Eviction", "create"},
    {"exec", "", "v1", "PodExecOptions", "create get"},
    {"finalize", "", "", "", "update"},
    {"log", "", "", "", "get"},
    {"portforward", "", "v1", "PodPortForwardOptions", "create get"},
    {"proxy", "", "v1", "ProxyOptions", "create delete get patch update"},
    {"resize", "", "", "", "get patch update"},
    {"scale", "autoscaling", "v1", "Scale", "get patch update"},
    {"status", "", "", "", "get patch update"},
    {"token", "authentication.k8s.io", "v1", "TokenRequest", "create"},
};

const SubForm* FormOf(std::string_view name) {
  for (const SubForm& form : kSubForms)
    if (name == form.name) return &form;
  return nullptr;
}

std::string VerbsOf(const Kind& kind) {
  if (kind.review) return "create";
  if (kind.custom) return "delete deletecollection get list patch create update watch";
  if (kind.resource_key() == "namespaces") return "create delete get list patch update watch";
  return "create delete deletecollection get list patch update watch";
}

std::string ProxyKind(const Kind& kind, const SubForm& form) {
  return form.kind == std::string_view("ProxyOptions") ? kind.kind + "ProxyOptions" : form.kind;
}

Json OldResources(const Engine& engine, const std::string& group, const std::string& version_name) {
  Json resources = Json::array();
  for (const KindPtr& kind : engine.kinds.all()) {
    const KindVersion* version = kind->group == group ? kind->FindVersion(version_name) : nullptr;
    if (!version) continue;
    Json row = {{"name", kind->plural},
                {"singularName", kind->singular},
                {"namespaced", kind->namespaced},
                {"kind", kind->kind},
                {"verbs", base::SplitList(VerbsOf(*kind), ' ')}};
    if (!kind->short_names.empty()) row["shortNames"] = kind->short_names;
    if (!kind->categories.empty()) row["categories"] = kind->categories;
    if (!kind->review) row["storageVersionHash"] = "aGFzaA==";
    resources.push_back(std::move(row));
    for (const std::string& sub : SubresourcesOf(*kind, *version)) {
      const SubForm* form = FormOf(sub);
      if (!form) continue;
      Json entry = {{"name", kind->plural + "/" + sub},
                    {"singularName", ""},
                    {"namespaced", kind->namespaced},
                    {"kind", *form->kind ? ProxyKind(*kind, *form) : kind->kind},
                    {"verbs", base::SplitList(form->verbs, ' ')}};
      if (*form->group) {
        entry["group"] = form->group;
        entry["version"] = form->version;
      }
      resources.push_back(std::move(entry));
    }
  }
  return resources;
}

Json NewResources(const Engine& engine, const std::string& group, const std::string& version_name) {
  Json resources = Json::array();
  for (const KindPtr& kind : engine.kinds.all()) {
    const KindVersion* version = kind->group == group ? kind->FindVersion(version_name) : nullptr;
    if (!version) continue;
    auto gvk = [](const std::string& g, const std::string& v, const std::string& k) {
      return Json{{"group", g}, {"version", v}, {"kind", k}};
    };
    // Of a built-in kind only the name is said; the rest is where it stands.
    const Json own =
        kind->custom ? gvk(kind->group, version_name, kind->kind) : gvk("", "", kind->kind);
    Json row = {{"resource", kind->plural},
                {"responseKind", own},
                {"scope", kind->namespaced ? "Namespaced" : "Cluster"},
                {"singularResource", kind->singular},
                {"verbs", base::SplitList(VerbsOf(*kind), ' ')}};
    if (!kind->short_names.empty()) row["shortNames"] = kind->short_names;
    if (!kind->categories.empty()) row["categories"] = kind->categories;
    for (const std::string& sub : SubresourcesOf(*kind, *version)) {
      const SubForm* form = FormOf(sub);
      if (!form) continue;
      const bool elsewhere = *form->kind && *form->group;
      const Json response = elsewhere     ? gvk(form->group, form->version, form->kind)
                            : *form->kind ? gvk("", "", ProxyKind(*kind, *form))
                                          : own;
      row["subresources"].push_back({{"subresource", sub},
                                     {"responseKind", response},
                                     {"verbs", base::SplitList(form->verbs, ' ')}});
    }
    resources.push_back(std::move(row));
  }
  return resources;
}

/// Groups in order with their served versions, preferred first; the core group is "".
std::vector<std::pair<std::string, std::vector<std::string>>> Groups(const Engine& engine) {
  std::vector<std::pair<std::string, std::vector<std::string>>> groups;
  for (const KindPtr& kind : engine.kinds.all()) {
    auto it = std::find_if(groups.begin(), groups.end(),
                           [&](const auto& each) { return each.first == kind->group; });
    if (it == groups.end()) it = groups.insert(groups.end(), {kind->group, {}});
    for (const KindVersion& version : kind->versions)
      if (version.served &&
          std::find(it->second.begin(), it->second.end(), version.name) == it->second.end())
        it->second.push_back(version.name);
  }
  return groups;
}

Json OldGroup(const std::string& name, const std::vector<std::string>& versions) {
  Json list = Json::array();
  for (const std::string& version : versions)
    list.push_back({{"groupVersion", name + "/" + version}, {"version", version}});
  return {{"name", name}, {"versions", list}, {"preferredVersion", list[0]}};
}

/// The aggregated form that the client accepts: "v2", "v2beta1" or "".
std::string AggregatedVersion(const Request& request) {
  for (const std::string& offer : base::SplitList(request.Header("accept"))) {
    if (offer.find("as=APIGroupDiscoveryList") == offer.npos) continue;
    if (offer.find("v=v2beta1") != offer.npos) return "v2beta1";
    if (offer.find("v=v2") != offer.npos) return "v2";
  }
  return "";
}

Response Aggregated(const Engine& engine, const std::string& form, bool core) {
  Json items = Json::array();
  for (const auto& [group, versions] : Groups(engine)) {
    if (group.empty() != core) continue;
    Json item = {{"metadata", {{"creationTimestamp", nullptr}}}, {"versions", Json::array()}};
    if (!group.empty()) item["metadata"]["name"] = group;
    for (const std::string& version : versions)
      item["versions"].push_back({{"version", version},
                                  {"freshness", "Current"},
                                  {"resources", NewResources(engine, group, version)}});
    items.push_back(std::move(item));
  }
  Response response = JsonResponse(200, {{"kind", "APIGroupDiscoveryList"},
                                         {"apiVersion", "apidiscovery.k8s.io/" + form},
                                         {"metadata", Json::object()},
                                         {"items", std::move(items)}});
  response.content_type =
      "application/json;g=apidiscovery.k8s.io;v=" + form + ";as=APIGroupDiscoveryList";
  return response;
}

}  // namespace

std::vector<std::string> SubresourcesOf(const Kind& kind, const KindVersion& version) {
  std::vector<std::string> all = kind.subresources;
  if (!version.scale_spec.empty()) all.push_back("scale");
  if (version.status) all.push_back("status");
  std::sort(all.begin(), all.end());
  return all;
}

std::optional<Response> Discover(const Engine& engine, const Request& request) {
  std::string_view path = request.path;
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  if (path == "/api" || path == "/apis") {
    const bool core = path == "/api";
    if (const std::string form = AggregatedVersion(request); !form.empty())
      return Aggregated(engine, form, core);
    if (core)
      return JsonResponse(200, {{"kind", "APIVersions"},
                                {"versions", {"v1"}},
                                {"serverAddressByClientCIDRs", Json::array()}});
    Json groups = Json::array();
    for (const auto& [group, versions] : Groups(engine))
      if (!group.empty() && !versions.empty()) groups.push_back(OldGroup(group, versions));
    return JsonResponse(
        200, {{"kind", "APIGroupList"}, {"apiVersion", "v1"}, {"groups", std::move(groups)}});
  }
  const auto parts = base::Split(path.substr(1), '/');
  std::string group, version;
  if (parts.size() == 2 && parts[0] == "api") {
    version = parts[1];
  } else if (parts.size() == 2 && parts[0] == "apis") {
    for (const auto& [name, versions] : Groups(engine))
      if (name == parts[1] && !versions.empty()) {
        Json body = OldGroup(name, versions);
        body["kind"] = "APIGroup";
        body["apiVersion"] = "v1";
        return JsonResponse(200, body);
      }
    return std::nullopt;
  } else if (parts.size() == 3 && parts[0] == "apis") {
    group = parts[1];
    version = parts[2];
  } else {
    return std::nullopt;
  }
  Json resources = OldResources(engine, group, version);
  if (resources.empty()) return std::nullopt;
  return JsonResponse(200, {{"kind", "APIResourceList"},
                            {"apiVersion", "v1"},
                            {"groupVersion", group.empty() ? version : group + "/" + version},
                            {"resources", std::move(resources)}});
}

}  // namespace isthmus::lab::apiserver
