// The few built-in kinds whose served versions differ in shape from what is stored.
#include "lab/apiserver/engine.h"

namespace isthmus::lab::apiserver {
namespace {

using Pair = std::pair<const char*, const char*>;

// events.k8s.io/v1 and v1 name the same things differently.
constexpr Pair kEventFields[] = {{"involvedObject", "regarding"},
                                 {"message", "note"},
                                 {"source", "deprecatedSource"},
                                 {"firstTimestamp", "deprecatedFirstTimestamp"},
                                 {"lastTimestamp", "deprecatedLastTimestamp"},
                                 {"count", "deprecatedCount"},
                                 {"reportingComponent", "reportingController"}};

void Rename(Json* object, const char* from, const char* to) {
  auto it = object->find(from);
  if (it == object->end()) return;
  Json value = std::move(*it);
  object->erase(it);
  (*object)[to] = std::move(value);
}

bool IsNewEvent(const Kind& kind) { return kind.group == "events.k8s.io"; }
bool IsOldAutoscaler(const Kind& kind, const KindVersion& version) {
  return kind.group == "autoscaling" && version.name == "v1";
}

constexpr char kCpu[] = "targetCPUUtilizationPercentage";

}  // namespace

std::string StorageKey(const Kind& kind) {
  return IsNewEvent(kind) ? "events" : kind.resource_key();
}

bool HasConversion(const Kind& kind, const KindVersion& version) {
  return IsNewEvent(kind) || IsOldAutoscaler(kind, version);
}

void FromStored(const Kind& kind, const KindVersion& version, Json* object) {
  if (IsNewEvent(kind)) {
    for (const auto& [core, other] : kEventFields) Rename(object, core, other);
  } else if (IsOldAutoscaler(kind, version)) {
    Json* spec = object->contains("spec") ? &(*object)["spec"] : nullptr;
    if (!spec || !spec->is_object()) return;
    if (auto it = spec->find("metrics"); it != spec->end() && it->is_array()) {
      for (const Json& metric : *it)
        if (kubeapi::StringAt(metric, {"resource", "name"}) == "cpu")
          (*spec)[kCpu] = kubeapi::IntAt(metric, {"resource", "target", "averageUtilization"}, 80);
      spec->erase("metrics");
    }
    spec->erase("behavior");
    // Version 1 always says how many there are.
    Json& status = (*object)["status"];
    if (!status.contains("currentReplicas")) status["currentReplicas"] = 0;
  }
}

void ToStored(const Kind& kind, const KindVersion& version, Json* object) {
  if (IsNewEvent(kind)) {
    for (const auto& [core, other] : kEventFields) Rename(object, other, core);
  } else if (IsOldAutoscaler(kind, version)) {
    Json* spec = object->contains("spec") ? &(*object)["spec"] : nullptr;
    if (!spec || !spec->is_object()) return;
    if (auto it = spec->find(kCpu); it != spec->end()) {
      const Json percent = *it;
      spec->erase(it);
      (*spec)["metrics"] = Json::array(
          {{{"type", "Resource"},
            {"resource",
             {{"name", "cpu"},
              {"target", {{"type", "Utilization"}, {"averageUtilization", percent}}}}}}});
    }
  }
}

}  // namespace isthmus::lab::apiserver
