#include "kubeapi/json_reader.h"

#include <charconv>
#include <cstring>
#include <system_error>

#include "base/strings.h"

namespace isthmus::kubeapi {
namespace {

/// Whether a string's byte stands for itself: ASCII, no control character, quote or backslash.
bool IsPlain(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

}  // namespace

void JsonReader::SkipSpace() {
  while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\t' || *at_ == '\r')) ++at_;
}

bool JsonReader::Take(char c) {
  SkipSpace();
  if (at_ == end_ || *at_ != c) return false;
  ++at_;
  return true;
}

bool JsonReader::Over() {
  SkipSpace();
  return at_ == end_;
}

bool JsonReader::Word(std::string_view word) {
  if (static_cast<size_t>(end_ - at_) < word.size() ||
      std::memcmp(at_, word.data(), word.size()) != 0)
    return false;
  at_ += word.size();
  return true;
}

bool JsonReader::Value(Json& out) {
  SkipSpace();
  if (at_ == end_) return false;
  switch (*at_) {
    case '{':
      return Object(out);
    case '[':
      return Array(out);
    case '"':
      out = Json::string_t();
      return String(out.get_ref<std::string&>());
    case 't':
      out = true;
      return Word("true");
    case 'f':
      out = false;
      return Word("false");
    case 'n':
      out = nullptr;
      return Word("null");
    default:
      return Number(out);
  }
}

bool JsonReader::Object(Json& out) {
  if (++depth_ > kMaxDepth) return false;
  const bool in_metadata = std::exchange(in_metadata_, false);
  ++at_;
  out = Json::object();
  auto& members = out.get_ref<Json::object_t&>();
  if (!Take('}')) {
    std::string key;
    do {
      SkipSpace();
      key.clear();
      if (!String(key) || !Take(':')) return false;
      if (in_metadata && keep_ == Keep::kNoManagedFields && key == "managedFields") {
        if (!SkipValue()) return false;
        continue;
      }
      in_metadata_ = depth_ == 1 && key == "metadata";
      // Mostly the keys come sorted. Of several with one name the last counts.
      const auto at = members.emplace_hint(members.end(), std::move(key), nullptr);
      if (!Value(at->second)) return false;
      in_metadata_ = false;
    } while (Take(','));
    if (!Take('}')) return false;
  }
  --depth_;
  return true;
}

bool JsonReader::Array(Json& out) {
  if (++depth_ > kMaxDepth) return false;
  in_metadata_ = false;
  ++at_;
  out = Json::array();
  auto& elements = out.get_ref<Json::array_t&>();
  if (!Take(']')) {
    do {
      if (!Value(elements.emplace_back())) return false;
    } while (Take(','));
    if (!Take(']')) return false;
  }
  --depth_;
  return true;
}

bool JsonReader::String(std::string& out) {
  if (at_ == end_ || *at_ != '"') return false;
  ++at_;
  while (true) {
    const char* from = at_;
    while (at_ != end_ && IsPlain(*at_)) ++at_;
    out.append(from, at_);
    if (at_ == end_) return false;
    if (*at_ == '"') {
      ++at_;
      return true;
    }
    if (*at_ != '\\' || !Escape(out)) return false;
  }
}

bool JsonReader::Escape(std::string& out) {
  constexpr std::string_view kShort = "\"\\/bfnrt";
  constexpr std::string_view kMeaning = "\"\\/\b\f\n\r\t";
  if (end_ - at_ < 2) return false;
  const char c = at_[1];
  at_ += 2;
  if (const size_t i = kShort.find(c); i != kShort.npos) {
    out += kMeaning[i];
    return true;
  }
  unsigned code = 0;
  if (c != 'u' || end_ - at_ < 4) return false;
  const auto [end, error] = std::from_chars(at_, at_ + 4, code, 16);
  if (error != std::errc() || end != at_ + 4 || code >= 0x80) return false;
  at_ += 4;
  out += static_cast<char>(code);
  return true;
}

bool JsonReader::Number(Json& out) {
  const char* const from = at_;
  const bool negative = *at_ == '-';
  const char* digits = at_ + (negative ? 1 : 0);
  if (digits == end_ || !base::IsDigit(*digits)) return false;
  if (*digits == '0' && digits + 1 != end_ && base::IsDigit(digits[1])) return false;
  while (digits != end_ && base::IsDigit(*digits)) ++digits;
  at_ = digits;
  const bool whole = at_ == end_ || (*at_ != '.' && *at_ != 'e' && *at_ != 'E');
  const auto read = [&](auto number) {
    const auto [end, error] = std::from_chars(from, at_, number);
    out = number;
    return error == std::errc() && end == at_;
  };
  if (whole) return negative ? read(int64_t{}) : read(uint64_t{});
  if (*at_ == '.') {
    if (++at_ == end_ || !base::IsDigit(*at_)) return false;
    while (at_ != end_ && base::IsDigit(*at_)) ++at_;
  }
  if (at_ != end_ && (*at_ == 'e' || *at_ == 'E')) {
    if (++at_ != end_ && (*at_ == '+' || *at_ == '-')) ++at_;
    if (at_ == end_ || !base::IsDigit(*at_)) return false;
    while (at_ != end_ && base::IsDigit(*at_)) ++at_;
  }
  return read(double{});
}

bool JsonReader::SkipString() {
  for (++at_; at_ != end_; ++at_) {
    if (*at_ == '"') {
      ++at_;
      return true;
    }
    if (*at_ == '\\' && ++at_ == end_) return false;
  }
  return false;
}

bool JsonReader::SkipValue() {
  int open = 0;
  SkipSpace();
  const char* const from = at_;
  while (at_ != end_) {
    const char c = *at_;
    if (c == '"') {
      if (!SkipString()) return false;
      continue;
    }
    if ((c == ',' || c == '}' || c == ']') && open == 0) break;
    if (c == '{' || c == '[') ++open;
    if (c == '}' || c == ']') --open;
    ++at_;
  }
  return open == 0 && at_ != from;
}

bool JsonReader::ReadList(Json& rest, std::string_view& items) {
  rest = Json::object();
  items = {};
  if (!Take('{')) return false;
  if (Take('}')) return Over();
  std::string key;
  do {
    SkipSpace();
    key.clear();
    if (!String(key) || !Take(':')) return false;
    SkipSpace();
    const char* const from = at_;
    if (!SkipValue()) return false;
    const std::string_view text(from, static_cast<size_t>(at_ - from));
    if (key == "items" && text.front() == '[') {
      items = text.substr(1, text.size() - 2);
      continue;
    }
    auto value = ParseJson(text);
    if (!value.ok()) return false;
    rest[key] = std::move(*value);
  } while (Take(','));
  return Take('}') && Over();
}

bool JsonReader::EachElement(const std::function<bool(std::string_view)>& element) {
  if (Over()) return true;
  do {
    SkipSpace();
    const char* const from = at_;
    if (!SkipValue() || !element(std::string_view(from, static_cast<size_t>(at_ - from))))
      return false;
  } while (Take(','));
  return Over();
}

base::Result<ListText> SplitList(std::string_view text) {
  ListText list;
  if (JsonReader(text).ReadList(list.rest, list.items)) return list;
  // The library can say better what is wrong with it, unless that is not the JSON.
  ASSIGN_OR_RETURN(const Json whole, ParseJson(text), "");
  return base::Error(base::Code::kInvalidArgument, "a list of objects was expected, not {}",
                     whole.type_name());
}

base::Status EachItem(const ListText& list, JsonReader::Keep keep,
                      const std::function<void(Json)>& item) {
  base::Status status;
  const bool all = JsonReader(list.items).EachElement([&](std::string_view text) {
    Json value;
    if (!JsonReader(text, keep).Read(value)) {
      auto parsed = ParseJson(text);
      if (!parsed.ok()) {
        status = parsed.status().In("items");
        return false;
      }
      value = std::move(*parsed);
      if (keep == JsonReader::Keep::kNoManagedFields) Erase(value, {"metadata", "managedFields"});
    }
    item(std::move(value));
    return true;
  });
  if (!all && status.ok())
    status = base::Status(base::Code::kInvalidArgument, "items: brackets do not match");
  return status;
}

}  // namespace isthmus::kubeapi
