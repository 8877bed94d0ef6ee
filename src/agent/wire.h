#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace isthmus::agent {

/// Steps through the fields of a serialised protobuf message in place. The agent reads so few
/// fields of so few messages that generated code (and its megabytes) would be most of the program.
///   Fields in(bytes);
///   while (in.Next()) if (in.number() == 4) type_url = in.bytes();
///   if (!in.ok()) malformed
class Fields {
 public:
  explicit Fields(std::string_view message) : rest_(message) {}
  /// False at the end, and at the first malformed byte.
  bool Next();
  bool ok() const { return ok_; }
  uint32_t number() const { return number_; }
  bool is_bytes() const { return wire_type_ == 2; }
  /// Of a string, bytes or message field; else "".
  std::string_view bytes() const { return bytes_; }
  /// Of a number field; else 0.
  uint64_t value() const { return value_; }

 private:
  bool TakeVarint(uint64_t& value);
  bool Stop();

  std::string_view rest_;
  std::string_view bytes_;
  uint64_t value_ = 0;
  uint32_t number_ = 0;
  uint8_t wire_type_ = 0;
  bool ok_ = true;
};

void AppendVarint(std::string& out, uint64_t value);
/// A string, bytes or message field.
void AppendBytes(std::string& out, uint32_t number, std::string_view bytes);
void AppendNumber(std::string& out, uint32_t number, uint64_t value);

}  // namespace isthmus::agent
