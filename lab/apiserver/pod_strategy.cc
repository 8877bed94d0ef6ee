#include "lab/apiserver/pod_strategy.h"

#include <fmt/format.h>

#include <set>

#include "kubeapi/meta.h"
#include "lab/apiserver/names.h"

namespace isthmus::lab::apiserver {
namespace {

using kubeapi::Find;
using kubeapi::StatusCause;
using kubeapi::StringAt;

void SetDefault(Json& value, const char* key, Json fallback) {
  if (!value.contains(key)) value[key] = std::move(fallback);
}

/// The tag of an image; "latest" when there is none, "" for a digest.
std::string ImageTag(const std::string& image) {
  if (image.find('@') != image.npos) return "";
  const size_t colon = image.rfind(':');
  if (colon == image.npos || image.find('/', colon) != image.npos) return "latest";
  return image.substr(colon + 1);
}

/// An absent or empty path asks for "/".
void DefaultHandler(Json& handler) {
  if (auto it = handler.find("httpGet"); it != handler.end() && it->is_object()) {
    if (StringAt(*it, {"path"}).empty()) (*it)["path"] = "/";
    SetDefault(*it, "scheme", "HTTP");
  }
}

void DefaultContainer(Json& container) {
  if (!container.is_object()) return;
  if (!container.contains("imagePullPolicy"))
    container["imagePullPolicy"] =
        ImageTag(StringAt(container, {"image"})) == "latest" ? "Always" : "IfNotPresent";
  if (const Json* limits = Find(container, {"resources", "limits"});
      limits && limits->is_object()) {
    const Json wanted = *limits;
    for (const auto& [resource, amount] : wanted.items())
      if (!Find(container, {"resources", "requests", resource}))
        container["resources"]["requests"][resource] = amount;
  }
  for (const char* probe : {"livenessProbe", "readinessProbe", "startupProbe"})
    if (auto it = container.find(probe); it != container.end() && it->is_object())
      DefaultHandler(*it);
  if (auto it = container.find("lifecycle"); it != container.end() && it->is_object())
    for (Json& hook : *it)
      if (hook.is_object()) DefaultHandler(hook);
  if (auto it = container.find("ports"); it != container.end() && it->is_array())
    for (Json& port : *it) SetDefault(port, "protocol", "TCP");
}

void ValidateContainers(const Json& spec, const char* field, const std::string& at,
                        std::set<std::string>* names, const std::set<std::string>& volumes,
                        std::vector<StatusCause>* causes) {
  const Json* list = Find(spec, {field});
  if (!list || !list->is_array()) return;
  for (size_t i = 0; i < list->size(); ++i) {
    const Json& container = (*list)[i];
    const std::string here = fmt::format("{}.{}[{}]", at, field, i);
    const std::string name = StringAt(container, {"name"});
    if (name.empty()) {
      causes->push_back({"FieldValueRequired", "Required value", here + ".name"});
    } else if (!kubeapi::IsDnsLabel(name)) {
      causes->push_back(NotADnsLabel(here + ".name", name));
    } else if (!names->insert(name).second) {
      causes->push_back(
          {"FieldValueDuplicate", fmt::format("Duplicate value: \"{}\"", name), here + ".name"});
    }
    if (StringAt(container, {"image"}).empty())
      causes->push_back({"FieldValueRequired", "Required value", here + ".image"});
    if (const Json* mounts = Find(container, {"volumeMounts"}); mounts && mounts->is_array())
      for (size_t m = 0; m < mounts->size(); ++m) {
        const std::string volume = StringAt((*mounts)[m], {"name"});
        if (!volumes.count(volume))
          causes->push_back({"FieldValueNotFound", fmt::format("Not found: \"{}\"", volume),
                             fmt::format("{}.volumeMounts[{}].name", here, m)});
      }
    if (const Json* ports = Find(container, {"ports"}); ports && ports->is_array())
      for (size_t p = 0; p < ports->size(); ++p) {
        const int64_t number = kubeapi::IntAt((*ports)[p], {"containerPort"});
        if (number < 1 || number > 65535)
          causes->push_back(
              {number == 0 ? "FieldValueRequired" : "FieldValueInvalid",
               number == 0
                   ? "Required value"
                   : fmt::format("Invalid value: {}: must be between 1 and 65535, inclusive",
                                 number),
               fmt::format("{}.ports[{}].containerPort", here, p)});
      }
    for (const char* part : {"limits", "requests"})
      if (const Json* amounts = Find(container, {"resources", part});
          amounts && amounts->is_object())
        for (const auto& [resource, amount] : amounts->items())
          if (!amount.is_string() ||
              !kubeapi::ParseQuantityMilli(amount.get_ref<const std::string&>()).ok())
            causes->push_back(
                {"FieldValueInvalid",
                 fmt::format("Invalid value: {}: quantities must match the regular expression "
                             "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
                             amount.dump()),
                 fmt::format("{}.resources.{}[{}]", here, part, resource)});
  }
}

std::string QosClass(const Json& spec) {
  bool any = false, guaranteed = true;
  for (const char* field : {"initContainers", "containers"}) {
    const Json* list = Find(spec, {field});
    if (!list || !list->is_array()) continue;
    for (const Json& container : *list) {
      for (const char* resource : {"cpu", "memory"}) {
        const Json* request = Find(container, {"resources", "requests", resource});
        const Json* limit = Find(container, {"resources", "limits", resource});
        any |= request || limit;
        guaranteed &= request && limit && *request == *limit;
      }
    }
  }
  return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

/// The spec without what an update of a pod may change.
Json Fixed(Json spec) {
  for (const char* field : {"containers", "initContainers"})
    if (spec.contains(field) && spec[field].is_array())
      for (Json& container : spec[field]) container.erase("image");
  for (const char* field : {"activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds",
                            "ephemeralContainers", "schedulingGates", "nodeName"})
    spec.erase(field);
  return spec;
}

}  // namespace

void DefaultPodSpec(Json* spec) {
  if (!spec->is_object()) return;
  for (const char* field : {"initContainers", "containers", "ephemeralContainers"})
    if (auto it = spec->find(field); it != spec->end() && it->is_array())
      for (Json& container : *it) DefaultContainer(container);
  const bool host_network = kubeapi::BoolAt(*spec, {"hostNetwork"});
  if (host_network)
    if (auto it = spec->find("containers"); it != spec->end() && it->is_array())
      for (Json& container : *it)
        if (auto ports = container.find("ports"); ports != container.end() && ports->is_array())
          for (Json& port : *ports)
            SetDefault(port, "hostPort", port.value("containerPort", Json(0)));
  // The deprecated name of the account is kept in step with the real one.
  const std::string account = StringAt(*spec, {"serviceAccountName"}),
                    old = StringAt(*spec, {"serviceAccount"});
  if (!account.empty())
    (*spec)["serviceAccount"] = account;
  else if (!old.empty())
    (*spec)["serviceAccountName"] = old;
  if (!spec->contains("terminationGracePeriodSeconds"))
    (*spec)["terminationGracePeriodSeconds"] = 30;
  if (auto volumes = spec->find("volumes"); volumes != spec->end() && volumes->is_array())
    for (Json& volume : *volumes)
      if (volume.is_object() && volume.size() == 1 && volume.contains("name"))
        volume["emptyDir"] = Json::object();
}

void PreparePod(Json* pod) {
  const Json* spec = Find(*pod, {"spec"});
  (*pod)["status"] = {{"phase", "Pending"}, {"qosClass", spec ? QosClass(*spec) : "BestEffort"}};
}

void PrepareJob(Json* job) {
  if (kubeapi::BoolAt(*job, {"spec", "manualSelector"})) return;
  const std::string uid = kubeapi::UidOf(*job), name = kubeapi::NameOf(*job);
  Json& spec = (*job)["spec"];
  spec["selector"] = {{"matchLabels", {{"batch.kubernetes.io/controller-uid", uid}}}};
  Json& labels = spec["template"]["metadata"]["labels"];
  labels["batch.kubernetes.io/controller-uid"] = uid;
  labels["batch.kubernetes.io/job-name"] = name;
  labels["controller-uid"] = uid;
  labels["job-name"] = name;
  Json& own = (*job)["metadata"]["labels"];
  if (!own.is_object() || own.empty()) own = labels;
}

void ValidatePodSpec(const Json& spec, const std::string& at, std::vector<StatusCause>* causes) {
  const Json* containers = Find(spec, {"containers"});
  if (!containers || !containers->is_array() || containers->empty())
    causes->push_back({"FieldValueRequired", "Required value", at + ".containers"});
  std::set<std::string> volumes;
  if (const Json* list = Find(spec, {"volumes"}); list && list->is_array())
    for (size_t i = 0; i < list->size(); ++i) {
      const std::string name = StringAt((*list)[i], {"name"});
      const std::string here = fmt::format("{}.volumes[{}]", at, i);
      if (name.empty())
        causes->push_back({"FieldValueRequired", "Required value", here + ".name"});
      else if (!volumes.insert(name).second)
        causes->push_back(
            {"FieldValueDuplicate", fmt::format("Duplicate value: \"{}\"", name), here + ".name"});
      if ((*list)[i].is_object() && (*list)[i].size() > 2)
        causes->push_back(
            {"FieldValueForbidden", "Forbidden: may not specify more than 1 volume type", here});
    }
  std::set<std::string> names;
  ValidateContainers(spec, "initContainers", at, &names, volumes, causes);
  ValidateContainers(spec, "containers", at, &names, volumes, causes);
  const std::string restart = StringAt(spec, {"restartPolicy"});
  if (!restart.empty() && restart != "Always" && restart != "OnFailure" && restart != "Never")
    causes->push_back(
        {"FieldValueNotSupported",
         fmt::format(
             "Unsupported value: \"{}\": supported values: \"Always\", \"Never\", \"OnFailure\"",
             restart),
         at + ".restartPolicy"});
  const std::string dns = StringAt(spec, {"dnsPolicy"});
  if (!dns.empty() && dns != "ClusterFirst" && dns != "ClusterFirstWithHostNet" &&
      dns != "Default" && dns != "None")
    causes->push_back({"FieldValueNotSupported",
                       fmt::format("Unsupported value: \"{}\": supported values: \"ClusterFirst\", "
                                   "\"ClusterFirstWithHostNet\", \"Default\", \"None\"",
                                   dns),
                       at + ".dnsPolicy"});
}

void ValidatePod(const Json& pod, const Json* old, std::vector<StatusCause>* causes) {
  const Json* spec = Find(pod, {"spec"});
  if (!spec || !spec->is_object()) {
    causes->push_back({"FieldValueRequired", "Required value", "spec.containers"});
    return;
  }
  ValidatePodSpec(*spec, "spec", causes);
  if (old && causes->empty()) {
    const Json* before = Find(*old, {"spec"});
    const std::string was = before ? StringAt(*before, {"nodeName"}) : "";
    if ((before && Fixed(*spec) != Fixed(*before)) ||
        (!was.empty() && was != StringAt(*spec, {"nodeName"})))
      causes->push_back(
          {"FieldValueForbidden",
           "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
           "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
           "additions to existing "
           "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
           "previously negative)",
           "spec"});
  }
}

}  // namespace isthmus::lab::apiserver
