#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "http/tls.h"

typedef struct ssl_st SSL;

namespace isthmus::http {

/// One TLS connection between two byte buffers: what comes from the network goes into Feed(), what
/// must go there comes out of TakeOutput(). Does no I/O and keeps no buffers while it is idle.
/// Internal to http.
class TlsSession {
 public:
  enum class Progress { kDone, kWantsInput, kEnd, kError };

  explicit TlsSession(SSL* ssl);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  /// The bytes must stay until input() is empty or KeepInput() was called.
  void Feed(std::string_view ciphertext) { input_ = ciphertext; }
  std::string_view input() const { return input_; }

  Progress Handshake();
  /// One piece of plaintext into `buffer`; `size` says how much.
  Progress Read(char* buffer, size_t capacity, size_t* size);
  /// REQUIRES: the handshake is done; at most 16 KB.
  base::Status Write(std::string_view plaintext);
  void Shutdown();

  std::string TakeOutput();
  bool has_output() const { return !output_.empty(); }
  /// Why the last call gave kError.
  const base::Status& error() const { return error_; }

  std::string_view alpn() const;
  std::vector<pki::Certificate> peer_chain() const;

 private:
  friend struct TlsBio;
  base::Status Failure(std::string_view doing);

  SSL* ssl_;
  std::string_view input_;
  std::string output_;
  base::Status error_;
};

/// Makes the sessions of a server; keeps what can be shared between them. Internal to http.
class TlsServerContext {
 public:
  explicit TlsServerContext(TlsServerOptions options);
  ~TlsServerContext();
  base::Result<std::unique_ptr<TlsSession>> NewSession();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Makes the sessions of a client to one server.
class TlsClientContext {
 public:
  /// `host` counts when the options name no server.
  TlsClientContext(TlsClientOptions options, std::string host);
  ~TlsClientContext();
  base::Result<std::unique_ptr<TlsSession>> NewSession(bool http1_only);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace isthmus::http
