# All commands of the project. `make` lists them.

SHELL := /bin/bash
export SAM_CLI_TELEMETRY := 0
export PYTHONDONTWRITEBYTECODE := 1

# The processor to build the function for: arm64 or x86_64.
ARCH ?= arm64
# The settings file for `make settings` and `make deploy`.
SETTINGS ?=
# The event for `make invoke`.
EVENT ?= events/send.http-v2.json

# The CloudFormation stack to deploy or to operate.
STACK ?= otp-lambda
export STACK
# Tags of everything in the stack, such as TAGS="team=login env=prod".
TAGS ?=
export TAGS

TOOLS := tests/e2e/with-tools.sh

.PHONY: help run test soak bench bench-counts check scan fmt settings build package deploy destroy probe invoke invoke-packaged notify tools clean
.PHONY: pause resume block unblock allow disallow unlock why switches needs-rust

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The names of the variables that `make run NAME=value` got. make exports them, so no value passes through the shell.
GIVEN = $(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name)))

# The settings that the desk gets: from the file desk.env, and those of the command line but the variables in $(1).
DESK_SETTINGS = $(if $(wildcard desk.env),--settings desk.env) $(foreach name,$(filter-out $(1) MAKEFLAGS MAKEOVERRIDES -%,$(GIVEN)),--set $(name))

run: ## run the service with a simulated phone and no AWS; PROVIDER=end-user-messaging and other settings: docs/desk.md (needs Rust)
	@tests/needs.sh rust cc
	@cargo run --package simulator -- $(DESK_SETTINGS)

test: needs-rust tools ## run all tests; installs tools and says what it skips; for a quick run: cargo test (needs Rust, Python)
	@$(TOOLS) tests/run.sh

soak: needs-rust tools ## run tests for hours: simulations, kills, load, operations in order, DynamoDB Local (needs Rust, Python, Node, Java, Linux)
	@tests/e2e/setup.sh dynamodb-local
	@$(TOOLS) tests/soak.sh

bench: needs-rust ## measure the packaged function beside others: instructions, processor time, memory, delays (needs Rust, Python, Linux)
	@tests/e2e/setup.sh sam bench
	@$(TOOLS) benches/run.sh report

bench-counts: needs-rust ## count its instructions, round trips and handshakes anew, for the guard in `make test`
	@tests/e2e/setup.sh sam
	@$(TOOLS) benches/run.sh write_the_counts

check: needs-rust tools ## check format, lints, docs, licences, advisories and the template (needs Rust, Python)
	@$(TOOLS) tests/check.sh

scan: ## let checkov judge the template; installs it (290 MB) under target/ (needs Python)
	@tests/e2e/setup.sh scan
	@$(TOOLS) tests/scan.sh

fmt: ## format the code
	cargo fmt --all

notify: ## make a Notify configuration for BRAND=…, or show ID=…, and say what to set (needs Python, an AWS account)
	@tests/e2e/setup.sh boto3
	@$(TOOLS) bash -c 'exec "$$OTP_E2E_PYTHON" deploy/notify.py $${BRAND:+--brand="$$BRAND"} $${ID:+--id="$$ID"}'

settings: needs-rust ## judge SETTINGS=prod.yaml as the function would, and deploy nothing (needs Rust, Python)
	@tests/e2e/setup.sh sam
	@$(TOOLS) python deploy/deploy.py settings "$(SETTINGS)"

build: needs-rust ## build the package for Lambda; ARCH=arm64 or x86_64 (needs Rust, Python)
	@tests/e2e/setup.sh sam
	$(TOOLS) sam build --parameter-overrides Architecture=$(ARCH)

package: needs-rust ## pack zips for arm64 and x86-64, a template that needs no Rust, an SBOM and SHA-256 sums (needs Rust, Python)
	@tests/e2e/setup.sh sam sbom
	@$(TOOLS) python deploy/package.py

deploy: needs-rust ## build and deploy SETTINGS=prod.yaml to STACK=…; asks if there is no file (needs Rust, Python, an AWS account)
	@tests/e2e/setup.sh sam
	@$(TOOLS) python deploy/deploy.py deploy "$(SETTINGS)"

destroy: ## delete the stack, and say what stays and why (needs Python, an AWS account)
	@tests/e2e/setup.sh sam
	@$(TOOLS) python deploy/deploy.py destroy

probe: ## ask a real AWS account what AWS leaves open, for a dollar at most, by the price that you give: docs/probe.md (needs Python, an AWS account)
	@tests/e2e/setup.sh boto3
	@$(TOOLS) bash -c 'exec "$$OTP_E2E_PYTHON" deploy/probe.py "$$FACTS"'

invoke: ## give EVENT=events/….json to the desk, or to one of its own, and print the response (needs Rust)
	@tests/needs.sh rust cc
	@cargo run $(if $(wildcard target/debug/simulator),--quiet) --package simulator -- $(call DESK_SETTINGS,EVENT) --invoke "$(EVENT)"

invoke-packaged: ## the same with the packaged function, without a ledger (needs Rust, Python)
	@tests/needs.sh rust cc curl
	@tests/e2e/setup.sh sam
	@$(TOOLS) tests/e2e/invoke.sh "$(EVENT)"

pause: ## stop sending codes; STACK=… if the stack is not otp-lambda (this and the commands below need the AWS CLI)
	@./operate.sh $@

resume: ## send codes again
	@./operate.sh $@

block: ## send no codes to NUMBER=+…, or to all numbers that begin with PREFIX=+1876
	@./operate.sh $@

unblock: ## remove a block
	@./operate.sh $@

allow: ## make an exception from blocks for NUMBER=+… or PREFIX=+…
	@./operate.sh $@

disallow: ## remove an exception
	@./operate.sh $@

unlock: ## delete the failed guesses of NUMBER=+…, which is locked after 100
	@./operate.sh $@

why: ## say what happened to NUMBER=+… in the last day, and which limits hold; STACK=desk asks the desk (needs curl)
	@./operate.sh $@

switches: ## show the pause, the blocks, the exceptions, the budgets and the chance of a right guess
	@./operate.sh $@

tools:
	@tests/e2e/setup.sh

needs-rust:
	@tests/needs.sh rust cc

clean: ## delete everything that was built
	rm -rf target .aws-sam
