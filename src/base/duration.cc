#include "base/duration.h"

#include <array>
#include <cmath>
#include <limits>

#include "base/strings.h"

namespace isthmus::base {
namespace {

struct Unit {
  std::string_view name;
  int64_t nanoseconds;
};
// Longer names first, so that "ms" is not read as minutes.
constexpr std::array<Unit, 8> kUnits = {{{"ns", 1},
                                         {"us", 1000},
                                         {"\xC2\xB5s", 1000},
                                         {"\xCE\xBCs", 1000},
                                         {"ms", 1000000},
                                         {"s", 1000000000},
                                         {"m", 60000000000},
                                         {"h", 3600000000000}}};

/// Reads the digits at the front of `rest`; false on overflow.
bool ConsumeDigits(std::string_view& rest, __int128* value, size_t* digits) {
  while (!rest.empty() && IsDigit(rest.front())) {
    *value = *value * 10 + (rest.front() - '0');
    if (*value > std::numeric_limits<int64_t>::max()) return false;
    rest.remove_prefix(1);
    ++*digits;
  }
  return true;
}

// `value` in units of `unit` nanoseconds with up to nine decimals.
std::string Decimal(int64_t value, int64_t unit) {
  std::string text = std::to_string(value / unit);
  int64_t rest = value % unit;
  if (rest == 0) return text;
  text += '.';
  while (rest != 0) {
    unit /= 10;
    text += static_cast<char>('0' + rest / unit);
    rest %= unit;
  }
  return text;
}

}  // namespace

Result<Duration> ParseDuration(std::string_view text) {
  const auto bad = [text] {
    return Error(Code::kInvalidArgument, "'{}' is not a duration such as 1h30m or 250ms", text);
  };
  std::string_view rest = text;
  const bool negative = ConsumePrefix(rest, "-");
  if (!negative) ConsumePrefix(rest, "+");
  if (rest == "0") return Duration::zero();
  if (rest.empty()) return bad();
  __int128 total = 0;
  while (!rest.empty()) {
    __int128 whole = 0;
    size_t digits = 0;
    if (!ConsumeDigits(rest, &whole, &digits)) return bad();
    std::string_view fraction;
    if (ConsumePrefix(rest, ".")) {
      const std::string_view start = rest;
      while (!rest.empty() && IsDigit(rest.front())) rest.remove_prefix(1);
      fraction = start.substr(0, start.size() - rest.size());
    }
    if (digits == 0 && fraction.empty()) return bad();
    const Unit* unit = nullptr;
    for (const Unit& candidate : kUnits) {
      if (ConsumePrefix(rest, candidate.name)) {
        unit = &candidate;
        break;
      }
    }
    if (unit == nullptr) return bad();
    total += whole * unit->nanoseconds;
    int64_t scale = unit->nanoseconds;
    double part = 0;
    double place = static_cast<double>(scale);
    for (const char c : fraction.substr(0, 18)) {
      place /= 10;
      part += (c - '0') * place;
    }
    total += static_cast<int64_t>(std::llround(part));
    if (total > std::numeric_limits<int64_t>::max()) return bad();
  }
  return Duration(static_cast<int64_t>(negative ? -total : total));
}

std::string FormatDuration(Duration duration) {
  int64_t ns = duration.count();
  if (ns == 0) return "0s";
  if (ns == std::numeric_limits<int64_t>::min()) return "-2562047h47m16.854775808s";
  std::string text;
  if (ns < 0) {
    text = "-";
    ns = -ns;
  }
  if (ns < 1000) return text + std::to_string(ns) + "ns";
  if (ns < 1000000) return text + Decimal(ns, 1000) + "\xC2\xB5s";
  if (ns < 1000000000) return text + Decimal(ns, 1000000) + "ms";
  const int64_t hours = ns / 3600000000000;
  const int64_t minutes = ns / 60000000000 % 60;
  if (hours > 0) text += std::to_string(hours) + "h";
  if (hours > 0 || minutes > 0) text += std::to_string(minutes) + "m";
  return text + Decimal(ns % 60000000000, 1000000000) + "s";
}

}  // namespace isthmus::base
