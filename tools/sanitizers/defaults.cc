// Options of the sanitizers, compiled into every program that is built with one: a container's
// processes have the environment of their pod, not that of whoever started the lab.
//
// These functions run before everything else, even before the sanitizers' own memory is there. So
// this file is compiled without sanitizers and calls nothing but the kernel.
#include <fcntl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace {

// "<common>" and, when the folder for reports is there, the path of this process's report in it.
// Processes of different process namespaces may have the same number, so the time is part of the
// name.
struct Options {
  char text[512];
  int size = 0;

  void Add(const char* more) {
    while (*more != '\0' && size < static_cast<int>(sizeof text) - 1) text[size++] = *more++;
    text[size] = '\0';
  }
  void AddTime() {
    timespec now{};
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
    unsigned long number = static_cast<unsigned long>(now.tv_sec) * 1000000000UL +
                           static_cast<unsigned long>(now.tv_nsec);
    for (int i = 0; i < 16; ++i, number <<= 4) {
      const char digit[2] = {"0123456789abcdef"[number >> 60], '\0'};
      Add(digit);
    }
  }
  const char* Make(const char* common) {
    size = 0;
    Add(common);
    if (syscall(SYS_faccessat, AT_FDCWD, ISTHMUS_SANITIZER_REPORTS, W_OK) != 0) return text;
    Add(":log_exe_name=1:log_path=" ISTHMUS_SANITIZER_REPORTS "/");
    AddTime();
    return text;
  }
};

Options asan, tsan;

}  // namespace

extern "C" {

const char* __asan_default_options() { return asan.Make("detect_leaks=1"); }
const char* __ubsan_default_options() { return "print_stacktrace=1"; }
const char* __tsan_default_options() { return tsan.Make("second_deadlock_stack=1"); }

// GCC's undefined sanitizer knows no log_path. Its finding is the last that the program prints, so
// standard error may lead to the report from here on.
void __ubsan_on_report() {
  Options path;
  path.Add(ISTHMUS_SANITIZER_REPORTS "/");
  path.AddTime();
  path.Add(".undefined");
  const long file = syscall(SYS_openat, AT_FDCWD, path.text, O_WRONLY | O_CREAT | O_EXCL, 0644);
  if (file >= 0) syscall(SYS_dup3, file, 2, 0);
}

// Each line needs its reason.
const char* __tsan_default_suppressions() {
  // Debian's gRPC, the other side of grpc_interop_test, has threads of its own and is not built
  // with the sanitizer, which so does not see how they keep from each other. Isthmus links none.
  return "race:libgrpc\n"
         "race:libgpr\n"
         "race:libabsl\n";
}

// The leak check starts a tracer, which a process that made a process namespace for its children
// cannot.
int __lsan_is_turned_off() {
  char own[64], children[64];
  const long size = syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/ns/pid", own, sizeof own);
  if (size <= 0) return 0;
  if (syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/ns/pid_for_children", children,
              sizeof children) != size)
    return 1;
  for (long i = 0; i < size; ++i)
    if (own[i] != children[i]) return 1;
  return 0;
}
}
