#include "kubeapi/meta.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

namespace isthmus::kubeapi {
namespace {

/// Lower-case letters, digits and inner dashes; at least one character.
bool IsLabelText(std::string_view text) {
  const auto alnum = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (text.empty() || !alnum(text.front()) || !alnum(text.back())) return false;
  return std::all_of(text.begin(), text.end(), [&](char c) { return alnum(c) || c == '-'; });
}

}  // namespace

std::string ApiVersionOf(const Json& object) { return StringAt(object, {"apiVersion"}); }
std::string KindOf(const Json& object) { return StringAt(object, {"kind"}); }
std::string NameOf(const Json& object) { return StringAt(object, {"metadata", "name"}); }
std::string NamespaceOf(const Json& object) { return StringAt(object, {"metadata", "namespace"}); }
std::string UidOf(const Json& object) { return StringAt(object, {"metadata", "uid"}); }
std::string ResourceVersionOf(const Json& object) {
  return StringAt(object, {"metadata", "resourceVersion"});
}

std::string LabelOf(const Json& object, std::string_view label) {
  return StringAt(object, {"metadata", "labels", label});
}

std::string AnnotationOf(const Json& object, std::string_view annotation) {
  return StringAt(object, {"metadata", "annotations", annotation});
}

std::string_view GroupOf(std::string_view api_version) {
  const size_t slash = api_version.find('/');
  return slash == api_version.npos ? std::string_view() : api_version.substr(0, slash);
}

std::string_view VersionOf(std::string_view api_version) {
  const size_t slash = api_version.find('/');
  return slash == api_version.npos ? api_version : api_version.substr(slash + 1);
}

void SetLabel(Json& object, std::string_view label, std::string_view value) {
  Ensure(object, {"metadata", "labels", label}) = std::string(value);
}

void SetAnnotation(Json& object, std::string_view annotation, std::string_view value) {
  Ensure(object, {"metadata", "annotations", annotation}) = std::string(value);
}

std::string KeyOf(std::string_view ns, std::string_view name) {
  return ns.empty() ? std::string(name) : fmt::format("{}/{}", ns, name);
}

std::string KeyOf(const Json& object) { return KeyOf(NamespaceOf(object), NameOf(object)); }

std::string Describe(const Json& object) {
  return fmt::format("{}/{}", KindOf(object), KeyOf(object));
}

Json OwnerReference(const Json& owner, bool controller) {
  Json reference = {{"apiVersion", ApiVersionOf(owner)},
                    {"kind", KindOf(owner)},
                    {"name", NameOf(owner)},
                    {"uid", UidOf(owner)}};
  if (controller) {
    reference["controller"] = true;
    reference["blockOwnerDeletion"] = true;
  }
  return reference;
}

const Json* ControllerOf(const Json& object) {
  for (const Json& reference : ItemsAt(object, {"metadata", "ownerReferences"}))
    if (BoolAt(reference, {"controller"})) return &reference;
  return nullptr;
}

bool IsOwnedBy(const Json& object, std::string_view uid) {
  const std::vector<Json>& references = ItemsAt(object, {"metadata", "ownerReferences"});
  return std::any_of(references.begin(), references.end(),
                     [uid](const Json& reference) { return StringAt(reference, {"uid"}) == uid; });
}

bool IsBeingDeleted(const Json& object) {
  return !StringAt(object, {"metadata", "deletionTimestamp"}).empty();
}

const Json* FindCondition(const Json& object, std::string_view type) {
  for (const Json& condition : ItemsAt(object, {"status", "conditions"}))
    if (StringAt(condition, {"type"}) == type) return &condition;
  return nullptr;
}

bool ConditionIsTrue(const Json& object, std::string_view type) {
  const Json* condition = FindCondition(object, type);
  return condition != nullptr && StringAt(*condition, {"status"}) == "True";
}

base::Result<int64_t> ParseQuantityMilli(std::string_view text) {
  struct Suffix {
    std::string_view text;
    double factor;
  };
  static constexpr std::array<Suffix, 16> kSuffixes = {{{"n", 1e-9},
                                                        {"u", 1e-6},
                                                        {"m", 1e-3},
                                                        {"", 1},
                                                        {"k", 1e3},
                                                        {"M", 1e6},
                                                        {"G", 1e9},
                                                        {"T", 1e12},
                                                        {"P", 1e15},
                                                        {"E", 1e18},
                                                        {"Ki", 1024.0},
                                                        {"Mi", 1048576.0},
                                                        {"Gi", 1073741824.0},
                                                        {"Ti", 1099511627776.0},
                                                        {"Pi", 1125899906842624.0},
                                                        {"Ei", 1152921504606846976.0}}};
  const std::string copy(text);
  char* end = nullptr;
  const bool starts = !text.empty() &&
                      std::string_view("+-.0123456789").find(text[0]) != text.npos &&
                      text.find_first_of("xX") == text.npos;
  const double number = starts ? std::strtod(copy.c_str(), &end) : 0;
  if (starts && end != copy.c_str()) {
    const std::string_view rest = text.substr(static_cast<size_t>(end - copy.c_str()));
    for (const Suffix& suffix : kSuffixes) {
      if (suffix.text != rest) continue;
      const double milli = number * suffix.factor * 1000;
      if (!std::isfinite(milli) || std::fabs(milli) > 9e18) break;
      // Parts below a thousandth are rounded up, as Kubernetes does.
      const double nearest = std::round(milli);
      return static_cast<int64_t>(std::fabs(milli - nearest) < 1e-6 ? nearest : std::ceil(milli));
    }
  }
  return base::Error(base::Code::kInvalidArgument,
                     "\"{}\" is no quantity; write a number with a suffix such as m, k, Mi or Gi",
                     text);
}

bool IsDnsLabel(std::string_view text) { return text.size() <= 63 && IsLabelText(text); }

bool IsDnsSubdomain(std::string_view text) {
  if (text.size() > 253) return false;
  while (true) {
    const size_t dot = text.find('.');
    if (!IsLabelText(text.substr(0, dot))) return false;
    if (dot == text.npos) return true;
    text.remove_prefix(dot + 1);
  }
}

}  // namespace isthmus::kubeapi
