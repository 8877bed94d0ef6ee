#pragma once

namespace isthmus::lab::world {

/// The commands of a lab: argv[0] is one of up, down, status, env, shell, cut, mend, stop, start.
/// Returns the exit code.
int WorldMain(int argc, char** argv);

}  // namespace isthmus::lab::world
