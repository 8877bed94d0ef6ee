#include "controlplane/run.h"

int main(int argc, char** argv) { return isthmus::controlplane::Run({argv + 1, argv + argc}); }
