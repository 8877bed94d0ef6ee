#include <google/protobuf/duration.pb.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <set>

#include "base/net.h"
#include "base/strings.h"
#include "config/rules.h"

namespace isthmus::config::rules {
namespace {

constexpr size_t kMaxRegex = 1024;

/// What is wrong with a regular expression as far as one can tell without RE2: brackets that do not
/// close, quantifiers of nothing, and what RE2 leaves out. Empty when nothing is.
std::string RegexFault(std::string_view regex) {
  int groups = 0;
  bool atom = false;
  for (size_t i = 0; i < regex.size(); ++i) {
    const char c = regex[i];
    if (c == '\\') {
      if (++i == regex.size()) return "ends with a lone backslash";
      if (std::isdigit(static_cast<unsigned char>(regex[i])) != 0 && regex[i] != '0')
        return "has a back reference, which RE2 does not know";
      atom = true;
    } else if (c == '[') {
      size_t end = i + 1;
      if (end < regex.size() && regex[end] == '^') ++end;
      if (end < regex.size() && regex[end] == ']') ++end;
      while (end < regex.size() && regex[end] != ']') end += regex[end] == '\\' ? 2 : 1;
      if (end >= regex.size()) return "has a [ that is not closed";
      i = end;
      atom = true;
    } else if (c == '(') {
      const std::string_view rest = regex.substr(i);
      if (rest.starts_with("(?=") || rest.starts_with("(?!") || rest.starts_with("(?<=") ||
          rest.starts_with("(?<!"))
        return "looks ahead or behind, which RE2 does not know";
      if (rest.starts_with("(?")) i = std::min(regex.find_first_of(":>)", i), regex.size() - 1);
      ++groups;
      atom = false;
      if (regex[i] == ')') --groups;
    } else if (c == ')') {
      if (--groups < 0) return "has a ) too many";
      atom = true;
    } else if (c == '*' || c == '+' || c == '?') {
      if (!atom) return "repeats nothing";
    } else {
      atom = c != '|' && c != '^';
    }
  }
  return groups > 0 ? "has a ( that is not closed" : "";
}

}  // namespace

bool IsDnsLabel(std::string_view text) {
  auto word = [](char c) {
    return std::isdigit(static_cast<unsigned char>(c)) != 0 || (c >= 'a' && c <= 'z');
  };
  return !text.empty() && text.size() <= 63 && word(text.front()) && word(text.back()) &&
         std::all_of(text.begin(), text.end(), [&](char c) { return word(c) || c == '-'; });
}

void CheckHost(std::string_view host, bool wildcard, const At& at) {
  if (host.empty()) return at.Error("is empty");
  if (host.size() > 255) return at.Error("is longer than 255 characters");
  if (host == "*" && wildcard) return;
  std::string_view rest = host;
  if (rest.starts_with('*')) {
    if (!wildcard) return at.Error(fmt::format("'{}' must not be a wildcard", host));
    if (!rest.starts_with("*."))
      return at.Error(fmt::format("'{}': * must be the whole first label", host));
    rest.remove_prefix(2);
  }
  base::ConsumeSuffix(rest, ".");
  const auto labels = base::Split(rest, '.');
  for (const std::string_view label : labels)
    if (!IsDnsLabel(base::ToLower(label)))
      return at.Error(fmt::format("'{}' is not a host name: '{}' is not a DNS label", host, label));
  if (labels.back().find_first_not_of("0123456789") == std::string_view::npos)
    at.Error(fmt::format("'{}' is not a host name: its last label is a number", host));
}

void CheckFullHost(std::string_view host, bool wildcard, const At& at) {
  if (host != "*" && host.find('.') == std::string_view::npos && !host.empty())
    return at.Error(fmt::format("'{}' is a short name; give the whole host name", host));
  CheckHost(host, wildcard, at);
}

void CheckPortNumber(uint32_t number, const At& at) {
  if (number < 1 || number > 65535) at.Error(fmt::format("{} is not between 1 and 65535", number));
}

void CheckPortName(const std::string& name, const At& at) {
  if (!IsDnsLabel(base::ToLower(name))) at.Error(fmt::format("'{}' is not a DNS label", name));
}

void CheckProtocol(const std::string& protocol, const At& at) {
  static constexpr std::array<std::string_view, 14> kKnown = {
      "http", "https", "http2", "grpc",  "grpc-web", "tcp",         "tls",
      "udp",  "mongo", "redis", "mysql", "hbone",    "doublehbone", "http_proxy"};
  if (std::find(kKnown.begin(), kKnown.end(), base::ToLower(protocol)) == kKnown.end())
    at.Error(fmt::format(
        "'{}' is not a protocol; known are HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, TCP, TLS, "
        "UDP, MONGO, REDIS and MYSQL",
        protocol));
}

void CheckDuration(const google::protobuf::Duration& duration, const At& at) {
  if (duration.seconds() < 0 || duration.nanos() < 0 ||
      (duration.seconds() == 0 && duration.nanos() < 1'000'000))
    at.Error("must be at least 1ms");
  else if (duration.nanos() % 1'000'000 != 0)
    at.Error("must not be finer than 1ms");
}

void CheckPercent(double percent, const At& at) {
  if (!(percent >= 0 && percent <= 100))
    at.Error(fmt::format("{} is not between 0 and 100", percent));
}

void CheckRegex(const std::string& regex, const At& at) {
  if (regex.size() > kMaxRegex) return at.Error("is longer than 1024 characters");
  if (const std::string fault = RegexFault(regex); !fault.empty()) at.Error(fault);
}

void CheckLabels(const StringMap& labels, const At& at) {
  for (const auto& [key, value] :
       std::map<std::string, std::string>(labels.begin(), labels.end())) {
    const auto name = key.substr(key.rfind('/') + 1);
    auto word = [](const std::string& text) {
      return text.size() <= 63 && std::all_of(text.begin(), text.end(), [](unsigned char c) {
               return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
             });
    };
    if (name.empty() || !word(name)) at.Error(fmt::format("'{}' is not a label's name", key));
    if (!word(value)) (at / key).Error(fmt::format("'{}' is not a label's value", value));
  }
}

void CheckPolicySelector(const StringMap* selector, const At& at) {
  if (selector == nullptr) return;
  if (selector->empty()) at.Warn("has no labels: it picks every workload of the namespace");
  for (const auto& [key, value] : *selector) {
    if (key.empty()) at.Error("has an empty key");
    if (key.find('*') != std::string::npos || value.find('*') != std::string::npos)
      at.Error(fmt::format("'{}: {}': * is not a wildcard here", key, value));
  }
}

void CheckExportTo(const Strings& values, const Meta& meta, const At& at) {
  std::set<std::string> seen;
  for (int i = 0; i < values.size(); ++i) {
    const std::string& value = values.Get(i);
    if (value == "~" && meta.kind != "ServiceEntry") {
      at[i].Error("'~' is only for a ServiceEntry");
    } else if (value != "*" && value != "." && value != "~" && !IsDnsLabel(value)) {
      at[i].Error(fmt::format("'{}' must be '.', '*' or a namespace", value));
    }
    if (!seen.insert(value == "." ? meta.ns : value).second)
      at[i].Error(fmt::format("'{}' is given twice", value));
  }
  if (seen.size() > 1 && (seen.contains("*") || seen.contains("~")))
    at.Error("has '*' or '~' together with others");
}

bool IsAddressOrRange(std::string_view text) {
  const auto [address, bits] = base::Cut(text, "/");
  if (!base::IsIpAddress(address) || address.starts_with('[')) return false;
  if (address.size() == text.size()) return true;
  const auto number = base::ParseInt(bits);
  return number.ok() && *number >= 0 &&
         *number <= (address.find(':') == std::string_view::npos ? 32 : 128);
}

bool IsUnixPath(std::string_view text) {
  return base::ConsumePrefix(text, "unix://") && (text.starts_with('/') || text.starts_with('@')) &&
         text.size() > 1;
}

bool IsHttpOrTls(std::string_view protocol) {
  const std::string lower = base::ToLower(protocol);
  return lower == "http" || lower == "http2" || lower == "grpc" || lower == "grpc-web" ||
         lower == "https" || lower == "tls" || lower == "http_proxy";
}

}  // namespace isthmus::config::rules
