#include <string>
#include <vector>

#include "cli/cli.h"

int main(int argc, char** argv) {
  // Called by another name, such as istioctl, it speaks of itself by that name.
  const std::string path = argc > 0 ? argv[0] : "isthmus";
  const std::string program = path.substr(path.rfind('/') + 1);
  return isthmus::cli::Run(program,
                           std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc),
                           isthmus::cli::Io::Standard());
}
