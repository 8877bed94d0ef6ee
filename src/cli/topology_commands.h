#pragma once

#include "cli/command.h"

namespace isthmus::cli {

/// up, plan, verify, down: the commands that work from a Topology file.
void AddTopologyCommands(Commands& commands);
/// `lab`: hands everything behind it to the program isthmus-lab.
void AddLabCommand(Commands& commands);

}  // namespace isthmus::cli
