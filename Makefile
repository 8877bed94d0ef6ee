# make demo    installs what is needed, builds, and brings up two clusters in one mesh; `make down` ends it
# make test    runs the tests
# make build   builds the programs into build/bin
# make topologies   every topology of the catalogue, natively and by its steps, in one table (REPEAT=3, ONLY=id,..., BESIDE=yes)

SHELL := /bin/bash
.PHONY: demo down test topologies build configure setup realkube clean

demo: build
	build/bin/isthmus up -f topologies/demo.yaml

down:
	build/bin/isthmus down -f topologies/demo.yaml

setup:
	tools/setup/packages
	tools/setup/fetch.py

configure: setup
	@mkdir -p build
	@cmake --preset release > build/configure.log || { cat build/configure.log; exit 1; }

build: configure
	cmake --build build/release --target programs

# Tests use the preset without optimisation: it builds in half the time and checks the same code.
test: setup
	tools/setup/debian-kubectl
	@mkdir -p build
	@cmake --preset dev > build/configure-dev.log || { cat build/configure-dev.log; exit 1; }
	cmake --build build/dev
	tests/run --build build/dev

topologies: build
	python3 tests/e2e/topologies.py --repeat $(or $(REPEAT),1) --only "$(ONLY)" $(if $(BESIDE),--beside)

realkube:
	tools/realkube/build

clean:
	rm -rf build
