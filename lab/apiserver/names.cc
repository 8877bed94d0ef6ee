#include "lab/apiserver/names.h"

#include <algorithm>

#include "kubeapi/meta.h"
#include "pki/digest.h"

namespace isthmus::lab::apiserver {
namespace {

using kubeapi::ApiError;
using kubeapi::Find;
using kubeapi::StatusCause;
using kubeapi::StringAt;

constexpr char kSubdomainRule[] =
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end "
    "with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
constexpr char kLabelRule[] =
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an "
    "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
constexpr char kDns1035Rule[] =
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end "
    "with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')";
constexpr char kQualifiedRule[] =
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
constexpr char kLabelValueRule[] =
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with "
    "an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
    "validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

bool IsLabelText(std::string_view text) {
  auto word = [](char c) { return isalnum(static_cast<unsigned char>(c)) != 0; };
  return !text.empty() && text.size() <= 63 && word(text.front()) && word(text.back()) &&
         std::all_of(text.begin(), text.end(),
                     [&](char c) { return word(c) || c == '-' || c == '_' || c == '.'; });
}

bool IsQualifiedName(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash == text.npos) return IsLabelText(text);
  return kubeapi::IsDnsSubdomain(text.substr(0, slash)) && IsLabelText(text.substr(slash + 1));
}

StatusCause InvalidValue(std::string field, const std::string& value, std::string_view why) {
  return {"FieldValueInvalid",
          fmt::format("Invalid value: {}: {}",
                      Json(value).dump(-1, ' ', false, Json::error_handler_t::replace), why),
          std::move(field)};
}

/// Which rule names of a kind follow.
enum class NameRule { kSubdomain, kLabel, kDns1035, kPathSegment };

NameRule RuleOf(const Kind& kind) {
  if (kind.group == "rbac.authorization.k8s.io" || kind.group == "certificates.k8s.io")
    return NameRule::kPathSegment;
  if (kind.resource_key() == "namespaces") return NameRule::kLabel;
  if (kind.resource_key() == "services") return NameRule::kDns1035;
  return NameRule::kSubdomain;
}

void CheckName(const Kind& kind, const std::string& name, std::vector<StatusCause>* causes) {
  switch (RuleOf(kind)) {
    case NameRule::kPathSegment:
      if (name == "." || name == "..")
        causes->push_back(InvalidValue("metadata.name", name, "may not be '" + name + "'"));
      if (name.find('/') != name.npos)
        causes->push_back(InvalidValue("metadata.name", name, "may not contain '/'"));
      if (name.find('%') != name.npos)
        causes->push_back(InvalidValue("metadata.name", name, "may not contain '%'"));
      break;
    case NameRule::kLabel:
      if (!kubeapi::IsDnsLabel(name))
        causes->push_back(InvalidValue("metadata.name", name, kLabelRule));
      break;
    case NameRule::kDns1035:
      if (!kubeapi::IsDnsLabel(name) || isdigit(static_cast<unsigned char>(name[0])))
        causes->push_back(InvalidValue("metadata.name", name, kDns1035Rule));
      break;
    case NameRule::kSubdomain:
      if (!kubeapi::IsDnsSubdomain(name))
        causes->push_back(InvalidValue("metadata.name", name, kSubdomainRule));
      break;
  }
}

/// The word by which a real server calls a group in its messages: "core", "apps", "rbac".
std::string InternalGroup(const Kind& kind) {
  return kind.group.empty() ? "core" : kind.group.substr(0, kind.group.find('.'));
}

}  // namespace

StatusCause NotADnsLabel(std::string field, const std::string& value) {
  return InvalidValue(std::move(field), value, kLabelRule);
}

std::string GenerateName(const std::string& prefix) {
  static constexpr std::string_view kAlphabet = "bcdfghjklmnpqrstvwxz2456789";
  constexpr size_t kSuffix = 5;
  std::string name = prefix.substr(0, 63 - kSuffix);
  for (char c : pki::RandomBytes(kSuffix))
    name += kAlphabet[static_cast<unsigned char>(c) % kAlphabet.size()];
  return name;
}

std::optional<ApiError> CheckTypeAndPlace(const Kind& kind, const KindVersion& version,
                                          const std::string& ns, Json* object) {
  if (!object->is_object()) return kubeapi::BadRequest("the body of the request is not an object");
  const std::string api_version = StringAt(*object, {"apiVersion"});
  const std::string given = StringAt(*object, {"kind"});
  if (!given.empty() && given != kind.kind)
    return kubeapi::BadRequest(
        fmt::format("{} in version \"{}\" cannot be handled as a {}: converting ({}.{}) to "
                    "({}.{}): unknown conversion",
                    given, kubeapi::VersionOf(api_version), kind.kind,
                    kubeapi::VersionOf(api_version), given, InternalGroup(kind), kind.kind));
  if (!api_version.empty() && api_version != kind.ApiVersion(version))
    return kubeapi::BadRequest(
        fmt::format("the API version in the data ({}) does not match the expected API version ({})",
                    api_version, kind.ApiVersion(version)));
  if (kind.custom && (given.empty() || api_version.empty()))
    return kubeapi::BadRequest(
        fmt::format("the object provided is unrecognized (must be of type {}): Object '{}' is "
                    "missing in '{}' ({})",
                    kind.kind, given.empty() ? "Kind" : "apiVersion", object->dump().substr(0, 200),
                    object->dump().substr(0, 100)));
  (*object)["apiVersion"] = kind.ApiVersion(version);
  (*object)["kind"] = kind.kind;
  Json& metadata = (*object)["metadata"];
  if (metadata.is_null()) metadata = Json::object();
  if (!metadata.is_object()) return kubeapi::BadRequest("metadata is not an object");
  if (!kind.namespaced) {
    metadata.erase("namespace");
    return std::nullopt;
  }
  const std::string own = StringAt(metadata, {"namespace"});
  if (!own.empty() && own != ns)
    return kubeapi::BadRequest(fmt::format(
        "the namespace of the provided object does not match the namespace sent on the request"));
  if (ns.empty()) return kubeapi::BadRequest("an empty namespace may not be set during creation");
  metadata["namespace"] = ns;
  return std::nullopt;
}

std::vector<StatusCause> ValidateNames(const Kind& kind, const Json& object) {
  std::vector<StatusCause> causes;
  const std::string name = kubeapi::NameOf(object);
  if (name.empty()) {
    causes.push_back({"FieldValueRequired", "Required value: name or generateName is required",
                      "metadata.name"});
  } else {
    CheckName(kind, name, &causes);
  }
  if (const Json* labels = Find(object, {"metadata", "labels"}); labels && labels->is_object()) {
    for (const auto& [key, value] : labels->items()) {
      if (!IsQualifiedName(key))
        causes.push_back(InvalidValue("metadata.labels", key, kQualifiedRule));
      const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
      if (text.size() > 63)
        causes.push_back(InvalidValue("metadata.labels", text, "must be no more than 63 bytes"));
      else if (!text.empty() && !IsLabelText(text))
        causes.push_back(InvalidValue("metadata.labels", text, kLabelValueRule));
    }
  }
  if (const Json* annotations = Find(object, {"metadata", "annotations"});
      annotations && annotations->is_object()) {
    size_t total = 0;
    for (const auto& [key, value] : annotations->items()) {
      std::string lower = key;
      std::transform(lower.begin(), lower.end(), lower.begin(), ::tolower);
      if (!IsQualifiedName(lower))
        causes.push_back(InvalidValue("metadata.annotations", key, kQualifiedRule));
      total += key.size() + (value.is_string() ? value.get_ref<const std::string&>().size() : 0);
    }
    if (total > 256 * 1024)
      causes.push_back({"FieldValueTooLong", "Too long: may not be more than 262144 bytes",
                        "metadata.annotations"});
  }
  if (const Json* finalizers = Find(object, {"metadata", "finalizers"});
      finalizers && finalizers->is_array())
    for (const Json& finalizer : *finalizers)
      if (!finalizer.is_string() || !IsQualifiedName(finalizer.get_ref<const std::string&>()))
        causes.push_back(
            InvalidValue("metadata.finalizers",
                         finalizer.is_string() ? finalizer.get<std::string>() : finalizer.dump(),
                         kQualifiedRule));
  if (const Json* owners = Find(object, {"metadata", "ownerReferences"});
      owners && owners->is_array()) {
    int controllers = 0;
    for (size_t i = 0; i < owners->size(); ++i) {
      for (const char* field : {"apiVersion", "kind", "name", "uid"})
        if (StringAt((*owners)[i], {field}).empty())
          causes.push_back({"FieldValueInvalid",
                            fmt::format("Invalid value: \"\": {} must not be empty", field),
                            fmt::format("metadata.ownerReferences[{}].{}", i, field)});
      controllers += kubeapi::BoolAt((*owners)[i], {"controller"});
    }
    if (controllers > 1)
      causes.push_back({"FieldValueInvalid",
                        "Invalid value: Only one reference can have Controller set to true",
                        "metadata.ownerReferences"});
  }
  return causes;
}

Json WithSubresource(const Kind& kind, const KindVersion& version, const std::string& subresource,
                     const Json& current, Json update) {
  if (subresource.empty()) {
    if (!version.status) return update;
    if (const Json* status = Find(current, {"status"}))
      update["status"] = *status;
    else
      update.erase("status");
    return update;
  }
  Json out = current;
  // Server-side apply through a subresource also writes who owns the fields.
  if (const Json* managed = Find(update, {"metadata", "managedFields"}))
    out["metadata"]["managedFields"] = *managed;
  auto take = [&](const char* part, const char* field) {
    if (const Json* value = Find(update, {part, field}))
      out[part][field] = *value;
    else if (out.contains(part))
      out[part].erase(field);
  };
  if (subresource == "finalize") {
    take("spec", "finalizers");
  } else if (subresource == "ephemeralcontainers") {
    take("spec", "ephemeralContainers");
  } else if (subresource == "resize") {
    take("spec", "containers");
  } else if (subresource == "approval") {
    take("status", "conditions");
  } else {
    if (const Json* status = Find(update, {"status"}))
      out["status"] = *status;
    else
      out.erase("status");
    // The kubelet reports a node's labels and annotations together with its status.
    if (kind.plural == "nodes") {
      take("metadata", "annotations");
      take("metadata", "labels");
    }
  }
  return out;
}

bool ReadyToVanish(const Kind& kind, const Json& object) {
  if (!kubeapi::IsBeingDeleted(object)) return false;
  if (const Json* finalizers = Find(object, {"metadata", "finalizers"});
      finalizers && !finalizers->empty())
    return false;
  if (kubeapi::IntAt(object, {"metadata", "deletionGracePeriodSeconds"}) > 0) return false;
  if (kind.resource_key() == "namespaces")
    if (const Json* finalizers = Find(object, {"spec", "finalizers"});
        finalizers && !finalizers->empty())
      return false;
  return true;
}

bool SameOwners(const Json& a, const Json& b) {
  auto owners = [](const Json& object) {
    Json list = Json::array();
    if (const Json* managed = Find(object, {"metadata", "managedFields"});
        managed && managed->is_array())
      for (Json entry : *managed) {
        if (entry.is_object()) entry.erase("time");
        list.push_back(std::move(entry));
      }
    std::sort(list.begin(), list.end());
    return list;
  };
  return owners(a) == owners(b);
}

}  // namespace isthmus::lab::apiserver
