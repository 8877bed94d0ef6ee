#include "base/clock.h"
#include "base/strings.h"

#include <fmt/format.h>

namespace isthmus::base {
namespace {

/// Reads fixed-width numbers off the front of a text.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  bool Number(size_t digits, int* value) {
    if (rest_.size() < digits) return false;
    *value = 0;
    for (const char c : rest_.substr(0, digits)) {
      if (c < '0' || c > '9') return false;
      *value = *value * 10 + (c - '0');
    }
    rest_.remove_prefix(digits);
    return true;
  }
  bool OneOf(std::string_view characters, char* found = nullptr) {
    if (rest_.empty() || characters.find(rest_.front()) == std::string_view::npos) return false;
    if (found != nullptr) *found = rest_.front();
    rest_.remove_prefix(1);
    return true;
  }
  /// The digits after a decimal point, as nanoseconds.
  bool Fraction(int64_t* nanoseconds) {
    int64_t scale = 100000000;
    *nanoseconds = 0;
    size_t digits = 0;
    while (digits < rest_.size() && IsDigit(rest_[digits])) {
      *nanoseconds += (rest_[digits] - '0') * scale;
      scale /= 10;
      ++digits;
    }
    rest_.remove_prefix(digits);
    return digits > 0;
  }
  bool done() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

}  // namespace

std::string FormatTime(Time time) {
  namespace chrono = std::chrono;
  const auto seconds = chrono::floor<chrono::seconds>(time);
  const auto day = chrono::floor<chrono::days>(seconds);
  const chrono::year_month_day date(day);
  const chrono::hh_mm_ss clock(seconds - day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count());
}

Result<Time> ParseTime(std::string_view text) {
  namespace chrono = std::chrono;
  Scanner scan(text);
  int year, month, day, hour, minute, second, zone_hour = 0, zone_minute = 0;
  int64_t nanoseconds = 0;
  char zone = 'Z';
  bool good = scan.Number(4, &year) && scan.OneOf("-") && scan.Number(2, &month) &&
              scan.OneOf("-") && scan.Number(2, &day) && scan.OneOf("Tt ") &&
              scan.Number(2, &hour) && scan.OneOf(":") && scan.Number(2, &minute) &&
              scan.OneOf(":") && scan.Number(2, &second);
  if (good && scan.OneOf(".")) good = scan.Fraction(&nanoseconds);
  good = good && scan.OneOf("Zz+-", &zone);
  if (good && (zone == '+' || zone == '-')) {
    good = scan.Number(2, &zone_hour) && scan.OneOf(":") && scan.Number(2, &zone_minute);
  }
  const chrono::year_month_day date{chrono::year(good ? year : 0), chrono::month(good ? month : 0),
                                    chrono::day(good ? day : 0)};
  // A leap second (60) is read as the second after.
  if (!good || !scan.done() || !date.ok() || hour > 23 || minute > 59 || second > 60 ||
      zone_hour > 23 || zone_minute > 59) {
    return Error(Code::kInvalidArgument,
                 "'{}' is not an RFC 3339 time such as 2026-11-21T13:56:00Z", text);
  }
  // Time counts nanoseconds in 64 bits, which end in these years.
  if (year < 1678 || year > 2261) {
    return Error(Code::kOutOfRange, "the year of '{}' is not between 1678 and 2261", text);
  }
  auto offset = chrono::hours(zone_hour) + chrono::minutes(zone_minute);
  if (zone == '-') offset = -offset;
  return Time(chrono::duration_cast<Time::duration>(
      chrono::sys_days(date).time_since_epoch() + chrono::hours(hour) + chrono::minutes(minute) +
      chrono::seconds(second) - offset + chrono::nanoseconds(nanoseconds)));
}

}  // namespace isthmus::base
