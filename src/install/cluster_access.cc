#include "install/cluster_access.h"

#include <memory>

namespace isthmus::install {
namespace {

using base::Code;
using base::Error;
using base::Status;
using kubeapi::StringAt;
using kubeclient::Await;

constexpr base::Duration kPatience = std::chrono::seconds(30);
constexpr base::Duration kPause = std::chrono::milliseconds(300);

}  // namespace

base::Result<Json> ClusterAccess::Get(const Resource& resource, std::string_view ns,
                                      std::string_view name) {
  return Await<Json>(loop_, kPatience, [&](auto done) { client_.Get(resource, ns, name, done); });
}

base::Result<std::vector<Json>> ClusterAccess::List(const Resource& resource, std::string_view ns,
                                                    std::string_view label_selector) {
  kubeclient::ListOptions options{std::string(label_selector), ""};
  ASSIGN_OR_RETURN(
      Json list,
      Await<Json>(loop_, kPatience, [&](auto done) { client_.List(resource, ns, options, done); }),
      "listing " + resource.plural);
  std::vector<Json> items;
  if (list.contains("items") && list["items"].is_array())
    for (Json& item : list["items"]) items.push_back(std::move(item));
  return items;
}

base::Result<Json> ClusterAccess::Create(const Resource& resource, std::string_view ns,
                                         const Json& object) {
  return Await<Json>(loop_, kPatience,
                     [&](auto done) { client_.Create(resource, ns, object, done); });
}

base::Result<Json> ClusterAccess::Patch(const Resource& resource, std::string_view ns,
                                        std::string_view name, kubeclient::PatchType type,
                                        const Json& patch) {
  return Await<Json>(loop_, kPatience,
                     [&](auto done) { client_.Patch(resource, ns, name, type, patch, done); });
}

Status ClusterAccess::Delete(const Resource& resource, std::string_view ns, std::string_view name) {
  auto result =
      Await<Json>(loop_, kPatience, [&](auto done) { client_.Delete(resource, ns, name, done); });
  return result.ok() || result.status().code() == Code::kNotFound ? Status() : result.status();
}

base::Result<Resource> ClusterAccess::Find(std::string_view api_version, std::string_view kind) {
  return Await<Resource>(loop_, kPatience,
                         [&](auto done) { client_.Discover(api_version, kind, done); });
}

Status ClusterAccess::ApplyAll(const std::vector<Json>& objects, std::string_view default_ns) {
  std::vector<const Json*> open;
  for (const Json& object : objects) open.push_back(&object);
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (true) {
    ASSIGN_OR_RETURN(std::vector<Refused> refused, ApplyOnce(open, default_ns), "");
    open.clear();
    for (Refused& one : refused) {
      // The words of Kubernetes for a webhook that gave no answer; a refusal says "denied".
      const bool unanswered = one.why.message().find("failed calling webhook") != std::string::npos;
      if (!unanswered || std::chrono::steady_clock::now() >= end) return one.why;
      open.push_back(one.object);
    }
    if (open.empty()) return {};
    loop_.RunUntil([] { return false; }, kPause);
  }
}

base::Result<std::vector<ClusterAccess::Refused>> ClusterAccess::ApplyOnce(
    const std::vector<const Json*>& objects, std::string_view default_ns) {
  struct Progress {
    size_t open = 0;
    std::vector<Refused> refused;
  };
  auto progress = std::make_shared<Progress>();
  for (const Json* object : objects) {
    auto resource = Find(StringAt(*object, {"apiVersion"}), StringAt(*object, {"kind"}));
    if (!resource.ok()) return resource.status().In(Describe(*object));
    std::string ns;
    if (resource->namespaced) {
      ns = StringAt(*object, {"metadata", "namespace"});
      if (ns.empty()) ns = default_ns;
    }
    ++progress->open;
    client_.Patch(
        *resource, ns, StringAt(*object, {"metadata", "name"}), kubeclient::PatchType::kApply,
        *object,
        [progress, object, what = Describe(*object)](base::Result<Json> result) {
          --progress->open;
          if (!result.ok())
            progress->refused.push_back({object, result.status().In("applying " + what)});
        },
        {}, "istio-operator", true);
  }
  if (!loop_.RunUntil([progress] { return progress->open == 0; }, kPatience))
    return Error(Code::kDeadlineExceeded, "the API server did not answer {} of {} requests in 30 s",
                 progress->open, objects.size());
  return std::move(progress->refused);
}

Status ClusterAccess::Until(base::Duration timeout,
                            const std::function<base::Result<bool>()>& done) {
  auto end = std::chrono::steady_clock::now() + timeout;
  while (true) {
    ASSIGN_OR_RETURN(bool is, done(), "");
    if (is) return {};
    if (std::chrono::steady_clock::now() >= end)
      return Error(Code::kDeadlineExceeded, "not ready in time");
    loop_.RunUntil([] { return false; }, std::chrono::milliseconds(100));
  }
}

std::string Describe(const Json& object) {
  std::string ns = StringAt(object, {"metadata", "namespace"});
  return StringAt(object, {"kind"}) + " " + (ns.empty() ? "" : ns + "/") +
         StringAt(object, {"metadata", "name"});
}

}  // namespace isthmus::install
