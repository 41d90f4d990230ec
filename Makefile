# People and CI call the same targets.
#
# One profile for everything: tests, lints and the demo share what is built for each other.

# The docs are for those who work on it, private items and all: nothing here is published as a library.
rustdoc := -D warnings -A rustdoc::private_intra_doc_links

advisories := $(or $(CARGO_HOME),$(HOME)/.cargo)/advisory-dbs

# Each benchmark prints a table, and writes target/bench/NAME.json. COMPANIES=1000 makes a trial of it.
bench = BENCH_COMPANIES=$(COMPANIES) deploy/local/with-broker bench cargo bench -p rollcall-tests --bench bench --

# End-to-end tests wait half of the time, for timeouts, retries and brokers that start: more at a time than there are cores. Of many more,
# each would be so slow that a fault may strike before or after the moment that its test is about.
test-threads = $(or $(RUST_TEST_THREADS),$(shell expr 2 '*' "$$(nproc)"))

.PHONY: help build man completions demo page test test-formats test-gateway test-deploy chaos cluster fuzz test-next bench bench-seed bench-overhead bench-peers bench-scale bench-sizing bench-scaleout bench-fleet bench-cluster bench-overtake bench-parallel bench-latency bench-takeover bench-jobs bench-gateway lint up down clean compiler pika faketime

help: ## say what the targets are
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 22
	@echo
	@echo "demo and test start a private RabbitMQ, which they install if need be; where AMQP_URL is set, they use that one."
	@echo "chaos and cluster always start their own."

build: compiler ## build producer, consumer and aggregator into target/release
	cargo build --release --bins

man: build ## write the man pages of the three programs into target/man
	@for program in producer consumer aggregator; do "target/release/$$program" --man target/man || exit; done; ls target/man

completions: build ## write completion scripts of the three programs for bash, zsh and fish into target/completions
	@mkdir -p target/completions; for program in producer consumer aggregator; do for shell in bash zsh fish; do \
	  "target/release/$$program" --completions "$$shell" >"target/completions/$$program.$$shell" || exit; done; done; ls target/completions

demo: build ## score 10,000 made-up companies with a model of 255 questions, in under a minute once built
	@deploy/local/with-broker demo deploy/demo/run

page: build ## the gateway's page with the demo's model, on LISTEN=127.0.0.1:8080, until Ctrl-C
	@deploy/local/with-broker page deploy/demo/page

test: pika faketime build ## run all tests but those of the gateway, against a real broker
	RUST_TEST_THREADS=$(test-threads) deploy/local/with-broker test cargo test --release --workspace -- --skip gateway::

test-formats: compiler ## compare what is read of tables and networks with what their writers say; pip installs those into .rollcall
	tests/formats/run

test-deploy: build ## build the image and run its services, validate the manifests, and break each file of deploy/ to see that it shows
	tests/deploy/run

test-gateway: pika build ## the gateway with a real object store (Ceph) and a browser, which it installs
	RUST_TEST_THREADS=$(test-threads) tests/gateway/run
	tests/gateway/browser/run

chaos: build ## kill processes and the broker at random for SECONDS=60, and check that every company is counted once
	CHAOS_SECONDS=$(or $(SECONDS),60) CHAOS_SEED=$(SEED) env -u AMQP_URL deploy/local/with-broker chaos \
	  cargo test --release -p rollcall-tests --test chaos

cluster: pika build ## kill and cut off a node of a RabbitMQ cluster of three while jobs run
	env -u AMQP_URL deploy/local/with-broker cluster \
	  cargo test --release --workspace --test end_to_end -- --ignored faults::cluster::

test-next: pika faketime build ## run the scenarios against another RabbitMQ, such as the newest, that AMQP_URL names
	@[ -n "$$AMQP_URL" ] || { echo "expected AMQP_URL to name a RabbitMQ, found none; start one, such as by" \
	  "\`docker run -p 5672:5672 rabbitmq:4\`, and set AMQP_URL=amqp://guest:guest@127.0.0.1:5672/%2f" >&2; exit 2; }
	env -u ROLLCALL_TEST_BROKER RUST_TEST_THREADS=$(test-threads) cargo test --release --workspace --test end_to_end -- scenarios:: faults::stalled:: gateway::

bench: ## all benchmarks, one after another
	@for name in seed overhead peers scale sizing scaleout fleet cluster overtake parallel latency takeover jobs gateway; do $(MAKE) --no-print-directory "bench-$$name" || exit; done

bench-seed: build ## the run to beat: 227,000 companies, 255 answers, 1,000 particles, from enqueue to the done event
	$(bench) seed

bench-overhead: build ## what a job costs beside a bare loop through the same queues
	$(bench) overhead

bench-peers: build ## the same companies through Celery, Dramatiq and Ray, which it installs into .rollcall
	$(bench) peers

bench-scale: build ## jobs of 10,000, 100,000 and 1,000,000 companies: rate and memory; COMPANIES=10000000 adds that size
	$(bench) scale

bench-sizing: build ## CPU, memory and disk for a million companies, by the size of their results
	$(bench) sizing

bench-scaleout: build ## do more consumers help? they come and go in mid-job; BENCH_CASE=WORDS runs some of the cases
	$(bench) scaleout

bench-fleet: build ## a fleet of consumers over two jobs: from none to eight and back, twice, as a plot
	$(bench) fleet

bench-cluster: build ## the same job on one node and on a cluster of three, on this machine
	$(bench) cluster

bench-overtake: build ## does a job of 100 companies wait behind one of COMPANIES=1000000 of the same model?
	$(bench) overtake

bench-parallel: build ## 100,000 companies that only wait, 10,000 of them at a time: how much longer than that does it take?
	$(bench) parallel

bench-latency: build ## from submit to first result, from a company to its result, from the last result to the done event
	$(bench) latency

bench-takeover: build ## kill the aggregator that counts with COMPANIES=1000000 results in the ledger: time until a standby counts
	$(bench) takeover

bench-jobs: build ## 10,000 jobs of three companies: how much memory, how fast a status and a takeover?
	$(bench) jobs

bench-gateway: build ## uploads beside the command line; 200 uploads at once, and questions meanwhile
	$(bench) gateway

fuzz: compiler ## give each reader of outside bytes made-up input for SECONDS=10, up to the first that brings it down
	tests/fuzz/run $(or $(SECONDS),10)

lint: compiler ## check format, lints, imports, docs, licences and advisories
	cargo fmt --all --check
	cargo fmt --manifest-path tests/fuzz/Cargo.toml --check
	cargo clippy --release --workspace --all-targets -- -D warnings
	@command -v python3 >/dev/null || deploy/local/install python3
	tests/imports shared/src producer/src consumer/src consumer/score/src consumer/aggregator/src tests/src
	RUSTDOCFLAGS="$(rustdoc)" cargo doc --release --no-deps --workspace --document-private-items
	@command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny check bans licenses sources
	@if cargo deny fetch db >/dev/null 2>&1; then cargo deny check advisories; \
	elif ls -d "$(advisories)"/*/ >/dev/null 2>&1; then cargo deny --offline check advisories; \
	else echo "advisories not checked: the advisory database is not on this machine and cannot be fetched" >&2; fi

up: ## start a broker to work with, and print the line that makes everything use it
	@url=$$(deploy/local/broker start up) && echo "export AMQP_URL=$$url"

down: ## stop that broker and forget its data
	@deploy/local/broker stop up

clean: ## stop this checkout's brokers and Cephs, and remove their data and all that was built
	@for conf in .rollcall/gateway-tests/*/*/ceph.conf; do [ ! -e "$$conf" ] || tests/gateway/ceph stop "$$(dirname "$$conf")"; done
	@for env in .rollcall/*/env; do [ ! -e "$$env" ] || deploy/local/broker stop "$$(basename "$$(dirname "$$env")")"; done
	rm -rf .rollcall tests/fuzz/target
	cargo clean

# A Rust toolchain needs a C compiler to link with, and some crates to build with.
compiler:
	@command -v cc >/dev/null || deploy/local/install gcc libc6-dev

# One test subscribes from Python, as a downstream service might.
pika:
	@/usr/bin/python3 -c 'import pika' 2>/dev/null || deploy/local/install python3 python3-pika

faketime:
	@ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || deploy/local/install libfaketime || \
	  echo "without libfaketime, tests that set clocks are skipped" >&2
