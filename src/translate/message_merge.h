#pragma once

#include <google/protobuf/message.h>
#include <google/protobuf/struct.pb.h>

#include <memory>

#include "base/result.h"

namespace isthmus::translate {

/// Lays `from` over `to` as users of EnvoyFilter expect: set fields win, messages are merged field
/// by field, also inside an Any of one type, lists grow, durations and wrapped values are replaced,
/// and so is a transport socket of another name. REQUIRES: both are of one type.
void MergeMessage(const google::protobuf::Message& from, google::protobuf::Message* to);

/// Reads a message as users write it. An Any whose type is not among those built in becomes an
/// xds.type.v3.TypedStruct, which Envoy turns into that type itself; so every extension of Envoy
/// can be configured. The error names the field.
base::Result<std::shared_ptr<const google::protobuf::Message>> ReadMessage(
    google::protobuf::Struct value, const google::protobuf::Message& prototype);

}  // namespace isthmus::translate
