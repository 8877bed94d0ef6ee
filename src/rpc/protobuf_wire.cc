#include "rpc/protobuf_wire.h"

namespace isthmus::rpc {
namespace {

constexpr uint8_t kVarint = 0;
constexpr uint8_t kFixed64 = 1;
constexpr uint8_t kBytes = 2;
constexpr uint8_t kFixed32 = 5;

}  // namespace

bool WireReader::Fail() {
  ok_ = false;
  rest_ = {};
  return false;
}

bool WireReader::ReadVarint(uint64_t* value) {
  uint64_t result = 0;
  for (size_t i = 0; i < rest_.size() && i < 10; ++i) {
    const auto byte = static_cast<uint8_t>(rest_[i]);
    result |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if ((byte & 0x80) == 0) {
      rest_.remove_prefix(i + 1);
      *value = result;
      return true;
    }
  }
  return false;
}

bool WireReader::ReadFixed(size_t size) {
  if (rest_.size() < size) return false;
  for (size_t i = 0; i < size; ++i)
    number_ |= static_cast<uint64_t>(static_cast<uint8_t>(rest_[i])) << (8 * i);
  rest_.remove_prefix(size);
  return true;
}

bool WireReader::Next() {
  bytes_ = {};
  number_ = 0;
  if (rest_.empty()) return false;
  uint64_t tag = 0;
  if (!ReadVarint(&tag) || (tag >> 3) == 0 || (tag >> 3) > 0x1fffffff) return Fail();
  field_ = static_cast<uint32_t>(tag >> 3);
  wire_type_ = tag & 7;
  switch (wire_type_) {
    case kVarint:
      return ReadVarint(&number_) || Fail();
    case kFixed64:
      return ReadFixed(8) || Fail();
    case kFixed32:
      return ReadFixed(4) || Fail();
    case kBytes: {
      uint64_t size = 0;
      if (!ReadVarint(&size) || size > rest_.size()) return Fail();
      bytes_ = rest_.substr(0, size);
      rest_.remove_prefix(size);
      return true;
    }
    default:  // Groups are not used by any message read here.
      return Fail();
  }
}

void PutVarint(std::string& out, uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

void PutHead(std::string& out, uint32_t field, size_t size) {
  PutVarint(out, (static_cast<uint64_t>(field) << 3) | kBytes);
  PutVarint(out, size);
}

void PutBytes(std::string& out, uint32_t field, std::string_view bytes) {
  PutHead(out, field, bytes.size());
  out.append(bytes);
}

void PutNumber(std::string& out, uint32_t field, uint64_t value) {
  PutVarint(out, static_cast<uint64_t>(field) << 3 | kVarint);
  PutVarint(out, value);
}

size_t VarintSize(uint64_t value) {
  size_t size = 1;
  for (; value >= 0x80; value >>= 7) ++size;
  return size;
}

size_t HeadSize(uint32_t field, size_t size) {
  return VarintSize(static_cast<uint64_t>(field) << 3) + VarintSize(size);
}

bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto byte = static_cast<uint8_t>(text[i]);
    if (byte < 0x80) {
      ++i;
      continue;
    }
    size_t more = 0;
    uint32_t code = 0;
    if ((byte & 0xe0) == 0xc0) {
      more = 1;
      code = byte & 0x1f;
    } else if ((byte & 0xf0) == 0xe0) {
      more = 2;
      code = byte & 0x0f;
    } else if ((byte & 0xf8) == 0xf0) {
      more = 3;
      code = byte & 0x07;
    } else {
      return false;
    }
    if (i + more >= text.size()) return false;
    for (size_t j = 1; j <= more; ++j) {
      const auto next = static_cast<uint8_t>(text[i + j]);
      if ((next & 0xc0) != 0x80) return false;
      code = (code << 6) | (next & 0x3f);
    }
    constexpr uint32_t kSmallest[] = {0, 0x80, 0x800, 0x10000};
    if (code < kSmallest[more] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
      return false;
    i += more + 1;
  }
  return true;
}

}  // namespace isthmus::rpc
