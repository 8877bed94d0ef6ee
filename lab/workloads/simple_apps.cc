// helloworld, and a plain web server.
#include "lab/workloads/app.h"

namespace isthmus::lab::workloads {

Application HelloWorld() {
  const std::string version = EnvOr("SERVICE_VERSION", "v1");
  const std::string instance = Hostname();
  return [version, instance](const std::shared_ptr<const Call>& call, const Reply& reply) {
    const std::string path = call->head.path();
    if (path == "/hello")
      return reply(Text(fmt::format("Hello version: {}, instance: {}\n", version, instance)));
    if (path == "/health") return reply(Text("Helloworld is healthy"));
    reply(NotFound());
  };
}

Application Web() {
  const std::string instance = Hostname();
  return [instance](const std::shared_ptr<const Call>& call, const Reply& reply) {
    reply(Text(fmt::format(
        "<!DOCTYPE html>\n<html><head><title>Welcome</title></head>\n"
        "<body><h1>Welcome!</h1><p>This plain web server runs in {}.</p></body></html>\n",
        instance)));
  };
}

}  // namespace isthmus::lab::workloads
