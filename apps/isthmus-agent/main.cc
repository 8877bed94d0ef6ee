#include "agent/main.h"

int main(int argc, char** argv) {
  return isthmus::agent::Main(std::vector<std::string>(argv + 1, argv + argc));
}
