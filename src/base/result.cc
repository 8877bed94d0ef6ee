#include "base/result.h"

#include <cerrno>
#include <cstring>

namespace isthmus::base {

Status ErrnoError(std::string_view doing) {
  const int number = errno;
  const Code code = number == EPERM || number == EACCES ? Code::kPermissionDenied
                    : number == ENOENT                  ? Code::kNotFound
                                                        : Code::kInternal;
  return Error(code, "{}: {}", doing, std::strerror(number));
}

}  // namespace isthmus::base
