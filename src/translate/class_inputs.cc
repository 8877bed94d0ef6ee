#include "translate/class_inputs.h"

namespace isthmus::translate {

void AddService(const ClassInputs& in, const ServicePtr& service, MemoKey* key) {
  key->Add(service);
  key->Add(service == nullptr ? nullptr : in.destinations.FindRule(service->hostname));
}

void AddRules(const ClassInputs& in, const RulesPtr& rules, MemoKey* key) {
  key->Add(rules);
  if (rules == nullptr) return;
  for (const std::string& host : rules->destinations) {
    key->Add(in.destinations.FindService(host)).Add(in.destinations.FindRule(host));
  }
  // Conditions on the source are decided here, not by Envoy.
  key->Add(in.proxy.ns).Add(in.proxy.router());
  for (const auto& [name, value] : in.proxy.labels) key->Add(name).Add(value);
}

}  // namespace isthmus::translate
