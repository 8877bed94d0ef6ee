#include "lab/apiserver/crd.h"

#include <algorithm>

#include "base/strings.h"
#include "kubeapi/meta.h"

namespace isthmus::lab::apiserver {
namespace {

using kubeapi::BoolAt;
using kubeapi::Find;
using kubeapi::ItemsAt;
using kubeapi::StatusCause;
using kubeapi::StringAt;
using kubeapi::StringsAt;

constexpr char kCrdKey[] = "customresourcedefinitions.apiextensions.k8s.io";

void SetCondition(const std::string& now, const char* type, const char* reason, const char* message,
                  Json* conditions) {
  for (const Json& condition : *conditions)
    if (StringAt(condition, {"type"}) == type) return;
  conditions->push_back({{"type", type},
                         {"status", "True"},
                         {"reason", reason},
                         {"message", message},
                         {"lastTransitionTime", now}});
}

std::vector<Column> CrdColumns(const Json& version) {
  std::vector<Column> columns;
  for (const Json& each : ItemsAt(version, {"additionalPrinterColumns"})) {
    Column column;
    column.name = StringAt(each, {"name"});
    column.path = StringAt(each, {"jsonPath"});
    column.type = StringAt(each, {"type"});
    column.format = StringAt(each, {"format"});
    column.description = StringAt(each, {"description"});
    column.priority = static_cast<int>(kubeapi::IntAt(each, {"priority"}));
    column.custom = true;
    columns.push_back(std::move(column));
  }
  if (columns.empty()) {
    Column age;
    age.name = "Age";
    age.path = ".metadata.creationTimestamp";
    age.type = "date";
    age.custom = true;
    columns.push_back(std::move(age));
  }
  return columns;
}

/// Kubernetes' order: v1 before v1beta1 before v1alpha3, higher first.
std::tuple<int, int, int> VersionRank(const std::string& name) {
  int major = 0, minor = 0, kind = 0;
  size_t at = 1;
  if (name.empty() || name[0] != 'v') return {0, 0, 0};
  while (at < name.size() && isdigit(static_cast<unsigned char>(name[at])))
    major = major * 10 + (name[at++] - '0');
  kind = 3;
  if (name.compare(at, 5, "alpha") == 0)
    kind = 1, at += 5;
  else if (name.compare(at, 4, "beta") == 0)
    kind = 2, at += 4;
  while (at < name.size() && isdigit(static_cast<unsigned char>(name[at])))
    minor = minor * 10 + (name[at++] - '0');
  return {kind, major, minor};
}

}  // namespace

void DefaultCrd(Json* crd) {
  if (!crd->contains("spec") || !(*crd)["spec"].is_object()) return;
  Json& names = (*crd)["spec"]["names"];
  if (!names.is_object()) return;
  const std::string kind = StringAt(names, {"kind"});
  if (StringAt(names, {"singular"}).empty() && !kind.empty())
    names["singular"] = base::ToLower(kind);
  if (StringAt(names, {"listKind"}).empty() && !kind.empty()) names["listKind"] = kind + "List";
}

void FinishCrd(const std::string& now, const Json* old, Json* crd) {
  Json status = old && Find(*old, {"status"}) ? *Find(*old, {"status"}) : Json::object();
  if (const Json* names = Find(*crd, {"spec", "names"})) status["acceptedNames"] = *names;
  Json& conditions = status["conditions"];
  if (!conditions.is_array()) conditions = Json::array();
  SetCondition(now, "NamesAccepted", "NoConflicts", "no conflicts found", &conditions);
  SetCondition(now, "Established", "InitialNamesAccepted", "the initial names have been accepted",
               &conditions);
  Json& stored = status["storedVersions"];
  if (!stored.is_array()) stored = Json::array();
  for (const Json& version : ItemsAt(*crd, {"spec", "versions"}))
    if (BoolAt(version, {"storage"}) &&
        std::find(stored.begin(), stored.end(), version.value("name", Json(""))) == stored.end())
      stored.push_back(StringAt(version, {"name"}));
  (*crd)["status"] = std::move(status);
}

void ValidateCrd(const Json& crd, const Json* old, std::vector<StatusCause>* causes) {
  const std::string group = StringAt(crd, {"spec", "group"}),
                    plural = StringAt(crd, {"spec", "names", "plural"});
  auto require = [&](const std::string& value, const char* field) {
    if (value.empty()) causes->push_back({"FieldValueRequired", "Required value", field});
  };
  require(group, "spec.group");
  require(plural, "spec.names.plural");
  require(StringAt(crd, {"spec", "names", "kind"}), "spec.names.kind");
  const std::string scope = StringAt(crd, {"spec", "scope"});
  if (scope != "Namespaced" && scope != "Cluster")
    causes->push_back(
        {"FieldValueNotSupported",
         fmt::format("Unsupported value: \"{}\": supported values: \"Cluster\", \"Namespaced\"",
                     scope),
         "spec.scope"});
  if (kubeapi::NameOf(crd) != plural + "." + group)
    causes->push_back(
        {"FieldValueInvalid",
         fmt::format("Invalid value: \"{}\": must be spec.names.plural+\".\"+spec.group",
                     kubeapi::NameOf(crd)),
         "metadata.name"});
  if (old && StringAt(*old, {"spec", "scope"}) != scope)
    causes->push_back({"FieldValueInvalid",
                       fmt::format("Invalid value: \"{}\": field is immutable", scope),
                       "spec.scope"});
  if (old && StringAt(*old, {"spec", "names", "kind"}) != StringAt(crd, {"spec", "names", "kind"}))
    causes->push_back({"FieldValueInvalid",
                       fmt::format("Invalid value: \"{}\": field is immutable",
                                   StringAt(crd, {"spec", "names", "kind"})),
                       "spec.names.kind"});
  const std::vector<Json>& versions = ItemsAt(crd, {"spec", "versions"});
  if (versions.empty()) {
    causes->push_back({"FieldValueRequired",
                       "Required value: must have exactly one version marked as storage version",
                       "spec.versions"});
    return;
  }
  int stored = 0;
  for (size_t i = 0; i < versions.size(); ++i) {
    stored += BoolAt(versions[i], {"storage"});
    if (StringAt(versions[i], {"name"}).empty())
      causes->push_back(
          {"FieldValueRequired", "Required value", fmt::format("spec.versions[{}].name", i)});
    if (!Find(versions[i], {"schema", "openAPIV3Schema"}))
      causes->push_back({"FieldValueRequired", "Required value: schemas are required",
                         fmt::format("spec.versions[{}].schema.openAPIV3Schema", i)});
    else if (StringAt(versions[i], {"schema", "openAPIV3Schema", "type"}) != "object")
      causes->push_back({"FieldValueRequired", "Required value: must not be empty at the root",
                         fmt::format("spec.versions[{}].schema.openAPIV3Schema.type", i)});
  }
  if (stored != 1)
    causes->push_back(
        {"FieldValueInvalid",
         fmt::format("Invalid value: {}: must have exactly one version marked as storage version",
                     stored),
         "spec.versions"});
}

Kind KindOfCrd(const Json& crd, const std::function<Json(const std::string& version)>& schema) {
  Kind kind;
  kind.custom = true;
  kind.group = StringAt(crd, {"spec", "group"});
  kind.plural = StringAt(crd, {"spec", "names", "plural"});
  kind.singular = StringAt(crd, {"spec", "names", "singular"});
  kind.kind = StringAt(crd, {"spec", "names", "kind"});
  kind.list_kind = StringAt(crd, {"spec", "names", "listKind"});
  kind.short_names = StringsAt(crd, {"spec", "names", "shortNames"});
  kind.categories = StringsAt(crd, {"spec", "names", "categories"});
  kind.namespaced = StringAt(crd, {"spec", "scope"}) == "Namespaced";
  for (const Json& each : ItemsAt(crd, {"spec", "versions"})) {
    KindVersion version;
    version.name = StringAt(each, {"name"});
    version.served = BoolAt(each, {"served"});
    version.storage = BoolAt(each, {"storage"});
    version.schema =
        std::make_shared<LazySchema>([schema, name = version.name] { return schema(name); });
    version.status = Find(each, {"subresources", "status"}) != nullptr;
    if (Find(each, {"subresources", "scale"})) {
      version.scale_spec = StringAt(each, {"subresources", "scale", "specReplicasPath"});
      version.scale_status = StringAt(each, {"subresources", "scale", "statusReplicasPath"});
      version.scale_selector = StringAt(each, {"subresources", "scale", "labelSelectorPath"});
    }
    if (BoolAt(each, {"deprecated"})) {
      version.deprecation_warning = StringAt(each, {"deprecationWarning"});
      if (version.deprecation_warning.empty())
        version.deprecation_warning =
            fmt::format("{}/{} {} is deprecated", kind.group, version.name, kind.kind);
    }
    version.columns = CrdColumns(each);
    for (const Json& field : ItemsAt(each, {"selectableFields"}))
      version.selectable_fields.push_back(StringAt(field, {"jsonPath"}));
    kind.versions.push_back(std::move(version));
  }
  std::stable_sort(kind.versions.begin(), kind.versions.end(),
                   [](const KindVersion& a, const KindVersion& b) {
                     return VersionRank(a.name) > VersionRank(b.name);
                   });
  return kind;
}

CrdRegistry::CrdRegistry(Engine& engine) : engine_(engine) {
  engine_.store.List(kCrdKey, "", std::nullopt, [this](const ObjectKey&, std::string_view text) {
    Register(Json::parse(text, nullptr, false));
    return true;
  });
  subscription_ = engine_.store.Observe([this](const StoreEvent& event) { Note(event); });
}

void CrdRegistry::Register(const Json& crd) {
  const std::string name = kubeapi::NameOf(crd);
  Kind kind = KindOfCrd(crd, [this, name](const std::string& version) -> Json {
    auto text = engine_.store.Get({kCrdKey, "", name});
    const Json now = text ? Json::parse(*text, nullptr, false) : Json();
    for (const Json& each : ItemsAt(now, {"spec", "versions"}))
      if (StringAt(each, {"name"}) == version)
        if (const Json* schema = Find(each, {"schema", "openAPIV3Schema"})) return *schema;
    return Json();
  });
  if (!kind.versions.empty()) engine_.kinds.Set(std::make_shared<const Kind>(std::move(kind)));
}

void CrdRegistry::Note(const StoreEvent& event) {
  if (event.key.resource != kCrdKey) return;
  if (event.kind != StoreEvent::Kind::kDeleted) {
    Register(Json::parse(*event.object, nullptr, false));
    return;
  }
  engine_.kinds.Remove(event.key.name);
  // What was of this kind goes with it.
  std::vector<std::pair<ObjectKey, std::string>> orphans;
  engine_.store.List(event.key.name, "", std::nullopt,
                     [&](const ObjectKey& key, std::string_view text) {
                       orphans.emplace_back(key, text);
                       return true;
                     });
  for (const auto& [key, text] : orphans) {
    Json object = Json::parse(text, nullptr, false);
    (void)engine_.store.Delete(key, &object, std::make_shared<const std::string>(text));
  }
}

}  // namespace isthmus::lab::apiserver
