// What reads frames from a byte stream: WebSocket, SPDY/3.1 and gRPC messages.
#include <zlib.h>

#include <map>

#include "base/encoding.h"
#include "base/strings.h"
#include "fuzz.h"
#include "http/websocket.h"
#include "lab/node/spdy.h"
#include "rpc/framing.h"

namespace isthmus::fuzz {
namespace {

/// The other side of a MemoryStream.
struct Wire {
  std::string sent;
  std::function<void(std::string_view)> data;
  std::function<void(base::Status)> close;
  bool finished = false;

  void Feed(std::string_view bytes) {
    // The callback may be replaced or dropped while it runs.
    if (const auto callback = data) callback(bytes);
  }
  void End() {
    if (const auto callback = close) callback({});
  }
};

/// A connection whose bytes the target writes itself. The wire may outlive it.
class MemoryStream final : public http::ByteStream {
 public:
  explicit MemoryStream(std::shared_ptr<Wire> wire) : wire_(std::move(wire)) {}
  ~MemoryStream() override { wire_->data = nullptr, wire_->close = nullptr; }
  void OnData(std::function<void(std::string_view)> callback) override {
    wire_->data = std::move(callback);
  }
  void OnClose(std::function<void(base::Status)> callback) override {
    wire_->close = std::move(callback);
  }
  void Write(base::Slice bytes) override {
    Require(!wire_->finished, "nothing is written behind the end");
    if (wire_->sent.size() < (1 << 16)) wire_->sent += bytes.view();
  }
  void Finish() override { wire_->finished = true; }
  size_t buffered() const override { return wire_->sent.size(); }
  void OnDrain(std::function<void()>) override {}
  void PauseReading(bool) override {}

 private:
  const std::shared_ptr<Wire> wire_;
};

/// Either role; now and then the owner drops it inside a callback.
class WebSocketTarget final : public Target {
 public:
  void Run(std::string_view input, Random& random) override {
    const auto wire = std::make_shared<Wire>();
    const bool client = random.OneIn(4);
    auto socket = std::make_unique<http::WebSocket>(
        std::make_unique<MemoryStream>(wire),
        client ? http::WebSocket::Role::kClient : http::WebSocket::Role::kServer);
    const bool drops = random.OneIn(8);
    socket->OnMessage([&](std::string_view payload, bool binary) {
      Require(payload.size() <= input.size(), "a message is no longer than its frames");
      socket->Send(payload, binary);
      if (drops) socket.reset();
    });
    int closed = 0;
    socket->OnClose([&](const base::Status&) {
      ++closed;
      if (drops) socket.reset();
    });
    for (const std::string_view piece : Cut(input, random)) wire->Feed(piece);
    wire->End();
    Require(closed == 1 || (drops && closed == 0), "OnClose is called once");
  }
};

// Number and text of SPDY, as in frames and header blocks.
void Put32(std::string& out, size_t value) {
  for (const int shift : {24, 16, 8, 0}) out += static_cast<char>(value >> shift);
}

std::string Control(uint16_t type, uint8_t flags, std::string_view payload) {
  std::string frame;
  Put32(frame, 0x80030000u | type);
  Put32(frame, static_cast<size_t>(flags) << 24 | payload.size());
  return frame.append(payload);
}

/// The client's half of the header compression, for any bytes. A stream without the dictionary is
/// one that a decoder of SPDY must take, too.
class Deflater {
 public:
  Deflater() { deflateInit(&stream_, Z_BEST_SPEED); }
  ~Deflater() { deflateEnd(&stream_); }
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;
  std::string Compress(std::string_view plain) {
    std::string out(plain.size() + 256, '\0');
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(plain.data()));
    stream_.avail_in = static_cast<uInt>(plain.size());
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(out.size());
    deflate(&stream_, Z_SYNC_FLUSH);
    out.resize(out.size() - stream_.avail_out);
    return out;
  }

 private:
  z_stream stream_{};
};

/// Inputs are lines:  open STREAM NAME=VALUE...   block STREAM HEX (an uncompressed header block)
///   data STREAM TEXT   end STREAM TEXT   rst STREAM   control TYPE TEXT   others: bytes as they
///   are
class SpdyTarget final : public Target {
 public:
  void Run(std::string_view input, Random& random) override {
    const auto wire = std::make_shared<Wire>();
    Deflater deflater;
    std::string bytes;
    for (const std::string_view line : base::Split(input, '\n')) bytes += Frame(line, deflater);
    std::unique_ptr<lab::node::SpdySession> session;
    const bool drops = random.OneIn(8);
    int closed = 0;
    lab::node::SpdySession::Events events;
    events.opened = [&](uint32_t id, const lab::node::SpdyHeaders& headers) {
      if (headers.size() > 5) return session->Reset(id);
      session->Accept(id);
      if (drops && headers.size() == 3) session.reset();
    };
    events.data = [&](uint32_t id, std::string_view text) {
      session->Send(id, text, text.size() % 7 == 0);
      if (drops) session.reset();
    };
    events.ended = [&](uint32_t id) {
      session->Send(id, "end", true);
      if (drops && id == 3) session.reset();
    };
    events.closed = [&](const base::Status&) {
      ++closed;
      if (drops) session.reset();
    };
    session = std::make_unique<lab::node::SpdySession>(std::make_unique<MemoryStream>(wire),
                                                       std::move(events));
    for (const std::string_view piece : Cut(bytes, random)) wire->Feed(piece);
    wire->End();
    Require(closed == 1 || (drops && closed == 0), "closed is told once");
  }

 private:
  static std::string Frame(std::string_view line, Deflater& deflater) {
    const auto [verb, rest] = base::Cut(line, " ");
    const auto [word, text] = base::Cut(rest, " ");
    const auto number = base::ParseInt(word);
    const size_t id = number.ok() ? static_cast<size_t>(*number) & 0xffffffff : 0;
    std::string frame;
    Put32(frame, id);
    if (verb == "open" || verb == "block") {
      frame += std::string(6, '\0');
      frame += deflater.Compress(verb == "open" ? Block(text) : Hex(text));
      return Control(1, 0, frame);
    }
    if (verb == "data" || verb == "end") {
      Put32(frame, (verb == "end" ? size_t{1} << 24 : 0) | text.size());
      return frame.append(text);
    }
    if (verb == "rst") return Control(3, 0, frame + std::string(4, '\0'));
    if (verb == "control") return Control(static_cast<uint16_t>(id), 0, text);
    return std::string(line);
  }

  static std::string Block(std::string_view text) {
    std::string block;
    const auto words = base::Split(text, ' ');
    Put32(block, words.size());
    for (const std::string_view field : words) {
      const auto [name, value] = base::Cut(field, "=");
      Put32(block, name.size());
      block += name;
      Put32(block, value.size());
      block += value;
    }
    return block;
  }

  static std::string Hex(std::string_view text) {
    auto bytes = base::HexDecode(text);
    return bytes.ok() ? *std::move(bytes) : std::string(text);
  }
};

/// Messages must be the same however the bytes come.
class GrpcTarget final : public Target {
 public:
  void Run(std::string_view input, Random& random) override {
    const Outcome whole = Read({input});
    Require(Read(Cut(input, random)) == whole, "messages do not depend on how bytes come");
    const std::string text(input.substr(0, 256));
    Require(rpc::DecodeGrpcMessage(rpc::EncodeGrpcMessage(text)) == text, "grpc-message survives");
    rpc::DecodeGrpcMessage(input);
  }

 private:
  struct Outcome {
    std::vector<std::string> messages;
    base::Code code = base::Code::kOk;
    bool partial = false;
    bool operator==(const Outcome&) const = default;
  };
  static Outcome Read(const std::vector<std::string_view>& pieces) {
    rpc::MessageReader reader(1 << 20);
    Outcome outcome;
    for (const std::string_view piece : pieces) {
      const base::Status status = reader.Feed(
          piece, [&](std::string_view message) { outcome.messages.emplace_back(message); },
          [] { return true; });
      outcome.code = status.code();
      if (!status.ok()) return outcome;
    }
    outcome.partial = reader.partial();
    return outcome;
  }
};

}  // namespace

std::unique_ptr<Target> NewWebSocketTarget() { return std::make_unique<WebSocketTarget>(); }
std::unique_ptr<Target> NewSpdyTarget() { return std::make_unique<SpdyTarget>(); }
std::unique_ptr<Target> NewGrpcTarget() { return std::make_unique<GrpcTarget>(); }

}  // namespace isthmus::fuzz
