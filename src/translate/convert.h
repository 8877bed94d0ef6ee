#pragma once

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/struct.pb.h>

#include <chrono>

#include "model/service.h"

namespace isthmus::translate {

inline void SetDuration(std::chrono::milliseconds from, google::protobuf::Duration* to) {
  to->set_seconds(from.count() / 1000);
  to->set_nanos(static_cast<int32_t>(from.count() % 1000) * 1000000);
}

/// Whether a duration is set and more than nothing: Envoy refuses many that are zero.
inline bool Positive(const google::protobuf::Duration& duration) {
  return duration.seconds() > 0 || (duration.seconds() == 0 && duration.nanos() > 0);
}

/// Adds {host, name, namespace} of a service to the list "services" of a cluster's metadata.
template <typename Fields>
void AddServiceMetadata(const model::Service& service, Fields* fields) {
  auto* entry = (*fields)["services"].mutable_list_value()->add_values();
  auto& names = *entry->mutable_struct_value()->mutable_fields();
  names["host"].set_string_value(service.hostname);
  names["name"].set_string_value(service.name.empty() ? service.hostname : service.name);
  names["namespace"].set_string_value(service.ns);
}

}  // namespace isthmus::translate
