#pragma once

#include <string>
#include <string_view>

namespace isthmus::fuzz {

/// Frames written as lines of words: mutations of such text are mostly well-formed frames in an
/// unusual order. What makes no sense is left out.
///
/// HTTP/2:
///   settings ID=VALUE...        head STREAM [end] [open] NAME=VALUE...  (open: a continuation
///   follows) more STREAM NAME=VALUE...   data STREAM [end] [grpc] TEXT           (grpc: with a
///   message's prefix) rst STREAM CODE             window STREAM SIZE       ping TEXT      goaway
///   STREAM CODE raw TYPE FLAGS STREAM HEX   bytes HEX
std::string Http2Frames(std::string_view script);

}  // namespace isthmus::fuzz
