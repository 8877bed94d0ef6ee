#include "lab/apiserver/writer.h"

#include "base/strings.h"
#include "kubeapi/apply.h"
#include "kubeapi/meta.h"
#include "kubeapi/patch.h"
#include "lab/apiserver/names.h"
#include "lab/apiserver/service_strategy.h"
#include "lab/apiserver/strategy.h"
#include "lab/apiserver/writer_operation.h"
#include "pki/digest.h"

namespace isthmus::lab::apiserver {
namespace {

using kubeapi::ApiError;
using kubeapi::BoolAt;
using kubeapi::Find;
using kubeapi::IntAt;
using kubeapi::StringAt;

constexpr int kMostAttempts = 6;
const Json kNull;

const kubeapi::ListRules& RulesOf(const KindVersion& version) {
  return version.schema ? version.schema->rules() : kubeapi::ListRules::BuiltIn();
}

/// The object without what a write changes by itself, for telling whether anything was asked for.
Json Essence(Json object) {
  if (object.contains("metadata") && object["metadata"].is_object()) {
    object["metadata"].erase("managedFields");
    object["metadata"].erase("resourceVersion");
    object["metadata"].erase("generation");
  }
  return object;
}

Json SpecOf(Json object, bool with_status) {
  object.erase("metadata");
  if (!with_status) object.erase("status");
  return object;
}

ApiError DecodeError(const Kind& kind, const KindVersion& version, std::string_view why) {
  return kubeapi::BadRequest(fmt::format("{} in version \"{}\" cannot be handled as a {}: {}",
                                         kind.kind, version.name, kind.kind, why));
}

Outcome<Json> ParseBody(const std::string& body, const std::string& content_type) {
  if (base::Trim(body).empty()) return kubeapi::BadRequest("the request has no body");
  const bool yaml = content_type.find("yaml") != std::string::npos;
  if (content_type.find("protobuf") != std::string::npos ||
      content_type.find("cbor") != std::string::npos)
    return kubeapi::UnsupportedMediaType(
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json, application/yaml");
  auto parsed = yaml ? kubeapi::ParseYaml(body) : kubeapi::ParseJson(body);
  if (!parsed.ok())
    return kubeapi::BadRequest("couldn't get version/kind; json parse error: " +
                               parsed.status().message());
  if (!parsed->is_object() && !parsed->is_array())
    return kubeapi::BadRequest("the body of the request is not an object");
  return std::move(*parsed);
}

}  // namespace

std::string ManagerOf(const Request& request) {
  const std::string given = request.Query("fieldManager");
  if (!given.empty()) return given.substr(0, 128);
  const std::string agent = request.Header("user-agent");
  const std::string name(base::Cut(agent, "/").first);
  return name.empty() ? "unknown" : name.substr(0, 128);
}

Outcome<Writer::OperationPtr> Writer::Begin(const Request& request, const RequestInfo& info,
                                            KindPtr kind, const KindVersion& version) {
  auto op = std::make_shared<Operation>();
  op->request = request;
  op->info = info;
  auto output = Output::Negotiate(request);
  if (!output.ok()) return output.error();
  op->output = *output;
  op->manager = ManagerOf(request);
  Admission& admission = *op->admission;
  admission.version = &version;
  admission.kind = std::move(kind);
  admission.subresource = info.subresource;
  admission.ns = admission.kind->namespaced ? info.ns : "";
  admission.name = info.name;
  admission.user = request.user;
  if (request.HasQuery("dryRun")) {
    if (request.Query("dryRun") != "All")
      return kubeapi::Invalid(
          {"meta.k8s.io", "v1", "", "CreateOptions"}, "",
          {{"FieldValueNotSupported",
            "Unsupported value: \"" + request.Query("dryRun") + "\": supported values: \"All\"",
            "dryRun"}});
    admission.dry_run = true;
  }
  const std::string validation = request.Query("fieldValidation");
  if (!validation.empty() && validation != "Strict" && validation != "Warn" &&
      validation != "Ignore")
    return kubeapi::Invalid({"meta.k8s.io", "v1", "", "CreateOptions"}, "",
                            {{"FieldValueNotSupported",
                              "Unsupported value: \"" + validation +
                                  "\": supported values: \"Ignore\", \"Strict\", \"Warn\"",
                              "fieldValidation"}});
  op->strict = validation == "Strict";
  op->warn = validation.empty() || validation == "Warn";
  if (!version.deprecation_warning.empty())
    admission.warnings.push_back(version.deprecation_warning);
  return op;
}

void Writer::Fail(const OperationPtr& op, const ApiError& error) {
  Response response = ErrorResponse(error);
  for (const std::string& warning : op->admission->warnings)
    response.headers.emplace_back("warning", fmt::format("299 - {}", Json(warning).dump()));
  op->done(std::move(response));
}

void Writer::Succeed(const OperationPtr& op, int status, const Json& object) {
  Response response =
      op->output.Respond(status, op->output.Shape(engine_, op->version(), object)
                                     .dump(-1, ' ', false, Json::error_handler_t::replace));
  for (const std::string& warning : op->admission->warnings)
    response.headers.emplace_back("warning", fmt::format("299 - {}", Json(warning).dump()));
  op->done(std::move(response));
}

std::optional<ApiError> Writer::Shape(Operation& op, Json* object, bool warn) {
  const Kind& kind = op.kind();
  const KindVersion& version = op.version();
  const Type* type = version.shape();
  if (!type) return std::nullopt;
  Findings findings;
  Conform(*type, object, &findings);
  if (!findings.undecodable.empty()) {
    const std::string why(base::Cut(findings.undecodable.front(), ": ").second);
    if (op.patch_type.empty() || op.applied) return DecodeError(kind, version, why);
    return kubeapi::Invalid(
        {}, "",
        {{"FieldValueInvalid",
          fmt::format("Invalid value: {}: {}", Json(kubeapi::ToJson(*object)).dump(), why),
          "patch"}});
  }
  if (!findings.unknown.empty() && op.strict) {
    std::string text;
    for (const std::string& field : findings.unknown)
      text += (text.empty() ? "" : ", ") + fmt::format("unknown field \"{}\"", field);
    return DecodeError(kind, version, "strict decoding error: " + text);
  }
  if (warn && op.warn)
    for (const std::string& field : findings.unknown)
      op.admission->warnings.push_back(fmt::format("unknown field \"{}\"", field));
  if (!findings.invalid.empty()) {
    std::vector<kubeapi::StatusCause> causes;
    for (const auto& cause : findings.invalid)
      causes.push_back({cause.reason, cause.message, cause.field.empty() ? "<nil>" : cause.field});
    return kubeapi::Invalid(op.resource(), kubeapi::NameOf(*object), std::move(causes));
  }
  if (!kind.custom) DefaultKind(kind, object);
  return std::nullopt;
}

// ---- create

void Writer::Create(const Request& request, const RequestInfo& info, KindPtr kind,
                    const KindVersion& version, Done done) {
  auto begun = Begin(request, info, std::move(kind), version);
  if (!begun.ok()) return done(ErrorResponse(begun.error()));
  OperationPtr op = *begun;
  op->done = std::move(done);
  auto body = ParseBody(request.body, request.Header("content-type"));
  if (!body.ok()) return Fail(op, body.error());
  RunCreate(op, std::move(*body));
}

void Writer::RunCreate(const OperationPtr& op, Json object) {
  Admission& admission = *op->admission;
  admission.operation = "CREATE";
  if (auto error = CheckTypeAndPlace(op->kind(), op->version(), admission.ns, &object))
    return Fail(op, *error);
  Json& metadata = object["metadata"];
  if (!StringAt(metadata, {"resourceVersion"}).empty())
    return Fail(
        op, {.code = 500, .message = "resourceVersion should not be set on objects to be created"});
  if (!op->applied) metadata.erase("managedFields");
  for (const char* field :
       {"selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"})
    metadata.erase(field);
  if (auto error = Shape(*op, &object, true)) return Fail(op, *error);
  Json& meta = object["metadata"];
  meta["uid"] = pki::RandomUuid();
  meta["creationTimestamp"] = engine_.NowText();
  if (op->kind().custom || HasGeneration(op->kind()))
    meta["generation"] = 1;
  else
    meta.erase("generation");
  if (const std::string prefix = StringAt(meta, {"generateName"});
      StringAt(meta, {"name"}).empty() && !prefix.empty())
    meta["name"] = GenerateName(prefix);
  admission.name = StringAt(meta, {"name"});
  PrepareCreate(engine_, op->kind(), op->version(), admission.user, &object);
  admission.object = std::move(object);
  Admit(op, [this, op] { CommitCreate(op); });
}

void Writer::CommitCreate(const OperationPtr& op) {
  Admission& admission = *op->admission;
  Json& object = admission.object;
  const Kind& kind = op->kind();
  auto causes = ValidateNames(kind, object);
  if (causes.empty()) causes = Validate(kind, op->version(), object, nullptr);
  if (!causes.empty())
    return Fail(op, kubeapi::Invalid(op->resource(), admission.name, std::move(causes)));
  if (engine_.store.Get(op->key())) {
    if (op->applied && ++op->attempts < kMostAttempts) return RunUpdate(op);
    return Fail(op, kubeapi::AlreadyExists(op->resource(), admission.name));
  }
  if (StorageKey(kind) == "services") {
    causes = AllocateService(engine_, nullptr, &object);
    if (!causes.empty())
      return Fail(op, kubeapi::Invalid(op->resource(), admission.name, std::move(causes)));
  }
  if (!op->applied)
    object = kubeapi::TrackUpdate(kNull, std::move(object),
                                  {op->manager, admission.subresource, engine_.clock.Now()},
                                  RulesOf(op->version()));
  if (!admission.dry_run)
    if (auto error = Store(kind, op->version(), &object, nullptr)) return Fail(op, *error);
  Succeed(op, 201, object);
}

std::optional<ApiError> Writer::Store(const Kind& kind, const KindVersion& version, Json* object,
                                      Text previous) {
  const ObjectKey key{StorageKey(kind), kubeapi::NamespaceOf(*object), kubeapi::NameOf(*object)};
  base::Status status;
  if (HasConversion(kind, version)) {
    Json stored = *object;
    ToStored(kind, version, &stored);
    status = engine_.store.Put(key, &stored, std::move(previous));
    (*object)["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"];
  } else {
    status = engine_.store.Put(key, object, std::move(previous));
  }
  if (!status.ok()) return kubeapi::InternalError(status.message());
  return std::nullopt;
}

// ---- update and patch

void Writer::Update(const Request& request, const RequestInfo& info, KindPtr kind,
                    const KindVersion& version, Done done) {
  auto begun = Begin(request, info, std::move(kind), version);
  if (!begun.ok()) return done(ErrorResponse(begun.error()));
  OperationPtr op = *begun;
  op->done = std::move(done);
  auto body = ParseBody(request.body, request.Header("content-type"));
  if (!body.ok()) return Fail(op, body.error());
  op->body = std::move(*body);
  if (auto error = CheckTypeAndPlace(op->kind(), op->version(), op->admission->ns, &op->body))
    return Fail(op, *error);
  const std::string name = kubeapi::NameOf(op->body);
  if (name.empty())
    return Fail(op, kubeapi::BadRequest(fmt::format(
                        "the name of the object ({} based on URL) was undeterminable: name must be "
                        "provided",
                        info.name)));
  if (name != info.name)
    return Fail(op, kubeapi::BadRequest(fmt::format(
                        "the name of the object ({}) does not match the name on the URL ({})", name,
                        info.name)));
  op->asked_version = kubeapi::ResourceVersionOf(op->body);
  RunUpdate(op);
}

void Writer::Patch(const Request& request, const RequestInfo& info, KindPtr kind,
                   const KindVersion& version, Done done) {
  auto begun = Begin(request, info, std::move(kind), version);
  if (!begun.ok()) return done(ErrorResponse(begun.error()));
  OperationPtr op = *begun;
  op->done = std::move(done);
  op->patch_type = std::string(base::Trim(base::Cut(request.Header("content-type"), ";").first));
  const bool known =
      op->patch_type == "application/json-patch+json" ||
      op->patch_type == "application/merge-patch+json" ||
      op->patch_type == "application/apply-patch+yaml" ||
      (op->patch_type == "application/strategic-merge-patch+json" && !op->kind().custom);
  if (!known)
    return Fail(op,
                kubeapi::UnsupportedMediaType(
                    !op->kind().custom
                        ? "415: Unsupported Media Type"
                        : "the body of the request was in an unknown format - accepted media types "
                          "include: application/json-patch+json, application/merge-patch+json, "
                          "application/apply-patch+yaml"));
  op->applied = op->patch_type == "application/apply-patch+yaml";
  if (op->applied && request.Query("fieldManager").empty())
    return Fail(
        op, kubeapi::Invalid({"meta.k8s.io", "v1", "", "PatchOptions"}, "",
                             {{"FieldValueRequired", "Required value: is required for apply patch",
                               "fieldManager"}}));
  auto body = ParseBody(request.body, op->applied ? "application/yaml" : "application/json");
  if (!body.ok()) return Fail(op, body.error());
  op->body = std::move(*body);
  if (op->patch_type == "application/json-patch+json" ? !op->body.is_array()
                                                      : !op->body.is_object())
    return Fail(op, kubeapi::BadRequest("the patch is not of the form its content type says"));
  if (op->body.is_object()) op->asked_version = kubeapi::ResourceVersionOf(op->body);
  RunUpdate(op);
}

Outcome<Json> Writer::Patched(Operation& op, const Json& current) {
  if (op.patch_type.empty()) return op.body;
  const auto& rules = RulesOf(op.version());
  if (op.patch_type == "application/merge-patch+json")
    return kubeapi::ApplyMergePatch(current, op.body);
  if (op.patch_type == "application/json-patch+json") {
    auto patched = kubeapi::ApplyJsonPatch(current, op.body);
    if (patched.ok()) return std::move(*patched);
    // Kubernetes tells no more than this.
    ApiError error;
    error.code = 422;
    error.reason = "Invalid";
    error.message = "the server rejected our request due to an error in our request";
    return error;
  }
  if (op.patch_type == "application/strategic-merge-patch+json") {
    auto patched = kubeapi::ApplyStrategicPatch(current, op.body, rules);
    if (patched.ok()) return std::move(*patched);
    return kubeapi::BadRequest(patched.status().message());
  }
  Json applied = op.body;
  if (auto error = CheckTypeAndPlace(op.kind(), op.version(), op.admission->ns, &applied))
    return *error;
  if (const Json* managed = Find(applied, {"metadata", "managedFields"});
      managed && !managed->is_null() && !managed->empty())
    return kubeapi::BadRequest("metadata.managedFields must be nil");
  applied["metadata"]["name"] = op.admission->name;
  kubeapi::ApplyOutcome outcome = kubeapi::ApplyObject(
      current, applied, {op.manager, op.admission->subresource, engine_.clock.Now()},
      op.request.Flag("force"), rules);
  if (!outcome.conflicts.empty()) return kubeapi::ApplyConflict(outcome.conflicts);
  return std::move(outcome.object);
}

void Writer::RunUpdate(const OperationPtr& op) {
  Admission& admission = *op->admission;
  auto text = engine_.store.Get(op->key());
  if (!text) {
    if (!op->applied || !admission.subresource.empty())
      return Fail(op, kubeapi::NotFound(op->resource(), admission.name));
    auto object = Patched(*op, kNull);
    if (!object.ok()) return Fail(op, object.error());
    return RunCreate(op, std::move(*object));
  }
  op->current_text = std::make_shared<const std::string>(std::move(*text));
  admission.operation = "UPDATE";
  if (auto error = MakeNew(*op, engine_.Decode(op->kind(), op->version(), *op->current_text)))
    return Fail(op, *error);
  Admit(op, [this, op] { CommitUpdate(op); });
}

std::optional<ApiError> Writer::MakeNew(Operation& op, const Json& current) {
  Admission& admission = *op.admission;
  const std::string live_version = kubeapi::ResourceVersionOf(current);
  if (!op.asked_version.empty() && op.asked_version != "0" && op.asked_version != live_version)
    return kubeapi::Conflict(op.resource(), admission.name);
  if (op.kind().custom && op.patch_type.empty() && op.asked_version.empty())
    return kubeapi::Invalid(
        {op.kind().group, op.version().name, op.kind().plural, op.kind().plural, true},
        admission.name,
        {{"FieldValueInvalid", "Invalid value: 0: must be specified for an update",
          "metadata.resourceVersion"}});
  auto patched = Patched(op, current);
  if (!patched.ok()) return patched.error();
  Json object = std::move(*patched);
  if (!object.is_object()) return kubeapi::BadRequest("the patched object is not an object");
  if (StringAt(object, {"kind"}) != op.kind().kind && !op.patch_type.empty())
    object["kind"] = op.kind().kind;
  if (auto error = Shape(op, &object, op.attempts == 0)) return error;
  if (const std::string uid = kubeapi::UidOf(object);
      !uid.empty() && uid != kubeapi::UidOf(current))
    return kubeapi::Conflict(
        op.resource(), admission.name,
        fmt::format("Precondition failed: UID in precondition: {}, UID in object meta: {}", uid,
                    kubeapi::UidOf(current)));
  object =
      WithSubresource(op.kind(), op.version(), admission.subresource, current, std::move(object));
  Json& metadata = object["metadata"];
  if (!metadata.is_object()) metadata = Json::object();
  metadata["name"] = admission.name;
  for (const char* field :
       {"uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation",
        "namespace", "resourceVersion", "generateName"}) {
    if (const Json* value = Find(current, {"metadata", field}))
      metadata[field] = *value;
    else
      metadata.erase(field);
  }
  if (!op.kind().custom)
    PrepareUpdate(engine_, op.kind(), current, admission.subresource, admission.user, &object);
  admission.object = std::move(object);
  admission.old_object = current;
  return std::nullopt;
}

void Writer::CommitUpdate(const OperationPtr& op) {
  Admission& admission = *op->admission;
  const Kind& kind = op->kind();
  const KindVersion& version = op->version();
  auto text = engine_.store.Get(op->key());
  if (!text || *text != *op->current_text) {
    // Someone wrote while the webhooks answered.
    if (text && op->asked_version.empty() && ++op->attempts < kMostAttempts) return RunUpdate(op);
    return Fail(op, text ? kubeapi::Conflict(op->resource(), admission.name)
                         : kubeapi::NotFound(op->resource(), admission.name));
  }
  Json& object = admission.object;
  const Json& old = admission.old_object;
  auto causes = ValidateNames(kind, object);
  if (causes.empty()) causes = Validate(kind, version, object, &old);
  if (causes.empty() && StorageKey(kind) == "services" && admission.subresource.empty())
    causes = AllocateService(engine_, &old, &object);
  if (!causes.empty())
    return Fail(op, kubeapi::Invalid(op->resource(), admission.name, std::move(causes)));
  const bool with_status = kind.custom && !version.status;
  if ((kind.custom || HasGeneration(kind)) &&
      SpecOf(object, with_status) != SpecOf(old, with_status))
    object["metadata"]["generation"] = IntAt(old, {"metadata", "generation"}) + 1;
  const bool same = Essence(object) == Essence(old);
  if (!op->applied && !same)
    object = kubeapi::TrackUpdate(old, std::move(object),
                                  {op->manager, admission.subresource, engine_.clock.Now()},
                                  RulesOf(version));
  if (same && (!op->applied || SameOwners(object, old))) return Succeed(op, 200, old);
  if (admission.dry_run) return Succeed(op, 200, object);
  if (ReadyToVanish(kind, object)) {
    Json last = object;
    if (auto status = engine_.store.Delete(op->key(), &last, op->current_text); !status.ok())
      return Fail(op, kubeapi::InternalError(status.message()));
    return Succeed(op, 200, last);
  }
  if (auto error = Store(kind, version, &object, op->current_text)) return Fail(op, *error);
  Succeed(op, 200, object);
}

void Writer::Admit(const OperationPtr& op, std::function<void()> next) {
  auto validated = [this, op, next = std::move(next)](std::optional<ApiError> error) {
    if (error) return Fail(op, *error);
    next();
  };
  auto mutated = [this, op, validated](std::optional<ApiError> error) {
    if (error) return Fail(op, *error);
    Admission& admission = *op->admission;
    // A webhook's patch may have brought fields without their defaults.
    if (engine_.webhooks && admission.object.is_object())
      if (auto wrong = Shape(*op, &admission.object, false)) return Fail(op, *wrong);
    if (!engine_.webhooks) return validated(std::nullopt);
    engine_.webhooks->Validate(op->admission, validated);
  };
  if (auto error = AdmitBuiltin(engine_, op->admission.get())) return Fail(op, *error);
  if (!engine_.webhooks) return mutated(std::nullopt);
  engine_.webhooks->Mutate(op->admission, mutated);
}

// ---- the server's own changes

Outcome<Json> Writer::Change(const Kind& kind, std::string_view ns, std::string_view name,
                             const std::string& manager, const std::string& subresource,
                             bool dry_run,
                             const std::function<std::optional<ApiError>(Json*)>& change) {
  const KindVersion& version = kind.storage_version();
  const ObjectKey key{StorageKey(kind), std::string(ns), std::string(name)};
  auto text = engine_.store.Get(key);
  if (!text) return kubeapi::NotFound(kind.ResourceAt(version), name);
  auto previous = std::make_shared<const std::string>(std::move(*text));
  const Json old = engine_.Decode(kind, version, *previous);
  Json object = old;
  if (auto error = change(&object)) return *error;
  if (object == old) return object;
  if ((kind.custom || HasGeneration(kind)) && SpecOf(object, false) != SpecOf(old, false))
    object["metadata"]["generation"] = IntAt(old, {"metadata", "generation"}) + 1;
  if (!manager.empty())
    object = kubeapi::TrackUpdate(old, std::move(object),
                                  {manager, subresource, engine_.clock.Now()}, RulesOf(version));
  if (dry_run) return object;
  if (ReadyToVanish(kind, object)) {
    if (auto status = engine_.store.Delete(key, &object, previous); !status.ok())
      return kubeapi::InternalError(status.message());
    return object;
  }
  if (auto error = Store(kind, version, &object, previous)) return *error;
  return object;
}

void Writer::Seed(Json object) {
  KindPtr kind = engine_.kinds.FindByKind(kubeapi::GroupOf(kubeapi::ApiVersionOf(object)),
                                          kubeapi::KindOf(object));
  if (!kind) return;
  const ObjectKey key{StorageKey(*kind), kubeapi::NamespaceOf(object), kubeapi::NameOf(object)};
  if (engine_.store.Get(key)) return;
  const KindVersion& version = kind->storage_version();
  Findings findings;
  if (const Type* type = version.shape()) Conform(*type, &object, &findings);
  DefaultKind(*kind, &object);
  Json& metadata = object["metadata"];
  metadata["uid"] = pki::RandomUuid();
  metadata["creationTimestamp"] = engine_.NowText();
  if (HasGeneration(*kind)) metadata["generation"] = 1;
  Json status = object.contains("status") ? object["status"] : Json();
  PrepareCreate(engine_, *kind, version, User{}, &object);
  if (!status.is_null()) object["status"] = std::move(status);
  (void)Store(*kind, version, &object, nullptr);
}

}  // namespace isthmus::lab::apiserver
