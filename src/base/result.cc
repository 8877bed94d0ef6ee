#include "base/result.h"

#include <cerrno>
#include <cstring>

namespace isthmus::base {

Code CodeOfErrno(int error, Code otherwise) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return Code::kNotFound;
    case EACCES:
    case EPERM:
    case EROFS:
      return Code::kPermissionDenied;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
      return Code::kResourceExhausted;
    case EEXIST:
      return Code::kAlreadyExists;
    default:
      return otherwise;
  }
}

Status ErrnoError(std::string_view doing) {
  return Error(Code::kInternal, "{}: {}", doing, std::strerror(errno));
}

}  // namespace isthmus::base
