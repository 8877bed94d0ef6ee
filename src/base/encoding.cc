#include "base/encoding.h"

#include <array>
#include <cstring>

namespace isthmus::base {
namespace {

constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kBase64Url =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

std::string Encode(std::string_view bytes, std::string_view alphabet, bool pad) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k) {
      group = group << 8 | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    }
    for (size_t k = 0; k <= count; ++k) text += alphabet[group >> (18 - 6 * k) & 63];
    if (pad) text.append(3 - count, '=');
  }
  return text;
}

int Base64Digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+' || c == '-') return 62;
  if (c == '/' || c == '_') return 63;
  return -1;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

uint64_t Mix(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

// Little-endian words, so that the hash does not depend on the machine.
uint64_t Load(const char* from, size_t size) {
  uint64_t word = 0;
  for (size_t i = 0; i < size; ++i)
    word |= uint64_t{static_cast<unsigned char>(from[i])} << (8 * i);
  return word;
}
uint64_t Load8(const char* from) {
  uint64_t word;
  std::memcpy(&word, from, sizeof word);
  if constexpr (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__) word = __builtin_bswap64(word);
  return word;
}

}  // namespace

std::string Base64Encode(std::string_view bytes) { return Encode(bytes, kBase64, true); }
std::string Base64UrlEncode(std::string_view bytes) { return Encode(bytes, kBase64Url, false); }

Result<std::string> Base64Decode(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3 + 3);
  uint32_t group = 0;
  int digits = 0;
  size_t padding = 0;
  for (const char c : text) {
    if (c == '\n' || c == '\r') continue;
    if (c == '=') {
      ++padding;
      continue;
    }
    const int digit = Base64Digit(c);
    if (digit < 0)
      return Error(Code::kInvalidArgument, "not base64: it holds the byte 0x{:02x}", c & 0xff);
    if (padding > 0) return Error(Code::kInvalidArgument, "not base64: data after the padding");
    group = group << 6 | static_cast<uint32_t>(digit);
    if (++digits == 4) {
      bytes += static_cast<char>(group >> 16);
      bytes += static_cast<char>(group >> 8);
      bytes += static_cast<char>(group);
      group = 0;
      digits = 0;
    }
  }
  if (digits == 1 || padding > 2 || (padding > 0 && (digits + padding) % 4 != 0)) {
    return Error(Code::kInvalidArgument, "not base64: it is cut off");
  }
  if (digits >= 2) bytes += static_cast<char>(group >> (digits == 2 ? 4 : 10));
  if (digits == 3) bytes += static_cast<char>(group >> 2);
  return bytes;
}

std::string HexEncode(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    text += kDigits[static_cast<unsigned char>(c) >> 4];
    text += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return text;
}

Result<std::string> HexDecode(std::string_view text) {
  if (text.size() % 2 != 0)
    return Error(Code::kInvalidArgument, "not hexadecimal: an odd number of digits");
  std::string bytes;
  for (size_t i = 0; i < text.size(); i += 2) {
    const int high = HexDigit(text[i]);
    const int low = HexDigit(text[i + 1]);
    if (high < 0 || low < 0)
      return Error(Code::kInvalidArgument, "not hexadecimal: '{}'", text.substr(i, 2));
    bytes += static_cast<char>(high << 4 | low);
  }
  return bytes;
}

uint64_t Hash64(std::string_view bytes, uint64_t seed) {
  // Multiply-and-fold over 16-byte steps. The constants are odd with an even mix of bits; never
  // change them.
  constexpr uint64_t kA = 0x9e3779b97f4a7c15, kB = 0xd1b54a32d192ed03, kC = 0x8bb84b93962eacc9;
  uint64_t hash = seed ^ Mix(bytes.size() ^ kA, kB);
  const char* p = bytes.data();
  size_t left = bytes.size();
  for (; left >= 16; p += 16, left -= 16) hash = Mix(Load8(p) ^ kA ^ hash, Load8(p + 8) ^ kB) + kC;
  uint64_t low = 0, high = 0;
  if (left > 8) {
    low = Load8(p);
    high = Load(p + 8, left - 8);
  } else {
    low = Load(p, left);
  }
  return Mix(Mix(low ^ kB ^ hash, high ^ kC) ^ kA, hash ^ kB ^ left);
}

}  // namespace isthmus::base
