#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/object.h"
#include "config/reader.h"
#include "kubeapi/json.h"

namespace isthmus::config {

/// The metadata of a Kubernetes object; an error when it has no name.
base::Result<Meta> ReadMeta(const kubeapi::Json& object);

/// Reads a Kubernetes object with an Istio spec. Unknown fields are skipped and, when asked for,
/// told. T is a message of proto/config; include its .pb.h.
template <typename T>
base::Result<std::shared_ptr<const Object<T>>> ReadObject(
    const kubeapi::Json& object, std::vector<std::string>* unknown = nullptr) {
  auto read = std::make_shared<Object<T>>();
  ASSIGN_OR_RETURN(read->meta, ReadMeta(object), "metadata");
  ReadReport report;
  static const kubeapi::Json kNone = kubeapi::Json::object();
  const kubeapi::Json* spec = kubeapi::Find(object, {"spec"});
  ReadMessage(spec == nullptr || spec->is_null() ? kNone : *spec, "spec", read->spec, report);
  RETURN_IF_ERROR(report.status(), read->meta.text());
  if (unknown != nullptr) *unknown = std::move(report.unknown);
  return std::shared_ptr<const Object<T>>(std::move(read));
}

/// The order of ObjectList: creation time, then namespace, then name.
bool Before(const Meta& a, const Meta& b);

}  // namespace isthmus::config
