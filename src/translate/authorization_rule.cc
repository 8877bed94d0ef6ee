#include "translate/authorization_rule.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <vector>

#include "envoy/config/rbac/v3/rbac.pb.h"
#include "istio/security/v1/authorization_policy.pb.h"
#include "translate/ranges.h"

namespace isthmus::translate {
namespace {

namespace security = istio::security::v1;
namespace rbac = envoy::config::rbac::v3;
using envoy::type::matcher::v3::StringMatcher;
using rbac::Permission;
using rbac::Principal;

constexpr char kTokenFilter[] = "envoy.filters.http.jwt_authn";

std::string EscapeRegex(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (std::string_view("\\.+*?()|[]{}^$").find(c) != std::string_view::npos) out.push_back('\\');
    out.push_back(c);
  }
  return out;
}

/// "*" any, "x*" prefix, "*x" suffix, else exact. `before` stands in front of the value itself.
void WriteText(const std::string& value, const std::string& before, StringMatcher* out) {
  if (value == "*") {
    out->mutable_safe_regex()->set_regex(".+");
  } else if (value.starts_with('*')) {
    out->set_suffix(value.substr(1));
  } else if (value.ends_with('*')) {
    out->set_prefix(before + value.substr(0, value.size() - 1));
  } else {
    out->set_exact(before + value);
  }
}

/// "*" within a name stands for any characters.
std::string WildcardRegex(const std::string& value) {
  std::string out;
  for (char c : value) out += c == '*' ? std::string(".*") : EscapeRegex(std::string_view(&c, 1));
  return out;
}

void WriteHeader(const std::string& name, const std::string& value,
                 envoy::config::route::v3::HeaderMatcher* header) {
  header->set_name(name);
  if (value == "*") {
    header->set_present_match(true);
  } else {
    WriteText(value, "", header->mutable_string_match());
  }
}

/// Hosts are compared without case, and with or without a port.
void WriteHost(const std::string& value, envoy::config::route::v3::HeaderMatcher* header) {
  header->set_name(":authority");
  if (value == "*") return header->set_present_match(true);
  auto* matcher = header->mutable_string_match();
  if (value.ends_with('*')) {
    matcher->set_prefix(value.substr(0, value.size() - 1));
    matcher->set_ignore_case(true);
    return;
  }
  const std::string name = value.starts_with('*')
                               ? ".*" + EscapeRegex(std::string_view(value).substr(1))
                               : EscapeRegex(value);
  matcher->mutable_safe_regex()->set_regex("(?i)" + name + "(:[0-9]+)?");
}

void WritePath(const std::string& value, StringMatcher* out) {
  if (value.find("{*") == std::string::npos) {
    if (value == "*") {
      out->mutable_safe_regex()->set_regex(".+");
    } else {
      WriteText(value, "", out);
    }
    return;
  }
  std::string regex;
  for (size_t i = 0; i < value.size();) {
    if (value.compare(i, 3, "{*}") == 0) {
      regex += "[^/]+";
      i += 3;
    } else if (value.compare(i, 4, "{**}") == 0) {
      regex += ".*";
      i += 4;
    } else {
      regex += EscapeRegex(std::string_view(value).substr(i++, 1));
    }
  }
  out->mutable_safe_regex()->set_regex(regex);
}

/// A value at a path of a checked token's payload; lists match by any of their items.
void WriteClaim(const std::vector<std::string>& path, const std::string& value,
                envoy::type::matcher::v3::MetadataMatcher* metadata) {
  metadata->set_filter(kTokenFilter);
  metadata->add_path()->set_key("payload");
  for (const std::string& step : path) metadata->add_path()->set_key(step);
  auto* either = metadata->mutable_value()->mutable_or_match();
  WriteText(value, "", either->add_value_matchers()->mutable_string_match());
  WriteText(
      value, "",
      either->add_value_matchers()->mutable_list_match()->mutable_one_of()->mutable_string_match());
}

/// "request.auth.claims[a][b]" and the like: the names in brackets.
std::vector<std::string> Brackets(std::string_view text) {
  std::vector<std::string> names;
  while (true) {
    const size_t open = text.find('[');
    const size_t close = text.find(']', open == std::string_view::npos ? 0 : open);
    if (open == std::string_view::npos || close == std::string_view::npos) return names;
    names.emplace_back(text.substr(open + 1, close - open - 1));
    text.remove_prefix(close + 1);
  }
}

/// The identities that a principal stands for under every trust domain that is the mesh's own.
std::vector<std::string> Aliases(const MeshSettings& mesh, const std::string& value) {
  const size_t slash = value.find('/');
  if (slash == std::string::npos || mesh.trust_domain_aliases.empty()) return {value};
  const std::string domain = value.substr(0, slash);
  const auto& aliases = mesh.trust_domain_aliases;
  const bool own = domain == "cluster.local" || domain == mesh.trust_domain ||
                   std::find(aliases.begin(), aliases.end(), domain) != aliases.end();
  if (!own) return {value};
  std::vector<std::string> result = {mesh.trust_domain + value.substr(slash)};
  for (const std::string& alias : aliases) result.push_back(alias + value.substr(slash));
  return result;
}

void WritePrincipal(const std::string& value, Principal* out) {
  WriteText(value, "spiffe://", out->mutable_authenticated()->mutable_principal_name());
}

void WriteIdentityRegex(const std::string& regex, Principal* out) {
  out->mutable_authenticated()->mutable_principal_name()->mutable_safe_regex()->set_regex(regex);
}

std::string AccountRegex(const std::string& value, const std::string& policy_ns) {
  const size_t slash = value.find('/');
  const std::string ns = slash == std::string::npos ? policy_ns : value.substr(0, slash);
  const std::string account = slash == std::string::npos ? value : value.substr(slash + 1);
  return "spiffe://.+/ns/" + WildcardRegex(ns) + "/(.+/|)sa/" + WildcardRegex(account) + "(/.+)?";
}

/// "<issuer>/<subject>", each of which may be a wildcard.
void WriteTokenPrincipal(const std::string& value, Principal* out) {
  if (value == "*") {
    WriteClaim({"sub"}, "*", out->mutable_metadata());
    return;
  }
  const size_t slash = value.rfind('/');
  const std::string issuer = slash == std::string::npos ? value : value.substr(0, slash);
  const std::string subject = slash == std::string::npos ? "*" : value.substr(slash + 1);
  auto* both = out->mutable_and_ids();
  WriteClaim({"iss"}, issuer, both->add_ids()->mutable_metadata());
  WriteClaim({"sub"}, subject.empty() ? "*" : subject, both->add_ids()->mutable_metadata());
}

/// The conditions of one source or operation, all of which must hold. `T` is Principal or
/// Permission.
template <typename T>
class Conditions {
 public:
  /// One of `values` holds, and none of `excluded`.
  template <typename List, typename Write>
  void Add(const List& values, const List& excluded, const Write& write) {
    if (!values.empty()) AnyOf(values, write, Next());
    if (!excluded.empty()) {
      T negated;
      AnyOf(excluded, write, &negated);
      *Not(Next()) = std::move(negated);
    }
  }
  T Build() && {
    if (all_.empty()) {
      T any;
      any.set_any(true);
      return any;
    }
    if (all_.size() == 1) return std::move(all_.front());
    T result;
    for (T& item : all_) *AddAnd(&result) = std::move(item);
    return result;
  }

 private:
  T* Next() { return &all_.emplace_back(); }
  template <typename List, typename Write>
  static void AnyOf(const List& values, const Write& write, T* out) {
    if (values.size() == 1) return write(*values.begin(), out);
    for (const auto& value : values) write(value, AddOr(out));
  }
  static Principal* Not(Principal* out) { return out->mutable_not_id(); }
  static Permission* Not(Permission* out) { return out->mutable_not_rule(); }
  static Principal* AddOr(Principal* out) { return out->mutable_or_ids()->add_ids(); }
  static Permission* AddOr(Permission* out) { return out->mutable_or_rules()->add_rules(); }
  static Principal* AddAnd(Principal* out) { return out->mutable_and_ids()->add_ids(); }
  static Permission* AddAnd(Permission* out) { return out->mutable_and_rules()->add_rules(); }
  std::vector<T> all_;
};

void WriteAliases(const RuleContext& context, const std::string& value, Principal* out) {
  const std::vector<std::string> values = Aliases(context.mesh, value);
  if (values.size() == 1) return WritePrincipal(values.front(), out);
  for (const std::string& alias : values) WritePrincipal(alias, out->mutable_or_ids()->add_ids());
}

void AddSource(const RuleContext& context, const security::Source& source,
               Conditions<Principal>* out) {
  out->Add(source.principals(), source.not_principals(),
           [&](const std::string& value, Principal* to) { WriteAliases(context, value, to); });
  out->Add(source.namespaces(), source.not_namespaces(),
           [](const std::string& value, Principal* to) {
             WriteIdentityRegex(".*/ns/" + WildcardRegex(value) + "/.*", to);
           });
  out->Add(source.service_accounts(), source.not_service_accounts(),
           [&](const std::string& value, Principal* to) {
             WriteIdentityRegex(AccountRegex(value, context.ns), to);
           });
  out->Add(source.ip_blocks(), source.not_ip_blocks(), [](const std::string& value, Principal* to) {
    WriteRange(value, to->mutable_direct_remote_ip());
  });
  out->Add(
      source.remote_ip_blocks(), source.not_remote_ip_blocks(),
      [](const std::string& value, Principal* to) { WriteRange(value, to->mutable_remote_ip()); });
  if (context.tcp) return;
  out->Add(source.request_principals(), source.not_request_principals(), WriteTokenPrincipal);
}

void WritePort(const std::string& value, Permission* out) {
  uint32_t port = 0;
  std::from_chars(value.data(), value.data() + value.size(), port);
  out->set_destination_port(std::min(port, 65535u));
}

void AddOperation(const RuleContext& context, const security::Operation& operation,
                  Conditions<Permission>* out) {
  out->Add(operation.ports(), operation.not_ports(), WritePort);
  if (context.tcp) return;
  out->Add(operation.hosts(), operation.not_hosts(), [](const std::string& value, Permission* to) {
    WriteHost(value, to->mutable_header());
  });
  out->Add(operation.methods(), operation.not_methods(),
           [](const std::string& value, Permission* to) {
             WriteHeader(":method", value, to->mutable_header());
           });
  out->Add(operation.paths(), operation.not_paths(), [](const std::string& value, Permission* to) {
    WritePath(value, to->mutable_url_path()->mutable_path());
  });
}

/// True when the key is about the caller. Unknown keys are told by `known`.
bool AddSourceCondition(const RuleContext& context, const security::Condition& when,
                        Conditions<Principal>* out, bool* known) {
  const std::string& key = when.key();
  security::Source source;
  auto take = [&](auto* values, auto* excluded) {
    *values = when.values();
    *excluded = when.not_values();
    AddSource(context, source, out);
    return true;
  };
  if (key == "source.ip") return take(source.mutable_ip_blocks(), source.mutable_not_ip_blocks());
  if (key == "remote.ip")
    return take(source.mutable_remote_ip_blocks(), source.mutable_not_remote_ip_blocks());
  if (key == "source.namespace")
    return take(source.mutable_namespaces(), source.mutable_not_namespaces());
  if (key == "source.principal")
    return take(source.mutable_principals(), source.mutable_not_principals());
  if (key == "source.serviceAccount") {
    return take(source.mutable_service_accounts(), source.mutable_not_service_accounts());
  }
  if (key == "request.auth.principal") {
    return take(source.mutable_request_principals(), source.mutable_not_request_principals());
  }
  if (key == "source.trustDomain") {
    out->Add(when.values(), when.not_values(), [](const std::string& value, Principal* to) {
      WriteIdentityRegex("spiffe://" + WildcardRegex(value) + "/.*", to);
    });
    return true;
  }
  std::vector<std::string> claim;
  if (key == "request.auth.audiences") claim = {"aud"};
  if (key == "request.auth.presenter") claim = {"azp"};
  if (key.starts_with("request.auth.claims[")) claim = Brackets(key);
  if (!claim.empty()) {
    if (!context.tcp) {
      out->Add(when.values(), when.not_values(), [&](const std::string& value, Principal* to) {
        WriteClaim(claim, value, to->mutable_metadata());
      });
    }
    return true;
  }
  if (key.starts_with("request.headers[")) {
    const std::vector<std::string> names = Brackets(key);
    if (!context.tcp && !names.empty()) {
      out->Add(when.values(), when.not_values(), [&](const std::string& value, Principal* to) {
        WriteHeader(names.front(), value, to->mutable_header());
      });
    }
    return true;
  }
  *known = false;
  return false;
}

bool AddTargetCondition(const RuleContext& context, const security::Condition& when,
                        Conditions<Permission>* out) {
  const std::string& key = when.key();
  if (key == "destination.ip") {
    out->Add(when.values(), when.not_values(), [](const std::string& value, Permission* to) {
      WriteRange(value, to->mutable_destination_ip());
    });
    return true;
  }
  if (key == "destination.port") {
    out->Add(when.values(), when.not_values(), WritePort);
    return true;
  }
  if (key == "connection.sni") {
    out->Add(when.values(), when.not_values(), [](const std::string& value, Permission* to) {
      WriteText(value, "", to->mutable_requested_server_name());
    });
    return true;
  }
  constexpr std::string_view kFilter = "experimental.envoy.filters.";
  if (key.starts_with(kFilter)) {
    const std::string filter = key.substr(kFilter.size(), key.find('[') - kFilter.size());
    const std::vector<std::string> path = Brackets(key);
    if (path.empty()) return false;
    out->Add(when.values(), when.not_values(), [&](const std::string& value, Permission* to) {
      to->mutable_metadata()->set_filter(filter);
      for (const std::string& step : path) to->mutable_metadata()->add_path()->set_key(step);
      WriteText(value, "", to->mutable_metadata()->mutable_value()->mutable_string_match());
    });
    return true;
  }
  return false;
}

/// Whether the rule asks for something that only a request has.
bool NeedsRequest(const security::Rule& rule) {
  for (const auto& from : rule.from()) {
    if (from.source().request_principals_size() + from.source().not_request_principals_size() > 0)
      return true;
  }
  for (const auto& to : rule.to()) {
    const security::Operation& o = to.operation();
    if (o.hosts_size() + o.not_hosts_size() + o.methods_size() + o.not_methods_size() +
            o.paths_size() + o.not_paths_size() >
        0) {
      return true;
    }
  }
  return std::any_of(rule.when().begin(), rule.when().end(), [](const security::Condition& when) {
    return when.key().starts_with("request.");
  });
}

}  // namespace

bool WriteRule(const RuleContext& context, const security::Rule& rule, rbac::Policy* policy) {
  if (context.tcp && context.allow && NeedsRequest(rule)) return false;
  Conditions<Principal> common_source;
  Conditions<Permission> common_target;
  for (const security::Condition& when : rule.when()) {
    bool known = true;
    if (AddSourceCondition(context, when, &common_source, &known)) continue;
    known = AddTargetCondition(context, when, &common_target);
    // A condition that we do not know holds for nobody who asks to be let in, and for everybody
    // else.
    if (!known && context.allow) return false;
  }
  auto add_source = [&](const security::Source* source) {
    Conditions<Principal> all = common_source;
    if (source != nullptr) AddSource(context, *source, &all);
    *policy->add_principals() = std::move(all).Build();
  };
  auto add_target = [&](const security::Operation* operation) {
    Conditions<Permission> all = common_target;
    if (operation != nullptr) AddOperation(context, *operation, &all);
    *policy->add_permissions() = std::move(all).Build();
  };
  for (const auto& from : rule.from()) add_source(&from.source());
  if (rule.from().empty()) add_source(nullptr);
  for (const auto& to : rule.to()) add_target(&to.operation());
  if (rule.to().empty()) add_target(nullptr);
  return true;
}

}  // namespace isthmus::translate
