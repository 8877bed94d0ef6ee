#pragma once

namespace isthmus::lab::node {

/// Runs this program in one of its small roles that stand between the node and a container:
///   `container-run DIR`    starts the container described in DIR/config.json and returns once it
///   runs `container-enter ...`  runs one more command in a running container (exec)
/// Returns the exit code; -1 when argv[1] names no such role. Programs that use the node call it
/// first in main().
int HelperMain(int argc, char** argv);

}  // namespace isthmus::lab::node
