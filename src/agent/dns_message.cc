#include "agent/dns_message.h"

#include <algorithm>

namespace isthmus::agent {
namespace {

using base::Code;

constexpr size_t kHeaderSize = 12;
constexpr uint16_t kEdns = 41;

uint16_t Number16(std::string_view bytes, size_t at) {
  return static_cast<uint16_t>(static_cast<uint8_t>(bytes[at]) << 8 |
                               static_cast<uint8_t>(bytes[at + 1]));
}

void Append16(std::string& out, uint16_t value) {
  out += static_cast<char>(value >> 8);
  out += static_cast<char>(value & 0xff);
}

void AppendName(std::string& out, std::string_view name) {
  while (!name.empty()) {
    const size_t dot = std::min(name.find('.'), name.size());
    const std::string_view label = name.substr(0, std::min<size_t>(dot, 63));
    out += static_cast<char>(label.size());
    out += label;
    name.remove_prefix(std::min(dot + 1, name.size()));
  }
  out += '\0';
}

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

/// Reads an uncompressed name at `at` and steps over it. Queries have nothing before the name that
/// a pointer could lead to.
bool ReadName(std::string_view message, size_t& at, std::string* name) {
  size_t length = 0;
  while (at < message.size()) {
    const auto size = static_cast<uint8_t>(message[at]);
    ++at;
    if (size == 0) return true;
    length += size + 1;
    if (size > 63 || length > 254 || message.size() - at < size) return false;
    if (name != nullptr) {
      if (!name->empty()) *name += '.';
      for (size_t i = 0; i < size; ++i) *name += Lower(message[at + i]);
    }
    at += size;
  }
  return false;
}

/// The UDP size in the additional section's OPT record, if there is one.
size_t EdnsSize(std::string_view message, size_t at, uint16_t records) {
  for (uint16_t i = 0; i < records; ++i) {
    if (!ReadName(message, at, nullptr) || message.size() - at < 10) return 512;
    const uint16_t type = Number16(message, at);
    const uint16_t udp_size = Number16(message, at + 2);
    const uint16_t length = Number16(message, at + 8);
    if (type == kEdns) return std::clamp<size_t>(udp_size, 512, 4096);
    at += 10;
    if (message.size() - at < length) return 512;
    at += length;
  }
  return 512;
}

}  // namespace

base::Result<DnsQuery> ParseDnsQuery(std::string_view message) {
  if (message.size() < kHeaderSize)
    return base::Error(Code::kInvalidArgument, "DNS message of {} bytes", message.size());
  const uint16_t flags = Number16(message, 2);
  if ((flags & 0x8000) != 0)
    return base::Error(Code::kInvalidArgument, "DNS response instead of a query");
  if ((flags >> 11 & 15) != 0)
    return base::Error(Code::kUnimplemented, "DNS operation {}", flags >> 11 & 15);
  if (Number16(message, 4) != 1)
    return base::Error(Code::kInvalidArgument, "DNS message without one question");
  DnsQuery query;
  query.id = Number16(message, 0);
  query.recursion_desired = (flags & 0x0100) != 0;
  size_t at = kHeaderSize;
  if (!ReadName(message, at, &query.name) || message.size() - at < 4)
    return base::Error(Code::kInvalidArgument, "malformed DNS question");
  query.type = Number16(message, at);
  query.dns_class = Number16(message, at + 2);
  at += 4;
  query.question = std::string(message.substr(kHeaderSize, at - kHeaderSize));
  // Answers or authorities in a query: nothing to look for after them.
  if (Number16(message, 6) == 0 && Number16(message, 8) == 0)
    query.udp_size = EdnsSize(message, at, Number16(message, 10));
  return query;
}

std::string MakeDnsAnswer(const DnsQuery& query, const std::vector<DnsRecord>& records,
                          DnsCode code, bool authoritative, size_t limit) {
  std::string body;
  uint16_t count = 0;
  bool truncated = false;
  for (const DnsRecord& record : records) {
    std::string text;
    AppendName(text, record.name);
    Append16(text, record.type);
    Append16(text, 1);
    Append16(text, static_cast<uint16_t>(record.ttl >> 16));
    Append16(text, static_cast<uint16_t>(record.ttl & 0xffff));
    std::string data;
    if (record.type == kDnsCname)
      AppendName(data, record.data);
    else
      data = record.data;
    Append16(text, static_cast<uint16_t>(data.size()));
    text += data;
    if (limit != 0 && kHeaderSize + query.question.size() + body.size() + text.size() > limit) {
      truncated = true;
      break;
    }
    body += text;
    ++count;
  }
  std::string message;
  Append16(message, query.id);
  const auto flags = static_cast<uint16_t>(
      0x8000 | (authoritative ? 0x0400 : 0) | (truncated ? 0x0200 : 0) |
      (query.recursion_desired ? 0x0100 : 0) | 0x0080 | static_cast<int>(code));
  Append16(message, flags);
  Append16(message, query.question.empty() ? 0 : 1);
  Append16(message, count);
  Append16(message, 0);
  Append16(message, 0);
  return message + query.question + body;
}

}  // namespace isthmus::agent
