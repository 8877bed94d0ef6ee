#include <fmt/format.h>

#include <algorithm>

#include "base/encoding.h"
#include "cli/proxy_dump.h"
#include "pki/certificate.h"

namespace isthmus::cli {
namespace {

using kubeapi::Find;
using kubeapi::ItemsAt;
using kubeapi::StringAt;

/// What a DataSource holds: inline bytes (base64 in JSON) or text.
std::string Inline(const Json* source) {
  if (source == nullptr) return {};
  if (const std::string text = StringAt(*source, {"inline_string"}); !text.empty()) return text;
  auto bytes = base::Base64Decode(StringAt(*source, {"inline_bytes"}));
  return bytes.ok() ? *bytes : std::string();
}

struct SecretRow {
  std::string name, type, status;
  std::vector<pki::Certificate> chain;
};

/// Secrets with a certificate in them; others have nothing to show.
std::vector<SecretRow> Read(const Json& dump) {
  std::vector<SecretRow> rows;
  struct List {
    const char *name, *status;
  };
  for (const List& list :
       {List{"dynamic_active_secrets", "ACTIVE"}, List{"dynamic_warming_secrets", "WARMING"},
        List{"static_secrets", "ACTIVE"}}) {
    ForEachIn(
        dump, "SecretsConfigDump", list.name, "secret", [&](const Json& secret, const Json& entry) {
          SecretRow row;
          row.name = StringAt(entry, {"name"});
          row.status = list.status;
          row.type = Find(secret, {"validation_context"}) != nullptr ? "CA" : "Cert Chain";
          const std::string pem =
              Inline(row.type == "CA" ? Find(secret, {"validation_context", "trusted_ca"})
                                      : Find(secret, {"tls_certificate", "certificate_chain"}));
          if (auto chain = pki::Certificate::ChainFromPem(pem); chain.ok())
            row.chain = std::move(*chain);
          rows.push_back(std::move(row));
        });
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const SecretRow& a, const SecretRow& b) { return a.name < b.name; });
  return rows;
}

}  // namespace

std::vector<Json> Secrets(const Json& dump) {
  std::vector<Json> found;
  for (const char* list : {"static_secrets", "dynamic_active_secrets", "dynamic_warming_secrets"})
    ForEachIn(dump, "SecretsConfigDump", list, "secret",
              [&](const Json&, const Json& entry) { found.push_back(entry); });
  return found;
}

Rows SecretRows(const Json& dump, base::Time now) {
  Rows rows = {{"RESOURCE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER",
                "NOT BEFORE"}};
  for (const SecretRow& row : Read(dump)) {
    if (row.chain.empty()) {
      rows.push_back({row.name, row.type, row.status, "false", "", "", ""});
      continue;
    }
    const pki::Certificate& leaf = row.chain.front();
    const bool valid = leaf.not_before() <= now && now < leaf.not_after();
    rows.push_back({row.name, row.type, row.status, valid ? "true" : "false", leaf.serial(),
                    base::FormatTime(leaf.not_after()), base::FormatTime(leaf.not_before())});
  }
  return rows;
}

std::vector<std::string> RootFingerprints(const Json& dump) {
  std::vector<std::string> found;
  for (const SecretRow& row : Read(dump))
    if (row.name == "ROOTCA")
      for (const pki::Certificate& root : row.chain) found.push_back(root.sha256());
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace isthmus::cli
