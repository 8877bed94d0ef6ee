#include "base/strings.h"
#include "kubeapi/meta.h"
#include "lab/apiserver/names.h"
#include "lab/apiserver/strategy.h"
#include "lab/apiserver/watch.h"
#include "lab/apiserver/writer_operation.h"

namespace isthmus::lab::apiserver {
namespace {

using kubeapi::ApiError;
using kubeapi::Find;
using kubeapi::IntAt;
using kubeapi::StringAt;

/// DeleteOptions from the body, with what the query says on top.
Outcome<Json> DeleteOptions(const Request& request) {
  Json options = Json::object();
  if (!base::Trim(request.body).empty()) {
    auto parsed = request.Header("content-type").find("yaml") != std::string::npos
                      ? kubeapi::ParseYaml(request.body)
                      : kubeapi::ParseJson(request.body);
    if (!parsed.ok() || !parsed->is_object())
      return kubeapi::BadRequest("couldn't get version/kind; json parse error: " +
                                 parsed.status().message());
    options = std::move(*parsed);
  }
  if (const std::string grace = request.Query("gracePeriodSeconds"); !grace.empty()) {
    auto seconds = base::ParseInt(grace);
    if (!seconds.ok()) return kubeapi::BadRequest("gracePeriodSeconds is no number: " + grace);
    options["gracePeriodSeconds"] = *seconds;
  }
  if (const std::string policy = request.Query("propagationPolicy"); !policy.empty())
    options["propagationPolicy"] = policy;
  if (request.HasQuery("orphanDependents"))
    options["orphanDependents"] = request.Flag("orphanDependents");
  if (request.HasQuery("dryRun")) options["dryRun"] = Json::array({request.Query("dryRun")});
  const std::string policy = StringAt(options, {"propagationPolicy"});
  if (!policy.empty() && policy != "Background" && policy != "Foreground" && policy != "Orphan")
    return kubeapi::Invalid({"meta.k8s.io", "v1", "", "DeleteOptions"}, "",
                            {{"FieldValueNotSupported",
                              fmt::format("Unsupported value: \"{}\": supported values: "
                                          "\"Foreground\", \"Background\", \"Orphan\", \"nil\"",
                                          policy),
                              "propagationPolicy"}});
  return options;
}

bool IsDryRun(const Json& options) {
  const Json* dry = Find(options, {"dryRun"});
  return dry && dry->is_array() && !dry->empty();
}

/// Kinds whose deletion answers with the object rather than a Status.
bool AnswersWithObject(const Kind& kind) {
  static const char* const kinds[] = {"pods",
                                      "services",
                                      "serviceaccounts",
                                      "persistentvolumeclaims",
                                      "persistentvolumes",
                                      "podtemplates",
                                      "resourcequotas",
                                      "limitranges"};
  for (const char* name : kinds)
    if (kind.resource_key() == name) return true;
  return false;
}

Json DeletedStatus(const Kind& kind, const Json& object) {
  Json details = {
      {"name", kubeapi::NameOf(object)}, {"kind", kind.plural}, {"uid", kubeapi::UidOf(object)}};
  if (!kind.group.empty()) details["group"] = kind.group;
  return {{"kind", "Status"},
          {"apiVersion", "v1"},
          {"metadata", Json::object()},
          {"status", "Success"},
          {"details", std::move(details)}};
}

/// Seconds that a pod is given to end by itself; other kinds have none.
int64_t GraceOf(const Kind& kind, const Json& object, const Json& options) {
  if (kind.resource_key() != "pods") return 0;
  const std::string phase = StringAt(object, {"status", "phase"});
  if (StringAt(object, {"spec", "nodeName"}).empty() || phase == "Succeeded" || phase == "Failed")
    return 0;
  int64_t grace = IntAt(object, {"spec", "terminationGracePeriodSeconds"}, 30);
  if (Find(options, {"gracePeriodSeconds"})) grace = IntAt(options, {"gracePeriodSeconds"});
  return std::max<int64_t>(grace, 0);
}

/// Adds the finalizers by which the garbage collector is asked to act first.
void AddPropagation(const Json& options, Json* metadata) {
  std::string policy = StringAt(options, {"propagationPolicy"});
  if (policy.empty() && Find(options, {"orphanDependents"}))
    policy = kubeapi::BoolAt(options, {"orphanDependents"}) ? "Orphan" : "Background";
  const char* name = policy == "Foreground" ? "foregroundDeletion"
                     : policy == "Orphan"   ? "orphan"
                                            : nullptr;
  Json finalizers = Json::array();
  if (auto it = metadata->find("finalizers"); it != metadata->end() && it->is_array())
    for (const Json& each : *it)
      if (policy.empty() || (each != "foregroundDeletion" && each != "orphan"))
        finalizers.push_back(each);
  if (name) finalizers.push_back(name);
  if (finalizers.empty())
    metadata->erase("finalizers");
  else
    (*metadata)["finalizers"] = std::move(finalizers);
}

}  // namespace

Outcome<Json> Writer::Remove(const Kind& kind, const KindVersion& version, std::string_view ns,
                             std::string_view name, const Json& options, bool dry_run, bool* gone) {
  const ObjectKey key{StorageKey(kind), std::string(ns), std::string(name)};
  auto text = engine_.store.Get(key);
  if (!text) return kubeapi::NotFound(kind.ResourceAt(version), name);
  auto previous = std::make_shared<const std::string>(std::move(*text));
  Json object = engine_.Decode(kind, version, *previous);
  if (const std::string uid = StringAt(options, {"preconditions", "uid"});
      !uid.empty() && uid != kubeapi::UidOf(object))
    return kubeapi::Conflict(
        {kind.group, version.name, kind.kind, kind.kind, kind.namespaced}, name,
        fmt::format("the UID in the precondition ({}) does not match the UID in record ({}). The "
                    "object might have been deleted and then recreated",
                    uid, kubeapi::UidOf(object)));
  const std::string asked = StringAt(options, {"preconditions", "resourceVersion"});
  if (const std::string live = kubeapi::ResourceVersionOf(object); !asked.empty() && asked != live)
    return kubeapi::Conflict(kind.ResourceAt(version), name,
                             fmt::format("Precondition failed: ResourceVersion in precondition: "
                                         "{}, ResourceVersion in object meta: {}",
                                         asked, live));
  const bool is_namespace = kind.resource_key() == "namespaces";
  if (is_namespace && (name == "default" || name == "kube-system" || name == "kube-public"))
    return kubeapi::Forbidden(kind.ResourceAt(version), name, "this namespace may not be deleted");

  Json& metadata = object["metadata"];
  const int64_t grace = GraceOf(kind, object, options);
  const bool again = kubeapi::IsBeingDeleted(object);
  if (!again) {
    metadata["deletionTimestamp"] =
        base::FormatTime(engine_.clock.Now() + std::chrono::seconds(grace));
    metadata["deletionGracePeriodSeconds"] = grace;
    AddPropagation(options, &metadata);
    if (HasGeneration(kind) || kind.custom)
      metadata["generation"] = IntAt(metadata, {"generation"}) + 1;
    if (is_namespace) object["status"]["phase"] = "Terminating";
  } else if (kind.resource_key() == "pods" && Find(options, {"gracePeriodSeconds"}) &&
             grace < IntAt(metadata, {"deletionGracePeriodSeconds"})) {
    // A second request may only shorten the wait.
    metadata["deletionTimestamp"] =
        base::FormatTime(engine_.clock.Now() + std::chrono::seconds(grace));
    metadata["deletionGracePeriodSeconds"] = grace;
  } else if (!ReadyToVanish(kind, object)) {
    *gone = false;
    return object;
  }
  *gone = ReadyToVanish(kind, object);
  // Only what has to wait is marked; a namespace, which always waits, has no grace.
  if (is_namespace || (*gone && kind.resource_key() != "pods"))
    metadata.erase("deletionGracePeriodSeconds");
  if (*gone && !again && kind.resource_key() != "pods") metadata.erase("deletionTimestamp");
  if (dry_run) return object;
  if (*gone) {
    Json last = object;
    if (HasConversion(kind, version)) ToStored(kind, version, &last);
    if (auto status = engine_.store.Delete(key, &last, previous); !status.ok())
      return kubeapi::InternalError(status.message());
    metadata["resourceVersion"] = last["metadata"]["resourceVersion"];
  } else if (auto error = Store(kind, version, &object, previous)) {
    return *error;
  }
  return object;
}

void Writer::Delete(const Request& request, const RequestInfo& info, KindPtr kind,
                    const KindVersion& version, Done done) {
  auto begun = Begin(request, info, std::move(kind), version);
  if (!begun.ok()) return done(ErrorResponse(begun.error()));
  OperationPtr op = *begun;
  op->done = std::move(done);
  auto options = DeleteOptions(request);
  if (!options.ok()) return Fail(op, options.error());
  Admission& admission = *op->admission;
  admission.operation = "DELETE";
  admission.options = std::move(*options);
  admission.dry_run = IsDryRun(admission.options);
  auto current = engine_.Get(op->kind(), version, admission.ns, info.name);
  if (!current) return Fail(op, kubeapi::NotFound(op->resource(), info.name));
  admission.old_object = std::move(*current);
  Admit(op, [this, op] {
    Admission& admission = *op->admission;
    bool gone = false;
    auto removed = Remove(op->kind(), op->version(), admission.ns, admission.name,
                          admission.options, admission.dry_run, &gone);
    if (!removed.ok()) return Fail(op, removed.error());
    if (gone && !AnswersWithObject(op->kind())) {
      Response response = JsonResponse(200, DeletedStatus(op->kind(), *removed));
      for (const std::string& warning : admission.warnings)
        response.headers.emplace_back("warning", fmt::format("299 - {}", Json(warning).dump()));
      return op->done(std::move(response));
    }
    Succeed(op, 200, *removed);
  });
}

void Writer::DeleteCollection(const Request& request, const RequestInfo& info, KindPtr kind,
                              const KindVersion& version, Done done) {
  auto options = DeleteOptions(request);
  if (!options.ok()) return done(ErrorResponse(options.error()));
  auto filter = Filter::Of(request, info, *kind, version);
  if (!filter.ok()) return done(ErrorResponse(filter.error()));
  std::vector<ObjectKey> keys;
  Json items = Json::array();
  engine_.store.List(StorageKey(*kind), filter->ns, std::nullopt,
                     [&](const ObjectKey& key, std::string_view text) {
                       if (!filter->MatchesKey(key)) return true;
                       Json object = engine_.Decode(*kind, version, text);
                       if (!filter->Matches(object)) return true;
                       keys.push_back(key);
                       if (!kind->custom)
                         for (const char* field : {"kind", "apiVersion"}) object.erase(field);
                       items.push_back(std::move(object));
                       return true;
                     });
  // Each goes through admission on its own, one after the other; the first refusal ends it.
  struct Progress {
    size_t next = 0;
    std::vector<ObjectKey> keys;
    std::function<void()> step;
  };
  auto progress = std::make_shared<Progress>();
  progress->keys = std::move(keys);
  Json list = {{"kind", kind->list_kind},
               {"apiVersion", kind->ApiVersion(version)},
               {"metadata", {{"resourceVersion", std::to_string(engine_.store.version())}}},
               {"items", std::move(items)}};
  progress->step = [this, progress, request, info, kind, &version, done, options = *options,
                    list = std::move(list)] {
    if (progress->next == progress->keys.size()) {
      auto finish = std::move(
          progress->step);  // Breaks the cycle; `finish` keeps the captures until we return.
      return done(JsonResponse(200, list));
    }
    const ObjectKey& key = progress->keys[progress->next++];
    Request one = request;
    one.method = "DELETE";
    one.body = options.dump();
    one.query.clear();
    RequestInfo about = info;
    about.ns = key.ns;
    about.name = key.name;
    Delete(one, about, kind, version, [progress, done](Response response) {
      if (response.status >= 400 && response.status != 404) {
        auto finish = std::move(progress->step);
        return done(std::move(response));
      }
      progress->step();
    });
  };
  auto step = progress->step;
  step();
}

}  // namespace isthmus::lab::apiserver
