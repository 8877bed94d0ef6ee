#include "kubeapi/scalar.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdlib>

#include "base/strings.h"

namespace isthmus::kubeapi {
namespace {

template <size_t N>
bool OneOf(std::string_view text, const std::array<std::string_view, N>& words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

/// Sign, digits with at most one point, and an exponent.
bool LooksLikeFloat(std::string_view text) {
  size_t i = 0;
  if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
  size_t whole = 0, fraction = 0;
  while (i < text.size() && base::IsDigit(text[i])) ++i, ++whole;
  if (i < text.size() && text[i] == '.') {
    ++i;
    while (i < text.size() && base::IsDigit(text[i])) ++i, ++fraction;
  }
  if (whole + fraction == 0) return false;
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
    const size_t start = i;
    while (i < text.size() && base::IsDigit(text[i])) ++i;
    if (i == start) return false;
  }
  return i == text.size();
}

bool ParseInteger(std::string_view text, Json& out) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  int base = 10;
  if (text.size() > 1 && text[0] == '0') {
    const char mark = static_cast<char>(std::tolower(static_cast<unsigned char>(text[1])));
    base = mark == 'x' ? 16 : mark == 'b' ? 2 : 8;
    text.remove_prefix(mark == 'x' || mark == 'b' || mark == 'o' ? 2 : 1);
  }
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return false;
  constexpr uint64_t kMinMagnitude = static_cast<uint64_t>(INT64_MAX) + 1;
  if (!negative) {
    if (number <= static_cast<uint64_t>(INT64_MAX))
      out = static_cast<int64_t>(number);
    else
      out = number;
    return true;
  }
  if (number > kMinMagnitude) return false;
  out = number == kMinMagnitude ? INT64_MIN : -static_cast<int64_t>(number);
  return true;
}

}  // namespace

Json ResolveScalar(std::string_view text) {
  static constexpr std::array<std::string_view, 5> kNull = {"", "~", "null", "Null", "NULL"};
  static constexpr std::array<std::string_view, 11> kTrue = {
      "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"};
  static constexpr std::array<std::string_view, 11> kFalse = {
      "n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"};
  if (OneOf(text, kNull)) return nullptr;
  if (OneOf(text, kTrue)) return true;
  if (OneOf(text, kFalse)) return false;
  const char first = text[0];
  if (!base::IsDigit(first) && first != '+' && first != '-' && first != '.')
    return std::string(text);
  std::string plain(text);
  std::erase(plain, '_');
  Json number;
  if (!plain.empty() && ParseInteger(plain, number)) return number;
  // JSON has no infinities, so ".inf" and overflowing floats stay what was written.
  if (LooksLikeFloat(plain)) {
    const double value = std::strtod(plain.c_str(), nullptr);
    if (value - value == 0) return value;
  }
  return std::string(text);
}

}  // namespace isthmus::kubeapi
