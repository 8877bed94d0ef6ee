#include "lab/node/log_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/files.h"
#include "lab/network/fd.h"
#include "lab/node/remote_streams.h"

namespace isthmus::lab::node {
namespace {

using std::chrono_literals::operator""ms;

constexpr auto kFollowPeriod = 50ms;

// One line of the file: "time stream F|P text". False when it is not of that form.
struct Line {
  std::string_view time, text;
  bool full = true;
};

bool ParseLine(std::string_view raw, Line* line) {
  const size_t first = raw.find(' '), second = raw.find(' ', first + 1),
               third = raw.find(' ', second + 1);
  if (first == raw.npos || second == raw.npos || third == raw.npos) return false;
  line->time = raw.substr(0, first);
  line->full = raw.substr(second + 1, third - second - 1) == "F";
  line->text = raw.substr(third + 1);
  return true;
}

void Append(const Line& line, bool timestamps, std::string& out) {
  if (timestamps) out.append(line.time).append(" ");
  out.append(line.text);
  if (line.full) out += '\n';
}

}  // namespace

std::string RenderLog(std::string_view log, const LogOptions& options) {
  std::string out;
  // From the back for the last lines, then forward.
  size_t start = 0;
  if (options.tail.has_value()) {
    start = log.size();
    if (start > 0 && log[start - 1] == '\n') --start;
    for (int64_t lines = 0; start > 0; --start) {
      if (log[start - 1] == '\n' && ++lines >= *options.tail) break;
    }
    if (*options.tail <= 0) start = log.size();
  }
  while (start < log.size()) {
    const size_t end = log.find('\n', start);
    if (end == log.npos) break;
    Line line;
    const bool good = ParseLine(log.substr(start, end - start), &line);
    start = end + 1;
    if (!good) continue;
    if (options.since.has_value()) {
      auto time = base::ParseTime(line.time);
      if (time.ok() && *time < *options.since) continue;
    }
    Append(line, options.timestamps, out);
    if (options.limit_bytes.has_value() && out.size() >= static_cast<size_t>(*options.limit_bytes))
      return out.substr(0, static_cast<size_t>(*options.limit_bytes));
  }
  return out;
}

namespace {

// Looks at the file again and again: a log is written by another process, and 50 ms are not seen by
// people.
class Follower {
 public:
  Follower(base::Loop& loop, std::shared_ptr<http::ServerStream> stream, std::string path,
           const LogOptions& options, std::function<bool()> ended)
      : loop_(loop),
        stream_(std::move(stream)),
        path_(std::move(path)),
        options_(options),
        ended_(std::move(ended)) {}

  static void Start(const std::shared_ptr<Follower>& self, size_t offset) {
    self->self_ = self;
    self->offset_ = offset;
    self->fd_.Reset(open(self->path_.c_str(), O_RDONLY | O_CLOEXEC));
    self->options_.tail.reset();
    self->options_.since.reset();
    self->stream_->OnClose([raw = self.get()] { raw->End(false); });
    self->timer_ =
        base::Timer::Every(self->loop_, kFollowPeriod, [raw = self.get()] { raw->Look(); });
  }

 private:
  void Look() {
    if (stream_ == nullptr || stream_->buffered() > kMostUnsent) return;
    const bool last = ended_();
    if (!fd_.valid()) fd_.Reset(open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    char buffer[32768];
    ssize_t n = 0;
    while (fd_.valid() &&
           (n = pread(fd_.get(), buffer, sizeof buffer, static_cast<off_t>(offset_))) > 0) {
      offset_ += static_cast<size_t>(n);
      pending_.append(buffer, static_cast<size_t>(n));
    }
    const size_t whole = pending_.rfind('\n');
    if (whole != std::string::npos) {
      const std::string text = RenderLog(std::string_view(pending_).substr(0, whole + 1), options_);
      pending_.erase(0, whole + 1);
      if (!text.empty()) stream_->SendData(base::Slice(text));
    }
    // The file may have been set aside: go on with the new one.
    if (n == 0 && !last && Rotated()) {
      fd_.Reset(open(path_.c_str(), O_RDONLY | O_CLOEXEC));
      offset_ = 0;
    }
    if (last) End(true);
  }
  bool Rotated() const {
    auto size = lseek(fd_.get(), 0, SEEK_END);
    network::Fd now(open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    return now.valid() && fd_.valid() && lseek(now.get(), 0, SEEK_END) < size;
  }
  void End(bool say) {
    timer_.Cancel();
    if (say && stream_ != nullptr) stream_->SendData(base::Slice(), true);
    loop_.Post([self = std::exchange(self_, nullptr)] {});
  }

  base::Loop& loop_;
  std::shared_ptr<http::ServerStream> stream_;
  const std::string path_;
  LogOptions options_;
  std::function<bool()> ended_;
  std::shared_ptr<Follower> self_;
  network::Fd fd_;
  size_t offset_ = 0;
  std::string pending_;
  base::Timer timer_;
};

}  // namespace

void ServeLog(base::Loop& loop, const std::shared_ptr<http::ServerStream>& stream,
              const std::string& path, const LogOptions& options, std::function<bool()> ended) {
  auto now = base::ReadFile(path);
  std::string text = now.ok() ? *now : "";
  const size_t whole = text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1;
  text.resize(whole);
  if (!options.tail.has_value() || options.since.has_value()) {
    auto before = base::ReadFile(path + ".1");
    if (before.ok()) text.insert(0, *before);
  }
  stream->SendHeaders(200, {{"content-type", "text/plain"}});
  const std::string shown = RenderLog(text, options);
  if (!options.follow) return stream->SendData(base::Slice(shown), true);
  if (!shown.empty()) stream->SendData(base::Slice(shown));
  Follower::Start(std::make_shared<Follower>(loop, stream, path, options, std::move(ended)), whole);
}

}  // namespace isthmus::lab::node
