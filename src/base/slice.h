#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace isthmus::base {

/// A piece of immutable bytes that many owners share without copying: a serialised resource goes to
/// every stream as the same memory.
/// Copying a Slice copies a pointer. Any thread may read it.
class Slice {
 public:
  Slice() = default;
  /// Takes the bytes over; they are never changed again.
  explicit Slice(std::string bytes)
      : owner_(std::make_shared<const std::string>(std::move(bytes))), view_(*owner_) {}
  static Slice Copy(std::string_view bytes) { return Slice(std::string(bytes)); }
  /// For string literals and other memory that outlives every use.
  static Slice Static(std::string_view bytes) {
    Slice slice;
    slice.view_ = bytes;
    return slice;
  }

  std::string_view view() const { return view_; }
  const char* data() const { return view_.data(); }
  size_t size() const { return view_.size(); }
  bool empty() const { return view_.empty(); }
  /// The part from `offset`, at most `length` bytes; shares the memory.
  Slice Sub(size_t offset, size_t length = std::string_view::npos) const {
    Slice part = *this;
    part.view_ = view_.substr(offset, length);
    return part;
  }

 private:
  std::shared_ptr<const std::string> owner_;
  std::string_view view_;
};

}  // namespace isthmus::base
