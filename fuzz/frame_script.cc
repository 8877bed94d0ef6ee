#include "frame_script.h"

#include <cstdint>
#include <cstdlib>
#include <vector>

#include "base/encoding.h"
#include "base/strings.h"

namespace isthmus::fuzz {
namespace {

enum FrameType : uint8_t {
  kData = 0,
  kHeaders = 1,
  kRstStream = 3,
  kSettings = 4,
  kPing = 6,
  kGoAway = 7,
  kWindowUpdate = 8,
  kContinuation = 9
};
constexpr uint8_t kEndStream = 1, kEndHeaders = 4;

uint32_t Number(std::string_view text) {
  return static_cast<uint32_t>(std::strtoull(std::string(text).c_str(), nullptr, 0));
}

void PutNumber(std::string& out, uint32_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(value >> (8 * i));
}

std::string Frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string frame;
  PutNumber(frame, static_cast<uint32_t>(payload.size()), 3);
  frame += static_cast<char>(type);
  frame += static_cast<char>(flags);
  PutNumber(frame, stream, 4);
  return frame.append(payload);
}

// HPACK (RFC 7541): a string without Huffman coding.
void PutText(std::string& out, std::string_view text) {
  size_t size = text.size();
  if (size < 127) {
    out += static_cast<char>(size);
  } else {
    out += '\x7f';
    for (size -= 127; size >= 128; size /= 128) out += static_cast<char>(size % 128 + 128);
    out += static_cast<char>(size);
  }
  out += text;
}

/// Takes the next word off a line.
std::string_view Word(std::string_view& line) {
  const auto [word, rest] = base::Cut(line, " ");
  line = rest;
  return word;
}

bool TakeWord(std::string_view& line, std::string_view word) {
  std::string_view rest = line;
  if (Word(rest) != word) return false;
  line = rest;
  return true;
}

std::string HexOr(std::string_view text, std::string_view otherwise) {
  auto bytes = base::HexDecode(text);
  return bytes.ok() ? *std::move(bytes) : std::string(otherwise);
}

std::string Fields(std::string_view line) {
  std::string block;
  while (!line.empty()) {
    const auto [name, value] = base::Cut(Word(line), "=");
    block += '\0';  // Literal without indexing, with a new name.
    PutText(block, name);
    PutText(block, value);
  }
  return block;
}

std::string Settings(std::string_view line) {
  std::string payload;
  while (!line.empty()) {
    const auto [id, value] = base::Cut(Word(line), "=");
    PutNumber(payload, Number(id), 2);
    PutNumber(payload, Number(value), 4);
  }
  return payload;
}

std::string Head(std::string_view line) {
  const uint32_t stream = Number(Word(line));
  uint8_t flags = kEndHeaders;
  if (TakeWord(line, "end")) flags |= kEndStream;
  if (TakeWord(line, "open")) flags &= static_cast<uint8_t>(~kEndHeaders);
  return Frame(kHeaders, flags, stream, Fields(line));
}

std::string Data(std::string_view line) {
  const uint32_t stream = Number(Word(line));
  const uint8_t flags = TakeWord(line, "end") ? kEndStream : 0;
  std::string payload;
  if (TakeWord(line, "grpc")) {
    payload += '\0';
    PutNumber(payload, static_cast<uint32_t>(line.size()), 4);
  }
  return Frame(kData, flags, stream, payload.append(line));
}

std::string Numbers(uint8_t type, bool on_stream, std::string_view line) {
  const uint32_t stream = Number(Word(line));
  std::string payload;
  if (!on_stream) PutNumber(payload, stream, 4);
  PutNumber(payload, Number(line), 4);
  return Frame(type, 0, on_stream ? stream : 0, payload);
}

std::string Raw(std::string_view line) {
  const auto type = static_cast<uint8_t>(Number(Word(line)));
  const auto flags = static_cast<uint8_t>(Number(Word(line)));
  const uint32_t stream = Number(Word(line));
  return Frame(type, flags, stream, HexOr(line, line));
}

std::string Line(std::string_view line) {
  const std::string_view verb = Word(line);
  if (verb == "settings") return Frame(kSettings, 0, 0, Settings(line));
  if (verb == "head") return Head(line);
  if (verb == "more") {
    const uint32_t stream = Number(Word(line));
    return Frame(kContinuation, kEndHeaders, stream, Fields(line));
  }
  if (verb == "data") return Data(line);
  if (verb == "rst") return Numbers(kRstStream, true, line);
  if (verb == "window") return Numbers(kWindowUpdate, true, line);
  if (verb == "goaway") return Numbers(kGoAway, false, line);
  if (verb == "ping") return Frame(kPing, 0, 0, line);
  if (verb == "raw") return Raw(line);
  if (verb == "bytes") return HexOr(line, "");
  return "";
}

}  // namespace

std::string Http2Frames(std::string_view script) {
  std::string wire;
  for (const std::string_view line : base::Split(script, '\n')) wire += Line(line);
  return wire;
}

}  // namespace isthmus::fuzz
