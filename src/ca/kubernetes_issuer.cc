#include "ca/kubernetes_issuer.h"

#include <algorithm>

#include "base/encoding.h"
#include "base/files.h"
#include "base/log.h"
#include "kubeapi/meta.h"
#include "kubeclient/watch.h"
#include "pki/csr.h"

namespace isthmus::ca {
namespace {

using base::Code;
using kubeapi::Json;
using kubeapi::StringAt;

const kubeclient::Resource kRequests{"certificates.k8s.io", "v1", "certificatesigningrequests",
                                     "CertificateSigningRequest", false};
/// API servers refuse shorter lives.
constexpr std::chrono::seconds kShortest{600};

/// The signer signs what the request says, so it may say the proven identity only.
base::Status CheckRequest(const pki::Csr& csr, const std::vector<std::string>& identities) {
  const pki::Names& names = csr.names();
  auto refuse = [](const char* what) {
    return base::Error(Code::kInvalidArgument, "certificate request: {}", what);
  };
  if (names.uri_sans.size() > 1) return refuse("names more than one identity");
  for (const std::string& name : names.uri_sans) {
    if (std::find(identities.begin(), identities.end(), name) == identities.end())
      return refuse("asks for an identity that the caller has not proved");
  }
  if (!names.dns_sans.empty() || !names.ip_sans.empty())
    return refuse("asks for DNS names or addresses");
  const bool empty =
      names.common_name.empty() && names.locality.empty() &&
      std::all_of(names.organizations.begin(), names.organizations.end(),
                  [](const std::string& organization) { return organization.empty(); });
  return empty ? base::Status() : refuse("has a subject that is not empty");
}

Json RequestObject(const std::string& csr_pem, const std::string& signer,
                   std::chrono::seconds ttl) {
  return {{"apiVersion", "certificates.k8s.io/v1"},
          {"kind", "CertificateSigningRequest"},
          {"metadata", {{"generateName", "csr-workload-"}}},
          {"spec",
           {{"request", base::Base64Encode(csr_pem)},
            {"signerName", signer},
            {"expirationSeconds", std::max(ttl, kShortest).count()},
            {"usages", Json::array({"digital signature", "key encipherment", "server auth",
                                    "client auth"})}}}};
}

/// What a condition of that type says; empty when there is none.
std::string Complaint(const Json& object, const char* type) {
  const Json* condition = kubeapi::FindCondition(object, type);
  if (condition == nullptr) return "";
  const std::string message = StringAt(*condition, {"message"});
  return message.empty() ? StringAt(*condition, {"reason"}) : message;
}

std::string ReadOrEmpty(const std::string& file) {
  const base::Result<std::string> text = base::ReadFile(file);
  return text.ok() ? *text : "";
}

}  // namespace

/// One request on its way. What it waits for holds it weakly, so dropping it ends all of that.
struct KubernetesIssuer::Request {
  std::string name;
  std::string signer;
  Done done;
  std::unique_ptr<kubeclient::Watch> watch;
  base::Timer patience;
  base::Timer again;
};

KubernetesIssuer::KubernetesIssuer(base::Loop& loop, const base::Clock& clock,
                                   kubeclient::Client& client, KubernetesIssuerOptions options)
    : loop_(loop), clock_(clock), client_(client), options_(std::move(options)) {}
KubernetesIssuer::~KubernetesIssuer() = default;

base::Result<std::string> KubernetesIssuer::SignerName(const std::string& asked) const {
  if (asked.empty()) {
    if (!options_.signer.empty()) return options_.signer;
    return base::Error(
        Code::kInternal,
        "no signer: set K8S_SIGNER of istiod, or ISTIO_META_CERT_SIGNER of the workload");
  }
  if (options_.signer_domain.empty())
    return base::Error(
        Code::kInvalidArgument,
        "the workload asks for signer {}, but istiod has no CERT_SIGNER_DOMAIN to look for it in",
        asked);
  return options_.signer_domain + "/" + asked;
}

void KubernetesIssuer::Issue(const std::string& csr_pem, const std::vector<std::string>& identities,
                             std::chrono::seconds ttl, const std::string& signer, Done done) {
  const base::Result<pki::Csr> csr = pki::Csr::FromPem(csr_pem);
  if (!csr.ok())
    return done(
        base::Status(Code::kInvalidArgument, "certificate request: " + csr.status().message()));
  if (base::Status status = CheckRequest(*csr, identities); !status.ok()) return done(status);
  const base::Result<std::string> name = SignerName(signer);
  if (!name.ok()) return done(name.status());
  if (ttl.count() <= 0) ttl = options_.default_ttl;
  if (ttl > options_.max_ttl)
    return done(
        base::Error(Code::kInvalidArgument,
                    "the lifetime asked for, {} s, is longer than the longest allowed, {} s",
                    ttl.count(), options_.max_ttl.count()));
  auto request = std::make_shared<Request>();
  request->signer = *name;
  request->done = std::move(done);
  open_.push_back(request);
  std::weak_ptr<Request> weak = request;
  request->patience = base::Timer::After(loop_, options_.patience, [this, weak] {
    if (auto late = weak.lock())
      Finish(late, base::Error(Code::kInternal,
                               "signer {} has not signed request {}; does somebody serve it?",
                               late->signer, late->name));
  });
  client_.Create(
      kRequests, "", RequestObject(csr_pem, *name, ttl), [this, weak](base::Result<Json> made) {
        auto request = weak.lock();
        if (request == nullptr) return;
        if (!made.ok())
          return Finish(request,
                        base::Status(Code::kInternal, "making a CertificateSigningRequest: " +
                                                          made.status().message()));
        request->name = kubeapi::NameOf(*made);
        Approve(request, std::move(*made));
      });
}

void KubernetesIssuer::Approve(const std::shared_ptr<Request>& request, Json object) {
  const std::string now = base::FormatTime(clock_.Now());
  object["status"]["conditions"].push_back(
      {{"type", "Approved"},
       {"status", "True"},
       {"reason", "IdentityProven"},
       {"message", "istiod has checked the identity of the workload"},
       {"lastUpdateTime", now}});
  std::weak_ptr<Request> weak = request;
  client_.Update(
      kRequests, "", request->name, object,
      [this, weak](base::Result<Json> approved) {
        auto request = weak.lock();
        if (request == nullptr) return;
        if (!approved.ok())
          return Finish(request,
                        base::Status(Code::kInternal, "approving request " + request->name + ": " +
                                                          approved.status().message()));
        Look(request, *approved);
        if (!weak.expired()) Await(request, *approved);
      },
      "approval");
}

void KubernetesIssuer::Await(const std::shared_ptr<Request>& request, const Json& object) {
  std::weak_ptr<Request> weak = request;
  // A watch ends now and then; it goes on from a fresh look at the object.
  auto look_again = [this, weak] {
    auto request = weak.lock();
    if (request == nullptr) return;
    client_.Get(kRequests, "", request->name, [this, weak](base::Result<Json> now) {
      auto request = weak.lock();
      if (request == nullptr) return;
      if (!now.ok())
        return Finish(request, base::Status(Code::kInternal, "request " + request->name + ": " +
                                                                 now.status().message()));
      Look(request, *now);
      if (!weak.expired()) Await(request, *now);
    });
  };
  kubeclient::Watch::Events events;
  events.event = [this, weak](kubeclient::WatchEvent event) {
    auto request = weak.lock();
    if (request == nullptr || event.type == kubeclient::WatchEvent::Type::kBookmark) return;
    if (event.type == kubeclient::WatchEvent::Type::kDeleted)
      return Finish(request,
                    base::Error(Code::kInternal, "request {} was deleted before it was signed",
                                request->name));
    Look(request, event.object);
  };
  events.closed = [this, weak, look_again](const base::Status&) {
    if (auto request = weak.lock())
      request->again = base::Timer::After(loop_, std::chrono::milliseconds(200), look_again);
  };
  request->watch = std::make_unique<kubeclient::Watch>(
      loop_, client_, kRequests, "", kubeclient::ListOptions{"", "metadata.name=" + request->name},
      StringAt(object, {"metadata", "resourceVersion"}), std::move(events));
}

void KubernetesIssuer::Look(const std::shared_ptr<Request>& request, const Json& object) {
  // A signer without permission to use field selectors' results may still send others' events.
  if (kubeapi::NameOf(object) != request->name) return;
  for (const char* type : {"Denied", "Failed"}) {
    if (std::string why = Complaint(object, type); !why.empty())
      return Finish(request,
                    base::Error(Code::kInternal, "signer {}: request {} {}: {}", request->signer,
                                request->name,
                                std::string_view(type) == "Denied" ? "was denied" : "failed", why));
  }
  const std::string certificate = StringAt(object, {"status", "certificate"});
  if (!certificate.empty()) Finish(request, Answer(request->signer, certificate));
}

base::Result<std::string> KubernetesIssuer::RootsOf(
    const std::string& signer, const std::vector<pki::Certificate>& chain) const {
  if (std::string mounted = ReadOrEmpty(options_.root_file); !mounted.empty()) return mounted;
  std::string for_all;
  for (const SignerRoots& roots :
       options_.mesh_roots ? options_.mesh_roots() : std::vector<SignerRoots>()) {
    if (roots.signers.empty()) for_all += roots.pem + (roots.pem.ends_with('\n') ? "" : "\n");
    if (std::find(roots.signers.begin(), roots.signers.end(), signer) != roots.signers.end())
      return roots.pem;
  }
  if (!for_all.empty()) return for_all;
  if (options_.signer_domain.empty() && signer.starts_with("kubernetes.io/")) {
    if (std::string own = ReadOrEmpty(options_.cluster_root_file); !own.empty()) return own;
  }
  if (chain.size() > 1 && chain.back().subject() == chain.back().issuer())
    return chain.back().pem();
  return base::Error(Code::kInternal,
                     "no root is known for signer {}: give it in meshConfig.caCertificates, with "
                     "the signer's full name in "
                     "certSigners, or as {}",
                     signer, options_.root_file);
}

base::Result<std::vector<std::string>> KubernetesIssuer::Answer(
    const std::string& signer, const std::string& certificate_base64) const {
  auto wrong = [&](const base::Status& status) {
    return base::Status(Code::kInternal, "signer " + signer + ": " + status.message());
  };
  const base::Result<std::string> pem = base::Base64Decode(certificate_base64);
  if (!pem.ok()) return wrong(pem.status());
  base::Result<std::vector<pki::Certificate>> chain = pki::Certificate::ChainFromPem(*pem);
  if (!chain.ok()) return wrong(chain.status());
  const base::Result<std::string> roots = RootsOf(signer, *chain);
  if (!roots.ok()) return roots.status();
  const base::Result<pki::TrustBundle> bundle = pki::TrustBundle::FromPem(*roots);
  if (!bundle.ok()) return wrong(bundle.status().In("its root"));
  if (base::Status status = bundle->Verify(*chain, clock_.Now()); !status.ok())
    return wrong(status.In("what it signed does not lead to its root"));
  // Roots end the answer; in the chain they would be sent twice.
  std::vector<std::string> answer;
  for (const pki::Certificate& certificate : *chain) {
    const auto& known = bundle->roots();
    if (std::find(known.begin(), known.end(), certificate) == known.end())
      answer.push_back(certificate.pem());
  }
  answer.push_back(*roots);
  return answer;
}

void KubernetesIssuer::Finish(const std::shared_ptr<Request>& request,
                              base::Result<std::vector<std::string>> answer) {
  const std::string name = request->name;
  auto done = std::move(request->done);
  std::erase(open_, request);
  // Signed or not, nobody needs it any more.
  if (!name.empty()) {
    client_.Delete(kRequests, "", name, [name](base::Result<Json> gone) {
      if (!gone.ok() && gone.status().code() != Code::kNotFound)
        LOG_WARN("serverca", "deleting CertificateSigningRequest {}: {}", name,
                 gone.status().message());
    });
  }
  if (done) done(std::move(answer));
}

pki::TrustBundle KubernetesIssuer::Roots() const {
  std::vector<pki::Certificate> all;
  auto add = [&all](const std::string& pem) {
    const base::Result<std::vector<pki::Certificate>> some = pki::Certificate::ChainFromPem(pem);
    if (!some.ok()) return;
    for (const pki::Certificate& root : *some)
      if (std::find(all.begin(), all.end(), root) == all.end()) all.push_back(root);
  };
  add(ReadOrEmpty(options_.root_file));
  if (options_.mesh_roots)
    for (const SignerRoots& roots : options_.mesh_roots()) add(roots.pem);
  if (options_.signer_domain.empty() && options_.signer.starts_with("kubernetes.io/"))
    add(ReadOrEmpty(options_.cluster_root_file));
  return pki::TrustBundle(std::move(all));
}

}  // namespace isthmus::ca
