#include "lab/controllers/namespace_deletion.h"

#include "base/log.h"
#include "lab/controllers/resources.h"

namespace isthmus::lab::controllers {
namespace {

using kubeapi::Json;
using kubeapi::StringAt;

constexpr base::Duration kTimeout = std::chrono::seconds(10);
constexpr base::Duration kAgain = std::chrono::milliseconds(200);

/// Namespaced collections that can be deleted and listed, out of aggregated discovery.
std::vector<std::string> Collections(const Json& discovery, const std::string& ns) {
  std::vector<std::string> paths;
  for (const Json& group : discovery.value("items", Json::array())) {
    std::string name = StringAt(group, {"metadata", "name"});
    const Json versions = group.value("versions", Json::array());
    if (versions.empty()) continue;
    std::string prefix = name.empty() ? "/api/" : "/apis/" + name + "/";
    prefix += StringAt(versions[0], {"version"}) + "/namespaces/" + ns + "/";
    for (const Json& resource : versions[0].value("resources", Json::array())) {
      bool deletable = false;
      for (const Json& verb : resource.value("verbs", Json::array()))
        deletable |= verb == "deletecollection";
      if (StringAt(resource, {"scope"}) == "Namespaced" && deletable)
        paths.push_back(prefix + StringAt(resource, {"resource"}));
    }
  }
  return paths;
}

}  // namespace

/// One attempt: discovery of both trees, then all collections at once, then finalisation.
struct NamespaceDeletion::Run : std::enable_shared_from_this<Run> {
  NamespaceDeletion& owner;
  const std::string ns;
  std::vector<std::string> paths;
  size_t open = 0;
  bool left = false;

  Run(NamespaceDeletion& owner, std::string ns) : owner(owner), ns(std::move(ns)) {}

  void Discover(const std::string& path, std::function<void()> then) {
    http::Request request;
    request.target = path;
    request.headers.Set(
        "accept",
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json");
    owner.client_.Raw(request, kTimeout,
                      [self = shared_from_this(), then](base::Result<http::Response> answer) {
                        if (!answer.ok()) return self->Retry();
                        auto discovery = kubeapi::ParseJson(answer->body);
                        if (!discovery.ok()) return self->Retry();
                        for (std::string& found : Collections(*discovery, self->ns))
                          self->paths.push_back(std::move(found));
                        then();
                      });
  }

  void Begin() {
    Discover("/api", [self = shared_from_this()] {
      self->Discover("/apis", [self] { self->DeleteAll(); });
    });
  }

  void DeleteAll() {
    open = paths.size();
    if (open == 0) return Finalize();
    for (const std::string& path : paths) {
      http::Request request;
      request.method = "DELETE";
      request.target = path;
      owner.client_.Raw(
          request, kTimeout,
          [self = shared_from_this(), path](base::Result<http::Response>) { self->Count(path); });
    }
  }

  /// What is still there (pods that end in their time) keeps the namespace.
  void Count(const std::string& path) {
    http::Request request;
    request.target = path + "?limit=1";
    owner.client_.Raw(request, kTimeout,
                      [self = shared_from_this()](base::Result<http::Response> answer) {
                        if (answer.ok()) {
                          auto list = kubeapi::ParseJson(answer->body);
                          if (!list.ok() || !list->value("items", Json::array()).empty())
                            self->left = true;
                        }
                        if (--self->open == 0) self->left ? self->Retry() : self->Finalize();
                      });
  }

  void Finalize() {
    owner.client_.Get(kNamespaces, "", ns, [self = shared_from_this()](base::Result<Json> object) {
      if (!object.ok()) return self->End();
      Json after = std::move(*object);
      after["spec"]["finalizers"] = Json::array();
      self->owner.client_.Update(
          kNamespaces, "", self->ns, after,
          [self](base::Result<Json> result) {
            if (result.ok() || result.status().code() == base::Code::kNotFound) return self->End();
            LOG_WARN("controllers", "finalizing namespace {}: {}", self->ns,
                     result.status().message());
            self->Retry();
          },
          "finalize");
    });
  }

  void Retry() {
    auto timer = std::make_shared<base::Timer>();
    *timer = base::Timer::After(owner.loop_, kAgain, [self = shared_from_this(), timer] {
      self->owner.running_.erase(self->ns);
      self->owner.Start(self->ns);
      timer->Cancel();
    });
  }

  void End() { owner.running_.erase(ns); }
};

void NamespaceDeletion::Start(const std::string& ns) {
  if (!running_.insert(ns).second) return;
  std::make_shared<Run>(*this, ns)->Begin();
}

}  // namespace isthmus::lab::controllers
