#pragma once

#include <functional>
#include <memory>

#include "lab/apiserver/admission.h"
#include "lab/apiserver/engine.h"
#include "lab/apiserver/request.h"

namespace isthmus::lab::apiserver {

/// Create, update, patch, delete: decoding, field ownership, admission, validation, and the write
/// itself.
///
/// `done` may be called inside the call, or later when webhooks are asked. A write that was
/// overtaken while its webhooks answered is tried again from the newest object, unless the client
/// named a resourceVersion.
class Writer {
 public:
  using Done = std::function<void(Response)>;
  explicit Writer(Engine& engine) : engine_(engine) {}

  void Create(const Request& request, const RequestInfo& info, KindPtr kind,
              const KindVersion& version, Done done);
  void Update(const Request& request, const RequestInfo& info, KindPtr kind,
              const KindVersion& version, Done done);
  void Patch(const Request& request, const RequestInfo& info, KindPtr kind,
             const KindVersion& version, Done done);
  void Delete(const Request& request, const RequestInfo& info, KindPtr kind,
              const KindVersion& version, Done done);
  void DeleteCollection(const Request& request, const RequestInfo& info, KindPtr kind,
                        const KindVersion& version, Done done);

  /// A change made by the server itself (bindings, scale, controllers): `change` alters the object
  /// or refuses. Runs through ownership and validation, not through webhooks.
  Outcome<Json> Change(const Kind& kind, std::string_view ns, std::string_view name,
                       const std::string& manager, const std::string& subresource, bool dry_run,
                       const std::function<std::optional<kubeapi::ApiError>(Json*)>& change);
  /// Stores a new object of the server's own without asking anyone; one that is there already
  /// stays.
  void Seed(Json object);
  /// Removes an object at once when nothing holds it back; what a deletion of a collection does per
  /// object.
  Outcome<Json> Remove(const Kind& kind, const KindVersion& version, std::string_view ns,
                       std::string_view name, const Json& options, bool dry_run, bool* gone);

 private:
  struct Operation;
  using OperationPtr = std::shared_ptr<Operation>;
  Outcome<OperationPtr> Begin(const Request& request, const RequestInfo& info, KindPtr kind,
                              const KindVersion& version);
  void RunCreate(const OperationPtr& op, Json object);
  void RunUpdate(const OperationPtr& op);
  std::optional<kubeapi::ApiError> Shape(Operation& op, Json* object, bool warn);
  std::optional<kubeapi::ApiError> MakeNew(Operation& op, const Json& current);
  Outcome<Json> Patched(Operation& op, const Json& current);
  void Admit(const OperationPtr& op, std::function<void()> next);
  void CommitCreate(const OperationPtr& op);
  void CommitUpdate(const OperationPtr& op);
  void Fail(const OperationPtr& op, const kubeapi::ApiError& error);
  void Succeed(const OperationPtr& op, int status, const Json& object);
  std::optional<kubeapi::ApiError> Store(const Kind& kind, const KindVersion& version, Json* object,
                                         Text previous);

  Engine& engine_;
};

/// "kubectl/v1.32.0 (linux/amd64) ..." gives "kubectl", as field managers are named.
std::string ManagerOf(const Request& request);

}  // namespace isthmus::lab::apiserver
