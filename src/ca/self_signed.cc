#include "ca/self_signed.h"

#include <random>

#include "base/encoding.h"
#include "base/log.h"
#include "kubeapi/resources.h"

namespace isthmus::ca {
namespace {

using base::Code;
using kubeapi::Json;
using kubeapi::kSecrets;

constexpr char kSecretType[] = "istio.io/ca-root";

base::Result<KeySet> DecodeData(const Json& secret) {
  KeySet keys;
  const Json* data = kubeapi::Find(secret, {"data"});
  if (data == nullptr || !data->is_object()) return keys;
  for (const auto& [name, value] : data->items()) {
    if (!value.is_string())
      return base::Error(Code::kInvalidArgument, "data.{} is not a string", name);
    ASSIGN_OR_RETURN(keys[name], base::Base64Decode(value.get_ref<const std::string&>()),
                     "data." + name);
  }
  return keys;
}

Json SecretOf(const SelfSignedOptions& options, const pki::KeyCertificate& root) {
  const std::string certificate = base::Base64Encode(root.chain_pem());
  return {{"apiVersion", "v1"},
          {"kind", "Secret"},
          {"metadata", {{"name", options.secret}, {"namespace", options.ns}}},
          {"type", kSecretType},
          {"data",
           {{"ca-cert.pem", certificate},
            {"ca-key.pem", base::Base64Encode(root.key.pem())},
            {"root-cert.pem", certificate},
            {"cert-chain.pem", ""},
            {"key.pem", ""}}}};
}

}  // namespace

struct SelfSignedCa::Impl : std::enable_shared_from_this<Impl> {
  Impl(base::Loop& loop, const base::Clock& clock, Authority& authority, kubeclient::Client* client,
       SelfSignedOptions options)
      : loop(loop),
        clock(clock),
        authority(authority),
        client(client),
        options(std::move(options)) {}

  base::Loop& loop;
  const base::Clock& clock;
  Authority& authority;
  kubeclient::Client* client;
  SelfSignedOptions options;
  base::Backoff backoff{base::Backoff::Options{.initial = std::chrono::milliseconds(500),
                                               .max = std::chrono::minutes(20)}};
  base::Timer retry;
  base::Timer interval;
  bool busy = false;

  base::Result<pki::KeyCertificate> MakeRoot(const pki::PrivateKey* key) {
    pki::RootOptions root;
    root.names.organizations = {options.organization};
    root.ttl = options.root_ttl;
    if (key != nullptr) return pki::MakeSelfSignedRoot(*key, root, clock.Now());
    ASSIGN_OR_RETURN(pki::PrivateKey fresh, pki::PrivateKey::GenerateRsa(options.rsa_bits),
                     "root key");
    return pki::MakeSelfSignedRoot(std::move(fresh), root, clock.Now());
  }

  base::Status Take(const KeySet& keys) {
    ASSIGN_OR_RETURN(SigningMaterial material,
                     ParseSelfSigned(keys, options.extra_roots, clock, options.limits),
                     "self-signed CA");
    const bool same = authority.ready() && authority.material().roots_pem == material.roots_pem &&
                      authority.material().source == SigningMaterial::Source::kSelfSigned;
    if (!same) {
      LOG_INFO("pkica", "signing with the self-signed root of \"{}\", valid until {}",
               material.ca.certificate().subject(), base::FormatTime(material.ca.not_after()));
      authority.Use(std::move(material));
    }
    return {};
  }

  base::Status Take(const pki::KeyCertificate& root) {
    return Take(KeySet{{"ca-cert.pem", root.chain_pem()}, {"ca-key.pem", root.key.pem()}});
  }

  void Done() {
    busy = false;
    backoff.Reset();
  }

  void Fail(const base::Status& status) {
    busy = false;
    const base::Duration delay = backoff.Next();
    LOG_ERROR("pkica", "self-signed CA: {}; trying again in {} ms", status.message(),
              std::chrono::duration_cast<std::chrono::milliseconds>(delay).count());
    retry = base::Timer::After(loop, delay, [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->Run();
    });
  }

  void Finish(const base::Status& status) { status.ok() ? Done() : Fail(status); }

  void Run() {
    if (busy) return;
    busy = true;
    if (client == nullptr) return RunInMemory();
    client->Get(kSecrets, options.ns, options.secret,
                [weak = weak_from_this()](base::Result<Json> secret) {
                  auto self = weak.lock();
                  if (self == nullptr) return;
                  if (secret.ok()) return self->OnSecret(*secret);
                  if (secret.status().code() == Code::kNotFound) return self->CreateSecret();
                  self->Fail(secret.status().In("reading secret " + self->options.secret));
                });
  }

  void RunInMemory() {
    if (authority.ready() && !NeedsRenewal()) return Done();
    const base::Result<pki::KeyCertificate> root =
        MakeRoot(authority.ready() ? &authority.material().ca.key() : nullptr);
    Finish(root.ok() ? Take(*root) : root.status());
  }

  void OnSecret(const Json& secret) {
    const base::Result<KeySet> keys = DecodeData(secret);
    const base::Status taken = keys.ok() ? Take(*keys) : keys.status();
    if (!taken.ok()) {
      // An ended root signs nothing, but its key can still sign the next one.
      const auto key = keys.ok() ? keys->find("ca-key.pem") : KeySet::const_iterator();
      if (keys.ok() && key != keys->end()) {
        if (base::Result<pki::KeyCertificate> pair = pki::KeyCertificate::FromPem(
                key->second, keys->contains("ca-cert.pem") ? keys->at("ca-cert.pem") : "");
            pair.ok() && pair->chain.front().not_after() <= clock.Now()) {
          return Renew(secret, pair->key);
        }
      }
      return Fail(taken.In("secret " + options.secret));
    }
    if (NeedsRenewal()) return Renew(secret, authority.material().ca.key());
    Done();
  }

  bool NeedsRenewal() const {
    const pki::Certificate& root = authority.material().ca.certificate();
    // In seconds: a hundred times ten years of nanoseconds is more than 64 bits hold.
    const auto life =
        std::chrono::duration_cast<std::chrono::seconds>(root.not_after() - root.not_before());
    const auto left =
        std::chrono::duration_cast<std::chrono::seconds>(root.not_after() - clock.Now());
    return left * 100 < life * options.grace_percent;
  }

  void CreateSecret() {
    base::Result<pki::KeyCertificate> root = MakeRoot(nullptr);
    if (!root.ok()) return Fail(root.status());
    client->Create(kSecrets, options.ns, SecretOf(options, *root),
                   [weak = weak_from_this(), root = *root](base::Result<Json> created) {
                     auto self = weak.lock();
                     if (self == nullptr) return;
                     if (created.ok()) return self->Finish(self->Take(root));
                     self->busy = false;
                     // Another replica was quicker: take what it made.
                     if (created.status().code() == Code::kAlreadyExists) return self->Run();
                     self->Fail(created.status().In("creating secret " + self->options.secret));
                   });
  }

  /// Writes the new root first and signs with it only when it is stored; a conflict means that
  /// another replica did the same, and the next look takes that one.
  void Renew(const Json& secret, const pki::PrivateKey& key) {
    base::Result<pki::KeyCertificate> root = MakeRoot(&key);
    if (!root.ok()) return Fail(root.status());
    LOG_INFO("rootcertrotator", "renewing the self-signed root, valid until {}",
             base::FormatTime(root->chain.front().not_after()));
    Json next = secret;
    next["data"] = SecretOf(options, *root)["data"];
    client->Update(kSecrets, options.ns, options.secret, next,
                   [weak = weak_from_this(), root = *root](base::Result<Json> updated) {
                     auto self = weak.lock();
                     if (self == nullptr) return;
                     if (updated.ok()) return self->Finish(self->Take(root));
                     self->Fail(updated.status().In("renewing secret " + self->options.secret));
                   });
  }

  void ScheduleChecks() {
    base::Duration first = options.check_interval;
    if (options.jitter) {
      std::mt19937_64 random{std::random_device{}()};
      first = base::Duration(std::uniform_int_distribution<int64_t>(1, first.count())(random));
    }
    interval = base::Timer::After(loop, first, [weak = weak_from_this()] {
      auto self = weak.lock();
      if (self == nullptr) return;
      self->Run();
      self->interval = base::Timer::Every(self->loop, self->options.check_interval, [weak] {
        if (auto self = weak.lock()) self->Run();
      });
    });
  }
};

SelfSignedCa::SelfSignedCa(base::Loop& loop, const base::Clock& clock, Authority& authority,
                           kubeclient::Client* client, SelfSignedOptions options)
    : impl_(std::make_shared<Impl>(loop, clock, authority, client, std::move(options))) {}
SelfSignedCa::~SelfSignedCa() = default;

void SelfSignedCa::Start() {
  impl_->Run();
  impl_->ScheduleChecks();
}

void SelfSignedCa::Check() { impl_->Run(); }

}  // namespace isthmus::ca
