#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/loop.h"
#include "base/result.h"
#include "http/client.h"
#include "kubeapi/json.h"
#include "kubeapi/resource.h"
#include "kubeclient/config.h"

namespace isthmus::kubeclient {

using kubeapi::Json;
using kubeapi::Resource;

enum class PatchType { kJson, kMerge, kStrategic, kApply };

struct ListOptions {
  std::string label_selector;
  std::string field_selector;
  /// Without it lists leave out metadata.managedFields, half of many objects.
  bool managed_fields = true;
};

/// The REST client of one API server. Lives on its loop. Every error is the server's Status in
/// words, with the code that fits its reason (NotFound, AlreadyExists, Conflict as kAborted,
/// Forbidden...).
class Client {
 public:
  using Done = std::function<void(base::Result<Json>)>;

  static base::Result<std::unique_ptr<Client>> Create(base::Loop& loop, RestConfig config);
  ~Client();

  const RestConfig& config() const;

  void Get(const Resource& resource, std::string_view ns, std::string_view name, Done done);
  /// The whole list, gathered from chunks of 500.
  void List(const Resource& resource, std::string_view ns, const ListOptions& options, Done done);
  /// The same without gathering: `item` sees each object in turn, then `done` the list's resource
  /// version. Keeps no more than one chunk in memory.
  void ListEach(const Resource& resource, std::string_view ns, const ListOptions& options,
                std::function<void(Json)> item,
                std::function<void(base::Result<std::string>)> done);
  void Create(const Resource& resource, std::string_view ns, const Json& object, Done done);
  /// Replaces; the object carries its resourceVersion when the caller minds conflicts.
  /// `subresource` such as "status".
  void Update(const Resource& resource, std::string_view ns, std::string_view name,
              const Json& object, Done done, std::string_view subresource = {});
  void Patch(const Resource& resource, std::string_view ns, std::string_view name, PatchType type,
             const Json& patch, Done done, std::string_view subresource = {},
             std::string_view field_manager = "isthmus", bool force = true);
  void Delete(const Resource& resource, std::string_view ns, std::string_view name, Done done,
              std::optional<int> grace_seconds = {});
  /// Creates under a subresource: tokens, tokenreviews and the like.
  void CreateSub(const Resource& resource, std::string_view ns, std::string_view name,
                 std::string_view subresource, const Json& object, Done done);
  /// A resource that is not namespaced by its kind but has a path of its own, such as "/version".
  void GetPath(std::string_view path, Done done);
  /// Any request to any path; the body of an answer below 300 comes back as it is.
  void Raw(http::Request request, base::Duration timeout,
           std::function<void(base::Result<http::Response>)> done);
  /// A streaming request, such as logs with follow.
  std::shared_ptr<http::ClientStream> Stream(http::RequestHead head, http::ClientEvents events);
  /// exec, attach and port-forward: WebSocket or SPDY are the caller's.
  void Upgrade(http::RequestHead head,
               std::function<void(
                   base::Result<std::pair<http::ResponseHead, std::unique_ptr<http::ByteStream>>>)>
                   done);
  /// Finds the Resource of a kind by discovery, cached; kNotFound when the server does not serve
  /// it.
  void Discover(std::string_view api_version, std::string_view kind,
                std::function<void(base::Result<Resource>)> done);

 private:
  struct Impl;
  explicit Client(std::shared_ptr<Impl> impl);
  friend class Watch;
  std::shared_ptr<Impl> impl_;
};

}  // namespace isthmus::kubeclient
