#pragma once

namespace isthmus::lab::workloads {

/// Runs a sample application until SIGTERM: `workload <name> [--port N] [--address IP]`, where
/// argv[0] is the name: helloworld, productpage, details, ratings, reviews, httpbin, web, sleep.
/// Returns the exit code.
int WorkloadMain(int argc, char** argv);

}  // namespace isthmus::lab::workloads
