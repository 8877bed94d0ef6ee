#include "lab/node/spdy.h"

#include <set>

namespace isthmus::lab::node {
namespace {

enum ControlType : uint16_t {
  kSynStream = 1,
  kSynReply = 2,
  kRstStream = 3,
  kPing = 6,
  kGoAway = 7
};
constexpr uint8_t kFin = 1;
constexpr size_t kHead = 8;
constexpr uint32_t kLargestFrame = 4 << 20;
constexpr size_t kChunk = 32 * 1024;

uint32_t Read32(std::string_view text, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(text[at + i]);
  return value;
}

void Put32(std::string& out, uint32_t value) {
  for (const int shift : {24, 16, 8, 0}) out += static_cast<char>(value >> shift & 255);
}

std::string ControlFrame(ControlType type, std::string_view payload, uint8_t flags = 0) {
  std::string frame;
  Put32(frame, 0x80030000u | type);
  Put32(frame, static_cast<uint32_t>(flags) << 24 | static_cast<uint32_t>(payload.size()));
  return frame.append(payload);
}

}  // namespace

struct SpdySession::Impl : std::enable_shared_from_this<Impl> {
  std::unique_ptr<http::ByteStream> connection;
  Events events;
  SpdyHeaderCodec codec;
  std::string received;
  std::set<uint32_t> sending;  // Streams on which we may still send.
  bool closed = false;

  void Write(std::string frame) {
    if (!closed) connection->Write(base::Slice(std::move(frame)));
  }

  void OnData(std::string_view bytes) {
    received.append(bytes);
    auto self = shared_from_this();  // A callback may drop the session.
    size_t at = 0;
    while (!closed && received.size() - at >= kHead) {
      const std::string_view rest = std::string_view(received).substr(at);
      const uint32_t size = Read32(rest, 4) & 0xffffff;
      if (size > kLargestFrame)
        return Close(base::Error(base::Code::kResourceExhausted, "SPDY: frame too large"));
      if (rest.size() < kHead + size) break;
      at += kHead + size;
      const base::Status status =
          HandleFrame(Read32(rest, 0), static_cast<uint8_t>(rest[4]), rest.substr(kHead, size));
      if (!status.ok()) return Close(status);
    }
    received.erase(0, at);
  }

  base::Status HandleFrame(uint32_t first, uint8_t flags, std::string_view payload) {
    if ((first & 0x80000000u) == 0) {
      if (!payload.empty() && events.data) events.data(first, std::string(payload));
      if ((flags & kFin) != 0) Ended(first);
      return {};
    }
    switch (first & 0xffff) {
      case kSynStream: {
        if (payload.size() < 10)
          return base::Error(base::Code::kInvalidArgument, "SPDY: short frame");
        const uint32_t id = Read32(payload, 0) & 0x7fffffff;
        auto headers = codec.Decode(payload.substr(10));
        if (!headers.ok()) return headers.status();
        sending.insert(id);
        if (events.opened) events.opened(id, *headers);
        if ((flags & kFin) != 0) Ended(id);
        return {};
      }
      case kRstStream:
        if (payload.size() < 8)
          return base::Error(base::Code::kInvalidArgument, "SPDY: short frame");
        sending.erase(Read32(payload, 0));
        Ended(Read32(payload, 0));
        return {};
      case kPing:
        Write(ControlFrame(kPing, payload));
        return {};
      default:  // Settings, window updates, goodbyes: nothing to do.
        return {};
    }
  }

  void Ended(uint32_t id) {
    if (!closed && events.ended) events.ended(id);
  }

  void Close(const base::Status& status) {
    if (std::exchange(closed, true)) return;
    connection->Finish();
    if (events.closed) events.closed(status);
  }
};

SpdySession::SpdySession(std::unique_ptr<http::ByteStream> connection, Events events)
    : impl_(std::make_shared<Impl>()) {
  impl_->connection = std::move(connection);
  impl_->events = std::move(events);
  std::weak_ptr<Impl> weak = impl_;
  impl_->connection->OnData([weak](std::string_view bytes) {
    if (auto self = weak.lock()) self->OnData(bytes);
  });
  impl_->connection->OnClose([weak](const base::Status& status) {
    auto self = weak.lock();
    if (self == nullptr || std::exchange(self->closed, true)) return;
    if (self->events.closed) self->events.closed(status);
  });
}

SpdySession::~SpdySession() {
  // Its own callback may be what drops the session; callbacks and connection then go with the last
  // holder, which is whoever calls it.
  impl_->closed = true;
}

void SpdySession::Accept(uint32_t id) {
  std::string payload;
  Put32(payload, id);
  payload += impl_->codec.Encode({});
  impl_->Write(ControlFrame(kSynReply, payload));
}

void SpdySession::Send(uint32_t id, std::string_view bytes, bool end) {
  if (impl_->sending.count(id) == 0) return;
  do {
    const std::string_view part = bytes.substr(0, kChunk);
    bytes.remove_prefix(part.size());
    if (part.empty() && !end) return;
    std::string frame;
    Put32(frame, id);
    Put32(frame, static_cast<uint32_t>(end && bytes.empty() ? kFin : 0) << 24 |
                     static_cast<uint32_t>(part.size()));
    frame += part;
    impl_->Write(std::move(frame));
  } while (!bytes.empty());
  if (end) impl_->sending.erase(id);
}

void SpdySession::Reset(uint32_t id) {
  impl_->sending.erase(id);
  std::string payload;
  Put32(payload, id);
  Put32(payload, 5);  // Cancelled.
  impl_->Write(ControlFrame(kRstStream, payload));
}

void SpdySession::Finish() {
  if (std::exchange(impl_->closed, true)) return;
  impl_->connection->Finish();
}

size_t SpdySession::buffered() const { return impl_->connection->buffered(); }
void SpdySession::OnDrain(std::function<void()> callback) {
  impl_->connection->OnDrain(std::move(callback));
}
void SpdySession::PauseReading(bool pause) { impl_->connection->PauseReading(pause); }

}  // namespace isthmus::lab::node
