#include "http/socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <uv.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "http/tls_session.h"

namespace isthmus::http {
namespace {

constexpr size_t kReadBuffer = 64 * 1024;
constexpr size_t kTlsRecord = 16 * 1024;
constexpr size_t kMaxVectors = 64;
// Ciphertext made ahead of the kernel. Plaintext waits as shared slices, which cost nothing.
constexpr size_t kWireAhead = 64 * 1024;
constexpr size_t kCopyLimit = 4096;
// What one waiting write covers: small enough that its end tells of progress on a slow line.
constexpr size_t kMaxInFlight = 256 * 1024;

// Shared by all connections of a thread: bytes are handed on before the next read.
char* ReadBuffer() {
  thread_local std::unique_ptr<char[]> buffer(new char[kReadBuffer]);
  return buffer.get();
}
char* PlainBuffer() {
  thread_local std::unique_ptr<char[]> buffer(new char[kTlsRecord]);
  return buffer.get();
}
char* RecordBuffer() {
  thread_local std::unique_ptr<char[]> buffer(new char[kTlsRecord]);
  return buffer.get();
}

/// A piece of output: shared bytes, or small ones of its own that may still grow.
struct Chunk {
  base::Slice shared;
  std::string own;
  size_t offset = 0;

  std::string_view view() const {
    return (own.empty() ? shared.view() : std::string_view(own)).substr(offset);
  }
};

/// Output in order.
class Queue {
 public:
  void Push(base::Slice bytes) {
    if (bytes.empty()) return;
    size_ += bytes.size();
    chunks_.push_back({std::move(bytes), {}, 0});
  }
  void PushCopy(std::string_view bytes) {
    if (bytes.empty()) return;
    size_ += bytes.size();
    if (!chunks_.empty() && !chunks_.back().own.empty() &&
        chunks_.back().own.size() + bytes.size() <= kCopyLimit) {
      chunks_.back().own += bytes;
    } else {
      chunks_.push_back({{}, std::string(bytes), 0});
    }
  }
  void Consume(size_t count) {
    size_ -= count;
    while (count > 0) {
      const size_t part = std::min(count, chunks_.front().view().size());
      chunks_.front().offset += part;
      count -= part;
      if (chunks_.front().view().empty()) chunks_.pop_front();
    }
  }
  /// Takes up to kMaxVectors chunks and `limit` bytes off the front.
  std::vector<Chunk> Take(size_t limit) {
    std::vector<Chunk> taken;
    while (!chunks_.empty() && taken.size() < kMaxVectors && limit > 0) {
      Chunk& front = chunks_.front();
      const size_t size = front.view().size();
      if (size > limit && front.own.empty()) {
        taken.push_back({front.shared.Sub(front.offset, limit), {}, 0});
        front.offset += limit;
        size_ -= limit;
        break;
      }
      limit -= std::min(limit, size);
      size_ -= size;
      taken.push_back(std::move(front));
      chunks_.pop_front();
    }
    return taken;
  }
  unsigned Vectors(uv_buf_t* vectors) const {
    unsigned count = 0;
    for (const Chunk& chunk : chunks_) {
      if (count == kMaxVectors) break;
      const std::string_view view = chunk.view();
      vectors[count++] =
          uv_buf_init(const_cast<char*>(view.data()), static_cast<unsigned>(view.size()));
    }
    return count;
  }
  std::string_view front() const { return chunks_.front().view(); }
  bool empty() const { return chunks_.empty(); }
  size_t size() const { return size_; }
  void Clear() {
    chunks_.clear();
    chunks_.shrink_to_fit();
    size_ = 0;
  }

 private:
  std::deque<Chunk> chunks_;
  size_t size_ = 0;
};

base::Status SocketError(int error) {
  if (error == UV_ECONNREFUSED) return base::Error(base::Code::kUnavailable, "connection refused");
  if (error == UV_ECONNRESET || error == UV_EPIPE) {
    return base::Error(base::Code::kUnavailable, "the connection was broken off by the peer");
  }
  return base::Error(base::Code::kUnavailable, "{}", uv_strerror(error));
}

}  // namespace

// The part that libuv knows. It outlives the Socket until libuv has let go of the handle; `handler`
// is null from the moment the Socket goes, and each function that calls the handler looks at it
// again afterwards.
struct Socket::State {
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  };
  base::Loop& loop;
  SocketHandler* handler;
  std::unique_ptr<TlsSession> tls;
  Queue out;             // From the owner, in plaintext.
  Queue wire;            // Encrypted; only with TLS.
  size_t in_flight = 0;  // Bytes in the one uv_write() under way.
  PeerInfo peer;
  std::string kept_input;  // Ciphertext that came while reading was paused.
  uint64_t last_read = 0, last_write = 0;
  uv_connect_t connecting;
  uv_shutdown_t ending;
  bool initialised = false, open = false, handshaking = false, paused = false, reading = false;
  bool finish = false, finish_sent = false, ended = false, broken = false, flush_posted = false;
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);

  State(base::Loop& loop, SocketHandler* handler) : loop(loop), handler(handler) {}
  ~State() {}

  struct WriteRequest {
    uv_write_t write;
    std::vector<Chunk> chunks;
    size_t size = 0;
  };

  void InitTcp() {
    uv_tcp_init(loop.uv(), &tcp);
    Ready();
  }
  void InitPipe() {
    uv_pipe_init(loop.uv(), &pipe, 0);
    Ready();
  }
  void Ready() {
    handle.data = this;
    initialised = true;
    last_read = last_write = uv_now(loop.uv());
  }

  void Break(base::Status status) {
    if (broken) return;
    broken = true;
    out.Clear();
    wire.Clear();
    StopReading();
    ended = true;
    if (handler != nullptr) handler->OnEnd(std::move(status));
  }
  /// Break() from a place where the handler may not be called.
  void BreakSoon(base::Status status) {
    loop.Post([this, alive = alive, status = std::move(status)] {
      if (*alive) Break(status);
    });
  }

  void OpenNow() {
    open = true;
    handshaking = tls != nullptr;
    StartReading();
    if (handshaking) return Handshake();
    handler->OnOpen();
    if (handler != nullptr) FlushNow();
  }

  void Handshake() {
    const TlsSession::Progress progress = tls->Handshake();
    SendTlsOutput();
    switch (progress) {
      case TlsSession::Progress::kWantsInput:
        return;
      case TlsSession::Progress::kDone:
        handshaking = false;
        peer.tls = true;
        peer.chain = tls->peer_chain();
        if (handler == nullptr || broken) return;
        handler->OnOpen();
        if (handler != nullptr) FlushNow();
        return;
      default:
        return Break(tls->error());
    }
  }

  // ---- reading ----

  void StartReading() {
    if (reading || paused || broken || !open) return;
    reading = uv_read_start(&stream, &State::Allocate, &State::ReadDone) == 0;
  }
  void StopReading() {
    if (!reading) return;
    uv_read_stop(&stream);
    reading = false;
  }
  static void Allocate(uv_handle_t*, size_t, uv_buf_t* buffer) {
    *buffer = uv_buf_init(ReadBuffer(), kReadBuffer);
  }
  static void ReadDone(uv_stream_t* stream, ssize_t size, const uv_buf_t* buffer) {
    auto* state = static_cast<State*>(stream->data);
    if (size == 0 || state->handler == nullptr) return;
    if (size < 0) {
      state->StopReading();
      return state->InputEnded(size == UV_EOF ? base::Status()
                                              : SocketError(static_cast<int>(size)));
    }
    state->last_read = uv_now(state->loop.uv());
    const std::string_view bytes(buffer->base, static_cast<size_t>(size));
    if (state->tls != nullptr) return state->ReadTls(bytes);
    state->handler->OnBytes(bytes);
  }

  void InputEnded(base::Status status) {
    if (!status.ok()) return Break(std::move(status));
    if (tls != nullptr && handshaking) {
      return Break(base::Error(base::Code::kUnavailable,
                               "the peer closed the connection during the TLS handshake"));
    }
    if (!std::exchange(ended, true)) handler->OnEnd({});
  }

  void ReadTls(std::string_view bytes) {
    if (!kept_input.empty()) {
      kept_input += bytes;
      bytes = kept_input;
    }
    tls->Feed(bytes);
    if (handshaking) Handshake();
    while (handler != nullptr && !broken && !handshaking && !paused && !ended) {
      size_t size = 0;
      const TlsSession::Progress progress = tls->Read(PlainBuffer(), kTlsRecord, &size);
      if (tls->has_output()) SendTlsOutput();  // A key update, or an alert.
      if (progress == TlsSession::Progress::kWantsInput) break;
      if (progress == TlsSession::Progress::kError) return Break(tls->error());
      if (progress == TlsSession::Progress::kEnd) {
        ended = true;
        StopReading();
        tls->Feed({});
        kept_input.clear();
        return handler->OnEnd({});
      }
      handler->OnBytes({PlainBuffer(), size});
    }
    if (handler == nullptr || broken) return;
    std::string rest(tls->input());
    kept_input = std::move(rest);
    if (kept_input.empty()) kept_input.shrink_to_fit();
    tls->Feed({});
  }

  void ContinueReading() {
    if (paused || broken || handler == nullptr || ended) return;
    StartReading();
    if (tls != nullptr && !handshaking) {
      const std::string kept = std::exchange(kept_input, {});
      ReadTls(kept);
    }
  }

  // ---- writing ----

  void SendTlsOutput() {
    if (!tls->has_output()) return;
    wire.Push(base::Slice(tls->TakeOutput()));
    if (!broken) SendQueue(wire);
  }

  void FlushNow() {
    if (!open || broken || handshaking) return;
    while (true) {
      if (tls != nullptr && !Encrypt()) return;
      Queue& queue = tls != nullptr ? wire : out;
      if (!SendQueue(queue) || out.empty()) break;
    }
    MaybeShutdown();
  }

  /// Makes records until enough ciphertext waits.
  bool Encrypt() {
    while (!out.empty() && wire.size() < kWireAhead) {
      std::string_view piece = out.front().substr(0, kTlsRecord);
      // Frame headers and small pieces share a record with what follows them.
      if (piece.size() < kTlsRecord && out.size() > piece.size()) {
        std::array<uv_buf_t, kMaxVectors> vectors;
        const unsigned count = out.Vectors(vectors.data());
        size_t size = 0;
        for (unsigned i = 0; i < count && size < kTlsRecord; ++i) {
          const size_t part = std::min(kTlsRecord - size, vectors[i].len);
          std::copy_n(vectors[i].base, part, RecordBuffer() + size);
          size += part;
        }
        piece = {RecordBuffer(), size};
      }
      if (base::Status status = tls->Write(piece); !status.ok()) {
        BreakSoon(std::move(status));
        return false;
      }
      out.Consume(piece.size());
    }
    if (tls->has_output()) wire.Push(base::Slice(tls->TakeOutput()));
    return true;
  }

  /// Tells whether the queue is empty now.
  bool SendQueue(Queue& queue) {
    if (in_flight > 0) return false;
    std::array<uv_buf_t, kMaxVectors> vectors;
    while (!queue.empty()) {
      const unsigned count = queue.Vectors(vectors.data());
      size_t offered = 0;
      for (unsigned i = 0; i < count; ++i) offered += vectors[i].len;
      const int sent = uv_try_write(&stream, vectors.data(), count);
      if (sent < 0 && sent != UV_EAGAIN) {
        BreakSoon(SocketError(sent));
        return false;
      }
      if (sent > 0) {
        last_write = uv_now(loop.uv());
        queue.Consume(static_cast<size_t>(sent));
      }
      if (sent < 0 || static_cast<size_t>(sent) < offered) {
        SendLater(queue);
        return false;
      }
    }
    return true;
  }

  void SendLater(Queue& queue) {
    auto* request = new WriteRequest;
    request->write.data = this;
    request->chunks = queue.Take(kMaxInFlight);
    std::array<uv_buf_t, kMaxVectors> vectors;
    unsigned count = 0;
    for (const Chunk& chunk : request->chunks) {
      const std::string_view view = chunk.view();
      vectors[count++] =
          uv_buf_init(const_cast<char*>(view.data()), static_cast<unsigned>(view.size()));
      request->size += view.size();
    }
    in_flight = request->size;
    const int error = uv_write(&request->write, &stream, vectors.data(), count, &State::WriteDone);
    if (error != 0) {
      delete request;
      in_flight = 0;
      BreakSoon(SocketError(error));
    }
  }

  static void WriteDone(uv_write_t* write, int error) {
    auto* state = static_cast<State*>(write->data);
    delete reinterpret_cast<WriteRequest*>(write);
    state->in_flight = 0;
    if (state->handler == nullptr) return;
    if (error != 0) return state->Break(SocketError(error));
    state->last_write = uv_now(state->loop.uv());
    if (state->handshaking) {
      state->SendQueue(state->wire);
      return;
    }
    state->FlushNow();
    if (!state->broken && state->Waiting() == 0) state->handler->OnWritable();
  }

  size_t Waiting() const { return out.size() + wire.size() + in_flight; }

  void MaybeShutdown() {
    if (!finish || finish_sent || broken || Waiting() > 0) return;
    finish_sent = true;
    if (tls != nullptr) {
      tls->Shutdown();
      SendTlsOutput();
    }
    ending.data = this;
    // Waits for a write under way by itself.
    uv_shutdown(&ending, &stream, [](uv_shutdown_t*, int) {});
  }

  static void Connected(uv_connect_t* request, int error) {
    auto* state = static_cast<State*>(request->data);
    if (state->handler == nullptr) return;
    if (error != 0) return state->Break(SocketError(error));
    state->OpenNow();
  }
};

Socket::Socket(base::Loop& loop, SocketHandler* handler) : state_(new State(loop, handler)) {}

Socket::~Socket() {
  state_->handler = nullptr;
  *state_->alive = false;
  state_->out.Clear();
  state_->wire.Clear();
  if (!state_->initialised) {
    delete state_;
    return;
  }
  state_->StopReading();
  uv_close(&state_->handle, [](uv_handle_t* handle) { delete static_cast<State*>(handle->data); });
}

base::Status Socket::Accept(uv_stream_s* listener, std::unique_ptr<TlsSession> tls) {
  const bool unix_socket = listener->type == UV_NAMED_PIPE;
  if (unix_socket) {
    state_->InitPipe();
  } else {
    state_->InitTcp();
  }
  if (const int error = uv_accept(listener, &state_->stream); error != 0) return SocketError(error);
  if (!unix_socket) {
    uv_tcp_nodelay(&state_->tcp, 1);
    uv_tcp_keepalive(&state_->tcp, 1, 60);
    sockaddr_storage storage{};
    int length = sizeof storage;
    if (uv_tcp_getpeername(&state_->tcp, reinterpret_cast<sockaddr*>(&storage), &length) == 0) {
      state_->peer.address = base::SocketAddress(reinterpret_cast<sockaddr*>(&storage)).text();
    }
  }
  state_->tls = std::move(tls);
  state_->loop.Post([state = state_, alive = state_->alive] {
    if (*alive) state->OpenNow();
  });
  return {};
}

void Socket::Connect(const base::SocketAddress& address, const std::string& local_ip) {
  state_->InitTcp();
  state_->peer.address = address.text();
  if (!local_ip.empty()) {
    const base::Result<base::SocketAddress> local = base::SocketAddress::From(local_ip, 0);
    if (!local.ok()) return state_->BreakSoon(local.status());
    if (const int error = uv_tcp_bind(&state_->tcp, local->raw(), 0); error != 0)
      return state_->BreakSoon(SocketError(error).In("local address " + local_ip));
  }
  uv_tcp_nodelay(&state_->tcp, 1);
  uv_tcp_keepalive(&state_->tcp, 1, 60);
  state_->connecting.data = state_;
  const int error =
      uv_tcp_connect(&state_->connecting, &state_->tcp, address.raw(), &State::Connected);
  if (error != 0) state_->BreakSoon(SocketError(error));
}

void Socket::ConnectUnix(const std::string& path) {
  state_->InitPipe();
  state_->peer.address = path;
  state_->connecting.data = state_;
  uv_pipe_connect(&state_->connecting, &state_->pipe, path.c_str(), &State::Connected);
}

void Socket::LoseAfter(base::Duration silence) {
  uv_os_fd_t fd = -1;
  if (state_->handle.type != UV_TCP || uv_fileno(&state_->handle, &fd) != 0) return;
  const auto milliseconds =
      static_cast<unsigned>(std::chrono::duration_cast<std::chrono::milliseconds>(silence).count());
  // The kernel asks again each second, and what it asks for ends with the user timeout.
  const int idle = std::max(1U, milliseconds / 2000), interval = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof milliseconds);
}

void Socket::StartTls(std::unique_ptr<TlsSession> tls) {
  state_->tls = std::move(tls);
  state_->handshaking = true;
  state_->loop.Post([state = state_, alive = state_->alive] {
    if (*alive && !state->broken) state->Handshake();
  });
}

void Socket::set_handler(SocketHandler* handler) { state_->handler = handler; }

void Socket::Write(base::Slice bytes) {
  if (!state_->broken && !state_->finish) state_->out.Push(std::move(bytes));
}

void Socket::WriteCopy(std::string_view bytes) {
  if (!state_->broken && !state_->finish) state_->out.PushCopy(bytes);
}

void Socket::Flush() { state_->FlushNow(); }

void Socket::FlushSoon() {
  if (std::exchange(state_->flush_posted, true)) return;
  state_->loop.Post([state = state_, alive = state_->alive] {
    if (!*alive) return;
    state->flush_posted = false;
    const bool waited = state->Waiting() > 0;
    state->FlushNow();
    if (waited && state->open && !state->broken && state->Waiting() == 0)
      state->handler->OnWritable();
  });
}

void Socket::Finish() {
  state_->finish = true;
  FlushSoon();
}

bool Socket::finished() const { return state_->finish_sent; }

void Socket::Pause(bool pause) {
  if (state_->paused == pause) return;
  state_->paused = pause;
  if (pause) return state_->StopReading();
  // Soon, not now: what was kept must not reach the handler inside its own call.
  state_->loop.Post([state = state_, alive = state_->alive] {
    if (*alive) state->ContinueReading();
  });
}

size_t Socket::buffered() const { return state_->Waiting(); }
uint64_t Socket::last_read() const { return state_->last_read; }
uint64_t Socket::last_write() const { return state_->last_write; }
const PeerInfo& Socket::peer() const { return state_->peer; }
std::string_view Socket::alpn() const {
  return state_->tls == nullptr ? std::string_view() : state_->tls->alpn();
}

}  // namespace isthmus::http
