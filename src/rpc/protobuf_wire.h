#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace isthmus::rpc {

/// Walks the fields of a serialised protobuf message without copying: the control plane reads
/// requests with thousands of names this way, and the agent the few fields it needs without
/// generated code and its megabytes.
///   WireReader in(bytes);
///   while (in.Next()) switch (in.field()) { ... }
///   if (!in.ok()) malformed
class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : rest_(bytes) {}

  /// Steps to the next field; false at the end or when the bytes are malformed.
  bool Next();
  bool ok() const { return ok_; }
  uint32_t field() const { return field_; }
  /// Whether the field is length-delimited (string, bytes, message).
  bool is_bytes() const { return wire_type_ == 2; }
  std::string_view bytes() const { return bytes_; }  ///< Empty unless is_bytes().
  uint64_t number() const { return number_; }        ///< Of a varint or fixed field, else 0.

 private:
  bool ReadVarint(uint64_t* value);
  bool ReadFixed(size_t size);
  bool Fail();

  std::string_view rest_;
  std::string_view bytes_;
  uint64_t number_ = 0;
  uint32_t field_ = 0;
  uint8_t wire_type_ = 0;
  bool ok_ = true;
};

void PutVarint(std::string& out, uint64_t value);
/// Tag and length of a length-delimited field whose `size` bytes follow.
void PutHead(std::string& out, uint32_t field, size_t size);
/// A string, bytes or message field.
void PutBytes(std::string& out, uint32_t field, std::string_view bytes);
/// A field of a number type that is a varint on the wire.
void PutNumber(std::string& out, uint32_t field, uint64_t value);
size_t VarintSize(uint64_t value);
/// Bytes that PutHead() writes.
size_t HeadSize(uint32_t field, size_t size);

/// Whether the bytes are well-formed UTF-8, as proto3 strings must be.
bool IsUtf8(std::string_view text);

}  // namespace isthmus::rpc
