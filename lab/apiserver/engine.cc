#include "lab/apiserver/engine.h"

#include <chrono>

#include "lab/apiserver/allocator.h"
#include "lab/apiserver/authorizer.h"

namespace isthmus::lab::apiserver {

Engine::~Engine() = default;

int64_t Engine::Now() const {
  return std::chrono::duration_cast<std::chrono::seconds>(clock.Now().time_since_epoch()).count();
}

std::string Engine::NowText() const { return base::FormatTime(clock.Now()); }

Json Engine::Decode(const Kind& kind, const KindVersion& version, std::string_view text) const {
  Json object = Json::parse(text, nullptr, false);
  if (!object.is_object()) object = Json::object();
  if (HasConversion(kind, version)) FromStored(kind, version, &object);
  object["apiVersion"] = kind.ApiVersion(version);
  object["kind"] = kind.kind;
  return object;
}

std::optional<Json> Engine::Get(const Kind& kind, const KindVersion& version, std::string_view ns,
                                std::string_view name) const {
  auto text = store.Get({StorageKey(kind), std::string(ns), std::string(name)});
  if (!text) return std::nullopt;
  return Decode(kind, version, *text);
}

std::optional<Json> Engine::Get(std::string_view resource_key, std::string_view ns,
                                std::string_view name) const {
  KindPtr kind = kinds.FindByKey(resource_key);
  return kind ? Get(*kind, kind->storage_version(), ns, name) : std::nullopt;
}

}  // namespace isthmus::lab::apiserver
