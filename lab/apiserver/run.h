#pragma once

namespace isthmus::lab::apiserver {

/// The program `isthmus-lab apiserver`: parses its options, serves until SIGTERM or SIGINT, returns
/// the exit code.
int Run(int argc, char** argv);

}  // namespace isthmus::lab::apiserver
