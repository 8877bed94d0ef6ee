#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace isthmus::pki {

std::string Sha256(std::string_view bytes);     ///< 32 raw bytes.
std::string Sha256Hex(std::string_view bytes);  ///< Lower-case hexadecimal.
std::string Sha1(std::string_view bytes);       ///< 20 raw bytes; for WebSocket's handshake only.
std::string HmacSha256(std::string_view key, std::string_view bytes);
/// From the system's cryptographic generator.
std::string RandomBytes(size_t size);
/// A random UUID of version 4, as Kubernetes gives to objects.
std::string RandomUuid();
/// Compares without telling by its time where the difference is.
bool EqualInConstantTime(std::string_view a, std::string_view b);

std::string HexEncode(std::string_view bytes);
/// RFC 4648 with padding; decoding refuses anything but whole, padded base64 (line ends are skipped).
std::string Base64Encode(std::string_view bytes);
std::optional<std::string> Base64Decode(std::string_view text);
/// RFC 4648 section 5 without padding, as JWTs use it.
std::string Base64UrlEncode(std::string_view bytes);
std::optional<std::string> Base64UrlDecode(std::string_view text);

}  // namespace isthmus::pki
