#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "model/view.h"

namespace google::protobuf {
class Any;
class Message;
class MessageLite;
}  // namespace google::protobuf

namespace isthmus::translate {

/// Bytes that are the same whenever the message is: maps are written in the order of their keys.
std::string Serialize(const google::protobuf::MessageLite& message);
/// Packs a message as type.googleapis.com/<its name>.
void Pack(const google::protobuf::Message& message, google::protobuf::Any* any);

/// A hash of content for telling changed resources from unchanged ones; not for hostile input.
uint64_t ContentHash(std::string_view bytes);

/// A resource of `type_url` from its serialised message.
std::shared_ptr<const model::Resource> MakeResource(std::string name, std::string_view type_url,
                                                    std::string_view message);
std::shared_ptr<const model::Resource> MakeResource(std::string name, std::string_view type_url,
                                                    const google::protobuf::MessageLite& message);

/// Appends field `number` with `message` as an embedded message. A message is the concatenation of
/// its fields, so large ones are put together from parts that were serialised once.
void AppendField(int number, std::string_view message, std::string* out);

}  // namespace isthmus::translate
