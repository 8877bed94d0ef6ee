#pragma once

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

}  // namespace isthmus::pki
