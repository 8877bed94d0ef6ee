#include "http/websocket.h"

#include <algorithm>

#include "base/encoding.h"
#include "pki/digest.h"

namespace isthmus::http {
namespace {

using base::Code;
using base::Error;

constexpr size_t kMaxMessage = 16 << 20;
constexpr size_t kMaxPongsWaiting = 64 << 10;
constexpr std::string_view kGuid =
    "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";  // RFC 6455, section 1.3.

enum Opcode : uint8_t {
  kContinuation = 0,
  kText = 1,
  kBinary = 2,
  kCloseFrame = 8,
  kPing = 9,
  kPong = 10
};

struct Frame {
  bool last = false;
  uint8_t opcode = 0;
  bool masked = false;
  size_t head = 0;    // Bytes before the payload.
  uint64_t size = 0;  // Bytes of the payload.
};

/// Reads the head of the frame at the beginning of `bytes`; false when it is not whole yet.
bool ReadHead(std::string_view bytes, Frame& frame) {
  if (bytes.size() < 2) return false;
  auto byte = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  frame.last = byte(0) & 0x80;
  frame.opcode = byte(0) & 0x7f;  // Reserved bits included, so that they are refused as unknown.
  frame.masked = byte(1) & 0x80;
  frame.size = byte(1) & 0x7f;
  size_t more = frame.size == 126 ? 2 : frame.size == 127 ? 8 : 0;
  frame.head = 2 + more + (frame.masked ? 4 : 0);
  if (bytes.size() < frame.head) return false;
  if (more > 0) {
    frame.size = 0;
    for (size_t i = 0; i < more; ++i) frame.size = frame.size << 8 | byte(2 + i);
  }
  return true;
}

std::string AcceptKey(std::string_view key) {
  return base::Base64Encode(pki::Sha1(std::string(key) + std::string(kGuid)));
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
  return lower;
}

bool HasToken(std::string_view list, std::string_view token) {
  return Lower(list).find(token) != std::string::npos;
}

std::vector<std::string> SplitList(std::string_view list) {
  std::vector<std::string> items;
  std::string item;
  for (char c : list) {
    if (c == ',') {
      items.push_back(std::exchange(item, ""));
    } else if (c != ' ' && c != '\t') {
      item += c;
    }
  }
  items.push_back(item);
  return items;
}

}  // namespace

struct WebSocket::Impl : std::enable_shared_from_this<Impl> {
  std::unique_ptr<ByteStream> stream;
  Role role = Role::kClient;
  std::string buffer;
  std::string message;         // Fragments so far.
  uint8_t message_opcode = 0;  // Of the message under way; 0 between messages.
  bool close_sent = false;
  bool over = false;
  std::function<void(std::string_view, bool)> on_message;
  std::function<void(base::Status)> on_close;

  void Attach() {
    std::weak_ptr<Impl> weak = weak_from_this();
    stream->OnData([weak](std::string_view data) {
      if (auto self = weak.lock()) self->OnData(data);
    });
    stream->OnClose([weak](base::Status status) {
      if (auto self = weak.lock()) self->End(std::move(status));
    });
  }

  void SendFrame(uint8_t opcode, std::string_view payload) {
    if (over || stream == nullptr) return;
    std::string frame;
    frame.reserve(payload.size() + 14);
    frame += static_cast<char>(0x80 | opcode);
    const uint8_t mask_bit = role == Role::kClient ? 0x80 : 0;
    if (payload.size() < 126) {
      frame += static_cast<char>(mask_bit | payload.size());
    } else {
      int bytes = payload.size() < 65536 ? 2 : 8;
      frame += static_cast<char>(mask_bit | (bytes == 2 ? 126 : 127));
      for (int i = bytes - 1; i >= 0; --i) frame += static_cast<char>(payload.size() >> (8 * i));
    }
    if (role == Role::kClient) {
      std::string mask = pki::RandomBytes(4);
      frame += mask;
      for (size_t i = 0; i < payload.size(); ++i)
        frame += static_cast<char>(payload[i] ^ mask[i % 4]);
    } else {
      frame += payload;
    }
    stream->Write(base::Slice(std::move(frame)));
  }

  void SendClose(uint16_t code, std::string_view reason) {
    if (close_sent) return;
    std::string payload = {static_cast<char>(code >> 8), static_cast<char>(code)};
    payload += reason.substr(0, 120);
    SendFrame(kCloseFrame, payload);
    close_sent = true;
    if (stream != nullptr) stream->Finish();
  }

  void Fail(uint16_t code, std::string_view why) {
    SendClose(code, why);
    End(Error(Code::kInvalidArgument, "WebSocket: {}", why));
  }

  void End(base::Status status) {
    if (over) return;
    over = true;
    auto closed = std::move(on_close);
    on_message = nullptr;
    on_close = nullptr;
    if (closed) closed(std::move(status));
  }

  void OnData(std::string_view data) {
    auto keep = shared_from_this();
    buffer.append(data);
    size_t used = 0;
    Frame frame;
    while (!over && ReadHead(std::string_view(buffer).substr(used), frame)) {
      if (frame.size > kMaxMessage || message.size() + frame.size > kMaxMessage)
        return Fail(1009, "message too large");
      if (frame.masked != (role == Role::kServer)) return Fail(1002, "wrong masking");
      if (buffer.size() - used < frame.head + frame.size) break;
      std::string payload = buffer.substr(used + frame.head, frame.size);
      if (frame.masked) {
        const char* mask = buffer.data() + used + frame.head - 4;
        for (size_t i = 0; i < payload.size(); ++i) payload[i] ^= mask[i % 4];
      }
      used += frame.head + frame.size;
      OnFrame(frame, std::move(payload));
    }
    if (!over) buffer.erase(0, used);
  }

  void OnFrame(const Frame& frame, std::string payload) {
    if (frame.opcode >= kCloseFrame) {
      if (!frame.last || frame.size > 125) return Fail(1002, "broken control frame");
      if (frame.opcode == kPing) {
        // Who does not read the answers gets no more of them.
        if (stream->buffered() < kMaxPongsWaiting) SendFrame(kPong, payload);
        return;
      }
      if (frame.opcode == kPong) return;
      if (frame.opcode != kCloseFrame) return Fail(1002, "unknown frame");
      SendClose(1000, "");
      return End(base::Status());
    }
    if (frame.opcode > kBinary) return Fail(1002, "unknown frame");
    if ((frame.opcode == kContinuation) != (message_opcode != 0))
      return Fail(1002, "fragments out of order");
    if (frame.opcode != kContinuation) message_opcode = frame.opcode;
    message += payload;
    if (!frame.last) return;
    std::string whole = std::exchange(message, "");
    bool binary = std::exchange(message_opcode, 0) == kBinary;
    if (auto callback = on_message) callback(whole, binary);
  }
};

WebSocket::WebSocket(std::unique_ptr<ByteStream> stream, Role role)
    : impl_(std::make_shared<Impl>()) {
  impl_->stream = std::move(stream);
  impl_->role = role;
  impl_->Attach();
}

WebSocket::~WebSocket() {
  impl_->over = true;
  impl_->on_message = nullptr;
  impl_->on_close = nullptr;
  impl_->stream.reset();
}

void WebSocket::OnMessage(std::function<void(std::string_view, bool)> callback) {
  impl_->on_message = std::move(callback);
}
void WebSocket::OnClose(std::function<void(base::Status)> callback) {
  impl_->on_close = std::move(callback);
}
void WebSocket::Send(std::string_view payload, bool binary) {
  if (!impl_->close_sent) impl_->SendFrame(binary ? kBinary : kText, payload);
}
void WebSocket::Close(uint16_t code, std::string_view reason) { impl_->SendClose(code, reason); }
size_t WebSocket::buffered() const {
  return impl_->stream == nullptr ? 0 : impl_->stream->buffered();
}
void WebSocket::OnDrain(std::function<void()> callback) {
  if (impl_->stream != nullptr) impl_->stream->OnDrain(std::move(callback));
}
void WebSocket::PauseReading(bool pause) {
  if (impl_->stream != nullptr) impl_->stream->PauseReading(pause);
}

bool WantsWebSocket(const RequestHead& head) {
  auto upgrade = head.headers.Get("upgrade");
  return upgrade.has_value() && HasToken(*upgrade, "websocket") &&
         head.headers.Get("sec-websocket-key").has_value();
}

std::string ChooseProtocol(const RequestHead& head, const std::vector<std::string>& ours) {
  for (const auto& [name, value] : head.headers.all()) {
    if (name != "sec-websocket-protocol") continue;
    for (const std::string& offered : SplitList(value))
      if (std::find(ours.begin(), ours.end(), offered) != ours.end()) return offered;
  }
  return {};
}

Headers WebSocketAnswer(const RequestHead& head, std::string_view protocol) {
  Headers headers{{"upgrade", "websocket"}, {"connection", "Upgrade"}};
  headers.Add("sec-websocket-accept",
              AcceptKey(head.headers.Get("sec-websocket-key").value_or("")));
  if (!protocol.empty()) headers.Add("sec-websocket-protocol", protocol);
  return headers;
}

RequestHead WebSocketRequest(std::string target, const std::vector<std::string>& protocols) {
  RequestHead head;
  head.target = std::move(target);
  head.headers =
      Headers{{"upgrade", "websocket"}, {"connection", "Upgrade"}, {"sec-websocket-version", "13"}};
  head.headers.Add("sec-websocket-key", base::Base64Encode(pki::RandomBytes(16)));
  std::string list;
  for (const std::string& protocol : protocols) list += (list.empty() ? "" : ", ") + protocol;
  if (!list.empty()) head.headers.Add("sec-websocket-protocol", list);
  return head;
}

base::Status CheckWebSocketAnswer(const RequestHead& request, const ResponseHead& answer) {
  auto key = request.headers.Get("sec-websocket-key");
  auto accept = answer.headers.Get("sec-websocket-accept");
  if (answer.status != 101 || !key.has_value() || accept != AcceptKey(*key))
    return Error(Code::kUnavailable, "the server did not agree to a WebSocket (HTTP {})",
                 answer.status);
  return {};
}

}  // namespace isthmus::http
