#include "lab/node/rootfs.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace isthmus::lab::node {
namespace {

// Where the machine's root stays visible until the mounts out of it are made.
constexpr char kOldRoot[] = "/.machine";

base::Status DoMount(const char* source, const std::string& target, const char* type,
                     unsigned long flags, const char* options) {
  if (mount(source, target.c_str(), type, flags, options) != 0)
    return base::ErrnoError(std::string("mounting ") + (type != nullptr ? type : source) + " at " +
                            target);
  return {};
}

base::Status MakeFolders(const std::string& path, mode_t mode = 0755) {
  for (size_t at = path.find('/', 1);; at = path.find('/', at + 1)) {
    const std::string part = path.substr(0, at);
    if (!part.empty() && mkdir(part.c_str(), mode) != 0 && errno != EEXIST)
      return base::ErrnoError("making folder " + part);
    if (at == std::string::npos) return {};
  }
}

std::string Parent(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

// Binds `source` (a file or a folder, seen from the machine) onto `target`, which is made if
// absent.
base::Status Bind(const Mount& mount_point) {
  const std::string source = kOldRoot + mount_point.source;
  struct stat info {};
  if (stat(source.c_str(), &info) != 0)
    return base::ErrnoError("looking for " + mount_point.source);
  std::string target = mount_point.target;
  while (target.size() > 1 && target.back() == '/') target.pop_back();
  RETURN_IF_ERROR(MakeFolders(Parent(target)), "mount " + target);
  if (S_ISDIR(info.st_mode)) {
    RETURN_IF_ERROR(MakeFolders(target), "mount " + target);
  } else {
    // A link (such as the machine's /etc/resolv.conf) would lead the mount elsewhere.
    struct stat there {};
    if (lstat(target.c_str(), &there) == 0 && S_ISLNK(there.st_mode)) unlink(target.c_str());
    const int fd = open(target.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0 && errno != ETXTBSY) return base::ErrnoError("making " + target);
    if (fd >= 0) close(fd);
  }
  RETURN_IF_ERROR(DoMount(source.c_str(), target, nullptr, MS_BIND | MS_REC, nullptr), "bind");
  if (!mount_point.read_only) return {};
  return DoMount(nullptr, target, nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr);
}

base::Status MakeDevices() {
  RETURN_IF_ERROR(DoMount("dev", "/dev", "tmpfs", MS_NOSUID, "mode=755,size=64k"), "/dev");
  for (const char* name : {"null", "zero", "full", "random", "urandom", "tty"}) {
    const std::string path = std::string("/dev/") + name;
    const int fd = open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
    if (fd >= 0) close(fd);
    RETURN_IF_ERROR(DoMount((kOldRoot + path).c_str(), path, nullptr, MS_BIND, nullptr), path);
  }
  mkdir("/dev/pts", 0755);
  mkdir("/dev/shm", 01777);
  RETURN_IF_ERROR(DoMount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
                          "newinstance,ptmxmode=0666,mode=0620,gid=5"),
                  "/dev/pts");
  RETURN_IF_ERROR(DoMount("shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"),
                  "/dev/shm");
  const std::pair<const char*, const char*> links[] = {{"pts/ptmx", "/dev/ptmx"},
                                                       {"/proc/self/fd", "/dev/fd"},
                                                       {"/proc/self/fd/0", "/dev/stdin"},
                                                       {"/proc/self/fd/1", "/dev/stdout"},
                                                       {"/proc/self/fd/2", "/dev/stderr"}};
  for (const auto& [to, name] : links)
    if (symlink(to, name) != 0) return base::ErrnoError(std::string("linking ") + name);
  return {};
}

base::Status MakeKernelFolders(bool privileged) {
  RETURN_IF_ERROR(DoMount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr),
                  "/proc");
  // Fails where the machine itself has a masked /sys; the container then sees an empty one.
  if (mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, nullptr) != 0)
    RETURN_IF_ERROR(DoMount("sys", "/sys", "tmpfs", MS_RDONLY, nullptr), "/sys");
  if (privileged) return {};
  // The machine's kernel settings are not the container's to change.
  for (const char* path : {"/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus"}) {
    if (access(path, F_OK) != 0) continue;
    RETURN_IF_ERROR(DoMount(path, path, nullptr, MS_BIND | MS_REC, nullptr), path);
    RETURN_IF_ERROR(DoMount(nullptr, path, nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr),
                    path);
  }
  return {};
}

base::Status MakePrivateFolders(const ContainerConfig& config) {
  const std::pair<const char*, const char*> folders[] = {{"/tmp", "mode=1777"},
                                                         {"/run", "mode=755"},
                                                         {"/root", "mode=700"},
                                                         {"/home", "mode=755"},
                                                         {"/usr/local/bin", "mode=755"}};
  for (const auto& [path, options] : folders) {
    RETURN_IF_ERROR(MakeFolders(path), path);
    RETURN_IF_ERROR(DoMount("private", path, "tmpfs", MS_NOSUID | MS_NODEV, options), path);
  }
  mkdir("/run/lock", 01777);
  for (const std::string& path : config.hidden) {
    struct stat info {};
    if (stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode))
      RETURN_IF_ERROR(DoMount("hidden", path, "tmpfs", MS_RDONLY, "size=4k"), "hiding");
  }
  return {};
}

// What a sanitizer finds in a container outlives it; see tools/sanitizers/run.
base::Status MakeReportsFolder() {
#ifdef ISTHMUS_SANITIZER_REPORTS
  if (access((std::string(kOldRoot) + ISTHMUS_SANITIZER_REPORTS).c_str(), W_OK) == 0)
    return Bind({.source = ISTHMUS_SANITIZER_REPORTS, .target = ISTHMUS_SANITIZER_REPORTS});
#endif
  return {};
}

base::Status MakeImage(const ContainerConfig& config) {
  for (const ImageFolder& folder : config.folders) {
    RETURN_IF_ERROR(MakeFolders(folder.path), "image");
    if (chown(folder.path.c_str(), folder.uid, folder.uid) != 0 ||
        chmod(folder.path.c_str(), folder.mode) != 0)
      return base::ErrnoError("image folder " + folder.path);
  }
  for (const Mount& program : config.programs)
    RETURN_IF_ERROR(Bind(program), "program of the image");
  return {};
}

}  // namespace

base::Status EnterRootfs(const ContainerConfig& config, const std::string& dir) {
  // Nothing mounted here may show on the machine.
  RETURN_IF_ERROR(DoMount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "own mounts");
  const std::string layer = dir + "/layer";
  RETURN_IF_ERROR(MakeFolders(layer), "layer");
  RETURN_IF_ERROR(DoMount("layer", layer, "tmpfs", 0, "mode=755"), "layer");
  const std::string upper = layer + "/upper", work = layer + "/work", root = layer + "/root";
  for (const std::string& path : {upper, work, root}) RETURN_IF_ERROR(MakeFolders(path), "layer");
  const std::string options = "lowerdir=/,upperdir=" + upper + ",workdir=" + work;
  RETURN_IF_ERROR(DoMount("container", root, "overlay", 0, options.c_str()), "root file system");
  const std::string old_root = root + kOldRoot;
  RETURN_IF_ERROR(MakeFolders(old_root), "root file system");
  if (syscall(SYS_pivot_root, root.c_str(), old_root.c_str()) != 0 || chdir("/") != 0)
    return base::ErrnoError("changing the root");

  RETURN_IF_ERROR(MakeKernelFolders(config.privileged), "container");
  RETURN_IF_ERROR(MakeDevices(), "container");
  RETURN_IF_ERROR(MakePrivateFolders(config), "container");
  RETURN_IF_ERROR(MakeImage(config), "container");
  RETURN_IF_ERROR(MakeReportsFolder(), "container");
  for (const Mount& mount_point : config.mounts) RETURN_IF_ERROR(Bind(mount_point), "volume");
  RETURN_IF_ERROR(MakeFolders(config.working_dir), "working directory");

  if (umount2(kOldRoot, MNT_DETACH) != 0) return base::ErrnoError("leaving the machine's root");
  rmdir(kOldRoot);
  if (config.read_only_root)
    return DoMount(nullptr, "/", nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr);
  return {};
}

}  // namespace isthmus::lab::node
