#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lab/network/netlink.h"
#include "lab/node/helper.h"

// The node starts its helpers from its own program, so the test program is one too. Tests that run
// containers get mount, process and network namespaces of their own: nothing of theirs can
// outlive them or touch the machine.
int main(int argc, char** argv) {
  const int code = isthmus::lab::node::HelperMain(argc, argv);
  if (code >= 0) return code;
  testing::InitGoogleTest(&argc, argv);
  if (geteuid() != 0 || testing::GTEST_FLAG(list_tests)) return RUN_ALL_TESTS();
  if (unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET) != 0) return RUN_ALL_TESTS();
  const pid_t init = fork();
  if (init != 0) {
    int status = 0;
    waitpid(init, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
  }
  mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
  mount("proc", "/proc", "proc", 0, nullptr);
  if (auto netlink = isthmus::lab::network::Netlink::Open(); netlink.ok())
    (void)netlink->SetUp("lo");
  const pid_t tests = fork();
  if (tests == 0) _exit(RUN_ALL_TESTS());
  int status = 0;
  for (pid_t pid; (pid = wait(&status)) != tests;)
    if (pid < 0) break;
  _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}
