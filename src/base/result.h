#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace isthmus::base {

/// Why something failed, in words a program can act on. The numbers are gRPC's status codes.
enum class Code {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

/// Success, or a code with a sentence for the user. A value; cheap when OK.
/// Messages grow from the inside out: "installing cluster1: reading secret cacerts: not found".
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }

  /// Puts what the caller was doing in front of the message; the code stays. OK passes through, and
  /// so does everything when `doing` is empty.
  Status In(std::string_view doing) const {
    return ok() || doing.empty() ? *this : Status(code_, fmt::format("{}: {}", doing, message_));
  }
  bool operator==(const Status&) const = default;

 private:
  Code code_ = Code::kOk;
  std::string message_;
};

template <typename... Args>
Status Error(Code code, fmt::format_string<Args...> format, Args&&... args) {
  return Status(code, fmt::format(format, std::forward<Args>(args)...));
}

/// What an errno means to a program; `otherwise` for those that mean nothing in particular.
Code CodeOfErrno(int error, Code otherwise);
/// A system call that failed just now, with what errno says; kInternal, for it is ours to get
/// right.
Status ErrnoError(std::string_view doing);

/// A T, or the Status that says why there is none. Never holds an OK status.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}         // NOLINT
  Result(Status status) : state_(std::in_place_index<1>, std::move(status)) {}  // NOLINT

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  Status status() const { return ok() ? Status() : std::get<1>(state_); }

  /// REQUIRES: ok().
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<T, Status> state_;
};

#define ISTHMUS_CONCAT_(a, b) a##b
#define ISTHMUS_CONCAT(a, b) ISTHMUS_CONCAT_(a, b)
/// Returns from the function with the error of `expr`, told as "doing: error".
#define RETURN_IF_ERROR(expr, doing) \
  if (::isthmus::base::Status status_ = (expr); !status_.ok()) return status_.In(doing)
/// Assigns the value of the Result `expr`, or returns its error, told as "doing: error".
#define ASSIGN_OR_RETURN(lhs, expr, doing) \
  ASSIGN_OR_RETURN_(ISTHMUS_CONCAT(result_, __LINE__), lhs, expr, doing)
#define ASSIGN_OR_RETURN_(tmp, lhs, expr, doing) \
  auto tmp = (expr);                             \
  if (!tmp.ok()) return tmp.status().In(doing);  \
  lhs = std::move(tmp).value()

}  // namespace isthmus::base
