#include <zlib.h>

#include <cstring>

#include "lab/node/spdy.h"

namespace isthmus::lab::node {
namespace {

constexpr size_t kLargestBlock = 64 * 1024;

void Put32(std::string& out, size_t value) {
  for (const int shift : {24, 16, 8, 0}) out += static_cast<char>(value >> shift & 255);
}

// The dictionary of SPDY/3: names of headers, each after its length, then frequent values in one
// string.
std::string MakeDictionary() {
  std::string out;
  for (const char* name : {"options",
                           "head",
                           "post",
                           "put",
                           "delete",
                           "trace",
                           "accept",
                           "accept-charset",
                           "accept-encoding",
                           "accept-language",
                           "accept-ranges",
                           "age",
                           "allow",
                           "authorization",
                           "cache-control",
                           "connection",
                           "content-base",
                           "content-encoding",
                           "content-language",
                           "content-length",
                           "content-location",
                           "content-md5",
                           "content-range",
                           "content-type",
                           "date",
                           "etag",
                           "expect",
                           "expires",
                           "from",
                           "host",
                           "if-match",
                           "if-modified-since",
                           "if-none-match",
                           "if-range",
                           "if-unmodified-since",
                           "last-modified",
                           "location",
                           "max-forwards",
                           "pragma",
                           "proxy-authenticate",
                           "proxy-authorization",
                           "range",
                           "referer",
                           "retry-after",
                           "server",
                           "te",
                           "trailer",
                           "transfer-encoding",
                           "upgrade",
                           "user-agent",
                           "vary",
                           "via",
                           "warning",
                           "www-authenticate",
                           "method",
                           "get",
                           "status",
                           "200 OK",
                           "version",
                           "HTTP/1.1",
                           "url",
                           "public",
                           "set-cookie",
                           "keep-alive",
                           "origin"}) {
    Put32(out, strlen(name));
    out += name;
  }
  return out +
         "10010120120220520630030230330430530630740240540640740840941041141241341441541641750250450"
         "5203 "
         "Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 "
         "Unauthorized403 "
         "Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service "
         "UnavailableJan Feb Mar Apr "
         "May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, "
         "GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/"
         "xhtml+xml,text/plain,text/"
         "javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,"
         "enq=0.";
}

const std::string& Dictionary() {
  static const std::string dictionary = MakeDictionary();
  return dictionary;
}

bool Take32(std::string_view& text, uint32_t* value) {
  if (text.size() < 4) return false;
  *value = 0;
  for (int i = 0; i < 4; ++i)
    *value = *value << 8 | static_cast<unsigned char>(text[static_cast<size_t>(i)]);
  text.remove_prefix(4);
  return true;
}

bool TakeText(std::string_view& text, std::string* out) {
  uint32_t size = 0;
  if (!Take32(text, &size) || size > text.size()) return false;
  *out = text.substr(0, size);
  text.remove_prefix(size);
  return true;
}

}  // namespace

struct SpdyHeaderCodec::Impl {
  z_stream out{};
  z_stream in{};
};

SpdyHeaderCodec::SpdyHeaderCodec() : impl_(std::make_unique<Impl>()) {
  deflateInit(&impl_->out, Z_BEST_SPEED);
  deflateSetDictionary(&impl_->out, reinterpret_cast<const Bytef*>(Dictionary().data()),
                       static_cast<uInt>(Dictionary().size()));
  inflateInit(&impl_->in);
}

SpdyHeaderCodec::~SpdyHeaderCodec() {
  deflateEnd(&impl_->out);
  inflateEnd(&impl_->in);
}

std::string SpdyHeaderCodec::Encode(const SpdyHeaders& headers) {
  std::string plain;
  Put32(plain, headers.size());
  for (const auto& [name, value] : headers) {
    Put32(plain, name.size());
    plain += name;
    Put32(plain, value.size());
    plain += value;
  }
  std::string block(plain.size() + 256, '\0');
  impl_->out.next_in = reinterpret_cast<Bytef*>(plain.data());
  impl_->out.avail_in = static_cast<uInt>(plain.size());
  impl_->out.next_out = reinterpret_cast<Bytef*>(block.data());
  impl_->out.avail_out = static_cast<uInt>(block.size());
  deflate(&impl_->out, Z_SYNC_FLUSH);
  block.resize(block.size() - impl_->out.avail_out);
  return block;
}

base::Result<SpdyHeaders> SpdyHeaderCodec::Decode(std::string_view block) {
  std::string plain;
  impl_->in.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(block.data()));
  impl_->in.avail_in = static_cast<uInt>(block.size());
  while (true) {
    char buffer[4096];
    impl_->in.next_out = reinterpret_cast<Bytef*>(buffer);
    impl_->in.avail_out = sizeof buffer;
    const int code = inflate(&impl_->in, Z_SYNC_FLUSH);
    if (code == Z_NEED_DICT) {
      if (inflateSetDictionary(&impl_->in, reinterpret_cast<const Bytef*>(Dictionary().data()),
                               static_cast<uInt>(Dictionary().size())) != Z_OK)
        return base::Error(base::Code::kInvalidArgument, "SPDY: foreign dictionary");
      continue;
    }
    if (code != Z_OK && code != Z_BUF_ERROR && code != Z_STREAM_END)
      return base::Error(base::Code::kInvalidArgument, "SPDY: broken header block");
    plain.append(buffer, sizeof buffer - impl_->in.avail_out);
    if (plain.size() > kLargestBlock)
      return base::Error(base::Code::kResourceExhausted, "SPDY: header block too large");
    if (impl_->in.avail_out != 0) break;
  }
  std::string_view rest = plain;
  uint32_t count = 0;
  if (!Take32(rest, &count) || count > 1000)
    return base::Error(base::Code::kInvalidArgument, "SPDY: broken header block");
  SpdyHeaders headers(count);
  for (auto& [name, value] : headers)
    if (!TakeText(rest, &name) || !TakeText(rest, &value))
      return base::Error(base::Code::kInvalidArgument, "SPDY: broken header block");
  return headers;
}

}  // namespace isthmus::lab::node
