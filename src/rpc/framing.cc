#include "rpc/framing.h"

#include <algorithm>

namespace isthmus::rpc {
namespace {

constexpr size_t kPrefix = 5;
constexpr size_t kMaxClaimed = 256 << 10;

uint32_t ReadLength(const char* bytes) {
  auto byte = [&](int i) { return static_cast<uint32_t>(static_cast<unsigned char>(bytes[i])); };
  return byte(0) << 24 | byte(1) << 16 | byte(2) << 8 | byte(3);
}

}  // namespace

base::Status MessageReader::Feed(std::string_view bytes,
                                 const std::function<void(std::string_view)>& message,
                                 const std::function<bool()>& alive) {
  while (!bytes.empty()) {
    // The prefix is looked at first, so that a hostile length is refused before anything is kept.
    if (buffer_.size() < kPrefix) {
      if (buffer_.empty() && bytes.size() >= kPrefix) {
        uint32_t length = ReadLength(bytes.data() + 1);
        if (bytes[0] != 0)
          return base::Error(base::Code::kUnimplemented, "compressed messages are not supported");
        if (length > limit_)
          return base::Error(base::Code::kResourceExhausted,
                             "a message of {} bytes is larger than the {} allowed", length, limit_);
        if (bytes.size() - kPrefix >= length) {
          std::string_view whole = bytes.substr(kPrefix, length);
          bytes.remove_prefix(kPrefix + length);
          message(whole);
          if (!alive()) return {};
          continue;
        }
      }
      size_t take = std::min(kPrefix - buffer_.size(), bytes.size());
      buffer_.append(bytes.substr(0, take));
      bytes.remove_prefix(take);
      if (buffer_.size() < kPrefix) return {};
    }
    uint32_t length = ReadLength(buffer_.data() + 1);
    if (buffer_[0] != 0)
      return base::Error(base::Code::kUnimplemented, "compressed messages are not supported");
    if (length > limit_)
      return base::Error(base::Code::kResourceExhausted,
                         "a message of {} bytes is larger than the {} allowed", length, limit_);
    size_t take = std::min(kPrefix + length - buffer_.size(), bytes.size());
    // Room for what comes, but a length that was only claimed takes no more than this.
    if (buffer_.capacity() < kPrefix + length && take > buffer_.capacity() - buffer_.size()) {
      buffer_.reserve(std::min(kPrefix + length, std::max(kMaxClaimed, 2 * buffer_.size() + take)));
    }
    buffer_.append(bytes.substr(0, take));
    bytes.remove_prefix(take);
    if (buffer_.size() < kPrefix + length) return {};
    std::string whole = std::move(buffer_);
    buffer_.clear();
    message(std::string_view(whole).substr(kPrefix));
    if (!alive()) return {};
  }
  return {};
}

base::Slice MessagePrefix(size_t size) {
  std::string prefix(kPrefix, '\0');
  for (int i = 0; i < 4; ++i) prefix[1 + i] = static_cast<char>(size >> (24 - 8 * i));
  return base::Slice(std::move(prefix));
}

std::string EncodeGrpcMessage(std::string_view text) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string encoded;
  for (char c : text) {
    if (c >= ' ' && c <= '~' && c != '%') {
      encoded += c;
    } else {
      auto byte = static_cast<unsigned char>(c);
      encoded += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return encoded;
}

std::string DecodeGrpcMessage(std::string_view text) {
  auto value = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
  };
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && value(text[i + 1]) >= 0 &&
        value(text[i + 2]) >= 0) {
      decoded += static_cast<char>(value(text[i + 1]) * 16 + value(text[i + 2]));
      i += 2;
    } else {
      decoded += text[i];
    }
  }
  return decoded;
}

base::Status StatusOfHttp(int http_status) {
  using base::Code;
  Code code = Code::kUnknown;
  switch (http_status) {
    case 400:
      code = Code::kInternal;
      break;
    case 401:
      code = Code::kUnauthenticated;
      break;
    case 403:
      code = Code::kPermissionDenied;
      break;
    case 404:
      code = Code::kUnimplemented;
      break;
    case 429:
    case 502:
    case 503:
    case 504:
      code = Code::kUnavailable;
      break;
    default:
      break;
  }
  return base::Error(code, "the server answered HTTP {} without a gRPC status", http_status);
}

}  // namespace isthmus::rpc
