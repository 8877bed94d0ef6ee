#include "agent/wire.h"

namespace isthmus::agent {

bool Fields::Stop() {
  ok_ = false;
  rest_ = {};
  bytes_ = {};
  return false;
}

bool Fields::TakeVarint(uint64_t& value) {
  value = 0;
  for (size_t i = 0; i < 10 && i < rest_.size(); ++i) {
    const auto byte = static_cast<uint8_t>(rest_[i]);
    value |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      rest_.remove_prefix(i + 1);
      return true;
    }
  }
  return false;
}

bool Fields::Next() {
  bytes_ = {};
  value_ = 0;
  if (rest_.empty()) return false;
  uint64_t tag = 0;
  if (!TakeVarint(tag) || tag < 8 || tag > 0xffffffff) return Stop();
  number_ = static_cast<uint32_t>(tag >> 3);
  wire_type_ = tag & 7;
  if (wire_type_ == 0) return TakeVarint(value_) || Stop();
  uint64_t size = wire_type_ == 1 ? 8 : 4;
  if (wire_type_ == 2) {
    if (!TakeVarint(size)) return Stop();
  } else if (wire_type_ != 1 && wire_type_ != 5) {
    return Stop();
  }
  if (size > rest_.size()) return Stop();
  if (wire_type_ == 2) {
    bytes_ = rest_.substr(0, size);
  } else {
    for (size_t i = 0; i < size; ++i)
      value_ |= static_cast<uint64_t>(static_cast<uint8_t>(rest_[i])) << (8 * i);
  }
  rest_.remove_prefix(size);
  return true;
}

void AppendVarint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

void AppendBytes(std::string& out, uint32_t number, std::string_view bytes) {
  AppendVarint(out, static_cast<uint64_t>(number) << 3 | 2);
  AppendVarint(out, bytes.size());
  out += bytes;
}

void AppendNumber(std::string& out, uint32_t number, uint64_t value) {
  AppendVarint(out, static_cast<uint64_t>(number) << 3);
  AppendVarint(out, value);
}

}  // namespace isthmus::agent
