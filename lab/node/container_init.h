#pragma once

#include <string>
#include <string_view>

#include "lab/network/fd.h"
#include "lab/node/container_config.h"

namespace isthmus::lab::node {

/// Ends of the pipes (or the terminal) between a container and its first process.
struct Streams {
  network::Fd in;   ///< Written to feed the container; invalid without one.
  network::Fd out;  ///< Read for what it prints; the terminal when it has one.
  network::Fd err;
  bool tty = false;
};

/// One message of the attach protocol below.
std::string AttachFrame(char kind, std::string_view bytes);

/// The first process (1) of a container's process namespace: keeps the log, hands signals on,
/// reaps, serves those who attach, and ends the container by ending itself when `app` has ended. It
/// is the only process of ours that stays for a container, and no node needs to live for it to go
/// on.
///
/// Attach protocol on DIR/attach.sock, both ways: one byte (0 in, 1 out, 2 err, 4 size of the
/// terminal, 5 end of input), four bytes of length in network order, the bytes; a size is
/// "COLSxROWS".
class ContainerInit {
 public:
  /// The folders are descriptors because paths of the machine mean nothing inside the container.
  ContainerInit(const ContainerConfig& config, int folder_fd, int log_folder_fd,
                const std::string& log_name, network::Fd attach_listener);
  ~ContainerInit();

  /// Serves until `app` has ended and writes exit.json. The signals must be blocked already.
  void Run(pid_t app, Streams streams);

 private:
  struct Impl;
  Impl* impl_;
};

}  // namespace isthmus::lab::node
