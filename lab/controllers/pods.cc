#include "lab/controllers/pods.h"

#include <cmath>
#include <cstdlib>

#include "base/encoding.h"
#include "kubeapi/meta.h"

namespace isthmus::lab::controllers {

using kubeapi::StringAt;

bool IsActive(const Json& pod) {
  std::string phase = StringAt(pod, {"status", "phase"});
  return !kubeapi::IsBeingDeleted(pod) && phase != "Succeeded" && phase != "Failed";
}

bool IsReady(const Json& pod) { return kubeapi::ConditionIsTrue(pod, "Ready"); }

Json PodFromTemplate(const Json& owner, const Json& pod_template, const std::string& name) {
  Json pod = {{"apiVersion", "v1"},
              {"kind", "Pod"},
              {"metadata", Json::object()},
              {"spec", Json::object()}};
  if (const Json* metadata = kubeapi::Find(pod_template, {"metadata"});
      metadata != nullptr && metadata->is_object())
    for (const char* key : {"labels", "annotations", "finalizers"})
      if (metadata->contains(key)) pod["metadata"][key] = (*metadata)[key];
  if (const Json* spec = kubeapi::Find(pod_template, {"spec"})) pod["spec"] = *spec;
  if (name.empty()) {
    pod["metadata"]["generateName"] = kubeapi::NameOf(owner) + "-";
  } else {
    pod["metadata"]["name"] = name;
  }
  pod["metadata"]["namespace"] = kubeapi::NamespaceOf(owner);
  pod["metadata"]["ownerReferences"] = Json::array({kubeapi::OwnerReference(owner)});
  return pod;
}

std::string ShortHash(std::string_view text, int length) {
  // Letters that cannot make words.
  constexpr std::string_view kAlphabet = "bcdfghjklmnpqrstvwxz2456789";
  uint64_t hash = base::Hash64(text);
  std::string name;
  for (int i = 0; i < length; ++i, hash /= kAlphabet.size())
    name += kAlphabet[hash % kAlphabet.size()];
  return name;
}

std::string TemplateHash(const Json& pod_template) {
  return ShortHash(kubeapi::ToJson(pod_template), 10);
}

int64_t Portion(const Json& value, int64_t total, bool round_up) {
  if (value.is_number_integer()) return value.get<int64_t>();
  double share = std::strtod(value.is_string() ? value.get<std::string>().c_str() : "0", nullptr) /
                 100 * static_cast<double>(total);
  return static_cast<int64_t>(round_up ? std::ceil(share) : std::floor(share));
}

void SetCondition(Json& status, const std::string& type, bool is_true, const std::string& reason,
                  const std::string& message, base::Time now) {
  Json& conditions = status["conditions"];
  if (!conditions.is_array()) conditions = Json::array();
  std::string value = is_true ? "True" : "False";
  for (Json& condition : conditions) {
    if (StringAt(condition, {"type"}) != type) continue;
    if (StringAt(condition, {"status"}) == value && StringAt(condition, {"reason"}) == reason &&
        StringAt(condition, {"message"}) == message)
      return;
    if (StringAt(condition, {"status"}) != value)
      condition["lastTransitionTime"] = base::FormatTime(now);
    condition["lastUpdateTime"] = base::FormatTime(now);
    condition["status"] = value;
    condition["reason"] = reason;
    condition["message"] = message;
    return;
  }
  conditions.push_back({{"type", type},
                        {"status", value},
                        {"reason", reason},
                        {"message", message},
                        {"lastUpdateTime", base::FormatTime(now)},
                        {"lastTransitionTime", base::FormatTime(now)}});
}

}  // namespace isthmus::lab::controllers
