// Reads {policy, requests: [{action, resource, context}]} from standard input and writes what an IAM policy simulator
// says to each request: "Allowed", "ImplicitlyDenied", "ExplicitlyDenied", or "error: ...".
//
//   node evaluate.cjs <folder where `npm ci` installed the simulator> < input.json
'use strict'

const { createRequire } = require('node:module')
const { readFileSync } = require('node:fs')
const { join, resolve } = require('node:path')

const { runSimulation } = createRequire(join(resolve(process.argv[2]), 'package.json'))('@cloud-copilot/iam-simulate')

const account = '123456789012'
const allowEverything = { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: '*', Resource: '*' }] }

async function evaluate(policy, { action, resource, context = {} }) {
  const result = await runSimulation(
    {
      request: {
        principal: `arn:aws:iam::${account}:role/otp`,
        action,
        resource: { resource, accountId: account },
        contextVariables: context,
      },
      identityPolicies: [{ name: 'otp', policy }],
      // Only the role is in question: what stands above it in the organisation allows everything.
      serviceControlPolicies: [{ orgIdentifier: 'root', policies: [{ name: 'all', policy: allowEverything }] }],
      resourceControlPolicies: [],
    },
    {},
  )
  if (result.resultType === 'error') return `error: ${JSON.stringify(result.errors)}`
  return result.overallResult
}

async function main() {
  const { policy, requests } = JSON.parse(readFileSync(0, 'utf8'))
  const answers = []
  for (const request of requests) answers.push(await evaluate(policy, request))
  process.stdout.write(`${JSON.stringify(answers)}\n`)
}

main()
