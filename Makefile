# Everything there is to do here; `make` lists it.

SHELL := /bin/bash
export SAM_CLI_TELEMETRY := 0
export PYTHONDONTWRITEBYTECODE := 1

# The processor that the function is built for.
ARCH ?= arm64
# What `make invoke` hands to the function.
EVENT ?= events/send.http-v2.json

# The CloudFormation stack that is deployed, and that an operator's command is for.
STACK ?= otp-lambda
export STACK

TOOLS := tests/e2e/with-tools.sh

.PHONY: help run test soak check fmt build deploy invoke tools clean
.PHONY: pause resume block unblock allow disallow unlock switches

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## the service on your desk: a simulated phone, no AWS; PROVIDER=end-user-messaging for that one (needs Rust)
	@cargo run --package simulator -- $(if $(PROVIDER),--provider $(PROVIDER))

test: tools ## all tests; sets up what it needs and says what it skips (needs Rust, Python)
	@$(TOOLS) tests/run.sh

soak: tools ## hours of tests: a million simulations, a thousand kills, an hour of load (needs Rust, Python, Linux)
	@$(TOOLS) tests/soak.sh

check: tools ## format, lints, docs, licences, what is shipped, the template
	@$(TOOLS) tests/check.sh

fmt: ## format the code
	cargo fmt --all

build: tools ## the package for Lambda, by SAM and cargo-lambda; ARCH=arm64 or x86_64
	$(TOOLS) sam build --parameter-overrides Architecture=$(ARCH)

deploy: build ## build and deploy; SAM asks for the settings (needs an AWS account)
	$(TOOLS) sam deploy --guided --stack-name $(STACK) --capabilities CAPABILITY_IAM --parameter-overrides Architecture=$(ARCH)

invoke: ## run the packaged function on EVENT=events/….json, with the simulator as PROVIDER
	@tests/e2e/setup.sh >/dev/null
	@$(TOOLS) tests/e2e/invoke.sh "$(EVENT)"

pause: ## send nobody a code, at once; STACK=… if the stack is not otp-lambda (this and the next: AWS CLI)
	@./operate.sh $@

resume: ## end the pause
	@./operate.sh $@

block: ## send no code to NUMBER=+… or to all numbers that begin with PREFIX=+1876
	@./operate.sh $@

unblock: ## end such a block
	@./operate.sh $@

allow: ## except NUMBER=+… or PREFIX=+… from blocks
	@./operate.sh $@

disallow: ## end such an exception
	@./operate.sh $@

unlock: ## forget the failed guesses of NUMBER=+…, which lock it at 100
	@./operate.sh $@

switches: ## show what is paused, blocked and allowed
	@./operate.sh $@

tools:
	@tests/e2e/setup.sh

clean: ## remove everything that was built
	rm -rf target .aws-sam
