#include "ca/signing_material.h"

#include "base/files.h"
#include "base/strings.h"

namespace isthmus::ca {
namespace {

using base::Code;

/// The contents that a CA is made of, whatever the keys were called.
struct Parts {
  std::string certificate;
  std::string key;
  std::string roots;
  std::string chain;
};

struct Form {
  std::vector<std::string> names;
  std::string certificate, key, roots;
};
const Form& IstioForm() {
  static const Form form{{"ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem"},
                         "ca-cert.pem",
                         "ca-key.pem",
                         "root-cert.pem"};
  return form;
}
const Form& TlsForm() {
  static const Form form{{"tls.crt", "tls.key", "ca.crt"}, "tls.crt", "tls.key", "ca.crt"};
  return form;
}

const std::string& ValueOf(const KeySet& keys, const std::string& name) {
  static const std::string none;
  const auto at = keys.find(name);
  return at == keys.end() ? none : at->second;
}

/// Ends with a newline, as every element of an answer must but the last.
std::string Terminated(std::string pem) {
  if (!pem.empty() && pem.back() != '\n') pem += '\n';
  return pem;
}

base::Result<SigningMaterial> Assemble(const Parts& parts, const Form& form,
                                       const base::Clock& clock, pki::IssueLimits limits) {
  ASSIGN_OR_RETURN(pki::Certificate certificate, pki::Certificate::FromPem(parts.certificate),
                   form.certificate);
  ASSIGN_OR_RETURN(pki::PrivateKey key, pki::PrivateKey::FromPem(parts.key), form.key);
  ASSIGN_OR_RETURN(pki::TrustBundle roots, pki::TrustBundle::FromPem(parts.roots), form.roots);
  ASSIGN_OR_RETURN(const std::vector<pki::Certificate> links,
                   pki::Certificate::ChainFromPem(parts.chain), "cert-chain.pem");
  for (const pki::Certificate& root : roots.roots())
    if (!root.is_ca())
      return base::Error(Code::kInvalidArgument,
                         "{}: certificate of \"{}\" is not a CA certificate", form.roots,
                         root.subject());
  pki::KeyCertificate signing{std::move(key), {certificate}};
  std::vector<std::string> chain_pem;
  for (const pki::Certificate& link : links) {
    chain_pem.push_back(link.pem());
    if (!(link == certificate)) signing.chain.push_back(link);
  }
  ASSIGN_OR_RETURN(pki::IssuingCa ca,
                   pki::IssuingCa::Create(std::move(signing), std::move(roots), clock, limits),
                   form.certificate);
  return SigningMaterial{SigningMaterial::Source::kPluggedIn, std::move(ca), std::move(chain_pem),
                         Terminated(parts.roots)};
}

}  // namespace

base::Result<std::optional<SigningMaterial>> ParsePluggedIn(const KeySet& keys,
                                                            const base::Clock& clock,
                                                            pki::IssueLimits limits) {
  const bool tls_form = !ValueOf(keys, "tls.crt").empty();
  const Form& form = tls_form ? TlsForm() : IstioForm();
  std::vector<std::string> present;
  std::vector<std::string> missing;
  for (const std::string& name : form.names)
    (ValueOf(keys, name).empty() ? missing : present).push_back(name);
  // tls.key and ca.crt alone may be leftovers of anything; root-cert.pem alone is an extra trust
  // anchor.
  if (present.empty() || present == std::vector<std::string>{"root-cert.pem"})
    return std::optional<SigningMaterial>();
  if (!missing.empty())
    return base::Error(Code::kInvalidArgument,
                       "{} missing or empty (found {}): a plugged-in CA needs all of {}; add it, "
                       "or remove the others for a "
                       "self-signed CA",
                       base::Join(missing, ", "), base::Join(present, ", "),
                       base::Join(form.names, ", "));
  Parts parts;
  parts.certificate = ValueOf(keys, form.certificate);
  parts.key = ValueOf(keys, form.key);
  parts.roots = ValueOf(keys, form.roots);
  parts.chain =
      tls_form ? Terminated(parts.certificate) + parts.roots : ValueOf(keys, "cert-chain.pem");
  ASSIGN_OR_RETURN(SigningMaterial material, Assemble(parts, form, clock, limits), "plugged-in CA");
  return std::optional<SigningMaterial>(std::move(material));
}

base::Result<std::optional<SigningMaterial>> LoadPluggedIn(const std::string& folder,
                                                           const base::Clock& clock,
                                                           pki::IssueLimits limits) {
  KeySet keys;
  for (const Form* form : {&IstioForm(), &TlsForm()}) {
    for (const std::string& name : form->names) {
      base::Result<std::string> content = base::ReadFile(folder + "/" + name);
      if (content.ok())
        keys[name] = std::move(*content);
      else if (content.status().code() != Code::kNotFound)
        return content.status().In("plugged-in CA");
    }
  }
  base::Result<std::optional<SigningMaterial>> material = ParsePluggedIn(keys, clock, limits);
  if (!material.ok()) return material.status().In(folder);
  return material;
}

base::Result<SigningMaterial> ParseSelfSigned(const KeySet& keys, const std::string& extra_roots,
                                              const base::Clock& clock, pki::IssueLimits limits) {
  ASSIGN_OR_RETURN(
      pki::KeyCertificate signing,
      pki::KeyCertificate::FromPem(ValueOf(keys, "ca-key.pem"), ValueOf(keys, "ca-cert.pem")),
      "ca-cert.pem and ca-key.pem");
  std::string roots_pem = Terminated(signing.chain_pem()) + Terminated(extra_roots);
  ASSIGN_OR_RETURN(pki::TrustBundle roots, pki::TrustBundle::FromPem(roots_pem), "roots");
  ASSIGN_OR_RETURN(pki::IssuingCa ca,
                   pki::IssuingCa::Create(std::move(signing), std::move(roots), clock, limits),
                   "ca-cert.pem");
  return SigningMaterial{
      SigningMaterial::Source::kSelfSigned, std::move(ca), {}, std::move(roots_pem)};
}

}  // namespace isthmus::ca
