#include "http/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/net.h"
#include "http/tls_session.h"

namespace isthmus::http {
namespace {

std::string LastOpenSslError() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "unknown error" : reason;
}

using ContextPtr = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;

ContextPtr NewContext(const SSL_METHOD* method) {
  ContextPtr context(SSL_CTX_new(method), SSL_CTX_free);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  // An idle connection keeps no record buffers.
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // No resumption: it would outlive a change of roots, and costs memory on each connection.
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context.get(),
                      SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_num_tickets(context.get(), 0);
  return context;
}

// Alpn names with their lengths in front, as the wire has them.
std::string AlpnWire(const std::vector<std::string>& names) {
  std::string wire;
  for (const std::string& name : names) {
    wire += static_cast<char>(name.size());
    wire += name;
  }
  return wire;
}

void SetRoots(SSL_CTX* context, const pki::TrustBundle& roots) {
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  for (const pki::Certificate& root : roots.roots()) X509_STORE_add_cert(store, root.x509());
  // What is in the bundle is believed, also when it is not self-signed.
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
  ERR_clear_error();
}

base::Status SetCertificate(SSL* ssl, const pki::KeyCertificate& pair) {
  const auto failed = [] {
    return base::Error(base::Code::kInvalidArgument, "using the TLS certificate: {}",
                       LastOpenSslError());
  };
  if (pair.chain.empty()) {
    return base::Error(base::Code::kInvalidArgument,
                       "using the TLS certificate: the chain is empty");
  }
  if (SSL_use_certificate(ssl, pair.chain.front().x509()) != 1) return failed();
  if (SSL_use_PrivateKey(ssl, pair.key.evp()) != 1) return failed();
  for (size_t i = 1; i < pair.chain.size(); ++i) {
    if (SSL_add1_chain_cert(ssl, pair.chain[i].x509()) != 1) return failed();
  }
  return {};
}

}  // namespace

// The BIO through which OpenSSL reads and writes a session's two buffers.
struct TlsBio {
  static TlsSession* SessionOf(BIO* bio) { return static_cast<TlsSession*>(BIO_get_data(bio)); }

  static int Read(BIO* bio, char* buffer, int size) {
    TlsSession* session = SessionOf(bio);
    BIO_clear_retry_flags(bio);
    if (session->input_.empty()) {
      BIO_set_retry_read(bio);
      return -1;
    }
    const size_t count = std::min(session->input_.size(), static_cast<size_t>(size));
    std::memcpy(buffer, session->input_.data(), count);
    session->input_.remove_prefix(count);
    return static_cast<int>(count);
  }
  static int Write(BIO* bio, const char* buffer, int size) {
    BIO_clear_retry_flags(bio);
    SessionOf(bio)->output_.append(buffer, static_cast<size_t>(size));
    return size;
  }
  static long Control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

  static BIO* New(TlsSession* session) {
    static BIO_METHOD* const method = [] {
      BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "isthmus");
      BIO_meth_set_read(made, &TlsBio::Read);
      BIO_meth_set_write(made, &TlsBio::Write);
      BIO_meth_set_ctrl(made, &TlsBio::Control);
      return made;
    }();
    BIO* bio = BIO_new(method);
    BIO_set_data(bio, session);
    BIO_set_init(bio, 1);
    return bio;
  }
};

TlsSession::TlsSession(SSL* ssl) : ssl_(ssl) {
  BIO* bio = TlsBio::New(this);
  SSL_set_bio(ssl_, bio, bio);
}

TlsSession::~TlsSession() { SSL_free(ssl_); }

base::Status TlsSession::Failure(std::string_view doing) {
  const long verify = SSL_get_verify_result(ssl_);
  if (verify != X509_V_OK) {
    ERR_clear_error();
    return base::Error(base::Code::kUnauthenticated,
                       "{}: the peer's certificate is not accepted: {}", doing,
                       X509_verify_cert_error_string(verify));
  }
  return base::Error(base::Code::kUnavailable, "{}: {}", doing, LastOpenSslError());
}

TlsSession::Progress TlsSession::Handshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_);
  if (result == 1) return Progress::kDone;
  if (SSL_get_error(ssl_, result) == SSL_ERROR_WANT_READ) return Progress::kWantsInput;
  error_ = Failure("TLS handshake");
  return Progress::kError;
}

TlsSession::Progress TlsSession::Read(char* buffer, size_t capacity, size_t* size) {
  ERR_clear_error();
  const int result = SSL_read_ex(ssl_, buffer, capacity, size);
  if (result == 1) return Progress::kDone;
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ:
      return Progress::kWantsInput;
    case SSL_ERROR_ZERO_RETURN:
      return Progress::kEnd;
    default:
      error_ = Failure("TLS");
      return Progress::kError;
  }
}

base::Status TlsSession::Write(std::string_view plaintext) {
  ERR_clear_error();
  while (!plaintext.empty()) {
    size_t written = 0;
    if (SSL_write_ex(ssl_, plaintext.data(), plaintext.size(), &written) != 1)
      return Failure("TLS");
    plaintext.remove_prefix(written);
  }
  return {};
}

void TlsSession::Shutdown() {
  ERR_clear_error();
  SSL_shutdown(ssl_);
  ERR_clear_error();
}

std::string TlsSession::TakeOutput() { return std::exchange(output_, {}); }

std::string_view TlsSession::alpn() const {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl_, &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

std::vector<pki::Certificate> TlsSession::peer_chain() const {
  std::vector<pki::Certificate> chain;
  if (SSL_get_verify_mode(ssl_) == SSL_VERIFY_NONE || SSL_get_verify_result(ssl_) != X509_V_OK)
    return chain;
  const STACK_OF(X509)* verified = SSL_get0_verified_chain(ssl_);
  for (int i = 0; verified != nullptr && i < sk_X509_num(verified); ++i) {
    X509* certificate = sk_X509_value(verified, i);
    X509_up_ref(certificate);
    chain.emplace_back(std::shared_ptr<X509>(certificate, X509_free));
  }
  return chain;
}

// One SSL_CTX serves until the roots change; the certificate is set on each session.
struct TlsServerContext::Impl {
  TlsServerOptions options;
  std::string alpn;
  ContextPtr context{nullptr, SSL_CTX_free};
  std::shared_ptr<const pki::TrustBundle> roots;

  // Our order decides, as the client's preference is no concern of the protocol.
  static int SelectAlpn(SSL*, const unsigned char** chosen, unsigned char* size,
                        const unsigned char* offered, unsigned offered_size, void* self) {
    const std::string& ours = static_cast<Impl*>(self)->alpn;
    const int result =
        SSL_select_next_proto(const_cast<unsigned char**>(chosen), size,
                              reinterpret_cast<const unsigned char*>(ours.data()),
                              static_cast<unsigned>(ours.size()), offered, offered_size);
    return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
  }

  void Renew(std::shared_ptr<const pki::TrustBundle> bundle) {
    context = NewContext(TLS_server_method());
    roots = std::move(bundle);
    if (!alpn.empty()) SSL_CTX_set_alpn_select_cb(context.get(), &Impl::SelectAlpn, this);
    using Mode = TlsServerOptions::ClientCertificate;
    if (options.client_certificate == Mode::kIgnore) return;
    int verify = SSL_VERIFY_PEER;
    if (options.client_certificate == Mode::kRequired) verify |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(context.get(), verify, nullptr);
    if (roots == nullptr) return;
    SetRoots(context.get(), *roots);
    for (const pki::Certificate& root : roots->roots())
      SSL_CTX_add_client_CA(context.get(), root.x509());
  }
};

TlsServerContext::TlsServerContext(TlsServerOptions options) : impl_(std::make_unique<Impl>()) {
  impl_->alpn = AlpnWire(options.alpn);
  impl_->options = std::move(options);
}
TlsServerContext::~TlsServerContext() = default;

base::Result<std::unique_ptr<TlsSession>> TlsServerContext::NewSession() {
  auto roots = impl_->options.client_roots ? impl_->options.client_roots() : nullptr;
  if (impl_->context == nullptr || roots != impl_->roots) impl_->Renew(std::move(roots));
  const auto pair = impl_->options.certificate ? impl_->options.certificate() : nullptr;
  if (pair == nullptr)
    return base::Error(base::Code::kFailedPrecondition, "there is no TLS certificate yet");
  SSL* ssl = SSL_new(impl_->context.get());
  auto session = std::make_unique<TlsSession>(ssl);
  RETURN_IF_ERROR(SetCertificate(ssl, *pair), "accepting a connection");
  SSL_set_accept_state(ssl);
  return session;
}

struct TlsClientContext::Impl {
  TlsClientOptions options;
  std::string name;
  ContextPtr context{nullptr, SSL_CTX_free};

  void CheckName(SSL* ssl) const {
    X509_VERIFY_PARAM* check = SSL_get0_param(ssl);
    if (base::IsIpAddress(name)) {
      X509_VERIFY_PARAM_set1_ip_asc(check, name.c_str());
    } else {
      // The common name is no host name (RFC 6125).
      X509_VERIFY_PARAM_set_hostflags(
          check, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
      X509_VERIFY_PARAM_set1_host(check, name.data(), name.size());
    }
    SSL_set_verify(ssl, SSL_VERIFY_PEER, nullptr);
  }
};

TlsClientContext::TlsClientContext(TlsClientOptions options, std::string host)
    : impl_(std::make_unique<Impl>()) {
  impl_->name = options.server_name.empty() ? std::move(host) : options.server_name;
  impl_->options = std::move(options);
  impl_->context = NewContext(TLS_client_method());
  if (impl_->options.roots != nullptr) SetRoots(impl_->context.get(), *impl_->options.roots);
}
TlsClientContext::~TlsClientContext() = default;

base::Result<std::unique_ptr<TlsSession>> TlsClientContext::NewSession(bool http1_only) {
  SSL* ssl = SSL_new(impl_->context.get());
  auto session = std::make_unique<TlsSession>(ssl);
  if (impl_->options.roots != nullptr) impl_->CheckName(ssl);
  if (!impl_->name.empty() && !base::IsIpAddress(impl_->name))
    SSL_set_tlsext_host_name(ssl, impl_->name.c_str());
  const std::string alpn =
      AlpnWire(http1_only ? std::vector<std::string>{"http/1.1"} : impl_->options.alpn);
  SSL_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>(alpn.data()),
                      static_cast<unsigned>(alpn.size()));
  if (const auto pair = impl_->options.certificate ? impl_->options.certificate() : nullptr;
      pair != nullptr) {
    RETURN_IF_ERROR(SetCertificate(ssl, *pair), "connecting");
  }
  SSL_set_connect_state(ssl);
  return session;
}

}  // namespace isthmus::http
